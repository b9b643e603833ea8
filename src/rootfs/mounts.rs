//! The additional mounts of the spec: `mnt.mounts`, in the order of the spec.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::ops::RangeInclusive;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::mount::ContainerMount;
use super::{OURS, RootDraft, RootFilesystem, dev, etc, init_layer};
use crate::host::files::is_directory;
use crate::host::resolver::{Resolved, Resolver, without_parents};
use crate::plan::call::detached::{Attributes, DetachedMountCall};
use crate::plan::slots::Held;
use crate::text::{printed, text, text_with};
use crate::value::shell::quote;

/// Adds a mount to what paths in the container resolve to.
pub(super) fn show(mount: &ContainerMount, resolver: &mut Resolver) {
    let place = resolver.resolve(&mount.destination);
    match mount.bound() {
        Some(source) => resolver.bind(&place, source),
        None => resolver.empty(&place),
    }
}

/// The mode of the directory of a filesystem in memory that has no option for it: that of the directory which is covered, so that
/// nobody may write there who could not write before.
fn mode_of(place: &Resolved) -> u32 {
    let covered = place.host.as_ref().and_then(|directory| directory.metadata().ok());
    covered.map_or(0o1777, |covered| covered.permissions().mode() & 0o7777)
}

/// Whether the mount shows a directory; none if the source does not exist.
fn is_directory_mounted(mount: &ContainerMount) -> Result<Option<bool>, String> {
    mount.bound().map_or(Ok(Some(true)), is_directory)
}

/// The key of the spec that lists the mounts.
pub(super) const KEY: &str = "mnt.mounts";

/// The slots for binds of `/`.
const TREES: RangeInclusive<u8> = 0..=u8::MAX;

/// The slots for filesystems in memory that become read-only at the end.
const FIXED: RangeInclusive<u8> = 0..=u8::MAX;

/// Whether the mount is a bind of `/`.
fn is_whole_host(mount: &ContainerMount) -> bool {
    mount.bound() == Some(Path::new("/"))
}

/// The steps that copy the mounts of the host for binds of `/`, before the new root is mounted on `/`. A later copy would
/// have the new root on top, and so the container would see its own files there.
pub(super) fn copy_host(root: &mut RootDraft<'_>, mounts: &[&ContainerMount]) {
    for (index, mount) in TREES.zip(mounts.iter().filter(|mount| is_whole_host(mount))) {
        let (path, below, to) = (PathBuf::from("/"), mount.is_recursive(), Held::Tree(index));
        root.step(DetachedMountCall::Clone { path, below, to }, "rootfs.tree.why");
    }
}

/// The steps of the additional mounts. `made` has the directories that exist before, and gets those that are made.
/// Returns the slots of those that [`fix`] makes read-only.
pub(super) fn plan(
    root: &mut RootDraft<'_>,
    mounts: &[&ContainerMount],
    made: &mut BTreeSet<PathBuf>,
) -> Vec<Held> {
    let is_new = root.wanted.root.is_some();
    let mut trees = TREES.map(Held::Tree).peekable();
    let (mut slots, mut fixed) = (FIXED.map(Held::Fixed).peekable(), Vec::new());
    for mount in mounts {
        let mut held = Held::Mount;
        let place = root.resolver.resolve(&mount.destination);
        let Some(is_directory) = check(root, mount, &place) else { continue };
        make_mount_point(root, is_directory, &place, made);
        match mount.bound() {
            Some(source) => {
                // A path on the host. The reader of the spec has made it absolute.
                let copied = trees.next_if(|_| is_new && is_whole_host(mount));
                if copied.is_none() {
                    let (path, below) = (without_parents(source), mount.is_recursive());
                    root.step(DetachedMountCall::Clone { path, below, to: Held::Mount }, "rootfs.bind.why");
                }
                held = copied.unwrap_or(Held::Mount);
                restrict(root, held, is_directory, mount.attributes());
            }
            None => {
                let (mut options, mut attributes) = (mount.data(), mount.attributes());
                if let Some(slot) = slots.next_if(|_| mount.is_fixed_later()) {
                    held = slot;
                    attributes = attributes.without(Attributes::READ_ONLY);
                    fixed.push(slot);
                }
                let mode = format!("{:o}", mode_of(&place));
                if mount.kind == "tmpfs" && !options.iter().any(|(name, _)| *name == "mode") {
                    options.push(("mode", &mode));
                }
                root.make(&mount.kind, &options, attributes, held, "rootfs.empty.why");
            }
        }
        root.attach(held, (Held::Root, &place.container), "rootfs.place.why");
        show(mount, &mut root.resolver);
        root.placed.push((place.container.clone(), mount.takes_mount_points()));
        // The mount covers what was made below it.
        made.retain(|path| !path.starts_with(&place.container));
        made.insert(place.container);
    }
    let places = etc::places_in_mounts(root, made);
    etc::bind(root, places);
    fixed
}

