//! The cgroup namespace, and the cgroups that a container sees: what the kernel shows.

mod support;

use std::fs;

use regex_lite::Regex;
use support::{fits, limits, skip, snapshot_cards, stdout};

fn paths(lines: &str) -> Vec<String> {
    lines.lines().filter_map(|line| Some(line.splitn(3, ':').nth(2)?.to_owned())).collect()
}

/// The hierarchy, the path and the limit depend on the machine. They are replaced by names, and the rest is compared.
fn named(cards: &str, outer: &[String]) -> String {
    let mut named = cards.to_owned();
    for path in outer.iter().filter(|path| *path != "/") {
        named = named.replace(&format!("= {path}"), "<cgroup>").replace(&format!("  {path}"), "  <cgroup>");
    }
    for (place, name) in [
        (r"(/proc/self/cgroup, )\S+", "${1}<hierarchy>"),
        (r"root of cgroup\S*( [a-z_,=]+)?", "root of <hierarchy>"),
        (r"(?:/\.\.)+", "/.."),
        (r"/\S+/cgroup\.procs", "<cgroup>/cgroup.procs"),
        (r"/\S+/(?:memory|pids|cpu|cpuset)\.\S+( +|\s+= )\S.*", "<limit> <value>"),
        (r"\n +<", "  <"),
        (r" = ", "  "),
    ] {
        named = Regex::new(place).unwrap().replace_all(&named, name).into_owned();
    }
    named
}

#[test]
fn every_card_holds() {
    let cards = stdout(&["cgroup"]);
    assert!(!cards.contains("NOT SO"), "{cards}");
    cards.split("\n\n").for_each(|card| fits(card.split("Next:").next().unwrap(), 80, 22));
    let outer = paths(&fs::read_to_string("/proc/self/cgroup").unwrap());
    let is_at_top = outer.iter().all(|path| path == "/");
    assert_eq!(cards.contains("Your cgroup is already `/`"), is_at_top, "{cards}");
    if cards.contains("skipped") {
        skip(
            "every_card_holds",
            "machine: the caller's cgroup is `/`, or none is mounted: no difference to hold",
        );
    } else {
        // The number of a hierarchy, its controllers and its mount point differ between machines.
        let line = Regex::new(r"\^\d+:[a-z,]*").unwrap();
        let mount = Regex::new(r#"== "/sys/fs/cgroup[^"]*""#).unwrap();
        let cards = named(&cards, &outer);
        let cards = line.replace_all(&cards, "^<hierarchy>");
        snapshot_cards("demo-cgroup", &mount.replace_all(&cards, "== <mount point>"));
    }
}

#[test]
fn inside_the_own_cgroup_is_the_root() {
    let inside = stdout(&["cgroup", "--", "cat", "/proc/self/cgroup"]);
    let inside = paths(&inside);
    assert!(!inside.is_empty() && inside.iter().all(|path| path == "/"), "{inside:?}");
    let own = fs::read_link("/proc/self/ns/cgroup").unwrap();
    let link = stdout(&["cgroup", "--", "readlink", "/proc/self/ns/cgroup"]);
    assert_ne!(link.trim(), own.to_str().unwrap());
}

/// What `command` prints in a container of this spec, whose files are the host's.
fn contained(spec: &str, command: &str) -> String {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("box.yaml");
    fs::write(&file, format!("rootfs: host\n{spec}\n")).unwrap();
    stdout(&["run", "-q", file.to_str().unwrap(), "--", "sh", "-c", command])
}

/// A program in a container finds its limits in /sys/fs/cgroup. Inputs of this kind: each controller with a readable limit · v1,
/// v2 · a new cgroup namespace, the host's.
#[test]
fn a_container_reads_its_own_limits() {
    let test = "a_container_reads_its_own_limits";
    let possible = limits::possible(test);
    for (feature, options, v1, v2, expected) in [
        ("memory", "limit: 64MiB", "memory/memory.limit_in_bytes", "memory.max", "67108864"),
        ("pids", "max: 20", "pids/pids.max", "pids.max", "20"),
        ("cpu", "cpus: 0.5", "cpu/cpu.cfs_quota_us", "cpu.max", "50000"),
    ] {
        if !possible.contains(&feature) {
            continue;
        }
        for namespace in ["cgroup: {}\n", ""] {
            let spec = format!("{namespace}{feature}: {{ {options} }}");
            let read = format!("cd /sys/fs/cgroup; cat {v1} 2>/dev/null || cat {v2}");
            let limit = contained(&spec, &read);
            assert_eq!(limit.split_whitespace().next(), Some(expected), "{spec}: {limit}");
            let write =
                format!("cd /sys/fs/cgroup; for f in {v1} {v2}; do [ ! -e $f ] || echo 9 2>&1 >$f; done");
            let refused = contained(&spec, &format!("exec 2>&1; {write}; true"));
            assert!(refused.contains("Read-only file system"), "{spec}: {refused}");
        }
    }
}

/// The cgroups of others are not shown: neither their names nor what they use.
#[test]
fn a_container_sees_no_cgroup_but_its_own() {
    // With the network of the host, a user's container has a copy of the host's /sys, with all that is mounted there.
    let none = contained("net: {}\ncgroup: {}", "ls -A /sys/fs/cgroup");
    assert_eq!(none, "", "a container without limits has no cgroup");
    if !limits::may("a_container_sees_no_cgroup_but_its_own", "pids") {
        return;
    }
    let spec = "pid: {}\npids: { max: 20 }";
    assert_eq!(contained(spec, "find /sys/fs/cgroup -mindepth 2 -type d"), "");
    // The kernel shows a process of another PID namespace as 0.
    let members = contained(spec, "find /sys/fs/cgroup -name cgroup.procs -exec cat {} +");
    assert!(!members.is_empty() && members.lines().all(|pid| pid != "0"), "{members}");
}
