//! The clock offsets of a new time namespace. time_namespaces(7)

use std::fmt;

use nix::errno::Errno;
use serde::{Deserialize, Serialize};

use super::c_string;
use super::file::write_once;
use crate::plan::slots::Slots;

/// The clock offsets of the time namespace in which the caller's next children are created. The kernel accepts them
/// until the first process has entered that namespace.
pub(crate) const OFFSETS: &str = "/proc/self/timens_offsets";

/// The calls of this family.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimeCall {
    /// write(2) to /proc/self/timens_offsets.
    WriteOffset {
        /// The clock.
        clock: Clock,
        /// Its offset, in seconds.
        seconds: i64,
    },
}

/// The clocks that have an offset in a time namespace, by their names in /proc/PID/timens_offsets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Clock {
    /// CLOCK_BOOTTIME.
    Boottime,
    /// CLOCK_MONOTONIC.
    Monotonic,
}

impl fmt::Display for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Clock::Boottime => "boottime",
            Clock::Monotonic => "monotonic",
        })
    }
}

/// A line of the file: clock, seconds, nanoseconds.
fn line(clock: Clock, seconds: i64) -> String {
    format!("{clock} {seconds} 0\n")
}

impl fmt::Display for TimeCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let TimeCall::WriteOffset { clock, seconds } = self;
        let line = line(*clock, *seconds);
        write!(f, "write(<{OFFSETS}>, {}, {})", c_string(&line), line.len())
    }
}

impl TimeCall {
    /// Makes the call.
    pub(super) fn perform(&self, _: &mut Slots) -> Result<i64, Errno> {
        let TimeCall::WriteOffset { clock, seconds } = self;
        write_once(OFFSETS, &line(*clock, *seconds))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offset_is_printed_as_it_is_written() {
        let call = TimeCall::WriteOffset { clock: Clock::Boottime, seconds: -30 };
        assert_eq!(call.to_string(), r#"write(</proc/self/timens_offsets>, "boottime -30 0\n", 15)"#);
    }
}
