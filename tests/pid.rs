//! The pid namespace: what the kernel shows.

mod support;

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use support::terminal::Terminal;
use support::{binary, fits, run, sandbox, snapshot, snapshot_cards, stdout, text, wait_until};

#[test]
fn every_card_holds() {
    let cards = stdout(&["pid"]);
    assert_eq!(cards.lines().filter(|line| line.starts_with("holds ")).count(), 10, "{cards}");
    cards.split("\n\n").for_each(|card| fits(card, 80, 22));
    snapshot_cards("demo-pid", &cards);
}

/// Each claim of the notes on Docker's architecture about PID namespaces, and the card that shows it.
#[test]
fn each_claim_of_the_notes_has_its_card() {
    let claims = [
        ("different namespaces can hold the same number", "siblings"),
        ("each namespace has a process 1 of its own, like init", "siblings"),
        ("process 1 is what init is: it gets the orphans", "orphan"),
        ("a process affects only those in its own namespace and those below", "reach"),
        ("/proc in a container shows only its own namespace's processes", "proc"),
        ("namespaces nest", "nesting"),
        ("the outer namespace can affect the processes of an inner one", "end"),
        ("a process inside is seen from outside under another number", "numbers"),
    ];
    for (claim, card) in claims {
        let shown = stdout(&["pid", "--demo", card]);
        assert!(shown.contains("\nholds  "), "{claim}: {shown}");
    }
}

#[test]
fn each_mistake_shows_what_goes_wrong() {
    for (mistake, wrong) in [("no-fork", "ENOMEM"), ("stale-proc", " processes"), ("bad-init", "Z (zombie)")]
    {
        let contrast = stdout(&["pid", "--break", mistake]);
        let (rest, right) = contrast.split_once("\nRIGHT ").expect("both ways");
        // The lesson is below the evidence of the right way.
        let right = right.split("\n   ").next().unwrap();
        assert!(rest.contains("\nWRONG "), "{contrast}");
        assert!(!right.contains(wrong) && rest.contains(wrong), "{contrast}");
        fits(&contrast, 80, 24);
        snapshot(&format!("break-pid-{mistake}"), &contrast);
    }
}

/// The PIDs of `sandbox`'s children.
fn children(of: u32) -> Vec<i32> {
    let list = fs::read_to_string(format!("/proc/{of}/task/{of}/children")).unwrap_or_default();
    list.split_whitespace().map(|number| number.parse().unwrap()).collect()
}

/// Returns true if one of its children has executed sleep(1).
fn runs_sleep(parent: u32) -> bool {
    let name = |pid: &i32| fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    children(parent).iter().any(|pid| name(pid) == "sleep\n")
}

/// Starts `sandbox pid FLAGS -- sh -c SCRIPT` and waits until the script prints `ready`.
fn started(flags: &[&str], script: &str) -> Child {
    let mut child = sandbox(&[&["pid", "-q"], flags, &["--", "sh", "-c", script]].concat())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut word = [0; 6];
    std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut word).unwrap();
    assert_eq!(&word, b"ready\n");
    child
}

fn terminate(child: Child) -> (Option<i32>, String) {
    kill(Pid::from_raw(child.id() as i32), Signal::SIGTERM).unwrap();
    let output = child.wait_with_output().unwrap();
    (output.status.code(), text(&output.stderr))
}

#[test]
fn a_signal_that_process_1_handles_is_passed_on() {
    let child = started(&[], "trap 'exit 5' TERM; echo ready; while :; do sleep 0.05; done");
    assert_eq!(terminate(child), (Some(5), String::new()));
}

#[test]
fn a_term_that_the_kernel_drops_is_explained_and_followed_by_a_kill() {
    let child = started(&[], "echo ready; exec sleep 60");
    wait_until("sleep runs", || runs_sleep(child.id()));
    let (status, error) = terminate(child);
    assert_eq!(status, Some(137), "{error}");
    assert!(
        error.contains("SIGTERM") && error.contains("SigCgt") && error.contains("killed from outside"),
        "{error}"
    );
}

#[test]
fn behind_an_init_the_view_is_the_command_s() {
    let view = text(&run(&["pid", "--init", "--show-proc", "--format", "json", "--", "true"]).stderr);
    let view = &view[view.find('{').unwrap()..];
    let mut values = serde_json::Deserializer::from_str(view).into_iter::<serde_json::Value>();
    let view = values.next().unwrap().unwrap();
    let process = |side: &str| view["process"][side][0]["value"]["is"].as_str().unwrap().to_owned();
    assert_eq!(process("inside"), "2");
    assert!(process("outside").ends_with(" 2"), "{}", process("outside"));
}

