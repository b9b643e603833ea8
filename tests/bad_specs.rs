//! Faulty specs: each is refused with its place. None makes `sandbox` panic or hang, and none leaves anything.

mod support;

use std::fs;

use proptest::prelude::*;
use proptest::test_runner::Config;
use sandbox::config::complete::Completed;
use sandbox::config::compose::Ending;
use sandbox::config::spec::{Spec, schema, shipped, yaml};
use sandbox::feature::Purpose;
use sandbox::render;
use serde_json::{Map, Value};
use support::{feed, sandbox, text};

/// The corpus: the expected message and the spec.
fn corpus() -> Vec<(String, String)> {
    let words = fs::read_to_string(support::repository().join("tests/bad-specs.txt")).unwrap();
    let blocks = words.split("\n=== ").skip(1).map(|block| block.split_once('\n').unwrap());
    blocks.map(|(said, spec)| (said.to_owned(), format!("{spec}\n"))).collect()
}

#[test]
fn each_of_the_corpus_is_refused_with_its_place() {
    let corpus = corpus();
    assert!(corpus.len() >= 100, "{}", corpus.len());
    let before = support::limits::left();
    for (said, spec) in corpus {
        let check = feed(sandbox(&["spec", "check", "-"]).env("COLUMNS", "400"), &spec);
        let run = feed(sandbox(&["run", "-", "-q"]).env("COLUMNS", "400"), &spec);
        assert_eq!(run.status.code(), Some(125), "{spec}");
        let (checked, ran) = (text(&check.stderr), text(&run.stderr));
        if let Some(said) = said.strip_prefix("run ") {
            // What is wrong is not in the text of the spec, but what it names is missing on this machine.
            assert_eq!(check.status.code(), Some(125), "{spec}: {checked}");
            assert!(ran.contains(&format!("sandbox: {said}")), "{spec}: {ran}");
            let said =
                ["run: mnt: ", "run: devices: "].iter().find_map(|of| said.strip_prefix(of)).unwrap_or(said);
            assert!(checked.contains(&format!("sandbox: -: {said}")), "{spec}: {checked}");
        } else {
            let (place, words) = said.split_once(' ').unwrap();
            assert_eq!(check.status.code(), Some(125), "{spec}");
            for told in [checked, ran] {
                assert!(told.contains(&format!("standard input:{place}: {words}")), "{said}\n{spec}: {told}");
                assert!(!told.contains("panicked"), "{spec}: {told}");
            }
        }
    }
    assert_eq!(support::limits::left(), before);
}

/// Of this kind: each type of value, a key, a variant, blanks. A form to write instead has no empty value either.
#[test]
fn a_value_that_cannot_be_seen_is_in_quotes() {
    for spec in [
        "\"\": x",
        "pid: \"\"",
        "uts: \"\"",
        "tty: ''",
        "command: \"\"",
        "env: \"\"",
        "seccomp: ''",
        "net: { mode: '' }",
        "cpu: { cpus: '' }",
        "pids: { max: '' }",
        "capabilities: ''",
        "capabilities: { keep: [''] }",
        "rlimits: { '': 5 }",
        "optional: ['']",
        "mnt: { mounts: [''] }",
        "mnt: { mounts: [{ type: '', target: /x }] }",
        "devices: { allow: [''] }",
    ] {
        for (spec, shown) in
            [(spec.to_owned(), "\"\""), (spec.replace("\"\"", "' '").replace("''", "' '"), "\" \"")]
        {
            // A rule about a device has no blanks at its ends.
            let shown = if spec.contains("devices") { "\"\"" } else { shown };
            let mistakes = yaml::read(&spec, "spec.yaml").unwrap_err();
            assert!(mistakes[0].what.contains(shown), "{spec}: {}", mistakes[0].what);
            assert!(!mistakes[0].what.contains("hostname: }"), "{spec}: {}", mistakes[0].what);
        }
    }
    let mistakes = yaml::read("uts: 'a: {b}, #c'", "spec.yaml").unwrap_err();
    assert!(mistakes[0].what.contains("uts: { hostname: \"a: {b}, #c\" }"), "{}", mistakes[0].what);
}

