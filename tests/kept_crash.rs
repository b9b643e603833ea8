//! What is left of containers that stay when something is killed, when the machine is restarted, when a disk is full: the
//! next command shows a true state, removes what is left, and waits for nothing.
//!
//! Other inputs of the same kind as the ones here:
//! - SIGKILL of a command or a supervisor at any moment; a supervisor that is stopped; a state file that is damaged.
//! - any two commands on one container at the same time.

mod support;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use support::background::with_argument;
use support::kept::{KeptHome, in_run, lives};
use support::{binary, is_root, random, rounds, sample, skip, text, wait_until};

fn send(pid: u32, signal: Signal) {
    kill(Pid::from_raw(pid as i32), signal).unwrap();
}

#[test]
fn a_container_whose_supervisor_is_killed_has_ended() {
    let home = KeptHome::new();
    let id = home.sleeper("web");
    let (supervisor, command) = (home.pid("web", "supervisor"), home.pid("web", "command"));
    send(supervisor, Signal::SIGKILL);
    wait_until("it has ended", || !lives(supervisor));
    assert!(home.out(&["ps", "-a"]).contains("Exited (255) "));
    // The command of another test may be the one that ends it.
    wait_until("nothing is left", || !lives(command) && !in_run(&id).exists());
    let inspected = home.inspected("web");
    assert!(inspected["Error"].as_str().unwrap().contains("supervisor was killed"), "{inspected}");
    assert_eq!(home.out(&["wait", "web"]), "255");
    // It starts again.
    home.out(&["start", "web"]);
    assert_eq!(home.status("web"), "running");
}

/// A config that cannot be read concerns its container alone. That one can be removed, also while it runs.
#[test]
fn a_container_that_cannot_be_read_is_in_nobodys_way() {
    let home = KeptHome::new();
    home.sleeper("broken");
    home.sleeper("web");
    let (supervisor, command) = (home.pid("broken", "supervisor"), home.pid("broken", "command"));
    // A value that would be lost when it is read again is never written.
    for quota in ["500", "99999999999"] {
        assert!(
            home.refused(&["update", "--cpu-quota", quota, "broken"], 1).contains("from 1000 to 8192000000")
        );
    }
    assert_eq!(home.status("broken"), "running");
    fs::write(home.container("broken").join("config.json"), "{}").unwrap();
    home.out(&["volume", "ls"]);
    home.out(&["system", "df"]);
    assert_eq!(home.status("web"), "running");
    assert!(home.refused(&["stop", "broken"], 1).contains("cannot be read"));
    home.out(&["rm", "-f", "broken"]);
    wait_until("it has ended", || !lives(supervisor) && !lives(command));
    assert_eq!(home.out(&["ps", "-aq"]).lines().count(), 1);
}

/// When a PID namespace ends, its processes do too, also the supervisors.
#[test]
fn a_container_of_a_pid_namespace_that_has_ended_has_ended() {
    let name = "a_container_of_a_pid_namespace_that_has_ended_has_ended";
    if !is_root() {
        return skip(
            name,
            "machine: an ordinary user is root in the namespace of `sandbox pid`, with another RUN",
        );
    }
    let home = KeptHome::new();
    let spec = home.spec("", "exec sleep 600");
    let script = format!("{} run -d --name inner {spec}; {0} top inner", binary().display());
    let listed = home.out(&["pid", "-q", "--", "sh", "-c", &script]);
    assert!(listed.contains("sleep 600"), "{listed}");
    wait_until("it has ended", || home.status("inner") == "exited");
    assert_eq!(home.out(&["wait", "inner"]), "255");
    home.out(&["start", "inner"]);
    assert!(home.out(&["top", "inner"]).contains("sleep 600"));
}

