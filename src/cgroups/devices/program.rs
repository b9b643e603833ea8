//! A policy as a BPF program, and as pseudo-code to read.
//!
//! The program compares one rule after the other, and returns the verdict of the first that matches. It calls no
//! function and stores nothing. Documentation/bpf/standardization/instruction-set.rst

use super::{Access, Device, DeviceKind, Policy, Verdict};

/// One eBPF instruction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceInstruction {
    /// The opcode.
    pub code: u8,
    /// The register that is changed or compared.
    pub dst: u8,
    /// The register that is read.
    pub src: u8,
    /// The number of instructions to skip, or the offset in the context to load from.
    pub off: i16,
    /// The immediate value: to compare with, to set, to shift by.
    pub imm: i32,
}

// Opcodes. LOAD is BPF_LDX|BPF_MEM|BPF_W. Those that calculate or compare use 64 bits and an immediate value.
const LOAD: u8 = 0x61;
const SET: u8 = 0xb7;
const COPY: u8 = 0xbf;
const AND: u8 = 0x57;
const SHIFT_RIGHT: u8 = 0x77;
const JUMP: u8 = 0x05;
const JUMP_UNLESS_EQUAL: u8 = 0x55;
const JUMP_IF_ANY_BIT: u8 = 0x45;
const EXIT: u8 = 0x95;

// Registers. The first two are the kernel's convention: R0 has the return value, R1 the address of the context.
const ANSWER: u8 = 0;
const CONTEXT: u8 = 1;
const TYPE: u8 = 2;
const ACCESS: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;

impl DeviceInstruction {
    /// An instruction without a source register.
    const fn new(code: u8, dst: u8, off: i16, imm: i32) -> DeviceInstruction {
        DeviceInstruction { code, dst, src: 0, off, imm }
    }

    /// The eight bytes of struct bpf_insn in memory.
    pub fn word(&self) -> u64 {
        // Two bit fields of four bits. Their order depends on the byte order of the machine.
        let registers =
            if cfg!(target_endian = "little") { self.src << 4 | self.dst } else { self.dst << 4 | self.src };
        let ([off_0, off_1], [imm_0, imm_1, imm_2, imm_3]) = (self.off.to_ne_bytes(), self.imm.to_ne_bytes());
        u64::from_ne_bytes([self.code, registers, off_0, off_1, imm_0, imm_1, imm_2, imm_3])
    }
}

impl Policy {
    /// The policy as a program for cgroup v2.
    pub fn program(&self) -> Vec<DeviceInstruction> {
        let load = |dst, off| DeviceInstruction { src: CONTEXT, ..DeviceInstruction::new(LOAD, dst, off, 0) };
        // struct bpf_cgroup_dev_ctx { access << 16 | type, major, minor }
        let mut program = vec![
            load(TYPE, 0),
            DeviceInstruction { src: TYPE, ..DeviceInstruction::new(COPY, ACCESS, 0, 0) },
            DeviceInstruction::new(AND, TYPE, 0, 0xffff),
            DeviceInstruction::new(SHIFT_RIGHT, ACCESS, 0, 16),
            load(MAJOR, 4),
            load(MINOR, 8),
        ];
        for (verdict, device) in self.rules() {
            program.extend(instructions_of(verdict, device));
        }
        program.extend(answer(self.otherwise));
        program
    }

    /// The same program as pseudo-code, a line for each rule. `access in rw` means that the access has only these
    /// letters, `access meets rw` that it has at least one of them.
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

/// The instructions of one rule. A test that fails jumps to the next rule.
fn instructions_of(verdict: Verdict, device: &Device) -> Vec<DeviceInstruction> {
    // BPF_DEVCG_DEV_*
    let kind = match device.kind {
        DeviceKind::Block => 1,
        DeviceKind::Character => 2,
    };
    let numbers = [(MAJOR, device.major), (MINOR, device.minor)];
    let numbers = numbers.into_iter().filter_map(|(register, number)| Some((register, number? as i32)));
    let mut block: Vec<DeviceInstruction> = std::iter::once((TYPE, kind))
        .chain(numbers)
        .map(|(register, number)| DeviceInstruction::new(JUMP_UNLESS_EQUAL, register, 0, number))
        .collect();
    let bits = |access: Access| i32::from(access.bits());
    match verdict {
        Verdict::Allow => {
            let others = Access::ALL.without(device.access);
            if !others.is_empty() {
                block.push(DeviceInstruction::new(JUMP_IF_ANY_BIT, ACCESS, 0, bits(others)));
            }
        }
        // BPF has no "jump if no bit is set", so one jump skips another. `rwm` needs the test too: access(2) with F_OK
        // asks for no access at all, which no rule denies.
        Verdict::Deny => block.extend([
            DeviceInstruction::new(JUMP_IF_ANY_BIT, ACCESS, 1, bits(device.access)),
            DeviceInstruction::new(JUMP, 0, 0, 0),
        ]),
    }
    block.extend(answer(verdict));
    let length = block.len();
    for (place, jump) in block.iter_mut().enumerate().filter(|(_, one)| is_jump(one) && one.off == 0) {
        jump.off = (length - place - 1) as i16;
    }
    block
}

fn is_jump(one: &DeviceInstruction) -> bool {
    [JUMP, JUMP_UNLESS_EQUAL, JUMP_IF_ANY_BIT].contains(&one.code)
}

fn answer(verdict: Verdict) -> [DeviceInstruction; 2] {
    let number = match verdict {
        Verdict::Allow => 1,
        Verdict::Deny => 0,
    };
    [DeviceInstruction::new(SET, ANSWER, 0, number), DeviceInstruction::new(EXIT, 0, 0, 0)]
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Allow => "allow",
        Verdict::Deny => "deny",
    }
}

/// Runs a program, for tests. It knows only the opcodes that are used here.
#[cfg(test)]
pub(super) fn run(
    program: &[DeviceInstruction],
    kind: DeviceKind,
    major: u32,
    minor: u32,
    access: u8,
) -> bool {
    let kind = if kind == DeviceKind::Block { 1 } else { 2 };
    let context = [u64::from(access) << 16 | kind, major.into(), minor.into()];
    let mut registers = [None; 11];
    let mut at = 0;
    loop {
        let DeviceInstruction { code, dst, src, off, imm } = program[at];
        let read =
            |register: u8| registers[usize::from(register)].expect("a register is set before it is read");
        let skip = usize::try_from(off).expect("no jump goes back");
        let set = match code {
            LOAD => Some(context[skip / 4]),
            SET => Some(imm as u64),
            COPY => Some(read(src)),
            AND => Some(read(dst) & imm as u64),
            SHIFT_RIGHT => Some(read(dst) >> imm),
            JUMP | JUMP_UNLESS_EQUAL | JUMP_IF_ANY_BIT => None,
            EXIT => return read(ANSWER) == 1,
            other => panic!("unknown opcode {other:#x}"),
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
