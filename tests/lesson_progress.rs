//! What a learner has done is kept, also when a lesson is read in one terminal and its exercises are checked in another one.
//!
//! Inputs of this kind: a check, a hint and an answer while a lesson is open · many processes at once, each about another
//! item · a reset while a lesson is open · a lesson's name in place of an action · keys that have no meaning.

mod support;

use std::path::Path;
use std::process::{Child, Output};

use support::terminal::Terminal;
use support::{alone, binary, sample, sandbox, text};

/// The command `sandbox lesson` with a directory of its own.
fn command(home: &Path, arguments: &[&str]) -> std::process::Command {
    let mut command = sandbox(&["lesson"]);
    command.args(arguments).env("SANDBOX_LESSONS", home);
    command
}

fn lesson(home: &Path, arguments: &[&str]) -> Output {
    command(home, arguments).output().unwrap()
}

fn progress(home: &Path) -> serde_json::Value {
    serde_json::from_slice(&lesson(home, &["progress", "--format", "json"]).stdout).unwrap()
}

/// The right answer to the prediction of the lesson `look`: one more than the number in its task.
fn right_answer() -> String {
    let other = tempfile::tempdir().unwrap();
    let read = text(&lesson(other.path(), &["start", "look", "--seed", "one"]).stdout);
    let words: Vec<&str> = read.split_whitespace().collect();
    let at = words.windows(2).position(|pair| pair == ["times", "`sleep"]).unwrap();
    (words[at - 1].parse::<u32>().unwrap() + 1).to_string()
}

/// The lesson `look`, open in a terminal, at its first page.
fn open(home: &Path) -> Terminal {
    let mut reader = Terminal::of(
        &binary(),
        &["lesson", "--dir", home.to_str().unwrap(), "start", "look", "--seed", "one"],
    );
    reader.wait_for("quit >");
    reader
}

/// Turns to the first exercise, and checks it. `c` turns a page, is the answer to the question, and checks an exercise.
fn turn_to_exercise(reader: &mut Terminal) {
    reader.press(&"c\n".repeat(20));
    reader.wait_for("1.1 find: not yet");
}

/// Audited: the answer was replaced by the one with a wrong form, so a check of all exercises took the pass away.
#[test]
fn an_answer_that_does_not_count_replaces_none() {
    let _alone = alone();
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    lesson(home, &["start", "look", "--seed", "one"]);
    let right = right_answer();
    let all =
        || text(&lesson(home, &["check", "--all", "--live", "--lesson", "look", "--report", "csv"]).stdout);
    let passed = lesson(home, &["check", "count", "--answer", &right]);
    assert!(passed.status.success(), "{}", text(&passed.stdout));
    let before = all();
    for form in ["six", &format!("{right} and more")] {
        let output = text(&lesson(home, &["check", "count", "--answer", form]).stdout).replace('\n', " ");
        assert!(output.contains("does not count as a try"), "{output}");
        assert_eq!(all(), before);
    }
    assert!(before.lines().any(|line| line.contains("count") && line.contains("true")), "{before}");
}

#[test]
fn a_lesson_in_a_pipe_asks_before_it_explains() {
    let _alone = alone();
    let home = tempfile::tempdir().unwrap();
    let read = || text(&lesson(home.path(), &["start", "06-uts"]).stdout);
    let first = read();
    assert!(first.contains("sandbox lesson answer ping a"), "{first}");
    assert!(!first.contains("The right answer is"), "{first}");
    lesson(home.path(), &["answer", "ping", "a"]);
    let second = read();
    assert!(second.contains("a is wrong. The right answer is b."), "{second}");
    // No lesson is called `foo`, and none nearly so.
    let error = text(&lesson(home.path(), &["check", "foo"]).stderr);
    assert!(error.contains("sandbox lesson list"), "{error}");
}

/// Audited: where limits are only for root, a heading had nothing below it, and an exercise that cannot be done said what to do when
/// it is done.
#[test]
fn what_cannot_be_done_here_is_shown_as_recorded_and_has_no_check() {
    let _alone = alone();
    let home = tempfile::tempdir().unwrap();
    let read = text(&lesson(home.path(), &["start", "pids"]).stdout);
    let section =
        |from: &str| read.split(from).nth(1).unwrap().lines().skip(1).take(6).collect::<Vec<_>>().join("\n");
    assert!(section("Break it: only ulimit").contains("sandbox pids --break ulimit"), "{read}");
    for exercise in read.split("Exercise: ").skip(1) {
        let cannot = exercise.contains("This exercise cannot be done here");
        assert_eq!(cannot, !exercise.contains("sandbox lesson check 14."), "{exercise}");
    }
}

