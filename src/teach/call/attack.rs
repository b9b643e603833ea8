//! What only an attacker asks for. Each call is harmless by itself: it takes what it could misuse, and does nothing with it.
//! Its answer is the kernel's: whether the way is open.

use std::fmt;
use std::fs::OpenOptions;
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
    /// TIOCSTI, once for each sign: as if somebody had typed them into the terminal `<pts>`. Gives how many there were.
    Type(String),
    /// FIONREAD: how many bytes whoever reads from `<pts>` next will get.
    Waiting,
    /// execve(2) of a set-user-id program in a child, which only tells its usage. Gives its effective user id.
    Gain {
        /// The program.
        program: String,
    },
    /// open(2) to write to a file that is there. Nothing is written.
    OpenToWrite {
        /// Which.
        path: String,
    },
}

impl fmt::Display for AttackCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AttackCall::Type(words) => write!(f, "ioctl(<pts>, TIOCSTI, {})", c_string(words)),
            AttackCall::Waiting => f.write_str("ioctl(<pts>, FIONREAD)"),
            AttackCall::Gain { program } => write!(f, "execve({}): its effective uid", c_string(program)),
            AttackCall::OpenToWrite { path } => write!(f, "open({}, O_WRONLY)", c_string(path)),
        }
    }
}

impl AttackCall {
    /// Makes the call.
    pub(super) fn perform(&self, slots: &mut Slots) -> Result<i64, Errno> {
        let terminal = || slots.pts.as_ref().ok_or(Errno::EBADF);
        match self {
            AttackCall::Type(words) => {
                let terminal = terminal()?;
                words.bytes().try_for_each(|sign| sys::type_into(terminal, sign))?;
                Ok(words.len() as i64)
            }
            AttackCall::Waiting => {
                let count = rustix::io::ioctl_fionread(terminal()?);
                count.map(|count| count as i64).map_err(errno)
            }
            AttackCall::Gain { program } => gain(program).map_err(errno),
            AttackCall::OpenToWrite { path } => {
                OpenOptions::new().write(true).open(path).map(|_| 0).map_err(errno)
            }
        }
    }
}

/// What execve made of it is read when it has ended: that it has begun is known some time before its ids are.
fn gain(program: &str) -> std::io::Result<i64> {
    let mut command = Command::new(program);
    command.arg("--help").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn()?;
    let whom = Pid::from_raw(child.id().cast_signed());
    // Without reaping it: its status file stays.
    while waitid(Id::Pid(whom), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT) == Err(Errno::EINTR) {}
    let status = file::parse::<Status>(format!("/proc/{}/status", child.id()));
    child.wait()?;
    Ok(i64::from(status?.euid))
}
