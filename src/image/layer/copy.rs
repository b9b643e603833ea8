//! Copies a directory of an image into a new volume: what an overlay of the layers shows there.
//!
//! The layers are applied one after the other, the lowest first: a whiteout removes what a lower layer has copied, and an opaque
//! directory all of it. Every file is opened from the directory that contains it, and no symbolic link is followed. So neither the
//! path of the volume nor a file of the image leads to a file outside.

use std::collections::HashMap;
use std::ffi::{CStr, OsStr};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path};

use rustix::fs::{
    AtFlags, Dir, FileType, Gid, Mode, OFlags, Stat, Uid, chownat, fchmod, fchown, fstat, linkat, mkdirat,
    mknodat, openat, readlinkat, statat, symlinkat, utimensat,
};
use rustix::io::Errno;

use super::files::{copy_attributes, new_file, times};
use super::merged::{LayerPath, is_opaque, is_whiteout, open};
use super::tree;

/// The maximum depth. Each level has two descriptors.
const MAX_DEPTH: usize = 200;

const DIRECTORY: OFlags =
    OFlags::DIRECTORY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC).union(OFlags::RDONLY);

/// Copies what is at a path of the layers, the topmost first, to a directory. The path has no symbolic links.
pub(super) fn copy(volume: &OwnedFd, layers: &[OwnedFd], path: &Path) -> Result<(), Errno> {
    for layer in layers.iter().rev() {
        match find(layer, path)? {
            CopiedPlace::Directory(directory) => VolumeCopy::new(volume).copy(&directory)?,
            CopiedPlace::Hidden => clear(volume)?,
            CopiedPlace::Nothing => {}
            CopiedPlace::HiddenAbove(directory) => {
                clear(volume)?;
                if let Some(directory) = directory {
                    VolumeCopy::new(volume).copy(&directory)?;
                }
            }
        }
    }
    Ok(())
}

/// What a layer has at a path.
enum CopiedPlace {
    Directory(OwnedFd),
    /// It hides what lower layers have.
    Hidden,
    Nothing,
    /// A directory above is opaque.
    HiddenAbove(Option<OwnedFd>),
}

fn find(layer: &OwnedFd, path: &Path) -> Result<CopiedPlace, Errno> {
    let (mut current, mut is_hidden) = (layer.try_clone().map_err(|_| Errno::MFILE)?, false);
    for component in path.components() {
        let Component::Normal(name) = component else { continue };
        let found = match statat(&current, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) if is_hidden => return Ok(CopiedPlace::HiddenAbove(None)),
            Err(Errno::NOENT) => return Ok(CopiedPlace::Nothing),
            found => found?,
        };
        if FileType::from_raw_mode(found.st_mode) != FileType::Directory {
            return Ok(CopiedPlace::Hidden);
        }
        current = openat(&current, name, DIRECTORY, Mode::empty())?;
        is_hidden |= is_opaque(&current);
    }
    Ok(if is_hidden { CopiedPlace::HiddenAbove(Some(current)) } else { CopiedPlace::Directory(current) })
}

/// Removes all that is in a directory.
fn clear(directory: &OwnedFd) -> Result<(), Errno> {
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        if !is_dot(entry.file_name()) {
            tree::remove(directory, OsStr::from_bytes(entry.file_name().to_bytes()))?;
        }
    }
    Ok(())
}

fn is_dot(name: &CStr) -> bool {
    [&b"."[..], b".."].contains(&name.to_bytes())
}

/// The copy of one layer.
struct VolumeCopy<'v> {
    volume: &'v OwnedFd,
    /// Where the files are that have further names, by device and inode.
    linked: HashMap<(u64, u64), LayerPath>,
}

