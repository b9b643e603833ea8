//! The default filter, run as the kernel runs it.

use caps::Capability;
use libc::*;

use super::*;
use crate::plan::filter::{FilteredCall, NATIVE as HERE, verdict};
use crate::security::capabilities::DEFAULT;

const I386: u32 = 0x4000_0003;

/// What the default filter does with a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    /// The call is made.
    Allow,
    /// The call fails with EPERM.
    Deny,
    /// The call fails with ENOSYS, as on a kernel that does not have it.
    Absent,
    /// The process is killed by SIGSYS.
    Kill,
}

fn filter(keep: &[Capability]) -> Vec<u64> {
    compile::compile(&calls::profile(keep)).unwrap()
}

fn run(program: &[u64], architecture: u32, number: u32, arguments: [u64; 6]) -> Answer {
    match verdict(program, &FilteredCall { number, architecture, arguments }) {
        SECCOMP_RET_ALLOW => Answer::Allow,
        SECCOMP_RET_KILL_PROCESS => Answer::Kill,
        errno if errno == SECCOMP_RET_ERRNO | EPERM as u32 => Answer::Deny,
        errno if errno == SECCOMP_RET_ERRNO | ENOSYS as u32 => Answer::Absent,
        other => panic!("unknown action {other:#x}"),
    }
}

fn ask(call: c_long, arguments: [u64; 6]) -> Answer {
    run(&filter(&DEFAULT), HERE, call as u32, arguments)
}

/// Runs the default filter for a call with one argument. The others are zero.
fn with(call: c_long, place: usize, argument: u64) -> Answer {
    let mut arguments = [0; 6];
    arguments[place] = argument;
    ask(call, arguments)
}

#[test]
#[rustfmt::skip]
fn ordinary_programs_work() {
    // Calls of the C library, of a shell, and of `sandbox` itself after the filter is installed.
    for call in [
        SYS_execve, SYS_read, SYS_write, SYS_openat, SYS_close, SYS_exit_group, SYS_mmap, SYS_brk, SYS_clone,
        SYS_wait4, SYS_rt_sigaction, SYS_rt_sigprocmask, SYS_rt_sigreturn, SYS_futex, SYS_getrandom, SYS_rseq,
        SYS_prctl, SYS_capset, SYS_setgroups, SYS_setresgid, SYS_setresuid, SYS_sendmsg, SYS_recvmsg, SYS_sendto,
        SYS_recvfrom, SYS_ptrace, SYS_chroot, SYS_socket, SYS_ioctl, SYS_mknodat, SYS_landlock_restrict_self,
    ] {
        assert_eq!(ask(call, [0; 6]), Answer::Allow, "{call}");
    }
}

#[test]
#[rustfmt::skip]
fn calls_that_change_the_machine_are_denied() {
    for call in [
        SYS_mount, SYS_umount2, SYS_pivot_root, SYS_fsopen, SYS_fsconfig, SYS_open_tree, SYS_move_mount, SYS_reboot,
        SYS_kexec_load, SYS_init_module, SYS_finit_module, SYS_keyctl, SYS_add_key, SYS_request_key, SYS_bpf,
        SYS_perf_event_open, SYS_userfaultfd, SYS_unshare, SYS_setns, SYS_io_uring_setup, SYS_open_by_handle_at,
        SYS_swapon, SYS_settimeofday, SYS_clock_settime, SYS_sethostname, SYS_syslog, SYS_acct,
    ] {
        assert_eq!(ask(call, [0; 6]), Answer::Deny, "{call}");
    }
}

#[test]
fn an_unknown_call_is_absent() {
    assert_eq!(ask(SYS_clone3, [0; 6]), Answer::Absent);
    for number in [463, 1000, 0x3fff_ffff, u32::MAX] {
        assert_eq!(run(&filter(&DEFAULT), HERE, number, [0; 6]), Answer::Absent, "{number}");
    }
    // x32 has the numbers of x86_64 with one more bit, and some of its own: getpid, execve, its execve, its ioctl.
    for number in [39, 59, 520, 514] {
        assert_eq!(run(&filter(&DEFAULT), HERE, 0x4000_0000 | number, [0; 6]), Answer::Absent, "{number}");
    }
}

#[test]
fn a_call_of_another_architecture_kills_the_process() {
    // ARM, in which 20 is getpid; RISC-V; the other byte order.
    for architecture in [0x4000_0028, 0xc000_00f3, HERE & !0x4000_0000, 0] {
        assert_eq!(run(&filter(&DEFAULT), architecture, 20, [0; 6]), Answer::Kill, "{architecture:#x}");
    }
}

#[test]
fn arguments_are_compared_by_the_32_bits_that_the_kernel_uses() {
    for high in [0, 1 << 32, u64::MAX << 32] {
        for request in [TIOCSTI, TIOCLINUX] {
            assert_eq!(with(SYS_ioctl, 1, request | high), Answer::Deny, "{request:#x} {high:#x}");
        }
        assert_eq!(with(SYS_ioctl, 1, TCGETS | high), Answer::Allow);
        assert_eq!(with(SYS_clone, 0, CLONE_NEWUSER as u64 | high), Answer::Deny);
        assert_eq!(with(SYS_socket, 0, AF_VSOCK as u64 | high), Answer::Deny);
        assert_eq!(with(SYS_socket, 0, AF_UNIX as u64 | high), Answer::Allow);
        assert_eq!(with(SYS_personality, 0, 0x40000 | high), Answer::Deny);
        assert_eq!(with(SYS_personality, 0, 0x8 | high), Answer::Allow);
    }
    // The request is the second argument. The others are not checked.
    assert_eq!(with(SYS_ioctl, 0, TIOCSTI), Answer::Allow);
    assert_eq!(with(SYS_ioctl, 2, TIOCSTI), Answer::Allow);
}

