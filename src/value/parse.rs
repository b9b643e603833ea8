//! How values are read from text. The errors of `FromStr` become the errors of serde, so both flags and a spec report
//! the same.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::{EnumAccessDeserializer, MapAccessDeserializer};
use serde::de::{EnumAccess, Error, MapAccess, Unexpected, Visitor};
use serde::{Deserialize, Deserializer};

use super::bytes::{self, Bytes};
use crate::text::{text, text_with};

/// Reads a value by its `FromStr`: `limit: 64m`. A number needs no quotes: `limit: 65536`.
pub(crate) fn parsed<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err = String>,
{
    deserializer
        .deserialize_any(ByFunction { read: |string| string.to_string_lossy().parse(), or_bytes: false })
}

/// As [`parsed`], of a value that can be any bytes, such as a path. Reads what [`super::bytes::serialize`] writes.
pub(crate) fn parsed_bytes<'de, D: Deserializer<'de>, T>(
    deserializer: D,
    read: fn(&OsStr) -> Result<T, String>,
) -> Result<T, D::Error> {
    deserializer.deserialize_any(ByFunction { read, or_bytes: true })
}

/// Reads a value by a function. The error of the function is a sentence.
struct ByFunction<T> {
    read: fn(&OsStr) -> Result<T, String>,
    /// Whether it can be bytes that are not UTF-8.
    or_bytes: bool,
}

impl<T> ByFunction<T> {
    fn read_bytes<E: Error>(self, Bytes::Base64(text): Bytes) -> Result<T, E> {
        (self.read)(&bytes::decoded(&text).ok_or_else(|| E::custom("not base64"))?).map_err(E::custom)
    }
}

impl<'de, T> Visitor<'de> for ByFunction<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&text("spec.wants.text"))
    }

    fn visit_str<E: Error>(self, string: &str) -> Result<T, E> {
        (self.read)(string.as_ref()).map_err(E::custom)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<T, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<T, E> {
        self.visit_str(&number.to_string())
    }

    // `1.0` keeps its point. The function decides whether it accepts one.
    fn visit_f64<E: Error>(self, number: f64) -> Result<T, E> {
        self.visit_str(&format!("{number:?}"))
    }

    fn visit_map<A: MapAccess<'de>>(self, entries: A) -> Result<T, A::Error> {
        if !self.or_bytes {
            return Err(A::Error::invalid_type(Unexpected::Map, &self));
        }
        self.read_bytes(Bytes::deserialize(MapAccessDeserializer::new(entries))?)
    }

    // The tag of YAML.
    fn visit_enum<A: EnumAccess<'de>>(self, value: A) -> Result<T, A::Error> {
        if !self.or_bytes {
            return Err(A::Error::invalid_type(Unexpected::Enum, &self));
        }
        self.read_bytes(Bytes::deserialize(EnumAccessDeserializer::new(value))?)
    }
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
