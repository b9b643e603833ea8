//! `--stable` replaces numbers that change on every run by names. The first PID namespace becomes `<pidns#1>`, an equal
//! one gets the same name, and a different one becomes `<pidns#2>`. A handout or a snapshot then shows which numbers
//! are equal, and is the same on every run.

use regex_lite::{Captures, Regex};
use serde_json::Value;

/// Where the output of `sandbox` has a PID.
const PROCESS: &[&str] = &[
    r"/proc/(\d+)\b",
    r"(?i)\bpid (\d+)\b",
    r"(?:OUT|IN)SIDE \([^ ()]+ (\d+)\)",
    r"\bNSpid: *(\d+)\b",
    r"/proc/self +(\d+)\b",
    r"\bkill\((\d+),",
    r"\bcompare (\d+)\b",
    r"^.*\bclone3\([^)]*\) = (\d+)$",
    r"\bsandbox-[a-z]+-(\d+)-",
    r"^ +\S+ +(\d+) +(?:\d+|-) ",
];

/// A count, as `Value::Count` prints it.
const COUNTED: &str = r"\b(\d+) (process|mount|row|file|device|line)(?:s|es)?\b";

/// A value of a clock.
const CLOCK: &str = r"\b\d+\.\d\d\b|\b\d{3,} s\b";

/// The text with names for all numbers that change from run to run. Several spaces become two, because the columns
/// depend on the widths of the numbers.
pub fn stable(text: &str) -> String {
    let text = rename(text, r"\b([a-z]+):\[(\d+)\]", |kind| format!("{kind}ns"));
    let text = peers(&text);
    let text = capabilities(&text);
    let text = behind(&text, r"(\bcap_last_cap +)(\d+)\b", "lastcap");
    let text = behind(&text, r"(\bosrelease +)(\S+)", "release");
    // Whether a result is on the same line as its call depends on the widths of the numbers.
    let text = pattern(r"\n +(= )").replace_all(&text, " $1").into_owned();
    let text = rename(&text, r"(0x)([0-9a-f]{8})\b", |_| "key".into());
    let text = rename(&text, r"(grep -c )(\d{10})\b", |_| "decimal key".into());
    let text = behind(&text, r"\b(\d+\.\d+\.\d+\.\d+:)(\d{4,5})\b", "port");
    // The number of a file descriptor depends on which ones the caller has open.
    let text = behind(&text, r"\b((?:bind|connect|recvfrom|sendto)\()(\d+)\b", "fd");
    let text = behind(&text, r"\b(sandbox/)([0-9a-f]{8})\b", "cgroup");
    let text = rename(&text, r"\b(sbx)-(n?[0-9a-f]{8})\b", |_| "link".into());
    let text = rename(&text, r"\b(10\.111)\.(\d+\.\d+)\b", |_| "address".into());
    let mut pids: Vec<String> = Vec::new();
    for place in PROCESS {
        for found in pattern(place).captures_iter(&text) {
            // PIDs of one digit are those in a new PID namespace. They are the same on every run, so they stay.
            if found[1].len() > 1 && !pids.iter().any(|pid| *pid == found[1]) {
                pids.push(found[1].to_owned());
            }
        }
    }
    // PIDs are numbered in the order of the text, not in the order of the patterns.
    pids.sort_by_key(|pid| pattern(&format!(r"\b{pid}\b")).find(&text).map(|found| found.start()));
    let text = pattern(r"\b\d+\b").replace_all(&text, |found: &Captures<'_>| {
        match pids.iter().position(|pid| *pid == found[0]) {
            Some(index) => format!("<pid#{}>", index + 1),
            None => found[0].to_owned(),
        }
    });
    let text = pattern(CLOCK).replace_all(&text, "<seconds>");
    let text = rename_counts(&text, COUNTED);
    let text = only(&text);
    let text = pattern(r"(\S) {2,}").replace_all(&text, "$1  ");
    pattern(r"(?m) +$").replace_all(&text, "").into_owned()
}

/// The keys of JSON whose numbers are PIDs.
const PID_KEYS: [&str; 6] = ["pid", "own_pid", "pids", "outside", "inside", "child"];

/// The keys of JSON that have other values on every run and on every machine.
const VOLATILE_KEYS: [&str; 7] = [
    "items",
    "only_outside",
    "only_inside",
    "only_left",
    "only_right",
    "ahead_of_realtime_us",
    "counter_file",
];

