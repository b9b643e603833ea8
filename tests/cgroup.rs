//! The cgroup namespace: what the kernel shows.

mod support;

use std::fs;

use regex_lite::Regex;
use support::{fits, skip, snapshot_cards, stdout};

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
