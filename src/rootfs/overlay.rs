//! Where the files of the root come from, and where writes go.
//!
//! # What it is
//!
//! An overlay shows the files of one or more lower directories, and never changes them. Writes go to an upper directory. It
//! is on a tmpfs of limited size, which disappears with the mount namespace, or it is a directory that is kept.
//!
//! # How it is made
//!
//! The kernel requires that all directories are on mounts in the namespace that makes the overlay. So the tmpfs is mounted over
//! the old root, below the new one, and goes with it.
//!
//! A user namespace can make an overlay since Linux 5.11. It needs the option `userxattr`, because only root may write
//! the attributes that an overlay uses otherwise. A lower directory may have no mounts below it: the overlay would
//! show the files that these mounts hide. overlayfs.rst, mount_namespaces(7)
//!
//! Root can give the files of root outside to root in a user namespace: it copies the mount of each directory, and the copy gets
//! an ID map. The process inside makes the overlay of these copies. What it writes to a kept upper directory belongs to root
//! outside again.
//!
//! For an overlay of `/` in a user namespace there are two ways:
//!
//! - Root: the host copies the mount of `/` without the mounts below it. The child makes an overlay of this copy.
//! - An ordinary user may not copy the mount. The root is then a tmpfs with one overlay for each directory of `/`. A
//!   directory with mounts below it is bind-mounted read-only instead.
//!
//! A kept upper directory has one user at a time. The kernel reports a second overlay on it only in its log, so each run has a
//! lock on the work directory.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use super::layers::{WORK, work_of};
use super::{HiddenDirectory, OURS, RootDraft, RootFilesystem, etc, init_layer};
use crate::feature::Feature;
use crate::plan::call::detached::{Attributes, DetachedMountCall};
use crate::plan::call::file::{FileCall, opaque};
use crate::plan::call::gate::GateCall;
use crate::plan::order::Phase;
use crate::plan::slots::Held;
use crate::plan::{Actor, Call};
use crate::text::text;
use crate::value::units::Size;

/// Directories of `/` that are empty in the container. They contain mount points for media and the files of the boot
/// loader.
const LEFT_OUT: [&str; 4] = ["boot", "lost+found", "media", "mnt"];

/// The options of each overlay. An attribute of a file in a layer must not lead to a file elsewhere (`redirect_dir`,
/// `metacopy`), and layers may be on any filesystem and move (`index`). With `userxattr`, the kernel refuses
/// `redirect_dir=off`.
const OPTIONS: [(&str, &str); 3] = [("index", "off"), ("metacopy", "off"), ("redirect_dir", "nofollow")];

/// The steps that make the new root and mount it over the old one.
pub(super) fn plan(root: &mut RootDraft<'_>, new: &RootFilesystem) {
    match new.lowers.as_slice() {
        _ if root.layers.is_some() => plan_overlay(root, new),
        [directory, ..] if !new.host => plan_directory(root, new, directory),
        _ => plan_pieces(root, new),
    }
}

/// The directory itself is the root. The mounts below it are not copied, because they are not part of the directory.
fn plan_directory(root: &mut RootDraft<'_>, new: &RootFilesystem, directory: &Path) {
    plan_lower(root, directory, Held::Root);
    plan_idmap(root, &[Held::Root]);
    if !root.wanted.opens_devices {
        let attributes = Attributes::NO_DEV;
        let call = DetachedMountCall::Restrict { mount: Held::Root, attributes, below: false };
        root.step(call, "rootfs.nodev.why");
    }
    let places = etc::places(root);
    if !places.is_empty() || root.etc.is_covered {
        make_layer(root, new.size);
        etc::write(root);
        stack_layer(root);
    }
    stack(root, Held::Root, "rootfs.stack.why");
    etc::bind(root, places);
}

