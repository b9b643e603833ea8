//! What holds for every feature: only the announced namespaces are new, exit statuses are correct, nothing is left.

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::time::{Duration, Instant};

use support::ledger::StartedLedger;
use support::{alone, is_root, run, sandbox, skip, stdout, text, write_program};

const FEATURES: [&str; 8] = ["pid", "mnt", "net", "uts", "ipc", "user", "cgroup", "time"];

/// For each feature: the links of /proc/PID/ns that differ inside. The first list is root's. An ordinary user also needs
/// a user namespace. A new PID namespace needs a new /proc, a network namespace a new /sys, and so a mount namespace.
const LINKS: [(&str, &[&str], &[&str]); 8] = [
    ("pid", &["mnt", "pid"], &["mnt", "pid", "user"]),
    ("mnt", &["mnt"], &["mnt", "user"]),
    ("net", &["mnt", "net"], &["mnt", "net", "user"]),
    ("uts", &["uts"], &["user", "uts"]),
    ("ipc", &["ipc"], &["ipc", "user"]),
    ("user", &["user"], &["user"]),
    ("cgroup", &["cgroup"], &["cgroup", "user"]),
    ("time", &["time"], &["time", "user"]),
];

/// With these flags other links differ than without them. For the features and for combinations in a spec.
const WITH_FLAGS: [(&[&str], &[&str], &[&str]); 4] = [
    (&["pid", "--no-mount-proc"], &["pid"], &["pid", "user"]),
    (&["pid", "--init"], &["mnt", "pid"], &["mnt", "pid", "user"]),
    (&["net", "--mode", "host"], &[], &[]),
    (&["user", "--map", "root"], &["user"], &["user"]),
];

/// The namespaces that a feature's plan announces as new.
fn announced(feature: &str) -> BTreeSet<String> {
    let plan: serde_json::Value =
        serde_json::from_str(&stdout(&[feature, "--dry-run", "--format", "json"])).expect("a plan is JSON");
    plan["namespaces"].as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned()).collect()
}

/// The links that differ between the test and a command, in the order of the alphabet.
fn differing(arguments: &[&str]) -> BTreeSet<String> {
    let script = "for kind in pid mnt net uts ipc user cgroup time; do readlink /proc/self/ns/$kind; done";
    let inside = stdout(&[arguments, &["-q", "--", "sh", "-c", script]].concat());
    assert_eq!(inside.lines().count(), 8, "{arguments:?}: {inside}");
    let own = |kind: &str| fs::read_link(format!("/proc/self/ns/{kind}")).unwrap();
    let pairs = FEATURES.iter().zip(inside.lines());
    pairs
        .filter(|(kind, link)| own(kind).to_string_lossy() != **link)
        .map(|(kind, _)| (*kind).to_owned())
        .collect()
}

#[test]
fn exactly_the_announced_links_differ() {
    assert_eq!(LINKS.map(|(feature, ..)| feature), FEATURES);
    for (feature, root, user) in LINKS {
        let wanted = if is_root() { root } else { user };
        let differing = differing(&[feature]);
        assert_eq!(differing.iter().map(String::as_str).collect::<Vec<_>>(), wanted, "{feature}");
        assert_eq!(differing, announced(feature), "{feature}");
    }
    for (arguments, root, user) in WITH_FLAGS {
        let wanted = if is_root() { root } else { user };
        let differing = differing(arguments);
        assert_eq!(differing.iter().map(String::as_str).collect::<Vec<_>>(), wanted, "{arguments:?}");
    }
}

#[test]
fn the_exit_status_is_the_commands() {
    for feature in FEATURES {
        let status = |command: &[&str]| run(&[&[feature, "-q", "--"], command].concat()).status.code();
        assert_eq!(status(&["true"]), Some(0), "{feature}");
        assert_eq!(status(&["sh", "-c", "exit 7"]), Some(7), "{feature}");
        assert_eq!(status(&["no-such-command"]), Some(127), "{feature}");
        assert_eq!(status(&["/etc/passwd"]), Some(126), "{feature}");
        // Process 1 of a PID namespace cannot kill itself by a signal without a handler. Its child can be killed.
        let killed = if feature == "pid" { "sh -c 'kill -TERM $$'" } else { "kill -TERM $$" };
        assert_eq!(status(&["sh", "-c", killed]), Some(143), "{feature}");
    }
}

