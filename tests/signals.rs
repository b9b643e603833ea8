//! Signals to `sandbox`: which are forwarded, which stay ignored, and job control.
//!
//! Inputs of the same kind, all below:
//! - ignored on entry: HUP by nohup(1), INT and QUIT in the background of a shell without job control, HUP INT QUIT TERM
//!   USR1 TSTP RTMIN+3 by `trap ''`, CHLD (the status must not be lost); for a feature, `run`, an init, `--show-proc`;
//! - blocked on entry: the command inherits the mask, as behind nsenter(1);
//! - forwarded: the signals that ask a program to end, USR1, real-time signals, faults, WINCH; to a command that is
//!   process 1, that is behind an init, or neither; a signal without a handler kills the command, 128+N;
//! - before the command runs; TSTP and CONT; a command that stops itself.
//!
//! A signal that the kernel drops because process 1 has no handler is in `pid.rs`, and with a terminal in `pty.rs`.

mod support;

use std::io::Read;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use support::{binary, child_named, text};

/// The real-time signals in shell's and timeout's notation: SIGRTMIN+3.
const RTMIN_3: i32 = 37;

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// `PROGRAM ARGUMENTS... sandbox WORDS...`, without standard input, with a time limit.
fn through(program: &[&str], words: &[&str]) -> Command {
    let mut command = Command::new("timeout");
    command.args(["60"]).args(program).arg(binary()).args(words).current_dir("/").stdin(Stdio::null());
    command
}

/// A spec file with process 1.
fn spec() -> (tempfile::TempDir, String) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("box.yaml");
    std::fs::write(&file, "pid:\nuts:\ncommand: [\"true\"]\n").unwrap();
    let name = file.to_str().unwrap().to_owned();
    (directory, name)
}

/// Starts a command that prints `ready` when it runs. Standard output is a pipe.
fn ready(command: &mut Command) -> Child {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut word = [0; 6];
    child.stdout.as_mut().unwrap().read_exact(&mut word).unwrap();
    assert_eq!(&word, b"ready\n");
    child
}

fn sandbox_ready(words: &[&str]) -> Child {
    ready(&mut support::sandbox(words))
}

/// The kill of bash knows the real-time signals. nix does not, and neither does every kill(1).
fn send(pid: u32, signal: &str) {
    let kill = format!("kill -s {signal} {pid}");
    let sent = Command::new("bash").args(["-c", &kill]).status().unwrap();
    assert!(sent.success(), "{signal}");
}

fn ended(child: Child) -> (Option<i32>, Output) {
    let output = child.wait_with_output().unwrap();
    (output.status.code(), output)
}

fn state(pid: u32) -> char {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(") ").next().and_then(|rest| rest.chars().next()).unwrap_or('?')
}

/// A mask in /proc/PID/status of the command, SigIgn or SigBlk.
fn mask(output: &Output, name: &str) -> u64 {
    let lines = text(&output.stdout);
    let line = lines.lines().find(|line| line.starts_with(name));
    let line = line.unwrap_or_else(|| panic!("no {name}: {lines} {}", text(&output.stderr)));
    u64::from_str_radix(line.split_whitespace().nth(1).unwrap(), 16).unwrap()
}

fn bits(numbers: &[i32]) -> u64 {
    numbers.iter().map(|number| 1 << (number - 1)).sum()
}

#[test]
fn a_hangup_under_nohup_is_ignored() {
    let (_directory, spec) = spec();
    for words in
        [&["uts", "-q"][..], &["pid", "-q", "--init"], &["run", &spec, "-q"], &["uts", "--show-proc"]]
    {
        let script = "echo ready; sleep 0.5; echo on; exit 7";
        let mut command = Command::new("nohup");
        command.arg(binary()).args(words).args(["--", "sh", "-c", script]).stdin(Stdio::null());
        let child = ready(&mut command);
        send(child.id(), "HUP");
        let (status, output) = ended(child);
        assert_eq!((status, text(&output.stdout).trim()), (Some(7), "on"), "{words:?}");
    }
}

/// A shell without job control starts a background job with INT and QUIT ignored. POSIX, "Asynchronous lists"
#[test]
fn in_the_background_of_a_script_int_and_quit_are_ignored() {
    let script =
        "\"$0\" uts -q -- sh -c 'sleep 1; exit 7' & p=$!; sleep 0.5; kill -INT $p; kill -QUIT $p; wait $p";
    let output = Command::new("timeout").args(["60", "sh", "-c", script]).arg(binary()).output().unwrap();
    assert_eq!(output.status.code(), Some(7), "{}", text(&output.stderr));
}

