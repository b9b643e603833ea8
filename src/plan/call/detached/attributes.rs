//! Attributes of a mount: what it does not allow. mount_setattr(2)

use std::fmt;

use serde::{Deserialize, Serialize};

/// Attributes of a mount, mount_setattr(2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Attributes(pub(crate) u64);

impl Attributes {
    /// No attribute.
    pub const NONE: Attributes = Attributes(0);
    /// Read-only: a write fails with EROFS.
    pub const READ_ONLY: Attributes = Attributes(0x1);
    /// The set-user-ID and set-group-ID bits of programs have no effect.
    pub const NO_SUID: Attributes = Attributes(0x2);
    /// Device files cannot be opened.
    pub const NO_DEV: Attributes = Attributes(0x4);
    /// No program can be executed.
    pub const NO_EXEC: Attributes = Attributes(0x8);
    /// For a filesystem that contains only data.
    pub const DATA: Attributes = Attributes::NO_SUID.and(Attributes::NO_DEV).and(Attributes::NO_EXEC);

    /// For masked and read-only paths of /proc and /sys, which contain only data.
    pub const PROTECTED: Attributes = Attributes::READ_ONLY.and(Attributes::DATA);

    /// The attributes of both.
    pub const fn and(self, other: Attributes) -> Attributes {
        Attributes(self.0 | other.0)
    }

    /// Their names in the mount table. proc_pid_mountinfo(5)
    pub fn options(self) -> Vec<&'static str> {
        NAMES.iter().filter(|(bit, ..)| self.0 & bit.0 != 0).map(|(_, _, option)| *option).collect()
    }
}

/// Each attribute with its name in linux/mount.h and in the mount table.
const NAMES: [(Attributes, &str, &str); 4] = [
    (Attributes::READ_ONLY, "MOUNT_ATTR_RDONLY", "ro"),
    (Attributes::NO_SUID, "MOUNT_ATTR_NOSUID", "nosuid"),
    (Attributes::NO_DEV, "MOUNT_ATTR_NODEV", "nodev"),
    (Attributes::NO_EXEC, "MOUNT_ATTR_NOEXEC", "noexec"),
];

impl fmt::Display for Attributes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = NAMES.iter().filter(|(bit, ..)| self.0 & bit.0 != 0).map(|(_, name, _)| *name);
        let names: Vec<&str> = names.collect();
        f.write_str(if names.is_empty() { "0".to_owned() } else { names.join("|") }.as_str())
    }
}
