//! The hierarchies that are mounted, and where a process is in each.

use std::path::{Path, PathBuf};

use super::{Controller, Version};
use crate::host::Unread;

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

/// The same; what couldn't be read is noted.
pub(super) fn read_hierarchies(process: &str, unread: &mut Unread) -> Vec<Hierarchy> {
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

/// The words of a file that lists controllers.
pub(super) fn names(file: &Path, unread: &mut Unread) -> Vec<String> {
    unread.text(file).split_whitespace().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
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
        // All of its controllers must be there.
        assert_eq!(hierarchy("36 31 0:33 / /c rw - cgroup cgroup rw,cpuacct"), None);
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
}
