//! What depends on the screen, on a file in its place, or on what this machine can show: colour, pictures, skipped cards.
//!
//! Of this kind: TERM=dumb and empty, NO_COLOR set and empty, CLICOLOR=0, --color; --svg of each feature and of cards without
//! measurements; skipped cards and mistakes, in text and JSON.

mod support;

use std::fs;

use support::terminal::Terminal;
use support::{alone, binary, is_root, limits, run, skip, stdout, text};

/// What `sandbox` prints on a terminal, with these variables.
fn on_a_terminal(variables: &[&str], arguments: &[&str]) -> String {
    let program = binary();
    let unset = ["-u", "NO_COLOR", "-u", "CLICOLOR", "TERM=xterm"];
    let words = [&unset[..], variables, &[program.to_str().unwrap()], arguments].concat();
    let (status, shown) = Terminal::of("/usr/bin/env".as_ref(), &words).end();
    assert!(status.code().is_some(), "{shown}");
    shown
}

#[test]
fn colour_is_for_terminals_that_have_it() {
    let error = ["man", "nothing"];
    let view = ["uts", "--dry-run", "--", "true"];
    for arguments in [&error[..], &view] {
        let has_colour = |variables: &[&str], flags: &[&str]| {
            let shown = on_a_terminal(variables, &[flags, arguments].concat());
            assert!(shown.contains("sandbox") || shown.contains("uts"), "{shown}");
            shown.contains("\x1b[")
        };
        assert!(has_colour(&[], &[]), "{arguments:?}");
        // https://no-color.org: only a variable that is not empty counts.
        assert!(has_colour(&["NO_COLOR="], &[]));
        assert!(has_colour(&["CLICOLOR=1"], &[]));
        for variable in ["TERM=dumb", "TERM=", "NO_COLOR=1", "NO_COLOR=0", "CLICOLOR=0"] {
            assert!(!has_colour(&[variable], &[]), "{variable} {arguments:?}");
            assert!(!has_colour(&[variable], &["--color", "auto"]), "{variable}");
            assert!(has_colour(&[variable], &["--color", "always"]), "{variable}");
        }
        assert!(!has_colour(&[], &["--color", "never"]));
    }
    // Without a terminal there is none.
    let mut command = support::sandbox(&view);
    let output = command.env_remove("NO_COLOR").env("TERM", "xterm").output().unwrap();
    assert!(!text(&output.stdout).contains('\x1b'));
}

#[test]
fn a_dumb_terminal_gets_no_cursor_movements() {
    let _alone = alone();
    let shown = on_a_terminal(&["TERM=dumb"], &["pids", "--demo", "bomb"]);
    assert!(!shown.contains('\x1b'), "{shown:?}");
    let shown = on_a_terminal(&["TERM=dumb"], &["cpu", "--demo", "weight"]);
    assert!(!shown.contains('\x1b'), "{shown:?}");
}

#[test]
fn a_feature_without_measurements_draws_no_picture() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("picture.svg");
    for feature in ["devices", "pid", "mnt", "net", "uts", "ipc", "user", "cgroup", "time"] {
        let output = run(&[feature, "--svg", file.to_str().unwrap()]);
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{feature}: {error}");
        assert!(error.contains(&format!("{feature} has no measurements to draw")), "{error}");
        assert!(error.contains("memory") && error.contains("cpu"), "{error}");
        assert!(!file.exists(), "{feature}");
    }
}

#[test]
fn a_card_without_measurements_draws_no_picture() {
    let _alone = alone();
    if !limits::may("a_card_without_measurements_draws_no_picture", "memory") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("picture.svg");
    let output = run(&["memory", "--demo", "meminfo", "--svg", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("this card has no measurements"), "{}", text(&output.stderr));
    assert!(!file.exists());
}

#[test]
fn a_picture_is_svg() {
    let _alone = alone();
    if !limits::may("a_picture_is_svg", "cpu") {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("picture.svg");
    stdout(&["cpu", "--demo", "quota", "--cpus", "0.5", "--svg", file.to_str().unwrap()]);
    let picture = fs::read_to_string(&file).unwrap();
    assert!(picture.starts_with("<svg") || picture.starts_with("<?xml"), "{picture}");
    assert!(picture.trim_end().ends_with("</svg>") && picture.contains("<text"), "{picture}");
    for (opened, closed) in [("<text", "</text>"), ("<svg", "</svg>"), ("<g", "</g>")] {
        let tags =
            picture.matches(&format!("{opened} ")).count() + picture.matches(&format!("{opened}>")).count();
        assert_eq!(tags, picture.matches(closed).count(), "{opened}");
    }
    // A file that cannot be written is an error.
    let output = run(&["cpu", "--demo", "quota", "--cpus", "0.5", "--svg", "/no/such/directory/x.svg"]);
    assert_eq!(output.status.code(), Some(125));
    assert!(text(&output.stderr).contains("ENOENT"), "{}", text(&output.stderr));
}

/// A card that needs more than this machine has: a quota of more CPUs than a process can use, more processes than the
/// demonstration makes.
#[test]
fn what_is_skipped_has_a_status_of_its_own() {
    let _alone = alone();
    let mut tried = 0;
    for (feature, arguments) in [
        ("cpu", &["cpu", "--cpus", "64", "--demo", "quota"][..]),
        ("pids", &["pids", "--max", "4000000", "--demo", "bomb"]),
    ] {
        if !limits::may("what_is_skipped_has_a_status_of_its_own", feature) {
            continue;
        }
        tried += 1;
        let output = run(arguments);
        let shown = text(&output.stdout);
        assert_eq!(output.status.code(), Some(77), "{shown}{}", text(&output.stderr));
        assert!(shown.contains("exit status 77"), "{shown}");
        let output = run(&[arguments, &["--format", "json"]].concat());
        assert_eq!(output.status.code(), Some(77));
        let cards: serde_json::Value = serde_json::from_str(&text(&output.stdout)).unwrap();
        assert!(
            cards[0]["outcome"].to_string().contains("kipped") || cards[0].to_string().contains("skipped"),
            "{cards}"
        );
    }
    // Mistakes: these need root, or a right that no ordinary user has.
    if !is_root() {
        for arguments in [
            &["run", "--break", "proc-sys"][..],
            &["run", "--break", "release-agent"],
            &["pids", "--break", "ulimit"],
        ] {
            tried += 1;
            let output = run(arguments);
            if output.status.code() == Some(125) && arguments[0] == "pids" {
                continue;
            }
            assert_eq!(output.status.code(), Some(77), "{arguments:?}: {}", text(&output.stdout));
            let output = run(&[arguments, &["--format", "json"]].concat());
            assert_eq!(output.status.code(), Some(77));
            let made: serde_json::Value = serde_json::from_str(&text(&output.stdout)).unwrap();
            assert!(made["skipped"].is_string(), "{made}");
        }
    }
    if tried == 0 {
        skip("what_is_skipped_has_a_status_of_its_own", "machine: no card is skipped here");
    }
    // A part of the cards is skipped: the status is 0.
    assert_eq!(run(&["uts", "--demo", "copy"]).status.code(), Some(0));
}
