//! The time namespace: what the kernel shows.

mod support;

use std::fs;
use std::path::Path;

use support::{feed, fits, run, sandbox, skip, snapshot_cards, stdout, text};

/// Returns true if the kernel has time namespaces.
fn has_time_namespaces(test: &str) -> bool {
    let has = Path::new("/proc/self/ns/time").exists();
    if !has {
        skip(test, "machine: this kernel has no time namespaces");
    }
    has
}

fn uptime(words: &str) -> f64 {
    words.split(' ').next().unwrap().parse().unwrap()
}

#[test]
fn every_card_holds() {
    let cards = stdout(&["time"]);
    assert!(!cards.contains("NOT SO"), "{cards}");
    cards.split("\n\n").for_each(|card| fits(card.split("Next:").next().unwrap(), 80, 22));
    if has_time_namespaces("every_card_holds") {
        snapshot_cards("demo-time", &cards);
    } else {
        assert_eq!(cards.matches("skipped").count(), 4, "{cards}");
    }
}

#[test]
fn the_offsets_are_set_and_the_clock_follows() {
    if !has_time_namespaces("the_offsets_are_set_and_the_clock_follows") {
        return;
    }
    let inside =
        stdout(&["time", "--boottime", "10d", "--monotonic=-1s", "--", "cat", "/proc/self/timens_offsets"]);
    let words: Vec<&str> = inside.split_whitespace().collect();
    assert_eq!(words, ["monotonic", "-1", "0", "boottime", "864000", "0"]);
    let before = uptime(&fs::read_to_string("/proc/uptime").unwrap());
    let inside = uptime(&stdout(&["time", "--boottime", "10d", "--", "cat", "/proc/uptime"]));
    let after = uptime(&fs::read_to_string("/proc/uptime").unwrap());
    // The last digit of a sum of hundredths is not exact.
    let range = before - 0.02..=after + 0.02;
    assert!(range.contains(&(inside - 864_000.0)), "{before} {inside} {after}");
    let own = fs::read_link("/proc/self/ns/time").unwrap();
    let link = stdout(&["time", "--", "readlink", "/proc/self/ns/time"]);
    assert_ne!(link.trim(), own.to_str().unwrap());
}

#[test]
fn the_clock_can_be_set_by_every_root_of_a_user_namespace() {
    if !has_time_namespaces("the_clock_can_be_set_by_every_root_of_a_user_namespace") {
        return;
    }
    // With `auto`, root in the namespace has another UID on the host. Its process can no longer write its own
    // timens_offsets.
    for map in ["auto", "root"] {
        let spec = format!("user: {{ map: {map} }}\ntime: {{ boottime: 1h }}\n");
        let command = ["run", "-", "-q", "--", "cat", "/proc/self/timens_offsets"];
        let output = feed(&mut sandbox(&command), spec);
        let words = text(&output.stdout);
        assert!(
            words.lines().any(|line| line.split_whitespace().eq(["boottime", "3600", "0"])),
            "{map}: {output:?}"
        );
    }
}

#[test]
fn a_clock_before_zero_is_the_kernels_erange() {
    if !has_time_namespaces("a_clock_before_zero_is_the_kernels_erange") {
        return;
    }
    for offset in ["-100000d", "9000000000"] {
        let output = run(&["time", "--boottime", offset, "--", "true"]);
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(125), "{error}");
        assert!(error.contains("ERANGE") && error.contains("146 years"), "{error}");
    }
    assert_eq!(run(&["time", "--boottime", "1x", "--", "true"]).status.code(), Some(2));
}
