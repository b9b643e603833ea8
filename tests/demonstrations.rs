//! Demonstrations: the introduction, the cards, the end; on a terminal one card at a time; the system calls behind them.
//!
//! Of this kind: every feature with a demonstration; each card alone; pipes, terminals of 24 lines and of few lines,
//! `--no-pause`, a dumb terminal; the keys Enter, n, blank, b, e, q and Ctrl-D at the first, a middle and the last page;
//! `--explain` of every feature; `--step`; JSON.

mod support;

use serde_json::Value;
use support::terminal::Terminal;
use support::{alone, binary, fits, is_root, run, stdout, text};

/// The demonstrations that leave no cgroup.
const NAMESPACES: [&str; 8] = ["pid", "mnt", "net", "uts", "ipc", "user", "cgroup", "time"];

/// `sandbox` in a terminal of this many lines.
fn on_screen(rows: u16, arguments: &[&str]) -> Terminal {
    let script = format!("stty rows {rows} cols 80; exec \"$0\" \"$@\"");
    let program = binary();
    let words = [&["-c", &script, program.to_str().unwrap()][..], arguments].concat();
    Terminal::of("/bin/sh".as_ref(), &words)
}

const KEYS: &str = "Enter: next   b: back   q: quit   e: the system calls";
const FIRST_KEYS: &str = "Enter: next   q: quit";
const MORE_KEYS: &str = "Enter: more   b: back   q: quit";

#[test]
fn it_begins_with_an_introduction_and_ends_with_what_to_remember() {
    let order = ["pid", "mnt", "net", "uts", "ipc", "user", "cgroup", "time", "memory"];
    for (index, feature) in NAMESPACES.into_iter().enumerate() {
        let shown = stdout(&[feature]);
        fits(&shown, 80, 400);
        let (introduction, rest) = shown.split_once("\n\n").unwrap();
        let lines: Vec<&str> = introduction.lines().collect();
        // A title, three to five lines, and the number of cards. In `user`, a note for an ordinary user has two lines.
        let most = if feature == "user" && !is_root() { 9 } else { 7 };
        assert!((5..=most).contains(&lines.len()), "{feature}: {introduction}");
        assert!(lines[0].ends_with("_namespaces(7)"), "{introduction}");
        assert!(lines.iter().any(|line| line.starts_with("Why: ")), "{introduction}");
        assert!(lines.iter().any(|line| line.starts_with("You will see: ")), "{introduction}");
        let cards = stdout(&[feature, "--demo", "list"]).lines().count();
        let counts =
            format!("Demonstration {} of 13: {cards} cards, about {} minutes.", index + 1, cards.div_ceil(2));
        assert_eq!(lines.last(), Some(&counts.as_str()));
        let (_, end) = rest.split_once("REMEMBER\n").unwrap();
        for number in 1..=3 {
            assert!(end.contains(&format!("  {number}. ")), "{end}");
        }
        assert!(!end.contains("  4. "), "{end}");
        let (_, next) = end.split_once("Next subject: ").unwrap();
        assert!(next.contains(&format!("\n   sandbox {}\n", order[index + 1])), "{end}");
    }
}

#[test]
fn each_card_has_every_part_and_fits_a_screen() {
    for feature in NAMESPACES {
        let cards: Value = serde_json::from_str(&stdout(&[feature, "--format", "json"])).unwrap();
        let count = cards.as_array().unwrap().len();
        for (index, card) in cards.as_array().unwrap().iter().enumerate() {
            let name = card["name"].as_str().unwrap();
            assert_eq!((&card["place"], &card["of"]), (&(index + 1).into(), &count.into()), "{card}");
            assert_eq!(card["alone"], format!("sandbox {feature} --demo {name}"));
            let is_skipped = card["outcome"].is_object();
            assert_eq!(card["repeat"].as_array().unwrap().is_empty(), is_skipped, "{card}");
        }
        for card in stdout(&[feature]).split("\n\n").filter(|part| part.contains(" --demo ")) {
            // The last line of the screen is for the keys.
            fits(card, 80, 23);
            let title = card.lines().next().unwrap();
            assert!(title.contains("/") && title.contains(&format!("sandbox {feature} --demo ")), "{card}");
            let is_held = card.contains("\nholds  ");
            assert!(is_held && card.contains("\nRepeat it:\n   ") || card.contains("\nskipped "), "{card}");
        }
    }
}

