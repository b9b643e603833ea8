//! The spec of a container of an image.

use super::spec::Spec;
use crate::feature::Feature;
use crate::namespaces::net::{Mode, Net};
use crate::rootfs::Rootfs;
use crate::security::capabilities::Capabilities;
use crate::security::seccomp::Seccomp;

/// The spec of a container of an image, before flags and the image add to it: what Docker gives each container, as far as this
/// caller can have it.
pub fn spec_of_image(rootfs: Rootfs) -> Spec {
    let mut spec = Spec { rootfs: Some(rootfs), ..Spec::default() };
    for feature in [Feature::Pid, Feature::Mnt, Feature::Uts, Feature::Ipc, Feature::Cgroup] {
        spec.add(feature);
    }
    // Only root can make a bridge.
    let mode = if nix::unistd::geteuid().is_root() { Mode::Bridge } else { Mode::None };
    spec.net = Some(Net { mode, ..Net::default() });
    spec.capabilities = Some(Capabilities::Default);
    spec.seccomp = Some(Seccomp::Default);
    spec
}
