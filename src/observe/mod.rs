//! Observing: what the kernel shows to a process. One reader per feature; the same reader runs outside and inside, so a
//! difference is the kernel's, never ours. Every value names the file that it was read from.

pub mod cgroup;
pub mod file;
pub mod hierarchy;
pub mod mountinfo;
pub mod net;
pub mod proc;
mod unread;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use self::unread::Unread;

/// One value, and the file it came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observation {
    /// The file, as the reader opened it.
    pub path: String,
    /// The part of the file that is meant: `CapEff:`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub field: Option<String>,
    /// What it said.
    pub value: Value,
}

/// What a file said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Value {
    /// These words.
    Is(String),
    /// So many of these: `3 mounts`.
    Count(usize, String),
    /// It couldn't be read, for this reason.
    Not(String),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Is(words) => f.pad(words),
            Value::Count(1, of) => f.pad(&format!(
                "1 {}",
                of.strip_suffix("es").filter(|one| one.ends_with("ss")).unwrap_or(of.trim_end_matches('s'))
            )),
            Value::Count(count, of) => f.pad(&format!("{count} {of}")),
            Value::Not(why) => f.pad(&format!("({why})")),
        }
    }
}

/// The numbers and ids of one process: what a pid or a user namespace shows differently to each reader.
pub fn identity(process: &str) -> Vec<Observation> {
    ["NSpid", "Uid", "Gid"].map(|field| proc::status(&format!("{process}/status"), field)).to_vec()
}

/// Whether what `path` said to one reader is what it said to the other; none where one of them couldn't read it.
pub fn equal(path: &str, one: &Value, other: &Value) -> Option<bool> {
    if is_refused(one) || is_refused(other) {
        return None;
    }
    Some(one == other || (is_clock(path) && is_soon_after(one, other)))
}

/// A refusal, which ends in its errno, tells nothing about the other side; that a file isn't there does.
fn is_refused(value: &Value) -> bool {
    let errno = |word: &str| word.starts_with('E') && word.bytes().all(|byte| byte.is_ascii_uppercase());
    matches!(value, Value::Not(why) if why.split_whitespace().last().is_some_and(errno))
}

/// A clock goes on between two readings.
fn is_clock(path: &str) -> bool {
    path == "/proc/uptime" || path.starts_with("clock_gettime(")
}

fn is_soon_after(one: &Value, other: &Value) -> bool {
    let seconds = |value: &Value| match value {
        Value::Is(words) => words.split_whitespace().next()?.parse::<f64>().ok(),
        _ => None,
    };
    matches!((seconds(one), seconds(other)), (Some(one), Some(other)) if (one - other).abs() < 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_may_go_on_between_two_readings_and_nothing_else_may() {
        let is = |words: &str| Value::Is(words.into());
        let of = |path: &str, one: &str, other: &str| equal(path, &is(one), &is(other)) == Some(true);
        assert!(of("clock_gettime(CLOCK_BOOTTIME)", "100 s", "101 s"));
        assert!(of("/proc/uptime", "100.98", "101.02"));
        assert!(!of("clock_gettime(CLOCK_BOOTTIME)", "100 s", "3700 s"));
        assert!(!of("/etc/hosts", "100", "101"));
    }

    #[test]
    fn what_cannot_be_read_is_neither_equal_nor_different() {
        let not = |why: &str| Value::Not(why.into());
        let of = |one: &str, other: &str| equal("p", &not(one), &not(other));
        assert_eq!(of("EACCES", "EACCES"), None);
        assert_eq!(of("no such file", "mnt: EPERM"), None);
        assert_eq!(of("no such file", "no such file"), Some(true));
        assert_eq!(of("no such file", "absent"), Some(false));
    }
}
