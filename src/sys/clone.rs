//! clone3(2) and clone(2), used like fork(2): the processes share no memory, so the child continues as an ordinary Rust
//! program.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::errno::Errno;
use nix::unistd::Pid;

/// linux/sched.h. libc declares it as a signed int, in which it does not fit.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// The result of [`clone3`].
#[derive(Debug)]
pub(crate) enum Cloned {
    /// This is the new process.
    Child,
    /// This is the caller. The new process's PID in the caller's PID namespace, and its pidfd. The pidfd never refers
    /// to another process, even if the PID is used again.
    Parent(Pid, OwnedFd),
}

/// Creates a process in the new namespaces that `flags` ask for (`CLONE_NEW*`, `CLONE_PARENT`), with a pidfd.
///
/// With `cgroup` the process is created in that cgroup of version 2 (CLONE_INTO_CGROUP, Linux 5.7). With `CLONE_PARENT`
/// the new process is a sibling of the caller. Its exit signal is then that of the caller: clone3(2) allows no other.
///
/// # Errors
/// Those of clone(2). ENOSYS: a kernel before 5.3, or a seccomp filter that denies the call in this way. Docker's
/// filter does, so that programs use clone(2), whose flags it can check.
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
    // SAFETY: `args` lives through the call and its size is passed. Without CLONE_VM and with stack 0, the child gets a
    // copy of the memory and continues here on its own copy of the stack, as after fork(2). `sandbox` has a single
    // thread when it clones, so no other thread can hold a lock that the child would wait for.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw const args, size_of::<libc::clone_args>()) };
    cloned(pid, pidfd)
}

/// The two sides of a clone with `CLONE_PIDFD`, from the result of the call and what it stored for the pidfd.
fn cloned(pid: libc::c_long, pidfd: libc::c_int) -> Result<Cloned, Errno> {
    match Errno::result(pid)? {
        0 => Ok(Cloned::Child),
        pid => {
            // SAFETY: the kernel has just stored a new descriptor here, which no other code owns.
            let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
            Ok(Cloned::Parent(Pid::from_raw(pid as libc::pid_t), pidfd))
        }
    }
}

/// Creates a process as fork(2) does, with a pidfd: clone(2), whose flags a seccomp filter can read.
///
/// # Errors
/// EAGAIN: the limit for the number of processes is reached.
pub(crate) fn fork() -> Result<Cloned, Errno> {
    let mut pidfd: libc::c_int = -1;
    let flags = libc::CLONE_PIDFD | libc::SIGCHLD;
    // SAFETY: as above: a copy of the memory, a copy of the stack, and no other thread. `pidfd` lives through the call.
    // The order of the last two arguments differs between architectures, but these are zero.
    let pid =
        unsafe { libc::syscall(libc::SYS_clone, flags, 0_usize, &raw mut pidfd as usize, 0_usize, 0_usize) };
    cloned(pid, pidfd)
}