/// The PIDs outside have more than one digit on every machine that ran for a moment.
#[test]
fn a_pid_in_the_evidence_says_whose_it_is() {
    let places = regex_lite::Regex::new(r"/proc/(\d{2,})/|\bkill\((\d{2,}),|\bpid (\d{2,})\b").unwrap();
    let mut found = 0;
    for feature in NAMESPACES {
        let cards: Value = serde_json::from_str(&stdout(&[feature, "--format", "json"])).unwrap();
        for card in cards.as_array().unwrap() {
            for seen in card["evidence"].as_array().unwrap() {
                let line =
                    format!("{} {}", seen["source"].as_str().unwrap(), seen["value"].as_str().unwrap());
                for pid in places.captures_iter(&line) {
                    let pid: i64 = pid.iter().skip(1).flatten().next().unwrap().as_str().parse().unwrap();
                    let named = card["processes"].as_array().into_iter().flatten();
                    assert!(
                        named.clone().any(|one| one["pid"] == pid && one["who"].is_string()),
                        "{pid}: {card}"
                    );
                    found += 1;
                }
            }
        }
    }
    assert!(found >= 8, "{found}");
    let card = stdout(&["pid", "--demo", "numbers"]);
    let pid = card.split("/proc/").nth(1).unwrap().split('/').next().unwrap();
    assert!(card.contains(&format!("PID {pid}: the process INSIDE, as seen from OUTSIDE")), "{card}");
}

#[test]
fn on_a_terminal_the_cards_come_one_at_a_time() {
    for next in ["\n", "n", " "] {
        let mut terminal = on_screen(24, &["uts"]);
        let introduction = terminal.wait_for(FIRST_KEYS);
        assert!(
            introduction.contains("uts_namespaces(7)") && !introduction.contains("1/4"),
            "{introduction}"
        );
        for place in 1..=4 {
            terminal.press(next);
            let page = terminal.wait_for(KEYS);
            assert!(page.contains(&format!("{place}/4  ")), "{page}");
            assert!(!page.contains(&format!("{}/4  ", place + 1)), "{page}");
            fits(page.trim_start(), 80, 24);
        }
        terminal.press(next);
        let (status, rest) = terminal.end();
        assert!(status.success() && rest.contains("REMEMBER"), "{rest}");
    }
}

