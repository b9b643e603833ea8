//! The calls of 32-bit programs on x86_64: the i386 system call table has other numbers, and some calls of its own.
//!
//! A call that both tables have gets the action of the native one, so each decision is made once, in `calls`. A call on
//! no list here fails with ENOSYS. arch/x86/entry/syscalls/syscall_32.tbl

use std::ffi::c_long;

use libc::*;

use super::FilterAction;
use super::program::NUMBERS;

/// AUDIT_ARCH_I386.
pub(super) const I386: u32 = 0x4000_0003;

/// Calls that both tables have: the native number, and that of i386.
#[rustfmt::skip]
const SAME: &[(c_long, u32)] = &[
    (SYS_restart_syscall, 0), (SYS_exit, 1), (SYS_fork, 2), (SYS_read, 3), (SYS_write, 4), (SYS_open, 5),
    (SYS_close, 6), (SYS_creat, 8), (SYS_link, 9), (SYS_unlink, 10), (SYS_execve, 11), (SYS_chdir, 12),
    (SYS_time, 13), (SYS_mknod, 14), (SYS_chmod, 15), (SYS_lchown, 16), (SYS_lseek, 19), (SYS_getpid, 20),
    (SYS_mount, 21), (SYS_setuid, 23), (SYS_getuid, 24), (SYS_ptrace, 26), (SYS_alarm, 27), (SYS_pause, 29),
    (SYS_utime, 30), (SYS_access, 33), (SYS_sync, 36), (SYS_kill, 37), (SYS_rename, 38), (SYS_mkdir, 39),
    (SYS_rmdir, 40), (SYS_dup, 41), (SYS_pipe, 42), (SYS_times, 43), (SYS_brk, 45), (SYS_setgid, 46),
    (SYS_getgid, 47), (SYS_geteuid, 49), (SYS_getegid, 50), (SYS_acct, 51), (SYS_umount2, 52), (SYS_ioctl, 54),
    (SYS_fcntl, 55), (SYS_setpgid, 57), (SYS_umask, 60), (SYS_chroot, 61), (SYS_dup2, 63), (SYS_getppid, 64),
    (SYS_getpgrp, 65), (SYS_setsid, 66), (SYS_setreuid, 70), (SYS_setregid, 71), (SYS_sethostname, 74),
    (SYS_setrlimit, 75), (SYS_getrlimit, 76), (SYS_getrusage, 77), (SYS_gettimeofday, 78), (SYS_settimeofday, 79),
    (SYS_getgroups, 80), (SYS_setgroups, 81), (SYS_select, 82), (SYS_symlink, 83), (SYS_readlink, 85),
    (SYS_swapon, 87), (SYS_reboot, 88), (SYS_mmap, 90), (SYS_munmap, 91), (SYS_truncate, 92), (SYS_ftruncate, 93),
    (SYS_fchmod, 94), (SYS_fchown, 95), (SYS_getpriority, 96), (SYS_setpriority, 97), (SYS_statfs, 99),
    (SYS_fstatfs, 100), (SYS_ioperm, 101), (SYS_syslog, 103), (SYS_setitimer, 104), (SYS_getitimer, 105),
    (SYS_stat, 106), (SYS_lstat, 107), (SYS_fstat, 108), (SYS_iopl, 110), (SYS_vhangup, 111), (SYS_wait4, 114),
    (SYS_swapoff, 115), (SYS_sysinfo, 116), (SYS_fsync, 118), (SYS_clone, 120), (SYS_setdomainname, 121),
    (SYS_uname, 122), (SYS_modify_ldt, 123), (SYS_adjtimex, 124), (SYS_mprotect, 125), (SYS_init_module, 128),
    (SYS_delete_module, 129), (SYS_quotactl, 131), (SYS_getpgid, 132), (SYS_fchdir, 133), (SYS_personality, 136),
    (SYS_setfsuid, 138), (SYS_setfsgid, 139), (SYS_getdents, 141), (SYS_flock, 143), (SYS_msync, 144),
    (SYS_readv, 145), (SYS_writev, 146), (SYS_getsid, 147), (SYS_fdatasync, 148), (SYS_mlock, 150),
    (SYS_munlock, 151), (SYS_mlockall, 152), (SYS_munlockall, 153), (SYS_sched_setparam, 154),
    (SYS_sched_getparam, 155), (SYS_sched_setscheduler, 156), (SYS_sched_getscheduler, 157), (SYS_sched_yield, 158),
    (SYS_sched_get_priority_max, 159), (SYS_sched_get_priority_min, 160), (SYS_sched_rr_get_interval, 161),
    (SYS_nanosleep, 162), (SYS_mremap, 163), (SYS_setresuid, 164), (SYS_getresuid, 165), (SYS_poll, 168),
    (SYS_nfsservctl, 169), (SYS_setresgid, 170), (SYS_getresgid, 171), (SYS_prctl, 172), (SYS_rt_sigreturn, 173),
    (SYS_rt_sigaction, 174), (SYS_rt_sigprocmask, 175), (SYS_rt_sigpending, 176), (SYS_rt_sigtimedwait, 177),
    (SYS_rt_sigqueueinfo, 178), (SYS_rt_sigsuspend, 179), (SYS_pread64, 180), (SYS_pwrite64, 181), (SYS_chown, 182),
    (SYS_getcwd, 183), (SYS_capget, 184), (SYS_capset, 185), (SYS_sigaltstack, 186), (SYS_sendfile, 187),
    (SYS_vfork, 190), (SYS_pivot_root, 217), (SYS_mincore, 218), (SYS_madvise, 219), (SYS_getdents64, 220),
    (SYS_gettid, 224), (SYS_readahead, 225), (SYS_setxattr, 226), (SYS_lsetxattr, 227), (SYS_fsetxattr, 228),
    (SYS_getxattr, 229), (SYS_lgetxattr, 230), (SYS_fgetxattr, 231), (SYS_listxattr, 232), (SYS_llistxattr, 233),
    (SYS_flistxattr, 234), (SYS_removexattr, 235), (SYS_lremovexattr, 236), (SYS_fremovexattr, 237), (SYS_tkill, 238),
    (SYS_futex, 240), (SYS_sched_setaffinity, 241), (SYS_sched_getaffinity, 242), (SYS_set_thread_area, 243),
    (SYS_get_thread_area, 244), (SYS_io_setup, 245), (SYS_io_destroy, 246), (SYS_io_getevents, 247),
    (SYS_io_submit, 248), (SYS_io_cancel, 249), (SYS_fadvise64, 250), (SYS_exit_group, 252),
    (SYS_lookup_dcookie, 253), (SYS_epoll_create, 254), (SYS_epoll_ctl, 255), (SYS_epoll_wait, 256),
    (SYS_remap_file_pages, 257), (SYS_set_tid_address, 258), (SYS_timer_create, 259), (SYS_timer_settime, 260),
    (SYS_timer_gettime, 261), (SYS_timer_getoverrun, 262), (SYS_timer_delete, 263), (SYS_clock_settime, 264),
    (SYS_clock_gettime, 265), (SYS_clock_getres, 266), (SYS_clock_nanosleep, 267), (SYS_tgkill, 270),
    (SYS_utimes, 271), (SYS_mbind, 274), (SYS_get_mempolicy, 275), (SYS_set_mempolicy, 276), (SYS_mq_open, 277),
    (SYS_mq_unlink, 278), (SYS_mq_timedsend, 279), (SYS_mq_timedreceive, 280), (SYS_mq_notify, 281),
    (SYS_mq_getsetattr, 282), (SYS_kexec_load, 283), (SYS_waitid, 284), (SYS_add_key, 286), (SYS_request_key, 287),
    (SYS_keyctl, 288), (SYS_ioprio_set, 289), (SYS_ioprio_get, 290), (SYS_inotify_init, 291),
    (SYS_inotify_add_watch, 292), (SYS_inotify_rm_watch, 293), (SYS_migrate_pages, 294), (SYS_openat, 295),
    (SYS_mkdirat, 296), (SYS_mknodat, 297), (SYS_fchownat, 298), (SYS_futimesat, 299), (SYS_unlinkat, 301),
    (SYS_renameat, 302), (SYS_linkat, 303), (SYS_symlinkat, 304), (SYS_readlinkat, 305), (SYS_fchmodat, 306),
    (SYS_faccessat, 307), (SYS_pselect6, 308), (SYS_ppoll, 309), (SYS_unshare, 310), (SYS_set_robust_list, 311),
    (SYS_get_robust_list, 312), (SYS_splice, 313), (SYS_sync_file_range, 314), (SYS_tee, 315), (SYS_vmsplice, 316),
    (SYS_move_pages, 317), (SYS_getcpu, 318), (SYS_epoll_pwait, 319), (SYS_utimensat, 320), (SYS_signalfd, 321),
    (SYS_timerfd_create, 322), (SYS_eventfd, 323), (SYS_fallocate, 324), (SYS_timerfd_settime, 325),
    (SYS_timerfd_gettime, 326), (SYS_signalfd4, 327), (SYS_eventfd2, 328), (SYS_epoll_create1, 329), (SYS_dup3, 330),
    (SYS_pipe2, 331), (SYS_inotify_init1, 332), (SYS_preadv, 333), (SYS_pwritev, 334), (SYS_rt_tgsigqueueinfo, 335),
    (SYS_perf_event_open, 336), (SYS_recvmmsg, 337), (SYS_fanotify_init, 338), (SYS_fanotify_mark, 339),
    (SYS_prlimit64, 340), (SYS_name_to_handle_at, 341), (SYS_open_by_handle_at, 342), (SYS_clock_adjtime, 343),
    (SYS_syncfs, 344), (SYS_sendmmsg, 345), (SYS_setns, 346), (SYS_process_vm_readv, 347),
    (SYS_process_vm_writev, 348), (SYS_kcmp, 349), (SYS_finit_module, 350), (SYS_sched_setattr, 351),
    (SYS_sched_getattr, 352), (SYS_renameat2, 353), (SYS_seccomp, 354), (SYS_getrandom, 355), (SYS_memfd_create, 356),
    (SYS_bpf, 357), (SYS_execveat, 358), (SYS_socket, 359), (SYS_socketpair, 360), (SYS_bind, 361),
    (SYS_connect, 362), (SYS_listen, 363), (SYS_accept4, 364), (SYS_getsockopt, 365), (SYS_setsockopt, 366),
    (SYS_getsockname, 367), (SYS_getpeername, 368), (SYS_sendto, 369), (SYS_sendmsg, 370), (SYS_recvfrom, 371),
    (SYS_recvmsg, 372), (SYS_shutdown, 373), (SYS_userfaultfd, 374), (SYS_membarrier, 375), (SYS_mlock2, 376),
    (SYS_copy_file_range, 377), (SYS_preadv2, 378), (SYS_pwritev2, 379), (SYS_pkey_mprotect, 380),
    (SYS_pkey_alloc, 381), (SYS_pkey_free, 382), (SYS_statx, 383), (SYS_arch_prctl, 384), (SYS_rseq, 386),
    (SYS_semget, 393), (SYS_semctl, 394), (SYS_shmget, 395), (SYS_shmctl, 396), (SYS_shmat, 397), (SYS_shmdt, 398),
    (SYS_msgget, 399), (SYS_msgsnd, 400), (SYS_msgrcv, 401), (SYS_msgctl, 402), (SYS_pidfd_send_signal, 424),
    (SYS_io_uring_setup, 425), (SYS_io_uring_enter, 426), (SYS_io_uring_register, 427), (SYS_open_tree, 428),
    (SYS_move_mount, 429), (SYS_fsopen, 430), (SYS_fsconfig, 431), (SYS_fsmount, 432), (SYS_fspick, 433),
    (SYS_pidfd_open, 434), (SYS_close_range, 436), (SYS_openat2, 437), (SYS_pidfd_getfd, 438), (SYS_faccessat2, 439),
    (SYS_process_madvise, 440), (SYS_epoll_pwait2, 441), (SYS_mount_setattr, 442), (SYS_quotactl_fd, 443),
    (SYS_landlock_create_ruleset, 444), (SYS_landlock_add_rule, 445), (SYS_landlock_restrict_self, 446),
    (SYS_memfd_secret, 447), (SYS_fchmodat2, 452), (SYS_mseal, 462), (SYS_process_mrelease, 448), (SYS_futex_waitv, 449), (SYS_set_mempolicy_home_node, 450),
];

