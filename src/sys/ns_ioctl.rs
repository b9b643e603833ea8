//! ioctl_nsfs(2): how namespaces hang together. Neither nix nor rustix wraps these.

use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

use nix::errno::Errno;
use nix::request_code_none;

const NSIO: u8 = 0xb7;
const NS_GET_USERNS: u8 = 1;
const NS_GET_PARENT: u8 = 2;
const NS_GET_OWNER_UID: u8 = 4;

/// The user namespace that owns a namespace; of a user namespace, its parent.
///
/// # Errors
/// EPERM: it lies above the caller's own user namespace, or there is none above.
pub(crate) fn owner(namespace: impl AsFd) -> Result<OwnedFd, Errno> {
    related(namespace, NS_GET_USERNS)
}

/// The parent of a pid or user namespace.
///
/// # Errors
/// EPERM: it lies outside of what the caller may see, or there is none. EINVAL: this kind has no parents.
pub(crate) fn parent(namespace: impl AsFd) -> Result<OwnedFd, Errno> {
    related(namespace, NS_GET_PARENT)
}

/// Who made a user namespace: their user id, as the caller's user namespace has it.
///
/// # Errors
/// EINVAL: it is no user namespace. ENOTTY: a kernel before 4.11.
pub(crate) fn owner_uid(namespace: impl AsFd) -> Result<u32, Errno> {
    let mut uid: libc::uid_t = 0;
    let request = request_code_none!(NSIO, NS_GET_OWNER_UID);
    // SAFETY: the kernel writes one uid_t through the pointer, which lives through the call; a descriptor that isn't a
    // namespace's gives ENOTTY and nothing is written.
    Errno::result(unsafe { libc::ioctl(namespace.as_fd().as_raw_fd(), request as _, &raw mut uid) })?;
    Ok(uid)
}

fn related(namespace: impl AsFd, number: u8) -> Result<OwnedFd, Errno> {
    let request = request_code_none!(NSIO, number);
    // SAFETY: these requests take no argument and touch no memory of ours.
    let descriptor = Errno::result(unsafe { libc::ioctl(namespace.as_fd().as_raw_fd(), request as _) })?;
    // SAFETY: the kernel has just opened it (close-on-exec) for this caller; no one else knows its number.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}
