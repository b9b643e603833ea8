//! `sandbox` and its command stop and continue together, and `sandbox` never stays stopped when its command has ended.
//!
//! Inputs of the same kind, all below: the command is stopped by STOP, TSTP, TTIN or TTOU, by itself, or together with
//! `sandbox`; then it is killed at once, or when `sandbox` has stopped, or continued alone and ends by itself; for a feature,
//! `run`, process 1, an init; in a process group of a job, in one that is orphaned, with a terminal; at any moment of the
//! start, and continued at once.

mod support;

use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::sys::termios::LocalFlags;
use nix::unistd::Pid;
use support::terminal::Terminal;
use support::{binary, child_named, sandbox, state, wait_until};

fn send(pid: u32, signal: Signal) {
    kill(Pid::from_raw(pid.cast_signed()), signal).unwrap();
}

/// A job, as of a shell: a process group that is not orphaned, because its parent is in another group of the session. Nobody
/// continues the job.
struct Job {
    process: Child,
    sandbox: u32,
    /// The process that `sandbox` has made.
    child: u32,
    /// The command: the child, or the child of an init.
    command: u32,
}

/// The first process of the job, as it was started.
fn spawn(words: &[&str]) -> Child {
    let mut command = sandbox(words);
    command.args(["--", "sh", "-c", "exec sleep 30"]).stdin(Stdio::null()).stdout(Stdio::null());
    command.stderr(Stdio::null()).process_group(0).spawn().unwrap()
}

impl Job {
    fn start(words: &[&str]) -> Job {
        let process = spawn(words);
        let sandbox = process.id();
        let has_init = words.contains(&"--init");
        let child = child_named(sandbox, if has_init { "sandbox" } else { "sleep" });
        let command = if has_init { child_named(child, "sleep") } else { child };
        Job { process, sandbox, child, command }
    }

    fn ends(mut self, what: &str) {
        wait_until(what, || state(self.sandbox) == 'Z');
        self.process.wait().unwrap();
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

/// The `sleep` below a process, without the guard of a stop.
fn command_of(pid: u32) -> Option<u32> {
    let read = |file: String| std::fs::read_to_string(file).unwrap_or_default();
    let children = |pid: u32| -> Vec<u32> {
        let list = read(format!("/proc/{pid}/task/{pid}/children"));
        list.split_whitespace().map(|pid| pid.parse().unwrap()).collect()
    };
    let all = children(pid).into_iter().flat_map(|child| [vec![child], children(child)].concat());
    all.into_iter().find(|pid| read(format!("/proc/{pid}/comm")) == "sleep\n")
}

/// The delays are the same in each run: 0 to 50 ms to the stop, 0 to 4 ms to SIGCONT.
#[test]
fn a_stop_at_any_moment_stops_both_and_sigcont_is_never_lost() {
    let directory = tempfile::tempdir().unwrap();
    let spec = |name: &str, content: &str| {
        let file = directory.path().join(name);
        std::fs::write(&file, content).unwrap();
        file.to_str().unwrap().to_owned()
    };
    let (plain, pid) = (spec("plain.yaml", "uts: { hostname: box }\n"), spec("pid.yaml", "pid:\n"));
    let init = spec("init.yaml", "pid: { init: true }\n");
    let runs = [&plain, &pid, &init].map(|file| ["run", file, "-q"]);
    // With a terminal, the command is in another session, and runs on.
    let with_terminal = [&plain, &pid, &init].map(|file| ["run", file, "-q", "-t"]);
    let mut seed = 20_26_u32;
    let mut up_to = |limit: u32| {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        Duration::from_micros(u64::from((seed >> 8) % limit))
    };
    let forms = FORMS.into_iter().chain(runs.iter().map(<[_; 3]>::as_slice));
    for words in forms.chain(with_terminal.iter().map(<[_; 4]>::as_slice)) {
        for signal in [Signal::SIGTSTP, Signal::SIGTTIN, Signal::SIGTTOU] {
            for at_once in [false, true] {
                let mut job = spawn(words);
                let sandbox = job.id();
                let delay = up_to(50_000);
                std::thread::sleep(delay);
                send(sandbox, signal);
                let what = format!("{words:?} {signal} after {delay:?}, continued at once: {at_once}");
                if at_once {
                    std::thread::sleep(up_to(4000));
                } else {
                    wait_until(&what, || state(sandbox) == 'T');
                    if let Some(command) = command_of(sandbox).filter(|_| !words.contains(&"-t")) {
                        wait_until(&what, || state(command) == 'T');
                    }
                }
                send(sandbox, Signal::SIGCONT);
                let runs = |pid: u32| state(pid) == 'S';
                wait_until(&what, || runs(sandbox) && command_of(sandbox).is_some_and(runs));
                send(command_of(sandbox).unwrap(), Signal::SIGKILL);
                assert_eq!(job.wait().unwrap().code(), Some(137), "{what}");
            }
        }
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
