//! /proc and /sys, and what of them is masked.
//!
//! A new proc filesystem belongs to the PID namespace of the process that makes it, a new sysfs to its network
//! namespace. Without new namespaces, the container gets those of the host.
//!
//! In a user namespace, the kernel makes a new proc or sysfs only if one is visible on which nothing is mounted that
//! hides parts of it. A new one would show what somebody has hidden. Therefore both are made while the old root is
//! still there.
//!
//! Many files in them affect the whole machine. Root in the container could read or change them, so they are masked. If
//! a mask cannot be made, the container is not started. proc(5), sysfs(5), mount_too_revealing() in fs/namespace.c
//!
//! What you see: `cat /proc/kcore` prints nothing, and /proc/sys is read-only.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::RootDraft;
use super::mount::{ContainerMount, OwnMounts};
use crate::plan::call::detached::DetachedMountCall;
use crate::plan::slots::Held;
use crate::value::bytes;

/// A file or a directory that is masked: /dev/null is mounted on the file, an empty tmpfs on the directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MaskedPath {
    /// The path in the container. One that does not exist is ignored.
    #[serde(with = "bytes")]
    #[schemars(with = "bytes::Form")]
    pub path: PathBuf,
    /// Whether it is a directory.
    pub directory: bool,
}

/// The paths that are masked if the spec has nothing else: files and directories (`true`) with data of the whole machine,
/// such as its memory, keys, timers and hardware.
const MASKED: [(&str, bool); 9] = [
    ("/proc/acpi", true),
    ("/proc/kcore", false),
    ("/proc/keys", false),
    ("/proc/latency_stats", false),
    ("/proc/sched_debug", false),
    ("/proc/scsi", true),
    ("/proc/timer_list", false),
    ("/proc/timer_stats", false),
    ("/sys/firmware", true),
];

/// The paths that are read-only in the container: a write would change the whole machine.
const READ_ONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// Files of the host with password hashes and private keys, which only root may read.
const SECRETS: [(&str, bool); 6] = [
    ("/etc/shadow", false),
    ("/etc/gshadow", false),
    ("/etc/shadow-", false),
    ("/etc/gshadow-", false),
    ("/etc/ssh", true),
    ("/etc/ssl/private", true),
];

/// The default of `maskedPaths`. `of_host` is whether the container shows the files of the host, of a caller who may read all of
/// them.
pub fn masked_paths(of_host: bool) -> Vec<MaskedPath> {
    let secrets = SECRETS.iter().filter(|_| of_host);
    let masked = |(path, directory): &(&str, bool)| MaskedPath { path: path.into(), directory: *directory };
    MASKED.iter().chain(secrets).map(masked).collect()
}

/// The default of `readonlyPaths`.
pub fn readonly_paths() -> Vec<PathBuf> {
    READ_ONLY.map(PathBuf::from).into()
}

/// The steps of /proc and /sys.
pub(super) fn plan(root: &mut RootDraft<'_>, own: &OwnMounts<'_>) {
    if let Some(proc) = own.proc {
        plan_one(root, proc, Held::Proc, "rootfs.proc.why");
    }
    if let Some(sys) = own.sys {
        plan_one(root, sys, Held::Sys, "rootfs.sys.why");
    }
}

/// A new filesystem, or a copy of the mount of the host. A user namespace must take all mounts below a copied one too,
/// because they could hide something.
fn plan_one(root: &mut RootDraft<'_>, mount: &ContainerMount, to: Held, why: &'static str) {
    match mount.bound() {
        None => root.make(&mount.kind, &mount.data(), mount.attributes(), to, why),
        Some(source) => {
            let below = root.is_user();
            root.step(DetachedMountCall::Clone { path: source.to_owned(), below, to }, "rootfs.shown.why");
            let attributes = mount.attributes();
            root.step(DetachedMountCall::Restrict { mount: to, attributes, below }, "rootfs.data.why");
        }
    }
    root.attach(to, (Held::Root, &mount.destination), "rootfs.place.why");
}

/// The steps that mask parts of /proc and /sys.
pub(super) fn mask(root: &mut RootDraft<'_>) {
    for MaskedPath { path, directory } in root.wanted.masked_paths {
        let (at, path) = tree_of(path);
        root.step(DetachedMountCall::Hide { at, path, directory: *directory }, "rootfs.mask.why");
    }
    for path in root.wanted.readonly_paths {
        let (at, path) = tree_of(path);
        root.step(DetachedMountCall::Protect { at, path }, "rootfs.protect.why");
    }
}

/// The tree that a path in the container is in, and the path in that tree.
fn tree_of(path: &Path) -> (Held, PathBuf) {
    let trees = [("/proc", Held::Proc), ("/sys", Held::Sys)];
    let within = |(top, held): (&str, Held)| Some((held, path.strip_prefix(top).ok()?.to_owned()));
    let in_root = || (Held::Root, path.strip_prefix("/").unwrap_or(path).to_owned());
    trees.into_iter().find_map(within).unwrap_or_else(in_root)
}
