//! The memory controller, checked by the kernel's own files.

mod support;

use support::limits::{group, is_v2, may, says};
use support::{binary, run, sandbox, skip, text, wait_until};

#[test]
fn the_kernel_has_the_values() {
    if !may("the_kernel_has_the_values", "memory") {
        return;
    }
    let flags =
        ["memory", "-q", "--limit", "48m", "--swap", "16m", "--reservation", "32MB", "--", "sleep", "60"];
    let mut child = sandbox(&flags).spawn().unwrap();
    let command = support::child_named(child.id(), "sleep");
    let group = group(command, "memory");
    assert_eq!(says(&group, "memory.limit_in_bytes", "memory.max"), (48 << 20).to_string());
    let swap = if is_v2(&group) { 16 << 20 } else { 64 << 20 };
    assert_eq!(says(&group, "memory.memsw.limit_in_bytes", "memory.swap.max"), swap.to_string());
    assert_eq!(says(&group, "memory.soft_limit_in_bytes", "memory.low"), (32 << 20).to_string());
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
fn an_oom_kill_is_told_as_such() {
    if !may("an_oom_kill_is_told_as_such", "memory") {
        return;
    }
    // tail keeps the last line in memory, and this line has no end.
    let hungry = "head -c 200m /dev/zero | tail -n 1 >/dev/null";
    let output =
        run(&["memory", "-q", "--limit", "16m", "--swap", "0", "--", "sh", "-c", &format!("{hungry}; true")]);
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{error}");
    assert!(
        error.contains("a process inside was killed by the memory limit of 16MiB (oom_kill 1)"),
        "{error}"
    );
    let output =
        run(&["memory", "-q", "--limit", "16m", "--swap", "0", "--", "tail", "-n", "1", "/dev/zero"]);
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(137), "{error}");
    assert!(error.contains("oom: killed by the memory limit of 16MiB"), "{error}");
    let output = run(&["memory", "-q", "--limit", "64m", "--", "sh", "-c", "kill -KILL $$"]);
    assert_eq!(output.status.code(), Some(137));
    assert!(!text(&output.stderr).contains("oom"), "a kill by somebody is none of the limit's");
}

/// If the limit kills the process before execve(2), the command never started. The error must not report the
/// command's end.
#[test]
fn a_limit_too_small_to_begin_with_is_told_as_such() {
    if !may("a_limit_too_small_to_begin_with_is_told_as_such", "memory") {
        return;
    }
    let output = run(&["memory", "-q", "--limit", "4k", "--swap", "0", "--", "true"]);
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(125), "{error}");
    assert!(
        error.contains("the command did not start: SIGKILL") && error.contains("use a larger limit"),
        "{error}"
    );
}

/// `sandbox` reads the limit back on the host, because the cgroup directory does not exist in the container's root.
#[test]
fn a_limit_is_set_and_verified_where_cgroups_are_mounted_elsewhere() {
    let test = "a_limit_is_set_and_verified_where_cgroups_are_mounted_elsewhere";
    if !support::is_root() {
        return skip(test, "machine: umount(2) takes root; its run holds it");
    }
    if !may(test, "memory") {
        return;
    }
    let script = r#"
        set -e
        mount --make-rprivate /
        mount -t tmpfs tmpfs /mnt
        mkdir /mnt/elsewhere
        mount --rbind /sys/fs/cgroup /mnt/elsewhere
        umount -R -l /sys/fs/cgroup
        "$S" memory -q --limit 64m -- true
        "$S" run -q - <<END
name: elsewhere
uts: { hostname: box }
memory: { limit: 64MiB }
command: [cat, /proc/self/cgroup]
END
        "$S" run --explain - <<END
uts: { hostname: box }
memory: { limit: 64MiB }
command: ["true"]
END
    "#;
    let arguments = ["--mount", "sh", "-c", script];
    let output = std::process::Command::new("unshare").args(arguments).env("S", binary()).output().unwrap();
    let (out, error) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{out}\n{error}");
    assert!(out.contains("/sandbox/"), "the command is in a cgroup: {out}");
    assert!(error.contains("</mnt/elsewhere/"), "{error}");
}
