//! The messages between the host and the process that it makes, while a plan is performed. Each wait ends when that process
//! ends, at a signal, and at a deadline.

use std::os::fd::AsFd;

use nix::errno::Errno;

use super::signals::wait_readable;
use super::{Run, Stop, verify};
use crate::plan::Actor;
use crate::plan::gate::Message;

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
