//! The cgroup hierarchies that are mounted, and the cgroup of a process in each. cgroups(7)
//!
//! The crate procfs reads /proc/PID/cgroup too, but as UTF-8. The name of a cgroup can be any bytes.

use std::cmp::Ordering;
use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::mountinfo::{self, Mount};
use super::{Unread, file};

/// The version of the cgroup interface. On a hybrid machine both are mounted, each with some of the controllers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Version {
    /// A hierarchy for each controller, or for a few of them.
    V1,
    /// One hierarchy for all controllers.
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

/// A controller of the kernel. A feature can need several: `cpu` sets limits with cpu and cpuset, and reads usage
/// from cpuacct.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)] // Each is the controller of that name.
pub enum Controller {
    Memory,
    Cpu,
    /// Only on v1. On v2, the cpu controller reports usage.
    Cpuacct,
    Cpuset,
    /// On v1 its name is blkio.
    Io,
    /// Only on v1. On v2, a BPF program is attached to the cgroup.
    Devices,
    Pids,
    /// It stops the processes of a cgroup. Only on v1. On v2, each cgroup can be frozen, without a controller.
    Freezer,
}

impl Controller {
    /// Its name in `/proc/self/cgroup`, in mount options (v1) and in `cgroup.controllers` (v2). None if this version
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
            (Controller::Freezer, Version::V1) => "freezer",
            (Controller::Cpuacct | Controller::Devices | Controller::Freezer, Version::V2) => return None,
        })
    }
}

/// A mounted hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hierarchy {
    /// The version of its interface.
    pub version: Version,
    /// The names of its controllers in this version.
    pub controllers: Vec<String>,
    /// The mount point.
    pub mount: PathBuf,
    /// The cgroup that is mounted there: `/`, or in a container the container's cgroup.
    pub root: PathBuf,
    /// The path of the process's cgroup, from /proc/PID/cgroup.
    pub path: PathBuf,
    /// Where that cgroup is, seen from the mount point.
    pub place: CgroupPlace,
}

impl Hierarchy {
    /// The directory of the process's cgroup; none if it is not below the mount point.
    pub fn own(&self) -> Option<PathBuf> {
        match &self.place {
            // Without a final slash, which `join` would add: the path is compared as text too.
            CgroupPlace::Below(path) if path.as_os_str().is_empty() => Some(self.mount.clone()),
            CgroupPlace::Below(path) => Some(self.mount.join(path)),
            _ => None,
        }
    }
}

/// Where the cgroup of a process is, seen from the mount point of its hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CgroupPlace {
    /// At this path below the mount point. The path is empty if it is the mount point itself.
    Below(PathBuf),
    /// Above the mount point: only a part of the process's cgroup is mounted.
    Above,
    /// In a part of the hierarchy that is not mounted here.
    Elsewhere,
}

/// How a cgroup's path begins, if it is relative to the root of a cgroup namespace: with one `..` for each level that
/// is above that root. cgroup_namespaces(7)
fn levels_up(path: &Path) -> (usize, PathBuf) {
    let parts = || path.components().filter(|part| !matches!(part, Component::RootDir));
    let up = parts().take_while(|part| matches!(part, Component::ParentDir)).count();
    (up, parts().skip(up).collect())
}

/// Where the cgroup `path` is, if the cgroup `root` is mounted at `mount`. Both are relative to the root of the
/// reader's cgroup namespace.
///
/// If that root is below the mount point, the kernel shows neither its name nor those between them. The cgroup is then
/// searched: it is the one that has the process `pid`.
fn place_of(path: &Path, root: &Path, mount: &Path, pid: Option<u32>) -> CgroupPlace {
    let ((up, rest), (root_up, root_rest)) = (levels_up(path), levels_up(root));
    match up.cmp(&root_up) {
        Ordering::Equal => match rest.strip_prefix(&root_rest) {
            Ok(below) => CgroupPlace::Below(below.to_owned()),
            Err(_) if root_rest.starts_with(&rest) => CgroupPlace::Above,
            Err(_) => CgroupPlace::Elsewhere,
        },
        Ordering::Greater if rest.as_os_str().is_empty() => CgroupPlace::Above,
        Ordering::Less if root_rest.as_os_str().is_empty() => {
            let found = pid.and_then(|pid| search(mount, root_up - up, &rest, pid));
            found.map_or(CgroupPlace::Elsewhere, CgroupPlace::Below)
        }
        _ => CgroupPlace::Elsewhere,
    }
}

