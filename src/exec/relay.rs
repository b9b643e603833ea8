//! The relay: a process that carries bytes between the connections to published ports and those that it makes inside.
//!
//! It's one loop around poll(2), and nothing in it waits: what one end doesn't take yet isn't read at the other, so a
//! slow reader holds up its own connection and no other, and at most so many bytes are on their way. Each direction ends by
//! itself (shutdown(2)): a client that has said all still gets the answer.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrIn, connect, getsockopt, socket, sockopt::SocketError,
};
use nix::sys::wait::waitpid;

use super::kill;
use crate::plan::gate::Channel;
use crate::plan::slots::Slots;

/// How long what the command said last may take to be read, once it has ended.
pub(super) const LAST_WORDS: Duration = Duration::from_secs(1);

/// At most so many bytes are on their way in one direction of one connection.
const AT_ONCE: usize = 64 << 10;

/// At most so many connections at a time; who comes later waits in the socket's queue.
const MOST: usize = 1024;

/// How often one direction is read before the others have their turn.
const TURNS: usize = 8;

/// How long nobody is let in after the kernel had no descriptor or no memory for one more.
const PAUSE: Duration = Duration::from_millis(100);

/// Serves until the host says that the container has ended, or is dead itself. Never returns.
pub(super) fn serve(slots: &mut Slots) -> ! {
    let Some(gate) = slots.gate.take() else { crate::sys::exit(125) };
    let listeners = std::mem::take(&mut slots.listeners);
    // Standard output may be a pipe whose reader waits for its end; the gate of the child and the locks are the host's.
    let sockets = listeners.iter().map(|(listener, _)| listener.as_raw_fd());
    crate::sys::close_all_but(&sockets.chain([gate.as_fd().as_raw_fd()]).collect::<Vec<_>>());
    Server { listeners, connections: Vec::new(), most: room(), deadline: None, paused: None }.run(&gate);
    crate::sys::exit(0)
}

/// The host's side: the container has ended, so the relay does when it has passed on the last words, or at the latest then.
pub(super) fn end(slots: &mut Slots, patience: Duration) {
    let Some(relay) = slots.relay.take() else { return };
    drop(relay.gate);
    // It keeps its own time; this is for one that is stopped.
    let latest = if patience.is_zero() { patience } else { patience * 2 };
    let timeout = PollTimeout::try_from(latest).unwrap_or(PollTimeout::ZERO);
    if poll(&mut [PollFd::new(relay.pidfd.as_fd(), PollFlags::POLLIN)], timeout) != Ok(1) {
        kill(relay.pidfd.as_fd());
    }
    let _ = waitpid(relay.pid, None);
}

/// How many connections there may be: two descriptors each.
fn room() -> usize {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or((256, 256));
    let limit = setrlimit(Resource::RLIMIT_NOFILE, hard, hard).map_or(soft, |()| hard);
    usize::try_from(limit / 2).unwrap_or(MOST).saturating_sub(16).clamp(1, MOST)
}

struct Server {
    listeners: Vec<(TcpListener, u16)>,
    connections: Vec<Connection>,
    most: usize,
    /// When it ends at the latest; none while the container runs.
    deadline: Option<Instant>,
    /// Until when nobody is let in.
    paused: Option<Instant>,
}

impl Server {
    fn run(&mut self, gate: &Channel) {
        let mut scratch = vec![0; AT_ONCE];
        loop {
            let left = |at: &Instant| at.saturating_duration_since(Instant::now());
            self.paused = self.paused.filter(|until| !left(until).is_zero());
            let timeout = self.deadline.or(self.paused).as_ref().map(left);
            if self.deadline.is_some() && (self.connections.is_empty() || timeout == Some(Duration::ZERO)) {
                return;
            }
            let is_open = self.connections.len() < self.most && self.paused.is_none();
            let (mut awaited, mut owners) = (Vec::new(), Vec::new());
            if self.deadline.is_none() {
                awaited.push(PollFd::new(gate.as_fd(), PollFlags::POLLIN));
                owners.push(Owner::Gate);
            }
            for (number, (listener, _)) in self.listeners.iter().enumerate().filter(|_| is_open) {
                awaited.push(PollFd::new(listener.as_fd(), PollFlags::POLLIN));
                owners.push(Owner::Listener(number));
            }
            for (number, connection) in self.connections.iter().enumerate() {
                for descriptor in connection.awaited() {
                    awaited.push(descriptor);
                    owners.push(Owner::Connection(number));
                }
            }
            let timeout = timeout.map_or(PollTimeout::NONE, |left| {
                // Rounded up: a wait that ends too early would be one more turn for nothing.
                PollTimeout::try_from(left + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX)
            });
            match poll(&mut awaited, timeout) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(_) => return,
            }
            let ready = |descriptor: &PollFd<'_>| descriptor.any().unwrap_or(false);
            let woken: Vec<Owner> = awaited
                .iter()
                .zip(owners)
                .filter(|(descriptor, _)| ready(descriptor))
                .map(|(_, owner)| owner)
                .collect();
            drop(awaited);
            for owner in woken {
                match owner {
                    Owner::Gate => {
                        self.deadline = Some(Instant::now() + LAST_WORDS);
                        self.listeners.clear();
                    }
                    Owner::Listener(number) => self.accept(number),
                    Owner::Connection(number) => self.connections[number].turn(&mut scratch),
                }
            }
            let is_ending = self.deadline.is_some();
            self.connections.retain(|connection| !connection.is_over(is_ending));
        }
    }

    fn accept(&mut self, number: usize) {
        let Some((listener, port)) = self.listeners.get(number) else { return };
        match listener.accept() {
            Ok((outside, _)) => self.connections.extend(Connection::to(outside, *port)),
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::WouldBlock | ErrorKind::Interrupted | ErrorKind::ConnectionAborted
                ) => {}
            // It would be told of again at once.
            Err(_) => self.paused = Some(Instant::now() + PAUSE),
        }
    }
}

