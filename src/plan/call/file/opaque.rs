//! The two attributes of an opaque directory. overlayfs writes and reads `trusted.overlay.opaque`, or with the option
//! `userxattr`, which a user namespace needs, `user.overlay.opaque`. With the other option it ignores the attribute, and deleted
//! files come back. So the attributes of an upper directory are copied when the option changes.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use rustix::fs::{
    Dir, FileType, Mode, OFlags, ResolveFlags, XattrFlags, fgetxattr, fsetxattr, lgetxattr, openat2,
};

use crate::error::errno;
use crate::host::resolver::layer::OPAQUE;

/// The attribute of the work directory with the kind of the last run's attributes: `trusted` or `user`.
const KIND: &str = "user.sandbox.overlay";

/// The kind of attributes that an overlay uses.
fn kind(is_user: bool) -> &'static str {
    if is_user { "user" } else { "trusted" }
}

/// Whether the last run that used this work directory had an overlay with attributes of this kind. None: it is not known.
pub fn was_user(work: &Path) -> Option<bool> {
    let mut value = [0; 16];
    let length = lgetxattr(work, KIND, &mut value).ok()?;
    [true, false].into_iter().find(|is_user| kind(*is_user).as_bytes() == &value[..length])
}

/// Gives each opaque directory of `upper` the attribute of this kind, and notes the kind in `work`. No symbolic link is
/// followed: another process may change the directory meanwhile.
pub(super) fn copy(upper: &Path, work: &Path, to_user: bool) -> Result<i64, Errno> {
    let [trusted, user] = OPAQUE;
    let (from, to) = if to_user { (trusted, user) } else { (user, trusted) };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let top = rustix::fs::open(upper, flags, Mode::empty()).map_err(errno)?;
    let mut copied = 0;
    let mut left = vec![PathBuf::from(".")];
    while let Some(path) = left.pop() {
        let directory = open_below(&top, &path)?;
        let mut value = [0; 1];
        if fgetxattr(&directory, from, &mut value).is_ok_and(|length| &value[..length] == b"y") {
            fsetxattr(&directory, to, b"y", XattrFlags::empty()).map_err(errno)?;
            copied += 1;
        }
        for entry in Dir::read_from(&directory).map_err(errno)? {
            let entry = entry.map_err(errno)?;
            let name = entry.file_name().to_bytes();
            if entry.file_type() == FileType::Directory && name != b"." && name != b".." {
                left.push(path.join(std::ffi::OsStr::from_bytes(name)));
            }
        }
    }
    // Without this note, the next run copies again.
    let work = rustix::fs::open(work, flags, Mode::empty()).map_err(errno)?;
    let _ = fsetxattr(&work, KIND, kind(to_user).as_bytes(), XattrFlags::empty());
    Ok(copied)
}

fn open_below(top: &OwnedFd, path: &Path) -> Result<OwnedFd, Errno> {
    let how = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat2(top.as_fd(), path, flags, Mode::empty(), how).map_err(errno)
}
