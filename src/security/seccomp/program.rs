//! The default filter as a program of classic BPF, which seccomp uses. Classic BPF has one register here, and jumps
//! only go forward.
//!
//! The program first checks the architecture. Each architecture has a part of its own, because its calls have other
//! numbers. For each call with a rule for an argument there is a block, which returns
//! an action or is skipped. All other calls are found by their number. Neighbouring numbers with the same action form a
//! run. Documentation/userspace-api/seccomp_filter.rst, bpf(4) of the BSDs

use std::ffi::c_long;

use caps::Capability;

use super::FilterAction;
use super::calls::{ALLOWED, ALLOWED_HERE, ARGUMENT_RULES, CAPABLE, Condition, DENIED};
#[cfg(target_arch = "x86_64")]
use super::i386;

/// One instruction of classic BPF, struct sock_filter: an opcode, how many instructions to skip if its test is true and
/// if it is false, and an operand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FilterInstruction {
    pub(super) code: u16,
    pub(super) if_true: u8,
    pub(super) if_false: u8,
    pub(super) number: u32,
}

// Opcodes: BPF_LD|BPF_W|BPF_ABS and so on.
pub(super) const LOAD: u16 = 0x20;
pub(super) const JUMP: u16 = 0x05;
pub(super) const IF_EQUAL: u16 = 0x15;
pub(super) const IF_AT_LEAST: u16 = 0x35;
pub(super) const IF_ANY_BIT: u16 = 0x45;
pub(super) const RETURN: u16 = 0x06;

// Offsets in struct seccomp_data.
pub(super) const NUMBER: u32 = 0;
pub(super) const ARCHITECTURE: u32 = 4;
pub(super) const ARGUMENTS: u32 = 16;

/// AUDIT_ARCH_*: the ELF machine, with one bit for 64-bit and one for little-endian. x86_64 and x32 have the same
/// value. The calls of x32 have numbers from 0x40000000 on, which are on no list.
pub(super) const HERE: u32 = if cfg!(target_arch = "x86_64") {
    0xc000_003e
} else if cfg!(target_arch = "aarch64") {
    0xc000_00b7
} else {
    panic!("src/security/seccomp/calls.rs has no list for this architecture")
};

/// More numbers than there are calls. All higher numbers have the action of the last one.
pub(super) const NUMBERS: usize = 512;

impl FilterInstruction {
    const fn new(code: u16, if_true: u8, if_false: u8, number: u32) -> FilterInstruction {
        FilterInstruction { code, if_true, if_false, number }
    }

    /// The eight bytes of the instruction in memory.
    pub(super) fn word(&self) -> u64 {
        let ([code_0, code_1], [n_0, n_1, n_2, n_3]) = (self.code.to_ne_bytes(), self.number.to_ne_bytes());
        u64::from_ne_bytes([code_0, code_1, self.if_true, self.if_false, n_0, n_1, n_2, n_3])
    }
}

/// A system call table: the AUDIT_ARCH_* of its calls, the number that it has for a native call, and the action of each
/// number.
struct CallTable {
    architecture: u32,
    number_of: fn(c_long) -> Option<u32>,
    actions: [FilterAction; NUMBERS],
}

/// The filter of a process that keeps these capabilities.
pub(super) fn filter(keep: &[Capability]) -> Vec<FilterInstruction> {
    let native = actions(keep);
    let tables = [
        CallTable { architecture: HERE, number_of: |call| Some(call as u32), actions: native },
        #[cfg(target_arch = "x86_64")]
        CallTable { architecture: i386::I386, number_of: i386::number_of, actions: i386::actions(&native) },
    ];
    let mut program = vec![load(ARCHITECTURE)];
    for table in &tables {
        let part = part_of(table, keep);
        // The distance of a conditional jump is one byte, and this part is longer.
        program.push(FilterInstruction::new(IF_EQUAL, 1, 0, table.architecture));
        program.push(FilterInstruction::new(JUMP, 0, 0, part.len() as u32));
        program.extend(part);
    }
    program.push(answer(FilterAction::Kill));
    program
}

