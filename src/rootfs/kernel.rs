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

use super::RootDraft;
use crate::plan::call::detached::{Attributes, DetachedMountCall};
use crate::plan::slots::Held;

/// Files and directories (`true`) of /proc with data of the whole machine: its memory, keys, timers and hardware.
const MASKED: [(&str, bool); 8] = [
    ("acpi", true),
    ("kcore", false),
    ("keys", false),
    ("latency_stats", false),
    ("sched_debug", false),
    ("scsi", true),
    ("timer_list", false),
    ("timer_stats", false),
];

/// Files and directories of /proc that are read-only in the container: a write would change the whole machine.
const READ_ONLY: [&str; 5] = ["bus", "fs", "irq", "sys", "sysrq-trigger"];

const NO_OPTIONS: &[(&str, &str)] = &[];

/// The steps of /proc and /sys.
pub(super) fn plan(root: &mut RootDraft<'_>) {
    if root.wanted.new_proc {
        root.make("proc", NO_OPTIONS, Attributes::DATA, Held::Proc, "rootfs.proc.why");
    } else {
        copy_of_host(root, "/proc", Held::Proc, Attributes::DATA);
    }
    root.attach(Held::Proc, (Held::Root, "/proc"), "rootfs.place.why");
    let read_only = Attributes::READ_ONLY.and(Attributes::DATA);
    if root.wanted.new_net {
        root.make("sysfs", NO_OPTIONS, read_only, Held::Sys, "rootfs.sys.why");
    } else {
        copy_of_host(root, "/sys", Held::Sys, read_only);
    }
    root.attach(Held::Sys, (Held::Root, "/sys"), "rootfs.place.why");
}

/// Copies the mount of the host. A user namespace must take all mounts below it too, because they could hide something.
fn copy_of_host(root: &mut RootDraft<'_>, path: &str, to: Held, attributes: Attributes) {
    let below = root.is_user();
    root.step(DetachedMountCall::Clone { path: path.into(), below, to }, "rootfs.shown.why");
    root.step(DetachedMountCall::Restrict { mount: to, attributes, below }, "rootfs.data.why");
}

/// The steps that mask parts of /proc and /sys.
pub(super) fn mask(root: &mut RootDraft<'_>) {
    for (path, directory) in MASKED {
        root.step(
            DetachedMountCall::Hide { at: Held::Proc, path: path.into(), directory },
            "rootfs.mask.why",
        );
    }
    root.step(
        DetachedMountCall::Hide { at: Held::Sys, path: "firmware".into(), directory: true },
        "rootfs.mask.why",
    );
    for path in READ_ONLY {
        root.step(DetachedMountCall::Protect { at: Held::Proc, path: path.into() }, "rootfs.protect.why");
    }
}
