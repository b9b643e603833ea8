//! Signals to `sandbox`: they are blocked while a plan is performed, and read from a signalfd.
//!
//! A signal that the caller ignores (`nohup`, `trap '' INT`, a background job of a shell without job control) stays
//! ignored: it is not blocked, so the kernel discards it as before.
//!
//! A command in the process group of `sandbox` must get each signal once. The kernel gives it a signal that was sent to
//! the whole group, so that one is not forwarded. But the kernel does not report to what a signal was sent, and a standard
//! signal that is sent twice before it is read arrives once. So it is found out by the sender:
//!
//! | the sender | the signal |
//! |---|---|
//! | the terminal | was sent to the foreground process group |
//! | an ancestor in the group that now ignores the signal, and did not before | was sent to the group: its sender is in the group, too, and protects itself. timeout(1) does this |
//! | PID 0, seen from the initial PID namespace | was sent to the group: see [`Sender::Unknown`] |
//! | any other | was sent to `sandbox` |
//!
//! sudo(8) forwards no signal of its own process group. That loses `kill $!` of a script. tini gives its command a process
//! group of its own; then a signal to the group does not reach the children of the command.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::{Pid, getpgid, getpgrp, getpid, getppid};
use procfs::process::Status;

use crate::error::{Error, ExitKind, Result};
use crate::feature::Feature;
use crate::observe::{file, proc};
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
pub(crate) const ENDS: SignalSet = SignalSet::of(&[libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM]);

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
    /// Signals of processes of the same group that are not forwarded yet.
    waiting: RefCell<Vec<Waiting>>,
    /// Signals that were sent to the group, and until when the same signal belongs to them.
    grouped: RefCell<BTreeMap<i32, Instant>>,
    /// The signals that arrived last, when, and whether from the process in front of this one.
    doubled: RefCell<BTreeMap<i32, (Instant, bool)>>,
    /// The ancestors in the same group, and what each ignored when this program started. bash always ignores SIGQUIT.
    ancestors: Vec<(Pid, SignalSet)>,
}

/// A signal that is not forwarded yet.
#[derive(Debug, Clone, Copy)]
struct Waiting {
    number: i32,
    sender: Pid,
    /// Until when the sender may still send it to the group.
    until: Instant,
}

/// The process in front of this one, which forwards its signals: see [`super::detach`]. 0: there is none.
static FRONT: AtomicI32 = AtomicI32::new(0);

/// Says which process forwards signals to this one.
pub(super) fn forwarded_by(front: Pid) {
    FRONT.store(front.as_raw(), Ordering::Relaxed);
}

