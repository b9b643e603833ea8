//! Pipes of our own in the place of the caller's pipes: carries the bytes between the two.
//!
//! splice(2) moves them in the kernel, so `sandbox` holds no byte itself. If the receiver does not read, its pipe is full,
//! then ours, and then the writer waits, as with one pipe. When the reader of the output has gone, our pipe is closed, and
//! the command gets SIGPIPE or EPIPE. The end of the input becomes the end of our pipe.
//!
//! A descriptor of the caller that is a terminal, a file or a socket is read and written instead: splice(2) would wait for a
//! terminal, and cannot append to a file.
//!
//! Input is carried before the command reads it: as with `docker run -i`, what the command does not read is not left for
//! the next reader of the caller's pipe.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{SpliceFFlags, splice};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustix::fs::{FileType, fstat};
use rustix::io::{ioctl_fionread, read, write};
use rustix::stdio::{stderr, stdin, stdout};

use super::Container;

/// The maximum number of bytes that one call moves: the usual size of a pipe.
const CHUNK: usize = 64 << 10;

/// The maximum number of bytes that are read at a time. So many fit into a pipe that poll(2) reports as writable. pipe(7)
const BUFFER_SIZE: usize = 4096;

/// How many chunks are moved before signals are looked at again.
const CHUNKS: usize = 16;

/// The caller's ends of the pipes that are descriptors 0 to 2 of a command. When they are closed, the command reads the
/// end of its input, or gets SIGPIPE.
#[derive(Debug)]
pub struct Pipes {
    /// What the command reads. None: it reads /dev/null.
    pub stdin: Option<OwnedFd>,
    /// What the command prints.
    pub stdout: OwnedFd,
    /// What the command prints to standard error.
    pub stderr: OwnedFd,
}

impl Container {
    /// The other ends of the command's pipes, if the plan gives it pipes. Without this, [`Container::wait`] carries the
    /// bytes between them and descriptors 0 to 2 of this process.
    pub fn take_pipes(&mut self) -> Option<Pipes> {
        let mut ends = std::mem::take(self.has_pipes.then_some(&mut self.slots.carried)?);
        let mut end = |of: i32| {
            let at = ends.iter().position(|(descriptor, _)| *descriptor == of)?;
            Some(ends.swap_remove(at).1)
        };
        Some(Pipes { stdin: end(0), stdout: end(1)?, stderr: end(2)? })
    }
}

/// A pipe of ours and the caller's pipe that it stands for.
#[derive(Debug)]
pub(super) struct CarriedStream {
    /// 0, 1 or 2.
    descriptor: i32,
    /// Our end. None when there is nothing more to carry.
    pipe: Option<OwnedFd>,
    /// Whether the caller's descriptor is a pipe.
    is_spliced: bool,
    /// Whether there are bytes, and the receiver's pipe is full.
    is_full: bool,
    /// Bytes that were read and are not written yet.
    buffer: Vec<u8>,
    /// Once the command has ended: how many bytes of its output are still to be carried. A process that it has left
    /// running may write more, without an end.
    left: Option<usize>,
    /// The errno of a write after which nothing more is written. None: the receiver has closed its end, or takes all.
    failure: Option<Errno>,
}

impl CarriedStream {
    /// One for each pipe that the child has sent.
    pub(super) fn all(pipes: Vec<(i32, OwnedFd)>) -> Vec<CarriedStream> {
        let stream = |(descriptor, pipe)| CarriedStream {
            descriptor,
            pipe: Some(pipe),
            is_spliced: is_pipe(descriptor),
            is_full: false,
            buffer: Vec::new(),
            left: None,
            failure: None,
        };
        pipes.into_iter().map(stream).collect()
    }

    /// Where the bytes come from, and where they go.
    fn ends(&self) -> Option<(BorrowedFd<'_>, BorrowedFd<'_>)> {
        let pipe = self.pipe.as_ref()?.as_fd();
        Some(match self.descriptor {
            0 => (stdin(), pipe),
            1 => (pipe, stdout()),
            _ => (pipe, stderr()),
        })
    }

