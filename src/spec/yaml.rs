//! The one file that knows YAML.

use serde::{Deserialize, Deserializer};

use super::Spec;

/// A spec as YAML, as `run` reads it.
pub fn print(spec: &Spec) -> String {
    // A Spec holds only maps with string keys, lists and scalars, all of which YAML has.
    serde_yaml::to_string(spec).unwrap_or_default()
}

/// A spec from YAML.
///
/// # Errors
/// What is wrong, with its line and column where the parser knows them.
pub fn read(text: &str) -> Result<Spec, String> {
    serde_yaml::from_str(text).map_err(|error| error.to_string())
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