/// As [`stable`], for a JSON value. It keeps its form; a number that changes from run to run becomes a string. The
/// items of a list are left out, and their number is named.
pub fn stable_json(mut value: Value) -> Value {
    let mut leaves = Vec::new();
    visit(&mut value, "", &mut |key, leaf| leaves.push(line_of(key, leaf)));
    // All values are named together, so that equal values have equal names.
    let named = stable(&leaves.join(SEPARATOR));
    let mut named = named.split(SEPARATOR.trim());
    visit(&mut value, "", &mut |key, leaf| {
        let (before, after) = (line_of(key, leaf), named.next().unwrap_or_default().trim());
        if leaf.is_string() || after != before.trim() {
            *leaf = Value::String(after.strip_prefix("pid ").unwrap_or(after).to_owned());
        }
    });
    value
}

/// Between two values. No value has this line, because control characters in it are escaped.
const SEPARATOR: &str = "\n\u{1}\n";

/// A string or a number as one text. A PID gets the word before it by which [`stable`] finds it.
fn line_of(key: &str, leaf: &Value) -> String {
    match leaf {
        Value::String(text) => text.replace('\u{1}', " "),
        number if PID_KEYS.contains(&key) => format!("pid {number}"),
        number => number.to_string(),
    }
}

/// Calls `act` with each string and number of a value, and the key that it has.
fn visit(value: &mut Value, key: &str, act: &mut impl FnMut(&str, &mut Value)) {
    match value {
        Value::Object(map) => {
            map.retain(|key, _| !VOLATILE_KEYS.contains(&key.as_str()));
            map.iter_mut().for_each(|(key, value)| visit(value, key, act));
        }
        // `"count": [81, "processes"]`
        Value::Array(parts) if key == "count" && parts.len() == 2 => {
            let of = parts[1].as_str().unwrap_or_default().to_owned();
            let mut counted = Value::String(format!("{} {of}", parts[0]));
            act(key, &mut counted);
            if let Some((count, _)) = counted.as_str().and_then(|counted| counted.split_once(' ')) {
                parts[0] = count.parse::<u64>().map_or_else(|_| count.into(), Value::from);
            } else {
                parts[0] = counted;
            }
        }
        Value::Array(parts) => parts.iter_mut().for_each(|part| visit(part, key, act)),
        Value::String(_) | Value::Number(_) => act(key, value),
        Value::Null | Value::Bool(_) => {}
    }
}

/// Replaces a match by a name. The first group of the pattern gives the kind, the second one is the value.
fn rename(text: &str, places: &str, kind: impl Fn(&str) -> String) -> String {
    let mut seen: Vec<(String, String)> = Vec::new();
    let named = pattern(places).replace_all(text, |found: &Captures<'_>| {
        let (kind, value) = (kind(&found[1]), found[2].to_owned());
        format!("<{kind}#{}>", number(&mut seen, kind.clone(), value))
    });
    named.into_owned()
}

/// Keeps the first group of the pattern, and replaces the second one by a name.
fn behind(text: &str, places: &str, kind: &str) -> String {
    let mut seen: Vec<(String, String)> = Vec::new();
    let named = pattern(places).replace_all(text, |found: &Captures<'_>| {
        format!("{}<{kind}#{}>", &found[1], number(&mut seen, kind.into(), found[2].to_owned()))
    });
    named.into_owned()
}

/// Replaces the peer groups of mountinfo. `shared:41` and `master:41` mean the same group.
fn peers(text: &str) -> String {
    let mut seen: Vec<(String, String)> = Vec::new();
    let named = pattern(r"\b(shared|master):(\d+)\b").replace_all(text, |found: &Captures<'_>| {
        let group = number(&mut seen, "peers".into(), found[2].to_owned());
        format!("{}:<peers#{group}>", &found[1])
    });
    named.into_owned()
}

/// Replaces sets of capabilities, which depend on the version of the kernel. An empty set stays.
fn capabilities(text: &str) -> String {
    let mut seen: Vec<(String, String)> = Vec::new();
    let sets = pattern(r"\bCap[A-Z][a-z]+:.*").replace_all(text, |line: &Captures<'_>| {
        let named = pattern(r"\b[0-9a-f]{16}\b").replace_all(&line[0], |found: &Captures<'_>| {
            match u64::from_str_radix(&found[0], 16) {
                Ok(0) => found[0].to_owned(),
                _ => format!("<caps#{}>", number(&mut seen, "caps".into(), found[0].to_owned())),
            }
        });
        // The names of a set: those of the messages `user.capabilities`.
        let names = r"([^(])\b(all but [a-z_]+(?:, [a-z_]+)*|(?:all )?\d+ capabilities)";
        let named = pattern(names).replace_all(&named, |found: &Captures<'_>| {
            format!("{}<capnames#{}>", &found[1], number(&mut seen, "names".into(), found[2].to_owned()))
        });
        named.into_owned()
    });
    sets.into_owned()
}

