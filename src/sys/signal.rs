//! Signals by number. The kernel has 64; nix knows the first 31, and the C library keeps some of the others for itself.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};

use nix::errno::Errno;
use nix::unistd::Pid;

/// The size of the kernel's set of signals, in bytes.
const SET_SIZE: usize = size_of::<u64>();

/// The action SIG_IGN, as the kernel stores it.
const IGNORE: u64 = libc::SIG_IGN as u64;

/// A set of signals: bit N-1 is signal N, as in the fields Sig* of /proc/PID/status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct SignalSet(u64);

impl SignalSet {
    /// All signals. The kernel never blocks SIGKILL and SIGSTOP.
    pub(crate) const ALL: SignalSet = SignalSet(u64::MAX);

    /// The set of these signals.
    pub(crate) const fn of(signals: &[i32]) -> SignalSet {
        let (mut bits, mut index) = (0, 0);
        while index < signals.len() {
            bits |= bit(signals[index]);
            index += 1;
        }
        SignalSet(bits)
    }

    /// The set with these bits.
    pub(crate) fn from_bits(bits: u64) -> SignalSet {
        SignalSet(bits)
    }

    pub(crate) fn contains(self, signal: i32) -> bool {
        self.0 & bit(signal) != 0
    }

    /// The signals of the set.
    pub(crate) fn numbers(self) -> Vec<i32> {
        (1..=64).filter(|signal| self.contains(*signal)).collect()
    }

    /// The signals that are in one of the sets.
    pub(crate) const fn with(self, other: SignalSet) -> SignalSet {
        SignalSet(self.0 | other.0)
    }

    /// The signals that are not in the other set.
    pub(crate) fn without(self, other: SignalSet) -> SignalSet {
        SignalSet(self.0 & !other.0)
    }
}

const fn bit(signal: i32) -> u64 {
    if signal < 1 || signal > 64 { 0 } else { 1 << (signal - 1) }
}

/// The signals that the C library keeps for itself, as for pthread_cancel(3). No shell can ignore them on purpose, and a
/// program expects their default action. signal(7)
const RESERVED: SignalSet = SignalSet::of(&[32, 33]);

/// The signals that were ignored when the program started.
static IGNORED: AtomicU64 = AtomicU64::new(0);

/// The signals that were blocked when the program started.
static BLOCKED: AtomicU64 = AtomicU64::new(0);

/// Notes which signals the caller ignores and blocks. Both are inherited through execve(2), and COMMAND gets them as
/// they were.
///
/// Then gives SIGCHLD its default action. If it is ignored, the kernel discards the exit status of each child, and
/// waitpid(2) fails with ECHILD.
///
/// SIGXFSZ is ignored as long as this program runs: a write beyond RLIMIT_FSIZE is an error then, EFBIG, and does not end the
/// program in the middle of its work.
pub(crate) fn take_over() {
    let is_ignored = |signal: &i32| !RESERVED.contains(*signal) && action_of(*signal) == IGNORE;
    let ignored: Vec<i32> = (1..=64).filter(is_ignored).collect();
    IGNORED.store(SignalSet::of(&ignored).0, Ordering::Relaxed);
    if let Ok(SignalSet(blocked)) = change_mask(libc::SIG_BLOCK, SignalSet::default()) {
        BLOCKED.store(blocked, Ordering::Relaxed);
    }
    set_action(libc::SIGCHLD, 0);
    set_action(libc::SIGXFSZ, IGNORE);
}

/// The signals that the caller of this program ignores.
pub(crate) fn ignored_on_entry() -> SignalSet {
    SignalSet(IGNORED.load(Ordering::Relaxed))
}

/// The signals that the caller of this program has blocked.
pub(crate) fn blocked_on_entry() -> SignalSet {
    SignalSet(BLOCKED.load(Ordering::Relaxed))
}

/// Sets the actions and the mask with which this program was started: for COMMAND. Every other signal gets its default
/// action, also the signals that the C library reserves for itself.
///
/// SIGPIPE always gets its default action: Rust's runtime has ignored it before this program could look.
///
/// # Errors
/// Those of rt_sigprocmask(2).
pub(crate) fn restore() -> Result<(), Errno> {
    set_all(ignored_on_entry(), blocked_on_entry())
}

