//! The uts namespace: what the kernel shows.

mod support;

use support::{run, snapshot, stdout, text};

#[test]
fn every_card_holds() {
    let cards = stdout(&["uts"]);
    assert!(!cards.contains("NOT SO"), "{cards}");
    snapshot("demo-uts", &cards);
}

#[test]
fn the_names_are_set_inside_only() {
    let before = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let inside = stdout(&[
        "uts",
        "--hostname",
        "box",
        "--domainname",
        "lab",
        "--",
        "cat",
        "/proc/sys/kernel/hostname",
        "/proc/sys/kernel/domainname",
    ]);
    assert_eq!(inside, "box\nlab\n");
    assert_eq!(std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap(), before);
}

#[test]
fn a_name_of_65_bytes_is_refused() {
    let output = run(&["uts", "--hostname", &"x".repeat(65), "--", "true"]);
    assert_eq!(output.status.code(), Some(125));
    snapshot("error-uts-toolong", &text(&output.stderr));
}
