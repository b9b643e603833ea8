//! What the command leaves running ends with it, also where the kernel does not end the container as a whole.
//!
//! Inputs of the same kind, all below: a child in the background, in a new session, started by nohup(1), by two forks,
//! that ignores signals, that is stopped, that creates others without an end, that may not be killed; more than are
//! named; with each namespace but pid, in a whole container, with published ports, where COMMAND is killed; orphans that
//! end while COMMAND runs. Not of this kind: what `enter` leaves, and children that the shell had before it executed
//! `sandbox`.

mod support;

use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use support::{alone, binary, child_named, install, is_root, run, sandbox, skip, state, text, wait_until};

/// Prints the PIDs of the processes that it leaves. It reads those that it does not know itself.
const LEAVES: &str = r#"
    sleep 6001 >&- & echo $!
    setsid sleep 6002 >&- & echo $!
    nohup sleep 6003 >/dev/null 2>&1 & echo $!
    read one < <(sh -c 'sh -c "sleep 6004 >&- & echo \$!" &'); echo $one
    (trap "" HUP INT TERM; exec sleep 6005 >&-) & echo $!
    sleep 6006 >&- & kill -STOP $!; echo $!
    exec 8< <(exec sh -c 'sleep 6007 >&- & echo $!; echo $$; exec sleep 6008 >&-'); read one <&8; read other <&8
    echo $one; echo $other
"#;

/// A process that has just been created need not sleep yet.
fn runs(pid: u32) -> bool {
    !['?', 'Z', 'X'].contains(&state(pid))
}

fn pids(shown: &[u8]) -> Vec<u32> {
    text(shown).lines().map(|line| line.parse().unwrap_or_else(|_| panic!("{line}"))).collect()
}

#[test]
fn what_is_left_running_ends_with_the_command() {
    let _alone = alone();
    let directory = tempfile::tempdir().unwrap();
    let spec = |name: &str, content: &str| {
        let file = directory.path().join(name);
        std::fs::write(&file, format!("{content}\ncommand: [\"true\"]\n")).unwrap();
        file.to_str().unwrap().to_owned()
    };
    let plain = spec("plain.yaml", "uts: { hostname: box }\nipc:\ncapabilities: { keep: [] }");
    let whole = spec("whole.yaml", "rootfs: host\nnet: { publish: [\"127.0.0.1::80\"] }\nseccomp: default");
    for words in [
        &["uts"][..],
        &["ipc"],
        &["net"],
        &["mnt"],
        &["user"],
        &["cgroup"],
        &["time"],
        &["net", "-p", "127.0.0.1::80"],
        &["run", &plain],
        &["run", &whole],
    ] {
        let script = format!("{LEAVES} exit 3");
        let output = run(&[words, &["--", "bash", "-c", &script]].concat());
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(3), "{words:?}: {said}");
        let left = pids(&output.stdout);
        assert_eq!(left.len(), 8, "{words:?}");
        for pid in &left {
            assert_eq!(state(*pid), '?', "{words:?} {pid}");
            // The user learns which ones.
            assert!(said.contains(&format!(" ({pid})")), "{words:?} {pid}: {said}");
        }
    }
    // Without a process that is left, nothing is said; nor with -q.
    for words in [&["uts", "--", "true"][..], &["uts", "-q", "--", "sh", "-c", "sleep 6009 >&- & exit 0"]] {
        assert!(!text(&run(words).stderr).contains("running"), "{words:?}");
    }
    // COMMAND is killed, and the status is its own.
    let output = run(&["uts", "-q", "--", "bash", "-c", &format!("{LEAVES} kill -KILL $$")]);
    assert_eq!(output.status.code(), Some(137));
    assert!(pids(&output.stdout).into_iter().all(|pid| state(pid) == '?'));
}

/// One orphan creates others that end at once, and its own descendants create more while they are killed.
#[test]
fn processes_that_create_others_end_too() {
    for forks in ["while :; do (: &); done", "while :; do (sleep 6010 &); sleep 0.01; done"] {
        let script = format!("({forks}) >&- 2>&- & echo $!; sleep 0.3; exit 4");
        let output = Command::new("timeout")
            .args(["-s", "KILL", "60"])
            .arg(binary())
            .args(["uts", "--", "bash", "-c", &script])
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(4), "{forks}: {said}");
        assert_eq!(state(pids(&output.stdout)[0]), '?', "{forks}");
        assert!(said.contains("killed, because COMMAND had left them running: "), "{forks}: {said}");
        assert!(!said.contains("still running"), "{forks}: {said}");
    }
}

