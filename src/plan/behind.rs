//! What a plan still does behind its seccomp filter.
//!
//! Behind the filter of the command nothing is read, awaited or reported: it only calls execve(2). A filter that denies
//! this call is a problem of the plan, so nothing is made. No other call is needed to report a failure of execve: the
//! command stores the errno in memory that it shares with the host.

use std::ffi::c_long;

use super::call::Call;
use super::call::process::ProcessCall;
use super::call::restrict::RestrictCall;
use super::filter::{self, FilteredCall};
use super::{Actor, Plan, Problem, Step};
use crate::error::{Error, errno_text};
use crate::feature::Feature;
use crate::text::{text, text_with};

/// An address as an argument has it. Which one it is, the plan cannot know.
const ADDRESS: u64 = 0x7f12_3456_7000;

/// A call behind a filter, with its arguments.
type LateCall = (&'static str, c_long, [u64; 6]);

/// The calls that a step makes, if it can be behind a filter. The process of a demonstration makes the calls that the
/// host requests, so those are not known.
fn late_calls(step: &Step) -> &'static [LateCall] {
    match &step.call {
        Call::Process(ProcessCall::Exec { .. }) => {
            &[("execve", libc::SYS_execve, [ADDRESS, ADDRESS, ADDRESS, 0, 0, 0])]
        }
        Call::Restrict(RestrictCall::Capabilities { .. }) => {
            &[("capset", libc::SYS_capset, [ADDRESS, ADDRESS, 0, 0, 0, 0])]
        }
        _ => &[],
    }
}

/// The problems of a plan whose filters deny calls that it still makes.
pub(super) fn problems(steps: &[Step]) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (index, step) in steps.iter().enumerate() {
        let Call::Restrict(RestrictCall::Filter { program, .. }) = &step.call else { continue };
        let later = steps[index + 1..].iter().filter(|later| later.actor == step.actor);
        for (name, number, arguments) in later.flat_map(late_calls) {
            let call =
                FilteredCall { number: *number as u32, architecture: filter::NATIVE, arguments: *arguments };
            let verdict = filter::verdict(program, &call);
            if !filter::is_allowed(verdict) {
                problems.push(problem(name, verdict));
            }
        }
    }
    problems
}

fn problem(call: &str, verdict: u32) -> Problem {
    let values = [("call", call), ("action", &*action(verdict))];
    let error = Error::failed(text_with("seccomp.denies", &values))
        .why(text_with("seccomp.denies.why", &values))
        .todo(text_with("seccomp.denies.todo", &values));
    Problem { purpose: Feature::Seccomp.into(), key: Some("seccomp".into()), error }
}

/// A verdict in the words of a profile.
fn action(verdict: u32) -> String {
    let data = i32::from(verdict as u16);
    match verdict & libc::SECCOMP_RET_ACTION_FULL {
        libc::SECCOMP_RET_KILL_PROCESS => "SCMP_ACT_KILL_PROCESS".into(),
        libc::SECCOMP_RET_KILL_THREAD => "SCMP_ACT_KILL_THREAD".into(),
        libc::SECCOMP_RET_TRAP => "SCMP_ACT_TRAP".into(),
        libc::SECCOMP_RET_TRACE => text("seccomp.trace"),
        _ => format!("SCMP_ACT_ERRNO, {}", errno_text(nix::errno::Errno::from_raw(data))),
    }
}

impl Plan {
    /// The filter behind which the command only calls execve(2). None if there is no filter, or if the plan ends in a
    /// demonstration.
    pub fn last_filter(&self) -> Option<usize> {
        let is_exec = |step: &Step| matches!(step.call, Call::Process(ProcessCall::Exec { .. }));
        let executes = self.steps.iter().rev().find(|step| is_exec(step))?.actor;
        let is_filter = |step: &Step| matches!(step.call, Call::Restrict(RestrictCall::Filter { .. }));
        self.steps.iter().rposition(|step| is_filter(step) && step.actor == executes)
    }

    /// Whether a step is made by an init that has forked the command. The command has the same end of the gate, so init
    /// waits for no message.
    pub fn is_of_init(&self, index: usize) -> bool {
        let is_fork = |step: &Step| matches!(step.call, Call::Process(ProcessCall::ForkCommand));
        self.steps[index].actor == Actor::Child && self.steps[..index].iter().any(is_fork)
    }
}
