//! What a step leaves on the host, and how it is removed: a closed list of removals. Each is idempotent. Before a
//! removal, `exec` proves that the thing is still the one that `sandbox` made.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::feature::Feature;
pub use crate::sys::sysv::Sysv;
use crate::value::shell::quote;

/// One removal. `exec::undo` performs it, after it has checked the identity of the thing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Undo {
    /// The processes of a container. If `sandbox` was killed and the command has cleared its parent-death signal, it
    /// still runs.
    EndContainer {
        /// The PID of the command.
        pid: i32,
        /// When it was started, in clock ticks since the machine started: field 22 of /proc/PID/stat. It is its
        /// identity.
        started: u64,
        /// The namespaces that were made for it: `net:[4026532281]`.
        namespaces: Vec<String>,
    },
    /// A program that `sandbox` has started for a container, as slirp4netns(1).
    EndProgram {
        /// Its PID.
        pid: i32,
        /// When it was started, as for a container.
        started: u64,
    },
    /// A network device. Its identity is its network namespace, index and hardware address. If it is one of a veth
    /// pair, the kernel removes the other one with it.
    DeleteLink {
        /// Its name.
        name: String,
    },
    /// The bridge, which other runs use too. The last run that uses it removes it, and restores the setting for
    /// forwarding.
    RemoveBridge {
        /// Its name.
        name: String,
    },
    /// The tables of nf_tables with this comment. It is the name of the container's port, which is random.
    RemoveTables {
        /// The comment.
        comment: String,
    },
    /// An empty directory.
    RemoveDirectory {
        /// Its path.
        #[serde(with = "crate::value::bytes")]
        path: PathBuf,
    },
    /// A file.
    RemoveFile {
        /// Its path.
        #[serde(with = "crate::value::bytes")]
        path: PathBuf,
    },
    /// A cgroup. Processes that are still in it are killed first.
    RemoveGroup {
        /// Its directory.
        #[serde(with = "crate::value::bytes")]
        path: PathBuf,
    },
    /// The cgroup `sandbox`, which other runs use too. The last of them removes it.
    RemoveSharedGroup {
        /// Its directory.
        #[serde(with = "crate::value::bytes")]
        path: PathBuf,
    },
    /// Controllers that were enabled in the cgroup.subtree_control of a cgroup. They are disabled again.
    WithdrawControllers {
        /// The cgroup's directory.
        #[serde(with = "crate::value::bytes")]
        path: PathBuf,
        /// Their names.
        controllers: Vec<String>,
    },
    /// The caller moves back to the cgroup from which it came.
    MoveBack {
        /// That cgroup's directory.
        #[serde(with = "crate::value::bytes")]
        path: PathBuf,
        /// The directory of the cgroup to which it moved.
        #[serde(with = "crate::value::bytes")]
        from: PathBuf,
    },
    /// A mount.
    Unmount {
        /// The mount point.
        #[serde(with = "crate::value::bytes")]
        path: PathBuf,
    },
    /// A System V IPC object.
    RemoveSysv {
        /// `shm`, `sem` or `msg`.
        kind: Sysv,
        /// Its key. It is random, so no other program uses it.
        key: i32,
    },
    /// A POSIX message queue. Its identity is its inode.
    RemoveQueue {
        /// Its name, with the slash in front.
        name: String,
    },
}

impl Undo {
    /// Whether it removes the same thing as another. Of a command, it can be known later which namespaces it has.
    pub fn is_about_same(&self, other: &Undo) -> bool {
        match (self, other) {
            (
                Undo::EndContainer { pid, started, .. },
                Undo::EndContainer { pid: other_pid, started: other_started, .. },
            ) => (pid, started) == (other_pid, other_started),
            _ => self == other,
        }
    }

    /// The kind of namespace to which its name belongs. In another namespace, the same name is something else or does
    /// not exist. A path belongs to none: the inode proves to what it leads.
    pub fn home(&self) -> Option<Feature> {
        match self {
            Undo::DeleteLink { .. } | Undo::RemoveBridge { .. } | Undo::RemoveTables { .. } => {
                Some(Feature::Net)
            }
            Undo::RemoveSysv { .. } | Undo::RemoveQueue { .. } => Some(Feature::Ipc),
            Undo::EndContainer { .. } | Undo::EndProgram { .. } => Some(Feature::Pid),
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
            Undo::EndContainer { pid, .. } | Undo::EndProgram { pid, .. } => {
                write!(f, "kill -KILL {pid}")
            }
            Undo::DeleteLink { name } | Undo::RemoveBridge { name } => {
                write!(f, "ip link delete {}", quote(name))
            }
            Undo::RemoveTables { comment } => {
                write!(f, "send(<nftables>, {{NFT_MSG_DELTABLE, each with comment {comment:?}}})")
            }
            Undo::RemoveDirectory { path }
            | Undo::RemoveGroup { path }
            | Undo::RemoveSharedGroup { path } => {
                write!(f, "rmdir {}", quote(path))
            }
            Undo::WithdrawControllers { path, controllers } => {
                let controllers: Vec<String> = controllers.iter().map(|name| format!("-{name}")).collect();
                write!(f, "echo {} > {}", controllers.join(" "), quote(path.join("cgroup.subtree_control")))
            }
            Undo::MoveBack { path, .. } => write!(f, "echo 0 > {}", quote(path.join("cgroup.procs"))),
            Undo::RemoveFile { path } => write!(f, "rm {}", quote(path)),
            Undo::Unmount { path } => write!(f, "umount {}", quote(path)),
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
