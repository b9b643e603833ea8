//! The capability sets of this process: capset(2), prctl(2). `caps` reads capabilities wherever this program needs them. The
//! three calls here are made without it:
//!
//! - Its errors are texts without an errno, and a step that fails is explained by its errno.
//! - It writes one set at a time, with a capget(2) before each capset(2). The plan prints one capset(2), and makes one.
//! - It drops only the capabilities that it has a name for. A newer kernel has more, and they must be dropped too.

use nix::errno::Errno;

/// _LINUX_CAPABILITY_VERSION_3: two halves of 32 bits.
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

/// Takes one out of the bounding set, for good.
///
/// # Errors
/// EPERM: no CAP_SETPCAP. EINVAL: the kernel knows no such capability.
pub(crate) fn drop_bounding(capability: u8) -> Result<(), Errno> {
    prctl(libc::PR_CAPBSET_DROP, libc::c_ulong::from(capability))
}

/// Empties the ambient set.
///
/// # Errors
/// EINVAL before Linux 4.3, which has none.
pub(crate) fn clear_ambient() -> Result<(), Errno> {
    prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL as libc::c_ulong)
}

/// Makes the effective and the permitted set these, bit N for capability N, and the inheritable set empty.
///
/// # Errors
/// EPERM: one of them isn't permitted already.
pub(crate) fn set(capabilities: u64) -> Result<(), Errno> {
    let header = Header { version: VERSION, pid: 0 };
    let half = |bits: u64| Half { effective: bits as u32, permitted: bits as u32, inheritable: 0 };
    let sets = [half(capabilities), half(capabilities >> 32)];
    // SAFETY: with this version the kernel reads a header and two halves, which live here; pid 0 is the caller alone.
    Errno::result(unsafe { libc::syscall(libc::SYS_capset, &raw const header, sets.as_ptr()) }).map(|_| ())
}

fn prctl(option: libc::c_int, argument: libc::c_ulong) -> Result<(), Errno> {
    const NONE: libc::c_ulong = 0;
    // SAFETY: the two options used here take numbers and touch no memory of ours.
    Errno::result(unsafe { libc::prctl(option, argument, NONE, NONE, NONE) }).map(|_| ())
}
