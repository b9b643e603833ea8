//! The ID of a container: 256 random bits, as 64 hexadecimal digits. Commands take any beginning of it that no other
//! container has.

use std::fmt;
use std::fs::File;
use std::io::Read;

use serde::{Deserialize, Deserializer, Serialize};

use crate::error::{Error, Result};

/// The number of digits of an ID.
const LENGTH: usize = 64;

/// The number of digits that are printed where there is little room.
const SHORT: usize = 12;

/// An ID. Two containers never have the same one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Id(String);

impl Id {
    /// A new ID. Its short form is never a number: a command line takes a number for a PID.
    ///
    /// # Errors
    /// The random bits cannot be read.
    pub fn new() -> Result<Id> {
        loop {
            let mut bytes = [0; LENGTH / 2];
            File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes)).map_err(|error| {
                Error::failed("cannot make an ID").call("openat(\"/dev/urandom\")", error)
            })?;
            let id: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            if id[..SHORT].bytes().any(|digit| digit.is_ascii_alphabetic()) {
                return Ok(Id(id));
            }
        }
    }

    /// The ID that is written so. None: it is none.
    pub fn of(written: &str) -> Option<Id> {
        let is_id = written.len() == LENGTH && is_prefix(written);
        is_id.then(|| Id(written.to_owned()))
    }

    /// Its first 12 digits.
    pub fn short(&self) -> &str {
        &self.0[..SHORT]
    }

    /// All 64 digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whether an ID can begin so.
pub(super) fn is_prefix(written: &str) -> bool {
    let is_digit = |digit: u8| digit.is_ascii_digit() || (b'a'..=b'f').contains(&digit);
    (1..=LENGTH).contains(&written.len()) && written.bytes().all(is_digit)
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Id, D::Error> {
        let written = String::deserialize(deserializer)?;
        Id::of(&written).ok_or_else(|| serde::de::Error::custom("not an ID of 64 hexadecimal digits"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_differ_and_are_read_back() {
        let (one, other) = (Id::new().unwrap(), Id::new().unwrap());
        assert!(one != other && one.short().len() == SHORT && one.as_str().starts_with(one.short()));
        assert_eq!(Id::of(one.as_str()), Some(one));
        for wrong in ["", "a", &"g".repeat(64), &"A".repeat(64), &"a".repeat(65)] {
            assert_eq!(Id::of(wrong), None, "{wrong}");
        }
    }
}