#[test]
fn what_the_caller_ignores_stays_ignored_for_sandbox_and_the_command() {
    let (_directory, spec) = spec();
    let numbers = [1, 2, 3, 15, 10, 20, RTMIN_3];
    for words in
        [&["uts", "-q"][..], &["pid", "-q", "--init"], &["run", &spec, "-q"], &["pid", "--show-proc"]]
    {
        let ignore = "--ignore-signal=HUP,INT,QUIT,TERM,USR1,TSTP,RTMIN+3,PIPE";
        let read = [words, &["--", "grep", "^Sig", "/proc/self/status"]].concat();
        let output = through(&["env", ignore], &read).output().unwrap();
        // SIGPIPE is ignored by Rust's runtime, so nobody can know whether the caller ignores it.
        assert_eq!(mask(&output, "SigIgn"), bits(&numbers), "{words:?}");
        // `sandbox` itself ignores them too.
        let script = "echo ready; sleep 0.6; exit 7";
        let mut command = Command::new("env");
        command.arg(ignore).arg(binary()).args(words).args(["--", "sh", "-c", script]).stdin(Stdio::null());
        let child = ready(&mut command);
        for signal in ["HUP", "INT", "QUIT", "TERM", "USR1", "TSTP", "RTMIN+3"] {
            send(child.id(), signal);
        }
        assert_eq!(ended(child).0, Some(7), "{words:?}");
    }
}

#[test]
fn with_sigchld_ignored_the_status_arrives_and_the_command_ignores_it_too() {
    for words in [&["uts", "-q"][..], &["pid", "-q"], &["pid", "-q", "--init"]] {
        let ignore = ["env", "--ignore-signal=CHLD"];
        let status = through(&ignore, &[words, &["--", "sh", "-c", "exit 7"]].concat()).status().unwrap();
        assert_eq!(status.code(), Some(7), "{words:?}");
        let read = [words, &["--", "grep", "^Sig", "/proc/self/status"]].concat();
        assert_eq!(mask(&through(&ignore, &read).output().unwrap(), "SigIgn"), bits(&[17]), "{words:?}");
    }
}

#[test]
fn the_command_inherits_the_mask_of_blocked_signals() {
    for words in [&["uts", "-q"][..], &["pid", "-q", "--init"]] {
        let read = [words, &["--", "grep", "^Sig", "/proc/self/status"]].concat();
        let output = through(&["env", "--block-signal=USR1,TERM,RTMIN+3"], &read).output().unwrap();
        assert_eq!(mask(&output, "SigBlk"), bits(&[10, 15, RTMIN_3]), "{words:?}");
        let output = through(&["env"], &read).output().unwrap();
        assert_eq!((mask(&output, "SigBlk"), mask(&output, "SigIgn")), (0, 0), "{words:?}");
    }
}

/// timeout(1) signals `sandbox`, and then its whole process group, to which the command belongs. Inputs of the same kind:
/// several real-time signals; a command that is process 1, one behind an init, one in the caller's PID namespace; a
/// spec. Real-time signals queue, so each one too many would run the trap again. Of standard signals, two that are pending
/// are one: then `sandbox` cannot know that the group got it, too.
#[test]
fn a_signal_to_the_process_group_reaches_the_command_once() {
    let (_directory, spec) = spec();
    let forms: [&[&str]; 4] = [&["run", &spec], &["uts"], &["pid"], &["pid", "--init"]];
    // As timeout(1) does, but only when the command runs, and so does its sleep(1): before, that is a copy of the shell,
    // which takes the signal as the shell does.
    let timeout = "signal=$1; shift; exec 3< <(exec \"$@\"); read -u 3; trap '' $signal; \
                   kill -s $signal $!; kill -s $signal 0; cat <&3; wait $!; echo $?";
    for signal in ["RTMIN+3", "RTMAX"] {
        for words in forms {
            let script = format!(
                "trap 'echo cleanup; ended=1' {signal}; sleep 60 & sleep 0.3; echo ready; \
                                  while [ -z \"$ended\" ]; do wait; done; sleep 0.3; exit 5"
            );
            let output = Command::new("timeout")
                .args(["60", "setsid", "--wait", "bash", "-c", timeout, "bash", signal])
                .arg(binary())
                .args(words)
                .args(["-q", "--", "bash", "-c", &script])
                .stdin(Stdio::null())
                .output()
                .unwrap();
            // The sleep(1) got it too, as a member of the group: otherwise, cat(1) would wait for its end.
            assert_eq!(text(&output.stdout), "cleanup\n5\n", "{words:?} {signal} {}", text(&output.stderr));
        }
    }
}

/// A signal to `sandbox` alone is forwarded, also one of its parent, which is in the same process group.
#[test]
fn a_signal_of_the_parent_to_sandbox_alone_is_forwarded() {
    let script = "trap 'echo got; exit 5' USR1; echo ready; sleep 20 & wait";
    for words in [&["uts", "-q"][..], &["pid", "-q"], &["pid", "-q", "--init"]] {
        let child = sandbox_ready(&[words, &["--", "bash", "-c", script]].concat());
        kill(Pid::from_raw(child.id() as i32), Signal::SIGUSR1).unwrap();
        let (status, output) = ended(child);
        assert_eq!((status, text(&output.stdout)), (Some(5), "got\n".to_owned()), "{words:?}");
    }
}

