//! A command of another user can open its standard streams again, by /dev/stdout and the like, if they are pipes.
//!
//! Inputs of the same kind, all below: /dev/stdin, /dev/stdout, /dev/stderr, /proc/self/fd/1, `2>&1`, `exec >`; with
//! `run_as`, a mapped user, both; as root. A terminal, a file and a named pipe are never changed, because they would
//! stay changed. A socket cannot be opened by /proc at all: the kernel answers ENXIO.

mod support;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::{Command, Stdio};

use support::{binary, feed, is_root, sandbox, skip, text};

const SPECS: [&str; 3] = [
    "run_as: 1000",
    "user: { map: [{ inside: 0, outside: 100000, count: 65536 }] }",
    "user: { map: [{ inside: 0, outside: 100000, count: 65536 }] }\nrun_as: 1000",
];

fn spec_file(spec: &str) -> (tempfile::TempDir, String) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("box.yaml");
    fs::write(&file, format!("{spec}\npid:\ncommand: [\"true\"]\n")).unwrap();
    let name = file.to_str().unwrap().to_owned();
    (directory, name)
}

#[test]
fn pipes_can_be_opened_again() {
    if !is_root() {
        return skip("pipes_can_be_opened_again", "machine: an ordinary user has no other users here");
    }
    for spec in SPECS {
        let (_directory, file) = spec_file(spec);
        let script = "echo one > /dev/stdout; echo two > /proc/self/fd/1; echo three > /dev/stderr; \
                      cat /dev/stdin; exec > /dev/stdout; echo four";
        let output = feed(&mut sandbox(&["run", &file, "-q", "--", "sh", "-c", script]), "in\n");
        assert_eq!(text(&output.stdout), "one\ntwo\nin\nfour\n", "{spec} {}", text(&output.stderr));
        assert_eq!(text(&output.stderr), "three\n", "{spec}");
        // One pipe for both: the order stays.
        let script = "echo out > /dev/stdout; echo err > /dev/stderr; echo both >&2";
        let both = format!("{} run {file} -q -- sh -c '{script}' 2>&1 | cat", binary().display());
        let output = Command::new("sh").args(["-c", &both]).stdin(Stdio::null()).output().unwrap();
        assert_eq!(text(&output.stdout), "out\nerr\nboth\n", "{spec}");
    }
}

#[test]
fn files_and_named_pipes_keep_their_owner_and_mode() {
    if !is_root() {
        return skip("files_and_named_pipes_keep_their_owner_and_mode", "machine: only root has other users");
    }
    for spec in SPECS {
        let (directory, file) = spec_file(spec);
        let of = |path: &std::path::Path| {
            let metadata = fs::metadata(path).unwrap();
            (metadata.uid(), metadata.mode())
        };
        let plain = directory.path().join("file");
        let fifo = directory.path().join("fifo");
        fs::write(&plain, "").unwrap();
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRUSR | nix::sys::stat::Mode::S_IWUSR).unwrap();
        for path in [&plain, &fifo] {
            let before = of(path);
            let opened = fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
            let mut run = sandbox(&["run", &file, "-q", "--", "echo", "hi"]);
            assert!(run.stdout(opened).status().unwrap().success(), "{spec}");
            assert_eq!(of(path), before, "{spec} {}", path.display());
        }
        let null = of("/dev/null".as_ref());
        assert!(
            sandbox(&["run", &file, "-q", "--", "true"]).stdout(Stdio::null()).status().unwrap().success()
        );
        assert_eq!(of("/dev/null".as_ref()), null);
    }
}

/// The caller's own pipes keep working: other writers, the end of file, and a reader that goes away.
#[test]
fn a_pipe_stays_the_callers_pipe() {
    let (_directory, file) = spec_file(if is_root() { "run_as: 1000" } else { "uts:" });
    let binary = binary().display().to_string();
    let script = format!("{{ echo before; {binary} run {file} -q -- echo inside; echo after; }} | cat");
    let output = Command::new("sh").args(["-c", &script]).stdin(Stdio::null()).output().unwrap();
    assert_eq!(text(&output.stdout), "before\ninside\nafter\n");
    let script = format!("{binary} run {file} -q -- yes | head -n 1; echo \"${{PIPESTATUS[0]}}\"");
    let output =
        Command::new("timeout").args(["60", "bash", "-c", &script]).stdin(Stdio::null()).output().unwrap();
    // `yes` as process 1 is not killed by SIGPIPE; then it reports EPIPE and exits with 1.
    let seen = text(&output.stdout);
    assert!(["y\n1\n", "y\n141\n"].contains(&&*seen), "{seen}");
}
