//! A directory of files that are in memory and never on a disk: in /dev/shm. Only the caller can open it. `build` has secrets there.
//!
//! It is removed with its owner. If that is killed, the next command removes it: nobody has the lock any more.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use nix::unistd::geteuid;

use super::run_lock::RunLock;
use super::token::token;

/// The directory of files in memory.
const MEMORY: &str = "/dev/shm";

/// The type of a tmpfs, as statfs(2) reports it.
const TMPFS_MAGIC: i64 = 0x0102_1994;

/// A directory in memory. It is removed with this value.
#[derive(Debug)]
pub struct MemoryDirectory {
    path: PathBuf,
    /// As long as it is held, no other process removes the directory.
    _lock: RunLock,
}

impl MemoryDirectory {
    /// Makes one. None: this machine has no directory in memory.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn make() -> io::Result<Option<MemoryDirectory>> {
        if !is_in_memory() {
            return Ok(None);
        }
        loop {
            let path = Path::new(MEMORY).join(format!("{}{:08x}{:08x}", prefix(), token(), token()));
            fs::DirBuilder::new().mode(0o700).create(&path)?;
            match RunLock::of_directory(&path) {
                Ok(lock) if path.exists() => return Ok(Some(MemoryDirectory { path, _lock: lock })),
                // Another command takes the new directory for one that was left, and removes it.
                Ok(_) => {}
                Err(error) if [ErrorKind::WouldBlock, ErrorKind::NotFound].contains(&error.kind()) => {}
                Err(error) => {
                    let _ = fs::remove_dir(&path);
                    return Err(error);
                }
            }
        }
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for MemoryDirectory {
    fn drop(&mut self) {
        // The files in it may have other owners. The owner of the directory may remove them.
        let _ = fs::remove_dir_all(&self.path);
    }
}

fn is_in_memory() -> bool {
    let found = rustix::fs::statfs(MEMORY);
    found.is_ok_and(|found| found.f_type == TMPFS_MAGIC)
        && rustix::fs::access(MEMORY, rustix::fs::Access::WRITE_OK).is_ok()
}

fn prefix() -> String {
    format!("sandbox-secret-{}-", geteuid())
}

/// Removes the caller's directories whose processes were killed. Returns their paths.
pub fn remove_left() -> Vec<PathBuf> {
    let own = prefix();
    let mut removed = Vec::new();
    for entry in fs::read_dir(MEMORY).into_iter().flatten().flatten() {
        // Every user can make a directory of that name.
        if entry.file_name().to_str().is_some_and(|name| name.starts_with(&own))
            && entry.metadata().is_ok_and(|found| found.uid() == geteuid().as_raw())
            && let Ok(_lock) = RunLock::of_directory(&entry.path())
            && fs::remove_dir_all(entry.path()).is_ok()
        {
            removed.push(entry.path());
        }
    }
    removed
}
