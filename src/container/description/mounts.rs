//! What is mounted in a container, in Docker's three forms: the list `Mounts` of what there is, and in HostConfig what was asked
//! for, `Mounts` for `--mount` and `Binds` for `-v`.

use std::path::Path;

use serde_json::{Map, Value, json};

use crate::container::devices::bound_without_devices;
use crate::container::record::VolumeMount;
use crate::container::store::KeptContainer;
use crate::plan::call::detached::Attributes;
use crate::rootfs::dev::SHARED_MEMORY;
use crate::rootfs::mount::ContainerMount;
use crate::text::printed;
use crate::value::units::Size;

/// The place of the device files. Each new root has a filesystem there, and one for POSIX shared memory.
const DEV: &str = "/dev";

/// Whether `--mount` has asked for the mount at this place.
fn is_flag(container: &KeptContainer, target: &Path) -> bool {
    container.record.mount_flags.iter().any(|flag| flag == target)
}

fn is_read_only(mount: &ContainerMount) -> bool {
    mount.attributes().contains(Attributes::READ_ONLY)
}

/// The directory of the host that a volume is.
fn source(container: &KeptContainer, volume: &VolumeMount) -> Option<String> {
    let mut mounts = container.record.config.environment.mounts.iter();
    mounts.find(|mount| mount.destination == volume.target).map(|mount| printed(&mount.source))
}

/// The filesystems in memory, without those that each new root has.
fn in_memory(container: &KeptContainer) -> impl Iterator<Item = &ContainerMount> {
    let mounts = container.record.config.environment.mounts.iter().filter(|mount| mount.kind == "tmpfs");
    mounts.filter(|mount| ![DEV, SHARED_MEMORY].map(Path::new).contains(&mount.destination.as_path()))
}

/// The size of a filesystem in memory.
pub(super) fn size(mount: &ContainerMount) -> Option<u64> {
    let data = mount.data();
    let (_, written) = data.iter().find(|(name, _)| *name == "size")?;
    written.parse().map(|Size(bytes)| bytes).ok()
}

/// Its volumes, the directories of the host, and the filesystems in memory that `--mount` has asked for. Docker does not list
/// those of `--tmpfs`.
pub fn mounts(container: &KeptContainer) -> Vec<Value> {
    // The mode is what `-v` has written. For a volume without one, Docker has `z`.
    let mode = |target: &Path, is_read_only, usual: &'static str| match is_read_only {
        true if !is_flag(container, target) => "ro",
        _ => usual,
    };
    let volumes = container.record.volumes.iter().map(|volume| {
        let usual = if volume.is_anonymous { "" } else { "z" };
        json!({
            "Type": "volume",
            "Name": volume.name,
            "Source": source(container, volume),
            "Destination": printed(&volume.target),
            "Driver": "local",
            "Mode": mode(&volume.target, volume.readonly, usual),
            "RW": !volume.readonly,
            "Propagation": "",
        })
    });
    let binds = bound_without_devices(container).map(|mount| {
        json!({
            "Type": "bind",
            "Source": printed(&mount.source),
            "Destination": printed(&mount.destination),
            "Mode": mode(&mount.destination, is_read_only(mount), ""),
            "RW": !is_read_only(mount),
            "Propagation": "rprivate",
        })
    });
    let memory = in_memory(container).filter(|mount| is_flag(container, &mount.destination)).map(|mount| {
        json!({
            "Type": "tmpfs",
            "Source": "",
            "Destination": printed(&mount.destination),
            "Mode": "",
            "RW": !is_read_only(mount),
            "Propagation": "",
        })
    });
    volumes.chain(binds).chain(memory).collect()
}

/// What `--mount` has asked for.
pub(super) fn flags(container: &KeptContainer) -> Vec<Value> {
    let one = |kind: &str, source: Option<String>, target: &Path, is_read_only: bool| {
        let mut flag = json!({ "Type": kind, "Target": printed(target) });
        if let Some(source) = source {
            flag["Source"] = source.into();
        }
        if is_read_only {
            flag["ReadOnly"] = true.into();
        }
        flag
    };
    let record = &container.record;
    let volumes = record.volumes.iter().filter(|volume| is_flag(container, &volume.target)).map(|volume| {
        let name = (!volume.is_anonymous).then(|| volume.name.clone());
        one("volume", name, &volume.target, volume.readonly)
    });
    let binds = bound_without_devices(container)
        .filter(|mount| is_flag(container, &mount.destination))
        .map(|mount| one("bind", Some(printed(&mount.source)), &mount.destination, is_read_only(mount)));
    let memory = in_memory(container).filter(|mount| is_flag(container, &mount.destination)).map(|mount| {
        let mut flag = one("tmpfs", None, &mount.destination, is_read_only(mount));
        if let Some(size) = size(mount) {
            flag["TmpfsOptions"] = json!({ "SizeBytes": size });
        }
        flag
    });
    volumes.chain(binds).chain(memory).collect()
}

/// The volumes with a name and the directories of the host, as `-v` takes them.
pub(super) fn binds(container: &KeptContainer) -> Vec<String> {
    let one = |source: String, target: &Path, is_read_only: bool| {
        format!("{source}:{}{}", printed(target), if is_read_only { ":ro" } else { "" })
    };
    let volumes = container.record.volumes.iter();
    let volumes = volumes.filter(|volume| !volume.is_anonymous && !is_flag(container, &volume.target));
    let volumes = volumes.map(|volume| one(volume.name.clone(), &volume.target, volume.readonly));
    let bound = bound_without_devices(container).filter(|mount| !is_flag(container, &mount.destination));
    let bound = bound.map(|mount| one(printed(&mount.source), &mount.destination, is_read_only(mount)));
    volumes.chain(bound).collect()
}

/// The filesystems in memory that `--tmpfs` has asked for, each with its options.
pub(super) fn tmpfs(container: &KeptContainer) -> Map<String, Value> {
    let asked = in_memory(container).filter(|mount| !is_flag(container, &mount.destination));
    asked.map(|mount| (printed(&mount.destination), mount.options.join(",").into())).collect()
}
