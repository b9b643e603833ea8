//! A command with a terminal of its own: what the user types goes in, what the command prints comes out, byte for byte.
//!
//! The user's terminal is raw meanwhile (termios(3)): it echoes nothing, edits no lines and makes no signals of keys.
//! The command's own terminal does all that, so Ctrl-C and Ctrl-Z are bytes here, and signals in there.
//!
//! A terminal has no end of file of its own, only a key for it. So where standard input is a file or a pipe, its end is
//! typed (VEOF, usually Ctrl-D), which a program that reads lines understands; whoever reads single keys reads it as one.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::stdio::{stdin, stdout};
use rustix::termios::{OptionalActions, SpecialCodeIndex, Termios};
use rustix::{fs, io, termios};

use super::signals::{Arrived, Signals};
use crate::error::{Error, Result};
use crate::plan::call::terminal::resize;

/// At most so many bytes are on their way in one direction: what isn't taken at one end isn't read at the other, so whoever
/// is too fast waits, as in a pipe.
const AT_ONCE: usize = 4096;

/// How often (in milliseconds) a terminal that nobody has open is asked whether someone has opened it again.
const AGAIN: u8 = 100;

/// The two ends, and what is on its way between them.
pub(super) struct TerminalRelay {
    /// Gone once nobody is left to look at it: the command's session is then told of a hang-up.
    master: Option<OwnedFd>,
    output: OwnedFd,
    raw: Option<Raw>,
    typed: Vec<u8>,
    printed: Vec<u8>,
    /// Whether more may be typed.
    is_open: bool,
    /// Whether what was typed last ended a line.
    at_line_start: bool,
    /// Nobody has the slave open. That isn't for ever: /dev/tty can be opened again.
    is_idle: bool,
    has_ended: bool,
    is_drained: bool,
}

impl TerminalRelay {
    /// From now on the user's terminal is the command's.
    ///
    /// # Errors
    /// When signals can't be watched.
    pub(super) fn start(master: OwnedFd, signals: &Signals) -> Result<TerminalRelay> {
        // SIGWINCH: their window has another size. SIGCONT: we were stopped, and their shell has reset the terminal.
        signals.also(&[Signal::SIGWINCH, Signal::SIGCONT])?;
        // Nobody else has this open file, so its mode is ours to set.
        let _ = io::ioctl_fionbio(&master, true);
        // Between the plan's look at it and this one the window may have changed, and the signal wasn't watched yet.
        let _ = resize(&master);
        Ok(TerminalRelay {
            master: Some(master),
            output: output()?,
            raw: Raw::begin(),
            typed: Vec::new(),
            printed: Vec::new(),
            is_open: true,
            at_line_start: true,
            is_idle: false,
            has_ended: false,
            is_drained: false,
        })
    }

    /// Whether a signal was meant for the terminal's sake, and is dealt with.
    pub(super) fn heard(&self, arrived: Arrived) -> bool {
        if ![libc::SIGWINCH, libc::SIGCONT].contains(&arrived.number) {
            return false;
        }
        self.raw.iter().for_each(Raw::again);
        let _ = self.master.as_ref().map(resize);
        true
    }

    /// Has the user's terminal as it was while something is said to them.
    pub(super) fn aside(&self, say: impl FnOnce()) {
        self.raw.iter().for_each(Raw::reset);
        say();
        self.raw.iter().for_each(Raw::again);
    }

    /// What to wait for.
    pub(super) fn awaited(&self) -> Vec<PollFd<'_>> {
        let (mut awaited, mut of_master) = (Vec::new(), PollFlags::empty());
        of_master.set(PollFlags::POLLIN, self.printed.is_empty());
        of_master.set(PollFlags::POLLOUT, !self.typed.is_empty());
        // Who is asked for nothing is left out: poll(2) would tell of a hang-up again and again.
        if let Some(master) = self.master.as_ref().filter(|_| !self.is_idle && !of_master.is_empty()) {
            awaited.push(PollFd::new(master.as_fd(), of_master));
        }
        if self.is_open && self.typed.is_empty() {
            awaited.push(PollFd::new(stdin(), PollFlags::POLLIN));
        }
        if !self.printed.is_empty() {
            awaited.push(PollFd::new(self.output.as_fd(), PollFlags::POLLOUT));
        }
        awaited
    }

    /// How long to wait at most.
    pub(super) fn patience(&self) -> PollTimeout {
        match () {
            () if self.has_ended && self.printed.is_empty() => PollTimeout::ZERO,
            () if self.is_idle => PollTimeout::from(AGAIN),
            () => PollTimeout::NONE,
        }
    }

    /// Moves whatever can be moved now, without waiting.
    pub(super) fn turn(&mut self) {
        self.take_printed();
        self.give_printed();
        self.take_typed();
        self.give_typed();
    }

    /// The command has ended: what it printed is still in the terminal, what is typed from now on isn't for it.
    pub(super) fn finish(&mut self) {
        self.has_ended = true;
        self.is_open = false;
        self.typed.clear();
    }

    /// Whether all that the command printed has reached the user.
    pub(super) fn is_done(&self) -> bool {
        self.master.is_none() || self.is_drained && self.printed.is_empty()
    }

    /// Nobody looks any more: as when the window of a terminal is closed.
    pub(super) fn hang_up(&mut self) {
        self.master = None;
        self.is_open = false;
        self.is_idle = false;
        self.typed.clear();
        self.printed.clear();
    }

    fn take_printed(&mut self) {
        let Some(master) = self.master.as_ref().filter(|_| self.printed.is_empty()) else { return };
        let read = read(master.as_fd(), &mut self.printed);
        // EIO: no process has the slave open any more, and nothing is left to read.
        self.is_idle = matches!(read, Ok(0)) || read.is_err_and(|errno| !is_later(errno));
        self.is_drained = self.has_ended && self.printed.is_empty();
    }

    fn give_printed(&mut self) {
        // The output may be one that can't be had without waiting: then it is asked first.
        if self.printed.is_empty() || !is_ready(self.output.as_fd(), PollFlags::POLLOUT) {
            return;
        }
        if write(self.output.as_fd(), &mut self.printed).is_err_and(|errno| !is_later(errno)) {
            self.hang_up();
        }
    }

    fn take_typed(&mut self) {
        if !self.is_open || !self.typed.is_empty() || !is_ready(stdin(), PollFlags::POLLIN) {
            return;
        }
        match read(stdin(), &mut self.typed) {
            Ok(1..) => self.at_line_start = self.typed.ends_with(b"\n"),
            Err(errno) if is_later(errno) => {}
            // A terminal whose end is read has been hung up: there is nobody who types, not even an end.
            Ok(0) if self.raw.is_none() => {
                self.is_open = false;
                self.type_end();
            }
            _ => self.is_open = false,
        }
    }

    /// In the middle of a line the key only passes on what there is of it; the second one, with nothing before it, is the
    /// end (termios(3), VEOF).
    fn type_end(&mut self) {
        let Some(Ok(modes)) = self.master.as_ref().map(termios::tcgetattr) else { return };
        let key = modes.special_codes[SpecialCodeIndex::VEOF];
        self.typed = vec![key; if self.at_line_start { 1 } else { 2 }];
    }

    fn give_typed(&mut self) {
        let Some(master) = self.master.as_ref().filter(|_| !self.typed.is_empty()) else { return };
        if write(master.as_fd(), &mut self.typed).is_err_and(|errno| !is_later(errno)) {
            self.typed.clear();
        }
    }
}

