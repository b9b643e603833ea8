//! `sandbox doctor`, the text for a first-time user, and the hints for users of other tools.

mod support;

use std::collections::BTreeMap;
use std::process::Command;

use sandbox::host::facts::Facts;
use serde_json::Value;
use support::{binary, fits, run, sandbox, skip, snapshot, snapshot_for_all, stdout, text};

/// Replaces what differs between machines: the kernel, the version, and the ranges of /etc/subuid.
fn anywhere(report: &str) -> String {
    let release = nix::sys::utsname::uname().unwrap().release().to_string_lossy().into_owned();
    let report = report.replace(&release, "<release>").replace(env!("CARGO_PKG_VERSION"), "<version>");
    // In a new user namespace, the test's UID is 0.
    let report = regex_lite::Regex::new(r"\buid \d+").unwrap().replace_all(&report, "uid <uid>");
    // Which limits are possible depends on the machine and the user. `a_feature_that_works_runs_a_command` checks
    // them.
    let is_limit = |line: &str| support::limits::FEATURES.iter().any(|name| line.starts_with(name));
    let counted = regex_lite::Regex::new(r"\b(All )?\d+( of \d+)? (work|features)").unwrap();
    let report = counted.replace_all(&report, "<count> $3");
    let is_about_limits = |part: &&str| {
        let first = part.trim_start().lines().next().unwrap_or_default();
        let features = first.rsplit_once(": ").map_or("", |(_, features)| features);
        features.split(' ').all(|name| support::limits::FEATURES.contains(&name))
    };
    // Which program connects a user's containers depends on what is installed.
    let is_about_network = |part: &str| {
        ["Only root can make a bridge,", "slirp4netns connects", "pasta connects"]
            .iter()
            .any(|start| part.starts_with(start))
    };
    let is_left_out = |part: &&str| is_about_limits(part) || is_about_network(part);
    let parts: Vec<&str> = report.split("\n\n").filter(|part| !is_left_out(part)).collect();
    let report = parts.join("\n\n");
    let lines = report.lines().filter(|line| !line.contains("--map auto") && !is_limit(line));
    lines.map(|line| format!("{line}\n")).collect()
}

fn features(report: &Value) -> BTreeMap<String, (bool, Option<String>)> {
    let features = report["features"].as_array().expect("a list");
    let one = |finding: &Value| {
        let cause = finding["error"]["cause"].as_str().map(str::to_owned);
        (finding["feature"].as_str().unwrap().to_owned(), (finding["works"].as_bool().unwrap(), cause))
    };
    features.iter().map(one).collect()
}

#[test]
fn all_well_fits_a_screen() {
    let report = stdout(&["doctor"]);
    // For an ordinary user, the report has one more section for each reason why limits are not available.
    fits(&report, 80, if support::is_root() { 24 } else { 40 });
    snapshot("doctor", &anywhere(&report));
}

/// The report must agree with a real run.
#[test]
fn a_feature_that_works_runs_a_command() {
    let report: Value = serde_json::from_str(&stdout(&["doctor", "--format", "json"])).unwrap();
    let features = features(&report);
    assert_eq!(features.len(), 14);
    for (feature, (works, _)) in features {
        let first = support::repository().join("lessons/specs/first.yaml");
        let command = match feature.as_str() {
            "run" => vec!["run", first.to_str().unwrap(), "-q", "--", "true"],
            feature => vec![feature, "-q", "--", "true"],
        };
        assert_eq!(run(&command).status.success(), works, "{feature}");
    }
}

/// The facts are printed in the format in which they are read, so one machine can examine another. They describe this
/// machine.
#[test]
fn the_facts_can_be_recorded() {
    let report: Value = serde_json::from_str(&stdout(&["doctor", "--format", "json"])).unwrap();
    let facts: Facts = serde_json::from_value(report["facts"].clone()).unwrap();
    assert_eq!(facts.uid, nix::unistd::geteuid().as_raw());
    assert_eq!(facts.release, std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap().trim());
    assert_eq!(facts.files["/proc/self/uid_map"].split(' ').count() % 3, 0);
    let links = std::fs::read_dir("/proc/self/ns").unwrap().count();
    assert!(facts.namespaces.len() <= links && facts.proc_is_mounted && !facts.is_chrooted, "{facts:?}");
}

/// Each user namespace has its own user.max_*_namespaces. The test sets them in a new one, so the host's values do
/// not change.
#[test]
fn a_limit_of_0_is_named_for_every_feature() {
    let before = std::fs::read_to_string("/proc/sys/user/max_user_namespaces").unwrap();
    let script = format!(
        "for limit in /proc/sys/user/max_*_namespaces; do echo 0 >$limit; done; exec {} doctor",
        binary().display()
    );
    let report = stdout(&["user", "-q", "--", "sh", "-c", &script]);
    let json = stdout(&["user", "-q", "--", "sh", "-c", &format!("{script} --format json")]);
    for (feature, found) in features(&serde_json::from_str(&json).unwrap()) {
        if support::limits::FEATURES.contains(&feature.as_str()) {
            continue;
        }
        // pid also needs a mnt namespace. The net limit is still reported for net.
        assert_eq!(found, (false, Some("limit".to_owned())), "{feature}");
    }
    snapshot_for_all("doctor-limit", &anywhere(&report));
    assert_eq!(std::fs::read_to_string("/proc/sys/user/max_user_namespaces").unwrap(), before);
}

