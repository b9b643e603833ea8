//! A plan while it is being drawn: features add to it in any order, `finish` puts the steps in order.

use super::call::Call;
use super::call::cgroup::CgroupCall;
use super::call::detached::DetachedMountCall;
use super::call::mount::MountCall;
use super::call::process::{Namespaces, ProcessCall};
use super::order::Phase;
use super::undo::Undo;
use super::{Actor, Addition, Intent, Plan, Problem, Step};
use crate::error::Error;
use crate::feature::{Feature, Purpose};

/// Collects what features want.
#[derive(Debug)]
pub struct Draft {
    /// What the user asked for: steps that serve the whole of it carry its name.
    purpose: Purpose,
    namespaces: Namespaces,
    /// The child is made by a process between, which joins namespaces first.
    enters: bool,
    name: Option<String>,
    timeout: Option<u64>,
    added: Vec<Addition>,
    notes: Vec<String>,
    steps: Vec<(Phase, Step)>,
    problems: Vec<Problem>,
    intents: Vec<Intent>,
}

impl Draft {
    /// An empty draft for `purpose`.
    pub fn new(purpose: impl Into<Purpose>, added: Vec<Addition>) -> Self {
        Draft {
            purpose: purpose.into(),
            namespaces: Namespaces::default(),
            enters: false,
            name: None,
            timeout: None,
            added,
            notes: Vec::new(),
            // A whole container takes some eighty: let it not grow and move step by step.
            steps: Vec::with_capacity(96),
            problems: Vec::new(),
            intents: Vec::new(),
        }
    }

    /// Asks for a new namespace.
    pub fn isolate(&mut self, feature: Feature) {
        self.namespaces.insert(feature);
    }

    /// Calls the container something.
    pub fn name(&mut self, name: Option<String>) {
        self.name = name;
    }

    /// Bounds how long the command may run, in seconds.
    pub fn timeout(&mut self, seconds: Option<u64>) {
        self.timeout = seconds;
    }

    /// Has the child made by a process between: whoever joins a pid namespace is in it only by its children.
    pub fn enter(&mut self) {
        self.enters = true;
    }

    /// Adds a step for `purpose`; `why` is a key of the catalogue.
    pub fn step(
        &mut self,
        phase: Phase,
        actor: Actor,
        purpose: impl Into<Purpose>,
        call: impl Into<Call>,
        why: &'static str,
    ) {
        self.steps.push((phase, Step { actor, purpose: purpose.into(), call: call.into(), why, undo: None }));
    }

    /// Adds a step that leaves something on the host, with its undo.
    pub fn undoable(
        &mut self,
        phase: Phase,
        actor: Actor,
        purpose: impl Into<Purpose>,
        call: impl Into<Call>,
        why: &'static str,
        undo: Undo,
    ) {
        self.steps
            .push((phase, Step { actor, purpose: purpose.into(), call: call.into(), why, undo: Some(undo) }));
    }

    /// Adds a step that serves every feature.
    pub fn common(&mut self, phase: Phase, actor: Actor, call: impl Into<Call>, why: &'static str) {
        self.step(phase, actor, self.purpose, call, why);
    }

    /// Says something that the user should know of what they asked for.
    pub fn note(&mut self, note: String) {
        self.notes.push(note);
    }

    /// Says that this machine won't allow something.
    pub fn problem(&mut self, purpose: impl Into<Purpose>, error: Error) {
        self.problems.push(Problem { purpose: purpose.into(), error });
    }

    /// Says what a limit is in both spellings.
    pub fn intent(&mut self, intent: Intent) {
        self.intents.push(intent);
    }

    /// The limits that were said so far.
    pub fn intents(&self) -> &[Intent] {
        &self.intents
    }

    /// Whether `feature` has been asked for.
    pub fn isolates(&self, feature: Feature) -> bool {
        self.namespaces.contains(feature)
    }

