//! Calls on files and directories: make one, or read its owner.

use std::fmt;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use serde::{Deserialize, Serialize};

use crate::error::errno;
use crate::plan::call::c_string;
use crate::text::printed;

/// The calls of this family.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PathCall {
    /// open(2) with O_CREAT|O_EXCL, and one write(2).
    Create {
        /// The new path.
        #[serde(with = "crate::value::bytes")]
        path: PathBuf,
        /// The content.
        content: String,
    },
    /// stat(2): returns the user ID of the owner.
    Owner {
        /// The path of the file.
        #[serde(with = "crate::value::bytes")]
        path: PathBuf,
    },
    /// mkdir(2) with mode 0700.
    MakeDirectory {
        /// The new path.
        #[serde(with = "crate::value::bytes")]
        path: PathBuf,
    },
}

impl fmt::Display for PathCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PathCall::Create { path, content } => {
                let (path, length) = (printed(path), content.len());
                write!(f, "write(<{path}>, {}, {length})  [O_CREAT|O_EXCL]", c_string(content))
            }
            PathCall::Owner { path } => write!(f, "stat({}).st_uid", c_string(path)),
            PathCall::MakeDirectory { path } => write!(f, "mkdir({}, 0700)", c_string(path)),
        }
    }
}

impl PathCall {
    /// Makes the call.
    pub(super) fn perform(&self) -> Result<i64, Errno> {
        match self {
            PathCall::Create { path, content } => create(path, content).map_err(errno),
            PathCall::Owner { path } => nix::sys::stat::stat(path).map(|stat| i64::from(stat.st_uid)),
            PathCall::MakeDirectory { path } => {
                nix::unistd::mkdir(path, nix::sys::stat::Mode::S_IRWXU).map(|()| 0)
            }
        }
    }
}

fn create(path: &Path, content: &str) -> std::io::Result<i64> {
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o644).open(path)?;
    file.write_all(content.as_bytes())?;
    Ok(content.len() as i64)
}