/// Reads the text as `spec check` does. A valid spec is printed, read again, compared and planned. A mistake has a
/// place.
fn endure(words: &str) -> Result<(), TestCaseError> {
    match yaml::read(words, "spec.yaml") {
        Ok(spec) => {
            let printed = yaml::print(&spec);
            let again = yaml::read(&printed, "printed");
            prop_assert_eq!(again.as_ref().ok(), Some(&spec), "{}", printed);
            // An independent parser must read the same spec. It may refuse the text, because it is stricter about
            // tabs.
            if let Ok(other) = serde_yaml::from_str::<Spec>(words) {
                prop_assert_eq!(&other, &spec, "{}", words);
            }
            plan(&spec);
        }
        Err(mistakes) => {
            prop_assert!(!mistakes.is_empty());
            let lines = words.split('\n').count();
            for mistake in mistakes {
                let place = (mistake.line, mistake.column);
                prop_assert!(place.0 >= 1 && place.0 <= lines + 1 && place.1 >= 1, "{:?}", place);
                prop_assert!(!mistake.what.is_empty());
            }
        }
    }
    Ok(())
}

fn plan(spec: &Spec) {
    let ending = Ending::Command { path: "/bin/true".into(), arguments: vec!["true".into()] };
    let plan = Completed::of(spec, Purpose::Container).plan(ending, true);
    assert!(!render::plan::text_of(&plan).is_empty());
}

/// All words that have a meaning in a spec, and some values that are unusual or invalid.
fn vocabulary() -> Vec<String> {
    let template = schema::template();
    let is_key = |sign: char| sign.is_ascii_alphanumeric() || sign == '_';
    let mut words: Vec<String> = template.split(|sign| !is_key(sign)).map(str::to_owned).collect();
    let odd = [
        "",
        "~",
        "null",
        "true",
        "0",
        "-1",
        "1.5",
        "64MiB",
        "1h",
        "default",
        "host",
        "./x",
        "/",
        "0:0:1",
        "/dev/null rw",
        "c 1:3 r",
        "a=b",
        "\0",
        "\u{1b}[0m",
        "\u{feff}",
        "é",
        "99999999999999999999",
        "&a",
        "*a",
    ];
    words.extend(odd.map(str::to_owned));
    words.sort_unstable();
    words.dedup();
    words
}

/// Keys with values, lists and strings, nested a few levels. JSON is also YAML.
fn tree() -> impl Strategy<Value = Value> {
    let word = proptest::sample::select(vocabulary());
    let leaf = prop_oneof![
        4 => word.clone().prop_map(Value::String),
        1 => any::<i64>().prop_map(Value::from),
        1 => any::<bool>().prop_map(Value::from),
        1 => Just(Value::Null),
    ];
    let map = |values: BoxedStrategy<Value>| {
        let entries = proptest::collection::vec((proptest::sample::select(vocabulary()), values), 0..5);
        entries.prop_map(|entries| Value::Object(Map::from_iter(entries)))
    };
    let value = leaf.prop_recursive(3, 24, 5, move |value| {
        let list = proptest::collection::vec(value.clone(), 0..4).prop_map(Value::Array);
        prop_oneof![2 => map(value.boxed()), 1 => list]
    });
    let entries = proptest::collection::vec((word, value), 0..6);
    entries.prop_map(|entries| Value::Object(Map::from_iter(entries)))
}

/// proptest must not write failed cases into the repository. It prints them. Its cases are new ones each time.
fn config(cases: u32) -> Config {
    let cases = if std::env::var_os("SANDBOX_SAMPLE").is_some() { cases / 4 } else { cases };
    Config { cases, failure_persistence: None, ..Config::default() }
}

proptest! {
    #![proptest_config(config(256))]

    #[test]
    fn a_shipped_spec_with_a_piece_of_another_is_read_or_refused(
        first in 0..shipped::ALL.len(),
        second in 0..shipped::ALL.len(),
        cut in any::<[proptest::sample::Index; 4]>(),
    ) {
        let (into, from) = (shipped::ALL[first].text, shipped::ALL[second].text);
        let at = |text: &str, index: &proptest::sample::Index| {
            let mut below = (0..=index.index(text.len() + 1)).rev();
            below.find(|at| text.is_char_boundary(*at)).unwrap()
        };
        let ordered = |text: &str, one, other| {
            let (one, other) = (at(text, one), at(text, other));
            (one.min(other), one.max(other))
        };
        let ((start, end), (begin, stop)) = (ordered(into, &cut[0], &cut[1]), ordered(from, &cut[2], &cut[3]));
        // With a line break at the end: the two parsers differ about a block scalar that ends without one.
        endure(&format!("{}{}{}\n", &into[..start], &from[begin..stop], &into[end..]))?;
    }

    #[test]
    fn any_tree_of_our_own_words_is_read_or_refused(tree in tree()) {
        endure(&tree.to_string())?;
    }

    #[test]
    fn any_text_is_read_or_refused(words in "\\PC{0,200}") {
        endure(&words)?;
    }

    #[test]
    fn any_signs_of_yaml_are_read_or_refused(words in "[-a-c:{}\\[\\],&*!|>'\"%@`#? \\n\\t]{0,60}") {
        endure(&words)?;
    }
}
