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
pub mod processes;
pub mod sysv;
mod unread;
mod value;

use serde::{Deserialize, Serialize};

pub use self::unread::Unread;
pub use self::value::{ClockReading, CounterReading, Listing, Unshared, Value, equal};

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

/// The PIDs, user IDs and group IDs of a process. Readers in different PID or user namespaces see different ones.
pub fn identity(process: &str) -> Vec<Observation> {
    ["NSpid", "Uid", "Gid"].map(|field| proc::status(&format!("{process}/status"), field)).to_vec()
}
