//! Why a JSON document cannot be read, in words for its reader: the key in the document, what was expected there, and what was
//! found.

use serde_json::error::Category;

use crate::text::{printed, text, text_with};

/// The reason, in sentences. `bytes` are the document.
pub fn reason(bytes: &[u8], error: &serde_json::Error) -> String {
    let (line, column) = (error.line().to_string(), error.column().to_string());
    let message = error.to_string();
    let message = message.rsplit_once(" at line ").map_or(&*message, |(message, _)| message);
    match error.classify() {
        _ if message == "recursion limit exceeded" => text("common.document.deep"),
        Category::Eof => text("common.document.end"),
        Category::Syntax => text_with("common.document.syntax", &[("line", &line), ("column", &column)]),
        Category::Io => message.to_owned(),
        Category::Data => match path(&bytes[..offset(bytes, error)]) {
            path if path.is_empty() => reworded(message),
            path => {
                let values = [("key", &*printed(path)), ("why", &reworded(message))];
                text_with("common.document.key", &values)
            }
        },
    }
}

/// The number of bytes before the place of an error.
fn offset(bytes: &[u8], error: &serde_json::Error) -> usize {
    let before = bytes.split_inclusive(|byte| *byte == b'\n').take(error.line().saturating_sub(1));
    let start: usize = before.map(<[u8]>::len).sum();
    bytes.len().min(start + error.column())
}

/// An object or a list that is open, and where in it.
enum OpenValue {
    Object(Option<String>),
    List(usize),
}

/// The key to which the beginning of a document leads: `layers[0].digest`.
fn path(start: &[u8]) -> String {
    let mut open: Vec<OpenValue> = Vec::new();
    let mut at = 0;
    while at < start.len() {
        match start[at] {
            b'{' => open.push(OpenValue::Object(None)),
            b'[' => open.push(OpenValue::List(0)),
            b'}' | b']' => drop(open.pop()),
            b',' => match open.last_mut() {
                Some(OpenValue::Object(key)) => *key = None,
                Some(OpenValue::List(index)) => *index += 1,
                None => {}
            },
            b'"' => {
                let string = at;
                at += 1;
                while at < start.len() && start[at] != b'"' {
                    at += if start[at] == b'\\' { 2 } else { 1 };
                }
                if let Some(OpenValue::Object(key @ None)) = open.last_mut() {
                    *key = start.get(string..=at).and_then(|string| serde_json::from_slice(string).ok());
                }
            }
            _ => {}
        }
        at += 1;
    }
    // What an error is about may be a list or an object that has just begun.
    if matches!(start.last(), Some(b'{' | b'[')) {
        open.pop();
    }
    let mut path = String::new();
    for part in open {
        match part {
            OpenValue::List(index) => path.push_str(&format!("[{index}]")),
            OpenValue::Object(Some(key)) if path.is_empty() => path = key,
            OpenValue::Object(Some(key)) => path.push_str(&format!(".{key}")),
            OpenValue::Object(None) => {}
        }
    }
    path
}

/// A message of serde in other words. One of our own types has its own already.
fn reworded(message: &str) -> String {
    let field = |start: &str| message.strip_prefix(start)?.split('`').next();
    if let Some(key) = field("missing field `") {
        return text_with("common.document.missing", &[("key", &printed(key))]);
    }
    if let Some(key) = field("duplicate field `") {
        return text_with("common.document.twice", &[("key", &printed(key))]);
    }
    let starts = ["invalid type: ", "invalid value: ", "invalid length "];
    let rest = starts.iter().find_map(|start| message.strip_prefix(start));
    let Some((found, wanted)) = rest.and_then(|rest| rest.rsplit_once(", expected ")) else {
        return printed(message);
    };
    // Only a list has a wrong length.
    let found = if message.starts_with("invalid length ") { "sequence" } else { found };
    let values = [("wanted", &*wanted_as(wanted)), ("found", &printed(found_as(found)))];
    text_with("common.document.wrong", &values)
}

/// What serde has expected.
fn wanted_as(wanted: &str) -> String {
    let key = match wanted {
        "a sequence" => "common.document.list",
        "a map" => "common.document.object",
        "a boolean" => "common.document.boolean",
        "u8" | "u16" | "u32" | "u64" | "usize" => "common.document.number",
        "i8" | "i16" | "i32" | "i64" | "isize" => "common.document.integer",
        _ if wanted.starts_with("struct ") => "common.document.object",
        other => return printed(other),
    };
    text(key)
}

/// What serde has found.
fn found_as(found: &str) -> String {
    let quoted = |start: &str| found.strip_prefix(start)?.strip_suffix('`');
    let value = ["integer `", "floating point `", "boolean `"].into_iter().find_map(quoted);
    match (value, found) {
        (Some(value), _) => value.to_owned(),
        (None, "map") => text("common.document.object"),
        (None, "sequence") => text("common.document.list"),
        (None, found) => found.strip_prefix("string ").unwrap_or(found).to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    struct Inner {
        #[expect(dead_code, reason = "only read")]
        size: u64,
    }

    #[derive(Debug, Deserialize)]
    struct Outer {
        #[expect(dead_code, reason = "only read")]
        layers: Vec<Inner>,
        #[expect(dead_code, reason = "only read")]
        labels: Option<BTreeMap<String, String>>,
    }

    #[test]
    fn a_reason_names_the_key_and_both_values() {
        for (document, wanted) in [
            (r#"{"layers": null}"#, "layers: expected a list, found null"),
            (r#"{"layers": "x, expected y"}"#, r#"layers: expected a list, found "x, expected y""#),
            (
                r#"{"layers": [{"size": 1}, {"size": -2}]}"#,
                "layers[1].size: expected a whole number, 0 or more, found -2",
            ),
            (
                "{\n \"layers\": [\n{\"size\": \"a\"}]}",
                r#"layers[0].size: expected a whole number, 0 or more, found "a""#,
            ),
            (r#"{"layers": [{}]}"#, "layers[0]: the key size is missing"),
            (r#"{"layers": [[]]}"#, "layers[0]: expected an object, found a list"),
            (r#"{"layers": [5]}"#, "layers[0]: expected an object, found 5"),
            (r#"{"layers": {"a": 1}}"#, "layers: expected a list, found an object"),
            (r#"{"layers": [], "labels": {"a{\"": [1]}}"#, "labels.a{\": expected a string, found a list"),
            (r#"{"layers": [], "layers": []}"#, "layers: the key layers is there twice"),
            ("{}", "the key layers is missing"),
            ("[]", "expected an object, found a list"),
            ("7", "expected an object, found 7"),
            ("", "it ends before the end of a value"),
            (r#"{"layers": ["#, "it ends before the end of a value"),
            ("<html>", "it is not JSON: line 1, column 1"),
        ] {
            let error = serde_json::from_str::<Outer>(document).unwrap_err();
            assert_eq!(reason(document.as_bytes(), &error), wanted, "{document}: {error}");
        }
        let deep = "[".repeat(1000);
        let error = serde_json::from_str::<serde_json::Value>(&deep).unwrap_err();
        assert!(reason(deep.as_bytes(), &error).contains("128"), "{error}");
    }
}
