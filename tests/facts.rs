//! The causes of failures on other machines. The test gives recorded facts and the kernel's error, and checks the
//! cause that `sandbox` names. The error messages are snapshots.

mod support;

use std::collections::BTreeSet;
use std::fs;

use nix::errno::Errno;
use sandbox::diagnose::{self, Failed};
use sandbox::error::Error;
use sandbox::feature::Feature;
use sandbox::host::facts::Facts;
use sandbox::plan::Call;
use sandbox::render::paint::{Color, Stream, decide};
use serde_json::Value;
use support::{fits, repository, run, text};

/// The failures of a machine: the recorded facts, the failure, and the resulting error.
fn failures() -> Vec<(String, Value, Failure, Error)> {
    let mut files: Vec<_> =
        fs::read_dir(repository().join("tests/facts")).unwrap().map(|e| e.unwrap().path()).collect();
    files.sort();
    let mut all = Vec::new();
    for file in files {
        let recorded: Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
        let facts: Facts = serde_json::from_value(recorded["facts"].clone()).unwrap();
        for failure in recorded["failures"].as_array().unwrap() {
            let call: Call = serde_json::from_value(failure["call"].clone()).unwrap();
            let own: Vec<Feature> = serde_json::from_value(failure["own"].clone()).unwrap();
            let feature: Feature = serde_json::from_value(failure["feature"].clone()).unwrap();
            let errno = errno(failure["errno"].as_str().unwrap());
            let error = Error::failed(format!("{feature}: cannot ...")).call(&call, errno);
            let failed = Failed { purpose: feature.into(), call: &call, errno, own: &own };
            let error = diagnose::explain(error, &facts, &failed);
            let name = file.file_stem().unwrap().to_string_lossy().into_owned();
            all.push((name, failure["cause"].clone(), Failure { call, errno }, error));
        }
    }
    all
}

struct Failure {
    call: Call,
    errno: Errno,
}

fn errno(name: &str) -> Errno {
    (1..134).map(Errno::from_raw).find(|errno| format!("{errno:?}") == name).expect("an errno's name")
}

#[test]
fn each_failure_has_its_cause() {
    let all = failures();
    for (machine, wanted, failure, error) in &all {
        assert_eq!(error.cause, wanted.as_str(), "{machine}: {} = -1 {:?}", failure.call, failure.errno);
    }
    let named: BTreeSet<&str> = all.iter().filter_map(|(_, _, _, error)| error.cause).collect();
    assert!(named.len() >= 21, "every cause is recorded somewhere: {named:?}");
}

#[test]
fn no_refusal_is_without_a_cause() {
    for (machine, _, failure, error) in failures() {
        if matches!(failure.errno, Errno::EPERM | Errno::EACCES | Errno::ENOSYS | Errno::ENOSPC) {
            assert!(error.cause.is_some(), "{machine}: {} has no cause", failure.call);
            assert!(!error.why.is_empty() && !error.todo.is_empty(), "{machine}: {error:?}");
        }
    }
}

/// No advice changes a sysctl or another protection of the whole machine.
#[test]
fn no_protection_of_the_whole_machine_is_advised_away() {
    for (machine, _, _, error) in failures() {
        for todo in &error.todo {
            for never in
                ["sysctl", "/proc/sys", "setenforce", "aa-disable", "aa-teardown", "--privileged", "disable"]
            {
                assert!(!todo.contains(never), "{machine}: {todo}");
            }
        }
    }
}

#[test]
fn errors_as_they_are_read() {
    decide(Color::Never, Stream::Out);
    let mut machines: Vec<(String, String)> = Vec::new();
    for (machine, _, _, error) in failures().into_iter().filter(|(_, _, _, error)| error.cause.is_some()) {
        let text = sandbox::render::error::text_in(&error, 80);
        fits(&text, 98, 24);
        match machines.iter_mut().find(|(name, _)| *name == machine) {
            Some((_, before)) => *before += &format!("\n{text}"),
            None => machines.push((machine, text)),
        }
    }
    for (machine, text) in machines {
        // Nothing is replaced, because the text does not depend on this machine.
        let mut settings = insta::Settings::clone_current();
        settings.set_snapshot_path(repository().join("snapshots"));
        settings.set_prepend_module_to_snapshot(false);
        settings.set_omit_expression(true);
        settings.bind(|| insta::assert_snapshot!(format!("cause-{machine}"), text));
    }
}

/// Every advised `sandbox` line is valid. `--dry-run` checks that without running it.
#[test]
fn advised_lines_are_understood() {
    let all: Vec<String> = failures().into_iter().flat_map(|(_, _, _, error)| error.todo).collect();
    let lines: BTreeSet<&str> = all
        .iter()
        .flat_map(|todo| todo.lines())
        .filter_map(|line| line.trim().strip_prefix("sandbox ").or(line.trim().strip_prefix("sudo sandbox ")))
        .collect();
    assert!(lines.len() >= 5, "{lines:?}");
    for line in lines {
        let line = line.replace("DIRECTORY", "/").replace("COMMAND", "true");
        let (flags, command) = line.split_once(" -- ").unwrap_or((&line, "true"));
        let words = flags.split(' ').filter(|word| *word != "--dry-run");
        let words: Vec<&str> = words.chain(["--dry-run", "--", command]).collect();
        let output = run(&words);
        assert_eq!(output.status.code(), Some(0), "{words:?}: {}", text(&output.stderr));
    }
}
