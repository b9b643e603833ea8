//! The ipc namespace: System V objects and POSIX message queues.
//!
//! Shared memory segments, semaphore sets and message queues (sysvipc(7)) have no path: they are found by a key, and
//! each ipc namespace has keys of its own. POSIX message queues (mq_overview(7)) are the files of an mqueue filesystem,
//! one per ipc namespace. POSIX *shared memory* (shm_overview(7)) is not here: it is files in /dev/shm, which is a
//! mount's business. ipc_namespaces(7)
//!
//! What you'll see: `/proc/sysvipc/*` lists nothing of the other side, while /dev/shm shows the same files.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::feature::Feature;
use crate::observe::{Observation, proc};
use crate::plan::{Context, Draft};

/// Options of the IPC namespace: none.
#[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args, Serialize, Deserialize, JsonSchema)]
#[group(skip)]
#[serde(deny_unknown_fields, default)]
pub struct Ipc {}

impl Ipc {
    /// The steps: the namespace is all.
    pub fn plan(&self, _context: &Context<'_>, draft: &mut Draft) {
        draft.isolate(Feature::Ipc);
    }
}

/// The files that show it; read by a process on each side.
pub fn observe(_process: &str) -> Vec<Observation> {
    vec![
        proc::rows("/proc/sysvipc/shm"),
        proc::rows("/proc/sysvipc/sem"),
        proc::rows("/proc/sysvipc/msg"),
        proc::file("/proc/sys/fs/mqueue/queues_max"),
        proc::entries("/dev/shm", "files"),
    ]
}
