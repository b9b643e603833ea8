//! Taking a cgroup away: whatever still runs in it is ended, then its directory goes. Only ever called for directories that the
//! journal proves to be ours.

use crate::observe::file;
use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use rustix::fs::{FlockOperation, flock};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// How long the processes of a group may take to end: SIGKILL needs no longer, unless a disk doesn't answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Ends what is in a group and in those below it, and removes them. A group that the caller is in stays.
pub(super) fn remove(group: &Path) -> io::Result<()> {
    // Most are empty when their run ends, and the kernel removes no other: then there's nothing to look for.
    if fs::remove_dir(group).is_ok() {
        return Ok(());
    }
    for below in groups_in(group) {
        remove(&below)?;
    }
    let own = std::process::id().cast_signed();
    let deadline = Instant::now() + PATIENCE;
    loop {
        match fs::remove_dir(group) {
            // Some process is in it, or has only just left it: the kernel counts for a moment longer.
            Err(error)
                if error.kind() == ErrorKind::ResourceBusy
                    && Instant::now() < deadline
                    && !holds(group, own) =>
            {
                end_members(group);
                std::thread::sleep(Duration::from_millis(1));
            }
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            removed => return removed,
        }
    }
}

/// SIGKILL to all members. What is frozen takes no signal, so it's thawed first.
fn end_members(group: &Path) {
    for (file, thawed) in [("cgroup.freeze", "0"), ("freezer.state", "THAWED")] {
        let file = group.join(file);
        if file.exists() {
            let _ = fs::write(file, thawed);
        }
    }
    // Linux 5.14, on v2: all at once, also those that are being born meanwhile.
    if fs::write(group.join("cgroup.kill"), "1").is_ok() {
        return;
    }
    let members = file::read_text(group.join("cgroup.procs")).unwrap_or_default();
    for pid in members.lines().filter_map(|member| Pid::from_raw(member.parse().ok()?)) {
        // The number may have become another's between the two readings: the descriptor stays with one process, which is
        // looked for again.
        if let Ok(pidfd) = pidfd_open(pid, PidfdFlags::empty())
            && holds(group, pid.as_raw_nonzero().get())
        {
            let _ = pidfd_send_signal(pidfd, Signal::KILL);
        }
    }
}

/// Whether a process is a member.
fn holds(group: &Path, pid: i32) -> bool {
    let members = file::read_text(group.join("cgroup.procs")).unwrap_or_default();
    members.lines().any(|member| member.parse() == Ok(pid))
}

/// The caller leaves `group` for `to`, if it's in there at all: whoever tidies up after another run isn't.
pub(super) fn leave(group: &Path, to: &Path) -> io::Result<()> {
    if !holds(group, std::process::id().cast_signed()) {
        return Ok(());
    }
    fs::write(to.join("cgroup.procs"), "0")
}

/// Removes the directory that other runs use too, if none does: each of them holds a shared lock on the directory above. Where one
/// does, or left its group there and nobody has tidied up after it yet, the error is EWOULDBLOCK.
pub(super) fn remove_shared(group: &Path) -> io::Result<()> {
    let _alone = alone(group.parent().unwrap_or(group), || has_groups(group))?;
    match fs::remove_dir(group) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(_) if has_groups(group) => Err(Errno::EWOULDBLOCK.into()),
        removed => removed,
    }
}

/// v2: a directory hands controllers down no longer. Where another group lies beside ours, it may have begun to use them, and
/// would lose its limits: then they stay, as they do while another run of ours is there, and the error is EWOULDBLOCK.
pub(super) fn withdraw(directory: &Path, controllers: &[String]) -> io::Result<()> {
    let shared = directory.join("sandbox");
    let is_used = || {
        let others = groups_in(directory).into_iter().filter(|group| *group != shared);
        // Where the caller itself had to make room, its own leaf is left in there.
        let runs = groups_in(&shared).into_iter().filter(|group| !group.to_string_lossy().ends_with("-host"));
        others.chain(runs).next().is_some()
    };
    let _alone = alone(directory, is_used)?;
    if is_used() {
        return Err(Errno::EWOULDBLOCK.into());
    }
    let minus: Vec<String> = controllers.iter().map(|name| format!("-{name}")).collect();
    if shared.exists() {
        fs::write(shared.join("cgroup.subtree_control"), minus.join(" "))?;
    }
    fs::write(directory.join("cgroup.subtree_control"), minus.join(" "))
}

/// The lock of a directory that runs share, for the last of them. Two that end at a time may each take the other for one that
/// stays: one has the lock and sees the other's group, which goes just before the other asks for the lock. So where nothing
/// is in use, whoever has it will let it go in a moment.
fn alone(directory: &Path, is_used: impl Fn() -> bool) -> io::Result<fs::File> {
    let own = fs::File::open(directory)?;
    let deadline = Instant::now() + Duration::from_millis(100);
    loop {
        match flock(&own, FlockOperation::NonBlockingLockExclusive) {
            Err(rustix::io::Errno::WOULDBLOCK) if !is_used() && Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(1));
            }
            locked => return Ok(locked.map(|()| own)?),
        }
    }
}

/// Whether there are groups in a group: each of them is a link to the directory, which has two itself. One call, where to list it,
/// with all its files, takes five.
fn has_groups(group: &Path) -> bool {
    group.metadata().is_ok_and(|metadata| metadata.nlink() > 2)
}

fn groups_in(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let directories = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    directories.map(|entry| entry.path()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In a tmpfs, whose directories are linked as those of cgroups are.
    #[test]
    fn a_shared_directory_with_a_group_in_it_stays() {
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
