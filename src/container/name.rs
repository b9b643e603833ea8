//! The names of kept containers: which are allowed, and the name that a container gets if its user gives none.

use crate::host::token::token;

/// Whether a container may have this name: Docker's rule, `[a-zA-Z0-9][a-zA-Z0-9_.-]+`, and at most 255 bytes, because it
/// is the name of a file.
pub fn is_valid(name: &str) -> bool {
    let is_first = |byte: &u8| byte.is_ascii_alphanumeric();
    let is_other = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    (2..=255).contains(&name.len())
        && name.as_bytes().first().is_some_and(is_first)
        && name.bytes().all(is_other)
}

/// A name as it is stored. Docker writes names with one `/` before them, and takes them so.
pub fn without_slash(name: &str) -> &str {
    name.strip_prefix('/').unwrap_or(name)
}

/// A random name of two words. After some attempts it has a number too, as more and more names are taken.
pub fn random(attempt: usize) -> String {
    let pick = |words: &[&'static str]| words[token() as usize % words.len()];
    let name = format!("{}_{}", pick(QUALITIES), pick(THINGS));
    if attempt < 5 { name } else { format!("{name}{}", token() % 1000) }
}

const QUALITIES: &[&str] = &[
    "agile", "amber", "ample", "awake", "bold", "brave", "bright", "brisk", "busy", "calm", "candid",
    "cheerful", "clear", "clever", "cosy", "crisp", "curious", "deft", "eager", "early", "earnest", "fair",
    "fluent", "frank", "fresh", "gentle", "glad", "golden", "graceful", "happy", "hardy", "honest", "humble",
    "jolly", "keen", "kind", "light", "lively", "loyal", "lucid", "lucky", "mellow", "merry", "mild",
    "modest", "neat", "nimble", "noble", "patient", "plain", "polite", "proud", "quick", "quiet", "rapid",
    "ready", "rosy", "serene", "silent", "sincere", "smooth", "snug", "solid", "spry", "steady", "sturdy",
    "sunny", "swift", "tidy", "tranquil", "upbeat", "vivid", "warm", "wise", "witty", "young", "zesty",
];

const THINGS: &[&str] = &[
    "acorn", "alder", "anchor", "apple", "aspen", "badger", "barley", "beacon", "birch", "bison", "breeze",
    "brook", "canyon", "cedar", "cherry", "cliff", "clover", "comet", "coral", "crane", "dolphin", "eagle",
    "ember", "falcon", "fern", "finch", "fjord", "forest", "galaxy", "garden", "glacier", "harbour", "hazel",
    "heron", "island", "ivy", "jasmine", "kestrel", "lagoon", "lantern", "larch", "lark", "maple", "marble",
    "meadow", "meteor", "moss", "mountain", "nebula", "oak", "ocean", "olive", "orchid", "otter", "owl",
    "pebble", "pine", "planet", "prairie", "puffin", "quartz", "raven", "reef", "river", "robin", "salmon",
    "sparrow", "spruce", "squirrel", "stone", "stream", "swallow", "thistle", "thrush", "tulip", "valley",
    "violet", "walnut", "willow", "wren",
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_name_follows_dockers_rule() {
        let longest = "a".repeat(255);
        for good in ["ab", "0b", "web-1", "A_b.c", &longest] {
            assert!(is_valid(good), "{good}");
        }
        let too_long = "a".repeat(256);
        for bad in ["", "a", "-ab", ".ab", "_ab", "a b", "a/b", "aé", "a\n", &too_long] {
            assert!(!is_valid(bad), "{bad:?}");
        }
    }

    #[test]
    fn random_names_are_valid_and_each_word_is_in_its_list_once() {
        for words in [QUALITIES, THINGS] {
            assert_eq!(words.iter().collect::<BTreeSet<_>>().len(), words.len());
        }
        let names: BTreeSet<String> = (0..200).map(|attempt| random(attempt % 10)).collect();
        assert!(names.iter().all(|name| is_valid(name) && name.contains('_')));
        assert!(names.len() > 150, "{names:?}");
    }
}
