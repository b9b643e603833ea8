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
    /// The time of the last access is not changed.
    pub const NO_ATIME: Attributes = Attributes(0x10);
    /// The time of the last access is changed each time.
    pub const STRICT_ATIME: Attributes = Attributes(0x20);
    /// The time of the last access of a directory is not changed.
    pub const NO_DIR_ATIME: Attributes = Attributes(0x80);
    /// For a filesystem that contains only data.
    pub const DATA: Attributes = Attributes::NO_SUID.and(Attributes::NO_DEV).and(Attributes::NO_EXEC);

    /// For masked and read-only paths of /proc and /sys, which contain only data.
    pub const PROTECTED: Attributes = Attributes::READ_ONLY.and(Attributes::DATA);

    /// The attributes of both.
    pub const fn and(self, other: Attributes) -> Attributes {
        Attributes(self.0 | other.0)
    }

    /// These, but not the other attributes.
    pub const fn without(self, other: Attributes) -> Attributes {
        Attributes(self.0 & !other.0)
    }

    /// Whether all of the other attributes are among these.
    pub const fn contains(self, other: Attributes) -> bool {
        self.0 & other.0 == other.0
    }

    /// The attribute with this name in the mount table. An option without an effect here is no attribute: `rbind` and `bind`
    /// say how a mount is made, `rw`, `suid`, `dev` and `exec` name what is so anyway.
    pub fn named(option: &str) -> Option<Attributes> {
        let plain = ["bind", "rbind", "rw", "suid", "dev", "exec"].contains(&option);
        let known = NAMES.iter().find(|(_, _, name)| *name == option);
        known.map(|(bit, ..)| *bit).or(plain.then_some(Attributes::NONE))
    }

    /// Their names in the mount table, which has none for `strictatime`: there, `relatime` is missing then. proc_pid_mountinfo(5)
    pub fn options(self) -> Vec<&'static str> {
        let is_shown = |bit: Attributes| bit != Attributes::STRICT_ATIME && self.0 & bit.0 != 0;
        NAMES.iter().filter(|(bit, ..)| is_shown(*bit)).map(|(_, _, option)| *option).collect()
    }
}

/// Each attribute with its name in linux/mount.h and in the mount table.
const NAMES: [(Attributes, &str, &str); 7] = [
    (Attributes::READ_ONLY, "MOUNT_ATTR_RDONLY", "ro"),
    (Attributes::NO_SUID, "MOUNT_ATTR_NOSUID", "nosuid"),
    (Attributes::NO_DEV, "MOUNT_ATTR_NODEV", "nodev"),
    (Attributes::NO_EXEC, "MOUNT_ATTR_NOEXEC", "noexec"),
    (Attributes::NO_ATIME, "MOUNT_ATTR_NOATIME", "noatime"),
    (Attributes::STRICT_ATIME, "MOUNT_ATTR_STRICTATIME", "strictatime"),
    (Attributes::NO_DIR_ATIME, "MOUNT_ATTR_NODIRATIME", "nodiratime"),
];

impl fmt::Display for Attributes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = NAMES.iter().filter(|(bit, ..)| self.0 & bit.0 != 0).map(|(_, name, _)| *name);
        let names: Vec<&str> = names.collect();
        f.write_str(if names.is_empty() { "0".to_owned() } else { names.join("|") }.as_str())
    }
}
