//! The true cause is named where the machine lacks what a container needs.
//!
//! Of this kind: /proc that is not mounted, or shows only processes, or hides those of others (hidepid) · /sys that is not
//! mounted · no device files · a limit of namespaces of each kind.
//!
//! Each test changes a mount table of its own, and mounts new instances: the options of an existing mount belong to
//! the whole machine.

mod support;

use std::process::{Command, Output};

use support::{alone, binary, is_root, skip, text};

/// Runs `sandbox` with these arguments after `change`, a shell script, in a mount namespace of its own. With `as_user`
/// it runs as an ordinary user.
fn after(change: &str, as_user: bool, arguments: &str) -> Output {
    let user = if as_user { "setpriv --reuid=1000 --regid=1000 --clear-groups" } else { "" };
    let script = format!(
        "{change}\nexec env HOME=/tmp NO_COLOR=1 COLUMNS=80 {user} {} {arguments}",
        binary().display()
    );
    Command::new("unshare")
        .args(["--mount", "--propagation", "private", "sh", "-ec", &script])
        .current_dir("/")
        .output()
        .unwrap()
}

fn words(output: &Output) -> String {
    text(&output.stderr).split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Mounts a new /proc with these options, in place of the old one.
fn new_proc(options: &str) -> String {
    format!(
        "d=$(mktemp -d)\nmount -t proc -o {options} proc $d\numount -l /proc\nmount --move $d /proc\nrmdir $d"
    )
}

fn needs_root(test: &str) -> bool {
    if !is_root() {
        skip(test, "only root may change a mount table");
    }
    is_root()
}

#[test]
fn a_missing_proc_or_sys_is_named() {
    let _alone = alone();
    if !needs_root("a_missing_proc_or_sys_is_named") {
        return;
    }
    for as_user in [false, true] {
        let output = after("umount -l /proc", as_user, "user -q -- true");
        assert_eq!(output.status.code(), Some(125));
        assert!(words(&output).contains("/proc is not mounted"), "{}", words(&output));
        let output = after("umount -l /sys", as_user, "user -q -- true");
        assert_eq!(output.status.code(), Some(0), "{}", words(&output));
    }
    let file = tempfile::Builder::new().suffix(".yaml").tempfile_in("/var/tmp").unwrap();
    std::fs::write(file.path(), "rootfs: host\npid:\nnet:\nuser: { map: root }\ncommand: [true]\n").unwrap();
    std::fs::set_permissions(file.path(), std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    let run = format!("run -q {}", file.path().display());
    for as_user in [false, true] {
        let output = after("umount -l /sys", as_user, &run);
        assert_eq!(output.status.code(), Some(125));
        assert!(words(&output).contains("/sys is not mounted"), "{}", words(&output));
        assert!(!words(&output).contains("No rule"), "{}", words(&output));
    }
}

#[test]
fn a_proc_that_hides_processes_is_named() {
    let _alone = alone();
    if !needs_root("a_proc_that_hides_processes_is_named") {
        return;
    }
    for options in ["hidepid=2", "hidepid=1", "hidepid=4"] {
        // What needs no other process works.
        for arguments in ["pid -q -- true", "uts -q -- true", "pid --init -q -- true"] {
            let output = after(&new_proc(options), true, arguments);
            assert_eq!(output.status.code(), Some(0), "{options} {arguments}: {}", words(&output));
        }
        // Process 1 of the machine exists, and is hidden from a user.
        for arguments in ["compare 1", "enter -q 1 -- true"] {
            let output = after(&new_proc(options), true, arguments);
            assert_eq!(output.status.code(), Some(125), "{options} {arguments}");
            assert!(words(&output).contains("hidepid"), "{options} {arguments}: {}", words(&output));
        }
    }
}

#[test]
fn a_limit_of_namespaces_is_named() {
    let _alone = alone();
    // The limits of a user namespace of the test, so those of the machine stay as they are.
    for (kind, command) in
        [("net", "net"), ("pid", "pid"), ("mnt", "mnt"), ("ipc", "ipc"), ("uts", "uts"), ("user", "user")]
    {
        let script = format!(
            "echo 0 > /proc/sys/user/max_{kind}_namespaces || exit 77; exec {} {command} -q -- true",
            binary().display()
        );
        let output = Command::new("unshare")
            .args(["--user", "--map-root-user", "sh", "-c", &script])
            .env("COLUMNS", "80")
            .output()
            .unwrap();
        if output.status.code() == Some(77) {
            return skip(
                "a_limit_of_namespaces_is_named",
                "machine: the limits of a user namespace cannot be set",
            );
        }
        assert_eq!(output.status.code(), Some(125), "{kind}: {}", words(&output));
        let expected = format!("No {kind} namespace can be created here: the limit is set to 0");
        assert!(words(&output).contains(&expected), "{kind}: {}", words(&output));
    }
}
