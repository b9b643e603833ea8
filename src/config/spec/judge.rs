//! Judges a value by a JSON Schema, for tests: the schemas must accept and refuse what the readers do.

use serde_json::{Value, json};

/// The faults of a value by the schema. It knows only the keywords that our schema uses.
pub(crate) fn faults(value: &Value, schema: &Value, root: &Value) -> Vec<String> {
    let mut found = Vec::new();
    let Some(schema) = schema.as_object() else {
        return if schema == &json!(false) {
            vec![format!("{value}: no value is allowed here")]
        } else {
            found
        };
    };
    for (keyword, rule) in schema {
        let fits = |one: &Value| faults(value, one, root).is_empty();
        let holds = match keyword.as_str() {
            "$schema" | "$defs" | "title" | "description" | "default" | "examples" | "format" => true,
            "$ref" => fits(root.pointer(&rule.as_str().unwrap()[1..]).unwrap()),
            "type" => match rule {
                Value::Array(all) => all.iter().any(|one| is_a(value, one)),
                one => is_a(value, one),
            },
            "const" => value == rule,
            "enum" => rule.as_array().unwrap().contains(value),
            "anyOf" => rule.as_array().unwrap().iter().any(fits),
            "oneOf" => rule.as_array().unwrap().iter().filter(|one| fits(one)).count() == 1,
            "if" => {
                let branch = if fits(rule) { "then" } else { "else" };
                found.extend(schema.get(branch).iter().flat_map(|branch| faults(value, branch, root)));
                true
            }
            "then" | "else" => true,
            "minProperties" => value.as_object().is_none_or(|map| map.len() >= number(rule)),
            "maxProperties" => value.as_object().is_none_or(|map| map.len() <= number(rule)),
            "minItems" => value.as_array().is_none_or(|items| items.len() >= number(rule)),
            "maxItems" => value.as_array().is_none_or(|items| items.len() <= number(rule)),
            "minLength" => value.as_str().is_none_or(|string| string.chars().count() >= number(rule)),
            "minimum" => value.as_f64().is_none_or(|number| number >= rule.as_f64().unwrap()),
            "maximum" => value.as_f64().is_none_or(|number| number <= rule.as_f64().unwrap()),
            "maxLength" => value.as_str().is_none_or(|string| string.chars().count() <= number(rule)),
            "pattern" => value.as_str().is_none_or(|string| {
                regex_lite::Regex::new(rule.as_str().unwrap()).unwrap().is_match(string)
            }),
            "items" => value
                .as_array()
                .is_none_or(|items| items.iter().all(|item| faults(item, rule, root).is_empty())),
            "required" => value.as_object().is_none_or(|entries| {
                rule.as_array().unwrap().iter().all(|key| entries.contains_key(key.as_str().unwrap()))
            }),
            "properties" => {
                for (key, value) in value.as_object().into_iter().flatten() {
                    found.extend(rule.get(key).iter().flat_map(|schema| faults(value, schema, root)));
                }
                true
            }
            "additionalProperties" => {
                let known = |key: &String| schema.get("properties").is_some_and(|all| all.get(key).is_some());
                for (key, value) in value.as_object().into_iter().flatten().filter(|(key, _)| !known(key)) {
                    found
                        .extend(faults(value, rule, root).into_iter().map(|fault| format!("{key}: {fault}")));
                }
                true
            }
            other => panic!("the schema has {other}, which this test does not know"),
        };
        if !holds {
            found.push(format!("{value}: {keyword} {rule}"));
        }
    }
    found
}

fn is_a(value: &Value, kind: &Value) -> bool {
    match kind.as_str().unwrap() {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("{other}"),
    }
}

fn number(rule: &Value) -> usize {
    usize::try_from(rule.as_u64().unwrap()).unwrap()
}
