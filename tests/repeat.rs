//! The lines under "Repeat it:" of each card, run in a shell: they give the same evidence as the card.
//!
//! Of this kind: every card of the eight namespaces, as root and as an ordinary user. The output is compared with the
//! evidence of the card; numbers that differ on every run are compared by relation. Where a shell shows the same fact in
//! another form, its form is below.

mod support;

use std::process::{Command, Stdio};

use regex_lite::Regex;
use sandbox::render::stable::stable;
use serde_json::Value;
use support::{is_root, sample, stdout, text};

/// Lines that belong to no evidence.
const NOISE: [&str; 4] = ["Shared memory id:", "Message queue id:", "bash: connect:", "nsenter: sigprocmask"];

/// What the shell prints where its form differs from the evidence, as a pattern. `{uid}` is the ordinary user's ID.
const FORMS: &[(&str, &str, &str)] = &[
    ("pid", "proc", r"^\d+\n/proc/1\n1$"),
    ("pid", "nesting", r"^NSpid: <pid#1> 2 1\n<pidns#1>\n<pidns#2>$"),
    ("ipc", "share", r"^4711\nNo such file or directory.*$"),
    ("ipc", "queue", r"^queue\n0$"),
    ("mnt", "mount", r"^1\n0$"),
    ("mnt", "chroot", r"^\d+\n\d+\n<mntns#1>\n<mntns#1>$"),
    ("mnt", "pivot", r"^cat: /tmp/canary: No such file or directory$"),
    ("mnt", "shared", r"^/tmp shared:<peers#1>\n/tmp shared:<peers#1>\n/tmp/b shared:<peers#2>$"),
    ("mnt", "slave", r"^/tmp shared:<peers#1>\n/tmp master:<peers#1>\n/tmp/a master:<peers#2>\n0$"),
    ("mnt", "private", r"^/tmp shared:<peers#1>\n/tmp -\n0\n0$"),
    ("net", "addresses", r"^([0-9./ ]+\n)?0\n127.0.0.1/8$"),
    ("net", "routes", r"^\d+\n0\nbash: .*Network is unreachable$"),
    ("net", "lo", r"^bash: .*Network is unreachable\nhello(\nbash: .*kill.*)?$"),
    ("net", "ports", r"^Address already in use.*\n0$"),
    ("net", "files", r"^self/net\n0\n1$"),
    ("net", "abstract", r"^0\nConnection refused.*\n0$"),
    ("net", "path", r"^0$"),
    ("net", "veth", r"^hello$"),
    ("net", "bridge", r"^0\n124$"),
    ("user", "uid", r"^0 {uid} 1\nUid: 0\n0 {uid} 1\nUid: {uid}$"),
    ("user", "gid", r"^0 {uid} 1\nGid: 0\n0 {uid} 1\nGid: {uid}$"),
    ("user", "unmapped", r"^Uid: 65534\n65534\nUid: {uid}$"),
    ("user", "foreign", r"^0 {uid} 1\n0\n65534$"),
    ("user", "caps", r"^CapEff: <caps#1>\n\d+\nhostname: you must be root to change the host name$"),
    ("user", "owner", r"^aquarium\n.+$"),
    ("user", "file", r"^0\n{uid}$"),
    ("user", "setgroups", r"^deny\nsetpriv: setgroups failed: Operation not permitted$"),
    ("time", "clocks", r"^\d+\n\d+\n\d+\n\d+$"),
    ("time", "wall", r"^monotonic 3600 0\nboottime 864000 0\n\d+\n\d+$"),
    ("time", "late", r"^14\n<timens#1>\nPermission denied\nmonotonic 0 0\nboottime 60 0$"),
    ("cgroup", "limits", r"^(.+)\n(.+)\n1$"),
];

/// Runs the lines in a shell. Returns what they print, without noise, blank lines and differences of columns.
fn run_in_a_shell(lines: &[&str]) -> Vec<String> {
    let script = format!("exec 2>&1\n{}", lines.join("\n"));
    let mut command = Command::new("timeout");
    command.args(["30", "bash", "-c", &script]).current_dir("/").stdin(Stdio::null());
    let output = command.env("LANG", "C.UTF-8").env("LC_ALL", "C.UTF-8").output().unwrap();
    assert_ne!(output.status.code(), Some(124), "{script}");
    let ids = Regex::new(r"^([UG]id: \d+) .*").unwrap();
    text(&output.stdout)
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .map(|line| ids.replace(&line, "$1").into_owned())
        .filter(|line| !line.is_empty() && !NOISE.iter().any(|noise| line.starts_with(noise)))
        .collect()
}

