//! Values that are words with a form, and how they are read: what is wrong with one is told as its `FromStr` tells it.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
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
pub(crate) struct Scalar;

impl JsonSchema for Scalar {
    fn schema_name() -> Cow<'static, str> {
        "Scalar".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["string", "number", "boolean"] })
    }
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
