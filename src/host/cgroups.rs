//! Where cgroups can be made: which hierarchies are mounted, v1, v2 or both, and which directory of each is the caller's to
//! use. Found by looking at mountinfo, /proc/self/cgroup and cgroup.controllers, never by a version. cgroups(7)

use std::path::{Path, PathBuf};

use nix::unistd::AccessFlags;

use super::token::token;
use crate::observe::Unread;
use crate::observe::hierarchy::{Controller, Hierarchy, Version, controllers_in, find, read_hierarchies};

/// Where groups of ours can be made, for the controllers that were asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cgroups {
    /// The directory's name that all groups of this run have: no one else's.
    pub name: String,
    /// Which interface each controller has on this machine.
    pub versions: Vec<(Controller, Version)>,
    /// Where they can be made.
    pub sites: Vec<Site>,
    /// What stands in the way of others.
    pub obstacles: Vec<(Controller, Obstacle)>,
}

/// A directory in which `sandbox` can be made, in one hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Site {
    /// The hierarchy's interface.
    pub version: Version,
    /// The directory.
    pub base: PathBuf,
    /// Which of the controllers asked for are in this hierarchy.
    pub controllers: Vec<Controller>,
    /// v2: those that the directory is told to hand down.
    pub handed_down: Vec<&'static str>,
    /// v2: those of them that it didn't hand down before.
    pub missing: Vec<&'static str>,
    /// v2: the caller is itself in the directory, alone: it must leave before that can hand anything down.
    pub is_occupied: bool,
    /// v1's cpuset: the processors and memory nodes of the directory, which every new group must be told.
    pub cpuset: Option<(String, String)>,
}

/// Why no group can be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Obstacle {
    /// No hierarchy has the controller.
    NotThere,
    /// v1 belongs to root.
    NotRoots,
    /// v2: the caller's cgroup isn't theirs to divide.
    NotDelegated(PathBuf),
    /// v2: what is delegated has no such controller. The others that it lacks besides.
    Lacking(PathBuf, Vec<&'static str>),
    /// v2: other processes are in the caller's cgroup: a cgroup has processes or hands controllers down, never both.
    Occupied(PathBuf),
    /// v2: a device program takes root.
    Program,
}

impl Cgroups {
    /// Looks where groups with these controllers can be made.
    pub fn gather(wanted: &[Controller], unread: &mut Unread) -> Cgroups {
        let hierarchies = read_hierarchies("/proc/self", unread);
        let mut cgroups = Cgroups {
            name: format!("{:08x}", token()),
            versions: Vec::new(),
            sites: Vec::new(),
            obstacles: Vec::new(),
        };
        let mut wanted = wanted.to_vec();
        let version = |controller| find(&hierarchies, controller).map(|hierarchy| hierarchy.version);
        // On v2 a page that is written late is charged to the group that its memory is charged to.
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
                cgroups.obstacles.push((*controller, Obstacle::NotThere));
                continue;
            };
            cgroups.versions.push((*controller, hierarchy.version));
            match by_hierarchy.iter_mut().find(|(known, _)| known.mount == hierarchy.mount) {
                Some((_, controllers)) => controllers.push(*controller),
                None => by_hierarchy.push((hierarchy, vec![*controller])),
            }
        }
        for (hierarchy, controllers) in by_hierarchy {
            let site = match hierarchy.version {
                Version::V1 => site_v1(hierarchy, &controllers, unread),
                Version::V2 => site_v2(hierarchy, &controllers, unread),
            };
            match site {
                Ok(site) => cgroups.sites.push(site),
                Err(obstacle) => {
                    let each = |controller| (controller, obstacle.clone());
                    cgroups.obstacles.extend(controllers.into_iter().map(each));
                }
            }
        }
        cgroups
    }

    /// Another name, for another group beside the first.
    pub fn renamed(&self) -> Cgroups {
        Cgroups { name: format!("{:08x}", token()), ..self.clone() }
    }

    /// Which interface a controller has here.
    pub fn version(&self, controller: Controller) -> Option<Version> {
        self.versions.iter().find(|(known, _)| *known == controller).map(|(_, version)| *version)
    }

    /// Where a controller's group would be.
    pub fn site(&self, controller: Controller) -> Option<&Site> {
        self.sites.iter().find(|site| site.controllers.contains(&controller))
    }
}

impl Site {
    /// The directory that all groups of `sandbox` in this hierarchy lie in.
    pub fn shared(&self) -> PathBuf {
        self.base.join("sandbox")
    }
}

