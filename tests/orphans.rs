//! What the command leaves running ends with it, also where the kernel does not end the container as a whole.
//!
//! Inputs of the same kind, all below: a child in the background, in a new session, started by nohup(1), by two forks, that
//! ignores signals, that is stopped; with each namespace but pid, in a whole container, with published ports, where COMMAND is
//! killed; orphans that end while COMMAND runs. Not of this kind: what `enter` leaves, and children that the shell had
//! before it executed `sandbox`.

mod support;

use std::io::Read;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use support::{alone, binary, child_named, run, sandbox, text};

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < deadline, "not so: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// `S`, `T` for stopped, `Z` for ended; `?` if there is no such process.
fn state(pid: u32) -> char {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(") ").next().and_then(|rest| rest.chars().next()).unwrap_or('?')
}

/// Prints the PIDs of the processes that it leaves.
const LEAVES: &str = r#"
    sleep 6001 >&- & echo $!
    setsid sleep 6002 >&- & echo $!
    nohup sleep 6003 >/dev/null 2>&1 & echo $!
    sh -c 'sh -c "sleep 6004 >&- & echo \$!" &'
    (trap "" HUP INT TERM; exec sleep 6005 >&-) & echo $!
    sleep 6006 >&- & kill -STOP $!; echo $!
    sh -c 'sleep 6007 >&- & echo $!; echo $$; exec sleep 6008 >&-' &
    sleep 0.2
"#;

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
    assert_eq!(state(entered), 'S');
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
    assert_eq!(state(before), 'S');
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(before.cast_signed()), nix::sys::signal::SIGKILL)
        .unwrap();
}
