//! The keys of a spec as a JSON Schema, and as a commented file. Both are made from the types and their comments.

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::Spec;
use crate::text::{text, wrap};

/// What `--format json` prints, and the files that the program reads, each with its JSON Schema. The schema of a spec is
/// made from its structs. Those of the files of lessons are made from their structs too, and a test compares them.
pub const OUTPUTS: &[(&str, &str)] = &[
    ("spec", ""),
    ("view", include_str!("../../../docs/schema/view.json")),
    ("comparison", include_str!("../../../docs/schema/comparison.json")),
    ("plan", include_str!("../../../docs/schema/plan.json")),
    ("config", include_str!("../../../docs/schema/config.json")),
    ("explained", include_str!("../../../docs/schema/explained.json")),
    ("cards", include_str!("../../../docs/schema/cards.json")),
    ("contrast", include_str!("../../../docs/schema/contrast.json")),
    ("names", include_str!("../../../docs/schema/names.json")),
    ("returned", include_str!("../../../docs/schema/returned.json")),
    ("checked", include_str!("../../../docs/schema/checked.json")),
    ("verified", include_str!("../../../docs/schema/verified.json")),
    ("removed", include_str!("../../../docs/schema/removed.json")),
    ("stats", include_str!("../../../docs/schema/stats.json")),
    ("events", include_str!("../../../docs/schema/events.json")),
    ("doctor", include_str!("../../../docs/schema/doctor.json")),
    ("lessons", include_str!("../../../docs/schema/lessons.json")),
    ("grade", include_str!("../../../docs/schema/grade.json")),
    ("lesson", include_str!("../../../docs/schema/lesson.json")),
    ("front-matter", include_str!("../../../docs/schema/front-matter.json")),
    ("pack", include_str!("../../../docs/schema/pack.json")),
    ("recorded", include_str!("../../../docs/schema/recorded.json")),
    ("ledger", include_str!("../../../docs/schema/ledger.json")),
    ("image-tree", include_str!("../../../docs/schema/image-tree.json")),
    ("image-verified", include_str!("../../../docs/schema/image-verified.json")),
    ("image-which", include_str!("../../../docs/schema/image-which.json")),
    ("image-diff", include_str!("../../../docs/schema/image-diff.json")),
];

/// The JSON Schema of a spec, draft 2020-12. Editors use it to complete keys.
pub fn schema() -> Value {
    let schema = SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<Spec>();
    let mut schema = schema.to_value();
    if let Some(root) = schema.as_object_mut() {
        root.insert("title".into(), json!(text("spec.schema.title")));
    }
    schema
}

/// The maximum width of a line of comment.
const COLUMNS: usize = 78;

/// The keys that restrict a container. The file has them turned on, with their examples as values. A user who does not
/// want one removes it.
const HARDENING: [&str; 4] = ["capabilities", "seccomp", "rlimits", "no_new_privileges"];

/// A spec with all keys. A key without a default value is commented out, with an example: `#limit: 64MiB`.
pub fn template() -> String {
    let schema = schema();
    let mut out = String::new();
    comment(&text("spec.template"), "", &mut out);
    out.push('\n');
    for (key, property) in properties(&schema) {
        let feature = resolve(property, &schema);
        match properties(feature).next() {
            Some(_) => {
                comment(description(property), "", &mut out);
                out.push_str(&format!("{key}:\n"));
                for (key, property) in properties(feature) {
                    entry(key, property, "  ", &mut out);
                }
            }
            None => entry(key, property, "", &mut out),
        }
        out.push('\n');
    }
    out.truncate(out.trim_end().len());
    out + "\n"
}

fn entry(key: &str, property: &Value, indent: &str, out: &mut String) {
    comment(description(property), indent, out);
    let line = match (property.pointer("/examples/0"), property.get("default")) {
        (Some(example), _) if HARDENING.contains(&key) => format!("{key}: {}", flow(example)),
        (None, _) if HARDENING.contains(&key) => format!("{key}: true"),
        // An example explains more than an empty default value.
        (Some(example), _) => format!("#{key}: {}", flow(example)),
        (None, Some(default)) if !default.is_null() => format!("{key}: {}", flow(default)),
        _ if property.get("type") == Some(&json!("boolean")) => format!("{key}: false"),
        _ => format!("{key}:"),
    };
    out.push_str(&format!("{indent}{line}\n"));
}

