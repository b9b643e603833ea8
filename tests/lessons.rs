//! The lessons: each console block prints what it shows, and each exercise fails untouched, passes solved, and answers each
//! wrong solution. Nothing is left.
//!
//! Inputs of this kind: every lesson · every block, as root and as an ordinary user · every exercise with its solution and
//! its wrong answers · a learner who reads, answers, checks, and resets · progress that cannot be read · a pack with
//! mistakes.

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use sandbox::teach::course::pack::{Lesson, Pack};
use sandbox::teach::course::seed::{StudentValues, fill, lesson_values, values};
use sandbox::teach::course::text::{CodeBlock, Section};
use support::console::{comparable, printed_in, without_next};
use support::lab::has_loopback;
use support::ledger::StartedLedger;
use support::{alone, is_root, repository, sample, sandbox, skip, stdout, text};

/// The seed of the values in these tests.
const SEED: &str = "test";

fn pack() -> Pack {
    Pack::in_directory(&repository().join("lessons")).unwrap_or_else(|error| panic!("{error:?}"))
}

/// The features that work here.
fn working() -> BTreeSet<String> {
    // In the network namespaces that scripts/test makes, lo is down.
    if is_root() && !has_loopback() {
        assert!(Command::new("ip").args(["link", "set", "lo", "up"]).status().unwrap().success());
    }
    let output = sandbox(&["doctor", "--format", "json"]).output().unwrap();
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let features = report["features"].as_array().unwrap().iter();
    let features = features
        .filter(|finding| finding["works"] == true)
        .map(|finding| finding["feature"].as_str().unwrap().to_owned());
    features.chain(has_loopback().then(|| "lo".to_owned())).collect()
}

/// The blocks of a lesson with the values of the student, each with the name of its section.
fn blocks(lesson: &Lesson, language: &str) -> Vec<(CodeBlock, StudentValues)> {
    let mut found = Vec::new();
    for section in &lesson.text(language).sections {
        let (passages, values) = match section {
            Section::Prose(_, passage) => (vec![passage], lesson_values(SEED, lesson)),
            Section::Quiz(quiz) => (
                [&quiz.prompt, &quiz.answer].into_iter().chain(quiz.replies.values()).collect(),
                lesson_values(SEED, lesson),
            ),
            Section::Exercise(exercise) => {
                let data = &lesson.data.exercises[&exercise.name];
                let passages = [&exercise.task, &exercise.passed].into_iter();
                (passages.collect(), values(SEED, lesson, &exercise.name, data))
            }
        };
        found.extend(
            passages.iter().flat_map(|passage| passage.blocks()).map(|block| (block, values.clone())),
        );
    }
    found
}

/// Writes what a block printed into the lesson. English output is written in each language that shows it too.
/// `LESSONS_UPDATE=1` asks for it. Look at the difference.
fn update(lesson: &Lesson, language: &str, block: &CodeBlock, shown: &str) {
    for language in lesson.texts.keys().filter(|other| language == "en" || *other == language) {
        let file = format!("lessons/{language}/{:02}-{}.md", lesson.number, lesson.name);
        let path = repository().join(file);
        let content = fs::read_to_string(&path).unwrap();
        let (old, new) = (block.code.trim_end(), without_next(shown));
        fs::write(&path, content.replacen(old, new.trim_end(), 1)).unwrap();
    }
}

/// Whether a block is executed: it is one of commands, for this user, and not recorded.
fn is_executed(block: &CodeBlock) -> bool {
    let has = |word: &str| block.words.iter().any(|known| known == word);
    has("console") && !has("recorded") && !has(if is_root() { "user" } else { "root" })
}

/// The features that a block of a lesson needs, and that do not work here.
fn lacks<'a>(lesson: &'a Lesson, block: &'a CodeBlock, working: &BTreeSet<String>) -> Vec<&'a str> {
    let of_lesson = lesson.text("en").front.features.iter().map(|feature| feature.name());
    let of_block = block.words.iter().filter_map(|word| word.strip_prefix("needs="));
    // Its ports are on loopback.
    let of_ports = (lesson.name == "ports").then_some("lo");
    of_lesson.chain(of_block).chain(of_ports).filter(|name| !working.contains(*name)).collect()
}

/// What a block prints in a directory of its own, in this language.
fn printed_alone(block: &str, language: &str) -> String {
    let directory = tempfile::tempdir().unwrap();
    let shown = printed_in(language, block, directory.path());
    // rm(1) also removes directories with the mode 0, which an overlay leaves.
    Command::new("rm").arg("-rf").arg(directory.path()).status().unwrap();
    shown
}

