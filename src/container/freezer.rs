//! Pauses a container: the kernel freezes all processes of its cgroup, and thaws them.
//!
//! On cgroup v2 each cgroup has a file for it, cgroup.freeze. On cgroup v1 it is a controller, freezer, with the file
//! freezer.state. A frozen process runs no instruction until it is thawed. A signal for it waits, except SIGKILL on cgroup v2.
//!
//! Documentation/admin-guide/cgroup-v2.rst (cgroup.freeze), cgroup-v1/freezer-subsystem.rst

use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::usage::own_cgroup;
use crate::observe::cgroup::{ProcessCgroup, field_of};
use crate::observe::file;
use crate::observe::hierarchy::{Controller, Version};

/// How long the kernel may take. It waits for a process that is in a system call that cannot be interrupted.
const PATIENCE: Duration = Duration::from_secs(2);

/// The time between two looks.
const PAUSE: Duration = Duration::from_millis(1);

/// The cgroup of a container that can be frozen.
#[derive(Debug)]
pub struct Freezer {
    directory: PathBuf,
    version: Version,
}

impl Freezer {
    /// That of a container with this process 1. None: it has no cgroup of its own, or it has ended.
    pub fn of(command: i32, supervisor: i32) -> Option<Freezer> {
        let cgroup = own_cgroup(command, supervisor, Controller::Freezer)?;
        Some(Freezer { directory: cgroup.directory().clone(), version: cgroup.version() })
    }

    /// The path of the file that freezes and thaws.
    pub fn file(&self) -> PathBuf {
        self.directory.join(match self.version {
            Version::V1 => "freezer.state",
            Version::V2 => "cgroup.freeze",
        })
    }

    /// What is written to that file.
    pub fn value(&self, frozen: bool) -> &'static str {
        match (self.version, frozen) {
            (Version::V1, true) => "FROZEN",
            (Version::V1, false) => "THAWED",
            (Version::V2, true) => "1",
            (Version::V2, false) => "0",
        }
    }

    /// Freezes or thaws the processes, and waits until the kernel has done it.
    ///
    /// # Errors
    /// Those of write(2). ETIMEDOUT: not all could be frozen. They run on then.
    pub fn set(&self, frozen: bool) -> io::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        fs::write(self.file(), self.value(frozen))?;
        while self.is_frozen() != Some(frozen) {
            if Instant::now() > deadline {
                if frozen {
                    let _ = fs::write(self.file(), self.value(false));
                }
                return Err(io::Error::from_raw_os_error(libc::ETIMEDOUT));
            }
            std::thread::sleep(PAUSE);
        }
        Ok(())
    }

    /// Whether all processes are frozen, as the kernel reports it.
    fn is_frozen(&self) -> Option<bool> {
        let file = match self.version {
            Version::V1 => "freezer.state",
            Version::V2 => "cgroup.events",
        };
        is_frozen(self.version, &file::read_text(self.directory.join(file)).ok()?)
    }
}

/// Whether a process, or a process that joins its cgroups, is frozen.
pub fn is_paused(pid: i32) -> bool {
    let cgroup = ProcessCgroup::of(&format!("/proc/{pid}"), Controller::Freezer);
    let content = |cgroup: &ProcessCgroup| cgroup.read("freezer.state", "cgroup.events");
    cgroup.is_some_and(|cgroup| {
        content(&cgroup).and_then(|content| is_frozen(cgroup.version(), &content)) == Some(true)
    })
}

fn is_frozen(version: Version, content: &str) -> Option<bool> {
    match version {
        // FREEZING: not all are frozen.
        Version::V1 => match content.trim() {
            "FROZEN" => Some(true),
            "THAWED" => Some(false),
            _ => None,
        },
        Version::V2 => field_of(content, "frozen").map(|frozen| frozen == 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_reports_the_state_in_its_own_words() {
        assert_eq!(is_frozen(Version::V2, "populated 1\nfrozen 1\n"), Some(true));
        assert_eq!(is_frozen(Version::V2, "populated 1\nfrozen 0\n"), Some(false));
        for (content, expected) in [("FROZEN\n", Some(true)), ("THAWED\n", Some(false)), ("FREEZING\n", None)]
        {
            assert_eq!(is_frozen(Version::V1, content), expected);
        }
        // Nobody has frozen this process.
        assert!(!is_paused(std::process::id().cast_signed()));
    }
}
