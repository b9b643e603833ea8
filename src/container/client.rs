//! A client of a supervisor: connects to its control socket, and starts it first if there is none.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, UnixAddr, connect, recv, send, socket};

use super::explain::Explainer;
use super::id::Id;
use super::message::{ClientMessage, MAX_PACKET, Packet, SupervisorMessage, packet_of};
use rustix::io::ioctl_fionbio;

use crate::error::{Error, Result};
use crate::host::own_run::CONTROL;
use crate::host::run_directory;
use crate::sys::descriptors;
use crate::text::{text, text_with};

/// How long a supervisor may take until clients can connect.
const READY: Duration = Duration::from_secs(30);

/// How long a supervisor may take until it accepts a client.
const CONNECT: Duration = Duration::from_secs(2);

/// The time between two attempts to connect to a supervisor that another command has just started.
const PAUSE: Duration = Duration::from_millis(5);

/// The supervisors that this process has started. A command ends before them. The daemon does not, and is their parent.
static STARTED: Mutex<Vec<Child>> = Mutex::new(Vec::new());

/// Reaps the supervisors that have ended.
pub fn reap() {
    if let Ok(mut started) = STARTED.lock() {
        started.retain_mut(|child| matches!(child.try_wait(), Ok(None)));
    }
}

/// Notes a process that runs on when this one ends, and is reaped if it ends before.
pub fn reap_later(child: Child) {
    if let Ok(mut started) = STARTED.lock() {
        started.push(child);
    }
}

/// A connection to the supervisor of a container.
#[derive(Debug)]
pub struct SupervisorClient {
    socket: OwnedFd,
    /// The last packet.
    packet: Vec<u8>,
}

/// Why there is no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoMessage {
    /// The supervisor has ended, or was killed.
    Ended,
    /// It does not answer in time.
    Late,
}

impl SupervisorClient {
    /// Connects to the supervisor of a container. None: it has none.
    ///
    /// # Errors
    /// RUN cannot be trusted; the process has no descriptor left.
    pub fn connect(id: &Id, explain: Explainer) -> Result<Option<SupervisorClient>> {
        let Some(run) = run_directory::find()? else { return Ok(None) };
        let Ok(Some(directory)) = run.directory(id.as_str().as_ref()) else { return Ok(None) };
        let path = directory.path().join(CONTROL);
        let call = || format!("connect(<socket>, {{AF_UNIX, {path:?}}})");
        let cannot = |errno: Errno| Error::failed(text("container.connect.cannot")).call(call(), errno);
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket = socket(AddressFamily::Unix, SockType::SeqPacket, flags, None).map_err(cannot)?;
        let address = UnixAddr::new(&directory.path_through(CONTROL)).map_err(cannot)?;
        let deadline = Instant::now() + CONNECT;
        loop {
            match connect(socket.as_raw_fd(), &address) {
                Ok(()) => break,
                // The queue is full: the supervisor is busy. One that hangs is as if there were none.
                Err(Errno::EAGAIN) if Instant::now() < deadline => std::thread::sleep(PAUSE),
                Err(Errno::ENOENT | Errno::ECONNREFUSED | Errno::ENOTDIR | Errno::EAGAIN) => return Ok(None),
                Err(errno) => return Err(cannot(errno)),
            }
        }
        ioctl_fionbio(&socket, false).map_err(|errno| cannot(Errno::from_raw(errno.raw_os_error())))?;
        explain.step(call(), "container.explain.connect");
        Ok(Some(SupervisorClient { socket, packet: Vec::new() }))
    }