/// A value of the evidence as a shell prints it, and whether a shell may print nothing for it: a call that succeeded.
fn as_a_shell(seen: &Value) -> (String, bool) {
    let (source, value) = (seen["source"].as_str().unwrap(), seen["value"].as_str().unwrap());
    let is_number = |part: &str| part.parse::<i64>().is_ok();
    if source.ends_with([')', ']']) && value.split(", ").all(is_number) || source.starts_with("wait4(") {
        return (value.to_owned(), true);
    }
    if value == "(ENOENT)" {
        return ("No such file or directory".to_owned(), false);
    }
    if let Some(error) = value.strip_prefix("-1 ").and_then(|rest| rest.split_once('(')) {
        return (error.1.trim_end_matches(')').to_owned(), false);
    }
    let count = Regex::new(r"^(\d+) (?:mount|device|row)s?\b.*").unwrap();
    let value = count.replace(value, "$1").into_owned();
    let field = Regex::new(r", ([A-Za-z]+:)$").unwrap().captures(source).map(|found| found[1].to_owned());
    (field.map_or(value.clone(), |field| format!("{field} {value}")), false)
}

/// Whether the output has the values of the evidence, in order, and nothing else.
fn is_same(evidence: &[Value], output: &[String]) -> bool {
    let wanted: Vec<(String, bool)> = evidence.iter().map(as_a_shell).collect();
    let texts: Vec<&str> = wanted.iter().map(|(text, _)| text.as_str()).collect();
    let (wanted_text, output) = (stable(&texts.join("\n")), stable(&output.join("\n")));
    let mut lines = output.lines().peekable();
    let mut found = 0;
    for (text, (_, is_optional)) in wanted_text.lines().zip(&wanted) {
        let is_there = lines.peek().is_some_and(|line| {
            *line == text || !is_optional && (line.contains(text) || text.starts_with(&format!("{line} (")))
        });
        if is_there {
            lines.next();
            found += 1;
        } else if !is_optional {
            return false;
        }
    }
    found > 0 && lines.next().is_none()
}

fn repeats(feature: &str) {
    let uid = if is_root() { 1000 } else { nix::unistd::getuid().as_raw() };
    let cards: Value = serde_json::from_str(&stdout(&[feature, "--format", "json"])).unwrap();
    let holding = cards.as_array().unwrap().iter().filter(|card| card["outcome"] == "holds");
    for card in sample(2, holding) {
        let name = card["name"].as_str().unwrap();
        let lines: Vec<&str> = card["repeat"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
        assert!(!lines.is_empty(), "{feature} {name}");
        for line in &lines {
            assert!(line.len() <= 77 || line.contains("/sys/fs/cgroup"), "{} columns: {line}", line.len());
        }
        let output = run_in_a_shell(&lines);
        let form = FORMS.iter().find(|(of, card, _)| (*of, *card) == (feature, name));
        let is_same = match form {
            Some((.., form)) => {
                let form = Regex::new(&form.replace("{uid}", &uid.to_string())).unwrap();
                form.is_match(&stable(&output.join("\n")))
            }
            None => is_same(card["evidence"].as_array().unwrap(), &output),
        };
        assert!(is_same, "{feature} {name}:\n{}\ngives\n{}\n{card:#}", lines.join("\n"), output.join("\n"));
        let numbers: Vec<i64> = output.iter().filter_map(|line| line.parse().ok()).collect();
        match (feature, name) {
            ("time", "clocks") => {
                let differs =
                    |from: usize, by: i64| (by..by + 60).contains(&(numbers[from + 1] - numbers[from]));
                assert!(differs(0, 864_000) && differs(2, 3600), "{numbers:?}");
            }
            ("time", "wall") => assert!((0..60).contains(&(numbers[1] - numbers[0])), "{numbers:?}"),
            ("mnt", "chroot") => assert!(numbers[1] < numbers[0], "{numbers:?}"),
            ("cgroup", "limits") => assert_eq!(output[0], output[1]),
            ("user", "owner") => assert_ne!(output[0], output[1]),
            _ => {}
        }
    }
}

#[test]
fn pid_is_repeated_in_a_shell() {
    repeats("pid");
}

#[test]
fn mnt_is_repeated_in_a_shell() {
    repeats("mnt");
}

#[test]
fn net_is_repeated_in_a_shell() {
    repeats("net");
}

#[test]
fn uts_and_ipc_are_repeated_in_a_shell() {
    repeats("uts");
    repeats("ipc");
}

#[test]
fn user_is_repeated_in_a_shell() {
    repeats("user");
}

#[test]
fn time_and_cgroup_are_repeated_in_a_shell() {
    repeats("time");
    repeats("cgroup");
}
