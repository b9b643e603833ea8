//! The filter, asked as the kernel asks it.

use caps::Capability;
use libc::*;

use super::program::*;
use super::*;
use crate::security::capabilities::DEFAULT;

/// What a program answers to a call: no more of BPF than is used here.
fn run(program: &[Instruction], architecture: u32, number: u32, arguments: [u64; 6]) -> Verdict {
    let mut register = 0;
    let mut at = 0;
    loop {
        let Instruction { code, if_true, if_false, number: operand } = program[at];
        let holds = match code {
            LOAD => {
                register = match operand {
                    NUMBER => number,
                    ARCHITECTURE => architecture,
                    place => (arguments[(place - ARGUMENTS) as usize / 8] >> ((place % 8) * 8)) as u32,
                };
                at += 1;
                continue;
            }
            IF_EQUAL => register == operand,
            IF_AT_LEAST => register >= operand,
            IF_ANY_BIT => register & operand != 0,
            RETURN => {
                return match operand {
                    SECCOMP_RET_ALLOW => Verdict::Allow,
                    SECCOMP_RET_KILL_PROCESS => Verdict::Kill,
                    operand if operand == SECCOMP_RET_ERRNO | EPERM as u32 => Verdict::Deny,
                    operand if operand == SECCOMP_RET_ERRNO | ENOSYS as u32 => Verdict::Absent,
                    other => panic!("no answer of ours: {other:#x}"),
                };
            }
            other => panic!("no opcode of ours: {other:#x}"),
        };
        at += 1 + usize::from(if holds { if_true } else { if_false });
    }
}

fn ask(call: c_long, arguments: [u64; 6]) -> Verdict {
    run(&filter(&DEFAULT), HERE, call as u32, arguments)
}

/// A call with this argument, the others zero.
fn with(call: c_long, place: usize, argument: u64) -> Verdict {
    let mut arguments = [0; 6];
    arguments[place] = argument;
    ask(call, arguments)
}

#[test]
#[rustfmt::skip]
fn programs_can_live() {
    // What the C library, a shell and what runs behind the filter in `sandbox` itself call.
    for call in [
        SYS_execve, SYS_read, SYS_write, SYS_openat, SYS_close, SYS_exit_group, SYS_mmap, SYS_brk, SYS_clone,
        SYS_wait4, SYS_rt_sigaction, SYS_rt_sigprocmask, SYS_rt_sigreturn, SYS_futex, SYS_getrandom, SYS_rseq,
        SYS_prctl, SYS_capset, SYS_setgroups, SYS_setresgid, SYS_setresuid, SYS_sendmsg, SYS_recvmsg, SYS_sendto,
        SYS_recvfrom, SYS_ptrace, SYS_chroot, SYS_socket, SYS_ioctl, SYS_mknodat, SYS_landlock_restrict_self,
    ] {
        assert_eq!(ask(call, [0; 6]), Verdict::Allow, "{call}");
    }
}

#[test]
#[rustfmt::skip]
fn what_reaches_the_machine_is_denied() {
    for call in [
        SYS_mount, SYS_umount2, SYS_pivot_root, SYS_fsopen, SYS_fsconfig, SYS_open_tree, SYS_move_mount, SYS_reboot,
        SYS_kexec_load, SYS_init_module, SYS_finit_module, SYS_keyctl, SYS_add_key, SYS_request_key, SYS_bpf,
        SYS_perf_event_open, SYS_userfaultfd, SYS_unshare, SYS_setns, SYS_io_uring_setup, SYS_open_by_handle_at,
        SYS_swapon, SYS_settimeofday, SYS_clock_settime, SYS_sethostname, SYS_syslog, SYS_acct,
    ] {
        assert_eq!(ask(call, [0; 6]), Verdict::Deny, "{call}");
    }
}

#[test]
fn what_nobody_knows_is_absent() {
    assert_eq!(ask(SYS_clone3, [0; 6]), Verdict::Absent);
    for number in [463, 1000, 0x3fff_ffff, u32::MAX] {
        assert_eq!(run(&filter(&DEFAULT), HERE, number, [0; 6]), Verdict::Absent, "{number}");
    }
    // x32: the numbers of x86_64 with a bit. getpid, execve and its own one, ioctl.
    for number in [39, 59, 520, 514] {
        assert_eq!(run(&filter(&DEFAULT), HERE, 0x4000_0000 | number, [0; 6]), Verdict::Absent, "{number}");
    }
}

#[test]
fn another_architecture_ends_the_process() {
    // AUDIT_ARCH_I386, whose 20 is getpid; ARM; the other byte order.
    for architecture in [0x4000_0003, 0x4000_0028, HERE & !0x4000_0000, 0] {
        assert_eq!(run(&filter(&DEFAULT), architecture, 20, [0; 6]), Verdict::Kill, "{architecture:#x}");
    }
}

