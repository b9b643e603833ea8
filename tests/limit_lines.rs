//! The lines under "Repeat it:" of each card of a limit, run in a shell: they give the same evidence as the card.
//!
//! Of this kind: every card of the five controllers, with the files of cgroup v1 and of cgroup v2, as root and as the
//! owner of a cgroup. What a shell prints has another form than the evidence, so each card has its form below; numbers
//! are compared by relation. The lines leave no cgroup, and change no limit of a container that runs at the same time.

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use regex_lite::Regex;
use serde_json::Value;
use support::background::Background;
use support::limits::{group, left, possible};
use support::{alone, becomes, binary, child_named, sample, sandbox, stdout, text};

/// What the lines print in a shell. `{n}` is a number that is compared below.
const FORMS: &[(&str, &str, &str)] = &[
    ("memory", "cache", r"^33554432\nalive\n(?:{n}|max {n})\noom_kill 0$"),
    ("memory", "kill", r"^137\noom_kill 1$"),
    ("memory", "meminfo", r"^33554432\nMemTotal: {n} kB\nMemTotal: {n} kB$"),
    ("cpu", "weight", r"^(?:1024\n3072|100\n300)\n{n}\n{n}$"),
    ("cpu", "alone", r"^(?:1024|100)\n{n} % {n} %$"),
    ("cpu", "quota", r"^20000(?: 100000)?\n{n} %\nnr_throttled {n}$"),
    ("cpu", "cpuset", r"^([\d,-]+)\nCpus_allowed_list: [\d,-]+\nCpus_allowed_list: ([\d,-]+)$"),
    ("blkio", "direct", r"^.*1048576.*\n.*\n.*\n3145728 bytes .* {n}(?:\.\d+)? s, .*$"),
    (
        "blkio",
        "buffered",
        r"^.*1048576.*\n.*\n.*\n8388608 bytes .* {n}(?:\.\d+)?(?:e-\d+)? s, [^\n]*(?:\n\d.*)*$",
    ),
    ("blkio", "iops", r"^.*[ =]40\b.*\n.*\n.*\n327680 bytes .* {n}(?:\.\d+)? s, .*$"),
    ("blkio", "counters", r"^.*\n.*\n1048576 bytes.*\n.*(?:Write |wbytes=){n}(?:\n.*Write |.* wios=){n}.*$"),
    ("blkio", "weight", r"^(?:default )?500\n(?:/sys/block/.*\n?)*$"),
    ("devices", "deny", r"^666\n666\nhead: .*/dev/zero.*Operation not permitted$"),
    ("devices", "usual", r"^1\nhead: .*/dev/kmsg.*Operation not permitted\nopened$"),
    ("devices", "mknod", r"^head: .*Operation not permitted$"),
    ("devices", "rules", r"^(?:a \*:\* rwm|0)\nhead: .*/dev/zero.*Operation not permitted$"),
    ("pids", "bomb", r"^16\n.*(?:fork|Resource temporarily unavailable).*\nmax {n}$"),
    ("pids", "spared", r"^1\n.*(?:fork|Resource temporarily unavailable).*\ncreated$"),
];

/// Runs the lines in a shell. Returns what they print, without what the shell says about killed jobs.
fn run_in_a_shell(lines: &[String]) -> String {
    let script = format!("exec 2>&1\n{}", lines.join("\n"));
    let path = std::env::var("PATH").unwrap_or_default();
    let path = format!("{}:{path}:/usr/sbin:/sbin", binary().parent().unwrap().display());
    let mut command = Command::new("timeout");
    command.args(["60", "sh", "-c", &script]).current_dir("/").stdin(Stdio::null());
    let output = command.env("PATH", path).env("LC_ALL", "C").output().unwrap();
    assert_ne!(output.status.code(), Some(124), "{script}");
    let noise = Regex::new(r"Killed|Broken pipe|Terminated").unwrap();
    let lines: Vec<String> = text(&output.stdout)
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .filter(|line| !line.is_empty() && !noise.is_match(line))
        .collect();
    lines.join("\n")
}

/// The cards of a feature: the name of each, and its lines for a shell.
fn cards(feature: &str) -> Vec<(String, Vec<String>)> {
    let cards: Value = serde_json::from_str(&stdout(&[feature, "--format", "json"])).unwrap();
    let lines = |card: &Value| {
        let lines: Vec<String> = serde_json::from_value(card["repeat"].clone()).unwrap();
        assert_eq!(lines.is_empty(), card["outcome"].is_object(), "{card:#}");
        (card["name"].as_str().unwrap().to_owned(), lines)
    };
    let cards = cards.as_array().unwrap().iter().map(lines);
    cards.filter(|(_, lines)| !lines.is_empty()).collect()
}

/// Runs the lines of a card in a shell. Returns what they print, and the parts of it that the form of the card names.
fn run_lines(feature: &str, name: &str, lines: &[String]) -> (String, Vec<String>) {
    for line in lines {
        assert!(line.len() <= 77 || line.contains("/sys/fs/cgroup"), "{} columns: {line}", line.len());
    }
    let output = run_in_a_shell(lines);
    let form = FORMS.iter().find(|(of, card, _)| (*of, *card) == (feature, name)).unwrap().2;
    let found = Regex::new(&form.replace("{n}", r"(\d+)")).unwrap();
    let found = found.captures(&output);
    let found = found.unwrap_or_else(|| panic!("{feature} {name}:\n{}\ngives\n{output}", lines.join("\n")));
    let parts = found.iter().skip(1).flatten().map(|part| part.as_str().to_owned()).collect();
    (output, parts)
}