/// One overlay of all directories.
fn plan_overlay(root: &mut RootDraft<'_>, new: &RootFilesystem) {
    let lowers: Vec<Held> = (0..).zip(&new.lowers).map(|(index, _)| Held::Lower(index)).collect();
    let mut copies = lowers.clone();
    for (lower, path) in lowers.iter().zip(&new.lowers) {
        plan_lower(root, path, *lower);
    }
    let upper_name = new.upper.as_deref().and_then(|upper| plan_kept(root, upper));
    copies.extend(upper_name.as_ref().map(|_| Held::Kept));
    plan_idmap(root, &copies);
    make_layer(root, new.size);
    make_directory(root, Held::Layer, init_layer::DIRECTORY, 0o755, "rootfs.layerdirectory.why");
    // Of a lower directory, these could be symbolic links. In the init layer they are directories.
    for (name, mode) in [("proc", 0o555), ("sys", 0o555), ("dev", 0o755)] {
        init_layer::covered(root, name, mode);
    }
    for HiddenDirectory { name, mode, .. } in &new.hidden {
        if new.lowers.iter().all(|lower| !lower.join(name).exists()) {
            init_layer::covered(root, name, *mode);
        }
    }
    let places = etc::places_in_overlay(root);
    etc::write(root);
    if upper_name.is_none() {
        make_directory(root, Held::Layer, "upper", 0o755, "rootfs.layerdirectory.why");
        make_directory(root, Held::Layer, WORK, 0o700, "rootfs.layerdirectory.why");
    }
    if is_hosts_copy(root) {
        make_directory(root, Held::Layer, COPIES, 0o700, "rootfs.layerdirectory.why");
    }
    root.phase = Phase::Overlay;
    stack_layer(root);
    if is_hosts_copy(root) {
        for copy in copies {
            root.attach(copy, (Held::Layer, COPIES), "rootfs.attachlower.why");
        }
    }
    let in_layer = |name: &str| OsString::from(format!("{}/{name}", Held::Layer));
    let (upper, work) = match upper_name {
        Some(name) => {
            let work = work_of(Path::new(&name));
            for (path, to) in [(name.into(), Held::Upper), (work, Held::Work)] {
                let open = DetachedMountCall::OpenOwn { of: Held::Kept, path, to };
                root.step(open, "rootfs.openkept.why");
            }
            (Held::Upper.to_string().into(), Held::Work.to_string().into())
        }
        None => (in_layer("upper"), in_layer(WORK)),
    };
    let all = std::iter::once(in_layer(init_layer::DIRECTORY));
    let all = all.chain(lowers.iter().map(|lower| lower.to_string().into()));
    make_overlay(root, all.collect(), (upper, work), Held::Root);
    stack(root, Held::Root, "rootfs.stack.why");
    etc::bind(root, places);
    for HiddenDirectory { name, mode, size } in &new.hidden {
        let options = [("size", size.docker()), ("mode", format!("{mode:o}"))];
        let safe = Attributes::NO_SUID.and(Attributes::NO_DEV);
        root.filesystem("tmpfs", &options, safe, (Held::Root, name), "rootfs.hidden.why");
    }
}

/// The directory of `<layer>` on which the host's copies of mounts are attached. Only their descriptors are used.
const COPIES: &str = "copies";

/// The steps for an upper directory that is kept, and its name in `<kept>`. None: it is `/`, which was refused.
fn plan_kept(root: &mut RootDraft<'_>, upper: &Path) -> Option<OsString> {
    // Links are followed now, because the work directory must be beside the directory itself.
    let upper = upper.canonicalize().unwrap_or_else(|_| upper.to_owned());
    let (parent, name) = (upper.parent()?, upper.file_name()?.to_owned());
    let work = work_of(&upper);
    let to_user = root.is_user();
    let copies_opaque = root.is_privileged() && opaque::was_user(&work) != Some(to_user);
    let mut step = |call, why| root.draft.step(Phase::Prepare, Actor::Host, Feature::Mnt, call, why);
    if work.symlink_metadata().is_err() {
        step(FileCall::MakeDirectory { path: work.clone(), mode: 0o700 }, "rootfs.work.why");
    }
    step(FileCall::LockDirectory { path: work.clone() }, "rootfs.lock.why");
    if copies_opaque {
        let upper = upper.clone();
        step(FileCall::CopyOpaque { upper, work, to_user }, "rootfs.opaque.why");
    }
    plan_lower(root, parent, Held::Kept);
    Some(name)
}

