//! The straight line: a plan is performed step by step, host and child each doing their own, until the child has become
//! the command, or a process that serves requests of the host.

mod child;
mod failure;
mod group;
mod init;
pub mod journal;
mod messages;
mod pty;
mod relay;
pub mod signals;
mod supervise;
mod undo;
pub mod verify;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::wait::waitpid;
use nix::unistd::Pid;

use self::journal::Journal;
use self::signals::Signals;
pub use self::supervise::Ended;
use self::verify::Expectations;
use crate::error::{Error, Result, errno};
use crate::feature::Feature;
use crate::observe::file;
use crate::plan::call::cgroup::CgroupCall;
use crate::plan::call::gate::GateCall;
use crate::plan::call::process::ProcessCall;
use crate::plan::call::terminal::TerminalCall;
use crate::plan::gate::{Channel, Message};
use crate::plan::slots::Slots;
use crate::plan::{Actor, Call, Plan, Step};

/// Who looks on while a plan is performed, and may have it wait or stop.
pub trait Watch {
    /// Whether every step is to be told before and after it's made. Costs two messages a step.
    fn narrates(&self) -> bool {
        false
    }

    /// Before step `index`. Who waits here waits for `signals` too.
    ///
    /// # Errors
    /// Any error ends the run here, and what was made is undone.
    fn before(&mut self, _index: usize, _plan: &Plan, _slots: &Slots, _signals: &Signals) -> Result<()> {
        Ok(())
    }

    /// After step `index`, with the kernel's result.
    fn after(&mut self, _index: usize, _plan: &Plan, _result: i64) {}

    /// The child's view from inside, when all is set up.
    fn reported(&mut self, _plan: &Plan, _view: serde_json::Value, _child: Pid) {}

    /// All is set up; the child is about to be let go.
    fn ready(&mut self, _plan: &Plan, _child: Pid) {}

    /// The ports that are published: where they listen, and the port inside.
    fn published(&mut self, _ports: &[(SocketAddr, u16)], _plan: &Plan) {}

    /// While the command runs: a signal that the kernel dropped, since the command is process 1 and has no handler.
    fn dropped(&mut self, _signal: nix::sys::signal::Signal, _killed: bool) {}

    /// The command has ended, and meanwhile the kernel killed so many processes of its group, because of its memory limit.
    fn out_of_memory(&mut self, _kills: u64, _ended: Ended) {}

    /// The command's time is up after so many seconds: it's asked to end, or killed at once, since it's process 1 and would
    /// not hear.
    fn timed_out(&mut self, _seconds: u64, _killed: bool) {}
}

/// Nobody looks on.
#[derive(Debug, Default)]
pub struct Unwatched;

impl Watch for Unwatched {}

/// A container that was started and is ours to end.
#[derive(Debug)]
pub struct Container {
    slots: Slots,
    signals: Signals,
    child: Pid,
    /// The command is process 1 of its namespace: the kernel drops what it has no handler for.
    is_pid_one: bool,
    /// The child itself is to become the command, by execve(2).
    executes: bool,
    journal: Journal,
    /// The group whose memory is limited, where there is one.
    memory: Option<PathBuf>,
    /// How long the command may run, in seconds.
    timeout: Option<u64>,
    /// How many of its processes the kernel killed because of that.
    oom_kills: u64,
    reaped: bool,
}

/// Refuses a plan that can't be carried out here.
///
/// # Errors
/// The plan's first problem.
pub fn accept(plan: &Plan) -> Result<()> {
    plan.problems.first().map_or(Ok(()), |problem| Err(failure::refused(problem)))
}

/// What the child of a plan that ends in [`GateCall::Serve`] does from then on. Its end of the gate is in the slots.
pub type Serve = fn(&mut Slots) -> !;

/// Performs a plan up to its end: the command runs.
///
/// # Errors
/// The plan's first problem; the step that failed, with its call, cause and remedy. What was made has been undone.
pub fn start(plan: &Plan, watch: &mut dyn Watch) -> Result<Container> {
    perform(plan, watch, None)
}

/// Performs a plan up to its end: a process that calls `serve`. The host's end of the gate comes along.
///
/// # Errors
/// As [`start`]; a plan that doesn't end in [`GateCall::Serve`].
pub fn start_serving(plan: &Plan, watch: &mut dyn Watch, serve: Serve) -> Result<(Container, Channel)> {
    let mut container = perform(plan, watch, Some(serve))?;
    let gate = container.slots.gate.take();
    gate.map(|gate| (container, gate)).ok_or_else(|| Error::failed("the plan ends in no process that serves"))
}

