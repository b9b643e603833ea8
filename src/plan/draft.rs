//! A draft of a plan. Features add steps in any order, and `finish` sorts them.

use super::call::Call;
use super::call::cgroup::CgroupCall;
use super::call::detached::DetachedMountCall;
use super::call::join::JoinCall;
use super::call::mount::MountCall;
use super::call::process::{Namespaces, ProcessCall};
use super::joined::{JoinTurn, Joined};
use super::order::Phase;
use super::undo::Undo;
use super::{Actor, Addition, Frame, Intent, Plan, Problem, Step, behind};
use crate::error::Error;
use crate::feature::{Feature, Purpose};
use crate::host::resolver::Resolver;
use crate::text::{text, text_with};
use crate::value::join::JoinTarget;
use crate::value::shell::quote;

/// Collects the steps of all features.
#[derive(Debug, Clone)]
pub struct Draft {
    /// What the user asked for. Steps that serve the whole of it are for this purpose.
    purpose: Purpose,
    namespaces: Namespaces,
    /// The namespaces that are joined.
    joined: Vec<Joined>,
    /// Whether a helper creates the child, after it has joined namespaces.
    has_helper: bool,
    name: Option<String>,
    timeout: Option<u64>,
    tree: Resolver,
    frame: Frame,
    entered: (Vec<(Feature, String)>, Vec<String>),
    added: Vec<Addition>,
    notes: Vec<String>,
    limit_notes: Vec<String>,
    kept_notes: Vec<String>,
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
            joined: Vec::new(),
            has_helper: false,
            name: None,
            timeout: None,
            tree: Resolver::default(),
            frame: Frame::default(),
            entered: Default::default(),
            added,
            notes: Vec::new(),
            limit_notes: Vec::new(),
            kept_notes: Vec::new(),
            steps: Vec::new(),
            problems: Vec::new(),
            intents: Vec::new(),
        }
    }

    /// Makes room for the steps of a whole container, which are about 80, so that their list does not have to grow and move.
    pub fn reserve(&mut self) {
        self.steps.reserve(96);
    }

    /// Asks for a new namespace.
    pub fn isolate(&mut self, feature: Feature) {
        self.namespaces.insert(feature);
    }

    /// Joins a namespace that exists already.
    pub fn join(&mut self, joined: Joined) {
        self.joined.push(joined);
    }

    /// Names the container.
    pub fn name(&mut self, name: Option<String>) {
        self.name = name;
    }

    /// Limits how long the command may run, in seconds.
    pub fn timeout(&mut self, seconds: Option<u64>) {
        self.timeout = seconds;
    }

    /// Sets what paths in the container resolve to.
    pub fn tree(&mut self, tree: Resolver) {
        self.tree = tree;
    }

    /// Sets what the plan has around the container itself.
    pub fn frame(&mut self, frame: Frame) {
        self.frame = frame;
    }

    /// What the plan has around the container itself.
    pub fn around(&self) -> &Frame {
        &self.frame
    }

    /// Enters a container: the command must be in these namespaces, and in these lines of /proc/PID/cgroup.
    pub fn enters(&mut self, namespaces: Vec<(Feature, String)>, cgroups: Vec<String>) {
        self.entered = (namespaces, cgroups);
    }

    /// Lets a helper create the child: a process that joins a PID namespace is not in it, but its children are.
    /// setns(2)
    pub fn through_helper(&mut self) {
        self.has_helper = true;
    }

    /// Adds a step for `purpose`. `why` is the key of a message.
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

    /// Adds a step that leaves something on the host, with the way to undo it.
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

    /// Sets the parent-death signal, if the plan has one. It is set again wherever the kernel has cleared it.
    pub fn die_with_parent(
        &mut self,
        phase: Phase,
        actor: Actor,
        purpose: impl Into<Purpose>,
        why: &'static str,
    ) {
        if self.frame.parent_death_signal {
            self.step(phase, actor, purpose, ProcessCall::DieWithParent, why);
        }
    }

    /// Whether a process of `sandbox` may stay to serve published ports.
    pub fn may_relay(&self) -> bool {
        self.frame.relay
    }

    /// Adds something that the user should know about what they asked for.
    pub fn note(&mut self, note: String) {
        self.notes.push(note);
    }

    /// Adds a note about limits of the caller's cgroup.
    pub fn limit_note(&mut self, note: String) {
        self.limit_notes.push(note.clone());
        self.notes.push(note);
    }

    /// Adds a note that a container which stays reports too: about something that no flag asks for, or a flag without an effect.
    pub fn kept_note(&mut self, note: String) {
        self.kept_notes.push(note.clone());
        self.notes.push(note);
    }

    /// Adds something that this machine does not allow.
    pub fn problem(&mut self, purpose: impl Into<Purpose>, error: Error) {
        self.problems.push(Problem { purpose: purpose.into(), key: None, error });
    }

    /// Adds a problem of one option of a feature.
    pub fn problem_of(&mut self, feature: Feature, key: &str, error: Error) {
        self.problem_at(feature, &format!("{feature}.{key}"), error);
    }

    /// Adds a problem of this key of a spec.
    pub fn problem_at(&mut self, feature: Feature, key: &str, error: Error) {
        self.problems.push(Problem { purpose: feature.into(), key: Some(key.to_owned()), error });
    }

    /// Whether the options of a feature were given as flags: this is the plan of its subcommand. Otherwise they are keys
    /// of a spec.
    pub fn are_flags(&self, feature: Feature) -> bool {
        self.purpose == feature
    }

    /// The name of an option as it was given: `--map-user` on the command line, `map_user` in a spec.
    pub fn option(&self, feature: Feature, key: &str) -> String {
        match self.are_flags(feature) {
            true => format!("--{}", key.replace('_', "-")),
            false => key.to_owned(),
        }
    }

    /// An option with its value, as it was given: `--limit 64m` on the command line, `limit: 64m` in a spec.
    pub fn option_with(&self, feature: Feature, key: &str, value: impl std::fmt::Display) -> String {
        let (name, value) = (self.option(feature, key), value.to_string());
        match self.are_flags(feature) {
            true => format!("{name} {}", quote(&value)),
            false => format!("{name}: {value}"),
        }
    }

    /// Refuses an option together with `join`. `why` is the key of a message.
    pub fn refuse_joined(
        &mut self,
        feature: Feature,
        key: &str,
        value: impl std::fmt::Display,
        join: &JoinTarget,
        why: &str,
    ) {
        let option = self.option_with(feature, key, value);
        self.refuse_joined_at(feature, &format!("{feature}.{key}"), &option, join, why);
    }

    /// The same for this key of a spec.
    pub fn refuse_joined_at(
        &mut self,
        feature: Feature,
        key: &str,
        option: &str,
        join: &JoinTarget,
        why: &str,
    ) {
        let values = [("option", option), ("feature", feature.name()), ("target", &join.to_string())];
        let error = Error::failed(text_with("join.option.what", &values)).why(text(why));
        self.problem_at(feature, key, error.todo(text_with("join.option.todo", &values)));
    }

    /// Adds a limit, with its files of cgroup v1 and of cgroup v2.
    pub fn intent(&mut self, intent: Intent) {
        self.intents.push(intent);
    }

    /// The limits that were added so far.
    pub fn intents(&self) -> &[Intent] {
        &self.intents
    }

    /// The same, to change their values.
    pub fn intents_mut(&mut self) -> &mut [Intent] {
        &mut self.intents
    }

    /// What the user asked for.
    pub fn purpose(&self) -> Purpose {
        self.purpose
    }

    /// Whether `feature` gets a new namespace.
    pub fn isolates(&self, feature: Feature) -> bool {
        self.namespaces.contains(feature)
    }

    /// Whether a step mounts a filesystem of this type, `devpts`.
    pub fn mounts(&self, kind: &str) -> bool {
        self.steps.iter().any(|(_, step)| match &step.call {
            Call::Mount(MountCall::Filesystem { kind: mounted, .. }) => mounted == kind,
            Call::DetachedMount(DetachedMountCall::Make { kind: mounted, .. }) => mounted == kind,
            _ => false,
        })
    }

    /// Whether there is a step in this phase.
    pub fn has(&self, phase: Phase) -> bool {
        self.steps.iter().any(|(at, _)| *at == phase)
    }

    /// The plan. Adds the clone with the namespaces that were asked for, and puts the steps in order.
    pub fn finish(mut self) -> Plan {
        let namespaces = self.namespaces.clone();
        self.plan_joins();
        if namespaces.contains(Feature::Time) || self.has_helper {
            self.clone_through_helper();
        } else {
            let into_cgroup = self.clones_into_cgroup();
            let mut at_clone = namespaces.clone();
            // The cgroup in which a cgroup namespace is made becomes its root. If the child joins a cgroup after the
            // clone, the namespace is made after that.
            if self.has(Phase::Join) && at_clone.remove(Feature::Cgroup) {
                let late = ProcessCall::Unshare { namespaces: Namespaces::of(&[Feature::Cgroup]) };
                self.step(Phase::Join, Actor::Child, Feature::Cgroup, late, "cgroup.late.why");
            }
            let clone = ProcessCall::Clone { namespaces: at_clone, as_sibling: false, into_cgroup };
            let why =
                if namespaces == Namespaces::default() { "common.fork.why" } else { "common.clone.why" };
            self.common(Phase::Clone, Actor::Host, clone, why);
        }
        // The steps that confine the command come before an init forks it, so they apply to both. Without an init, the
        // child itself becomes the command.
        let forks = self.has(Phase::Init);
        for (phase, step) in &mut self.steps {
            if step.actor == Actor::Command && !(forks && *phase > Phase::Init) {
                step.actor = Actor::Child;
            }
        }
        // Sorted by cached keys: a step is a large value, and so it is moved only once.
        self.steps.sort_by_cached_key(|(phase, _)| *phase);
        let steps: Vec<Step> = std::mem::take(&mut self.steps).into_iter().map(|(_, step)| step).collect();
        let Draft {
            purpose,
            name,
            notes,
            limit_notes,
            kept_notes,
            timeout,
            added,
            mut problems,
            intents,
            ..
        } = self;
        problems.extend(behind::problems(&steps));
        Plan {
            purpose,
            as_root: false,
            name,
            notes,
            limit_notes,
            kept_notes,
            timeout,
            namespaces: namespaces.features(),
            joined: self.joined,
            added,
            intents,
            steps,
            config: None,
            tree: self.tree,
            frame: self.frame,
            entered_namespaces: self.entered.0,
            entered_cgroups: self.entered.1,
            problems,
        }
    }

    /// Whether a cgroup is opened in which the child is created.
    fn clones_into_cgroup(&self) -> bool {
        self.steps.iter().any(|(_, step)| matches!(step.call, Call::Cgroup(CgroupCall::Open { .. })))
    }

    /// Whether it joins a namespace whose processes could trace the helper and the child.
    pub fn is_exposed(&self) -> bool {
        let is_exposed = |joined: &Joined| matches!(joined.kind, Feature::Pid | Feature::User | Feature::Mnt);
        self.joined.iter().any(is_exposed)
    }

    /// The steps that join namespaces: OUTSIDE opens all of them, then the helper joins one after the other.
    ///
    /// setns(2) requires CAP_SYS_ADMIN in the user namespace that owns the other one. So a joined user namespace comes
    /// before what it owns. All others come before it, or before a new user namespace: behind it, the caller's own
    /// capabilities are lost.
    fn plan_joins(&mut self) {
        if self.joined.is_empty() {
            return;
        }
        self.has_helper = true;
        // The mount namespace last: its paths are not those of the host.
        self.joined.sort_by_key(|joined| (joined.turn, joined.kind == Feature::Mnt, joined.kind));
        for Joined { kind, path, identity, turn, .. } in self.joined.clone() {
            let open = JoinCall::Open { kind, path, identity };
            self.step(Phase::Namespaces, Actor::Host, kind, open, "join.open.why");
            let why = match (turn, kind) {
                (_, Feature::User) => "join.user.why",
                (_, Feature::Pid) => "join.pid.why",
                (JoinTurn::BeforeUser, _) => "join.before.why",
                (JoinTurn::AfterUser, _) => "join.after.why",
                _ => "join.enter.why",
            };
            self.step(Phase::Setns, Actor::Helper, kind, JoinCall::Enter { kind }, why);
        }
        // Processes in these namespaces could trace the helper and the child, which have the caller's descriptors.
        if self.is_exposed() {
            self.common(Phase::Join, Actor::Helper, ProcessCall::Undumpable, "enter.undumpable.why");
        }
        if self.isolates(Feature::User) {
            let user = ProcessCall::Unshare { namespaces: Namespaces::of(&[Feature::User]) };
            self.step(Phase::Setns, Actor::Helper, Feature::User, user, "join.unshare.why");
        }
    }

    /// A helper makes the new time namespace, or joins namespaces, for its children. The offsets of a time namespace
    /// must be written before its first process is created. The helper clones the child as its own sibling
    /// (CLONE_PARENT), so the host is the child's parent. Then the helper ends.
    fn clone_through_helper(&mut self) {
        let mut first = Namespaces::default();
        let mut rest = self.namespaces.clone();
        rest.remove(Feature::Time);
        // With joins, the helper makes the user namespace after them.
        if rest.remove(Feature::User) && self.joined.is_empty() {
            first.insert(Feature::User);
        }
        for (phase, step) in &mut self.steps {
            if matches!(
                phase,
                Phase::Join | Phase::Setns | Phase::Maps | Phase::Idmap | Phase::Identity | Phase::Offsets
            ) && step.actor == Actor::Child
            {
                step.actor = Actor::Helper;
            }
        }
        let joins_pids =
            self.joined.is_empty() || self.joined.iter().any(|joined| joined.kind == Feature::Pid);
        let (purpose, helper_why, child_why) = match self.has_helper {
            true if joins_pids => (self.purpose, "enter.helper.why", "enter.child.why"),
            true => (self.purpose, "enter.helper.why", "join.child.why"),
            false => (Feature::Time.into(), "time.helper.why", "time.enter.why"),
        };
        let helper = ProcessCall::CloneHelper { namespaces: first, into_cgroup: self.clones_into_cgroup() };
        self.step(Phase::Clone, Actor::Host, purpose, helper, helper_why);
        let clone = ProcessCall::Clone { namespaces: rest, as_sibling: true, into_cgroup: false };
        self.step(Phase::Enter, Actor::Helper, purpose, clone, child_why);
        // The helper ends by itself and needs no parent-death signal. The child does not inherit one, and sets its own
        // after the helper has cloned it.
        for (phase, _) in self.steps.iter_mut().filter(|(phase, _)| *phase == Phase::ParentDeathSignal) {
            *phase = Phase::Propagation;
        }
    }
}
