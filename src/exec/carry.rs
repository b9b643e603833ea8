//! Pipes of our own in the place of the caller's pipes: carries the bytes between the two.
//!
//! splice(2) moves them in the kernel, so `sandbox` holds no byte itself. If the receiver does not read, its pipe is full,
//! then ours, and then the writer waits, as with one pipe. When the reader of the output has gone, our pipe is closed, and
//! the command gets SIGPIPE or EPIPE. The end of the input becomes the end of our pipe.
//!
//! Input is carried before the command reads it: as with `docker run -i`, what the command does not read is not left for
//! the next reader of the caller's pipe.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{SpliceFFlags, splice};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustix::io::ioctl_fionread;
use rustix::stdio::{stderr, stdin, stdout};

/// The maximum number of bytes that one call moves: the usual size of a pipe.
const CHUNK: usize = 64 << 10;

/// How many chunks are moved before signals are looked at again.
const CHUNKS: usize = 16;

/// A pipe of ours and the caller's pipe that it stands for.
#[derive(Debug)]
pub(super) struct CarriedStream {
    /// 0, 1 or 2.
    descriptor: i32,
    /// Our end. None when there is nothing more to carry.
    pipe: Option<OwnedFd>,
    /// Whether there are bytes, and the receiver's pipe is full.
    is_full: bool,
    /// Once the command has ended: how many bytes of its output are still to be carried. A process that it has left
    /// running may write more, without an end.
    left: Option<usize>,
}

impl CarriedStream {
    /// One for each pipe that the child has sent.
    pub(super) fn all(pipes: Vec<(i32, OwnedFd)>) -> Vec<CarriedStream> {
        let stream =
            |(descriptor, pipe)| CarriedStream { descriptor, pipe: Some(pipe), is_full: false, left: None };
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

    /// Carries nothing more.
    pub(super) fn give_up(&mut self) {
        self.pipe = None;
    }

    /// Whether there is nothing more to carry.
    pub(super) fn is_done(&self) -> bool {
        self.pipe.is_none()
    }
}

/// Whether one of these events, or an error, is there.
fn has(descriptor: BorrowedFd<'_>, events: PollFlags) -> bool {
    poll(&mut [PollFd::new(descriptor, events)], PollTimeout::ZERO).is_ok_and(|count| count > 0)
}
