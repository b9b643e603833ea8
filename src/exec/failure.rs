//! From (step, errno) to a sentence: which step, which call, what it means, what to do, where to read on.

use nix::errno::Errno;
use nix::unistd::Pid;

use crate::diagnose::{self, Failed};
use crate::error::{Error, ExitKind};
use crate::host::facts::Facts;
use crate::plan::call::process::ProcessCall;
use crate::plan::{Call, Plan, Problem};
use crate::text::{text, text_if_any, text_with};

/// A step that failed, and the process that was being made, where there is one.
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
    // Each reason `….why` has its counterpart: what it is that can't be done.
    let cannot = text(&step.why.replace(".why", ".cannot"));
    let what = format!("{}: {cannot} ({place})", step.purpose);
    let kind = match (&step.call, errno) {
        (Call::Process(ProcessCall::Exec { .. }), Errno::ENOENT | Errno::ENOTDIR) => ExitKind::NotFound,
        (Call::Process(ProcessCall::Exec { .. }), _) => ExitKind::NotExecutable,
        _ => ExitKind::Failed,
    };
    let error = Error::new(kind, what).call(&step.call, errno);
    let failed = Failed { purpose: plan.purpose, call: &step.call, errno, own: &plan.namespaces };
    let mut error = diagnose::explain(error, &Facts::read_with(made), &failed);
    match error.cause {
        Some(_) => error.todo.push(text("common.todo.doctor")),
        None => error.why.push(errno.desc().to_owned()),
    }
    // The message for this errno of this step, where there is one: `time.offset.ERANGE` beside `time.offset.why`.
    if let Some(meaning) = text_if_any(&step.why.replace(".why", &format!(".{errno:?}"))) {
        error.why.retain(|why| why != errno.desc());
        error.why.insert(0, meaning);
    }
    error
}

/// A plan that this machine won't allow.
pub(super) fn refused(problem: &Problem) -> Error {
    let what = format!("{}: {}", problem.purpose, problem.error.what);
    Error { what, ..problem.error.clone() }
}
