//! Readers of /proc, /sys and cgroup files: what the kernel shows to a process.
//!
//! The same readers run outside and inside of a container. So a difference between the two comes from the kernel.
//! Each value has the path of the file that it was read from.

pub mod cgroup;
pub mod file;
pub mod hierarchy;
pub mod mountinfo;
pub mod net;
pub mod proc;
mod unread;

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::text::printed;

pub use self::unread::Unread;

/// A value, and the file that it was read from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observation {
    /// The file, as the reader opened it.
    pub path: String,
    /// The field in the file: `CapEff:`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub field: Option<String>,
    /// The value.
    pub value: Value,
}

/// The value that a reader found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Value {
    /// This text.
    Is(String),
    /// A number of things: `3 mounts`.
    Count(usize, String),
    /// There is no value, for this reason.
    Not(String),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Is(text) => f.pad(&printed(text)),
            Value::Count(1, of) => f.pad(&format!(
                "1 {}",
                of.strip_suffix("es").filter(|one| one.ends_with("ss")).unwrap_or(of.trim_end_matches('s'))
            )),
            Value::Count(count, of) => f.pad(&format!("{count} {of}")),
            Value::Not(why) => f.pad(&format!("({why})")),
        }
    }
}

/// The PIDs, user IDs and group IDs of a process. Readers in different PID or user namespaces see different ones.
pub fn identity(process: &str) -> Vec<Observation> {
    ["NSpid", "Uid", "Gid"].map(|field| proc::status(&format!("{process}/status"), field)).to_vec()
}

/// Whether two readers of `path` found the same value; none if one of them could not read it.
pub fn equal(path: &str, one: &Value, other: &Value) -> Option<bool> {
    if is_refused(one) || is_refused(other) {
        return None;
    }
    Some(one == other || (is_clock(path) && is_soon_after(one, other)))
}

/// Whether the kernel refused to show the value. Then the reason ends with an errno. A missing file is a value that
/// can be compared.
fn is_refused(value: &Value) -> bool {
    let errno = |word: &str| word.starts_with('E') && word.bytes().all(|byte| byte.is_ascii_uppercase());
    matches!(value, Value::Not(why) if why.split_whitespace().last().is_some_and(errno))
}

/// Whether a path is a clock, which advances between two readings.
fn is_clock(path: &str) -> bool {
    path == "/proc/uptime" || path.starts_with("clock_gettime(")
}

fn is_soon_after(one: &Value, other: &Value) -> bool {
    let seconds = |value: &Value| match value {
        Value::Is(text) => text.split_whitespace().next()?.parse::<f64>().ok(),
        _ => None,
    };
    matches!((seconds(one), seconds(other)), (Some(one), Some(other)) if (one - other).abs() < 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_clock_may_advance_between_two_readings() {
        let is = |text: &str| Value::Is(text.into());
        let of = |path: &str, one: &str, other: &str| equal(path, &is(one), &is(other)) == Some(true);
        assert!(of("clock_gettime(CLOCK_BOOTTIME)", "100 s", "101 s"));
        assert!(of("/proc/uptime", "100.98", "101.02"));
        assert!(!of("clock_gettime(CLOCK_BOOTTIME)", "100 s", "3700 s"));
        assert!(!of("/etc/hosts", "100", "101"));
    }

    #[test]
    fn a_value_that_cannot_be_read_is_neither_equal_nor_different() {
        let not = |why: &str| Value::Not(why.into());
        let of = |one: &str, other: &str| equal("p", &not(one), &not(other));
        assert_eq!(of("EACCES", "EACCES"), None);
        assert_eq!(of("no such file", "mnt: EPERM"), None);
        assert_eq!(of("no such file", "no such file"), Some(true));
        assert_eq!(of("no such file", "absent"), Some(false));
    }
}
