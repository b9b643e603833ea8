//! The device files of the host that are bind-mounted in a container. Docker does not list them as mounts.

use std::path::PathBuf;

use super::listing::bound;
use super::store::KeptContainer;
use crate::cgroups::devices::{Access, Device, Rule};
use crate::plan::call::detached::Attributes;
use crate::rootfs::mount::ContainerMount;

/// The rules that allow a device.
fn allowed(container: &KeptContainer) -> impl Iterator<Item = &Rule> {
    let devices = container.record.config.environment.resources.devices.iter();
    devices.flat_map(|devices| &devices.rules.allow)
}

/// The paths of devices in the rules: the file of each is mounted on its own path.
fn paths(container: &KeptContainer) -> Vec<PathBuf> {
    allowed(container).filter_map(Rule::place).collect()
}

/// The mounts of device files that have a rule with the numbers of the device, each with that rule. So has a file that `--device` has
/// put at another place, because a path in a rule would show the file there.
pub(super) fn devices_by_numbers(container: &KeptContainer) -> Vec<(&ContainerMount, Device)> {
    let by_numbers = |rule: &Rule| if let Rule::Device(device) = rule { Some(*device) } else { None };
    let rules: Vec<Device> = allowed(container).filter_map(by_numbers).collect();
    let device = |mount: &ContainerMount| {
        let own = Rule::Path(mount.source.clone(), Access::ALL).resolve().ok().flatten()?;
        rules.iter().find(|rule| Device { access: Access::ALL, ..**rule } == own).copied()
    };
    let paths = paths(container);
    let others = bound(container).filter(|mount| !paths.contains(&mount.destination));
    let read_only = others.filter(|mount| mount.attributes().contains(Attributes::READ_ONLY));
    read_only.filter_map(|mount| Some((mount, device(mount)?))).collect()
}

/// The bind mounts of a container without those of device files.
pub fn bound_without_devices(container: &KeptContainer) -> impl Iterator<Item = &ContainerMount> {
    let mut devices = paths(container);
    devices.extend(devices_by_numbers(container).into_iter().map(|(mount, _)| mount.destination.clone()));
    bound(container).filter(move |mount| !devices.contains(&mount.destination))
}
