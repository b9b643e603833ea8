//! The pids controller, checked by the kernel's own files.

mod support;

use support::limits::{group, may, says};
use support::{run, sandbox, text, wait_until};

#[test]
fn the_kernel_has_the_value_and_refuses_the_next_fork() {
    if !may("the_kernel_has_the_value_and_refuses_the_next_fork", "pids") {
        return;
    }
    let mut child = sandbox(&["pids", "-q", "--max", "5", "--", "sleep", "60"]).spawn().unwrap();
    let command = support::child_named(child.id(), "sleep");
    let group = group(command, "pids");
    assert_eq!(says(&group, "pids.max", "pids.max"), "5");
    child.kill().unwrap();
    child.wait().unwrap();
    // A command of another test may be the one that removes it; and on a busy machine, one command may not wait long enough
    // for the end of the processes.
    wait_until("the cgroup is removed", || {
        assert!(run(&["uts", "--dry-run"]).status.success());
        !group.exists()
    });
    let script = "for i in 1 2 3 4 5 6; do sleep 60 & done; wait";
    let output = run(&["pids", "-q", "--max", "4", "--", "sh", "-c", script]);
    let error = text(&output.stderr);
    assert!(error.to_lowercase().contains("fork"), "{error}");
}
