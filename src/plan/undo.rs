//! What a step leaves outside of the new process, and how it's known again: a closed list of removals, each of which
//! may be done twice.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::feature::Feature;
pub use crate::sys::sysv::Sysv;

/// One removal. Performed by `exec::journal`, which also proves that the thing is still ours.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Undo {
    /// A network device, known by its namespace, index and hardware address; the kernel removes its peer with it.
    DeleteLink {
        /// Its name.
        name: String,
    },
    /// The bridge that other runs use too: it goes with the last of them, and forwarding is as it was before it.
    RemoveBridge {
        /// Its name.
        name: String,
    },
    /// An empty directory that we made.
    RemoveDirectory {
        /// Its path.
        path: PathBuf,
    },
    /// A file that we made.
    RemoveFile {
        /// Its path.
        path: PathBuf,
    },
    /// A cgroup of ours: whatever still runs in it is ended first.
    RemoveGroup {
        /// Its directory.
        path: PathBuf,
    },
    /// The cgroup `sandbox`, which other runs use too: it goes with the last of them.
    RemoveSharedGroup {
        /// Its directory.
        path: PathBuf,
    },
    /// Controllers that a v2 cgroup didn't hand down before.
    WithdrawControllers {
        /// The cgroup's directory.
        path: PathBuf,
        /// Their names.
        controllers: Vec<String>,
    },
    /// The caller goes back to the cgroup that it came from.
    MoveBack {
        /// That cgroup's directory.
        path: PathBuf,
        /// The one that it went to.
        from: PathBuf,
    },
    /// A mount of ours.
    Unmount {
        /// Where it is.
        path: PathBuf,
    },
    /// A System V object of ours.
    RemoveSysv {
        /// `shm`, `sem` or `msg`.
        kind: Sysv,
        /// The key that we chose for it, which no one else uses.
        key: i32,
    },
    /// A POSIX message queue of ours, known by its inode.
    RemoveQueue {
        /// Its name, with the slash.
        name: String,
    },
}

impl Undo {
    /// The kind of namespace in which its name holds: elsewhere that name is another thing, or none. A path is followed
    /// from wherever the caller is, and the inode proves what it leads to.
    pub fn home(&self) -> Option<Feature> {
        match self {
            Undo::DeleteLink { .. } | Undo::RemoveBridge { .. } => Some(Feature::Net),
            Undo::RemoveSysv { .. } | Undo::RemoveQueue { .. } => Some(Feature::Ipc),
            Undo::RemoveDirectory { .. }
            | Undo::RemoveFile { .. }
            | Undo::Unmount { .. }
            | Undo::RemoveGroup { .. }
            | Undo::RemoveSharedGroup { .. }
            | Undo::WithdrawControllers { .. }
            | Undo::MoveBack { .. } => None,
        }
    }
}

impl fmt::Display for Undo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Undo::DeleteLink { name } | Undo::RemoveBridge { name } => write!(f, "ip link delete {name}"),
            Undo::RemoveDirectory { path }
            | Undo::RemoveGroup { path }
            | Undo::RemoveSharedGroup { path } => {
                write!(f, "rmdir {}", path.display())
            }
            Undo::WithdrawControllers { path, controllers } => {
                let controllers: Vec<String> = controllers.iter().map(|name| format!("-{name}")).collect();
                write!(f, "echo {} > {}/cgroup.subtree_control", controllers.join(" "), path.display())
            }
            Undo::MoveBack { path, .. } => write!(f, "echo 0 > {}/cgroup.procs", path.display()),
            Undo::RemoveFile { path } => write!(f, "rm {}", path.display()),
            Undo::Unmount { path } => write!(f, "umount {}", path.display()),
            Undo::RemoveQueue { name } => write!(f, "mq_unlink({name:?})"),
            Undo::RemoveSysv { kind, key } => {
                let option = match kind {
                    Sysv::Shm => "-M",
                    Sysv::Sem => "-S",
                    Sysv::Msg => "-Q",
                };
                write!(f, "ipcrm {option} {key:#x}")
            }
        }
    }
}
