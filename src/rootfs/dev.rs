//! /dev: the devices that any program expects, and no others.
//!
//! A process that may open a device file can use the device. So a container gets a tmpfs with a few devices that give
//! no access to hardware or to data of others. Root makes them by mknod(2). In a user namespace the kernel refuses
//! mknod(2), so the device files of the host are bind-mounted.
//!
//! The container has its own devpts for terminals and its own /dev/shm, because those of the host contain the terminals
//! and the shared memory of other processes. Only with the IPC namespace of others, it has their /dev/shm too. null(4), tty(4),
//! pts(4), mq_overview(7)
//!
//! What you see: `ls /dev`.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::mount::OwnMounts;
use super::{RootDraft, mounts};
use crate::plan::call::detached::DetachedMountCall;
use crate::plan::slots::Held;
use crate::value::bytes;

/// The file of a device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeviceFile {
    /// Its path, in /dev.
    #[serde(with = "bytes")]
    #[schemars(with = "bytes::Form")]
    pub path: PathBuf,
    /// The number of the driver.
    pub major: u64,
    /// The number of the device within the driver.
    pub minor: u64,
    /// Whether it is a block device, such as a disk. Others are character devices.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub block: bool,
    /// Its permissions.
    #[serde(default = "all_may", skip_serializing_if = "is_for_all")]
    pub mode: u32,
}

/// The permissions of the usual devices.
fn all_may() -> u32 {
    0o666
}

fn is_for_all(mode: &u32) -> bool {
    *mode == all_may()
}

/// The default devices, by name and number: Documentation/admin-guide/devices.txt of the kernel.
const NODES: [(&str, (u64, u64)); 6] = [
    ("null", (1, 3)),
    ("zero", (1, 5)),
    ("full", (1, 7)),
    ("random", (1, 8)),
    ("urandom", (1, 9)),
    ("tty", (5, 0)),
];

/// The symbolic links in /dev.
const LINKS: [(&str, &str); 5] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
];

/// The default of `devices`.
pub fn devices() -> Vec<DeviceFile> {
    let file = |(name, (major, minor)): (&str, _)| DeviceFile {
        path: Path::new("/dev").join(name),
        major,
        minor,
        block: false,
        mode: all_may(),
    };
    NODES.map(file).into()
}

/// The console of the host.
const CONSOLE: &str = "/dev/console";

/// The maximum depth of directories in /dev that are looked at.
const MAX_DEPTH: usize = 8;

/// The devices of the host for a container with all privileges: as for Docker, without the console. Those that each container has
/// anyway are left out.
pub fn devices_of_host() -> Vec<DeviceFile> {
    let mut all = devices_below(Path::new("/dev"));
    all.retain(|one| !is_usual(&one.path) && one.path.as_os_str() != CONSOLE);
    all
}

/// The devices of a directory of /dev and of the directories below it, in the order of their paths. Symbolic links are not followed.
pub fn devices_below(directory: &Path) -> Vec<DeviceFile> {
    let mut all: Vec<DeviceFile> = Vec::new();
    add_devices(directory, MAX_DEPTH, &mut all);
    all.sort_by(|one, other| one.path.cmp(&other.path));
    all
}

fn add_devices(directory: &Path, depth: usize, all: &mut Vec<DeviceFile>) {
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        let Ok(found) = entry.metadata() else { continue };
        let kind = found.file_type();
        if kind.is_dir() && depth > 0 && !is_usual(&path) {
            add_devices(&path, depth - 1, all);
        } else if kind.is_char_device() || kind.is_block_device() {
            let (major, minor) = (nix::sys::stat::major(found.rdev()), nix::sys::stat::minor(found.rdev()));
            all.push(DeviceFile {
                path,
                major,
                minor,
                block: kind.is_block_device(),
                mode: found.mode() & 0o7777,
            });
        }
    }
}