#[test]
fn one_can_go_back_and_see_the_system_calls_and_quit() {
    let mut terminal = on_screen(24, &["uts"]);
    terminal.wait_for(FIRST_KEYS);
    // There is nothing before the first page.
    terminal.press("b");
    assert!(terminal.wait_for(FIRST_KEYS).contains("uts_namespaces(7)"));
    terminal.press("\n");
    let first = terminal.wait_for(KEYS);
    terminal.press("\n");
    assert!(terminal.wait_for(KEYS).contains("2/4"));
    terminal.press("b");
    let again = terminal.wait_for(KEYS);
    // The card is not made again: its namespaces are the same ones.
    let link = |page: &str| {
        page.split("INSIDE    /proc/self/ns/uts").nth(1).unwrap().lines().next().unwrap().to_owned()
    };
    assert_eq!(link(&first), link(&again));
    terminal.press("e");
    let part = terminal.wait_for(MORE_KEYS);
    fits(part.trim_start(), 80, 24);
    assert!(part.contains("Process 1 of 2") && part.contains("clone3("), "{part}");
    let mut calls = part;
    while calls.ends_with(MORE_KEYS) {
        terminal.press("\n");
        let more = terminal.wait_for("q: quit");
        fits(more.trim_start(), 80, 25);
        calls.push_str(&more);
    }
    assert!(calls.contains("CLONE_NEWUTS") && calls.contains("Process 2 of 2"), "{calls}");
    terminal.press("x");
    terminal.press("\n");
    assert!(terminal.wait_for(KEYS).contains("2/4"));
    terminal.press("q");
    let (status, rest) = terminal.end();
    assert!(status.success(), "{rest}");
    assert!(!rest.contains("3/4") && !rest.contains("REMEMBER"), "{rest}");
    // Ctrl-D quits, too, here at the first page.
    let mut terminal = on_screen(24, &["ipc", "--color", "always"]);
    terminal.wait_for(FIRST_KEYS);
    terminal.press("\u{4}");
    let (status, rest) = terminal.end();
    // With colours, the terminal erases the prompt: its control sequence is not printed as text.
    assert!(status.success() && rest.contains("\x1b[K") && !rest.contains(r"\x1b"), "{rest:?}");
    // Ctrl-C interrupts, as anywhere.
    let mut terminal = on_screen(24, &["uts"]);
    terminal.wait_for(FIRST_KEYS);
    terminal.press("\u{3}");
    let (status, rest) = terminal.ended();
    assert_eq!(status.code(), Some(130), "{rest}");
    assert_eq!(terminal.modes(), terminal.before);
}

#[test]
fn a_page_longer_than_the_screen_comes_in_parts() {
    let mut terminal = on_screen(10, &["uts", "--hostname", "aquarium"]);
    terminal.wait_for(FIRST_KEYS);
    terminal.press("\n");
    let part = terminal.wait_for(MORE_KEYS);
    fits(part.trim_start(), 80, 10);
    // The lines for a shell begin a part.
    terminal.press("\n");
    let mut rest = terminal.wait_for("q: quit");
    assert!(rest.trim_start().starts_with("Repeat it:"), "{rest}");
    while rest.ends_with(MORE_KEYS) {
        terminal.press("\n");
        rest = terminal.wait_for("q: quit");
    }
    terminal.press("q");
    assert!(terminal.end().0.success());
}

#[test]
fn without_pauses_everything_is_printed() {
    for arguments in [&["uts", "--no-pause"][..], &["uts", "--no-pause", "--color", "never"]] {
        let (status, shown) = on_screen(24, arguments).end();
        assert!(status.success() && shown.contains("4/4  ") && shown.contains("REMEMBER"), "{shown}");
        assert!(!shown.contains("Enter:"), "{shown}");
    }
    // One card alone needs no key.
    let (status, shown) = on_screen(24, &["uts", "--demo", "copy"]).end();
    assert!(status.success() && shown.contains("1/4  copy") && !shown.contains("Enter:"), "{shown}");
    let piped = stdout(&["uts"]);
    assert!(piped.contains("4/4  ") && !piped.contains("Enter:"), "{piped}");
}

#[test]
fn the_system_calls_are_a_summary_first_and_those_of_one_card_on_request() {
    for feature in NAMESPACES {
        let summary = stdout(&[feature, "--explain"]);
        fits(&summary, 80, 24);
        let names = stdout(&[feature, "--demo", "list"]);
        for name in names.lines() {
            assert!(summary.contains(&format!("  {name} ")), "{name}: {summary}");
        }
        assert!(summary.contains("CLONE_NEW"), "{summary}");
        let first = names.lines().next().unwrap();
        assert!(summary.contains(&format!("sandbox {feature} --demo {first} --explain")), "{summary}");
        let steps = stdout(&[feature, "--demo", first, "--explain"]);
        assert!(
            steps.contains("CLONE_NEW") && steps.contains(" = 0\n") && steps.contains("\nholds "),
            "{steps}"
        );
    }
}

