//! Where the files come from, and where what's written goes.
//!
//! An overlay shows a lower directory that it never changes, and keeps what is written in an upper one: here a tmpfs of the
//! container's own, bounded, which is gone with its namespace. Both must be mounted in the namespace that makes the
//! overlay, so the tmpfs is laid on the old root meanwhile; afterwards the overlay holds on to it. In a user namespace an
//! overlay may be made since Linux 5.11, with `userxattr`, since the attributes it else writes are root's; but none of a
//! directory with mounts below: the kernel would uncover what they hide. overlayfs.rst, mount_namespaces(7)
//!
//! That rule forbids an overlay of `/` there. Root gets one nevertheless: the host makes a copy of the mount of `/` without
//! the mounts below it, and the child lays its overlay over that. An ordinary user may not, and gets one overlay per
//! directory of `/`, on a tmpfs that is the root; a directory with mounts below is bound read-only.

use std::path::Path;

use super::{HIDDEN, OURS, ROOM, Rootfs, Site, etc};
use crate::feature::Feature;
use crate::plan::call::detached::{Attributes, DetachedMountCall};
use crate::plan::call::gate::GateCall;
use crate::plan::call::mount::MountCall;
use crate::plan::order::Phase;
use crate::plan::slots::Held;
use crate::plan::{Actor, Call};
use crate::text::text;

/// Mount points for media, and what a boot loader reads: nothing that a command needs, so they are empty.
const LEFT_OUT: [&str; 4] = ["boot", "lost+found", "media", "mnt"];

/// The steps to a root that lies on top of the old one.
pub(super) fn plan(site: &mut Site<'_>, rootfs: &Rootfs) {
    match rootfs {
        Rootfs::Dir(directory) if site.wanted.overlay => plan_overlay(site, directory),
        Rootfs::Dir(directory) => plan_directory(site, directory),
        Rootfs::Host if site.is_privileged() => plan_overlay(site, Path::new("/")),
        Rootfs::Host => plan_pieces(site),
    }
}

/// The directory itself. What is mounted below it doesn't come along: it isn't the directory's.
fn plan_directory(site: &mut Site<'_>, directory: &Path) {
    plan_lower(site, directory, Held::Root);
    let call =
        DetachedMountCall::Restrict { mount: Held::Root, attributes: Attributes::NO_DEV, below: false };
    site.step(call, "rootfs.nodev.why");
    stack(site, Held::Root, "rootfs.stack.why");
    let places = etc::places(site);
    if !places.is_empty() {
        make_layer(site);
        etc::write(site, "");
        stack(site, Held::Layer, "rootfs.attachlayer.why");
        etc::bind(site, places);
        unstack(site, "rootfs.detachlayer.why");
    }
}

/// One overlay over all of it.
fn plan_overlay(site: &mut Site<'_>, directory: &Path) {
    plan_lower(site, directory, Held::Lower);
    make_layer(site);
    // The mount points of ours are made in the layer, where they also hide a link of that name.
    for (name, mode) in
        [("upper", 0o755), ("work", 0o700), ("upper/proc", 0o555), ("upper/sys", 0o555), ("upper/dev", 0o755)]
    {
        make_directory(site, Held::Layer, name, mode, "rootfs.layerdirectory.why");
    }
    for (name, mode) in HIDDEN {
        if directory == Path::new("/") && !directory.join(name).exists() {
            make_directory(site, Held::Layer, &format!("upper/{name}"), mode, "rootfs.layerdirectory.why");
        }
    }
    if !directory.join("etc").is_symlink() {
        make_directory(site, Held::Layer, "upper/etc", 0o755, "rootfs.layerdirectory.why");
        etc::write(site, "upper/etc/");
    }
    stack(site, Held::Layer, "rootfs.attachlayer.why");
    if is_hosts_copy(site) {
        stack(site, Held::Lower, "rootfs.attachlower.why");
    }
    make_overlay(site, "upper", "work", Held::Root);
    if is_hosts_copy(site) {
        unstack(site, "rootfs.detachlower.why");
    }
    unstack(site, "rootfs.detachlayer.why");
    stack(site, Held::Root, "rootfs.stack.why");
    if directory == Path::new("/") {
        for (name, mode) in HIDDEN {
            let options = [("size", ROOM), ("mode", &format!("{mode:o}"))];
            let safe = Attributes::NO_SUID.and(Attributes::NO_DEV);
            site.filesystem("tmpfs", &options, safe, (Held::Root, name), "rootfs.hidden.why");
        }
    }
}