/// The PIDs of another boot or another machine mean nothing here, even if processes have them.
#[test]
fn a_restart_of_the_machine_ends_containers_and_another_machine_owns_its_own() {
    let home = KeptHome::new();
    let id = home.sleeper("web");
    let (supervisor, command) = (home.pid("web", "supervisor"), home.pid("web", "command"));
    let file = home.container("web").join("state.json");
    let running = fs::read_to_string(&file).unwrap();
    let boot = home.state("web")["place"]["boot"].as_str().unwrap().to_owned();
    // Its supervisor lives and has the lock: whatever the boot ID says, it runs.
    fs::write(&file, running.replace(&boot, "another-boot")).unwrap();
    assert_eq!(home.status("web"), "running");
    assert!(lives(supervisor) && lives(command));
    fs::write(&file, &running).unwrap();
    assert_eq!(home.status("web"), "running");
    home.out(&["stop", "-t", "0", "web"]);
    fs::write(&file, running.replace(&boot, "another-boot")).unwrap();
    assert_eq!(home.status("web"), "exited");
    let inspected = home.inspected("web");
    assert!(inspected["Error"].as_str().unwrap().contains("restarted"), "{inspected}");
    wait_until("nothing is left in RUN", || !in_run(&id).exists());
    let machine = home.state("web")["place"]["machine"].as_str().unwrap().to_owned();
    let foreign = running.replace(&format!("\"machine\":\"{machine}\""), "\"machine\":\"another\"");
    fs::write(&file, &foreign).unwrap();
    assert_eq!(home.status("web"), "elsewhere");
    for command in
        [&["start", "web"][..], &["stop", "web"], &["kill", "web"], &["rm", "-f", "web"], &["wait", "web"]]
    {
        assert!(home.refused(command, 1).contains("belongs to another machine"), "{command:?}");
    }
    assert_eq!(fs::read_to_string(&file).unwrap(), foreign);
    fs::write(&file, running.replace(&boot, "another-boot")).unwrap();
}

/// A container that shows the files of the host has the control sockets too, also its own. The supervisor refuses it.
#[test]
fn a_container_cannot_talk_to_its_supervisor() {
    let home = KeptHome::new();
    let connect = r#"$| = 1; socket(S, 1, 5, 0) or die; for my $path (glob($ARGV[0])) { connect(S, pack("Sa*", 1, $path)) and print "connected\n" and send(S, "{\"kill\":{\"signal\":9}}", 0); } sleep 1; print "alive\n"; sleep 600"#;
    let run = in_run("*/control");
    let file = home.around().join("spec.yaml");
    let command = serde_json::to_string(&["perl", "-e", connect, run.to_str().unwrap()]).unwrap();
    fs::write(&file, format!("pid:\nrootfs: host\ncommand: {command}\n")).unwrap();
    home.out(&["run", "-d", "--name", "web", file.to_str().unwrap()]);
    wait_until("it has tried", || home.out(&["logs", "web"]).contains("alive"));
    assert_eq!(home.status("web"), "running");
}

