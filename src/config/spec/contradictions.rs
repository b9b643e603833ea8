//! Keys that exclude each other. clap refuses the same pairs as flags, because of `conflicts_with` in the same structs.

use super::flaw::Flaw;
use super::tree::{Node, NodeKind};
use crate::text::text_with;

/// A key of the spec, and two keys below it that exclude each other.
const PAIRS: [(&str, &str, &str); 5] = [
    ("cpu", "shares", "weight"),
    ("cpu", "cpus", "quota"),
    ("cpu", "cpus", "period"),
    ("user", "map_user", "map"),
    ("user", "map_group", "map"),
];

/// The contradictions of a document. Each has the place of the later key.
pub(super) fn of(root: &Node<'_>) -> Vec<Flaw> {
    let found = PAIRS.iter().filter_map(|(feature, one, other)| {
        let (_, map) = entry(root, feature)?;
        let mut keys = [entry(map, one)?.0, entry(map, other)?.0];
        keys.sort_by_key(|key| (key.place.line, key.place.column));
        let [first, second] = keys.map(|key| key.scalar().unwrap_or_default());
        Some(Flaw::at(
            keys[1].place,
            text_with("spec.contradiction", &[("first", first), ("second", second)]),
        ))
    });
    found.collect()
}

/// Removes the keys that the keys of `more` exclude.
pub(super) fn remove_excluded(from: &mut serde_yaml::Value, more: &serde_yaml::Value) {
    for (feature, one, other) in PAIRS {
        for (new, excluded) in [(one, other), (other, one)] {
            let is_set = more.get(feature).and_then(|map| map.get(new)).is_some_and(|value| !value.is_null());
            if is_set && let Some(map) = from.get_mut(feature).and_then(|map| map.as_mapping_mut()) {
                map.remove(excluded);
            }
        }
    }
}

/// A key and its value. A key without a value sets nothing, so it contradicts nothing.
fn entry<'n, 't>(map: &'n Node<'t>, name: &str) -> Option<(&'n Node<'t>, &'n Node<'t>)> {
    let NodeKind::Map(entries) = &map.kind else { return None };
    let (key, value) = entries.iter().find(|(key, _)| key.scalar() == Some(name))?;
    (!value.is_null()).then_some((key, value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feature::Feature;

    /// The pairs are read from the definitions of the flags. `map_root_user` is a flag, but no key.
    #[test]
    fn the_pairs_are_those_of_the_flags() {
        let mut all = crate::cli::definition();
        all.build();
        let mut found = Vec::new();
        for feature in Feature::WITH_SUBCOMMAND {
            let Some(command) = all.find_subcommand(feature.name()) else { panic!("{feature}") };
            for flag in command.get_arguments().filter(|flag| flag.get_id() != "map_root_user") {
                let others = command.get_arg_conflicts_with(flag);
                let others = others.into_iter().filter(|other| other.get_id() != "map_root_user");
                found.extend(others.map(|other| {
                    let mut pair = [flag.get_id().to_string(), other.get_id().to_string()];
                    pair.sort();
                    (feature.name().to_owned(), pair)
                }));
            }
        }
        found.sort();
        found.dedup();
        let mut known = PAIRS.map(|(feature, one, other)| {
            let mut pair = [one.to_owned(), other.to_owned()];
            pair.sort();
            (feature.to_owned(), pair)
        });
        known.sort();
        assert_eq!(found, known);
    }
}