/// A command between two blocks, which prints nothing.
const NEXT: &str = "$ : next\n";

/// A learner types the blocks of a lesson one after another, in one shell. What a block leaves running, the files that it
/// makes and the variables that it sets do not change what the next ones print.
#[test]
fn the_blocks_of_a_lesson_can_be_typed_in_one_shell() {
    let _alone = alone();
    let (working, pack, mut wrong) = (working(), pack(), String::new());
    for lesson in sample(4, &pack.lessons) {
        let blocks = blocks(lesson, "en").into_iter();
        let blocks =
            blocks.filter(|(block, _)| is_executed(block) && lacks(lesson, block, &working).is_empty());
        let code: Vec<String> = blocks.map(|(block, values)| fill(&block.code, &values)).collect();
        let all = printed_alone(&code.iter().flat_map(|block| [block, NEXT]).collect::<String>(), "en");
        for (expected, shown) in code.iter().zip(all.split(NEXT)) {
            let (expected, shown) = (comparable(expected), comparable(shown));
            if shown != expected {
                wrong.push_str(&format!(
                    "\nlesson {}\n--- shown\n{expected}\n--- printed\n{shown}\n",
                    lesson.name
                ));
            }
        }
    }
    sandbox(&["gc"]).output().unwrap();
    assert!(wrong.is_empty(), "{wrong}");
}

