//! The data of exercises, as authors write it: facts for each cgroup version, addresses, wrong answers that are computed,
//! and scripts that leave something on the machine. Names that several exercises have, and the width of all lines.

mod support;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use sandbox::render::lesson::{LessonView, passage, question};
use sandbox::render::markdown::Look;
use sandbox::render::paint::columns;
use sandbox::teach::course::pack::Pack;
use sandbox::teach::course::seed::{lesson_values, values};
use sandbox::teach::course::text::Section;
use support::{alone, repository, run, sample, sandbox, text};

/// A pack with one lesson of this repository, whose data has `from` replaced by `to`.
fn pack(name: &str, from: &str, to: &str) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    let copy = |file: &str, change: &dyn Fn(String) -> String| {
        let target = root.path().join(file);
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        let content = fs::read_to_string(repository().join("lessons").join(file)).unwrap();
        fs::write(target, change(content)).unwrap();
    };
    // Its parts begin with lessons that are not in this pack. Its title is in English, as the lesson.
    let is_english = |line: &&str| !line.starts_with("  zh: ");
    copy("pack.yaml", &|content| {
        let head = content.split_once("parts:").unwrap().0;
        head.lines().filter(is_english).map(|line| line.to_owned() + "\n").collect()
    });
    copy("pictures/look.svg", &|content| content);
    copy(&format!("en/{name}.md"), &|content| content);
    copy(&format!("exercises/{name}.yaml"), &|content| {
        assert!(content.contains(from), "{name} has no {from}");
        content.replacen(from, to, 1)
    });
    root
}

fn lesson(pack: &Path, arguments: &[&str]) -> Output {
    let words = [&["lesson", "--pack", pack.to_str().unwrap()], arguments].concat();
    sandbox(&words).output().unwrap()
}

#[test]
fn a_test_of_a_lesson_names_what_it_leaves() {
    let _alone = alone();
    let solution = "solution: |\n      sleep $seconds &";
    let leaves = "solution: |\n      ipcmk -M 12345 >&2\n      sleep $seconds &";
    let pack = pack("01-look", solution, leaves);
    let output = lesson(pack.path(), &["test", "look", "--exercise", "find"]);
    let printed = text(&output.stdout);
    let left = printed.lines().find_map(|line| line.split_once("System V shared memory: "));
    let id = left.unwrap_or_else(|| panic!("{printed}{}", text(&output.stderr))).1;
    let id = id.split_whitespace().next().unwrap();
    assert!(Command::new("ipcrm").args(["-m", id]).status().unwrap().success(), "{id}");
    assert_eq!(output.status.code(), Some(1), "{printed}");
    assert!(
        printed.contains("ok    look find: solution") && printed.contains("FAIL  look: it left this"),
        "{printed}"
    );
}

/// A title in Chinese promises that the lessons are in Chinese too, also if the pack has only one lesson.
#[test]
fn a_pack_has_its_lessons_in_the_languages_of_its_title() {
    let pack = pack("01-look", "solution: |", "solution: |");
    let lint = || {
        let output = lesson(pack.path(), &["lint"]);
        // A long path is broken into lines.
        (output.status.success(), text(&output.stderr).split_whitespace().collect::<Vec<_>>().join(" "))
    };
    let first = lint();
    assert!(first.0, "{}", first.1);
    let head = pack.path().join("pack.yaml");
    let content = fs::read_to_string(&head).unwrap();
    fs::write(&head, content.replace("title:\n", "title:\n  zh: 容器\n")).unwrap();
    let (is_right, error) = lint();
    assert!(!is_right && error.contains("zh/01-look.md:1:1: this file is missing"), "{error}");
}

const SECONDS: &str = "seconds: {number: [100000, 999999]}";

