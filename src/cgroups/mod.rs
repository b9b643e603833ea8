//! The controllers of cgroups, one file each, all in the same order: what the kernel does, its documents, the flags, the
//! intents (one limit in the spelling of v1 and of v2), what to look at, the tests.
//!
//! Here is what they share: a group is made in every hierarchy that one of them is in, told its limits, and entered by the
//! child before its first instruction. cgroups(7)

pub mod blkio;
pub mod cpu;
pub mod devices;
pub mod memory;
mod obstacle;
pub mod pids;

use std::path::Path;

use crate::feature::Feature;
use crate::host::Host;
use crate::host::cgroups::CgroupParent;
use crate::observe::hierarchy::{Controller, Version};
use crate::plan::call::cgroup::CgroupCall;
use crate::plan::call::file::FileCall;
use crate::plan::order::Phase;
use crate::plan::undo::Undo;
use crate::plan::{Actor, Call, Draft, Intent};

/// The feature that a controller is a part of.
pub fn feature_of(controller: Controller) -> Feature {
    match controller {
        Controller::Memory => Feature::Memory,
        Controller::Cpu | Controller::Cpuacct | Controller::Cpuset => Feature::Cpu,
        Controller::Io => Feature::Blkio,
        Controller::Devices => Feature::Devices,
        Controller::Pids => Feature::Pids,
    }
}

/// An intent without words yet: `why` is its key in the catalogue.
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

/// The steps: the groups with what the features have put down as intents. After all of them.
pub fn plan(host: &Host, draft: &mut Draft) {
    let Some(cgroups) = &host.cgroups else { return };
    for (controller, obstacle) in &cgroups.obstacles {
        draft.problem(feature_of(*controller), obstacle::problem(*controller, obstacle, host));
    }
    for parent in &cgroups.parents {
        Group { parent, name: &cgroups.name, feature: main_feature(parent) }.plan(draft);
    }
}

fn main_feature(parent: &CgroupParent) -> Feature {
    parent.controllers.first().map_or(Feature::Memory, |controller| feature_of(*controller))
}

/// One group that is to be made.
struct Group<'a> {
    parent: &'a CgroupParent,
    name: &'a str,
    feature: Feature,
}

impl Group<'_> {
    fn plan(&self, draft: &mut Draft) {
        let (shared, own) = (self.parent.shared(), self.parent.shared().join(self.name));
        // As long as one run holds this lock, no other removes the cgroup `sandbox`.
        let lock = FileCall::LockShared { path: path(&self.parent.base), seconds: None };
        self.host(draft, lock, "limits.share.why");
        if !self.parent.is_occupied {
            self.enable(draft);
        }
        self.make(draft, &shared, true);
        match self.parent.version {
            Version::V1 => self.seed(draft, &shared),
            Version::V2 => self.hand_down(draft, &shared),
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
            Version::V2 => self.host(draft, CgroupCall::Open { directory: path(&own) }, "limits.open.why"),
        }
    }

    fn host(&self, draft: &mut Draft, call: impl Into<Call>, why: &'static str) {
        draft.step(Phase::Groups, Actor::Host, self.feature, call, why);
    }

    fn make(&self, draft: &mut Draft, directory: &Path, shared: bool) {
        let call = CgroupCall::Make { directory: path(directory), shared };
        let (why, undo) = if shared {
            ("limits.shared.why", Undo::RemoveSharedGroup { path: directory.to_path_buf() })
        } else {
            ("limits.make.why", Undo::RemoveGroup { path: directory.to_path_buf() })
        };
        draft.undoable(Phase::Groups, Actor::Host, self.feature, call, why, undo);
    }

    /// v1's cpuset begins empty, and takes no process until it's told which processors and memory nodes it has.
    fn seed(&self, draft: &mut Draft, directory: &Path) {
        let Some((cpus, nodes)) = &self.parent.cpuset else { return };
        self.host(draft, write(&directory.join("cpuset.cpus"), cpus), "limits.seed.why");
        self.host(draft, write(&directory.join("cpuset.mems"), nodes), "limits.seed.why");
    }

    /// v2: a group has the controllers that the one above hands down, so it's told from the top; and whoever hands down has
    /// no processes of its own, so the caller goes first, where it is in the way.
    fn hand_down(&self, draft: &mut Draft, shared: &Path) {
        let names: Vec<&str> =
            self.parent.controllers.iter().filter_map(|one| one.name(Version::V2)).collect();
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

    /// The directory above is told to hand down. What it didn't before is withdrawn at the end: after `sandbox` has gone, where
    /// that could be made later.
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
                let call = CgroupCall::AttachProgram { directory: path(own), program: program.clone() };
                calls.push((intent.feature, call.into(), intent.why));
                continue;
            }
            calls.extend(intent.settings().iter().map(|setting| {
                let (directory, setting, controller) = (path(own), setting.clone(), intent.controller);
                let call = match intent.is_idle {
                    true => CgroupCall::Offer { directory, setting },
                    false => CgroupCall::Set { directory, controller, setting },
                };
                (intent.feature, call.into(), intent.why)
            }));
        }
        for (feature, call, why) in calls {
            draft.step(Phase::Groups, Actor::Host, feature, call, why);
        }
    }
}

/// `+memory +pids`.
fn plus(names: &[&str]) -> String {
    names.iter().map(|name| format!("+{name}")).collect::<Vec<_>>().join(" ")
}

fn write(file: &Path, content: &str) -> FileCall {
    FileCall::Write { path: path(file), content: content.to_owned() }
}

fn path(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
