//! /dev: the devices that any program expects, and no other.
//!
//! A device file is a number; whoever may open the file has the device. So a container gets a tmpfs with the few that
//! belong to nobody. Root makes them. In a user namespace mknod(2) is refused, since a number could be any device's, and
//! those of the host are bound. Terminals are a devpts of its own: /dev/pts of the host lists those of others, and
//! /dev/shm its shared memory. null(4), tty(4), pts(4), mq_overview(7)
//!
//! What you'll see: `ls /dev`.

use super::{ROOM, Site};
use crate::plan::call::detached::{Attributes, DetachedMountCall};
use crate::plan::slots::Held;

/// Their names and numbers: Documentation/admin-guide/devices.txt of the kernel.
const NODES: [(&str, (u64, u64)); 6] = [
    ("null", (1, 3)),
    ("zero", (1, 5)),
    ("full", (1, 7)),
    ("random", (1, 8)),
    ("urandom", (1, 9)),
    ("tty", (5, 0)),
];

const LINKS: [(&str, &str); 5] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
];

pub(super) fn plan(site: &mut Site<'_>) {
    let flags = Attributes::NO_SUID.and(Attributes::NO_EXEC);
    site.make("tmpfs", &[("size", "64k"), ("mode", "755")], flags, Held::Dev, "rootfs.dev.why");
    site.attach(Held::Dev, (Held::Root, "/dev"), "rootfs.place.why");
    for (name, device) in NODES {
        if site.is_user() {
            let file =
                DetachedMountCall::MakeFile { at: Held::Dev, path: name.into(), content: String::new() };
            site.step(file, "rootfs.nodefile.why");
            let node =
                DetachedMountCall::Clone { path: format!("/dev/{name}"), below: false, to: Held::Mount };
            site.step(node, "rootfs.nodebind.why");
            site.attach(Held::Mount, (Held::Dev, name), "rootfs.place.why");
        } else {
            site.step(
                DetachedMountCall::MakeNode { at: Held::Dev, path: name.into(), device },
                "rootfs.node.why",
            );
        }
    }
    for (path, target) in LINKS {
        let link = DetachedMountCall::MakeLink { at: Held::Dev, path: path.into(), target: target.into() };
        site.step(link, "rootfs.devlink.why");
    }
    // The group of terminals is 5 wherever there is one; a user namespace may have no such id, and refuses the option.
    let mut terminals = vec![("newinstance", ""), ("ptmxmode", "0666"), ("mode", "0620")];
    if !site.is_user() {
        terminals.push(("gid", "5"));
    }
    directory(site, "pts");
    let flags = Attributes::NO_SUID.and(Attributes::NO_EXEC);
    site.filesystem("devpts", &terminals, flags, (Held::Dev, "pts"), "rootfs.pts.why");
    directory(site, "shm");
    let memory = [("size", ROOM), ("mode", "1777")];
    site.filesystem("tmpfs", &memory, Attributes::DATA, (Held::Dev, "shm"), "rootfs.shm.why");
    // The kernel shows the queues of the ipc namespace in which it's mounted: only of one's own.
    if site.wanted.new_ipc {
        directory(site, "mqueue");
        site.filesystem("mqueue", &[], Attributes::DATA, (Held::Dev, "mqueue"), "rootfs.mqueue.why");
    }
}

fn directory(site: &mut Site<'_>, name: &str) {
    let call = DetachedMountCall::MakeDirectory { at: Held::Dev, path: name.into(), mode: 0o755 };
    site.step(call, "rootfs.devdirectory.why");
}
