//! The data of exercises, as authors write it: facts for each cgroup version, addresses, wrong answers that are computed,
//! and scripts that leave something on the machine.

mod support;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use support::{alone, repository, run, sandbox, text};

/// A pack with one lesson of this repository, whose data has `from` replaced by `to`.
fn pack(name: &str, from: &str, to: &str) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    let copy = |file: &str, change: &dyn Fn(String) -> String| {
        let target = root.path().join(file);
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        let content = fs::read_to_string(repository().join("lessons").join(file)).unwrap();
        fs::write(target, change(content)).unwrap();
    };
    // Its parts begin with lessons that are not in this pack.
    copy("pack.yaml", &|content| content.split_once("parts:").unwrap().0.to_owned());
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
    ] {
        let pack = pack("01-look", from, to);
        let output = lesson(pack.path(), &["lint"]);
        let error = text(&output.stderr).split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(output.status.code(), Some(125), "{error}");
        assert!(error.contains("01-look.yaml") && error.contains(expected), "{error}");
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
    // The measured value is printed from the second wrong answer on.
    let first = check(2 * count);
    assert!(first.contains(&expected) && !first.contains("Measured"), "{first}");
    let second = check(2 * count);
    let measured = format!("Measured: {}.", 2 * count + 1);
    assert!(second.contains(&expected) && second.contains(&measured), "{second}");
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
    let predict = explained(&["check", "count", "--answer", "1"]);
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