/// Ignores the signals of one set, and blocks those of the other. Every other signal gets its default action, and SIGPIPE
/// always.
///
/// # Errors
/// Those of rt_sigprocmask(2).
pub(crate) fn set_all(ignored: SignalSet, blocked: SignalSet) -> Result<(), Errno> {
    for signal in 1..=64 {
        let is_ignored = ignored.contains(signal) && signal != libc::SIGPIPE;
        set_action(signal, if is_ignored { IGNORE } else { 0 });
    }
    change_mask(libc::SIG_SETMASK, blocked).map(|_| ())
}

/// Lets a command of the standard library start as [`restore`] does. The library itself passes on the mask of this
/// program, in which SIGTERM is blocked. The limit of open files is as it was too.
pub(crate) fn restore_before(command: &mut Command) -> &mut Command {
    // SAFETY: `restore` makes only system calls. It takes no lock and allocates nothing, as is required after fork(2).
    unsafe {
        command
            .pre_exec(|| restore().and_then(|()| super::descriptors::restore()).map_err(std::io::Error::from))
    }
}

/// Lets a command start as in a new terminal: no signal is ignored or blocked, whatever the caller did. nohup(1) ignores
/// SIGHUP.
pub(crate) fn default_before(command: &mut Command) -> &mut Command {
    // SAFETY: as in `restore_before`.
    unsafe {
        command.pre_exec(|| {
            set_all(SignalSet::default(), SignalSet::default())
                .and_then(|()| super::descriptors::restore())
                .map_err(std::io::Error::from)
        })
    }
}

/// The calls of [`restore`], as text.
pub(crate) fn restored() -> String {
    set_all_text(ignored_on_entry(), blocked_on_entry())
}

/// The calls of [`set_all`], as text.
pub(crate) fn set_all_text(ignored: SignalSet, blocked: SignalSet) -> String {
    let names = |set: SignalSet| set.numbers().into_iter().map(name).collect::<Vec<_>>();
    let mut calls = vec!["rt_sigaction(SIG*, SIG_DFL)".to_owned()];
    let ignored = names(ignored.without(SignalSet::of(&[libc::SIGPIPE])));
    if !ignored.is_empty() {
        calls.push(format!("rt_sigaction({}, SIG_IGN)", ignored.join("|")));
    }
    let blocked: Vec<String> =
        names(blocked).iter().map(|name| name.trim_start_matches("SIG").to_owned()).collect();
    calls.push(format!("rt_sigprocmask(SIG_SETMASK, [{}])", blocked.join(" ")));
    calls.join("; ")
}

/// Gives every signal its default action.
pub(crate) fn default_actions() {
    (1..=64).for_each(|signal| set_action(signal, 0));
}

/// Forgets what the caller ignored and blocked, for a process that has left its caller: every signal has its default action
/// and none is blocked, here and in the command. SIGPIPE and SIGXFSZ stay ignored here, so a write without a reader, or beyond
/// the maximum size of a file, is an error.
pub(crate) fn forget_caller() {
    IGNORED.store(0, Ordering::Relaxed);
    BLOCKED.store(0, Ordering::Relaxed);
    let stays = [libc::SIGPIPE, libc::SIGXFSZ];
    (1..=64).filter(|signal| !stays.contains(signal)).for_each(|signal| set_action(signal, 0));
    let _ = set_mask(SignalSet::default());
}

/// The action of a signal: 0 is SIG_DFL.
fn action_of(signal: i32) -> u64 {
    // The kernel's struct sigaction: the handler, the flags, the restorer, the mask.
    let mut action = [0_u64; 4];
    // SAFETY: the kernel writes 32 bytes, which live here, and expects a mask of 8 bytes. Nothing is changed.
    unsafe {
        libc::syscall(libc::SYS_rt_sigaction, signal, std::ptr::null::<u64>(), action.as_mut_ptr(), SET_SIZE)
    };
    action[0]
}

/// Sets an action: 0 for SIG_DFL, or [`IGNORE`].
fn set_action(signal: i32, handler: u64) {
    let action = [handler, 0, 0, 0];
    // SAFETY: the kernel reads 32 bytes, which live here, and expects a mask of 8 bytes. These actions call no code of
    // this program. SIGKILL and SIGSTOP give EINVAL, which does no harm: they always have their default action.
    unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, action.as_ptr(), 0_usize, SET_SIZE) };
}

/// Blocks these signals too. Returns the former mask.
///
/// # Errors
/// Those of rt_sigprocmask(2).
pub(crate) fn block(set: SignalSet) -> Result<SignalSet, Errno> {
    change_mask(libc::SIG_BLOCK, set)
}

