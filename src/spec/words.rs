//! Values that are words with a form, and how they are read: what is wrong with one is told as its `FromStr` tells it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::path::PathBuf;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer};

use crate::text::{text, text_with};

/// Reads a value by its `FromStr`: `limit: 64m`, and numbers without quotes, `limit: 65536`.
pub(crate) fn parsed<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err = String>,
{
    struct Words<T>(PhantomData<T>);

    impl<T: FromStr<Err = String>> Visitor<'_> for Words<T> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(&text("spec.wants.text"))
        }

        fn visit_str<E: Error>(self, words: &str) -> Result<T, E> {
            words.parse().map_err(E::custom)
        }

        fn visit_u64<E: Error>(self, number: u64) -> Result<T, E> {
            self.visit_str(&number.to_string())
        }

        fn visit_i64<E: Error>(self, number: i64) -> Result<T, E> {
            self.visit_str(&number.to_string())
        }

        // 1.0 stays one with a point: that's for the value's own form to take or not.
        fn visit_f64<E: Error>(self, number: f64) -> Result<T, E> {
            self.visit_str(&format!("{number:?}"))
        }
    }

    deserializer.deserialize_any(Words(PhantomData))
}

/// A value that is read as its type is, and must hold: what is wrong with it is a sentence.
pub(crate) fn checked<'de, D, T>(
    deserializer: D,
    check: impl Fn(&T) -> Result<(), String>,
) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    let value = Option::<T>::deserialize(deserializer)?;
    value.iter().try_for_each(check).map_err(D::Error::custom)?;
    Ok(value)
}

/// For the schema: a word that may look like a number, `command: [sleep, 10]`.
pub(super) struct Word;

impl JsonSchema for Word {
    fn schema_name() -> Cow<'static, str> {
        "Word".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["string", "number", "boolean"] })
    }
}

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

/// A number from `LEAST` to `MOST`.
pub(crate) fn within<'de, const LEAST: u64, const MOST: u64, D, T>(
    deserializer: D,
) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Copy + Into<u64>,
{
    checked(deserializer, |number: &T| {
        let values = [("least", &*LEAST.to_string()), ("most", &*MOST.to_string())];
        let holds = (LEAST..=MOST).contains(&(*number).into());
        holds.then_some(()).ok_or_else(|| text_with("spec.range", &values))
    })
}