#[test]
fn every_signal_that_docker_forwards_is_forwarded() {
    let signals = [
        "HUP", "INT", "QUIT", "TERM", "USR1", "USR2", "ALRM", "VTALRM", "PROF", "IO", "PWR", "ABRT", "SEGV",
        "BUS", "FPE", "ILL", "TRAP", "SYS", "XCPU", "XFSZ", "STKFLT", "WINCH", "CONT", "RTMIN", "RTMIN+7",
        "RTMAX",
    ];
    for words in [&["uts", "-q"][..], &["pid", "-q"], &["pid", "-q", "--init"]] {
        let start = |signal: &&'static str| {
            let script = format!("trap 'echo got; exit 5' {signal}; echo ready; sleep 20 & wait; wait");
            (*signal, sandbox_ready(&[words, &["--", "bash", "-c", &script]].concat()))
        };
        let started: Vec<(&str, Child)> = signals.iter().map(start).collect();
        for (signal, child) in &started {
            send(child.id(), signal);
        }
        for (signal, child) in started {
            let (status, output) = ended(child);
            let seen = (status, text(&output.stdout));
            assert_eq!(seen, (Some(5), "got\n".to_owned()), "{words:?} {signal} {}", text(&output.stderr));
        }
    }
}

#[test]
fn a_command_that_dies_of_a_signal_gives_128_and_its_number() {
    let all = [
        ("USR1", 10),
        ("ALRM", 14),
        ("SEGV", 11),
        ("RTMIN", 34),
        ("RTMIN+3", 37),
        ("RTMAX", 64),
        ("KILL", 9),
    ];
    for words in [&["uts", "-q"][..], &["pid", "-q", "--init"]] {
        for (signal, number) in all {
            let child = sandbox_ready(
                &[words, &["--", "sh", "-c", "ulimit -c 0; echo ready; exec sleep 60"]].concat(),
            );
            // Before, the shell would die of the signal, too.
            if signal == "KILL" {
                let init = words.contains(&"--init");
                let first = child_named(child.id(), if init { "sandbox" } else { "sleep" });
                send(if init { child_named(first, "sleep") } else { first }, signal);
            } else {
                send(child.id(), signal);
            }
            assert_eq!(ended(child).0, Some(128 + number), "{words:?} {signal}");
        }
    }
}

/// A signal that arrives while the container is made: `sandbox` ends, or the command gets it. Nothing is left.
#[test]
fn a_signal_before_the_command_runs_is_not_lost() {
    for (signal, number) in [("TERM", 15), ("HUP", 1), ("USR1", 10), ("RTMIN+3", RTMIN_3)] {
        for delay in [0, 5, 20, 40] {
            let mut command = support::sandbox(&["uts", "-q", "--", "sleep", "30"]);
            let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
            std::thread::sleep(Duration::from_millis(delay));
            send(child.id(), signal);
            let output = child.wait_with_output().unwrap();
            let by_signal =
                std::os::unix::process::ExitStatusExt::signal(&output.status).map(|own| 128 + own);
            assert_eq!(output.status.code().or(by_signal), Some(128 + number), "{signal} {delay}");
        }
    }
}

/// `sandbox` and its command stop and continue together.
#[test]
fn a_stopped_sandbox_stops_its_command_and_continues_it() {
    for words in [&["uts", "-q"][..], &["pid", "-q"], &["pid", "-q", "--init"]] {
        // `set -m` gives the job a process group, which is not orphaned: its parent is in another group of the session.
        // The shell becomes sleep(1), which stays that parent; a loop of bash ends when a job stops.
        let script = "set -m; \"$@\" & echo $!; exec sleep 60";
        let mut command = Command::new("setsid");
        command.args(["bash", "-c", script, "bash"]).arg(binary()).args(words);
        command.args(["--", "sh", "-c", "exec sleep 30"]).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut shell = command.stderr(Stdio::null()).spawn().unwrap();
        let mut number = Vec::new();
        let mut byte = [0];
        let output = shell.stdout.as_mut().unwrap();
        while output.read_exact(&mut byte).is_ok() && byte[0] != b'\n' {
            number.push(byte[0]);
        }
        let sandbox: u32 = text(&number).parse().unwrap();
        let child = child_named(sandbox, if words.contains(&"--init") { "sandbox" } else { "sleep" });
        let sleep = if words.contains(&"--init") { child_named(child, "sleep") } else { child };
        send(sandbox, "TSTP");
        wait_until("both are stopped", || state(sandbox) == 'T' && state(sleep) == 'T');
        send(sandbox, "CONT");
        wait_until("both run again", || state(sandbox) == 'S' && state(sleep) == 'S');
        // The command alone is stopped, as by a program that stops itself.
        if !words.contains(&"--init") {
            send(sleep, "STOP");
            wait_until("sandbox stops too", || state(sandbox) == 'T');
            send(sandbox, "CONT");
            wait_until("both run again", || state(sandbox) == 'S' && state(sleep) == 'S');
        }
        kill(Pid::from_raw(sleep as i32), Signal::SIGKILL).unwrap();
        wait_until("sandbox ends", || state(sandbox) == 'Z');
        shell.kill().unwrap();
        shell.wait().unwrap();
    }
}