#[test]
fn ten_of_many_are_named() {
    let output = run(&["uts", "--", "bash", "-c", "for i in {1..25}; do sleep 6011 >&- 2>&- & done; exit 0"]);
    let said = text(&output.stderr);
    let line = said.lines().find(|line| line.contains("had left them running")).unwrap();
    assert_eq!(line.matches(" (").count(), 10, "{line}");
    assert!(line.ends_with(" and 15 more"), "{line}");
}

/// A set-user-ID program of root may not be killed by an ordinary user. It is not reported as killed.
#[test]
fn what_may_not_be_killed_is_reported_as_running() {
    let test = "what_may_not_be_killed_is_reported_as_running";
    if !is_root() {
        return skip(test, "machine: only root can make a set-user-ID program of root");
    }
    let directory = tempfile::tempdir().unwrap();
    std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let (own, becomes_root) = (directory.path().join("sandbox"), directory.path().join("setpriv"));
    install("755", &binary(), &own);
    install("755", Path::new("/usr/bin/setpriv"), &becomes_root);
    std::fs::set_permissions(&becomes_root, std::fs::Permissions::from_mode(0o4755)).unwrap();
    // Without a user namespace, in which root would be another user.
    let spec = directory.path().join("limited.yaml");
    std::fs::write(&spec, "rlimits: { nofile: 100 }\n").unwrap();
    let root = becomes_root.display();
    let script = format!(
        "sleep 6012 >&- 2>&- & {root} --reuid=0 sleep 6013 >&- 2>&- & echo $!; \
         for i in {{1..500}}; do grep -q ^sleep /proc/$!/comm && break; sleep 0.01; done; exit 5"
    );
    let mut command = Command::new("setpriv");
    command.args(["--reuid=1000", "--regid=1000", "--clear-groups"]).arg(&own);
    let output = command
        .args(["run", spec.to_str().unwrap(), "--", "bash", "-c", &script])
        .env("HOME", "/")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(5), "{said}");
    let left = pids(&output.stdout)[0];
    let before = runs(left);
    let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(left.cast_signed()), nix::sys::signal::SIGKILL);
    assert!(before, "{said}");
    let of = |words: &str| said.lines().find(|line| line.contains(words)).unwrap_or_default().to_owned();
    let (killed, running) = (of("had left them running"), of("still running"));
    assert!(killed.contains("sleep (") && !killed.contains(&left.to_string()), "{said}");
    assert!(running.ends_with(&format!(": sleep ({left})")), "{said}");
}

/// An orphan that ends while the command runs is reaped at once.
#[test]
fn orphans_that_end_are_reaped() {
    let script = "for i in $(seq 50); do (exec sleep 0.1 &) ; done; exec tail -f /dev/null";
    let mut sandbox = sandbox(&["uts", "-q", "--", "bash", "-c", script]).spawn().unwrap();
    let pid = sandbox.id();
    let command = child_named(pid, "tail");
    wait_until("only the command is left", || {
        let list = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
        list.split_whitespace().eq([command.to_string()])
    });
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(command.cast_signed()), nix::sys::signal::SIGTERM)
        .unwrap();
    assert_eq!(sandbox.wait().unwrap().code(), Some(143));
}

/// `nsenter` and `docker exec` leave what they have started, because the container goes on.
#[test]
fn what_enter_leaves_and_what_the_shell_had_before_is_not_ended() {
    let _alone = alone();
    let mut container = sandbox(&["uts", "-q", "--", "sleep", "6020"]).spawn().unwrap();
    let target = child_named(container.id(), "sleep").to_string();
    let output = run(&["enter", "-q", &target, "--", "sh", "-c", "sleep 6021 >/dev/null 2>&1 & echo $!"]);
    let entered: u32 = text(&output.stdout).trim().parse().unwrap();
    assert!(runs(entered));
    container.kill().unwrap();
    container.wait().unwrap();
    // The next command ends everything in the namespace of a `sandbox` that was killed, or it runs on.
    let _ =
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(entered.cast_signed()), nix::sys::signal::SIGKILL);

    let script = "sleep 6022 >/dev/null 2>&1 & echo $!; exec \"$@\"";
    let mut shell = Command::new("sh");
    shell.args(["-c", script, "sh"]).arg(binary()).args(["uts", "-q", "--", "true"]).stdin(Stdio::null());
    let mut shell = shell.stdout(Stdio::piped()).spawn().unwrap();
    let mut shown = Vec::new();
    shell.stdout.take().unwrap().read_to_end(&mut shown).unwrap();
    assert!(shell.wait().unwrap().success());
    let before = pids(&shown)[0];
    assert!(runs(before));
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(before.cast_signed()), nix::sys::signal::SIGKILL)
        .unwrap();
}
