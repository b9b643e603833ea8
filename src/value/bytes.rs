//! Paths and arguments in JSON and YAML. They are bytes, which these formats cannot hold.
//!
//! What is UTF-8 is a string. Anything else is written in JSON as `{"bytes": "<base64>"}`, and in YAML as a value with
//! the tag `!bytes`. The functions are for serde's `with` and `serialize_with`.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use schemars::JsonSchema;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Either form: a string, or `{"bytes": "<base64>"}`.
#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum Form {
    /// UTF-8.
    Text(String),
    /// Anything else.
    Bytes(Bytes),
}

/// The form of bytes that are not UTF-8.
#[derive(Serialize, Deserialize, JsonSchema)]
pub(crate) enum Bytes {
    /// In base64.
    #[serde(rename = "bytes")]
    Base64(String),
}

/// One item of a list.
struct Item<T>(T);

impl<T: AsRef<OsStr>> Serialize for Item<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serialize(&self.0, serializer)
    }
}

impl<'de> Deserialize<'de> for Item<OsString> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserialize(deserializer).map(Item)
    }
}

/// Writes a path or an argument.
pub(crate) fn serialize<S: Serializer>(text: impl AsRef<OsStr>, serializer: S) -> Result<S::Ok, S::Error> {
    let text = text.as_ref();
    match text.to_str() {
        Some(text) => serializer.serialize_str(text),
        None => Bytes::Base64(encoded(text.as_bytes())).serialize(serializer),
    }
}

/// Reads a path or an argument.
pub(crate) fn deserialize<'de, D: Deserializer<'de>, T: From<OsString>>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(T::from(match Form::deserialize(deserializer)? {
        Form::Text(text) => text.into(),
        Form::Bytes(Bytes::Base64(text)) => decoded(&text).ok_or_else(|| D::Error::custom("not base64"))?,
    }))
}

/// A list of paths or arguments.
pub(crate) mod list {
    use super::*;

    /// Writes a list.
    pub(crate) fn serialize<S: Serializer, T: AsRef<OsStr>>(
        all: &[T],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(all.iter().map(Item))
    }

    /// Reads a list.
    pub(crate) fn deserialize<'de, D: Deserializer<'de>, T: From<OsString>>(
        deserializer: D,
    ) -> Result<Vec<T>, D::Error> {
        let all = Vec::<Item<OsString>>::deserialize(deserializer)?;
        Ok(all.into_iter().map(|Item(one)| T::from(one)).collect())
    }
}

/// Names, each with a value that is a path or an argument.
pub(crate) mod map {
    use std::collections::BTreeMap;

    use super::*;

    /// Writes them as a map.
    pub(crate) fn serialize<S: Serializer, T: AsRef<OsStr>>(
        all: &BTreeMap<String, T>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_map(all.iter().map(|(name, value)| (name, Item(value))))
    }
}

/// A list of names, each with a value that is a path or an argument.
pub(crate) mod pairs {
    use super::*;

    /// Writes the list.
    pub(crate) fn serialize<S: Serializer, T: AsRef<OsStr>>(
        all: &[(String, T)],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(all.iter().map(|(name, value)| (name, Item(value))))
    }

    /// Reads the list.
    pub(crate) fn deserialize<'de, D: Deserializer<'de>, T: From<OsString>>(
        deserializer: D,
    ) -> Result<Vec<(String, T)>, D::Error> {
        let all = Vec::<(String, Item<OsString>)>::deserialize(deserializer)?;
        Ok(all.into_iter().map(|(name, Item(value))| (name, T::from(value))).collect())
    }
}

/// A list that may be missing.
pub(crate) mod optional_list {
    use super::*;

    /// Writes a list, or null.
    pub(crate) fn serialize<S: Serializer, T: AsRef<OsStr>>(
        all: &Option<Vec<T>>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        all.as_ref().map(|all| all.iter().map(Item).collect::<Vec<_>>()).serialize(serializer)
    }

    /// Reads a list, or null.
    pub(crate) fn deserialize<'de, D: Deserializer<'de>, T: From<OsString>>(
        deserializer: D,
    ) -> Result<Option<Vec<T>>, D::Error> {
        let all = Option::<Vec<Item<OsString>>>::deserialize(deserializer)?;
        Ok(all.map(|all| all.into_iter().map(|Item(one)| T::from(one)).collect()))
    }
}

/// A path that may be missing.
pub(crate) mod option {
    use super::*;

    /// Writes a path or an argument, or null.
    pub(crate) fn serialize<S: Serializer, T: AsRef<OsStr>>(
        one: &Option<T>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        one.as_ref().map(Item).serialize(serializer)
    }

    /// Reads a path or an argument, or null.
    pub(crate) fn deserialize<'de, D: Deserializer<'de>, T: From<OsString>>(
        deserializer: D,
    ) -> Result<Option<T>, D::Error> {
        Ok(Option::<Item<OsString>>::deserialize(deserializer)?.map(|Item(one)| T::from(one)))
    }
}

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Base64, RFC 4648 section 4.
pub(crate) fn encoded(bytes: &[u8]) -> String {
    let group = |chunk: &[u8]| {
        let bits = (0..3).fold(0, |bits, at| bits << 8 | u32::from(chunk.get(at).copied().unwrap_or(0)));
        let digit = |at: usize| {
            if at > chunk.len() { '=' } else { char::from(DIGITS[(bits >> (18 - 6 * at) & 63) as usize]) }
        };
        [digit(0), digit(1), digit(2), digit(3)]
    };
    bytes.chunks(3).flat_map(group).collect()
}

/// The bytes of a base64 text; none if it is not base64.
pub(crate) fn decoded(text: &str) -> Option<OsString> {
    let mut bytes = Vec::new();
    let (mut bits, mut count) = (0_u32, 0);
    for digit in text.trim_end_matches('=').bytes() {
        bits = bits << 6 | DIGITS.iter().position(|known| *known == digit)? as u32;
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
            bits &= (1 << count) - 1;
        }
    }
    Some(OsString::from_vec(bytes))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Named {
        #[serde(with = "super")]
        path: PathBuf,
        #[serde(with = "super::list")]
        all: Vec<OsString>,
    }

    #[test]
    fn every_byte_is_read_back_as_it_was_written() {
        let all: Vec<u8> = (0..=255).collect();
        for end in 0..all.len() {
            assert_eq!(decoded(&encoded(&all[..end])).unwrap().as_bytes(), &all[..end], "{end}");
            let named = Named {
                path: OsString::from_vec(all[end..].to_vec()).into(),
                all: vec!["text".into(), OsString::from_vec(all[..end].to_vec())],
            };
            let json = serde_json::to_string(&named).unwrap();
            assert_eq!(serde_json::from_str::<Named>(&json).unwrap(), named, "{json}");
        }
        assert_eq!((encoded(b"\xff"), encoded(b"ab\xff")), ("/w==".into(), "YWL/".into()));
    }

    #[test]
    fn what_is_utf8_is_a_string_and_the_rest_is_marked() {
        let named = Named { path: "/a".into(), all: vec![OsString::from_vec(b"\xff".to_vec())] };
        assert_eq!(serde_json::to_string(&named).unwrap(), r#"{"path":"/a","all":[{"bytes":"/w=="}]}"#);
        assert_eq!(serde_yaml::to_string(&named).unwrap(), "path: /a\nall:\n- !bytes /w==\n");
    }
}
