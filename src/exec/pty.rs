//! A command with a new terminal (a pseudoterminal, pty(7)): copies input to it, and its output to standard output.
//!
//! Meanwhile the user's terminal is in raw mode (termios(3)): it does not echo, edit lines, or turn keys into
//! signals. The command's terminal does all of this. So Ctrl-C is a byte for `sandbox`, and a signal for the command.
//!
//! A terminal has no end of file, only a key for it: VEOF, usually Ctrl-D. So if standard input is a file or a pipe,
//! that key is written at its end. A program that reads lines takes it as the end of its input.

use std::cell::Cell;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::Pid;
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::stdio::{stderr, stdin, stdout};
use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios};
use rustix::{fs, io, termios};

use super::detach::DetachableCopy;
use super::signals::{Arrived, Signals};
use crate::error::{Error, Result};
use crate::plan::call::terminal::resize;
use crate::sys::signal::{self, SignalSet};
use crate::value::detach_keys::KeyFinder;

/// The maximum number of bytes that are buffered in one direction. While a buffer is not empty, nothing more is read,
/// so a fast writer waits, as with a pipe.
const BUFFER_SIZE: usize = 4096;

/// The interval in milliseconds at which a terminal that no process has open is read again: a process may have opened
/// it.
const POLL_INTERVAL: u8 = 100;

/// The master of the command's terminal, the user's terminal, and the bytes between them.
pub(super) struct TerminalRelay {
    /// None after a hang-up: when the last master is closed, the command's session gets SIGHUP.
    master: Option<OwnedFd>,
    /// Where the output is copied to.
    stdout: OwnedFd,
    raw: Option<RawMode>,
    /// Input that is not written to the master yet.
    input: Vec<u8>,
    /// Output that is not written to standard output yet.
    output: Vec<u8>,
    /// Whether there can be more input.
    is_open: bool,
    /// Whether the last input ended a line.
    at_line_start: bool,
    /// Whether no process has the slave open. A process can open it again, by /dev/tty.
    is_idle: bool,
    has_ended: bool,
    is_drained: bool,
    /// The keys that detach the user, and whether they were typed.
    finder: KeyFinder,
    is_detached: bool,
}

impl TerminalRelay {
    /// Sets the user's terminal to raw mode, and begins to copy. With `only_terminals`, the command has those of
    /// descriptors 0 to 2 itself that are files or pipes. Then only what is a terminal is read and written. Without
    /// `has_input`, nothing is read. `keys` detach the user: see [`TerminalRelay::is_detached`].
    ///
    /// # Errors
    /// Those of signalfd(2) and fcntl(2).
    pub(super) fn start(
        master: OwnedFd,
        signals: &Signals,
        only_terminals: bool,
        has_input: bool,
        keys: Vec<u8>,
    ) -> Result<TerminalRelay> {
        let output = match only_terminals {
            true if !termios::isatty(stdout()) && termios::isatty(stderr()) => stderr(),
            true if !termios::isatty(stdout()) => stdin(),
            _ => stdout(),
        };
        // SIGWINCH: the size of the user's window has changed. In the background, the kernel stops `sandbox` by SIGTTIN
        // and SIGTTOU when it uses the user's terminal.
        signals.change(&[libc::SIGWINCH], &[libc::SIGTTIN, libc::SIGTTOU])?;
        // No other process has this open file, so O_NONBLOCK can be set on it.
        let _ = io::ioctl_fionbio(&master, true);
        // The window may have changed since the terminal was made, and no SIGWINCH was read yet.
        let _ = resize(&master);
        Ok(TerminalRelay {
            master: Some(master),
            stdout: nonblocking(output)?,
            raw: if has_input { RawMode::enter() } else { None },
            input: Vec::new(),
            output: Vec::new(),
            is_open: has_input && (!only_terminals || termios::isatty(stdin())),
            at_line_start: true,
            is_idle: false,
            has_ended: false,
            is_drained: false,
            finder: KeyFinder::new(keys),
            is_detached: false,
        })
    }

    /// Whether the user has typed the keys that detach.
    pub(super) fn is_detached(&self) -> bool {
        self.is_detached
    }

    /// Lets go of the user's terminal. From now on there is no input, and output is read and dropped.
    pub(super) fn detach(&mut self, copy: DetachableCopy) {
        self.write_output();
        self.raw = None;
        self.is_open = false;
        copy.leave();
        // Standard output is the null device now.
        if let Ok(null) = io::fcntl_dupfd_cloexec(stdout(), 3) {
            self.stdout = null;
        }
    }

    /// Handles a signal that concerns the terminal. Returns whether it is one.
    ///
    /// SIGCONT: `sandbox` was stopped, and the shell has changed the mode of the terminal.
    pub(super) fn handle(&self, arrived: Arrived) -> bool {
        if ![libc::SIGWINCH, libc::SIGCONT].contains(&arrived.number) {
            return false;
        }
        self.raw.iter().for_each(RawMode::set_again);
        let _ = self.master.as_ref().map(resize);
        true
    }

