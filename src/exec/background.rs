//! A run in the background: `sandbox` returns at once, and a copy of it stays until the command ends.
//!
//! The copy is the parent of the command, so it reaps the command, and ends with it what belongs to it. It has a session of
//! its own: when the user's terminal is closed, no signal comes.

use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{pipe2, setsid};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};

use crate::error::{Error, Result};
use crate::sys;
use crate::sys::clone::{Cloned, fork};
use crate::text::text;

/// One of the two processes.
#[derive(Debug)]
pub enum Background {
    /// The process that was called. The copy has reported that the command runs, or has ended before with this status.
    Caller(u8),
    /// The copy.
    Copy(Copy),
}

/// The copy of `sandbox` that stays.
#[derive(Debug)]
pub struct Copy {
    started: OwnedFd,
}

/// Continues in the background too. In the caller, it returns when the copy calls [`Copy::started`] or has ended.
///
/// # Errors
/// Those of pipe(2) and clone(2).
pub fn continue_in_background() -> Result<Background> {
    let cannot = |call: &str, errno| Error::failed(text("exec.with.background")).call(call, errno);
    let (reading, writing) = pipe2(OFlag::O_CLOEXEC).map_err(|errno| cannot("pipe2", errno))?;
    match fork().map_err(|errno| cannot("clone", errno))? {
        Cloned::Child => {
            setsid().map_err(|errno| cannot("setsid", errno))?;
            close_inherited();
            // Otherwise a mount of the caller could not be unmounted.
            let _ = nix::unistd::chdir("/");
            Ok(Background::Copy(Copy { started: writing }))
        }
        Cloned::Parent(copy, _) => {
            drop(writing);
            let has_started = std::fs::File::from(reading).read(&mut [0]).is_ok_and(|length| length > 0);
            if has_started {
                return Ok(Background::Caller(0));
            }
            // The copy has printed its error.
            let status = loop {
                match waitpid(copy, None) {
                    Err(Errno::EINTR) => {}
                    status => break status,
                }
            };
            let status = match status {
                Ok(WaitStatus::Exited(_, status)) => u8::try_from(status).unwrap_or(u8::MAX),
                _ => 125,
            };
            Ok(Background::Caller(status))
        }
    }
}

/// Closes the descriptors that the caller had open: a pipe among them would have no end. Those of this program are
/// close-on-exec.
pub fn close_inherited() {
    let descriptors = std::fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
    let numbers = descriptors.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    for number in numbers.filter(|number| *number > 2).collect::<Vec<_>>() {
        if sys::is_kept_by_exec(number) {
            let _ = nix::unistd::close(number);
        }
    }
}

impl Copy {
    /// The command runs: lets the caller return, and gives up its standard streams. From now on nothing is printed.
    pub fn started(self) {
        // Without it, the command runs all the same, and the caller's streams stay open until its end.
        let _ = close_streams();
        let _ = std::fs::File::from(self.started).write_all(b".");
    }
}

/// Replaces the standard streams of this process by /dev/null.
///
/// # Errors
/// /dev/null cannot be opened, or no descriptor can be replaced. The streams may be those of the caller still.
pub fn close_streams() -> Result<()> {
    let cannot = |call: &str, error: io::Error| Error::failed(text("exec.streams.cannot")).call(call, error);
    let null = openat(CWD, "/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
        .map_err(|errno| cannot("openat(AT_FDCWD, \"/dev/null\", O_RDWR)", errno.into()))?;
    dup2_stdin(&null)
        .and_then(|()| dup2_stdout(&null))
        .and_then(|()| dup2_stderr(&null))
        .map_err(|errno| cannot("dup2(<null>, <stream>)", errno.into()))
}
