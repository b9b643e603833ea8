//! The calls of the default filter. They are listed by purpose, so that each line can be reviewed. syscalls(2)

use std::ffi::c_long;

use caps::Capability;
use libc::*;

/// Calls that are allowed with any arguments.
#[rustfmt::skip]
pub(super) const ALLOWED: &[c_long] = &[
    // Files by descriptor.
    SYS_read, SYS_write, SYS_readv, SYS_writev, SYS_pread64, SYS_pwrite64, SYS_preadv, SYS_pwritev, SYS_preadv2,
    SYS_pwritev2, SYS_lseek, SYS_close, SYS_close_range, SYS_dup, SYS_dup3, SYS_fcntl, SYS_flock, SYS_fsync, SYS_fdatasync,
    SYS_sync, SYS_syncfs, SYS_ftruncate, SYS_fallocate, SYS_fadvise64, SYS_readahead, SYS_sendfile, SYS_splice, SYS_tee,
    SYS_vmsplice, SYS_copy_file_range, SYS_pipe2, SYS_getdents64,
    // Files by path. The permissions of the files decide the rest.
    SYS_openat, SYS_openat2, SYS_newfstatat, SYS_fstat, SYS_statx, SYS_statfs, SYS_fstatfs, SYS_faccessat, SYS_faccessat2,
    SYS_readlinkat, SYS_linkat, SYS_symlinkat, SYS_unlinkat, SYS_renameat2, SYS_mkdirat, SYS_mknodat, SYS_fchmod,
    SYS_fchmodat, SYS_fchown, SYS_fchownat, SYS_utimensat, SYS_truncate, SYS_chdir, SYS_fchdir, SYS_getcwd, SYS_umask,
    SYS_name_to_handle_at,
    SYS_getxattr, SYS_lgetxattr, SYS_fgetxattr, SYS_setxattr, SYS_lsetxattr, SYS_fsetxattr, SYS_listxattr, SYS_llistxattr,
    SYS_flistxattr, SYS_removexattr, SYS_lremovexattr, SYS_fremovexattr,
    SYS_inotify_init1, SYS_inotify_add_watch, SYS_inotify_rm_watch, SYS_fanotify_mark,
    // Memory.
    SYS_brk, SYS_mmap, SYS_munmap, SYS_mremap, SYS_mprotect, SYS_madvise, SYS_mincore, SYS_msync, SYS_mlock, SYS_mlock2,
    SYS_mlockall, SYS_munlock, SYS_munlockall, SYS_remap_file_pages, SYS_membarrier, SYS_memfd_create, SYS_memfd_secret,
    SYS_mseal, SYS_pkey_alloc, SYS_pkey_free, SYS_pkey_mprotect,
    // Processes and threads. clone(2) is in ARGUMENT_RULES, because of its flags.
    SYS_execve, SYS_execveat, SYS_exit, SYS_exit_group, SYS_wait4, SYS_waitid, SYS_getpid, SYS_getppid, SYS_gettid,
    SYS_getpgid, SYS_setpgid, SYS_getsid, SYS_setsid, SYS_set_tid_address, SYS_set_robust_list, SYS_get_robust_list,
    SYS_futex, SYS_futex_waitv, SYS_rseq, SYS_prctl, SYS_pidfd_open, SYS_process_mrelease, SYS_getcpu, SYS_restart_syscall,
    // Tracing. The kernel checks that the tracer may do it. Since Linux 4.8 a tracer cannot bypass a filter.
    SYS_ptrace, SYS_process_vm_readv, SYS_process_vm_writev,
    // Signals.
    SYS_kill, SYS_tkill, SYS_tgkill, SYS_pidfd_send_signal, SYS_rt_sigaction, SYS_rt_sigprocmask, SYS_rt_sigpending,
    SYS_rt_sigsuspend, SYS_rt_sigtimedwait, SYS_rt_sigqueueinfo, SYS_rt_tgsigqueueinfo, SYS_rt_sigreturn, SYS_sigaltstack,
    SYS_signalfd4,
    // Users, groups and capabilities. The kernel refuses changes for which the process has no capability.
    SYS_getuid, SYS_geteuid, SYS_getgid, SYS_getegid, SYS_getresuid, SYS_getresgid, SYS_getgroups, SYS_setuid, SYS_setgid,
    SYS_setreuid, SYS_setregid, SYS_setresuid, SYS_setresgid, SYS_setfsuid, SYS_setfsgid, SYS_setgroups, SYS_capget,
    SYS_capset,
    // Further restrictions. They can only add to this filter.
    SYS_seccomp, SYS_landlock_create_ruleset, SYS_landlock_add_rule, SYS_landlock_restrict_self,
    // Time.
    SYS_nanosleep, SYS_clock_nanosleep, SYS_clock_gettime, SYS_clock_getres, SYS_gettimeofday, SYS_getitimer, SYS_setitimer,
    SYS_timer_create, SYS_timer_settime, SYS_timer_gettime, SYS_timer_getoverrun, SYS_timer_delete, SYS_timerfd_create,
    SYS_timerfd_settime, SYS_timerfd_gettime, SYS_times,
    // These two can read the clock's state without a privilege. To set the clock needs CAP_SYS_TIME.
    SYS_adjtimex, SYS_clock_adjtime,
    // Waiting for several descriptors, and asynchronous I/O.
    SYS_ppoll, SYS_pselect6, SYS_epoll_create1, SYS_epoll_ctl, SYS_epoll_pwait, SYS_epoll_pwait2, SYS_eventfd2,
    SYS_io_setup, SYS_io_submit, SYS_io_getevents, SYS_io_cancel, SYS_io_destroy,
    // Sockets. socket(2) is in ARGUMENT_RULES, because of its address family.
    SYS_socketpair, SYS_bind, SYS_listen, SYS_accept, SYS_accept4, SYS_connect, SYS_shutdown, SYS_getsockname,
    SYS_getpeername, SYS_getsockopt, SYS_setsockopt, SYS_sendto, SYS_recvfrom, SYS_sendmsg, SYS_recvmsg, SYS_sendmmsg,
    SYS_recvmmsg,
    // System V IPC and message queues.
    SYS_shmget, SYS_shmat, SYS_shmdt, SYS_shmctl, SYS_semget, SYS_semop, SYS_semtimedop, SYS_semctl, SYS_msgget, SYS_msgsnd,
    SYS_msgrcv, SYS_msgctl, SYS_mq_open, SYS_mq_unlink, SYS_mq_timedsend, SYS_mq_timedreceive, SYS_mq_notify,
    SYS_mq_getsetattr,
    // Scheduling and limits.
    SYS_sched_yield, SYS_sched_getaffinity, SYS_sched_setaffinity, SYS_sched_getparam, SYS_sched_setparam,
    SYS_sched_getscheduler, SYS_sched_setscheduler, SYS_sched_getattr, SYS_sched_setattr, SYS_sched_rr_get_interval,
    SYS_sched_get_priority_min, SYS_sched_get_priority_max, SYS_getpriority, SYS_setpriority, SYS_ioprio_get, SYS_ioprio_set,
    SYS_prlimit64, SYS_getrusage,
    // Facts about the machine, and random numbers.
    SYS_uname, SYS_sysinfo, SYS_getrandom,
];

