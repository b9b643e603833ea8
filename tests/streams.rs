//! A command of another user can open its standard streams again, by /dev/stdout and the like, if they are pipes.
//!
//! Inputs of the same kind, all below: /dev/stdin, /dev/stdout, /dev/stderr, /proc/self/fd/1, `2>&1`, `exec >`; with
//! `run_as`, a mapped user, both; as root, who hands over the pipe, and as an ordinary user, for whom `sandbox` carries the
//! bytes between the caller's pipe and a new one; a pipe with a name, for which it does so as root too; much data; a reader that goes away or is slow; the end of the input. A
//! terminal, a file and a named pipe are never changed, because they would stay changed. A socket cannot be opened by
//! /proc at all: the kernel answers ENXIO.

mod support;

use std::fs;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::{Command, Stdio};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
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
        // The command gets a pipe of ours in the place of one with a name.
        let mut opened = fs::OpenOptions::new().read(true).write(true).open(&fifo).unwrap();
        let script = "echo one > /dev/stdout; echo two > /proc/self/fd/1; echo three";
        let mut run = sandbox(&["run", &file, "-q", "--", "sh", "-c", script]);
        let status = run.stdout(opened.try_clone().unwrap()).status().unwrap();
        assert!(status.success(), "{spec}");
        // A pipe without data must not keep the test.
        fcntl(&opened, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
        let mut shown = [0; 14];
        opened.read_exact(&mut shown).unwrap();
        assert_eq!(text(&shown), "one\ntwo\nthree\n", "{spec}");
        let null = of("/dev/null".as_ref());
        assert!(
            sandbox(&["run", &file, "-q", "--", "true"]).stdout(Stdio::null()).status().unwrap().success()
        );
        assert_eq!(of("/dev/null".as_ref()), null);
    }
}

