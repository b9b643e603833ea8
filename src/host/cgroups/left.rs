//! The limits of the cgroups that a process leaves: the cgroup of a container that stays is not below that of its caller,
//! whose session may end before it. So that no limit of the caller is lifted, they are read first, and set in the new
//! cgroup. A cgroup with device rules is not left: they cannot be set in another one.

use std::path::PathBuf;

use super::ceiling::{self, Ceiling};
use super::{Cgroups, level};
use crate::observe::Unread;
use crate::observe::hierarchy::{Hierarchy, Version, read_hierarchies};

/// The limits of the caller's cgroup and its ancestors, in a hierarchy in which it can be left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftLimits {
    /// Where the hierarchy is mounted: its root cgroup, which has no limits.
    pub mount: PathBuf,
    ceilings: Vec<Ceiling>,
}

impl LeftLimits {
    /// Reads them in all hierarchies in which the caller's cgroup is not the root cgroup.
    pub fn gather() -> Vec<LeftLimits> {
        let mut unread = Unread::default();
        let all = read_hierarchies("/proc/self", &mut unread);
        all.iter().filter_map(|hierarchy| LeftLimits::of(hierarchy, &mut unread)).collect()
    }

    fn of(hierarchy: &Hierarchy, unread: &mut Unread) -> Option<LeftLimits> {
        let mount = hierarchy.mount.clone();
        hierarchy.own().filter(|own| *own != mount)?;
        let levels: Vec<PathBuf> =
            level::levels(hierarchy).ok()?.into_iter().filter(|level| *level != mount).collect();
        let ceilings = match hierarchy.version {
            Version::V1 => {
                let has_rules = |level: &PathBuf| {
                    !matches!(unread.text(level.join("devices.list")).bytes().next(), None | Some(b'a'))
                };
                if levels.iter().any(has_rules) {
                    return None;
                }
                ceiling::of_levels_v1(&hierarchy.controllers, &mount, &levels, unread)
            }
            Version::V2 => {
                if levels.iter().any(|level| ceiling::has_program(level)) {
                    return None;
                }
                let each = levels.iter().map(|level| ceiling::of_v2(level, unread));
                each.collect::<Result<Vec<_>, _>>().ok()?.concat()
            }
        };
        Some(LeftLimits { mount, ceilings })
    }
}

impl Cgroups {
    /// Adds the limits of the cgroups that were left.
    pub fn keep_within(&mut self, left: &[LeftLimits]) {
        for parent in &mut self.parents {
            // The mount point of one hierarchy can be below that of another.
            let of_parent = left.iter().filter(|left| parent.base.starts_with(&left.mount));
            if let Some(left) = of_parent.max_by_key(|left| left.mount.as_os_str().len()) {
                parent.ceilings.extend_from_slice(&left.ceilings);
                parent.is_apart = true;
            }
        }
    }
}
