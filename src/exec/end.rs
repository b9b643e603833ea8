//! The end of a plan, as the host sees it: the command gets its seccomp filter and calls execve(2), without a message.

use super::messages::unless_failed;
use super::{Run, Stop, verify};
use crate::observe::proc;
use crate::plan::gate::Message;

impl Run<'_> {
    /// Goes through the last steps, which the command makes without a message: its filter and execve(2). It may begin with
    /// them when the last of them is announced.
    pub(super) fn narrate_end(&mut self, filter: usize) -> std::result::Result<(), Stop> {
        let last = self.plan.steps.len() - 1;
        for index in filter..=last {
            self.watch.before(index, self.plan, &self.slots, &self.signals)?;
        }
        self.send(filter, &Message::Go(filter))?;
        self.wait_for_exec(last)?;
        (filter..=last).for_each(|index| self.watch.after(index, self.plan, 0));
        Ok(())
    }

    /// Waits for the end of file: execve(2) has closed the child's end of the gate, and the command runs.
    pub(super) fn wait_for_exec(&mut self, index: usize) -> std::result::Result<i64, Stop> {
        while let Some(message) = self.next(index)? {
            unless_failed(message)?;
        }
        self.slots.gate = None;
        if self.plan.last_filter().is_some() {
            self.confirm_end(index)?;
        }
        Ok(0)
    }

    /// Nothing is sent behind the filter of the command. So the host looks whether execve(2) has failed, and reads the last
    /// restrictions in its own /proc.
    fn confirm_end(&mut self, exec: usize) -> std::result::Result<(), Stop> {
        if let Some(errno) = self.slots.exec_errno.take().and_then(|shared| shared.load()) {
            return Err(Stop::Step(exec, errno));
        }
        let command = self.slots.command.as_ref().or(self.slots.pidfd.as_ref());
        if let Some(command) = command {
            let differences = self.expectations.differences_running(command);
            if !differences.is_empty() {
                return Err(verify::refused_running(&differences).into());
            }
        }
        self.watch.confined(self.plan, command.and_then(proc::pid_of));
        Ok(())
    }
}
