//! The uts namespace: what the kernel shows.

mod support;

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;

use support::{fits, run, sandbox, snapshot, snapshot_cards, stdout, text};

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
    // Names are bytes, also those that are not UTF-8.
    for name in [&b"box-\xff"[..], b"\xe9t\xe9", b"\xc3"] {
        let name = OsStr::from_bytes(name);
        let line = [name.as_bytes(), b"\n"].concat();
        let mut command = sandbox(&["uts", "-q", "--hostname"]);
        command.arg(name).arg("--domainname").arg(name).arg("--").arg("cat").args(names);
        let output = command.output().unwrap();
        assert_eq!(output.stdout, [&line[..], &line].concat(), "{name:?} {}", text(&output.stderr));
        for flags in [&["--dry-run"][..], &["--dry-run", "--format", "json"], &["--print-spec"]] {
            let output = sandbox(&["uts", "--hostname"]).arg(name).args(flags).args(["--", "true"]).output();
            let output = output.unwrap();
            let shown = std::str::from_utf8(&output.stdout).unwrap();
            assert!(output.status.success() && shown.contains("hostname"), "{name:?} {flags:?}: {shown}");
        }
    }
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
