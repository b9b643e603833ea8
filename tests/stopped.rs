//! `sandbox` and its command stop and continue together, and `sandbox` never stays stopped when its command has ended.
//!
//! Inputs of the same kind, all below: the command is stopped by STOP, TSTP, TTIN or TTOU, by itself, or together with
//! `sandbox`; then it is killed at once, or when `sandbox` has stopped, or continued alone and ends by itself; for a feature,
//! `run`, process 1, an init; in a process group of a job, in one that is orphaned, with a terminal.

mod support;

use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::sys::termios::LocalFlags;
use nix::unistd::Pid;
use support::terminal::Terminal;
use support::{binary, child_named, sandbox, text};

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < deadline, "not so: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// `S`, `T` for stopped, `Z` for ended; `?` if there is no such process.
fn state(pid: u32) -> char {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(") ").next().and_then(|rest| rest.chars().next()).unwrap_or('?')
}

fn send(pid: u32, signal: Signal) {
    kill(Pid::from_raw(pid.cast_signed()), signal).unwrap();
}

/// A job of a shell: a process group that is not orphaned, because its parent is in another group of the session. Nobody
/// continues the job.
struct Job {
    shell: Child,
    sandbox: u32,
    /// The process that `sandbox` has made.
    child: u32,
    /// The command: the child, or the child of an init.
    command: u32,
}

impl Job {
    fn start(words: &[&str]) -> Job {
        // The shell becomes sleep(1), which stays the parent; a loop of bash ends when a job stops.
        let script = "set -m; \"$@\" & echo $!; exec sleep 60";
        let mut command = Command::new("setsid");
        command.args(["bash", "-c", script, "bash"]).arg(binary()).args(words);
        command.args(["--", "sh", "-c", "exec sleep 30"]).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut shell = command.stderr(Stdio::null()).spawn().unwrap();
        let (mut number, mut byte) = (Vec::new(), [0]);
        let output = shell.stdout.as_mut().unwrap();
        while output.read_exact(&mut byte).is_ok() && byte[0] != b'\n' {
            number.push(byte[0]);
        }
        let sandbox: u32 = text(&number).parse().unwrap();
        let has_init = words.contains(&"--init");
        let child = child_named(sandbox, if has_init { "sandbox" } else { "sleep" });
        let command = if has_init { child_named(child, "sleep") } else { child };
        // The init removes all handlers when it has closed the gate. `sandbox` waits for that.
        let status = || std::fs::read_to_string(format!("/proc/{child}/status")).unwrap();
        wait_until("the init waits", || !has_init || status().contains("SigCgt:\t0000000000000000"));
        // A known fault, with an unknown cause: a signal right after the start now and then stops only one of the two, or
        // neither. The tests below are of what happens later.
        std::thread::sleep(Duration::from_millis(100));
        Job { shell, sandbox, child, command }
    }

    fn ends(mut self, what: &str) {
        wait_until(what, || state(self.sandbox) == 'Z');
        self.shell.kill().unwrap();
        self.shell.wait().unwrap();
    }
}

const FORMS: [&[&str]; 3] = [&["uts", "-q"], &["pid", "-q"], &["pid", "-q", "--init"]];

#[test]
fn a_stopped_sandbox_stops_its_command_and_continues_it() {
    for words in FORMS {
        let job = Job::start(words);
        send(job.sandbox, Signal::SIGTSTP);
        wait_until("both are stopped", || state(job.sandbox) == 'T' && state(job.command) == 'T');
        send(job.sandbox, Signal::SIGCONT);
        wait_until("both run again", || state(job.sandbox) == 'S' && state(job.command) == 'S');
        // The child alone is stopped, as by a program that stops itself.
        send(job.child, Signal::SIGSTOP);
        wait_until("sandbox stops too", || state(job.sandbox) == 'T');
        send(job.sandbox, Signal::SIGCONT);
        wait_until("both run again", || state(job.sandbox) == 'S' && state(job.child) == 'S');
        send(job.command, Signal::SIGKILL);
        job.ends("sandbox ends");
    }
}

#[test]
fn sandbox_ends_when_its_stopped_child_is_killed() {
    for words in FORMS {
        // At once: `sandbox` may be about to stop.
        for _ in 0..5 {
            let job = Job::start(words);
            send(job.child, Signal::SIGSTOP);
            send(job.child, Signal::SIGKILL);
            job.ends("the child is killed at once");
        }
        for signal in [Signal::SIGSTOP, Signal::SIGTSTP, Signal::SIGTTIN, Signal::SIGTTOU] {
            let job = Job::start(words);
            // The kernel drops these signals for process 1, but not STOP. `sandbox` stops it for the others.
            let to = if signal == Signal::SIGSTOP { job.child } else { job.sandbox };
            send(to, signal);
            let what = format!("{words:?} {signal}: both are stopped");
            wait_until(&what, || state(job.sandbox) == 'T' && state(job.child) == 'T');
            send(job.child, Signal::SIGKILL);
            job.ends("the stopped child is killed");
        }
    }
}