/// Replaces the number of items that only one list has: `26 of them only there`. In the shortest form, the number of all
/// items has no name: `28, 26 only there`. The words are those of the messages `common.view.only` in each language.
fn only(text: &str) -> String {
    let mut seen: Vec<(String, String)> = Vec::new();
    let text = pattern(r"\b\d+(, \d+ only (?:here|there)|，\d+ 个只在)").replace_all(text, "<count>$1");
    let named = pattern(r"\b(\d+)((?: of them)? only (?:here|there)| 个只在)").replace_all(
        &text,
        |found: &Captures<'_>| {
            let (value, rest) = (found[1].to_owned(), found[2].to_owned());
            format!("<only#{}>{rest}", number(&mut seen, "only".into(), value))
        },
    );
    named.into_owned()
}

/// Replaces counts: the first group of the pattern is the value, the second one gives the kind.
fn rename_counts(text: &str, places: &str) -> String {
    let mut seen: Vec<(String, String)> = Vec::new();
    let named = pattern(places).replace_all(text, |found: &Captures<'_>| {
        let (value, kind) = (found[1].to_owned(), found[2].to_owned());
        format!("<{kind}#{}>", number(&mut seen, kind.clone(), value))
    });
    named.into_owned()
}

/// The index of this value among the different values of its kind, counted from 1.
fn number(seen: &mut Vec<(String, String)>, kind: String, value: String) -> usize {
    let pair = (kind, value);
    if !seen.contains(&pair) {
        seen.push(pair.clone());
    }
    seen.iter()
        .filter(|(kind, _)| *kind == pair.0)
        .position(|known| *known == pair)
        .map_or(0, |index| index + 1)
}

fn pattern(pattern: &str) -> Regex {
    // Each pattern is a constant of this file, or a constant with digits in it. Tests compile all of them.
    Regex::new(&format!("(?m){pattern}")).expect("a pattern of this file compiles")
}

#[cfg(test)]
mod tests {
    use super::stable;

    #[test]
    fn equal_numbers_get_equal_names() {
        let text = "pid:[4026531836] pid:[4026532577] pid:[4026531836] mnt:[4026532577]";
        assert_eq!(stable(text), "<pidns#1> <pidns#2> <pidns#1> <mntns#1>");
    }

    #[test]
    fn processes_are_named_in_the_order_of_the_text() {
        let text = "bash 4001\n/proc/18570/status  18570  1\nsandbox compare 4001\n";
        assert_eq!(stable(text), "bash <pid#1>\n/proc/<pid#2>/status  <pid#2>  1\nsandbox compare <pid#1>\n");
    }

    #[test]
    fn counts_and_columns_keep_their_relations() {
        assert_eq!(
            stable("a    231 processes     3 processes   231 processes"),
            "a  <process#1>  <process#2>  <process#1>"
        );
    }

    #[test]
    fn the_number_of_items_on_one_side_is_named_in_each_language() {
        for (text, named) in [
            ("9 lines, 26 of them only there", "<line#1>, <only#1> of them only there"),
            ("28, 26 only here", "<count>, <only#1> only here"),
            ("9 lines，其中 26 个只在那里", "<line#1>，其中 <only#1> 个只在那里"),
            ("28，26 个只在这里", "<count>，<only#1> 个只在这里"),
        ] {
            assert_eq!(stable(text), named);
        }
    }

    #[test]
    fn peer_groups_are_named_across_their_tags() {
        assert_eq!(
            stable("shared:41 master:41 shared:7"),
            "shared:<peers#1> master:<peers#1> shared:<peers#2>"
        );
    }

    #[test]
    fn keys_and_capabilities_are_named() {
        assert_eq!(
            stable("shmget(0x40562f01, 0) grep -c 1079385857 shmget(0x40562f02, 0)"),
            "shmget(<key#1>, 0) <decimal key#1> shmget(<key#2>, 0)"
        );
        assert_eq!(
            stable("CapEff: != 000001fffeffffff 000001ffffffffff\nCapInh: 0000000000000000\ncap_last_cap 40"),
            "CapEff: != <caps#1> <caps#2>\nCapInh: 0000000000000000\ncap_last_cap <lastcap#1>"
        );
        assert_eq!(
            stable("CapEff: != all but sys_resource  all 41 capabilities\nCapEff: == no capability"),
            "CapEff: != <capnames#1>  <capnames#2>\nCapEff: == no capability"
        );
    }

    #[test]
    fn links_addresses_and_ports_are_named() {
        assert_eq!(
            stable("sbx-0a1b2c3d 10.111.3.9/30 10.111.3.10 sbx-0a1b2c3d 127.0.0.1:40001 127.0.0.1:40002"),
            "<link#1> <address#1>/30 <address#2> <link#1> 127.0.0.1:<port#1> 127.0.0.1:<port#2>"
        );
    }

    #[test]
    fn clocks_are_not_compared() {
        assert_eq!(stable("7209.25 | 12345 s"), "<seconds> | <seconds>");
    }
}
