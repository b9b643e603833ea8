//! No cgroup is left, however many runs start and end at one time.
//!
//! Inputs of this kind: each controller · runs one after the other, four at once · demonstrations, with several cgroups
//! in one process · a command that leaves processes behind · a next command that does not see the cgroups.

mod support;

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::thread;

use support::limits::{group, left, may, possible};
use support::{alone, binary, child_named, is_root, run, sandbox, skip, text, wait_until};

/// Runs each of these four times at once, `times` times one after the other.
fn at_once(times: usize, arguments: &[&str]) {
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..times {
                    let output = run(arguments);
                    assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
                }
            });
        }
    });
}

#[test]
fn runs_back_to_back_and_at_once_leave_no_cgroup() {
    let _alone = alone();
    for feature in possible("runs_back_to_back_and_at_once_leave_no_cgroup") {
        at_once(12, &[feature, "-q", "--", "true"]);
        // No next command is needed for it.
        assert_eq!(left(), Vec::<PathBuf>::new(), "{feature}");
        at_once(6, &[feature, "-q", "--", "sh", "-c", "setsid sleep 300 & exit 0"]);
        assert_eq!(left(), Vec::<PathBuf>::new(), "{feature}");
    }
}

#[test]
fn demonstrations_at_once_leave_no_cgroup() {
    let _alone = alone();
    if may("demonstrations_at_once_leave_no_cgroup", "blkio") {
        at_once(2, &["blkio", "--demo", "weight"]);
        at_once(1, &["blkio", "--demo", "counters"]);
        at_once(1, &["blkio", "--demo", "iops"]);
    }
    assert_eq!(left(), Vec::<PathBuf>::new());
}

#[test]
fn a_command_that_does_not_see_the_cgroups_keeps_the_journal() {
    let _alone = alone();
    if !is_root() || !may("a_command_that_does_not_see_the_cgroups_keeps_the_journal", "pids") {
        return skip(
            "a_command_that_does_not_see_the_cgroups_keeps_the_journal",
            "machine: umount takes root",
        );
    }
    let mut child = sandbox(&["pids", "-q", "--", "sleep", "300"]).spawn().unwrap();
    let directory = group(child_named(child.id(), "sleep"), "pids");
    child.kill().unwrap();
    child.wait().unwrap();
    // In a new mount namespace.
    let script = "mount --make-rprivate / && umount -R -l /sys/fs/cgroup && exec \"$S\" uts -q -- true";
    let status = Command::new("unshare").args(["--mount", "sh", "-c", script]).env("S", binary()).status();
    assert!(status.unwrap().success());
    assert!(fs::exists(&directory).unwrap());
    // A command does not wait long for the end of the processes. Then the next one removes the cgroup.
    wait_until("the cgroup is removed", || {
        assert!(run(&["uts", "--dry-run"]).status.success());
        !fs::exists(&directory).unwrap()
    });
    assert_eq!(left(), Vec::<PathBuf>::new());
}
