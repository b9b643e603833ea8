//! The cpu controller, checked by the kernel's own files.

mod support;

use support::limits::{group, is_v2, may, says};
use support::{run, sandbox, wait_until};

#[test]
fn the_kernel_has_the_values() {
    if !may("the_kernel_has_the_values", "cpu") {
        return;
    }
    let mut child =
        sandbox(&["cpu", "-q", "--shares", "512", "--cpus", "0.5", "--", "sleep", "60"]).spawn().unwrap();
    let command = support::child_named(child.id(), "sleep");
    let group = group(command, "cpu");
    assert_eq!(says(&group, "cpu.shares", "cpu.weight"), if is_v2(&group) { "59" } else { "512" });
    let quota = if is_v2(&group) { "50000 100000" } else { "50000" };
    assert_eq!(says(&group, "cpu.cfs_quota_us", "cpu.max"), quota);
    child.kill().unwrap();
    child.wait().unwrap();
    // A command of another test may be the one that removes it; and on a busy machine, one command may not wait long enough
    // for the end of the processes.
    wait_until("the cgroup is removed", || {
        assert!(run(&["uts", "--dry-run"]).status.success());
        !group.exists()
    });
}

#[test]
fn a_cpuset_is_seeded_and_set() {
    if !may("a_cpuset_is_seeded_and_set", "cpu") {
        return;
    }
    if !support::is_root() {
        return support::skip("a_cpuset_is_seeded_and_set", "machine: systemd delegates no cpuset");
    }
    let list = support::stdout(&[
        "cpu",
        "-q",
        "--cpuset",
        "0",
        "--",
        "grep",
        "Cpus_allowed_list",
        "/proc/self/status",
    ]);
    assert_eq!(list.split_whitespace().last(), Some("0"));
}