/// Also allowed: calls that only this architecture has, most of them for old programs.
#[cfg(target_arch = "x86_64")]
#[rustfmt::skip]
pub(super) const ALLOWED_HERE: &[c_long] = &[
    SYS_open, SYS_creat, SYS_stat, SYS_lstat, SYS_access, SYS_readlink, SYS_link, SYS_symlink, SYS_unlink, SYS_rename,
    SYS_renameat, SYS_mkdir, SYS_rmdir, SYS_mknod, SYS_chmod, SYS_chown, SYS_lchown, SYS_utime, SYS_utimes, SYS_futimesat,
    SYS_getdents, SYS_dup2, SYS_pipe, SYS_poll, SYS_select, SYS_epoll_create, SYS_epoll_wait, SYS_eventfd, SYS_signalfd,
    SYS_inotify_init, SYS_fork, SYS_vfork, SYS_getpgrp, SYS_pause, SYS_alarm, SYS_time, SYS_getrlimit, SYS_setrlimit,
    SYS_sync_file_range, SYS_fchmodat2,
    // The address of a thread's data; segments, for programs of other systems.
    SYS_arch_prctl, SYS_modify_ldt, SYS_set_thread_area, SYS_get_thread_area,
];
#[cfg(not(target_arch = "x86_64"))]
pub(super) const ALLOWED_HERE: &[c_long] = &[];

