//! Pictures of limits: a title above, a legend, and a label at every number; on a terminal together with the card on one
//! screen, now and when one goes back.
//!
//! Of this kind: every card with a picture; terminals of 80, 60 and 40 columns and of few lines; colour, NO_COLOR, TERM=dumb, a
//! pipe, `--plain`, `--stable`; the keys Enter and b; a card alone.

mod support;

use support::limits::{may, possible};
use support::screen::rows;
use support::terminal::Terminal;
use support::{alone, binary, fits, run, sample, stdout, text};

/// The features with pictures, and their cards that have one.
const PICTURES: [(&str, &[&str]); 4] = [
    ("memory", &["cache", "kill"]),
    ("cpu", &["weight", "alone", "quota"]),
    ("blkio", &["direct", "iops"]),
    ("pids", &["bomb"]),
];

const LINES: u16 = 24;
const MORE: &str = "Enter: more   b: back   q: quit";

/// `sandbox` in a terminal of this size, with these variables.
fn on_screen(columns: u16, lines: u16, variables: &str, arguments: &[&str]) -> Terminal {
    let script = format!("stty rows {lines} cols {columns}; exec env {variables} \"$0\" \"$@\"");
    let program = binary();
    let words = [&["-c", &script, program.to_str().unwrap()][..], arguments].concat();
    Terminal::of("/bin/sh".as_ref(), &words)
}

/// The next screen: its rows with the one of the keys, and whether the card goes on.
fn screen(terminal: &mut Terminal, columns: u16) -> (Vec<String>, bool) {
    let page = terminal.wait_for("q: quit");
    let is_part = page.ends_with(MORE);
    // The rest of the line of keys.
    let page = if page.ends_with("b: back   q: quit") && !is_part {
        page + &terminal.wait_for("calls")
    } else {
        page
    };
    let rows = rows(page.trim_start_matches('\n'), columns.into());
    assert!(rows.len() <= LINES.into(), "{} rows: {rows:#?}", rows.len());
    (rows, is_part)
}

/// Checks that the rows have one picture with its title, that every character in it is explained, and that every number
/// has a label and a unit.
fn check_picture(rows: &[String], of: &str) {
    let is_row = |row: &&String| row.starts_with("   last [") || row.starts_with("   time [");
    let bars: Vec<&String> = rows.iter().filter(is_row).collect();
    assert!((2..=4).contains(&bars.len()), "{of}: {rows:#?}");
    let first = rows.iter().position(|row| is_row(&row)).unwrap();
    let last = rows.iter().rposition(|row| is_row(&row)).unwrap();
    // Above the rows: the name of the lane with its character, and above that the title with the kernel's file.
    let files = ["(memory.", "(cpu", "(io.", "(blkio.", "(pids."];
    let has_file = |row: &&String| !row.starts_with(' ') && files.iter().any(|file| row.contains(file));
    assert!(rows[..first].iter().any(|row| has_file(&row)), "{of}: {rows:#?}");
    assert!(last - first < 12, "{of}: {rows:#?}");
    for bar in &bars {
        let (inside, after) = bar.split_once('[').unwrap().1.split_once(']').unwrap();
        for sign in inside.chars().chain(after.chars().take(1)).filter(|sign| *sign != ' ') {
            let explains = |row: &&String| {
                let signs = row.split("  ").next().unwrap();
                signs.chars().count() <= 7
                    && signs.contains(sign)
                    && row.chars().count() > signs.chars().count() + 6
            };
            assert!(rows.iter().any(|row| explains(&row)), "{of}: {sign:?} is not explained: {rows:#?}");
        }
        let unit = [" MiB", " % of a CPU", " MiB/s", " writes/s", " processes", " process", " s"];
        assert!(unit.iter().any(|unit| after.ends_with(unit)), "{of}: {bar}");
    }
}

/// The name of the card on a screen: `kill` of `2/3  kill   sandbox memory --demo kill`.
fn card_on(rows: &[String]) -> Option<String> {
    let title = rows.first()?;
    let (place, rest) = title.split_once("  ")?;
    place.contains('/').then(|| rest.split_whitespace().next().unwrap_or_default().to_owned())
}

#[test]
fn a_picture_and_its_card_are_on_one_screen_and_back_shows_both() {
    let _alone = alone();
    let possible = possible("a_picture_and_its_card_are_on_one_screen_and_back_shows_both");
    for (feature, cards) in sample(2, PICTURES.into_iter().filter(|(feature, _)| possible.contains(feature)))
    {
        let mut terminal = on_screen(80, LINES, "NO_COLOR=1", &[feature]);
        assert!(terminal.wait_for("q: quit").contains("cgroups(7)"));
        let all = stdout(&[feature, "--demo", "list"]).lines().count();
        let (mut seen, mut before) = (vec![], None);
        terminal.press("\n");
        for _ in 0..all {
            let (shown, mut goes_on) = screen(&mut terminal, 80);
            let name = card_on(&shown).unwrap_or_else(|| panic!("{shown:#?}"));
            assert!(
                shown.iter().any(|row| row.starts_with("holds ") || row.starts_with("skipped ")),
                "{shown:#?}"
            );
            if cards.contains(&name.as_str()) {
                check_picture(&shown, &name);
                seen.push(name);
            }
            if let Some(before) = before.replace(shown.clone()) {
                terminal.press("b");
                assert_eq!(screen(&mut terminal, 80).0, before);
                let mut is_part = before.last().unwrap() == MORE;
                while is_part {
                    terminal.press("\n");
                    is_part = screen(&mut terminal, 80).1;
                }
                terminal.press("\n");
                assert_eq!(screen(&mut terminal, 80).0, shown);
            }
            while goes_on {
                terminal.press("\n");
                let (rest, is_part) = screen(&mut terminal, 80);
                assert!(rest[0] == "Repeat it:" || is_part, "{rest:#?}");
                goes_on = is_part;
                // From the second part, one comes back to the picture.
                if !is_part {
                    terminal.press("b");
                    assert_eq!(screen(&mut terminal, 80).0, shown);
                    terminal.press("\n");
                    assert_eq!(screen(&mut terminal, 80).0, rest);
                }
            }
            terminal.press("\n");
        }
        assert_eq!(seen, cards, "{feature}");
        let (status, end) = terminal.end();
        assert!(status.success() && end.contains("REMEMBER"), "{end}");
    }
}