#[test]
fn what_is_checked_in_another_terminal_is_kept() {
    let _alone = alone();
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let mut reader = open(home);
    // The value of the task is that of the seed `one`.
    lesson(home, &["check", "count", "--answer", &right_answer()]);
    lesson(home, &["hint", "find"]);
    lesson(home, &["hint", "find"]);
    let passed = |progress: &serde_json::Value| {
        let exercises = &progress["lessons"]["look"]["exercises"];
        (exercises["count"]["passed"].is_u64(), exercises["find"]["hints"].clone())
    };
    assert_eq!(passed(&progress(home)), (true, 2.into()));
    // Every page writes which section is read.
    turn_to_exercise(&mut reader);
    assert_eq!(passed(&progress(home)), (true, 2.into()));
    assert_eq!(progress(home)["lessons"]["look"]["answers"]["inherit"], "c");
    assert!(progress(home)["lessons"]["look"]["section"].as_u64().unwrap() > 2);
    // The hint of the pager is the third one.
    reader.press("h\n");
    reader.wait_for("hint 3 of 3");
    reader.wait_for(" > ");
    reader.press("x\n");
    reader.wait_for("This is none of the keys.");
    reader.press("q\n");
    assert!(reader.end().0.success());
    assert_eq!(passed(&progress(home)), (true, 3.into()));

    // A reset while a lesson is open is not undone by the lesson.
    let mut reader = open(home);
    lesson(home, &["reset", "look", "--yes"]);
    turn_to_exercise(&mut reader);
    reader.press("q\n");
    assert!(reader.end().0.success());
    assert_eq!(passed(&progress(home)), (false, 0.into()));
    lesson(home, &["reset", "--yes"]);
    assert!(!home.exists());
}

#[test]
fn processes_that_write_at_the_same_time_lose_nothing() {
    let _alone = alone();
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    lesson(home, &["start", "look", "--seed", "one"]);
    let hints = |name: &'static str| ["hint", name];
    for _ in 0..3 {
        let start = |arguments: &[&str]| -> Child {
            let mut command = command(home, arguments);
            command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).spawn().unwrap()
        };
        let children = [
            start(&hints("find")),
            start(&hints("one-different")),
            start(&hints("three-pids")),
            start(&["check", "find"]),
            start(&["check", "one-different"]),
            start(&["answer", "inherit", "a"]),
        ];
        for mut child in children {
            child.wait().unwrap();
        }
    }
    let progress = progress(home);
    let of = |lesson: &str, exercise: &str| progress["lessons"][lesson]["exercises"][exercise].clone();
    for (lesson, exercise) in [("look", "find"), ("look", "one-different"), ("pid", "three-pids")] {
        assert_eq!(of(lesson, exercise)["hints"], 3, "{exercise}: {progress}");
    }
    assert_eq!((&of("look", "find")["tries"], &of("look", "one-different")["tries"]), (&3.into(), &3.into()));
    assert_eq!(progress["lessons"]["look"]["answers"]["inherit"], "a");
}

#[test]
fn a_lesson_can_be_named_in_place_of_an_action() {
    let home = tempfile::tempdir().unwrap();
    for name in ["look", "1"] {
        assert!(text(&lesson(home.path(), &[name]).stdout).contains("Lesson 1 of"), "{name}");
    }
    for (word, advice) in
        [("lok", "sandbox lesson look"), ("strat", "sandbox lesson start"), ("qqqqqq", "list")]
    {
        let output = lesson(home.path(), &[word]);
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{error}");
        assert!(error.contains(&format!("\"{word}\" is neither")) && error.contains(advice), "{error}");
    }
}

/// The text without the sequences of colours.
fn plain(shown: &str) -> String {
    let colours = regex_lite::Regex::new("\x1b\\[[0-9;]*m").unwrap();
    let lines = colours.replace_all(shown, "").into_owned();
    lines.lines().map(|line| line.trim_end().to_owned() + "\n").collect()
}

#[test]
fn colours_change_no_blank() {
    let _alone = alone();
    let home = tempfile::tempdir().unwrap();
    lesson(home.path(), &["start", "look", "--seed", "one"]);
    let dir = home.path().to_str().unwrap();
    let commands: [&[&str]; 5] = [
        &["pid", "--break", "stale-proc"],
        &["uts", "--demo", "kernel"],
        &["uts", "--dry-run", "--", "true"],
        &["lesson", "--dir", dir, "start", "look"],
        &["lesson", "--dir", dir, "solution", "find"],
    ];
    for arguments in sample(2, commands) {
        let shown = |color: &str| {
            let output = sandbox(&[&["--color", color], arguments].concat()).output().unwrap();
            text(&output.stdout) + &text(&output.stderr)
        };
        let (with, without) = (shown("always"), shown("never"));
        assert!(with.contains("\x1b["), "{arguments:?}");
        // Values of processes differ from run to run, and columns with them.
        let headings = |shown: &str| -> Vec<String> {
            let is_value = |line: &&str| arguments.contains(&"--break") && line.contains("/proc/");
            plain(shown).lines().filter(|line| !is_value(line)).map(str::to_owned).collect()
        };
        assert_eq!(headings(&with), headings(&without), "{arguments:?}");
    }
}

