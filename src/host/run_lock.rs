//! Locks on files in RUN: who uses what several runs share, and which runs are alive. Besides, the lock on the work directory
//! of an upper directory that is kept.
//!
//! A lock of flock(2) belongs to the open file, which children share. So each child of `sandbox` that does not call
//! execve(2) soon closes its copies first.
//!
//! The last owner of a lock removes its file. Another process may have opened that file already, and then locks a file
//! that nobody else can find. So each process checks after the lock whether the file still has a name.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::unistd::geteuid;
use rustix::fs::{FlockOperation, Mode, OFlags, flock};
use rustix::io::Errno;

use super::private_directory::{PrivateDirectory, Unusable};
use super::run_directory;
use crate::observe::file;

/// The time between two attempts to get a lock.
const PAUSE: Duration = Duration::from_millis(1);

/// The maximum length, in bytes, of the part of a name that is made from a path. A plan prints the name on one line.
const MAX_PART: usize = 40;

/// The name of the lock for what runs share below a directory of a cgroup hierarchy.
pub fn of_cgroup(directory: &Path) -> String {
    let path = file::path_text(directory).replace('/', "-");
    // The end of the path differs more than its beginning. Two directories with one lock do no harm.
    let start = (0..path.len()).find(|at| path.len() - at <= MAX_PART && path.is_char_boundary(*at));
    format!("cgroup-{}.lock", path[start.unwrap_or(path.len())..].trim_start_matches('-'))
}

/// The name of the lock for the bridge of a network namespace, by the inode of that namespace. Commands in several
/// network namespaces can have the same RUN, but each namespace has its own bridge.
pub fn of_bridge() -> String {
    let namespace = std::fs::metadata("/proc/self/ns/net").map(|namespace| namespace.ino());
    format!("bridge-{}.lock", namespace.unwrap_or_default())
}

/// The path of a lock of the caller; or with `as_root`, of root, for a plan that is only printed.
pub fn path(name: &str, as_root: bool) -> PathBuf {
    let run = if as_root { PathBuf::from(run_directory::OF_ROOT) } else { run_directory::path() };
    run.join(name)
}

/// A lock that this process has. Dropping it closes the descriptor, which releases the lock only when no child has a
/// copy of it.
#[derive(Debug)]
pub struct RunLock {
    file: File,
    /// The name of the file in RUN. None: a directory elsewhere, which stays.
    name: Option<String>,
}

impl RunLock {
    /// A shared lock. Waits up to `patience` for a process that has it exclusively.
    ///
    /// # Errors
    /// EAGAIN: another process still has it. EPERM: RUN or the file cannot be trusted.
    pub fn shared(name: &str, patience: Duration) -> io::Result<RunLock> {
        acquire(name, FlockOperation::NonBlockingLockShared, |deadline| deadline > Instant::now(), patience)
    }

    /// An exclusive lock. Tries again up to `patience`, and only as long as `is_worth_waiting`.
    ///
    /// # Errors
    /// As [`RunLock::shared`].
    pub fn exclusive(
        name: &str,
        patience: Duration,
        is_worth_waiting: impl Fn() -> bool,
    ) -> io::Result<RunLock> {
        let waits = |deadline| is_worth_waiting() && deadline > Instant::now();
        acquire(name, FlockOperation::NonBlockingLockExclusive, waits, patience)
    }

    /// An exclusive lock on a directory that no other user may open, apart from root. It does not wait. For root, the directory may
    /// belong to another user.
    ///
    /// # Errors
    /// EAGAIN: another process has it. EPERM: another user owns it, or may open it. Otherwise those of open(2).
    pub fn of_directory(path: &Path) -> io::Result<RunLock> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
        let (found, caller) = (file.metadata()?, geteuid());
        if found.mode() & 0o077 != 0 || !(caller.is_root() || found.uid() == caller.as_raw()) {
            return Err(Errno::PERM.into());
        }
        flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        Ok(RunLock { file, name: None })
    }

    /// Releases the lock, also the copies that children have. If no other process has it, its file in RUN is removed.
    pub fn release(self) {
        let Some(name) = &self.name else {
            let _ = flock(&self.file, FlockOperation::Unlock);
            return;
        };
        // Without a name, the file was removed by another process, and the name may be that of a new file.
        if flock(&self.file, FlockOperation::NonBlockingLockExclusive).is_ok()
            && self.file.metadata().is_ok_and(|file| file.nlink() > 0)
            && let Ok(Some(run)) = run_directory::find()
        {
            let _ = run.remove_file(name);
        }
        let _ = flock(&self.file, FlockOperation::Unlock);
        run_directory::remove_if_empty();
    }
}

/// Removes the file of a lock that no process has: the last one was killed.
pub fn remove_unused(name: &str) {
    if let Ok(lock) = RunLock::exclusive(name, Duration::ZERO, || false) {
        lock.release();
    }
}

fn acquire(
    name: &str,
    operation: FlockOperation,
    waits: impl Fn(Instant) -> bool,
    patience: Duration,
) -> io::Result<RunLock> {
    let deadline = Instant::now() + patience;
    loop {
        let run = run_directory::find_or_make().map_err(Unusable::errno)?;
        let found = run.file(name).map_err(Unusable::errno)?;
        let file = match found {
            Some(file) => file,
            None => match run.make_file(name)? {
                Some(made) => made,
                None => continue,
            },
        };
        match flock(&file, operation) {
            Err(Errno::AGAIN) if waits(deadline) => std::thread::sleep(PAUSE),
            locked => {
                locked?;
                if file.metadata()?.nlink() > 0 {
                    return Ok(RunLock { file, name: Some(name.to_owned()) });
                }
            }
        }
    }
}

/// Tries to get the lock of a run: the file `lock` in its directory. None: its owner is alive, or has just removed it.
///
/// # Errors
/// The file cannot be trusted, or cannot be opened.
pub fn own(run: &PrivateDirectory) -> Result<Option<File>, Unusable> {
    let file = match run.file(LOCK)? {
        Some(file) => file,
        None => match run.make_file(LOCK).map_err(Unusable::Failed)? {
            Some(file) => file,
            None => return Ok(None),
        },
    };
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Err(Errno::WOULDBLOCK) => Ok(None),
        locked => {
            locked?;
            // A file that the last owner has unlinked meanwhile is the lock of nothing: a new owner has made another one.
            Ok(Some(file).filter(|file| file.metadata().is_ok_and(|lock| lock.nlink() > 0)))
        }
    }
}

/// Whether the owner of a run is alive.
///
/// # Errors
/// As [`own`].
pub fn is_alive(run: &PrivateDirectory) -> Result<bool, Unusable> {
    let Some(file) = run.file(LOCK)? else { return Ok(false) };
    match flock(&file, FlockOperation::NonBlockingLockShared) {
        Err(Errno::WOULDBLOCK) => Ok(true),
        locked => Ok(locked.map(|()| false)?),
    }
}

/// The name of the lock file of a run.
pub const LOCK: &str = "lock";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_path_gives_a_short_name() {
        assert_eq!(of_cgroup(Path::new("/sys/fs/cgroup/pids")), "cgroup-sys-fs-cgroup-pids.lock");
        let long = of_cgroup(Path::new(&format!("/{}", "ä".repeat(300))));
        assert!(long.len() < 60 && long.ends_with("ä.lock"), "{long}");
    }
}
