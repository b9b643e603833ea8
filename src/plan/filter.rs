//! A seccomp filter: a program of classic BPF, and what the kernel decides by it.
//!
//! Classic BPF has one register here, and jumps only go forward. The kernel runs the program before each system call,
//! with a struct seccomp_data: the number, the architecture, the arguments. `security::seccomp` makes the programs.
//! [`verdict`] runs one as the kernel does. So a plan can ask, before anything is made, what its own filter decides
//! about the calls that still follow it. seccomp(2), linux/seccomp.h, bpf(4) of the BSDs

/// One instruction, struct sock_filter: an opcode, how many instructions to skip if its test is true and if it is false,
/// and an operand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FilterInstruction {
    /// The opcode, one of the constants of this file.
    pub code: u16,
    /// How many instructions are skipped if the test is true.
    pub if_true: u8,
    /// How many instructions are skipped if the test is false.
    pub if_false: u8,
    /// The operand.
    pub number: u32,
}

/// BPF_LD|BPF_W|BPF_ABS: loads 32 bits of struct seccomp_data.
pub const LOAD: u16 = 0x20;
/// BPF_ALU|BPF_AND|BPF_K.
pub const AND: u16 = 0x54;
/// BPF_JMP|BPF_JA: always jumps, by the operand.
pub const JUMP: u16 = 0x05;
/// BPF_JMP|BPF_JEQ|BPF_K.
pub const IF_EQUAL: u16 = 0x15;
/// BPF_JMP|BPF_JGT|BPF_K, unsigned.
pub const IF_MORE: u16 = 0x25;
/// BPF_JMP|BPF_JGE|BPF_K, unsigned.
pub const IF_AT_LEAST: u16 = 0x35;
/// BPF_RET|BPF_K: ends with an action.
pub const RETURN: u16 = 0x06;

/// The offset of the number in struct seccomp_data.
pub const NUMBER: u32 = 0;
/// The offset of the architecture, AUDIT_ARCH_*.
pub const ARCHITECTURE: u32 = 4;
/// The offset of the six arguments, of 8 bytes each.
pub const ARGUMENTS: u32 = 16;

/// The maximum number of instructions: BPF_MAXINSNS. linux/bpf_common.h
pub const MAX_INSTRUCTIONS: usize = 4096;

/// AUDIT_ARCH_* of the calls of this program: the ELF machine, with one bit for 64-bit and one for little-endian.
pub const NATIVE: u32 = if cfg!(target_arch = "x86_64") {
    0xc000_003e
} else if cfg!(target_arch = "aarch64") {
    0xc000_00b7
} else {
    panic!("src/security/seccomp/table.rs has no table for this architecture")
};

impl FilterInstruction {
    /// An instruction that jumps nowhere.
    pub const fn new(code: u16, number: u32) -> FilterInstruction {
        FilterInstruction { code, if_true: 0, if_false: 0, number }
    }

    /// A test, with how many instructions it skips in each case.
    pub const fn test(code: u16, if_true: u8, if_false: u8, number: u32) -> FilterInstruction {
        FilterInstruction { code, if_true, if_false, number }
    }

    /// The eight bytes of the instruction in memory.
    pub fn word(&self) -> u64 {
        let ([code_0, code_1], [n_0, n_1, n_2, n_3]) = (self.code.to_ne_bytes(), self.number.to_ne_bytes());
        u64::from_ne_bytes([code_0, code_1, self.if_true, self.if_false, n_0, n_1, n_2, n_3])
    }

    /// The reverse of [`FilterInstruction::word`].
    pub fn of_word(word: u64) -> FilterInstruction {
        let [code_0, code_1, if_true, if_false, n_0, n_1, n_2, n_3] = word.to_ne_bytes();
        let number = u32::from_ne_bytes([n_0, n_1, n_2, n_3]);
        FilterInstruction { code: u16::from_ne_bytes([code_0, code_1]), if_true, if_false, number }
    }
}

