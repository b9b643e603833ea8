//! The init layer: an additional lower directory above the given ones, with the mount points that a container needs.
//!
//! A mount point must exist before something is mounted on it. If it were made in the root itself, it would be written to the
//! upper directory, and stay there when that is kept. So it is made in this layer, which is on a tmpfs. The overlay merges it
//! with the layers below: a file of it hides a symbolic link or a directory of the same name there.
//!
//! What you see: after a run, a kept upper directory has exactly what the command has written.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::RootDraft;
use crate::host::resolver::layer::{LayerEntry, look};
use crate::plan::call::detached::DetachedMountCall;
use crate::plan::order::Phase;
use crate::plan::slots::Held;

/// The directory of the init layer in `<layer>`.
pub(super) const DIRECTORY: &str = "init";

/// Where a path of the container is in `<layer>`.
fn inside(path: &Path) -> PathBuf {
    Path::new(DIRECTORY).join(path.strip_prefix("/").unwrap_or(path))
}

/// Adds a step that comes before the overlay is made.
fn step(root: &mut RootDraft<'_>, call: DetachedMountCall) {
    let phase = std::mem::replace(&mut root.phase, Phase::Layers);
    root.step(call, "rootfs.initlayer.why");
    root.phase = phase;
}

/// Makes a directory of the init layer, with those above it. If a lower directory has one of them, the new one gets its owner
/// and its mode: of merged directories, the topmost one decides. The path has no symbolic links.
pub(super) fn directory(root: &mut RootDraft<'_>, path: &Path, mode: u32) {
    let mut above: Vec<PathBuf> = path.ancestors().map(Path::to_owned).collect();
    above.reverse();
    for one in above {
        if one.parent().is_none() || !root.init.insert(one.clone()) {
            continue;
        }
        let (at, place) = (Held::Layer, inside(&one));
        let call = match lower_with(root, &one) {
            Some((_, found)) if is_makers(root, &found) => {
                DetachedMountCall::MakeDirectory { at, path: place, mode: found.mode() & 0o7777 }
            }
            Some((of, _)) => {
                let like = one.strip_prefix("/").unwrap_or(&one).to_owned();
                DetachedMountCall::CopyDirectory { at, path: place, of, like }
            }
            None => {
                let mode = if one == path { mode } else { 0o755 };
                DetachedMountCall::MakeDirectory { at, path: place, mode }
            }
        };
        step(root, call);
    }
}

/// Makes a mount point in `/` of the container that is always covered, so its owner does not matter.
pub(super) fn covered(root: &mut RootDraft<'_>, name: &str, mode: u32) {
    let path = Path::new("/").join(name);
    step(root, DetachedMountCall::MakeDirectory { at: Held::Layer, path: inside(&path), mode });
    root.init.insert(path);
}

/// Makes an empty file of the init layer, with the directories above it.
pub(super) fn file(root: &mut RootDraft<'_>, path: &Path) {
    if let Some(above) = path.parent() {
        directory(root, above, 0o755);
    }
    if root.init.insert(path.to_owned()) {
        let content = std::ffi::OsString::new();
        step(root, DetachedMountCall::MakeFile { at: Held::Layer, path: inside(path), content });
    }
}

/// Whether the process that makes the layer is the owner of a file in a lower directory.
fn is_makers(root: &RootDraft<'_>, found: &Metadata) -> bool {
    (found.uid(), found.gid()) == if root.is_privileged() { (0, 0) } else { (root.host.uid, root.host.gid) }
}

/// The topmost lower directory that shows a directory at this path, and what is known of that.
fn lower_with(root: &RootDraft<'_>, path: &Path) -> Option<(Held, Metadata)> {
    let path = path.strip_prefix("/").unwrap_or(path);
    for (index, lower) in (0..).zip(&root.layers?.lowers) {
        match look(lower, path) {
            LayerEntry::File => {
                let found = lower.join(path).symlink_metadata().ok()?;
                return found.is_dir().then_some((Held::Lower(index), found));
            }
            LayerEntry::Hidden => return None,
            LayerEntry::None => {}
        }
    }
    None
}

/// The path in the kept upper directory for a path of the container, if the upper directory hides what the init layer has there:
/// a directory above it was made there, replaced or removed.
pub(super) fn hiding_upper(root: &RootDraft<'_>, path: &Path) -> Option<PathBuf> {
    let upper = root.layers.as_ref()?.upper.as_ref()?;
    let path = path.strip_prefix("/").unwrap_or(path);
    (!root.resolver.is_in_mount(&Path::new("/").join(path)) && look(upper, path) == LayerEntry::Hidden)
        .then(|| upper.join(path))
}