/// Sets the mask of blocked signals. Returns the former one.
///
/// # Errors
/// As [`block`].
pub(crate) fn set_mask(set: SignalSet) -> Result<SignalSet, Errno> {
    change_mask(libc::SIG_SETMASK, set)
}

fn change_mask(how: i32, set: SignalSet) -> Result<SignalSet, Errno> {
    let mut before = 0_u64;
    // SAFETY: the kernel reads one set and writes another, which both live here.
    let done =
        unsafe { libc::syscall(libc::SYS_rt_sigprocmask, how, &raw const set.0, &raw mut before, SET_SIZE) };
    Errno::result(done).map(|_| SignalSet(before))
}

/// A descriptor that reads blocked signals. signalfd(2)
#[derive(Debug)]
pub(crate) struct SignalDescriptor(OwnedFd);

/// The descriptor's flags: close-on-exec, and a read that does not wait.
const FLAGS: i32 = libc::SFD_CLOEXEC | libc::SFD_NONBLOCK;

impl SignalDescriptor {
    /// A new descriptor for these signals.
    ///
    /// # Errors
    /// Those of signalfd(2): the process has no descriptor left.
    pub(crate) fn new(set: SignalSet) -> Result<SignalDescriptor, Errno> {
        let descriptor = signalfd(-1, set)?;
        // SAFETY: the kernel has just opened it, and no other code knows its number.
        Ok(SignalDescriptor(unsafe { OwnedFd::from_raw_fd(descriptor) }))
    }

    /// Reads other signals from now on.
    ///
    /// # Errors
    /// Those of signalfd(2).
    pub(crate) fn set(&self, set: SignalSet) -> Result<(), Errno> {
        signalfd(self.0.as_raw_fd(), set).map(|_| ())
    }

    /// The next signal that has arrived: its number, the code that says who sent it (sigaction(2), `si_code`), and the PID
    /// of the process that sent it.
    pub(crate) fn next(&self) -> Option<(i32, i32, i32)> {
        let mut info = [0_u8; size_of::<libc::signalfd_siginfo>()];
        match rustix::io::read(&self.0, &mut info[..]) {
            Ok(length) if length == info.len() => {
                let number =
                    |at: usize| i32::from_ne_bytes([info[at], info[at + 1], info[at + 2], info[at + 3]]);
                // ssi_signo, ssi_errno, ssi_code, ssi_pid
                Some((number(0), number(8), number(12)))
            }
            _ => None,
        }
    }
}

impl AsFd for SignalDescriptor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn signalfd(descriptor: i32, set: SignalSet) -> Result<i32, Errno> {
    // SAFETY: the kernel reads a set of 8 bytes, which lives here.
    let made = unsafe { libc::syscall(libc::SYS_signalfd4, descriptor, &raw const set.0, SET_SIZE, FLAGS) };
    Errno::result(made).map(|descriptor| descriptor as i32)
}

/// Waits for one of these signals, which must be blocked. Returns its number.
///
/// # Errors
/// Those of rt_sigtimedwait(2).
pub(crate) fn wait_for(set: SignalSet) -> Result<i32, Errno> {
    // SAFETY: the kernel reads a set of 8 bytes, which lives here. Nothing else is passed, and no time limit.
    let number = unsafe {
        libc::syscall(
            libc::SYS_rt_sigtimedwait,
            &raw const set.0,
            std::ptr::null_mut::<libc::siginfo_t>(),
            std::ptr::null::<libc::timespec>(),
            SET_SIZE,
        )
    };
    Errno::result(number).map(|number| number as i32)
}

/// Sends a signal to a process by its pidfd.
///
/// # Errors
/// ESRCH: it has ended. EPERM: it belongs to another user.
pub(crate) fn send(pidfd: BorrowedFd<'_>, signal: i32) -> Result<(), Errno> {
    // SAFETY: the descriptor is open, and no further information is passed.
    let sent = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            signal,
            std::ptr::null::<libc::siginfo_t>(),
            0,
        )
    };
    Errno::result(sent).map(|_| ())
}

/// Sends a signal to a process by its PID. kill(2)
///
/// # Errors
/// Those of kill(2).
pub(crate) fn kill(pid: Pid, signal: i32) -> Result<(), Errno> {
    // SAFETY: it changes no memory of this process.
    Errno::result(unsafe { libc::kill(pid.as_raw(), signal) }).map(|_| ())
}

