//! Standard input, output and error, where they are pipes. A program can open its own again by /dev/stdout, which leads
//! to /proc/self/fd/1. For that, the kernel checks the owner and the mode of the pipe, as of any file: a command of
//! another user would be refused. pipe(7), proc_pid_fd(5)
//!
//! Root makes the command's user the owner of the pipe. An ordinary user cannot, and the caller's own pipe must not become
//! reachable for others. So the command gets a new pipe in its place, and `sandbox` carries the bytes between the two.

use std::fmt;
use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::unistd::{Uid, fchown, pipe2};
use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, fstat, makedev, openat2};
use rustix::io::ioctl_fionbio;
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};
use serde::{Deserialize, Serialize};

use crate::error::errno;
use crate::plan::gate::Message;
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
    /// pipe2(2): a new pipe. `<inner>` is the end for the command, `<outer>` the one for the host. The command reads from
    /// the new pipe if it replaces standard input, and otherwise writes to it.
    Pipe {
        /// 0, 1 or 2.
        descriptor: i32,
    },
    /// fchown(2): the command's user becomes the owner of the new pipe. The ID is one of the user namespace.
    OwnInner(u32),
    /// sendmsg(2): sends `<outer>` to the host.
    Send {
        /// The descriptor that the new pipe replaces.
        descriptor: i32,
    },
    /// openat2(2) of /dev/null, and dup2(2) to these descriptors. ENXIO: it is another file, which the container has put
    /// there.
    Null {
        /// Of 0, 1 and 2.
        descriptors: Vec<i32>,
    },
    /// dup2(2): `<inner>` replaces these descriptors, which were one pipe before.
    Replace {
        /// Of 0, 1 and 2.
        descriptors: Vec<i32>,
    },
}

impl fmt::Display for StreamCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StreamCall::Own { descriptor, user } => write!(f, "fchown({descriptor}, {user}, -1)"),
            StreamCall::Pipe { descriptor: 0 } => f.write_str("pipe2([<inner>, <outer>], O_CLOEXEC)"),
            StreamCall::Pipe { .. } => f.write_str("pipe2([<outer>, <inner>], O_CLOEXEC)"),
            StreamCall::OwnInner(user) => write!(f, "fchown(<inner>, {user}, -1)"),
            StreamCall::Send { .. } => f.write_str("sendmsg(<gate>, <outer>)"),
            StreamCall::Null { descriptors } => {
                let open = "openat2(AT_FDCWD, \"/dev/null\", {flags=O_RDWR|O_NOCTTY|O_NONBLOCK|O_CLOEXEC, \
                            resolve=RESOLVE_NO_SYMLINKS}, 24)";
                write!(f, "{open}; ioctl(<null>, FIONBIO, [0]); {}", dup2("<null>", descriptors))
            }
            StreamCall::Replace { descriptors } => f.write_str(&dup2("<inner>", descriptors)),
        }
    }
}

/// The calls by which a slot replaces these descriptors.
pub(super) fn dup2(slot: &str, descriptors: &[i32]) -> String {
    let calls: Vec<String> = descriptors.iter().map(|number| format!("dup2({slot}, {number})")).collect();
    calls.join("; ")
}

impl StreamCall {
    /// Makes the call. If the owner cannot be changed (EPERM: root of a container, or a security module), the command
    /// still runs, but cannot open its pipe again. The result is -1 then.
    pub(super) fn perform(&self, slots: &mut Slots) -> Result<i64, Errno> {
        match self {
            StreamCall::Own { descriptor, user } => {
                match fchown(sys::borrow(*descriptor)?, Some(Uid::from_raw(*user)), None) {
                    Err(Errno::EPERM | Errno::EACCES | Errno::EINVAL) => return Ok(-1),
                    done => done?,
                }
            }
            StreamCall::Pipe { descriptor } => {
                let (reading, writing) = pipe2(OFlag::O_CLOEXEC)?;
                let (inner, outer) = if *descriptor == 0 { (reading, writing) } else { (writing, reading) };
                (slots.inner, slots.outer) = (Some(inner), Some(outer));
            }
            StreamCall::OwnInner(user) => {
                fchown(slots.inner.as_ref().ok_or(Errno::EBADF)?, Some(Uid::from_raw(*user)), None)?;
            }
            // The child keeps no copy: with one, it would never see the end of its input, or that its output is not read.
            StreamCall::Send { descriptor } => {
                let outer = slots.outer.take().ok_or(Errno::EBADF)?;
                let gate = slots.gate.as_ref().ok_or(Errno::EBADF)?;
                gate.send(&Message::Stream(*descriptor), &[outer.as_fd()])?;
            }
            StreamCall::Replace { descriptors } => {
                replace(&slots.inner.take().ok_or(Errno::EBADF)?, descriptors)?;
            }
            StreamCall::Null { descriptors } => replace(&open_null()?, descriptors)?,
        }
        Ok(0)
    }
}

/// dup2(2) to each of these standard descriptors.
pub(super) fn replace(by: &OwnedFd, descriptors: &[i32]) -> Result<(), Errno> {
    for descriptor in descriptors {
        match descriptor {
            0 => dup2_stdin(by),
            1 => dup2_stdout(by),
            _ => dup2_stderr(by),
        }
        .map_err(errno)?;
    }
    Ok(())
}

/// Opens /dev/null. It is looked at before: to open another device can have an effect, and to open a FIFO can wait.
fn open_null() -> Result<OwnedFd, Errno> {
    let open =
        |flags| openat2(CWD, "/dev/null", flags, Mode::empty(), ResolveFlags::NO_SYMLINKS).map_err(errno);
    let is_null = |file: &OwnedFd| {
        let found = fstat(file).map_err(errno)?;
        let is_device = FileType::from_raw_mode(found.st_mode) == FileType::CharacterDevice;
        if is_device && found.st_rdev == makedev(1, 3) { Ok(()) } else { Err(Errno::ENXIO) }
    };
    is_null(&open(OFlags::PATH | OFlags::CLOEXEC)?)?;
    let null = open(OFlags::RDWR | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC)?;
    is_null(&null)?;
    ioctl_fionbio(&null, false).map_err(errno)?;
    Ok(null)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_printed_as_strace_does() {
        assert_eq!(StreamCall::Own { descriptor: 1, user: 1000 }.to_string(), "fchown(1, 1000, -1)");
        assert_eq!(StreamCall::Pipe { descriptor: 0 }.to_string(), "pipe2([<inner>, <outer>], O_CLOEXEC)");
        let replace = StreamCall::Replace { descriptors: vec![1, 2] };
        assert_eq!(replace.to_string(), "dup2(<inner>, 1); dup2(<inner>, 2)");
    }
}