/// What commands leave that were killed in the middle of `create` and `rm`.
#[test]
fn half_containers_are_removed_by_the_next_command() {
    let home = KeptHome::new();
    let spec = home.spec("", "true");
    let id = home.out(&["create", "--name", "web", &spec]);
    let (containers, names) = (home.path().join("containers"), home.path().join("names"));
    for kind in ["new", "rm"] {
        let left = containers.join(format!(".{kind}-{}", "a".repeat(64)));
        fs::create_dir(&left).unwrap();
        fs::set_permissions(&left, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
        fs::write(left.join("config.json"), "{").unwrap();
        std::os::unix::fs::symlink(format!("../containers/{}", "a".repeat(64)), names.join("gone")).unwrap();
        assert_eq!(home.out(&["ps", "-aq", "--no-trunc"]), id);
        assert!(!left.exists() && fs::symlink_metadata(names.join("gone")).is_err());
    }
    // A name of nothing can be given again, also without such a directory.
    std::os::unix::fs::symlink(format!("../containers/{}", "b".repeat(64)), names.join("free")).unwrap();
    home.out(&["create", "--name", "free", &spec]);
    // Files that cannot be read are reported, and hide nothing else.
    fs::write(home.container("free").join("state.json"), "{}").unwrap();
    let output = home.run(&["ps", "-a"]);
    assert!(text(&output.stdout).contains("web") && text(&output.stderr).contains("cannot be read"));
    assert!(home.refused(&["start", "free"], 1).contains("cannot be read"));
    home.out(&["rm", "-f", "free"]);
    let newer = fs::read_to_string(home.container("web").join("config.json"))
        .unwrap()
        .replace("\"version\":1", "\"version\":9");
    fs::write(home.container("web").join("config.json"), newer).unwrap();
    assert!(home.refused(&["start", "web"], 1).contains("a newer sandbox wrote it"));
    home.out(&["rm", "-f", "web"]);
    home.is_empty();
}

/// The policy starts a container again, until a user ends it. After a restart of the machine, `start --all` does.
#[test]
fn a_restart_policy_starts_a_container_again() {
    let home = KeptHome::new();
    let failing = home.spec("", "echo run; exit 3");
    let count = |name: &str| home.out(&["logs", name]).lines().count();
    home.out(&["run", "-d", "--restart", "on-failure:2", "--name", "failing", &failing]);
    wait_until("it has failed three times", || home.status("failing") == "exited");
    assert_eq!((count("failing"), home.state("failing")["restartCount"].as_u64()), (3, Some(2)));
    assert_eq!(home.inspected("failing")["ExitCode"], 3);
    home.out(&["run", "-d", "--restart", "always", "--name", "always", &failing]);
    wait_until("it waits for its restart", || home.status("always") == "restarting" && count("always") > 2);
    assert_eq!(home.out(&["stop", "always"]), "always");
    let runs = count("always");
    assert_eq!(home.status("always"), "exited");
    let sleeping = home.spec("", "echo run; exec sleep 600");
    home.out(&["run", "-d", "--restart", "unless-stopped", "--name", "sleeping", &sleeping]);
    let first = home.pid("sleeping", "command");
    send(first, Signal::SIGKILL);
    wait_until("it runs again", || {
        home.state("sleeping")["command"]["pid"].as_u64().is_some_and(|pid| pid as u32 != first)
    });
    // As after a restart of the machine.
    send(home.pid("sleeping", "supervisor"), Signal::SIGKILL);
    wait_until("it has ended", || home.status("sleeping") == "exited");
    let started = home.out(&["start", "--all"]);
    assert!(
        started.contains("sleeping") && started.contains("always") && !started.contains("failing\n"),
        "{started}"
    );
    assert!(home.status("sleeping") == "running" && count("always") >= runs);
    home.out(&["kill", "sleeping"]);
    wait_until("it has ended", || home.status("sleeping") == "exited");
    assert!(!home.out(&["start", "--all"]).contains("sleeping"));
    assert!(
        home.refused(&["create", "--restart", "never", &failing], 1)
            .contains("invalid restart policy 'never'")
    );
    assert!(
        home.refused(&["create", "--restart", "always", "--rm", &failing], 125)
            .contains("cannot specify both")
    );
}

/// A supervisor that does not answer blocks nobody.
#[test]
fn a_stopped_supervisor_makes_no_other_command_wait() {
    let home = KeptHome::new();
    home.sleeper("web");
    home.sleeper("other");
    let (supervisor, command) = (home.pid("web", "supervisor"), home.pid("web", "command"));
    send(supervisor, Signal::SIGSTOP);
    assert_eq!((home.status("web"), home.status("other")), ("running".into(), "running".into()));
    home.out(&["stop", "-t", "0", "other"]);
    for _ in sample(4, 0..1) {
        home.out(&["rm", "-f", "web"]);
        assert!(!lives(supervisor) && !lives(command));
        assert_eq!(home.status("web"), "absent");
    }
    if lives(supervisor) {
        send(supervisor, Signal::SIGCONT);
    }
}

/// Commands are killed at many moments. Afterwards each container is complete or absent, and its state is true.
#[test]
fn commands_that_are_killed_leave_nothing_half() {
    let home = KeptHome::new();
    let spec = home.spec("", "exec sleep 600");
    let mut random = random();
    let delays: Vec<u64> = (0..rounds(24)).map(|_| random(36_000)).collect();
    for delay in sample(3, delays) {
        for command in [
            &["run", "-d", "--name", "web", &*spec][..],
            &["start", "web"],
            &["stop", "-t", "0", "web"],
            &["rm", "-f", "web"],
        ] {
            let mut child =
                home.command(command).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            std::thread::sleep(Duration::from_micros(delay));
            let _ = child.kill();
            child.wait().unwrap();
            let status = home.status("web");
            assert!(["absent", "created", "running", "exited"].contains(&&*status), "{command:?} {status}");
            if status == "running" {
                let pid = home.state("web")["command"]["pid"].as_u64();
                // It may just have ended.
                assert!(
                    pid.is_none_or(|pid| lives(pid as u32)) || home.status("web") != "running",
                    "{command:?}"
                );
            }
        }
    }
    let removed = home.run(&["rm", "-f", "web"]);
    assert_eq!(
        home.out(&["ps", "-a"]).lines().count(),
        1,
        "{} {}",
        home.out(&["ps", "-a"]),
        text(&removed.stderr)
    );
    home.is_empty();
}

/// A supervisor is killed at many moments of its work. The next command ends what it has left, and no container is lost.
#[test]
fn a_supervisor_that_is_killed_at_any_moment_leaves_nothing() {
    let home = KeptHome::new();
    let spec = home.spec("", "exec sleep 600");
    let id = home.out(&["create", "--name", "web", &spec]);
    let mut random = random();
    let delays: Vec<u64> = (0..rounds(24)).map(|_| random(60_000)).collect();
    for delay in sample(3, delays) {
        let mut start = home.command(&["start", "web"]);
        let mut start = start.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let supervisor = || with_argument(&id).into_iter().find(|pid| *pid != start.id());
        wait_until("a supervisor is there", || supervisor().is_some());
        let supervisor = supervisor().unwrap();
        std::thread::sleep(Duration::from_micros(delay));
        send(supervisor, Signal::SIGKILL);
        start.wait().unwrap();
        wait_until("the supervisor has ended", || !lives(supervisor));
        // `start` begins again if the supervisor ended before it had answered.
        match &*home.status("web") {
            "running" => {
                let second = home.pid("web", "supervisor");
                assert!(second != supervisor && lives(second), "after {delay} us");
                home.out(&["stop", "-t", "0", "web"]);
            }
            status => assert!(["created", "exited"].contains(&status), "{status} after {delay} us"),
        }
        wait_until("nothing is left", || !in_run(&id).exists() && with_argument(&id).is_empty());
        let state = home.state("web");
        assert!(
            state["command"].is_null() || !lives(state["command"]["pid"].as_u64().unwrap() as u32),
            "{state}"
        );
    }
    home.out(&["start", "web"]);
    assert_eq!(home.status("web"), "running");
    home.out(&["rm", "-f", "web"]);
    home.is_empty();
}

/// Two processes, three containers, random commands: the loser gets a clear error, and the states agree with the kernel.
#[test]
fn commands_at_the_same_time_leave_true_states() {
    let home = KeptHome::new();
    let spec = home.spec("", "exec sleep 600");
    let mut random = random();
    let mut random = |below: usize| random(below as u64) as usize;
    for _ in sample(4, 0..rounds(12)) {
        let mut line = || {
            let name = ["one", "two", "three"][random(3)];
            let all: [&[&str]; 7] = [
                &["create", "--name", name, &spec],
                &["run", "-d", "--name", name, &spec],
                &["start", name],
                &["stop", "-t", "0", name],
                &["kill", name],
                &["rm", name],
                &["rm", "-f", name],
            ];
            all[random(7)].iter().map(|word| (*word).to_owned()).collect::<Vec<_>>()
        };
        let scripts = [(0..10).map(|_| line()).collect::<Vec<_>>(), (0..10).map(|_| line()).collect()];
        std::thread::scope(|scope| {
            for script in &scripts {
                let home = &home;
                scope.spawn(move || {
                    for line in script {
                        let words: Vec<&str> = line.iter().map(String::as_str).collect();
                        let output = home.run(&words);
                        let message = text(&output.stderr);
                        let is_clear = output.status.success() || message.starts_with("sandbox: ");
                        assert!(
                            is_clear && !message.contains("os error"),
                            "{words:?} {:?} {message}",
                            output.status
                        );
                    }
                });
            }
        });
        for name in ["one", "two", "three"] {
            // A container that was killed just now may end while it is looked at.
            let is_true = || match &*home.status(name) {
                "running" => {
                    let state = home.state(name);
                    let pid_lives = |of: &str| state[of]["pid"].as_u64().is_some_and(|pid| lives(pid as u32));
                    pid_lives("command") && pid_lives("supervisor")
                }
                "created" | "exited" => home.state(name)["command"].is_null(),
                status => status == "absent",
            };
            wait_until(&format!("{name} is as the kernel shows: {scripts:?}"), is_true);
        }
    }
    let _ = home.run(&["rm", "-f", "one", "two", "three"]);
    home.is_empty();
}

/// In new namespaces, so that the mounts are nobody else's.
fn in_mounts(home: &Path, script: &str) -> (Option<i32>, String) {
    let mut unshare = Command::new("unshare");
    unshare.arg(if is_root() { "--mount" } else { "--user" });
    unshare.args(["--map-root-user", "--mount"].into_iter().filter(|_| !is_root()));
    let program = binary();
    let script = format!("exec 2>&1; {script}");
    let output = unshare
        .args(["--propagation", "private", "sh", "-c", &script])
        .env("SANDBOX_HOME", home)
        .env("S", program)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    (output.status.code(), text(&output.stdout))
}

#[test]
fn a_full_or_read_only_home_is_explained() {
    let home = KeptHome::new();
    let spec = home.spec("", "true");
    home.out(&["create", "--name", "web", &spec]);
    let path = home.path();
    let mounted = format!("mount --bind {0} {0} && mount -o remount,bind,ro {0} || exit 77", path.display());
    let (status, shown) =
        in_mounts(&path, &format!("{mounted}; $S ps -a && $S create --name two {spec}; echo $?"));
    if status == Some(77) {
        return support::skip(
            "a_full_or_read_only_home_is_explained",
            "machine: no mounts in a user namespace",
        );
    }
    // The lines break where the path lets them.
    let words = shown.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("web") && words.contains("is read-only") && words.ends_with("125"), "{shown}");
    let full = home.around().join("full");
    fs::create_dir(&full).unwrap();
    let mounted = format!("mount -t tmpfs -o size=16k,mode=700 none {0} || exit 77", full.display());
    let script = format!(
        "{mounted}; head -c 12000 /dev/zero > {0}/x; $S create --name two {spec}; echo $?; rm {0}/x; $S create --name two {spec} && $S rm two && $S ps -a && ls {0}/containers {0}/names",
        full.display()
    );
    let (_, shown) = in_mounts(&full, &script);
    let words = shown.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(
        words.contains("is full") && shown.contains("125\n") && shown.contains("CONTAINER ID"),
        "{shown}"
    );
    assert!(!shown.contains("two\n/") || shown.ends_with("names:\n"), "{shown}");
}