/// Executes the blocks of all lessons in a language that `is_tried` accepts, one of each `of`.
fn each_block_prints_what_is_shown(
    test: &str,
    language: &str,
    of: usize,
    is_tried: impl Fn(&CodeBlock) -> bool,
) {
    let _alone = alone();
    let (working, before, pack) = (working(), StartedLedger::start(), pack());
    let mut wrong = String::new();
    let all = pack
        .lessons
        .iter()
        .flat_map(|lesson| blocks(lesson, language).into_iter().map(move |block| (lesson, block)));
    for (lesson, (block, values)) in sample(of, all.filter(|(_, (block, _))| is_tried(block))) {
        let lacks = lacks(lesson, &block, &working);
        if !lacks.is_empty() {
            skip(test, &format!("machine: lesson {}: {lacks:?} do not work", lesson.name));
            continue;
        }
        let expected = fill(&block.code, &values);
        let shown = printed_alone(&expected, language);
        if comparable(&shown) == comparable(&expected) {
            continue;
        }
        if std::env::var_os("LESSONS_UPDATE").is_some() {
            update(lesson, language, &block, &shown);
        } else {
            let place = format!("lessons/{language}/{:02}-{}.md:{}", lesson.number, lesson.name, block.line);
            wrong.push_str(&format!(
                "\n{place}\n--- shown\n{}\n--- printed\n{}\n",
                comparable(&expected),
                comparable(&shown)
            ));
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    // Blocks that were killed are swept by the next command.
    sandbox(&["gc"]).output().unwrap();
    before.nothing_is_left();
}

#[test]
fn every_block_prints_what_the_lesson_shows() {
    each_block_prints_what_is_shown("every_block_prints_what_the_lesson_shows", "en", 6, is_executed);
}

/// In Chinese, these are the blocks with `sandbox`: other programs print the same in each language.
#[test]
fn every_block_prints_chinese_in_a_chinese_lesson() {
    let is_tried = |block: &CodeBlock| is_executed(block) && block.calls_sandbox();
    each_block_prints_what_is_shown("every_block_prints_chinese_in_a_chinese_lesson", "zh", 18, is_tried);
}

#[test]
fn every_exercise_fails_untouched_passes_solved_and_answers_wrong_solutions() {
    let _alone = alone();
    let working = working();
    let before = StartedLedger::start();
    let mut wrong = String::new();
    let (root, pack) = (repository().join("lessons"), pack());
    let all =
        pack.lessons.iter().flat_map(|lesson| lesson.data.exercises.keys().map(move |name| (lesson, name)));
    for (lesson, exercise) in sample(12, all) {
        if lesson.name == "ports" && !working.contains("lo") {
            let test = "every_exercise_fails_untouched_passes_solved_and_answers_wrong_solutions";
            skip(test, &format!("machine: ports {exercise}: lo is down, and only root can set it up"));
            continue;
        }
        let words =
            ["lesson", "test", "--pack", root.to_str().unwrap(), &lesson.name, "--exercise", exercise];
        let output = sandbox(&words).output().unwrap();
        let out = text(&output.stdout);
        for line in out.lines().filter(|line| line.starts_with("skip")) {
            // That only root can do it is known before; root tries it.
            if !line.contains("only root") {
                let test = "every_exercise_fails_untouched_passes_solved_and_answers_wrong_solutions";
                skip(test, &format!("machine: {line}"));
            }
        }
        if !output.status.success() {
            wrong.push_str(&format!("\n{} {exercise}: {out}{}", lesson.name, text(&output.stderr)));
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    before.nothing_is_left();
}

/// `sandbox lesson` with a directory of its own.
fn lesson(home: &Path, arguments: &[&str]) -> Output {
    let mut words = vec!["lesson"];
    words.extend(arguments);
    sandbox(&words).env("SANDBOX_LESSONS", home).output().unwrap()
}

#[test]
fn a_learner_reads_answers_checks_and_resets() {
    let _alone = alone();
    let home = tempfile::tempdir().unwrap();
    let home = home.path().join("course");
    let out = |arguments: &[&str]| text(&lesson(&home, arguments).stdout);
    assert!(out(&["list"]).contains("pid"));
    // Nothing is written until a lesson is started.
    assert!(!home.exists());
    let read = out(&["start", "pid"]);
    assert!(read.contains("kill -9 1") && read.contains("Lesson 2 of"), "{read}");
    assert!(read.lines().all(|line| line.chars().count() <= 80), "{read}");
    assert!(home.join("pid/box.yaml").exists() && home.join("pid/forks.c").exists());
    assert!(out(&["--lang", "zh", "start", "pid"]).contains("命名空间"));
    let answered = out(&["answer", "kill-init", "a"]);
    assert!(answered.starts_with("a is wrong. The right answer is b."), "{answered}");
    // The first answer is the one that is recorded.
    out(&["answer", "kill-init", "b"]);
    let progress = || -> serde_json::Value {
        serde_json::from_slice(&lesson(&home, &["progress", "--format", "json"]).stdout).unwrap()
    };
    assert_eq!(progress()["lessons"]["pid"]["answers"]["kill-init"], "a");

    // The value of this student is in the task. `sleep` in this PID namespace has one PID.
    let seconds = read.split("sleep ").nth(2).unwrap_or_default();
    let task = read.lines().find(|line| line.starts_with("Start `sleep ")).unwrap_or(seconds);
    let seconds = task.split('`').nth(1).unwrap().trim_start_matches("sleep ").to_owned();
    let untouched = lesson(&home, &["check", "three-pids"]);
    assert_eq!(untouched.status.code(), Some(1));
    assert!(text(&untouched.stdout).contains(&format!("`sleep {seconds}`")));
    let mut sleep = std::process::Command::new("sleep").arg(&seconds).spawn().unwrap();
    support::becomes(sleep.id(), "sleep");
    let failed = lesson(&home, &["check", "2.1"]);
    assert_eq!(failed.status.code(), Some(1));
    let said = text(&failed.stdout).replace('\n', " ");
    assert!(
        said.contains(&format!("Numbers in NSpid of {} (sleep): 1 ({})", sleep.id(), sleep.id())),
        "{said}"
    );
    let mut other = std::process::Command::new("sleep").arg(&seconds).spawn().unwrap();
    support::becomes(other.id(), "sleep");
    let said = out(&["check", "2.1"]);
    assert!(said.contains("Several processes"), "{said}");
    for child in [&mut sleep, &mut other] {
        child.kill().unwrap();
        child.wait().unwrap();
    }

    let wrong = lesson(&home, &["check", "last-pid", "--answer", "1000"]);
    assert_eq!(wrong.status.code(), Some(1));
    let said = text(&wrong.stdout);
    assert!(said.contains("You said 1000") && said.contains("sandbox lesson hint 2.2"), "{said}");
    // A word is a slip of the keyboard, and no try.
    let said = out(&["check", "last-pid", "--answer", "six"]).replace('\n', " ");
    assert!(said.contains("The answer is a number. \"six\" is not a number"), "{said}");
    assert!(!out(&["check", "last-pid", "--answer", "1001"]).contains("Measured"));
    assert!(out(&["hint", "last-pid"]).contains("hint 1 of 3"));
    let refused = lesson(&home, &["solution", "last-pid"]);
    assert_eq!(refused.status.code(), Some(2));
    let error = text(&refused.stderr);
    assert!(error.contains("1. read the next hint:\n") && error.contains("2. print the solution"), "{error}");
    assert!(out(&["solution", "last-pid", "--yes"]).contains("echo $((n + 1))"));
    // The measured value is the answer, so it comes after the last hint only. Then nothing is left to hint at.
    for _ in 0..2 {
        out(&["hint", "last-pid"]);
    }
    let said = out(&["check", "last-pid", "--answer", "1002"]);
    assert!(said.contains("Measured: ") && !said.contains("sandbox lesson"), "{said}");
    // The files that the solution names, and not those of wrong answers.
    let solved = out(&["solution", "node-c", "--yes"]);
    assert!(solved.contains("cat > \"$material/solution.c\"") && !solved.contains("short.c"), "{solved}");
    assert!(progress()["lessons"]["pid"]["exercises"]["last-pid"]["tries"] == 3);

    // A file of the learner stays. What was made is removed.
    fs::write(home.join("pid/notes"), "mine").unwrap();
    assert!(out(&["reset", "pid", "--yes"]).contains("stays"));
    assert!(home.join("pid/notes").exists() && !home.join("pid/box.yaml").exists());
    fs::remove_file(home.join("pid/notes")).unwrap();
    out(&["reset", "--yes"]);
    assert!(!home.exists());
}

#[test]
fn values_differ_per_student_and_are_the_same_for_one_seed() {
    let home = tempfile::tempdir().unwrap();
    let read = |name: &str, seed: &str| {
        text(&lesson(&home.path().join(name), &["start", "look", "--seed", seed]).stdout)
    };
    assert_eq!(read("a", "one"), read("b", "one"));
    assert_ne!(read("c", "two"), read("d", "one"));
}

#[test]
fn a_grade_is_printed_in_the_formats_of_graders() {
    let _alone = alone();
    let home = tempfile::tempdir().unwrap();
    let read = text(&lesson(home.path(), &["start", "look", "--seed", "one"]).stdout);
    let report = |more: &[&str]| {
        let mut words = vec!["check", "--all", "--lesson", "look"];
        words.extend(more);
        let output = lesson(home.path(), &words);
        assert_eq!(output.status.code(), Some(1), "{more:?} {}", text(&output.stderr));
        text(&output.stdout)
    };
    // The right answer is one more than the number in the task.
    let words: Vec<&str> = read.split_whitespace().collect();
    let at = words.windows(2).position(|pair| pair == ["times", "`sleep"]).unwrap();
    let answer = words[at - 1].parse::<u32>().unwrap() + 1;
    lesson(home.path(), &["check", "count", "--answer", &answer.to_string()]);
    let json =
        |kind: &str| -> serde_json::Value { serde_json::from_str(&report(&["--report", kind])).unwrap() };
    let grade = json("json");
    assert_eq!((&grade["score"], &grade["max"]), (&1.0.into(), &4.0.into()), "{grade}");
    assert_eq!(grade["exercises"][2]["passed"], true);
    assert_eq!(grade["exercises"][1]["failed"], "subject");
    let scope = json("gradescope");
    assert_eq!(scope["tests"].as_array().unwrap().len(), 3);
    assert_eq!(
        (&scope["tests"][1]["max_score"], &scope["tests"][1]["status"]),
        (&2.0.into(), &"failed".into())
    );
    assert_eq!(json("classroom")["max_score"], 4.0);
    let xml = report(&["--report", "junit"]);
    assert!(
        xml.contains("tests=\"3\" failures=\"2\"") && xml.contains("<failure message=\"subject\">"),
        "{xml}"
    );
    assert!(report(&["--report", "tap"]).contains("1..3\nnot ok 1 - look/find\n# No process"));
    assert!(report(&["--report", "csv"]).contains("1.3,look,count,true,1,1,,"));
    assert!(report(&["--report", "tap", "--detail", "name"]).contains("not ok 1 - look/find\n# subject\n"));
    assert!(report(&["--report", "tap", "--detail", "none"]).contains("not ok 1 - look/find\nnot ok 2"));
    assert!(report(&[]).contains("1 of 4"));
    assert_eq!(grade["exercises"][2]["tries"], 1);
    // What passes now is measured again: a file that only says so does not count.
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(&report(&["--report", "json", "--live"])).unwrap()["score"],
        1.0
    );
    let progress = home.path().join("progress.json");
    let edited = fs::read_to_string(&progress)
        .unwrap()
        .replace(&format!("\"answer\": \"{answer}\""), "\"answer\": \"0\"");
    fs::write(&progress, edited).unwrap();
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(&report(&["--report", "json", "--live"])).unwrap()["score"],
        0.0
    );
    // The flags of a grade are not for one exercise.
    for more in
        [&["--report", "json"][..], &["--partial"], &["--live"], &["--detail", "none"], &["--lesson", "look"]]
    {
        let output = lesson(home.path(), &[&["check", "1.1"], more].concat());
        assert_eq!(output.status.code(), Some(2), "{more:?}");
    }
}

/// The name of a lesson in place of an action may have flags after it, as `lesson start` may.
#[test]
fn a_lesson_is_started_by_its_name_with_flags() {
    let home = tempfile::tempdir().unwrap();
    let shown = lesson(home.path(), &["uts", "--lang", "zh", "--plain"]);
    assert_eq!(shown.status.code(), Some(0), "{}", text(&shown.stderr));
    assert!(!text(&shown.stdout).is_ascii());
    let started = lesson(home.path(), &["start", "uts", "--lang", "zh", "--plain"]);
    assert_eq!(text(&started.stdout), text(&shown.stdout));
    assert_eq!(lesson(home.path(), &["6", "--stable"]).status.code(), Some(0));
    assert_eq!(lesson(home.path(), &["utx", "--stable"]).status.code(), Some(2));
}

/// The solution can be pasted: with it, the exercise passes.
#[test]
fn a_printed_solution_makes_its_own_files() {
    let home = tempfile::tempdir().unwrap();
    lesson(home.path(), &["start", "pid"]);
    let shown = text(&lesson(home.path(), &["solution", "2.4", "--yes"]).stdout);
    let script = shown.split_once('\n').unwrap().1.split("\nEND\n").next().unwrap().to_owned()
        + "\nEND\ncat $material/*\n";
    let output =
        std::process::Command::new("sh").args(["-ec", &script]).env("TMPDIR", home.path()).output().unwrap();
    assert!(output.status.success() && text(&output.stdout).contains("main"), "{script}");
}

#[test]
fn progress_that_cannot_be_read_is_an_error() {
    let home = tempfile::tempdir().unwrap();
    for content in ["", "{", "{\"format\": 2, \"seed\": \"x\"}", "[]"] {
        fs::write(home.path().join("progress.json"), content).unwrap();
        let output = lesson(home.path(), &["list"]);
        assert_eq!(output.status.code(), Some(125), "{content}");
        assert!(text(&output.stderr).contains("cannot read your progress"), "{content}");
    }
}

#[test]
fn mistakes_in_a_pack_have_their_file_and_line() {
    let root = tempfile::tempdir().unwrap();
    let copy = |from: &str| {
        let to = root.path().join(from);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(repository().join("lessons").join(from), &to).unwrap();
        to
    };
    // Its parts begin with lessons that are not in this pack.
    let pack = copy("pack.yaml");
    let content = fs::read_to_string(&pack).unwrap();
    let content = content.split_once("parts:").unwrap().0;
    // A pack with a Chinese title has Chinese lessons.
    let english = content.split_inclusive('\n').filter(|line| !line.trim_start().starts_with("zh:"));
    fs::write(&pack, english.collect::<String>()).unwrap();
    copy("exercises/01-look.yaml");
    copy("pictures/look.svg");
    let lesson = copy("en/01-look.md");
    let path = root.path().to_str().unwrap();
    assert!(stdout(&["lesson", "lint", "--pack", path]).contains("(lessons: 1, exercises: "));
    let good = fs::read_to_string(&lesson).unwrap();
    let wrong: [(&str, &str, &str); 7] = [
        ("<!-- goals -->", "<!-- gaols -->", ":9:1: no marker is called \"gaols\""),
        ("minutes: 15", "minutes: many", ":4:10:"),
        ("<!-- teacher -->", "<!-- teacher me -->", "the marker \"teacher\" has no name"),
        ("<!-- fails shared -->", "<!-- fails shard -->", "<!-- fails shared --> is missing"),
        ("{seconds}", "{secs}", "\"secs\" in braces is not a value"),
        ("- c) none", "- d) none", "the right answer is c"),
        ("```console\n", "```console rooot\n", "\"rooot\" after console is not known"),
    ];
    for (from, to, expected) in wrong {
        fs::write(&lesson, good.replacen(from, to, 1)).unwrap();
        let output = sandbox(&["lesson", "lint", "--pack", path]).output().unwrap();
        let error = text(&output.stderr).replace("\n    ", " ");
        assert_eq!(output.status.code(), Some(125), "{from}");
        assert!(error.contains("en/01-look.md:") && error.contains(expected), "{from}: {error}");
    }
}
