//! Demonstrations and mistakes of every controller: each card holds, with its picture.

mod support;

use std::fs;
use std::process::Command;

use regex_lite::Regex;
use support::limits::{FEATURES, is_known_world, is_possible, may, possible};
use support::{alone, fits, run, sample, snapshot_for_all, stdout, text};

/// Measured values differ on every run. They are replaced, so that only their presence and their unit are compared.
fn measured(cards: &str) -> String {
    let mut named = cards.to_owned();
    for (place, name) in [
        (r"^   (last|time) \[.*$", "   $1 [<measured>]"),
        (r"(highest usage|at the limit|throttled|refused): [\d.]+", "$1: <n>"),
        (r"killed at [\d.]+ MiB", "killed at <n> MiB"),
        // The legend explains this character only if the time row has it.
        (r#"; in the row "time": the limit is reached"#, ""),
        (r"\b(max|nr_throttled) \d+", "$1 <n>"),
        (r"  [\d.]+ MiB\n", "  <n> MiB\n"),
        (r"\d+ ms = [\d.]+ x", "<n> ms = <n> x"),
        (r"\d+ ms\n", "<n> ms\n"),
        (r"\d+ % of", "<n> % of"),
        (r"[\d.]+ s: [\d.]+ (MiB/s|a second)", "<n> s: <n> $1"),
        (r"[\d.]+ MiB/s\n", "<n> MiB/s\n"),
        (r"\+ \d+", "+ <n>"),
        (r"\d+ when the write returned", "<n> when the write returned"),
        (r"(cgroup.procs, <its pid>\) +)\d", "$1<n>"),
        (r"\b(\d+:\d+) ", "<disk> "),
        (r"write of .* to a file", "write of <n> MiB to a file"),
        (r"/\S+/sandbox-node-\d+-\d+", "<node>"),
        (r"(Cpus_allowed_list:|cpuset.cpus) +[\d,-]+", "$1  <list>"),
        (r"MemTotal: +\d+ kB", "MemTotal:  <n> kB"),
        (r"(vd[ab]: \w+,? ?)+", "<disks>"),
        (r"(shares|weight) +(default )?\d+", "$1  <n>"),
        (r" = ", "  "),
        (r"\n +  ", "  "),
        (r" {2,}", "  "),
    ] {
        named = Regex::new(&format!("(?m){place}")).unwrap().replace_all(&named, name).into_owned();
    }
    named
}

/// The text without lines that have the path of a cgroup: these are not broken.
fn without_paths(text: &str) -> String {
    text.lines().filter(|line| !line.contains("/sys/fs/cgroup")).map(|line| format!("{line}\n")).collect()
}

#[test]
fn every_card_holds() {
    let _alone = alone();
    for feature in sample(2, possible("every_card_holds")) {
        let shown = stdout(&[feature]);
        assert!(!shown.contains("NOT SO"), "{shown}");
        let (introduction, rest) = shown.split_once("\n\n").unwrap();
        assert!(introduction.lines().next().unwrap().ends_with("cgroups(7)"), "{introduction}");
        for part in ["\nWhy: ", "\nYou will see: ", "\nDemonstration "] {
            assert!(introduction.contains(part), "{introduction}");
        }
        let (shown_cards, end) = rest.split_once("REMEMBER\n").unwrap();
        for part in ["  1. ", "  3. ", "Next subject: "] {
            assert!(end.contains(part), "{end}");
        }
        for card in shown_cards.split("\n\n").filter(|card| card.contains(" --demo ")) {
            assert!(card.contains("\nRepeat it:\n   ") || card.contains("\nskipped "), "{card}");
            // The last line of the screen is for the keys. The lines for a shell come on a second screen if need be.
            let (seen, repeat) = card.split_once("\nRepeat it:\n").unwrap_or((card, ""));
            fits(seen, 80, 23);
            fits(&without_paths(repeat), 80, 22);
        }
        // cpuset is not delegated to an ordinary user.
        let skipped = usize::from(feature == "cpu" && !support::is_root());
        assert_eq!(shown.matches("\nskipped").count(), skipped, "{shown}");
        if is_known_world() {
            let who = if support::is_root() { "root" } else { "user" };
            snapshot_for_all(&format!("demo-{feature}@v2-{who}"), &measured(&shown));
        }
    }
}

/// An ordinary user on cgroup v1, or on v2 without delegation.
#[test]
fn a_user_who_may_make_no_cgroup_sees_the_own_one_and_the_plan() {
    let _alone = alone();
    for feature in FEATURES.into_iter().filter(|feature| !is_possible(feature)) {
        let output = run(&[feature]);
        let (shown, error) = (text(&output.stdout), text(&output.stderr));
        assert_eq!(output.status.code(), Some(125), "{feature}");
        assert!(error.contains("no cgroup can be created") && error.contains("  do "), "{error}");
        for part in ["\nWhy: ", "\nYOUR OWN CGROUP ", "\nOUTSIDE   <", "\nRepeat it:", "mkdir(", "REMEMBER\n"]
        {
            assert!(shown.contains(part), "{part}: {shown}");
        }
        let own = shown.split("YOUR OWN CGROUP").nth(1).unwrap().split("\n\n").next().unwrap();
        let lines: Vec<&str> =
            own.lines().skip_while(|line| *line != "Repeat it:").skip(1).map(str::trim).collect();
        let script = format!("set -e\n{}", lines.join("\n"));
        let repeated = Command::new("sh").args(["-c", &script]).output().unwrap();
        assert!(repeated.status.success(), "{script}: {}", text(&repeated.stderr));
        assert!(text(&repeated.stdout).contains(&fs::read_to_string("/proc/self/cgroup").unwrap()));
        // One card alone, and JSON, have only the error.
        for arguments in [&[feature, "--format", "json"][..], &[feature, "--explain"]] {
            assert!(run(arguments).stdout.is_empty(), "{arguments:?}");
        }
    }
}

/// Each mistake of a limit is skipped for this user, with the status and the JSON of a skipped one.
#[test]
fn a_user_who_may_make_no_cgroup_skips_the_mistakes() {
    let _alone = alone();
    for feature in FEATURES.into_iter().filter(|feature| !is_possible(feature)) {
        let list = stdout(&[feature, "--break"]);
        assert!(list.lines().count() > 0, "{feature}");
        for mistake in list.lines().filter_map(|line| line.split_whitespace().next()) {
            let output = run(&[feature, "--break", mistake]);
            let (shown, error) = (text(&output.stdout), text(&output.stderr));
            assert_eq!((output.status.code(), &*error), (Some(77), ""), "{feature} {mistake}: {shown}");
            assert!(shown.contains("\nskipped "), "{shown}");
            fits(&shown, 80, 24);
            let output = run(&[feature, "--break", mistake, "--format", "json"]);
            let contrast: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
            assert_eq!(output.status.code(), Some(77), "{contrast}");
            assert!(contrast["skipped"].is_string() && contrast["name"] == *mistake, "{contrast}");
        }
        let output = run(&[feature, "--break", "no-such"]);
        assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
    }
}

#[test]
fn samples_are_data_and_a_picture() {
    let _alone = alone();
    if !may("samples_are_data_and_a_picture", "pids") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("plot.svg");
    let words = ["pids", "--demo", "bomb", "--max", "8", "--format", "json", "--svg", file.to_str().unwrap()];
    let cards: serde_json::Value = serde_json::from_str(&stdout(&words)).unwrap();
    let samples = cards[0]["plots"][0]["lanes"][0]["samples"].as_array().unwrap();
    let most = samples.iter().map(|sample| sample["value"].as_f64().unwrap()).fold(0.0, f64::max);
    assert_eq!(most, 8.0, "{samples:?}");
    let picture = fs::read_to_string(file).unwrap();
    assert!(picture.starts_with("<svg") && picture.contains("<polyline"), "{picture}");
}

#[test]
fn every_mistake_shows_a_difference() {
    let _alone = alone();
    for feature in sample(2, possible("every_mistake_shows_a_difference")) {
        for mistake in stdout(&[feature, "--break"]).lines().filter_map(|line| line.split_whitespace().next())
        {
            let output = run(&[feature, "--break", mistake, "--format", "json"]);
            let contrast: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
            let is_skipped = contrast["skipped"].is_string();
            assert_eq!(output.status.code(), Some(if is_skipped { 77 } else { 0 }), "{contrast}");
            if let Some(reason) = contrast["skipped"].as_str() {
                let is_for_root = mistake == "ulimit" && !support::is_root();
                assert!(is_for_root || (mistake == "swap" && !is_known_world()), "{reason}");
                continue;
            }
            assert_ne!(contrast["right"], contrast["wrong"], "{feature} {mistake}");
            let shown = stdout(&[feature, "--break", mistake]);
            fits(&shown, 80, 24);
            let (wrong, right) = (shown.find("\nWRONG     "), shown.find("\nRIGHT     "));
            assert!(wrong.is_some() && wrong < right, "{shown}");
            for way in ["wrong_command", "right_command"] {
                for line in contrast[way].as_str().unwrap().lines() {
                    assert!(shown.contains(&format!("     {line}\n")), "{shown}");
                }
            }
            if is_known_world() && support::is_root() {
                let shown = stdout(&[feature, "--break", mistake]);
                snapshot_for_all(&format!("break-{feature}-{mistake}@v2"), &measured(&shown));
            }
        }
    }
}

#[test]
fn the_deny_of_a_device_bites_and_mknod_does_not_help() {
    let _alone = alone();
    if !may("the_deny_of_a_device_bites_and_mknod_does_not_help", "devices") {
        return;
    }
    let contrast = stdout(&["devices", "--break", "mknod", "--format", "json"]);
    let contrast: serde_json::Value = serde_json::from_str(&contrast).unwrap();
    let last = |way: &str| contrast[way].as_array().unwrap().last().unwrap()["value"].clone();
    assert_eq!(last("right"), "-1 EPERM (Operation not permitted)");
    assert_eq!(last("wrong"), "0");
}
