//! The filter of an init: it allows only the calls that init still makes. Init executes no program, so it needs far fewer
//! calls than a command does, and a profile for a command need not allow them.

use super::profile::{ArgumentTest, Comparison, FilterAction, SeccompProfile, SeccompRule};

/// Calls of its loop, and the last ones before it: it gives up capabilities, leaves the process group of the command, sends
/// the PID of the command and closes its descriptors. Calls for memory, which an allocation or its end can need. exec/init.rs
const ALLOWED: &str = "wait4 rt_sigtimedwait kill exit_group rt_sigreturn restart_syscall \
    capset sendmsg close close_range rt_sigprocmask brk munmap mremap madvise";

/// The profile of the filter.
pub(super) fn profile() -> SeccompProfile {
    let rule = |names: &str, args| SeccompRule {
        names: names.split_whitespace().map(str::to_owned).collect(),
        action: FilterAction::Allow,
        errno_ret: None,
        args,
    };
    // Memory for data, not for code.
    let executable = libc::PROT_EXEC as u64;
    let data = ArgumentTest { index: 2, value: executable, value_two: 0, op: Comparison::MaskedEqual };
    // Only its own process group.
    let own = |index| ArgumentTest { index, value: 0, value_two: 0, op: Comparison::Equal };
    SeccompProfile {
        default_action: FilterAction::Errno,
        default_errno_ret: None,
        architectures: Vec::new(),
        flags: Vec::new(),
        syscalls: vec![
            rule(ALLOWED, Vec::new()),
            rule("mmap", vec![data]),
            rule("setpgid", vec![own(0), own(1)]),
        ],
        other_architectures: FilterAction::KillProcess,
        other_x32: None,
    }
}
