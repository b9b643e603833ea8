//! Removes cgroups: first the processes in a cgroup are killed, then its directory is removed.
//!
//! The caller must have proved by the journal that `sandbox` made the directory.

use std::fs;
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::statfs::{CGROUP_SUPER_MAGIC, CGROUP2_SUPER_MAGIC, statfs};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::host::run_lock::{self, RunLock};
use crate::observe::file;
use crate::observe::hierarchy::{Hierarchy, Version, hierarchies};
use crate::text::printed;

/// How long to wait for the processes of a cgroup to end. After SIGKILL a process only needs longer if a disk does
/// not answer.
const DEADLINE: Duration = Duration::from_secs(5);

/// Kills the processes in a cgroup and its descendants, and removes these cgroups. The cgroup of the caller stays.
pub(super) fn remove(cgroup: &Path) -> io::Result<()> {
    // Most cgroups are empty at the end of a run. The kernel removes only a cgroup without processes and children.
    if fs::remove_dir(cgroup).is_ok() {
        return Ok(());
    }
    for child in children_of(cgroup) {
        remove(&child)?;
    }
    let caller = std::process::id().cast_signed();
    let deadline = Instant::now() + DEADLINE;
    loop {
        match fs::remove_dir(cgroup) {
            // A process is still in it. The kernel also counts a process that has just ended for a moment longer.
            Err(error)
                if error.kind() == ErrorKind::ResourceBusy
                    && Instant::now() < deadline
                    && !has_member(cgroup, caller) =>
            {
                kill_members(cgroup);
                std::thread::sleep(Duration::from_millis(1));
            }
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            removed => return removed,
        }
    }
}

/// Whether this process sees the hierarchy of a cgroup, which may not exist any more. In another mount namespace,
/// nothing or something else may be mounted there.
pub(super) fn is_visible(cgroup: &Path) -> bool {
    let nearest = cgroup.ancestors().find(|directory| directory.exists());
    let kind = nearest.and_then(|directory| statfs(directory).ok()).map(|about| about.filesystem_type());
    kind == Some(CGROUP_SUPER_MAGIC) || kind == Some(CGROUP2_SUPER_MAGIC)
}

/// Sends SIGKILL to all members. On cgroup v1 a frozen process does not take the signal, so the cgroup is thawed first.
fn kill_members(cgroup: &Path) {
    for (file, thawed) in [("cgroup.freeze", "0"), ("freezer.state", "THAWED")] {
        let file = cgroup.join(file);
        if file.exists() {
            let _ = fs::write(file, thawed);
        }
    }
    // Since Linux 5.14, on cgroup v2: kills all members at once, and also processes that are being forked meanwhile.
    if fs::write(cgroup.join("cgroup.kill"), "1").is_ok() {
        return;
    }
    let members = file::read_text(cgroup.join("cgroup.procs")).unwrap_or_default();
    for pid in members.lines().filter_map(|member| Pid::from_raw(member.parse().ok()?)) {
        // The PID may have been reused since cgroup.procs was read. A pidfd always means the same process, so
        // membership is checked again after it is open.
        if let Ok(pidfd) = pidfd_open(pid, PidfdFlags::empty())
            && has_member(cgroup, pid.as_raw_nonzero().get())
        {
            let _ = pidfd_send_signal(pidfd, Signal::KILL);
        }
    }
}

/// Thaws the cgroup of a process, if it is a cgroup of a container and v1 has frozen it. On cgroup v1 a frozen process does
/// not end by SIGKILL.
pub(super) fn thaw(pid: i32) {
    let hierarchies = hierarchies(&format!("/proc/{pid}"));
    let frozen = hierarchies.iter().filter(|one| one.version == Version::V1);
    for directory in frozen.filter_map(Hierarchy::own) {
        if directory.parent().is_some_and(|parent| parent.ends_with("sandbox")) {
            let file = directory.join("freezer.state");
            // Opened without O_CREAT: other hierarchies have no such file.
            let opened = fs::OpenOptions::new().write(true).open(file);
            let _ = opened.and_then(|mut file| file.write_all(b"THAWED"));
        }
    }
}

