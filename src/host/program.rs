//! The program's own file: who could change it.

use std::fs;
use std::os::unix::fs::MetadataExt;

/// The file that this process executes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProgramFile {
    /// The only user who can write to it, root aside. None if others can, too, or if the file cannot be examined.
    pub writer: Option<u32>,
    /// Whether the kernel has PR_SET_MM_MAP, by which a process can leave its program's file.
    pub can_be_left: bool,
}

impl ProgramFile {
    /// Looks at this process.
    pub fn gather() -> ProgramFile {
        // With an access control list, the group's bits are the mask of all its entries. acl(5)
        let is_owners = |file: &fs::Metadata| file.mode() & 0o022 == 0;
        let file = fs::metadata("/proc/self/exe").ok().filter(is_owners);
        ProgramFile { writer: file.map(|file| file.uid()), can_be_left: crate::sys::program::can_be_left() }
    }
}
