//! Standard input, output and error, where they are pipes. A program can open its own again by /dev/stdout, which leads
//! to /proc/self/fd/1. For that, the kernel checks the owner and the mode of the pipe, as of any file: a command of
//! another user would be refused. pipe(7), proc_pid_fd(5)

use std::fmt;

use nix::errno::Errno;
use nix::sys::stat::{Mode, fchmod};
use nix::unistd::{Uid, fchown};
use serde::{Deserialize, Serialize};

use crate::plan::slots::Slots;
use crate::sys;

/// The calls of this family.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StreamCall {
    /// fchown(2): the command's user becomes the owner of the pipe.
    Own {
        /// 0, 1 or 2.
        descriptor: i32,
        /// The user ID on the host.
        user: u32,
    },
    /// fchmod(2): other users may open the pipe too. Only processes that have it open already can find it, so it does
    /// not become reachable for anybody else.
    Open {
        /// 0, 1 or 2.
        descriptor: i32,
        /// The new mode.
        mode: u32,
    },
}

impl fmt::Display for StreamCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StreamCall::Own { descriptor, user } => write!(f, "fchown({descriptor}, {user}, -1)"),
            StreamCall::Open { descriptor, mode } => write!(f, "fchmod({descriptor}, {mode:#05o})"),
        }
    }
}

impl StreamCall {
    /// Makes the call. If it is refused (EPERM: root of a container, or a security module), the command still runs,
    /// but cannot open its pipe again. The result is -1 then.
    pub(super) fn perform(&self, _slots: &mut Slots) -> Result<i64, Errno> {
        let done = match self {
            StreamCall::Own { descriptor, user } => {
                fchown(sys::borrow(*descriptor)?, Some(Uid::from_raw(*user)), None)
            }
            StreamCall::Open { descriptor, mode } => {
                fchmod(sys::borrow(*descriptor)?, Mode::from_bits_truncate(*mode))
            }
        };
        match done {
            Err(Errno::EPERM | Errno::EACCES | Errno::EINVAL) => Ok(-1),
            done => done.map(|()| 0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_printed_as_strace_does() {
        assert_eq!(StreamCall::Own { descriptor: 1, user: 1000 }.to_string(), "fchown(1, 1000, -1)");
        assert_eq!(StreamCall::Open { descriptor: 2, mode: 0o602 }.to_string(), "fchmod(2, 0602)");
    }
}
