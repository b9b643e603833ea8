//! Reads and prints a spec as YAML. Only this file knows the crates for YAML.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};

use super::Spec;
use super::flaw::{self, Flaw};
use super::tree::{Node, NodeKind, Place};
use super::{contradictions, escapes, reader, tree};
use crate::error::Mistake;
use crate::text::{printed, text, text_with, wrap};
use crate::value::bytes;

/// The maximum size of a spec in bytes.
pub const MAX_SIZE: usize = 256 * 1024;

/// Reads a spec. `file` is its name in the mistakes.
///
/// # Errors
/// All mistakes of the spec.
pub fn read(text: &str, file: &str) -> Result<Spec, Vec<Mistake>> {
    if text.len() > MAX_SIZE {
        return Err(vec![Mistake::whole(file, text_with("spec.long", &[("most", "256 KiB")]))]);
    }
    let text = &*escapes::joined(text);
    let mut flaws = Vec::new();
    let tree = tree::parse(text, &mut flaws);
    if let Some(place) = tree.as_ref().and_then(place_of_config) {
        return Err(flaw::mistakes_of(vec![Flaw::at(place, crate::text::text("spec.config"))], text, file));
    }
    flaws.extend(tree.iter().flat_map(contradictions::of));
    match tree.as_ref().map(reader::read) {
        Some(Ok(spec)) if flaws.is_empty() => return Ok(spec),
        Some(Err(faults)) => flaws.extend(faults),
        _ => {}
    }
    Err(flaw::mistakes_of(flaws, text, file))
}

/// Where the version is, if this is a config instead of a spec.
fn place_of_config(tree: &Node<'_>) -> Option<Place> {
    let NodeKind::Map(entries) = &tree.kind else { return None };
    let key = |name: &str| entries.iter().find(|(key, _)| key.scalar() == Some(name));
    let (version, _) = key("version").filter(|_| key("environment").is_some() && key("process").is_some())?;
    Some(version.place)
}

/// Reads another document, such as the exercises of a lesson, as a spec is read: with every mistake and its place.
///
/// # Errors
/// All mistakes of the document.
pub fn read_document<T: DeserializeOwned>(text: &str, file: &str) -> Result<T, Vec<Mistake>> {
    let text = &*escapes::joined(text);
    let mut flaws = Vec::new();
    let tree = tree::parse(text, &mut flaws);
    match tree.as_ref().map(reader::read) {
        Some(Ok(document)) if flaws.is_empty() => return Ok(document),
        Some(Err(faults)) => flaws.extend(faults),
        _ => {}
    }
    Err(flaw::mistakes_of(flaws, text, file))
}

/// The problem of a key as a mistake, with the place of that key. `memory.limit` is the key `limit` of `memory`. If a part
/// of it is not in the document, as where a flag set it, the place is that of the part before. None if there is no
/// such part.
pub fn mistake_of(text: &str, file: &str, key: &str, what: &str) -> Option<Mistake> {
    let text = &*escapes::joined(text);
    let mut node = &tree::parse(text, &mut Vec::new())?;
    let mut place = None;
    for part in key.split('.') {
        let NodeKind::Map(entries) = &node.kind else { break };
        let Some((name, value)) = entries.iter().find(|(name, _)| name.scalar() == Some(part)) else { break };
        (place, node) = (Some(name.place), value);
    }
    flaw::mistakes_of(vec![Flaw::at(place?, what)], text, file).pop()
}

/// Reads a spec from bytes.
///
/// # Errors
/// All mistakes of the spec. If the bytes are not UTF-8, only this mistake.
pub fn read_bytes(bytes: &[u8], file: &str) -> Result<Spec, Vec<Mistake>> {
    let error = match std::str::from_utf8(bytes) {
        Ok(text) => return read(text, file),
        Err(error) => error,
    };
    let valid = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
    let line = 1 + valid.matches('\n').count();
    let column = valid.rsplit('\n').next().unwrap_or_default().chars().count();
    let flaw = Flaw::at(Place { line, column, length: 1 }, text("spec.utf8"));
    Err(flaw::mistakes_of(vec![flaw], &String::from_utf8_lossy(bytes), file))
}

/// A spec as YAML, as `run` reads it. YAML is text. Paths and arguments that are not UTF-8 are therefore escaped, and a
/// comment says so: such a spec means other paths.
pub fn print(spec: &Spec) -> String {
    // A Spec holds only maps with string keys, lists and scalars, all of which YAML has.
    let mut value = serde_yaml::to_value(spec).unwrap_or_default();
    let is_exact = escape(&mut value) == 0;
    let yaml = serde_yaml::to_string(&value).unwrap_or_default();
    if is_exact { yaml } else { format!("# {}\n{yaml}", wrap(&text("spec.bytes"), 78).join("\n# ")) }
}

