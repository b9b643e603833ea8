//! The log of a container: what its command has printed, in Docker's json-file format. Each line of the file is one line of
//! the output, with its stream and its time:
//!
//!     {"log":"hello\n","stream":"stdout","time":"2026-11-29T09:45:11.123456789Z"}
//!
//! A longer line is in parts of 16 KiB, of which only the last one ends in `\n`. What is not UTF-8 is in `log` with U+FFFD,
//! as Docker writes it, and besides complete, in base64, in `bytes`, which Docker does not have. Otherwise it would be lost.
//!
//! With a maximum size, `log` becomes `log.1`, `log.1` becomes `log.2`, and so on.

pub mod attributes;
mod number;
pub mod read;
pub mod write;

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::value::bytes;
use crate::value::timestamp::Timestamp;

/// The name of the newest file of a log.
pub const LOG: &str = "log";

/// The name of an older file. 1 is the newest of them.
fn older(number: u32) -> String {
    format!("{LOG}.{number}")
}

/// A standard stream of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OutputStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl OutputStream {
    /// Its number as a descriptor.
    pub fn number(self) -> u8 {
        match self {
            OutputStream::Stdout => 1,
            OutputStream::Stderr => 2,
        }
    }
}

/// A line of a log file.
#[derive(Debug, Serialize, Deserialize)]
struct LogLine<'a> {
    #[serde(borrow)]
    log: Cow<'a, str>,
    /// In base64.
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    bytes: Option<Cow<'a, str>>,
    stream: OutputStream,
    /// What the line says about its container.
    #[serde(default, skip_serializing_if = "has_none")]
    attrs: Cow<'a, BTreeMap<String, String>>,
    time: Timestamp,
}

fn has_none(attributes: &BTreeMap<String, String>) -> bool {
    attributes.is_empty()
}

/// A part of the output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEntry {
    /// What was printed: a line with its `\n`, or a part of one.
    pub content: Vec<u8>,
    /// Where.
    pub stream: OutputStream,
    /// When it was read from the command.
    pub time: Timestamp,
    /// What it says about its container.
    pub attributes: BTreeMap<String, String>,
}

impl LogEntry {
    /// Reads a line of a log file. None: it is none, because a power cut has damaged the file.
    pub fn parse(line: &[u8]) -> Option<LogEntry> {
        let line: LogLine<'_> = serde_json::from_slice(line).ok()?;
        let content = match &line.bytes {
            Some(encoded) => bytes::decoded(encoded)?.into_encoded_bytes(),
            None => line.log.into_owned().into_bytes(),
        };
        Some(LogEntry { content, stream: line.stream, time: line.time, attributes: line.attrs.into_owned() })
    }

    /// What is printed before the line: its time, and what it says about its container.
    pub fn beginning(&self, has_time: bool, has_details: bool) -> String {
        let time = has_time.then(|| format!("{} ", self.time.with_all_digits()));
        let details = has_details.then(|| format!("{} ", attributes::details(&self.attributes)));
        time.into_iter().chain(details).collect()
    }
}
