//! Whether /sys can be replaced by a new sysfs.
//!
//! A sysfs lists the network devices of the network namespace in which it was mounted. So a container with a new
//! network namespace still sees the host's devices in /sys, until a new sysfs is mounted there.
//!
//! In a user namespace, the kernel mounts a new sysfs only if one is visible of which nothing is hidden: a new one would
//! show it. The directories that are meant for other filesystems do not count. mount_too_revealing() in fs/namespace.c

use std::path::{Path, PathBuf};

use crate::observe::{Unread, mountinfo};

/// Where sysfs is mounted.
const SYS: &str = "/sys";

/// The directory of /sys on which, or below which, cgroup filesystems are mounted.
pub const CGROUPS: &str = "/sys/fs/cgroup";

/// The directories of sysfs that the kernel makes for other filesystems: sysfs_create_mount_point().
const FOR_MOUNTS: [&str; 13] = [
    CGROUPS,
    "/sys/firmware/efi/efivars",
    "/sys/fs/bpf",
    "/sys/fs/fuse/connections",
    "/sys/fs/pstore",
    "/sys/fs/resctrl",
    "/sys/fs/selinux",
    "/sys/fs/smackfs",
    "/sys/hypervisor/s390",
    "/sys/kernel/config",
    "/sys/kernel/debug",
    "/sys/kernel/security",
    "/sys/kernel/tracing",
];

/// What is mounted on /sys.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sysfs {
    /// Whether a sysfs is.
    pub is_mounted: bool,
    /// Why it must stay: the mount point below /sys that hides a part of it, or /sys itself if it is read-only.
    pub restricted_at: Option<PathBuf>,
    /// Whether cgroup filesystems are mounted below it.
    pub has_cgroups: bool,
}

impl Sysfs {
    /// Reads the mount table.
    pub fn gather(unread: &mut Unread) -> Sysfs {
        Sysfs::of(&unread.bytes("/proc/self/mountinfo"))
    }

    /// Whether a new one can be mounted.
    pub fn can_be_replaced(&self) -> bool {
        self.is_mounted && self.restricted_at.is_none()
    }

    fn of(table: &[u8]) -> Sysfs {
        let mut found = Sysfs::default();
        for mount in mountinfo::mounts(table) {
            let point = &*mount.mount_point;
            if mount.is_on(SYS) {
                // The last mount of a path is the one on top.
                found.is_mounted =
                    mount.filesystem.as_encoded_bytes() == b"sysfs" && &*mount.root == Path::new("/");
                let is_read_only = mount.options.split(',').any(|option| option == "ro");
                found.restricted_at = is_read_only.then(|| SYS.into());
            } else if point.starts_with(CGROUPS) {
                found.has_cgroups = true;
            } else if point.starts_with(SYS) && !FOR_MOUNTS.iter().any(|free| point.starts_with(free)) {
                found.restricted_at.get_or_insert_with(|| point.to_owned());
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(lines: &[&str]) -> Sysfs {
        let lines = lines.iter().enumerate();
        Sysfs::of(lines.map(|(id, line)| format!("{} 1 {line}\n", id + 10)).collect::<String>().as_bytes())
    }

    const PLAIN: &str = "0:22 / /sys rw,nosuid - sysfs sysfs rw";

    #[test]
    fn an_ordinary_sysfs_can_be_replaced() {
        let plain = of(&[PLAIN, "0:23 / /sys/kernel/debug rw - debugfs debugfs rw"]);
        assert!(plain.can_be_replaced() && !plain.has_cgroups);
        for cgroups in ["/sys/fs/cgroup", "/sys/fs/cgroup/memory"] {
            let found = of(&[PLAIN, &format!("0:28 / {cgroups} rw - cgroup2 cgroup2 rw")]);
            assert!(found.can_be_replaced() && found.has_cgroups);
        }
    }

    #[test]
    fn one_of_which_a_part_is_hidden_stays() {
        let hidden = of(&[PLAIN, "0:30 / /sys/firmware ro - tmpfs tmpfs ro"]);
        assert_eq!(hidden.restricted_at.as_deref(), Some(Path::new("/sys/firmware")));
        let read_only = of(&["0:22 / /sys ro,nosuid - sysfs sysfs rw"]);
        assert_eq!(read_only.restricted_at.as_deref(), Some(Path::new("/sys")));
        for other in
            [&[][..], &["0:22 / /sys rw - tmpfs tmpfs rw"], &["0:22 /class /sys rw - sysfs sysfs rw"]]
        {
            assert!(!of(other).can_be_replaced(), "{other:?}");
        }
    }
}