/// The maximum time from the signal of a process to `sandbox` to its signal to the group.
const GRACE: Duration = Duration::from_millis(50);

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
                grouped: RefCell::default(),
                doubled: RefCell::default(),
                ancestors: ancestors(),
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
        let now = Instant::now();
        while let Some((arrived, sender)) = self.arrived() {
            match sender {
                Sender::Other | Sender::Front if self.is_doubled(arrived.number, sender, now) => {}
                Sender::Other | Sender::Front => return Some(arrived),
                Sender::Group => return Some(Arrived { to_group: true, ..arrived }),
                Sender::Unknown if !self.is_announced(arrived.number, now) => return Some(arrived),
                Sender::Member(sender) if !self.protects_itself(sender, arrived.number) => {
                    let until = now + GRACE;
                    self.waiting.borrow_mut().push(Waiting { number: arrived.number, sender, until });
                }
                Sender::Member(_) | Sender::Unknown => {
                    if let Some(arrived) = self.to_group(arrived.number, now) {
                        return Some(arrived);
                    }
                }
            }
        }
        let next = self.waiting.borrow().iter().position(|waiting| waiting.until <= now)?;
        let Waiting { number, sender, .. } = self.waiting.borrow_mut().remove(next);
        if self.protects_itself(sender, number) {
            return self.to_group(number, now);
        }
        Some(Arrived { number, from_terminal: false, to_group: false })
    }

    /// A signal that was sent to the group. None for the second of a pair: timeout(1) sends it to `sandbox` first.
    fn to_group(&self, number: i32, now: Instant) -> Option<Arrived> {
        self.waiting.borrow_mut().retain(|waiting| waiting.number != number);
        let before = self.grouped.borrow_mut().insert(number, now + GRACE);
        if before.is_some_and(|until| until > now) {
            self.grouped.borrow_mut().remove(&number);
            return None;
        }
        Some(Arrived { number, from_terminal: false, to_group: true })
    }

    /// Whether a signal has arrived before: what is sent to the whole group reaches this process, and that in front of it, which forwards
    /// it. The same sender may well send it twice.
    fn is_doubled(&self, number: i32, sender: Sender, now: Instant) -> bool {
        if FRONT.load(Ordering::Relaxed) == 0 {
            return false;
        }
        let is_front = sender == Sender::Front;
        let mut doubled = self.doubled.borrow_mut();
        match doubled.remove(&number) {
            Some((at, was_front)) if was_front != is_front && now < at + GRACE => true,
            _ => {
                doubled.insert(number, (now, is_front));
                false
            }
        }
    }

    /// Whether a process of the group has just sent this signal.
    fn is_announced(&self, number: i32, now: Instant) -> bool {
        self.waiting.borrow().iter().any(|waiting| waiting.number == number)
            || self.grouped.borrow().get(&number).is_some_and(|until| *until > now)
    }

    /// Whether an ancestor ignores a signal that it has sent, and did not ignore it before.
    fn protects_itself(&self, sender: Pid, number: i32) -> bool {
        let before = self.ancestors.iter().find(|(ancestor, _)| *ancestor == sender);
        before.is_some_and(|(_, ignored)| !ignored.contains(number))
            && status_of(sender).is_some_and(|status| SignalSet::from_bits(status.sigign).contains(number))
    }

    /// Whether a SIGCONT was read that [`Signals::next`] has not returned yet.
    pub(super) fn is_continued(&self) -> bool {
        self.held.borrow().iter().any(|arrived| arrived.number == libc::SIGCONT)
            || self.waiting.borrow().iter().any(|waiting| waiting.number == libc::SIGCONT)
    }

    /// After which time [`Signals::next`] returns a signal that has arrived already.
    pub fn timeout(&self) -> PollTimeout {
        let waiting = self.waiting.borrow();
        let Some(until) = waiting.iter().map(|waiting| waiting.until).min() else { return PollTimeout::NONE };
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
                // The second one was sent to the process group. The first one may have arrived before the command exists.
                arrived if self.is_second(arrived, sender) => {}
                arrived => self.held.borrow_mut().push_back(arrived),
            }
        }
        None
    }

    /// Whether a signal was sent to the group, and is held for the command already.
    fn is_second(&self, arrived: Arrived, sender: Sender) -> bool {
        let is_to_group = match sender {
            Sender::Other => false,
            Sender::Front | Sender::Group | Sender::Unknown => true,
            Sender::Member(sender) => self.protects_itself(sender, arrived.number),
        };
        is_to_group && self.held.borrow().contains(&arrived)
    }

    fn arrived(&self) -> Option<(Arrived, Sender)> {
        // A write beyond RLIMIT_FSIZE sends SIGXFSZ to the writer, as if from itself. It is not for the command.
        let is_own = |code, pid| code == SI_USER && pid == getpid().as_raw();
        let (number, code, pid) =
            std::iter::from_fn(|| self.descriptor.next()).find(|&(_, code, pid)| !is_own(code, pid))?;
        let pid = Pid::from_raw(pid);
        let sender = match code {
            SI_USER if pid.as_raw() != 0 && pid.as_raw() == FRONT.load(Ordering::Relaxed) => Sender::Front,
            SI_USER if pid.as_raw() == 0 && is_in_initial_namespace() => Sender::Group,
            SI_USER if pid.as_raw() == 0 => Sender::Unknown,
            SI_USER if self.ancestors.iter().any(|(ancestor, _)| *ancestor == pid) => Sender::Member(pid),
            _ => Sender::Other,
        };
        Some((Arrived { number, from_terminal: code == SI_KERNEL, to_group: false }, sender))
    }
}

/// Who sent a signal.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sender {
    /// The process in front of this one.
    Front,
    /// An ancestor, which belongs to the same process group.
    Member(Pid),
    /// A process that sent it to the process group.
    Group,
    /// A process of an outer PID namespace; or any process, if the signal was sent to a process group with a member in a
    /// new PID namespace: the kernel sets the PID to 0 for that member, and keeps the 0 for the next ones.
    Unknown,
    /// Any other process, or the kernel.
    Other,
}

/// Whether no PID namespace is outside the one of this process. Its inode number is fixed: linux/proc_ns.h,
/// PROC_PID_INIT_INO.
fn is_in_initial_namespace() -> bool {
    proc::namespace_link("/proc/self", Feature::Pid).is_ok_and(|name| name == "pid:[4026531836]")
}

/// The ancestors of this process that belong to its process group, with the signals that they ignore.
fn ancestors() -> Vec<(Pid, SignalSet)> {
    let mut all = Vec::new();
    let mut next = getppid();
    // A parent in an outer PID namespace is 0.
    while next.as_raw() > 0 && getpgid(Some(next)) == Ok(getpgrp()) {
        let Some(status) = status_of(next) else { break };
        all.push((next, SignalSet::from_bits(status.sigign)));
        next = Pid::from_raw(status.ppid);
    }
    all
}

fn status_of(process: Pid) -> Option<Status> {
    file::parse(format!("/proc/{process}/status")).ok()
}

/// The signal was sent by kill(2). asm-generic/siginfo.h
const SI_USER: i32 = 0;

/// The kernel sent the signal. For the signals here, that is the terminal's line discipline. asm-generic/siginfo.h
const SI_KERNEL: i32 = 0x80;

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

/// The maximum time to wait for the other process.
const DEADLINE: Duration = Duration::from_secs(30);

/// Waits until `descriptor` is readable. A signal that asks `sandbox` to end is an error, and so is the deadline. After any
/// other signal, `woken` is called. Its time does not count.
pub(crate) fn wait_readable(descriptor: BorrowedFd<'_>, signals: &Signals, woken: impl Fn()) -> Result<()> {
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
        woken();
        // `sandbox` may have been stopped by Ctrl-Z meanwhile, and the other process with it.
        deadline += before.elapsed();
    }
}