    /// Connects to the supervisor of a container, which is started if there is none.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn summon(id: &Id, explain: Explainer) -> Result<SupervisorClient> {
        let deadline = Instant::now() + READY;
        loop {
            if let Some(client) = SupervisorClient::connect(id, explain)? {
                return Ok(client);
            }
            match start_supervisor(id, explain)? {
                SupervisorMessage::Refused(error) => return Err(error.into()),
                // Another command has started one, or one is ending.
                SupervisorMessage::Busy if Instant::now() < deadline => std::thread::sleep(PAUSE),
                _ if Instant::now() < deadline => {}
                _ => return Err(Error::failed(text("container.busy")).why(text("container.busy.reason"))),
            }
        }
    }

    /// Sends a message.
    ///
    /// # Errors
    /// The supervisor has ended.
    pub fn send(&self, message: &ClientMessage) -> std::result::Result<(), NoMessage> {
        self.send_packet(&packet_of(message))
    }

    /// Sends a packet.
    ///
    /// # Errors
    /// The supervisor has ended.
    pub fn send_packet(&self, packet: &[u8]) -> std::result::Result<(), NoMessage> {
        loop {
            match send(self.socket.as_raw_fd(), packet, MsgFlags::MSG_NOSIGNAL) {
                Err(Errno::EINTR) => {}
                sent => return sent.map(|_| ()).map_err(|_| NoMessage::Ended),
            }
        }
    }

    /// Waits for the next packet, at most until `deadline`. Packets that this version does not know are passed over.
    ///
    /// # Errors
    /// There is none.
    pub fn receive(
        &mut self,
        deadline: Option<Instant>,
    ) -> std::result::Result<Packet<'_, SupervisorMessage>, NoMessage> {
        loop {
            if let Some(deadline) = deadline {
                let left = deadline.saturating_duration_since(Instant::now());
                let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
                match poll(&mut [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)], timeout) {
                    Ok(0) => return Err(NoMessage::Late),
                    Err(Errno::EINTR) => continue,
                    _ => {}
                }
            }
            self.packet.resize(MAX_PACKET, 0);
            match recv(self.socket.as_raw_fd(), &mut self.packet, MsgFlags::empty()) {
                Err(Errno::EINTR) => continue,
                Ok(0) | Err(_) => return Err(NoMessage::Ended),
                Ok(length) => self.packet.truncate(length),
            }
            if Packet::<SupervisorMessage>::parse(&self.packet).is_some() {
                break;
            }
        }
        Packet::parse(&self.packet).ok_or(NoMessage::Ended)
    }

    /// Waits for the next message, and drops output.
    ///
    /// # Errors
    /// As [`SupervisorClient::receive`].
    pub fn answer(&mut self, deadline: Option<Instant>) -> std::result::Result<SupervisorMessage, NoMessage> {
        loop {
            if let Packet::Message(message) = self.receive(deadline)? {
                return Ok(message);
            }
        }
    }

    /// The socket, for a process that waits in another way.
    pub fn into_socket(self) -> OwnedFd {
        self.socket
    }

    /// Waits until the supervisor has ended, or `deadline`.
    pub fn await_end(&mut self, deadline: Instant) {
        while self.receive(Some(deadline)).is_ok() {}
    }
}

impl AsFd for SupervisorClient {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Starts the supervisor of a container, and returns what it reports: that it is ready, or why not.
fn start_supervisor(id: &Id, explain: Explainer) -> Result<SupervisorMessage> {
    let home = crate::host::home::HomePlace::find();
    let home = home.instead_of.map_or(home.path, |(asked, _)| asked);
    explain.step(
        format!("execve(\"/proc/self/exe\", [\"sandbox\", \"__supervise\", \"{id}\"])"),
        "container.explain.supervise",
    );
    let cannot = |error: std::io::Error| {
        Error::failed(text("container.supervisor.cannot")).call("execve(\"/proc/self/exe\")", error)
    };
    let kept = ["PATH", "LANG", "LC_ALL", "LC_MESSAGES"];
    let variables = kept.into_iter().filter_map(|name| Some((name, std::env::var_os(name)?)));
    let mut command = Command::new("/proc/self/exe");
    // The container inherits it.
    descriptors::restore_before(&mut command);
    let mut child = command
        .arg0("sandbox")
        .args(["__supervise", id.as_str(), "--home"])
        .arg(home)
        .env_clear()
        .envs(variables)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(cannot)?;
    let heard = child.stdout.take().map_or(Ok(Vec::new()), |pipe| report_in(OwnedFd::from(pipe).into()));
    let report = heard.map_err(|(call, error)| {
        let _ = child.kill().and_then(|()| child.wait());
        Error::failed(text("container.supervisor.cannot")).call(call, error)
    })?;
    match serde_json::from_slice::<SupervisorMessage>(&report) {
        Ok(message) => {
            if message != SupervisorMessage::Ready {
                let _ = child.wait();
            } else {
                reap_later(child);
            }
            Ok(message)
        }
        Err(_) => {
            let _ = child.kill();
            let status = child.wait().map(|status| status.to_string()).unwrap_or_default();
            let why = text_with("container.supervisor.silent", &[("status", &status)]);
            Err(Error::failed(text("container.supervisor.cannot")).why(why))
        }
    }
}

/// What a supervisor has reported. It ends with the end of file, when the supervisor is ready or has ended. Nothing: it has
/// reported nothing in time.
fn report_in(pipe: File) -> std::result::Result<Vec<u8>, (&'static str, io::Error)> {
    let mut ready = [PollFd::new(pipe.as_fd(), PollFlags::POLLIN)];
    let timeout = PollTimeout::try_from(READY).unwrap_or(PollTimeout::MAX);
    let count = loop {
        match poll(&mut ready, timeout) {
            Err(Errno::EINTR) => {}
            polled => break polled.map_err(|errno| ("poll(<report>)", errno.into()))?,
        }
    };
    let mut report = Vec::new();
    if count > 0 {
        pipe.take(1 << 20).read_to_end(&mut report).map_err(|error| ("read(<report>)", error))?;
    }
    Ok(report)
}