/// Makes filesystems in memory read-only. All mount points in them are made, and the mounts below them stay as they are.
pub(super) fn fix(root: &mut RootDraft<'_>, fixed: Vec<Held>) {
    for mount in fixed {
        let attributes = Attributes::READ_ONLY;
        root.step(DetachedMountCall::Restrict { mount, attributes, below: false }, "rootfs.fix.why");
    }
}

/// The directories that exist before the additional mounts are made.
pub(super) fn always_made(root: &mut RootDraft<'_>) -> BTreeSet<PathBuf> {
    let own = root
        .wanted
        .mounts
        .iter()
        .filter(|mount| mount.bound().is_none())
        .map(|mount| mount.destination.clone());
    let own = own.filter(|place| ["/dev/pts", dev::SHARED_MEMORY].map(Path::new).contains(&place.as_path()));
    let own = own.filter(|_| root.wanted.root.is_some());
    let mut made: BTreeSet<PathBuf> = own.chain(["/".into()]).collect();
    if let Some(wanted) = root.wanted.root {
        for name in OURS {
            let place = Path::new("/").join(name);
            let covered = super::covered(wanted, &root.resolver, name);
            root.resolver.empty(&covered);
            made.insert(place);
        }
        made.extend(wanted.hidden.iter().map(|hidden| Path::new("/").join(&hidden.name)));
    }
    made
}

/// Makes the working directory of the command: in the init layer, or in a mount that takes mount points.
pub(super) fn make_working_directory(root: &mut RootDraft<'_>, made: &mut BTreeSet<PathBuf>) {
    let Some(directory) = root.wanted.directory else { return };
    if !root.layers.is_some_and(RootFilesystem::makes_working_directory) {
        return;
    }
    let place = root.resolver.resolve(directory);
    // It is made where a mount point would be. Below another mount, or below a file, the start says why it cannot be entered.
    let takes = root.takes_mount_points(&place.container);
    let takes = takes.unwrap_or_else(|| !root.resolver.is_in_mount(&place.container));
    if takes && obstacle(root, true, &place).is_none() {
        make_mount_point(root, true, &place, made);
    }
}

/// Sets the attributes of a bind mount. Device files in a directory have no effect, only a bind of a device file itself
/// has.
pub(super) fn restrict(
    root: &mut RootDraft<'_>,
    mount: Held,
    is_directory: bool,
    mut attributes: Attributes,
) {
    if is_directory {
        attributes = attributes.and(Attributes::NO_DEV);
    }
    let is_read_only = attributes.contains(Attributes::READ_ONLY);
    let why = if is_read_only { "rootfs.bindfixed.why" } else { "rootfs.bindsafe.why" };
    root.step(DetachedMountCall::Restrict { mount, attributes, below: true }, why);
}

/// Makes a mount point that does not exist, with its parent directories. Those in an overlay are made in its init layer, and
/// disappear with the container, as those in a new filesystem do. Those in a volume or in files of the host stay.
pub(super) fn make_mount_point(
    root: &mut RootDraft<'_>,
    is_directory: bool,
    place: &Resolved,
    made: &mut BTreeSet<PathBuf>,
) {
    // If the kernel returns an error other than ENOENT, the later step that opens the path reports it.
    let exists =
        |path: &Path| root.resolver.resolve(path).host.is_some_and(|file| file.try_exists().unwrap_or(true));
    let mut missing: Vec<PathBuf> = place
        .container
        .ancestors()
        .take_while(|path| !made.contains(*path) && !exists(path))
        .map(Path::to_owned)
        .collect();
    missing.reverse();
    for path in missing {
        let name = path.clone();
        let is_file = path == place.container && !is_directory;
        if root.resolver.bind_with(&path).is_some() {
            let place = DetachedMountCall::MakePlace { at: Held::Root, path: name, directory: !is_file };
            root.step(place, "rootfs.stayingplace.why");
        } else if root.layers.is_some() && !root.resolver.is_in_mount(&path) {
            if is_file {
                init_layer::file(root, &path);
            } else {
                init_layer::directory(root, &path, 0o755);
            }
        } else if is_file {
            let file = DetachedMountCall::MakeFile { at: Held::Root, path: name, content: OsString::new() };
            root.step(file, "rootfs.makeplace.why");
        } else {
            let directory = DetachedMountCall::MakeDirectory { at: Held::Root, path: name, mode: 0o755 };
            root.step(directory, "rootfs.makeplace.why");
        }
        made.insert(path);
    }
}

