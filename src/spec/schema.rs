//! What a spec may hold, as JSON Schema and as a commented file: both made from the types and their comments.

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::Spec;
use crate::render::paint;
use crate::text::text;

/// The JSON Schema of a spec, of draft 2020-12: what editors complete by.
pub fn schema() -> Value {
    let schema = SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<Spec>();
    let mut schema = schema.to_value();
    if let Some(root) = schema.as_object_mut() {
        root.insert("title".into(), json!(text("spec.schema.title")));
    }
    schema
}

/// The columns that a comment may take.
const COLUMNS: usize = 90;

/// A spec of every key there is. What has no value by itself stands as a comment, with an example: `#limit: 64MiB`.
pub fn template() -> String {
    let schema = schema();
    let mut out = String::new();
    comment(&text("spec.template"), "", &mut out);
    out.push('\n');
    for (key, property) in properties(&schema) {
        let feature = resolve(property, &schema);
        match properties(feature).next() {
            Some(_) => {
                comment(words(property), "", &mut out);
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
    comment(words(property), indent, out);
    let line = match (property.pointer("/examples/0"), property.get("default")) {
        // Of what is empty by itself an example says more.
        (Some(example), _) => format!("#{key}: {}", flow(example)),
        (None, Some(default)) if !default.is_null() => format!("{key}: {}", flow(default)),
        _ if property.get("type") == Some(&json!("boolean")) => format!("{key}: false"),
        _ => format!("{key}:"),
    };
    out.push_str(&format!("{indent}{line}\n"));
}

/// A value in one line, as a person would write it: JSON with no quotes that YAML needn't have.
fn flow(value: &Value) -> String {
    match value {
        Value::String(words) if is_plain(words) => words.clone(),
        Value::Array(items) => format!("[{}]", items.iter().map(flow).collect::<Vec<_>>().join(", ")),
        Value::Object(entries) => {
            let entry = |(key, value): (&String, &Value)| format!("{key}: {}", flow(value));
            format!("{{ {} }}", entries.iter().map(entry).collect::<Vec<_>>().join(", "))
        }
        other => other.to_string(),
    }
}

/// Whether it's a word without quotes too, and no number, truth or nothing.
fn is_plain(words: &str) -> bool {
    let is_safe = |sign: char| sign.is_ascii_alphanumeric() || "/._-".contains(sign);
    words.contains(|sign: char| sign.is_ascii_alphabetic() || sign == '/')
        && words.chars().all(is_safe)
        && words.parse::<f64>().is_err()
        && !["true", "false", "null", "yes", "no", "on", "off"].contains(&words)
}

/// Lines of a comment.
fn comment(words: &str, indent: &str, out: &mut String) {
    for line in paint::wrap(words, COLUMNS) {
        out.push_str(&format!("{indent}# {line}\n"));
    }
}

fn words(property: &Value) -> &str {
    property.get("description").and_then(Value::as_str).unwrap_or_default()
}

fn properties(schema: &Value) -> impl Iterator<Item = (&str, &Value)> {
    let all = schema.get("properties").and_then(Value::as_object);
    all.into_iter().flat_map(Map::iter).map(|(key, value)| (key.as_str(), value))
}

/// The schema of what a key holds: that of its type, where it's named.
fn resolve<'s>(property: &'s Value, root: &'s Value) -> &'s Value {
    let either = property.get("anyOf").and_then(Value::as_array).into_iter().flatten();
    let name = either.chain([property]).find_map(|schema| schema.get("$ref")?.as_str()?.strip_prefix('#'));
    name.and_then(|pointer| root.pointer(pointer)).unwrap_or(property)
}
