//! Joins namespaces that exist already. Each is opened before anything is made, and then joined by its descriptor: it
//! stays as long as the descriptor is open, also if all its processes end meanwhile. setns(2)

use std::fmt;
use std::path::PathBuf;

use nix::errno::Errno;
use nix::sched::CloneFlags;
use rustix::fs::{CWD, Mode, OFlags, fstat, openat};
use serde::{Deserialize, Serialize};

use super::c_string;
use super::process::Namespaces;
use crate::error::errno;
use crate::feature::Feature;
use crate::plan::slots::Slots;

/// The calls of this family.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JoinCall {
    /// openat(2) of the file of a namespace. ESTALE: it is another namespace than the one for which the plan was made.
    Open {
        /// Its kind.
        kind: Feature,
        /// The file.
        #[serde(with = "crate::value::bytes")]
        path: PathBuf,
        /// The device and the inode of the namespace.
        identity: (u64, u64),
    },
    /// setns(2) with the descriptor that was opened.
    Enter {
        /// Its kind.
        kind: Feature,
    },
}

/// It never waits: a FIFO could be there meanwhile.
const FLAGS: OFlags = OFlags::RDONLY.union(OFlags::NONBLOCK).union(OFlags::NOCTTY).union(OFlags::CLOEXEC);

impl fmt::Display for JoinCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            JoinCall::Open { path, .. } => {
                let path = c_string(path);
                write!(f, "openat(AT_FDCWD, {path}, O_RDONLY|O_NOCTTY|O_NONBLOCK|O_CLOEXEC)")
            }
            JoinCall::Enter { kind } => write!(f, "setns(<{kind}>, {})", Namespaces::of(&[*kind])),
        }
    }
}

impl JoinCall {
    /// Makes the call.
    pub(super) fn perform(&self, slots: &mut Slots) -> Result<i64, Errno> {
        match self {
            JoinCall::Open { kind, path, identity } => {
                let namespace = openat(CWD, path, FLAGS, Mode::empty()).map_err(errno)?;
                let found = fstat(&namespace).map_err(errno)?;
                if (found.st_dev, found.st_ino) != *identity {
                    return Err(Errno::ESTALE);
                }
                slots.joined.insert(*kind, namespace);
                Ok(0)
            }
            JoinCall::Enter { kind } => {
                let namespace = slots.joined.get(kind).ok_or(Errno::EBADF)?;
                let flags = CloneFlags::from_bits_retain(kind.clone_flag());
                nix::sched::setns(namespace, flags).map(|()| 0)
            }
        }
    }
}
