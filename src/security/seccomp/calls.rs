//! The default filter, as a profile. The calls are listed by purpose, so that each line can be reviewed. A name means the
//! call of every system call table that has it, so each decision is made once. syscalls(2)

use caps::Capability;
use libc::{
    AF_VSOCK, CLONE_NEWCGROUP, CLONE_NEWIPC, CLONE_NEWNET, CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWUSER,
    CLONE_NEWUTS, TIOCLINUX, TIOCSTI,
};

use super::profile::{
    ArgumentTest, Comparison, FilterAction, FilterArchitecture, SeccompProfile, SeccompRule,
};

/// Calls that are allowed with any arguments.
#[rustfmt::skip]
const ALLOWED: &[&str] = &[
    // Files by descriptor.
    "read write readv writev pread64 pwrite64 preadv pwritev preadv2 pwritev2 lseek close close_range dup",
    "dup3 fcntl flock fsync fdatasync sync syncfs ftruncate fallocate fadvise64 readahead sendfile splice",
    "tee vmsplice copy_file_range pipe2 getdents64",
    // Files by path. The permissions of the files decide the rest.
    "openat openat2 newfstatat fstat statx statfs fstatfs faccessat faccessat2 readlinkat linkat",
    "symlinkat unlinkat renameat2 mkdirat mknodat fchmod fchmodat fchown fchownat utimensat truncate",
    "chdir fchdir getcwd umask name_to_handle_at getxattr lgetxattr fgetxattr setxattr lsetxattr",
    "fsetxattr listxattr llistxattr flistxattr removexattr lremovexattr fremovexattr inotify_init1",
    "inotify_add_watch inotify_rm_watch fanotify_mark",
    // Memory.
    "brk mmap munmap mremap mprotect madvise mincore msync mlock mlock2 mlockall munlock munlockall",
    "remap_file_pages membarrier memfd_create memfd_secret mseal pkey_alloc pkey_free pkey_mprotect",
    // Processes and threads. clone(2) is in `by_arguments`, because of its flags.
    "execve execveat exit exit_group wait4 waitid getpid getppid gettid getpgid setpgid getsid setsid",
    "set_tid_address set_robust_list get_robust_list futex futex_waitv rseq prctl pidfd_open",
    "process_mrelease getcpu restart_syscall",
    // Tracing. The kernel checks that the tracer may do it. Since Linux 4.8 a tracer cannot bypass a filter.
    "ptrace process_vm_readv process_vm_writev",
    // Signals.
    "kill tkill tgkill pidfd_send_signal rt_sigaction rt_sigprocmask rt_sigpending rt_sigsuspend",
    "rt_sigtimedwait rt_sigqueueinfo rt_tgsigqueueinfo rt_sigreturn sigaltstack signalfd4",
    // Users, groups and capabilities. The kernel refuses changes for which the process has no capability.
    "getuid geteuid getgid getegid getresuid getresgid getgroups setuid setgid setreuid setregid",
    "setresuid setresgid setfsuid setfsgid setgroups capget capset",
    // Further restrictions. They can only add to this filter.
    "seccomp landlock_create_ruleset landlock_add_rule landlock_restrict_self",
    // Time.
    "nanosleep clock_nanosleep clock_gettime clock_getres gettimeofday getitimer setitimer timer_create",
    "timer_settime timer_gettime timer_getoverrun timer_delete timerfd_create timerfd_settime",
    "timerfd_gettime times",
    // These two can read the clock's state without a privilege. To set the clock needs CAP_SYS_TIME.
    "adjtimex clock_adjtime",
    // Waiting for several descriptors, and asynchronous I/O.
    "ppoll pselect6 epoll_create1 epoll_ctl epoll_pwait epoll_pwait2 eventfd2 io_setup io_submit",
    "io_getevents io_cancel io_destroy",
    // Sockets. socket(2) is in `by_arguments`, because of its address family.
    "socketpair bind listen accept accept4 connect shutdown getsockname getpeername getsockopt setsockopt",
    "sendto recvfrom sendmsg recvmsg sendmmsg recvmmsg",
    // System V IPC and message queues.
    "shmget shmat shmdt shmctl semget semop semtimedop semctl msgget msgsnd msgrcv msgctl mq_open",
    "mq_unlink mq_timedsend mq_timedreceive mq_notify mq_getsetattr",
    // Scheduling and limits.
    "sched_yield sched_getaffinity sched_setaffinity sched_getparam sched_setparam sched_getscheduler",
    "sched_setscheduler sched_getattr sched_setattr sched_rr_get_interval sched_get_priority_min",
    "sched_get_priority_max getpriority setpriority ioprio_get ioprio_set prlimit64 getrusage",
    // Facts about the machine, and random numbers.
    "uname sysinfo getrandom",
    // Calls that only some architectures have, most of them for old programs.
    "open creat stat lstat access readlink link symlink unlink rename renameat mkdir rmdir mknod chmod",
    "chown lchown utime utimes futimesat getdents dup2 pipe poll select epoll_create epoll_wait eventfd",
    "signalfd inotify_init fork vfork getpgrp pause alarm time getrlimit setrlimit sync_file_range",
    "fchmodat2",
    // The address of a thread's data; segments, for programs of other systems.
    "arch_prctl modify_ldt set_thread_area get_thread_area",
    // Calls of i386 alone: older or newer forms of the calls above, with 32-bit IDs, 64-bit sizes or 64-bit times.
    // socketcall(2) and ipc(2) stand for several calls. Their arguments are in memory, where no filter can read them, so
    // AF_VSOCK is not denied there. docker's filter allows them too.
    "waitpid nice lchown32 getuid32 getgid32 geteuid32 getegid32 setreuid32 setregid32 getgroups32",
    "setgroups32 fchown32 setresuid32 getresuid32 setresgid32 getresgid32 chown32 setuid32 setgid32",
    "setfsuid32 setfsgid32 signal sigaction sigsuspend sigpending sigprocmask sigreturn readdir",
    "truncate64 ftruncate64 stat64 lstat64 fstat64 fcntl64 sendfile64 fadvise64_64 statfs64 fstatfs64",
    "fstatat64 _llseek _newselect mmap2 ugetrlimit socketcall ipc clock_gettime64 clock_adjtime64",
    "clock_getres_time64 clock_nanosleep_time64 timer_gettime64 timer_settime64 timerfd_gettime64",
    "timerfd_settime64 utimensat_time64 pselect6_time64 ppoll_time64 recvmmsg_time64 mq_timedsend_time64",
    "mq_timedreceive_time64 semtimedop_time64 rt_sigtimedwait_time64 futex_time64",
    "sched_rr_get_interval_time64",
];

