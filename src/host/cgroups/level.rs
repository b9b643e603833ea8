//! Chooses the directory of one hierarchy in which the new cgroup is made.

use std::path::{Path, PathBuf};

use nix::sys::statvfs::{FsFlags, statvfs};
use nix::unistd::AccessFlags;

use super::ceiling::{self, Ceiling};
use super::{CgroupParent, Obstacle};
use crate::observe::Unread;
use crate::observe::hierarchy::{CgroupPlace, Controller, Hierarchy, Version, controllers_in};
use crate::text::printed;

/// The directory in which a cgroup with these controllers is made.
pub(super) fn parent(
    hierarchy: &Hierarchy,
    controllers: &[Controller],
    as_root: bool,
    unread: &mut Unread,
) -> Result<CgroupParent, Obstacle> {
    let levels = levels(hierarchy)?;
    let may_write = |directory: &Path, unread: &mut Unread| as_root || is_writable(directory, unread);
    if is_read_only(&levels[0]) {
        return Err(Obstacle::ReadOnly(hierarchy.mount.clone()));
    }
    let writable = levels.iter().take_while(|level| may_write(level, unread)).count();
    let parent = match hierarchy.version {
        // Another mount hides it, for example a tmpfs on /sys/fs/cgroup.
        Version::V1 if writable == 0 && !hierarchy.mount.exists() => return Err(Obstacle::NotMounted),
        Version::V1 if writable == 0 => return Err(Obstacle::NeedsRoot),
        Version::V1 => parent_v1(hierarchy, controllers, &levels, unread),
        Version::V2 => {
            let has_devices = controllers.contains(&Controller::Devices);
            if has_devices && !may_write(&hierarchy.mount, unread) {
                return Err(Obstacle::DeviceProgram);
            }
            parent_v2(hierarchy, controllers, &levels[..writable], unread)?
        }
    };
    let frozen = parent.shared().join("cgroup.freeze");
    if unread.text(&frozen).trim() == "1" {
        return Err(Obstacle::Frozen(parent.shared()));
    }
    Ok(parent)
}

/// The caller's own cgroup and its ancestors, as far as they are mounted. If only a part of the caller's own cgroup is
/// mounted, the mount point is below it, and is the only level.
pub(super) fn levels(hierarchy: &Hierarchy) -> Result<Vec<PathBuf>, Obstacle> {
    let mount = &hierarchy.mount;
    match (&hierarchy.place, hierarchy.own()) {
        (_, Some(own)) => {
            let above = own.ancestors().take_while(|directory| directory.starts_with(mount));
            Ok(above.map(Path::to_owned).collect())
        }
        (CgroupPlace::Above, None) => Ok(vec![mount.clone()]),
        _ => Err(Obstacle::Elsewhere(hierarchy.path.clone(), mount.clone())),
    }
}

/// On v1, every cgroup can have both processes and children. So the caller's own cgroup is the parent.
fn parent_v1(
    hierarchy: &Hierarchy,
    controllers: &[Controller],
    levels: &[PathBuf],
    unread: &mut Unread,
) -> CgroupParent {
    let base = levels[0].clone();
    let has = |name: &str| hierarchy.controllers.iter().any(|known| known == name);
    let mut read = |name| unread.text(base.join(name)).trim().to_owned();
    let cpuset = has("cpuset").then(|| (read("cpuset.cpus"), read("cpuset.mems")));
    let list = has("devices").then(|| read("devices.list"));
    let devices = list.filter(|list| !list.starts_with('a'));
    let devices = devices.map(|list| list.lines().map(str::to_owned).collect());
    let ceilings = ceiling::of_v1(&hierarchy.controllers, controllers, levels, unread);
    CgroupParent {
        version: Version::V1,
        mount: hierarchy.mount.clone(),
        controllers: controllers.to_vec(),
        to_enable: Vec::new(),
        missing: Vec::new(),
        is_occupied: false,
        cpuset,
        is_apart: false,
        ceilings,
        devices,
        base,
    }
}

