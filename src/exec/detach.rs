//! A command with a terminal, from which the user can detach by keys. The command runs on then.
//!
//! A copy of `sandbox` is the parent of the command, and copies its input and output. The process that was called stays in front
//! of it, because the shell waits for that one. It stops with the copy, and ends with it, or when the user detaches.

use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, chdir, getpid, getppid, pipe2, setsid};

use super::background::{close_inherited, close_streams};
use super::signals::{Signals, forwarded_by};
use super::{kill_by_pidfd, stop};
use crate::error::{Error, Result};
use crate::sys::clone::{Cloned, fork};
use crate::sys::{self, signal};
use crate::text::text;

/// One of the two processes.
#[derive(Debug)]
pub enum Detachable {
    /// The process that was called, when it can end.
    Front(FrontEnd),
    /// The copy.
    Copy(DetachableCopy),
}

/// Why the process that was called can end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrontEnd {
    /// The copy has ended with this status.
    Ended(u8),
    /// The user has detached.
    Detached,
}

/// The copy of `sandbox` that runs the command.
#[derive(Debug)]
pub struct DetachableCopy {
    /// The keys that detach.
    pub(super) keys: Vec<u8>,
    notice: OwnedFd,
}

/// Continues in a copy, which the user can detach from with these keys. In the process that was called, it returns when that can end.
///
/// # Errors
/// Those of pipe(2), clone(2) and signalfd(2).
pub fn continue_detachable(keys: Vec<u8>) -> Result<Detachable> {
    let cannot = |call: &str, errno| Error::failed(text("exec.with.background")).call(call, errno);
    let (heard, notice) = pipe2(OFlag::O_CLOEXEC).map_err(|errno| cannot("pipe2", errno))?;
    let front = getpid();
    match fork().map_err(|errno| cannot("clone", errno))? {
        Cloned::Child => {
            // If the process in front is killed, nobody is left who waits for the command.
            let _ = set_pdeathsig(Signal::SIGKILL);
            if getppid() != front {
                sys::exit(0);
            }
            forwarded_by(front);
            Ok(Detachable::Copy(DetachableCopy { keys, notice }))
        }
        Cloned::Parent(copy, pidfd) => {
            drop(notice);
            let ended = stay_in_front(copy, &pidfd, &heard);
            ended.map(Detachable::Front).inspect_err(|_| kill_by_pidfd(pidfd.as_fd()))
        }
    }
}

/// Waits for the copy. A signal for this process alone is forwarded. One of the terminal or for the whole process group has reached the
/// copy already. But when the terminal is closed, the kernel sends SIGHUP to the session leader alone, which can be this process.
fn stay_in_front(copy: Pid, pidfd: &OwnedFd, notice: &OwnedFd) -> Result<FrontEnd> {
    let signals = Signals::for_command()?;
    let mut notice = Some(notice);
    loop {
        if let Some(pipe) = notice
            && is_readable(pipe)
        {
            if rustix::io::read(pipe, &mut [0; 1]).is_ok_and(|length| length > 0) {
                return Ok(FrontEnd::Detached);
            }
            notice = None;
        }
        match waitpid(copy, Some(WaitPidFlag::WNOHANG | WaitPidFlag::WUNTRACED)) {
            Ok(WaitStatus::Exited(_, status)) => {
                return Ok(FrontEnd::Ended(u8::try_from(status).unwrap_or(u8::MAX)));
            }
            Ok(WaitStatus::Signaled(_, signal, _)) => {
                return Ok(FrontEnd::Ended(u8::try_from(128 + signal as i32).unwrap_or(u8::MAX)));
            }
            Ok(WaitStatus::Stopped(..)) if !signals.is_continued() => stop::stop(pidfd.as_fd()),
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => {
                return Err(Error::failed(text("exec.with.background")).call("wait4", errno));
            }
        }
        while let Some(arrived) = signals.next() {
            let has_copy_it = arrived.from_terminal && arrived.number != libc::SIGHUP || arrived.to_group;
            if arrived.number != libc::SIGCHLD && !has_copy_it {
                let _ = signal::send(pidfd.as_fd(), arrived.number);
            }
        }
        let mut ready = vec![PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
        ready.push(PollFd::new(pidfd.as_fd(), PollFlags::POLLIN));
        ready.extend(notice.map(|pipe| PollFd::new(pipe.as_fd(), PollFlags::POLLIN)));
        match poll(&mut ready, signals.timeout()) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(Error::failed("cannot wait for the command").call("poll", errno)),
        }
    }
}

fn is_readable(pipe: &OwnedFd) -> bool {
    let mut ready = [PollFd::new(pipe.as_fd(), PollFlags::POLLIN)];
    poll(&mut ready, nix::poll::PollTimeout::ZERO).is_ok_and(|count| count > 0)
}

impl DetachableCopy {
    /// The user has detached: lets the process in front end, and leaves its terminal. From now on nothing is printed.
    pub(super) fn leave(self) {
        let _ = set_pdeathsig(None);
        // In a session of its own, it gets no signal when the terminal is closed.
        let _ = setsid();
        // Without it, the user's terminal stays open until the command's end.
        let _ = close_streams();
        close_inherited();
        let _ = chdir("/");
        let _ = rustix::io::write(&self.notice, b".");
    }
}
