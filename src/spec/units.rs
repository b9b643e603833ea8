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

/// An amount of bytes as docker writes it: `64m`, `64MB` and `64MiB` are all 64·1024².
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Size(pub u64);

/// The letters of units, each 1024 of the one before.
const UNITS: [char; 5] = ['k', 'm', 'g', 't', 'p'];

impl Size {
    /// As docker's flags take it: `64m`.
    pub fn docker(self) -> String {
        let (number, unit) = self.whole();
        unit.map_or(number.to_string(), |unit| format!("{number}{unit}"))
    }

    /// The largest unit of which it's a whole number.
    fn whole(self) -> (u64, Option<char>) {
        let mut found = (self.0, None);
        for unit in UNITS {
            if found.0 == 0 || !found.0.is_multiple_of(1024) {
                break;
            }
            found = (found.0 / 1024, Some(unit));
        }
        found
    }
}

impl FromStr for Size {
    type Err = String;

    fn from_str(words: &str) -> Result<Self, String> {
        let lower = words.to_ascii_lowercase();
        let letters = lower.trim_start_matches(|sign: char| sign.is_ascii_digit());
        let number = lower[..lower.len() - letters.len()].parse::<u64>().ok();
        let unit = letters.strip_suffix("ib").or(letters.strip_suffix('b')).unwrap_or(letters);
        let power = match unit {
            // `ib` alone is no unit.
            "" => (letters != "ib").then_some(0),
            unit => {
                UNITS.iter().position(|known| unit.starts_with(*known) && unit.len() == 1).map(|at| at + 1)
            }
        };
        let bytes = number.zip(power).and_then(|(number, power)| number.checked_mul(1 << (10 * power)));
        bytes.map(Size).ok_or_else(|| text("limits.size.form"))
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.whole() {
            (number, Some(unit)) => f.pad(&format!("{number}{}iB", unit.to_ascii_uppercase())),
            (number, None) => f.pad(&number.to_string()),
        }
    }
}

impl Serialize for Size {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.whole() {
            (number, None) => serializer.serialize_u64(number),
            _ => serializer.collect_str(self),
        }
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Bytes(u64),
            Words(String),
        }
        match Written::deserialize(deserializer)? {
            Written::Bytes(bytes) => Ok(Size(bytes)),
            Written::Words(words) => words.parse().map_err(serde::de::Error::custom),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_docker_s() {
        for (words, bytes) in [
            ("0", 0),
            ("7", 7),
            ("7b", 7),
            ("64k", 65_536),
            ("64KB", 65_536),
            ("64m", 67_108_864),
            ("64MiB", 67_108_864),
            ("1g", 1 << 30),
        ] {
            assert_eq!(words.parse(), Ok(Size(bytes)), "{words}");
            let size = Size(bytes);
            assert_eq!(size.to_string().parse(), Ok(size), "{words}");
            assert_eq!(size.docker().parse(), Ok(size), "{words}");
        }
        assert_eq!(Size(67_108_864).to_string(), "64MiB");
        assert_eq!(Size(67_108_864).docker(), "64m");
        for wrong in ["", "m", "lots", "-1", "1.5m", "1x", "1ib", "1mm", "99999999999g", "1é"] {
            assert!(wrong.parse::<Size>().is_err(), "{wrong}");
        }
    }

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
