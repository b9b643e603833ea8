//! The functions of templates: those of Go that need no reflection, and those that Docker adds.

use std::cmp::Ordering;

use serde_json::Value;

use super::escape;
use super::printf::formatted;

/// The maximum number of characters that are added to a text.
pub(super) const MAX_PADDING: usize = 10_000;

/// The functions that return a title as it is, in the line of titles.
pub(super) const KEEP_TITLES: [&str; 7] = ["json", "split", "join", "title", "lower", "upper", "truncate"];

/// A value as Go prints it.
pub(super) fn printed(value: &Value) -> String {
    match value {
        Value::Null => "<no value>".to_owned(),
        Value::String(text) => text.clone(),
        Value::Number(number) if number.is_f64() => float(number.as_f64().unwrap_or_default()),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::Array(all) => format!("[{}]", all.iter().map(inner).collect::<Vec<_>>().join(" ")),
        Value::Object(map) => {
            let mut all: Vec<(&String, &Value)> = map.iter().collect();
            all.sort_by_key(|(key, _)| *key);
            let all = all.into_iter().map(|(key, value)| format!("{key}:{}", inner(value)));
            format!("map[{}]", all.collect::<Vec<_>>().join(" "))
        }
    }
}

/// A number as Go's `%v` prints it: with an exponent where it is very large or very small.
fn float(number: f64) -> String {
    if number == 0.0 || (1e-4..1e21).contains(&number.abs()) {
        return number.to_string();
    }
    let written = format!("{number:e}");
    let (digits, exponent) = written.split_once('e').unwrap_or((&written, "0"));
    let (sign, exponent) = exponent.strip_prefix('-').map_or(('+', exponent), |exponent| ('-', exponent));
    format!("{digits}e{sign}{exponent:0>2}")
}

/// A value in another one.
fn inner(value: &Value) -> String {
    if value.is_null() { "<nil>".to_owned() } else { printed(value) }
}

/// Whether a value is not empty.
pub(super) fn is_true(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(is_true) => *is_true,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(all) => !all.is_empty(),
        Value::Object(map) => !map.is_empty(),
    }
}

/// Calls a function.
pub(super) fn call(name: &str, arguments: &[Value]) -> Result<Value, String> {
    let wrong = || Err(format!("wrong number or type of args for {name}"));
    let text = |map: fn(&str) -> String| match arguments {
        [Value::String(text)] => Ok(Value::from(map(text))),
        _ => wrong(),
    };
    match (name, arguments) {
        ("json", [value]) => Ok(Value::from(value.to_string())),
        ("lower", _) => text(str::to_lowercase),
        ("upper", _) => text(str::to_uppercase),
        ("title", _) => text(title),
        ("split", [Value::String(text), Value::String(at)]) if at.is_empty() => {
            Ok(text.chars().map(|character| Value::from(character.to_string())).collect::<Vec<_>>().into())
        }
        ("split", [Value::String(text), Value::String(at)]) => {
            Ok(text.split(at.as_str()).map(Value::from).collect::<Vec<_>>().into())
        }
        ("join", [Value::Null, Value::String(_)]) => Ok(String::new().into()),
        ("join", [Value::Array(all), Value::String(between)]) => {
            Ok(all.iter().map(printed).collect::<Vec<_>>().join(between).into())
        }
        ("pad", [Value::String(text), before, after]) => {
            let spaces =
                |count: &Value| " ".repeat(count.as_u64().unwrap_or(0).min(MAX_PADDING as u64) as usize);
            Ok(format!("{}{text}{}", spaces(before), spaces(after)).into())
        }
        ("truncate", [Value::String(text), length]) => {
            let length = length.as_u64().unwrap_or(u64::MAX);
            Ok(text.chars().take(usize::try_from(length).unwrap_or(usize::MAX)).collect::<String>().into())
        }
        ("print", all) => Ok(joined(all).into()),
        ("html", all) => Ok(escape::html(&joined(all)).into()),
        ("js", all) => Ok(escape::js(&joined(all)).into()),
        ("urlquery", all) => Ok(escape::urlquery(&joined(all)).into()),
        ("println", all) => Ok((all.iter().map(printed).collect::<Vec<_>>().join(" ") + "\n").into()),
        ("printf", [Value::String(form), rest @ ..]) => Ok(formatted(form, rest).into()),
        ("len", [Value::Null]) => Ok(0.into()),
        ("len", [Value::String(text)]) => Ok(text.len().into()),
        ("len", [Value::Array(all)]) => Ok(all.len().into()),
        ("len", [Value::Object(map)]) => Ok(map.len().into()),
        ("index", [value, first, rest @ ..]) => {
            rest.iter().try_fold(element(value, first)?, |value, index| element(&value, index))
        }
        ("slice", [value, bounds @ ..]) if bounds.len() <= 2 => slice(value, bounds),
        ("not", [value]) => Ok((!is_true(value)).into()),
        ("and", [.., last]) => Ok(arguments.iter().find(|value| !is_true(value)).unwrap_or(last).clone()),
        ("or", [.., last]) => Ok(arguments.iter().find(|value| is_true(value)).unwrap_or(last).clone()),
        ("eq", [value, rest @ ..]) if !rest.is_empty() => {
            Ok(rest.iter().any(|other| is_equal(value, other)).into())
        }
        ("ne", [one, other]) => Ok((!is_equal(one, other)).into()),
        ("lt" | "le" | "gt" | "ge", [one, other]) => {
            let Some(order) = order(one, other) else {
                return Err("incompatible types for comparison".to_owned());
            };
            Ok(match name {
                "lt" => order == Ordering::Less,
                "le" => order != Ordering::Greater,
                "gt" => order == Ordering::Greater,
                _ => order != Ordering::Less,
            }
            .into())
        }
        (
            "json" | "split" | "join" | "pad" | "truncate" | "printf" | "len" | "index" | "slice" | "not"
            | "and" | "or" | "eq" | "ne" | "lt" | "le" | "gt" | "ge",
            _,
        ) => wrong(),
        _ => Err(format!("function {name:?} not defined")),
    }
}

