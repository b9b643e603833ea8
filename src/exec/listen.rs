//! The host's end of the gate while a plan is performed: what it tells the child, and what it hears of it. Each wait ends at the
//! child's end, at a signal, and at a deadline.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::signals::Signals;
use super::{Run, Stop, verify};
use crate::error::{Error, Kind, Result};
use crate::plan::Actor;
use crate::plan::gate::Message;

/// No wait between host and child is longer, unless a person is asked.
const DEADLINE: Duration = Duration::from_secs(30);

impl Run<'_> {
    pub(super) fn send(&mut self, index: usize, message: &Message) -> std::result::Result<(), Stop> {
        let Some(gate) = self.gate(index) else { return Err(Stop::Step(index, Errno::EBADF)) };
        match gate.send(message, &[]) {
            Err(Errno::EPIPE) => Err(self.last_words(index)),
            sent => sent.map_err(|errno| Stop::Step(index, errno)),
        }
    }

    /// The next message, which must come.
    pub(super) fn hear(&mut self, index: usize) -> std::result::Result<Message, Stop> {
        if self.plan.steps[index].actor != Actor::Relay
            && let Some(early) = self.early.pop_front()
        {
            return Ok(early);
        }
        match self.wait(index)? {
            Some(Message::Failed(failed, errno)) => Err(Stop::Step(failed, Errno::from_raw(errno))),
            Some(Message::Differs(differences)) => Err(verify::refused(&differences).into()),
            Some(message) => Ok(message),
            None => Err(Stop::Step(index, Errno::ECHILD)),
        }
    }

    /// What the other side said before it went.
    pub(super) fn last_words(&mut self, index: usize) -> Stop {
        loop {
            match self.wait(index) {
                Ok(Some(Message::Failed(failed, errno))) => {
                    return Stop::Step(failed, Errno::from_raw(errno));
                }
                Ok(Some(_)) => {}
                Ok(None) => return Stop::Step(index, Errno::ECHILD),
                Err(stop) => return stop,
            }
        }
    }

    /// Waits for a message, for the other side's end, for an interrupt, but not for ever.
    pub(super) fn wait(&mut self, index: usize) -> std::result::Result<Option<Message>, Stop> {
        let Some(gate) = self.gate(index) else { return Err(Stop::Step(index, Errno::EBADF)) };
        wait_readable(gate.as_fd(), &self.signals)?;
        match gate.receive() {
            Ok(None) => Ok(None),
            Ok(Some((message, descriptors))) => {
                // The one thing that is handed out: the master of a terminal that was made inside.
                self.slots.terminal = descriptors.into_iter().next().or(self.slots.terminal.take());
                Ok(Some(message))
            }
            Err(errno) => Err(Stop::Step(index, errno)),
        }
    }
}

/// Waits until `descriptor` has something to read. A signal that asks `sandbox` to end is an error, as is the deadline.
pub(super) fn wait_readable(descriptor: BorrowedFd<'_>, signals: &Signals) -> Result<()> {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(
                Error::failed("the process inside doesn't answer").why(format!("waited {DEADLINE:?}"))
            );
        }
        let mut ready =
            [PollFd::new(descriptor, PollFlags::POLLIN), PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        match poll(&mut ready, timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(Error::failed("cannot wait").call("poll(<gate>)", errno)),
        }
        // First of all what the other side says: once the command runs, a signal is the command's, not the end of a start.
        if ready[0].any().unwrap_or(false) {
            return Ok(());
        }
        if let Some(signal) = signals.next().filter(|signal| signal.ends()) {
            return Err(Error::new(Kind::Interrupted(signal.number), signal.name()));
        }
    }
}
