//! Where cgroups can be made: which hierarchies are mounted, v1, v2 or both, and which folder of each is the caller's to
//! use. Found by looking at mountinfo, /proc/self/cgroup and cgroup.controllers, never by a version. cgroups(7)

use std::fmt;
use std::path::{Path, PathBuf};

use nix::unistd::AccessFlags;
use serde::{Deserialize, Serialize};

use super::Unread;
use super::token::token;

/// One of the two interfaces to the same controllers. A hybrid machine has both, each with some of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Version {
    /// A tree per controller.
    V1,
    /// One tree for all.
    V2,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Version::V1 => "v1",
            Version::V2 => "v2",
        })
    }
}

/// What the kernel calls a controller. One feature can need several: `cpu` limits by cpu and cpuset, and counts by cpuacct.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)] // Each is the controller of that name.
pub enum Controller {
    Memory,
    Cpu,
    /// Only on v1: v2's cpu counts too.
    Cpuacct,
    Cpuset,
    /// Called blkio on v1.
    Io,
    /// On v2 no controller but a BPF program, which any group can have.
    Devices,
    Pids,
}

impl Controller {
    /// Its name in `/proc/self/cgroup`, in mount options (v1) and in `cgroup.controllers` (v2); none where that version
    /// has no such controller.
    pub fn name(self, version: Version) -> Option<&'static str> {
        Some(match (self, version) {
            (Controller::Memory, _) => "memory",
            (Controller::Cpu, _) => "cpu",
            (Controller::Cpuacct, Version::V1) => "cpuacct",
            (Controller::Cpuset, _) => "cpuset",
            (Controller::Io, Version::V1) => "blkio",
            (Controller::Io, Version::V2) => "io",
            (Controller::Devices, Version::V1) => "devices",
            (Controller::Pids, _) => "pids",
            (Controller::Cpuacct | Controller::Devices, Version::V2) => return None,
        })
    }
}

/// A mounted hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hierarchy {
    /// Which interface it has.
    pub version: Version,
    /// Its controllers, by the names that this version gives them.
    pub controllers: Vec<String>,
    /// Where it is mounted.
    pub mount: PathBuf,
    /// Which cgroup is seen at the mount: `/`, or in a container that one's own.
    pub root: String,
    /// The process's own cgroup as /proc/PID/cgroup has it.
    pub path: String,
}

impl Hierarchy {
    /// The folder of the process's own cgroup, where the mount leads to it.
    pub fn own(&self) -> Option<PathBuf> {
        Path::new(&self.path).strip_prefix(&self.root).ok().map(|below| self.mount.join(below))
    }
}

/// Every hierarchy that is mounted here, with the cgroup of `process` (`/proc/self`, `/proc/PID`) in it.
pub fn hierarchies(process: &str) -> Vec<Hierarchy> {
    read_hierarchies(process, &mut Unread::default())
}

fn read_hierarchies(process: &str, unread: &mut Unread) -> Vec<Hierarchy> {
    let mountinfo = unread.text("/proc/self/mountinfo");
    let membership = unread.text(format!("{process}/cgroup"));
    let memberships: Vec<Membership<'_>> = membership.lines().filter_map(Membership::of).collect();
    let mut found: Vec<Hierarchy> =
        mountinfo.lines().filter_map(|line| hierarchy(line, &memberships)).collect();
    for hierarchy in found.iter_mut().filter(|hierarchy| hierarchy.version == Version::V2) {
        hierarchy.controllers = names(&hierarchy.mount.join("cgroup.controllers"), unread);
    }
    // One hierarchy may be mounted twice (in a container's /sys too): the first place does.
    let mut unique: Vec<Hierarchy> = Vec::with_capacity(found.len());
    for hierarchy in found {
        let is_same = |known: &Hierarchy| {
            (known.version, &known.controllers) == (hierarchy.version, &hierarchy.controllers)
        };
        if !unique.iter().any(is_same) {
            unique.push(hierarchy);
        }
    }
    unique
}

