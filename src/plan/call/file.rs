//! Files below /proc that configure a namespace, plain files for a demonstration, and the programs that write id maps.

use std::fmt;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::process::{Command, Stdio};

use nix::errno::Errno;
use serde::{Deserialize, Serialize};

use super::c_string;
use crate::error::errno;
use crate::plan::slots::Slots;

/// The calls of this family. `<child>` in a path or an argument is the slot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileCall {
    /// One write(2) to a file that is there: the kernel takes an id map in a single write or not at all.
    Write {
        /// Where.
        path: String,
        /// What.
        content: String,
    },
    /// open(2) with O_CREAT|O_EXCL, and one write.
    Create {
        /// Where.
        path: String,
        /// What.
        content: String,
    },
    /// unlink(2).
    Remove {
        /// What.
        path: String,
    },
    /// stat(2): the owner.
    Owner {
        /// Whose.
        path: String,
    },
    /// mkdir(2), mode 0700.
    MakeFolder {
        /// Where.
        path: String,
    },
    /// A helper program and its arguments (newuidmap): one step, whatever calls it makes.
    Run {
        /// The file.
        program: String,
        /// Its arguments.
        arguments: Vec<String>,
    },
}

impl fmt::Display for FileCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FileCall::Write { path, content } => {
                write!(f, "write(<{path}>, {}, {})", c_string(content), content.len())
            }
            FileCall::Create { path, content } => {
                write!(f, "write(<{path}>, {}, {})  [O_CREAT|O_EXCL]", c_string(content), content.len())
            }
            FileCall::Remove { path } => write!(f, "unlink({})", c_string(path)),
            FileCall::Owner { path } => write!(f, "stat({}).st_uid", c_string(path)),
            FileCall::MakeFolder { path } => write!(f, "mkdir({}, 0700)", c_string(path)),
            FileCall::Run { program, arguments } => write!(f, "{program} {}", arguments.join(" ")),
        }
    }
}

impl FileCall {
    /// Makes the call.
    pub(super) fn perform(&self, slots: &mut Slots) -> Result<i64, Errno> {
        match self {
            FileCall::Write { path, content } => {
                let file = std::fs::OpenOptions::new().write(true).open(slots.fill(path));
                write_once(file, content)
            }
            FileCall::Create { path, content } => {
                let file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o644).open(path);
                write_once(file, content)
            }
            FileCall::Remove { path } => nix::unistd::unlink(path.as_str()).map(|()| 0),
            FileCall::Owner { path } => {
                nix::sys::stat::stat(path.as_str()).map(|stat| i64::from(stat.st_uid))
            }
            FileCall::MakeFolder { path } => {
                nix::unistd::mkdir(path.as_str(), nix::sys::stat::Mode::S_IRWXU).map(|()| 0)
            }
            FileCall::Run { program, arguments } => {
                run(program, arguments.iter().map(|word| slots.fill(word)))
            }
        }
    }
}

fn write_once(file: io::Result<std::fs::File>, content: &str) -> Result<i64, Errno> {
    let written = file.and_then(|mut file| file.write(content.as_bytes())).map_err(errno)?;
    if written == content.len() { Ok(written as i64) } else { Err(Errno::EIO) }
}

/// The program's own words go to standard error, where the user reads them above our error.
fn run(program: &str, arguments: impl Iterator<Item = String>) -> Result<i64, Errno> {
    let status = Command::new(program).args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).status();
    match status.map_err(errno)?.code() {
        Some(0) => Ok(0),
        _ => Err(Errno::EPERM),
    }
}
