//! Signals to `sandbox`: they are blocked while a plan is performed, and read from a signalfd.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use crate::error::{Error, ExitKind, Result};

/// The signals that ask a program to end, and two more that Docker forwards.
const FORWARDED: [Signal; 6] =
    [Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTERM, Signal::SIGUSR1, Signal::SIGUSR2];

/// The blocked signals. They stay blocked until `sandbox` exits.
#[derive(Debug)]
pub struct Signals {
    descriptor: SignalFd,
}

/// A signal that arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrived {
    /// Its number.
    pub number: i32,
    /// Whether the terminal sent it. Then every process of the foreground process group has got it.
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
    /// Blocks the signals.
    ///
    /// # Errors
    /// Those of signalfd(2): the process has no descriptor left.
    pub fn block() -> Result<Signals> {
        let set: SigSet = FORWARDED.into_iter().collect();
        let blocked = sigprocmask(SigmaskHow::SIG_BLOCK, Some(&set), None)
            .and_then(|()| SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK));
        match blocked {
            Ok(descriptor) => Ok(Signals { descriptor }),
            Err(errno) => Err(Error::failed("cannot watch for signals").call("signalfd4(-1, …)", errno)),
        }
    }

    /// Blocks more signals, and reads them too.
    ///
    /// # Errors
    /// As [`Signals::block`].
    pub(super) fn add(&self, more: &[Signal]) -> Result<()> {
        let set: SigSet = FORWARDED.into_iter().chain(more.iter().copied()).collect();
        let watched = sigprocmask(SigmaskHow::SIG_BLOCK, Some(&set), None)
            .and_then(|()| self.descriptor.set_mask(&set));
        watched
            .map_err(|errno| Error::failed("cannot watch for signals").call("signalfd4(<signals>, …)", errno))
    }

    /// The next signal that has arrived, if any.
    pub fn next(&self) -> Option<Arrived> {
        let info = self.descriptor.read_signal().ok().flatten()?;
        Some(Arrived { number: info.ssi_signo as i32, from_terminal: info.ssi_code == SI_KERNEL })
    }
}

/// The kernel sent the signal. For the signals here, that is the terminal's line discipline. asm-generic/siginfo.h
const SI_KERNEL: i32 = 0x80;

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

/// The maximum time to wait for the other process.
const DEADLINE: Duration = Duration::from_secs(30);

/// Waits until `descriptor` is readable. A signal that asks `sandbox` to end is an error, and so is the deadline.
pub(crate) fn wait_readable(descriptor: BorrowedFd<'_>, signals: &Signals) -> Result<()> {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Error::failed("the process in the container does not answer")
                .why(format!("waited {DEADLINE:?}")));
        }
        let mut ready =
            [PollFd::new(descriptor, PollFlags::POLLIN), PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        match poll(&mut ready, timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(Error::failed("cannot wait").call("poll(<gate>)", errno)),
        }
        // The descriptor first: if the command already runs, a signal is for the command and does not stop the start.
        if ready[0].any().unwrap_or(false) {
            return Ok(());
        }
        if let Some(signal) = signals.next().filter(|signal| signal.ends()) {
            return Err(Error::new(ExitKind::Interrupted(signal.number), signal.name()));
        }
    }
}
