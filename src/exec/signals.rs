//! Signals to `sandbox`: they are blocked while a plan is performed, and read from a signalfd.
//!
//! A signal that the caller ignores (`nohup`, `trap '' INT`, a background job of a shell without job control) stays
//! ignored: it is not blocked, so the kernel discards it as before.
//!
//! timeout(1) and others signal `sandbox` and then their whole process group, to which the command belongs. The command
//! must get such a signal once. So a signal of the parent process waits for a moment: if a second one follows, it was sent
//! to the group, and the command has got it already.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::{Pid, getpgid, getpgrp, getpid, getppid};
use procfs::process::Stat;

use crate::error::{Error, ExitKind, Result};
use crate::observe::file;
use crate::sys::signal::{self, SignalDescriptor, SignalSet};

/// The signals that are never blocked: those that cannot be, and those that the kernel sends for this process's own
/// pipes and sockets. Docker does not forward them either.
const NEVER: SignalSet = SignalSet::of(&[libc::SIGKILL, libc::SIGSTOP, libc::SIGPIPE, libc::SIGURG]);

/// The signals by which the kernel reports a fault of this process. If one is blocked when a fault happens, the kernel
/// kills the process all the same.
const FAULTS: SignalSet =
    SignalSet::of(&[libc::SIGSEGV, libc::SIGBUS, libc::SIGFPE, libc::SIGILL, libc::SIGTRAP, libc::SIGSYS]);

/// The signals of job control that stop a process.
const STOPS: SignalSet = SignalSet::of(&[libc::SIGTSTP, libc::SIGTTIN, libc::SIGTTOU]);

/// The signals whose default action does not end a process.
const HARMLESS: SignalSet = SignalSet::of(&[libc::SIGCHLD, libc::SIGCONT, libc::SIGWINCH]).with(STOPS);

/// The signals that ask a program to end.
const ENDS: SignalSet = SignalSet::of(&[libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM]);

/// These are read even if the caller ignores them: `sandbox` needs them itself. SIGCHLD: the command was stopped or has
/// ended. SIGCONT: it is continued whether it is ignored or not.
const NEEDED: SignalSet = SignalSet::of(&[libc::SIGCHLD, libc::SIGCONT]);

/// The blocked signals. They stay blocked until `sandbox` exits.
#[derive(Debug)]
pub struct Signals {
    descriptor: SignalDescriptor,
    set: SignalSet,
    /// Whether there will be a command to which they are forwarded.
    has_command: bool,
    /// Signals for the command that arrived before it runs.
    held: RefCell<VecDeque<Arrived>>,
    /// Signals of the parent process that are not forwarded yet, and until when a second one is awaited.
    waiting: RefCell<BTreeMap<i32, Instant>>,
}

/// The maximum time between the two signals of a process that signals its child and then its process group.
const GRACE: Duration = Duration::from_millis(50);

/// Whether an init gets a process group of its own. Then a signal to the process group of `sandbox` does not reach it, and
/// it does not forward to its command what the command has got itself. In the foreground of a terminal it stays in the
/// group, because the terminal stops and continues a whole group.
pub(super) fn separates_init() -> bool {
    // tpgid is the foreground process group of the controlling terminal, or -1 without one. proc_pid_stat(5)
    !rustix::termios::isatty(rustix::stdio::stdin())
        && file::parse::<Stat>("/proc/self/stat").is_ok_and(|stat| stat.tpgid != stat.pgrp)
}

/// A signal that arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrived {
    /// Its number.
    pub number: i32,
    /// Whether the terminal sent it. Then every process of the foreground process group has got it.
    pub from_terminal: bool,
    /// Whether it was sent to the whole process group of `sandbox`.
    pub to_group: bool,
}

impl Arrived {
    /// Whether it asks a program to end.
    pub fn ends(self) -> bool {
        ENDS.contains(self.number)
    }

    /// Whether its default action stops a process.
    pub fn stops(self) -> bool {
        STOPS.contains(self.number)
    }

    /// `SIGTERM`.
    pub fn name(self) -> String {
        signal::name(self.number)
    }
}

impl Signals {
    /// Blocks all signals that are forwarded to a command.
    ///
    /// # Errors
    /// Those of signalfd(2): the process has no descriptor left.
    pub fn for_command() -> Result<Signals> {
        let ignored = signal::ignored_on_entry().without(NEEDED);
        Signals::of(SignalSet::ALL.without(NEVER).without(ignored), true)
    }

    /// Blocks the signals that end a program, where there is no command.
    ///
    /// # Errors
    /// As [`Signals::for_command`].
    pub fn block() -> Result<Signals> {
        let ignored = signal::ignored_on_entry();
        Signals::of(SignalSet::ALL.without(NEVER).without(FAULTS).without(HARMLESS).without(ignored), false)
    }

    fn of(set: SignalSet, has_command: bool) -> Result<Signals> {
        match signal::block(set).and_then(|_| SignalDescriptor::new(set)) {
            Ok(descriptor) => Ok(Signals {
                descriptor,
                set,
                has_command,
                held: RefCell::default(),
                waiting: RefCell::default(),
            }),
            Err(errno) => Err(Error::failed("cannot watch for signals").call("signalfd4(-1, …)", errno)),
        }
    }

