//! The additional mounts of the spec: `mnt.mounts`, in the order of the spec.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::{HIDDEN, OURS, RootDraft, Rootfs};
use crate::host::files::is_directory;
use crate::host::resolver::{Resolved, Resolver};
use crate::plan::call::detached::{Attributes, DetachedMountCall};
use crate::plan::slots::Held;
use crate::text::{printed, text, text_with};
use crate::value::mount::ExtraMount;
use crate::value::shell::quote;

/// Adds a mount to what paths in the container resolve to.
pub(super) fn show(mount: &ExtraMount, resolver: &mut Resolver) {
    let place = resolver.resolve(mount.target());
    match mount {
        ExtraMount::Bind { source, .. } => resolver.bind(&place, source),
        ExtraMount::Tmpfs { .. } => resolver.empty(&place),
    }
}

/// Whether the mount shows a directory; none if the source does not exist.
fn is_directory_mounted(mount: &ExtraMount) -> Result<Option<bool>, String> {
    match mount {
        ExtraMount::Bind { source, .. } => is_directory(source),
        ExtraMount::Tmpfs { .. } => Ok(Some(true)),
    }
}

/// The key of the spec that lists the mounts.
pub(super) const KEY: &str = "mnt.mounts";

/// The steps of the additional mounts.
pub(super) fn plan(root: &mut RootDraft<'_>, mounts: &[ExtraMount]) {
    if mounts.is_empty() {
        return;
    }
    let mut made: BTreeSet<PathBuf> = ["/", "/dev/pts", "/dev/shm"].map(PathBuf::from).into();
    if root.wanted.rootfs.is_some() {
        for name in OURS {
            let place = Path::new("/").join(name);
            root.resolver.empty(&root.resolver.resolve(&place));
            made.insert(place);
        }
    }
    // Only the host's are covered by an empty tmpfs. Another root may not have such a directory.
    if root.wanted.rootfs == Some(&Rootfs::Host) {
        made.extend(HIDDEN.map(|(name, _)| Path::new("/").join(name)));
    }
    for mount in mounts {
        let place = root.resolver.resolve(mount.target());
        let Some(is_directory) = check(root, mount, &place) else { continue };
        make_mount_point(root, is_directory, &place, &mut made);
        match mount {
            ExtraMount::Bind { source, readonly, .. } => {
                // A path on the host. The reader of the spec has made it absolute.
                let path = source.clone();
                root.step(DetachedMountCall::Clone { path, below: true, to: Held::Mount }, "rootfs.bind.why");
                restrict(root, is_directory, *readonly);
            }
            ExtraMount::Tmpfs { size, .. } => {
                let options = [("size", size.0.to_string()), ("mode", "1777".to_owned())];
                let options = options.each_ref().map(|(key, value)| (*key, value.as_str()));
                let safe = Attributes::NO_SUID.and(Attributes::NO_DEV);
                root.make("tmpfs", &options, safe, Held::Mount, "rootfs.empty.why");
            }
        }
        root.attach(Held::Mount, (Held::Root, &place.container), "rootfs.place.why");
        show(mount, &mut root.resolver);
        // The mount covers what was made below it.
        made.retain(|path| !path.starts_with(&place.container));
        made.insert(place.container);
    }
}

/// Sets the attributes of a bind mount. Device files in a directory have no effect, only a bind of a device file itself
/// has.
fn restrict(root: &mut RootDraft<'_>, is_directory: bool, readonly: bool) {
    let mut attributes = Attributes::NO_SUID;
    if is_directory {
        attributes = attributes.and(Attributes::NO_DEV);
    }
    if readonly {
        attributes = attributes.and(Attributes::READ_ONLY);
    }
    let why = if readonly { "rootfs.bindfixed.why" } else { "rootfs.bindsafe.why" };
    root.step(DetachedMountCall::Restrict { mount: Held::Mount, attributes, below: true }, why);
}

/// Makes a mount point that does not exist, with its parent directories. They disappear with the container.
fn make_mount_point(
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
        if path == place.container && !is_directory {
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
fn check(root: &mut RootDraft<'_>, mount: &ExtraMount, place: &Resolved) -> Option<bool> {
    let what = format!("a mount on {}", printed(mount.target()));
    let target = place.host.as_deref().map(is_directory).transpose();
    let (source, target) = match (is_directory_mounted(mount), target) {
        (Ok(source), Ok(target)) => (source, target),
        (Err(why), _) | (_, Err(why)) => {
            root.refuse(what, why, "mnt.missing.todo");
            return None;
        }
    };
    if let (None, ExtraMount::Bind { source, .. }) = (source, mount) {
        let what = format!("{} does not exist", printed(source));
        root.refuse(what, text("mnt.bind.nosource"), "mnt.missing.todo");
        return None;
    }
    let (why, todo) = match (source, target) {
        _ if !mount.target().is_absolute() => ("rootfs.target.relative", "rootfs.target.todo"),
        _ if place.container == Path::new("/") => ("mnt.target.root", "mnt.root.instead"),
        _ if root.wanted.rootfs.is_some() && is_kernels(&place.container) => {
            ("rootfs.target.kernel", "rootfs.target.todo")
        }
        (Some(true), Some(Some(false))) => ("mnt.target.file", "mnt.target.todo"),
        (Some(false), Some(Some(true))) => ("mnt.target.directory", "mnt.target.todo"),
        (Some(is_directory), Some(None)) => {
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

/// Why a mount point that does not exist cannot be made, and what to do. It is made only where it disappears with the
/// container: in an overlay or a tmpfs of ours.
fn obstacle(root: &RootDraft<'_>, is_directory: bool, place: &Resolved) -> Option<(String, String)> {
    let on_host = place.host.as_deref()?;
    let parent = on_host.ancestors().skip(1).find(|path| path.symlink_metadata().is_ok());
    if let Some(file) = parent.filter(|path| !path.is_dir()) {
        let why = text_with("mnt.target.below", &[("path", &printed(file))]);
        return Some((why, text("rootfs.target.todo")));
    }
    let why = match root.resolver.bind_with(&place.container) {
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
    let create = if is_directory {
        format!("mkdir -p {}", quote(on_host))
    } else {
        let directory = on_host.parent().unwrap_or(on_host);
        format!("mkdir -p {} && touch {}", quote(directory), quote(on_host))
    };
    Some((why, format!("{}\n   {create}", text("rootfs.target.create"))))
}

/// Whether a mount would cover files of the kernel. Programs, also `sandbox` itself, write to them and rely on them.
fn is_kernels(inside: &Path) -> bool {
    inside.starts_with("/proc") || inside.starts_with("/sys") || inside == Path::new("/dev")
}