/// The most directories that a search looks at.
const SEARCHED: usize = 10_000;

/// The path below `mount` of the cgroup with the process `pid`, which is `rest` below a cgroup of this depth.
fn search(mount: &Path, depth: usize, rest: &Path, pid: u32) -> Option<PathBuf> {
    let pid = pid.to_string();
    let mut level = vec![mount.to_owned()];
    for _ in 0..depth {
        let entries = level.iter().flat_map(|directory| std::fs::read_dir(directory).into_iter().flatten());
        let directories = entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        level = directories.map(|entry| entry.path()).take(SEARCHED).collect();
    }
    let mut candidates = level.into_iter().map(|directory| directory.join(rest));
    let found = candidates.find(|directory| {
        let members = file::read_text(directory.join("cgroup.procs")).unwrap_or_default();
        members.lines().any(|member| member == pid)
    })?;
    found.strip_prefix(mount).ok().map(Path::to_owned)
}

/// All mounted hierarchies, each with the cgroup of `process` (`/proc/self`, `/proc/PID`).
pub fn hierarchies(process: &str) -> Vec<Hierarchy> {
    read_hierarchies(process, &mut Unread::default())
}

/// As [`hierarchies`]. Files that cannot be read are recorded in `unread`.
pub fn read_hierarchies(process: &str, unread: &mut Unread) -> Vec<Hierarchy> {
    let table = unread.bytes("/proc/self/mountinfo");
    let content = unread.bytes(format!("{process}/cgroup"));
    let lines: Vec<CgroupLine<'_>> = cgroup_lines(&content).collect();
    let pid = match process.strip_prefix("/proc/") {
        Some("self") => Some(std::process::id()),
        name => name.and_then(|name| name.parse().ok()),
    };
    let mut found: Vec<Hierarchy> =
        mountinfo::mounts(&table).filter_map(|mount| hierarchy(&mount, &lines, pid)).collect();
    for hierarchy in found.iter_mut().filter(|hierarchy| hierarchy.version == Version::V2) {
        hierarchy.controllers = controllers_in(&hierarchy.mount.join("cgroup.controllers"), unread);
    }
    // A hierarchy can be mounted twice, for example in the /sys of a container too. The first mount is used that has
    // the process's cgroup, or else the first one.
    let mut unique: Vec<Hierarchy> = Vec::with_capacity(found.len());
    for hierarchy in found {
        let is_same = |known: &Hierarchy| {
            (known.version, &known.controllers) == (hierarchy.version, &hierarchy.controllers)
        };
        match unique.iter_mut().find(|known| is_same(known)) {
            Some(known) if known.own().is_none() && hierarchy.own().is_some() => *known = hierarchy,
            Some(_) => {}
            None => unique.push(hierarchy),
        }
    }
    unique
}

/// The hierarchy with a controller. On v2, devices is not a controller, but each cgroup can have a device program; freezer is
/// not one either, but each cgroup can be frozen. That is used where both exist: a process that is frozen by v1 does not end
/// by SIGKILL before it is thawed.
pub fn find(hierarchies: &[Hierarchy], controller: Controller) -> Option<&Hierarchy> {
    let has = |hierarchy: &&Hierarchy| {
        let name = controller.name(hierarchy.version);
        name.is_some_and(|name| hierarchy.controllers.iter().any(|known| known == name))
    };
    let of = |version| hierarchies.iter().filter(move |hierarchy| hierarchy.version == version);
    if controller == Controller::Freezer {
        return of(Version::V2).next().or_else(|| of(Version::V1).find(has));
    }
    of(Version::V1).find(has).or_else(|| match controller {
        // v2 has no cpuacct. Its cpu controller reports the usage.
        Controller::Cpuacct => find(hierarchies, Controller::Cpu),
        Controller::Devices => of(Version::V2).next(),
        _ => of(Version::V2).find(has),
    })
}

