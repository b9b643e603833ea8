//! Undoes what a step made on the host: how an object is recognized, and how it is removed.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;

use super::process::Remains;
use super::{cgroup, process};
use crate::feature::Feature;
use crate::network::bridge;
use crate::observe::{mountinfo, proc};
use crate::plan::undo::Undo;
use crate::sys;
use crate::text::printed;

/// Removes an object. Returns false if it does not exist any more, or if other runs still use it. `patience` is the
/// time to wait for the processes of an owner that was killed.
pub(super) fn remove(undo: &Undo, patience: Duration) -> io::Result<bool> {
    let removed = match undo {
        // It is ended by `end_container`, which tells what it has killed.
        Undo::EndContainer { .. } => return Ok(false),
        Undo::EndProgram { pid, started } => process::kill(*pid, *started, patience),
        Undo::DeleteLink { name } => sys::netlink::delete_link(name).map_err(io::Error::from),
        Undo::RemoveBridge { name } => bridge::remove(name, patience),
        Undo::RemoveTables { comment } => sys::nftables::find_tables(comment)
            .and_then(|tables| sys::nftables::delete_tables(&tables))
            .map_err(io::Error::from),
        Undo::RemoveDirectory { path } => fs::remove_dir(path),
        Undo::RemoveFile { path } => fs::remove_file(path),
        Undo::Unmount { path } => match nix::mount::umount2(path, nix::mount::MntFlags::MNT_DETACH) {
            // Nothing is mounted there: the owner was killed before it mounted. umount(2)
            Err(Errno::EINVAL) => return Ok(false),
            unmounted => unmounted.map_err(io::Error::from),
        },
        Undo::RemoveSysv { kind, key } => sys::sysv::remove(*kind, *key).map_err(io::Error::from),
        Undo::RemoveQueue { name } => sys::queue::remove(name).map_err(io::Error::from),
        Undo::RemoveGroup { path } => cgroup::remove(path),
        Undo::RemoveSharedGroup { path } => cgroup::remove_shared(path),
        Undo::WithdrawControllers { path, controllers } => cgroup::disable_controllers(path, controllers),
        Undo::MoveBack { path, from } => cgroup::leave(from, path),
    };
    match removed {
        // It was removed meanwhile; or other runs still use it, and the last of them removes it.
        Err(error) if is_absent(&error) || error.kind() == io::ErrorKind::WouldBlock => Ok(false),
        removed => removed.map(|()| true),
    }
}

/// Whether this process runs, or waits to be reaped.
pub(super) fn is_running(pid: i32, since: u64) -> bool {
    process::started(pid) == Some(since)
}

/// What was done to a container whose `sandbox` was killed.
#[derive(Debug, Default)]
pub(super) struct EndedContainer {
    /// What was killed.
    pub(super) killed: Vec<Undo>,
    /// Whether processes of it may run that nothing identifies.
    pub(super) is_unknown: bool,
}

/// Ends a container: its command, and what that has left running.
pub(super) fn end_container(
    pid: i32,
    started: u64,
    namespaces: &[String],
    patience: Duration,
) -> io::Result<EndedContainer> {
    let mut ended = EndedContainer::default();
    let undo_of = |pid, started| Undo::EndContainer { pid, started, namespaces: namespaces.to_vec() };
    if process::remains(pid, started, namespaces) == Remains::Command {
        match process::end(pid, started, namespaces, patience) {
            Ok(()) => ended.killed.push(undo_of(pid, started)),
            // It has ended meanwhile, by its parent-death signal.
            Err(error) if is_absent(&error) => {}
            Err(error) => return Err(error),
        }
    }
    match process::remains(pid, started, namespaces) {
        Remains::Orphans => {
            let orphans = process::end_orphans(started, namespaces, patience)?;
            ended.killed.extend(orphans.into_iter().map(|(pid, started)| undo_of(pid, started)));
        }
        // What was killed together with its command has left nothing.
        Remains::Unknown => ended.is_unknown = ended.killed.is_empty(),
        Remains::Command | Remains::Nothing => {}
    }
    Ok(ended)
}

/// A veth pair is also removed by the kernel, with the network namespace of its other end. Then the errno is ENODEV.
/// ESRCH: a process has ended.
fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
        || matches!(error.raw_os_error(), Some(libc::ENODEV | libc::ESRCH))
}

/// What identifies an object: its inode, or the kernel's ID. None if it does not exist.
pub(super) fn identity(undo: &Undo) -> io::Result<Option<String>> {
    let inode = |path: &Path| match fs::symlink_metadata(path) {
        Err(error) if is_absent(&error) => Ok(None),
        metadata => metadata.map(|metadata| Some(format!("{}:{}", metadata.dev(), metadata.ino()))),
    };
    Ok(match undo {
        Undo::EndContainer { pid, started, .. } | Undo::EndProgram { pid, started } => {
            is_running(*pid, *started).then(|| started.to_string())
        }
        // Not from /sys/class/net: it lists the network namespace in which /sys was mounted, which may not be the
        // caller's.
        Undo::DeleteLink { name } => sys::netlink::find_link(name).map(|link| link.identity()),
        Undo::RemoveBridge { name } => bridge::find(name).map(|link| link.identity()),
        // The comment is unique, so it is the identity, too.
        Undo::RemoveTables { comment } => {
            (!sys::nftables::find_tables(comment)?.is_empty()).then(|| comment.clone())
        }
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

/// The caller's namespace in which the name of an object is valid. None for a path.
pub(super) fn namespace_of(undo: &Undo) -> Option<String> {
    proc::namespace_link("/proc/self", undo.home()?).ok()
}

/// The name of the PID namespace in which the machine started. linux/proc_ns.h, PROC_PID_INIT_INO
const INITIAL_PID_NAMESPACE: &str = "pid:[4026531836]";

/// Whether a namespace still exists, as far as the caller can see: a process is in it, or it is bind-mounted, as by
/// `ip netns`.
pub(super) fn exists(namespace: &str) -> bool {
    let kind = namespace
        .split(':')
        .next()
        .and_then(|kind| Feature::NAMESPACES.iter().copied().find(|feature| feature.name() == kind));
    // Only the initial PID namespace shows the processes of all others.
    if kind == Some(Feature::Pid)
        && proc::namespace_link("/proc/self", Feature::Pid).is_ok_and(|own| own != INITIAL_PID_NAMESPACE)
    {
        return true;
    }
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let mut links = processes.filter_map(|entry| {
        let process = entry.path();
        proc::namespace_link(&printed(&process), kind?).ok()
    });
    // In mountinfo, the root of such a mount is the namespace's name. proc_pid_mountinfo(5)
    let is_mounted =
        |table: Vec<u8>| mountinfo::mounts(&table).any(|mount| *mount.root == *Path::new(namespace));
    links.any(|link| link == namespace) || mountinfo::read("/proc/self").is_ok_and(is_mounted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_exists_while_a_process_is_in_it() {
        assert!(exists(&proc::namespace_link("/proc/self", Feature::Net).unwrap()));
        assert!(!exists("net:[1]"));
    }
}
