//! Finds the directories in which cgroups can be made: one for each mounted hierarchy, of cgroup v1 or v2. cgroups(7)
//!
//! A new cgroup is below the caller's own, so every limit of the caller applies to it too. Where the caller's own cgroup
//! cannot have children, it is below the nearest ancestor that can. The limits of the levels between the two are then
//! read ([`Ceiling`]), and are set in the new cgroup.
//!
//! It reads mountinfo, /proc/self/cgroup and cgroup.controllers. It never decides by the kernel's version.

mod ceiling;
mod left;
mod level;

use std::fs;
use std::path::PathBuf;

pub use self::ceiling::Ceiling;
pub use self::left::LeftLimits;
use super::token::token;
use crate::observe::Unread;
use crate::observe::hierarchy::{Controller, Hierarchy, Version, find, hierarchies, read_hierarchies};

/// Where cgroups can be made for the requested controllers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cgroups {
    /// The directory name of this run's cgroup in each hierarchy. It is random, so no other run has it.
    pub name: String,
    /// The version of the interface that each controller has on this machine.
    pub versions: Vec<(Controller, Version)>,
    /// The directories in which the cgroup can be made, one for each hierarchy.
    pub parents: Vec<CgroupParent>,
    /// The controllers for which no cgroup can be made, with the reason.
    pub obstacles: Vec<(Controller, Obstacle)>,
}

/// The directory of one hierarchy in which the shared cgroup `sandbox` is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CgroupParent {
    /// The hierarchy's interface.
    pub version: Version,
    /// The hierarchy's mount point.
    pub mount: PathBuf,
    /// The directory.
    pub base: PathBuf,
    /// The requested controllers in this hierarchy.
    pub controllers: Vec<Controller>,
    /// v2: the controllers to enable in the directory's cgroup.subtree_control.
    pub to_enable: Vec<&'static str>,
    /// v2: those of them that are not enabled yet.
    pub missing: Vec<&'static str>,
    /// v2: whether the caller itself is in the directory. It must leave before controllers can be enabled there.
    pub is_occupied: bool,
    /// The CPUs and memory nodes of the directory, for cpuset on v1. There, a new cgroup has none until they are
    /// written to it.
    pub cpuset: Option<(String, String)>,
    /// Whether the directory is not above the caller's cgroup: that of a container that stays.
    pub is_apart: bool,
    /// The limits of the caller that our values must not exceed.
    pub ceilings: Vec<Ceiling>,
    /// v1: the lines of the directory's devices.list. None if every device is allowed, empty if none is.
    pub devices: Option<Vec<String>>,
}

/// Why no cgroup can be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Obstacle {
    /// /proc is not mounted, so the mounts cannot be read.
    NoProc,
    /// No cgroup filesystem is mounted.
    NothingMounted,
    /// No mounted hierarchy has the controller.
    NotMounted,
    /// The controller is disabled by an option of the kernel's command line.
    Disabled,
    /// The cgroup filesystem is mounted read-only.
    ReadOnly(PathBuf),
    /// The caller's cgroup, the first path, is not below the mount point, the second path.
    Elsewhere(PathBuf, PathBuf),
    /// The cgroup `sandbox`, in which the new one would be, is frozen. A new process would not run.
    Frozen(PathBuf),
    /// v2: a file of a cgroup, cgroup.max.depth or cgroup.max.descendants, allows no further cgroups below it.
    Full(PathBuf, String),
    /// The new cgroup cannot be below this level, and this limit of the level cannot be set in it.
    Unliftable(PathBuf, String),
    /// v1: only root can write to the hierarchy.
    NeedsRoot,
    /// v2: the caller's cgroup is not delegated to the caller.
    NotDelegated(PathBuf),
    /// v2: these controllers are not available in the delegated cgroup.
    Lacking(PathBuf, Vec<&'static str>),
    /// v2: other processes are in the caller's cgroup. A cgroup can have processes or enable controllers for its
    /// children, not both.
    Occupied(PathBuf),
    /// v2: only root can attach a device program (BPF).
    DeviceProgram,
}