#[test]
fn a_step_has_its_reason_before_the_key_and_is_printed_once() {
    let _alone = alone();
    for (arguments, reason) in [
        (
            &["uts", "--hostname", "aquarium", "--step", "--", "true"][..],
            "only this namespace has the new name",
        ),
        (&["pid", "--step", "--", "true"], "creates the child in new namespaces"),
        (&["uts", "--demo", "copy", "--step"], "creates the child, and a pidfd"),
    ] {
        let mut terminal = Terminal::start(arguments);
        let mut all = String::new();
        let mut is_before_a_key = false;
        loop {
            let part = terminal.wait_for("q undo and quit\n");
            is_before_a_key |= part.contains(reason);
            all.push_str(&part);
            if is_before_a_key {
                break;
            }
            terminal.press("n");
        }
        terminal.press("n");
        all.push_str(&terminal.wait_for(" = "));
        terminal.press("c");
        all.push_str(&terminal.end().1);
        assert!(is_before_a_key, "{all}");
        let reasons = all.matches(reason).count();
        let plans = all.matches("socketpair(").count();
        assert!(reasons == 1 || reasons <= plans, "{reasons}: {all}");
    }
}

/// Each view without a command has a file that differs, not only the link of the namespace.
#[test]
fn a_view_shows_a_difference_by_default() {
    for feature in NAMESPACES {
        let view: Value =
            serde_json::from_str(&stdout(&[feature, "--show-proc", "--format", "json"])).unwrap();
        let rows = view["paths"].as_array().unwrap().iter();
        let differs = rows.clone().any(|row| {
            let is_link = row["path"].as_str().unwrap().starts_with("/proc/self/ns/");
            !is_link && row["equal"] == false
        });
        // In the root cgroup of every hierarchy, a cgroup namespace has nothing to hide.
        let is_at_root = || {
            let own = std::fs::read_to_string("/proc/self/cgroup").unwrap();
            own.lines().all(|line| line.ends_with(":/"))
        };
        assert!(differs || feature == "cgroup" && is_at_root(), "{feature}: {view}");
        let shown = stdout(&[feature, "--show-proc"]);
        assert!(shown.contains("OUTSIDE (sandbox ") && shown.contains("INSIDE (demo "), "{shown}");
        assert!(!shown.contains("(your shell)"), "{shown}");
    }
    // What the user chose stays as it is.
    for (arguments, absent) in [
        (&["uts", "--domainname", "lab", "--show-proc"][..], "sandbox adds"),
        (&["time", "--monotonic", "5", "--show-proc"], "sandbox adds"),
        (&["mnt", "--tmpfs", "/tmp", "--show-proc"], "sandbox adds"),
    ] {
        let shown = stdout(arguments);
        assert!(!shown.contains(absent), "{shown}");
    }
    // A command gets what it asked for, no more.
    let output = run(&["uts", "--show-proc", "--", "cat", "/proc/sys/kernel/hostname"]);
    assert_ne!(text(&output.stdout), "box\n");
}

/// Reports and steps that are longer than the screen also wait for keys. With --no-pause they do not.
#[test]
fn what_is_longer_than_the_screen_waits_for_a_key() {
    let _alone = support::alone();
    for arguments in [&["doctor"][..], &["doctor", "--lessons"], &["uts", "--demo", "copy", "--explain"]] {
        let mut terminal = on_screen(12, arguments);
        let first = terminal.wait_for(FIRST_KEYS);
        fits(first.trim_start(), 80, 12);
        terminal.press("\n");
        while let Some(page) = terminal.wait_for_or_end("q: quit") {
            fits(page.trim_start(), 80, 12);
            terminal.press("\n");
        }
        let (status, rest) = terminal.ended();
        assert!(status.success() && rest.trim_start().lines().count() <= 12, "{arguments:?} {rest}");
        let mut terminal = on_screen(12, arguments);
        terminal.wait_for(FIRST_KEYS);
        terminal.press("q");
        let (_, rest) = terminal.ended();
        assert!(rest.lines().count() <= 6, "{arguments:?} {rest}");
        let (status, shown) = on_screen(12, &[arguments, &["--no-pause"]].concat()).end();
        assert!(status.success() && !shown.contains("Enter:"), "{arguments:?} {shown}");
    }
}
