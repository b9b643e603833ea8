//! Makes a container: performs the steps of a plan, from the first one to execve(2), and later undoes what they made.
//!
//! 1. A plan is one list of steps. Each step is one call, made by one actor: the host (`sandbox` itself) or the child.
//! 2. The host performs the first steps: it makes what must exist before the child, such as cgroups and the bridge.
//! 3. If a step leaves something on the host, its undo is written to the journal before the step is performed.
//! 4. The clone step makes the child, a copy of this process in new namespaces. Both then go through the same list.
//! 5. The child performs its steps: mounts, network addresses, host name, user, capabilities, seccomp filter.
//! 6. Between these, the child waits at the gate, a pair of connected sockets, while the host performs the steps that need
//!    its privileges: it makes the veth pair, and writes ID maps that have more than the caller's own ID.
//! 7. The child verifies itself: it compares what /proc shows with the plan. If a value differs, the start is stopped.
//! 8. When everything is set up, the host verifies the cgroups, writes the container's name to the journal, and releases
//!    the child. With a FIFO, the child then waits for the process that opens it, and the host may end before.
//! 9. The child calls execve(2) and becomes the command. This closes its end of the gate, so the host reads the end of
//!    file: the start has succeeded. If a step fails, the child sends the step and the errno instead.
//! 10. The host forwards signals and waits until the command ends. Then it undoes the steps, the last one first.
//!
//! Some plans have more actors. With a new time namespace, a *helper* makes the child, because only children enter that
//! namespace. With `init`, the child forks the *command* and stays as process 1. A *relay* serves published ports.
//!
//! This file has the host's part of 1 to 9, in this order. The child's part is in `child`, and 10 is in `supervise`.

mod attend;
mod background;
mod carry;
mod cgroup;
mod child;
mod detach;
mod end;
mod failure;
mod hold;
mod init;
pub mod journal;
mod messages;
mod orphans;
mod process;
mod pty;
mod relay;
mod run;
pub mod signals;
mod space;
mod stop;
mod supervise;
pub mod sweep;
mod undo;
mod user_network;
pub mod verify;
mod watch;

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::unistd::Pid;

pub use self::attend::Attendant;
pub use self::background::{Background, Copy, close_inherited, close_streams, continue_in_background};
pub use self::carry::Pipes;
pub use self::detach::{Detachable, DetachableCopy, FrontEnd, continue_detachable};
pub use self::failure::as_typed;
pub use self::hold::create;
use self::journal::Journal;
use self::orphans::LeftRunning;
use self::process::OwnNamespaces;
pub use self::pty::{RawMode, typed_signals};
use self::run::{Run, Stop};
use self::signals::Signals;
pub use self::space::FullSpace;
use self::space::WritableSpace;
pub use self::supervise::{Ended, is_ending, is_starting_or_ending, is_unhandled};
use self::supervise::{killed_before_exec, killed_by};
use self::verify::Expectations;
pub use self::watch::{Unwatched, Watch};
use crate::error::{Error, Result};
use crate::feature::Feature;
use crate::host::own_run::OwnRun;
use crate::host::run_directory;
use crate::observe::cgroup::oom_kills;
use crate::plan::call::cgroup::CgroupCall;
use crate::plan::call::file::FileCall;
use crate::plan::call::gate::GateCall;
use crate::plan::call::process::ProcessCall;
use crate::plan::call::terminal::TerminalCall;
use crate::plan::gate::Channel;
use crate::plan::slots::Slots;
use crate::plan::{Call, Plan, Step, Streams};
use crate::sys::shared::SharedErrno;
use crate::text::text;