/// Calls that are allowed if the container keeps this capability, and denied otherwise.
#[rustfmt::skip]
pub(super) const CAPABLE: &[(Capability, &[c_long])] = &[
    (Capability::CAP_SYS_ADMIN, &[
        // Calls that make and change namespaces and mounts. Most vulnerabilities of the last years needed them.
        SYS_unshare, SYS_setns, SYS_mount, SYS_umount2, SYS_pivot_root, SYS_mount_setattr, SYS_move_mount, SYS_open_tree,
        SYS_fsopen, SYS_fsconfig, SYS_fsmount, SYS_fspick,
        SYS_sethostname, SYS_setdomainname, SYS_quotactl, SYS_quotactl_fd, SYS_fanotify_init, SYS_lookup_dcookie,
        SYS_bpf, SYS_perf_event_open,
    ]),
    (Capability::CAP_BPF, &[SYS_bpf]),
    (Capability::CAP_PERFMON, &[SYS_perf_event_open]),
    (Capability::CAP_DAC_READ_SEARCH, &[SYS_open_by_handle_at]),
    (Capability::CAP_SYS_BOOT, &[SYS_reboot]),
    (Capability::CAP_SYS_CHROOT, &[SYS_chroot]),
    (Capability::CAP_SYS_MODULE, &[SYS_init_module, SYS_finit_module, SYS_delete_module]),
    (Capability::CAP_SYS_NICE, &[
        SYS_get_mempolicy, SYS_set_mempolicy, SYS_set_mempolicy_home_node, SYS_mbind, SYS_migrate_pages, SYS_move_pages,
    ]),
    (Capability::CAP_SYS_PACCT, &[SYS_acct]),
    (Capability::CAP_SYS_PTRACE, &[SYS_kcmp, SYS_pidfd_getfd, SYS_process_madvise]),
    (Capability::CAP_SYS_TIME, &[SYS_settimeofday, SYS_clock_settime]),
    (Capability::CAP_SYS_TTY_CONFIG, &[SYS_vhangup]),
    (Capability::CAP_SYSLOG, &[SYS_syslog]),
    #[cfg(target_arch = "x86_64")]
    (Capability::CAP_SYS_RAWIO, &[SYS_iopl, SYS_ioperm]),
];

/// Calls that are always denied. No namespace separates what they change, or they had too many vulnerabilities.
#[rustfmt::skip]
pub(super) const DENIED: &[c_long] = &[
    SYS_add_key, SYS_keyctl, SYS_request_key, SYS_kexec_load, SYS_swapon, SYS_swapoff, SYS_nfsservctl,
    SYS_io_uring_setup, SYS_io_uring_enter, SYS_io_uring_register, SYS_userfaultfd,
];

/// A call that is allowed only with certain values of one argument.
pub(super) struct ArgumentRule {
    /// The call.
    pub(super) call: c_long,
    /// The index of the argument. The kernel uses only the low 32 bits of these arguments, so the filter compares only
    /// those. A filter that compared 64 bits would allow `TIOCSTI + (1 << 32)`.
    pub(super) argument: u32,
    /// The condition of the argument.
    pub(super) condition: Condition,
}

/// A condition of an argument. The call is allowed if it is true.
pub(super) enum Condition {
    /// The argument is one of these.
    OneOf(&'static [u32]),
    /// The argument is none of these.
    NoneOf(&'static [u32]),
    /// The argument has none of these bits.
    WithoutBits(u32),
}

const NAMESPACES: c_int =
    CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET;

/// Execution domains: Linux, Linux for 32-bit programs, each also with UNAME26. The last value only reads the domain.
const DOMAINS: &[u32] = &[0, 0x8, 0x2_0000, 0x2_0008, u32::MAX];

/// The rules of arguments, in the order in which the filter checks them.
pub(super) const ARGUMENT_RULES: &[ArgumentRule] = &[
    ArgumentRule { call: SYS_clone, argument: 0, condition: Condition::WithoutBits(NAMESPACES as u32) },
    // These two put characters into the terminal, which the shell outside may share.
    ArgumentRule {
        call: SYS_ioctl,
        argument: 1,
        condition: Condition::NoneOf(&[TIOCSTI as u32, TIOCLINUX as u32]),
    },
    ArgumentRule { call: SYS_personality, argument: 0, condition: Condition::OneOf(DOMAINS) },
    // Sockets between a virtual machine and its host. They do not belong to a network namespace.
    ArgumentRule { call: SYS_socket, argument: 0, condition: Condition::NoneOf(&[AF_VSOCK as u32]) },
];