/// The part of one architecture. It always returns.
fn part_of(table: &CallTable, keep: &[Capability]) -> Vec<FilterInstruction> {
    let mut part = vec![load(NUMBER)];
    let may_isolate = keep.contains(&Capability::CAP_SYS_ADMIN);
    for rule in ARGUMENT_RULES.iter().filter(|rule| !(may_isolate && rule.call == libc::SYS_clone)) {
        let Some(number) = (table.number_of)(rule.call) else { continue };
        let mut block = vec![load(ARGUMENTS + 8 * rule.argument)];
        block.extend(compare(&rule.condition));
        // A block always returns. If it is skipped, the register still has the number of the call.
        part.push(FilterInstruction::new(IF_EQUAL, 0, block.len() as u8, number));
        part.extend(block);
    }
    search(&runs(&table.actions), &mut part);
    part
}

/// Finds the action of a number by binary search. With a linear search, the last calls would need a hundred
/// comparisons. The kernel also runs the filter for each number when it is installed. The distance of a jump is one
/// byte, so 256 runs is the maximum.
fn search(runs: &[(u32, FilterAction)], program: &mut Vec<FilterInstruction>) {
    if let [(_, action)] = runs {
        return program.push(answer(*action));
    }
    let (low, high) = runs.split_at(runs.len() / 2);
    let test = program.len();
    program.push(FilterInstruction::new(IF_AT_LEAST, 0, 0, high[0].0));
    search(low, program);
    program[test].if_true = (program.len() - test - 1) as u8;
    search(high, program);
}

fn load(place: u32) -> FilterInstruction {
    FilterInstruction::new(LOAD, 0, 0, place)
}

/// Returns an action: SECCOMP_RET_*.
fn answer(action: FilterAction) -> FilterInstruction {
    let number = match action {
        FilterAction::Allow => libc::SECCOMP_RET_ALLOW,
        FilterAction::Deny => libc::SECCOMP_RET_ERRNO | libc::EPERM as u32,
        FilterAction::Absent => libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32,
        FilterAction::Kill => libc::SECCOMP_RET_KILL_PROCESS,
    };
    FilterInstruction::new(RETURN, 0, 0, number)
}

/// Checks an argument and returns an action.
fn compare(condition: &Condition) -> Vec<FilterInstruction> {
    let (code, values, found, otherwise) = match condition {
        Condition::OneOf(values) => (IF_EQUAL, *values, FilterAction::Allow, FilterAction::Deny),
        Condition::NoneOf(values) => (IF_EQUAL, *values, FilterAction::Deny, FilterAction::Allow),
        Condition::WithoutBits(bits) => {
            (IF_ANY_BIT, std::slice::from_ref(bits), FilterAction::Deny, FilterAction::Allow)
        }
    };
    let tests = values.iter().flat_map(|value| [FilterInstruction::new(code, 0, 1, *value), answer(found)]);
    tests.chain([answer(otherwise)]).collect()
}

/// The action of each number. A number on no list is absent.
fn actions(keep: &[Capability]) -> [FilterAction; NUMBERS] {
    let denied = DENIED.iter().chain(CAPABLE.iter().flat_map(|(_, calls)| *calls));
    let kept = CAPABLE.iter().filter(|(capability, _)| keep.contains(capability));
    let allowed = ALLOWED.iter().chain(ALLOWED_HERE).chain(kept.flat_map(|(_, calls)| *calls));
    // With CAP_SYS_ADMIN, the block for clone(2) is left out, and its number is found here.
    let allowed = allowed.chain(&[libc::SYS_clone]);
    let mut actions = [FilterAction::Absent; NUMBERS];
    denied.for_each(|call| actions[*call as usize] = FilterAction::Deny);
    allowed.for_each(|call| actions[*call as usize] = FilterAction::Allow);
    actions
}

/// The first number and the action of each run, in order.
fn runs(actions: &[FilterAction]) -> Vec<(u32, FilterAction)> {
    let mut runs: Vec<(u32, FilterAction)> = Vec::new();
    for (number, &action) in (0..).zip(actions) {
        if runs.last().is_none_or(|(_, same)| *same != action) {
            runs.push((number, action));
        }
    }
    runs
}