/// The user's terminal in raw mode. Dropped, it is as it was.
struct Raw {
    before: Termios,
}

impl Raw {
    /// None where standard input is no terminal. In the background this stops us by SIGTTOU, as it should: whoever has the
    /// terminal doesn't want it changed.
    fn begin() -> Option<Raw> {
        let raw = Raw { before: termios::tcgetattr(stdin()).ok()? };
        raw.set();
        Some(raw)
    }

    /// Once more, but not from the background: stopped there, we could pass on no signal, not even the one to end.
    fn again(&self) {
        let is_others = termios::tcgetpgrp(stdin()).is_ok_and(|group| group != rustix::process::getpgrp());
        if !is_others {
            self.set();
        }
    }

    fn set(&self) {
        let mut modes = self.before.clone();
        modes.make_raw();
        // Now, not once all is printed: a terminal that is held up by Ctrl-S would hold us up too.
        let _ = termios::tcsetattr(stdin(), OptionalActions::Now, &modes);
    }

    fn reset(&self) {
        in_the_background(|| termios::tcsetattr(stdin(), OptionalActions::Now, &self.before));
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        self.reset();
    }
}

/// Does to the user's terminal what a process in the background may not: it would be stopped by SIGTTOU; blocked, it isn't.
pub(super) fn in_the_background<T>(act: impl FnOnce() -> T) {
    let mut set = SigSet::empty();
    set.add(Signal::SIGTTOU);
    let _ = set.thread_block();
    let _ = act();
    let _ = set.thread_unblock();
}

/// Standard output, so that a write doesn't wait for whoever reads it. O_NONBLOCK belongs to the open file (open(2)), which
/// the user's shell has too, so a terminal or a pipe is opened once more. A file never waits, and would begin anew; what
/// can't be opened (a socket, another user's terminal) is used as it is.
fn output() -> Result<OwnedFd> {
    let is_pipe = |stat: fs::Stat| FileType::from_raw_mode(stat.st_mode) == FileType::Fifo;
    if termios::isatty(stdout()) || fs::fstat(stdout()).is_ok_and(is_pipe) {
        let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        if let Ok(again) = fs::open("/proc/self/fd/1", flags, Mode::empty()) {
            return Ok(again);
        }
    }
    io::fcntl_dupfd_cloexec(stdout(), 3).map_err(|errno| {
        Error::failed("cannot write to standard output").call("fcntl(1, F_DUPFD_CLOEXEC, 3)", errno)
    })
}

fn is_ready(descriptor: BorrowedFd<'_>, what: PollFlags) -> bool {
    poll(&mut [PollFd::new(descriptor, what)], PollTimeout::ZERO).is_ok_and(|count| count > 0)
}

/// Neither an end nor a failure: it will go on.
fn is_later(errno: Errno) -> bool {
    matches!(errno, Errno::AGAIN | Errno::INTR)
}

/// Reads what there is, at most `AT_ONCE`.
fn read(from: BorrowedFd<'_>, into: &mut Vec<u8>) -> std::result::Result<usize, Errno> {
    into.resize(AT_ONCE, 0);
    let read = io::read(from, into.as_mut_slice());
    into.truncate(*read.as_ref().unwrap_or(&0));
    read
}

/// Writes what is taken, and keeps the rest.
fn write(to: BorrowedFd<'_>, bytes: &mut Vec<u8>) -> std::result::Result<(), Errno> {
    let written = io::write(to, bytes)?;
    bytes.drain(..written);
    Ok(())
}