/// A container that was started. Its owner waits for its end; if it is dropped before, the container is killed.
#[derive(Debug)]
pub struct Container {
    slots: Slots,
    signals: Signals,
    child: Pid,
    /// Whether the command is process 1 of its PID namespace. The kernel discards signals to it that have no handler.
    is_pid_one: bool,
    /// Whether the child itself becomes the command by execve(2).
    executes: bool,
    journal: Journal,
    /// The cgroup with the memory limit, if there is one.
    memory: Option<PathBuf>,
    /// The filesystems in memory to which the container can write.
    spaces: Vec<WritableSpace>,
    /// Whether orphans of the container become children of this process.
    adopts: bool,
    /// The namespaces of the container, if its orphans are found by them.
    own_namespaces: Option<OwnNamespaces>,
    /// The processes that the command had left running.
    left_running: LeftRunning,
    /// Whether only those of descriptors 0 to 2 became the new terminal that were one.
    keeps_files: bool,
    /// Whether descriptors 0 to 2 of the command are new pipes.
    has_pipes: bool,
    /// Whether standard input is for the command's new terminal.
    has_input: bool,
    /// The container with which the command ends: the pidfd of its process.
    container: Option<OwnedFd>,
    /// This process, if the user can detach from the command's new terminal.
    detachable: Option<DetachableCopy>,
    /// How long the command may run, in seconds.
    timeout: Option<u64>,
    /// How many processes of that cgroup the OOM killer has killed.
    oom_kills: u64,
    /// The smallest memory limit that applied to that cgroup, in bytes. It is read if there were kills.
    memory_limit: Option<u64>,
    /// Whether this process stops together with the command, as a job of a shell.
    stops: bool,
    reaped: bool,
}

/// What the child does at the end of a plan that ends in [`GateCall::Serve`]. Its end of the gate is in the slots.
pub type Serve = fn(&mut Slots) -> !;

/// Performs a plan up to execve(2): the command runs.
///
/// # Errors
/// The plan's first problem; or the step that failed, with its call, the cause and a remedy. Everything that was made
/// is undone.
pub fn start(plan: &Plan, watch: &mut dyn Watch) -> Result<Container> {
    perform(plan, watch, None, None)
}

/// As [`start`], with the journal in a directory of RUN that the caller has, and keeps after the end of the container.
///
/// # Errors
/// As [`start`].
pub fn start_in(run: OwnRun, plan: &Plan, watch: &mut dyn Watch) -> Result<Container> {
    perform(plan, watch, None, Some(run))
}

/// Performs a plan that ends in a process which calls `serve` and answers requests. Also returns the host's end of
/// the gate.
///
/// # Errors
/// As [`start`]; or the plan does not end in [`GateCall::Serve`].
pub fn start_serving(plan: &Plan, watch: &mut dyn Watch, serve: Serve) -> Result<(Container, Channel)> {
    let mut container = perform(plan, watch, Some(serve), None)?;
    let gate = container.slots.gate.take();
    gate.map(|gate| (container, gate))
        .ok_or_else(|| Error::failed("the plan does not end in a server process"))
}

/// Refuses a plan that this machine does not allow.
///
/// # Errors
/// The plan's first problem. Its reasons name the other files that are missing.
pub fn accept(plan: &Plan) -> Result<()> {
    plan.problems.first().map_or(Ok(()), |problem| Err(failure::refused(plan, problem)))
}

