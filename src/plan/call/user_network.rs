//! The program that connects the container of an ordinary user to other machines: slirp4netns(1) or pasta(1).

use std::fmt;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use crate::error::errno;
use crate::observe::{file, net};
use crate::plan::slots::Slots;
use crate::sys;
use crate::text::printed;

/// The maximum time until the container has a route.
const PATIENCE: Duration = Duration::from_secs(20);

/// How much of the program's messages is kept.
const MAX_MESSAGES: usize = 4096;

/// The calls of this family.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UserNetworkCall {
    /// The program for the network namespace of `<child>`. It is one step, whatever system calls the program makes. The
    /// kernel kills it when this process ends.
    Start {
        /// The program's file.
        #[serde(with = "crate::value::bytes")]
        program: PathBuf,
        /// The words before the PID.
        options: Vec<String>,
        /// The words after it.
        last: Vec<String>,
    },
    /// Repeated read(2), until the program is ready.
    AwaitReady {
        /// Whether the program writes to its standard input then. If not, it makes a default route last.
        says_so: bool,
    },
}

/// The program that runs.
#[derive(Debug)]
pub struct UserNetworkProcess {
    /// Its PID.
    pub pid: Pid,
    /// Its pidfd.
    pub pidfd: OwnedFd,
    /// What it prints, up to [`MAX_MESSAGES`].
    messages: File,
    /// Its standard input, to which it may write.
    input: File,
}

impl fmt::Display for UserNetworkCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            UserNetworkCall::Start { program, options, last } => {
                write!(f, "{}", printed(program))?;
                options.iter().try_for_each(|word| write!(f, " {word}"))?;
                f.write_str(" <child>")?;
                last.iter().try_for_each(|word| write!(f, " {word}"))
            }
            UserNetworkCall::AwaitReady { says_so: true } => {
                f.write_str("pread64(<standard input of the program>)  [until the program has written there]")
            }
            UserNetworkCall::AwaitReady { says_so: false } => {
                f.write_str("read(</proc/<child>/net/route>)  [until it has a default route]")
            }
        }
    }
}

impl UserNetworkCall {
    /// Makes the call.
    pub(super) fn perform(&self, slots: &mut Slots) -> Result<i64, Errno> {
        match self {
            UserNetworkCall::Start { program, options, last } => {
                let child = slots.child.ok_or(Errno::ESRCH)?;
                let (messages, input) = (bounded_file()?, bounded_file()?);
                let mut command = Command::new(program);
                command.args(options).arg(child.to_string()).args(last).env_clear();
                let copy = |file: &File| file.try_clone().map_err(errno);
                command.stdin(copy(&input)?).stdout(Stdio::null()).stderr(copy(&messages)?);
                let started = sys::session::dying_with_caller(&mut command).spawn().map_err(errno)?;
                let pid = started.id().cast_signed();
                // It is not reaped yet, so the PID is still its own.
                let raw = rustix::process::Pid::from_raw(pid).ok_or(Errno::ESRCH)?;
                let pidfd = rustix::process::pidfd_open(raw, rustix::process::PidfdFlags::empty());
                let pidfd = pidfd.map_err(errno)?;
                slots.user_network =
                    Some(UserNetworkProcess { pid: Pid::from_raw(pid), pidfd, messages, input });
                Ok(i64::from(pid))
            }
            UserNetworkCall::AwaitReady { says_so } => {
                let child = slots.child.ok_or(Errno::ESRCH)?;
                let program = slots.user_network.as_mut().ok_or(Errno::ESRCH)?;
                program.await_ready(child, *says_so).inspect_err(|_| program.print_messages()).map(|()| 0)
            }
        }
    }
}

impl UserNetworkProcess {
    fn await_ready(&self, child: Pid, says_so: bool) -> Result<(), Errno> {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            let read = |name: &str| file::read_text(format!("/proc/{child}/net/{name}"));
            // The child has ended. It has sent the reason before.
            let routes = read("route").map_err(|_| Errno::EPIPE)?;
            let is_ready = match says_so {
                true => {
                    let mut mark = [0];
                    rustix::io::pread(&self.input, &mut mark[..], 0).map_err(errno)?;
                    mark != [0]
                }
                false => net::has_default_route(&routes, &read("ipv6_route").unwrap_or_default()),
            };
            // Waits for a millisecond, or until the program has ended.
            let mut end = [PollFd::new(self.pidfd.as_fd(), PollFlags::POLLIN)];
            let wait = if is_ready { PollTimeout::ZERO } else { PollTimeout::from(1u8) };
            match (poll(&mut end, wait), is_ready) {
                (Ok(1), _) => return Err(Errno::ENETDOWN),
                (_, true) => return Ok(()),
                _ => {}
            }
        }
        Err(Errno::ETIMEDOUT)
    }

    /// Prints what the program has printed, above our own message.
    fn print_messages(&mut self) {
        let mut printed_by_it = Vec::new();
        let read = self
            .messages
            .seek(SeekFrom::Start(0))
            .and_then(|_| self.messages.read_to_end(&mut printed_by_it));
        let end = printed_by_it.iter().position(|byte| *byte == 0).unwrap_or(printed_by_it.len());
        if read.is_ok() {
            let _ = io::stderr().write_all(&printed_by_it[..end]);
        }
    }
}

/// A file in memory that cannot grow. The program can write to it for as long as it runs: what has no room fails, where a
/// pipe that nobody reads would stop or kill the program.
fn bounded_file() -> Result<File, Errno> {
    let file = memfd_create(c"messages", MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING)?;
    let file = File::from(file);
    file.set_len(MAX_MESSAGES as u64).map_err(errno)?;
    fcntl(
        &file,
        FcntlArg::F_ADD_SEALS(SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_SEAL),
    )?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_room_is_refused_without_a_signal() {
        let mut file = bounded_file().unwrap();
        assert_eq!(file.write(&[b'x'; MAX_MESSAGES - 1]).unwrap(), MAX_MESSAGES - 1);
        assert!(file.write_all(b"too much").is_err());
    }

    #[test]
    fn the_command_line_is_printed_as_it_is_executed() {
        let start = UserNetworkCall::Start {
            program: "/usr/bin/slirp4netns".into(),
            options: vec!["--configure".into()],
            last: vec!["eth0".into()],
        };
        assert_eq!(start.to_string(), "/usr/bin/slirp4netns --configure <child> eth0");
    }
}
