//! What was made on the host: what makes it known again, and how it's taken away.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;

use super::group;
use crate::feature::Feature;
use crate::network::bridge;
use crate::observe::{mountinfo, proc};
use crate::plan::undo::Undo;
use crate::sys;

/// Takes it away; false where it's gone already, or others still use it. Whoever tidies up after a dead owner has `patience`
/// with that one's dying processes.
pub(super) fn remove(undo: &Undo, patience: Duration) -> io::Result<bool> {
    let removed = match undo {
        Undo::DeleteLink { name } => sys::netlink::delete_link(name).map_err(io::Error::from),
        Undo::RemoveBridge { name } => bridge::remove(name, patience),
        Undo::RemoveDirectory { path } => fs::remove_dir(path),
        Undo::RemoveFile { path } => fs::remove_file(path),
        Undo::Unmount { path } => match nix::mount::umount2(path, nix::mount::MntFlags::MNT_DETACH) {
            // Nothing is mounted there: its owner died before that. umount(2)
            Err(Errno::EINVAL) => return Ok(false),
            unmounted => unmounted.map_err(io::Error::from),
        },
        Undo::RemoveSysv { kind, key } => sys::sysv::remove(*kind, *key).map_err(io::Error::from),
        Undo::RemoveQueue { name } => sys::queue::remove(name).map_err(io::Error::from),
        Undo::RemoveGroup { path } => group::remove(path),
        Undo::RemoveSharedGroup { path } => group::remove_shared(path),
        Undo::WithdrawControllers { path, controllers } => group::withdraw(path, controllers),
        Undo::MoveBack { path, from } => group::leave(from, path),
    };
    match removed {
        // Gone meanwhile; or other runs use it still, and the last of them removes it.
        Err(error) if is_absent(&error) || error.kind() == io::ErrorKind::WouldBlock => Ok(false),
        removed => removed.map(|()| true),
    }
}

/// A device goes by itself, too, with the namespace of its other end: ENODEV.
fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
        || error.raw_os_error() == Some(libc::ENODEV)
}

/// What makes a thing known again; none if it isn't there.
pub(super) fn identity(undo: &Undo) -> io::Result<Option<String>> {
    let inode = |path: &Path| match fs::symlink_metadata(path) {
        Err(error) if is_absent(&error) => Ok(None),
        metadata => metadata.map(|metadata| Some(format!("{}:{}", metadata.dev(), metadata.ino()))),
    };
    Ok(match undo {
        // Not from /sys/class/net: that lists the namespace in which it was mounted, which needn't be the caller's.
        Undo::DeleteLink { name } => sys::netlink::find_link(name).map(|link| link.identity()),
        Undo::RemoveBridge { name } => bridge::find(name).map(|link| link.identity()),
        Undo::RemoveDirectory { path }
        | Undo::RemoveFile { path }
        | Undo::Unmount { path }
        | Undo::RemoveGroup { path }
        | Undo::RemoveSharedGroup { path }
        | Undo::WithdrawControllers { path, .. }
        | Undo::MoveBack { path, .. } => inode(path)?,
        Undo::RemoveSysv { kind, key } => sys::sysv::find(*kind, *key).ok().map(|id| id.to_string()),
        Undo::RemoveQueue { name } => sys::queue::identity(name),
    })
}

/// The caller's own namespace of the kind in which the thing's name holds.
pub(super) fn home(undo: &Undo) -> Option<String> {
    proc::namespace_link("/proc/self", undo.home()?).ok()
}

/// Whether a namespace still exists as far as can be seen: some process is in it, or it's mounted, as `ip netns` does.
pub(super) fn lives(namespace: &str) -> bool {
    let kind = namespace
        .split(':')
        .next()
        .and_then(|kind| Feature::NAMESPACES.iter().copied().find(|feature| feature.name() == kind));
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let mut links = processes.filter_map(|entry| {
        let process = entry.path();
        proc::namespace_link(process.to_str()?, kind?).ok()
    });
    // The root of such a mount is the namespace's name. proc_pid_mountinfo(5)
    let is_mounted =
        |table: Vec<u8>| mountinfo::mounts(&table).any(|mount| *mount.root == *Path::new(namespace));
    links.any(|link| link == namespace) || mountinfo::read("/proc/self").is_ok_and(is_mounted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_lives_while_a_process_is_in_it() {
        assert!(lives(&proc::namespace_link("/proc/self", Feature::Net).unwrap()));
        assert!(!lives("net:[1]"));
    }
}