/// A system call as a filter sees it: struct seccomp_data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FilteredCall {
    /// The number of the call.
    pub number: u32,
    /// AUDIT_ARCH_*.
    pub architecture: u32,
    /// The arguments.
    pub arguments: [u64; 6],
}

impl FilteredCall {
    /// The 32 bits at an offset of struct seccomp_data, on a little-endian machine.
    fn at(&self, offset: u32) -> Option<u32> {
        match offset {
            NUMBER => Some(self.number),
            ARCHITECTURE => Some(self.architecture),
            // The address of the call's instruction, which no filter of ours reads.
            8 | 12 => Some(0),
            _ => {
                let place = offset.checked_sub(ARGUMENTS).filter(|place| place % 4 == 0)?;
                let argument = self.arguments.get(place as usize / 8)?;
                Some((argument >> (place % 8 * 8)) as u32)
            }
        }
    }
}

/// What a filter decides about a call: SECCOMP_RET_*, with the errno in the low 16 bits. A program that the kernel would
/// not accept kills the process.
pub fn verdict(program: &[u64], call: &FilteredCall) -> u32 {
    run(program, call).unwrap_or(libc::SECCOMP_RET_KILL_PROCESS)
}

fn run(program: &[u64], call: &FilteredCall) -> Option<u32> {
    let (mut register, mut at) = (0, 0);
    loop {
        let FilterInstruction { code, if_true, if_false, number } =
            FilterInstruction::of_word(*program.get(at)?);
        at += 1;
        let holds = match code {
            LOAD => {
                register = call.at(number)?;
                continue;
            }
            AND => {
                register &= number;
                continue;
            }
            JUMP => {
                at += number as usize;
                continue;
            }
            RETURN => return Some(number),
            IF_EQUAL => register == number,
            IF_MORE => register > number,
            IF_AT_LEAST => register >= number,
            _ => return None,
        };
        at += usize::from(if holds { if_true } else { if_false });
    }
}

/// Whether the kernel makes the call after this verdict.
pub fn is_allowed(verdict: u32) -> bool {
    [libc::SECCOMP_RET_ALLOW, libc::SECCOMP_RET_LOG].contains(&(verdict & libc::SECCOMP_RET_ACTION_FULL))
}

/// Whether a filter lets this program make a call.
pub fn allows(program: &[u64], call: std::ffi::c_long, arguments: [u64; 6]) -> bool {
    is_allowed(verdict(program, &FilteredCall { number: call as u32, architecture: NATIVE, arguments }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instruction_is_read_back_from_its_word() {
        let test = FilterInstruction::test(IF_MORE, 3, 250, 0xdead_beef);
        assert_eq!(FilterInstruction::of_word(test.word()), test);
    }

    #[test]
    fn a_program_reads_each_word_of_the_data() {
        let arguments = [0x1_0000_0002, 2, 3, 4, 5, 0x6000_0000_7000_0000];
        let call = FilteredCall { number: 9, architecture: NATIVE, arguments };
        for (offset, expected) in
            [(0, 9), (4, NATIVE), (16, 2), (20, 1), (24, 2), (56, 0x7000_0000), (60, 0x6000_0000)]
        {
            assert_eq!(call.at(offset), Some(expected), "{offset}");
        }
        assert_eq!((call.at(18), call.at(64), call.at(15)), (None, None, None));
    }

    #[test]
    fn a_program_without_an_end_kills() {
        let call = FilteredCall { number: 0, architecture: 0, arguments: [0; 6] };
        let load = FilterInstruction::new(LOAD, NUMBER).word();
        let far = FilterInstruction::new(JUMP, 7).word();
        for program in [&[][..], &[load], &[far], &[FilterInstruction::new(0, 0).word()]] {
            assert_eq!(verdict(program, &call), libc::SECCOMP_RET_KILL_PROCESS);
        }
        let end = FilterInstruction::new(RETURN, libc::SECCOMP_RET_LOG).word();
        assert!(is_allowed(verdict(&[load, end], &call)));
    }
}
