//! The controllers of cgroups, a page for each, and how cgroups are made and removed. All pages have the same order:
//! what the controller does, why one wants it, its files, the kernel's documentation, the options, the intents, what to
//! observe, the tests.
//!
//! An intent is one limit with its files and values of cgroup v1 and of cgroup v2. This file adds the steps that all
//! controllers share: a new cgroup in each hierarchy that has one of the controllers, its limits, and how the child
//! gets into it before its first instruction. cgroups(7)

pub mod blkio;
mod ceiling;
pub mod cpu;
pub mod devices;
pub mod memory;
mod obstacle;
pub mod pids;

use std::path::Path;

use self::obstacle::Advice;
use crate::feature::{Feature, Purpose};
use crate::host::cgroups::{CgroupParent, Obstacle};
use crate::host::{Host, run_lock};
use crate::observe::hierarchy::{Controller, Version};
use crate::plan::call::cgroup::CgroupCall;
use crate::plan::call::file::FileCall;
use crate::plan::order::Phase;
use crate::plan::undo::Undo;
use crate::plan::{Actor, Call, Draft, Intent, Setting};

/// The feature that a controller belongs to.
pub fn feature_of(controller: Controller) -> Feature {
    match controller {
        Controller::Memory => Feature::Memory,
        Controller::Cpu | Controller::Cpuacct | Controller::Cpuset => Feature::Cpu,
        Controller::Io => Feature::Blkio,
        Controller::Devices => Feature::Devices,
        Controller::Pids => Feature::Pids,
        // It limits nothing, so it belongs to no feature of its own.
        Controller::Freezer => Feature::Cgroup,
    }
}

/// An intent without settings. `why` is the key of its message.
fn intent(host: &Host, controller: Controller, why: &'static str, wish: String, docker: String) -> Intent {
    Intent {
        feature: feature_of(controller),
        controller,
        wish,
        v1: Vec::new(),
        v2: Vec::new(),
        here: host.cgroups.as_ref().and_then(|cgroups| cgroups.version(controller)),
        why,
        docker,
        note: None,
        is_idle: false,
        details: Vec::new(),
        program: None,
    }
}

/// The steps that make the cgroups and set their limits. It is called after all features have added their intents.
pub fn plan(host: &Host, draft: &mut Draft) {
    let Some(cgroups) = &host.cgroups else { return };
    if !cgroups.obstacles.is_empty() {
        let optional = match draft.purpose() {
            Purpose::Container => features_with_obstacles(&cgroups.obstacles),
            _ => Vec::new(),
        };
        let advice = Advice::here(host, optional);
        for (controller, obstacle) in &cgroups.obstacles {
            draft.problem(feature_of(*controller), advice.problem(*controller, obstacle));
        }
    }
    for parent in &cgroups.parents {
        let carried = ceiling::apply(parent, draft);
        let (name, feature) = (cgroups.name.as_str(), main_feature(parent));
        NewCgroup { parent, name, feature, carried, as_root: host.stands_in }.plan(draft);
    }
}

/// The features that need a controller for which no cgroup can be made.
fn features_with_obstacles(obstacles: &[(Controller, Obstacle)]) -> Vec<Feature> {
    let mut features: Vec<Feature> =
        obstacles.iter().map(|(controller, _)| feature_of(*controller)).collect();
    features.sort_unstable();
    features.dedup();
    features
}

/// The feature under which the shared steps of a hierarchy are shown.
fn main_feature(parent: &CgroupParent) -> Feature {
    parent.controllers.first().map_or(Feature::Memory, |controller| feature_of(*controller))
}

/// A cgroup that the plan makes in one hierarchy.
struct NewCgroup<'a> {
    parent: &'a CgroupParent,
    name: &'a str,
    feature: Feature,
    /// The limits of the caller that are set here too.
    carried: Vec<(Controller, Setting)>,
    /// Whether the plan is only printed, as root would run it.
    as_root: bool,
}

