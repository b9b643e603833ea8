//! A run under ptrace(2) in which one system call of one process can be made to fail.
//!
//! It does what `strace -f --inject=CALL:error=ERRNO:when=N` does, but for one process at a time. strace counts the
//! calls of each process separately and has no option to select a process. So the fifth `openat` of both host and
//! child would fail.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc::{
    PTRACE_EVENT_CLONE, PTRACE_EVENT_EXEC, PTRACE_EVENT_FORK, PTRACE_EVENT_VFORK, PTRACE_SYSCALL_INFO_ENTRY,
};
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

/// A system call, identified so that it can be found in another run: the Nth call of its number in one process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Site {
    /// The process: 0 is `sandbox`, the others follow in the order of their creation.
    pub(crate) process: usize,
    /// The system call number.
    pub(crate) call: i64,
    /// The count of this number in this process, from 1.
    pub(crate) nth: usize,
}

/// The result of a run.
#[derive(Debug)]
pub(crate) struct Traced {
    /// The exit status of `sandbox`.
    pub(crate) status: ExitStatus,
    /// Every call up to the command, in order.
    pub(crate) sites: Vec<Site>,
    /// Whether the fault was injected.
    pub(crate) has_fired: bool,
    /// The run exceeded the deadline and was killed.
    pub(crate) hung: bool,
    /// The number of processes that outlived `sandbox`. They were killed.
    pub(crate) survivors: usize,
}

/// The maximum duration of a run.
const DEADLINE: Duration = Duration::from_secs(10);

/// How long the other processes may outlive `sandbox`: the kernel kills asynchronously.
const GRACE: Duration = Duration::from_secs(2);

/// Runs a command. `fault` is the call that fails, and its errno. `begun` is called for each program that a process of
/// the run executes, before the program has done anything. `release` is called when the command has succeeded; the status
/// is then that of the processes which it has left.
///
/// The output goes to `said`.
pub(crate) fn trace(
    command: &Command,
    said: File,
    fault: Option<(Site, Errno)>,
    begun: &mut dyn FnMut(Pid),
    release: Option<&dyn Fn()>,
) -> Traced {
    let main = stopped(command, said);
    let tracees: Tracees = Arc::new(Mutex::new(HashMap::from([(main, Tracee::default())])));
    let hung = Arc::new(AtomicBool::new(false));
    let (done, is_done) = channel::<()>();
    let watchdog = std::thread::spawn({
        let (tracees, hung) = (tracees.clone(), hung.clone());
        move || {
            if is_done.recv_timeout(DEADLINE) == Err(RecvTimeoutError::Timeout) {
                hung.store(true, Ordering::SeqCst);
                kill_all(&tracees);
            }
        }
    });
    let sites = Vec::new();
    let mut run = Run {
        main,
        tracees,
        made: 1,
        fault,
        sites,
        has_begun: false,
        has_fired: false,
        status: None,
        left: None,
    };
    run.until_end(begun);
    if let Some(release) = release.filter(|_| run.status.is_some_and(|status| status.success())) {
        release();
        run.until_all_ended(begun);
    }
    drop(done);
    watchdog.join().expect("the watchdog only waits");
    let survivors = run.end_survivors();
    Traced {
        status: run.status.expect("it has ended"),
        sites: run.sites,
        has_fired: run.has_fired,
        hung: hung.load(Ordering::SeqCst),
        survivors,
    }
}