/// The disk becomes full while a container runs. Its exit status is in its state all the same.
#[test]
fn an_exit_status_survives_a_full_disk() {
    let home = KeptHome::new();
    let full = home.around().join("full");
    let gate = home.around().join("gate");
    fs::create_dir(&full).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, &gate, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    let spec = home.spec("", &format!("read line < {}; exit 7", gate.display()));
    let script = format!(
        "mount -t tmpfs -o size=256k,mode=700 none {0} || exit 77
        $S run -d --name web {spec} || exit 78
        head -c 10000000 /dev/zero > {0}/x 2>/dev/null
        echo > {1}; $S wait web
        $S inspect -f '{{{{.State.Status}}}} {{{{.State.ExitCode}}}} {{{{.State.Error}}}}' web
        rm {0}/x; $S start web; echo > {1}; $S wait web; $S ps -a --format '{{{{.State}}}}'; $S rm web",
        full.display(),
        gate.display()
    );
    match in_mounts(&full, &script) {
        (Some(77), _) => {
            support::skip("an_exit_status_survives_a_full_disk", "machine: no mounts in a user namespace");
        }
        (_, shown) => assert!(shown.ends_with("\n7\nexited 7 \nweb\n7\nexited\nweb\n"), "{shown}"),
    }
}

/// `logs` names the gap also after the next start, which has room again.
#[test]
fn a_log_with_a_gap_says_so() {
    let home = KeptHome::new();
    let full = home.around().join("full");
    let gate = home.around().join("gate");
    fs::create_dir(&full).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, &gate, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    let spec = home.spec("", &format!("read line < {}; seq 1 500", gate.display()));
    let script = format!(
        "mount -t tmpfs -o size=256k,mode=700 none {0} || exit 77
        $S run -d --name web {spec} || exit 78
        head -c 10000000 /dev/zero > {0}/x 2>/dev/null
        echo > {1}; $S wait web; rm {0}/x
        $S logs web 2>&1 >/dev/null; $S start web; echo > {1}; $S wait web; $S logs web 2>&1 >/dev/null; $S rm web",
        full.display(),
        gate.display()
    );
    match in_mounts(&full, &script) {
        (Some(77), _) => {
            support::skip("a_log_with_a_gap_says_so", "machine: no mounts in a user namespace");
        }
        (_, shown) => {
            let count = shown.matches("bytes of its output could not be written to its log").count();
            assert_eq!(count, 2, "{shown}");
        }
    }
}
