//! Writes to files that configure a namespace or a cgroup, and locks on files.

pub mod opaque;

use std::fmt;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::stat::Mode;
use rustix::fs::{CWD, OFlags, openat};
use serde::{Deserialize, Serialize};

use super::c_string;
use crate::error::errno;
use crate::host::resolver::layer::OPAQUE;
use crate::host::run_lock::RunLock;
use crate::plan::slots::Slots;
use crate::text::printed;

/// The calls of this family.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileCall {
    /// One write(2) to an existing file.
    Write {
        /// The file.
        #[serde(with = "crate::value::bytes")]
        path: PathBuf,
        /// What is written.
        content: String,
    },
    /// openat(2) of the caller's own /proc, only for its path: `<host proc>`. The /proc of a container that is joined can
    /// be anything.
    OpenHostProc,
    /// open(2) and flock(2) with a shared lock on a file in RUN. The lock is held until the run ends.
    LockShared {
        /// The file.
        #[serde(with = "crate::value::bytes")]
        path: PathBuf,
        /// How many seconds to wait if another process has an exclusive lock.
        seconds: u64,
    },
    /// mkdir(2). EEXIST counts as success.
    MakeDirectory {
        /// The directory.
        #[serde(with = "crate::value::bytes")]
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// open(2) and flock(2) with an exclusive lock on a directory. The lock is held until the run ends.
    LockDirectory {
        /// The directory.
        #[serde(with = "crate::value::bytes")]
        path: PathBuf,
    },
    /// fsetxattr(2) on each directory that is opaque for the other kind of overlay, and on the work directory.
    CopyOpaque {
        /// The upper directory of an overlay.
        #[serde(with = "crate::value::bytes")]
        upper: PathBuf,
        /// Its work directory.
        #[serde(with = "crate::value::bytes")]
        work: PathBuf,
        /// Whether the attributes of an overlay in a user namespace are set, or those of another one.
        to_user: bool,
    },
}

impl fmt::Display for FileCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FileCall::Write { path, content } => {
                write!(f, "write(<{}>, {}, {})", printed(path), c_string(content), content.len())
            }
            FileCall::OpenHostProc => {
                f.write_str("openat(AT_FDCWD, \"/proc\", O_PATH|O_DIRECTORY|O_CLOEXEC)")
            }
            FileCall::LockShared { path, seconds } => {
                let path = printed(path);
                write!(f, "flock(<{path}>, LOCK_SH|LOCK_NB)  [for at most {seconds} s]")
            }
            FileCall::MakeDirectory { path, mode } => write!(f, "mkdir({}, 0{mode:o})", c_string(path)),
            FileCall::LockDirectory { path } => write!(f, "flock(<{}>, LOCK_EX|LOCK_NB)", printed(path)),
            FileCall::CopyOpaque { upper, to_user, .. } => {
                let [trusted, user] = OPAQUE;
                let (from, to) = if *to_user { (trusted, user) } else { (user, trusted) };
                let upper = printed(upper);
                write!(f, "fsetxattr(<{upper}/...>, \"{to}\", \"y\", 1, 0)  [each directory with {from}]")
            }
        }
    }
}

impl FileCall {
    /// Makes the call.
    pub(super) fn perform(&self, slots: &mut Slots) -> Result<i64, Errno> {
        match self {
            FileCall::Write { path, content } => write_once(path, content),
            FileCall::OpenHostProc => {
                let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
                slots.host_proc =
                    Some(openat(CWD, "/proc", flags, rustix::fs::Mode::empty()).map_err(errno)?);
                Ok(0)
            }
            FileCall::LockShared { path, seconds } => {
                // RUN is found and checked again: its path alone proves nothing.
                let name = path.file_name().map(printed).unwrap_or_default();
                let lock = RunLock::shared(&name, Duration::from_secs(*seconds)).map_err(errno)?;
                slots.shares.push(lock);
                Ok(0)
            }
            FileCall::MakeDirectory { path, mode } => {
                match nix::unistd::mkdir(path, Mode::from_bits_truncate(*mode)) {
                    Ok(()) | Err(Errno::EEXIST) => Ok(0),
                    Err(errno) => Err(errno),
                }
            }
            FileCall::CopyOpaque { upper, work, to_user } => opaque::copy(upper, work, *to_user),
            FileCall::LockDirectory { path } => {
                slots.shares.push(RunLock::of_directory(path).map_err(errno)?);
                Ok(0)
            }
        }
    }
}

/// One write(2) of the whole content to an existing file.
///
/// # Errors
/// Those of open(2) and write(2). EIO: not all of it was written.
pub(crate) fn write_once(path: impl AsRef<Path>, content: &str) -> Result<i64, Errno> {
    let file = OpenOptions::new().write(true).open(path);
    let written = file.and_then(|mut file| file.write(content.as_bytes())).map_err(errno)?;
    if written == content.len() { Ok(written as i64) } else { Err(Errno::EIO) }
}
