//! The command's own terminal: a pseudoterminal, pty(7). It has two ends. The master plays the part of screen and
//! keyboard, and stays with the host. The slave is the terminal of the command.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use rustix::fs::{Mode, OFlags, ResolveFlags, Uid};
use rustix::pty::OpenptFlags;
use rustix::termios::Winsize;
use rustix::{fs, process, pty, stdio, termios};
use serde::{Deserialize, Serialize};

use super::stream::{dup2, replace};
use crate::error::errno;
use crate::plan::gate::Message;
use crate::plan::slots::Slots;

/// The calls of this family.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TerminalCall {
    /// open(2) of /dev/ptmx: a new pair, in the devpts that is mounted beside this file. The result is `<terminal>`,
    /// the master.
    Open,
    /// openat2(2) of /dev/pts/ptmx of a container that is joined: `<terminal>`. ENODEV: a file of another filesystem is
    /// there, which the container has put there.
    OpenJoined,
    /// TIOCSPTLCK: unlocks the slave. A new slave is locked, because once a program had to set its owner first.
    Unlock,
    /// TIOCGPTPEER: opens `<pts>`, the slave, by the descriptor of the master. No path is followed, which could lead to
    /// another file.
    Peer,
    /// fchown(2) of the slave, by its descriptor. Otherwise a command that is not root could not open its own
    /// /dev/pts/0.
    Own(u32),
    /// TIOCSWINSZ: the size of the user's own terminal, or this one.
    Resize(Option<TerminalSize>),
    /// sendmsg(2): sends the master to the host, if the child made the terminal.
    Send,
    /// setsid(2): a new session. A session has at most one controlling terminal, and the old session has the user's.
    NewSession,
    /// TIOCSCTTY: the slave becomes the controlling terminal of the session, so Ctrl-C, Ctrl-Z and a hang-up send their
    /// signals to it.
    Control,
    /// dup2(2) of the slave to these descriptors. Files and pipes can stay.
    Stdio {
        /// Of 0, 1 and 2.
        descriptors: Vec<i32>,
    },
}

/// The size of a terminal, in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct TerminalSize {
    /// The number of lines.
    pub height: u16,
    /// The number of columns.
    pub width: u16,
}

impl TerminalSize {
    fn for_kernel(self) -> Winsize {
        Winsize { ws_row: self.height, ws_col: self.width, ws_xpixel: 0, ws_ypixel: 0 }
    }
}

impl fmt::Display for TerminalCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TerminalCall::Own(user) => return write!(f, "fchown(<pts>, {user}, -1)"),
            TerminalCall::Stdio { descriptors } => return f.write_str(&dup2("<pts>", descriptors)),
            TerminalCall::Open => "openat(AT_FDCWD, \"/dev/ptmx\", O_RDWR|O_NOCTTY|O_CLOEXEC)",
            TerminalCall::OpenJoined => {
                "openat2(AT_FDCWD, \"/dev/pts/ptmx\", {flags=O_RDWR|O_NOCTTY|O_NONBLOCK|O_CLOEXEC, resolve=RESOLVE_NO_SYMLINKS}, 24)"
            }
            TerminalCall::Unlock => "ioctl(<terminal>, TIOCSPTLCK, [0])",
            TerminalCall::Peer => "ioctl(<terminal>, TIOCGPTPEER, O_RDWR|O_NOCTTY|O_CLOEXEC)",
            TerminalCall::Resize(None) => "ioctl(<terminal>, TIOCSWINSZ, <the size of the user's terminal>)",
            TerminalCall::Resize(Some(TerminalSize { height, width })) => {
                return write!(f, "ioctl(<terminal>, TIOCSWINSZ, {{ws_row={height}, ws_col={width}, ws_xpixel=0, ws_ypixel=0}})");
            }
            TerminalCall::Send => "sendmsg(<gate>, <terminal>)",
            TerminalCall::NewSession => "setsid()",
            TerminalCall::Control => "ioctl(<pts>, TIOCSCTTY, 0)",
        })
    }
}

impl TerminalCall {
    /// Makes the call.
    pub(super) fn perform(&self, slots: &mut Slots) -> Result<i64, Errno> {
        self.result(slots).map_err(errno)
    }

    fn result(&self, slots: &mut Slots) -> io::Result<i64> {
        match self {
            TerminalCall::Open => {
                let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
                slots.terminal = Some(fs::openat(fs::CWD, "/dev/ptmx", flags, Mode::empty())?);
            }
            TerminalCall::OpenJoined => {
                let open = |flags| {
                    fs::openat2(fs::CWD, "/dev/pts/ptmx", flags, Mode::empty(), ResolveFlags::NO_SYMLINKS)
                };
                // Looked at first: to open another file could wait, or have an effect.
                is_of_devpts(&open(OFlags::PATH | OFlags::CLOEXEC)?)?;
                let terminal = open(OFlags::RDWR | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC)?;
                is_of_devpts(&terminal)?;
                slots.terminal = Some(terminal);
            }
            TerminalCall::Unlock => pty::unlockpt(filled(&slots.terminal)?)?,
            TerminalCall::Peer => {
                let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
                slots.pts = Some(pty::ioctl_tiocgptpeer(filled(&slots.terminal)?, flags)?);
            }
            TerminalCall::Own(user) => fs::fchown(filled(&slots.pts)?, Some(Uid::from_raw(*user)), None)?,
            TerminalCall::Resize(None) => resize(filled(&slots.terminal)?)?,
            TerminalCall::Resize(Some(size)) => {
                termios::tcsetwinsize(filled(&slots.terminal)?, size.for_kernel())?;
            }
            // The child keeps no copy: with a master inside, the terminal would outlive the host.
            TerminalCall::Send => {
                let master = slots.terminal.take().ok_or(BADF)?;
                slots.gate.as_ref().ok_or(BADF)?.send(&Message::Terminal, &[master.as_fd()])?;
            }
            TerminalCall::NewSession => return Ok(i64::from(process::setsid()?.as_raw_pid())),
            TerminalCall::Control => process::ioctl_tiocsctty(filled(&slots.pts)?)?,
            TerminalCall::Stdio { descriptors } => {
                replace(&slots.pts.take().ok_or(BADF)?, descriptors)?;
            }
        }
        Ok(0)
    }
}

/// The type of the filesystem of pseudoterminals: `DEVPTS_SUPER_MAGIC` of statfs(2).
const DEVPTS: u64 = 0x1cd1;

/// ENODEV: the file belongs to another filesystem.
fn is_of_devpts(file: &OwnedFd) -> rustix::io::Result<()> {
    match fs::fstatfs(file)?.f_type as u64 {
        DEVPTS => Ok(()),
        _ => Err(rustix::io::Errno::NODEV),
    }
}

/// The error for a slot that no step has filled.
const BADF: rustix::io::Errno = rustix::io::Errno::BADF;

fn filled(slot: &Option<OwnedFd>) -> rustix::io::Result<&OwnedFd> {
    slot.as_ref().ok_or(BADF)
}

/// Gives a terminal the size of the user's own: the first of descriptors 0 to 2 that is a terminal. Without one, 80
/// columns and 24 lines, the usual size.
pub(crate) fn resize(terminal: impl AsFd) -> rustix::io::Result<()> {
    let ours = [stdio::stdin(), stdio::stdout(), stdio::stderr()];
    let size = ours.into_iter().find_map(|descriptor| termios::tcgetwinsize(descriptor).ok());
    let usual = TerminalSize { height: 24, width: 80 };
    termios::tcsetwinsize(terminal, size.unwrap_or(usual.for_kernel()))
}
