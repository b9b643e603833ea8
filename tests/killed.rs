//! A container ends with its `sandbox`, even if `sandbox` is killed and the command has cleared its parent-death signal.
//!
//! Inputs of the same kind, all below: a change of user by setpriv(1), by `run_as` inside a shell, by prctl(2); with a new
//! PID namespace, without one, with children in new sessions; for a feature, `run`, and an init, where process 1 is ours
//! and everything ends at once. What is removed is reported by the next command, and only that.

mod support;

use std::process::{Child, Stdio};

use support::{alone, child_named, is_root, run, sandbox, skip, text, wait_until};

fn is_alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with(['Z', 'X']))
}

fn start(words: &[&str]) -> Child {
    sandbox(words).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

fn kill(mut sandbox: Child) {
    sandbox.kill().unwrap();
    sandbox.wait().unwrap();
}

/// A command that clears its parent-death signal, and then sleeps. As root a change of user clears it. An ordinary user
/// asks for it by prctl(PR_SET_PDEATHSIG, 0).
fn clearing(then: &[&str]) -> Vec<String> {
    let clear: &[&str] = match is_root() {
        true => &["setpriv", "--reuid", "1000", "--regid", "1000", "--clear-groups"],
        false => &["setpriv", "--pdeathsig", "clear"],
    };
    clear.iter().chain(then).map(|word| (*word).to_owned()).collect()
}

#[test]
fn the_next_command_ends_what_outlived_its_sandbox() {
    let _alone = alone();
    let directory = tempfile::tempdir().unwrap();
    let spec = directory.path().join("box.yaml");
    std::fs::write(&spec, "pid:\nnet:\ncommand: [\"true\"]\n").unwrap();
    let spec = spec.to_str().unwrap();
    for words in [&["run", spec, "-q"][..], &["pid", "-q"], &["net", "-q"], &["uts", "-q"]] {
        let command = clearing(&["sleep", "61"]);
        let command: Vec<&str> = command.iter().map(String::as_str).collect();
        let sandbox = start(&[words, &["--"], &command].concat());
        let sleep = child_named(sandbox.id(), "sleep");
        // A running container is left alone.
        let gc = run(&["gc"]);
        assert!(!text(&gc.stdout).contains("kill"), "{}", text(&gc.stdout));
        kill(sandbox);
        // The next command of any kind ends it, and `gc` says so.
        let gc = run(&["gc"]);
        let said = text(&gc.stdout);
        // On a busy machine, the kernel may take longer than `gc` waits.
        let is_ending = text(&gc.stderr).contains("has not ended yet");
        let is_told = said.contains(&format!("kill -KILL {sleep}\n")) || is_ending;
        assert!(is_told, "{words:?}: {said} {}", text(&gc.stderr));
        wait_until("it has ended", || !is_alive(sleep));
        let gc = run(&["gc"]);
        assert!(!text(&gc.stdout).contains("kill"), "{}", text(&gc.stdout));
    }
}

#[test]
fn its_children_in_other_sessions_end_too() {
    let _alone = alone();
    for words in [&["pid", "-q"][..], &["net", "-q"], &["uts", "-q"]] {
        let command = clearing(&["bash", "-c", "setsid sleep 62 & sleep 63"]);
        let command: Vec<&str> = command.iter().map(String::as_str).collect();
        let sandbox = start(&[words, &["--"], &command].concat());
        let shell = child_named(sandbox.id(), "bash");
        let children = || {
            let list =
                std::fs::read_to_string(format!("/proc/{shell}/task/{shell}/children")).unwrap_or_default();
            list.split_whitespace().map(|pid| pid.parse::<u32>().unwrap()).collect::<Vec<_>>()
        };
        wait_until("two children", || children().len() == 2);
        let all = children();
        kill(sandbox);
        assert!(is_alive(shell) && all.iter().all(|pid| is_alive(*pid)), "{words:?}: the signal was cleared");
        assert!(run(&["uts", "-q", "--", "true"]).status.success());
        // The command does not wait long for the kernel.
        wait_until("the shell and its children end", || {
            !is_alive(shell) && !all.iter().any(|pid| is_alive(*pid))
        });
    }
}

/// A directory for a spec.
struct Material(tempfile::TempDir);

impl Material {
    fn new() -> Material {
        Material(tempfile::tempdir().unwrap())
    }

    /// A spec with these lines.
    fn spec(&self, lines: &str) -> String {
        let path = self.0.path().join("box.yaml");
        std::fs::write(&path, lines).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

/// What `gc` prints.
fn gc() -> String {
    let output = run(&["gc"]);
    text(&output.stdout) + &text(&output.stderr)
}

/// The processes that are in the same namespace of this kind as a process, which is one of them.
fn members(pid: u32, kind: &str) -> Vec<u32> {
    let link = |pid: u32| std::fs::read_link(format!("/proc/{pid}/ns/{kind}")).ok();
    let inside = link(pid);
    let all = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| inside.is_some() && link(*pid) == inside && is_alive(*pid)).collect()
}

/// The command dies with `sandbox`, by its parent-death signal. Its children have no such signal.
#[test]
fn the_next_command_ends_the_orphans_of_a_command_that_died_with_its_sandbox() {
    let _alone = alone();
    let home = Material::new();
    let spec = home.spec("rootfs: host\nuts:\ncommand: [\"true\"]\n");
    let scripts =
        ["sleep 65; true", "setsid sleep 65 & sleep 65; true", "(nohup sleep 65 &) ; sleep 65; true"];
    let features: [(&[&str], &str); 7] = [
        (&["run", &spec], "uts"),
        (&["uts"], "uts"),
        (&["net"], "net"),
        (&["user"], "user"),
        (&["ipc"], "ipc"),
        (&["cgroup"], "cgroup"),
        (&["time"], "time"),
    ];
    for (at, (words, kind)) in features.into_iter().enumerate() {
        let script = scripts[at % scripts.len()];
        let sandbox = start(&[words, &["-q", "--", "sh", "-c", script]].concat());
        let shell = child_named(sandbox.id(), "sh");
        let sleep = child_named(shell, "sleep");
        wait_until("all run", || members(sleep, kind).len() > script.matches("sleep").count());
        let all = members(sleep, kind);
        kill(sandbox);
        wait_until("the command ends with its sandbox", || !is_alive(shell));
        assert!(is_alive(sleep), "{words:?}: the control: its child goes on");
        let said = gc();
        for pid in all.iter().filter(|pid| **pid != shell) {
            assert!(said.contains(&format!("kill -KILL {pid}\n")), "{words:?} {script}: {pid}: {said}");
        }
        wait_until("the orphans end", || all.iter().all(|pid| !is_alive(*pid)));
        assert!(!gc().contains("kill"));
    }
}

/// Without a namespace, nothing identifies them.
#[test]
fn orphans_that_nothing_identifies_are_told() {
    let _alone = alone();
    let home = Material::new();
    let spec = home.spec("no_new_privileges: true\ncommand: [\"true\"]\n");
    let sandbox = start(&["run", "-q", &spec, "--", "sh", "-c", "sleep 66; true"]);
    let shell = child_named(sandbox.id(), "sh");
    let sleep = child_named(shell, "sleep");
    kill(sandbox);
    wait_until("the command ends with its sandbox", || !is_alive(shell));
    let said = gc();
    let orphan = nix::unistd::Pid::from_raw(sleep.cast_signed());
    nix::sys::signal::kill(orphan, nix::sys::signal::Signal::SIGKILL).unwrap();
    assert!(said.starts_with(&format!("the command {shell} has ended with its sandbox")), "{said}");
}

/// The inode of a namespace that has ended becomes that of another one. A process that somebody else has started there is
/// not ours: here, a job of this process in the same namespace.
#[test]
fn a_process_of_somebody_else_in_such_a_namespace_is_left_alone() {
    let _alone = alone();
    let sandbox = start(&["user", "-q", "--", "sleep", "67"]);
    let sleep = child_named(sandbox.id(), "sleep");
    let mut other = std::process::Command::new("nsenter")
        .args(["--user", "--preserve-credentials", "-t", &sleep.to_string(), "sleep", "68"])
        .spawn()
        .unwrap();
    wait_until("the other is there", || members(sleep, "user").contains(&other.id()));
    kill(sandbox);
    wait_until("the command ends with its sandbox", || !is_alive(sleep));
    let said = gc();
    let is_left = is_alive(other.id());
    other.kill().unwrap();
    other.wait().unwrap();
    assert!(is_left && !said.contains("kill"), "{said}");
}

#[test]
fn behind_an_init_everything_ends_at_once() {
    let _alone = alone();
    let command = clearing(&["sleep", "64"]);
    let command: Vec<&str> = command.iter().map(String::as_str).collect();
    let sandbox = start(&[&["pid", "-q", "--init", "--"], &command[..]].concat());
    let sleep = child_named(child_named(sandbox.id(), "sandbox"), "sleep");
    kill(sandbox);
    wait_until("the init ends, and the kernel kills the others", || !is_alive(sleep));
}

#[test]
fn an_ordinary_end_leaves_no_journal_and_nothing_to_end() {
    let _alone = alone();
    // What another test has killed may be removed only now.
    run(&["gc"]);
    for words in [&["uts", "-q"][..], &["pid", "-q"], &["pid", "-q", "--init"]] {
        assert!(run(&[words, &["--", "true"]].concat()).status.success());
        assert_eq!(run(&[words, &["--", "false"]].concat()).status.code(), Some(1));
    }
    assert!(!text(&run(&["gc"]).stdout).contains("kill"));
}

/// The arguments and the environment of `sandbox` may hold a secret of its caller.
#[test]
fn an_init_shows_nothing_of_its_caller() {
    let script = "od -An -c /proc/1/cmdline; cat /proc/1/environ 2>/dev/null | tr -d '\\0'; cat /proc/self/cmdline | tr '\\0' ' '";
    for words in [&["pid", "-q", "--init"][..], &["pid", "--show-proc", "--init"]] {
        let output = sandbox(&[words, &["--", "sh", "-c", script, "secret argument"]].concat())
            .env("SECRET", "of the caller")
            .output()
            .unwrap();
        let inside = text(&output.stdout);
        let lines: Vec<&str> = inside.lines().collect();
        assert_eq!(lines[0].split_whitespace().collect::<Vec<_>>(), ["i", "n", "i", "t", "\\0"], "{inside}");
        assert_eq!(lines[1..], ["cat /proc/self/cmdline "], "{inside}");
    }
    // The command has the environment of the caller.
    let output =
        sandbox(&["pid", "-q", "--init", "--", "sh", "-c", "echo $SECRET"]).env("SECRET", "fish").output();
    assert_eq!(text(&output.unwrap().stdout), "fish\n");
    // A container from a spec. xargs(1) removes the backslash of \\0.
    let spec = "init: true\nrootfs: host\ncommand: [sh, -c, \"od -An -c /proc/1/cmdline | xargs\"]\n";
    let output = support::feed(&mut sandbox(&["run", "-", "-q"]), spec);
    if !output.status.success() && !is_root() {
        let reason = format!("machine: {}", text(&output.stderr));
        return skip("an_init_shows_nothing_of_its_caller", &reason);
    }
    assert_eq!(text(&output.stdout).trim(), "i n i t 0", "{}", text(&output.stderr));
}
