//! A policy as a BPF program, and as the sentences that it consists of.
//!
//! Rule after rule is compared; the first that matches answers. Five opcodes are enough, and nothing is called or stored.
//! Documentation/bpf/standardization/instruction-set.rst

use super::{Access, Device, DeviceKind, Policy, Verdict};

/// One instruction of BPF: an operation, two registers, a distance and a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instruction {
    /// The opcode.
    pub code: u8,
    /// The register that is changed or compared.
    pub dst: u8,
    /// The register that is read.
    pub src: u8,
    /// How many instructions to skip, or which byte of the context to load.
    pub off: i16,
    /// The number to compare with, to set, to shift by.
    pub imm: i32,
}

// Opcodes: BPF_LDX|BPF_MEM|BPF_W and so on; all that calculate or compare are the 64-bit ones, with a number.
const LOAD: u8 = 0x61;
const SET: u8 = 0xb7;
const COPY: u8 = 0xbf;
const AND: u8 = 0x57;
const SHIFT_RIGHT: u8 = 0x77;
const JUMP: u8 = 0x05;
const JUMP_UNLESS_EQUAL: u8 = 0x55;
const JUMP_IF_ANY_BIT: u8 = 0x45;
const EXIT: u8 = 0x95;

// Registers. The kernel chose the first two: the answer, and where the context lies.
const ANSWER: u8 = 0;
const CONTEXT: u8 = 1;
const TYPE: u8 = 2;
const ACCESS: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;

impl Instruction {
    /// An instruction with a number; `src` is for the few that need another register.
    const fn new(code: u8, dst: u8, off: i16, imm: i32) -> Instruction {
        Instruction { code, dst, src: 0, off, imm }
    }

    /// The eight bytes of struct bpf_insn, as they lie in memory.
    pub fn word(&self) -> u64 {
        // Two fields of four bits: which comes first is a matter of the machine's byte order.
        let registers =
            if cfg!(target_endian = "little") { self.src << 4 | self.dst } else { self.dst << 4 | self.src };
        let ([off_0, off_1], [imm_0, imm_1, imm_2, imm_3]) = (self.off.to_ne_bytes(), self.imm.to_ne_bytes());
        u64::from_ne_bytes([self.code, registers, off_0, off_1, imm_0, imm_1, imm_2, imm_3])
    }
}

impl Policy {
    /// The program that decides so: for cgroup v2.
    pub fn program(&self) -> Vec<Instruction> {
        let load = |dst, off| Instruction { src: CONTEXT, ..Instruction::new(LOAD, dst, off, 0) };
        // struct bpf_cgroup_dev_ctx { access << 16 | type, major, minor }
        let mut program = vec![
            load(TYPE, 0),
            Instruction { src: TYPE, ..Instruction::new(COPY, ACCESS, 0, 0) },
            Instruction::new(AND, TYPE, 0, 0xffff),
            Instruction::new(SHIFT_RIGHT, ACCESS, 0, 16),
            load(MAJOR, 4),
            load(MINOR, 8),
        ];
        for (verdict, device) in self.rules() {
            program.extend(block(verdict, device));
        }
        program.extend(answer(self.otherwise));
        program
    }

    /// The same program to read, a line per rule. `access in rw`: all that is asked for is among these letters;
    /// `access meets rw`: some of it is.
    pub fn pseudo_code(&self) -> Vec<String> {
        let rules = self.rules().map(|(verdict, device)| {
            let Device { kind, major, minor, access } = device;
            let mut tests = vec![format!("type == {kind}")];
            tests.extend(major.map(|major| format!("major == {major}")));
            tests.extend(minor.map(|minor| format!("minor == {minor}")));
            tests.push(match verdict {
                Verdict::Allow => format!("access in {access}"),
                Verdict::Deny => format!("access meets {access}"),
            });
            format!("if {}: {}", tests.join(" && "), word(verdict))
        });
        rules.chain([word(self.otherwise).to_owned()]).collect()
    }
}

/// One rule: each test that fails leads past it.
fn block(verdict: Verdict, device: &Device) -> Vec<Instruction> {
    // BPF_DEVCG_DEV_*
    let kind = match device.kind {
        DeviceKind::Block => 1,
        DeviceKind::Character => 2,
    };
    let numbers = [(MAJOR, device.major), (MINOR, device.minor)];
    let numbers = numbers.into_iter().filter_map(|(register, number)| Some((register, number? as i32)));
    let mut block: Vec<Instruction> = std::iter::once((TYPE, kind))
        .chain(numbers)
        .map(|(register, number)| Instruction::new(JUMP_UNLESS_EQUAL, register, 0, number))
        .collect();
    let bits = |access: Access| i32::from(access.bits());
    match verdict {
        Verdict::Allow => {
            let others = Access::ALL.without(device.access);
            if !others.is_empty() {
                block.push(Instruction::new(JUMP_IF_ANY_BIT, ACCESS, 0, bits(others)));
            }
        }
        // There is no "jump if no bit": jump over the jump. Not even `rwm` needs no test: access(2) with F_OK asks for
        // nothing, and nothing meets no rule.
        Verdict::Deny => block.extend([
            Instruction::new(JUMP_IF_ANY_BIT, ACCESS, 1, bits(device.access)),
            Instruction::new(JUMP, 0, 0, 0),
        ]),
    }
    block.extend(answer(verdict));
    let length = block.len();
    for (place, jump) in block.iter_mut().enumerate().filter(|(_, one)| is_jump(one) && one.off == 0) {
        jump.off = (length - place - 1) as i16;
    }
    block
}

fn is_jump(one: &Instruction) -> bool {
    [JUMP, JUMP_UNLESS_EQUAL, JUMP_IF_ANY_BIT].contains(&one.code)
}

fn answer(verdict: Verdict) -> [Instruction; 2] {
    let number = match verdict {
        Verdict::Allow => 1,
        Verdict::Deny => 0,
    };
    [Instruction::new(SET, ANSWER, 0, number), Instruction::new(EXIT, 0, 0, 0)]
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Allow => "allow",
        Verdict::Deny => "deny",
    }
}

/// What a program answers, for tests: no more of BPF than is used here.
#[cfg(test)]
pub(super) fn run(program: &[Instruction], kind: DeviceKind, major: u32, minor: u32, access: u8) -> bool {
    let kind = if kind == DeviceKind::Block { 1 } else { 2 };
    let context = [u64::from(access) << 16 | kind, major.into(), minor.into()];
    let mut registers = [None; 11];
    let mut at = 0;
    loop {
        let Instruction { code, dst, src, off, imm } = program[at];
        let read =
            |register: u8| registers[usize::from(register)].expect("a register is set before it's read");
        let skip = usize::try_from(off).expect("no jump leads back");
        let set = match code {
            LOAD => Some(context[skip / 4]),
            SET => Some(imm as u64),
            COPY => Some(read(src)),
            AND => Some(read(dst) & imm as u64),
            SHIFT_RIGHT => Some(read(dst) >> imm),
            JUMP | JUMP_UNLESS_EQUAL | JUMP_IF_ANY_BIT => None,
            EXIT => return read(ANSWER) == 1,
            other => panic!("no opcode of ours: {other:#x}"),
        };
        let is_taken = match code {
            JUMP => true,
            JUMP_UNLESS_EQUAL => read(dst) != imm as u64,
            JUMP_IF_ANY_BIT => read(dst) & imm as u64 != 0,
            _ => false,
        };
        if set.is_some() {
            registers[usize::from(dst)] = set;
        }
        at += 1 + if is_taken { skip } else { 0 };
    }
}
