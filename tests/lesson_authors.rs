//! For authors and teachers: `lesson new`, the JSON Schemas, `doctor --lessons`, times that are scaled to the machine.
//!
//! Inputs of this kind: a new pack, the next lesson of a pack, names that are no names · every feature works, one does not,
//! a program is missing, not root · a measurement that takes too long.

mod support;

use std::fs;
use std::path::Path;
use std::process::Output;

use serde_json::Value;
use support::{alone, binary, fits, repository, run, sandbox, stdout, text};

fn new(pack: &Path, arguments: &[&str]) -> Output {
    let words = ["lesson", "new", "--pack", pack.to_str().unwrap()];
    sandbox(&[&words, arguments].concat()).output().unwrap()
}

/// A message on one line: its line breaks depend on the paths in it.
fn flat(printed: &[u8]) -> String {
    text(printed).split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn a_new_lesson_has_no_mistake_and_its_exercises_hold() {
    let _alone = alone();
    let home = tempfile::tempdir().unwrap();
    let pack = home.path().join("my pack");
    let output = new(&pack, &["first", "--title", "My first lesson"]);
    let out = text(&output.stdout);
    assert!(output.status.success(), "{out}{}", text(&output.stderr));
    let files =
        ["en/01-first.md", "zh/01-first.md", "exercises/01-first.yaml", "pack.yaml", "schema/lesson.json"];
    for file in files {
        assert!(pack.join(file).is_file() && out.contains(&format!("/my pack/{file}\n")), "{file}: {out}");
    }
    // The commands that it prints work as they are.
    let commands: Vec<&str> = out.lines().filter_map(|line| line.strip_prefix("   sandbox ")).collect();
    assert_eq!(commands.len(), 3, "{out}");
    let path = format!("{}:{}", binary().parent().unwrap().display(), std::env::var("PATH").unwrap());
    let pasted = |command: &str| {
        let mut bash = std::process::Command::new("bash");
        let line = format!("{} {command}", binary().display());
        bash.args(["-c", &line]).env("PATH", &path).env("HOME", home.path()).env("LANG", "C.UTF-8");
        bash.output().unwrap()
    };
    let linted = pasted(commands[0]);
    assert_eq!(
        text(&linted.stdout),
        format!("{}: no mistake (lessons: 1, exercises: 2)\n", pack.display()),
        "{}",
        text(&linted.stderr)
    );
    let tested = pasted(commands[1]);
    let report = text(&tested.stdout);
    assert!(tested.status.success(), "{report}{}", text(&tested.stderr));
    // Where the features do not work, the exercises are left out.
    if !report.contains("skip") {
        assert_eq!(report.lines().filter(|line| line.starts_with("ok ")).count(), 7, "{report}");
    }
    assert!(report.starts_with("Times are multiplied by "), "{report}");
    let read = pasted(commands[2]);
    let read = text(&read.stdout);
    assert!(read.contains("My first lesson") && read.contains("hostname box"), "{read}");
    // An advised line has the path of the pack, however long it is.
    let lines = read.lines().filter(|line| !line.contains("--pack"));
    fits(&lines.collect::<Vec<_>>().join("\n"), 80, 400);

    // The next lesson gets the next number, and nothing is overwritten.
    assert!(new(&pack, &["second"]).status.success());
    assert!(pack.join("en/02-second.md").is_file());
    fs::write(pack.join("en/01-first.md"), "mine").unwrap();
    let again = new(&pack, &["first"]);
    assert_eq!(again.status.code(), Some(125));
    assert!(flat(&again.stderr).contains("has a lesson first already"), "{}", text(&again.stderr));
    assert_eq!(fs::read_to_string(pack.join("en/01-first.md")).unwrap(), "mine");
    assert_eq!(new(&pack, &["../x"]).status.code(), Some(2));
    let other = home.path().join("other");
    fs::create_dir(&other).unwrap();
    fs::write(other.join("notes"), "").unwrap();
    let refused = flat(&new(&other, &["first"]).stderr);
    assert!(refused.contains("is not a pack of lessons") && refused.contains("--pack my-pack"), "{refused}");
    assert_eq!(fs::read_dir(&other).unwrap().count(), 1);
}

/// A pack in two languages has each lesson in both.
#[test]
fn a_lesson_that_a_language_lacks_is_a_mistake() {
    let home = tempfile::tempdir().unwrap();
    let pack = home.path().join("pack");
    assert!(new(&pack, &["first"]).status.success() && new(&pack, &["second"]).status.success());
    let lint = || sandbox(&["lesson", "--pack", pack.to_str().unwrap(), "lint"]).output().unwrap();
    assert!(lint().status.success());
    fs::remove_file(pack.join("zh/02-second.md")).unwrap();
    let refused = lint();
    assert!(!refused.status.success());
    assert!(flat(&refused.stderr).contains("zh/02-second.md"), "{}", text(&refused.stderr));
    fs::remove_dir_all(pack.join("zh")).unwrap();
    assert!(!lint().status.success(), "the pack has a Chinese title");
    let about = fs::read_to_string(pack.join("pack.yaml")).unwrap();
    let lines = about.split_inclusive('\n').filter(|line| !line.starts_with("  zh:"));
    fs::write(pack.join("pack.yaml"), lines.collect::<String>()).unwrap();
    assert!(lint().status.success());
}

/// An exercise that this machine cannot do is no failure, and has no weight.
#[test]
fn an_exercise_that_cannot_be_done_here_is_skipped_in_a_grade() {
    let home = tempfile::tempdir().unwrap();
    let pack = home.path().join("pack");
    assert!(new(&pack, &["first"]).status.success());
    let file = pack.join("exercises/01-first.yaml");
    let data = fs::read_to_string(&file)
        .unwrap()
        .replace("    kind: ", "    programs: [no-such-program]\n    kind: ");
    fs::write(&file, data).unwrap();
    let graded = |kind: &str| {
        let words = ["lesson", "--pack", pack.to_str().unwrap(), "--dir", home.path().to_str().unwrap()];
        let output = sandbox(&[&words[..], &["check", "--all", "--report", kind]].concat()).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        text(&output.stdout)
    };
    let grade: Value = serde_json::from_str(&graded("json")).unwrap();
    assert_eq!(grade["max"], 0.0, "{grade}");
    assert!(grade["exercises"][0]["cannot"].as_str().unwrap().contains("no-such-program"), "{grade}");
    assert!(graded("junit").contains("failures=\"0\"") && graded("junit").contains("<skipped message="));
    assert!(graded("tap").contains("ok 1 - first/") && graded("tap").contains("# SKIP "));
}

#[test]
fn the_schemas_are_printed_as_they_are_kept() {
    let list = stdout(&["spec", "schema", "list"]);
    for name in ["lesson", "front-matter", "pack", "grade", "lessons"] {
        assert!(list.lines().any(|line| line == name), "{list}");
        let kept = fs::read_to_string(repository().join(format!("docs/schema/{name}.json"))).unwrap();
        assert_eq!(stdout(&["spec", "schema", name]), kept);
    }
    // The shipped files name their schema, by a path that exists.
    for entry in fs::read_dir(repository().join("lessons/exercises")).unwrap().flatten() {
        let path = entry.path();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            let content = fs::read_to_string(&path).unwrap();
            let named =
                content.lines().next().unwrap().strip_prefix("# yaml-language-server: $schema=").unwrap();
            let schema = path.parent().unwrap().join(named);
            assert!(schema.is_file(), "{}: {named}", path.display());
        }
    }
}

