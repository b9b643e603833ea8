//! Unusual environments: closed descriptors, a full standard output, no /proc, limits of 0, a chroot. Each has a
//! defined result and leaves nothing.

mod support;

use std::fs;
use std::process::{Command, Output, Stdio};

use support::{binary, run, sandbox, snapshot_for_all, text};

/// One use of each kind. All print to standard output, except the last.
const USES: [&[&str]; 8] = [
    &["uts"],
    &["pid", "--show-proc"],
    &["net", "--dry-run"],
    &["mnt", "--break"],
    &["doctor"],
    &["doctor", "--format", "json"],
    &["--help"],
    &["ipc", "-q", "--", "true"],
];

/// Runs `sandbox` with a shell's redirections.
fn redirected(arguments: &[&str], redirections: &str) -> Output {
    Command::new("sh")
        .args(["-c", &format!("exec \"$0\" \"$@\" {redirections}")])
        .arg(binary())
        .args(arguments)
        .env("COLUMNS", "80")
        .output()
        .expect("a shell can be executed")
}

/// What a run could leave: mounts, a hostname.
fn left() -> (String, String) {
    let read = |path| fs::read_to_string(path).unwrap();
    (read("/proc/self/mountinfo"), read("/proc/sys/kernel/hostname"))
}

#[test]
fn closed_descriptors_are_no_error() {
    let before = left();
    for redirections in ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"] {
        for arguments in USES {
            let output = redirected(arguments, redirections);
            let said = text(&output.stderr);
            assert_eq!(output.status.code(), Some(0), "{arguments:?} {redirections}: {said}");
            assert!(!said.contains("panicked"), "{said}");
        }
    }
    assert_eq!(left(), before);
}

/// Standard descriptors that are closed are opened on /dev/null. Otherwise a file of `sandbox` could get number 0, 1
/// or 2.
#[test]
fn the_command_has_its_three_descriptors_even_so() {
    let script = "for fd in 0 1 2; do readlink /proc/$$/fd/$fd; done >&3";
    let output =
        redirected(&["uts", "-q", "--", "sh", "-c", "exec 3>/dev/null; test -e /dev/fd/0"], "<&- >&- 2>&-");
    assert_eq!(output.status.code(), Some(0));
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("descriptors");
    let script = script.replace(">&3", &format!(">{}", file.display()));
    let output = redirected(&["uts", "-q", "--", "sh", "-c", &script], "<&- >&- 2>&-");
    assert_eq!(output.status.code(), Some(0));
    let links = fs::read_to_string(file).unwrap();
    // The shell has opened descriptor 1 for its output.
    let others: Vec<&str> = links.lines().filter(|link| !link.ends_with("descriptors")).collect();
    assert_eq!(others, ["/dev/null", "/dev/null"], "{links}");
}

/// A reader must not take half of the result for the complete result.
#[test]
fn a_full_standard_output_is_an_error() {
    let before = left();
    for arguments in USES.iter().filter(|arguments| !arguments.contains(&"true")) {
        let output = redirected(arguments, ">/dev/full");
        assert_eq!(output.status.code(), Some(125), "{arguments:?}");
        assert!(text(&output.stderr).contains("ENOSPC"), "{arguments:?}: {}", text(&output.stderr));
    }
    snapshot_for_all("error-output-full", &text(&redirected(&["uts"], ">/dev/full").stderr));
    // `sandbox` does not check the command's standard output.
    assert_eq!(redirected(&["uts", "--", "true"], ">/dev/full").status.code(), Some(0));
    // A failed write to standard error does not change the result.
    assert_eq!(redirected(&["uts", "--", "sh", "-c", "exit 7"], "2>/dev/full").status.code(), Some(7));
    assert_eq!(left(), before);
}