impl NewCgroup<'_> {
    fn plan(&self, draft: &mut Draft) {
        let (shared, own) = (self.parent.shared(), self.parent.shared().join(self.name));
        // While a run holds this lock, no other run removes the cgroup `sandbox`.
        let path = run_lock::path(&run_lock::of_cgroup(&self.parent.base), self.as_root);
        let lock = FileCall::LockShared { path, seconds: 5 };
        self.host(draft, lock, "limits.share.why");
        if !self.parent.is_occupied {
            self.enable(draft);
        }
        self.make(draft, &shared, true);
        match self.parent.version {
            Version::V1 => self.seed(draft, &shared),
            Version::V2 => self.delegate(draft, &shared),
        }
        self.make(draft, &own, false);
        if self.parent.version == Version::V1 {
            self.seed(draft, &own);
        }
        self.limit(draft, &own);
        match self.parent.version {
            Version::V1 => {
                let write = write(&own.join("tasks"), "0");
                draft.step(Phase::Join, Actor::Child, self.feature, write, "limits.join.why");
            }
            Version::V2 => self.host(draft, CgroupCall::Open { directory: own.clone() }, "limits.open.why"),
        }
    }

    fn host(&self, draft: &mut Draft, call: impl Into<Call>, why: &'static str) {
        draft.step(Phase::Groups, Actor::Host, self.feature, call, why);
    }

    fn make(&self, draft: &mut Draft, directory: &Path, shared: bool) {
        let call = CgroupCall::Make { directory: directory.to_owned(), shared };
        let (why, undo) = if shared {
            ("limits.shared.why", Undo::RemoveSharedGroup { path: directory.to_path_buf() })
        } else {
            ("limits.make.why", Undo::RemoveGroup { path: directory.to_path_buf() })
        };
        draft.undoable(Phase::Groups, Actor::Host, self.feature, call, why, undo);
    }

    /// A new cpuset of cgroup v1 has no CPUs and no memory nodes. A process can only be added after both are set.
    fn seed(&self, draft: &mut Draft, directory: &Path) {
        let Some((cpus, nodes)) = &self.parent.cpuset else { return };
        self.host(draft, write(&directory.join("cpuset.cpus"), cpus), "limits.seed.why");
        self.host(draft, write(&directory.join("cpuset.mems"), nodes), "limits.seed.why");
    }

    /// cgroup v2: a cgroup has only the controllers that cgroup.subtree_control of its parent enables. So they are
    /// enabled from the top down. A cgroup with enabled controllers may contain no processes, so a caller that is in it
    /// moves away first.
    fn delegate(&self, draft: &mut Draft, shared: &Path) {
        let all = self.parent.controllers.iter().chain(self.carried.iter().map(|(controller, _)| controller));
        let mut names: Vec<&str> = Vec::new();
        for name in all.filter_map(|one| one.name(Version::V2)) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        if self.parent.is_occupied {
            let own = shared.join(format!("{}-host", self.name));
            self.make(draft, &own, false);
            let back = Undo::MoveBack { path: self.parent.base.clone(), from: own.clone() };
            let leave = write(&own.join("cgroup.procs"), "0");
            draft.undoable(Phase::Groups, Actor::Host, self.feature, leave, "limits.leave.why", back);
            self.enable(draft);
        }
        if !names.is_empty() {
            self.host(draft, write(&shared.join("cgroup.subtree_control"), &plus(&names)), "limits.down.why");
        }
    }

    /// Enables the controllers in the parent of `sandbox`. Those that were not enabled before are disabled again at the
    /// end.
    fn enable(&self, draft: &mut Draft) {
        if self.parent.to_enable.is_empty() {
            return;
        }
        let enable = write(&self.parent.base.join("cgroup.subtree_control"), &plus(&self.parent.to_enable));
        if self.parent.missing.is_empty() {
            self.host(draft, enable, "limits.down.why");
        } else {
            let undo = Undo::WithdrawControllers {
                path: self.parent.base.clone(),
                controllers: self.parent.missing.iter().map(|name| (*name).to_owned()).collect(),
            };
            draft.undoable(Phase::Groups, Actor::Host, self.feature, enable, "limits.down.why", undo);
        }
    }

    fn limit(&self, draft: &mut Draft, own: &Path) {
        let mut calls: Vec<(Feature, Call, &'static str)> = Vec::new();
        for intent in draft.intents().iter().filter(|one| self.parent.controllers.contains(&one.controller)) {
            if let (Some(program), Version::V2) = (&intent.program, self.parent.version) {
                let call = CgroupCall::AttachProgram { directory: own.to_owned(), program: program.clone() };
                calls.push((intent.feature, call.into(), intent.why));
                continue;
            }
            calls.extend(intent.settings().iter().map(|setting| {
                let (directory, setting, controller) = (own.to_owned(), setting.clone(), intent.controller);
                let call = match intent.is_idle {
                    true => CgroupCall::Offer { directory, controller, setting },
                    false => CgroupCall::Set { directory, controller, setting },
                };
                (intent.feature, call.into(), intent.why)
            }));
        }
        // After the others: the kernel refuses a sum of memory and swap (v1) below the limit of memory.
        calls.extend(self.carried.iter().map(|(controller, setting)| {
            let call = CgroupCall::Set {
                directory: own.to_path_buf(),
                controller: *controller,
                setting: setting.clone(),
            };
            (feature_of(*controller), call.into(), "limits.carry.why")
        }));
        for (feature, call, why) in calls {
            draft.step(Phase::Groups, Actor::Host, feature, call, why);
        }
    }
}

/// The string that enables controllers in cgroup.subtree_control: `+memory +pids`.
fn plus(names: &[&str]) -> String {
    names.iter().map(|name| format!("+{name}")).collect::<Vec<_>>().join(" ")
}

fn write(file: &Path, content: &str) -> FileCall {
    FileCall::Write { path: file.to_owned(), content: content.to_owned() }
}
