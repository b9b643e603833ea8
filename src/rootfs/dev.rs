//! /dev: the devices that any program expects, and no others.
//!
//! A process that may open a device file can use the device. So a container gets a tmpfs with a few devices that give
//! no access to hardware or to data of others. Root makes them by mknod(2). In a user namespace the kernel refuses
//! mknod(2), so the device files of the host are bind-mounted.
//!
//! The container has its own devpts for terminals and its own /dev/shm, because those of the host contain the terminals
//! and the shared memory of other processes. null(4), tty(4), pts(4), mq_overview(7)
//!
//! What you see: `ls /dev`.

use std::ffi::OsString;
use std::path::Path;

use super::{MAX_SIZE, RootDraft};
use crate::plan::call::detached::{Attributes, DetachedMountCall};
use crate::plan::slots::Held;

/// The names and numbers of the devices: Documentation/admin-guide/devices.txt of the kernel.
const NODES: [(&str, (u64, u64)); 6] = [
    ("null", (1, 3)),
    ("zero", (1, 5)),
    ("full", (1, 7)),
    ("random", (1, 8)),
    ("urandom", (1, 9)),
    ("tty", (5, 0)),
];

/// The symbolic links in /dev.
const LINKS: [(&str, &str); 5] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
];

/// Whether a path leads to something that each container has in its /dev.
pub(crate) fn is_usual(path: &Path) -> bool {
    let first = path.strip_prefix("/dev").ok().and_then(|rest| rest.components().next());
    let first = first.and_then(|name| name.as_os_str().to_str());
    first.is_some_and(|name| {
        let is_node = NODES.iter().any(|(node, _)| *node == name);
        is_node || LINKS.iter().any(|(link, _)| *link == name) || ["pts", "shm", "mqueue"].contains(&name)
    })
}

/// The steps of /dev.
pub(super) fn plan(root: &mut RootDraft<'_>) {
    let flags = Attributes::NO_SUID.and(Attributes::NO_EXEC);
    root.make("tmpfs", &[("size", "64k"), ("mode", "755")], flags, Held::Dev, "rootfs.dev.why");
    root.attach(Held::Dev, (Held::Root, "/dev"), "rootfs.place.why");
    for (name, device) in NODES {
        if root.is_user() {
            let file =
                DetachedMountCall::MakeFile { at: Held::Dev, path: name.into(), content: OsString::new() };
            root.step(file, "rootfs.nodefile.why");
            let node = DetachedMountCall::Clone {
                path: Path::new("/dev").join(name),
                below: false,
                to: Held::Mount,
            };
            root.step(node, "rootfs.nodebind.why");
            root.attach(Held::Mount, (Held::Dev, name), "rootfs.place.why");
        } else {
            root.step(
                DetachedMountCall::MakeNode { at: Held::Dev, path: name.into(), device },
                "rootfs.node.why",
            );
        }
    }
    for (path, target) in LINKS {
        let link = DetachedMountCall::MakeLink { at: Held::Dev, path: path.into(), target: target.into() };
        root.step(link, "rootfs.devlink.why");
    }
    // The group of terminals (tty) has the ID 5. A user namespace may not map this ID, and then refuses the option.
    let mut terminals = vec![("newinstance", ""), ("ptmxmode", "0666"), ("mode", "0620")];
    if !root.is_user() {
        terminals.push(("gid", "5"));
    }
    directory(root, "pts");
    let flags = Attributes::NO_SUID.and(Attributes::NO_EXEC);
    root.filesystem("devpts", &terminals, flags, (Held::Dev, "pts"), "rootfs.pts.why");
    directory(root, "shm");
    let memory = [("size", MAX_SIZE), ("mode", "1777")];
    root.filesystem("tmpfs", &memory, Attributes::DATA, (Held::Dev, "shm"), "rootfs.shm.why");
    // An mqueue filesystem shows the queues of the IPC namespace in which it is mounted, so it must be a new one.
    if root.wanted.new_ipc {
        directory(root, "mqueue");
        root.filesystem("mqueue", &[], Attributes::DATA, (Held::Dev, "mqueue"), "rootfs.mqueue.why");
    }
}

fn directory(root: &mut RootDraft<'_>, name: &str) {
    let call = DetachedMountCall::MakeDirectory { at: Held::Dev, path: name.into(), mode: 0o755 };
    root.step(call, "rootfs.devdirectory.why");
}