#[test]
fn a_broken_pipe_is_no_error() {
    for arguments in USES {
        let mut child = sandbox(arguments).stdout(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        assert_eq!(child.wait().unwrap().code(), Some(0), "{arguments:?}");
    }
}

/// Runs a shell script as root of a new mount namespace. `$S` is `sandbox`.
fn in_own_mounts(script: &str) -> Output {
    sandbox(&["mnt", "-q", "--", "sh", "-c", script]).env("S", binary()).output().unwrap()
}

#[test]
fn without_proc() {
    let before = left();
    let without =
        |command: &str| in_own_mounts(&format!("mount -t tmpfs none /proc && exec \"$S\" {command}"));
    // A demonstration that only compares files of /proc cannot run. Its cards would wrongly report NOT SO.
    for command in ["uts", "pid --show-proc", "mnt --break shared", "user -- true", "time -- true"] {
        let output = without(command);
        let said = text(&output.stderr);
        let expected = if command.starts_with("time") { Some(0) } else { Some(125) };
        assert_eq!(output.status.code(), expected, "{command}: {said}");
        assert!(expected == Some(0) || said.contains("/proc is not mounted here"), "{command}: {said}");
        assert!(!text(&output.stdout).contains("NOT SO"), "{command}");
    }
    for command in
        ["uts -q -- true", "net -q -- true", "pid -q -- true", "user --dry-run", "doctor", "--help"]
    {
        let output = without(command);
        assert_eq!(output.status.code(), Some(0), "{command}: {}", text(&output.stderr));
    }
    snapshot_for_all("error-user-noproc", &text(&without("user -q -- true").stderr));
    assert_eq!(left(), before);
}

/// Each user namespace has its own limits. The test sets them in a new one, so the host's values do not change.
#[test]
fn limits_of_0() {
    let before = left();
    for (feature, kind) in
        [("user", "user"), ("net", "net"), ("pid", "pid"), ("time", "time"), ("uts", "uts")]
    {
        let script = format!(
            "echo 0 >/proc/sys/user/max_{kind}_namespaces && PATH=${{S%/*}}:$PATH && \
             exec sandbox {feature} -q -- true"
        );
        let output = sandbox(&["user", "-q", "--", "sh", "-c", &script]).env("S", binary()).output().unwrap();
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(125), "{feature}: {said}");
        assert!(said.contains(&format!("/proc/sys/user/max_{kind}_namespaces: 0")), "{feature}: {said}");
        snapshot_for_all(&format!("error-{feature}-limit"), &said);
    }
    assert_ne!(fs::read_to_string("/proc/sys/user/max_user_namespaces").unwrap(), "0\n");
    assert_eq!(left(), before);
}

/// The root is an ordinary directory. `/` is not a mount point, and the kernel refuses a user namespace.
#[test]
fn in_a_chroot() {
    let before = left();
    let directory = tempfile::tempdir().unwrap();
    let enter = |command: &str| {
        let script = format!(
            "mount -t tmpfs none {0} && mkdir {0}/r && cd {0}/r &&
             for name in usr bin lib lib64 etc proc dev; do
                 if [ -L /$name ]; then ln -s usr/$name $name
                 elif [ -d /$name ]; then mkdir $name && mount --rbind /$name $name; fi
             done && touch sandbox && mount --bind \"$S\" sandbox && exec chroot . /sandbox {command}",
            directory.path().display()
        );
        in_own_mounts(&script)
    };
    for command in ["user -q -- true", "mnt -q -- true"] {
        let output = enter(command);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(125), "{command}: {said}");
        assert!(said.contains("chroot(2)"), "{command}: {said}");
        let feature = command.split(' ').next().unwrap();
        snapshot_for_all(&format!("error-{feature}-chroot"), &said);
    }
    assert_eq!(enter("uts -q -- true").status.code(), Some(0), "uts needs no more than its namespace");
    assert_eq!(left(), before);
}

/// The error is printed once, on standard error. Nothing else is printed.
#[test]
fn a_refusal_prints_no_result() {
    let output = run(&["uts", "--hostname", &"x".repeat(65), "--", "true"]);
    assert!(output.stdout.is_empty() && !output.stderr.is_empty());
}