    /// Stops `sandbox` by `stop`. Meanwhile the user's terminal has its original mode.
    pub(super) fn stop(&self, stop: impl FnOnce()) {
        self.with_terminal_restored(stop);
        let _ = self.master.as_ref().map(resize);
    }

    /// Calls `print` while the user's terminal has its original mode.
    pub(super) fn with_terminal_restored(&self, print: impl FnOnce()) {
        self.raw.iter().for_each(RawMode::restore);
        print();
        self.raw.iter().for_each(RawMode::set_again);
    }

    /// The descriptors to wait for, with their events.
    pub(super) fn poll_set(&self) -> Vec<PollFd<'_>> {
        let (mut awaited, mut of_master) = (Vec::new(), PollFlags::empty());
        of_master.set(PollFlags::POLLIN, self.output.is_empty());
        of_master.set(PollFlags::POLLOUT, !self.input.is_empty());
        // A descriptor without events is left out: poll(2) would still return for a hang-up, each time at once.
        if let Some(master) = self.master.as_ref().filter(|_| !self.is_idle && !of_master.is_empty()) {
            awaited.push(PollFd::new(master.as_fd(), of_master));
        }
        if self.is_open && self.input.is_empty() {
            awaited.push(PollFd::new(stdin(), PollFlags::POLLIN));
        }
        if !self.output.is_empty() {
            awaited.push(PollFd::new(self.stdout.as_fd(), PollFlags::POLLOUT));
        }
        awaited
    }

    /// The maximum time to wait.
    pub(super) fn timeout(&self) -> PollTimeout {
        match () {
            () if self.has_ended && self.output.is_empty() => PollTimeout::ZERO,
            () if self.is_idle => PollTimeout::from(POLL_INTERVAL),
            () => PollTimeout::NONE,
        }
    }

    /// Copies the command's output, without waiting.
    pub(super) fn transfer_output(&mut self) {
        self.read_output();
        self.write_output();
    }

    /// The foreground process group of the command's terminal.
    pub(super) fn foreground_group(&self) -> Option<Pid> {
        let group = termios::tcgetpgrp(self.master.as_ref()?).ok()?;
        Some(Pid::from_raw(group.as_raw_nonzero().get()))
    }

    /// The command has ended. Its output may still be in the terminal. Further input is not for it.
    pub(super) fn command_ended(&mut self) {
        self.has_ended = true;
        self.is_open = false;
        self.input.clear();
    }

    /// Whether all output of the command is written.
    pub(super) fn is_done(&self) -> bool {
        self.master.is_none() || self.is_drained && self.output.is_empty()
    }

    /// Closes the master, as a terminal emulator does when its window is closed.
    pub(super) fn hang_up(&mut self) {
        self.master = None;
        self.is_open = false;
        self.is_idle = false;
        self.input.clear();
        self.output.clear();
    }

    fn read_output(&mut self) {
        let Some(master) = self.master.as_ref().filter(|_| self.output.is_empty()) else { return };
        let read = read(master.as_fd(), &mut self.output);
        // EIO: no process has the slave open, and nothing is left to read.
        self.is_idle = matches!(read, Ok(0)) || read.is_err_and(|errno| !would_block(errno));
        self.is_drained = self.has_ended && self.output.is_empty();
    }

    fn write_output(&mut self) {
        // Standard output may be a blocking descriptor, so it is polled first.
        if self.output.is_empty() || !is_ready(self.stdout.as_fd(), PollFlags::POLLOUT) {
            return;
        }
        if write(self.stdout.as_fd(), &mut self.output).is_err_and(|errno| !would_block(errno)) {
            self.hang_up();
        }
    }

    /// Reads input, without waiting. Returns the signals that the command's terminal will make of it: SIGINT for
    /// Ctrl-C, SIGQUIT for Ctrl-\.
    pub(super) fn read_input(&mut self) -> Vec<i32> {
        if !self.is_open || !self.input.is_empty() || !is_ready(stdin(), PollFlags::POLLIN) {
            return Vec::new();
        }
        match read(stdin(), &mut self.input) {
            Ok(1..) => {
                (self.input, self.is_detached) = self.finder.take(&self.input);
                if !self.input.is_empty() {
                    self.at_line_start = self.input.ends_with(b"\n");
                }
                return self.signals_in_input();
            }
            Err(errno) if would_block(errno) => {}
            // The end of file of a terminal is a hang-up. Then no VEOF is written.
            Ok(0) if self.raw.is_none() => {
                self.is_open = false;
                self.send_end_of_file();
            }
            _ => self.is_open = false,
        }
        Vec::new()
    }

    fn signals_in_input(&self) -> Vec<i32> {
        self.master.as_ref().map(|master| typed_signals(master, &self.input)).unwrap_or_default()
    }

    /// Writes VEOF. In the middle of a line, the first VEOF only completes the read of that line; a second one, with
    /// no input before it, is the end of file. termios(3)
    fn send_end_of_file(&mut self) {
        let Some(Ok(modes)) = self.master.as_ref().map(termios::tcgetattr) else { return };
        let key = modes.special_codes[SpecialCodeIndex::VEOF];
        self.input = vec![key; if self.at_line_start { 1 } else { 2 }];
    }

    /// Writes the input to the command's terminal, without waiting.
    pub(super) fn write_input(&mut self) {
        let Some(master) = self.master.as_ref().filter(|_| !self.input.is_empty()) else { return };
        if write(master.as_fd(), &mut self.input).is_err_and(|errno| !would_block(errno)) {
            self.input.clear();
        }
    }
}

