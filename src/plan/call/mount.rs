//! The mount table of a process, and its root directory.

use std::fmt;
use std::path::PathBuf;

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags};
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};
use rustix::process::fchdir;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::c_string;
use crate::plan::slots::Slots;

/// The calls of this family.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MountCall {
    /// mount(2) that changes the propagation of `target` and of all mounts below it.
    Propagation {
        /// The topmost of these mounts.
        #[serde(with = "crate::value::bytes")]
        target: PathBuf,
        /// The new propagation type.
        mode: Propagation,
    },
    /// mount(2) of a new filesystem.
    Filesystem {
        /// The filesystem type: `proc`, `tmpfs`.
        kind: String,
        /// The mount point.
        #[serde(with = "crate::value::bytes")]
        target: PathBuf,
        /// Options of the filesystem, `size=16m`.
        #[serde(default)]
        data: Option<String>,
    },
    /// mount(2) with MS_BIND: a file, or a directory with all mounts below it, becomes visible at a second path too.
    Bind {
        /// The file or directory.
        #[serde(with = "crate::value::bytes")]
        source: PathBuf,
        /// The mount point.
        #[serde(with = "crate::value::bytes")]
        target: PathBuf,
    },
    /// umount2(2) with MNT_DETACH.
    Detach {
        /// The mount point.
        #[serde(with = "crate::value::bytes")]
        target: PathBuf,
    },
    /// pivot_root(2): `new_root` becomes the root mount, and the old root mount is moved to `put_old`.
    PivotRoot {
        /// The new root. It must be a mount point.
        #[serde(with = "crate::value::bytes")]
        new_root: PathBuf,
        /// The new mount point of the old root.
        #[serde(with = "crate::value::bytes")]
        put_old: PathBuf,
    },
    /// chroot(2).
    Chroot {
        /// The new root.
        #[serde(with = "crate::value::bytes")]
        root: PathBuf,
    },
    /// chdir(2).
    Chdir {
        /// The new working directory.
        #[serde(with = "crate::value::bytes")]
        path: PathBuf,
    },
    /// openat2(2) and fchdir(2): the new working directory, in a container that runs. Its processes can replace the directory
    /// by a link meanwhile. ELOOP: it leads to /proc/PID/fd/N, /proc/PID/cwd or the like.
    ChdirInside {
        /// The new working directory.
        #[serde(with = "crate::value::bytes")]
        path: PathBuf,
    },
}

/// Mount propagation: mount_namespaces(7), SHARED SUBTREES.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Propagation {
    /// Mounts do not propagate.
    #[default]
    Private,
    /// Mounts propagate from outside to inside only.
    Slave,
    /// Mounts propagate in both directions.
    Shared,
    /// As in the copied mount table.
    Unchanged,
}

impl Propagation {
    fn flag(self) -> (MsFlags, &'static str) {
        match self {
            Propagation::Private => (MsFlags::MS_PRIVATE, "MS_PRIVATE"),
            Propagation::Slave => (MsFlags::MS_SLAVE, "MS_SLAVE"),
            Propagation::Shared => (MsFlags::MS_SHARED, "MS_SHARED"),
            Propagation::Unchanged => (MsFlags::empty(), "0"),
        }
    }
}

impl fmt::Display for Propagation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Propagation::Private => "private",
            Propagation::Slave => "slave",
            Propagation::Shared => "shared",
            Propagation::Unchanged => "unchanged",
        })
    }
}

/// Flags for a new filesystem. Set-user-ID programs do not work in it, and devices cannot be opened. In /proc, /sys and
/// mqueue, no program can be executed at all.
fn safe_flags(kind: &str) -> (MsFlags, &'static str) {
    let safe = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    match kind {
        "proc" | "sysfs" | "mqueue" => (safe | MsFlags::MS_NOEXEC, "MS_NOSUID|MS_NODEV|MS_NOEXEC"),
        // The files of devpts are terminals, which are devices.
        "devpts" => (MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC, "MS_NOSUID|MS_NOEXEC"),
        _ => (safe, "MS_NOSUID|MS_NODEV"),
    }
}

impl fmt::Display for MountCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MountCall::Propagation { target, mode } => {
                write!(f, "mount(NULL, {}, NULL, MS_REC|{}, NULL)", c_string(target), mode.flag().1)
            }
            MountCall::Filesystem { kind, target, data } => {
                let data = data.as_deref().map_or("NULL".to_owned(), c_string);
                let kind_quoted = c_string(kind);
                write!(
                    f,
                    "mount({kind_quoted}, {}, {kind_quoted}, {}, {data})",
                    c_string(target),
                    safe_flags(kind).1
                )
            }
            MountCall::Bind { source, target } => {
                write!(f, "mount({}, {}, NULL, MS_BIND|MS_REC, NULL)", c_string(source), c_string(target))
            }
            MountCall::Detach { target } => write!(f, "umount2({}, MNT_DETACH)", c_string(target)),
            MountCall::PivotRoot { new_root, put_old } => {
                write!(f, "pivot_root({}, {})", c_string(new_root), c_string(put_old))
            }
            MountCall::Chroot { root } => write!(f, "chroot({})", c_string(root)),
            MountCall::Chdir { path } => write!(f, "chdir({})", c_string(path)),
            MountCall::ChdirInside { path } => write!(
                f,
                "openat2(AT_FDCWD, {}, {{flags=O_PATH|O_DIRECTORY|O_CLOEXEC, mode=0, resolve=RESOLVE_NO_MAGICLINKS}}, 24); \
                 fchdir(<directory>)",
                c_string(path)
            ),
        }
    }
}

impl MountCall {
    /// Makes the call.
    pub(super) fn perform(&self, _: &mut Slots) -> Result<i64, Errno> {
        const NONE: Option<&str> = None;
        match self {
            MountCall::Propagation { target, mode } => {
                nix::mount::mount(NONE, target, NONE, MsFlags::MS_REC | mode.flag().0, NONE)
            }
            MountCall::Filesystem { kind, target, data } => {
                let kind = kind.as_str();
                nix::mount::mount(Some(kind), target, Some(kind), safe_flags(kind).0, data.as_deref())
            }
            MountCall::Bind { source, target } => {
                let flags = MsFlags::MS_BIND | MsFlags::MS_REC;
                nix::mount::mount(Some(source), target, NONE, flags, NONE)
            }
            MountCall::Detach { target } => nix::mount::umount2(target, MntFlags::MNT_DETACH),
            MountCall::PivotRoot { new_root, put_old } => nix::unistd::pivot_root(new_root, put_old),
            MountCall::Chroot { root } => nix::unistd::chroot(root),
            MountCall::Chdir { path } => nix::unistd::chdir(path),
            MountCall::ChdirInside { path } => {
                let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
                let how = ResolveFlags::NO_MAGICLINKS;
                let directory = openat2(CWD, path, flags, Mode::empty(), how);
                directory.and_then(fchdir).map_err(|error| Errno::from_raw(error.raw_os_error()))
            }
        }
        .map(|()| 0)
    }
}
