//! Files in a directory tree, named by a descriptor of the tree and a path in it. The tree may be hostile: no path of
//! it is followed to a file outside of it.

use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::AtFlags;
use nix::sched::CloneFlags;
use nix::sys::stat::{FchmodatFlags, Mode};
use rustix::fs::{OFlags, ResolveFlags, openat2};
use rustix::mount::{MoveMountFlags, OpenTreeFlags};

use crate::error::errno;
use crate::sys::in_root;

/// Opens a file of the tree, whose root is `/` for every link and `..` in the path.
pub(super) fn find(tree: BorrowedFd<'_>, path: &Path) -> Result<OwnedFd, Errno> {
    in_root::open(tree, path, OFlags::PATH).map_err(errno)
}

/// Opens a file of /proc or /sys. None if this kernel does not have it. Any other error is reported: a file that should
/// be masked must not stay visible because it could not be opened. No symbolic link is followed.
pub(super) fn find_kernels(tree: BorrowedFd<'_>, path: &Path) -> Result<Option<OwnedFd>, Errno> {
    let how = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    match openat2(tree, path, OFlags::PATH | OFlags::CLOEXEC, rustix::fs::Mode::empty(), how) {
        Ok(found) => Ok(Some(found)),
        Err(rustix::io::Errno::NOENT) => Ok(None),
        Err(error) => Err(errno(error)),
    }
}

/// Calls `make` with the parent directory of `path` and the last name of `path`. The parent of a single name is the
/// tree itself.
pub(super) fn in_parent<T>(
    tree: BorrowedFd<'_>,
    path: &Path,
    make: impl FnOnce(BorrowedFd<'_>, &OsStr) -> Result<T, Errno>,
) -> Result<T, Errno> {
    match split(path) {
        (Some(directory), name) => make(find(tree, directory)?.as_fd(), name),
        (None, name) => make(tree, name),
    }
}

/// The directory of a path in a tree, if it is not the tree itself, and the last name.
pub(super) fn split(path: &Path) -> (Option<&Path>, &OsStr) {
    let path = path.strip_prefix("/").unwrap_or(path);
    let directory = path.parent().filter(|directory| !directory.as_os_str().is_empty());
    (directory, path.file_name().unwrap_or(path.as_os_str()))
}

/// A detached copy of a mount, with this file or directory as its root. With `below`, the mounts below are copied too.
pub(super) fn clone_of(what: BorrowedFd<'_>, below: bool) -> Result<OwnedFd, Errno> {
    let below = if below { OpenTreeFlags::AT_RECURSIVE } else { OpenTreeFlags::empty() };
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    rustix::mount::open_tree(what, "", flags | OpenTreeFlags::AT_EMPTY_PATH | below).map_err(errno)
}

/// A detached copy of a mount in the mount namespace of a process.
///
/// # Errors
/// ESRCH: the process is not in the IPC namespace of this one, so another process may have got its PID.
pub(super) fn clone_joined(pid: i32, path: &Path) -> Result<OwnedFd, Errno> {
    let open = |path: &str, flags| {
        rustix::fs::open(path, flags | OFlags::CLOEXEC, rustix::fs::Mode::empty()).map_err(errno)
    };
    let namespace = |process: &str, kind: &str| open(&format!("/proc/{process}/ns/{kind}"), OFlags::RDONLY);
    let which =
        |namespace: OwnedFd| nix::sys::stat::fstat(&namespace).map(|found| (found.st_dev, found.st_ino));
    let process = pid.to_string();
    let other = namespace(&process, "mnt")?;
    if which(namespace(&process, "ipc")?)? != which(namespace("self", "ipc")?)? {
        return Err(Errno::ESRCH);
    }
    // setns(2) changes the root directory and the working directory too.
    let (own, root, directory) =
        (namespace("self", "mnt")?, open("/", OFlags::PATH)?, open(".", OFlags::PATH)?);
    nix::sched::setns(&other, CloneFlags::CLONE_NEWNS)?;
    let copied = copy_here(path);
    nix::sched::setns(&own, CloneFlags::CLONE_NEWNS)?;
    nix::unistd::fchdir(&root)?;
    nix::unistd::chroot(".")?;
    nix::unistd::fchdir(&directory)?;
    copied
}

/// A detached copy of the mount on a path of this mount namespace. The path may be hostile: no link is followed.
fn copy_here(path: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let found = openat2(rustix::fs::CWD, path, flags, rustix::fs::Mode::empty(), ResolveFlags::NO_SYMLINKS);
    let found = found.map_err(errno)?;
    match nix::sys::statfs::fstatfs(&found)?.filesystem_type() {
        nix::sys::statfs::TMPFS_MAGIC => clone_of(found.as_fd(), false),
        _ => Err(Errno::ENODEV),
    }
}

/// The call of [`clone_of`] as text.
pub(super) fn open_tree_text(what: &str, below: bool) -> String {
    let below = if below { "|AT_RECURSIVE" } else { "" };
    format!("open_tree({what}, \"\", OPEN_TREE_CLONE|OPEN_TREE_CLOEXEC|AT_EMPTY_PATH{below})")
}

/// Attaches a mount to a file or directory.
pub(super) fn attach(mount: BorrowedFd<'_>, place: BorrowedFd<'_>) -> Result<(), Errno> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    rustix::mount::move_mount(mount, "", place, "", flags).map_err(errno)
}