fn perform(plan: &Plan, watch: &mut dyn Watch, serve: Option<Serve>) -> Result<Container> {
    accept(plan)?;
    let is_verified = plan.steps.iter().any(|step| matches!(step.call, Call::Gate(GateCall::Verify)));
    let expectations = if is_verified { Expectations::of(plan)? } else { Expectations::default() };
    let mut run = Run {
        plan,
        serve,
        watch,
        signals: Signals::block()?,
        slots: Slots::default(),
        expectations: &expectations,
        journal: Journal::default(),
        early: VecDeque::new(),
    };
    match run.perform() {
        Ok(child) => Ok(Container {
            is_pid_one: plan.steps.iter().any(is_new_pid_namespace) && !plan.steps.iter().any(is_fork),
            executes: plan.steps.iter().any(is_exec) && !plan.steps.iter().any(is_fork),
            slots: run.slots,
            signals: run.signals,
            child,
            journal: run.journal,
            memory: memory_group(plan),
            timeout: plan.timeout,
            oom_kills: 0,
            reaped: false,
        }),
        Err(stop) => {
            let error = match stop {
                // Before the process is reaped: until then its /proc/PID says under which profile it failed.
                Stop::Step(index, errno) => {
                    failure::explain(plan, index, errno, run.slots.child.or(run.slots.helper))
                }
                Stop::Error(error) => error,
            };
            run.abandon();
            Err(error)
        }
    }
}

/// Why a run stopped.
enum Stop {
    /// Step N failed with this errno.
    Step(usize, Errno),
    /// Something else.
    Error(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Stop {
        Stop::Error(error)
    }
}

/// A run of a plan, on the host's side.
struct Run<'a> {
    plan: &'a Plan,
    /// What the child does at [`GateCall::Serve`].
    serve: Option<Serve>,
    watch: &'a mut dyn Watch,
    signals: Signals,
    slots: Slots,
    expectations: &'a Expectations,
    journal: Journal,
    /// What the child said before its turn.
    early: VecDeque<Message>,
}

impl Run<'_> {
    fn perform(&mut self) -> std::result::Result<Pid, Stop> {
        let plan = self.plan;
        let narrates = self.watch.narrates();
        for (index, step) in plan.steps.iter().enumerate() {
            if narrates {
                self.watch.before(index, plan, &self.slots, &self.signals)?;
            }
            let result = if step.actor == Actor::Host {
                self.perform_own(index, step)?
            } else {
                self.follow(index, step, narrates)?
            };
            if narrates {
                self.watch.after(index, plan, result);
            }
        }
        self.slots.child.ok_or_else(|| Stop::Error(Error::failed("the plan makes no process")))
    }

    /// A step of the host's. After a clone the new process goes on from here as the child, and never comes back.
    fn perform_own(&mut self, index: usize, step: &Step) -> std::result::Result<i64, Stop> {
        if is_last_release(self.plan, index)
            && let Some(child) = self.slots.child
        {
            let command = self.command_of(child);
            if let Some(name) = &self.plan.name {
                self.journal.call(name, command)?;
            }
            self.watch.ready(self.plan, command);
            self.watch.published(&self.slots.published, self.plan);
        }
        if let Some(undo) = &step.undo {
            self.journal.intend(undo)?;
        }
        if matches!(step.call, Call::Gate(GateCall::Verify)) {
            let differences = self.expectations.differences_outside();
            return if differences.is_empty() { Ok(0) } else { Err(verify::refused(&differences).into()) };
        }
        let result = match step.call.perform(&mut self.slots) {
            Ok(0) if is_clone(step) => {
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
            // The child is gone; it said why before it went.
            Err(Errno::EPIPE) => return Err(self.last_words(index)),
            result => result,
        };
        if step.undo.is_some() {
            self.journal.came_out(&result)?;
        }
        result.map_err(|errno| Stop::Step(index, errno))
    }

    /// A step of the child's or the helper's: let it go on where it's narrated, and hear of it where it must be heard.
    fn follow(&mut self, index: usize, step: &Step, narrates: bool) -> std::result::Result<i64, Stop> {
        let waits_by_itself = matches!(step.call, Call::Gate(GateCall::Await));
        if narrates && !waits_by_itself {
            self.send(index, &Message::Go(index))?;
        }
        match &step.call {
            Call::Process(ProcessCall::Exec { .. }) => return self.until_exec(index),
            Call::Process(ProcessCall::Clone { as_sibling: true, .. }) => return self.meet(index),
            Call::Gate(GateCall::Report) => {
                let Message::Report(view) = self.hear(index)? else { return Err(self.last_words(index)) };
                if let Some(child) = self.slots.child {
                    self.watch.reported(self.plan, view, self.command_of(child));
                }
            }
            Call::Terminal(TerminalCall::Send) => {
                let Message::Terminal = self.hear(index)? else { return Err(self.last_words(index)) };
                if !narrates {
                    return Ok(0);
                }
            }
            Call::Process(ProcessCall::ForkCommand) => return self.meet_command(index),
            call if narrates || child::is_heard(call) => {}
            _ => return Ok(0),
        }
        match self.hear(index)? {
            Message::Did(_, result) => Ok(result),
            _ => Err(self.last_words(index)),
        }
    }

    /// The command's number outside: behind an init it's that one's only child.
    fn command_of(&self, child: Pid) -> Pid {
        if !self.plan.steps.iter().any(is_fork) {
            return child;
        }
        let children = file::read_text(format!("/proc/{child}/task/{child}/children"));
        children.ok().and_then(|pids| pids.trim().parse().ok()).map_or(child, Pid::from_raw)
    }

    /// The helper tells the number of the child that it made. The child may have spoken before: it shares the helper's end
    /// of the gate.
    fn meet(&mut self, index: usize) -> std::result::Result<i64, Stop> {
        let number = loop {
            match self.wait(index)? {
                Some(Message::ChildPid(pid)) => break pid,
                Some(Message::Failed(failed, errno)) => {
                    return Err(Stop::Step(failed, Errno::from_raw(errno)));
                }
                Some(early) => self.early.push_back(early),
                None => return Err(Stop::Step(index, Errno::ECHILD)),
            }
        };
        let child = Pid::from_raw(number);
        self.slots.child = Some(child);
        self.slots.pidfd = Some(pidfd_of(child).map_err(|errno| Stop::Step(index, errno))?);
        if let Some(helper) = self.slots.helper.take() {
            // It has nothing more to do and ends by itself.
            let _ = waitpid(helper, None);
        }
        Ok(i64::from(number))
    }

    /// The init tells that there is a command, which may have spoken before: it shares the init's end of the gate.
    fn meet_command(&mut self, index: usize) -> std::result::Result<i64, Stop> {
        let is_it = |message: &Message| matches!(message, Message::Did(step, _) if *step == index);
        loop {
            let place = self.early.iter().position(is_it);
            if let Some(Message::Did(_, number)) = place.and_then(|place| self.early.remove(place)) {
                return Ok(number);
            }
            match self.wait(index)? {
                Some(Message::Failed(failed, errno)) => {
                    return Err(Stop::Step(failed, Errno::from_raw(errno)));
                }
                Some(message) => self.early.push_back(message),
                None => return Err(Stop::Step(index, Errno::ECHILD)),
            }
        }
    }

    /// The end of file means that execve has closed the gate: the command runs.
    fn until_exec(&mut self, index: usize) -> std::result::Result<i64, Stop> {
        loop {
            match self.wait(index)? {
                None => break,
                Some(Message::Failed(failed, errno)) => {
                    return Err(Stop::Step(failed, Errno::from_raw(errno)));
                }
                Some(Message::Differs(differences)) => return Err(verify::refused(&differences).into()),
                Some(_) => {}
            }
        }
        self.slots.gate = None;
        Ok(0)
    }

    /// Through which the actor of step `index` is heard.
    fn gate(&self, index: usize) -> Option<&Channel> {
        match self.plan.steps[index].actor {
            Actor::Relay => self.slots.relay.as_ref().map(|relay| &relay.gate),
            _ => self.slots.gate.as_ref(),
        }
    }

    /// Ends what was begun.
    fn abandon(&mut self) {
        // A child whose number wasn't told yet waits at the gate: its end of file ends that wait.
        self.slots.gate = None;
        for process in [self.slots.helper, self.slots.child].into_iter().flatten() {
            // By number: the one pidfd may be of either, or of none. No one else has the number before it's waited for.
            let _ = nix::sys::signal::kill(process, nix::sys::signal::Signal::SIGKILL);
            let _ = waitpid(process, None);
        }
        relay::end(&mut self.slots, Duration::ZERO);
        self.slots.release_shares();
        self.journal.undo();
    }
}