/// The hierarchy that has a controller. On v2 devices are no controller: any group can have a program.
pub fn find(hierarchies: &[Hierarchy], controller: Controller) -> Option<&Hierarchy> {
    let has = |hierarchy: &&Hierarchy| {
        let name = controller.name(hierarchy.version);
        name.is_some_and(|name| hierarchy.controllers.iter().any(|known| known == name))
    };
    let of = |version| hierarchies.iter().filter(move |hierarchy| hierarchy.version == version);
    of(Version::V1).find(has).or_else(|| match controller {
        // What v2 counts without cpuacct, it counts in cpu.
        Controller::Cpuacct => find(hierarchies, Controller::Cpu),
        Controller::Devices => of(Version::V2).next(),
        _ => of(Version::V2).find(has),
    })
}

/// A line of /proc/PID/cgroup: a process's place in one hierarchy. cgroups(7)
struct Membership<'a> {
    /// v2's hierarchy has the number 0, and no names.
    is_v2: bool,
    names: Vec<&'a str>,
    path: &'a str,
}

impl<'a> Membership<'a> {
    fn of(line: &'a str) -> Option<Membership<'a>> {
        let mut parts = line.splitn(3, ':');
        let (number, names, path) = (parts.next()?, parts.next()?, parts.next()?);
        Some(Membership { is_v2: number == "0" && names.is_empty(), names: names.split(',').collect(), path })
    }
}

/// A line of mountinfo, if it is a hierarchy's. proc_pid_mountinfo(5)
fn hierarchy(line: &str, memberships: &[Membership<'_>]) -> Option<Hierarchy> {
    // The last three are the filesystem, its source and its options; of the mount's own there may be more or fewer.
    let mut last = line.rsplit(' ');
    let (options, _, kind) = (last.next()?, last.next()?, last.next()?);
    let version = match kind {
        "cgroup" => Version::V1,
        "cgroup2" => Version::V2,
        _ => return None,
    };
    let mut own = line.split(' ').skip(3);
    let (root, mount) = (own.next()?, own.next()?);
    // v1's options are the names of its controllers, beside a few of the mount's.
    let options: Vec<&str> = options.split(',').collect();
    let is_same = |membership: &&Membership<'_>| match version {
        Version::V1 => !membership.is_v2 && membership.names.iter().all(|name| options.contains(name)),
        Version::V2 => membership.is_v2,
    };
    let path = memberships.iter().find(is_same)?.path;
    let controllers = match version {
        Version::V1 => options.iter().map(|name| (*name).to_owned()).collect(),
        Version::V2 => Vec::new(),
    };
    Some(Hierarchy {
        version,
        controllers,
        mount: PathBuf::from(mount),
        root: root.to_owned(),
        path: path.to_owned(),
    })
}

/// Where groups of ours can be made, for the controllers that were asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cgroups {
    /// The folder's name that all groups of this run have: no one else's.
    pub name: String,
    /// Which interface each controller has on this machine.
    pub versions: Vec<(Controller, Version)>,
    /// Where they can be made.
    pub sites: Vec<Site>,
    /// What stands in the way of others.
    pub obstacles: Vec<(Controller, Obstacle)>,
}

/// A folder in which `sandbox` can be made, in one hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Site {
    /// The hierarchy's interface.
    pub version: Version,
    /// The folder.
    pub base: PathBuf,
    /// Which of the controllers asked for are in this hierarchy.
    pub controllers: Vec<Controller>,
    /// v2: those that the folder is told to hand down.
    pub handed_down: Vec<&'static str>,
    /// v2: those of them that it didn't hand down before.
    pub missing: Vec<&'static str>,
    /// v2: the caller is itself in the folder, alone: it must leave before that can hand anything down.
    pub is_occupied: bool,
    /// v1's cpuset: the processors and memory nodes of the folder, which every new group must be told.
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
    /// The folder that all groups of `sandbox` in this hierarchy lie in.
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

