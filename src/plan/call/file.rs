//! Writes to files that configure a namespace or a cgroup, and locks on files.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use super::c_string;
use crate::error::errno;
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
    /// open(2) and flock(2) with a shared lock. The lock is held until the run ends.
    LockShared {
        /// The file or directory.
        #[serde(with = "crate::value::bytes")]
        path: PathBuf,
        /// How many seconds to wait if another process has an exclusive lock. None: without limit.
        seconds: Option<u64>,
    },
}

impl fmt::Display for FileCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FileCall::Write { path, content } => {
                write!(f, "write(<{}>, {}, {})", printed(path), c_string(content), content.len())
            }
            FileCall::LockShared { path, seconds: None } => write!(f, "flock(<{}>, LOCK_SH)", printed(path)),
            FileCall::LockShared { path, seconds: Some(seconds) } => {
                write!(f, "flock(<{}>, LOCK_SH|LOCK_NB)  [for at most {seconds} s]", printed(path))
            }
        }
    }
}

impl FileCall {
    /// Makes the call.
    pub(super) fn perform(&self, slots: &mut Slots) -> Result<i64, Errno> {
        match self {
            FileCall::Write { path, content } => write_once(path, content),
            FileCall::LockShared { path, seconds } => {
                slots.shares.push(lock_shared(path, *seconds)?);
                Ok(0)
            }
        }
    }
}

/// One write(2) of the whole content to an existing file.
pub(super) fn write_once(path: impl AsRef<Path>, content: &str) -> Result<i64, Errno> {
    let file = OpenOptions::new().write(true).open(path);
    let written = file.and_then(|mut file| file.write(content.as_bytes())).map_err(errno)?;
    if written == content.len() { Ok(written as i64) } else { Err(Errno::EIO) }
}

/// flock(2) has no timeout. So with a time limit, a nonblocking flock(2) is repeated.
fn lock_shared(path: &Path, seconds: Option<u64>) -> Result<OwnedFd, Errno> {
    let file = OwnedFd::from(File::open(path).map_err(errno)?);
    let Some(seconds) = seconds else {
        flock(&file, FlockOperation::LockShared).map_err(errno)?;
        return Ok(file);
    };
    let deadline = Instant::now() + Duration::from_secs(seconds);
    loop {
        match flock(&file, FlockOperation::NonBlockingLockShared) {
            Err(rustix::io::Errno::AGAIN) if Instant::now() < deadline => {}
            Err(error) => return Err(errno(error)),
            Ok(()) => return Ok(file),
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}