/// The group with a limit of memory.
fn memory_group(plan: &Plan) -> Option<PathBuf> {
    plan.steps.iter().find_map(|step| match &step.call {
        Call::Cgroup(CgroupCall::Make { directory, shared: false }) if step.purpose == Feature::Memory => {
            Some(PathBuf::from(directory))
        }
        _ => None,
    })
}

fn is_clone(step: &Step) -> bool {
    matches!(
        step.call,
        Call::Process(ProcessCall::Clone { .. } | ProcessCall::CloneHelper { .. } | ProcessCall::CloneRelay)
    )
}

fn is_fork(step: &Step) -> bool {
    matches!(step.call, Call::Process(ProcessCall::ForkCommand))
}

fn is_exec(step: &Step) -> bool {
    matches!(step.call, Call::Process(ProcessCall::Exec { .. }))
}

fn is_new_pid_namespace(step: &Step) -> bool {
    matches!(&step.call, Call::Process(ProcessCall::Clone { namespaces, .. })
        if namespaces.contains(Feature::Pid))
}

fn is_last_release(plan: &Plan, index: usize) -> bool {
    let release = |step: &Step| matches!(step.call, Call::Gate(GateCall::Release));
    release(&plan.steps[index]) && !plan.steps[index + 1..].iter().any(release)
}

fn pidfd_of(pid: Pid) -> std::result::Result<std::os::fd::OwnedFd, Errno> {
    let pid = rustix::process::Pid::from_raw(pid.as_raw()).ok_or(Errno::ESRCH)?;
    rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).map_err(errno)
}

fn kill(pidfd: BorrowedFd<'_>) {
    let _ = rustix::process::pidfd_send_signal(pidfd, rustix::process::Signal::KILL);
}
