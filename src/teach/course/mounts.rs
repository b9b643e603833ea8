//! Facts about the mounts of a process.

use std::fs::File;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, OFlags, fstat};

use super::data::MountPart;
use super::fact::FactValue;
use crate::observe::file;
use crate::observe::mountinfo::{self, Mount};
use crate::sys::in_root;

/// A part of the uppermost mount on a path.
pub(super) fn part(table: &[u8], on: &str, part: MountPart) -> FactValue {
    let Some(mount) = mountinfo::mounts(table).rev().find(|mount| mount.is_on(on)) else {
        return FactValue::refused("not a mount point");
    };
    let options = |text: &str| text.split(',').map(str::to_owned).collect::<Vec<_>>();
    match part {
        MountPart::Type => FactValue::one(&mount.filesystem.to_string_lossy()),
        MountPart::Source => FactValue::one(&mount.source.to_string_lossy()),
        MountPart::Options => {
            let all = options(&mount.options).into_iter();
            FactValue::list(all.chain(options(&mount.super_options.to_string_lossy())).collect())
        }
        MountPart::Propagation => {
            // Without the number of the peer group, which differs on every run.
            let names = mount.propagation_text();
            let names = names.split(' ').map(|name| match name.split(':').next().unwrap_or_default() {
                "master" => "slave".to_owned(),
                name => name.to_owned(),
            });
            FactValue::list(names.collect())
        }
    }
}

/// The mounts that show a file or directory of the host: `/run on /mnt`. The mount table of the host is that of the checker.
pub(super) fn from_host(process: &str) -> FactValue {
    let tables = mountinfo::read(process).and_then(|table| Ok((table, mountinfo::read("/proc/self")?)));
    let (table, own) = match tables {
        Ok(tables) => tables,
        Err(error) => return FactValue::of(Err(error), FactValue::one),
    };
    let own: Vec<Mount<'_>> = mountinfo::mounts(&own).collect();
    let root = File::open(format!("{process}/root"));
    // The device files of a container without privileges are those of the host.
    let is_device = |mount: &Mount<'_>| {
        let opened = root
            .as_ref()
            .ok()
            .and_then(|root| in_root::open(root, &*mount.mount_point, OFlags::PATH | OFlags::NOFOLLOW).ok());
        opened
            .and_then(|opened| fstat(opened).ok())
            .is_some_and(|found| FileType::from_raw_mode(found.st_mode) == FileType::CharacterDevice)
    };
    let has_root_of_host = mountinfo::mounts(&table).any(|mount| is_root(&mount, &own));
    let shown = mountinfo::mounts(&table).filter_map(|mount| {
        let origin = origin(&mount, &own)?;
        let is_copy = has_root_of_host && own.iter().any(|other| is_same(other, &mount));
        let is_left_out = is_copy || is_of_kernel(&mount, &origin) || is_device(&mount);
        let place = file::path_text(&mount.mount_point);
        (!is_left_out).then(|| format!("{} on {place}", file::path_text(&origin)))
    });
    FactValue::lines(&shown.map(|line| line + "\n").collect::<String>())
}

/// Whether two mounts show the same at the same path.
fn is_same(one: &Mount<'_>, other: &Mount<'_>) -> bool {
    one.device == other.device && one.root == other.root && one.mount_point == other.mount_point
}

/// Whether this is the root of the host. Then the whole mount table is a copy of the host's.
fn is_root(mount: &Mount<'_>, host: &[Mount<'_>]) -> bool {
    mount.is_on("/") && host.iter().any(|other| is_same(other, mount))
}

/// Whether this is a filesystem of the kernel at its usual place. It is that of the host where the container shares a
/// namespace with the host. Its cgroups are in a filesystem of the host in any case.
fn is_of_kernel(mount: &Mount<'_>, origin: &Path) -> bool {
    let name = mount.filesystem.to_string_lossy();
    let is_at_its_place = *mount.mount_point == *origin;
    // In cgroup v1, the hierarchies are in a tmpfs.
    let is_of_cgroups = name.starts_with("cgroup") || is_at_its_place && mount.is_on("/sys/fs/cgroup");
    is_of_cgroups || ["proc", "sysfs", "mqueue"].contains(&&*name) && is_at_its_place
}

/// The path at which the host has what a mount shows. None: no mount of the host has it.
fn origin(mount: &Mount<'_>, host: &[Mount<'_>]) -> Option<PathBuf> {
    let path_in = |other: &Mount<'_>| {
        let below = mount.root.strip_prefix(&*other.root).ok()?;
        let path: &Path = &other.mount_point;
        // An empty path would add a slash.
        Some(if below.as_os_str().is_empty() { path.to_owned() } else { path.join(below) })
    };
    let on_device = host.iter().filter(|other| other.device == mount.device);
    let found = on_device.clone().filter_map(path_in);
    let shortest = found.min_by_key(|path| path.as_os_str().len());
    // What is above all of the host's mounts of this filesystem has no path there, and is still of the host.
    shortest.or_else(|| (on_device.count() > 0).then(|| mount.root.to_path_buf()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_host_has_elsewhere_is_shown_with_its_path() {
        let host = b"1 0 8:1 / / rw - ext4 x rw\n2 1 0:5 / /run rw - tmpfs run rw\n3 1 0:6 /a/b /srv rw - btrfs x rw\n";
        let host: Vec<_> = mountinfo::mounts(host).collect();
        let seen = |line: &str| {
            let line = line.as_bytes().to_vec();
            let mount = mountinfo::mounts(&line).next().unwrap();
            origin(&mount, &host).map(|path| path.to_string_lossy().into_owned())
        };
        assert_eq!(seen("9 8 0:5 / /media rw - tmpfs run rw").as_deref(), Some("/run"));
        assert_eq!(seen("9 8 0:5 /user /m rw - tmpfs run rw").as_deref(), Some("/run/user"));
        assert_eq!(seen("9 8 8:1 /etc /host rw - ext4 x rw").as_deref(), Some("/etc"));
        assert_eq!(seen("9 8 0:6 /a/b/c /m rw - btrfs x rw").as_deref(), Some("/srv/c"));
        assert_eq!(seen("9 8 0:6 /a /m rw - btrfs x rw").as_deref(), Some("/a"));
        assert_eq!(seen("9 8 0:5 / /run rw - tmpfs run rw").as_deref(), Some("/run"));
        // A filesystem of its own.
        assert_eq!(seen("9 8 0:7 / /proc rw - proc proc rw"), None);
        let is_left_out = |line: &str, origin: &str| {
            let line = line.as_bytes().to_vec();
            is_of_kernel(&mountinfo::mounts(&line).next().unwrap(), Path::new(origin))
        };
        assert!(is_left_out("9 8 0:5 /bus /proc/bus ro - proc proc rw", "/proc/bus"));
        assert!(!is_left_out("9 8 0:5 / /host ro - proc proc rw", "/proc"));
        assert!(is_left_out("9 8 0:5 / /sys/fs/cgroup ro - tmpfs tmpfs rw", "/sys/fs/cgroup"));
        assert!(!is_left_out("9 8 0:5 / /sys/fs/cgroup ro - tmpfs tmpfs rw", "/run"));
        assert!(!is_left_out("9 8 0:5 / /run ro - tmpfs run rw", "/run"));
    }

    #[test]
    fn this_process_has_no_mount_that_the_host_does_not_have() {
        assert_eq!(from_host("/proc/self").items, [""; 0]);
    }
}
