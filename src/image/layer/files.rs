//! Small parts of unpacking: how files are opened and marked, which attributes they get, and what goes wrong.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{
    AtFlags, Mode, OFlags, Timespec, Timestamps, XattrFlags, fgetxattr, flistxattr, fremovexattr, fsetxattr,
    openat, statat, unlinkat,
};
use rustix::io::Errno;

use super::merged::{LayerPath, OPAQUE, is_whiteout};
use crate::error::errno_text;
use crate::image::entries::{Unreadable, printed_bytes};
use crate::text::{text, text_with};

/// The beginning of a name that means that a file is deleted.
pub(super) const WHITEOUT: &[u8] = b".wh.";

/// The attributes that a file gets. `overlay.*` would change what an overlay shows, and the others belong to the host:
/// its security modules, and the identity mapping of NFS.
pub(super) fn is_kept(name: &[u8]) -> bool {
    let of_overlay = name.starts_with(b"user.overlay.");
    (name.starts_with(b"user.") && !of_overlay)
        || [&b"security.capability"[..], b"system.posix_acl_access", b"system.posix_acl_default"]
            .contains(&name)
}

/// The attribute of a file or directory whose owner the user namespace does not map: `UID:GID`. An overlay shows no attribute of this
/// beginning, and no container can write one.
const OWNER: &str = "user.overlay.sandbox.owner";

/// Notes the owner that a file cannot get. Where the filesystem has no attributes, the owner is lost.
pub(super) fn note_owner(file: impl AsFd, uid: u32, gid: u32) {
    let _ = fsetxattr(file, OWNER, format!("{uid}:{gid}").as_bytes(), XattrFlags::empty());
}

/// Forgets such a note: the directory has got the owner that its entry names.
pub(super) fn forget_owner(directory: impl AsFd) {
    let _ = fremovexattr(directory, OWNER);
}

/// The owner that a file could not get.
pub(super) fn noted_owner(file: impl AsFd) -> Option<(u32, u32)> {
    let mut value = [0; 32];
    let length = fgetxattr(file, OWNER, &mut value).ok()?;
    let (uid, gid) = std::str::from_utf8(value.get(..length)?).ok()?.split_once(':')?;
    Some((uid.parse().ok()?, gid.parse().ok()?))
}

/// Copies the attributes that a file may have. Returns how many could not be copied.
pub(super) fn copy_attributes(from: impl AsFd, to: impl AsFd) -> Result<u64, Errno> {
    let mut names = vec![0; MAX_ATTRIBUTE];
    let length = match flistxattr(&from, &mut names) {
        // The filesystem has none.
        Err(Errno::OPNOTSUPP) => 0,
        length => length?,
    };
    let mut value = vec![0; MAX_ATTRIBUTE];
    let mut lost = 0;
    for name in names[..length].split(|byte| *byte == 0).filter(|name| is_kept(name)) {
        let name = OsStr::from_bytes(name);
        let copied = fgetxattr(&from, name, &mut value)
            .and_then(|length| fsetxattr(&to, name, &value[..length], XattrFlags::empty()));
        match copied {
            Err(Errno::OPNOTSUPP | Errno::PERM | Errno::INVAL) => lost += 1,
            copied => copied?,
        }
    }
    Ok(lost)
}

/// The name and the value of an extended attribute.
type Attribute = (Vec<u8>, Vec<u8>);

/// The extended attributes that belong to a file, in the order of their names.
///
/// # Errors
/// Those of flistxattr(2) and fgetxattr(2).
pub fn attributes(file: &OwnedFd) -> Result<Vec<Attribute>, Errno> {
    let mut list = vec![0; MAX_ATTRIBUTE];
    let length = match flistxattr(file, &mut list) {
        Err(Errno::NOTSUP) => 0,
        length => length?,
    };
    let names: BTreeSet<&[u8]> =
        list[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty() && is_kept(name)).collect();
    let mut all = Vec::new();
    for name in names {
        let mut value = vec![0; MAX_ATTRIBUTE];
        let length = fgetxattr(file, name, &mut value)?;
        value.truncate(length);
        all.push((name.to_vec(), value));
    }
    Ok(all)
}

/// The maximum size of an attribute, and of the list of their names, in bytes: XATTR_SIZE_MAX, XATTR_LIST_MAX.
const MAX_ATTRIBUTE: usize = 64 << 10;

pub(super) fn new_file(directory: &OwnedFd, name: &OsStr) -> Result<File, Errno> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(directory, name, flags, Mode::RUSR | Mode::WUSR).map(File::from)
}

pub(super) fn times((tv_sec, nanoseconds): (i64, u32)) -> Timestamps {
    let time = Timespec { tv_sec, tv_nsec: nanoseconds.into() };
    Timestamps { last_access: time, last_modification: time }
}

/// Marks a directory as one that hides what lower layers have in it: for an overlay in a user namespace, and for any
/// other.
pub(super) fn mark_opaque(directory: &OwnedFd) -> Result<(), Errno> {
    let [of_users, of_root] = OPAQUE;
    fsetxattr(directory, of_users, b"y", XattrFlags::empty())?;
    match fsetxattr(directory, of_root, b"y", XattrFlags::empty()) {
        // Only root may write it, and only root's overlays need it.
        Err(Errno::PERM) => Ok(()),
        done => done,
    }
}

/// Removes the mark of a deleted file, if there is one.
pub(super) fn unlink_whiteout(layer: &OwnedFd, path: &LayerPath) -> Result<bool, Errno> {
    let own = statat(layer, path.as_os_str(), AtFlags::SYMLINK_NOFOLLOW)?;
    if !is_whiteout(&own) {
        return Ok(false);
    }
    unlinkat(layer, path.as_os_str(), AtFlags::empty())?;
    Ok(true)
}

/// The parts of a path in an archive. An absolute path begins at the root of the image.
pub(super) fn parts(path: &[u8], is_layer: bool) -> Result<Vec<&[u8]>, Unreadable> {
    if path.contains(&0) {
        return Err(wrong("image.tar.null", path));
    }
    let parts: Vec<&[u8]> =
        path.split(|byte| *byte == b'/').filter(|part| !matches!(*part, b"" | b".")).collect();
    if parts.contains(&&b".."[..]) {
        return Err(wrong("image.tar.dots", path));
    }
    // The directories of a path are never marks of deleted files.
    let above = parts.split_last().map_or(&[][..], |(_, above)| above);
    if is_layer && above.iter().any(|part| part.starts_with(WHITEOUT)) {
        return Err(wrong("image.tar.whiteout", path));
    }
    Ok(parts)
}

pub(super) fn wrong(key: &str, entry: &[u8]) -> Unreadable {
    Unreadable(text_with(key, &[("entry", &printed_bytes(entry))]))
}

pub(super) fn failed(entry: &[u8], errno: Errno) -> Unreadable {
    io_failed(entry, &errno.into())
}

pub(super) fn io_failed(entry: &[u8], error: &io::Error) -> Unreadable {
    let errno = error.raw_os_error().map(nix::errno::Errno::from_raw);
    let why = match errno {
        Some(nix::errno::Errno::ELOOP) => text("image.tar.loop"),
        Some(errno) => errno_text(errno),
        None => error.to_string(),
    };
    Unreadable(text_with("image.tar.entry", &[("entry", &printed_bytes(entry)), ("why", &why)]))
}
