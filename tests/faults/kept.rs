//! Faults in the commands of a container that stays: create, start, stop, rm. In `start`, also in its supervisor.
//!
//! After each, the container is in a state of its life, the next commands work, and nothing is left when it is removed.

use std::cell::Cell;
use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};

use nix::errno::Errno;

use crate::support::kept::{KeptHome, in_run};
use crate::support::{self, alone, sample};
use crate::tracer::{Site, Traced, trace};
use crate::{HEAD, Tally, calls, faults_of, is_whole};

/// A command, and the states that its container may have when it has succeeded, and when it has failed.
struct KeptCommand {
    name: &'static str,
    arguments: &'static [&'static str],
    done: &'static [&'static str],
    failed: &'static [&'static str],
}

const COMMANDS: [KeptCommand; 4] = [
    KeptCommand {
        name: "create",
        arguments: &["create", "--name", "web", "SPEC"],
        done: &["created"],
        failed: &["absent", "created"],
    },
    KeptCommand {
        name: "start",
        arguments: &["start", "web"],
        // It is killed before its state is read.
        done: &["exited"],
        failed: &["created", "running", "exited"],
    },
    KeptCommand {
        name: "stop",
        arguments: &["stop", "-t", "0", "web"],
        done: &["exited"],
        failed: &["running", "exited"],
    },
    KeptCommand { name: "rm", arguments: &["rm", "web"], done: &["absent"], failed: &["created", "absent"] },
];

/// A traced run of a command.
struct Trial {
    traced: Traced,
    said: String,
    has_succeeded: bool,
}

/// Runs a command on a container in the state that it expects, with one system call that fails.
#[expect(clippy::zombie_processes, reason = "the tracer waits for every child of this thread")]
fn attempt(home: &KeptHome, of: &KeptCommand, spec: &str, fault: Option<(Site, Errno)>) -> Trial {
    match of.name {
        "create" => {}
        "stop" => drop(home.out(&["run", "-d", "--name", "web", spec])),
        _ => drop(home.out(&["create", "--name", "web", spec])),
    }
    let words = of.arguments.iter().map(|word| if *word == "SPEC" { spec } else { word });
    let mut command = Command::new(support::binary());
    command.args(words).current_dir("/").env("SANDBOX_HOME", home.path()).env("NO_COLOR", "1");
    let said = home.around().join("said");
    let has_succeeded = Cell::new(false);
    // The supervisor that `start` leaves is traced too, and ends with its container. This thread is its tracer, and so must
    // not wait for it here.
    let release = || {
        has_succeeded.set(true);
        // The call that fails may be one by which the supervisor hears of the kill. Then that is refused, and another is not.
        let again = "for again in 1 2 3; do \"$0\" kill web && exit; done";
        let mut kill = Command::new("sh");
        kill.args(["-c", again]).arg(support::binary()).env("SANDBOX_HOME", home.path());
        kill.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    };
    let release = Some(&release as &dyn Fn()).filter(|_| of.name == "start");
    let traced = trace(&command, File::create(&said).unwrap(), fault, &mut |_| (), release);
    let said = String::from_utf8_lossy(&fs::read(said).unwrap()).into_owned();
    let has_succeeded = has_succeeded.get() || (of.name != "start" && traced.status.success());
    Trial { traced, said, has_succeeded }
}

/// What is wrong after a command.
fn judge(
    tally: &mut Tally,
    home: &KeptHome,
    of: &KeptCommand,
    trial: &Trial,
    fault: (Site, Errno),
) -> Vec<String> {
    let mut wrong = Vec::new();
    let (said, status) = (&trial.said, trial.traced.status);
    if trial.traced.hung {
        tally.hung += 1;
        wrong.push("hung".to_owned());
    } else if trial.has_succeeded {
        tally.ran += 1;
    } else if said.trim().is_empty() || said.contains("panicked") || status.signal().is_some() {
        tally.crashed += 1;
        wrong.push(format!("{status}: {said:?}"));
    } else if !calls::is_clear(said, fault.0.call, fault.1) {
        tally.vague += 1;
        wrong.push(format!("vague: {said:?}"));
    }
    let state = home.status("web");
    let expected = if trial.has_succeeded { of.done } else { of.failed };
    if !expected.contains(&&*state) {
        tally.left += 1;
        wrong.push(format!("it is {state}, expected {expected:?}"));
    }
    wrong
}

/// Removes the container, and returns what is left then.
fn clean(home: &KeptHome) -> Vec<String> {
    let ids = home.out(&["ps", "-aq", "--no-trunc"]);
    for id in ids.lines() {
        home.run(&["rm", "-f", id]);
    }
    let names = |directory: &str| fs::read_dir(home.path().join(directory)).into_iter().flatten().flatten();
    let mut left: Vec<String> = ["containers", "names"]
        .into_iter()
        .flat_map(names)
        .map(|entry| entry.path().display().to_string())
        .collect();
    left.extend(ids.lines().map(in_run).filter(|run| run.exists()).map(|run| run.display().to_string()));
    left
}

#[test]
fn each_call_that_fails_is_told_and_leaves_nothing_of_a_kept_container() {
    let _alone = alone();
    let mut all_hold = true;
    println!("{:<28}{HEAD}", "");
    for of in sample(1, COMMANDS) {
        if std::env::var("SANDBOX_START").is_ok_and(|wanted| !of.name.contains(&wanted)) {
            continue;
        }
        let home = KeptHome::new();
        let spec = home.spec("", "exec sleep 600");
        let asked = attempt(&home, &of, &spec, None);
        assert!(asked.has_succeeded, "{}: {}", of.name, asked.said);
        assert_eq!(clean(&home), Vec::<String>::new(), "{}", of.name);
        let mut tally = Tally::default();
        let all = faults_of(nix::libc::SYS_sigaltstack, 2, &asked.traced.sites);
        // A trial of a container takes longer than a start.
        let step = if is_whole() { 1 } else { 2 };
        for (site, errno) in all.into_iter().step_by(step) {
            let trial = attempt(&home, &of, &spec, Some((site, errno)));
            if trial.traced.has_fired {
                tally.fired += 1;
                let wrong = judge(&mut tally, &home, &of, &trial, (site, errno));
                let place = format!("{} {}#{} {errno:?}", site.process, calls::name(site.call), site.nth);
                tally.wrong.extend(wrong.into_iter().map(|wrong| format!("{place}: {wrong}")));
            }
            let left = clean(&home);
            if !left.is_empty() {
                tally.left_after_next += 1;
                tally.wrong.push(format!(
                    "{}#{} {errno:?}: left: {left:?}",
                    calls::name(site.call),
                    site.nth
                ));
                left.iter().for_each(|path| drop(fs::remove_dir_all(path)));
            }
        }
        println!("{:<28}{tally}", of.name);
        tally.wrong.iter().for_each(|line| println!("  {line}"));
        all_hold &= tally.holds() && tally.left == 0;
    }
    assert!(all_hold, "the table above says what doesn't hold");
}
