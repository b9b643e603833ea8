//! seccomp(2), as far as necessary to install a filter. Neither nix nor rustix wraps it.

use nix::errno::Errno;

/// struct sock_fprog.
#[repr(C)]
struct Program {
    length: libc::c_ushort,
    filter: *const u64,
}

/// Installs a seccomp filter: the kernel runs this program before each system call of this process and of all its later
/// children. Each number is one instruction, a struct sock_filter as it is in memory. A filter cannot be removed. `flags`
/// are SECCOMP_FILTER_FLAG_*.
///
/// # Errors
/// EACCES: neither no_new_privs nor CAP_SYS_ADMIN. EINVAL: the kernel rejects the program. ENOSYS: a kernel before
/// 3.17.
pub(crate) fn install(instructions: &[u64], flags: u64) -> Result<(), Errno> {
    let program = Program {
        length: instructions.len().try_into().map_err(|_| Errno::EINVAL)?,
        filter: instructions.as_ptr(),
    };
    // SAFETY: the kernel reads `length` instructions of 8 bytes, which outlive the call, and checks them before it
    // accepts them.
    let installed =
        unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const program) };
    Errno::result(installed).map(|_| ())
}
