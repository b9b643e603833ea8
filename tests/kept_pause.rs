//! Containers that are paused: the kernel freezes their processes.
//!
//! Judged by the files of the cgroup, by what the processes do, and by Docker's words.
//!
//! Other inputs of the same kind as the ones here:
//! - each command on a paused container; a container that is paused while it restarts, or ends; several at once.
//! - cgroup v2, cgroup v1 with its controller freezer, neither; an ordinary user; a supervisor that is killed meanwhile.

mod support;

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use support::kept::{KeptHome, in_run, lives};
use support::{binary, is_root, skip, text, wait_until};

/// The file in which the kernel reports whether the cgroup of a process is frozen, and its text then.
fn freezer(pid: u32) -> Option<(PathBuf, &'static str)> {
    let cgroups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let path = |begin: &str| cgroups.lines().find_map(|line| line.strip_prefix(begin)).map(str::to_owned);
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    let mount = |kind: &str, option: &str| {
        let is_it = |words: &[&str]| {
            words[2] == kind && (option.is_empty() || words[3].split(',').any(|one| one == option))
        };
        let words = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
        words.into_iter().find(|words| is_it(words)).map(|words| PathBuf::from(words[1]))
    };
    let below =
        |mount: PathBuf, path: String, file: &str| mount.join(path.trim_start_matches('/')).join(file);
    if let (Some(mount), Some(path)) = (mount("cgroup2", ""), path("0::")) {
        return Some((below(mount, path, "cgroup.events"), "frozen 1"));
    }
    let line = cgroups.lines().find(|line| line.split(':').nth(1) == Some("freezer"))?;
    let path = line.splitn(3, ':').nth(2)?.to_owned();
    Some((below(mount("cgroup", "freezer")?, path, "freezer.state"), "FROZEN"))
}

/// Whether this caller can make a cgroup that can be frozen.
fn may(test: &str) -> bool {
    if !is_root() || freezer(std::process::id()).is_none() {
        skip(test, "machine: no cgroup can be frozen by this user");
        return false;
    }
    support::limits::may(test, "pids")
}

/// A container that answers SIGTERM and SIGUSR1.
const SCRIPT: &str = "trap 'echo usr1' USR1; trap 'exit 7' TERM; echo up; while :; do sleep 0.05; done";

#[test]
fn a_paused_container_is_frozen_until_it_is_unpaused() {
    if !may("a_paused_container_is_frozen_until_it_is_unpaused") {
        return;
    }
    let home = KeptHome::new();
    let spec = home.spec("", SCRIPT);
    let id = home.out(&["run", "-d", "--name", "kept-paused", &spec]);
    wait_until("it has its handlers", || home.out(&["logs", "kept-paused"]).contains("up"));
    let (file, frozen) = freezer(home.pid("kept-paused", "command")).unwrap();
    assert!(file.to_str().unwrap().contains(&id), "{file:?}");
    let is_frozen = || fs::read_to_string(&file).unwrap().contains(frozen);
    assert!(!is_frozen());
    assert!(home.refused(&["unpause", "kept-paused"], 1).contains(&format!("Container {id} is not paused")));
    assert_eq!(home.out(&["pause", "kept-paused"]), "kept-paused");
    assert!(is_frozen());
    assert_eq!(home.status("kept-paused"), "paused");
    assert!(home.out(&["ps"]).contains("(Paused)"));
    let state = home.inspected("kept-paused");
    assert_eq!((&state["Running"], &state["Paused"]), (&true.into(), &true.into()));
    // What docker refuses, and its words.
    for (command, status, words) in [
        (&["pause", "kept-paused"][..], 1, "is already paused"),
        (&["start", "kept-paused"], 1, "cannot start a paused container, try unpause instead"),
        (&["start", "-a", "kept-paused"], 1, "cannot start a paused container, try unpause instead"),
        (&["attach", "kept-paused"], 1, "You cannot attach to a paused container, unpause it first"),
        (
            &["exec", "-q", "kept-paused", "true"],
            1,
            "Container kept-paused is paused, unpause the container before exec",
        ),
        (&["rm", "kept-paused"], 1, "container is paused and must be unpaused first"),
    ] {
        let message = home.refused(command, status);
        assert!(message.contains(words), "{command:?}: {message}");
    }
    assert!(home.out(&["top", "kept-paused"]).contains("sh"));
    home.out(&["container", "prune", "-f"]);
    // A signal waits.
    home.out(&["kill", "-s", "USR1", "kept-paused"]);
    assert!(is_frozen() && !home.out(&["logs", "kept-paused"]).contains("usr1"));
    let explained = text(&home.run(&["unpause", "--explain", "kept-paused"]).stderr);
    assert!(explained.contains("\"unpause\"") && explained.contains("write(<"), "{explained}");
    assert!(!is_frozen());
    wait_until("the signal has come", || home.out(&["logs", "kept-paused"]).contains("usr1"));
    assert_eq!(home.status("kept-paused"), "running");
    // What ends it thaws it.
    home.out(&["pause", "kept-paused"]);
    assert_eq!(home.out(&["stop", "kept-paused"]), "kept-paused");
    assert_eq!(home.inspected("kept-paused")["ExitCode"], 7);
    for (command, code) in [(&["kill", "kept-paused"][..], 137), (&["restart", "kept-paused"], 7)] {
        home.out(&["start", "kept-paused"]);
        let ups = home.out(&["logs", "kept-paused"]).matches("up").count();
        wait_until("it has its handlers again", || {
            home.out(&["logs", "kept-paused"]).matches("up").count() >= ups
        });
        home.out(&["pause", "kept-paused"]);
        let first = home.pid("kept-paused", "command");
        home.out(command);
        wait_until("it has ended", || !lives(first));
        if code == 7 {
            assert_eq!(home.status("kept-paused"), "running");
            home.out(&["pause", "kept-paused"]);
        }
    }
    assert_eq!(home.out(&["rm", "-f", "kept-paused"]), "kept-paused");
    assert!(!file.exists() && !in_run(&id).exists());
    home.is_empty();
}