#[test]
fn mistakes_in_the_data_are_named() {
    let checks = "expect: {same_as: checker}}";
    let by_version = "expect: {by_version: {v1: {is: a}, v2: {same_as: nobody}}}}";
    let both = "forgotten-shell: {answer: \"{n}\", answer_run: echo $n, fails: shell}";
    for (from, to, expected) in [
        (checks, by_version, "only a fact about a cgroup can have \"by_version\""),
        (checks, by_version, "no process is called \"nobody\""),
        ("forgotten-shell: {answer: \"{n}\", fails: shell}", both, "either \"answer\" or \"answer_run\""),
        ("fact: {namespace: uts}", "fact: {listening_on: sctp}", "sctp"),
        (SECONDS, "seconds: {number: [9, 1]}", "value \"seconds\": a number is chosen"),
        (SECONDS, "seconds: {number: [1, 5, 9]}", "two numbers"),
        (SECONDS, "seconds: {choice: []}", "value \"seconds\": there is nothing to choose from"),
        (SECONDS, "seconds: {word: a b}", "value \"seconds\": a word has only"),
        ("subject: {process: [sleep, \"{seconds}\"]}", "subject: {process: []}", "at least one argument"),
    ] {
        let pack = pack("01-look", from, to);
        let output = lesson(pack.path(), &["lint"]);
        let error = text(&output.stderr).split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(output.status.code(), Some(125), "{error}");
        assert!(error.contains("01-look.yaml") && error.contains(expected), "{error}");
    }
    // The place of a name that is not known is that of the name.
    for (from, to) in [("fails: shared}", "fails: sharedd}"), ("same_as: checker", "same_as: nobody")] {
        let pack = pack("01-look", from, to);
        let data = fs::read_to_string(pack.path().join("exercises/01-look.yaml")).unwrap();
        let line = 1 + data.lines().position(|line| line.contains(to)).unwrap();
        let error = text(&lesson(pack.path(), &["lint"]).stderr);
        assert!(error.contains(&format!("01-look.yaml:{line}:")), "{line}: {error}");
    }
}