#[test]
fn clone_makes_processes_and_threads_but_no_namespaces() {
    let thread =
        CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM | CLONE_SETTLS;
    for flags in [SIGCHLD, thread, CLONE_VM | CLONE_VFORK | SIGCHLD] {
        assert_eq!(with(SYS_clone, 0, flags as u32 as u64), Answer::Allow, "{flags:#x}");
    }
    for bit in 0..32 {
        let is_namespace = [17, 25, 26, 27, 28, 29, 30].contains(&bit);
        let expected = if is_namespace { Answer::Deny } else { Answer::Allow };
        assert_eq!(with(SYS_clone, 0, 1 << bit | SIGCHLD as u64), expected, "bit {bit}");
    }
}

#[test]
fn a_kept_capability_allows_its_calls() {
    let asked = |keep: &[Capability], call: c_long| run(&filter(keep), HERE, call as u32, [0; 6]);
    assert_eq!(asked(&[Capability::CAP_SYS_TIME], SYS_clock_settime), Answer::Allow);
    assert_eq!(asked(&[Capability::CAP_SYS_TIME], SYS_mount), Answer::Deny);
    assert_eq!(asked(&[], SYS_chroot), Answer::Deny);
    assert_eq!(asked(&[Capability::CAP_BPF], SYS_bpf), Answer::Allow);
    let all = [Capability::CAP_SYS_ADMIN];
    let flags = [CLONE_NEWUSER as u64, 0, 0, 0, 0, 0];
    assert_eq!(run(&filter(&all), HERE, SYS_clone as u32, flags), Answer::Allow);
    // Calls that need no capability stay denied.
    let every: Vec<Capability> = caps::all().into_iter().collect();
    for call in [SYS_keyctl, SYS_kexec_load, SYS_userfaultfd] {
        assert_eq!(asked(&every, call), Answer::Deny);
    }
    assert_eq!(asked(&every, SYS_clone3), Answer::Absent);
}

/// Runs the default filter for a call of i386, by its number in that table.
#[cfg(target_arch = "x86_64")]
fn ask_i386(number: u32, arguments: [u64; 6]) -> Answer {
    run(&filter(&DEFAULT), I386, number, arguments)
}

#[cfg(target_arch = "x86_64")]
#[test]
fn a_32_bit_program_has_its_own_table() {
    // exit, fork, read, write, open, close, execve, getpid, brk, waitpid, mmap2, stat64, fcntl64, set_thread_area,
    // socketcall, ipc, socket, clone, ioctl, sigreturn, clock_gettime64, futex_time64, statx, rt_sigaction.
    for number in
        [1, 2, 3, 4, 5, 6, 11, 20, 45, 7, 192, 195, 221, 243, 102, 117, 359, 120, 54, 119, 403, 422, 383, 174]
    {
        assert_eq!(ask_i386(number, [0; 6]), Answer::Allow, "{number}");
    }
    // mount, umount, umount2, stime, reboot, ptrace is allowed, init_module, unshare, setns, bpf, keyctl, kexec_load,
    // swapon, settimeofday, clock_settime, clock_settime64, userfaultfd, io_uring_setup, iopl, open_tree.
    for number in [21, 22, 52, 25, 88, 128, 310, 346, 357, 288, 283, 87, 79, 264, 404, 374, 425, 110, 428] {
        assert_eq!(ask_i386(number, [0; 6]), Answer::Deny, "{number}");
    }
    // clone3, vm86, uselib, a number of no call, one of x32.
    for number in [435, 166, 86, 470, 1000, 0x4000_0014, u32::MAX] {
        assert_eq!(ask_i386(number, [0; 6]), Answer::Absent, "{number}");
    }
    // Without its capability, a call is denied in both tables.
    let asked = |keep: &[Capability], number| run(&filter(keep), I386, number, [0; 6]);
    assert_eq!(asked(&[], 61), Answer::Deny);
    assert_eq!(asked(&[Capability::CAP_SYS_CHROOT], 61), Answer::Allow);
    assert_eq!(asked(&[Capability::CAP_SYS_TIME], 404), Answer::Allow);
    assert_eq!(asked(&[Capability::CAP_SYS_ADMIN], 22), Answer::Allow);
}

#[cfg(target_arch = "x86_64")]
#[test]
fn the_arguments_of_a_32_bit_program_are_compared_too() {
    let with = |number, place: usize, argument| {
        let mut arguments = [0; 6];
        arguments[place] = argument;
        ask_i386(number, arguments)
    };
    assert_eq!(with(120, 0, CLONE_NEWUSER as u64), Answer::Deny);
    assert_eq!(with(54, 1, TIOCSTI), Answer::Deny);
    assert_eq!(with(54, 1, TCGETS), Answer::Allow);
    assert_eq!(with(136, 0, 0x40000), Answer::Deny);
    assert_eq!(with(359, 0, AF_VSOCK as u64), Answer::Deny);
    assert_eq!(with(359, 0, AF_INET as u64), Answer::Allow);
    // The native ioctl has the number of another call there.
    assert_eq!(with(SYS_ioctl as u32, 1, TIOCSTI), ask_i386(SYS_ioctl as u32, [0; 6]));
}
