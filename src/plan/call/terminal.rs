//! A terminal of the command's own: pty(7). Its master is what a terminal's screen and keyboard are, and stays with the
//! host; its other end, the slave, is what the command has for its terminal.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use rustix::fs::{Mode, OFlags, Uid};
use rustix::pty::OpenptFlags;
use rustix::termios::Winsize;
use rustix::{fs, process, pty, stdio, termios};
use serde::{Deserialize, Serialize};

use crate::error::errno;
use crate::plan::gate::Message;
use crate::plan::slots::Slots;

/// The calls of this family.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TerminalCall {
    /// open(2) of /dev/ptmx: a new pair, made in the devpts that stands beside that file. Gives `<terminal>`, the master.
    Open,
    /// TIOCSPTLCK: a new slave is locked, from a time when its owner had to be set by a program first.
    Unlock,
    /// TIOCGPTPEER: opens the slave, `<pts>`, by its master: no path is followed, which might lead anywhere.
    Peer,
    /// fchown(2) of the slave, by its descriptor: else who isn't root couldn't open their own /dev/pts/0.
    Own(u32),
    /// TIOCSWINSZ: as large as the terminal of whoever started `sandbox`.
    Resize,
    /// sendmsg(2): gives the master to the host, where it was made inside.
    Send,
    /// setsid(2): a new session, since a session has one controlling terminal and the old one has the user's.
    NewSession,
    /// TIOCSCTTY: the slave becomes the session's controlling terminal: Ctrl-C, Ctrl-Z and a hang-up reach it.
    Control,
    /// dup2(2) of the slave to descriptors 0, 1 and 2.
    Stdio,
}

impl fmt::Display for TerminalCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TerminalCall::Own(user) => return write!(f, "fchown(<pts>, {user}, -1)"),
            TerminalCall::Open => "openat(AT_FDCWD, \"/dev/ptmx\", O_RDWR|O_NOCTTY|O_CLOEXEC)",
            TerminalCall::Unlock => "ioctl(<terminal>, TIOCSPTLCK, [0])",
            TerminalCall::Peer => "ioctl(<terminal>, TIOCGPTPEER, O_RDWR|O_NOCTTY|O_CLOEXEC)",
            TerminalCall::Resize => "ioctl(<terminal>, TIOCSWINSZ, <the size of the user's terminal>)",
            TerminalCall::Send => "sendmsg(<gate>, <terminal>)",
            TerminalCall::NewSession => "setsid()",
            TerminalCall::Control => "ioctl(<pts>, TIOCSCTTY, 0)",
            TerminalCall::Stdio => "dup2(<pts>, 0); dup2(<pts>, 1); dup2(<pts>, 2)",
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
            TerminalCall::Unlock => pty::unlockpt(filled(&slots.terminal)?)?,
            TerminalCall::Peer => {
                let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
                slots.pts = Some(pty::ioctl_tiocgptpeer(filled(&slots.terminal)?, flags)?);
            }
            TerminalCall::Own(user) => fs::fchown(filled(&slots.pts)?, Some(Uid::from_raw(*user)), None)?,
            TerminalCall::Resize => resize(filled(&slots.terminal)?)?,
            // Given away: a master that stayed inside would keep the terminal alive after the host's death.
            TerminalCall::Send => {
                let master = slots.terminal.take().ok_or(BADF)?;
                slots.gate.as_ref().ok_or(BADF)?.send(&Message::Terminal, &[master.as_fd()])?;
            }
            TerminalCall::NewSession => return Ok(i64::from(process::setsid()?.as_raw_pid())),
            TerminalCall::Control => process::ioctl_tiocsctty(filled(&slots.pts)?)?,
            TerminalCall::Stdio => {
                let slave = slots.pts.take().ok_or(BADF)?;
                stdio::dup2_stdin(&slave)?;
                stdio::dup2_stdout(&slave)?;
                stdio::dup2_stderr(&slave)?;
            }
        }
        Ok(0)
    }
}

/// A slot that no step has filled.
const BADF: rustix::io::Errno = rustix::io::Errno::BADF;

fn filled(slot: &Option<OwnedFd>) -> rustix::io::Result<&OwnedFd> {
    slot.as_ref().ok_or(BADF)
}

/// Makes a terminal as large as the user's: the first of descriptors 0 to 2 that is one. Without any, as large as a
/// terminal is where nobody knows: 80 by 24.
pub(crate) fn resize(terminal: impl AsFd) -> rustix::io::Result<()> {
    let ours = [stdio::stdin(), stdio::stdout(), stdio::stderr()];
    let size = ours.into_iter().find_map(|descriptor| termios::tcgetwinsize(descriptor).ok());
    let usual = Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
    termios::tcsetwinsize(terminal, size.unwrap_or(usual))
}
