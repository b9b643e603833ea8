//! The one file that knows YAML.

use serde::{Deserialize, Deserializer};

use super::Spec;
use super::mistake::{self, Flaw, Mistake};
use super::tree::Place;
use super::{contradictions, faults, tree};
use crate::text::{text, text_with};

/// A longer spec is none.
pub const LONGEST: usize = 256 * 1024;

/// Reads a spec. `file` is how it's named in what is told.
///
/// # Errors
/// All mistakes at once.
pub fn read(text: &str, file: &str) -> Result<Spec, Vec<Mistake>> {
    if text.len() > LONGEST {
        return Err(vec![Mistake::whole(file, text_with("spec.long", &[("most", "256 KiB")]))]);
    }
    let mut flaws = Vec::new();
    let tree = tree::grow(text, &mut flaws);
    flaws.extend(tree.iter().flat_map(contradictions::of));
    // Only now: an alias bomb, or lists in lists in lists, would keep serde_yaml busy for long.
    let error = match flaws.is_empty().then(|| serde_yaml::from_str(text)) {
        Some(Ok(spec)) => return Ok(spec),
        Some(Err(error)) => Some(error),
        None => None,
    };
    flaws.extend(tree.iter().flat_map(faults::of::<Spec>));
    if let (true, Some(error)) = (flaws.is_empty(), error) {
        flaws.push(own_words(&error, text));
    }
    Err(mistake::of(flaws, text, file))
}

/// The same, of bytes that may be no text at all.
///
/// # Errors
/// All mistakes at once; where it's no text, that alone.
pub fn read_bytes(bytes: &[u8], file: &str) -> Result<Spec, Vec<Mistake>> {
    let error = match std::str::from_utf8(bytes) {
        Ok(text) => return read(text, file),
        Err(error) => error,
    };
    let good = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
    let line = 1 + good.matches('\n').count();
    let column = good.rsplit('\n').next().unwrap_or_default().chars().count();
    let flaw = Flaw::at(Place { line, column, length: 1 }, text("spec.utf8"));
    Err(mistake::of(vec![flaw], &String::from_utf8_lossy(bytes), file))
}

/// What serde_yaml alone finds wrong: the two parsers differ about a tab, say.
fn own_words(error: &serde_yaml::Error, text: &str) -> Flaw {
    let words = error.to_string();
    let what = words.split(" at line ").next().unwrap_or_default();
    let (line, column) =
        error.location().map_or((1, 0), |place| (place.line(), place.column().saturating_sub(1)));
    Flaw::syntax(Place { line, column, length: 1 }, text, what)
}

/// A spec as YAML, as `run` reads it.
pub fn print(spec: &Spec) -> String {
    // A Spec holds only maps with string keys, lists and scalars, all of which YAML has.
    serde_yaml::to_string(spec).unwrap_or_default()
}

/// The same spec with one of its keys left out.
///
/// # Errors
/// It has no such key.
pub fn without(spec: &Spec, key: &str) -> Result<Spec, Vec<String>> {
    // A Spec is a map with string keys.
    let serde_yaml::Value::Mapping(mut keys) = serde_yaml::to_value(spec).unwrap_or_default() else {
        return Err(Vec::new());
    };
    if keys.remove(key).is_none() {
        return Err(keys.keys().filter_map(|key| key.as_str().map(str::to_owned)).collect());
    }
    serde_yaml::from_value(serde_yaml::Value::Mapping(keys)).map_err(|_| Vec::new())
}

/// A key without a value (`ipc:`) is a feature that is on, as it is without flags.
pub(super) fn on<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Some(Option::<T>::deserialize(deserializer)?.unwrap_or_default()))
}

/// A flag that stands is on, also without a value.
pub(super) fn flag<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    Ok(Option::<bool>::deserialize(deserializer)?.unwrap_or(true))
}

/// A document as JSON, which a schema is held against.
#[cfg(test)]
pub(super) fn json(text: &str) -> serde_json::Value {
    serde_yaml::from_str(text).expect("YAML")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feature::Feature;

    #[test]
    fn what_is_printed_is_read_back_the_same() {
        for feature in Feature::ALL.into_iter().chain(Feature::HARDENING) {
            let spec = Spec::of(feature);
            let read: Spec = serde_yaml::from_str(&print(&spec)).unwrap();
            assert_eq!(read, spec, "{feature}");
        }
    }

    #[test]
    fn a_key_without_a_value_is_on_and_a_missing_key_is_off() {
        let spec: Spec = serde_yaml::from_str("ipc:\n").unwrap();
        assert_eq!(spec.features(), [Feature::Ipc]);
    }
}