#[test]
fn sandbox_ends_when_its_child_goes_on_alone_and_ends() {
    for words in FORMS {
        let job = Job::start(words);
        send(job.child, Signal::SIGSTOP);
        wait_until("sandbox stops too", || state(job.sandbox) == 'T');
        send(job.child, Signal::SIGCONT);
        wait_until("it runs, and sandbox does not", || state(job.child) == 'S' && state(job.sandbox) == 'T');
        send(job.command, Signal::SIGKILL);
        job.ends("the child has ended by itself");
    }
}

/// The kernel stops no process of an orphaned process group by TSTP. The status is the command's.
#[test]
fn in_an_orphaned_group_sandbox_does_not_stop() {
    for words in FORMS {
        let mut command = Command::new("setsid");
        command.args(["--wait"]).arg(binary()).args(words).args(["--", "sh", "-c", "kill -STOP $$; exit 7"]);
        let mut setsid = command.stdin(Stdio::null()).spawn().unwrap();
        // Process 1 cannot stop itself.
        if words == ["pid", "-q"] {
            assert_eq!(setsid.wait().unwrap().code(), Some(7));
            continue;
        }
        // setsid(1) forks only where it leads a group.
        let first = if words.contains(&"--init") { "sandbox" } else { "sh" };
        let child = child_named(setsid.id(), first);
        let shell = if words.contains(&"--init") { child_named(child, "sh") } else { child };
        wait_until("it has stopped", || state(shell) == 'T');
        send(shell, Signal::SIGKILL);
        assert_eq!(setsid.wait().unwrap().code(), Some(137), "{words:?}");
    }
}

/// The shell reports the end of the job at its next prompt, and its terminal has its own mode.
#[test]
fn a_stopped_job_with_a_terminal_ends_with_its_command() {
    let directory = tempfile::tempdir().unwrap();
    let spec = directory.path().join("box.yaml");
    std::fs::write(&spec, "pid:\n").unwrap();
    for words in [&["uts", "-q"][..], &["run", spec.to_str().unwrap(), "-q", "-it"]] {
        let mut terminal = Terminal::of("bash".as_ref(), &["--norc", "--noediting", "-i"]);
        terminal.wait_for("prompt> ");
        let line = [words, &["--", "sh", "-c", "'echo begin; exec cat'"]].concat().join(" ");
        terminal.press(&format!("{} {line}\n", binary().display()));
        terminal.wait_for("begin\n");
        let job = child_named(terminal.pid(), "sandbox");
        let cat = child_named(job, "cat");
        send(job, Signal::SIGTSTP);
        terminal.wait_for("Stopped");
        terminal.wait_for("prompt> ");
        send(cat, Signal::SIGKILL);
        wait_until("the job ends", || state(job) == 'Z' || state(job) == '?');
        assert!(terminal.modes().local_flags.contains(LocalFlags::ICANON));
        terminal.press("echo ne''xt\n");
        terminal.wait_for("next");
        terminal.press("exit\n");
        terminal.end();
    }
}

/// What `sandbox` makes to be continued is gone afterwards, and ends with a `sandbox` that is killed.
#[test]
fn nothing_is_left_of_a_stop() {
    let children = |pid: u32| {
        let list = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        list.split_whitespace().map(|pid| pid.parse::<u32>().unwrap()).collect::<Vec<_>>()
    };
    let job = Job::start(&["uts", "-q"]);
    for _ in 0..3 {
        send(job.sandbox, Signal::SIGTSTP);
        wait_until("it has stopped", || state(job.sandbox) == 'T');
        assert_eq!(children(job.sandbox).len(), 2);
        send(job.sandbox, Signal::SIGCONT);
        wait_until("only the command is left", || children(job.sandbox) == [job.command]);
    }
    send(job.sandbox, Signal::SIGTSTP);
    wait_until("it has stopped", || state(job.sandbox) == 'T');
    let all = children(job.sandbox);
    send(job.sandbox, Signal::SIGKILL);
    wait_until("all have ended", || all.iter().all(|pid| matches!(state(*pid), 'Z' | '?')));
    job.ends("sandbox was killed");
    assert!(sandbox(&["gc"]).status().unwrap().success());
}
