//! The agent: the process of a demonstration inside the container. It makes the calls that the host requests.
//!
//! Host and agent share the gate, a socket pair. The host sends one request at a time and waits for the reply. So the
//! code of a demonstration runs on the host and reads from top to bottom, although its calls are made in other
//! processes.

use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use crate::error::{Error, ExitKind, Result, errno};
use crate::exec::signals::{Signals, wait_readable};
use crate::exec::{Container, Ended, Unwatched, Watch, start_serving};
use crate::feature::{Feature, Purpose};
use crate::observe::file;
use crate::observe::proc;
use crate::plan::Plan;
use crate::plan::call::process::Namespaces;
use crate::plan::gate::Channel;
use crate::plan::slots::Slots;
use crate::sys::clone::{Cloned, clone3};
use crate::sys::netlink;
use crate::teach::call::DemoCall;
use crate::views::{self, Readings};

/// A request of the host to the agent.
#[derive(Debug, Serialize, Deserialize)]
enum Request {
    /// Make this call.
    Perform(DemoCall),
    /// Read the view of a feature.
    Look(Purpose),
    /// Read a file.
    Read(#[serde(with = "crate::value::bytes")] PathBuf),
    /// Read the hostname by uname(2).
    Node,
    /// Read a symbolic link.
    Link(String),
    /// Read the kind of a network device.
    Device(String),
    /// Start a child agent in these new namespaces.
    Spawn(Namespaces),
    /// Reap a child that has ended, by its PID in the agent's namespace. 0 means any child.
    Reap(i32),
    /// Exit with this status.
    Exit(i32),
}

/// The kind of a network device that has none.
const NO_KIND: &str = "none";

/// The reply of the agent to a request.
#[derive(Debug, Serialize, Deserialize)]
enum Reply {
    /// The result of a call.
    Result(i64),
    /// The errno of a call.
    Errno(i32),
    /// The content of a file.
    Text(String),
    /// What the agent read about a feature.
    Readings(Box<Readings>),
}

/// The host's handle of an agent. When it is dropped, the agent is killed and its container is removed.
#[derive(Debug)]
pub struct Agent {
    channel: Channel,
    /// The PID of the agent in the namespace of the host.
    pid: Pid,
    /// The container that was started for it. A child of another agent has none: it ends with its parent.
    container: Option<Container>,
}

/// The state of a call that was begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// The call has not returned yet.
    Works,
    /// The call has returned.
    Done(Answer),
    /// The process has ended, so the call will not return.
    Gone,
}

/// The result of a call, or its errno.
pub type Answer = std::result::Result<i64, Errno>;

impl Agent {
    /// Performs a plan, and runs an agent instead of a command.
    ///
    /// # Errors
    /// As [`start_serving`].
    pub fn start(plan: &Plan, watch: &mut dyn Watch) -> Result<Agent> {
        let (container, channel) = start_serving(plan, watch, serve)?;
        Ok(Agent { channel, pid: container.pid(), container: Some(container) })
    }

    /// The PID of the agent in the namespace of the host.
    pub fn pid(&self) -> i32 {
        self.pid.as_raw()
    }

    /// Has the agent make a call.
    ///
    /// # Errors
    /// The agent has ended. The errno of the call is the inner result.
    pub fn perform(&self, call: impl Into<DemoCall>) -> Result<Answer> {
        match self.request(&Request::Perform(call.into()))? {
            Reply::Result(result) => Ok(Ok(result)),
            Reply::Errno(errno) => Ok(Err(Errno::from_raw(errno))),
            _ => Err(gone()),
        }
    }

    /// Has the agent begin a call, without waiting for the result. [`Agent::progress`] returns the result.
    ///
    /// # Errors
    /// The agent has ended.
    pub fn begin(&self, call: impl Into<DemoCall>) -> Result<()> {
        self.send(&Request::Perform(call.into()))
    }

    /// The state of a call that was begun. [`Progress::Gone`] is a possible result: the call may have ended the
    /// process.
    ///
    /// # Errors
    /// The user has interrupted the demonstration.
    pub fn progress(&self) -> Result<Progress> {
        let mut ready = [PollFd::new(self.channel.as_fd(), PollFlags::POLLIN)];
        let is_ready = poll(&mut ready, PollTimeout::ZERO).is_ok_and(|count| count > 0);
        if !is_ready {
            let interrupt = Signals::block()?.next_end();
            return match interrupt {
                Some(signal) => Err(Error::new(ExitKind::Interrupted(signal.number), signal.name())),
                None => Ok(Progress::Works),
            };
        }
        Ok(match self.channel.receive() {
            Ok(Some((Reply::Result(result), _))) => Progress::Done(Ok(result)),
            Ok(Some((Reply::Errno(errno), _))) => Progress::Done(Err(Errno::from_raw(errno))),
            _ => Progress::Gone,
        })
    }

