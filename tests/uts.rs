//! The uts namespace: what the kernel shows.

mod support;

use std::fs;

use support::{fits, run, snapshot, snapshot_cards, stdout, text};

#[test]
fn every_card_holds() {
    let cards = stdout(&["uts"]);
    assert_eq!(cards.lines().filter(|line| line.starts_with("holds ")).count(), 4, "{cards}");
    cards.split("\n\n").for_each(|card| fits(card, 80, 22));
    snapshot_cards("demo-uts", &cards);
}

/// Each claim of the notes on Docker's architecture about uts namespaces, and the card that shows it.
#[test]
fn each_claim_of_the_notes_has_its_card() {
    let claims = [
        ("each container has a hostname and a domain name of its own", "names"),
        ("it can be taken for a node of its own, where names are looked up elsewhere", "resolve"),
    ];
    for (claim, card) in claims {
        let shown = stdout(&["uts", "--demo", card]);
        assert!(shown.contains("\nholds  "), "{claim}: {shown}");
    }
}

#[test]
fn the_names_are_set_inside_only() {
    let names = ["/proc/sys/kernel/hostname", "/proc/sys/kernel/domainname"];
    let outside = || names.map(|name| fs::read_to_string(name).unwrap());
    let before = outside();
    let flags = ["uts", "--hostname", "box", "--domainname", "lab", "--", "cat"];
    assert_eq!(stdout(&[&flags[..], &names].concat()), "box\nlab\n");
    assert_eq!(outside(), before);
    // The kernel's maximum length of a hostname is 64 bytes.
    let long = "x".repeat(64);
    assert_eq!(stdout(&["uts", "-q", "--hostname", &long, "--", "cat", names[0]]), long + "\n");
}

#[test]
fn a_name_of_65_bytes_is_refused() {
    for flag in ["--hostname", "--domainname"] {
        let output = run(&["uts", flag, &"x".repeat(65), "--", "true"]);
        assert_eq!(output.status.code(), Some(125));
        assert!(text(&output.stderr).contains("at most 64 bytes"));
        snapshot("error-uts-toolong", &text(&output.stderr).replace(flag, "--FLAG"));
    }
}
