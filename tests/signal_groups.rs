//! A signal to the process group of `sandbox`, to which its command belongs, reaches the command once. So does a signal to
//! `sandbox` alone.
//!
//! Inputs of the same kind, all below:
//! - the sender: timeout(1), which signals `sandbox` and then the group; a process outside the group; the parent process,
//!   which signals `sandbox` alone, once or twice;
//! - the signal: one that is merged if it is pending twice (TERM, HUP, USR1, USR2), one that queues (RTMIN+3, RTMAX);
//! - the command: process 1, behind an init, in the caller's PID namespace, from a spec.
//!
//! What is not known: a process outside the group signals a group in which all processes are in one PID namespace
//! (`uts`). Then the signal is forwarded: two are better than none.

mod support;

use std::io::Read;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use std::os::unix::process::CommandExt;
use support::{binary, sample, sandbox, skip, text};

/// Two specs: process 1 is the command, or an init.
fn specs() -> (tempfile::TempDir, String, String) {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, spec: &str| {
        let file = directory.path().join(name);
        std::fs::write(&file, spec).unwrap();
        file.to_str().unwrap().to_owned()
    };
    let plain = write("plain.yaml", "pid:\nuts:\ncommand: [\"true\"]\n");
    let init = write("init.yaml", "pid: { init: true }\nuts:\ncommand: [\"true\"]\n");
    (directory, plain, init)
}

/// Prints `got` for each signal, and ends 0.3 s after the first one.
fn counting(signal: &str) -> String {
    format!(
        "trap 'echo got; ended=1' {signal}; sleep 60 & sleep 0.3; echo ready; \
         while [ -z \"$ended\" ]; do wait; done; sleep 0.3; exit 5"
    )
}

/// Starts a command, and waits until it has printed `ready`.
fn ready(command: &mut Command) -> Child {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut word = [0; 6];
    child.stdout.as_mut().unwrap().read_exact(&mut word).unwrap();
    assert_eq!(&word, b"ready\n");
    child
}

/// As timeout(1) does, but only when the command runs, and so does its sleep(1): before, that is a copy of the shell, which
/// takes the signal as the shell does.
const TIMEOUT: &str = "signal=$1; shift; exec 3< <(exec \"$@\"); read -u 3; kill -s $signal $!; trap '' $signal; \
                       kill -s $signal 0; cat <&3; wait $!; echo $?";

/// The sleep(1) gets the signal too, as a member of the group: otherwise, cat(1) would wait for its end.
#[test]
fn a_signal_to_sandbox_and_then_to_the_group_reaches_the_command_once() {
    let (_directory, plain, init) = specs();
    let forms: [&[&str]; 5] = [&["run", &plain], &["run", &init], &["uts"], &["pid"], &["pid", "--init"]];
    for signal in sample(2, ["TERM", "HUP", "USR1", "RTMIN+3", "RTMAX"]) {
        let start = |words: &&[&str]| {
            Command::new("timeout")
                .args(["60", "setsid", "--wait", "bash", "-c", TIMEOUT, "bash", signal])
                .arg(binary())
                .args(*words)
                .args(["-q", "--", "bash", "-c", &counting(signal)])
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap()
        };
        let started: Vec<_> = forms.iter().map(start).collect();
        for (child, words) in started.into_iter().zip(forms) {
            let output = child.wait_with_output().unwrap();
            assert_eq!(text(&output.stdout), "got\n5\n", "{words:?} {signal} {}", text(&output.stderr));
        }
    }
}

