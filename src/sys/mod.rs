//! The only `unsafe` of the project: system calls that neither nix nor rustix wraps, each behind a safe function.

pub(crate) mod bpf;
pub(crate) mod capability;
pub(crate) mod clone;
pub(crate) mod link;
pub(crate) mod mount;
pub(crate) mod netlink;
pub(crate) mod nftables;
pub(crate) mod ns_ioctl;
pub(crate) mod program;
pub(crate) mod queue;
pub(crate) mod sealed;
pub(crate) mod seccomp;
pub(crate) mod sysv;

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::sys::signal::{SigSet, Signal};

/// Takes charge of a descriptor that the kernel has just handed to this process (SCM_RIGHTS).
pub(crate) fn adopt(descriptor: RawFd) -> OwnedFd {
    // SAFETY: recvmsg has just installed it for us and no one else knows its number.
    unsafe { OwnedFd::from_raw_fd(descriptor) }
}

/// A descriptor that is known by its number only: what one call of a demonstration opened and later ones use.
///
/// # Errors
/// EBADF for a number that can be none.
pub(crate) fn borrow(descriptor: RawFd) -> Result<BorrowedFd<'static>, Errno> {
    if descriptor < 0 {
        return Err(Errno::EBADF);
    }
    // SAFETY: an agent never closes what it opened, up to its end; a number that was never open only gives EBADF.
    Ok(unsafe { BorrowedFd::borrow_raw(descriptor) })
}

/// Gives SIGCHLD its default action. A caller may have ignored it, and a process inherits that. The kernel then discards the
/// exit status of each child, and waitpid(2) fails with ECHILD.
pub(crate) fn default_child_signal() {
    // SAFETY: SIG_DFL runs no code of ours.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) };
}

/// Gives every signal its default action, those that the C library keeps for itself too: a caller may have ignored them,
/// and what is ignored stays so through execve(2).
pub(crate) fn default_actions() {
    // The kernel's struct sigaction with SIG_DFL, no flags, no restorer and an empty mask is all zeroes.
    let default = [0_u64; 4];
    for signal in 1..=64 {
        // SAFETY: the kernel reads 32 bytes that live here, and an 8-byte mask is what it expects. The default action runs no
        // code of ours. For SIGKILL and SIGSTOP it answers EINVAL, which is no loss: they have no other.
        unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, default.as_ptr(), 0_usize, 8_usize) };
    }
}

/// Marks every descriptor from `first` on to be closed by execve(2), by close_range(2) with CLOSE_RANGE_CLOEXEC.
///
/// Before Linux 5.11 the call or its flag is missing; then each descriptor that /proc/self/fd lists is marked.
pub(crate) fn close_on_exec_from(first: libc::c_uint) -> Result<(), Errno> {
    // SAFETY: marks descriptors; closes none, so no owner in this process loses one.
    let done =
        unsafe { libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    match Errno::result(done) {
        Err(Errno::ENOSYS | Errno::EINVAL) => {
            let listed = std::fs::read_dir("/proc/self/fd").map_err(|_| Errno::ENOSYS)?;
            for number in
                listed.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<RawFd>().ok())
            {
                if number >= first as RawFd {
                    // SAFETY: F_SETFD changes a flag of a descriptor; a number that isn't open gives EBADF, which is no loss.
                    unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) };
                }
            }
            Ok(())
        }
        done => done.map(|_| ()),
    }
}

/// Whether execve(2) would keep a descriptor open: it's open, and not marked. fcntl(2), FD_CLOEXEC
pub(crate) fn is_kept_by_exec(descriptor: RawFd) -> bool {
    // SAFETY: asks for flags; a number that isn't open gives -1.
    let flags = unsafe { libc::fcntl(descriptor, libc::F_GETFD) };
    flags >= 0 && flags & libc::FD_CLOEXEC == 0
}

/// Closes every descriptor from `first` on, for a process that uses none any more. Before Linux 5.9 it closes none.
pub(crate) fn close_from(first: libc::c_uint) {
    // SAFETY: only init calls this, which from here on opens, reads and writes nothing, and ends by _exit(2): no owner of a
    // descriptor uses or drops it.
    unsafe { libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, 0) };
}

/// Closes every descriptor but these, for a process that uses no other any more. Before Linux 5.9 it closes none.
pub(crate) fn close_all_but(keep: &[RawFd]) {
    let mut keep: Vec<libc::c_uint> = keep.iter().filter_map(|number| u32::try_from(*number).ok()).collect();
    keep.sort_unstable();
    let mut first = 0;
    for end in keep.into_iter().chain([libc::c_uint::MAX]) {
        if first < end {
            // SAFETY: only the relay calls this, whose owners of other descriptors are never used or dropped from here on: it
            // ends by _exit(2).
            unsafe { libc::syscall(libc::SYS_close_range, first, end - 1, 0) };
        }
        first = end.saturating_add(1);
    }
}

/// Waits for one of these signals, which are blocked. nix has sigwait(3), whose errors it takes for signals.
///
/// # Errors
/// Those of sigwaitinfo(2).
pub(crate) fn wait_for_signal(set: &SigSet) -> Result<Signal, Errno> {
    // SAFETY: the set lives through the call, and a null pointer asks for no further information.
    let number = unsafe { libc::sigwaitinfo(set.as_ref(), std::ptr::null_mut()) };
    Errno::result(number).and_then(Signal::try_from)
}

/// Puts a sign into the queue of what was typed at a terminal: ioctl_tty(2), TIOCSTI.
///
/// # Errors
/// EIO: dev.tty.legacy_tiocsti is 0. EPERM: it's not this process's controlling terminal, or a filter refuses it.
pub(crate) fn type_into(terminal: &OwnedFd, sign: u8) -> Result<(), Errno> {
    // SAFETY: the kernel reads one byte, which lives here, by a descriptor that is open.
    let done = unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSTI as _, &raw const sign) };
    Errno::result(done).map(|_| ())
}

/// Ends this process by _exit(2): no destructor and no buffer of the host's, of which a child holds a copy.
pub(crate) fn exit(status: i32) -> ! {
    // SAFETY: always sound; it only ends the process.
    unsafe { libc::_exit(status) }
}