/// Runs the lines of a card in a shell, and compares the numbers that they print.
fn repeat(feature: &str, name: &str, lines: &[String]) {
    let (output, parts) = run_lines(feature, name, lines);
    let numbers: Vec<f64> = parts.iter().filter_map(|part| part.parse().ok()).collect();
    let holds = match (feature, name) {
        // cgroup v1 shows the largest usage; cgroup v2 counts how often the limit was reached.
        ("memory", "cache") => numbers[0] > 0.0 && numbers[0] <= 33_554_432.0,
        ("memory", "meminfo") => numbers[0] == numbers[1],
        // The second process starts a moment later than the first.
        ("cpu", "weight") => (2.0..=4.0).contains(&(numbers[1] / numbers[0])),
        ("cpu", "alone") => numbers[1] >= 2.0 * numbers[0],
        ("cpu", "quota") => numbers[0] <= 30.0 && numbers[1] > 0.0,
        ("cpu", "cpuset") => parts[0] == parts[1],
        ("blkio", "direct") => numbers[0] >= 2.0,
        ("blkio", "buffered") => numbers[0] < 2.0,
        ("blkio", "iops") => numbers[0] >= 1.0,
        ("blkio", "counters") => numbers[0] >= 1_048_576.0 && numbers[1] >= 16.0,
        ("pids", "bomb") => numbers[0] > 0.0,
        _ => true,
    };
    assert!(holds, "{feature} {name}: {numbers:?}\n{}\ngives\n{output}", lines.join("\n"));
}

fn repeats(test: &str, feature: &str) {
    let _alone = alone();
    if !possible(test).contains(&feature) {
        return;
    }
    for (name, lines) in sample(2, cards(feature)) {
        repeat(feature, &name, &lines);
        assert_eq!(left(), Vec::<PathBuf>::new(), "{feature} {name}");
    }
}

/// Each feature, and the flags that give a container a limit of it.
const LIMITS: [(&str, [&str; 2]); 5] = [
    ("memory", ["--limit", "64MiB"]),
    ("cpu", ["--cpus", "0.5"]),
    ("blkio", ["--weight", "200"]),
    ("devices", ["--deny", "/dev/full rw"]),
    ("pids", ["--max", "50"]),
];

/// The cgroups below the parent of a container's cgroup, and the limits of that parent.
fn limits_of_parent(pid: u32, controller: &str) -> BTreeMap<PathBuf, String> {
    let is_limit = |name: &str| {
        let ends = ["limit_in_bytes", "quota_us", ".shares", ".weight", ".cpus", ".max", "_device", ".list"];
        ends.iter().any(|end| name.ends_with(end)) && !name.starts_with("memory.kmem")
    };
    let entries = fs::read_dir(group(pid, controller).parent().unwrap()).unwrap().map(Result::unwrap);
    let found = entries.filter_map(|entry| {
        let is_cgroup = entry.file_type().unwrap().is_dir();
        let content = if is_cgroup { String::new() } else { fs::read_to_string(entry.path()).ok()? };
        (is_cgroup || is_limit(entry.file_name().to_str()?)).then(|| (entry.path(), content))
    });
    found.collect()
}

/// Audited: these lines once wrote to the cgroup that is the parent of all containers. They could not remove it while one of them ran,
/// so the limit stayed, and no container could fork any more.
#[test]
fn a_container_that_runs_at_the_same_time_keeps_its_limits() {
    let _alone = alone();
    let possible = possible("a_container_that_runs_at_the_same_time_keeps_its_limits");
    for (feature, flags) in LIMITS {
        if !possible.contains(&feature) {
            continue;
        }
        let cards = cards(feature);
        let container = Background::quiet(&mut sandbox(
            &[&[feature, "-q"], &flags[..], &["--", "sleep", "600"]].concat(),
        ));
        let pid = child_named(container.id(), "sleep");
        becomes(pid, "sleep");
        let before = limits_of_parent(pid, feature);
        assert!(before.len() > 1, "{before:?}");
        for (name, lines) in cards {
            run_lines(feature, &name, &lines);
            let mut after = limits_of_parent(pid, feature);
            // With a further controller, the cgroup v2 parent has further files.
            after.retain(|path, _| before.contains_key(path) || path.is_dir());
            assert_eq!(after, before, "{feature} {name}");
        }
        drop(container);
        stdout(&["gc"]);
        assert_eq!(left(), Vec::<PathBuf>::new(), "{feature}");
    }
}

#[test]
fn memory_is_repeated_in_a_shell() {
    repeats("memory_is_repeated_in_a_shell", "memory");
}

#[test]
fn cpu_is_repeated_in_a_shell() {
    repeats("cpu_is_repeated_in_a_shell", "cpu");
}

#[test]
fn blkio_is_repeated_in_a_shell() {
    repeats("blkio_is_repeated_in_a_shell", "blkio");
}

#[test]
fn devices_are_repeated_in_a_shell() {
    repeats("devices_are_repeated_in_a_shell", "devices");
}

#[test]
fn pids_are_repeated_in_a_shell() {
    repeats("pids_are_repeated_in_a_shell", "pids");
}