fn site_v1(hierarchy: &Hierarchy, controllers: &[Controller], unread: &mut Unread) -> Result<Site, Obstacle> {
    let base = hierarchy.mount.clone();
    if !is_writable(&base, unread) {
        return Err(Obstacle::NotRoots);
    }
    let mut read = |name| unread.text(base.join(name)).trim().to_owned();
    let has_cpuset = hierarchy.controllers.iter().any(|name| name == "cpuset");
    Ok(Site {
        version: Version::V1,
        controllers: controllers.to_vec(),
        handed_down: Vec::new(),
        missing: Vec::new(),
        is_occupied: false,
        cpuset: has_cpuset.then(|| (read("cpuset.cpus"), read("cpuset.mems"))),
        base,
    })
}

/// The mount's own directory where it's writable (root), else the nearest directory from the caller's own cgroup upwards that is
/// the caller's and hands down all that is wanted, else the caller's own cgroup, if nobody else is in it.
fn site_v2(hierarchy: &Hierarchy, controllers: &[Controller], unread: &mut Unread) -> Result<Site, Obstacle> {
    let names: Vec<&'static str> =
        controllers.iter().filter_map(|controller| controller.name(Version::V2)).collect();
    let site = |base: &Path, handed_down: &[&'static str], missing: Vec<&'static str>, is_occupied| Site {
        version: Version::V2,
        base: base.to_path_buf(),
        controllers: controllers.to_vec(),
        handed_down: handed_down.to_vec(),
        missing,
        is_occupied,
        cpuset: None,
    };
    let missing = |base: &Path, unread: &mut Unread| {
        let handed_down = controllers_in(&base.join("cgroup.subtree_control"), unread);
        names
            .iter()
            .copied()
            .filter(|name| !handed_down.iter().any(|known| known == name))
            .collect::<Vec<_>>()
    };
    let mount = &hierarchy.mount;
    // Only the root of all has no type: it alone may have processes and hand controllers down.
    let kind = mount.join("cgroup.type");
    let is_root = unread.answer(&kind, kind.metadata()).is_none();
    if is_writable(mount, unread) && (is_root || missing(mount, unread).is_empty()) {
        // Told in any case: another run that is about to end may withdraw what it alone had wanted.
        return Ok(site(mount, &names, missing(mount, unread), false));
    }
    if controllers.contains(&Controller::Devices) && !is_writable(mount, unread) {
        return Err(Obstacle::Program);
    }
    let Some(own) = hierarchy.own().filter(|own| is_writable(own, unread)) else {
        return Err(Obstacle::NotDelegated(hierarchy.path.clone()));
    };
    let mut above: Vec<&Path> =
        own.ancestors().take_while(|directory| directory.starts_with(mount)).collect();
    above.truncate(above.iter().take_while(|directory| is_writable(directory, unread)).count());
    if let Some(base) = above.into_iter().find(|directory| missing(directory, unread).is_empty()) {
        return Ok(site(base, &[], Vec::new(), false));
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
        Ok(site(&own, &names, missing(&own, unread), true))
    } else {
        Err(Obstacle::Occupied(hierarchy.path.clone()))
    }
}

/// Whether the caller may make a group there and move a process into it: cgroups(7), delegation.
fn is_writable(directory: &Path, unread: &mut Unread) -> bool {
    let mut may_write = |path: &Path| unread.may(path, AccessFlags::W_OK);
    may_write(directory) && may_write(&directory.join("cgroup.procs"))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// A delegated cgroup as files: what decides is what they say.
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
    fn a_group_is_made_where_its_controllers_are_handed_down() {
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
            site_v2(&hierarchy, controllers, &mut Unread::default()).map(|site| site.base)
        };
        assert_eq!(base(&[Controller::Memory, Controller::Pids]), Ok(mount.join("app")));
        assert_eq!(base(&[Controller::Io]), Err(Obstacle::Lacking("/app/scope".into(), vec!["io"])));
        fs::write(mount.join("app/cgroup.subtree_control"), "pids").unwrap();
        assert_eq!(base(&[Controller::Memory]), Err(Obstacle::Occupied("/app/scope".into())));
        fs::write(mount.join("app/scope/cgroup.procs"), std::process::id().to_string()).unwrap();
        let site = site_v2(&hierarchy, &[Controller::Memory], &mut Unread::default()).unwrap();
        assert_eq!(
            (site.base, site.missing, site.is_occupied),
            (mount.join("app/scope"), vec!["memory"], true)
        );
        fs::remove_dir_all(mount).unwrap();
    }
}
