//! The spec of a container of an image.

use super::complete::Completed;
use super::spec::Spec;
use crate::feature::{Feature, Purpose};
use crate::namespaces::net::{Mode, Net};
use crate::namespaces::user::{Map, User};
use crate::plan::call::user::IdMaps;
use crate::rootfs::Rootfs;
use crate::security::capabilities::Capabilities;
use crate::security::seccomp::Seccomp;

/// The user namespace of an ordinary user's containers of images: with the IDs that /etc/subuid gives to the user, because files
/// of an image have several owners. Without such IDs, it has the user's own alone.
pub fn user_of_image() -> Option<User> {
    Some(User { map: vec![Map::Auto], ..User::default() })
}

/// The ID maps with which a container of this spec sees files. None: real IDs, or the host's idmapped mounts.
pub fn maps_of(spec: &Spec) -> Option<IdMaps> {
    let completed = Completed::of(spec, Purpose::Container);
    if completed.machine.host.privileged {
        return None;
    }
    let options = completed.config.environment.namespaces.user.options();
    options.filter(|maps| !maps.users.is_empty()).cloned()
}

/// The groups of an account that a container of this spec can have. A user namespace with the caller's IDs alone has none: nobody
/// asked for them by name, so they are left out.
pub fn possible_groups(spec: &Spec, mut groups: Vec<u32>) -> Vec<u32> {
    let maps = if groups.is_empty() { None } else { maps_of(spec) };
    if let Some(maps) = maps {
        let (uid, gid) = (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
        let has_ranges = maps.take_ranges(uid, gid);
        groups.retain(|group| has_ranges && maps.groups.iter().any(|range| range.has(*group)));
    }
    groups
}

/// The spec of a container of an image, before flags and the image add to it: what Docker gives each container, as far as this
/// caller can have it.
pub fn spec_of_image(rootfs: Rootfs) -> Spec {
    let mut spec = Spec { rootfs: Some(rootfs), ..Spec::default() };
    for feature in [Feature::Pid, Feature::Mnt, Feature::Uts, Feature::Ipc, Feature::Cgroup] {
        spec.add(feature);
    }
    // Only root can make a bridge. Another user has a program that copies packets, if one is installed.
    let is_root = nix::unistd::geteuid().is_root();
    let mode = if is_root { Mode::Bridge } else { Mode::User };
    spec.net = Some(Net { mode, neighbours: is_root, ..Net::default() });
    spec.user = if is_root { None } else { user_of_image() };
    spec.capabilities = Some(Capabilities::Default);
    spec.seccomp = Some(Seccomp::Default);
    spec
}
