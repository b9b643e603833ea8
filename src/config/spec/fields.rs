//! Fields of a spec that have a rule of their own: a name, arguments, a path, variables of the environment.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::de::Error;
use serde::{Deserialize, Deserializer};

use crate::text::text;
use crate::value::parse::checked;

/// What a container is called, in files and in lists.
pub(super) fn label<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let is_plain = |sign: u8| sign.is_ascii_lowercase() || sign.is_ascii_digit();
    checked(deserializer, |label: &String| {
        let bytes = label.as_bytes();
        let holds = bytes.len() <= 63
            && bytes.first().is_some_and(|first| is_plain(*first))
            && bytes.iter().all(|sign| is_plain(*sign) || b"_.-".contains(sign));
        holds.then_some(()).ok_or_else(|| text("spec.label.form"))
    })
}

/// A path from the root on.
pub(super) fn absolute<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<PathBuf>, D::Error> {
    checked(deserializer, |path: &PathBuf| {
        path.is_absolute().then_some(()).ok_or_else(|| text("spec.absolute.form"))
    })
}

/// What execve(2) can hand over.
struct Content(String);

impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let words = String::deserialize(deserializer)?;
        if words.contains('\0') { Err(D::Error::custom(text("spec.nul"))) } else { Ok(Content(words)) }
    }
}

/// A command and its arguments.
pub(super) fn arguments<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let all = Option::<Vec<Content>>::deserialize(deserializer)?.unwrap_or_default();
    Ok(all.into_iter().map(|Content(words)| words).collect())
}

/// Variables of the environment, each held to what environ(7) can hold: a name without `=`, no NUL.
pub(super) fn variables<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<String, String>, D::Error> {
    #[derive(PartialEq, Eq, PartialOrd, Ord)]
    struct Name(String);

    impl<'de> Deserialize<'de> for Name {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            let name = String::deserialize(deserializer)?;
            let holds = !name.is_empty() && !name.contains(['=', '\0']);
            if holds { Ok(Name(name)) } else { Err(D::Error::custom(text("spec.variable.form"))) }
        }
    }

    let all = Option::<BTreeMap<Name, Content>>::deserialize(deserializer)?.unwrap_or_default();
    Ok(all.into_iter().map(|(Name(name), Content(words))| (name, words)).collect())
}
