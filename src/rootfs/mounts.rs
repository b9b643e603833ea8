//! The mounts that the spec asks for besides: `mnt.mounts`, in the order of the spec.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::{HIDDEN, OURS, Site};
use crate::host::files::is_directory;
use crate::host::resolver::{Resolved, Resolver};
use crate::plan::call::detached::{Attributes, DetachedMountCall};
use crate::plan::slots::Held;
use crate::text::text;
use crate::value::mount::ExtraMount;

/// Adds a mount to what paths in the container resolve to.
pub(super) fn show(mount: &ExtraMount, resolver: &mut Resolver) {
    let place = resolver.resolve(mount.target());
    match mount {
        ExtraMount::Bind { source, .. } => resolver.bind(&place, source),
        ExtraMount::Tmpfs { .. } => resolver.empty(&place),
    }
}

/// Whether it is a directory that is mounted; none where the source does not exist.
fn is_directory_mounted(mount: &ExtraMount) -> Result<Option<bool>, String> {
    match mount {
        ExtraMount::Bind { source, .. } => is_directory(source),
        ExtraMount::Tmpfs { .. } => Ok(Some(true)),
    }
}

/// The steps.
pub(super) fn plan(site: &mut Site<'_>, mounts: &[ExtraMount]) {
    if mounts.is_empty() {
        return;
    }
    let mut made: BTreeSet<PathBuf> = ["/", "/dev/pts", "/dev/shm"].map(PathBuf::from).into();
    if site.wanted.rootfs.is_some() {
        for name in OURS {
            let place = Path::new("/").join(name);
            site.resolver.empty(&site.resolver.resolve(&place));
            made.insert(place);
        }
        made.extend(HIDDEN.map(|(name, _)| Path::new("/").join(name)));
    }
    for mount in mounts {
        let place = site.resolver.resolve(mount.target());
        let Some(is_directory) = check(site, mount, &place) else { continue };
        make_place(site, is_directory, &place, &mut made);
        match mount {
            ExtraMount::Bind { source, readonly, .. } => {
                // A path from here: a relative one was made absolute by whoever read it.
                let path = source.to_string_lossy().into_owned();
                site.step(DetachedMountCall::Clone { path, below: true, to: Held::Mount }, "rootfs.bind.why");
                restrict(site, is_directory, *readonly);
            }
            ExtraMount::Tmpfs { size, .. } => {
                let options = [("size", size.0.to_string()), ("mode", "1777".to_owned())];
                let options = options.each_ref().map(|(key, value)| (*key, value.as_str()));
                let safe = Attributes::NO_SUID.and(Attributes::NO_DEV);
                site.make("tmpfs", &options, safe, Held::Mount, "rootfs.empty.why");
            }
        }
        let path = place.container.to_string_lossy().into_owned();
        site.attach(Held::Mount, (Held::Root, &path), "rootfs.place.why");
        show(mount, &mut site.resolver);
        made.insert(place.container);
    }
}

/// Device files count only where one was asked for by its name.
fn restrict(site: &mut Site<'_>, is_directory: bool, readonly: bool) {
    let mut attributes = Attributes::NO_SUID;
    if is_directory {
        attributes = attributes.and(Attributes::NO_DEV);
    }
    if readonly {
        attributes = attributes.and(Attributes::READ_ONLY);
    }
    let why = if readonly { "rootfs.bindfixed.why" } else { "rootfs.bindsafe.why" };
    site.step(DetachedMountCall::Restrict { mount: Held::Mount, attributes, below: true }, why);
}

/// A place that isn't there is made, where it's gone with the container.
fn make_place(site: &mut Site<'_>, is_directory: bool, place: &Resolved, made: &mut BTreeSet<PathBuf>) {
    // Where the kernel doesn't tell, whoever opens it will hear why.
    let is_there = |path: &Path| {
        site.resolver.resolve(path).host.is_some_and(|today| today.try_exists().unwrap_or(true))
    };
    let mut missing: Vec<PathBuf> = place
        .container
        .ancestors()
        .take_while(|path| !made.contains(*path) && !is_there(path))
        .map(Path::to_owned)
        .collect();
    missing.reverse();
    for path in missing {
        let words = path.to_string_lossy().into_owned();
        if path == place.container && !is_directory {
            let file = DetachedMountCall::MakeFile { at: Held::Root, path: words, content: String::new() };
            site.step(file, "rootfs.makeplace.why");
        } else {
            let directory = DetachedMountCall::MakeDirectory { at: Held::Root, path: words, mode: 0o755 };
            site.step(directory, "rootfs.makeplace.why");
        }
        made.insert(path);
    }
}

/// What can be known before; whether it's a directory that is mounted, if it can be.
fn check(site: &mut Site<'_>, mount: &ExtraMount, place: &Resolved) -> Option<bool> {
    let what = format!("a mount on {}", mount.target().display());
    let today = place.host.as_deref().map(is_directory).transpose();
    let (source, today) = match (is_directory_mounted(mount), today) {
        (Ok(source), Ok(today)) => (source, today),
        (Err(why), _) | (_, Err(why)) => {
            site.refuse(what, why, "mnt.missing.todo");
            return None;
        }
    };
    let (why, todo) = match (source, today) {
        _ if !mount.target().is_absolute() => ("rootfs.target.relative", "rootfs.target.todo"),
        (None, _) => ("mnt.bind.nosource", "mnt.missing.todo"),
        _ if place.container == Path::new("/") => ("mnt.target.root", "mnt.root.instead"),
        _ if site.wanted.rootfs.is_some() && is_kernels(&place.container) => {
            ("rootfs.target.kernel", "rootfs.target.todo")
        }
        (Some(true), Some(Some(false))) => ("mnt.target.file", "mnt.target.todo"),
        (Some(false), Some(Some(true))) => ("mnt.target.directory", "mnt.target.todo"),
        (_, Some(None)) if !site.is_throw_away() => ("mnt.target.missing", "mnt.missing.todo"),
        _ => return source,
    };
    site.refuse(what, text(why), todo);
    None
}

/// A mount there could stand in for the kernel's own files, to which programs (also ours) write.
fn is_kernels(inside: &Path) -> bool {
    inside.starts_with("/proc") || inside.starts_with("/sys") || inside == Path::new("/dev")
}
