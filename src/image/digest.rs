//! The names of contents: `sha256:` and the SHA-256 of the bytes.

use std::fmt;
use std::io::{self, Read, Write};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

use crate::text::{printed, text_with};

/// The name of a content. Only SHA-256 is used, which every registry and every tool writes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest {
    hex: String,
}

/// The characters of the short form of an image ID.
const SHORT: usize = 12;

/// The characters of a SHA-256.
const LENGTH: usize = 64;

impl Digest {
    /// The digest of some bytes.
    pub fn of(bytes: &[u8]) -> Digest {
        let mut digester = Digester::default();
        digester.add(bytes);
        digester.finish()
    }

    /// The SHA-256 alone, which is also the name of a blob's file.
    pub fn hex(&self) -> &str {
        &self.hex
    }

    /// The first 12 characters, as Docker prints an image ID.
    pub fn short(&self) -> &str {
        &self.hex[..SHORT]
    }

    /// The digest with this SHA-256. None: that is not one.
    pub fn of_hex(hex: &str) -> Option<Digest> {
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        (hex.len() == LENGTH && hex.bytes().all(is_digit)).then(|| Digest { hex: hex.to_owned() })
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.hex)
    }
}

impl FromStr for Digest {
    type Err = String;

    fn from_str(digest: &str) -> Result<Digest, String> {
        let found = digest.strip_prefix("sha256:").and_then(Digest::of_hex);
        found.ok_or_else(|| text_with("image.digest.form", &[("digest", &printed(digest))]))
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Digest, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Computes a digest from bytes that come one after the other.
#[derive(Debug, Clone, Default)]
pub struct Digester {
    state: Sha256,
    count: u64,
}

impl Digester {
    /// The next bytes.
    pub fn add(&mut self, bytes: &[u8]) {
        self.state.update(bytes);
        self.count += bytes.len() as u64;
    }

    /// How many bytes there were so far.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The digest of all bytes.
    pub fn finish(self) -> Digest {
        let hex = self.state.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        Digest { hex }
    }
}

/// A reader or a writer that also computes the digest of what passes through it.
#[derive(Debug)]
pub struct Digesting<S> {
    /// Where the bytes come from, or go to.
    pub stream: S,
    /// The digest so far.
    pub digester: Digester,
}

impl<S> Digesting<S> {
    /// Nothing has passed so far.
    pub fn new(stream: S) -> Digesting<S> {
        Digesting { stream, digester: Digester::default() }
    }
}

impl<R: Read> Read for Digesting<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.stream.read(buffer)?;
        self.digester.add(&buffer[..count]);
        Ok(count)
    }
}

impl<W: Write> Write for Digesting<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.stream.write(bytes)?;
        self.digester.add(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_names_a_content() {
        let empty = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(Digest::of(b"").to_string(), empty);
        assert_eq!(empty.parse(), Ok(Digest::of(b"")));
        assert_eq!(Digest::of(b"").short(), "e3b0c44298fc");
        let upper = empty.to_uppercase().replace("SHA256", "sha256");
        for wrong in [
            "",
            "sha256:",
            "sha256:e3b0",
            "md5:e3b0",
            "sha512:00",
            &upper,
            &format!("{empty}0"),
            "sha256:../../etc",
        ] {
            assert!(wrong.parse::<Digest>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_passes_is_counted() {
        let mut reader = Digesting::new(&b"abc"[..]);
        io::copy(&mut reader, &mut io::sink()).unwrap();
        assert_eq!((reader.digester.count(), reader.digester.finish()), (3, Digest::of(b"abc")));
    }
}
