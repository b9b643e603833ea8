//! The JSON Schemas of the files of lessons, and of a grade. They are made from the types that read or write these files,
//! and kept in `docs/schema`, from where `sandbox spec schema` prints them. `SCHEMA_UPDATE=1` writes them anew.

use std::path::Path;

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::data::LessonData;
use super::grade::Grade;
use super::pack::PackHead;
use super::shipped::FILES;
use super::text::{self, FrontMatter};
use crate::config::spec::judge::faults;
use crate::config::spec::yaml;

/// The schema of a type, draft 2020-12.
fn schema_of<T: JsonSchema>(title: &str, settings: SchemaSettings) -> Value {
    let mut schema = settings.into_generator().into_root_schema_for::<T>().to_value();
    schema["title"] = json!(title);
    schema
}

/// The schemas, by the names of their files.
fn all() -> [(&'static str, Value); 4] {
    let (read, written) = (SchemaSettings::draft2020_12, || SchemaSettings::draft2020_12().for_serialize());
    [
        ("lesson", schema_of::<LessonData>("The exercises of a lesson", read())),
        ("front-matter", schema_of::<FrontMatter>("The front matter of a lesson", read())),
        ("pack", schema_of::<PackHead>("The head of a pack of lessons", read())),
        ("grade", schema_of::<Grade>("The grade of lesson check --all, as JSON", written())),
    ]
}

fn schema(name: &str) -> Value {
    all().into_iter().find(|(known, _)| *known == name).unwrap().1
}

#[test]
fn the_files_are_made_from_the_types() {
    for (name, schema) in all() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("docs/schema/{name}.json"));
        let made = serde_json::to_string_pretty(&schema).unwrap() + "\n";
        if std::env::var_os("SCHEMA_UPDATE").is_some() {
            std::fs::write(&path, made).unwrap();
        } else {
            let kept = std::fs::read_to_string(&path).unwrap();
            assert_eq!(kept, made, "SCHEMA_UPDATE=1 cargo test --lib the_files_are_made_from_the_types");
        }
    }
}

#[test]
fn the_shipped_files_are_valid_by_the_schemas() {
    let (lesson, front, pack) = (schema("lesson"), schema("front-matter"), schema("pack"));
    let mut counts = [0; 3];
    for (path, content) in FILES.iter().flat_map(|files| files.iter()) {
        let content = String::from_utf8_lossy(content);
        let (schema, text, kind) = match path {
            path if *path == "pack.yaml" => (&pack, content.to_string(), 0),
            path if path.ends_with(".md") => {
                let matter = content.strip_prefix("---\n").and_then(|rest| rest.split_once("\n---\n"));
                (&front, matter.unwrap().0.to_owned(), 1)
            }
            path if path.starts_with("exercises/") && path.matches('/').count() == 1 => {
                (&lesson, content.to_string(), 2)
            }
            _ => continue,
        };
        counts[kind] += 1;
        assert_eq!(faults(&yaml::json(&text), schema, schema), Vec::<String>::new(), "{path}");
    }
    assert_eq!(counts, [1, 70, 35]);
}

/// Whether a type can be read from a document, by the program's own reader.
fn is_read<T: DeserializeOwned>(document: &str) -> bool {
    yaml::read_document::<T>(document, "x").is_ok()
}

#[test]
fn the_schemas_refuse_what_the_readers_refuse() {
    let good = "format: 1\nquestions: {q: a}\nexercises:\n  one:\n    kind: make\n    subject: {process: [sleep]}\n    \
        checks: [{name: n, fact: {status: NSpid}, expect: {count: 3}}]\n    solution: x\n    wrong: {w: {run: x, fails: n}}\n  \
        two:\n    kind: predict\n    measure: echo 1\n    solution: echo 1\n    wrong: {w: {answer: '2', fails: w}}\n";
    let lesson = schema("lesson");
    let judged = |text: &str| faults(&yaml::json(text), &lesson, &lesson);
    assert!(is_read::<LessonData>(good) && judged(good).is_empty(), "{:?}", judged(good));
    for (from, to) in [
        ("format: 1", "formats: 1"),
        ("format: 1", "format: one"),
        ("kind: make", "kind: makes"),
        ("kind: make", "kind: make\n    weight: heavy"),
        ("kind: make", "kind: make\n    wieght: 2"),
        ("kind: make", "kind: make\n    privilege: admin"),
        ("kind: make", "kind: make\n    features: [disk]"),
        ("kind: make", "kind: make\n    programs: cc"),
        ("kind: make", "kind: make\n    values: {n: {numbers: [1, 2]}}"),
        ("kind: make", "kind: make\n    values: {n: {number: [1]}}"),
        ("kind: make", "kind: make\n    values: {n: 5}"),
        ("{q: a}", "{q: ab}"),
        ("{process: [sleep]}", "{process: sleep}"),
        ("{process: [sleep]}", "{proces: [sleep]}"),
        ("name: n,", ""),
        ("{status: NSpid}", "{state: NSpid}"),
        ("{status: NSpid}", "{namespace: nett}"),
        ("{status: NSpid}", "{mount: {on: /}}"),
        ("{status: NSpid}", "{mount: {on: /, show: types}}"),
        ("{status: NSpid}", "{cgroup: {controller: disk, v1: a, v2: b}}"),
        ("{status: NSpid}", "status"),
        ("{count: 3}", "{count: three}"),
        ("{count: 3}", "{counts: 3}"),
        ("{count: 3}", "{exists: maybe}"),
        ("{run: x, fails: n}", "{run: x}"),
        ("{run: x, fails: n}", "{run: x, fails: n, then: y}"),
        ("    solution: x\n", ""),
    ] {
        let wrong = good.replacen(from, to, 1);
        assert!(!is_read::<LessonData>(&wrong), "{wrong}");
        assert!(!judged(&wrong).is_empty(), "{wrong}");
    }
    // What `lesson lint` refuses although it can be read.
    for (from, to) in [
        ("format: 1", "format: 2"),
        ("kind: make", "kind: make\n    weight: 0"),
        ("kind: make", "kind: predict"),
        ("    measure: echo 1\n", ""),
        ("    wrong: {w: {run: x, fails: n}}\n", ""),
    ] {
        let wrong = good.replacen(from, to, 1);
        assert!(!judged(&wrong).is_empty(), "{wrong}");
    }
    let front = schema("front-matter");
    for wrong in ["format: 1", "title: x\nformat: 1\nminutes: many\ndifficulty: 1"] {
        assert!(!is_read::<FrontMatter>(wrong) && !faults(&yaml::json(wrong), &front, &front).is_empty());
    }
    let pack = schema("pack");
    for wrong in ["format: 1\nname: x", "format: 1\nname: x\ntitle: {}\nauthor: me"] {
        assert!(!is_read::<PackHead>(wrong) && !faults(&yaml::json(wrong), &pack, &pack).is_empty());
    }
    let hard = "---\nformat: 1\ntitle: x\nminutes: 1\ndifficulty: 4\n---\n";
    assert!(
        text::read(hard, "x").is_ok() && !faults(&yaml::json("difficulty: 4"), &front, &front).is_empty()
    );
}