/// Replaces each value with the tag `!bytes` by escaped text. Returns the number of these values.
fn escape(value: &mut serde_yaml::Value) -> usize {
    use serde_yaml::Value;
    match value {
        Value::Tagged(tagged) => {
            let base64 = tagged.value.as_str().unwrap_or_default();
            *value = Value::String(printed(bytes::decoded(base64).unwrap_or_default()));
            1
        }
        Value::Sequence(all) => all.iter_mut().map(escape).sum(),
        Value::Mapping(all) => all.values_mut().map(escape).sum(),
        _ => 0,
    }
}

/// The same spec without one of its keys.
///
/// # Errors
/// The keys of the spec, if this key is not one of them.
pub fn without(spec: &Spec, key: &str) -> Result<Spec, Vec<String>> {
    // A Spec is a map with string keys.
    let serde_yaml::Value::Mapping(keys) = serde_yaml::to_value(spec).unwrap_or_default() else {
        return Err(Vec::new());
    };
    let mut less = spec.clone();
    if keys.contains_key(key) && less.remove(key) {
        Ok(less)
    } else {
        Err(keys.keys().filter_map(|key| key.as_str().map(str::to_owned)).collect())
    }
}

/// The same spec with further keys, written as YAML. Maps are merged, lists get longer, and any other value is replaced, also
/// that of a key which a new one excludes.
///
/// # Errors
/// The keys are not those of a spec, or have wrong values.
pub fn with(spec: &Spec, keys: &str, file: &str) -> Result<Spec, Vec<Mistake>> {
    read(keys, file)?;
    let mut whole = serde_yaml::to_value(spec).unwrap_or_default();
    let more = serde_yaml::from_str(keys).unwrap_or_default();
    contradictions::remove_excluded(&mut whole, &more);
    merge(&mut whole, more);
    // The command may not be UTF-8. It is not in the keys.
    let mut merged: Spec = serde_yaml::from_value(whole).map_err(|_| Vec::new())?;
    merged.command.clone_from(&spec.command);
    if !keys.starts_with("seccomp:") {
        // The content of a profile is not in YAML.
        merged.seccomp.clone_from(&spec.seccomp);
    }
    Ok(merged)
}

fn merge(into: &mut serde_yaml::Value, more: serde_yaml::Value) {
    use serde_yaml::Value;
    match (into, more) {
        (Value::Mapping(all), Value::Mapping(more)) => {
            for (key, value) in more {
                match all.get_mut(&key) {
                    Some(known) => merge(known, value),
                    None => drop(all.insert(key, value)),
                }
            }
        }
        (Value::Sequence(all), Value::Sequence(more)) => all.extend(more),
        (Value::Mapping(_), Value::Null) => {}
        (into, more) => *into = more,
    }
}

/// Reads a feature. A key without a value (`ipc:`) turns it on with its default options.
pub(super) fn on<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Some(Option::<T>::deserialize(deserializer)?.unwrap_or_default()))
}

/// Reads a flag. A key without a value means true.
pub(super) fn flag<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    Ok(Option::<bool>::deserialize(deserializer)?.unwrap_or(true))
}

/// A document as JSON, which a test checks by the schema.
#[cfg(test)]
pub(crate) fn json(text: &str) -> serde_json::Value {
    serde_yaml::from_str(text).expect("YAML")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feature::Feature;

    #[test]
    fn a_printed_spec_is_read_back_the_same() {
        for &feature in Feature::ALL {
            let spec = Spec::of(feature);
            assert_eq!(read(&print(&spec), "printed"), Ok(spec), "{feature}");
        }
    }

    /// The crate that prints specs also has a parser, which is another one than ours.
    #[test]
    fn shipped_specs_mean_the_same_to_another_parser() {
        for shipped in super::super::shipped::ALL {
            let other = serde_yaml::from_str(shipped.text).unwrap();
            assert_eq!(read(shipped.text, shipped.purpose), Ok(other), "{}", shipped.purpose);
        }
    }

    #[test]
    fn a_key_without_a_value_is_on_and_a_missing_key_is_off() {
        assert_eq!(read("ipc:\n", "x").map(|spec| spec.features()), Ok(vec![Feature::Ipc]));
    }
}