/// The parent on v2: the nearest of the levels that can have children with these controllers. A cgroup with processes
/// cannot enable controllers for its children, unless it is the root cgroup. If the caller is alone in its own cgroup,
/// it can move into a new leaf, and so make room.
fn parent_v2(
    hierarchy: &Hierarchy,
    controllers: &[Controller],
    levels: &[PathBuf],
    unread: &mut Unread,
) -> Result<CgroupParent, Obstacle> {
    let Some(own) = levels.first() else { return Err(Obstacle::NotDelegated(hierarchy.path.clone())) };
    let names: Vec<&'static str> =
        controllers.iter().filter_map(|controller| controller.name(Version::V2)).collect();
    let mut lacking = Vec::new();
    for (index, level) in levels.iter().enumerate() {
        if is_ours(level, index == 0) {
            continue;
        }
        // Only the root cgroup has no file cgroup.type. In a threaded cgroup, children are threaded too, and accept no
        // processes of another cgroup.
        let kind = unread.text(level.join("cgroup.type"));
        if !matches!(kind.trim(), "" | "domain") {
            continue;
        }
        let available = controllers_in(&level.join("cgroup.controllers"), unread);
        lacking = without(&names, &available);
        if !lacking.is_empty() {
            continue;
        }
        let missing = without(&names, &controllers_in(&level.join("cgroup.subtree_control"), unread));
        let members = match missing.is_empty() || kind.is_empty() {
            true => String::new(),
            false => unread.text(level.join("cgroup.procs")),
        };
        let is_occupied = !members.is_empty();
        let is_alone = members.lines().all(|member| member == std::process::id().to_string());
        if is_occupied && !(index == 0 && is_alone) {
            continue;
        }
        let parent = CgroupParent {
            version: Version::V2,
            mount: hierarchy.mount.clone(),
            base: level.clone(),
            controllers: controllers.to_vec(),
            // All are enabled again, even those that are enabled: another run may be about to disable those that it
            // enabled.
            to_enable: names.clone(),
            missing,
            is_occupied,
            cpuset: None,
            is_apart: false,
            ceilings: ceilings_v2(controllers, &levels[..index], level, unread)?,
            devices: None,
        };
        let depth = if is_occupied { 3 } else { 2 };
        return room(&parent, &levels[index..], depth, unread).map(|()| parent);
    }
    Err(match lacking.is_empty() {
        true => Obstacle::Occupied(hierarchy.path.clone()),
        false => Obstacle::Lacking(file_path(hierarchy, own, levels), lacking),
    })
}

/// The path of the level that lacks controllers: the highest that the caller may write to has most of them.
fn file_path(hierarchy: &Hierarchy, own: &Path, levels: &[PathBuf]) -> PathBuf {
    let highest = levels.last().map_or(own, PathBuf::as_path);
    let below = own.strip_prefix(highest).unwrap_or(Path::new("")).components().count();
    hierarchy.path.ancestors().nth(below).unwrap_or(&hierarchy.path).to_owned()
}

/// The limits of the skipped levels, and the CPUs of the parent, which the kernel applies too.
fn ceilings_v2(
    controllers: &[Controller],
    skipped: &[PathBuf],
    base: &Path,
    unread: &mut Unread,
) -> Result<Vec<Ceiling>, Obstacle> {
    let mut all = Vec::new();
    for level in skipped {
        if ceiling::has_program(level) {
            return Err(Obstacle::Unliftable(level.clone(), "BPF_CGROUP_DEVICE".into()));
        }
        all.extend(ceiling::of_v2(level, unread)?);
    }
    if controllers.contains(&Controller::Cpuset) {
        all.extend(ceiling::cpus(base, "cpuset.cpus.effective", unread));
    }
    Ok(all)
}

/// Whether the levels allow further cgroups below them: cgroup.max.depth and cgroup.max.descendants. At most `depth`
/// cgroups are made, each below the one before.
fn room(parent: &CgroupParent, levels: &[PathBuf], depth: u64, unread: &mut Unread) -> Result<(), Obstacle> {
    for (above, level) in levels.iter().enumerate() {
        let mut number = |file: &str| unread.text(level.join(file)).trim().parse::<u64>().ok();
        let full = |file: &str, limit: u64| Err(Obstacle::Full(level.join(file), limit.to_string()));
        if let Some(most) = number("cgroup.max.depth")
            && above as u64 + 2 > most
        {
            return full("cgroup.max.depth", most);
        }
        if let Some(most) = number("cgroup.max.descendants") {
            let stat = unread.text(level.join("cgroup.stat"));
            let used =
                stat.lines().find_map(|line| line.strip_prefix("nr_descendants ")?.parse::<u64>().ok());
            let new = depth - u64::from(parent.shared().is_dir());
            if used.unwrap_or_default() + new > most {
                return full("cgroup.max.descendants", most);
            }
        }
    }
    Ok(())
}

/// Whether a level is a cgroup that another run of `sandbox` made for itself: the directory `sandbox`, or the leaf into
/// which that run moved. They belong to their parent, and have no limits.
fn is_ours(level: &Path, is_own: bool) -> bool {
    let is_shared = |directory: &Path| directory.file_name().is_some_and(|name| name == "sandbox");
    let is_leaf = || printed(level).ends_with("-host") && level.parent().is_some_and(is_shared);
    if is_own { is_leaf() } else { is_shared(level) }
}