    /// Reads `more` too, and no longer `less`, which get back their default actions.
    ///
    /// # Errors
    /// As [`Signals::for_command`].
    pub(super) fn change(&self, more: &[i32], less: &[i32]) -> Result<()> {
        let (more, less) = (SignalSet::of(more), SignalSet::of(less));
        let set = self.set.with(more).without(less);
        let changed = signal::block(more)
            .and_then(|mask| self.descriptor.set(set).map(|()| mask))
            .and_then(|mask| signal::set_mask(mask.with(more).without(less)));
        changed
            .map(|_| ())
            .map_err(|errno| Error::failed("cannot watch for signals").call("signalfd4(<signals>, …)", errno))
    }

    /// The next signal that has arrived, if any.
    pub fn next(&self) -> Option<Arrived> {
        if let Some(held) = self.held.borrow_mut().pop_front() {
            return Some(held);
        }
        let mut waiting = self.waiting.borrow_mut();
        while let Some((arrived, sender)) = self.arrived() {
            if sender != Sender::Other && waiting.remove(&arrived.number).is_some() {
                return Some(Arrived { to_group: true, ..arrived });
            }
            if sender != Sender::Parent {
                return Some(arrived);
            }
            waiting.insert(arrived.number, Instant::now() + GRACE);
        }
        let now = Instant::now();
        let number = waiting.iter().find(|(_, until)| **until <= now).map(|(number, _)| *number)?;
        waiting.remove(&number);
        Some(Arrived { number, from_terminal: false, to_group: false })
    }

    /// After which time [`Signals::next`] returns a signal that has arrived already.
    pub(super) fn timeout(&self) -> PollTimeout {
        let waiting = self.waiting.borrow();
        let Some(until) = waiting.values().min() else { return PollTimeout::NONE };
        // poll(2) counts whole milliseconds.
        let left = until.saturating_duration_since(Instant::now()) + Duration::from_millis(1);
        PollTimeout::try_from(left).unwrap_or(PollTimeout::ZERO)
    }

    /// Reads the signals that have arrived while there is no command yet. Returns one that ends `sandbox`. The others
    /// are kept for the command. Ctrl-Z stops `sandbox` at once.
    pub fn next_end(&self) -> Option<Arrived> {
        while let Some((arrived, sender)) = self.arrived() {
            match arrived {
                // The terminal has sent it to the child too. One from kill(1) is for the command.
                arrived if arrived.stops() && (arrived.from_terminal || !self.has_command) => {
                    signal::stop_self();
                }
                arrived if !self.has_command => return Some(arrived),
                // A signal that the caller has blocked is for the command alone: it may take it by sigwait(3).
                arrived if arrived.ends() && !signal::blocked_on_entry().contains(arrived.number) => {
                    return Some(arrived);
                }
                arrived if arrived.number == libc::SIGCHLD => {}
                // The second one was sent to the process group.
                arrived if sender != Sender::Other && self.held.borrow().contains(&arrived) => {}
                arrived => self.held.borrow_mut().push_back(arrived),
            }
        }
        None
    }

    fn arrived(&self) -> Option<(Arrived, Sender)> {
        // A write beyond RLIMIT_FSIZE sends SIGXFSZ to the writer, as if from itself. It is not for the command.
        let is_own = |code, pid| code == SI_USER && pid == getpid().as_raw();
        let (number, code, pid) =
            std::iter::from_fn(|| self.descriptor.next()).find(|&(_, code, pid)| !is_own(code, pid))?;
        let pid = Pid::from_raw(pid);
        let sender = match code {
            SI_USER if pid.as_raw() == 0 => Sender::Unknown,
            SI_USER if pid == getppid() && getpgid(Some(pid)) == Ok(getpgrp()) => Sender::Parent,
            _ => Sender::Other,
        };
        Some((Arrived { number, from_terminal: code == SI_KERNEL, to_group: false }, sender))
    }
}

/// Who sent a signal.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sender {
    /// The parent process, which belongs to the same process group.
    Parent,
    /// A process of an outer PID namespace; or any process, if the signal was sent to a process group with a member in a
    /// new PID namespace: the kernel sets the PID to 0 for that member, and keeps the 0 for the next ones.
    Unknown,
    /// Any other process, or the kernel.
    Other,
}

/// The signal was sent by kill(2). asm-generic/siginfo.h
const SI_USER: i32 = 0;

/// The kernel sent the signal. For the signals here, that is the terminal's line discipline. asm-generic/siginfo.h
pub(super) const SI_KERNEL: i32 = 0x80;

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

/// The maximum time to wait for the other process.
const DEADLINE: Duration = Duration::from_secs(30);

/// Waits until `descriptor` is readable. A signal that asks `sandbox` to end is an error, and so is the deadline.
pub(crate) fn wait_readable(descriptor: BorrowedFd<'_>, signals: &Signals) -> Result<()> {
    let mut deadline = Instant::now() + DEADLINE;
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
        let before = Instant::now();
        if let Some(signal) = signals.next_end() {
            return Err(Error::new(ExitKind::Interrupted(signal.number), signal.name()));
        }
        // `sandbox` may have been stopped by Ctrl-Z meanwhile, and the other process with it.
        deadline += before.elapsed();
    }
}
