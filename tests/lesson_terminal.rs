//! The course on a terminal: `check --watch`, Ctrl-C, and `--plain` for a screen reader.
//!
//! Inputs of this kind: an exercise that passes while it is watched · Ctrl-C while it is watched, also after a check that
//! starts a helper · Ctrl-C at each prompt · standard output that is no terminal · each subcommand with --plain, in both
//! languages, with colour asked for.

mod support;

use std::path::Path;
use std::process::{Child, Command, Stdio};

use support::terminal::Terminal;
use support::{alone, becomes, binary, sample, sandbox, skip, text};

/// A lesson that was started, with the seed `one`.
fn started(lesson: &str) -> (tempfile::TempDir, String) {
    let home = tempfile::tempdir().unwrap();
    let read = printed(home.path(), &["start", lesson, "--seed", "one"]);
    (home, read)
}

fn printed(home: &Path, arguments: &[&str]) -> String {
    let output = sandbox(&["lesson", "--dir", home.to_str().unwrap()]).args(arguments).output().unwrap();
    text(&output.stdout)
}

/// `sandbox lesson` on a terminal.
fn terminal(home: &Path, arguments: &[&str]) -> Terminal {
    let mut words = vec!["lesson", "--dir", home.to_str().unwrap()];
    words.extend(arguments);
    Terminal::of(&binary(), &words)
}

/// The `sleep` of an exercise: the first one in the text after its heading.
fn sleep_of(read: &str, heading: &str) -> String {
    let task = read.split(heading).nth(1).unwrap_or_default();
    let command = task.split("`sleep ").nth(1).unwrap_or_default();
    command.split('`').next().unwrap_or_default().to_owned()
}

/// `sleep` as a learner starts it. It ends when this is dropped.
struct Sleep(Child);

