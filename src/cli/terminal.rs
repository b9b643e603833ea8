//! Reads one key from the terminal, for `--step` and for cards. It reads /dev/tty, because standard input may belong to the command.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};

use crate::error::{Error, ExitKind, Result};
use crate::exec::signals::Signals;
use crate::text::text;

/// Ctrl-D.
pub(super) const END: u8 = 0x04;

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
    /// Waits for a key that has a meaning. The end of the input is read as Ctrl-D (0x04), which must have one.
    pub(super) fn ask<K>(&self, signals: &Signals, meaning: impl Fn(u8) -> Option<K>) -> Result<K> {
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
            let mut key = [END];
            let has_ended = !matches!((&self.file).read(&mut key), Ok(1));
            match meaning(if has_ended { END } else { key[0] }) {
                Some(meaning) => return Ok(meaning),
                None if has_ended => return Err(Error::failed(text("common.step.stopped"))),
                None => {}
            }
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = tcsetattr(&self.file, SetArg::TCSADRAIN, &self.before);
    }
}
