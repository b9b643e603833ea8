//! Where the files of the root come from, and where writes go.
//!
//! # What it is
//!
//! An overlay shows the files of a lower directory, and never changes them. Writes go to an upper directory. Here that
//! is on a tmpfs of limited size, which disappears with the mount namespace.
//!
//! # How it is made
//!
//! The kernel requires that both directories are on mounts in the namespace that makes the overlay. So the tmpfs is
//! mounted over the old root for a short time. Afterwards the overlay keeps it in use.
//!
//! A user namespace can make an overlay since Linux 5.11. It needs the option `userxattr`, because only root may write
//! the attributes that an overlay uses otherwise. The lower directory may have no mounts below it: the overlay would
//! show the files that these mounts hide. overlayfs.rst, mount_namespaces(7)
//!
//! For an overlay of `/` in a user namespace there are two ways:
//!
//! - Root: the host copies the mount of `/` without the mounts below it. The child makes an overlay of this copy.
//! - An ordinary user may not copy the mount. The root is then a tmpfs with one overlay for each directory of `/`. A
//!   directory with mounts below it is bind-mounted read-only instead.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use super::{HiddenDirectory, OURS, RootDraft, RootFilesystem, Rootfs, etc};
use crate::feature::Feature;
use crate::plan::call::detached::{Attributes, DetachedMountCall};
use crate::plan::call::gate::GateCall;
use crate::plan::call::mount::MountCall;
use crate::plan::order::Phase;
use crate::plan::slots::Held;
use crate::plan::{Actor, Call};
use crate::text::text;
use crate::value::units::Size;

/// Directories of `/` that are empty in the container. They contain mount points for media and the files of the boot
/// loader.
const LEFT_OUT: [&str; 4] = ["boot", "lost+found", "media", "mnt"];

/// The steps that make the new root and mount it over the old one.
pub(super) fn plan(root: &mut RootDraft<'_>, new: &RootFilesystem) {
    match &new.path {
        Rootfs::Dir(directory) if new.overlay => plan_overlay(root, new, directory),
        Rootfs::Dir(directory) => plan_directory(root, new, directory),
        Rootfs::Host if root.is_privileged() => plan_overlay(root, new, Path::new("/")),
        Rootfs::Host => plan_pieces(root, new),
    }
}

/// The directory itself is the root. The mounts below it are not copied, because they are not part of the directory.
fn plan_directory(root: &mut RootDraft<'_>, new: &RootFilesystem, directory: &Path) {
    plan_lower(root, directory, Held::Root);
    let call =
        DetachedMountCall::Restrict { mount: Held::Root, attributes: Attributes::NO_DEV, below: false };
    root.step(call, "rootfs.nodev.why");
    stack(root, Held::Root, "rootfs.stack.why");
    let places = etc::places(root);
    if !places.is_empty() {
        make_layer(root, new.size);
        etc::write(root, "");
        stack(root, Held::Layer, "rootfs.attachlayer.why");
        etc::bind(root, places);
        unstack(root, "rootfs.detachlayer.why");
    }
}

/// One overlay of the whole directory.
fn plan_overlay(root: &mut RootDraft<'_>, new: &RootFilesystem, directory: &Path) {
    plan_lower(root, directory, Held::Lower);
    make_layer(root, new.size);
    // Our mount points are made in the upper layer. There they also hide a symbolic link of the same name.
    for (name, mode) in
        [("upper", 0o755), ("work", 0o700), ("upper/proc", 0o555), ("upper/sys", 0o555), ("upper/dev", 0o755)]
    {
        make_directory(root, Held::Layer, name, mode, "rootfs.layerdirectory.why");
    }
    for HiddenDirectory { name, mode, .. } in &new.hidden {
        if !directory.join(name).exists() {
            make_directory(root, Held::Layer, format!("upper/{name}"), *mode, "rootfs.layerdirectory.why");
        }
    }
    if !directory.join("etc").is_symlink() {
        make_directory(root, Held::Layer, "upper/etc", 0o755, "rootfs.layerdirectory.why");
        etc::write(root, "upper/etc/");
    }
    stack(root, Held::Layer, "rootfs.attachlayer.why");
    if is_hosts_copy(root) {
        stack(root, Held::Lower, "rootfs.attachlower.why");
    }
    make_overlay(root, "upper".as_ref(), "work".as_ref(), Held::Root);
    if is_hosts_copy(root) {
        unstack(root, "rootfs.detachlower.why");
    }
    unstack(root, "rootfs.detachlayer.why");
    stack(root, Held::Root, "rootfs.stack.why");
    for HiddenDirectory { name, mode, size } in &new.hidden {
        let options = [("size", size.docker()), ("mode", format!("{mode:o}"))];
        let safe = Attributes::NO_SUID.and(Attributes::NO_DEV);
        root.filesystem("tmpfs", &options, safe, (Held::Root, name), "rootfs.hidden.why");
    }
}

