//! How values are read from text. The errors of `FromStr` become the errors of serde, so both flags and a spec report
//! the same.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer};

use crate::text::{text, text_with};

/// Reads a value by its `FromStr`: `limit: 64m`. A number needs no quotes: `limit: 65536`.
pub(crate) fn parsed<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err = String>,
{
    struct ByFromStr<T>(PhantomData<T>);

    impl<T: FromStr<Err = String>> Visitor<'_> for ByFromStr<T> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(&text("spec.wants.text"))
        }

        fn visit_str<E: Error>(self, string: &str) -> Result<T, E> {
            string.parse().map_err(E::custom)
        }

        fn visit_u64<E: Error>(self, number: u64) -> Result<T, E> {
            self.visit_str(&number.to_string())
        }

        fn visit_i64<E: Error>(self, number: i64) -> Result<T, E> {
            self.visit_str(&number.to_string())
        }

        // `1.0` keeps its point. The `FromStr` of the value decides whether it accepts one.
        fn visit_f64<E: Error>(self, number: f64) -> Result<T, E> {
            self.visit_str(&format!("{number:?}"))
        }
    }

    deserializer.deserialize_any(ByFromStr(PhantomData))
}

/// Reads a value by its own `Deserialize`, and checks it. The error of the check is a sentence.
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

/// The schema of a string that may look like a number or a boolean: `command: [sleep, 10]`.
pub(crate) struct Scalar;

impl JsonSchema for Scalar {
    fn schema_name() -> Cow<'static, str> {
        "Scalar".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["string", "number", "boolean"] })
    }
}

/// Reads a number from `LEAST` to `MOST`.
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
