//! Reads one key from the terminal, for `--step`. It reads /dev/tty, because standard input may belong to the command.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};

use crate::error::{Error, ExitKind, Result};
use crate::exec::signals::Signals;
use crate::text::text;

/// The meaning of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    /// Perform this step.
    Next,
    /// Perform all steps that are left.
    Continue,
    /// Undo everything and stop.
    Quit,
}

/// The terminal in a mode that returns single keys. When this is dropped, the terminal gets its original mode.
pub(super) struct Terminal {
    file: File,
    before: Termios,
}

/// Opens /dev/tty, and sets it to a mode that returns single keys.
pub(super) fn open() -> Result<Terminal> {
    let refused = |error: io::Error| {
        Error::usage(text("common.step.noterminal")).call("openat(AT_FDCWD, \"/dev/tty\")", error)
    };
    let file = File::options().read(true).write(true).open("/dev/tty");
    let file = file.map_err(refused)?;
    let before = tcgetattr(&file).map_err(|errno| refused(errno.into()))?;
    let mut keys = before.clone();
    // Ctrl-C still sends a signal, which ends the run.
    keys.local_flags.remove(LocalFlags::ICANON | LocalFlags::ECHO);
    tcsetattr(&file, SetArg::TCSADRAIN, &keys).map_err(|errno| refused(errno.into()))?;
    Ok(Terminal { file, before })
}

impl Terminal {
    /// Waits for a key that has a meaning.
    pub(super) fn ask(&self, signals: &Signals) -> Result<Key> {
        loop {
            let mut ready = [
                PollFd::new(self.file.as_fd(), PollFlags::POLLIN),
                PollFd::new(signals.as_fd(), PollFlags::POLLIN),
            ];
            match poll(&mut ready, PollTimeout::NONE) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(errno) => return Err(Error::failed(text("common.step.noterminal")).call("poll", errno)),
            }
            if let Some(signal) = signals.next_end() {
                return Err(Error::new(ExitKind::Interrupted(signal.number), signal.name()));
            }
            if !ready[0].any().unwrap_or(false) {
                continue;
            }
            let mut key = [0];
            match (&self.file).read(&mut key) {
                Ok(0) | Err(_) => return Ok(Key::Quit),
                Ok(_) => {}
            }
            match key[0] {
                b'n' | b' ' | b'\n' | b'\r' => return Ok(Key::Next),
                b'c' => return Ok(Key::Continue),
                b'q' | 0x04 => return Ok(Key::Quit),
                _ => {}
            }
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = tcsetattr(&self.file, SetArg::TCSADRAIN, &self.before);
    }
}