/// Calls that are allowed if the container keeps this capability, and denied otherwise.
const CAPABLE: &[(Capability, &str)] = &[
    // Calls that make and change namespaces and mounts. Most vulnerabilities of the last years needed them.
    (
        Capability::CAP_SYS_ADMIN,
        "unshare setns mount umount umount2 pivot_root mount_setattr move_mount open_tree",
    ),
    (
        Capability::CAP_SYS_ADMIN,
        "fsopen fsconfig fsmount fspick sethostname setdomainname quotactl quotactl_fd",
    ),
    (Capability::CAP_SYS_ADMIN, "fanotify_init lookup_dcookie bpf perf_event_open"),
    (Capability::CAP_BPF, "bpf"),
    (Capability::CAP_PERFMON, "perf_event_open"),
    (Capability::CAP_DAC_READ_SEARCH, "open_by_handle_at"),
    (Capability::CAP_SYS_BOOT, "reboot"),
    (Capability::CAP_SYS_CHROOT, "chroot"),
    (Capability::CAP_SYS_MODULE, "init_module finit_module delete_module"),
    (
        Capability::CAP_SYS_NICE,
        "get_mempolicy set_mempolicy set_mempolicy_home_node mbind migrate_pages move_pages",
    ),
    (Capability::CAP_SYS_PACCT, "acct"),
    (Capability::CAP_SYS_PTRACE, "kcmp pidfd_getfd process_madvise"),
    (Capability::CAP_SYS_TIME, "settimeofday stime clock_settime clock_settime64"),
    (Capability::CAP_SYS_TTY_CONFIG, "vhangup"),
    (Capability::CAP_SYSLOG, "syslog"),
    (Capability::CAP_SYS_RAWIO, "iopl ioperm"),
];

