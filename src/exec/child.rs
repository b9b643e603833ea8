//! The other side of a run: the child (and the helper before it) performs its own steps of the same plan, in order.

use nix::errno::Errno;

use super::verify::Expectations;
use super::{Serve, init, is_clone, relay};
use crate::plan::call::gate::GateCall;
use crate::plan::call::process::ProcessCall;
use crate::plan::call::publish::PublishCall;
use crate::plan::gate::Message;
use crate::plan::slots::Slots;
use crate::plan::{Actor, Call, Plan};
use crate::views;

/// What a process that couldn't be set up ends with. Its errno has gone through the gate.
const FAILED: i32 = 125;

/// Goes on as the process that step `cloned` has just made. Never returns: the child becomes the command, or ends.
///
/// The child is a copy of a single-threaded program, so it may allocate and use all of Rust; it ends by _exit(2), since
/// what the host's exit would flush or remove isn't the child's.
pub(super) fn become_child(
    plan: &Plan,
    cloned: usize,
    narrated: bool,
    serve: Option<Serve>,
    slots: &mut Slots,
    expectations: &Expectations,
) -> ! {
    let mut me = match &plan.steps[cloned].call {
        Call::Process(ProcessCall::CloneHelper { .. }) => Actor::Helper,
        Call::Process(ProcessCall::CloneRelay) => Actor::Relay,
        _ => Actor::Child,
    };
    for (index, step) in plan.steps.iter().enumerate().skip(cloned + 1) {
        if step.actor != me {
            continue;
        }
        if narrated && !matches!(step.call, Call::Gate(GateCall::Await)) {
            wait_for_go(slots);
        }
        let result = match (&step.call, step.call.perform(slots)) {
            (_, Err(errno)) => fail(slots, index, errno),
            (Call::Gate(GateCall::Report), Ok(_)) => {
                let sight = serde_json::to_value(views::look(step.purpose)).unwrap_or_default();
                say(slots, index, &Message::Report(sight));
                0
            }
            (Call::Gate(GateCall::Verify), Ok(_)) => {
                let differences = expectations.differences_inside(slots.address);
                if !differences.is_empty() {
                    say(slots, index, &Message::Differs(differences));
                    crate::sys::exit(FAILED);
                }
                0
            }
            (Call::Process(ProcessCall::ForkCommand), Ok(0)) => {
                me = Actor::Command;
                // The host already holds init by its pidfd: it is told of this step by init.
                continue;
            }
            (Call::Process(ProcessCall::ForkCommand), Ok(number)) => {
                // The host must know that there is a command: who looks into the container is shown that one, not us.
                say(slots, index, &Message::Did(index, number));
                init::serve(slots, plan.steps.iter().any(|step| matches!(step.call, Call::Terminal(_))))
            }
            (Call::Process(ProcessCall::Clone { as_sibling: true, .. }), Ok(0)) => {
                me = Actor::Child;
                continue;
            }
            (_, Ok(result)) => result,
        };
        if is_clone(step) {
            // The helper has made its sibling the host's child and told its number; it is not needed any more.
            crate::sys::exit(0);
        }
        if narrated || is_heard(&step.call) {
            say(slots, index, &Message::Did(index, result));
        }
        if matches!(step.call, Call::Publish(PublishCall::Serve)) {
            relay::serve(slots);
        }
        if matches!(step.call, Call::Gate(GateCall::Serve)) {
            match serve {
                Some(serve) => serve(slots),
                None => crate::sys::exit(FAILED),
            }
        }
    }
    crate::sys::exit(FAILED)
}

/// Whether the host waits to hear of a step, also where nothing is narrated.
pub(super) fn is_heard(call: &Call) -> bool {
    matches!(call, Call::Gate(GateCall::Report | GateCall::Serve) | Call::Publish(PublishCall::Serve))
}

fn wait_for_go(slots: &Slots) {
    match slots.gate.as_ref().map(|gate| gate.receive::<Message>()) {
        Some(Ok(Some((Message::Go(_), _)))) => {}
        // The host is gone, or has given up.
        _ => crate::sys::exit(FAILED),
    }
}

/// Tells the host something of step `index`. Where that can't be said, why not may still be.
fn say(slots: &Slots, index: usize, message: &Message) {
    let Some(gate) = &slots.gate else { crate::sys::exit(FAILED) };
    if let Err(errno) = gate.send(message, &[]) {
        let _ = gate.send(&Message::Failed(index, errno as i32), &[]);
        crate::sys::exit(FAILED);
    }
}

fn fail(slots: &Slots, index: usize, errno: Errno) -> ! {
    say(slots, index, &Message::Failed(index, errno as i32));
    crate::sys::exit(FAILED)
}