/// One overlay per directory of `/`, on a tmpfs.
fn plan_pieces(site: &mut Site<'_>) {
    site.draft.note(text("rootfs.pieces.note"));
    let options = [("size", ROOM), ("mode", "755")];
    site.make("tmpfs", &options, Attributes::NO_SUID.and(Attributes::NO_DEV), Held::Root, "rootfs.tmpfs.why");
    stack(site, Held::Root, "rootfs.stack.why");
    make_layer(site);
    stack(site, Held::Layer, "rootfs.attachlayer.why");
    for (name, mode) in HIDDEN.into_iter().chain(OURS.map(|name| (name, 0o755))) {
        make_directory(site, Held::Root, name, mode, "rootfs.directory.why");
    }
    let files = site.files;
    for (name, _) in
        files.top.iter().filter(|(name, link)| link.is_none() && LEFT_OUT.contains(&name.as_str()))
    {
        make_directory(site, Held::Root, name, 0o755, "rootfs.directory.why");
    }
    let is_ours = |name: &str| {
        OURS.contains(&name) || LEFT_OUT.contains(&name) || HIDDEN.iter().any(|(hidden, _)| *hidden == name)
    };
    for (name, link) in files.top.iter().filter(|(name, _)| !is_ours(name)) {
        match link {
            Some(target) => {
                let target = target.to_string_lossy().into_owned();
                site.step(
                    DetachedMountCall::MakeLink { at: Held::Root, path: name.clone(), target },
                    "rootfs.link.why",
                );
            }
            None => plan_piece(site, name),
        }
    }
    unstack(site, "rootfs.detachlayer.why");
}

fn plan_piece(site: &mut Site<'_>, name: &str) {
    let path = Path::new("/").join(name);
    make_directory(site, Held::Root, name, 0o755, "rootfs.directory.why");
    if site.files.is_mounted_below(&path) {
        let path = path.to_string_lossy().into_owned();
        site.step(DetachedMountCall::Clone { path, below: true, to: Held::Mount }, "rootfs.piece.why");
        let attributes = Attributes::READ_ONLY.and(Attributes::NO_SUID).and(Attributes::NO_DEV);
        site.step(
            DetachedMountCall::Restrict { mount: Held::Mount, attributes, below: true },
            "rootfs.fixed.why",
        );
        site.attach(Held::Mount, (Held::Root, name), "rootfs.place.why");
        return;
    }
    let (upper, work) = (format!("upper-{name}"), format!("work-{name}"));
    make_directory(site, Held::Layer, &upper, 0o755, "rootfs.layerdirectory.why");
    make_directory(site, Held::Layer, &work, 0o700, "rootfs.layerdirectory.why");
    if name == "etc" {
        etc::write(site, &format!("{upper}/"));
    }
    plan_lower(site, &path, Held::Lower);
    make_overlay(site, &upper, &work, Held::Mount);
    site.attach(Held::Mount, (Held::Root, name), "rootfs.place.why");
}

/// Root's copy of what a user namespace couldn't take for itself.
fn is_hosts_copy(site: &Site<'_>) -> bool {
    site.is_privileged() && site.is_user()
}

/// What is shown: for an overlay any directory does, to be a mount of its own it takes a copy.
fn plan_lower(site: &mut Site<'_>, directory: &Path, to: Held) {
    let path = directory.to_string_lossy().into_owned();
    if is_hosts_copy(site) {
        let call = DetachedMountCall::Clone { path, below: false, to };
        site.draft.step(Phase::Prepare, Actor::Host, Feature::Mnt, call, "rootfs.copy.why");
        plan_idmap(site, to);
    } else if to == Held::Root {
        site.step(DetachedMountCall::Clone { path, below: false, to }, "rootfs.clone.why");
    } else {
        site.step(DetachedMountCall::Open { path, to }, "rootfs.lower.why");
    }
}

/// Where root inside is not root outside, the files of root outside belong to nobody inside, unless they're seen through
/// the same map. Only root may say so, and only once the map is written.
fn plan_idmap(site: &mut Site<'_>, mount: Held) {
    if !site.wanted.maps_ranges {
        return;
    }
    let mut step = |actor, call: Call, why| site.draft.step(Phase::Idmap, actor, Feature::Mnt, call, why);
    step(Actor::Host, DetachedMountCall::Idmap { mount }.into(), "rootfs.idmap.why");
    step(Actor::Host, GateCall::Release.into(), "rootfs.mapped.why");
    step(Actor::Child, GateCall::Await.into(), "rootfs.awaitmap.why");
}

fn make_layer(site: &mut Site<'_>) {
    site.make("tmpfs", &[("size", ROOM), ("mode", "700")], Attributes::NONE, Held::Layer, "rootfs.layer.why");
}

fn make_directory(site: &mut Site<'_>, at: Held, path: &str, mode: u32, why: &'static str) {
    site.step(DetachedMountCall::MakeDirectory { at, path: path.into(), mode }, why);
}

fn make_overlay(site: &mut Site<'_>, upper: &str, work: &str, to: Held) {
    let (upper, work) = (format!("{}/{upper}", Held::Layer), format!("{}/{work}", Held::Layer));
    let lower = Held::Lower.to_string();
    let mut options = vec![("lowerdir", lower.as_str()), ("upperdir", &upper), ("workdir", &work)];
    if site.is_user() {
        options.push(("userxattr", ""));
    }
    let why = if site.is_privileged() { "rootfs.overlay.why" } else { "rootfs.useroverlay.why" };
    site.make("overlay", &options, Attributes::NO_DEV, to, why);
}

fn stack(site: &mut Site<'_>, mount: Held, why: &'static str) {
    site.step(DetachedMountCall::Stack { mount }, why);
}

/// Takes away what lies topmost.
fn unstack(site: &mut Site<'_>, why: &'static str) {
    site.step(MountCall::Detach { target: "/".into() }, why);
}
