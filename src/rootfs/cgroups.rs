//! The container's own cgroups, in /sys/fs/cgroup.
//!
//! A program that wants to know its limits reads them there. Java and Go do it, to choose the size of their heap and the
//! number of their threads. Only the container's own cgroups are shown, by bind mounts of their directories: a mount of a
//! whole hierarchy would show the names and the usage of all others.
//!
//! Under cgroup v2 the directory itself is the cgroup. Under v1 it has a directory for each hierarchy in which the container
//! has a cgroup, with the name that the hierarchy has on the host. A container without limits has no cgroup of its own, and
//! there the directory is empty.
//!
//! What you see: `cat /sys/fs/cgroup/memory.max` (v2), `cat /sys/fs/cgroup/memory/memory.limit_in_bytes` (v1).

use std::path::{Path, PathBuf};

use super::RootDraft;
use super::mount::OwnMounts;
use crate::host::cgroups::CgroupParent;
use crate::host::sysfs::CGROUPS;
use crate::observe::hierarchy::Version;
use crate::plan::call::detached::{Attributes, DetachedMountCall};
use crate::plan::slots::Held;

/// The place in the new sysfs.
fn place() -> &'static Path {
    Path::new(CGROUPS.trim_start_matches("/sys/"))
}

/// The steps of /sys/fs/cgroup.
pub(super) fn plan(root: &mut RootDraft<'_>, own: &OwnMounts<'_>) {
    let (Some(_), Some(mount), Some(cgroups)) = (own.sys, own.cgroups, &root.host.cgroups) else { return };
    let attributes = mount.attributes();
    match &cgroups.parents[..] {
        [] => {}
        [only] if only.version == Version::V2 => show(root, only, &cgroups.name, attributes, place()),
        several => {
            root.make("tmpfs", &[("mode", "755")], Attributes::NONE, Held::Mount, "rootfs.cgroups.why");
            root.attach(Held::Mount, (Held::Sys, place()), "rootfs.place.why");
            let places: Vec<PathBuf> = several.iter().map(|parent| place().join(directory(parent))).collect();
            places.iter().for_each(|place| make_place(root, place));
            let fixed = DetachedMountCall::Restrict { mount: Held::Mount, attributes, below: false };
            root.step(fixed, "rootfs.cgroupfixed.why");
            for (parent, place) in several.iter().zip(&places) {
                show(root, parent, &cgroups.name, attributes, place);
            }
        }
    }
}

/// The name of a hierarchy's directory: `memory`, `cpu,cpuacct`, `unified`.
fn directory(parent: &CgroupParent) -> &Path {
    parent.mount.file_name().map_or(Path::new("cgroup"), Path::new)
}

/// Makes the directory of a hierarchy. If the name is that of several controllers, each of them leads to it too.
fn make_place(root: &mut RootDraft<'_>, place: &Path) {
    let directory = DetachedMountCall::MakeDirectory { at: Held::Sys, path: place.to_owned(), mode: 0o755 };
    root.step(directory, "rootfs.cgroupplace.why");
    let Some(name) = place.file_name().and_then(|name| name.to_str()) else { return };
    for controller in name.split(',').filter(|controller| *controller != name) {
        let (path, target) = (place.with_file_name(controller), name.into());
        root.step(DetachedMountCall::MakeLink { at: Held::Sys, path, target }, "rootfs.cgrouplink.why");
    }
}

/// Shows the container's cgroup of one hierarchy.
fn show(root: &mut RootDraft<'_>, parent: &CgroupParent, name: &str, attributes: Attributes, place: &Path) {
    let path = parent.shared().join(name);
    root.step(DetachedMountCall::Clone { path, below: false, to: Held::Mount }, "rootfs.cgroup.why");
    let fixed = DetachedMountCall::Restrict { mount: Held::Mount, attributes, below: false };
    root.step(fixed, "rootfs.cgroupfixed.why");
    root.attach(Held::Mount, (Held::Sys, place), "rootfs.place.why");
}