/// A value in one line, as a person would write it: JSON without the quotes that YAML does not need.
fn flow(value: &Value) -> String {
    match value {
        Value::String(string) if is_plain(string) => string.clone(),
        Value::Array(items) => format!("[{}]", items.iter().map(flow).collect::<Vec<_>>().join(", ")),
        Value::Object(entries) => {
            let entry = |(key, value): (&String, &Value)| format!("{key}: {}", flow(value));
            format!("{{ {} }}", entries.iter().map(entry).collect::<Vec<_>>().join(", "))
        }
        other => other.to_string(),
    }
}

/// Whether a string is a string also without quotes, and no number, boolean or null.
fn is_plain(string: &str) -> bool {
    let is_safe = |character: char| character.is_ascii_alphanumeric() || "/._-".contains(character);
    string.contains(|character: char| character.is_ascii_alphabetic() || character == '/')
        && string.chars().all(is_safe)
        && string.parse::<f64>().is_err()
        && !["true", "false", "null", "yes", "no", "on", "off"].contains(&string)
}

/// Adds a text as lines of a comment.
fn comment(text: &str, indent: &str, out: &mut String) {
    for line in wrap(text, COLUMNS - indent.len() - "# ".len()) {
        out.push_str(&format!("{indent}# {line}\n"));
    }
}

fn description(property: &Value) -> &str {
    property.get("description").and_then(Value::as_str).unwrap_or_default()
}

fn properties(schema: &Value) -> impl Iterator<Item = (&str, &Value)> {
    let all = schema.get("properties").and_then(Value::as_object);
    all.into_iter().flat_map(Map::iter).map(|(key, value)| (key.as_str(), value))
}

/// The schema of the value of a key. It follows a reference to a named type.
fn resolve<'s>(property: &'s Value, root: &'s Value) -> &'s Value {
    let either = property.get("anyOf").and_then(Value::as_array).into_iter().flatten();
    let name = either.chain([property]).find_map(|schema| schema.get("$ref")?.as_str()?.strip_prefix('#'));
    name.and_then(|pointer| root.pointer(pointer)).unwrap_or(property)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::spec::judge::faults;
    use crate::config::spec::{shipped, yaml};

    fn judge(text: &str) -> Vec<String> {
        let schema = schema();
        faults(&yaml::json(text), &schema, &schema)
    }

    #[test]
    fn the_shipped_specs_are_valid_by_the_schema() {
        for spec in shipped::ALL {
            assert_eq!(judge(spec.text), Vec::<String>::new(), "{}", spec.purpose);
        }
        let full = template();
        assert_eq!(judge(&full), Vec::<String>::new());
        let example = regex_lite::Regex::new("(?m)^( *)#([a-z_]+:)").unwrap();
        assert_eq!(judge(&example.replace_all(&full, "$1$2")), Vec::<String>::new());
    }

    #[test]
    fn the_schema_refuses_the_same_specs_as_the_reader() {
        for wrong in [
            "utz:",
            "pids: { max: 0 }",
            "pids: { max: 4194305 }",
            "cpu: { shares: 1 }",
            "cpu: { weight: 10001 }",
            "blkio: { weight: 5 }",
            "blkio: { write_bps: { /dev/vda: fast } }",
            "memory: { limit: 1.5m }",
            "net: { lo: sideways }",
            "tty: yes",
            "timeout: soon",
            "time: { boottime: 1w }",
            "ipc: { shm: 1 }",
            "cpu: { cpuset: a }",
            "cpu: { mems: '0-' }",
            "devices: { allow: [dev/null] }",
            "user: { map: nobody }",
            "name: A b",
            "workdir: srv",
            "user: { map: [{ inside: 0, outside: 1 }] }",
            "optional: [disk]",
            "uts: [a]",
        ] {
            assert!(yaml::read(wrong, "x").is_err(), "{wrong}");
            assert!(!judge(wrong).is_empty(), "{wrong}");
        }
        for good in [
            "user: { map: '0:100000:65536' }",
            "user: { map: [{ inside: 0, outside: 1, count: 1 }] }",
            "user: { map: auto }",
            "ipc:",
            "name: Box-1",
            "timeout: 90",
            "memory: { limit: 64KB, swap: 7b }",
            "cpu: { cpus: 2 }",
            "devices: { allow: [a, c 1:3 rwm, 'b 8:* r', /dev/null] }",
        ] {
            assert!(yaml::read(good, "x").is_ok(), "{good}");
            assert_eq!(judge(good), Vec::<String>::new(), "{good}");
        }
    }

    #[test]
    fn each_key_has_a_description() {
        let schema = schema();
        assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
        for (key, property) in properties(&schema) {
            assert!(!description(property).is_empty(), "{key}");
            for (inner, property) in properties(resolve(property, &schema)) {
                assert!(!description(property).is_empty(), "{key}.{inner}");
            }
        }
    }
}