/// The files of a lesson have values of the seed. Another seed replaces those that the learner has not changed.
#[test]
fn a_seed_that_is_given_later_is_that_of_the_files_too() {
    let home = tempfile::tempdir().unwrap();
    let other = tempfile::tempdir().unwrap();
    let start = |home: &Path, seed: &str| lesson(home, &["start", "pid", "--seed", seed]);
    let file = |home: &Path, name: &str| std::fs::read_to_string(home.join("pid").join(name)).unwrap();
    start(home.path(), "one");
    start(other.path(), "two");
    let names: Vec<String> = std::fs::read_dir(other.path().join("pid"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let changed = names.iter().find(|name| file(home.path(), name) != file(other.path(), name));
    let changed = changed.expect("no file of the lesson has a value of the seed");
    start(home.path(), "two");
    for name in &names {
        assert_eq!(file(home.path(), name), file(other.path(), name), "{name}");
    }
    std::fs::write(home.path().join("pid").join(changed), "mine").unwrap();
    start(home.path(), "three");
    assert_eq!(file(home.path(), changed), "mine");
    for arguments in [&["start", "look", "--seed", ""][..], &["test", "--seed", "", "look"]] {
        assert_eq!(lesson(home.path(), arguments).status.code(), Some(2), "{arguments:?}");
    }
}

/// Lessons of two packs may have the same name.
#[test]
fn each_pack_has_its_own_progress() {
    let home = tempfile::tempdir().unwrap();
    let pack = home.path().join("mine");
    let pack = pack.to_str().unwrap();
    assert!(lesson(home.path(), &["new", "--pack", pack, "look"]).status.success());
    let home = home.path().join("home");
    lesson(&home, &["start", "look", "--seed", "one"]);
    let listed = text(&lesson(&home, &["list", "--pack", pack]).stdout);
    // The advised lesson is one of the pack.
    assert!(listed.contains(&format!("--pack {pack} look")), "{listed}");
    lesson(&home, &["start", "--pack", pack, "look"]);
    lesson(&home, &["check", "count", "--answer", "0"]);
    lesson(&home, &["check", "--pack", pack, "last-pid", "--answer", "0"]);
    let lessons = progress(&home)["lessons"].clone();
    assert_eq!(lessons["look"]["exercises"]["count"]["tries"], 1, "{lessons}");
    assert!(lessons["look"]["exercises"].get("last-pid").is_none(), "{lessons}");
    assert_eq!(lessons["mine/look"]["exercises"]["last-pid"]["tries"], 1, "{lessons}");
    // What is removed of one pack stays of the other.
    lesson(&home, &["reset", "--yes"]);
    let lessons = progress(&home)["lessons"].clone();
    assert!(lessons.get("look").is_none() && lessons.get("mine/look").is_some(), "{lessons}");
    assert!(!home.join("look").exists());
    lesson(&home, &["reset", "--pack", pack, "--yes"]);
    assert!(!home.exists());
}

#[test]
fn an_empty_answer_is_refused_and_is_no_try() {
    let _alone = alone();
    let home = tempfile::tempdir().unwrap();
    for answer in ["", "  "] {
        let refused = lesson(home.path(), &["check", "look/count", "--answer", answer]);
        assert_eq!(refused.status.code(), Some(2));
        let error = text(&refused.stderr);
        assert!(
            error.contains("--answer needs an answer") && error.contains("check 1.3 --answer 1"),
            "{error}"
        );
    }
    assert!(!home.path().join("progress.json").exists());
}

/// Where all pages were read, the lesson goes on with what is left to do.
#[test]
fn after_its_pages_a_lesson_opens_the_first_open_exercise() {
    let _alone = alone();
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    lesson(home, &["start", "look", "--seed", "one"]);
    let path = home.join("progress.json");
    let mut edited = progress(home);
    edited["lessons"]["look"]["is_read"] = true.into();
    edited["lessons"]["look"]["exercises"]["find"] = serde_json::json!({ "passed": 1 });
    std::fs::write(&path, edited.to_string()).unwrap();
    let mut reader = Terminal::of(&binary(), &["lesson", "--dir", home.to_str().unwrap()]);
    reader.wait_for("Exercise 1.2. When");
    reader.press("q\n");
    let (_, rest) = reader.end();
    assert!(!rest.contains("1.1 find"), "{rest}");
}

/// A check that holds for every process earns nothing: here, that the process is in the learner's PID namespace.
#[test]
fn a_part_of_the_weight_is_for_what_was_made() {
    let _alone = alone();
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    lesson(home, &["start", "conversation", "--seed", "one"]);
    let client = std::fs::read_to_string(home.join("conversation/talk.c")).unwrap();
    let seconds = client.split("echo ").nth(1).unwrap().split('\\').next().unwrap().to_owned();
    let mut sleep = std::process::Command::new("sleep").arg(&seconds).spawn().unwrap();
    support::becomes(sleep.id(), "sleep");
    let words = ["check", "--all", "--lesson", "conversation", "--partial", "--report", "json"];
    let graded = lesson(home, &words);
    sleep.kill().unwrap();
    sleep.wait().unwrap();
    let grade: serde_json::Value = serde_json::from_slice(&graded.stdout).unwrap();
    let exercises = grade["exercises"].as_array().unwrap();
    let client = exercises.iter().find(|exercise| exercise["exercise"] == "client").unwrap();
    if client.get("cannot").is_none() {
        assert_eq!((&client["failed"], &client["score"]), (&"connection".into(), &0.0.into()), "{client}");
    }
}
