//! The child's side of a run: a new process performs its own steps of the same plan, in order.
//!
//! The helper, the relay and the command are new processes too, and go through the list in the same way.

use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;

use super::verify::Expectations;
use super::{Serve, init, is_clone, relay};
use crate::error::Error;
use crate::feature::Feature;
use crate::plan::call::gate::GateCall;
use crate::plan::call::join::JoinCall;
use crate::plan::call::process::ProcessCall;
use crate::plan::call::publish::PublishCall;
use crate::plan::call::restrict::RestrictCall;
use crate::plan::gate::Message;
use crate::plan::slots::Slots;
use crate::plan::{Actor, Call, Plan};
use crate::text::{text, text_if_any};
use crate::views;

/// The exit status of a process that could not be set up. It has sent its errno through the gate.
const FAILED: i32 = 125;

/// The exit statuses of a process whose execve(2) has failed behind a seccomp filter.
const NOT_EXECUTED: i32 = 126;
const NOT_FOUND: i32 = 127;

/// Continues as the process that step `cloned` has just made. It never returns: it becomes the command, or ends.
///
/// The process is a copy of a single-threaded program. So it may allocate memory and use all of Rust. It ends by
/// _exit(2), because a normal exit would flush buffers and remove files that belong to the host.
pub(super) fn become_child(
    plan: &Plan,
    cloned: usize,
    mut narrated: bool,
    serve: Option<Serve>,
    slots: &mut Slots,
    expectations: &Expectations,
) -> ! {
    let mut actor = match &plan.steps[cloned].call {
        Call::Process(ProcessCall::CloneHelper { .. }) => Actor::Helper,
        Call::Process(ProcessCall::CloneRelay) => Actor::Relay,
        _ => Actor::Child,
    };
    let last_filter = plan.last_filter();
    let (mut behind_filter, mut is_held) = (false, false);
    let mut command = None;
    for (index, step) in plan.steps.iter().enumerate().skip(cloned + 1) {
        if step.actor != actor {
            continue;
        }
        let is_silent = command.is_some() || behind_filter;
        if narrated && !is_silent && !matches!(step.call, Call::Gate(GateCall::Await)) {
            wait_for_go(slots);
        }
        if last_filter == Some(index) {
            prepare_end(plan, index, is_held, slots);
            behind_filter = true;
        }
        let performed = step.call.perform(slots);
        // It has told the host that it waits.
        is_held |= matches!(step.call, Call::Gate(GateCall::AwaitFifo)) && slots.fifo.is_none();
        let result = match (&step.call, performed) {
            (call, Err(errno)) if behind_filter && !is_filter(call) => fail_behind(slots, errno),
            (_, Err(errno)) if is_held => fail_held(plan, index, errno),
            (_, Err(errno)) => fail(slots, index, errno),
            (Call::Gate(GateCall::Report), Ok(_)) => {
                let view = serde_json::to_value(views::look(step.purpose)).unwrap_or_default();
                send(slots, index, &Message::Report(view));
                0
            }
            (Call::Gate(GateCall::Verify), Ok(_)) => {
                let differences = expectations.differences_inside(slots.address, slots.host_proc.take());
                if !differences.is_empty() {
                    send(slots, index, &Message::Differs(differences));
                    crate::sys::exit(FAILED);
                }
                0
            }
            (Call::Process(ProcessCall::ForkCommand), Ok(0)) => {
                actor = Actor::Command;
                // Init reports this step to the host, not the command.
                continue;
            }
            (Call::Process(ProcessCall::ForkCommand), Ok(pid)) => {
                init::prepare();
                command = Some((index, pid));
                continue;
            }
            (Call::Process(ProcessCall::Clone { as_sibling: true, .. }), Ok(0)) => {
                actor = Actor::Child;
                continue;
            }
            (Call::Gate(GateCall::AwaitFifo), Ok(_)) => {
                // The host may have ended, and waits for no other step.
                narrated = false;
                continue;
            }
            (_, Ok(result)) => result,
        };
        if is_clone(step) {
            // The helper has made the child and sent its PID. It is not needed any more.
            crate::sys::exit(0);
        }
        if narrated && !is_silent && !behind_filter || is_acknowledged(&step.call) {
            send(slots, index, &Message::Did(index, result));
        }
        if let Call::Publish(PublishCall::Serve { to, loopback }) = &step.call {
            relay::serve(slots, to, *loopback);
        }
        if matches!(step.call, Call::Gate(GateCall::Serve)) {
            match serve {
                Some(serve) => serve(slots),
                None => crate::sys::exit(FAILED),
            }
        }
    }
    if let Some((index, pid)) = command {
        init::leave_group();
        // Init has its own restrictions now, so the host may release the command. The host needs the command, because
        // that process is the one to look at, not init.
        let command: Vec<_> = slots.pidfd.iter().map(AsFd::as_fd).collect();
        send_with(slots, index, &Message::Forked(pid), &command);
        init::serve(slots, plan.steps.iter().any(|step| matches!(step.call, Call::Terminal(_))));
    }
    crate::sys::exit(FAILED)
}

