//! seccomp(2), as far as installing a filter. Neither nix nor rustix wraps it.

use nix::errno::Errno;

/// struct sock_fprog.
#[repr(C)]
struct Program {
    length: libc::c_ushort,
    filter: *const u64,
}

/// Has the kernel ask this program before each system call of this process and of all that it makes. Each word is one
/// instruction, a struct sock_filter as it lies in memory. It can't be taken off.
///
/// # Errors
/// EACCES: neither no_new_privs nor CAP_SYS_ADMIN. EINVAL: no program that the kernel takes. ENOSYS before Linux 3.17.
pub(crate) fn install(instructions: &[u64]) -> Result<(), Errno> {
    let program = Program {
        length: instructions.len().try_into().map_err(|_| Errno::EINVAL)?,
        filter: instructions.as_ptr(),
    };
    // SAFETY: the kernel reads `length` words of eight bytes, which outlive the call, and checks them before it keeps them.
    let installed =
        unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0_u32, &raw const program) };
    Errno::result(installed).map(|_| ())
}