    /// Whether a filesystem of this kind is mounted, `devpts`.
    pub fn mounts(&self, kind: &str) -> bool {
        self.steps.iter().any(|(_, step)| match &step.call {
            Call::Mount(MountCall::Filesystem { kind: mounted, .. }) => mounted == kind,
            Call::DetachedMount(DetachedMountCall::Make { kind: mounted, .. }) => mounted == kind,
            _ => false,
        })
    }

    /// Whether a step of this phase has been drawn.
    pub fn has(&self, phase: Phase) -> bool {
        self.steps.iter().any(|(at, _)| *at == phase)
    }

    /// The plan: the clone is drawn from the namespaces asked for, and the steps are put in order.
    pub fn finish(mut self) -> Plan {
        let namespaces = self.namespaces.clone();
        if namespaces.contains(Feature::Time) || self.enters {
            self.clone_through_helper();
        } else {
            let into_cgroup = self.is_born_in_cgroup();
            let mut at_clone = namespaces.clone();
            // A cgroup namespace takes the group that it's made in for its root: where the child joins one, it's made after.
            if self.has(Phase::Join) && at_clone.remove(Feature::Cgroup) {
                let late = ProcessCall::Unshare { namespaces: Namespaces::of(&[Feature::Cgroup]) };
                self.step(Phase::Join, Actor::Child, Feature::Cgroup, late, "cgroup.late.why");
            }
            let clone = ProcessCall::Clone { namespaces: at_clone, as_sibling: false, into_cgroup };
            let why =
                if namespaces == Namespaces::default() { "common.fork.why" } else { "common.clone.why" };
            self.common(Phase::Clone, Actor::Host, clone, why);
        }
        // What confines the command is done before an init forks it, and so holds for both. Without an init in between, the
        // child itself becomes the command.
        let forks = self.has(Phase::Init);
        for (phase, step) in &mut self.steps {
            if step.actor == Actor::Command && !(forks && *phase > Phase::Init) {
                step.actor = Actor::Child;
            }
        }
        // By their places: a step is large, and moved once.
        self.steps.sort_by_cached_key(|(phase, _)| *phase);
        let steps = std::mem::take(&mut self.steps).into_iter().map(|(_, step)| step).collect();
        let Draft { purpose, name, notes, timeout, added, problems, intents, .. } = self;
        Plan {
            purpose,
            name,
            notes,
            timeout,
            namespaces: namespaces.features(),
            added,
            intents,
            steps,
            problems,
        }
    }

    /// Whether a group has been opened for the child to be born in.
    fn is_born_in_cgroup(&self) -> bool {
        self.steps.iter().any(|(_, step)| matches!(step.call, Call::Cgroup(CgroupCall::Open { .. })))
    }

    /// The time namespace takes effect for children only, and only before the first of them its offsets can be written:
    /// the helper owns both, makes the child as its own sibling, so that the host stays its parent, and ends.
    fn clone_through_helper(&mut self) {
        let mut first = Namespaces::default();
        let mut rest = self.namespaces.clone();
        rest.remove(Feature::Time);
        if rest.remove(Feature::User) {
            first.insert(Feature::User);
        }
        for (phase, step) in &mut self.steps {
            if matches!(phase, Phase::Join | Phase::Maps | Phase::Idmap | Phase::Identity | Phase::Offsets)
                && step.actor == Actor::Child
            {
                step.actor = Actor::Helper;
            }
        }
        let (purpose, between, born) = match self.enters {
            true => (self.purpose, "enter.helper.why", "enter.child.why"),
            false => (Feature::Time.into(), "time.helper.why", "time.enter.why"),
        };
        let helper = ProcessCall::CloneHelper { namespaces: first, into_cgroup: self.is_born_in_cgroup() };
        self.step(Phase::Clone, Actor::Host, purpose, helper, between);
        let clone = ProcessCall::Clone { namespaces: rest, as_sibling: true, into_cgroup: false };
        self.step(Phase::Enter, Actor::Helper, purpose, clone, born);
        // The helper was on no leash of its own: it ends by itself. The child's comes after it is born.
        for (phase, _) in self.steps.iter_mut().filter(|(phase, _)| *phase == Phase::ParentDeathSignal) {
            *phase = Phase::Propagation;
        }
    }
}