/// Makes an empty directory with the owner and the mode of `like`. An owner that the user namespace does not map cannot be
/// given to a new directory, which then belongs to its maker.
pub(super) fn copy_directory(
    parent: BorrowedFd<'_>,
    name: &OsStr,
    like: BorrowedFd<'_>,
) -> Result<i64, Errno> {
    let found = nix::sys::stat::fstat(like)?;
    nix::sys::stat::mkdirat(parent, name, Mode::S_IRWXU)?;
    let (user, group) = (found.st_uid.into(), found.st_gid.into());
    match nix::unistd::fchownat(parent, name, Some(user), Some(group), AtFlags::AT_SYMLINK_NOFOLLOW) {
        Ok(()) | Err(Errno::EINVAL | Errno::EPERM) => {}
        Err(errno) => return Err(errno),
    }
    // After fchownat(2), which clears the set-user-ID and set-group-ID bits.
    let mode = Mode::from_bits_truncate(found.st_mode);
    nix::sys::stat::fchmodat(parent, name, mode, FchmodatFlags::FollowSymlink)?;
    Ok(0)
}

/// Makes an empty file that does not exist yet.
pub(super) fn make_file(parent: BorrowedFd<'_>, name: &OsStr) -> Result<File, Errno> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mode = rustix::fs::Mode::from_raw_mode(0o644);
    let mut file = None;
    unmasked(|| {
        file = Some(rustix::fs::openat(parent, name, flags, mode).map_err(errno)?);
        Ok(())
    })?;
    file.map(File::from).ok_or(Errno::EBADF)
}

/// Makes an empty directory or file, unless there is something of that name.
pub(super) fn make_place(parent: BorrowedFd<'_>, name: &OsStr, directory: bool) -> Result<i64, Errno> {
    let made = match directory {
        true => unmasked(|| nix::sys::stat::mkdirat(parent, name, Mode::from_bits_truncate(0o755))),
        false => make_file(parent, name).map(|_| 0),
    };
    if made == Err(Errno::EEXIST) { Ok(0) } else { made }
}

/// Calls `make` with an empty umask, so that a new file gets the mode that it was given. chmod(2) afterwards would have
/// to look up the file a second time. A process that performs a plan has no other thread that makes files or starts programs.
pub(super) fn unmasked(make: impl FnOnce() -> Result<(), Errno>) -> Result<i64, Errno> {
    let mask = nix::sys::stat::umask(Mode::empty());
    let made = make();
    nix::sys::stat::umask(mask);
    made.map(|()| 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A root directory as a hostile image may have it, with links to a directory outside: absolute, relative and by
    /// /proc.
    fn hostile() -> (tempfile::TempDir, OwnedFd) {
        let directory = tempfile::tempdir().unwrap();
        let outside = directory.path().join("outside");
        let root = directory.path().join("root");
        std::fs::create_dir_all(&outside).unwrap();
        std::fs::create_dir(&root).unwrap();
        std::os::unix::fs::symlink(&outside, root.join("absolute")).unwrap();
        std::os::unix::fs::symlink("../outside", root.join("relative")).unwrap();
        std::os::unix::fs::symlink("/proc/self/root", root.join("magic")).unwrap();
        let root = rustix::fs::open(&root, OFlags::PATH, rustix::fs::Mode::empty()).unwrap();
        (directory, root)
    }

    #[test]
    fn no_link_leads_out_of_a_tree() {
        let (directory, root) = hostile();
        assert!(directory.path().join("root/absolute").is_dir(), "a path of the host follows the link");
        for link in ["absolute", "relative", "magic", "../outside"] {
            assert_eq!(find(root.as_fd(), Path::new(link)).map(|_| ()), Err(Errno::ENOENT), "{link}");
            let made = in_parent(root.as_fd(), &Path::new(link).join("x"), |_, _| Ok(()));
            assert_eq!(made, Err(Errno::ENOENT), "{link}");
        }
        assert!(find(root.as_fd(), Path::new("/")).is_ok());
    }
}
