//! The capability sets of this process: capset(2), prctl(2). Elsewhere this program reads capabilities with the crate
//! `caps`. The three calls here are made without it, for these reasons:
//!
//! - Its errors are texts without an errno, but a failed step is explained by its errno.
//! - It writes one set at a time, with a capget(2) before each capset(2). The plan shows one capset(2), and makes one.
//! - It drops only the capabilities that it has a name for. A newer kernel may have more, and they must be dropped too.

use nix::errno::Errno;

/// _LINUX_CAPABILITY_VERSION_3: each set is two halves of 32 bits.
const VERSION: u32 = 0x2008_0522;

#[repr(C)]
struct Header {
    version: u32,
    pid: libc::c_int,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Half {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// Drops a capability from the bounding set. This cannot be undone.
///
/// # Errors
/// EPERM: no CAP_SETPCAP. EINVAL: the kernel does not know this capability.
pub(crate) fn drop_bounding(capability: u8) -> Result<(), Errno> {
    prctl(libc::PR_CAPBSET_DROP, libc::c_ulong::from(capability))
}

/// Clears the ambient set.
///
/// # Errors
/// EINVAL: a kernel before 4.3, which has no ambient set.
pub(crate) fn clear_ambient() -> Result<(), Errno> {
    prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL as libc::c_ulong)
}

/// Adds a capability to the ambient set.
///
/// # Errors
/// EPERM: it is not in both the permitted and the inheritable set.
pub(crate) fn raise_ambient(capability: u8) -> Result<(), Errno> {
    let (option, action) = (libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_RAISE as libc::c_ulong);
    // SAFETY: this option takes numbers and accesses no memory of this process.
    Errno::result(unsafe { libc::prctl(option, action, libc::c_ulong::from(capability), 0_usize, 0_usize) })
        .map(|_| ())
}

/// Sets the effective, the permitted and the inheritable set to these capabilities, bit N for capability N.
///
/// # Errors
/// EPERM: one of them is not in the permitted set.
pub(crate) fn set(effective: u64, permitted: u64, inheritable: u64) -> Result<(), Errno> {
    let header = Header { version: VERSION, pid: 0 };
    let half = |shift: u32| Half {
        effective: (effective >> shift) as u32,
        permitted: (permitted >> shift) as u32,
        inheritable: (inheritable >> shift) as u32,
    };
    let sets = [half(0), half(32)];
    // SAFETY: with this version the kernel reads a header and two halves, which live here. PID 0 means only the calling
    // thread.
    Errno::result(unsafe { libc::syscall(libc::SYS_capset, &raw const header, sets.as_ptr()) }).map(|_| ())
}

fn prctl(option: libc::c_int, argument: libc::c_ulong) -> Result<(), Errno> {
    const NONE: libc::c_ulong = 0;
    // SAFETY: the two options used here take numbers and access no memory of this process.
    Errno::result(unsafe { libc::prctl(option, argument, NONE, NONE, NONE) }).map(|_| ())
}