#[test]
fn an_init_passes_signals_on_and_the_default_action_is_taken() {
    let child = started(&["--init"], "echo ready; exec sleep 60");
    assert_eq!(terminate(child), (Some(143), String::new()));
}

#[test]
fn an_init_is_process_1_and_reaps_orphans() {
    let script = "echo $$; cat /proc/1/comm; (true & echo $! >/dev/null; exec true); sh -c 'true & exec true'; \
                  for i in $(seq 200); do grep -q ^State.*zombie /proc/[0-9]*/status || break; sleep 0.05; done; \
                  grep -h ^State /proc/[0-9]*/status";
    let inside = stdout(&["pid", "-q", "--init", "--", "sh", "-c", script]);
    let lines: Vec<&str> = inside.lines().collect();
    assert_eq!(lines[..2], ["2", "sandbox"], "{inside}");
    assert!(!inside.contains("zombie"), "{inside}");
    assert_eq!(run(&["pid", "-q", "--init", "--", "sh", "-c", "exit 7"]).status.code(), Some(7));
}

#[test]
fn a_shell_in_a_terminal_has_its_prompt_and_its_jobs() {
    let mut terminal = Terminal::start(&["pid", "-q", "--", "bash", "--norc", "-i"]);
    terminal.wait_for("prompt> ");
    terminal.press("echo number $$\n");
    terminal.wait_for("number 1\n");
    // Ctrl-C ends the shell's command, not the shell.
    terminal.press("sleep 60\n");
    let shell = children(terminal.pid())[0] as u32;
    wait_until("sleep runs", || runs_sleep(shell));
    terminal.press("\u{3}");
    terminal.press("echo status $?\n");
    let seen = terminal.wait_for("status 130\n");
    assert!(!seen.contains("job control"), "{seen}");
    terminal.press("exit 3\n");
    assert_eq!(terminal.end().0.code(), Some(3));
}

#[test]
fn the_first_ctrl_c_is_explained_and_the_second_kills() {
    let mut terminal = Terminal::start(&["pid", "-q", "--", "sleep", "60"]);
    wait_until("sleep runs", || runs_sleep(terminal.pid()));
    terminal.press("\u{3}");
    let seen = terminal.wait_for("send it again to kill the command");
    assert!(seen.contains("SIGINT") && seen.contains("SigCgt"), "{seen}");
    assert_eq!(children(terminal.pid()).len(), 1, "it lives on");
    terminal.press("\u{3}");
    let (status, seen) = terminal.end();
    assert_eq!(status.code(), Some(137), "{seen}");
}

#[test]
fn a_killed_sandbox_leaves_no_process_of_the_namespace() {
    for flags in [&[][..], &["--init"]] {
        let mut child = started(flags, "sleep 60 & setsid sleep 60 & echo ready; wait");
        let first = children(child.id())[0];
        let link = fs::read_link(format!("/proc/{first}/ns/pid")).unwrap();
        let members = || {
            let all = fs::read_dir("/proc").unwrap().flatten();
            all.filter(|entry| fs::read_link(entry.path().join("ns/pid")).is_ok_and(|own| own == link))
                .count()
        };
        assert!(members() >= 3, "{}", members());
        child.kill().unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(9));
        wait_until("processes live on", || members() == 0);
    }
}

#[test]
fn without_a_new_proc_the_old_one_is_seen() {
    let own = std::process::id().to_string();
    let script = "readlink /proc/self; echo $$; ls /proc";
    let stale = stdout(&["pid", "-q", "--no-mount-proc", "--", "sh", "-c", script]);
    let lines: Vec<&str> = stale.lines().collect();
    assert!(lines[0] != "1" && lines[1] == "1" && lines.contains(&own.as_str()), "{stale}");
    let fresh = stdout(&["pid", "-q", "--", "sh", "-c", script]);
    let numbers: Vec<&str> =
        fresh.lines().filter(|line| line.bytes().all(|byte| byte.is_ascii_digit())).collect();
    // readlink is PID 2. Then the shell prints its own PID. Then /proc lists the shell and ls.
    assert_eq!(numbers, ["2", "1", "1", "3"], "{fresh}");
}

/// An ignored signal stays ignored after execve(2). If SIGCHLD is ignored, the kernel discards a child's status, see
/// wait(2).
#[test]
fn a_caller_that_ignores_sigchld_hears_the_status_too() {
    for init in [false, true] {
        let flags: &[&str] = if init { &["--init"] } else { &[] };
        let mut run = std::process::Command::new("timeout");
        run.args(["10", "env", "--ignore-signal=CHLD"]).arg(binary()).args(["pid", "-q"]).args(flags);
        assert_eq!(run.args(["--", "sh", "-c", "exit 3"]).status().unwrap().code(), Some(3), "{flags:?}");
    }
}