#[test]
fn arguments_are_compared_by_the_32_bits_that_the_kernel_takes() {
    for high in [0, 1 << 32, u64::MAX << 32] {
        for request in [TIOCSTI, TIOCLINUX] {
            assert_eq!(with(SYS_ioctl, 1, request | high), Verdict::Deny, "{request:#x} {high:#x}");
        }
        assert_eq!(with(SYS_ioctl, 1, TCGETS | high), Verdict::Allow);
        assert_eq!(with(SYS_clone, 0, CLONE_NEWUSER as u64 | high), Verdict::Deny);
        assert_eq!(with(SYS_socket, 0, AF_VSOCK as u64 | high), Verdict::Deny);
        assert_eq!(with(SYS_socket, 0, AF_UNIX as u64 | high), Verdict::Allow);
        assert_eq!(with(SYS_personality, 0, 0x40000 | high), Verdict::Deny);
        assert_eq!(with(SYS_personality, 0, 0x8 | high), Verdict::Allow);
    }
    // The request is the second argument, and only that counts.
    assert_eq!(with(SYS_ioctl, 0, TIOCSTI), Verdict::Allow);
    assert_eq!(with(SYS_ioctl, 2, TIOCSTI), Verdict::Allow);
}

#[test]
fn a_clone_makes_processes_and_threads_but_no_namespace() {
    let thread =
        CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM | CLONE_SETTLS;
    for flags in [SIGCHLD, thread, CLONE_VM | CLONE_VFORK | SIGCHLD] {
        assert_eq!(with(SYS_clone, 0, flags as u32 as u64), Verdict::Allow, "{flags:#x}");
    }
    for bit in 0..32 {
        let is_namespace = [17, 25, 26, 27, 28, 29, 30].contains(&bit);
        let expected = if is_namespace { Verdict::Deny } else { Verdict::Allow };
        assert_eq!(with(SYS_clone, 0, 1 << bit | SIGCHLD as u64), expected, "bit {bit}");
    }
}

#[test]
fn a_capability_that_is_kept_opens_its_calls() {
    let asked = |keep: &[Capability], call: c_long| run(&filter(keep), HERE, call as u32, [0; 6]);
    assert_eq!(asked(&[Capability::CAP_SYS_TIME], SYS_clock_settime), Verdict::Allow);
    assert_eq!(asked(&[Capability::CAP_SYS_TIME], SYS_mount), Verdict::Deny);
    assert_eq!(asked(&[], SYS_chroot), Verdict::Deny);
    assert_eq!(asked(&[Capability::CAP_BPF], SYS_bpf), Verdict::Allow);
    let all = [Capability::CAP_SYS_ADMIN];
    let flags = [CLONE_NEWUSER as u64, 0, 0, 0, 0, 0];
    assert_eq!(run(&filter(&all), HERE, SYS_clone as u32, flags), Verdict::Allow);
    // What no capability is for stays denied.
    let every: Vec<Capability> = caps::all().into_iter().collect();
    for call in [SYS_keyctl, SYS_kexec_load, SYS_userfaultfd] {
        assert_eq!(asked(&every, call), Verdict::Deny);
    }
    assert_eq!(asked(&every, SYS_clone3), Verdict::Absent);
}

#[test]
fn no_call_is_on_two_lists_and_no_jump_leads_out() {
    use super::calls::*;
    let mut all: Vec<c_long> = [ALLOWED, ALLOWED_HERE, DENIED].concat();
    all.extend(ASKED.iter().map(|asked| asked.call));
    let mut capable: Vec<c_long> = CAPABLE.iter().flat_map(|(_, calls)| calls.iter().copied()).collect();
    capable.sort_unstable();
    capable.dedup();
    all.extend(capable);
    let count = all.len();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), count);

    let program = filter(&[]);
    assert!(program.len() < 4096, "BPF_MAXINSNS");
    // Each number that isn't asked about has the verdict of its list: the search finds all of them, and nothing else.
    for number in 0..1000 {
        let is = |list: &[c_long]| list.contains(&c_long::from(number));
        let is_asked = ASKED.iter().any(|asked| asked.call == c_long::from(number));
        let expected = match () {
            () if is(ALLOWED) || is(ALLOWED_HERE) => Verdict::Allow,
            () if is(DENIED) || CAPABLE.iter().any(|(_, calls)| is(calls)) => Verdict::Deny,
            () => Verdict::Absent,
        };
        assert!(is_asked || run(&program, HERE, number, [0; 6]) == expected, "{number}");
    }
    for (at, one) in program.iter().enumerate() {
        assert!(at + usize::from(one.if_true.max(one.if_false)) < program.len(), "{at}: {one:?}");
    }
}