/// Whose descriptor it is.
enum Owner {
    Gate,
    Listener(usize),
    Connection(usize),
}

/// One connection outside and the one inside that goes with it.
struct Connection {
    /// The end outside, the end inside.
    ends: [TcpStream; 2],
    /// From each end to the other.
    flows: [Flow; 2],
    /// The end inside has no answer yet.
    is_connecting: bool,
    is_broken: bool,
}

/// One direction.
#[derive(Default)]
struct Flow {
    /// What was read and isn't taken yet.
    pending: Vec<u8>,
    /// All was passed on, and the end of it too.
    is_over: bool,
}

impl Connection {
    /// Begins the connection inside. None where it's refused: nobody listens there, and the client is told so by a reset.
    fn to(outside: TcpStream, port: u16) -> Option<Connection> {
        let connection = outside.set_nonblocking(true).ok().and_then(|()| connect_inside(port).ok());
        let Some((inside, is_connecting)) = connection else {
            reset(&outside);
            return None;
        };
        // What comes in small pieces goes on in small pieces: whoever sends knows best what waits for what.
        for end in [&outside, &inside] {
            let _ = end.set_nodelay(true);
        }
        let ends = [outside, inside];
        Some(Connection { ends, flows: Default::default(), is_connecting, is_broken: false })
    }

    /// What to wait for. An end that is asked for nothing is left out: poll(2) would tell of a hang-up again and again.
    fn awaited(&self) -> impl Iterator<Item = PollFd<'_>> {
        let of = |end: usize| {
            let (from, to) = (&self.flows[end], &self.flows[1 - end]);
            let mut flags = PollFlags::empty();
            if self.is_connecting {
                flags.set(PollFlags::POLLOUT, end == 1);
            } else {
                flags.set(PollFlags::POLLIN, !from.is_over && from.pending.is_empty());
                flags.set(PollFlags::POLLOUT, !to.pending.is_empty());
            }
            (!flags.is_empty()).then(|| PollFd::new(self.ends[end].as_fd(), flags))
        };
        [of(0), of(1)].into_iter().flatten()
    }

    /// Moves whatever can be moved now.
    fn turn(&mut self, scratch: &mut [u8]) {
        if self.is_broken {
            return;
        }
        if self.is_connecting {
            match getsockopt(&self.ends[1], SocketError) {
                Ok(0) => self.is_connecting = false,
                _ => return self.break_off(),
            }
        }
        for from in [0, 1] {
            let [outside, inside] = &self.ends;
            let (source, target) = if from == 0 { (outside, inside) } else { (inside, outside) };
            if self.flows[from].pass(source, target, scratch).is_err() {
                return self.break_off();
            }
        }
    }

    /// One end has broken off: so does the other, and nobody takes that for a good end.
    fn break_off(&mut self) {
        self.ends.iter().for_each(reset);
        self.is_broken = true;
    }

    /// Once the container has ended, what it has said is all that there will be.
    fn is_over(&self, is_ending: bool) -> bool {
        let [sent, answered] = &self.flows;
        self.is_broken || answered.is_over && (sent.is_over || is_ending)
    }
}

impl Flow {
    fn pass(&mut self, mut from: &TcpStream, mut to: &TcpStream, scratch: &mut [u8]) -> std::io::Result<()> {
        for _ in 0..TURNS {
            if self.is_over {
                return Ok(());
            }
            while !self.pending.is_empty() {
                match later(to.write(&self.pending))? {
                    Some(written) => drop(self.pending.drain(..written)),
                    None => return Ok(()),
                }
            }
            match later(from.read(scratch))? {
                None => return Ok(()),
                // At once, whatever turn it is: nothing more is waited for here, so nothing would bring it up again.
                Some(0) => {
                    self.is_over = true;
                    // ENOTCONN: the other end has gone, which its own reading tells.
                    let _ = to.shutdown(Shutdown::Write);
                }
                Some(read) => {
                    let written = later(to.write(&scratch[..read]))?.unwrap_or(0);
                    self.pending = scratch[written..read].to_vec();
                }
            }
        }
        Ok(())
    }
}

/// How many bytes; none where it would have to wait.
fn later(result: std::io::Result<usize>) -> std::io::Result<Option<usize>> {
    match result {
        Ok(count) => Ok(Some(count)),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Ok(None),
        Err(error) => Err(error),
    }
}

/// A connection to a port inside, and whether it has no answer yet.
fn connect_inside(port: u16) -> nix::Result<(TcpStream, bool)> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(AddressFamily::Inet, SockType::Stream, flags, None)?;
    let [a, b, c, d] = Ipv4Addr::LOCALHOST.octets();
    match connect(socket.as_raw_fd(), &SockaddrIn::new(a, b, c, d, port)) {
        Ok(()) => Ok((socket.into(), false)),
        Err(Errno::EINPROGRESS) => Ok((socket.into(), true)),
        Err(errno) => Err(errno),
    }
}

/// Has a connection end by a reset, not by an end of file: socket(7), SO_LINGER.
fn reset(end: &TcpStream) {
    let _ = rustix::net::sockopt::set_socket_linger(end, Some(Duration::ZERO));
}
