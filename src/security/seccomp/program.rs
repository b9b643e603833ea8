//! The lists as a program of the first BPF, which the kernel's filters speak: one register, and jumps that only go forward.
//!
//! First the architecture, then the calls that depend on an argument, each in a block of its own that answers or is jumped
//! over; then all others by runs of neighbouring numbers with one verdict.
//! bpf(4) of the BSDs, Documentation/userspace-api/seccomp_filter.rst

use caps::Capability;

use super::Verdict;
use super::calls::{ALLOWED, ALLOWED_HERE, ASKED, CAPABLE, DENIED, Must};

/// struct sock_filter: an operation, how many instructions to skip if it holds and if not, and a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Instruction {
    pub(super) code: u16,
    pub(super) if_true: u8,
    pub(super) if_false: u8,
    pub(super) number: u32,
}

// Opcodes: BPF_LD|BPF_W|BPF_ABS and so on.
pub(super) const LOAD: u16 = 0x20;
pub(super) const IF_EQUAL: u16 = 0x15;
pub(super) const IF_AT_LEAST: u16 = 0x35;
pub(super) const IF_ANY_BIT: u16 = 0x45;
pub(super) const RETURN: u16 = 0x06;

// Where things lie in struct seccomp_data.
pub(super) const NUMBER: u32 = 0;
pub(super) const ARCHITECTURE: u32 = 4;
pub(super) const ARGUMENTS: u32 = 16;

/// AUDIT_ARCH_*: the ELF machine, with bits for 64 bits and for little-endian. x86_64 and x32 have the same one: x32's calls
/// have numbers from 0x40000000 on, which are on no list.
pub(super) const HERE: u32 = if cfg!(target_arch = "x86_64") {
    0xc000_003e
} else if cfg!(target_arch = "aarch64") {
    0xc000_00b7
} else {
    panic!("src/security/seccomp/calls.rs has no list for this architecture")
};

/// More than there are calls: the last one has the verdict of all beyond it.
const NUMBERS: usize = 512;

impl Instruction {
    const fn new(code: u16, if_true: u8, if_false: u8, number: u32) -> Instruction {
        Instruction { code, if_true, if_false, number }
    }

    /// Its eight bytes as they lie in memory.
    pub(super) fn word(&self) -> u64 {
        let ([code_0, code_1], [n_0, n_1, n_2, n_3]) = (self.code.to_ne_bytes(), self.number.to_ne_bytes());
        u64::from_ne_bytes([code_0, code_1, self.if_true, self.if_false, n_0, n_1, n_2, n_3])
    }
}

/// The filter of a process that keeps these capabilities.
pub(super) fn filter(keep: &[Capability]) -> Vec<Instruction> {
    let mut program =
        vec![load(ARCHITECTURE), Instruction::new(IF_EQUAL, 1, 0, HERE), answer(Verdict::Kill), load(NUMBER)];
    let may_isolate = keep.contains(&Capability::CAP_SYS_ADMIN);
    for asked in ASKED.iter().filter(|asked| !(may_isolate && asked.call == libc::SYS_clone)) {
        let mut block = vec![load(ARGUMENTS + 8 * asked.argument)];
        block.extend(compare(&asked.must));
        // Whoever goes in gets an answer there: whoever comes past still has the number in the register.
        program.push(Instruction::new(IF_EQUAL, 0, block.len() as u8, asked.call as u32));
        program.extend(block);
    }
    search(&runs(&verdicts(keep)), &mut program);
    program
}

/// Finds a number's verdict by halves: in a list the calls at its end would wait for a hundred comparisons, and the kernel
/// itself, which asks for each number when the filter is installed. A jump is a byte, so there may be 256 runs.
fn search(runs: &[(u32, Verdict)], program: &mut Vec<Instruction>) {
    if let [(_, verdict)] = runs {
        return program.push(answer(*verdict));
    }
    let (low, high) = runs.split_at(runs.len() / 2);
    let test = program.len();
    program.push(Instruction::new(IF_AT_LEAST, 0, 0, high[0].0));
    search(low, program);
    program[test].if_true = (program.len() - test - 1) as u8;
    search(high, program);
}

fn load(place: u32) -> Instruction {
    Instruction::new(LOAD, 0, 0, place)
}

/// SECCOMP_RET_*.
fn answer(verdict: Verdict) -> Instruction {
    let number = match verdict {
        Verdict::Allow => libc::SECCOMP_RET_ALLOW,
        Verdict::Deny => libc::SECCOMP_RET_ERRNO | libc::EPERM as u32,
        Verdict::Absent => libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32,
        Verdict::Kill => libc::SECCOMP_RET_KILL_PROCESS,
    };
    Instruction::new(RETURN, 0, 0, number)
}

/// Looks at an argument and answers.
fn compare(must: &Must) -> Vec<Instruction> {
    let (code, values, found, otherwise) = match must {
        Must::Be(values) => (IF_EQUAL, *values, Verdict::Allow, Verdict::Deny),
        Must::NotBe(values) => (IF_EQUAL, *values, Verdict::Deny, Verdict::Allow),
        Must::Lack(bits) => (IF_ANY_BIT, std::slice::from_ref(bits), Verdict::Deny, Verdict::Allow),
    };
    let tests = values.iter().flat_map(|value| [Instruction::new(code, 0, 1, *value), answer(found)]);
    tests.chain([answer(otherwise)]).collect()
}

/// What becomes of each number. What is on no list is absent.
fn verdicts(keep: &[Capability]) -> [Verdict; NUMBERS] {
    let denied = DENIED.iter().chain(CAPABLE.iter().flat_map(|(_, calls)| *calls));
    let kept = CAPABLE.iter().filter(|(capability, _)| keep.contains(capability));
    let allowed = ALLOWED.iter().chain(ALLOWED_HERE).chain(kept.flat_map(|(_, calls)| *calls));
    // Where it wasn't asked for, it's allowed: then the block above is left out.
    let allowed = allowed.chain(&[libc::SYS_clone]);
    let mut verdicts = [Verdict::Absent; NUMBERS];
    denied.for_each(|call| verdicts[*call as usize] = Verdict::Deny);
    allowed.for_each(|call| verdicts[*call as usize] = Verdict::Allow);
    verdicts
}

/// Where each run of numbers with one verdict begins, in order, from 0 on.
fn runs(verdicts: &[Verdict]) -> Vec<(u32, Verdict)> {
    let mut runs: Vec<(u32, Verdict)> = Vec::new();
    for (number, &verdict) in (0..).zip(verdicts) {
        if runs.last().is_none_or(|(_, same)| *same != verdict) {
            runs.push((number, verdict));
        }
    }
    runs
}