/// Those of `names` that `known` does not contain.
fn without(names: &[&'static str], known: &[String]) -> Vec<&'static str> {
    names.iter().copied().filter(|name| !known.iter().any(|one| one == name)).collect()
}

/// Whether the caller may make a cgroup in a directory and move a process into it. cgroups(7), delegation
fn is_writable(directory: &Path, unread: &mut Unread) -> bool {
    let mut may_write = |path: &Path| unread.may(path, AccessFlags::W_OK);
    may_write(directory) && may_write(&directory.join("cgroup.procs"))
}

/// Whether a directory's filesystem, or this mount of it, is read-only.
fn is_read_only(directory: &Path) -> bool {
    statvfs(directory).is_ok_and(|about| about.flags().contains(FsFlags::ST_RDONLY))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::host::token::token;

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
            place: CgroupPlace::Below(own.into()),
        };
        (mount, hierarchy)
    }

    #[test]
    fn the_nearest_level_that_can_have_children_is_the_parent() {
        let files = [
            ("cgroup.procs", "1"),
            ("cgroup.controllers", "io memory pids"),
            ("cgroup.subtree_control", "memory pids"),
            ("app/cgroup.type", "domain"),
            ("app/cgroup.procs", ""),
            ("app/cgroup.controllers", "memory pids"),
            ("app/cgroup.subtree_control", "pids"),
            ("app/memory.max", "max"),
            ("app/scope/cgroup.type", "domain"),
            ("app/scope/cgroup.procs", "1"),
            ("app/scope/cgroup.controllers", "memory pids"),
            ("app/scope/cgroup.subtree_control", ""),
            ("app/scope/memory.max", "65536"),
            ("app/scope/pids.max", "max"),
        ];
        let (mount, hierarchy) = tree("app/scope", &files);
        let parent = |controllers: &[Controller]| {
            let (levels, unread) = (levels(&hierarchy).unwrap(), &mut Unread::default());
            parent_v2(&hierarchy, controllers, &levels, unread)
        };
        let found = parent(&[Controller::Memory, Controller::Pids]).unwrap();
        assert_eq!((found.base, found.missing), (mount.join("app"), vec!["memory"]));
        let ceilings = |parent: &CgroupParent| {
            let each = parent.ceilings.iter().map(|one| format!("{} {}", one.file, one.value));
            each.collect::<Vec<_>>()
        };
        // The limit of the skipped level is found, whichever controller the new cgroup is for.
        let found = parent(&[Controller::Pids]).unwrap();
        assert_eq!((ceilings(&found), found.missing), (vec!["memory.max 65536".to_owned()], vec![]));
        // The root cgroup may have processes and children.
        assert_eq!(parent(&[Controller::Io]).map(|parent| parent.base), Ok(mount.clone()));
        // The caller is alone and can move away, so no level is skipped.
        fs::write(mount.join("app/scope/cgroup.procs"), std::process::id().to_string()).unwrap();
        let found = parent(&[Controller::Memory]).unwrap();
        assert_eq!((found.base.clone(), found.is_occupied), (mount.join("app/scope"), true));
        assert_eq!(ceilings(&found), Vec::<String>::new());
        // The levels above are not delegated to the caller.
        fs::write(mount.join("app/scope/cgroup.procs"), "1").unwrap();
        let own = [mount.join("app/scope")];
        let refused = |controller| parent_v2(&hierarchy, &[controller], &own, &mut Unread::default());
        assert_eq!(refused(Controller::Memory), Err(Obstacle::Occupied("/app/scope".into())));
        assert_eq!(refused(Controller::Io), Err(Obstacle::Lacking("/app/scope".into(), vec!["io"])));
        // A threaded cgroup can have no children with processes of their own.
        fs::write(mount.join("app/cgroup.type"), "domain threaded").unwrap();
        assert_eq!(parent(&[Controller::Memory]).map(|parent| parent.base), Ok(mount.clone()));
        // A level that allows no further cgroups is named.
        fs::write(mount.join("app/cgroup.type"), "domain").unwrap();
        fs::write(mount.join("app/cgroup.max.depth"), "1").unwrap();
        let full = Obstacle::Full(mount.join("app/cgroup.max.depth"), "1".into());
        assert_eq!(parent(&[Controller::Pids]), Err(full));
        fs::remove_dir_all(mount).unwrap();
    }
}
