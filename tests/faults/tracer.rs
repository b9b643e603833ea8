//! A run under ptrace(2), in which one system call of one process can be made to fail.
//!
//! It does what `strace -f --inject=CALL:error=ERRNO:when=N` does, but for one process at a time: strace counts the calls
//! of each process and can't be told which of them is meant, so that the fifth `openat` of host and child would both fail.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc::{PTRACE_EVENT_EXEC, PTRACE_SYSCALL_INFO_ENTRY};
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

/// A call, as it's found again in another run: the Nth of its number in one process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Site {
    /// Which process: 0 is `sandbox`, the others follow in the order in which they came to be.
    pub(crate) process: usize,
    /// The call's number.
    pub(crate) call: i64,
    /// It's this process's Nth of that number, from 1.
    pub(crate) nth: usize,
}

/// What came of a run.
#[derive(Debug)]
pub(crate) struct Traced {
    /// How `sandbox` ended.
    pub(crate) status: ExitStatus,
    /// Every call up to the command, in order.
    pub(crate) sites: Vec<Site>,
    /// Whether the fault was met.
    pub(crate) has_fired: bool,
    /// It would have gone on, and was killed.
    pub(crate) hung: bool,
    /// Processes that outlived `sandbox`. They were killed.
    pub(crate) survivors: usize,
}

/// Longer than this nothing may take.
const DEADLINE: Duration = Duration::from_secs(10);

/// How long after `sandbox` what it made may take to end: the kernel kills asynchronously.
const GRACE: Duration = Duration::from_secs(2);

/// Runs a command. `fault` is the call that fails, and by which errno; `begun` is told of each program that a process of it
/// becomes, when it has done nothing yet.
///
/// What it says goes to `said`.
pub(crate) fn trace(
    command: &Command,
    said: File,
    fault: Option<(Site, Errno)>,
    begun: &mut dyn FnMut(Pid),
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
    let mut run =
        Run { main, tracees, made: 1, fault, sites, has_begun: false, has_fired: false, status: None };
    run.until_end(begun);
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

/// The command as a process that is traced and hasn't begun: a shell that stops itself, to become it.
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

/// A process that is traced.
#[derive(Debug, Default)]
struct Tracee {
    index: usize,
    /// Its calls are `sandbox`'s: not those of a shell before it, nor those of a program after it.
    is_watched: bool,
    counts: HashMap<i64, usize>,
    /// It's in the call that is to fail.
    is_failing: bool,
}

struct Run {
    main: Pid,
    tracees: Tracees,
    /// How many processes there have been.
    made: usize,
    fault: Option<(Site, Errno)>,
    sites: Vec<Site>,
    has_begun: bool,
    has_fired: bool,
    status: Option<ExitStatus>,
}

impl Run {
    fn until_end(&mut self, begun: &mut dyn FnMut(Pid)) {
        while self.status.is_none() {
            let event = waitpid(None, Some(WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD));
            self.handle(event.expect("tracees are left"), begun);
        }
    }

    fn handle(&mut self, event: WaitStatus, begun: &mut dyn FnMut(Pid)) {
        match event {
            WaitStatus::PtraceEvent(pid, _, PTRACE_EVENT_EXEC) => {
                // The first execve of all is the shell's, which becomes `sandbox`. After any other it's another program
                // that makes the calls.
                let is_sandbox = !std::mem::replace(&mut self.has_begun, true);
                self.of(pid, |tracee| tracee.is_watched = is_sandbox);
                if !is_sandbox {
                    begun(pid);
                }
                self.go_on(pid, None);
            }
            WaitStatus::PtraceEvent(pid, ..) => {
                self.of(pid, |_| ());
                self.go_on(pid, None);
            }
            WaitStatus::PtraceSyscall(pid) => {
                // It fails where it was killed meanwhile; its end is the next thing that is heard.
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
        if pid == self.main {
            self.status = Some(ExitStatus::from_raw(status));
        }
    }

    /// At the beginning or the end of a call.
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
            // No call has this number: the kernel does nothing.
            registers.orig_rax = u64::MAX;
            ptrace::setregs(pid, registers)?;
            self.of(pid, |tracee| tracee.is_failing = true);
        }
        Ok(())
    }

    fn go_on(&mut self, pid: Pid, signal: Option<Signal>) {
        let is_watched = !self.has_fired && self.of(pid, |tracee| tracee.is_watched);
        // It fails where it was killed meanwhile.
        let _ = if is_watched { ptrace::syscall(pid, signal) } else { ptrace::cont(pid, signal) };
    }

    /// A process, which may be heard of here for the first time: the copy of one that is watched.
    fn of<T>(&mut self, pid: Pid, act: impl FnOnce(&mut Tracee) -> T) -> T {
        let mut tracees = self.tracees.lock().expect("no panic");
        act(tracees.entry(pid).or_insert_with(|| {
            self.made += 1;
            Tracee { index: self.made - 1, is_watched: true, ..Tracee::default() }
        }))
    }

    /// Those that outlive `sandbox`, which has ended: after a while they are killed and counted.
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