fn is_filter(call: &Call) -> bool {
    matches!(call, Call::Restrict(RestrictCall::Filter { .. }))
}

/// Prepares what follows the last filter, so that it makes no other call than execve(2).
fn prepare_end(plan: &Plan, filter: usize, is_held: bool, slots: &mut Slots) {
    for (index, step) in plan.steps.iter().enumerate().skip(filter + 1) {
        if let Call::Process(call) = &step.call
            && let Err(errno) = call.prepare(slots)
        {
            if is_held {
                fail_held(plan, index, errno);
            }
            fail(slots, index, errno);
        }
    }
}

/// Ends the command whose execve(2) has failed behind its filter. It makes no call that the filter could deny but exit(2). If
/// the host has ended, the exit status is that of a shell.
fn fail_behind(slots: &Slots, errno: Errno) -> ! {
    if let Some(shared) = &slots.exec_errno {
        shared.store(errno);
    }
    crate::sys::exit(not_executed(errno))
}

/// The exit status for an errno of execve(2).
fn not_executed(errno: Errno) -> i32 {
    if errno == Errno::ENOENT { NOT_FOUND } else { NOT_EXECUTED }
}

/// Whether the host always waits for the result of a step, not only in a narrated run.
pub(super) fn is_acknowledged(call: &Call) -> bool {
    match call {
        Call::Gate(GateCall::Report | GateCall::Serve) | Call::Publish(PublishCall::Serve { .. }) => true,
        // The maps and the idmapped mounts, which the host makes, are those of this user namespace.
        Call::Process(ProcessCall::Unshare { namespaces }) => namespaces.contains(Feature::User),
        Call::Join(JoinCall::Enter { kind }) => *kind == Feature::User,
        _ => false,
    }
}

fn wait_for_go(slots: &Slots) {
    match slots.gate.as_ref().map(|gate| gate.receive::<Message>()) {
        Some(Ok(Some((Message::Go(_), _)))) => {}
        // The host has ended, or has given up.
        _ => crate::sys::exit(FAILED),
    }
}

/// Sends a message about step `index` to the host. If that fails, it tries to send the errno.
fn send(slots: &Slots, index: usize, message: &Message) {
    send_with(slots, index, message, &[]);
}

fn send_with(slots: &Slots, index: usize, message: &Message, descriptors: &[BorrowedFd<'_>]) {
    let Some(gate) = &slots.gate else { crate::sys::exit(FAILED) };
    if let Err(errno) = gate.send(message, descriptors) {
        let _ = gate.send(&Message::Failed(index, errno as i32), &[]);
        crate::sys::exit(FAILED);
    }
}

fn fail(slots: &Slots, index: usize, errno: Errno) -> ! {
    send(slots, index, &Message::Failed(index, errno as i32));
    crate::sys::exit(FAILED)
}

/// Ends a command that has told the host that it waits at its FIFO. The host reads no more from the gate, and may have
/// ended. So the error is printed on the container's standard error, and the exit status is that of a shell.
fn fail_held(plan: &Plan, index: usize, errno: Errno) -> ! {
    let step = &plan.steps[index];
    let cannot = text(&step.why.replace(".why", ".cannot"));
    let error = Error::failed(format!("{}: {cannot}", plan.purpose.name())).call(&step.call, errno);
    let why = text_if_any(&step.why.replace(".why", &format!(".{errno:?}")));
    let _ = writeln!(
        io::stderr(),
        "sandbox: {error}{}",
        why.map(|why| format!("\n  why   {why}")).unwrap_or_default()
    );
    let is_exec = matches!(step.call, Call::Process(ProcessCall::Exec { .. }));
    crate::sys::exit(if is_exec { not_executed(errno) } else { FAILED })
}