/// A line of /proc/PID/cgroup: the process's cgroup in one hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CgroupLine<'a> {
    /// The ID of the hierarchy. For cgroup v2 it is 0.
    pub id: &'a str,
    /// The controllers of the hierarchy, separated by commas; or a name, `name=systemd`. Empty for cgroup v2.
    pub controllers: &'a str,
    /// The path of the cgroup, relative to the root of the reader's cgroup namespace.
    pub path: &'a Path,
}

impl CgroupLine<'_> {
    /// The version of the hierarchy's interface.
    pub fn version(&self) -> Version {
        if self.id == "0" && self.controllers.is_empty() { Version::V2 } else { Version::V1 }
    }

    /// Whether this line is about the hierarchy of `mount`. On cgroup v1, the filesystem options of the mount
    /// contain the names of the controllers.
    pub fn is_of(&self, mount: &Mount<'_>) -> bool {
        let has = |name: &str| mount.each_super_option().any(|option| *option == *name);
        match self.version() {
            Version::V1 => *mount.filesystem == *"cgroup" && self.controllers.split(',').all(has),
            Version::V2 => *mount.filesystem == *"cgroup2",
        }
    }
}

/// The lines of /proc/PID/cgroup. The kernel escapes nothing in it, and refuses a newline in the name of a cgroup.
pub fn cgroup_lines(content: &[u8]) -> impl Iterator<Item = CgroupLine<'_>> {
    content.split(|byte| *byte == b'\n').filter_map(|line| {
        // The path can contain colons; the other two fields cannot.
        let mut fields = line.splitn(3, |byte| *byte == b':');
        let mut text = || str::from_utf8(fields.next()?).ok();
        let (id, controllers) = (text()?, text()?);
        Some(CgroupLine { id, controllers, path: Path::new(OsStr::from_bytes(fields.next()?)) })
    })
}

/// The hierarchy that a mount belongs to; none if it is another filesystem.
fn hierarchy(mount: &Mount<'_>, lines: &[CgroupLine<'_>], pid: Option<u32>) -> Option<Hierarchy> {
    let line = lines.iter().find(|line| line.is_of(mount))?;
    let version = line.version();
    let controllers = match version {
        Version::V1 => mount.each_super_option().filter_map(|name| Some(name.to_str()?.to_owned())).collect(),
        Version::V2 => Vec::new(),
    };
    Some(Hierarchy {
        version,
        controllers,
        mount: mount.mount_point.to_path_buf(),
        root: mount.root.to_path_buf(),
        path: line.path.to_owned(),
        place: place_of(line.path, &mount.root, &mount.mount_point, pid),
    })
}