/// `sandbox doctor --lessons --format json`.
fn examined(path: &str) -> Value {
    let mut doctor = sandbox(&["doctor", "--lessons", "--format", "json"]);
    let output = doctor.env("PATH", path).output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", text(&output.stderr)))
}

fn lesson<'r>(report: &'r Value, name: &str) -> &'r Value {
    let lessons = report["lessons"].as_array().unwrap();
    lessons.iter().find(|lesson| lesson["lesson"] == name).unwrap()
}

/// The report agrees with doctor, and with what `lesson test` would leave out.
#[test]
fn doctor_says_of_each_lesson_what_can_be_done() {
    let _alone = alone();
    let path = std::env::var("PATH").unwrap();
    let report = examined(&path);
    assert_eq!(report["lessons"].as_array().unwrap().len(), 35);
    let doctor: Value = serde_json::from_str(&stdout(&["doctor", "--format", "json"])).unwrap();
    let works = |feature: &str| {
        let findings = doctor["features"].as_array().unwrap();
        findings.iter().any(|finding| finding["feature"] == feature && finding["works"] == true)
    };
    for name in ["pid", "mnt", "uts", "ipc", "net", "user", "memory", "cpu", "blkio"] {
        let here = lesson(&report, name)["here"].as_str().unwrap();
        assert_eq!(here == "impossible", !works(name), "{name}: {report:#}");
    }
    for feature in report["features"].as_array().unwrap() {
        assert!(!works(feature["feature"].as_str().unwrap()), "{feature}");
        let todo = feature["error"]["todo"].as_array().unwrap();
        assert!(!todo.is_empty() || feature["error"]["why"].as_array().is_some(), "{feature}");
    }
    let shown = sandbox(&["doctor", "--lessons"]).env("PATH", &path).output().unwrap();
    let shown = text(&shown.stdout);
    fits(&shown, 80, 120);
    // On a machine where root may set limits, an ordinary user reads what is missing: the right.
    if !support::is_root() && !support::limits::is_possible("memory") {
        let obstacles = &lesson(&report, "memory")["exercises"][0]["obstacles"];
        assert_eq!(obstacles, &serde_json::json!([{ "kind": "limit", "name": "memory" }]));
        let words = shown.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(
            words.contains("limits on memory need root here, or a cgroup that is delegated to you"),
            "{shown}"
        );
    }
    for lesson in report["lessons"].as_array().unwrap() {
        let [name, here] = [&lesson["lesson"], &lesson["here"]].map(|value| value.as_str().unwrap());
        let start = format!("{:>2} {name:<13}{here}", lesson["number"].as_u64().unwrap());
        assert!(shown.lines().any(|line| line.starts_with(&start)), "{start}: {shown}");
    }

    // Without any program, the exercises that need one cannot be done; the others can.
    let bare = examined("/nonexistent");
    let pid = lesson(&bare, "pid");
    if works("pid") {
        assert_eq!(pid["here"], "limited", "{pid}");
        let forks = &pid["exercises"][0];
        assert_eq!((&forks["exercise"], pid["exercises"].as_array().unwrap().len()), (&"forks".into(), 1));
        assert_eq!(forks["obstacles"], serde_json::json!([{ "kind": "program", "name": "cc" }]));
    }
    let shown = sandbox(&["doctor", "--lessons"]).env("PATH", "/nonexistent").output().unwrap();
    let shown = text(&shown.stdout);
    fits(&shown, 80, 160);
    assert!(
        shown.contains("forks: the program cc is not installed") && shown.contains("sudo apt install"),
        "{shown}"
    );
}