/// The signals that have arrived and are blocked. sigpending(2)
fn pending() -> SignalSet {
    let mut set = 0_u64;
    // SAFETY: the kernel writes a set of 8 bytes, which lives here.
    unsafe { libc::syscall(libc::SYS_rt_sigpending, &raw mut set, SET_SIZE) };
    SignalSet(set)
}

/// Stops this process as Ctrl-Z does, by the default action of SIGTSTP. It returns when the process is continued. The
/// kernel stops no process whose process group is orphaned, because no shell could continue it; then this returns at
/// once. setpgid(2)
///
/// A SIGCONT that has arrived already continues this process: it does not stop. The kernel would discard the SIGCONT
/// because of the SIGTSTP, and nobody would send it again.
pub(crate) fn stop_self() {
    if ignored_on_entry().contains(libc::SIGTSTP) {
        return;
    }
    let pid = std::process::id();
    set_action(libc::SIGTSTP, 0);
    let Ok(before) = block(SignalSet::of(&[libc::SIGTSTP])) else { return };
    // Nothing may come between these two calls: a SIGCONT that arrives there is lost. raise(3) would make three calls.
    if !pending().contains(libc::SIGCONT) {
        // A pending one would stop the process a second time; the same signal is never pending twice.
        // SAFETY: it changes no memory of this process.
        unsafe { libc::syscall(libc::SYS_kill, pid, libc::SIGTSTP) };
        let _ = set_mask(before.without(SignalSet::of(&[libc::SIGTSTP])));
    }
    let _ = set_mask(before);
}

/// The name of a signal: `SIGTERM`, `SIGRTMIN+3`.
pub(crate) fn name(signal: i32) -> String {
    match nix::sys::signal::Signal::try_from(signal) {
        Ok(known) => known.as_str().to_owned(),
        Err(_) if signal == FIRST_REAL_TIME => "SIGRTMIN".to_owned(),
        Err(_) if signal > FIRST_REAL_TIME => format!("SIGRTMIN+{}", signal - FIRST_REAL_TIME),
        Err(_) => format!("signal {signal}"),
    }
}

/// The signal that a word means: `TERM`, `SIGTERM`, `15`, `SIGRTMIN+3`, `RTMAX-1`.
pub(crate) fn of_word(written: &str) -> Option<i32> {
    if let Ok(number) = written.parse::<i32>() {
        return Some(number).filter(|number| (1..=LAST_REAL_TIME).contains(number));
    }
    let upper = written.to_ascii_uppercase();
    let bare = upper.strip_prefix("SIG").unwrap_or(&upper);
    // Older names of some.
    let bare = match bare {
        "CLD" => "CHLD",
        "IOT" => "ABRT",
        "POLL" => "IO",
        bare => bare,
    };
    if let Some(below) = bare.strip_prefix("RTMAX") {
        let below = if below.is_empty() { 0 } else { below.strip_prefix('-')?.parse::<i32>().ok()? };
        return (0..=LAST_REAL_TIME - FIRST_REAL_TIME).contains(&below).then_some(LAST_REAL_TIME - below);
    }
    (1..=LAST_REAL_TIME).find(|number| name(*number).strip_prefix("SIG") == Some(bare))
}

/// SIGRTMAX.
const LAST_REAL_TIME: i32 = 64;

/// SIGRTMIN, as kill(1), bash and timeout(1) count: the GNU C library keeps the first two real-time signals.
const FIRST_REAL_TIME: i32 = 34;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_have_names() {
        assert_eq!(name(libc::SIGTERM), "SIGTERM");
        assert_eq!(name(37), "SIGRTMIN+3");
        assert_eq!(name(34), "SIGRTMIN");
        assert_eq!(name(33), "signal 33");
        for (word, number) in
            [("sigterm", 15), ("15", 15), ("IOT", 6), ("SIGCLD", 17), ("POLL", 29), ("RTMAX-1", 63)]
        {
            assert_eq!(of_word(word), Some(number), "{word}");
        }
        for word in ["", "0", "65", "SIG", "SIGSIGTERM", "RTMAX-99", "RTMAX--1", "signal 33"] {
            assert_eq!(of_word(word), None, "{word}");
        }
    }

    #[test]
    fn a_set_has_the_bits_of_proc() {
        let set = SignalSet::of(&[1, 15, 64]);
        assert_eq!(set, SignalSet::from_bits(0x8000_0000_0000_4001));
        assert!(set.contains(64) && !set.contains(2) && !set.contains(0) && !set.contains(65));
        assert!(!SignalSet::ALL.without(set).contains(15));
    }
}
