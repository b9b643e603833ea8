//! The only `unsafe` code of the project. Most of it calls system calls that neither nix nor rustix wraps, and gives
//! each of them a safe function.

pub(crate) mod bpf;
pub(crate) mod capability;
pub(crate) mod clone;
pub(crate) mod descriptors;
#[cfg(feature = "daemon")]
pub(crate) mod heap;
pub(crate) mod image;
pub(crate) mod in_root;
pub(crate) mod link;
pub(crate) mod mount;
pub(crate) mod netlink;
pub(crate) mod nftables;
pub(crate) mod ns_ioctl;
pub(crate) mod program;
pub(crate) mod queue;
pub(crate) mod sealed;
pub(crate) mod seccomp;
pub(crate) mod session;
pub(crate) mod shared;
pub(crate) mod signal;
pub(crate) mod sysv;
pub(crate) mod wait;
pub(crate) mod zone;

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;

/// Takes ownership of a descriptor that this process has just received (SCM_RIGHTS).
pub(crate) fn adopt(descriptor: RawFd) -> OwnedFd {
    // SAFETY: recvmsg(2) has just opened it for this process, and no other code knows its number.
    unsafe { OwnedFd::from_raw_fd(descriptor) }
}

/// A descriptor of which only the number is known: one call of a demonstration opened it, and later ones use it.
///
/// # Errors
/// EBADF: the number is negative.
pub(crate) fn borrow(descriptor: RawFd) -> Result<BorrowedFd<'static>, Errno> {
    if descriptor < 0 {
        return Err(Errno::EBADF);
    }
    // SAFETY: an agent never closes what it has opened, until it ends. A number that was never open gives EBADF.
    Ok(unsafe { BorrowedFd::borrow_raw(descriptor) })
}

/// Whether the kernel started this program with more privileges than its caller had: it is set-user-ID, set-group-ID or
/// has file capabilities, or the caller's real and effective IDs differ. AT_SECURE of getauxval(3)
pub(crate) fn is_secure_execution() -> bool {
    // SAFETY: it reads a value that the kernel passed to this program.
    unsafe { libc::getauxval(libc::AT_SECURE) != 0 }
}

/// Marks every descriptor from `first` on as close-on-exec: close_range(2) with CLOSE_RANGE_CLOEXEC.
///
/// Before Linux 5.11 the call or its flag is missing. Then each descriptor that is listed in /proc/self/fd is marked.
pub(crate) fn close_on_exec_from(first: libc::c_uint) -> Result<(), Errno> {
    // SAFETY: it marks descriptors and closes none, so no owner in this process loses one.
    let done =
        unsafe { libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    match Errno::result(done) {
        Err(Errno::ENOSYS | Errno::EINVAL) => {
            let listed = std::fs::read_dir("/proc/self/fd").map_err(|_| Errno::ENOSYS)?;
            for number in
                listed.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<RawFd>().ok())
            {
                if number >= first as RawFd {
                    // SAFETY: F_SETFD changes a flag of a descriptor. A number that is not open gives EBADF, which does
                    // no harm.
                    unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) };
                }
            }
            Ok(())
        }
        done => done.map(|_| ()),
    }
}

/// Closes each descriptor from 3 on but these. They are found in /proc/self/fd.
///
/// For a process that never uses, and never drops, the owner of another descriptor: it ends by execve(2) or _exit(2).
///
/// # Errors
/// Those of opening /proc/self/fd.
pub(crate) fn close_others(kept: &[RawFd]) -> Result<(), Errno> {
    let listed = std::fs::read_dir("/proc/self/fd")
        .map_err(|error| error.raw_os_error().map_or(Errno::EIO, Errno::from_raw))?;
    let open: Vec<RawFd> =
        listed.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    for number in open.into_iter().filter(|number| *number > 2 && !kept.contains(number)) {
        // SAFETY: as the caller promises, no code uses the descriptor any more. That of the list is closed already, and
        // gives EBADF.
        unsafe { libc::close(number) };
    }
    Ok(())
}

/// Whether a descriptor stays open through execve(2): it is open and not marked FD_CLOEXEC. fcntl(2)
pub(crate) fn is_kept_by_exec(descriptor: RawFd) -> bool {
    // SAFETY: it only reads flags. A number that is not open gives -1.
    let flags = unsafe { libc::fcntl(descriptor, libc::F_GETFD) };
    flags >= 0 && flags & libc::FD_CLOEXEC == 0
}

/// Closes every descriptor from `first` on, for a process that no longer uses any. Before Linux 5.9 it closes none.
pub(crate) fn close_from(first: libc::c_uint) {
    // SAFETY: only init calls this. From here on it opens, reads and writes nothing, and it ends by _exit(2). So no
    // owner of a descriptor uses or drops it.
    unsafe { libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, 0) };
}

/// Closes every descriptor except these, for a process that no longer uses any other. Before Linux 5.9 it closes none.
pub(crate) fn close_all_but(keep: &[RawFd]) {
    let mut keep: Vec<libc::c_uint> = keep.iter().filter_map(|number| u32::try_from(*number).ok()).collect();
    keep.sort_unstable();
    let mut first = 0;
    for end in keep.into_iter().chain([libc::c_uint::MAX]) {
        if first < end {
            // SAFETY: only the relay calls this. From here on it uses and drops no other descriptor, and it ends by
            // _exit(2).
            unsafe { libc::syscall(libc::SYS_close_range, first, end - 1, 0) };
        }
        first = end.saturating_add(1);
    }
}

/// Adds a byte to the input queue of a terminal, as if it had been typed: ioctl_tty(2), TIOCSTI.
///
/// # Errors
/// EIO: dev.tty.legacy_tiocsti is 0. EPERM: it is not this process's controlling terminal, or a seccomp filter denies
/// it.
pub(crate) fn type_into(terminal: &OwnedFd, byte: u8) -> Result<(), Errno> {
    // SAFETY: the kernel reads one byte, which lives here. The descriptor is open.
    let done = unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSTI as _, &raw const byte) };
    Errno::result(done).map(|_| ())
}

/// Ends this process as _exit(2) does. A child has a copy of the host's memory: no destructor may run twice, and no buffer
/// may be written twice.
///
/// A seccomp filter can deny both calls. Then an invalid instruction ends the process by SIGILL. _exit(3) of some C
/// libraries would try the calls for ever.
pub(crate) fn exit(status: i32) -> ! {
    // SAFETY: they only end the process, and the calls have this one argument.
    unsafe {
        libc::syscall(libc::SYS_exit_group, status);
        libc::syscall(libc::SYS_exit, status);
        #[cfg(target_arch = "x86_64")]
        std::arch::asm!("ud2", options(noreturn));
        #[cfg(not(target_arch = "x86_64"))]
        std::arch::asm!("udf #0", options(noreturn));
    }
}
