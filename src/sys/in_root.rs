//! Opens a file below a directory that is the root for its path, also where the path has links and `..`.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;

/// The maximum number of attempts.
const ATTEMPTS: usize = 100;

/// Opens a file below `root`. The kernel treats `root` as `/`, whatever links and `..` the path contains. Magic links, those of
/// /proc/PID/fd, could lead out of any root and are refused. openat2(2)
///
/// # Errors
/// Those of openat2(2). EAGAIN: something was renamed or mounted at each attempt, so the kernel cannot know whether `..` led
/// out.
pub(crate) fn open(root: impl AsFd, path: impl AsRef<Path>, flags: OFlags) -> Result<OwnedFd, Errno> {
    open_by(root, path, flags, ResolveFlags::NO_MAGICLINKS)
}

/// As [`open`], with these rules for the path besides: for example NO_SYMLINKS. openat2(2)
///
/// # Errors
/// Those of openat2(2). EAGAIN: also if the rules have CACHED, and the path is not in the kernel's cache.
pub(crate) fn open_by(
    root: impl AsFd,
    path: impl AsRef<Path>,
    flags: OFlags,
    rules: ResolveFlags,
) -> Result<OwnedFd, Errno> {
    let (root, path) = (root.as_fd(), path.as_ref());
    let how = ResolveFlags::IN_ROOT | rules;
    for _ in 0..ATTEMPTS {
        match openat2(root, path, flags | OFlags::CLOEXEC, Mode::empty(), how) {
            Err(Errno::AGAIN) => {}
            found => return found,
        }
    }
    Err(Errno::AGAIN)
}