/// The mount's own folder where it's writable (root), else the nearest folder from the caller's own cgroup upwards that is
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
        let handed_down = self::names(&base.join("cgroup.subtree_control"), unread);
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
        return Err(Obstacle::NotDelegated(PathBuf::from(&hierarchy.path)));
    };
    let mut above: Vec<&Path> = own.ancestors().take_while(|folder| folder.starts_with(mount)).collect();
    above.truncate(above.iter().take_while(|folder| is_writable(folder, unread)).count());
    if let Some(base) = above.into_iter().find(|folder| missing(folder, unread).is_empty()) {
        return Ok(site(base, &[], Vec::new(), false));
    }
    let available = self::names(&own.join("cgroup.controllers"), unread);
    let lacking: Vec<&'static str> =
        names.iter().copied().filter(|name| !available.iter().any(|known| known == name)).collect();
    if !lacking.is_empty() {
        return Err(Obstacle::Lacking(PathBuf::from(&hierarchy.path), lacking));
    }
    let members = unread.text(own.join("cgroup.procs"));
    let is_alone = members.lines().all(|member| member == std::process::id().to_string());
    if is_alone {
        Ok(site(&own, &names, missing(&own, unread), true))
    } else {
        Err(Obstacle::Occupied(PathBuf::from(&hierarchy.path)))
    }
}

/// Whether the caller may make a group there and move a process into it: cgroups(7), delegation.
fn is_writable(folder: &Path, unread: &mut Unread) -> bool {
    let mut may_write = |path: &Path| unread.may(path, AccessFlags::W_OK);
    may_write(folder) && may_write(&folder.join("cgroup.procs"))
}

/// The words of a file that lists controllers.
fn names(file: &Path, unread: &mut Unread) -> Vec<String> {
    unread.text(file).split_whitespace().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const MEMBERSHIP: &str = "4:memory:/a/b\n3:cpu,cpuacct:/\n1:name=systemd:/x\n0::/user.slice\n";

    #[test]
    fn a_line_of_mountinfo_is_a_hierarchy_with_the_own_cgroup_in_it() {
        let memberships: Vec<_> = MEMBERSHIP.lines().filter_map(Membership::of).collect();
        let hierarchy = |line| hierarchy(line, &memberships);
        let memory = "35 31 0:32 /a /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory";
        let found = hierarchy(memory).unwrap();
        assert_eq!(found.own(), Some(PathBuf::from("/sys/fs/cgroup/memory/b")));
        assert_eq!((found.version, found.path.as_str()), (Version::V1, "/a/b"));
        let both = "36 31 0:33 / /c rw - cgroup cgroup rw,xattr,cpu,cpuacct";
        assert_eq!(hierarchy(both).unwrap().own(), Some(PathBuf::from("/c/")));
        let unified = "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw";
        let found = hierarchy(unified).unwrap();
        assert_eq!(found.own(), Some(PathBuf::from("/sys/fs/cgroup/unified/user.slice")));
        assert_eq!(hierarchy("1 0 8:1 / / rw - ext4 x rw"), None);
        // Mounted, but from another part of the tree: a container's.
        let elsewhere = "35 31 0:32 /docker /m rw - cgroup cgroup rw,memory";
        assert_eq!(hierarchy(elsewhere).unwrap().own(), None);
    }

    #[test]
    fn each_controller_is_found_where_it_is() {
        let of = |version, controllers: &[&str], mount: &str| Hierarchy {
            version,
            controllers: controllers.iter().map(|name| (*name).to_owned()).collect(),
            mount: mount.into(),
            root: "/".into(),
            path: "/".into(),
        };
        let hybrid = [of(Version::V2, &["hugetlb", "io"], "/u"), of(Version::V1, &["rw", "memory"], "/m")];
        let mount = |controller| find(&hybrid, controller).map(|found| found.mount.to_str().unwrap());
        assert_eq!(mount(Controller::Memory), Some("/m"));
        assert_eq!(mount(Controller::Io), Some("/u"));
        assert_eq!(mount(Controller::Devices), Some("/u"));
        assert_eq!(mount(Controller::Pids), None);
    }

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
            path: format!("/{own}"),
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
