//! Values with units, as people write them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::text::text;

/// An offset of a clock, in seconds: `3600`, `1h`, `-30s`, `+10d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Offset(pub i64);

impl FromStr for Offset {
    type Err = String;

    fn from_str(words: &str) -> Result<Self, String> {
        let (number, factor) = match words.char_indices().last() {
            Some((at, 's')) => (&words[..at], 1),
            Some((at, 'm')) => (&words[..at], 60),
            Some((at, 'h')) => (&words[..at], 3600),
            Some((at, 'd')) => (&words[..at], 86_400),
            _ => (words, 1),
        };
        let seconds = number.parse::<i64>().ok().and_then(|number| number.checked_mul(factor));
        seconds.map(Offset).ok_or_else(|| text("time.offset.form"))
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}s", self.0)
    }
}

impl Serialize for Offset {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Offset {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Seconds(i64),
            Words(String),
        }
        match Written::deserialize(deserializer)? {
            Written::Seconds(seconds) => Ok(Offset(seconds)),
            Written::Words(words) => words.parse().map_err(serde::de::Error::custom),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_take_a_sign_and_a_unit() {
        for (words, seconds) in [("7", 7), ("1h", 3600), ("-30s", -30), ("+10d", 864_000), ("2m", 120)] {
            assert_eq!(words.parse(), Ok(Offset(seconds)), "{words}");
        }
        for wrong in ["", "h", "1.5h", "1w", "9223372036854775807d", "1é"] {
            assert!(wrong.parse::<Offset>().is_err(), "{wrong}");
        }
    }
}