/// Checks a mount before the container is made. Returns whether it shows a directory, or none if it is refused.
fn check(root: &mut RootDraft<'_>, mount: &ContainerMount, place: &Resolved) -> Option<bool> {
    let what = format!("a mount on {}", printed(&mount.destination));
    let target = place.host.as_deref().map(is_directory).transpose();
    let (source, target) = match (is_directory_mounted(mount), target) {
        (Ok(source), Ok(target)) => (source, target),
        (Err(why), _) | (_, Err(why)) => {
            root.refuse(what, why, "mnt.missing.todo");
            return None;
        }
    };
    if let (None, Some(source)) = (source, mount.bound()) {
        let what = format!("{} does not exist", printed(source));
        root.refuse(what, text("mnt.bind.nosource"), "mnt.missing.todo");
        return None;
    }
    let (why, todo) = match (source, target) {
        _ if !mount.destination.is_absolute() => ("rootfs.target.relative", "rootfs.target.todo"),
        _ if place.container == Path::new("/") => ("mnt.target.root", "mnt.root.instead"),
        _ if root.wanted.root.is_some() && is_kernels(&place.container) => {
            ("rootfs.target.kernel", "rootfs.target.todo")
        }
        (Some(true), Some(Some(false))) => ("mnt.target.file", "mnt.target.todo"),
        (Some(false), Some(Some(true))) => ("mnt.target.directory", "mnt.target.todo"),
        (Some(is_directory), Some(None) | None) => {
            if let Some((why, todo)) = obstacle(root, is_directory, place) {
                root.refuse_with(what, why, todo);
                return None;
            }
            return source;
        }
        _ => return source,
    };
    root.refuse(what, text(why), todo);
    None
}

/// Why a mount point that does not exist cannot be made, and what to do. It is made where it disappears with the container: in
/// an overlay or a tmpfs of ours. In a volume and in files of the host it is made only if that mount allows it.
pub(super) fn obstacle(
    root: &RootDraft<'_>,
    is_directory: bool,
    place: &Resolved,
) -> Option<(String, String)> {
    if let Some(kept) = init_layer::hiding_upper(root, &place.container) {
        let parent = kept.ancestors().skip(1).find(|path| path.symlink_metadata().is_ok());
        let can_be_made = parent.is_some_and(Path::is_dir) && kept.symlink_metadata().is_err();
        let todo = if can_be_made { creation(is_directory, &kept) } else { text("rootfs.target.todo") };
        return Some((text("rootfs.target.kept"), todo));
    }
    let on_host = place.host.as_deref()?;
    let parent = on_host.ancestors().skip(1).find(|path| path.symlink_metadata().is_ok());
    if let Some(file) = parent.filter(|path| !path.is_dir()) {
        let why = text_with("mnt.target.below", &[("path", &printed(file))]);
        return Some((why, text("rootfs.target.todo")));
    }
    let why = match root.resolver.bind_with(&place.container) {
        Some(_) if root.takes_mount_points(&place.container) == Some(true) => return None,
        Some((target, source)) => {
            text_with("rootfs.target.bind", &[("target", &printed(target)), ("source", &printed(source))])
        }
        None if !root.is_temporary() => text("mnt.target.missing"),
        None => {
            let top = place.container.components().nth(1).map(|name| Path::new("/").join(name));
            let top = top.filter(|top| root.is_read_only_piece(top))?;
            text_with("rootfs.target.fixed", &[("path", &printed(&top))])
        }
    };
    Some((why, creation(is_directory, on_host)))
}

/// The advice to create a mount point.
fn creation(is_directory: bool, on_host: &Path) -> String {
    let create = if is_directory {
        format!("mkdir -p {}", quote(on_host))
    } else {
        let directory = on_host.parent().unwrap_or(on_host);
        format!("mkdir -p {} && touch {}", quote(directory), quote(on_host))
    };
    format!("{}\n   {create}", text("rootfs.target.create"))
}

/// Whether a mount would cover files of the kernel. Programs, also `sandbox` itself, write to them and rely on them.
fn is_kernels(inside: &Path) -> bool {
    inside.starts_with("/proc") || inside.starts_with("/sys") || inside == Path::new("/dev")
}
