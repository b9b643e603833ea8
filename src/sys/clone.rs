//! clone3(2) and clone(2), in their fork-like form: no shared memory, so the child may go on as an ordinary Rust program.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::errno::Errno;
use nix::unistd::Pid;

/// linux/sched.h. libc has it as a signed int, which it doesn't fit.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// What came back from [`clone3`].
#[derive(Debug)]
pub(crate) enum Cloned {
    /// This is the new process.
    Child,
    /// This is the caller: the new process's number in the caller's pid namespace, and a descriptor that stays its own
    /// even when that number is used again.
    Parent(Pid, OwnedFd),
}

/// Makes a process in the new namespaces that `flags` (`CLONE_NEW*`, `CLONE_PARENT`) ask for, with a pidfd.
///
/// With `cgroup` it's born in that group of a v2 hierarchy (CLONE_INTO_CGROUP, Linux 5.7).
/// With `CLONE_PARENT` the new process is the caller's sibling and its exit signal is the caller's: clone3 refuses another.
///
/// # Errors
/// Those of clone(2). ENOSYS: a kernel before 5.3, or a seccomp filter that hides the call (Docker's does where it wants clone).
pub(crate) fn clone3(flags: u64, cgroup: Option<BorrowedFd<'_>>) -> Result<Cloned, Errno> {
    let mut pidfd: libc::c_int = -1;
    let exit_signal = if flags & libc::CLONE_PARENT as u64 == 0 { libc::SIGCHLD as u64 } else { 0 };
    let into_cgroup = if cgroup.is_some() { CLONE_INTO_CGROUP } else { 0 };
    let args = libc::clone_args {
        flags: flags | libc::CLONE_PIDFD as u64 | into_cgroup,
        pidfd: &raw mut pidfd as u64,
        child_tid: 0,
        parent_tid: 0,
        exit_signal,
        stack: 0,
        stack_size: 0,
        tls: 0,
        set_tid: 0,
        set_tid_size: 0,
        cgroup: cgroup.map_or(0, |descriptor| descriptor.as_raw_fd() as u64),
    };
    // SAFETY: `args` lives through the call and its size is passed. Without CLONE_VM and with stack 0 the child gets a copy
    // of the memory and goes on here on its own copy of this stack, as after fork(2). `sandbox` is single-threaded when it
    // clones, so no lock can be held by a thread that the child doesn't have.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw const args, size_of::<libc::clone_args>()) };
    match Errno::result(pid)? {
        0 => Ok(Cloned::Child),
        pid => {
            // SAFETY: the kernel has just stored a new descriptor here, which nobody else owns.
            let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
            Ok(Cloned::Parent(Pid::from_raw(pid as libc::pid_t), pidfd))
        }
    }
}

/// fork(2) by the call that it is: clone(2) without any flag. The child's number; none in the child.
///
/// # Errors
/// EAGAIN: a limit of processes is met.
pub(crate) fn fork() -> Result<Option<Pid>, Errno> {
    // SAFETY: as above: a copy of the memory, a copy of this stack, and no other thread. The arguments that architectures
    // order differently are all zero.
    let pid = unsafe { libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0_usize, 0_usize, 0_usize, 0_usize) };
    Ok(Some(Errno::result(pid)? as libc::pid_t).filter(|pid| *pid != 0).map(Pid::from_raw))
}
