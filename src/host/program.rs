//! The file of this program, and who can change it.

use std::fs;
use std::os::unix::fs::MetadataExt;

/// The file that this process executes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProgramFile {
    /// The only user who can write to it, except root. None if others can write to it too, or if that is not known.
    pub writer: Option<u32>,
    /// Whether the kernel has PR_SET_MM_MAP, by which a process can replace its link /proc/self/exe. prctl(2)
    pub can_be_left: bool,
}

impl ProgramFile {
    /// Reads the facts of this process.
    pub fn gather() -> ProgramFile {
        // If the file has an access control list, the group bits are the mask of its entries. acl(5)
        let is_owners = |file: &fs::Metadata| file.mode() & 0o022 == 0;
        let file = fs::metadata("/proc/self/exe").ok().filter(is_owners);
        ProgramFile { writer: file.map(|file| file.uid()), can_be_left: crate::sys::program::can_be_left() }
    }
}
