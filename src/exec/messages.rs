//! The host's side of the gate: messages to and from the other processes while a plan is performed.
//!
//! Each wait ends when the other process ends, when a signal asks `sandbox` to end, or at a deadline.

use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::wait::waitpid;
use nix::unistd::Pid;

use super::signals::wait_readable;
use super::supervise::is_stopped;
use super::{Run, Stop, stop, verify};
use crate::error::{Error, errno};
use crate::observe::proc;
use crate::plan::Actor;
use crate::plan::gate::{Channel, Message};
use crate::sys::signal;
use crate::text::text;

impl Run<'_> {
    pub(super) fn send(&mut self, index: usize, message: &Message) -> std::result::Result<(), Stop> {
        let Some(gate) = self.gate(index) else { return Err(Stop::Step(index, Errno::EBADF)) };
        match gate.send(message, &[]) {
            Err(Errno::EPIPE) => Err(self.reason_of_end(index)),
            sent => sent.map_err(|errno| talk("sendmsg(<gate>)", errno)),
        }
    }

    /// The next message. If there is none, the step has failed.
    pub(super) fn receive(&mut self, index: usize) -> std::result::Result<Message, Stop> {
        self.next(index)?.map_or(Err(Stop::Step(index, Errno::ECHILD)), unless_failed)
    }

    /// The next message: first those that came early. `None` is the end of file, as in [`Run::wait`].
    pub(super) fn next(&mut self, index: usize) -> std::result::Result<Option<Message>, Stop> {
        if self.plan.steps[index].actor != Actor::Relay
            && let Some(early) = self.early.pop_front()
        {
            return Ok(Some(early));
        }
        self.wait(index)
    }

    /// Why the other process has ended: the failure that it sent before.
    pub(super) fn reason_of_end(&mut self, index: usize) -> Stop {
        loop {
            match self.next(index).map(|message| message.map(unless_failed)) {
                Ok(Some(Ok(_))) => {}
                Ok(Some(Err(stop))) | Err(stop) => return stop,
                Ok(None) => return Stop::Step(index, Errno::ECHILD),
            }
        }
    }

    /// The failure that the other process has sent, or its end, if that is known already.
    pub(super) fn failure_so_far(&mut self, index: usize) -> Option<Stop> {
        loop {
            let gate = self.gate(index)?.as_fd();
            let is_ready = poll(&mut [PollFd::new(gate, PollFlags::POLLIN)], PollTimeout::ZERO);
            if self.early.is_empty() && !is_ready.is_ok_and(|count| count > 0) {
                return None;
            }
            match self.next(index).map(|message| message.map(unless_failed)) {
                Ok(Some(Ok(_))) => {}
                Ok(Some(Err(stop))) | Err(stop) => return Some(stop),
                Ok(None) => return Some(Stop::Step(index, Errno::ECHILD)),
            }
        }
    }

    /// Waits for a message. `None` is the end of file: the other process has ended, or has called execve(2).
    pub(super) fn wait(&mut self, index: usize) -> std::result::Result<Option<Message>, Stop> {
        let Some(gate) = self.gate(index) else { return Err(Stop::Step(index, Errno::EBADF)) };
        wait_readable(gate.as_fd(), &self.signals, || self.stop_with_child())?;
        match gate.receive() {
            Ok(None) => Ok(None),
            Ok(Some((message, descriptors))) => {
                match (&message, descriptors.into_iter().next()) {
                    (Message::Terminal, master @ Some(_)) => self.slots.terminal = master,
                    (Message::Forked(_), command @ Some(_)) => self.slots.command = command,
                    (Message::Stream(of), Some(pipe)) => self.slots.carried.push((*of, pipe)),
                    _ => {}
                }
                Ok(Some(message))
            }
            Err(errno) => Err(talk("recvmsg(<gate>)", errno)),
        }
    }

    /// The child was stopped before it became the command: `sandbox` stops too, and a SIGCONT continues both.
    fn stop_with_child(&self) {
        let (Some(child), Some(pidfd)) = (self.slots.child, &self.slots.pidfd) else { return };
        if self.signals.is_continued() {
            let _ = signal::send(pidfd.as_fd(), libc::SIGCONT);
        } else if is_stopped(child) {
            stop::stop(pidfd.as_fd());
        }
    }

    /// Receives the PID of the child from the helper, which made it. The child uses the same end of the gate as the
    /// helper, so a message of the child can arrive first.
    pub(super) fn receive_child(&mut self, index: usize) -> std::result::Result<i64, Stop> {
        let pid = loop {
            match self.wait(index)? {
                Some(Message::ChildPid(pid)) => break pid,
                Some(early) => self.early.push_back(unless_failed(early)?),
                None => return Err(Stop::Step(index, Errno::ECHILD)),
            }
        };
        let child = Pid::from_raw(pid);
        self.slots.child = Some(child);
        self.slots.pidfd = Some(pidfd_of(child).map_err(|errno| Stop::Step(index, errno))?);
        if let Some(helper) = self.slots.helper.take() {
            // The helper has nothing more to do, and ends by itself.
            let _ = waitpid(helper, None);
        }
        Ok(i64::from(pid))
    }

    /// Receives from init that it has forked the command. The command uses the same end of the gate as init, so a
    /// message of the command can arrive first.
    pub(super) fn receive_command(&mut self, index: usize) -> std::result::Result<i64, Stop> {
        let has_forked = |message: &Message| matches!(message, Message::Forked(_));
        loop {
            let place = self.early.iter().position(has_forked);
            if let Some(Message::Forked(pid)) = place.and_then(|place| self.early.remove(place)) {
                return Ok(pid);
            }
            match self.wait(index)? {
                Some(message) => self.early.push_back(unless_failed(message)?),
                None => return Err(Stop::Step(index, Errno::ECHILD)),
            }
        }
    }

    /// The command's PID on the host. With `init`, it is not the child that the host made.
    pub(super) fn command_of(&self, child: Pid) -> Pid {
        self.slots.command.as_ref().and_then(proc::pid_of).unwrap_or(child)
    }

    /// The gate of the actor of step `index`.
    fn gate(&self, index: usize) -> Option<&Channel> {
        match self.plan.steps[index].actor {
            Actor::Relay => self.slots.relay.as_ref().map(|relay| &relay.gate),
            _ => self.slots.gate.as_ref(),
        }
    }
}

/// The error of a gate by which the host cannot send or receive. It is no error of the step for which it waits.
fn talk(call: &str, errno: Errno) -> Stop {
    Error::failed(text("exec.gate")).call(call, errno).into()
}

/// The message, or the error that it reports.
pub(super) fn unless_failed(message: Message) -> std::result::Result<Message, Stop> {
    match message {
        Message::Failed(failed, errno) => Err(Stop::Step(failed, Errno::from_raw(errno))),
        Message::Differs(differences) => Err(verify::refused(&differences).into()),
        message => Ok(message),
    }
}

fn pidfd_of(pid: Pid) -> std::result::Result<OwnedFd, Errno> {
    let pid = rustix::process::Pid::from_raw(pid.as_raw()).ok_or(Errno::ESRCH)?;
    rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).map_err(errno)
}
