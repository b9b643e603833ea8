//! Turns (step, errno) into an error for a person: which step and call failed, why, and what to do.

use nix::errno::Errno;
use nix::unistd::Pid;

use crate::diagnose::{self, Failed};
use crate::error::{Error, ExitKind};
use crate::host::facts::Facts;
use crate::plan::call::process::ProcessCall;
use crate::plan::{Call, Plan, Problem};
use crate::text::{text, text_if_any, text_with};
use crate::value::typed::TypedCommand;

/// Explains a step that failed. `made` is the process that was being set up, if there was one.
pub(super) fn explain(plan: &Plan, index: usize, errno: Errno, made: Option<Pid>) -> Error {
    let step = &plan.steps[index];
    let place = text_with(
        "common.step.place",
        &[
            ("step", &(index + 1).to_string()),
            ("steps", &plan.steps.len().to_string()),
            ("actor", &step.actor.to_string()),
        ],
    );
    // Each message `….why` has a counterpart `….cannot`, which says what cannot be done.
    let cannot = text(&step.why.replace(".why", ".cannot"));
    let what = format!("{}: {cannot} ({place})", step.purpose);
    let kind = match (&step.call, errno) {
        (Call::Process(ProcessCall::Exec { .. }), Errno::ENOENT | Errno::ENOTDIR) => ExitKind::NotFound,
        (Call::Process(ProcessCall::Exec { .. }), _) => ExitKind::NotExecutable,
        _ => ExitKind::Failed,
    };
    let error = Error::new(kind, what).call(&step.call, errno);
    let failed = Failed { purpose: plan.purpose, call: &step.call, errno, own: &plan.namespaces };
    let facts =
        Facts { root_command: Some(TypedCommand::of_this_process().as_root()), ..Facts::read_with(made) };
    let mut error = diagnose::explain(error, &facts, &failed);
    match error.cause {
        Some(_) => error.todo.push(text("common.todo.doctor")),
        None => error.why.push(errno.desc().to_owned()),
    }
    if let Call::Process(ProcessCall::Exec { path, .. }) = &step.call {
        error = diagnose::executable::explain(error, path.as_ref(), plan, errno);
    }
    error = diagnose::arguments::explain(error, &step.call, errno);
    // Some steps have a message of their own for an errno: `time.offset.ERANGE` beside `time.offset.why`.
    if let Some(meaning) = text_if_any(&step.why.replace(".why", &format!(".{errno:?}"))) {
        error.why.retain(|why| why != errno.desc());
        if error.cause == Some(diagnose::UNKNOWN) {
            // The cause is known after all: the facts that were checked explain nothing more.
            error.cause = None;
            error.why.clear();
        }
        error.why.insert(0, meaning);
        let advice = |part: &str| text_if_any(&step.why.replace(".why", &format!(".{errno:?}.{part}")));
        if let (Some(todo), Some(command)) = (advice("todo"), advice("command")) {
            error.todo.insert(0, format!("{todo}\n   {command}"));
        }
    }
    error
}

/// The error for a plan that this machine does not allow.
pub(super) fn refused(problem: &Problem) -> Error {
    let what = format!("{}: {}", problem.purpose, problem.error.what);
    Error { what, ..problem.error.clone() }
}