/// Whether a path leads to something that each container has in its /dev.
pub(crate) fn is_usual(path: &Path) -> bool {
    let first = path.strip_prefix("/dev").ok().and_then(|rest| rest.components().next());
    let first = first.and_then(|name| name.as_os_str().to_str());
    first.is_some_and(|name| {
        let is_node = NODES.iter().any(|(node, _)| *node == name);
        is_node || LINKS.iter().any(|(link, _)| *link == name) || ["pts", "shm", "mqueue"].contains(&name)
    })
}

/// Where shm_open(3) makes its files.
pub const SHARED_MEMORY: &str = "/dev/shm";

/// The steps of /dev.
pub(super) fn plan(root: &mut RootDraft<'_>, own: &OwnMounts<'_>) {
    let Some(dev) = own.dev else { return };
    root.make(&dev.kind, &dev.data(), dev.attributes(), Held::Dev, "rootfs.dev.why");
    root.attach(Held::Dev, (Held::Root, &dev.destination), "rootfs.place.why");
    let mut made = BTreeSet::new();
    for DeviceFile { path, major, minor, block, mode } in root.wanted.devices {
        // A device file elsewhere would be in the files of the root, and could stay there.
        let Ok(name) = path.strip_prefix("/dev") else { continue };
        let name = name.to_owned();
        let mut above: Vec<&Path> = name.ancestors().skip(1).filter(|path| path.parent().is_some()).collect();
        above.reverse();
        for directory in above.into_iter().filter(|directory| made.insert(directory.to_path_buf())) {
            let call =
                DetachedMountCall::MakeDirectory { at: Held::Dev, path: directory.to_owned(), mode: 0o755 };
            root.step(call, "rootfs.devdirectory.why");
        }
        if root.is_user() || root.wanted.devices_to_bind.contains(&path.as_path()) {
            let (at, content) = (Held::Dev, OsString::new());
            let file = DetachedMountCall::MakeFile { at, path: name.clone(), content };
            root.step(file, "rootfs.nodefile.why");
            let node = DetachedMountCall::Clone { path: path.clone(), below: false, to: Held::Mount };
            root.step(node, "rootfs.nodebind.why");
            root.attach(Held::Mount, (Held::Dev, name), "rootfs.place.why");
        } else {
            let device = (*major, *minor);
            let (at, block, mode) = (Held::Dev, *block, *mode);
            let node = DetachedMountCall::MakeNode { at, path: name, device, block, mode };
            root.step(node, "rootfs.node.why");
        }
    }
    for (path, target) in LINKS {
        let link = DetachedMountCall::MakeLink { at: Held::Dev, path: path.into(), target: target.into() };
        root.step(link, "rootfs.devlink.why");
    }
    for (name, mount, why) in [
        ("pts", own.pts, "rootfs.pts.why"),
        ("shm", own.shm, "rootfs.shm.why"),
        ("mqueue", own.mqueue, "rootfs.mqueue.why"),
    ] {
        let Some(mount) = mount else { continue };
        let mut options = mount.data();
        // The group of terminals (tty) has the ID 5. A user namespace may not map this ID, and then refuses the option.
        options.retain(|(key, _)| !(root.is_user() && mount.kind == "devpts" && *key == "gid"));
        let directory = DetachedMountCall::MakeDirectory { at: Held::Dev, path: name.into(), mode: 0o755 };
        root.step(directory, "rootfs.devdirectory.why");
        if let Some(pid) = root.wanted.memory_of.filter(|_| name == "shm") {
            let (path, to) = (SHARED_MEMORY.into(), Held::Mount);
            root.step(DetachedMountCall::CloneJoined { pid, path, to }, "rootfs.sharedshm.why");
            // The copy has the attributes that the other container has chosen.
            mounts::restrict(root, Held::Mount, true, mount.attributes());
            root.attach(Held::Mount, (Held::Dev, name), "rootfs.place.why");
            continue;
        }
        root.filesystem(&mount.kind, &options, mount.attributes(), (Held::Dev, name), why);
    }
}
