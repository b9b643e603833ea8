//! The IPC namespace: System V IPC objects and POSIX message queues.
//!
//! # What it is
//!
//! Processes can exchange data by shared memory segments, semaphore sets and message queues (sysvipc(7)). These objects
//! are no files: a process finds one by its key. Each IPC namespace has its own set of keys. It also has its own POSIX
//! message queues (mq_overview(7)), which are files of an mqueue filesystem.
//!
//! POSIX shared memory (shm_overview(7)) does not belong to it. It is files in /dev/shm, so a mount separates it.
//!
//! # Why one wants it
//!
//! Otherwise a process in a container could use the shared memory of a database on the host, if it knows the key and
//! has the rights. Two containers that use the same key would get the same object.
//!
//! # The calls
//!
//! clone3(2) or unshare(2) with CLONE_NEWIPC makes the namespace, without any objects. This needs CAP_SYS_ADMIN. When
//! the last process has left the namespace, the kernel destroys its objects.
//!
//! # What changes in /proc
//!
//! - `/proc/sysvipc/shm`, `sem` and `msg` list the objects of the reader's namespace only.
//! - `/proc/sys/fs/mqueue/` and the limits `/proc/sys/kernel/shm*`, `msg*` and `sem` have values of their own.
//! - /dev/shm shows the same files inside and outside.
//!
//! ipc_namespaces(7)

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::feature::Feature;
use crate::observe::{Observation, proc};
use crate::plan::{Context, Draft};
use crate::value::join::JoinTarget;

/// Options of the IPC namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args, Serialize, Deserialize, JsonSchema)]
#[group(skip)]
#[serde(deny_unknown_fields, default)]
pub struct Ipc {
    /// An existing namespace to join: host (your own), container:NAME, or a path such as /proc/123/ns/ipc
    #[arg(skip)]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"container:web")]
    pub join: Option<JoinTarget>,
}

impl Ipc {
    /// The steps: only the namespace. One that is joined is planned by `config`, as for all kinds.
    pub fn plan(&self, context: &Context<'_>, draft: &mut Draft) {
        if !context.joins(Feature::Ipc) {
            draft.isolate(Feature::Ipc);
        }
    }

    /// Any option is possible with a namespace that is joined: there is none.
    pub fn check_join(&self, _draft: &mut Draft) {}
}

/// What to observe. A process on each side reads these files.
pub fn observe(_process: &str) -> Vec<Observation> {
    vec![
        proc::rows("/proc/sysvipc/shm"),
        proc::rows("/proc/sysvipc/sem"),
        proc::rows("/proc/sysvipc/msg"),
        proc::file("/proc/sys/fs/mqueue/queues_max"),
        proc::files("/dev/shm"),
    ]
}