/// Container engines mount over files of /proc. In a new user namespace these mounts are locked.
#[test]
fn a_masked_proc_is_named() {
    let masked = |command: &str| {
        let cover = "mount --bind /dev/null /proc/meminfo";
        let script = format!("{cover} && exec \"$S\" user -q -- \"$S\" {command}");
        sandbox(&["mnt", "-q", "--", "sh", "-c", &script]).env("S", binary()).output().unwrap()
    };
    // In a container, the report also says how to remove the mount for this container.
    let before_the_way_out = |words: &[u8]| text(words).split("\n  do ").next().unwrap().to_owned();
    let report = masked("doctor");
    assert!(report.status.success(), "{}", text(&report.stderr));
    assert!(text(&report.stdout).contains("           sandbox pid --no-mount-proc\n"));
    snapshot_for_all("doctor-masked", &anywhere(&before_the_way_out(&report.stdout)));
    let refused = masked("pid -q -- true");
    assert_eq!(refused.status.code(), Some(125));
    snapshot_for_all("error-pid-masked", &before_the_way_out(&refused.stderr));
    // The advice works.
    assert_eq!(masked("pid -q --no-mount-proc -- true").status.code(), Some(0));
}

#[test]
fn the_profile_names_this_program_alone() {
    let output = run(&["doctor", "--apparmor-profile"]);
    assert!(output.status.success());
    let profile = text(&output.stdout);
    let program = binary().canonicalize().unwrap().display().to_string();
    assert!(
        profile.contains(&format!("profile sandbox {program} flags=(unconfined) {{\n  userns,\n")),
        "{profile}"
    );
    assert!(profile.contains("\nabi <abi/4.0>,\n"), "{profile}");
    // If other users could replace the program at this path, a warning is printed on standard error, not in the
    // profile.
    assert!(text(&output.stderr).contains("/usr/local/bin/sandbox"), "{}", text(&output.stderr));
    snapshot_for_all("doctor-profile", &profile.replace(&program, "<program>"));
}

/// Finding a cause reads many files. A successful run must not read them.
#[test]
fn no_fact_is_read_while_all_goes_well() {
    if Command::new("strace").arg("-V").output().is_err() {
        return skip("no_fact_is_read_while_all_goes_well", "strace isn't installed");
    }
    let binary = binary();
    let traced = ["-f", "-e", "trace=open,openat", binary.to_str().unwrap(), "uts", "-q", "--", "true"];
    let output = Command::new("strace").args(traced).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let calls = text(&output.stderr);
    for fact in ["/proc/sys", "/etc/subuid", "/proc/self/attr", "mountinfo", "/proc/self/status"] {
        assert!(!calls.contains(fact), "{fact}:\n{calls}");
    }
}

#[test]
fn bare_sandbox_leads_in() {
    let welcome = stdout(&[]);
    fits(&welcome, 80, 15);
    snapshot_for_all("welcome", &welcome);
    let commands: Vec<Vec<&str>> = welcome
        .lines()
        .filter_map(|line| Some(line.strip_prefix("  sandbox ")?.split("  ").next()?.split(' ').collect()))
        .collect();
    assert_eq!(commands.len(), 6);
    let lessons = tempfile::tempdir().unwrap();
    for command in commands {
        // Without standard input, the shell exits at once.
        let output = sandbox(&command).env("SANDBOX_LESSONS", lessons.path()).output().unwrap();
        assert!(output.status.success(), "{command:?}");
    }
}

#[test]
fn habits_get_the_line_that_was_meant() {
    let habits = [
        ("pid bash -c ls", "sandbox pid -- bash -c ls"),
        ("pid --fork --mount-proc bash", "sandbox pid -- bash"),
        ("uts -it bash", "sandbox uts -- bash"),
        ("pid --hostname box", "sandbox uts --help"),
        ("pid --net -- bash", "sandbox pid -- sandbox net -- bash"),
        ("--pid --fork bash", "sandbox pid -- bash"),
        ("unshare -Urpf bash", "sandbox user -- sandbox pid -- bash"),
        ("unshare", "sandbox pid -- bash"),
        ("ls", "sandbox ps -a"),
        ("prune", "sandbox container prune"),
        ("mem bash", "sandbox mem -- bash"),
        ("help pid", "sandbox pid --help"),
        ("sh -l", "sandbox pid -- sh -l"),
        ("-- sh", "sandbox pid -- sh"),
        ("pdi", "sandbox pid"),
        ("--color never usr", "sandbox user"),
        ("frobnicate", "sandbox --help"),
    ];
    let mut all = String::new();
    for (habit, meant) in habits {
        let output = run(&habit.split(' ').collect::<Vec<_>>());
        let answer = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{habit}: {answer}");
        assert!(output.stdout.is_empty());
        let line = answer.lines().find_map(|line| line.strip_prefix("  do    "));
        assert_eq!(line, Some(meant), "{habit}");
        fits(&answer, 80, 6);
        all += &format!("$ sandbox {habit}\n{answer}\n");
    }
    snapshot_for_all("habits", &all);
}

/// The hints for other tools' users advise nested features. The advised line must work.
#[test]
fn the_advised_nesting_works() {
    let inner = binary();
    let output =
        sandbox(&["pid", "-q", "--"]).arg(&inner).args(["net", "-q", "--", "true"]).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
}