/// The controllers that a file lists: cgroup.controllers or cgroup.subtree_control.
pub fn controllers_in(file: &Path, unread: &mut Unread) -> Vec<String> {
    unread.text(file).split_whitespace().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEMBERSHIP: &str = "4:memory:/a/b\n3:cpu,cpuacct:/\n1:name=systemd:/x\n0::/user.slice\n";

    #[test]
    fn a_mount_of_cgroup_is_a_hierarchy_with_the_cgroup_of_the_process() {
        let lines: Vec<_> = cgroup_lines(MEMBERSHIP.as_bytes()).collect();
        let hierarchy =
            |line: &str| hierarchy(&mountinfo::mounts(line.as_bytes()).next().unwrap(), &lines, None);
        let memory = "35 31 0:32 /a /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory";
        let found = hierarchy(memory).unwrap();
        assert_eq!(found.own(), Some(PathBuf::from("/sys/fs/cgroup/memory/b")));
        assert_eq!((found.version, found.path), (Version::V1, "/a/b".into()));
        let root = "36 31 0:33 / /c rw - cgroup cgroup rw,xattr,cpu,cpuacct";
        assert_eq!(hierarchy(root).unwrap().own().unwrap().as_os_str(), "/c");
        let both = "36 31 0:33 / /c rw - cgroup cgroup rw,xattr,cpu,cpuacct";
        assert_eq!(hierarchy(both).unwrap().own(), Some(PathBuf::from("/c")));
        let unified = "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw";
        let found = hierarchy(unified).unwrap();
        assert_eq!(found.own(), Some(PathBuf::from("/sys/fs/cgroup/unified/user.slice")));
        assert_eq!(hierarchy("1 0 8:1 / / rw - ext4 x rw"), None);
        // All controllers of the line must be in the options of the mount.
        assert_eq!(hierarchy("36 31 0:33 / /c rw - cgroup cgroup rw,cpuacct"), None);
        // Another part of the hierarchy is mounted, for example the cgroup of a container.
        let elsewhere = "35 31 0:32 /docker /m rw - cgroup cgroup rw,memory";
        assert_eq!(hierarchy(elsewhere).unwrap().own(), None);
    }

    #[test]
    fn in_a_cgroup_namespace_the_visible_root_is_not_the_real_root() {
        let place = |path: &str, root: &str| place_of(path.as_ref(), root.as_ref(), "/none".as_ref(), None);
        assert_eq!(place("/", "/"), CgroupPlace::Below("".into()));
        assert_eq!(place("/../b", "/.."), CgroupPlace::Below("b".into()));
        // Only a part of the process's cgroup is mounted.
        assert_eq!(place("/a", "/a/b"), CgroupPlace::Above);
        assert_eq!(place("/..", "/"), CgroupPlace::Above);
        assert_eq!(place("/../b", "/"), CgroupPlace::Elsewhere);
        // The kernel hides the names between the mount point and the root of the namespace.
        let mount = std::env::temp_dir().join(format!("sandbox-search-{}", std::process::id()));
        for (directory, members) in [("a/x", "1"), ("a/y", "7\n8"), ("b", "9")] {
            std::fs::create_dir_all(mount.join(directory)).unwrap();
            std::fs::write(mount.join(directory).join("cgroup.procs"), members).unwrap();
        }
        let place = |path: &str, root: &str, pid| place_of(path.as_ref(), root.as_ref(), &mount, Some(pid));
        assert_eq!(place("/", "/../..", 8), CgroupPlace::Below("a/y".into()));
        assert_eq!(place("/", "/..", 9), CgroupPlace::Below("b".into()));
        assert_eq!(place("/x", "/..", 1), CgroupPlace::Below("a/x".into()));
        assert_eq!(place("/", "/../..", 9), CgroupPlace::Elsewhere);
        std::fs::remove_dir_all(mount).unwrap();
    }

    #[test]
    fn names_of_cgroups_and_mount_points_can_be_any_bytes() {
        let lines: Vec<_> = cgroup_lines(b"0::/a:b/\xff\n").collect();
        assert_eq!(lines[0].path.as_os_str().as_bytes(), b"/a:b/\xff");
        let table = b"41 31 0:38 / /c\\040\xfe rw - cgroup2 cgroup2 rw";
        let found = hierarchy(&mountinfo::mounts(table).next().unwrap(), &lines, None).unwrap();
        assert_eq!(found.own().unwrap().as_os_str().as_bytes(), b"/c \xfe/a:b/\xff");
    }

    #[test]
    fn each_controller_is_found_in_its_hierarchy() {
        let of = |version, controllers: &[&str], mount: &str| Hierarchy {
            version,
            controllers: controllers.iter().map(|name| (*name).to_owned()).collect(),
            mount: mount.into(),
            root: "/".into(),
            path: "/".into(),
            place: CgroupPlace::Below("".into()),
        };
        let hybrid = [of(Version::V2, &["hugetlb", "io"], "/u"), of(Version::V1, &["rw", "memory"], "/m")];
        let mount = |controller| find(&hybrid, controller).map(|found| found.mount.to_str().unwrap());
        assert_eq!(mount(Controller::Memory), Some("/m"));
        assert_eq!(mount(Controller::Io), Some("/u"));
        assert_eq!(mount(Controller::Freezer), Some("/u"));
        assert_eq!(mount(Controller::Devices), Some("/u"));
        assert_eq!(mount(Controller::Pids), None);
    }
}
