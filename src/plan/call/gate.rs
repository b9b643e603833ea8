//! Messages between the host and the child. Each point at which one waits for the other is a step of the plan.
//!
//! With a FIFO, another process releases the child. The child has the read end open from before the clone, so it needs no
//! path. Who may open the FIFO for writing can start the command. So it must belong to the caller, and nobody else may write to
//! it. Where the root of the host is kept, a process of the container has its path too, and these permissions decide. fifo(7)

use std::fmt;
use std::os::fd::AsFd;
use std::path::PathBuf;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, poll};
use rustix::fs::{CWD, FileType, Mode, OFlags, fstat, openat};
use rustix::process::geteuid;
use serde::{Deserialize, Serialize};

use super::c_string;
use crate::error::errno;
use crate::plan::gate::{Channel, Message};
use crate::plan::slots::Slots;

/// The calls of this family.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GateCall {
    /// socketpair(2).
    Open,
    /// Host: lets the child go on.
    Release,
    /// Child: waits until the host lets it go on. The end of file means that the host is dead.
    Await,
    /// openat(2) of a FIFO: `<fifo>`. Without O_NONBLOCK, this would wait for a process that writes. EPERM: it belongs to
    /// another user, or others may write to it.
    OpenFifo {
        /// The FIFO, a path on the host.
        #[serde(with = "crate::value::bytes")]
        path: PathBuf,
    },
    /// Child: waits until a process has opened `<fifo>` for writing, and has closed it or written to it. Before, it sends
    /// to the host that it waits.
    AwaitFifo,
    /// Child: reads the files of its view and sends them to the host. Performed by `exec`: the plan does not know which
    /// files.
    Report,
    /// Compares what the kernel shows with the plan, and stops at a difference: a container that is only partly
    /// confined must not start. Performed by `exec`; `plan::expect` has the expected values.
    Verify,
    /// Child: performs the requests that it receives on the gate. The caller of `exec::start_serving` defines them.
    Serve,
}

impl fmt::Display for GateCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            GateCall::OpenFifo { path } => {
                let path = c_string(path);
                return write!(f, "openat(AT_FDCWD, {path}, O_RDONLY|O_NONBLOCK|O_NOFOLLOW|O_CLOEXEC)");
            }
            GateCall::AwaitFifo => "poll([{fd=<fifo>, events=POLLIN}], 1, 1000)",
            GateCall::Open => "socketpair(AF_UNIX, SOCK_STREAM|SOCK_CLOEXEC, 0, [<gate>, <gate>])",
            GateCall::Release => "sendto(<gate>, \".\", 1)",
            GateCall::Await => "recvfrom(<gate>)",
            GateCall::Report => "sendmsg(<gate>, <the view from inside>)",
            GateCall::Verify => "[reads /proc and compares it with the plan]",
            GateCall::Serve => "recvmsg(<gate>) [the built-in demonstration]",
        })
    }
}

impl GateCall {
    /// Makes the call.
    pub(super) fn perform(&self, slots: &mut Slots) -> Result<i64, Errno> {
        match self {
            GateCall::Open => {
                let (host, child) = Channel::pair()?;
                slots.gate = Some(host);
                slots.other_gate = Some(child);
                Ok(0)
            }
            // The result of send(2) and recv(2): one byte.
            GateCall::Release => slots.gate.as_ref().ok_or(Errno::EBADF)?.release().map(|()| 1),
            GateCall::Await => slots.gate.as_ref().ok_or(Errno::EBADF)?.await_release().map(|()| 1),
            GateCall::OpenFifo { path } => {
                let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let fifo = openat(CWD, path, flags, Mode::empty()).map_err(errno)?;
                let found = fstat(&fifo).map_err(errno)?;
                if FileType::from_raw_mode(found.st_mode) != FileType::Fifo {
                    return Err(Errno::EINVAL);
                }
                if found.st_uid != geteuid().as_raw() || found.st_mode & 0o022 != 0 {
                    return Err(Errno::EPERM);
                }
                slots.fifo = Some(fifo);
                Ok(0)
            }
            GateCall::AwaitFifo => await_fifo(slots),
            GateCall::Report | GateCall::Verify | GateCall::Serve => Ok(0),
        }
    }
}

/// How often, in milliseconds, the child looks whether its FIFO still exists.
const LOOK_INTERVAL: u16 = 1000;

/// Waits for the release by `<fifo>`, and closes it. poll(2) reports data, or that the last writer has closed the FIFO.
///
/// ECANCELED: the FIFO was removed, so the release can never come.
fn await_fifo(slots: &mut Slots) -> Result<i64, Errno> {
    slots.gate.as_ref().ok_or(Errno::EBADF)?.send(&Message::Held, &[])?;
    // From now on, the host does not wait for a message: `<fifo>` is empty.
    let fifo = slots.fifo.take().ok_or(Errno::EBADF)?;
    loop {
        match poll(&mut [PollFd::new(fifo.as_fd(), PollFlags::POLLIN)], LOOK_INTERVAL) {
            Ok(0) if fstat(&fifo).map_err(errno)?.st_nlink == 0 => return Err(Errno::ECANCELED),
            Ok(0) | Err(Errno::EINTR) => {}
            Ok(ready) => return Ok(i64::from(ready)),
            Err(errno) => return Err(errno),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_fifo_to_which_others_may_write_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("fifo");
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let open = |mode| {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            GateCall::OpenFifo { path: path.clone() }.perform(&mut Slots::default())
        };
        assert_eq!(open(0o600), Ok(0));
        assert_eq!((open(0o666), open(0o620)), (Err(Errno::EPERM), Err(Errno::EPERM)));
    }
}
