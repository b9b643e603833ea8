//! No cgroup and no process of one is left, however a run ends: by itself, by a signal, or killed at any moment.

mod support;

use std::fs;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use support::limits::{group, left, may, possible};
use support::{alone, run, sandbox, stdout};

/// A run whose command executes sleep, and the command's PID.
fn sleeping(feature: &str, script: &str) -> (Child, u32) {
    let child = sandbox(&[feature, "-q", "--", "sh", "-c", script]).spawn().unwrap();
    let command = wait_for(|| {
        let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", child.id())).ok()?;
        let pid: u32 = children.split_whitespace().next()?.parse().ok()?;
        fs::read_to_string(format!("/proc/{pid}/comm")).ok().filter(|name| name != "sandbox\n").map(|_| pid)
    });
    (child, command.unwrap())
}

fn wait_for<T>(ask: impl Fn() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + Duration::from_secs(20);
    while Instant::now() < deadline {
        if let Some(answer) = ask() {
            return Some(answer);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    None
}

fn lives(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

#[test]
fn what_a_killed_sandbox_leaves_is_ended_and_removed_by_the_next() {
    let _alone = alone();
    for feature in possible("what_a_killed_sandbox_leaves_is_ended_and_removed_by_the_next") {
        // A grandchild in a new session: signals to the process group do not reach it.
        let (mut child, command) = sleeping(feature, "setsid sleep 300 & wait");
        let directory = group(command, feature);
        assert!(directory.parent().unwrap().ends_with("sandbox"), "{}", directory.display());
        let members = || fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
        let other = wait_for(|| {
            members().lines().filter_map(|pid| pid.parse().ok()).find(|pid| {
                *pid != command
                    && fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name == "sleep\n")
            })
        })
        .unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(wait_for(|| (!lives(command)).then_some(())).is_some(), "{feature}: the command lives on");
        assert!(lives(other), "{feature}: the grandchild is out of reach until the next command");
        let freezer = directory.join("cgroup.freeze");
        if freezer.exists() {
            fs::write(freezer, "1").unwrap();
        }
        assert!(run(&["--version"]).status.success());
        let _ = run(&["uts", "--dry-run"]);
        assert!(wait_for(|| (!lives(other)).then_some(())).is_some(), "{feature}: the grandchild lives on");
        // The command does not wait long for the end of the processes. Then the next one removes the cgroup.
        let is_gone = || {
            let _ = run(&["uts", "--dry-run"]);
            (!directory.exists()).then_some(())
        };
        assert!(wait_for(is_gone).is_some(), "{feature}: {}", directory.display());
    }
    assert_eq!(left(), Vec::<std::path::PathBuf>::new());
}

#[test]
fn what_the_command_leaves_in_its_cgroup_ends_with_it() {
    let _alone = alone();
    if !may("what_the_command_leaves_in_its_cgroup_ends_with_it", "pids") {
        return;
    }
    let shown = stdout(&["pids", "-q", "--", "sh", "-c", "setsid sleep 300 >/dev/null 2>&1 & echo $!"]);
    let other: u32 = shown.trim().parse().unwrap();
    assert!(wait_for(|| (!lives(other)).then_some(())).is_some());
    assert_eq!(left(), Vec::<std::path::PathBuf>::new());
}

#[test]
fn a_kill_at_any_moment_leaves_nothing_after_the_next_command() {
    let _alone = alone();
    if !may("a_kill_at_any_moment_leaves_nothing_after_the_next_command", "memory") {
        return;
    }
    for microseconds in (0..6000).step_by(150) {
        let mut run = sandbox(&["memory", "-q", "--limit", "64m", "--", "true"]).spawn().unwrap();
        std::thread::sleep(Duration::from_micros(microseconds));
        run.kill().unwrap();
        run.wait().unwrap();
    }
    assert!(support::run(&["uts", "--dry-run"]).status.success());
    assert_eq!(left(), Vec::<std::path::PathBuf>::new());
}

#[test]
fn runs_at_one_time_share_the_directory_and_the_last_removes_it() {
    let _alone = alone();
    if !may("runs_at_one_time_share_the_directory_and_the_last_removes_it", "pids") {
        return;
    }
    let mut runs: Vec<Child> = (0..8)
        .map(|_| sandbox(&["pids", "--max", "9", "-q", "--", "sleep", "0.2"]).spawn().unwrap())
        .collect();
    for _ in 0..20 {
        assert!(run(&["pids", "-q", "--max", "9", "--", "true"]).status.success());
    }
    runs.iter_mut().for_each(|run| assert!(run.wait().unwrap().success()));
    assert_eq!(left(), Vec::<std::path::PathBuf>::new());
}

#[test]
fn an_interrupt_and_a_term_leave_nothing() {
    let _alone = alone();
    if !may("an_interrupt_and_a_term_leave_nothing", "memory") {
        return;
    }
    for (signal, status) in [("INT", 130), ("TERM", 143)] {
        // A demonstration: the signal goes to `sandbox` itself.
        let mut command = sandbox(&["memory"]);
        command.process_group(0).stdout(std::process::Stdio::null());
        let mut child = command.spawn().unwrap();
        std::thread::sleep(Duration::from_millis(150));
        let sent =
            Command::new("kill").args([&format!("-{signal}"), &child.id().to_string()]).status().unwrap();
        let ended = child.wait().unwrap();
        // The demonstration may already have ended.
        let by_signal = std::os::unix::process::ExitStatusExt::signal(&ended).map(|signal| 128 + signal);
        let is_told = ended.success() || ended.code().or(by_signal) == Some(status);
        assert!(!sent.success() || is_told, "{ended:?}");
        assert_eq!(left(), Vec::<std::path::PathBuf>::new());
    }
}
