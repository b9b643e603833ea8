//! The host's part of a start: it performs its own steps, and waits for those of the other processes.

use std::collections::VecDeque;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::Pid;

use super::journal::Journal;
use super::process::OwnNamespaces;
use super::signals::Signals;
use super::space::{self, WritableSpace};
use super::verify::{self, Expectations};
use super::watch::Watch;
use super::{
    Serve, child, is_clone, is_exec, is_fork, is_last_release, orphans, process, relay, user_network,
};
use crate::error::{Error, Result};
use crate::feature::{Feature, Purpose};
use crate::host::run_directory;
use crate::plan::call::gate::GateCall;
use crate::plan::call::process::ProcessCall;
use crate::plan::call::stream::StreamCall;
use crate::plan::call::terminal::TerminalCall;
use crate::plan::call::user_network::UserNetworkCall;
use crate::plan::gate::Message;
use crate::plan::slots::Slots;
use crate::plan::undo::Undo;
use crate::plan::{Actor, Call, Plan, Step};

/// Why a run stopped.
pub(super) enum Stop {
    /// This step failed with this errno.
    Step(usize, Errno),
    /// Any other error.
    Error(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Stop {
        Stop::Error(error)
    }
}

/// A plan that is being performed, as the host sees it.
pub(super) struct Run<'a> {
    pub(super) plan: &'a Plan,
    /// What the child does at [`GateCall::Serve`].
    pub(super) serve: Option<Serve>,
    pub(super) watch: &'a mut dyn Watch,
    pub(super) signals: Signals,
    pub(super) slots: Slots,
    pub(super) expectations: &'a Expectations,
    pub(super) journal: Journal,
    /// Messages of the child that arrived before the host waited for them.
    pub(super) early: VecDeque<Message>,
    /// Set if the command is in no journal: with the error, unless /proc does not show the command.
    pub(super) unprotected: Option<Option<Error>>,
    /// The namespaces of the container, if its orphans are found by them.
    pub(super) own_namespaces: Option<OwnNamespaces>,
}