/// timeout(1) itself, with its own order of calls.
#[test]
fn timeout_lets_the_command_clean_up_once() {
    let (_directory, plain, init) = specs();
    let forms: [&[&str]; 5] = [&["run", &plain], &["run", &init], &["uts"], &["pid"], &["pid", "--init"]];
    let signals = ["TERM", "USR2", "RTMIN+3"];
    let all = forms.iter().flat_map(|words| signals.map(|signal| (*words, signal)));
    for (words, signal) in sample(4, all) {
        // The shell has set its trap long before; the end of the first sleep(1) wakes it.
        let script =
            format!("trap 'echo got' {signal}; sleep 60 & wait $!; wait $! 2>/dev/null; sleep 0.3; exit 5");
        let output = Command::new("timeout")
            .args(["--preserve-status", "-s", signal, "2"])
            .arg(binary())
            .args(words)
            .args(["-q", "--", "bash", "-c", &script])
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let seen = (output.status.code(), text(&output.stdout));
        assert_eq!(seen, (Some(5), "got\n".to_owned()), "{words:?} {signal} {}", text(&output.stderr));
    }
}

/// The kernel shows by the PID 0 that a process of the group is in a new PID namespace.
#[test]
fn a_signal_of_another_process_to_the_group_reaches_the_command_once() {
    let test = "a_signal_of_another_process_to_the_group_reaches_the_command_once";
    // Its inode number is fixed: linux/proc_ns.h, PROC_PID_INIT_INO. In any other PID namespace, 0 is also the PID of each
    // process outside of it.
    if std::fs::read_link("/proc/self/ns/pid").unwrap().as_os_str() != "pid:[4026531836]" {
        return skip(test, "machine: this is not the initial PID namespace");
    }
    let (_directory, plain, init) = specs();
    for words in sample(2, [&["run", &plain][..], &["run", &init], &["pid"], &["pid", "--init"]]) {
        for (signal, name) in [(Signal::SIGTERM, "TERM"), (Signal::SIGUSR1, "USR1")] {
            let script = counting(name);
            let mut command = sandbox(&[words, &["-q", "--", "bash", "-c", &script]].concat());
            let child = ready(command.process_group(0));
            killpg(Pid::from_raw(child.id().cast_signed()), signal).unwrap();
            let output = child.wait_with_output().unwrap();
            let seen = (output.status.code(), text(&output.stdout));
            assert_eq!(seen, (Some(5), "got\n".to_owned()), "{words:?} {name} {}", text(&output.stderr));
        }
    }
}

/// A signal to `sandbox` alone is forwarded, also one of its parent, which is in the same process group.
#[test]
fn a_signal_of_the_parent_to_sandbox_alone_is_forwarded() {
    let script = "trap 'echo got; exit 5' USR1; echo ready; sleep 20 & wait";
    for words in [&["uts", "-q"][..], &["pid", "-q"], &["pid", "-q", "--init"]] {
        let child = ready(&mut sandbox(&[words, &["--", "bash", "-c", script]].concat()));
        kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGUSR1).unwrap();
        let output = child.wait_with_output().unwrap();
        let seen = (output.status.code(), text(&output.stdout));
        assert_eq!(seen, (Some(5), "got\n".to_owned()), "{words:?}");
    }
}

/// Two signals of the parent to `sandbox` alone are two signals. Real-time signals queue, so none is merged.
#[test]
fn two_signals_of_the_parent_are_two() {
    if !Command::new("python3").arg("-V").output().is_ok_and(|output| output.status.success()) {
        return skip("two_signals_of_the_parent_are_two", "python3 isn't installed");
    }
    let parent = "exec 3< <(exec \"$@\"); read -u 3; kill -s RTMIN+3 $!; kill -s RTMIN+3 $!; cat <&3; wait $!; echo $?";
    // A shell would run its trap once for two pending signals.
    let script = "import signal, sys; all = [signal.SIGRTMIN + 3]; signal.pthread_sigmask(signal.SIG_BLOCK, all)\n\
                  print('ready', flush=True)\n\
                  for _ in range(2): print(signal.sigtimedwait(all, 20).si_signo, flush=True)\n\
                  sys.exit(5)";
    for words in [&["uts"][..], &["pid"], &["pid", "--init"]] {
        let output = Command::new("timeout")
            .args(["60", "setsid", "--wait", "bash", "-c", parent, "bash"])
            .arg(binary())
            .args(words)
            .args(["-q", "--", "python3", "-c", script])
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert_eq!(text(&output.stdout), "37\n37\n5\n", "{words:?} {}", text(&output.stderr));
    }
}
