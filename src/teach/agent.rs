//! The process of a demonstration inside the container. It does what the host asks through the gate, one call at a time.
//! So a demonstration reads as a straight line on the host's side.

use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
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
use crate::observe::proc::status_of;
use crate::plan::Plan;
use crate::plan::call::process::Namespaces;
use crate::plan::gate::Channel;
use crate::plan::slots::Slots;
use crate::sys::clone::{Cloned, clone3};
use crate::teach::call::DemoCall;
use crate::views::{self, Sight};

/// What may be asked.
#[derive(Debug, Serialize, Deserialize)]
enum Request {
    /// Make this call.
    Perform(DemoCall),
    /// Look at a feature.
    Look(Purpose),
    /// Read a file.
    Read(String),
    /// uname(2): the node's name.
    Node,
    /// Read a link.
    Link(String),
    /// Make a child agent in these new namespaces.
    Spawn(Namespaces),
    /// Reap a child that has ended, by its number here; 0 means any.
    Reap(i32),
    /// End, with this status.
    Exit(i32),
}

/// What is answered.
#[derive(Debug, Serialize, Deserialize)]
enum Reply {
    /// A call's result.
    Result(i64),
    /// A call's errno.
    Errno(i32),
    /// Words of a file.
    Words(String),
    /// What is seen.
    Sight(Box<Sight>),
}

/// A process inside that does what it's asked. It is killed, and what it was part of undone, when this is dropped.
#[derive(Debug)]
pub struct Agent {
    channel: Channel,
    /// Its number outside, as far as it can be known.
    outside: Pid,
    /// What ends with it; a child of another agent ends with that one.
    container: Option<Container>,
}

/// How far a call is that was begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// It goes on.
    Works,
    /// It came back.
    Done(Answer),
    /// It never will: the process is gone.
    Gone,
}

/// A call's result as the kernel gave it.
pub type Answer = std::result::Result<i64, Errno>;

impl Agent {
    /// Performs a plan that ends in a demonstration's process.
    ///
    /// # Errors
    /// As [`start_serving`].
    pub fn start(plan: &Plan, watch: &mut dyn Watch) -> Result<Agent> {
        let (container, channel) = start_serving(plan, watch, serve)?;
        Ok(Agent { channel, outside: container.pid(), container: Some(container) })
    }

    /// Its number outside.
    pub fn pid(&self) -> i32 {
        self.outside.as_raw()
    }

    /// Makes a call inside.
    ///
    /// # Errors
    /// When the process inside is gone. The call's own failure is the inner result.
    pub fn perform(&self, call: impl Into<DemoCall>) -> Result<Answer> {
        match self.ask(&Request::Perform(call.into()))? {
            Reply::Result(result) => Ok(Ok(result)),
            Reply::Errno(errno) => Ok(Err(Errno::from_raw(errno))),
            _ => Err(gone()),
        }
    }

    /// Has it make a call, without waiting: [`Agent::progress`] tells how it goes.
    ///
    /// # Errors
    /// When the process inside is gone.
    pub fn begin(&self, call: impl Into<DemoCall>) -> Result<()> {
        self.send(&Request::Perform(call.into()))
    }

