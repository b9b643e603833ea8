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

/// Sets the effective and the permitted set to these capabilities, bit N for capability N, and clears the inheritable
/// set.
///
/// # Errors
/// EPERM: one of them is not in the permitted set.
pub(crate) fn set(capabilities: u64) -> Result<(), Errno> {
    let header = Header { version: VERSION, pid: 0 };
    let half = |bits: u64| Half { effective: bits as u32, permitted: bits as u32, inheritable: 0 };
    let sets = [half(capabilities), half(capabilities >> 32)];
    // SAFETY: with this version the kernel reads a header and two halves, which live here. PID 0 means only the calling
    // thread.
    Errno::result(unsafe { libc::syscall(libc::SYS_capset, &raw const header, sets.as_ptr()) }).map(|_| ())
}

fn prctl(option: libc::c_int, argument: libc::c_ulong) -> Result<(), Errno> {
    const NONE: libc::c_ulong = 0;
    // SAFETY: the two options used here take numbers and access no memory of this process.
    Errno::result(unsafe { libc::prctl(option, argument, NONE, NONE, NONE) }).map(|_| ())
}
