//! mount_setattr(2), which rustix does not wrap.

use std::os::fd::{AsRawFd, BorrowedFd};

use nix::errno::Errno;

/// struct mount_attr of linux/mount.h, in its first version (Linux 5.12).
#[repr(C)]
struct MountAttr {
    set: u64,
    clear: u64,
    propagation: u64,
    userns: u64,
}

/// Sets attributes (`MOUNT_ATTR_*`) on a mount, given by its descriptor. With `below` the mounts below it get them too:
/// the kernel changes all of them or none. `owner` is the user namespace of MOUNT_ATTR_IDMAP.
///
/// # Errors
/// Those of mount_setattr(2). ENOSYS: a kernel before 5.12.
pub(crate) fn set_attributes(
    mount: BorrowedFd<'_>,
    set: u64,
    below: bool,
    owner: Option<BorrowedFd<'_>>,
) -> Result<(), Errno> {
    let userns = owner.map_or(0, |owner| owner.as_raw_fd() as u64);
    let attributes = MountAttr { set, clear: 0, propagation: 0, userns };
    let flags = libc::AT_EMPTY_PATH | if below { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the path is an empty C string. `attributes` lives through the call, and its size is passed.
    let done = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const attributes,
            size_of::<MountAttr>(),
        )
    };
    Errno::result(done).map(|_| ())
}