/// Calls that are always denied. No namespace separates what they change, or they had too many vulnerabilities.
#[rustfmt::skip]
const DENIED: &[&str] = &[
    "add_key keyctl request_key kexec_load swapon swapoff nfsservctl io_uring_setup io_uring_enter",
    "io_uring_register userfaultfd",
];

/// The flags of clone(2) that make a namespace.
const NAMESPACES: [i32; 7] =
    [CLONE_NEWNS, CLONE_NEWCGROUP, CLONE_NEWUTS, CLONE_NEWIPC, CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET];

/// Execution domains: Linux, Linux for 32-bit programs, each also with UNAME26. The last value only reads the domain.
const DOMAINS: [u32; 5] = [0, 0x8, 0x2_0000, 0x2_0008, u32::MAX];

/// The profile of the default filter, for a process that keeps these capabilities.
pub(super) fn profile(keep: &[Capability]) -> SeccompProfile {
    let (kept, lacking): (Vec<_>, Vec<_>) =
        CAPABLE.iter().partition(|(capability, _)| keep.contains(capability));
    let calls = |of: &[&(Capability, &str)]| words(of.iter().map(|(_, calls)| *calls));
    let allowed = [words(ALLOWED.iter().copied()), calls(&kept)].concat();
    let denied = [words(DENIED.iter().copied()), calls(&lacking)].concat();
    let mut syscalls =
        vec![rule(allowed, FilterAction::Allow, None), rule(denied, FilterAction::Errno, None)];
    if keep.contains(&Capability::CAP_SYS_ADMIN) {
        syscalls.push(rule(vec!["clone".into()], FilterAction::Allow, None));
    }
    syscalls.extend(by_arguments());
    SeccompProfile {
        default_action: FilterAction::Errno,
        default_errno_ret: Some(libc::ENOSYS as u16),
        architectures: match cfg!(target_arch = "x86_64") {
            true => vec![FilterArchitecture::X8664, FilterArchitecture::X86],
            false => Vec::new(),
        },
        flags: Vec::new(),
        syscalls,
        other_architectures: FilterAction::KillProcess,
        other_x32: Some(FilterAction::Errno),
    }
}

/// The rules about arguments. The first one whose condition holds decides.
fn by_arguments() -> Vec<SeccompRule> {
    let mut rules = Vec::new();
    let mut add = |call: &str, action, test| rules.push(rule(vec![call.into()], action, Some(test)));
    let always = ArgumentTest { index: 0, value: 0, value_two: 0, op: Comparison::AtLeast };
    for flag in NAMESPACES {
        let bit = u64::from(flag as u32);
        let has = ArgumentTest { index: 0, value: bit, value_two: bit, op: Comparison::MaskedEqual };
        add("clone", FilterAction::Errno, has);
    }
    add("clone", FilterAction::Allow, always);
    // These two put characters into the terminal, which the shell outside may share.
    for request in [TIOCSTI, TIOCLINUX] {
        add("ioctl", FilterAction::Errno, low_half(1, request as u32));
    }
    add("ioctl", FilterAction::Allow, always);
    for domain in DOMAINS {
        add("personality", FilterAction::Allow, low_half(0, domain));
    }
    add("personality", FilterAction::Errno, always);
    // Sockets between a virtual machine and its host. They do not belong to a network namespace.
    add("socket", FilterAction::Errno, low_half(0, AF_VSOCK as u32));
    add("socket", FilterAction::Allow, always);
    rules
}

/// The condition that an argument is this value. The kernel uses only the low 32 bits of these arguments, so only those
/// are compared. A filter that compared 64 bits would allow `TIOCSTI + (1 << 32)`.
fn low_half(index: u8, value: u32) -> ArgumentTest {
    let (mask, value_two) = (u64::from(u32::MAX), u64::from(value));
    ArgumentTest { index, value: mask, value_two, op: Comparison::MaskedEqual }
}

fn words<'a>(lists: impl Iterator<Item = &'a str>) -> Vec<String> {
    lists.flat_map(str::split_whitespace).map(str::to_owned).collect()
}

fn rule(names: Vec<String>, action: FilterAction, test: Option<ArgumentTest>) -> SeccompRule {
    SeccompRule { names, action, errno_ret: None, args: test.into_iter().collect() }
}
