//! The lines WRONG and RIGHT of `--break`, typed in a shell: they show what the evidence shows.
//!
//! Of this kind: every mistake of the features that an ordinary user can try, as root and as an ordinary user. A line that
//! names another tool (docker, runc), a program of the reader, or a cgroup of root is not executed.

mod support;

use std::process::{Command, Stdio};

use regex_lite::Regex;
use serde_json::Value;
use support::{binary, sample, skip, stdout, text};

/// What the two lines print: a mistake, the pattern of the wrong way, and that of the right way.
const PRINTED: &[(&str, &str, &str, &str)] = &[
    (
        "pid",
        "no-fork",
        r"^[^\n]+\n.*([Cc]annot fork|Cannot allocate memory).*$",
        r"^[^\n]*\d:\d\d[^\n]*\n[^\n]*\d:\d\d[^\n]*$",
    ),
    ("pid", "stale-proc", r"(?s)^ *PID .*\n.*\n.*\n", r"^ *PID .*\n *1 .* ps$"),
    ("pid", "bad-init", r"has no handler for SIGTERM", r"^$"),
    ("mnt", "shared", r"^1$", r"^0$"),
    ("mnt", "chroot", r"(?s)(^|\n)etc\n.*(^|\n)usr(\n|$)", r"(?s)(^|\n)bin\n.*(^|\n)lib"),
    ("mnt", "pivot-shared", r"Invalid argument$", r"^0$"),
    ("uts", "no-namespace", r"^aquarium$", r"^[^\n]+$"),
    ("ipc", "shm-file", r"^secret$", r"No such file or directory$"),
    ("net", "lo-down", r"Network is unreachable\n1$", r"^0$"),
    ("net", "abstract", r"^net:\[\d+\]$", r"^net:\[\d+\]$"),
    ("user", "no-map", r"^65534$", r"^0$"),
    ("user", "setgroups", r"Operation not permitted$", r"^ *0 +\d+ +1$"),
    ("time", "late", r"Permission denied$", r"^monotonic +0 +0\nboottime +60 +0$"),
];

/// What a shell prints that gets the lines, on both streams.
fn typed(lines: &str) -> String {
    let path = std::env::var("PATH").unwrap_or_default();
    let path = format!("{}:{path}:/usr/sbin:/sbin", binary().parent().unwrap().display());
    let script = format!("exec 2>&1\n{lines}");
    let mut command = Command::new("timeout");
    command
        .args(["-s", "KILL", "60", "bash", "-c", &script])
        .current_dir("/")
        .stdin(Stdio::null())
        .env("PATH", path);
    let output = command.env("LC_ALL", "C").output().unwrap();
    assert_ne!(output.status.code(), Some(137), "{script}");
    let printed = text(&output.stdout);
    let lines = printed.lines().filter(|line| !line.starts_with("unshare: sigprocmask"));
    lines.collect::<Vec<_>>().join("\n").trim_matches('\n').to_owned()
}

fn names(feature: &str) -> Vec<String> {
    let listed: Value = serde_json::from_str(&stdout(&[feature, "--break", "--format", "json"])).unwrap();
    listed.as_array().unwrap().iter().map(|entry| entry["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn both_lines_of_a_mistake_show_what_the_evidence_shows() {
    for (feature, name, wrong, right) in sample(4, PRINTED) {
        let contrast: Value =
            serde_json::from_str(&stdout(&[feature, "--break", name, "--format", "json"])).unwrap();
        if let Some(reason) = contrast["skipped"].as_str() {
            skip(
                "both_lines_of_a_mistake_show_what_the_evidence_shows",
                &format!("machine: {feature} {name}: {reason}"),
            );
            continue;
        }
        let mut printed = Vec::new();
        for (key, expected) in [("wrong_command", wrong), ("right_command", right)] {
            let lines = contrast[key].as_str().unwrap();
            let shown = typed(lines);
            assert!(
                Regex::new(expected).unwrap().is_match(&shown),
                "{feature} {name}:\n{lines}\nprints\n{shown}"
            );
            printed.push(shown);
        }
        assert_ne!(printed[0], printed[1], "{feature} {name}");
    }
}

#[test]
fn no_line_of_a_namespace_is_left_out() {
    for feature in ["pid", "mnt", "uts", "ipc", "net", "user", "time"] {
        for name in names(feature) {
            assert!(
                PRINTED.iter().any(|(of, known, ..)| (*of, *known) == (feature, &*name)),
                "{feature} {name}"
            );
        }
    }
}

/// Each line has its place below WRONG and RIGHT.
#[test]
fn the_lines_are_not_wider_than_a_terminal() {
    for (feature, name, ..) in PRINTED {
        let shown = stdout(&[feature, "--break", name]);
        for line in shown.lines() {
            assert!(line.chars().count() <= 80 || line.contains("setpriv"), "{feature} {name}: {line}");
        }
    }
}