/// One overlay for each directory of `/`, on a tmpfs.
fn plan_pieces(root: &mut RootDraft<'_>, new: &RootFilesystem) {
    root.draft.note(text("rootfs.pieces.note"));
    let options = [("size", new.size.docker()), ("mode", "755".to_owned())];
    root.make("tmpfs", &options, Attributes::NO_SUID.and(Attributes::NO_DEV), Held::Root, "rootfs.tmpfs.why");
    stack(root, Held::Root, "rootfs.stack.why");
    make_layer(root, new.size);
    stack(root, Held::Layer, "rootfs.attachlayer.why");
    let hidden = new.hidden.iter().map(|hidden| (hidden.name.as_str(), hidden.mode));
    for (name, mode) in hidden.chain(OURS.map(|name| (name, 0o755))) {
        make_directory(root, Held::Root, name, mode, "rootfs.directory.why");
    }
    let files = root.files;
    for (name, _) in files
        .top
        .iter()
        .filter(|(name, link)| link.is_none() && name.to_str().is_some_and(|name| LEFT_OUT.contains(&name)))
    {
        make_directory(root, Held::Root, name, 0o755, "rootfs.directory.why");
    }
    let is_ours = |name: &OsStr| {
        let hidden = new.hidden.iter().map(|hidden| hidden.name.as_str());
        OURS.into_iter().chain(LEFT_OUT).chain(hidden).any(|known| known == name)
    };
    for (name, link) in files.top.iter().filter(|(name, _)| !is_ours(name)) {
        match link {
            Some(target) => {
                let (path, target) = (name.into(), target.clone());
                let link = DetachedMountCall::MakeLink { at: Held::Root, path, target };
                root.step(link, "rootfs.link.why");
            }
            None => plan_piece(root, name),
        }
    }
    unstack(root, "rootfs.detachlayer.why");
}

/// One directory of `/`.
fn plan_piece(root: &mut RootDraft<'_>, name: &OsStr) {
    let path = Path::new("/").join(name);
    make_directory(root, Held::Root, name, 0o755, "rootfs.directory.why");
    if root.is_read_only_piece(&path) {
        root.step(DetachedMountCall::Clone { path, below: true, to: Held::Mount }, "rootfs.piece.why");
        let attributes = Attributes::READ_ONLY.and(Attributes::NO_SUID).and(Attributes::NO_DEV);
        root.step(
            DetachedMountCall::Restrict { mount: Held::Mount, attributes, below: true },
            "rootfs.fixed.why",
        );
        root.attach(Held::Mount, (Held::Root, name), "rootfs.place.why");
        return;
    }
    let (upper, work) = (joined("upper-", name), joined("work-", name));
    make_directory(root, Held::Layer, &upper, 0o755, "rootfs.layerdirectory.why");
    make_directory(root, Held::Layer, &work, 0o700, "rootfs.layerdirectory.why");
    if name == "etc" {
        etc::write(root, "upper-etc/");
    }
    plan_lower(root, &path, Held::Lower);
    make_overlay(root, &upper, &work, Held::Mount);
    root.attach(Held::Mount, (Held::Root, name), "rootfs.place.why");
}

/// Whether the host copies the lower mount. A process in a user namespace could not do it.
fn is_hosts_copy(root: &RootDraft<'_>) -> bool {
    root.is_privileged() && root.is_user()
}

/// The lower directory. An overlay needs only a descriptor of it; as the root it must be a copy of its mount.
fn plan_lower(root: &mut RootDraft<'_>, directory: &Path, to: Held) {
    let path = directory.to_owned();
    if is_hosts_copy(root) {
        let call = DetachedMountCall::Clone { path, below: false, to };
        root.draft.step(Phase::Prepare, Actor::Host, Feature::Mnt, call, "rootfs.copy.why");
        plan_idmap(root, to);
    } else if to == Held::Root {
        root.step(DetachedMountCall::Clone { path, below: false, to }, "rootfs.clone.why");
    } else {
        root.step(DetachedMountCall::Open { path, to }, "rootfs.lower.why");
    }
}

/// If root inside is another user outside, the files of root on the host have no owner inside. An idmapped mount shows
/// them as files of root inside. Only root may make it, and only after the mappings of the user namespace are written.
fn plan_idmap(root: &mut RootDraft<'_>, mount: Held) {
    if !root.wanted.maps_ranges {
        return;
    }
    let mut step = |actor, call: Call, why| root.draft.step(Phase::Idmap, actor, Feature::Mnt, call, why);
    step(Actor::Host, DetachedMountCall::Idmap { mount }.into(), "rootfs.idmap.why");
    step(Actor::Host, GateCall::Release.into(), "rootfs.mapped.why");
    step(Actor::Child, GateCall::Await.into(), "rootfs.awaitmap.why");
}

/// The tmpfs for the upper layer.
fn make_layer(root: &mut RootDraft<'_>, size: Size) {
    let options = [("size", size.docker()), ("mode", "700".to_owned())];
    root.make("tmpfs", &options, Attributes::NONE, Held::Layer, "rootfs.layer.why");
}

fn make_directory(root: &mut RootDraft<'_>, at: Held, path: impl AsRef<Path>, mode: u32, why: &'static str) {
    root.step(DetachedMountCall::MakeDirectory { at, path: path.as_ref().to_owned(), mode }, why);
}

fn make_overlay(root: &mut RootDraft<'_>, upper: &OsStr, work: &OsStr, to: Held) {
    let layer = format!("{}/", Held::Layer);
    let (upper, work) = (joined(&layer, upper), joined(&layer, work));
    let lower = Held::Lower.to_string().into();
    let mut options = vec![("lowerdir", lower), ("upperdir", upper), ("workdir", work)];
    if root.is_user() {
        options.push(("userxattr", OsString::new()));
    }
    let why = if root.is_privileged() { "rootfs.overlay.why" } else { "rootfs.useroverlay.why" };
    root.make("overlay", &options, Attributes::NO_DEV, to, why);
}

fn joined(start: &str, name: &OsStr) -> OsString {
    let mut all = OsString::from(start);
    all.push(name);
    all
}

/// Mounts a detached mount over `/`.
fn stack(root: &mut RootDraft<'_>, mount: Held, why: &'static str) {
    root.step(DetachedMountCall::Stack { mount }, why);
}

/// Unmounts the topmost mount of `/`.
fn unstack(root: &mut RootDraft<'_>, why: &'static str) {
    root.step(MountCall::Detach { target: "/".into() }, why);
}