impl VolumeCopy<'_> {
    fn new(volume: &OwnedFd) -> VolumeCopy<'_> {
        VolumeCopy { volume, linked: HashMap::new() }
    }

    /// Applies the layer to what the layers below have made.
    fn copy(mut self, from: &OwnedFd) -> Result<(), Errno> {
        let to = self.volume.try_clone().map_err(|_| Errno::MFILE)?;
        self.apply(from, &to, &LayerPath::default(), 0)
    }

    fn apply(&mut self, from: &OwnedFd, to: &OwnedFd, path: &LayerPath, depth: usize) -> Result<(), Errno> {
        if depth > MAX_DEPTH {
            return Err(Errno::NAMETOOLONG);
        }
        if depth > 0 && is_opaque(from) {
            clear(to)?;
        }
        for entry in Dir::read_from(from)? {
            let entry = entry?;
            let name = entry.file_name();
            if is_dot(name) {
                continue;
            }
            let found = statat(from, name, AtFlags::SYMLINK_NOFOLLOW)?;
            let kind = FileType::from_raw_mode(found.st_mode);
            let bytes = OsStr::from_bytes(name.to_bytes());
            let known = statat(to, name, AtFlags::SYMLINK_NOFOLLOW).ok();
            let is_directory =
                known.is_some_and(|known| FileType::from_raw_mode(known.st_mode) == FileType::Directory);
            if kind == FileType::Directory {
                if !is_directory {
                    tree::remove(to, bytes)?;
                    mkdirat(to, name, Mode::RWXU)?;
                }
                let below = openat(from, name, DIRECTORY, Mode::empty())?;
                let made = openat(to, name, DIRECTORY, Mode::empty())?;
                self.apply(&below, &made, &path.join(name.to_bytes()), depth + 1)?;
                continue;
            }
            tree::remove(to, bytes)?;
            if is_whiteout(&found) {
                continue;
            }
            let id = (found.st_dev, found.st_ino);
            if let Some(first) = self.linked.get(&id) {
                let (above, first) = (first.parent(), first.name());
                let above = open(self.volume, above.as_os_str(), DIRECTORY)?;
                linkat(above, OsStr::from_bytes(first), to, name, AtFlags::empty())?;
                continue;
            }
            match kind {
                FileType::RegularFile => copy_file(from, to, bytes, &found)?,
                FileType::Symlink => {
                    symlinkat(readlinkat(from, name, Vec::new())?, to, name)?;
                    give(chownat(to, name, uid(&found), gid(&found), AtFlags::SYMLINK_NOFOLLOW))?;
                    let _ = utimensat(to, name, &times_of(&found), AtFlags::SYMLINK_NOFOLLOW);
                }
                kind => {
                    if !copy_special(to, name, kind, &found)? {
                        continue;
                    }
                }
            }
            if found.st_nlink > 1 {
                self.linked.insert(id, path.join(name.to_bytes()));
            }
        }
        let like = fstat(from)?;
        give(fchown(to, uid(&like), gid(&like)))?;
        fchmod(to, Mode::from_raw_mode(like.st_mode))?;
        copy_attributes(from, to)?;
        let _ = utimensat(to, "", &times_of(&like), AtFlags::EMPTY_PATH);
        Ok(())
    }
}

/// Makes a FIFO, a socket or a device. Only root may make a device: for any other user, it is left out. Returns whether it was made.
fn copy_special(to: &OwnedFd, name: &CStr, kind: FileType, like: &Stat) -> Result<bool, Errno> {
    // The umask of this process is 0. chmod(2) would follow a link that another container of the volume has put here meanwhile.
    match mknodat(to, name, kind, Mode::from_raw_mode(like.st_mode), like.st_rdev) {
        Err(Errno::PERM) => return Ok(false),
        made => made?,
    }
    give(chownat(to, name, uid(like), gid(like), AtFlags::SYMLINK_NOFOLLOW))?;
    let _ = utimensat(to, name, &times_of(like), AtFlags::SYMLINK_NOFOLLOW);
    Ok(true)
}

fn copy_file(from: &OwnedFd, to: &OwnedFd, name: &OsStr, found: &Stat) -> Result<(), Errno> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let mut source = File::from(openat(from, name, flags, Mode::empty())?);
    let mut target = new_file(to, name)?;
    let errno = |error: io::Error| error.raw_os_error().map_or(Errno::IO, Errno::from_raw_os_error);
    io::copy(&mut source, &mut target).map_err(errno)?;
    give(fchown(&target, uid(found), gid(found)))?;
    fchmod(&target, Mode::from_raw_mode(found.st_mode))?;
    // After the owner: a change of it removes the file capabilities.
    copy_attributes(&source, &target)?;
    let _ = rustix::fs::futimens(&target, &times_of(found));
    Ok(())
}

fn times_of(found: &Stat) -> rustix::fs::Timestamps {
    times((found.st_mtime, found.st_mtime_nsec as u32))
}

fn uid(found: &Stat) -> Option<Uid> {
    Some(Uid::from_raw(found.st_uid))
}

fn gid(found: &Stat) -> Option<Gid> {
    Some(Gid::from_raw(found.st_gid))
}

/// An owner that the user namespace does not map cannot be given.
fn give(result: Result<(), Errno>) -> Result<(), Errno> {
    match result {
        Err(Errno::PERM | Errno::INVAL) => Ok(()),
        result => result,
    }
}
