//! Finds the directories in which cgroups can be made: one for each mounted hierarchy, of cgroup v1 or v2. cgroups(7)
//!
//! It reads mountinfo, /proc/self/cgroup and cgroup.controllers. It never decides by the kernel's version.

use std::path::{Path, PathBuf};

use nix::unistd::AccessFlags;

use super::token::token;
use crate::observe::Unread;
use crate::observe::hierarchy::{Controller, Hierarchy, Version, controllers_in, find, read_hierarchies};

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
}

/// Why no cgroup can be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Obstacle {
    /// No mounted hierarchy has the controller.
    NotMounted,
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

impl Cgroups {
    /// Finds where cgroups with these controllers can be made.
    pub fn gather(wanted: &[Controller], unread: &mut Unread) -> Cgroups {
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
                cgroups.obstacles.push((*controller, Obstacle::NotMounted));
                continue;
            };
            cgroups.versions.push((*controller, hierarchy.version));
            match by_hierarchy.iter_mut().find(|(known, _)| known.mount == hierarchy.mount) {
                Some((_, controllers)) => controllers.push(*controller),
                None => by_hierarchy.push((hierarchy, vec![*controller])),
            }
        }
        for (hierarchy, controllers) in by_hierarchy {
            let parent = match hierarchy.version {
                Version::V1 => parent_v1(hierarchy, &controllers, unread),
                Version::V2 => parent_v2(hierarchy, &controllers, unread),
            };
            match parent {
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

fn parent_v1(
    hierarchy: &Hierarchy,
    controllers: &[Controller],
    unread: &mut Unread,
) -> Result<CgroupParent, Obstacle> {
    let base = hierarchy.mount.clone();
    if !is_writable(&base, unread) {
        return Err(Obstacle::NeedsRoot);
    }
    let mut read = |name| unread.text(base.join(name)).trim().to_owned();
    let has_cpuset = hierarchy.controllers.iter().any(|name| name == "cpuset");
    Ok(CgroupParent {
        version: Version::V1,
        controllers: controllers.to_vec(),
        to_enable: Vec::new(),
        missing: Vec::new(),
        is_occupied: false,
        cpuset: has_cpuset.then(|| (read("cpuset.cpus"), read("cpuset.mems"))),
        base,
    })
}

/// The directory to use on v2. For root it is the mount point. For another user it is the nearest delegated
/// directory, from the caller's cgroup upwards, that has all requested controllers enabled. If there is none, it is
/// the caller's own cgroup, if no other process is in it.
fn parent_v2(
    hierarchy: &Hierarchy,
    controllers: &[Controller],
    unread: &mut Unread,
) -> Result<CgroupParent, Obstacle> {
    let names: Vec<&'static str> =
        controllers.iter().filter_map(|controller| controller.name(Version::V2)).collect();
    let parent =
        |base: &Path, to_enable: &[&'static str], missing: Vec<&'static str>, is_occupied| CgroupParent {
            version: Version::V2,
            base: base.to_path_buf(),
            controllers: controllers.to_vec(),
            to_enable: to_enable.to_vec(),
            missing,
            is_occupied,
            cpuset: None,
        };
    let missing = |base: &Path, unread: &mut Unread| {
        let enabled = controllers_in(&base.join("cgroup.subtree_control"), unread);
        names.iter().copied().filter(|name| !enabled.iter().any(|known| known == name)).collect::<Vec<_>>()
    };
    let mount = &hierarchy.mount;
    // Only the root cgroup has no file cgroup.type. It alone can have processes and enable controllers.
    let kind = mount.join("cgroup.type");
    let is_root = unread.answer(&kind, kind.metadata()).is_none();
    if is_writable(mount, unread) && (is_root || missing(mount, unread).is_empty()) {
        // All are enabled again, even those that are enabled: another run may be about to disable those that it
        // enabled.
        return Ok(parent(mount, &names, missing(mount, unread), false));
    }
    if controllers.contains(&Controller::Devices) && !is_writable(mount, unread) {
        return Err(Obstacle::DeviceProgram);
    }
    let Some(own) = hierarchy.own().filter(|own| is_writable(own, unread)) else {
        return Err(Obstacle::NotDelegated(hierarchy.path.clone()));
    };
    let mut above: Vec<&Path> =
        own.ancestors().take_while(|directory| directory.starts_with(mount)).collect();
    above.truncate(above.iter().take_while(|directory| is_writable(directory, unread)).count());
    if let Some(base) = above.into_iter().find(|directory| missing(directory, unread).is_empty()) {
        return Ok(parent(base, &[], Vec::new(), false));
    }
    let available = controllers_in(&own.join("cgroup.controllers"), unread);
    let lacking: Vec<&'static str> =
        names.iter().copied().filter(|name| !available.iter().any(|known| known == name)).collect();
    if !lacking.is_empty() {
        return Err(Obstacle::Lacking(hierarchy.path.clone(), lacking));
    }
    let members = unread.text(own.join("cgroup.procs"));
    let is_alone = members.lines().all(|member| member == std::process::id().to_string());
    if is_alone {
        Ok(parent(&own, &names, missing(&own, unread), true))
    } else {
        Err(Obstacle::Occupied(hierarchy.path.clone()))
    }
}

/// Whether the caller may make a cgroup in a directory and move a process into it. cgroups(7), delegation
fn is_writable(directory: &Path, unread: &mut Unread) -> bool {
    let mut may_write = |path: &Path| unread.may(path, AccessFlags::W_OK);
    may_write(directory) && may_write(&directory.join("cgroup.procs"))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// Builds a delegated cgroup of plain files.
    fn tree(own: &str, files: &[(&str, &str)]) -> (PathBuf, Hierarchy) {
        let mount = std::env::temp_dir().join(format!("sandbox-tree-{:08x}", token()));
        for (name, content) in files {
            let path = mount.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        let hierarchy = Hierarchy {
            version: Version::V2,
            controllers: vec![],
            mount: mount.clone(),
            root: "/".into(),
            path: format!("/{own}").into(),
        };
        (mount, hierarchy)
    }

    #[test]
    fn a_cgroup_is_made_where_its_controllers_are_enabled() {
        let files = [
            ("cgroup.type", "domain"),
            ("cgroup.procs", "1"),
            ("cgroup.subtree_control", ""),
            ("app/cgroup.procs", ""),
            ("app/cgroup.subtree_control", "memory pids"),
            ("app/scope/cgroup.procs", "1"),
            ("app/scope/cgroup.subtree_control", ""),
            ("app/scope/cgroup.controllers", "memory pids"),
        ];
        let (mount, hierarchy) = tree("app/scope", &files);
        let base = |controllers: &[Controller]| {
            parent_v2(&hierarchy, controllers, &mut Unread::default()).map(|parent| parent.base)
        };
        assert_eq!(base(&[Controller::Memory, Controller::Pids]), Ok(mount.join("app")));
        assert_eq!(base(&[Controller::Io]), Err(Obstacle::Lacking("/app/scope".into(), vec!["io"])));
        fs::write(mount.join("app/cgroup.subtree_control"), "pids").unwrap();
        assert_eq!(base(&[Controller::Memory]), Err(Obstacle::Occupied("/app/scope".into())));
        fs::write(mount.join("app/scope/cgroup.procs"), std::process::id().to_string()).unwrap();
        let parent = parent_v2(&hierarchy, &[Controller::Memory], &mut Unread::default()).unwrap();
        assert_eq!(
            (parent.base, parent.missing, parent.is_occupied),
            (mount.join("app/scope"), vec!["memory"], true)
        );
        fs::remove_dir_all(mount).unwrap();
    }
}