#[test]
fn mistakes_in_a_whole_file_are_named() {
    let untold = "seconds: {number: [100000, 999999]}\n      secret: {number: [1, 9]}";
    let unused = "expect: {same_as: checker}}";
    let changed = |file: &str, change: &dyn Fn(&[u8]) -> Vec<u8>| {
        let pack = pack("01-look", unused, unused);
        let path = pack.path().join(file);
        fs::write(&path, change(&fs::read(&path).unwrap())).unwrap();
        let output = lesson(pack.path(), &["lint"]);
        assert_eq!(output.status.code(), Some(125), "{file}");
        text(&output.stderr).split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let replaced = |from: &'static str, to: &'static str| {
        move |content: &[u8]| text(content).replacen(from, to, 1).into_bytes()
    };
    let error = changed("exercises/01-look.yaml", &|content| {
        let content = text(&replaced(SECONDS, untold)(content)).to_owned();
        content.replacen("[sleep, \"{seconds}\"]", "[sleep, \"{seconds}{secret}\"]", 1).into_bytes()
    });
    assert!(
        error.contains("en/01-look.md:") && error.contains("the value \"secret\", which is neither"),
        "{error}"
    );
    let error = changed("en/01-look.md", &|content| replaced("\n", "\r\n")(content));
    assert!(error.contains("en/01-look.md:1:1: the lines end with CR LF"), "{error}");
    let error = changed("en/01-look.md", &|content| [b"---\n\xff\n", content].concat());
    assert!(error.contains("en/01-look.md:2:1: this line is not UTF-8"), "{error}");
    for name in ["../x", "a/b", ".hidden", "''"] {
        let error = changed("pack.yaml", &|content| {
            let line = |line: &str| {
                if line.starts_with("name:") { format!("name: {name}\n") } else { format!("{line}\n") }
            };
            text(content).lines().map(line).collect::<String>().into_bytes()
        });
        assert!(
            error.contains("is not the name of a pack") && error.contains("pack.yaml:"),
            "{name}: {error}"
        );
    }
}

/// The wrong answer is twice the number of the task.
#[test]
fn a_wrong_answer_that_is_computed_has_its_own_message() {
    let _alone = alone();
    if !Path::new("/usr/sbin/ip").exists() && !Path::new("/sbin/ip").exists() {
        return support::skip("a_wrong_answer_that_is_computed_has_its_own_message", "ip(8) isn't installed");
    }
    if !run(&["net", "-q", "--", "true"]).status.success() {
        return support::skip(
            "a_wrong_answer_that_is_computed_has_its_own_message",
            "machine: no net namespace",
        );
    }
    let home = tempfile::tempdir().unwrap();
    let lesson = |arguments: &[&str]| {
        let words = [&["lesson"], arguments].concat();
        text(&sandbox(&words).env("SANDBOX_LESSONS", home.path()).output().unwrap().stdout)
    };
    let read = lesson(&["start", "net", "--seed", "one"]).replace('\n', " ");
    let task = read.split("a shell runs ").nth(1).unwrap_or_else(|| panic!("{read}"));
    let count: u32 = task.split(' ').next().unwrap().parse().unwrap();
    let check = |answer: u32| {
        let printed = lesson(&["check", "devices", "--answer", &answer.to_string()]);
        printed.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let expected = format!("You said {}: two devices for each command.", 2 * count);
    // The measured value is printed after the last hint.
    let first = check(2 * count);
    assert!(first.contains(&expected) && !first.contains("Measured"), "{first}");
    for _ in 0..3 {
        lesson(&["hint", "devices"]);
    }
    let second = check(2 * count);
    let measured = format!("Measured: {}.", 2 * count + 1);
    assert!(second.contains(&expected) && second.contains(&measured), "{second}");
    // A negative number is no option of the command line.
    let negative = lesson(&["check", "devices", "--answer", "-5"]);
    assert!(negative.contains("You said -5"), "{negative}");
    assert!(check(2 * count + 1).contains("passed"), "{count}");
}

/// `--explain` says on standard error what an action reads, starts and writes, and changes nothing else about it.
#[test]
fn every_action_explains_what_it_reads_and_writes() {
    let _alone = alone();
    let home = tempfile::tempdir().unwrap();
    let (directory, pages) = (home.path().join("course"), home.path().join("pages"));
    let progress = directory.join("progress.json").display().to_string();
    let explained = |action: &[&str]| {
        let words = [&["lesson", "--dir", directory.to_str().unwrap(), "--explain"], action].concat();
        let output = sandbox(&words).output().unwrap();
        let said = text(&output.stderr);
        let first = said.lines().next().unwrap_or_default();
        assert_eq!(first.split_once("  ").map(|line| line.0.trim()), Some("1"), "{action:?}: {said}");
        assert!(said.lines().all(|line| line.len() <= 80 || line.contains('/')), "{said}");
        said.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let writes = format!("writes {progress}");
    let start = explained(&["start", "pid", "--seed", "one"]);
    for part in
        [&writes, "box.yaml, forks.c", "see whether they work here: pid", "in PATH for these programs: cc"]
    {
        assert!(start.contains(part), "{part}: {start}");
    }
    let check = explained(&["check", "three-pids"]);
    assert!(check.contains("reads /proc/*/cmdline, to find the process: sleep "), "{check}");
    assert!(check.contains("depth: reads /proc/PID/status, NSpid") && check.contains(&writes), "{check}");
    let node = explained(&["check", "node"]);
    assert!(node.contains("hostname: reads /proc/sys/kernel/hostname (by a helper process"), "{node}");
    assert!(node.contains("net: reads /proc/PID/ns/net of the processes `subject` and `checker`"), "{node}");
    let predict = explained(&["check", "1.3", "--answer", "1"]);
    assert!(predict.contains("runs a bash script that measures") && predict.contains(&writes), "{predict}");
    for (action, part) in [
        (&["hint", "find"][..], &*writes),
        (&["answer", "inherit", "a"], &writes),
        (&["solution", "find", "--yes"], &writes),
        (&["check", "--all", "--lesson", "look"], "checks each exercise"),
        (&["list"], "reads the lessons, which are compiled into the program"),
        (&["progress"], "the seed of your values"),
        (&["lint"], "writes nothing"),
        (&["test", "look", "--exercise", "count"], "removes the directory"),
        (&["export", "pid", "--to", pages.to_str().unwrap()], "writes the pages into"),
        (
            &["--pack", pages.join("new").to_str().unwrap(), "new", "mine"],
            "writes the files of a new lesson into",
        ),
        (&["reset", "pid", "--yes"], "removes from"),
    ] {
        let said = explained(action);
        assert!(said.contains(part), "{action:?}: {said}");
    }
    // What a program reads from standard output stays as it is.
    let grade = |more: &[&str]| {
        let words = [&["lesson", "--dir", directory.to_str().unwrap(), "progress", "--format", "json"], more]
            .concat();
        text(&sandbox(&words).output().unwrap().stdout)
    };
    assert_eq!(grade(&["--explain"]), grade(&[]));
}

/// The width of a terminal, in columns.
const WIDTH: usize = 80;

fn shipped() -> Pack {
    Pack::in_directory(&repository().join("lessons")).unwrap_or_else(|error| panic!("{error:?}"))
}

/// Every text of every lesson, in each language: what is printed fits on a terminal. Tables are wrapped for that.
#[test]
fn no_line_of_a_lesson_is_wider_than_a_terminal() {
    let look = Look { width: WIDTH, is_plain: false };
    let view = LessonView { look, is_root: false, works: true, lacking: &[] };
    let mut wide = String::new();
    for lesson in &shipped().lessons {
        for (language, text) in &lesson.texts {
            let of_lesson = lesson_values("test", lesson);
            let mut lines = Vec::new();
            for section in &text.sections {
                match section {
                    Section::Prose(_, part) => lines.extend(passage(part, &of_lesson, view)),
                    Section::Quiz(quiz) => {
                        lines.extend(question(quiz, &of_lesson, view));
                        let replies = quiz.replies.values().chain([&quiz.answer]);
                        lines.extend(replies.flat_map(|part| passage(part, &of_lesson, view)));
                    }
                    Section::Exercise(exercise) => {
                        let data = &lesson.data.exercises[&exercise.name];
                        let values = values("test", lesson, &exercise.name, data);
                        let parts = exercise.hints.iter().chain(exercise.fails.values());
                        let parts = parts.chain([&exercise.task, &exercise.passed]);
                        lines.extend(parts.flat_map(|part| passage(part, &values, view)));
                    }
                }
            }
            for line in lines.iter().filter(|line| columns(line) > WIDTH) {
                wide.push_str(&format!("{} {language}: {line}\n", lesson.name));
            }
        }
    }
    assert!(wide.is_empty(), "{wide}");
}

/// What the actions print around the texts: titles, tasks, checks, solutions, lists.
#[test]
fn no_line_of_an_action_is_wider_than_a_terminal() {
    let _alone = alone();
    let home = tempfile::tempdir().unwrap();
    let fits = |language: &str, words: &[&str]| {
        let all = [&["lesson", "--lang", language], words].concat();
        let output = sandbox(&all).env("SANDBOX_LESSONS", home.path()).output().unwrap();
        let printed = text(&output.stdout) + &text(&output.stderr);
        assert!(!printed.is_empty(), "{words:?}");
        for line in printed.lines() {
            assert!(columns(line) <= WIDTH, "{language} {words:?}: {line}");
        }
    };
    let pack = shipped();
    let actions = pack.lessons.iter().flat_map(|lesson| {
        let names = lesson.data.exercises.keys().map(|name| lesson.number_of(name));
        let solutions = names.map(|number| vec!["solution".to_owned(), number, "--yes".to_owned()]);
        [vec!["start".to_owned(), lesson.name.clone()]].into_iter().chain(solutions)
    });
    for (index, words) in sample(4, actions).into_iter().enumerate() {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        fits(["en", "zh"][index % 2], &words);
    }
    for language in ["en", "zh"] {
        let more: [&[&str]; 8] = [
            &["list"],
            &["start", "life"],
            &["check", "24.1"],
            &["check", "24.2", "--answer", "six"],
            &["check", "24.2", "--answer", "99"],
            &["check", "server"],
            &["hint", "24.1"],
            &["progress"],
        ];
        more.iter().for_each(|words| fits(language, words));
    }
}

/// Advised commands name the number. A name that several exercises have is enough in its lesson only.
#[test]
fn an_ambiguous_name_asks_for_the_number() {
    let _alone = alone();
    let home = tempfile::tempdir().unwrap();
    let said = |words: &[&str]| {
        let all = [&["lesson"], words].concat();
        let output = sandbox(&all).env("SANDBOX_LESSONS", home.path()).output().unwrap();
        (output.status.code().unwrap(), text(&output.stdout) + &text(&output.stderr))
    };
    said(&["start", "life"]);
    for action in ["check", "hint", "solution"] {
        let (status, error) = said(&[action, "server"]);
        let line = error.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(status == 2 && line.contains("called \"server\": 8.3 (net), 25.4 (signals)"), "{error}");
        assert!(error.contains(&format!("sandbox lesson {action} 8.3")), "{error}");
        assert!(error.contains(&format!("sandbox lesson {action} 25.4")), "{error}");
    }
    for word in ["25.4", "signals/server"] {
        let (status, out) = said(&["check", word]);
        assert!(status == 1 && out.starts_with("25.4 server: not yet"), "{out}");
        assert!(out.contains("sandbox lesson hint 25.4"), "{out}");
    }
    said(&["start", "signals"]);
    assert!(said(&["hint", "server"]).1.starts_with("25.4 server: hint 1 of 3"));
    // The name `keep` is that of the current lesson, or of another one.
    let line = said(&["hint", "keep"]).1.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(line.contains("17.1 (hardening), 24.4 (life)"), "{line}");
    // A lesson is started by its number, too.
    assert!(said(&["1"]).1.starts_with("Lesson 1 of "));
}
