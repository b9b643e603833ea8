//! The times of directories. To make a file in a directory changes its time, so they are set later.
//!
//! A layer can have a million directories with paths of 4 KiB. So when the paths take too much memory, the times are
//! set at once. A directory that is changed after that is read first, and gets its time again at the end.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{OFlags, Stat, futimens};
use rustix::io::Errno;

use super::files::{failed, times};
use super::merged::{LayerPath, open};
use crate::image::entries::Unreadable;

/// The maximum memory for the paths, in bytes.
const MAX_MEMORY: usize = 16 << 20;

/// About the memory of an entry besides its path.
const OVERHEAD: usize = 100;

/// The times that directories get.
#[derive(Debug, Default)]
pub(super) struct DirectoryTimes {
    times: BTreeMap<LayerPath, (i64, u32)>,
    memory: usize,
    /// Whether some are set already.
    were_set: bool,
}

impl DirectoryTimes {
    /// Notes the time of a directory.
    pub(super) fn note(&mut self, path: &LayerPath, time: (i64, u32)) {
        if self.times.insert(path.clone(), time).is_none() {
            self.memory += path.as_os_str().len() + OVERHEAD;
        }
    }

    /// Notes the time that a directory has, before something in it is changed. It does nothing as long as no time was set.
    pub(super) fn keep(&mut self, path: &LayerPath, stat: &Stat) {
        if self.were_set && !self.times.contains_key(path) {
            self.note(path, time_of(stat));
        }
    }

    /// Whether the times must be set now.
    pub(super) fn is_full(&self) -> bool {
        self.memory > MAX_MEMORY
    }

    /// Sets all times that are noted.
    pub(super) fn set(&mut self, layer: &OwnedFd) -> Result<(), Unreadable> {
        for (path, time) in std::mem::take(&mut self.times) {
            let directory = open(layer, path.as_os_str(), OFlags::RDONLY | OFlags::DIRECTORY);
            match directory.and_then(|directory| futimens(&directory, &times(time))) {
                // A later entry has removed it.
                Ok(()) | Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
                Err(errno) => return Err(failed(path.as_os_str().as_bytes(), errno)),
            }
        }
        (self.memory, self.were_set) = (0, true);
        Ok(())
    }
}

/// When a file was changed.
pub(super) fn time_of(stat: &Stat) -> (i64, u32) {
    (stat.st_mtime, u32::try_from(stat.st_mtime_nsec).unwrap_or(0))
}