/// One overlay for each directory of `/`, on a tmpfs.
fn plan_pieces(root: &mut RootDraft<'_>, new: &RootFilesystem) {
    root.draft.note(text("rootfs.pieces.note"));
    let options = [("size", new.size.docker()), ("mode", "755".to_owned())];
    root.make("tmpfs", &options, Attributes::NO_SUID.and(Attributes::NO_DEV), Held::Root, "rootfs.tmpfs.why");
    make_layer(root, new.size);
    etc::write(root);
    stack_layer(root);
    stack(root, Held::Root, "rootfs.stack.why");
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
    let places = etc::places_in_pieces(root);
    etc::bind(root, places);
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
    let in_layer = |name: &OsStr| joined(&format!("{}/", Held::Layer), name);
    let mut lowers = Vec::new();
    if name == "etc" && !root.etc.is_covered {
        // As the init layer of a single overlay.
        make_directory(root, Held::Layer, init_layer::DIRECTORY, 0o755, "rootfs.initlayer.why");
        etc::make_mount_points(root, Path::new(init_layer::DIRECTORY));
        lowers.push(in_layer(OsStr::new(init_layer::DIRECTORY)));
    }
    plan_lower(root, &path, Held::Lower(0));
    lowers.push(Held::Lower(0).to_string().into());
    make_overlay(root, lowers, (in_layer(&upper), in_layer(&work)), Held::Mount);
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
    } else if to == Held::Root {
        root.step(DetachedMountCall::Clone { path, below: false, to }, "rootfs.clone.why");
    } else {
        let why = if to == Held::Kept { "rootfs.kept.why" } else { "rootfs.lower.why" };
        root.step(DetachedMountCall::Open { path, to }, why);
    }
}

/// If root inside is another user outside, the files of root on the host have no owner inside. An idmapped mount shows
/// them as files of root inside. Only root may make it, and only after the mappings of the user namespace are written.
fn plan_idmap(root: &mut RootDraft<'_>, mounts: &[Held]) {
    if !root.wanted.maps_ranges || !is_hosts_copy(root) {
        return;
    }
    let mut step = |actor, call: Call, why| root.draft.step(Phase::Idmap, actor, Feature::Mnt, call, why);
    for mount in mounts {
        step(Actor::Host, DetachedMountCall::Idmap { mount: *mount }.into(), "rootfs.idmap.why");
    }
    step(Actor::Host, GateCall::Release.into(), "rootfs.mapped.why");
    step(Actor::Child, GateCall::Await.into(), "rootfs.awaitmap.why");
}

/// The tmpfs for what is made for the container.
fn make_layer(root: &mut RootDraft<'_>, size: Size) {
    let options = [("size", size.docker()), ("mode", "700".to_owned())];
    root.make("tmpfs", &options, Attributes::NONE, Held::Layer, "rootfs.layer.why");
}

fn make_directory(root: &mut RootDraft<'_>, at: Held, path: impl AsRef<Path>, mode: u32, why: &'static str) {
    root.step(DetachedMountCall::MakeDirectory { at, path: path.as_ref().to_owned(), mode }, why);
}

fn make_overlay(
    root: &mut RootDraft<'_>,
    lowers: Vec<OsString>,
    (upper, work): (OsString, OsString),
    to: Held,
) {
    let mut options: Vec<(&str, OsString)> = lowers.into_iter().map(|lower| ("lowerdir+", lower)).collect();
    options.extend([("upperdir", upper), ("workdir", work)]);
    options.extend(OPTIONS.map(|(key, value)| (key, value.into())));
    if root.is_user() {
        options.push(("userxattr", OsString::new()));
    }
    let why = if root.is_privileged() { "rootfs.overlay.why" } else { "rootfs.useroverlay.why" };
    let attributes = if root.wanted.opens_devices { Attributes::NONE } else { Attributes::NO_DEV };
    root.make("overlay", &options, attributes, to, why);
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

/// Mounts the tmpfs of the layers over `/`. It goes with the old root.
fn stack_layer(root: &mut RootDraft<'_>) {
    stack(root, Held::Layer, "rootfs.attachlayer.why");
    root.has_layer = true;
}