/// Calls of i386 alone that are allowed. They are older or newer forms of calls in [`super::calls::ALLOWED`]: with
/// 32-bit IDs, 64-bit sizes or 64-bit times. socketcall(2) and ipc(2) stand for several calls. Their arguments are in
/// memory, where no filter can read them, so AF_VSOCK is not denied there. docker's filter allows them too.
#[rustfmt::skip]
const ALLOWED_ALONE: &[u32] = &[
    // waitpid, nice, lchown32, getuid32, getgid32, geteuid32, getegid32, setreuid32, setregid32.
    7, 34, 198, 199, 200, 201, 202, 203, 204,
    // getgroups32, setgroups32, fchown32, setresuid32, getresuid32, setresgid32, getresgid32.
    205, 206, 207, 208, 209, 210, 211,
    // chown32, setuid32, setgid32, setfsuid32, setfsgid32, signal, sigaction, sigsuspend.
    212, 213, 214, 215, 216, 48, 67, 72,
    // sigpending, sigprocmask, sigreturn, readdir, truncate64, ftruncate64, stat64, lstat64.
    73, 126, 119, 89, 193, 194, 195, 196,
    // fstat64, fcntl64, sendfile64, fadvise64_64, statfs64, fstatfs64, fstatat64, _llseek.
    197, 221, 239, 272, 268, 269, 300, 140,
    // _newselect, mmap2, ugetrlimit, socketcall, ipc, clock_gettime64, clock_adjtime64.
    142, 192, 191, 102, 117, 403, 405,
    // clock_getres_time64, clock_nanosleep_time64, timer_gettime64, timer_settime64.
    406, 407, 408, 409,
    // timerfd_gettime64, timerfd_settime64, utimensat_time64, pselect6_time64, ppoll_time64.
    410, 411, 412, 413, 414,
    // recvmmsg_time64, mq_timedsend_time64, mq_timedreceive_time64, semtimedop_time64.
    417, 418, 419, 420,
    // rt_sigtimedwait_time64, futex_time64, sched_rr_get_interval_time64.
    421, 422, 423,
];

/// umount(2) of i386, which is allowed where umount2(2) is; and the calls that set the clock.
const CAPABLE_ALONE: &[(c_long, u32)] =
    &[(SYS_umount2, 22), (SYS_settimeofday, 25), (SYS_clock_settime, 404)];

/// The number of a native call in the table of i386.
pub(super) fn number_of(call: c_long) -> Option<u32> {
    SAME.iter().find(|(native, _)| *native == call).map(|(_, number)| *number)
}

/// The action of each number, from those of the native numbers.
pub(super) fn actions(native: &[FilterAction; NUMBERS]) -> [FilterAction; NUMBERS] {
    let mut actions = [FilterAction::Absent; NUMBERS];
    for (call, number) in SAME.iter().chain(CAPABLE_ALONE) {
        actions[*number as usize] = native[*call as usize];
    }
    for number in ALLOWED_ALONE {
        actions[*number as usize] = FilterAction::Allow;
    }
    actions
}
