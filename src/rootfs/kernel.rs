//! /proc and /sys, and what of them is masked.
//!
//! A new proc belongs to the pid namespace of whoever makes it, a new sysfs to the network namespace; without new ones
//! those of the host are shown. In a user namespace the kernel makes either only where one is in sight already that hides
//! nothing, or it would uncover what somebody has hidden: so they're made while the old root is there. Much in them is
//! the whole machine's: root inside could read or change it, so it's masked. A mask that can't be made stops the run:
//! half confined is the worst of all. proc(5), sysfs(5), mount_too_revealing() in fs/namespace.c
//!
//! What you'll see: `cat /proc/kcore` is empty, and /proc/sys is read-only.

use super::Site;
use crate::plan::call::detached::{Attributes, DetachedMountCall};
use crate::plan::slots::Held;

/// Files and directories (`true`) of /proc that tell of the machine: its memory, its keys, its timers, its hardware.
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

/// What of /proc can be read, and would change the machine when it's written.
const READ_ONLY: [&str; 5] = ["bus", "fs", "irq", "sys", "sysrq-trigger"];

pub(super) fn plan(site: &mut Site<'_>) {
    if site.wanted.new_proc {
        site.make("proc", &[], Attributes::DATA, Held::Proc, "rootfs.proc.why");
    } else {
        show(site, "/proc", Held::Proc, Attributes::DATA);
    }
    site.attach(Held::Proc, (Held::Root, "/proc"), "rootfs.place.why");
    let fixed = Attributes::READ_ONLY.and(Attributes::DATA);
    if site.wanted.new_net {
        site.make("sysfs", &[], fixed, Held::Sys, "rootfs.sys.why");
    } else {
        show(site, "/sys", Held::Sys, fixed);
    }
    site.attach(Held::Sys, (Held::Root, "/sys"), "rootfs.place.why");
}

/// The host's. A user namespace gets it with all that is mounted below, or not at all: that could hide something.
fn show(site: &mut Site<'_>, path: &str, to: Held, attributes: Attributes) {
    let below = site.is_user();
    site.step(DetachedMountCall::Clone { path: path.into(), below, to }, "rootfs.shown.why");
    site.step(DetachedMountCall::Restrict { mount: to, attributes, below }, "rootfs.data.why");
}

pub(super) fn mask(site: &mut Site<'_>) {
    for (path, directory) in MASKED {
        site.step(
            DetachedMountCall::Hide { at: Held::Proc, path: path.into(), directory },
            "rootfs.mask.why",
        );
    }
    site.step(
        DetachedMountCall::Hide { at: Held::Sys, path: "firmware".into(), directory: true },
        "rootfs.mask.why",
    );
    for path in READ_ONLY {
        site.step(DetachedMountCall::Protect { at: Held::Proc, path: path.into() }, "rootfs.protect.why");
    }
}