/// Whether the kernel counts the swap of each cgroup. A kernel that does not has no file for a limit of it.
pub fn counts_swap() -> bool {
    let all = hierarchies("/proc/self");
    let Some(memory) = find(&all, Controller::Memory) else { return false };
    if memory.version == Version::V1 {
        return memory.mount.join("memory.memsw.limit_in_bytes").exists();
    }
    // The root cgroup of v2 has no limits. Those below it have, where the controller is enabled.
    let below = fs::read_dir(&memory.mount).into_iter().flatten().flatten().map(|entry| entry.path());
    let limited = memory.own().into_iter().chain(below).find(|cgroup| cgroup.join("memory.max").exists());
    limited.map_or_else(|| "/proc/swaps".into(), |cgroup| cgroup.join("memory.swap.max")).exists()
}

impl Cgroups {
    /// Finds where cgroups with these controllers can be made by the caller; or with `as_root`, by root in the caller's
    /// cgroup.
    pub fn gather(wanted: &[Controller], as_root: bool, unread: &mut Unread) -> Cgroups {
        let hierarchies = read_hierarchies("/proc/self", unread);
        let mut cgroups = Cgroups {
            name: format!("{:08x}", token()),
            versions: Vec::new(),
            parents: Vec::new(),
            obstacles: Vec::new(),
        };
        let mut wanted = wanted.to_vec();
        let version = |controller| find(&hierarchies, controller).map(|hierarchy| hierarchy.version);
        // On v2, delayed writes of a page are charged to the cgroup that owns its memory. So io needs memory too.
        let both = [Controller::Io, Controller::Memory];
        if wanted.contains(&both[0])
            && !wanted.contains(&both[1])
            && both.map(version) == [Some(Version::V2); 2]
        {
            wanted.push(Controller::Memory);
        }
        let mut by_hierarchy: Vec<(&Hierarchy, Vec<Controller>)> = Vec::new();
        for controller in &wanted {
            let Some(hierarchy) = find(&hierarchies, *controller) else {
                cgroups.obstacles.push((*controller, missing(*controller, &hierarchies, unread)));
                continue;
            };
            cgroups.versions.push((*controller, hierarchy.version));
            match by_hierarchy.iter_mut().find(|(known, _)| known.mount == hierarchy.mount) {
                Some((_, controllers)) => controllers.push(*controller),
                None => by_hierarchy.push((hierarchy, vec![*controller])),
            }
        }
        for (hierarchy, controllers) in by_hierarchy {
            match level::parent(hierarchy, &controllers, as_root, unread) {
                Ok(parent) => cgroups.parents.push(parent),
                Err(obstacle) => {
                    let each = |controller| (controller, obstacle.clone());
                    cgroups.obstacles.extend(controllers.into_iter().map(each));
                }
            }
        }
        cgroups
    }

    /// The same with another name, for a second cgroup.
    pub fn renamed(&self) -> Cgroups {
        Cgroups { name: format!("{:08x}", token()), ..self.clone() }
    }

    /// The version of the interface that a controller has here.
    pub fn version(&self, controller: Controller) -> Option<Version> {
        self.versions.iter().find(|(known, _)| *known == controller).map(|(_, version)| *version)
    }

    /// Where the cgroup for a controller would be made.
    pub fn parent(&self, controller: Controller) -> Option<&CgroupParent> {
        self.parents.iter().find(|parent| parent.controllers.contains(&controller))
    }
}

impl CgroupParent {
    /// The directory `sandbox`, which contains the cgroups of all runs in this hierarchy.
    pub fn shared(&self) -> PathBuf {
        self.base.join("sandbox")
    }
}

/// Why no mounted hierarchy has a controller.
fn missing(controller: Controller, hierarchies: &[Hierarchy], unread: &mut Unread) -> Obstacle {
    let name = controller.name(Version::V1).unwrap_or_default();
    // The last column of /proc/cgroups is 0 if the controller is disabled: cgroup_disable=memory
    let table = unread.text("/proc/cgroups");
    let mut rows = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    if rows.any(|row| row.first() == Some(&name) && row.last() == Some(&"0")) {
        Obstacle::Disabled
    } else if fs::metadata("/proc/self/ns").is_err() {
        Obstacle::NoProc
    } else if hierarchies.is_empty() {
        Obstacle::NothingMounted
    } else {
        Obstacle::NotMounted
    }
}
