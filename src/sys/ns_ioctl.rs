//! ioctl_nsfs(2): relations between namespaces. Neither nix nor rustix wraps these calls.

use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

use nix::errno::Errno;
use nix::request_code_none;

const NSIO: u8 = 0xb7;
const NS_GET_USERNS: u8 = 1;
const NS_GET_PARENT: u8 = 2;
const NS_GET_NSTYPE: u8 = 3;
const NS_GET_OWNER_UID: u8 = 4;

/// The user namespace that owns a namespace. For a user namespace, its parent.
///
/// # Errors
/// EPERM: it is not in the caller's user namespace or below it, or there is none.
pub(crate) fn owner(namespace: impl AsFd) -> Result<OwnedFd, Errno> {
    related(namespace, NS_GET_USERNS)
}

/// The parent of a PID namespace or user namespace.
///
/// # Errors
/// EPERM: it is outside of the caller's namespace, or there is none. EINVAL: this kind of namespace has no parent.
pub(crate) fn parent(namespace: impl AsFd) -> Result<OwnedFd, Errno> {
    related(namespace, NS_GET_PARENT)
}

/// The kind of a namespace, as the flag CLONE_NEW* of clone(2).
///
/// # Errors
/// ENOTTY: the file is no namespace, or this is a kernel before 4.11.
pub(crate) fn kind(namespace: impl AsFd) -> Result<i32, Errno> {
    let request = request_code_none!(NSIO, NS_GET_NSTYPE);
    // SAFETY: the request takes no argument and accesses no memory of this process.
    Errno::result(unsafe { libc::ioctl(namespace.as_fd().as_raw_fd(), request as _) })
}

/// The owner of a user namespace: the ID of the user who made it, as the caller's user namespace maps it.
///
/// # Errors
/// EINVAL: not a user namespace. ENOTTY: a kernel before 4.11.
pub(crate) fn owner_uid(namespace: impl AsFd) -> Result<u32, Errno> {
    let mut uid: libc::uid_t = 0;
    let request = request_code_none!(NSIO, NS_GET_OWNER_UID);
    // SAFETY: the kernel writes one uid_t through the pointer, which lives through the call. A descriptor that is not
    // one of a namespace gives ENOTTY, and nothing is written.
    Errno::result(unsafe { libc::ioctl(namespace.as_fd().as_raw_fd(), request as _, &raw mut uid) })?;
    Ok(uid)
}

fn related(namespace: impl AsFd, number: u8) -> Result<OwnedFd, Errno> {
    let request = request_code_none!(NSIO, number);
    // SAFETY: these requests take no argument and access no memory of this process.
    let descriptor = Errno::result(unsafe { libc::ioctl(namespace.as_fd().as_raw_fd(), request as _) })?;
    // SAFETY: the kernel has just opened it (close-on-exec) for this process, and no other code knows its number.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}
