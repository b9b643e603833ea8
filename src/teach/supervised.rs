//! The containers whose supervisors run. The arguments of a supervisor name its container.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use crate::container::id::Id;
use crate::observe::file;

/// A container that runs: what its supervisor was started with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SupervisedContainer {
    /// Its ID.
    pub(super) id: Id,
    /// Its HOME.
    pub(super) home: PathBuf,
}

impl SupervisedContainer {
    /// The container of a supervisor, by its arguments: `sandbox __supervise ID --home HOME`.
    pub(super) fn of(pid: i32) -> Option<SupervisedContainer> {
        let arguments = file::read(format!("/proc/{pid}/cmdline")).ok()?;
        SupervisedContainer::read(&arguments)
    }

    fn read(arguments: &[u8]) -> Option<SupervisedContainer> {
        let mut words = arguments.split(|byte| *byte == 0).skip(1);
        let mut is_next = |expected: &str| words.next() == Some(expected.as_bytes());
        if !is_next("__supervise") {
            return None;
        }
        let id = Id::of(std::str::from_utf8(words.next()?).ok()?)?;
        let home = words.nth(1).map(|home| PathBuf::from(OsStr::from_bytes(home)))?;
        Some(SupervisedContainer { id, home })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_supervisor_is_known_by_its_arguments() {
        let id = "0".repeat(64);
        let arguments = format!("sandbox\0__supervise\0{id}\0--home\0/a b\0");
        let found = SupervisedContainer::read(arguments.as_bytes()).unwrap();
        assert_eq!((found.id.as_str(), found.home), (&*id, PathBuf::from("/a b")));
        for other in ["", "sandbox\0run\0x", "sandbox\0__supervise\0xyz\0--home\0/a\0"] {
            assert_eq!(SupervisedContainer::read(other.as_bytes()), None, "{other:?}");
        }
    }
}
