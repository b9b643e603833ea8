//! What a process does while it waits for the end of its command, besides what every run needs: the supervisor of a kept
//! container writes its log and serves its clients.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::poll::{PollFd, PollTimeout};
use nix::unistd::Pid;

use super::{Container, Ended, Watch};
use crate::error::Result;
use crate::observe::proc;
use crate::plan::call::publish::PublishedPort;

/// Something to do during the wait. Nothing of it may block.
pub trait Attendant {
    /// Does what can be done without waiting. It is called before each wait, and after the command has ended until it
    /// returns true: nothing is left to do.
    fn act(&mut self, has_ended: bool) -> bool;

    /// The descriptors to wait for, with their events.
    fn poll_set(&self) -> Vec<PollFd<'_>>;

    /// The maximum time to wait.
    fn timeout(&self) -> PollTimeout;
}

/// Nothing else is to be done.
pub(super) struct Unattended;

impl Attendant for Unattended {
    fn act(&mut self, _has_ended: bool) -> bool {
        true
    }

    fn poll_set(&self) -> Vec<PollFd<'_>> {
        Vec::new()
    }

    fn timeout(&self) -> PollTimeout {
        PollTimeout::NONE
    }
}

impl Container {
    /// The pidfd of that process. A signal to an init is forwarded to the command.
    pub fn pidfd(&self) -> Option<BorrowedFd<'_>> {
        self.slots.pidfd.as_ref().map(AsFd::as_fd)
    }

    /// The PID on the host of the command itself, behind an init too.
    pub fn command(&self) -> Pid {
        self.slots.command.as_ref().and_then(proc::pid_of).unwrap_or(self.child)
    }

    /// Whether the command is process 1 of its PID namespace: the kernel drops signals to it that have no handler.
    pub fn is_pid_one(&self) -> bool {
        self.is_pid_one
    }

    /// The ports that are published.
    pub fn ports(&self) -> &[PublishedPort] {
        &self.slots.ports
    }

    /// The master of the command's new terminal. Without this, [`Container::wait`] copies between it and descriptors 0 and
    /// 1 of this process.
    pub fn take_terminal(&mut self) -> Option<OwnedFd> {
        self.slots.terminal.take()
    }

    /// As [`Container::wait`], with an attendant. This process is no job of a shell: it does not stop when the command does.
    ///
    /// # Errors
    /// As [`Container::wait`].
    pub fn wait_attended(&mut self, watch: &mut dyn Watch, attendant: &mut dyn Attendant) -> Result<Ended> {
        self.stops = false;
        self.wait_for(watch, attendant)
    }
}
