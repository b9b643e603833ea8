//! The two attributes of an opaque directory. overlayfs writes and reads `trusted.overlay.opaque`, or with the option
//! `userxattr`, which a user namespace needs, `user.overlay.opaque`. With the other option it ignores the attribute, and deleted
//! files come back. So the attributes of an upper directory are copied when the option changes.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use rustix::fs::{
    Dir, FileType, Mode, OFlags, ResolveFlags, XattrFlags, fgetxattr, fsetxattr, lgetxattr, openat2,
};
use rustix::io::Errno as Gone;

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

/// The maximum depth of a directory in an upper directory. The walk has a descriptor open for each level.
const MAX_DEPTH: usize = 256;

/// The maximum time of the walk. Another process may make directories as fast as the walk finds them, and no signal interrupts it.
const MAX_TIME: Duration = Duration::from_secs(60);

/// Gives each opaque directory of `upper` the attribute of this kind, and notes the kind in `work`. Each directory is opened from
/// the one that contains it, so its path may be longer than PATH_MAX. No symbolic link is followed, and no mount is entered:
/// another process may change the directory meanwhile.
///
/// # Errors
/// ENAMETOOLONG: a directory is deeper than [`MAX_DEPTH`]. ETIMEDOUT: it takes longer than [`MAX_TIME`]. Otherwise those of the
/// calls.
pub(super) fn copy(upper: &Path, work: &Path, to_user: bool) -> Result<i64, Errno> {
    copy_within(MAX_TIME, upper, work, to_user)
}

fn copy_within(most: Duration, upper: &Path, work: &Path, to_user: bool) -> Result<i64, Errno> {
    let start = Instant::now();
    let [trusted, user] = OPAQUE;
    let (from, to) = if to_user { (trusted, user) } else { (user, trusted) };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let how = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    let mut copied = 0;
    let mut enter = |directory: OwnedFd| -> Result<Dir, Errno> {
        let mut value = [0; 1];
        if fgetxattr(&directory, from, &mut value).is_ok_and(|length| &value[..length] == b"y") {
            fsetxattr(&directory, to, b"y", XattrFlags::empty()).map_err(errno)?;
            copied += 1;
        }
        Dir::new(directory).map_err(errno)
    };
    let top = rustix::fs::open(upper, flags, Mode::empty()).map_err(errno)?;
    let mut levels = vec![enter(top)?];
    while let Some(level) = levels.last_mut() {
        if start.elapsed() >= most {
            return Err(Errno::ETIMEDOUT);
        }
        let Some(entry) = level.read() else {
            levels.pop();
            continue;
        };
        let entry = entry.map_err(errno)?;
        let name = entry.file_name();
        let may_be_directory = matches!(entry.file_type(), FileType::Directory | FileType::Unknown);
        if !may_be_directory || [&b"."[..], b".."].contains(&name.to_bytes()) {
            continue;
        }
        let below = match openat2(level.fd().map_err(errno)?, name, flags, Mode::empty(), how) {
            Ok(below) => below,
            // It has changed, or something is mounted on it.
            Err(Gone::NOENT | Gone::NOTDIR | Gone::LOOP | Gone::XDEV) => continue,
            Err(error) => return Err(errno(error)),
        };
        if levels.len() > MAX_DEPTH {
            return Err(Errno::ENAMETOOLONG);
        }
        levels.push(enter(below)?);
    }
    // Without this note, the next run copies again.
    let work = rustix::fs::open(work, flags, Mode::empty()).map_err(errno)?;
    let _ = fsetxattr(&work, KIND, kind(to_user).as_bytes(), XattrFlags::empty());
    Ok(copied)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use rustix::fs::setxattr;

    use super::*;

    /// A walk that takes too long ends with an error, and leaves no note: the next run walks again.
    #[test]
    fn a_walk_has_a_time_limit() {
        let temporary = tempfile::tempdir().unwrap();
        let (upper, work) = (temporary.path().join("upper"), temporary.path().join("work"));
        fs::create_dir_all(upper.join("a/b")).unwrap();
        fs::create_dir(&work).unwrap();
        let [_, of_user] = OPAQUE;
        assert_eq!(copy_within(Duration::ZERO, &upper, &work, true), Err(Errno::ETIMEDOUT));
        assert_eq!(was_user(&work), None);
        // Not each filesystem has attributes of users.
        if setxattr(&work, of_user, b"y", XattrFlags::empty()).is_ok() {
            assert_eq!(copy_within(MAX_TIME, &upper, &work, true), Ok(0));
            assert_eq!(was_user(&work), Some(true));
        }
    }
}