/// Performs all steps. If one of them fails, everything is undone.
fn perform(
    plan: &Plan,
    watch: &mut dyn Watch,
    serve: Option<Serve>,
    own: Option<OwnRun>,
) -> Result<Container> {
    accept(plan)?;
    if plan.name.is_some() || plan.steps.iter().any(needs_run_directory) {
        // Refused before anything is made, and with the reason: a step has only an errno.
        run_directory::make()?;
    }
    let is_verified = plan.steps.iter().any(|step| matches!(step.call, Call::Gate(GateCall::Verify)));
    let expectations = if is_verified { Expectations::of(plan)? } else { Expectations::default() };
    let mut slots = Slots::default();
    if plan.last_filter().is_some() {
        let unshared = |errno: Errno| Error::failed(text("seccomp.unshared")).call("mmap(MAP_SHARED)", errno);
        slots.exec_errno = Some(SharedErrno::new().map_err(unshared)?);
    }
    let mut run = Run {
        plan,
        serve,
        watch,
        signals: if serve.is_some() { Signals::block()? } else { Signals::for_command()? },
        slots,
        expectations: &expectations,
        journal: Journal::of(plan.frame.journal, plan.config.clone(), own),
        early: VecDeque::new(),
        unprotected: None,
        own_namespaces: None,
    };
    let adopts = orphans::adopt(plan);
    // The container's own processes may have been killed before.
    let memory = memory_cgroup(plan).or_else(|| entered_memory(plan));
    let kills_before = memory.as_deref().map_or(0, oom_kills);
    let started = run.perform_steps();
    if let (Ok(child), Some(None)) = (&started, &run.unprotected) {
        // A /proc that is mounted with hidepid shows a user no undumpable process. After execve(2) it shows the command,
        // unless that has ended already.
        let recorded = run.record_command(*child);
        let has_ended = run.slots.pidfd.as_ref().is_some_and(|pidfd| supervise::has_ended(pidfd.as_fd()));
        run.unprotected = recorded.err().filter(|_| !has_ended);
    }
    if let Ok(child) = &started {
        run.record_namespaces(*child);
    }
    if let (Ok(_), Some(error)) = (&started, &run.unprotected) {
        run.watch.unprotected(error.as_ref());
    }
    match started {
        Ok(child) => Ok(Container {
            spaces: run.spaces(child),
            adopts,
            // An ordinary user may not open it before execve(2), while the process is undumpable.
            own_namespaces: run.own_namespaces.take().or_else(|| orphans::namespaces_of(plan, child)),
            left_running: LeftRunning::default(),
            is_pid_one: has_new_pid_namespace(plan) && !plan.steps.iter().any(is_fork),
            executes: plan.steps.iter().any(is_exec) && !plan.steps.iter().any(is_fork),
            slots: run.slots,
            signals: run.signals,
            child,
            journal: run.journal,
            keeps_files: plan.steps.iter().any(keeps_files),
            has_pipes: matches!(plan.frame.streams, Streams::Pipes | Streams::Output),
            memory: memory_cgroup(plan),
            has_input: true,
            container: None,
            detachable: None,
            timeout: plan.timeout,
            oom_kills: 0,
            memory_limit: None,
            stops: true,
            reaped: false,
        }),
        Err(stop) => {
            let error = match stop {
                // The process is not reaped yet, so its /proc/PID still has the AppArmor profile under which it failed.
                Stop::Step(index, errno) => match made(&run.slots).filter(|_| errno == Errno::ECHILD) {
                    // It has ended without a report.
                    Some(child) if let Some(signal) = killed_by(child) => {
                        let kills = memory.as_deref().map_or(0, oom_kills);
                        killed_before_exec(signal, kills.saturating_sub(kills_before))
                    }
                    _ => failure::explain(plan, index, errno, run.slots.child.or(run.slots.helper)),
                },
                Stop::Error(error) => error,
            };
            run.abandon();
            Err(error)
        }
    }
}

/// The directory of the cgroup with the memory limit.
fn memory_cgroup(plan: &Plan) -> Option<PathBuf> {
    plan.steps.iter().find_map(|step| match &step.call {
        Call::Cgroup(CgroupCall::Make { directory, shared: false }) if step.purpose == Feature::Memory => {
            Some(PathBuf::from(directory))
        }
        _ => None,
    })
}

/// The process that was being set up: the child, or the helper that makes it.
fn made(slots: &Slots) -> Option<Pid> {
    slots.child.or(slots.helper)
}

/// The cgroup of a running container, which the plan enters, with its memory limit.
fn entered_memory(plan: &Plan) -> Option<PathBuf> {
    let is_memory =
        |cgroup: &Path| ["memory.events", "memory.oom_control"].iter().any(|file| cgroup.join(file).exists());
    let files = plan.steps.iter().filter_map(|step| match &step.call {
        Call::File(FileCall::Write { path, content }) if content == "0" => path.parent(),
        _ => None,
    });
    files.filter(|cgroup| is_memory(cgroup)).map(Path::to_path_buf).next()
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

fn needs_run_directory(step: &Step) -> bool {
    step.undo.is_some() || matches!(step.call, Call::File(FileCall::LockShared { .. }))
}

fn keeps_files(step: &Step) -> bool {
    matches!(&step.call, Call::Terminal(TerminalCall::Stdio { descriptors }) if descriptors.len() < 3)
}

fn is_exec(step: &Step) -> bool {
    matches!(step.call, Call::Process(ProcessCall::Exec { .. }))
}

fn has_new_pid_namespace(plan: &Plan) -> bool {
    plan.steps.iter().any(|step| {
        matches!(&step.call, Call::Process(ProcessCall::Clone { namespaces, .. })
            if namespaces.contains(Feature::Pid))
    })
}

fn is_last_release(plan: &Plan, index: usize) -> bool {
    let release = |step: &Step| matches!(step.call, Call::Gate(GateCall::Release));
    release(&plan.steps[index]) && !plan.steps[index + 1..].iter().any(release)
}

fn kill_by_pidfd(pidfd: BorrowedFd<'_>) {
    let _ = rustix::process::pidfd_send_signal(pidfd, rustix::process::Signal::KILL);
}