    /// Has the agent read the view of a feature.
    ///
    /// # Errors
    /// The agent has ended.
    pub fn look(&self, purpose: impl Into<Purpose>) -> Result<Readings> {
        match self.request(&Request::Look(purpose.into()))? {
            Reply::Readings(readings) => Ok(*readings),
            _ => Err(gone()),
        }
    }

    /// Has the agent read a file.
    ///
    /// # Errors
    /// The agent has ended. The errno of the read is the inner result.
    pub fn read(&self, path: impl AsRef<Path>) -> Result<std::result::Result<String, Errno>> {
        self.text(&Request::Read(path.as_ref().to_owned()))
    }

    /// Has the agent read a symbolic link.
    ///
    /// # Errors
    /// As [`Agent::read`].
    pub fn link(&self, path: &str) -> Result<std::result::Result<String, Errno>> {
        self.text(&Request::Link(path.into()))
    }

    /// Has the agent ask the kernel of which kind a network device is: `veth`; `none` for `lo`.
    ///
    /// # Errors
    /// As [`Agent::read`]. ENODEV: there is no such device in its network namespace.
    pub fn device(&self, name: &str) -> Result<std::result::Result<String, Errno>> {
        self.text(&Request::Device(name.into()))
    }

    /// The hostname that uname(2) returns in the agent.
    ///
    /// # Errors
    /// As [`Agent::read`].
    pub fn node(&self) -> Result<std::result::Result<String, Errno>> {
        self.text(&Request::Node)
    }

    fn text(&self, request: &Request) -> Result<std::result::Result<String, Errno>> {
        match self.request(request)? {
            Reply::Text(text) => Ok(Ok(text)),
            Reply::Errno(errno) => Ok(Err(Errno::from_raw(errno))),
            _ => Err(gone()),
        }
    }

    /// Has the agent start a child agent in these new namespaces. Returns it and its PID in this agent's namespace.
    ///
    /// # Errors
    /// The agent has ended. The errno of clone3(2) is the inner result.
    pub fn spawn(&self, namespaces: &[Feature]) -> Result<std::result::Result<(Agent, i32), Errno>> {
        self.send(&Request::Spawn(Namespaces::of(namespaces)))?;
        let (reply, mut descriptors) = self.receive()?;
        match (reply, descriptors.pop(), descriptors.pop()) {
            (Reply::Errno(errno), ..) => Ok(Err(Errno::from_raw(errno))),
            (Reply::Result(inner_pid), Some(pidfd), Some(gate)) => {
                let pid = proc::pid_of(&pidfd).ok_or_else(gone)?;
                let agent = Agent { channel: Channel::from_fd(gate), pid, container: None };
                Ok(Ok((agent, inner_pid as i32)))
            }
            _ => Err(gone()),
        }
    }

    /// Has the agent reap a child, given by its PID in the agent's namespace (0 means any). Waits for at most two
    /// seconds. Returns the status as [`Ended::status`] does.
    ///
    /// # Errors
    /// The agent has ended. ECHILD and ETIMEDOUT are inner results.
    pub fn reap(&self, pid: i32) -> Result<Answer> {
        match self.request(&Request::Reap(pid))? {
            Reply::Result(status) => Ok(Ok(status)),
            Reply::Errno(errno) => Ok(Err(Errno::from_raw(errno))),
            _ => Err(gone()),
        }
    }

    /// Has the agent exit with a status, without waiting for it.
    ///
    /// # Errors
    /// The agent has ended already.
    pub fn exit(&self, status: i32) -> Result<()> {
        self.send(&Request::Exit(status))
    }

    /// Whether the agent still runs. It does not if its end of the gate is closed.
    pub fn is_alive(&self) -> bool {
        self.request(&Request::Link("/proc/self".into())).is_ok()
    }

    /// Kills an agent that was started by [`Agent::spawn`]. Its parent has not reaped it, so the PID is still its own.
    pub fn kill(self) {
        let _ = nix::sys::signal::kill(self.pid, nix::sys::signal::Signal::SIGKILL);
    }

