//! Calls that only an attacker makes. They show whether the kernel allows an attack.
//!
//! Each call is harmless here: it gets access to something that could be misused, and does nothing with it.

use std::fmt;
use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::errno::Errno;
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;
use procfs::process::Status;
use serde::{Deserialize, Serialize};

use crate::error::errno;
use crate::observe::file;
use crate::plan::call::c_string;
use crate::plan::slots::Slots;
use crate::sys;

/// The calls of this family.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AttackCall {
    /// ioctl(TIOCSTI), once for each character: puts them into the input of the terminal `<pts>`, as if typed.
    /// Returns their number.
    Type(String),
    /// ioctl(FIONREAD): how many bytes of input wait to be read from `<pts>`.
    Waiting,
    /// execve(2) of a set-user-ID program in a child. It only prints its help. Returns its effective user ID.
    ExecuteSetuid {
        /// The program.
        #[serde(with = "crate::value::bytes")]
        program: PathBuf,
    },
    /// open(2) of an existing file for writing. Nothing is written.
    OpenToWrite {
        /// The file.
        #[serde(with = "crate::value::bytes")]
        path: PathBuf,
    },
}

impl fmt::Display for AttackCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AttackCall::Type(text) => write!(f, "ioctl(<pts>, TIOCSTI, {})", c_string(text)),
            AttackCall::Waiting => f.write_str("ioctl(<pts>, FIONREAD)"),
            AttackCall::ExecuteSetuid { program } => {
                write!(f, "execve({}): its effective uid", c_string(program))
            }
            AttackCall::OpenToWrite { path } => write!(f, "open({}, O_WRONLY)", c_string(path)),
        }
    }
}

impl AttackCall {
    /// Makes the call.
    pub(super) fn perform(&self, slots: &mut Slots) -> Result<i64, Errno> {
        let terminal = || slots.pts.as_ref().ok_or(Errno::EBADF);
        match self {
            AttackCall::Type(text) => {
                let terminal = terminal()?;
                text.bytes().try_for_each(|byte| sys::type_into(terminal, byte))?;
                Ok(text.len() as i64)
            }
            AttackCall::Waiting => {
                let count = rustix::io::ioctl_fionread(terminal()?);
                count.map(|count| count as i64).map_err(errno)
            }
            AttackCall::ExecuteSetuid { program } => execute_setuid(program).map_err(errno),
            AttackCall::OpenToWrite { path } => {
                OpenOptions::new().write(true).open(path).map(|_| 0).map_err(errno)
            }
        }
    }
}

/// The user ID is read after the program has ended. Right after the start, execve(2) may not have changed it yet.
fn execute_setuid(program: &Path) -> std::io::Result<i64> {
    let mut command = Command::new(program);
    command.arg("--help").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn()?;
    let pid = Pid::from_raw(child.id().cast_signed());
    // WNOWAIT does not reap the child, so its status file still exists.
    while waitid(Id::Pid(pid), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT) == Err(Errno::EINTR) {}
    let status = file::parse::<Status>(format!("/proc/{}/status", child.id()));
    child.wait()?;
    Ok(i64::from(status?.euid))
}