/// A socket, as a service of systemd has it, is passed on as it is. It works as a stream, and the kernel opens no socket by
/// a path: `| cat` makes it a pipe, as the help advises.
#[test]
fn a_socket_is_passed_on_and_cannot_be_opened_again() {
    use std::os::fd::OwnedFd;
    use std::os::unix::net::UnixStream;
    let help = text(&support::run(&["run", "--help"]).stdout);
    let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(help.contains("is a socket") && help.contains("| cat"), "{help}");
    let (_directory, file) = spec_file(if is_root() { SPECS[2] } else { "user: { map: root }" });
    let binary = binary().display().to_string();
    for (script, wanted) in [
        ("cat > /dev/null; echo plain; echo more >&1", "plain\nmore\n"),
        ("cat > /dev/null; (echo again > /dev/stdout) 2>/dev/null || echo refused", "refused\n"),
        ("cat /proc/self/fd/0 2>/dev/null || cat", "given\n"),
    ] {
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        std::io::Write::write_all(&mut ours, b"given\n").unwrap();
        ours.shutdown(std::net::Shutdown::Write).unwrap();
        let input = OwnedFd::from(theirs.try_clone().unwrap());
        let mut run = sandbox(&["run", &file, "-q", "--", "sh", "-c", script]);
        let status = run.stdin(input).stdout(OwnedFd::from(theirs)).status().unwrap();
        drop(run);
        let mut shown = String::new();
        ours.read_to_string(&mut shown).unwrap();
        assert_eq!((status.code(), &*shown), (Some(0), wanted), "{script}");
    }
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    let line = format!("{binary} run {file} -q -- sh -c 'echo piped > /dev/stdout' | cat");
    let mut shell = Command::new("sh");
    shell.args(["-c", &line]).stdin(Stdio::null()).stdout(OwnedFd::from(theirs)).status().unwrap();
    drop(shell);
    let mut shown = String::new();
    ours.read_to_string(&mut shown).unwrap();
    assert_eq!(shown, "piped\n");
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

/// Runs a bash script as UID 1000 with the subordinate range 100000:65536, for each of the specs with a mapped user. `$S` is
/// `sandbox run SPEC -q --`. In a new mount namespace, a test file is mounted over /etc/subuid and /etc/subgid.
fn as_borrower(script: &str) -> Vec<String> {
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let lent = directory.path().join("lent");
    fs::write(&lent, "1000:100000:65536\n").unwrap();
    let own = directory.path().join("sandbox");
    let borrow = "cp \"$BINARY\" \"$OWN\" && mount --bind $0 /etc/subuid && mount --bind $0 /etc/subgid && \
                  exec setpriv --reuid=1000 --regid=1000 --clear-groups timeout 100 bash -c \"$@\"";
    let of = |spec: &&str| {
        let (held, file) = spec_file(spec);
        fs::set_permissions(held.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let output = Command::new("unshare")
            .args(["--mount", "sh", "-c", borrow])
            .arg(&lent)
            .arg(script)
            .env("BINARY", binary())
            .env("OWN", &own)
            .env("S", format!("{} run {file} -q --", own.display()))
            .env("HOME", "/")
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(output.status.success(), "{spec} {} {}", text(&output.stdout), text(&output.stderr));
        text(&output.stdout)
    };
    SPECS[1..].iter().map(of).collect()
}

/// Why an ordinary user with other users cannot be tried here.
fn cannot_borrow(test: &str) -> bool {
    if !is_root() {
        skip(test, "machine: only root can lend ranges; the run as root holds it");
    } else if !std::path::Path::new("/usr/bin/newuidmap").exists() {
        skip(test, "newuidmap(1) isn't installed");
    } else {
        return false;
    }
    true
}

#[test]
fn an_ordinary_users_pipes_can_be_opened_again() {
    if cannot_borrow("an_ordinary_users_pipes_can_be_opened_again") {
        return;
    }
    let script = r#"echo in | $S sh -c 'echo one > /dev/stdout; echo two > /proc/self/fd/1; echo three > /dev/stderr
            cat /dev/stdin; exec > /dev/stdout; echo four' 2> /dev/null | cat
        $S sh -c 'echo out > /dev/stdout; echo err > /dev/stderr; echo both >&2' 2>&1 | cat
        # A pipe with a name.
        named=$(mktemp -d); mkfifo "$named/pipe"; cat "$named/pipe" &
        $S sh -c 'echo named > /dev/stdout' > "$named/pipe"; wait; rm -r "$named"
        # The caller's own pipe is not changed.
        { $S true; stat -L -c '%a %u' /proc/self/fd/1; } | cat"#;
    for seen in as_borrower(script) {
        assert_eq!(seen, "one\ntwo\nin\nfour\nout\nerr\nboth\nnamed\n600 1000\n");
    }
    for seen in
        as_borrower("$S sh -c 'echo three > /dev/stderr; echo one > /dev/stdout' 2>&1 > /dev/null | cat")
    {
        assert_eq!(seen, "three\n");
    }
}

#[test]
fn every_byte_is_carried_in_order_and_none_is_lost_at_the_end() {
    if cannot_borrow("every_byte_is_carried_in_order_and_none_is_lost_at_the_end") {
        return;
    }
    let script = r#"wanted=$(seq 2000000 | sha256sum)
        same() { [ "$(sha256sum)" = "$wanted" ] && echo same; }
        seq 2000000 | $S cat | same
        seq 2000000 | $S sh -c 'cat /dev/stdin > /dev/stdout' | same
        $S sh -c 'seq 2000000 > /dev/stderr' 2>&1 > /dev/null | same
        # A reader that is slow, and a command that has ended long before.
        $S sh -c 'head -c 60000 /dev/zero; exit 7' | { sleep 1; wc -c; }; echo ${PIPESTATUS[0]}
        # Both outputs at once, and an input that stays open.
        sleep 3 | $S sh -c 'head -c 1000000 /dev/zero & head -c 2000000 /dev/zero >&2; wait' 2> /dev/null | wc -c"#;
    for seen in as_borrower(script) {
        assert_eq!(seen, "same\nsame\nsame\n60000\n7\n1000000\n");
    }
}

#[test]
fn a_reader_that_goes_away_is_noticed_by_the_command() {
    if cannot_borrow("a_reader_that_goes_away_is_noticed_by_the_command") {
        return;
    }
    // Process 1 is not killed by SIGPIPE: `yes` reports EPIPE and exits with 1. Its child is.
    let script = r#"$S yes 2> /dev/null | head -n 1; echo ${PIPESTATUS[0]}
        $S sh -c 'yes; echo $? >&2; true' 2>&1 > >(head -n 1 > /dev/null) | tail -n 1
        # The command closes its input, and goes on. The end of the input arrives.
        yes | $S sh -c 'exec < /dev/null; echo on'
        true | $S sh -c 'cat; echo end'"#;
    for seen in as_borrower(script) {
        let seen = seen.replace("141\n", "1\n");
        assert_eq!(seen, "y\n1\n1\non\nend\n");
    }
}

/// Without a PID namespace, a process that the command leaves goes on writing until it is killed.
#[test]
fn what_is_left_running_does_not_keep_sandbox_by_its_output() {
    if cannot_borrow("what_is_left_running_does_not_keep_sandbox_by_its_output") {
        return;
    }
    let script = r#"spec=$(mktemp); echo 'user: { map: [{ inside: 0, outside: 100000, count: 65536 }] }' > "$spec"
        timeout -s KILL 60 "$OWN" run "$spec" -q -- sh -c 'echo first; nohup yes & sleep 0.2; exit 7' 2> /dev/null |
            { head -n 1; cat > /dev/null; }
        echo ${PIPESTATUS[0]}; rm "$spec""#;
    for seen in as_borrower(script) {
        assert_eq!(seen, "first\n7\n");
    }
}
