//! Turns (step, errno) into an error for a person: which step and call failed, why, and what to do.

use nix::errno::Errno;
use nix::unistd::Pid;

use crate::diagnose::{self, Failed};
use crate::error::{Error, ExitKind};
use crate::feature::{Feature, Purpose};
use crate::host::facts::Facts;
use crate::plan::call::process::ProcessCall;
use crate::plan::{Call, Plan, Problem};
use crate::text::{text, text_if_any, text_of_options, text_with};
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
    let what = format!("{}: {cannot} ({place})", prefix(plan.purpose, step.purpose));
    let kind = match (&step.call, errno) {
        (Call::Process(ProcessCall::Exec { .. }), Errno::ENOENT | Errno::ENOTDIR) => ExitKind::NotFound,
        (Call::Process(ProcessCall::Exec { .. }), _) => ExitKind::NotExecutable,
        _ => ExitKind::Failed,
    };
    let error = Error::new(kind, what).call(without_preparation(&step.call.to_string()), errno);
    let failed = Failed { purpose: plan.purpose, call: &step.call, errno, own: &plan.namespaces };
    let facts = Facts { typed: Some(TypedCommand::of_this_process()), ..Facts::read_with(made) };
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
    let key = step.why.replace(".why", &format!(".{errno:?}"));
    if text_if_any(&key).is_some() {
        let meaning = text_of_options(plan.purpose == step.purpose, &key);
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

/// The calls of a step, without those that make a socket and set its options. They fail only for lack of memory or of
/// descriptors, and the errno says so.
fn without_preparation(calls: &str) -> String {
    let is_preparation = |call: &&str| ["socket(", "setsockopt("].iter().any(|name| call.starts_with(name));
    let rest: Vec<&str> = calls.split_inclusive("); ").filter(|call| !is_preparation(call)).collect();
    rest.concat()
}

/// The error for a plan that this machine does not allow.
pub(super) fn refused(plan: &Plan, problem: &Problem) -> Error {
    let what = format!("{}: {}", prefix(plan.purpose, problem.purpose), problem.error.what);
    let mut error = Error { what, ..problem.error.clone() };
    let is_of_files =
        |other: &&Problem| matches!(other.purpose, Purpose::Container) || other.purpose == Feature::Mnt;
    for other in plan.problems.iter().skip(1).filter(is_of_files) {
        let also = text_with("run.also", &[("what", &other.error.what)]);
        if other.error.what != problem.error.what && !error.why.contains(&also) {
            error.why.push(also);
        }
    }
    error
}

/// The subcommands whose plan is that of a container, besides `run`.
const OF_CONTAINERS: [&str; 7] = ["enter", "exec", "verify", "create", "start", "restart", "update"];

/// An error of a plan that another process has made for the command that was typed: it begins with that one.
pub fn as_typed(error: Error) -> Error {
    let typed = TypedCommand::of_this_process().subcommand();
    match error.what.strip_prefix("run: ").filter(|_| OF_CONTAINERS.contains(&&*typed)) {
        Some(rest) => Error { what: format!("{typed}: {rest}"), ..error },
        None => error,
    }
}

/// How an error begins: with the subcommand that was typed, and the feature, if that is another one.
fn prefix(whole: Purpose, part: Purpose) -> String {
    let typed = TypedCommand::of_this_process().subcommand();
    let is_alias = |feature: Feature| feature.aliases().contains(&typed.as_str());
    match whole.feature().filter(|feature| is_alias(*feature)) {
        _ if whole != part && part != Purpose::Container => format!("{}: {part}", prefix(whole, whole)),
        Some(_) => typed,
        None if whole == Purpose::Container && OF_CONTAINERS.contains(&&*typed) => typed,
        None => whole.name().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::complete::Completed;
    use crate::config::compose::Ending;
    use crate::config::spec::yaml;

    #[test]
    fn an_error_of_a_published_port_names_what_can_fail() {
        let calls = "socket(AF_INET, SOCK_STREAM, 0); setsockopt(<tcp socket>, SOL_SOCKET, SO_REUSEADDR, [1], 4); \
                     bind(<tcp socket>, {AF_INET, 0.0.0.0:80}); listen(<tcp socket>, 128)";
        assert_eq!(
            without_preparation(calls),
            "bind(<tcp socket>, {AF_INET, 0.0.0.0:80}); listen(<tcp socket>, 128)"
        );
        assert_eq!(without_preparation("setsid()"), "setsid()");
    }

    /// Each call of whole containers and of each feature, with each errno that calls return: where a reason is known, it
    /// is not followed by the sentence that none is known.
    #[test]
    fn a_cause_is_not_followed_by_no_rule() {
        let whole = "rootfs: host\npid: { init: true }\nuts: { hostname: box }\nipc:\ncgroup:\ntime: { boottime: 1h }\n\
                     user: { map: root }\nmemory: { limit: 64m }\npids: { max: 9 }\ncpu: { cpus: 0.5 }\n\
                     devices: { allow: ['/dev/null rw'] }\ncapabilities: default\nseccomp: default\n\
                     rlimits: { nofile: 64 }\nno_new_privileges: true\nrun_as: '0:0'\ntty: true\n\
                     mnt: { mounts: [{ type: tmpfs, target: /tmp }], readonly: true }\n";
        let nets = ["{ veth: true, publish: ['18080:80'] }", "{ mode: bridge, publish: ['18053:53/udp'] }"];
        let wholes = nets.map(|net| (Purpose::Container, format!("{whole}net: {net}\n")));
        let features =
            Feature::WITH_SUBCOMMAND.iter().map(|feature| ((*feature).into(), format!("{feature}:\n")));
        let errnos = [
            Errno::EPERM,
            Errno::EACCES,
            Errno::ENOSYS,
            Errno::EINVAL,
            Errno::ENOENT,
            Errno::ENOTDIR,
            Errno::EBUSY,
            Errno::EEXIST,
            Errno::ENOSPC,
            Errno::EAGAIN,
            Errno::ENOMEM,
            Errno::EMFILE,
            Errno::ENODEV,
            Errno::EROFS,
            Errno::EOPNOTSUPP,
            Errno::ERANGE,
            Errno::E2BIG,
        ];
        let none = text("doctor.unknown.why");
        let (mut known, mut unknown) = (0, 0);
        for (purpose, spec) in wholes.into_iter().chain(features) {
            let spec = yaml::read(&spec, "spec").expect("a spec");
            let arguments = vec!["true".into()];
            let ending = Ending::Command { path: "/bin/true".into(), arguments };
            let plan = Completed::of(&spec, purpose).plan(ending, false);
            for index in 0..plan.steps.len() {
                for errno in errnos {
                    let error = explain(&plan, index, errno, None);
                    let at = error.why.iter().position(|why| *why == none);
                    match at {
                        Some(at) => {
                            assert_eq!((at, error.cause), (0, Some(diagnose::UNKNOWN)), "{error:#?}");
                            unknown += 1;
                        }
                        None => known += 1,
                    }
                    assert!(!error.why.is_empty(), "{error:#?}");
                    if at.is_some() {
                        let facts = |why: &String| why.contains(": ") || *why == none;
                        assert!(error.why.iter().all(facts), "{error:#?}");
                    }
                }
            }
        }
        assert!(known > 1000 && unknown > 100, "{known} {unknown}");
    }
}