#[test]
fn what_sandbox_itself_cannot_do_is_125_and_a_wrong_line_is_2() {
    assert_eq!(run(&["mnt", "--root", "/etc/passwd", "--", "/bin/true"]).status.code(), Some(125));
    assert_eq!(run(&["uts", "--no-such-flag"]).status.code(), Some(2));
    assert_eq!(run(&["user", "--map", "0:0", "--", "true"]).status.code(), Some(2));
}

#[test]
fn a_script_without_an_interpreter_line_cannot_be_executed() {
    let directory = tempfile::tempdir().unwrap();
    let script = directory.path().join("script");
    write_program(&script, "echo no\n");
    let output = run(&["uts", "-q", "--", script.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(126), "{}", text(&output.stderr));
}

#[test]
fn the_command_gets_three_descriptors_default_signals_and_the_environment() {
    let inside = stdout(&[
        "uts",
        "-q",
        "--",
        "sh",
        "-c",
        "ls /proc/self/fd; grep -E 'Sig(Blk|Ign)' /proc/self/status",
    ]);
    // Descriptor 3 is the directory that ls reads.
    assert_eq!(inside.split_whitespace().take(4).collect::<Vec<_>>(), ["0", "1", "2", "3"], "{inside}");
    assert_eq!(inside.matches("0000000000000000").count(), 2, "{inside}");
    let output = sandbox(&["uts", "-q", "--", "sh", "-c", "echo $FISH"]).env("FISH", "cod").output().unwrap();
    assert_eq!(text(&output.stdout), "cod\n");
}

#[test]
fn with_a_command_standard_output_is_its_own() {
    for more in [&["--explain"][..], &["--show-proc"], &[]] {
        let output = run(&[&["uts"], more, &["--", "echo", "mine"]].concat());
        assert_eq!(text(&output.stdout), "mine\n", "{more:?}");
        assert!(!output.stderr.is_empty());
    }
}

#[test]
fn nothing_is_left_by_any_demonstration_mistake_or_command() {
    let _alone = alone();
    let before = StartedLedger::start();
    for feature in FEATURES {
        run(&[feature]);
        let mistakes = stdout(&[feature, "--break"]);
        for mistake in mistakes.lines().filter_map(|line| line.split_whitespace().next()) {
            run(&[feature, "--break", mistake]);
        }
        run(&[feature, "--show-proc"]);
        run(&[feature, "--", "true"]);
        run(&[feature, "--", "no-such-command"]);
    }
    before.nothing_is_left();
}

#[test]
fn a_killed_sandbox_takes_its_command_with_it() {
    let _alone = alone();
    for feature in FEATURES {
        let mut child = sandbox(&[feature, "-q", "--", "sleep", "60"]).spawn().unwrap();
        let command = wait_for(|| {
            let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", child.id())).ok()?;
            let pid: i32 = children.split_whitespace().next()?.parse().ok()?;
            (fs::read_to_string(format!("/proc/{pid}/comm")).ok()? == "sleep\n").then_some(pid)
        });
        child.kill().unwrap();
        child.wait().unwrap();
        let Some(command) = command else { panic!("{feature}: the command never started") };
        let gone = wait_for(|| {
            let status = fs::read_to_string(format!("/proc/{command}/stat")).unwrap_or_default();
            (status.is_empty() || status.contains(") Z ")).then_some(())
        });
        assert!(gone.is_some(), "{feature}: {command} lives on");
    }
    // The next command removes the journals of the killed ones.
    run(&["gc"]);
}

/// Polls until there is a result, at most 20 seconds.
fn wait_for<T>(ask: impl Fn() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + Duration::from_secs(20);
    while Instant::now() < deadline {
        if let Some(answer) = ask() {
            return Some(answer);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    None
}

#[test]
fn a_closed_pipe_is_no_error() {
    for arguments in [&["pid", "--dry-run"][..], &["uts"], &["net", "--show-proc"]] {
        let mut child = sandbox(arguments).stdout(std::process::Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let status = child.wait().unwrap();
        assert_eq!(status.code(), Some(0), "{arguments:?}");
    }
}

#[test]
fn flags_and_yaml_mean_the_same() {
    for feature in FEATURES {
        let printed = stdout(&[feature, "--print-spec", "--", "true"]);
        assert!(printed.starts_with("command:\n- 'true'\n"), "{printed}");
        assert!(printed.contains(&format!("\n{feature}:")), "{printed}");
    }
}

#[test]
fn the_same_by_hand_makes_the_same_namespaces() {
    if !std::path::Path::new("/usr/bin/unshare").exists() {
        return skip("the_same_by_hand_makes_the_same_namespaces", "unshare(1) isn't installed");
    }
    for feature in FEATURES {
        let plan = stdout(&[feature, "--dry-run", "--", "readlink"]);
        // A long command is continued on the next lines, up to its closing quote.
        let lines = plan.lines().map(str::trim).skip_while(|line| !line.starts_with("unshare "));
        let mut lines: Vec<&str> = lines.take_while(|line| !line.starts_with("With docker")).collect();
        let end = lines.iter().position(|line| line.ends_with("readlink'") || line.ends_with(" readlink"));
        lines.truncate(end.expect("an unshare line") + 1);
        let line = lines.join("\n");
        let line = line.strip_prefix("unshare ").expect("an unshare line");
        // The line contains the command. The test adds its argument.
        let line = line.replace("exec readlink'", &format!("exec readlink /proc/self/ns/{feature}'"));
        let line = if line.ends_with(" readlink") { format!("{line} /proc/self/ns/{feature}") } else { line };
        let output =
            std::process::Command::new("sh").args(["-c", &format!("unshare {line}")]).output().unwrap();
        let own = fs::read_link(format!("/proc/self/ns/{feature}")).unwrap().to_string_lossy().into_owned();
        let link = text(&output.stdout);
        assert!(link.starts_with(&format!("{feature}:[")), "{line}: {} {}", link, text(&output.stderr));
        assert_ne!(link.trim(), own, "{line}");
    }
}

/// The error for an unknown flag after a spec names the flag. The error for a command without `--` shows the correct
/// line.
#[test]
fn a_mistake_after_a_spec_is_not_a_missing_spec() {
    let spec = support::repository().join("lessons/specs/first.yaml");
    let spec = spec.to_str().unwrap();
    for flag in ["--withot", "--with", "--shw-proc"] {
        let output = run(&["run", spec, flag]);
        assert_eq!(output.status.code(), Some(2), "{flag}");
        assert!(text(&output.stderr).contains(&format!("'{flag}'")), "{flag}: {}", text(&output.stderr));
    }
    for command in [&["ls"][..], &["ls", "-l"], &["-q", "ls"]] {
        let output = run(&[&["run", spec], command].concat());
        assert_eq!(output.status.code(), Some(2), "{command:?}");
        // A long path continues the line after a backslash.
        let error = text(&output.stderr);
        let error = error.split_whitespace().filter(|word| *word != "\\").collect::<Vec<_>>().join(" ");
        assert!(error.contains(" -- ls"), "{command:?}: {error}");
    }
}

/// The names of the commands that do something, below this one.
fn doers(command: &clap::Command, path: &[String], all: &mut Vec<(Vec<String>, clap::Command)>) {
    for below in command.get_subcommands().filter(|below| !below.is_hide_set() && below.get_name() != "help")
    {
        let path = [path, &[below.get_name().to_owned()]].concat();
        match below.has_subcommands() {
            true => doers(below, &path, all),
            false => all.push((path, below.clone())),
        }
    }
}

#[test]
fn every_command_explains_itself() {
    let mut definition = sandbox::cli::definition();
    definition.build();
    let mut all = Vec::new();
    doers(&definition, &[], &mut all);
    assert!(all.len() > 80, "{}", all.len());
    for (path, command) in &all {
        let has = command.get_arguments().any(|argument| argument.get_long() == Some("explain"));
        assert!(has, "{path:?} has no --explain");
    }
    // Those that only look: the steps come on standard error, and the result does not change.
    let pid = std::process::id().to_string();
    for words in [
        &["gc"][..],
        &["verify", &pid],
        &["compare", &pid],
        &["doctor"],
        &["spec", "init"],
        &["spec", "check", "/no/such"],
        &["spec", "schema"],
        &["completions", "bash"],
        &["man"],
    ] {
        let output = run(&[words, &["--explain"]].concat());
        let said = text(&output.stderr);
        assert!(said.contains('(') && said.contains("\n        "), "{words:?}: {said}");
    }
}
