//! What a caller of `exec` can observe while a plan is performed.

use nix::errno::Errno;
use nix::unistd::Pid;

use super::signals::Signals;
use super::{Ended, FullSpace};
use crate::error::{Error, Result};
use crate::plan::Plan;
use crate::plan::call::publish::PublishedPort;
use crate::plan::gate::Unreached;
use crate::plan::slots::Slots;

/// Receives the events of a run. It can delay a step, or stop the run.
pub trait Watch {
    /// Whether each step of the child waits for the host and reports its result. This costs two messages per step.
    fn narrates(&self) -> bool {
        false
    }

    /// Called before step `index`. An implementation that waits here must also wait for `signals`.
    ///
    /// # Errors
    /// Any error ends the run, and everything that was made is undone.
    fn before(&mut self, _index: usize, _plan: &Plan, _slots: &Slots, _signals: &Signals) -> Result<()> {
        Ok(())
    }

    /// Called after step `index`, with the kernel's result.
    fn after(&mut self, _index: usize, _plan: &Plan, _result: i64) {}

    /// Called with the child's view from inside, when everything is set up.
    fn reported(&mut self, _plan: &Plan, _view: serde_json::Value, _child: Pid) {}

    /// Called after execve(2), if the last restrictions came after the view: a process outside can read them now. None: the
    /// command has ended already.
    fn confined(&mut self, _plan: &Plan, _command: Option<Pid>) {}

    /// Called when everything is set up, just before the child is released.
    fn ready(&mut self, _plan: &Plan, _child: Pid) {}

    /// Called if the command is not in a journal, because none can be written (`error`), or because /proc does not
    /// show it.
    /// Then it can outlive a `sandbox` that is killed.
    fn unprotected(&mut self, _error: Option<&Error>) {}

    /// Called with the published ports.
    fn published(&mut self, _ports: &[PublishedPort]) {}

    /// Called once for a published port on which no server in the container accepts a client.
    fn unreached(&mut self, _port: Unreached) {}

    /// Called when the kernel discards a signal, because the command is process 1 and has no handler for it.
    fn dropped(&mut self, _signal: &str, _killed: bool) {}

    /// Called after the end of the command, if the OOM killer killed processes of its cgroup. `kills` is their number,
    /// `limit` the smallest memory limit of the cgroup and its ancestors, in bytes.
    fn out_of_memory(&mut self, _kills: u64, _limit: Option<u64>, _ended: Ended) {}

    /// Called after the end of the command, with the processes that it had left running, as `sleep (4711)`. They were
    /// killed.
    fn left_running(&mut self, _processes: &[String]) {}

    /// Called after the end of the command, with the processes that it had left running and that could not be killed.
    fn still_running(&mut self, _processes: &[String]) {}

    /// Called after the end of the command, for each filesystem in memory of the container that is full.
    fn full(&mut self, _space: &FullSpace) {}

    /// Called after the end of the command, if its status says that SIGSYS ended it: a seccomp filter did not allow a
    /// system call.
    fn filtered(&mut self) {}

    /// Called if output of the command could not be written to this descriptor. The command gets SIGPIPE at its next output.
    fn output_lost(&mut self, _descriptor: i32, _errno: Errno) {}

    /// Called if the command was killed because the container in which it ran has ended.
    fn container_ended(&mut self) {}

    /// Called when the command has run for `seconds`, its timeout. The command gets SIGTERM. It is killed at once if it
    /// is process 1 without a handler, because the kernel would discard SIGTERM.
    fn timed_out(&mut self, _seconds: u64, _killed: bool) {}
}

/// Ignores all events.
#[derive(Debug, Default)]
pub struct Unwatched;

impl Watch for Unwatched {}