impl Sleep {
    fn start(seconds: &str) -> Sleep {
        let child = Command::new("sleep").arg(seconds).stdin(Stdio::null()).spawn().unwrap();
        becomes(child.id(), "sleep");
        Sleep(child)
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn watch_ends_when_the_learner_has_made_it() {
    let _alone = alone();
    let (home, read) = started("look");
    let seconds = sleep_of(&read, "Exercise: find your process");
    let mut watch = terminal(home.path(), &["check", "find", "--watch"]);
    watch.wait_for("1.1 find: not yet");
    watch.wait_for("Checking once a second. Ctrl-C ends it.");
    let sleep = Sleep::start(&seconds);
    watch.wait_for("1.1 find: passed");
    let (status, rest) = watch.end();
    assert!(status.success(), "{rest}");
    drop(sleep);
    assert!(printed(home.path(), &["progress"]).contains("1.1 find: passed"));
}

#[test]
fn the_list_has_pages_that_end_between_two_parts() {
    let home = tempfile::tempdir().unwrap();
    let list = |rows: u16| {
        let line = format!("stty rows {rows}; exec \"$0\" lesson --dir \"$1\" list");
        let words =
            ["-c", &line, binary().to_str().unwrap(), home.path().to_str().unwrap()].map(str::to_owned);
        Terminal::of("/bin/sh".as_ref(), &words.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let mut small = list(24);
    let first = small.wait_for("Enter: next");
    small.press("\r");
    let second = small.wait_for("Enter: next");
    small.press("\r");
    let third = small.wait_for("Enter: next");
    small.press("\r");
    let (status, fourth) = small.end();
    assert!(status.success(), "{fourth}");
    for page in [&first, &second, &third, &fourth] {
        // The rest of the line of keys is before a page.
        assert!(page.trim().lines().count() <= 24, "{page}");
    }
    assert!(first.contains(" 1  look") && !first.contains("A whole container,"), "{first}");
    assert!(second.contains("A whole container,") && fourth.contains("To begin or to go on:"), "{fourth}");
    // A lesson without room for it has a second line for what comes first.
    assert!(third.contains("Join, one namespace at a time\n") || third.contains("(first: "), "{third}");
    // A large terminal needs no pages.
    let (status, whole) = list(80).end();
    assert!(status.success() && whole.contains(" 1  look") && whole.contains("To begin"), "{whole}");
}

#[test]
fn ctrl_c_ends_watch_and_leaves_the_terminal_as_it_was() {
    let _alone = alone();
    // The check reads the hostname by a helper in the namespaces of `sleep`, and the helper's start blocks signals.
    let (home, read) = started("uts");
    let seconds = sleep_of(&read, "Exercise");
    let sleep = Sleep::start(&seconds);
    let mut watch = terminal(home.path(), &["check", "node", "--watch"]);
    watch.wait_for("node: not yet");
    watch.wait_for("Ctrl-C ends it.");
    watch.press("\x03");
    watch.wait_for("Stopped. node has not passed.\n");
    let (status, rest) = watch.ended();
    assert_eq!(status.code(), Some(130), "{rest}");
    assert_eq!(watch.modes(), watch.before);
    // The kernel sends the signal first and echoes the key afterwards: `^C` may be the last that is printed.
    assert_eq!(rest.replace("^C", ""), "");
    drop(sleep);
}

/// Each change is printed once, and with a time limit nothing has to end it.
#[test]
fn watch_into_a_pipe_prints_changes_only() {
    let _alone = alone();
    let (home, _) = started("look");
    let directory = home.path().to_str().unwrap();
    let watch = ["lesson", "--dir", directory, "check", "find", "--watch", "--timeout", "2"];
    let output = sandbox(&watch).output().unwrap();
    let out = text(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{out}");
    assert_eq!(out.matches("not yet").count(), 1, "{out}");
    assert!(out.ends_with("Stopped. find has not passed.\n") && !out.contains('\x1b'), "{out}");
}

#[test]
fn ctrl_c_at_a_prompt_stops_the_lesson() {
    let _alone = alone();
    let home = tempfile::tempdir().unwrap();
    let mut lesson = terminal(home.path(), &["start", "look"]);
    lesson.wait_for("q: quit >");
    lesson.press("\x03");
    // Below a directory with a long name, the command has a line of its own.
    lesson.wait_for("To go on from here:");
    lesson.wait_for("sandbox lesson --dir ");
    let (status, rest) = lesson.end();
    assert!(status.success(), "{rest}");
    // The next one goes on, and asks the question before the evidence.
    let mut lesson = terminal(home.path(), &[]);
    lesson.wait_for("q: quit >");
    lesson.press("\n");
    lesson.wait_for("your answer (a, b, c) >");
    lesson.press("c\n");
    lesson.wait_for("c is right.");
    lesson.press("q\n");
    let (status, rest) = lesson.end();
    assert!(status.success(), "{rest}");
}

/// What a screen reader cannot read: control characters, and signs that draw.
fn is_drawing(character: char) -> bool {
    let is_control = character.is_control() && !['\n', '\t'].contains(&character);
    is_control
        || ('\u{2190}'..='\u{2bff}').contains(&character)
        || ('\u{e000}'..='\u{f8ff}').contains(&character)
}

#[test]
fn plain_output_is_sentences_without_colour_and_drawings() {
    let _alone = alone();
    let (home, _) = started("look");
    let mut actions = vec![
        vec!["list"],
        vec!["check", "find"],
        vec!["hint", "find"],
        vec!["check", "--all", "--lesson", "look"],
    ];
    actions.extend(["user", "hardening"].map(|lesson| vec!["start", lesson]));
    actions.push(vec!["progress"]);
    let all =
        ["en", "zh"].into_iter().flat_map(|language| actions.iter().map(move |action| (language, action)));
    for (language, action) in sample(3, all) {
        let words = [&["--plain", "--lang", language, "--color", "always"], &action[..]].concat();
        let out = printed(home.path(), &words);
        assert!(!out.is_empty(), "{words:?}");
        let drawn: Vec<&str> = out.lines().filter(|line| line.contains(is_drawing)).collect();
        assert!(drawn.is_empty(), "{words:?}: {drawn:?}");
        if language == "en" {
            assert!(out.is_ascii(), "{words:?}: {out}");
        }
    }
    let read = printed(home.path(), &["--plain", "start", "look"]);
    for words in ["Section: Goals\n", "Section: Before you look\n", "Code:\n", "End of code.\n", "a) eight"] {
        assert!(read.contains(words), "{words}: {read}");
    }
    // A row of a table is a sentence.
    let list = printed(home.path(), &["--plain", "list"]);
    let rows = "Section: Namespaces: what a process sees\n1. look: Look before you isolate; 15 min; 0/3\n";
    assert!(list.starts_with(rows), "{list}");
    // Without --plain there is colour, if it is asked for.
    assert!(printed(home.path(), &["--color", "always", "start", "look"]).contains('\x1b'));
}

/// On a terminal too, the cursor is never moved.
#[test]
fn plain_pages_move_no_cursor() {
    let _alone = alone();
    let home = tempfile::tempdir().unwrap();
    let mut lesson = terminal(home.path(), &["--plain", "--color", "always", "start", "look"]);
    let mut seen = lesson.wait_for("q: quit >");
    lesson.press("\n");
    seen += &lesson.wait_for("your answer (a, b, c) >");
    lesson.press("q\n");
    let (status, rest) = lesson.end();
    assert!(status.success(), "{rest}");
    seen += &rest;
    assert!(!seen.contains('\x1b') && seen.contains("Section: Goals"), "{seen}");
}

#[test]
fn a_lesson_says_before_it_begins_what_it_builds_on_and_what_cannot_be_done() {
    let _alone = alone();
    let home = tempfile::tempdir().unwrap();
    let start = |lesson: &str| {
        let mut command = sandbox(&["lesson", "start", lesson, "--seed", "one"]);
        let output = command.env("SANDBOX_LESSONS", home.path()).env("PATH", "/nonexistent").output();
        text(&output.unwrap().stdout)
    };
    let before = |read: &str| read.split("Goals").next().unwrap().replace('\n', " ");
    let read = start("pid");
    let needs = "This lesson builds on look, which you have not done:  sandbox lesson start look";
    assert!(read.lines().any(|line| line == needs), "{read}");
    let first = before(&read);
    assert!(first.contains("forks: the program cc is not installed"), "{first}");
    assert!(first.contains("For the reasons and the fix:  sandbox doctor --lessons"), "{first}");
    assert!(!before(&start("look")).contains("builds on"));
    let list = printed(home.path(), &["list"]);
    // The last lines advise commands with the directory, however long its path is.
    let lessons = list.lines().filter(|line| !line.contains("--dir"));
    assert!(lessons.map(|line| line.chars().count()).max() <= Some(80), "{list}");
    let line = list.lines().find(|line| line.contains(" pid ")).unwrap();
    assert!(line.ends_with("(first: look)"), "{list}");

    // When its exercises have passed, the lesson `look` is done.
    let path = home.path().join("progress.json");
    let mut progress: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    for exercise in ["find", "one-different", "count"] {
        progress["lessons"]["look"]["exercises"][exercise] = serde_json::json!({ "passed": 1 });
    }
    std::fs::write(&path, progress.to_string()).unwrap();
    assert!(!start("pid").contains("builds on"));
    assert!(!printed(home.path(), &["list"]).lines().any(|line| line.contains("first: look)")));
}

/// In a namespace in which no UTS namespace can be made, the lesson about it shows recorded output.
#[test]
fn what_does_not_work_here_is_shown_as_recorded() {
    let _alone = alone();
    let home = tempfile::tempdir().unwrap();
    let script = format!(
        "echo 0 > /proc/sys/user/max_uts_namespaces; exec {} lesson --dir {} start look",
        binary().display(),
        home.path().display()
    );
    let output = sandbox(&["user", "-q", "--", "sh", "-c", &script]).output().unwrap();
    let read = text(&output.stdout);
    if read.is_empty() {
        let reason = format!("machine: no user namespace: {}", text(&output.stderr));
        return skip("what_does_not_work_here_is_shown_as_recorded", &reason);
    }
    let first = read.split("Goals").next().unwrap().replace('\n', " ");
    assert!(first.contains("not all of this works: uts."), "{read}");
    assert!(
        first.contains("1.1 find, 1.2 one-different, 1.3 count: the feature uts does not work here"),
        "{read}"
    );
    assert!(read.contains("(recorded on another machine)"), "{read}");
}

/// What a new user meets who tries each subcommand. An advised line works as it is.
#[test]
fn each_subcommand_says_what_to_do_next() {
    let _alone = alone();
    let home = tempfile::tempdir().unwrap();
    let (parent, home) = (home.path(), home.path().join("course"));
    let lesson = |arguments: &[&str]| {
        let words = [&["lesson", "--dir", "course"], arguments].concat();
        let output = sandbox(&words).current_dir(parent).output().unwrap();
        let said = text(&output.stdout) + &text(&output.stderr);
        // Each advised line names the same directory. The text of a lesson is printed as it is.
        let kept = said.replace("sandbox lesson --dir course", "sandbox LESSON");
        assert!(said.starts_with("Lesson ") || !kept.contains("sandbox lesson"), "{arguments:?}: {said}");
        (output.status.code().unwrap(), kept.replace("sandbox LESSON", "sandbox lesson"))
    };
    let advised = |said: &str| {
        let line = said
            .lines()
            .find_map(|line| line.trim_start_matches("  do").trim().strip_prefix("sandbox lesson "));
        line.map(|line| line.split(' ').map(str::to_owned).collect::<Vec<_>>()).unwrap_or_default()
    };
    for (wrong, words, next) in sample(
        2,
        [
            (&["start", "luk"][..], "no lesson is called", "start look"),
            (&["start", "zzzzzzzz"], "no lesson is called", "list"),
            (&["reset", "pidd"], "no lesson is called", "reset pid"),
            (&["check", "finds"], "no exercise is called", "check find"),
            (&["check", "count", "--watch"], "there is nothing to watch", "check 1.3 --answer 1"),
            (&["answer", "inherit", "z"], "its options are a, b, c", "answer inherit a"),
            (&["solution", "find"], "hints of find come first", "hint 1.1"),
            (&["reset"], "must be confirmed", "reset --yes"),
        ],
    ) {
        let (status, said) = lesson(wrong);
        assert!(status == 2 && said.contains(words), "{wrong:?}: {said}");
        let line = advised(&said);
        assert_eq!(line.join(" "), next, "{wrong:?}: {said}");
        let words: Vec<&str> = line.iter().map(String::as_str).collect();
        assert!([0, 1, 2].contains(&lesson(&words).0), "{next}");
    }
    // One of the advised lines begins a lesson.
    assert_eq!(lesson(&["reset", "--yes"]).0, 0);
    assert_eq!(lesson(&["reset", "--yes"]), (0, "There is nothing to remove.\n".to_owned()));
    assert!(!home.exists());
    assert!(lesson(&["progress"]).1.starts_with("Nothing yet."));
    assert!(lesson(&[]).1.starts_with("Lesson 1 of "));
    let said = lesson(&["check", "count"]).1.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(said.contains("Predict first: sandbox lesson check 1.3 --answer ANSWER"), "{said}");
    for (hint, last) in [("1", false), ("2", false), ("3", true), ("3", true)] {
        let said = lesson(&["hint", "find"]).1;
        assert!(said.contains(&format!("1.1 find: hint {hint} of 3")), "{said}");
        assert_eq!(said.contains("The solution:  sandbox lesson solution 1.1"), last, "{said}");
    }
    // The name of a pack is quoted where a shell needs it.
    std::os::unix::fs::symlink(support::repository().join("lessons"), parent.join("my pack")).unwrap();
    let words = ["lesson", "--pack", "my pack", "--dir", "course", "check", "one-different"];
    let said = text(&sandbox(&words).current_dir(parent).output().unwrap().stdout);
    assert!(said.contains("sandbox lesson --pack 'my pack' --dir course hint 1.2"), "{said}");
    assert!(lesson(&["solution", "find"]).1.contains("sleep $seconds &"));
    assert!(lesson(&["progress"]).1.contains("1.1 find: open"));
    assert!(lesson(&["next"]).1.starts_with("Lesson 2 of "));
    assert_eq!(lesson(&["reset", "look", "--yes"]), (0, "look: removed\n".to_owned()));
    assert_eq!(lesson(&["reset", "--yes"]).0, 0);
    assert!(!home.exists());
}