    /// Carries what is there, without waiting.
    pub(super) fn transfer(&mut self) {
        if !self.is_spliced {
            return self.copy();
        }
        for _ in 0..CHUNKS {
            let Some((from, to)) = self.ends() else { return };
            let size = self.left.map_or(CHUNK, |left| left.min(CHUNK));
            match splice(from, None, to, None, size, SpliceFFlags::SPLICE_F_NONBLOCK) {
                Ok(moved @ 1..) => {
                    self.left = self.left.map(|left| left.saturating_sub(moved));
                    if self.left == Some(0) {
                        self.pipe = None;
                    }
                }
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => {
                    let (is_readable, is_broken) =
                        (has(from, PollFlags::POLLIN), has(to, PollFlags::empty()));
                    self.is_full = is_readable;
                    // Nothing is left, or nobody reads it.
                    if is_broken || self.left.is_some() && !is_readable {
                        self.pipe = None;
                    }
                    return;
                }
                // The end of file, nothing was left at the command's end, or the receiver has gone.
                Ok(0) | Err(_) => self.pipe = None,
            }
        }
    }

    /// As [`CarriedStream::transfer`], where one end is no pipe. It may be blocking, so it is read and written only when
    /// it is ready.
    fn copy(&mut self) {
        for _ in 0..CHUNKS {
            let Some((from, to)) = self.ends() else { return };
            if self.buffer.is_empty() {
                let size = self.left.map_or(BUFFER_SIZE, |left| left.min(BUFFER_SIZE));
                let is_there = size > 0 && has(from, PollFlags::POLLIN);
                if !is_there {
                    if self.left.is_some() || has(to, PollFlags::empty()) {
                        self.pipe = None;
                    }
                    return;
                }
                let mut bytes = [0; BUFFER_SIZE];
                match read(from, &mut bytes[..size]) {
                    Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => return,
                    Ok(0) | Err(_) => return self.give_up(),
                    Ok(length) => {
                        self.buffer.extend_from_slice(&bytes[..length]);
                        self.left = self.left.map(|left| left.saturating_sub(length));
                    }
                }
            }
            let Some((_, to)) = self.ends() else { return };
            let written = match has(to, PollFlags::POLLOUT) {
                true => write(to, &self.buffer),
                false => Err(rustix::io::Errno::AGAIN),
            };
            match written {
                Ok(length) => {
                    self.buffer.drain(..length);
                }
                Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => {}
                Err(errno) => {
                    let is_output = self.descriptor != 0 && errno != rustix::io::Errno::PIPE;
                    self.failure = is_output.then(|| Errno::from_raw(errno.raw_os_error()));
                    return self.give_up();
                }
            }
            self.is_full = !self.buffer.is_empty();
            if self.is_full {
                return;
            }
        }
    }

    /// The descriptors to wait for, with their events.
    pub(super) fn poll_set(&self) -> Vec<PollFd<'_>> {
        match self.ends() {
            None => Vec::new(),
            Some((_, to)) if self.is_full => vec![PollFd::new(to, PollFlags::POLLOUT)],
            // Without events, poll(2) still reports that nobody has the other end open.
            Some((from, to)) => {
                vec![PollFd::new(from, PollFlags::POLLIN), PollFd::new(to, PollFlags::empty())]
            }
        }
    }

    /// The command has ended. Its output may still be in the pipe. Further input is not for it.
    pub(super) fn command_ended(&mut self) {
        if self.descriptor == 0 {
            self.pipe = None;
        }
        // What the command has written comes before what others write from now on.
        self.left = self.pipe.as_ref().map(|pipe| {
            let size = ioctl_fionread(pipe).ok().and_then(|size| usize::try_from(size).ok());
            size.unwrap_or(CHUNK)
        });
    }

    /// The descriptor of this process to which output could not be written, and the errno. The next call returns None.
    pub(super) fn take_failure(&mut self) -> Option<(i32, Errno)> {
        Some((self.descriptor, self.failure.take()?))
    }

    /// Carries nothing more.
    pub(super) fn give_up(&mut self) {
        self.pipe = None;
    }

    /// Whether there is nothing more to carry.
    pub(super) fn is_done(&self) -> bool {
        self.pipe.is_none()
    }
}

/// Whether a standard descriptor of this process is a pipe.
fn is_pipe(descriptor: i32) -> bool {
    let found = match descriptor {
        0 => fstat(stdin()),
        1 => fstat(stdout()),
        _ => fstat(stderr()),
    };
    found.is_ok_and(|found| FileType::from_raw_mode(found.st_mode) == FileType::Fifo)
}

/// Whether one of these events, or an error, is there.
fn has(descriptor: BorrowedFd<'_>, events: PollFlags) -> bool {
    poll(&mut [PollFd::new(descriptor, events)], PollTimeout::ZERO).is_ok_and(|count| count > 0)
}