/// The values one after the other, as Go's Sprint: with a space between two of which none is a text.
fn joined(all: &[Value]) -> String {
    let mut out = String::new();
    for (at, value) in all.iter().enumerate() {
        if at > 0 && !value.is_string() && !all[at - 1].is_string() {
            out.push(' ');
        }
        out.push_str(&printed(value));
    }
    out
}

fn title(text: &str) -> String {
    let mut is_start = true;
    let each = |character: char| {
        let first = std::mem::replace(&mut is_start, !character.is_alphanumeric());
        if first { character.to_uppercase().collect::<String>() } else { character.to_string() }
    };
    text.chars().map(each).collect()
}

/// The element of a list or a map. A map without the key has an empty one: of texts, or of what is not known here.
fn element(value: &Value, index: &Value) -> Result<Value, String> {
    match (value, index) {
        (Value::Array(all), Value::Number(at)) => {
            let found = at.as_u64().and_then(|at| all.get(usize::try_from(at).ok()?));
            found.cloned().ok_or_else(|| format!("error calling index: index out of range: {at}"))
        }
        // A string of Go consists of bytes.
        (Value::String(text), Value::Number(at)) => {
            let found = at.as_u64().and_then(|at| text.as_bytes().get(usize::try_from(at).ok()?));
            found
                .map(|byte| (*byte).into())
                .ok_or_else(|| format!("error calling index: index out of range: {at}"))
        }
        (Value::Object(map), Value::String(key)) => {
            let is_of_texts = map.values().all(Value::is_string);
            let empty = || if is_of_texts { String::new().into() } else { Value::Null };
            Ok(map.get(key).cloned().unwrap_or_else(empty))
        }
        // A map with nothing in it is a null in the documents.
        (Value::Null, Value::String(_)) => Ok(String::new().into()),
        (Value::Null, _) => Err("error calling index: index of untyped nil".to_owned()),
        _ => Err(format!("error calling index: can't index {} by {}", printed(value), printed(index))),
    }
}

fn slice(value: &Value, bounds: &[Value]) -> Result<Value, String> {
    let out_of_range = || "error calling slice: index out of range".to_owned();
    let bound = |at: usize, default: usize| match bounds.get(at) {
        None => Ok(default),
        Some(bound) => bound.as_u64().and_then(|at| usize::try_from(at).ok()).ok_or_else(out_of_range),
    };
    let length = match value {
        Value::String(text) => text.len(),
        Value::Array(all) => all.len(),
        _ => return Err("error calling slice: can't slice item".to_owned()),
    };
    let range = bound(0, 0)?..bound(1, length)?;
    match value {
        Value::String(text) => text.get(range).map(Value::from).ok_or_else(out_of_range),
        Value::Array(all) => all.get(range).map(|part| part.to_vec().into()).ok_or_else(out_of_range),
        _ => Err(out_of_range()),
    }
}

fn is_equal(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => one.as_f64() == other.as_f64(),
        _ => one == other,
    }
}

fn order(one: &Value, other: &Value) -> Option<Ordering> {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => one.as_f64()?.partial_cmp(&other.as_f64()?),
        (Value::String(one), Value::String(other)) => Some(one.cmp(other)),
        _ => None,
    }
}
