//! The lines WRONG and RIGHT of `--break`, typed in a shell: they show what the evidence shows.
//!
//! Of this kind: every mistake of every feature and of `run`, as root and as an ordinary user.

mod support;

use std::process::{Command, Stdio};

use regex_lite::Regex;
use serde_json::Value;
use support::limits::{FEATURES, may};
use support::{alone, binary, run, sample, skip, stdout, text};

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
    ("cpu", "shares-alone", r"^real.*\nuser.*\nsys.*$", r"^real.*\nuser.*\nsys.*$"),
    ("pids", "ulimit", r"^8$", r"(fork|Resource temporarily unavailable)"),
    ("blkio", "buffered", r"^32\+0.*\n32\+0.*\n2097152 .*$", r"^32\+0.*\n32\+0.*\n2097152 .*$"),
    ("devices", "mknod", r"^1$", r"^head: .*Operation not permitted$"),
    ("memory", "swap", r"^50331648$", r"(Killed|killed|out of memory)"),
    ("run", "capabilities", r"^0$", r"you must be root.*\n1$"),
    ("run", "suid", r"^NoNewPrivs:\s+0$", r"^NoNewPrivs:\s+1$"),
    ("run", "userns", r"^65534$", r"Operation not permitted$"),
    // The tests have no terminal; on one, the character is typed.
    ("run", "tiocsti", r"^(Inappropriate ioctl for device)?$", r"^Operation not permitted$"),
    ("run", "fork-bomb", r"^8$", r"(fork|Resource temporarily unavailable)"),
    ("run", "proc-sys", r"^opened$", r"Read-only file system$"),
    ("run", "masked", r"^Timer List", r"^$"),
    ("run", "release-agent", r"^/tmp/release_agent$", r"permission denied"),
];

/// Mistakes of which only root can try the lines.
const OF_ROOT: &[(&str, &str)] = &[
    ("pids", "ulimit"),
    ("devices", "mknod"),
    ("run", "proc-sys"),
    ("run", "masked"),
    ("run", "release-agent"),
];

/// Lines that a test cannot type: they need a cgroup that the reader has made, or another tool of an old version.
const NOT_TYPED: &[(&str, &str)] = &[
    ("memory", "join-late"),
    ("cgroup", "join-late"),
    ("run", "own-program"),
    ("run", "leaked-descriptor"),
    ("run", "symlink-mount"),
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
    const TEST: &str = "both_lines_of_a_mistake_show_what_the_evidence_shows";
    let _alone = alone();
    for (feature, name, wrong, right) in sample(4, PRINTED) {
        let (feature, name) = (*feature, *name);
        if FEATURES.contains(&feature) && !may(TEST, feature) {
            continue;
        }
        // The status is 77 if the mistake cannot be made here.
        let output = run(&[feature, "--break", name, "--format", "json"]);
        let contrast: Value = serde_json::from_slice(&output.stdout).unwrap();
        let of_root = OF_ROOT.contains(&(feature, name)) && !support::is_root();
        let reason =
            if of_root { Some("only root can type these lines") } else { contrast["skipped"].as_str() };
        if let Some(reason) = reason {
            skip(TEST, &format!("machine: {feature} {name}: {reason}"));
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
        // (Of two measurements, only the numbers differ.)
        if wrong != right {
            assert_ne!(printed[0], printed[1], "{feature} {name}");
        }
    }
}

#[test]
fn no_line_is_left_out() {
    let features = [
        "pid", "mnt", "uts", "ipc", "net", "user", "time", "cgroup", "memory", "cpu", "blkio", "devices",
        "pids", "run",
    ];
    for feature in features {
        for name in names(feature) {
            let typed = PRINTED.iter().filter(|(of, known, ..)| (*of, *known) == (feature, &*name)).count();
            let not_typed = NOT_TYPED.iter().filter(|(of, known)| (*of, *known) == (feature, &*name)).count();
            assert_eq!(typed + not_typed, 1, "{feature} {name}");
        }
    }
}

/// Each line has its place below WRONG and RIGHT.
#[test]
fn the_lines_are_not_wider_than_a_terminal() {
    for (feature, name, ..) in PRINTED {
        let shown = text(&run(&[feature, "--break", name]).stdout);
        for line in shown.lines() {
            assert!(line.chars().count() <= 80 || line.contains("setpriv"), "{feature} {name}: {line}");
        }
    }
}
