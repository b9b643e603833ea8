//! Where a path leads in the layers of an image or a container.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, readlinkat};
use rustix::io::Errno;

use super::files::failed;
use super::merged::{LayerPath, LayerPlace, Merged, type_of};
use super::{PathPlace, PlaceKind, ReachedPlace};
use crate::image::entries::Unreadable;

/// The maximum number of links at the end of a path, as in the kernel.
const MAX_LINKS: usize = 40;

/// A place that was found before.
pub(super) fn path_of(path: &Path) -> LayerPath {
    let parts = path.as_os_str().as_bytes().split(|byte| *byte == b'/').filter(|part| !part.is_empty());
    parts.fold(LayerPath::default(), |path, part| path.join(part))
}

/// All layers together. None: there is none.
fn merged(layers: &[OwnedFd]) -> Result<Option<Merged>, Errno> {
    let mut copies = Vec::new();
    for layer in layers {
        copies.push(layer.try_clone().map_err(|_| Errno::MFILE)?);
    }
    let mut copies = copies.into_iter();
    Ok(copies.next().map(|layer| Merged::new(layer, copies.collect())))
}

/// What is at each of these paths.
pub(super) fn kinds(layers: &[OwnedFd], paths: &[PathBuf]) -> Result<Vec<PlaceKind>, Unreadable> {
    let merged = merged(layers).map_err(|errno| failed(b"", errno))?;
    let kind = |path: &PathBuf| {
        let Some(merged) = &merged else { return Ok(PlaceKind::Nothing) };
        Ok(match merged.find(&path_of(path))? {
            LayerPlace::Nothing => PlaceKind::Nothing,
            LayerPlace::Here(_, stat) | LayerPlace::Below(_, stat) => match type_of(&stat) {
                FileType::Directory => PlaceKind::Directory,
                _ => PlaceKind::Other,
            },
        })
    };
    paths.iter().map(|path| kind(path).map_err(|errno| failed(path.as_os_str().as_bytes(), errno))).collect()
}

/// Where a path leads. None: a directory of it does not exist.
pub(super) fn place(layers: &[OwnedFd], path: &[u8], follows: bool) -> Result<Option<PathPlace>, Errno> {
    let Some(merged) = merged(layers)? else { return Ok(None) };
    let exists = |_: &LayerPath, place: &LayerPlace| Ok(!matches!(place, LayerPlace::Nothing));
    let as_place = |path: &LayerPath| PathBuf::from(OsStr::from_bytes(path.as_bytes()));
    let mut left = path.to_vec();
    for _ in 0..MAX_LINKS {
        let mut parts: Vec<&[u8]> =
            left.split(|byte| *byte == b'/').filter(|part| !matches!(*part, b"" | b".")).collect();
        let Some(name) = parts.pop().filter(|name| *name != b"..") else {
            // The root, or the directory above another one.
            let whole: Vec<&[u8]> = left.split(|byte| *byte == b'/').collect();
            let found = merged.resolve(&whole, exists)?;
            return Ok(found.map(|path| PathPlace { place: as_place(&path), kind: PlaceKind::Directory }));
        };
        let Some(above) = merged.resolve(&parts, exists)? else { return Ok(None) };
        let path = above.join(name);
        let kind = match merged.find(&path)? {
            LayerPlace::Nothing => PlaceKind::Nothing,
            LayerPlace::Here(file, stat) | LayerPlace::Below(file, stat) => match type_of(&stat) {
                FileType::Directory => PlaceKind::Directory,
                FileType::Symlink if follows => {
                    let target = readlinkat(&file, "", Vec::new())?.into_bytes();
                    left = match target.starts_with(b"/") {
                        true => target,
                        false => [above.as_bytes(), b"/", &target].concat(),
                    };
                    continue;
                }
                _ => PlaceKind::Other,
            },
        };
        return Ok(Some(PathPlace { place: as_place(&path), kind }));
    }
    Err(Errno::LOOP)
}

/// How far a path leads. A link whose target is missing leads to where that would be, as in BuildKit.
pub(super) fn reach(layers: &[OwnedFd], path: &Path) -> Result<ReachedPlace, Errno> {
    let merged = merged(layers)?;
    let split = |path: &[u8]| -> VecDeque<Vec<u8>> {
        let parts = path.split(|byte| *byte == b'/').filter(|part| !matches!(*part, b"" | b"."));
        parts.map(<[u8]>::to_vec).collect()
    };
    let mut left = split(path.as_os_str().as_bytes());
    let (mut at, mut links) = (LayerPath::default(), 0);
    // How many of the last parts do not exist. Below them, nothing is looked for.
    let mut missing: usize = 0;
    while let Some(part) = left.pop_front() {
        if part == b".." {
            at = at.parent();
            missing = missing.saturating_sub(1);
            continue;
        }
        let next = at.join(&part);
        let found = match &merged {
            Some(merged) if missing == 0 => merged.find(&next)?,
            _ => LayerPlace::Nothing,
        };
        match found {
            LayerPlace::Nothing => missing += 1,
            LayerPlace::Here(file, stat) | LayerPlace::Below(file, stat) => match type_of(&stat) {
                FileType::Directory => {}
                FileType::Symlink => {
                    links += 1;
                    if links > MAX_LINKS {
                        return Err(Errno::LOOP);
                    }
                    let target = readlinkat(&file, "", Vec::new())?.into_bytes();
                    if target.starts_with(b"/") {
                        at = LayerPath::default();
                    }
                    split(&target).into_iter().rev().for_each(|part| left.push_front(part));
                    continue;
                }
                _ if left.is_empty() => return Ok(reached(&next, 1, PlaceKind::Other)),
                _ => return Err(Errno::NOTDIR),
            },
        }
        at = next;
    }
    let kind = if missing == 0 { PlaceKind::Directory } else { PlaceKind::Nothing };
    Ok(reached(&at, missing, kind))
}

/// A place of which the last parts are no directories that exist.
fn reached(path: &LayerPath, last: usize, kind: PlaceKind) -> ReachedPlace {
    let parts: Vec<&[u8]> = path.as_bytes().split(|byte| *byte == b'/').collect();
    let (directory, rest) = parts.split_at(parts.len().saturating_sub(last));
    let joined = |parts: &[&[u8]]| PathBuf::from(OsStr::from_bytes(&parts.join(&b'/')));
    ReachedPlace { directory: joined(directory), rest: joined(rest), kind }
}