    /// Ends the agent from outside. Returns how it ended. Works only for an agent that was started by [`Agent::start`].
    ///
    /// # Errors
    /// The agent is a child of another agent.
    pub fn end(mut self) -> Result<Ended> {
        self.container.take().ok_or_else(gone)?.end()
    }

    /// Waits until the agent ends. Works only for an agent that was started by [`Agent::start`].
    ///
    /// # Errors
    /// The agent is a child of another agent.
    pub fn wait(mut self) -> Result<Ended> {
        self.container.take().ok_or_else(gone)?.wait(&mut Unwatched)
    }

    fn request(&self, request: &Request) -> Result<Reply> {
        self.send(request)?;
        Ok(self.receive()?.0)
    }

    fn send(&self, request: &Request) -> Result<()> {
        self.channel.send(request, &[]).map_err(|_| gone())
    }

    fn receive(&self) -> Result<(Reply, Vec<std::os::fd::OwnedFd>)> {
        wait_readable(self.channel.as_fd(), &Signals::block()?, || {})?;
        self.channel.receive().ok().flatten().ok_or_else(gone)
    }
}

fn gone() -> Error {
    Error::failed("the process inside has ended")
}

/// The main function of the agent: answers requests until the host closes the gate.
fn serve(slots: &mut Slots) -> ! {
    let Some(channel) = slots.gate.take() else { crate::sys::exit(125) };
    serve_on(&channel, slots)
}

fn serve_on(channel: &Channel, slots: &mut Slots) -> ! {
    while let Ok(Some((request, _))) = channel.receive::<Request>() {
        let reply = match request {
            Request::Perform(call) => match call.perform(slots) {
                Ok(result) => Reply::Result(result),
                Err(errno) => Reply::Errno(errno as i32),
            },
            Request::Look(purpose) => Reply::Readings(Box::new(views::look(purpose))),
            Request::Read(path) => text_reply(file::read_text(path)),
            Request::Node => match nix::sys::utsname::uname() {
                Ok(names) => Reply::Text(file::text(names.nodename().as_bytes().to_vec())),
                Err(errno) => Reply::Errno(errno as i32),
            },
            Request::Link(path) => text_reply(file::read_link(path)),
            Request::Device(name) => match netlink::find_link(&name) {
                Some(link) => Reply::Text(link.kind().unwrap_or(NO_KIND).to_owned()),
                None => Reply::Errno(Errno::ENODEV as i32),
            },
            Request::Spawn(namespaces) => match spawn(&namespaces, channel, slots) {
                Ok(()) => continue,
                Err(errno) => Reply::Errno(errno as i32),
            },
            Request::Reap(pid) => match reap(pid) {
                Ok(status) => Reply::Result(i64::from(status)),
                Err(errno) => Reply::Errno(errno as i32),
            },
            Request::Exit(status) => crate::sys::exit(status),
        };
        if channel.send(&reply, &[]).is_err() {
            break;
        }
    }
    crate::sys::exit(0)
}

fn text_reply(read: std::io::Result<String>) -> Reply {
    match read {
        Ok(text) => Reply::Text(text),
        Err(error) => Reply::Errno(errno(error) as i32),
    }
}

/// Starts a child agent with a new gate. The other end of that gate and a pidfd of the child are sent to the host.
fn spawn(namespaces: &Namespaces, channel: &Channel, slots: &mut Slots) -> std::result::Result<(), Errno> {
    let (host_end, child_end) = Channel::pair()?;
    match clone3(namespaces.flags().bits() as u64, None)? {
        Cloned::Child => {
            drop(host_end);
            let _ = nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL);
            serve_on(&child_end, slots)
        }
        Cloned::Parent(pid, pidfd) => {
            let descriptors = [host_end.as_fd(), pidfd.as_fd()];
            channel.send(&Reply::Result(i64::from(pid.as_raw())), &descriptors)
        }
    }
}

fn reap(pid: i32) -> std::result::Result<i32, Errno> {
    let child = if pid == 0 { None } else { Some(Pid::from_raw(pid)) };
    for _ in 0..200 {
        match waitpid(child, Some(WaitPidFlag::WNOHANG))? {
            WaitStatus::Exited(_, status) => return Ok(status),
            WaitStatus::Signaled(_, signal, _) => return Ok(128 + signal as i32),
            _ => std::thread::sleep(Duration::from_millis(10)),
        }
    }
    Err(Errno::ETIMEDOUT)
}
