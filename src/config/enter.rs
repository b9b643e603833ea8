//! Enters the namespaces of a running container: a plan of setns(2) calls, as nsenter(1) makes them.

use std::path::Path;

use super::compose::{Ending, frame};
use crate::feature::{Feature, Purpose};
use crate::host::ProgramFile;
use crate::host::resolver::Resolver;
use crate::observe::proc::namespace_link;
use crate::plan::call::process::{Namespaces, ProcessCall};
use crate::plan::order::Phase;
use crate::plan::{Actor, Draft, Plan};

/// The namespaces of a process that differ from those of the caller.
pub fn others(pid: i32) -> Vec<Feature> {
    let process = format!("/proc/{pid}");
    let is_other = |kind: &Feature| {
        let (theirs, own) = (namespace_link(&process, *kind).ok(), namespace_link("/proc/self", *kind).ok());
        theirs.is_some() && theirs != own
    };
    Feature::NAMESPACES.iter().copied().filter(is_other).collect()
}

/// The plan. A helper process joins the namespaces and then makes the child, because a process enters a PID or time
/// namespace only as a new child.
pub fn plan(pid: i32, namespaces: &[Feature], program: ProgramFile, ending: Ending, view: bool) -> Plan {
    let mut draft = Draft::new(Purpose::Container, Vec::new());
    if program.can_be_left {
        // /proc inside belongs to the container and may be hostile.
        let leave = ProcessCall::LeaveProgram { copied: true };
        draft.common(Phase::ParentDeathSignal, Actor::Child, leave, "run.own.why");
    } else {
        draft.common(Phase::Program, Actor::Host, ProcessCall::ExecuteCopy, "run.copy.why");
    }
    draft.tree(Resolver::new(Some(Path::new(&root(pid)))));
    frame(&mut draft, ending, view, true, None);
    let helper = Actor::Helper;
    // The helper still has the caller's credentials and descriptors, so no process of the container may trace it.
    draft.common(Phase::Offsets, helper, ProcessCall::Undumpable, "enter.undumpable.why");
    let joined = Namespaces::of(namespaces);
    draft.common(
        Phase::Offsets,
        helper,
        ProcessCall::Join { pid: Some(pid), namespaces: joined },
        "enter.join.why",
    );
    if namespaces.contains(&Feature::User) {
        // The caller's own ID may not be mapped in the user namespace. The helper becomes root inside.
        draft.common(Phase::Offsets, helper, ProcessCall::SetGroup(0), "enter.root.why");
        draft.common(Phase::Offsets, helper, ProcessCall::SetUser(0), "enter.root.why");
        // If fs.suid_dumpable is 1, a change of IDs makes the process dumpable, and so traceable, again.
        draft.common(Phase::Offsets, helper, ProcessCall::Undumpable, "enter.undumpable.why");
    }
    draft.through_helper();
    draft.finish()
}

/// The root directory of a process, as a path of the caller: a link in /proc. proc_pid_root(5)
pub fn root(pid: i32) -> String {
    format!("/proc/{pid}/root")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_of_joins_makes_no_namespace() {
        let ending = Ending::Command { path: "/bin/true".into(), arguments: vec!["true".into()] };
        let plan = plan(1, &[Feature::Uts, Feature::Pid], ProgramFile::gather(), ending, false);
        assert!(plan.namespaces.is_empty());
        let calls: Vec<String> = plan.steps.iter().map(|step| step.call.to_string()).collect();
        let place = |part: &str| calls.iter().position(|call| call.contains(part)).unwrap();
        let join = place("setns(<pidfd of 1>, CLONE_NEWUTS|CLONE_NEWPID)");
        assert!(place("PR_SET_DUMPABLE, 0") < join && join < place("CLONE_PARENT") && join < place("execve"));
    }
}