/// Whether a process is a member of a cgroup.
fn has_member(cgroup: &Path, pid: i32) -> bool {
    let members = file::read_text(cgroup.join("cgroup.procs")).unwrap_or_default();
    members.lines().any(|member| member.parse() == Ok(pid))
}

/// Moves the caller from `cgroup` to `to`. A caller that cleans up after another run is not in `cgroup`; then nothing
/// happens.
pub(super) fn leave(cgroup: &Path, to: &Path) -> io::Result<()> {
    if !has_member(cgroup, std::process::id().cast_signed()) {
        return Ok(());
    }
    fs::write(to.join("cgroup.procs"), "0")
}

/// Removes the directory `sandbox`, which all runs share, if no run uses it. Each run holds a shared lock, which is
/// named after its parent directory.
///
/// The error is EWOULDBLOCK if another run uses it, or has left a cgroup in it that is not cleaned up yet.
pub(super) fn remove_shared(cgroup: &Path) -> io::Result<()> {
    let lock = lock_exclusively(cgroup.parent().unwrap_or(cgroup), || has_children(cgroup))?;
    let removed = match fs::remove_dir(cgroup) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(_) if has_children(cgroup) => Err(Errno::EWOULDBLOCK.into()),
        removed => removed,
    };
    lock.release();
    removed
}

/// Disables controllers in `cgroup.subtree_control` of a directory (cgroup v2).
///
/// The error is EWOULDBLOCK while there is another cgroup beside ours, or another run of `sandbox`. That cgroup may
/// have begun to use the controllers, and would lose its limits.
pub(super) fn disable_controllers(directory: &Path, controllers: &[String]) -> io::Result<()> {
    let shared = directory.join("sandbox");
    let is_used = || {
        let others = children_of(directory).into_iter().filter(|cgroup| *cgroup != shared);
        // `…-host` is the leaf cgroup into which the caller itself had to move.
        let runs = children_of(&shared).into_iter().filter(|cgroup| !printed(cgroup).ends_with("-host"));
        others.chain(runs).next().is_some()
    };
    let lock = lock_exclusively(directory, is_used)?;
    let disable = || {
        if is_used() {
            return Err(Errno::EWOULDBLOCK.into());
        }
        let minus: Vec<String> = controllers.iter().map(|name| format!("-{name}")).collect();
        if shared.exists() {
            fs::write(shared.join("cgroup.subtree_control"), minus.join(" "))?;
        }
        fs::write(directory.join("cgroup.subtree_control"), minus.join(" "))
    };
    let disabled = disable();
    lock.release();
    disabled
}

/// The exclusive lock for a directory that several runs share.
///
/// If another process has the lock, it is retried for a moment as long as the directory is not in use. Otherwise, two
/// runs that end at the same time could both leave the directory: the first has the lock and still sees the cgroup of
/// the second, and the second fails to get the lock.
fn lock_exclusively(directory: &Path, is_used: impl Fn() -> bool) -> io::Result<RunLock> {
    RunLock::exclusive(&run_lock::of_cgroup(directory), Duration::from_millis(100), || !is_used())
}

/// Whether a cgroup has children. A directory has two links, and one more for each directory in it. This takes one
/// system call; listing the directory takes five.
fn has_children(cgroup: &Path) -> bool {
    cgroup.metadata().is_ok_and(|metadata| metadata.nlink() > 2)
}

fn children_of(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let directories = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    directories.map(|entry| entry.path()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// On a tmpfs, which counts the links of a directory as cgroupfs does.
    #[test]
    fn a_shared_directory_with_a_cgroup_in_it_stays() {
        let above = tempfile::tempdir_in("/dev/shm").unwrap();
        let shared = above.path().join("sandbox");
        fs::create_dir_all(shared.join("another")).unwrap();
        let error = remove_shared(&shared).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}");
        fs::remove_dir(shared.join("another")).unwrap();
        remove_shared(&shared).unwrap();
        assert!(!shared.exists());
    }
}
