//! Files below /proc that configure a namespace, files of a cgroup, and the programs that write id maps.

use std::fmt;
use std::io::{self, Write};
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
