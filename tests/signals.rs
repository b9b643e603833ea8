//! Signals to `sandbox`: which are forwarded, which stay ignored, and job control.
//!
//! Inputs of the same kind, all below:
//! - ignored on entry: HUP by nohup(1), INT and QUIT in the background of a shell without job control, HUP INT QUIT TERM
//!   USR1 TSTP RTMIN+3 by `trap ''`, CHLD (the status must not be lost); for a feature, `run`, an init, `--show-proc`;
//! - blocked on entry: the command inherits the mask, as behind nsenter(1);
//! - forwarded: the signals that ask a program to end, USR1, real-time signals, faults, WINCH; to a command that is
//!   process 1, that is behind an init, or neither; a signal without a handler kills the command, 128+N;
//! - before the command runs.
//!
//! A signal that the kernel drops because process 1 has no handler is in `pid.rs`, and with a terminal in `pty.rs`. Signals
//! to a process group are in `signal_groups.rs`, and stopped processes in `stopped.rs`.

mod support;

use std::io::Read;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use support::{binary, child_named, text};

/// The real-time signals in shell's and timeout's notation: SIGRTMIN+3.
const RTMIN_3: i32 = 37;

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

/// Without a terminal, a container of an image gets the same signals, and so does a command of `exec`.
#[cfg(feature = "images")]
#[test]
fn an_attached_client_forwards_every_signal() {
    let home = support::kept::KeptHome::new();
    home.out(&["image", "from-host", "tool", "sh", "sleep"]);
    for signal in ["WINCH", "CONT", "USR1", "TERM"] {
        let script = format!("trap 'echo got; exit 5' {signal}; echo ready; while :; do sleep 0.05; done");
        let words = ["run", "--rm", "--network", "none", "tool", "sh", "-c", &script];
        let child = ready(&mut home.command(&words));
        send(child.id(), signal);
        let (status, output) = ended(child);
        let seen = (status, text(&output.stdout));
        assert_eq!(seen, (Some(5), "got\n".to_owned()), "{signal} {}", text(&output.stderr));
    }
}

/// Ctrl-Z stops the client. The command is in another session: it runs on, as that of `docker exec`.
#[test]
fn ctrl_z_stops_a_client_of_exec() {
    let container = support::running::Running::of("rootfs: host\npid:\n", "");
    let line = format!("{} exec -q {} sh -c 'echo up; exec sleep 60'", binary().display(), container.name);
    let script = format!("set -m; {line}; echo status $?; kill -9 %1");
    let bash = std::path::Path::new("/bin/bash");
    let mut terminal = support::terminal::Terminal::of(bash, &["--norc", "-c", &script]);
    terminal.wait_for("up");
    terminal.press("\x1a");
    // 128 and SIGTSTP.
    terminal.wait_for("status 148");
    terminal.end();
}
