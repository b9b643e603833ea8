//! The system calls that a start makes, and how each of them may fail.

use nix::errno::Errno::{self, *};
use nix::libc;

macro_rules! calls {
    ($($errnos:expr => $($name:ident)*;)*) => {
        &[$($((libc::$name, stringify!($name), &$errnos)),*),*]
    };
}

/// A call's number, its name, and the errnos that it may fail with.
type Known = (i64, &'static str, &'static [Errno]);

#[rustfmt::skip]
const FAILING: &[Known] = calls! {
    [EMFILE, EACCES, EIO] => SYS_open SYS_openat SYS_openat2;
    [EMFILE, ENFILE, ENOMEM] => SYS_socket SYS_socketpair SYS_pipe SYS_pipe2 SYS_pidfd_open SYS_signalfd4 SYS_timerfd_create
        SYS_timerfd_settime SYS_eventfd2 SYS_memfd_create SYS_dup SYS_dup2 SYS_dup3 SYS_inotify_init1;
    [EPERM, ENOMEM, EINVAL] => SYS_mount SYS_umount2 SYS_pivot_root SYS_fsopen SYS_fsconfig SYS_fsmount SYS_fspick
        SYS_move_mount SYS_open_tree SYS_mount_setattr SYS_prctl SYS_capset SYS_capget SYS_setresuid SYS_setresgid
        SYS_setgroups SYS_setgid SYS_setuid SYS_seccomp SYS_prlimit64 SYS_sethostname SYS_setdomainname SYS_bpf SYS_setns
        SYS_setsid SYS_setpriority SYS_sched_setaffinity SYS_unshare SYS_pidfd_send_signal SYS_kill SYS_close_range;
    [EACCES, ENOMEM, EIO] => SYS_chdir SYS_fchdir SYS_chroot SYS_stat SYS_lstat SYS_fstat SYS_newfstatat SYS_statx SYS_statfs
        SYS_fstatfs SYS_readlink SYS_readlinkat SYS_getcwd SYS_getdents64;
    [ENOSPC, EIO, EPERM] => SYS_write SYS_writev SYS_pwrite64 SYS_mkdir SYS_mkdirat SYS_mknod SYS_mknodat SYS_symlink
        SYS_symlinkat SYS_link SYS_linkat SYS_ftruncate SYS_fchmod SYS_fchmodat SYS_chmod SYS_fchown SYS_fchownat SYS_chown
        SYS_rename SYS_renameat SYS_renameat2 SYS_fsync;
    [EIO, ENOMEM, ELOOP] => SYS_access SYS_faccessat SYS_faccessat2;
    [EIO, ENOMEM, EAGAIN] => SYS_read SYS_pread64 SYS_readv SYS_sendto SYS_sendmsg SYS_recvfrom SYS_recvmsg SYS_bind
        SYS_setsockopt SYS_getsockopt SYS_getsockname SYS_getpeername SYS_connect SYS_listen SYS_accept4;
    [EBUSY, EPERM, EIO] => SYS_rmdir SYS_unlink SYS_unlinkat;
    [EAGAIN, ENOMEM, EPERM] => SYS_clone SYS_clone3 SYS_fork SYS_vfork;
    [EACCES, ENOMEM, ENOEXEC] => SYS_execve;
    [EIO, EPERM, ENOTTY] => SYS_ioctl;
    [ENOLCK, EIO, ENOMEM] => SYS_flock SYS_fcntl;
    [ENOMEM, EINVAL, EAGAIN] => SYS_poll SYS_ppoll SYS_rt_sigtimedwait;
    [EINTR, EINVAL, ENOMEM] => SYS_wait4 SYS_waitid;
    [ENOMEM, EAGAIN, EPERM] => SYS_mmap SYS_mremap SYS_mprotect;
    [ENOSYS, EPERM] => SYS_getrandom;
};

/// Calls that cannot fail, or whose failure a program cannot handle.
const LEFT_OUT: &[Known] = calls! {
    // They only exit or return a value.
    [] => SYS_exit SYS_exit_group SYS_getpid SYS_getppid SYS_gettid SYS_getuid SYS_geteuid SYS_getgid SYS_getegid SYS_getpgrp
        SYS_getpgid SYS_umask SYS_uname SYS_sched_yield SYS_clock_gettime SYS_set_tid_address;
    // They release a resource even if they report an error. close(2): the descriptor is closed also on failure.
    [] => SYS_close SYS_munmap SYS_madvise;
    // They fail only for an invalid number or address.
    [] => SYS_rt_sigaction SYS_rt_sigprocmask SYS_rt_sigreturn SYS_sigaltstack SYS_set_robust_list SYS_arch_prctl SYS_rseq;
    // On failure it returns the old break, never an errno. The allocator then uses mmap.
    [] => SYS_brk;
    // It only reads. Without the value, a further command keeps that of its caller.
    [] => SYS_getpriority;
    // They wait, and are retried.
    [] => SYS_futex SYS_nanosleep SYS_clock_nanosleep SYS_restart_syscall;
};

/// The errnos with which a call may fail. Empty if its failures are not tested.
pub(crate) fn errnos(call: i64) -> &'static [Errno] {
    let is = |(number, ..): &&Known| *number == call;
    match (FAILING.iter().find(is), LEFT_OUT.iter().find(is)) {
        (Some((.., errnos)), _) => errnos,
        (None, Some(_)) => &[],
        (None, None) => &[EPERM, ENOMEM, EINVAL],
    }
}

/// The name of a call.
pub(crate) fn name(call: i64) -> String {
    let known = FAILING.iter().chain(LEFT_OUT).find(|(number, ..)| *number == call);
    known.map_or_else(|| format!("call {call}"), |(_, name, _)| name.trim_start_matches("SYS_").to_owned())
}

/// Whether a message reports what failed: the name of the call, or the text of its errno. The allocator has its own
/// message.
pub(crate) fn is_clear(message: &str, call: i64, errno: Errno) -> bool {
    let name = format!("{}(", name(call));
    // The C library's error text, as Rust prints it.
    let (words, number) = (std::io::Error::from(errno).to_string(), format!(" (os error {})", errno as i32));
    let is_memory = [libc::SYS_mmap, libc::SYS_mremap, libc::SYS_mprotect].contains(&call);
    // Long lines are wrapped.
    let message = message.split_whitespace().collect::<Vec<_>>().join(" ");
    message.contains(&name)
        || message.contains(&format!("{errno:?}"))
        || message.contains(errno.desc())
        || message.contains(words.trim_end_matches(&number))
        || is_memory && message.contains("memory allocation")
        // The stack of a thread: pthread_create(3) makes EAGAIN of any error.
        || is_memory && message.contains("clone3() = -1 EAGAIN")
}
