//! Finds the filesystems in memory that a container has filled. Programs in it then report "No space left on device",
//! although the disks of the machine have room.
//!
//! The mounts are gone when the command has ended, so they are opened at its start. The container may be hostile by then: a
//! descriptor is opened only for its path (O_PATH), and only from the kernel's cache (RESOLVE_CACHED). So no filesystem of
//! the container, such as one of FUSE, is asked, and nothing waits for it. statfs(2) is called when no process of the
//! container is left.

use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use nix::sys::statfs::fstatfs;
use nix::unistd::Pid;
use rustix::fs::{Mode, OFlags, ResolveFlags, open};

use super::supervise::has_ended;
use crate::plan::call::detached::{Attributes, DetachedMountCall};
use crate::plan::expect::{self, Expected};
use crate::plan::{Call, Plan, Step};
use crate::sys::in_root;

/// A filesystem in memory to which the container can write.
#[derive(Debug)]
pub(super) struct WritableSpace {
    mount_point: PathBuf,
    descriptor: OwnedFd,
}

/// A filesystem of a container that is full.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FullSpace {
    /// Its mount point in the container.
    pub mount_point: PathBuf,
    /// Its size in bytes.
    pub size: u64,
    /// Whether it has no free inodes. Otherwise it has no free blocks.
    pub lacks_inodes: bool,
}

/// Opens the filesystems in memory of a plan's container. `process` is one of its processes, with its pidfd. Those that
/// cannot be opened are left out.
pub(super) fn open_all(plan: &Plan, process: Pid, pidfd: &OwnedFd) -> Vec<WritableSpace> {
    let mut places: Vec<(PathBuf, bool)> = expect::of(plan).into_iter().filter_map(writable).collect();
    // A kept upper directory is on a disk.
    let keeps = |step: &Step| matches!(step.call, Call::DetachedMount(DetachedMountCall::OpenOwn { .. }));
    if plan.steps.iter().any(keeps) {
        places.retain(|(_, is_overlay)| !is_overlay);
    }
    // All overlays of a container write to the same tmpfs, which has no mount point.
    if let Some(first) = places.iter().position(|(_, is_overlay)| *is_overlay) {
        let overlay = places.remove(first);
        places.retain(|(_, is_overlay)| !is_overlay);
        places.insert(0, overlay);
    }
    if places.is_empty() {
        return Vec::new();
    }
    let directory = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let Ok(root) = open(format!("/proc/{process}/root"), directory, Mode::empty()) else {
        return Vec::new();
    };
    if has_ended(pidfd.as_fd()) {
        // The PID may belong to another process already.
        return Vec::new();
    }
    let rules = ResolveFlags::NO_SYMLINKS | ResolveFlags::CACHED;
    let opened = places.into_iter().filter_map(|(at, is_overlay)| {
        let descriptor = in_root::open_by(&root, &at, OFlags::PATH, rules).ok()?;
        Some(WritableSpace { mount_point: if is_overlay { "/".into() } else { at }, descriptor })
    });
    opened.collect()
}

/// The mount point of a filesystem in memory that is not read-only, and whether it is an overlay, which writes to one.
fn writable(expected: Expected) -> Option<(PathBuf, bool)> {
    match expected {
        Expected::Mount { at, filesystem: Some(kind), attributes, .. }
            if ["tmpfs", "overlay"].contains(&kind.as_str()) =>
        {
            let is_read_only = attributes.and(Attributes::READ_ONLY) == attributes;
            (!is_read_only).then(|| (at, kind == "overlay"))
        }
        _ => None,
    }
}

/// Those that are full, each mount point once.
pub(super) fn full(spaces: &[WritableSpace]) -> Vec<FullSpace> {
    let found = spaces.iter().filter_map(|space| {
        let found = fstatfs(&space.descriptor).ok()?;
        let lacks_blocks = found.blocks() > 0 && found.blocks_available() == 0;
        let lacks_inodes = found.files() > 0 && found.files_free() == 0;
        let size = found.blocks() * u64::try_from(found.block_size()).unwrap_or_default();
        (lacks_blocks || lacks_inodes).then(|| FullSpace {
            mount_point: space.mount_point.clone(),
            size,
            lacks_inodes: !lacks_blocks,
        })
    });
    let mut full: Vec<FullSpace> = found.collect();
    // Where a user's overlays are on a tmpfs, both have the mount point `/`, and are neighbours here.
    full.dedup_by(|one, other| one.mount_point == other.mount_point);
    full
}