/// Starts a traced process that has not executed the command yet: a shell that stops itself and then executes it.
#[expect(clippy::zombie_processes, reason = "it's waited for as every tracee is")]
fn stopped(command: &Command, said: File) -> Pid {
    let mut shell = Command::new("/bin/sh");
    shell
        .args(["-c", "kill -STOP $$; exec \"$@\"", "sh"])
        .arg(command.get_program())
        .args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    let child = shell
        .current_dir(command.get_current_dir().expect("tests begin in /"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::from(said))
        .spawn()
        .expect("a shell can be executed");
    let pid = Pid::from_raw(child.id().cast_signed());
    waitpid(pid, Some(WaitPidFlag::WUNTRACED)).expect("a child of ours");
    let options = Options::PTRACE_O_TRACESYSGOOD
        | Options::PTRACE_O_TRACEFORK
        | Options::PTRACE_O_TRACEVFORK
        | Options::PTRACE_O_TRACECLONE
        | Options::PTRACE_O_TRACEEXEC
        | Options::PTRACE_O_EXITKILL;
    ptrace::seize(pid, options).expect("a child may be traced");
    kill(pid, Signal::SIGCONT).expect("a child may be sent a signal");
    pid
}

type Tracees = Arc<Mutex<HashMap<Pid, Tracee>>>;

/// A traced process.
#[derive(Debug, Default)]
struct Tracee {
    index: usize,
    /// Its calls are those of `sandbox`, not of a shell before it or of a program after it.
    is_watched: bool,
    counts: HashMap<i64, usize>,
    /// It is inside the call that must fail.
    is_failing: bool,
}

struct Run {
    main: Pid,
    tracees: Tracees,
    /// The number of processes so far.
    made: usize,
    fault: Option<(Site, Errno)>,
    sites: Vec<Site>,
    has_begun: bool,
    has_fired: bool,
    status: Option<ExitStatus>,
    /// The status of the other processes: that of the first one which has failed.
    left: Option<ExitStatus>,
}

impl Run {
    fn until_end(&mut self, begun: &mut dyn FnMut(Pid)) {
        while self.status.is_none() {
            let event = waitpid(None, Some(WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD));
            self.handle(event.expect("tracees are left"), begun);
        }
    }

    /// Waits for the processes that were left, and takes over their status.
    fn until_all_ended(&mut self, begun: &mut dyn FnMut(Pid)) {
        while !self.tracees.lock().expect("no panic").is_empty() {
            // ECHILD: a process that was killed is in the list once more.
            let Ok(event) = waitpid(None, Some(WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD)) else {
                break;
            };
            self.handle(event, begun);
        }
        self.status = self.left;
    }

    fn handle(&mut self, event: WaitStatus, begun: &mut dyn FnMut(Pid)) {
        match event {
            WaitStatus::PtraceEvent(pid, _, PTRACE_EVENT_EXEC) => {
                // The first execve is the one by which the shell becomes `sandbox`. After any other, another program
                // makes the calls.
                // The supervisor of a container that stays is `sandbox` again.
                let is_supervisor = || {
                    let words = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
                    words.split(|byte| *byte == 0).nth(1) == Some(b"__supervise")
                };
                let is_sandbox = !std::mem::replace(&mut self.has_begun, true) || is_supervisor();
                self.of(pid, |tracee| tracee.is_watched = is_sandbox);
                if !is_sandbox {
                    begun(pid);
                }
                self.go_on(pid, None);
            }
            WaitStatus::PtraceEvent(pid, _, event) => {
                self.of(pid, |_| ());
                // A new process is known before its first stop: it must not be left there.
                if [PTRACE_EVENT_CLONE, PTRACE_EVENT_FORK, PTRACE_EVENT_VFORK].contains(&event)
                    && let Ok(new) = ptrace::getevent(pid)
                {
                    self.of(Pid::from_raw(new as i32), |_| ());
                }
                self.go_on(pid, None);
            }
            WaitStatus::PtraceSyscall(pid) => {
                // This fails if the process was killed meanwhile. The next event is then its exit.
                let _ = self.call(pid);
                self.go_on(pid, None);
            }
            WaitStatus::Stopped(pid, signal) => self.go_on(pid, Some(signal)),
            WaitStatus::Exited(pid, code) => self.ended(pid, code << 8),
            WaitStatus::Signaled(pid, signal, _) => self.ended(pid, signal as i32),
            _ => {}
        }
    }

    fn ended(&mut self, pid: Pid, status: i32) {
        self.tracees.lock().expect("no panic").remove(&pid);
        match pid == self.main {
            true => self.status = Some(ExitStatus::from_raw(status)),
            false if self.left.is_none_or(|left| left.success()) => {
                self.left = Some(ExitStatus::from_raw(status))
            }
            false => {}
        }
    }

    /// Handles the entry or the exit of a system call.
    fn call(&mut self, pid: Pid) -> nix::Result<()> {
        let mut registers = ptrace::getregs(pid)?;
        if ptrace::syscall_info(pid)?.op != PTRACE_SYSCALL_INFO_ENTRY {
            if self.of(pid, |tracee| std::mem::take(&mut tracee.is_failing))
                && let Some((_, errno)) = self.fault
            {
                registers.rax = i64::from(errno as i32).wrapping_neg().cast_unsigned();
                ptrace::setregs(pid, registers)?;
                self.has_fired = true;
            }
            return Ok(());
        }
        let call = registers.orig_rax.cast_signed();
        let site = self.of(pid, |tracee| {
            let count = tracee.counts.entry(call).or_default();
            *count += 1;
            Site { process: tracee.index, call, nth: *count }
        });
        self.sites.push(site);
        if self.fault.is_some_and(|(wanted, _)| wanted == site) {
            // No system call has this number: the kernel does nothing.
            registers.orig_rax = u64::MAX;
            ptrace::setregs(pid, registers)?;
            self.of(pid, |tracee| tracee.is_failing = true);
        }
        Ok(())
    }

    fn go_on(&mut self, pid: Pid, signal: Option<Signal>) {
        let is_watched = !self.has_fired && self.of(pid, |tracee| tracee.is_watched);
        // This fails if the process was killed meanwhile.
        let _ = if is_watched { ptrace::syscall(pid, signal) } else { ptrace::cont(pid, signal) };
    }

    /// A process. On its first event it is added as a copy of a watched process.
    fn of<T>(&mut self, pid: Pid, act: impl FnOnce(&mut Tracee) -> T) -> T {
        let mut tracees = self.tracees.lock().expect("no panic");
        act(tracees.entry(pid).or_insert_with(|| {
            self.made += 1;
            Tracee { index: self.made - 1, is_watched: true, ..Tracee::default() }
        }))
    }

    /// Handles the processes that outlive `sandbox`: after a grace period, it kills and counts them.
    fn end_survivors(&mut self) -> usize {
        let deadline = Instant::now() + GRACE;
        let mut survivors = 0;
        while let Ok(event) =
            waitpid(None, Some(WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD | WaitPidFlag::WNOHANG))
        {
            if event != WaitStatus::StillAlive {
                self.handle(event, &mut |_| ());
                continue;
            }
            // A process that was killed is in the list once more, and has been waited for. One that the test has started
            // besides is in no list.
            let mut tracees = self.tracees.lock().expect("no panic");
            tracees.retain(|pid, _| std::path::Path::new(&format!("/proc/{pid}")).exists());
            if tracees.is_empty() {
                break;
            }
            drop(tracees);
            if survivors == 0 && Instant::now() > deadline {
                survivors = self.tracees.lock().expect("no panic").len();
                kill_all(&self.tracees);
            }
            std::thread::sleep(Duration::from_micros(200));
        }
        survivors
    }
}

fn kill_all(tracees: &Tracees) {
    for pid in tracees.lock().expect("no panic").keys() {
        let _ = kill(*pid, Signal::SIGKILL);
    }
}
