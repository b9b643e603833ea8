//! Values with units, as people write them: offsets of clocks, durations, sizes.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::text::text;

/// An offset of a clock, in seconds: `3600`, `1h`, `-30s`, `+10d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Offset(pub i64);

impl FromStr for Offset {
    type Err = String;

    fn from_str(offset: &str) -> Result<Self, String> {
        seconds(offset).map(Offset).ok_or_else(|| text("time.offset.form"))
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}s", self.0)
    }
}

/// A maximum duration, in seconds: `90s`, `1h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Length(pub u32);

impl FromStr for Length {
    type Err = String;

    fn from_str(length: &str) -> Result<Self, String> {
        let length =
            seconds(length).and_then(|length| u32::try_from(length).ok()).filter(|length| *length > 0);
        length.map(Length).ok_or_else(|| text("spec.length.form"))
    }
}

impl fmt::Display for Length {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}s", self.0)
    }
}

/// Reads a number of seconds: `90`, `90s`, `-5m`, `1h`, `10d`.
fn seconds(duration: &str) -> Option<i64> {
    let (number, factor) = match duration.char_indices().last() {
        Some((at, 's')) => (&duration[..at], 1),
        Some((at, 'm')) => (&duration[..at], 60),
        Some((at, 'h')) => (&duration[..at], 3600),
        Some((at, 'd')) => (&duration[..at], 86_400),
        _ => (duration, 1),
    };
    number.parse::<i64>().ok()?.checked_mul(factor)
}

/// A number of bytes. As in docker, `64m`, `64MB` and `64MiB` are all 64·1024².
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Size(pub u64);

/// The letters of the units. Each unit is 1024 times the one before.
const UNITS: [char; 5] = ['k', 'm', 'g', 't', 'p'];

impl Size {
    /// The size as a value of docker's flags: `64m`.
    pub fn docker(self) -> String {
        let (number, unit) = self.whole();
        unit.map_or(number.to_string(), |unit| format!("{number}{unit}"))
    }

    /// The size as a whole number of the largest possible unit.
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

impl Size {
    /// Reads a size as docker does: also `1.5g`, and `64 m`.
    ///
    /// # Errors
    /// It has another form.
    pub fn of_docker(size: &str) -> Result<Size, String> {
        let wrong = || text("limits.size.form");
        let end = size.trim_end_matches(|character: char| character.is_ascii_alphabetic()).len();
        let (number, unit) = size.split_at(end);
        let number = number.strip_suffix(' ').unwrap_or(number);
        if let Ok(size) = format!("{number}{unit}").parse() {
            return Ok(size);
        }
        let (whole, decimals) = number.split_once('.').ok_or_else(wrong)?;
        let are_digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        let one: Size = format!("1{unit}").parse()?;
        let number: f64 = number.parse().map_err(|_| wrong())?;
        let bytes = number * one.0 as f64;
        let is_right = are_digits(whole) && are_digits(decimals) && bytes < i64::MAX as f64;
        is_right.then_some(Size(bytes as u64)).ok_or_else(wrong)
    }
}

impl FromStr for Size {
    type Err = String;

    fn from_str(size: &str) -> Result<Self, String> {
        let lower = size.to_ascii_lowercase();
        let letters = lower.trim_start_matches(|character: char| character.is_ascii_digit());
        let number = lower[..lower.len() - letters.len()].parse::<u64>().ok();
        let unit = letters.strip_suffix("ib").or(letters.strip_suffix('b')).unwrap_or(letters);
        let power = match unit {
            // `ib` alone is not a unit.
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

/// In a spec, a value is written as after a flag. A number needs no quotes.
macro_rules! written {
    ($($unit:ident: $pattern:literal),*) => {
        $(impl<'de> Deserialize<'de> for $unit {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                super::parse::parsed(deserializer)
            }
        }

        impl JsonSchema for $unit {
            fn schema_name() -> Cow<'static, str> {
                stringify!($unit).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": ["string", "integer"], "pattern": $pattern })
            }
        })*
    };
}

written!(
    Offset: "^[+-]?[0-9]+[smhd]?$",
    Length: "^[+]?[0-9]+[smhd]?$",
    Size: "^[0-9]+([kKmMgGtTpP]([iI]?[bB])?|[bB])?$"
);

impl Serialize for Offset {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Serialize for Length {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A size for people, with three digits and units of 1000, as Docker's `units.HumanSize` writes it: `188MB`.
pub fn human(bytes: u64) -> String {
    const UNITS: [&str; 7] = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
    let (mut size, mut unit) = (bytes as f64, 0);
    while size >= 1000.0 && unit + 1 < UNITS.len() {
        size /= 1000.0;
        unit += 1;
    }
    // Three digits that count, without zeros at the end: %.3g.
    let decimals = if size >= 100.0 {
        0
    } else if size >= 10.0 {
        1
    } else {
        2
    };
    let number = format!("{size:.decimals$}");
    let number = match number.contains('.') {
        true => number.trim_end_matches('0').trim_end_matches('.'),
        false => &number,
    };
    // Docker's %.3g writes 999.9 in this way.
    let number = if number == "1000" { "1e+03" } else { number };
    format!("{number}{}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_docker_reads_them() {
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
    fn a_size_of_docker_may_have_decimals() {
        let sizes =
            [("1.5g", 3 << 29), ("0.5k", 512), ("1.5", 1), ("64 m", 64 << 20), ("2MiB", 2 << 20), ("0", 0)];
        for (written, bytes) in sizes {
            assert_eq!(Size::of_docker(written), Ok(Size(bytes)), "{written}");
        }
        for wrong in ["", ".5g", "1.g", "1.5.5g", "-1", "1.5x", "1e3", "1,5g", "99999999.5p", "nan", "1.5 gg"]
        {
            assert!(Size::of_docker(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_size_has_three_digits() {
        let sizes = [(0, "0B"), (999, "999B"), (1000, "1kB"), (1536, "1.54kB"), (187_940_000, "188MB")];
        for (bytes, written) in sizes.into_iter().chain([(72_800_000, "72.8MB"), (5_000_000_000, "5GB")]) {
            assert_eq!(human(bytes), written);
        }
    }

    #[test]
    fn a_length_is_positive() {
        for (words, seconds) in [("90", 90), ("90s", 90), ("1h", 3600), ("2d", 172_800)] {
            assert_eq!(words.parse(), Ok(Length(seconds)), "{words}");
        }
        for wrong in ["", "0", "-1s", "1w", "1.5h", "99999999d", "soon"] {
            assert!(wrong.parse::<Length>().is_err(), "{wrong}");
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