#[test]
fn a_paused_container_ends_with_its_supervisor() {
    if !may("a_paused_container_ends_with_its_supervisor") {
        return;
    }
    let home = KeptHome::new();
    let id = home.sleeper("web");
    home.out(&["pause", "web"]);
    let (supervisor, command) = (home.pid("web", "supervisor"), home.pid("web", "command"));
    let (file, _) = freezer(command).unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(supervisor as i32), nix::sys::signal::Signal::SIGKILL)
        .unwrap();
    wait_until("it has ended", || !lives(supervisor));
    home.out(&["ps", "-a"]);
    wait_until("nothing of it is left", || {
        home.status("web") == "exited" && !lives(command) && !file.exists()
    });
    assert!(!in_run(&id).exists());
    home.out(&["rm", "web"]);
}

/// Without cgroup v2, the controller freezer of v1 does the same. Only the view of this process changes.
#[test]
fn the_freezer_of_v1_is_used_where_v2_is_not_mounted() {
    let test = "the_freezer_of_v1_is_used_where_v2_is_not_mounted";
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    let is_v1 = mounts.lines().any(|line| line.contains(" cgroup ") && line.contains("freezer"));
    if !is_root() || !is_v1 {
        return skip(test, "machine: no freezer of cgroup v1, or no root");
    }
    let home = KeptHome::new();
    let spec = home.spec("", SCRIPT);
    let script = format!(
        "set -e; mount --make-rprivate /; while umount -l -t cgroup2 -a 2>/dev/null && grep -q ' cgroup2 ' /proc/mounts; do :; done
        id=$({0} run -d --name web {spec}); {0} pause web
        cat $(grep ' cgroup .*freezer' /proc/mounts | head -1 | cut -d' ' -f2)/sandbox/$id/freezer.state
        {0} ps --format '{{{{.State}}}}'; {0} unpause web; {0} ps --format '{{{{.State}}}}'
        {0} pause web; {0} rm -f web; {0} ps -aq
        {0} run -d --name web {spec} >/dev/null; {0} pause web
        kill -9 $({0} inspect -f '{{{{.Sandbox.Supervisor.pid}}}}' web)
        for i in $(seq 200); do s=$({0} ps -a --format '{{{{.State}}}}'); [ $s != exited ] || break; sleep 0.1; done
        echo $s; {0} rm web",
        binary().display()
    );
    let mut shell = Command::new("unshare");
    let shell = shell.args(["--mount", "sh", "-c", &script]).env("SANDBOX_HOME", home.path());
    let output = shell.output().unwrap();
    let lines: Vec<String> = text(&output.stdout).lines().map(str::to_owned).collect();
    let expected = ["web", "FROZEN", "paused", "web", "running", "web", "web", "web", "exited", "web"];
    assert_eq!(lines, expected, "{}", text(&output.stderr));
}

#[test]
fn without_a_cgroup_the_reason_is_told() {
    if is_root() {
        return;
    }
    let home = KeptHome::new();
    let id = home.sleeper("web");
    let (own, other) = (freezer(std::process::id()), freezer(home.pid("web", "command")));
    if own.map(|(file, _)| file) != other.map(|(file, _)| file) {
        return skip("without_a_cgroup_the_reason_is_told", "machine: this user may make cgroups");
    }
    let message = home.refused(&["pause", "web"], 1);
    assert!(message.contains(&format!("Container {id} has no cgroup of its own")), "{message}");
    assert!(
        message.contains("An ordinary user can make one only below a cgroup that is delegated"),
        "{message}"
    );
    assert_eq!(home.status("web"), "running");
    home.out(&["rm", "-f", "web"]);
}