/// The signals that a terminal makes of what is typed. `master` is its master.
pub fn typed_signals(master: impl AsFd, typed: &[u8]) -> Vec<i32> {
    let Ok(modes) = termios::tcgetattr(master) else { return Vec::new() };
    if !modes.local_modes.contains(LocalModes::ISIG) {
        return Vec::new();
    }
    let key = |index| modes.special_codes[index];
    let signals =
        [(key(SpecialCodeIndex::VINTR), libc::SIGINT), (key(SpecialCodeIndex::VQUIT), libc::SIGQUIT)];
    let signal = |byte: &u8| signals.iter().find(|(key, _)| key == byte && *byte != 0);
    typed.iter().filter_map(signal).map(|(_, signal)| *signal).collect()
}

/// The user's terminal in raw mode. When this is dropped, the terminal gets its original mode.
#[derive(Debug)]
pub struct RawMode {
    before: Termios,
    /// Whether the terminal is in raw mode. Otherwise its mode is not changed: it may be that of a shell.
    is_set: Cell<bool>,
}

impl RawMode {
    /// None if standard input is not a terminal. In the background, tcsetattr(3) stops `sandbox` by SIGTTOU. This is
    /// intended: the terminal belongs to the foreground process group.
    pub fn enter() -> Option<RawMode> {
        let raw = RawMode { before: termios::tcgetattr(stdin()).ok()?, is_set: Cell::new(false) };
        raw.set();
        Some(raw)
    }

    /// Sets raw mode again, but not from the background: a stopped `sandbox` could not forward signals, not even
    /// SIGTERM.
    pub(crate) fn set_again(&self) {
        let is_in_background =
            termios::tcgetpgrp(stdin()).is_ok_and(|group| group != rustix::process::getpgrp());
        if !is_in_background {
            self.set();
        }
    }

    fn set(&self) {
        let mut modes = self.before.clone();
        modes.make_raw();
        // TCSANOW: TCSADRAIN would wait for the output of a terminal that Ctrl-S has stopped.
        let _ = termios::tcsetattr(stdin(), OptionalActions::Now, &modes);
        self.is_set.set(true);
    }

    fn restore(&self) {
        if !self.is_set.replace(false) {
            return;
        }
        from_background(|| termios::tcsetattr(stdin(), OptionalActions::Now, &self.before));
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        self.restore();
    }
}

/// Changes the user's terminal even if `sandbox` is in the background. The kernel would stop it by SIGTTOU, but not
/// while that signal is blocked.
pub(super) fn from_background<T>(act: impl FnOnce() -> T) {
    let before = signal::block(SignalSet::of(&[libc::SIGTTOU]));
    let _ = act();
    let _ = before.map(signal::set_mask);
}

/// A descriptor for output, without blocking. O_NONBLOCK belongs to the open file (open(2)), which the user's shell shares,
/// so a terminal or a pipe is opened again. A regular file never blocks, and a new open file would start at its
/// beginning. What cannot be opened again (a socket, a terminal of another user) is used as it is.
fn nonblocking(output: BorrowedFd<'_>) -> Result<OwnedFd> {
    let is_pipe = |stat: fs::Stat| FileType::from_raw_mode(stat.st_mode) == FileType::Fifo;
    if termios::isatty(output) || fs::fstat(output).is_ok_and(is_pipe) {
        let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        if let Ok(again) = fs::open(format!("/proc/self/fd/{}", output.as_raw_fd()), flags, Mode::empty()) {
            return Ok(again);
        }
    }
    io::fcntl_dupfd_cloexec(output, 3).map_err(|errno| {
        Error::failed("cannot write to standard output").call("fcntl(1, F_DUPFD_CLOEXEC, 3)", errno)
    })
}

fn is_ready(descriptor: BorrowedFd<'_>, what: PollFlags) -> bool {
    poll(&mut [PollFd::new(descriptor, what)], PollTimeout::ZERO).is_ok_and(|count| count > 0)
}

/// Whether the call can be tried again later.
fn would_block(errno: Errno) -> bool {
    matches!(errno, Errno::AGAIN | Errno::INTR)
}

/// Reads what is available, at most `BUFFER_SIZE` bytes.
fn read(from: BorrowedFd<'_>, into: &mut Vec<u8>) -> std::result::Result<usize, Errno> {
    into.resize(BUFFER_SIZE, 0);
    let read = io::read(from, into.as_mut_slice());
    into.truncate(*read.as_ref().unwrap_or(&0));
    read
}

/// Writes as many bytes as possible, and keeps the rest.
fn write(to: BorrowedFd<'_>, bytes: &mut Vec<u8>) -> std::result::Result<(), Errno> {
    let written = io::write(to, bytes)?;
    bytes.drain(..written);
    Ok(())
}