    /// How far a call is that was begun. That the process was killed by it is an answer too.
    ///
    /// # Errors
    /// An interrupt.
    pub fn progress(&self) -> Result<Progress> {
        let mut ready = [PollFd::new(self.channel.as_fd(), PollFlags::POLLIN)];
        let is_ready = poll(&mut ready, PollTimeout::ZERO).is_ok_and(|count| count > 0);
        if !is_ready {
            let interrupt = Signals::block()?.next().filter(|signal| signal.ends());
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

    /// What it sees of a feature.
    ///
    /// # Errors
    /// When the process inside is gone.
    pub fn look(&self, purpose: impl Into<Purpose>) -> Result<Sight> {
        match self.ask(&Request::Look(purpose.into()))? {
            Reply::Sight(sight) => Ok(*sight),
            _ => Err(gone()),
        }
    }

    /// Reads a file there.
    ///
    /// # Errors
    /// When the process inside is gone. The file's own failure is the inner result.
    pub fn read(&self, path: &str) -> Result<std::result::Result<String, Errno>> {
        self.words(&Request::Read(path.into()))
    }

    /// Reads a link there.
    ///
    /// # Errors
    /// As [`Agent::read`].
    pub fn link(&self, path: &str) -> Result<std::result::Result<String, Errno>> {
        self.words(&Request::Link(path.into()))
    }

    /// The hostname that uname(2) gives there.
    ///
    /// # Errors
    /// As [`Agent::read`].
    pub fn node(&self) -> Result<std::result::Result<String, Errno>> {
        self.words(&Request::Node)
    }

    fn words(&self, request: &Request) -> Result<std::result::Result<String, Errno>> {
        match self.ask(request)? {
            Reply::Words(words) => Ok(Ok(words)),
            Reply::Errno(errno) => Ok(Err(Errno::from_raw(errno))),
            _ => Err(gone()),
        }
    }

    /// Makes a child of it, in these new namespaces besides its own. The child's number as the agent sees it comes along.
    ///
    /// # Errors
    /// When the process inside is gone. The clone's own failure is the inner result.
    pub fn spawn(&self, namespaces: &[Feature]) -> Result<std::result::Result<(Agent, i32), Errno>> {
        self.send(&Request::Spawn(Namespaces::of(namespaces)))?;
        let (reply, mut descriptors) = self.receive()?;
        match (reply, descriptors.pop(), descriptors.pop()) {
            (Reply::Errno(errno), ..) => Ok(Err(Errno::from_raw(errno))),
            (Reply::Result(number), Some(pidfd), Some(gate)) => {
                let outside = pid_behind(&pidfd).ok_or_else(gone)?;
                let agent = Agent { channel: Channel::from_fd(gate), outside, container: None };
                Ok(Ok((agent, number as i32)))
            }
            _ => Err(gone()),
        }
    }

    /// Reaps a child of it (by its number there; 0 means any), waiting at most two seconds: the wait status, as
    /// [`Ended::status`] has it.
    ///
    /// # Errors
    /// When the process inside is gone. ECHILD and ETIMEDOUT are the inner result.
    pub fn reap(&self, number: i32) -> Result<Answer> {
        match self.ask(&Request::Reap(number))? {
            Reply::Result(status) => Ok(Ok(status)),
            Reply::Errno(errno) => Ok(Err(Errno::from_raw(errno))),
            _ => Err(gone()),
        }
    }

    /// Has it end with a status, without waiting for that.
    ///
    /// # Errors
    /// When the process inside is gone already.
    pub fn exit(&self, status: i32) -> Result<()> {
        self.send(&Request::Exit(status))
    }

    /// Whether it is still there: false once its end of the gate is closed.
    pub fn is_alive(&self) -> bool {
        self.ask(&Request::Link("/proc/self".into())).is_ok()
    }

    /// Ends it from outside and gives how it ended. Only for an agent that was started by a plan.
    ///
    /// # Errors
    /// When it is a child of another agent.
    pub fn end(mut self) -> Result<Ended> {
        self.container.take().ok_or_else(gone)?.end()
    }

    /// Waits for its end. Only for an agent that was started by a plan.
    ///
    /// # Errors
    /// When it is a child of another agent.
    pub fn wait(mut self) -> Result<Ended> {
        self.container.take().ok_or_else(gone)?.wait(&mut Unwatched)
    }

    fn ask(&self, request: &Request) -> Result<Reply> {
        self.send(request)?;
        Ok(self.receive()?.0)
    }

    fn send(&self, request: &Request) -> Result<()> {
        self.channel.send(request, &[]).map_err(|_| gone())
    }

    fn receive(&self) -> Result<(Reply, Vec<std::os::fd::OwnedFd>)> {
        wait_readable(self.channel.as_fd(), &Signals::block()?)?;
        self.channel.receive().ok().flatten().ok_or_else(gone)
    }
}

fn gone() -> Error {
    Error::failed("the process inside has ended")
}

/// The number, in our namespace, of the process behind a pidfd: fdinfo of pidfd_open(2).
fn pid_behind(pidfd: &std::os::fd::OwnedFd) -> Option<Pid> {
    use std::os::fd::AsRawFd;
    let info = file::read_text(format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd())).ok()?;
    Some(Pid::from_raw(status_of(&info, "Pid")?.parse().ok()?))
}

/// The agent's side: answers until the host closes the gate.
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
            Request::Look(purpose) => Reply::Sight(Box::new(views::look(purpose))),
            Request::Read(path) => words(file::read_text(path)),
            Request::Node => match nix::sys::utsname::uname() {
                Ok(names) => Reply::Words(file::text(names.nodename().as_bytes().to_vec())),
                Err(errno) => Reply::Errno(errno as i32),
            },
            Request::Link(path) => words(file::read_link(path)),
            Request::Spawn(namespaces) => match spawn(&namespaces, channel, slots) {
                Ok(()) => continue,
                Err(errno) => Reply::Errno(errno as i32),
            },
            Request::Reap(number) => match reap(number) {
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

fn words(read: std::io::Result<String>) -> Reply {
    match read {
        Ok(text) => Reply::Words(text),
        Err(error) => Reply::Errno(errno(error) as i32),
    }
}

/// The new agent gets a gate of its own, whose other end and its pidfd go to the host.
fn spawn(namespaces: &Namespaces, channel: &Channel, slots: &mut Slots) -> std::result::Result<(), Errno> {
    let (hosts, its) = Channel::pair()?;
    match clone3(namespaces.flags().bits() as u64, None)? {
        Cloned::Child => {
            drop(hosts);
            let _ = nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL);
            serve_on(&its, slots)
        }
        Cloned::Parent(number, pidfd) => {
            let descriptors = [hosts.as_fd(), pidfd.as_fd()];
            channel.send(&Reply::Result(i64::from(number.as_raw())), &descriptors)
        }
    }
}

fn reap(number: i32) -> std::result::Result<i32, Errno> {
    let whom = if number == 0 { None } else { Some(Pid::from_raw(number)) };
    for _ in 0..200 {
        match waitpid(whom, Some(WaitPidFlag::WNOHANG))? {
            WaitStatus::Exited(_, status) => return Ok(status),
            WaitStatus::Signaled(_, signal, _) => return Ok(128 + signal as i32),
            _ => std::thread::sleep(Duration::from_millis(10)),
        }
    }
    Err(Errno::ETIMEDOUT)
}
