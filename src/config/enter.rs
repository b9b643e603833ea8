//! Entering what is there already: a plan of joins, as nsenter(1) makes it. setns(2)

use super::compose::{Ending, frame};
use crate::feature::{Feature, Purpose};
use crate::host::ProgramFile;
use crate::observe::proc::namespace_link;
use crate::plan::call::process::{Namespaces, ProcessCall};
use crate::plan::order::Phase;
use crate::plan::{Actor, Draft, Plan};

/// The namespaces of a process that aren't the caller's own.
pub fn others(pid: i32) -> Vec<Feature> {
    let process = format!("/proc/{pid}");
    let is_other = |kind: &Feature| {
        let (theirs, own) = (namespace_link(&process, *kind).ok(), namespace_link("/proc/self", *kind).ok());
        theirs.is_some() && theirs != own
    };
    Feature::NAMESPACES.iter().copied().filter(is_other).collect()
}

/// The plan: a process between joins, and makes the child, since pid and time namespaces hold for children only.
pub fn plan(pid: i32, namespaces: &[Feature], program: ProgramFile, ending: Ending, view: bool) -> Plan {
    let mut draft = Draft::new(Purpose::Container, Vec::new());
    if program.can_be_left {
        // What is at /proc in there may be anything.
        let leave = ProcessCall::LeaveProgram { copied: true };
        draft.common(Phase::ParentDeathSignal, Actor::Child, leave, "run.own.why");
    } else {
        draft.common(Phase::Program, Actor::Host, ProcessCall::ExecuteCopy, "run.copy.why");
    }
    frame(&mut draft, ending, view, true, None);
    let helper = Actor::Helper;
    // Nobody in there may trace a process that still has the caller's credentials and descriptors.
    draft.common(Phase::Offsets, helper, ProcessCall::Undumpable, "enter.undumpable.why");
    let joined = Namespaces::of(namespaces);
    draft.common(
        Phase::Offsets,
        helper,
        ProcessCall::Join { pid: Some(pid), namespaces: joined },
        "enter.join.why",
    );
    if namespaces.contains(&Feature::User) {
        // The caller's own id may have no number in there; 0 is whoever the maps say.
        draft.common(Phase::Offsets, helper, ProcessCall::SetGroup(0), "enter.root.why");
        draft.common(Phase::Offsets, helper, ProcessCall::SetUser(0), "enter.root.why");
        // Where fs.suid_dumpable is 1, a change of ids makes it traceable again.
        draft.common(Phase::Offsets, helper, ProcessCall::Undumpable, "enter.undumpable.why");
    }
    draft.through_helper();
    draft.finish()
}

/// A file that a process sees, by a path of the caller's: its root is a link below /proc. proc_pid_root(5)
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
        let place = |words: &str| calls.iter().position(|call| call.contains(words)).unwrap();
        let join = place("setns(<pidfd of 1>, CLONE_NEWUTS|CLONE_NEWPID)");
        assert!(place("PR_SET_DUMPABLE, 0") < join && join < place("CLONE_PARENT") && join < place("execve"));
    }
}
