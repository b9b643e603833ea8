//! Patterns of names, as the filter `reference` has them.

use super::path_pattern::PathPattern;
use super::reference::Reference;
use crate::error::{Error, ExitKind, Result};
use crate::text::text;

/// A pattern of names: with `*`, `?` and sets of characters as in a pattern of paths, and without a tag for all tags.
#[derive(Debug)]
pub struct NamePattern {
    pattern: PathPattern,
    has_tag: bool,
}

impl NamePattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// A set is not closed or is empty, or a backslash is the last character.
    pub fn new(pattern: &str) -> Result<NamePattern> {
        let has_tag = pattern.rsplit('/').next().is_some_and(|last| last.contains(':'));
        match PathPattern::new(pattern) {
            Ok(pattern) => Ok(NamePattern { pattern, has_tag }),
            Err(why) => Err(Error::new(ExitKind::Refused, text("image.pattern")).why(why)),
        }
    }

    /// Whether a name fits it, as Docker prints the name or as a whole.
    pub fn fits(&self, name: &Reference) -> bool {
        let forms = match self.has_tag {
            true => [name.familiar(), name.to_string()],
            false => [name.familiar_name(), name.name()],
        };
        forms.iter().any(|form| self.pattern.matches(form.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_about_a_name_or_all_its_tags() {
        let fits = |name: &str, pattern: &str| {
            NamePattern::new(pattern).is_ok_and(|pattern| pattern.fits(&name.parse().unwrap()))
        };
        let name = "localhost:5000/team/tool:1.2";
        for pattern in [
            "localhost:5000/team/tool",
            "localhost:5000/*/tool:1.*",
            "*/team/t??l:*",
            "*/t[a-f]am/tool",
            "*/[^a]eam/tool:[0-9].2",
        ] {
            assert!(fits(name, pattern), "{pattern}");
        }
        for pattern in ["tool", "*", "localhost:5000/team/tool:2", "*/*", "", "*/t[^a-f]am/tool"] {
            assert!(!fits(name, pattern), "{pattern}");
        }
        for pattern in ["ubuntu", "ub*", "docker.io/library/ubuntu", "[tu]buntu:15.*"] {
            assert!(fits("ubuntu:15.10", pattern), "{pattern}");
        }
        for wrong in ["[", "a[", "[]", "a\\", "[b-a"] {
            assert!(NamePattern::new(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn many_asterisks_take_no_exponential_time() {
        let name: Reference = "a".repeat(120).parse().unwrap();
        assert!(!NamePattern::new(&("*a".repeat(60) + "*b")).unwrap().fits(&name));
    }
}