/// Each user namespace has its own user.max_*_namespaces, so the test can make one feature fail.
#[test]
fn a_lesson_whose_feature_does_not_work_is_impossible_and_has_the_fix() {
    let _alone = alone();
    let examine = |more: &str| {
        let script = format!(
            "echo 0 > /proc/sys/user/max_uts_namespaces; exec {} doctor --lessons {more}",
            binary().display()
        );
        text(&run(&["user", "-q", "--", "sh", "-c", &script]).stdout)
    };
    let report: Value = serde_json::from_str(&examine("--format json")).unwrap();
    let look = lesson(&report, "look");
    assert_eq!((&look["here"], &look["recorded"]), (&"impossible".into(), &serde_json::json!(["uts"])));
    let features = report["features"].as_array().unwrap();
    let uts = features.iter().find(|finding| finding["feature"] == "uts").unwrap();
    assert_eq!(uts["error"]["cause"], "limit", "{uts}");
    let shown = examine("");
    fits(&shown, 80, 200);
    assert!(
        shown.contains(" 1 look         impossible  1.1 find, 1.2 one-different, 1.3 count: the"),
        "{shown}"
    );
    // The same advice as doctor's.
    assert!(shown.lines().any(|line| line.starts_with("limit: ") && line.contains("uts")), "{shown}");
}

/// A pack of its own, whose lessons are examined and graded as the built-in ones.
#[test]
fn a_measurement_ends_after_the_time_for_the_check() {
    let _alone = alone();
    let home = tempfile::tempdir().unwrap();
    let pack = home.path().join("pack");
    assert!(new(&pack, &["slow"]).status.success());
    let file = pack.join("exercises/01-slow.yaml");
    let data = fs::read_to_string(&file).unwrap();
    let begin = data.find("    measure: |\n").unwrap();
    let end = data.find("    solution: echo").unwrap();
    fs::write(&file, format!("{}    measure: sleep 612345; echo 1\n{}", &data[..begin], &data[end..]))
        .unwrap();
    let (pack, dir) = (pack.to_str().unwrap(), home.path().join("home"));
    let lesson = |words: &[&str]| {
        let own = ["lesson", "--pack", pack, "--dir", dir.to_str().unwrap()];
        sandbox(&[&own, words].concat()).output().unwrap()
    };
    let late = lesson(&["check", "last-pid", "--answer", "1", "--timeout", "1"]);
    assert_eq!(late.status.code(), Some(125), "{}", text(&late.stdout));
    assert!(flat(&late.stderr).contains("the time for the check is over"), "{}", text(&late.stderr));
    // A grade goes on after it, and says why it has not passed.
    let graded = lesson(&["check", "--all", "--report", "json", "--timeout", "1"]);
    let grade: Value = serde_json::from_slice(&graded.stdout).unwrap();
    assert_eq!(graded.status.code(), Some(1), "{grade}");
    let [make, predict] = [&grade["exercises"][0], &grade["exercises"][1]];
    assert_eq!((&make["failed"], &predict["failed"]), (&"subject".into(), &"error".into()), "{grade}");
    assert!(predict["message"].as_str().unwrap().contains("the time for the check is over"), "{grade}");
    // Nothing of the measurement is left.
    let left = fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .any(|entry| fs::read(entry.path().join("cmdline")).is_ok_and(|line| line == b"sleep\x00612345\x00"));
    assert!(!left);
    for factor in ["0", "x", "-1", "1e9"] {
        let refused = lesson(&["test", &format!("--time-scale={factor}")]);
        assert_eq!(refused.status.code(), Some(2), "{factor}");
    }
    let scaled = lesson(&["test", "slow", "--exercise", "new-namespace", "--time-scale", "2.5"]);
    assert!(
        text(&scaled.stdout).starts_with("Times are multiplied by 2.5 on this machine"),
        "{}",
        text(&scaled.stdout)
    );
}