#[test]
fn a_picture_fits_a_narrow_terminal_with_and_without_colour() {
    let _alone = alone();
    if !may("a_picture_fits_a_narrow_terminal_with_and_without_colour", "pids") {
        return;
    }
    for (columns, variables) in [(60, "NO_COLOR=1"), (40, "NO_COLOR=1"), (40, "-u NO_COLOR")] {
        let mut terminal = on_screen(columns, LINES, variables, &["pids"]);
        terminal.wait_for("q: quit");
        terminal.press("\n");
        let page = terminal.wait_for("q: quit");
        assert_eq!(page.contains("\x1b[1m"), variables.starts_with('-'), "{page:?}");
        // It was drawn more than once, and only the last drawing is left.
        assert!(page.contains("\x1b[J"), "{page:?}");
        let shown = rows(page.trim_start_matches('\n'), columns.into());
        assert!(shown.len() <= LINES.into(), "{shown:#?}");
        assert_eq!(shown.iter().filter(|row| row.starts_with("   last [")).count(), 1, "{shown:#?}");
        check_picture(&shown, "bomb");
        assert!(shown.iter().any(|row| row.contains("16 processes")), "{shown:#?}");
        terminal.press("q");
        assert!(terminal.end().0.success());
    }
}

#[test]
fn a_card_alone_that_is_longer_than_the_screen_comes_in_parts() {
    let _alone = alone();
    if !may("a_card_alone_that_is_longer_than_the_screen_comes_in_parts", "cpu") {
        return;
    }
    let mut terminal = on_screen(80, LINES, "NO_COLOR=1", &["cpu", "--demo", "alone"]);
    let (shown, is_part) = screen(&mut terminal, 80);
    check_picture(&shown, "alone");
    assert!(is_part, "{shown:#?}");
    terminal.press("\n");
    let (status, rest) = terminal.end();
    assert!(status.success() && rest.contains("Repeat it:") && !rest.contains("Enter:"), "{rest}");
    fits(rest.trim_start(), 80, LINES.into());
    // On a screen that is too low for the picture, nothing is redrawn.
    let mut terminal = on_screen(80, 8, "NO_COLOR=1", &["pids", "--demo", "bomb"]);
    let part = terminal.wait_for(MORE);
    assert!(!part.contains('\x1b'), "{part:?}");
    terminal.press("q");
    assert!(terminal.end().0.success());
}

#[test]
fn a_pipe_and_a_dumb_terminal_get_the_picture_too() {
    let _alone = alone();
    if !may("a_pipe_and_a_dumb_terminal_get_the_picture_too", "pids") {
        return;
    }
    let piped = stdout(&["pids", "--demo", "bomb"]);
    check_picture(&piped.lines().map(str::to_owned).collect::<Vec<_>>(), "bomb");
    assert!(!piped.contains('\x1b'));
    let (_, dumb) = on_screen(80, 40, "TERM=dumb", &["pids", "--demo", "bomb"]).end();
    check_picture(&dumb.lines().map(str::to_owned).collect::<Vec<_>>(), "bomb");
    assert!(!dumb.contains('\x1b'), "{dumb:?}");
    let mut narrow = support::sandbox(&["pids", "--demo", "bomb"]);
    let narrow = text(&narrow.env("COLUMNS", "40").output().unwrap().stdout);
    let (seen, _) = narrow.split_once("Repeat it:").unwrap();
    fits(seen, 40, 23);
    check_picture(&narrow.lines().map(str::to_owned).collect::<Vec<_>>(), "bomb");
}

#[test]
fn a_screen_reader_gets_words_and_a_handout_no_measurement() {
    let _alone = alone();
    if !may("a_screen_reader_gets_words_and_a_handout_no_measurement", "pids") {
        return;
    }
    let plain = stdout(&["pids", "--demo", "bomb", "--plain"]);
    assert!(!plain.contains("last [") && !plain.contains("time ["), "{plain}");
    let words = plain.split_whitespace().collect::<Vec<_>>().join(" ");
    for part in [
        "Processes in the cgroup, over time (pids.current), for ",
        "The limit is 16 processes.",
        "Limit reached: at ",
    ] {
        assert!(words.contains(part), "{part}: {plain}");
    }
    let flags = ["pids", "--demo", "bomb", "--plain", "--color", "never"];
    let (_, plain) = on_screen(80, 40, "TERM=xterm", &flags).end();
    let words = plain.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(!plain.contains('\x1b') && words.contains("The limit is 16 processes."), "{plain:?}");
    let stable = || stdout(&["pids", "--demo", "bomb", "--stable"]);
    let first = stable();
    assert!(first.contains("   last <measured> processes\n") && first.contains("\n|  limit: "), "{first}");
    let picture = |shown: &str| shown.split("OUTSIDE").next().unwrap().to_owned();
    assert_eq!(picture(&first), picture(&stable()));
    // A feature without pictures takes the flag too.
    assert!(run(&["uts", "--demo", "copy", "--plain"]).status.success());
}