impl Run<'_> {
    /// Goes through the list: performs the steps of the host, and waits for those of the other processes where needed.
    pub(super) fn perform_steps(&mut self) -> std::result::Result<Pid, Stop> {
        let plan = self.plan;
        let narrates = self.watch.narrates();
        for (index, step) in plan.steps.iter().enumerate() {
            if narrates && plan.last_filter() == Some(index) {
                self.narrate_end(index)?;
                break;
            }
            if narrates {
                self.watch.before(index, plan, &self.slots, &self.signals)?;
            }
            let result = if step.actor == Actor::Host {
                self.perform_host_step(index, step)?
            } else {
                self.follow_step(index, step, narrates)?
            };
            if narrates {
                self.watch.after(index, plan, result);
            }
            if matches!(step.call, Call::Gate(GateCall::AwaitFifo)) {
                // What follows is between the child and the process that releases it.
                break;
            }
        }
        self.slots.child.ok_or_else(|| Stop::Error(Error::failed("the plan creates no process")))
    }

    /// Performs a step of the host. After a clone, the new process continues here as the child and never returns.
    fn perform_host_step(&mut self, index: usize, step: &Step) -> std::result::Result<i64, Stop> {
        if is_last_release(self.plan, index)
            && let Some(child) = self.slots.child
        {
            self.announce(self.command_of(child))?;
        }
        if let Some(undo) = &step.undo {
            self.journal.intend(undo)?;
        }
        if matches!(step.call, Call::Gate(GateCall::Verify)) {
            let differences = self.expectations.differences_outside(self.slots.child);
            if differences.is_empty() {
                return Ok(0);
            }
            // A process whose own check has failed ends, and then the kernel shows no cgroups of it.
            let refused = || verify::refused(&differences).into();
            return Err(self.failure_so_far(index).unwrap_or_else(refused));
        }
        let result = match step.call.perform(&mut self.slots) {
            Ok(0) if is_clone(step) => {
                self.journal.close_in_child();
                let narrates = self.watch.narrates();
                child::become_child(
                    self.plan,
                    index,
                    narrates,
                    self.serve,
                    &mut self.slots,
                    self.expectations,
                )
            }
            // The child has ended. It sent the reason before.
            Err(Errno::EPIPE) => return Err(self.reason_of_end(index)),
            result => result,
        };
        if step.undo.is_some() {
            self.journal.record(&result)?;
        }
        if matches!(step.call, Call::UserNetwork(UserNetworkCall::Start { .. })) {
            self.record_program();
        }
        result.map_err(|errno| Stop::Step(index, errno))
    }

    /// Writes the program of the network to the journal. The kernel kills it with this process. A version of it that changes
    /// its credentials would lose the parent-death signal, and the next command ends that one.
    fn record_program(&mut self) {
        let pid = self.slots.user_network.as_ref().map(|program| program.pid.as_raw());
        if let Some((pid, started)) = pid.and_then(|pid| Some((pid, process::started(pid)?))) {
            // Where no journal can be written, the container runs all the same.
            let _ = self.journal.intend(&Undo::EndProgram { pid, started });
        }
    }

    /// Everything is set up, and the child is about to be released.
    fn announce(&mut self, command: Pid) -> Result<()> {
        // An init cannot lose its parent-death signal: it executes nothing and changes no credentials.
        let is_on_its_own = self.plan.steps.iter().any(is_exec) && !self.plan.steps.iter().any(is_fork);
        if is_on_its_own {
            // Where this fails, the container runs all the same.
            self.unprotected = self.record_command(command).err();
        }
        self.own_namespaces = orphans::namespaces_of(self.plan, command);
        let name = self.plan.name.as_deref();
        if name.is_some() || self.plan.config.is_some() {
            let namespaces = self.expectations.namespaces_of(self.plan, command.as_raw());
            let recorded = self.journal.record_name(name, command, namespaces);
            // Without a name, the container runs all the same.
            if name.is_some() {
                recorded?;
            }
        }
        self.watch.ready(self.plan, command);
        self.watch.published(&self.slots.ports);
        Ok(())
    }

    /// Writes to the journal how the command is ended if this `sandbox` is killed.
    ///
    /// # Errors
    /// None: /proc does not show the command. Otherwise no journal can be written.
    pub(super) fn record_command(&mut self, command: Pid) -> std::result::Result<(), Option<Error>> {
        let pid = command.as_raw();
        let started = process::started(pid).ok_or(None)?;
        let namespaces = process::namespaces_of(pid, &self.plan.namespaces);
        self.journal.intend(&Undo::EndContainer { pid, started, namespaces }).map_err(Some)
    }

    /// Writes the names of the container's namespaces again, if they are known only now: before execve(2), the process is
    /// undumpable, and an ordinary user may not read them. By them, the next command finds orphans.
    pub(super) fn record_namespaces(&mut self, command: Pid) {
        if self.plan.namespaces.is_empty() || self.plan.namespaces.contains(&Feature::Pid) {
            return;
        }
        let pid = command.as_raw();
        let namespaces = process::namespaces_of(pid, &self.plan.namespaces);
        let is_known = namespaces.iter().all(|name| name.contains('['));
        if let Some(started) = process::started(pid).filter(|_| is_known) {
            self.journal.complete(Undo::EndContainer { pid, started, namespaces });
        }
    }

    /// A step of another process. The host waits only for steps whose result it needs; in a narrated run, for each.
    fn follow_step(&mut self, index: usize, step: &Step, narrates: bool) -> std::result::Result<i64, Stop> {
        if self.plan.is_of_init(index) {
            return Ok(0);
        }
        let waits_by_itself = matches!(step.call, Call::Gate(GateCall::Await));
        if narrates && !waits_by_itself {
            self.send(index, &Message::Go(index))?;
        }
        match &step.call {
            Call::Process(ProcessCall::Clone { as_sibling: true, .. }) => return self.receive_child(index),
            Call::Process(ProcessCall::ForkCommand) => return self.receive_command(index),
            Call::Process(ProcessCall::Exec { .. }) => return self.wait_for_exec(index),
            Call::Terminal(TerminalCall::Send) => {
                let Message::Terminal = self.receive(index)? else { return Err(self.reason_of_end(index)) };
                if !narrates {
                    return Ok(0);
                }
            }
            Call::Stream(StreamCall::Send { .. }) => {
                let Message::Stream(_) = self.receive(index)? else { return Err(self.reason_of_end(index)) };
                if !narrates {
                    return Ok(0);
                }
            }
            Call::Gate(GateCall::AwaitFifo) => {
                let Message::Held = self.receive(index)? else { return Err(self.reason_of_end(index)) };
                return Ok(0);
            }
            Call::Gate(GateCall::Report) => {
                let Message::Report(view) = self.receive(index)? else {
                    return Err(self.reason_of_end(index));
                };
                if let Some(child) = self.slots.child {
                    self.watch.reported(self.plan, view, self.command_of(child));
                }
            }
            call if narrates || child::is_acknowledged(call) => {}
            _ => return Ok(0),
        }
        match self.receive(index)? {
            Message::Did(_, result) => Ok(result),
            _ => Err(self.reason_of_end(index)),
        }
    }

    /// The filesystems in memory of a container whose command has just been executed.
    pub(super) fn spaces(&self, child: Pid) -> Vec<WritableSpace> {
        let is_container = self.plan.purpose == Purpose::Container && self.plan.steps.iter().any(is_exec);
        let pidfd = self.slots.command.as_ref().or(self.slots.pidfd.as_ref());
        let pidfd = pidfd.filter(|_| is_container);
        pidfd.map(|pidfd| space::open_all(self.plan, self.command_of(child), pidfd)).unwrap_or_default()
    }

    /// The start has failed: kills the processes and undoes what was made.
    pub(super) fn abandon(&mut self) {
        // The host may not know the PID of a child that the helper made. That child waits at the gate, whose end of
        // file ends it.
        self.slots.gate = None;
        for process in [self.slots.helper, self.slots.child].into_iter().flatten() {
            // By PID, because the one pidfd in the slots can be of either process. The kernel does not reuse the PID
            // before the process is reaped.
            let _ = kill(process, Signal::SIGKILL);
            let _ = waitpid(process, None);
        }
        relay::end(&mut self.slots, Duration::ZERO);
        user_network::end(&mut self.slots);
        self.slots.release_shares();
        self.journal.undo();
        run_directory::remove_if_empty();
    }
}
