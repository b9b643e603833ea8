//! A new terminal for the command: what is typed, what appears, and the state of the user's terminal afterwards.

mod support;

use std::io::{Read, Write};
use std::process::{Child, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::sys::termios::LocalFlags;
use nix::unistd::Pid;
use support::terminal::Terminal;
use support::{binary, child_named, is_root, repository, sandbox, skip, text, wait_until};

/// `run` with one of the specs of `tests/terminals`. The specs are files, because standard input is the terminal.
fn words<'a>(spec: &'a str, command: &[&'a str]) -> Vec<&'a str> {
    [&["run", spec, "-q", "--"], command].concat()
}

fn spec(name: &str) -> String {
    repository().join("tests/terminals").join(name).with_extension("yaml").to_string_lossy().into_owned()
}

/// The command runs in a new terminal, and `sandbox` runs in another terminal.
fn terminal(name: &str, command: &[&str]) -> Terminal {
    Terminal::start(&words(&spec(name), command))
}

/// The command runs in a new terminal, and `sandbox` runs between two pipes.
fn piped(script: &str) -> Child {
    let mut sandbox = sandbox(&words(&spec("plain"), &["sh", "-c", script]));
    sandbox.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap()
}

const SHELL: [&str; 4] = ["bash", "--norc", "--noediting", "-i"];

fn shell() -> Terminal {
    let mut terminal = terminal("plain", &SHELL);
    terminal.wait_for("prompt> ");
    terminal
}

fn is_there(pid: u32) -> bool {
    kill(Pid::from_raw(pid as i32), None).is_ok()
}

/// True if the terminal has the same modes as before.
fn is_restored(terminal: &Terminal) -> bool {
    terminal.modes() == terminal.before
}

#[test]
fn it_has_a_name_and_follows_the_size_of_the_users() {
    let mut terminal = shell();
    terminal.press("tty; stty size\n");
    terminal.wait_for("/dev/pts/");
    terminal.wait_for("40 80\n");
    terminal.resize(50, 100);
    terminal.press("stty size\n");
    terminal.wait_for("50 100\n");
    terminal.press("exit\n");
    terminal.end();
}

#[test]
fn ctrl_c_and_ctrl_z_are_the_inner_shells() {
    let mut terminal = shell();
    let shell = child_named(terminal.pid(), "bash");
    terminal.press("sleep 100\n");
    child_named(shell, "sleep");
    terminal.press("\u{1a}");
    terminal.wait_for("Stopped");
    terminal.press("fg\n");
    terminal.wait_for("sleep 100\n");
    wait_until("sleep goes on", || {
        let stat = |pid| std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat(child_named(shell, "sleep")).contains(") S ")
    });
    terminal.press("\u{3}");
    terminal.press("echo status $?\n");
    terminal.wait_for("status 130\n");
    // Ctrl-D is an ordinary byte for the outer terminal. The inner terminal turns it into the end of input.
    terminal.press("\u{4}");
    let (status, _) = terminal.ended();
    assert_eq!(status.code(), Some(0));
    assert!(is_restored(&terminal));
}

#[test]
fn the_status_is_the_commands() {
    for name in ["plain", "init", "rootfs"] {
        for (script, status) in [("exit 7", 7), ("kill -9 $$", 137), ("tty >&-", 3)] {
            let (ended, seen) = terminal(name, &["sh", "-c", script]).end();
            assert_eq!(ended.code(), Some(status), "{name} {script}: {seen}");
        }
    }
}

#[test]
fn in_a_devpts_of_its_own_it_is_the_first() {
    let (status, seen) = terminal("rootfs", &["sh", "-c", "tty; stty size; ls /dev/pts"]).end();
    assert!(status.success(), "{seen}");
    assert!(seen.contains("/dev/pts/0\n40 80\n0  ptmx\n"), "{seen}");
}

/// An ordinary user can open the terminal by its name too. A program may need it although its descriptors are
/// redirected.
#[test]
fn the_terminal_is_its_users() {
    if !is_root() {
        return skip("the_terminal_is_its_users", "machine: only root has commands of other users");
    }
    for name in ["user", "rootfs-user"] {
        let script = "stat -c %u $(tty); echo opened > $(tty); ls -l $(tty) | cut -c 1-10";
        let (status, seen) = terminal(name, &["sh", "-c", script]).end();
        assert!(status.success(), "{name}: {seen}");
        assert!(seen.starts_with("1000\nopened\ncrw"), "{name}: {seen}");
    }
    // If IDs are mapped and the terminal is created on the host, its owner must be the UID on the host.
    let (status, seen) = terminal("mapped", &["sh", "-c", "stat -c %u $(tty); echo opened > $(tty)"]).end();
    assert!(status.success() && seen.contains("1000\nopened\n"), "{seen}");
}

#[test]
fn an_init_keeps_no_descriptor() {
    // The init closes its descriptors when it starts to wait, which may be just after the command starts. An ordinary
    // user cannot read /proc/1/fd.
    let script =
        "until [ -z \"$(ls /proc/1/fd 2>/dev/null)\" ]; do sleep 0.05; done; ls /proc/self/fd | xargs";
    let (status, seen) = terminal("init", &["sh", "-c", script]).end();
    assert!(status.success() && seen.starts_with("0 1 2 "), "{seen}");
}

#[test]
fn all_that_was_printed_arrives() {
    const MANY: &str = "head -c 1048576 /dev/zero | tr '\\0' x";
    let scripts =
        [MANY.to_owned(), format!("{MANY}; printf last"), format!("sleep 60 & {MANY}; printf last")];
    let ways = scripts.iter().flat_map(|script| [("plain", script), ("init", script)]);
    for (name, script) in ways {
        let mut terminal = terminal(name, &["sh", "-c", &format!("echo begin; {script}")]);
        terminal.wait_for("begin\n");
        // The reader may be slow. The command may have ended long before.
        std::thread::sleep(Duration::from_millis(200));
        let (status, seen) = terminal.end();
        let printed = seen.trim_end_matches("last");
        assert!(status.success() && printed.bytes().all(|byte| byte == b'x'), "{name} {script}");
        assert_eq!(printed.len(), 1 << 20, "{name} {script}");
        assert_eq!(seen.ends_with("last"), script.ends_with("last"), "{name} {script}");
    }
}

#[test]
fn the_users_terminal_is_raw_meanwhile_and_restored_by_every_end() {
    for (what, status) in [("the end", 0), ("a kill of the command", 137), ("a TERM to sandbox", 143)] {
        let mut terminal = terminal("plain", &["sh", "-c", "echo begin; exec cat"]);
        terminal.wait_for("begin\n");
        let command = child_named(terminal.pid(), "cat");
        let keys = LocalFlags::ICANON | LocalFlags::ECHO | LocalFlags::ISIG;
        assert!(!terminal.modes().local_flags.intersects(keys));
        match status {
            0 => terminal.press("\u{4}"),
            137 => signal(command, Signal::SIGKILL),
            _ => signal(terminal.pid(), Signal::SIGTERM),
        }
        let (ended, seen) = terminal.ended();
        assert_eq!(ended.code(), Some(status), "{what}: {seen}");
        assert!(is_restored(&terminal), "{what}");
    }
}

/// A shell stops and continues `sandbox` like any other job, and resets the terminal in between.
#[test]
fn a_sandbox_that_was_stopped_takes_the_terminal_again_and_never_from_the_background() {
    let spec = spec("plain");
    let mut terminal = Terminal::of("bash".as_ref(), &["--norc", "--noediting", "-i"]);
    let prompt = "prompt> ";
    terminal.wait_for(prompt);
    let words = words(&spec, &["sh", "-c", "'echo begin; exec cat'"]).join(" ");
    terminal.press(&format!("{} {words}\n", binary().display()));
    terminal.wait_for("begin\n");
    let job = child_named(terminal.pid(), "sandbox");
    child_named(job, "cat");
    signal(job, Signal::SIGSTOP);
    terminal.wait_for("Stopped");
    terminal.wait_for(prompt);
    assert!(terminal.modes().local_flags.contains(LocalFlags::ICANON));
    terminal.press("fg\n");
    wait_until("it's raw again", || !terminal.modes().local_flags.contains(LocalFlags::ICANON));
    signal(job, Signal::SIGSTOP);
    terminal.wait_for("Stopped");
    terminal.wait_for(prompt);
    // bash sends TERM to the job, then CONT, so that it can end. bash's own wait would return if bash has not yet
    // noticed that the job continues.
    let gone = "while kill -0 $p 2>/dev/null; do sleep 0.05; done";
    terminal.press(&format!("p=$(jobs -p); kill %1; {gone}\n"));
    terminal.wait_for("Exit 143");
    assert!(terminal.modes().local_flags.contains(LocalFlags::ICANON));
    terminal.press("exit\n");
    terminal.end();
}

fn signal(pid: u32, signal: Signal) {
    kill(Pid::from_raw(pid as i32), signal).unwrap();
}

/// Ctrl-C is a byte for `sandbox`. The command's terminal turns it into a signal, which the kernel drops if the command
/// is process 1 and has no handler: the same hint and the same way out as without a terminal (`pid.rs`). Of the same kind
/// is Ctrl-\\. A command with a handler, one that ignores the signal, a program in the foreground of a shell, and one
/// behind an init get no hint.
#[test]
fn a_key_that_the_kernel_drops_is_explained_and_the_second_kills() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, spec: &str| {
        let file = directory.path().join(name);
        std::fs::write(&file, spec).unwrap();
        file.to_str().unwrap().to_owned()
    };
    let (plain, tty) = (write("plain.yaml", "pid:\n"), write("tty.yaml", "pid:\ntty: true\nrootfs: host\n"));
    for (file, flags) in [(&plain, "-it"), (&tty, "--rm")] {
        for (key, name) in [("\u{3}", "SIGINT"), ("\u{1c}", "SIGQUIT")] {
            let mut terminal = Terminal::start(&["run", file, flags, "-q", "--", "sleep", "60"]);
            child_named(terminal.pid(), "sleep");
            wait_until("it's raw", || !terminal.modes().local_flags.contains(LocalFlags::ICANON));
            terminal.press(key);
            let seen = terminal.wait_for("send it again to kill the command");
            assert!(seen.contains(name) && seen.contains("SigCgt"), "{seen}");
            terminal.press(key);
            let (status, seen) = terminal.ended();
            assert_eq!(status.code(), Some(137), "{seen}");
            assert!(is_restored(&terminal));
        }
    }
    // No hint: the command has a handler, or ignores the signal.
    let script = "trap 'echo caught; exit 5' INT; echo begin; while :; do sleep 0.1; done";
    let mut terminal = Terminal::start(&["run", &plain, "-it", "-q", "--", "bash", "-c", script]);
    terminal.wait_for("begin");
    terminal.press("\u{3}");
    let (status, seen) = terminal.end();
    assert!(status.code() == Some(5) && seen.contains("caught") && !seen.contains("SigCgt"), "{seen}");
    let script = "trap '' INT; echo begin; read line; echo got $line; exit 6";
    let mut terminal = Terminal::start(&["run", &plain, "-it", "-q", "--", "bash", "-c", script]);
    terminal.wait_for("begin");
    terminal.press("\u{3}\u{3}word\n");
    let (status, seen) = terminal.end();
    assert!(status.code() == Some(6) && !seen.contains("SigCgt"), "{seen}");
}

#[test]
fn a_killed_sandbox_leaves_no_command() {
    for (name, first) in [("plain", "bash"), ("init", "sandbox")] {
        let mut terminal = terminal(name, &SHELL);
        terminal.wait_for("prompt> ");
        terminal.press("sleep 100\n");
        let first = child_named(terminal.pid(), first);
        let shell = if name == "plain" { first } else { child_named(first, "bash") };
        let sleep = child_named(shell, "sleep");
        signal(terminal.pid(), Signal::SIGKILL);
        terminal.ended();
        for pid in [first, shell, sleep] {
            wait_until("a process lives on", || !is_there(pid));
        }
    }
}

#[test]
fn the_end_of_piped_input_is_typed() {
    for (input, printed) in [("one\ntwo\n", "one\ntwo\n"), ("no newline", "no newline"), ("", "")] {
        let mut child = piped("stty -echo; echo begin; exec cat");
        let mut begin = [0; 4096];
        let mut seen = String::new();
        while !seen.contains("begin\r\n") {
            let count = child.stdout.as_mut().unwrap().read(&mut begin).unwrap();
            seen.push_str(&text(&begin[..count]));
        }
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success());
        assert_eq!(text(&output.stdout).replace('\r', ""), printed);
    }
}

#[test]
fn much_input_arrives_though_nobody_reads_it_at_once() {
    let mut child = piped("stty -echo; echo begin; sleep 0.3; wc -c");
    let mut output = child.stdout.take().unwrap();
    let mut begin = [0; 4096];
    let mut seen = String::new();
    while !seen.contains("begin\r\n") {
        let count = output.read(&mut begin).unwrap();
        seen.push_str(&text(&begin[..count]));
    }
    let lines = "0123456789abcde\n".repeat(1 << 14);
    child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    let mut count = String::new();
    output.read_to_string(&mut count).unwrap();
    assert_eq!(count.trim(), (1 << 18).to_string());
    assert!(child.wait().unwrap().success());
}

#[test]
fn when_nobody_reads_any_more_the_terminal_hangs_up() {
    let mut child = piped("while :; do echo more; done");
    drop(child.stdout.take());
    // 128 + SIGHUP.
    assert_eq!(child.wait().unwrap().code(), Some(129));
}

#[test]
fn without_a_terminal_a_pipe_is_the_commands_own() {
    let mut child =
        sandbox(&["uts", "-q", "--", "cat"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"hi\0\x04\n").unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    assert_eq!(output.stdout, b"hi\0\x04\n");
}
