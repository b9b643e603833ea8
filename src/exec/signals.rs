//! Signals to `sandbox`: blocked while it owns something, and read from a descriptor where it waits.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use crate::error::{Error, ExitKind, Result};

/// Those that ask a program to end, and those that docker forwards besides.
const FORWARDED: [Signal; 6] =
    [Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTERM, Signal::SIGUSR1, Signal::SIGUSR2];

/// The blocked signals. They stay blocked: `sandbox` has nothing to do but wait, and then to end.
#[derive(Debug)]
pub struct Signals {
    descriptor: SignalFd,
}

/// A signal that arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrived {
    /// Its number.
    pub number: i32,
    /// Whether the terminal sent it, and so to every process in the foreground.
    pub from_terminal: bool,
}

impl Arrived {
    /// Whether it asks `sandbox` to end.
    pub fn ends(self) -> bool {
        ![libc::SIGUSR1, libc::SIGUSR2].contains(&self.number)
    }

    /// `SIGTERM`.
    pub fn name(self) -> String {
        Signal::try_from(self.number).map_or_else(|_| self.number.to_string(), |signal| signal.to_string())
    }
}

impl Signals {
    /// Blocks them.
    ///
    /// # Errors
    /// When the process has no descriptor left.
    pub fn block() -> Result<Signals> {
        let set: SigSet = FORWARDED.into_iter().collect();
        let blocked = sigprocmask(SigmaskHow::SIG_BLOCK, Some(&set), None)
            .and_then(|()| SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK));
        match blocked {
            Ok(descriptor) => Ok(Signals { descriptor }),
            Err(errno) => Err(Error::failed("cannot watch for signals").call("signalfd4(-1, …)", errno)),
        }
    }

    /// Watches for more of them, from now on.
    ///
    /// # Errors
    /// As [`Signals::block`].
    pub(super) fn also(&self, more: &[Signal]) -> Result<()> {
        let set: SigSet = FORWARDED.into_iter().chain(more.iter().copied()).collect();
        let watched = sigprocmask(SigmaskHow::SIG_BLOCK, Some(&set), None)
            .and_then(|()| self.descriptor.set_mask(&set));
        watched
            .map_err(|errno| Error::failed("cannot watch for signals").call("signalfd4(<signals>, …)", errno))
    }

    /// The next one that arrived, if any.
    pub fn next(&self) -> Option<Arrived> {
        let info = self.descriptor.read_signal().ok().flatten()?;
        Some(Arrived { number: info.ssi_signo as i32, from_terminal: info.ssi_code == SI_KERNEL })
    }
}

/// asm-generic/siginfo.h: sent by the kernel from somewhere, for our signals the terminal's line discipline.
const SI_KERNEL: i32 = 0x80;

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

/// The longest wait for the other process, unless a person is asked.
const DEADLINE: Duration = Duration::from_secs(30);

/// Waits until `descriptor` has something to read. A signal that asks `sandbox` to end is an error, as is the deadline.
pub(crate) fn wait_readable(descriptor: BorrowedFd<'_>, signals: &Signals) -> Result<()> {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(
                Error::failed("the process inside doesn't answer").why(format!("waited {DEADLINE:?}"))
            );
        }
        let mut ready =
            [PollFd::new(descriptor, PollFlags::POLLIN), PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        match poll(&mut ready, timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(Error::failed("cannot wait").call("poll(<gate>)", errno)),
        }
        // First of all what the other side says: once the command runs, a signal is the command's, not the end of a start.
        if ready[0].any().unwrap_or(false) {
            return Ok(());
        }
        if let Some(signal) = signals.next().filter(|signal| signal.ends()) {
            return Err(Error::new(ExitKind::Interrupted(signal.number), signal.name()));
        }
    }
}
