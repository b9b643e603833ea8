//! What an ELF file says about the libraries that it needs. The file is only read, never executed. elf(5)

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// The maximum size of a program header table or a dynamic section. Real ones have some kilobytes.
const MAX_TABLE: u64 = 1 << 20;

/// The maximum length of a name.
const MAX_NAME: usize = 4096;

// The types of program headers and of dynamic entries.
const PT_LOAD: u64 = 1;
const PT_DYNAMIC: u64 = 2;
const PT_INTERP: u64 = 3;
const DT_NEEDED: u64 = 1;
const DT_STRTAB: u64 = 5;
const DT_RPATH: u64 = 15;
const DT_RUNPATH: u64 = 29;

/// For which machines a file is: two files fit together only if these are equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ElfMachine {
    /// 1: 32 bits. 2: 64 bits.
    class: u8,
    /// 1: the lowest byte first. 2: the highest byte first.
    order: u8,
    machine: u16,
}

impl ElfMachine {
    /// Whether it has addresses of 64 bits.
    pub(super) fn is_64(self) -> bool {
        self.class == 2
    }

    /// The name of its directory of libraries in Debian.
    pub(super) fn multiarch(self) -> Option<&'static str> {
        Some(match (self.machine, self.class, self.order) {
            (62, 2, 1) => "x86_64-linux-gnu",
            (3, 1, 1) => "i386-linux-gnu",
            (183, 2, 1) => "aarch64-linux-gnu",
            (40, 1, 1) => "arm-linux-gnueabihf",
            (243, 2, 1) => "riscv64-linux-gnu",
            (21, 2, 1) => "powerpc64le-linux-gnu",
            (22, 2, 2) => "s390x-linux-gnu",
            (258, 2, 1) => "loongarch64-linux-gnu",
            _ => return None,
        })
    }
}

/// A program or a library.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ElfFile {
    pub(super) machine: ElfMachine,
    /// The dynamic loader, which the kernel executes. None: a library, or a program without libraries.
    pub(super) interpreter: Option<Vec<u8>>,
    /// The libraries, by their names.
    pub(super) needed: Vec<Vec<u8>>,
    /// Where its libraries and theirs are looked for first.
    pub(super) rpath: Option<Vec<u8>>,
    /// Where its own libraries are looked for first.
    pub(super) runpath: Option<Vec<u8>>,
}

/// Reads an ELF file. None: it is none.
pub(super) fn read(file: &File) -> io::Result<Option<ElfFile>> {
    let mut start = [0; 64];
    let count = file.read_at(&mut start, 0)?;
    if count < 52
        || !start.starts_with(b"\x7fELF")
        || ![1, 2].contains(&start[4])
        || ![1, 2].contains(&start[5])
    {
        return Ok(None);
    }
    let fields = ElfFields { is_64: start[4] == 2, is_little: start[5] == 1 };
    let machine =
        ElfMachine { class: start[4], order: start[5], machine: fields.number(&start, 18, 2) as u16 };
    let (table, size, headers) = match fields.is_64 {
        true => (fields.number(&start, 32, 8), fields.number(&start, 54, 2), fields.number(&start, 56, 2)),
        false => (fields.number(&start, 28, 4), fields.number(&start, 42, 2), fields.number(&start, 44, 2)),
    };
    if size < if fields.is_64 { 56 } else { 32 } && headers > 0 {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let table = bytes(file, table, size * headers)?;
    let headers: Vec<Segment> =
        table.chunks_exact(size.max(1) as usize).map(|one| fields.segment(one)).collect();
    let find = |kind: u64| headers.iter().find(|segment| segment.kind == kind);
    let interpreter = match find(PT_INTERP) {
        Some(segment) => Some(until_null(&bytes(file, segment.offset, segment.size.min(MAX_NAME as u64))?)),
        None => None,
    };
    let mut elf = ElfFile { machine, interpreter, needed: Vec::new(), rpath: None, runpath: None };
    let Some(dynamic) = find(PT_DYNAMIC) else { return Ok(Some(elf)) };
    let dynamic = bytes(file, dynamic.offset, dynamic.size)?;
    let word = if fields.is_64 { 8 } else { 4 };
    let entries: Vec<(u64, u64)> = dynamic
        .chunks_exact(2 * word)
        .map(|pair| (fields.number(pair, 0, word), fields.number(pair, word, word)))
        .take_while(|(tag, _)| *tag != 0)
        .collect();
    let names = entries.iter().find(|(tag, _)| *tag == DT_STRTAB).map(|(_, address)| *address);
    // The file names addresses of memory. The segments say where they come from in the file.
    let offset = names.and_then(|address| {
        let holds = |segment: &&Segment| {
            segment.kind == PT_LOAD && address >= segment.address && address - segment.address < segment.size
        };
        headers.iter().find(holds)?.offset.checked_add(address - headers.iter().find(holds)?.address)
    });
    let Some(offset) = offset else { return Ok(Some(elf)) };
    let name = |at: u64| {
        let mut name = vec![0; MAX_NAME];
        let at = offset.checked_add(at).ok_or(io::ErrorKind::InvalidData)?;
        let count = file.read_at(&mut name, at)?;
        Ok::<_, io::Error>(until_null(&name[..count]))
    };
    for (tag, value) in entries {
        match tag {
            DT_NEEDED => elf.needed.push(name(value)?),
            DT_RPATH => elf.rpath = Some(name(value)?),
            DT_RUNPATH => elf.runpath = Some(name(value)?),
            _ => {}
        }
    }
    Ok(Some(elf))
}

struct Segment {
    kind: u64,
    offset: u64,
    address: u64,
    size: u64,
}

/// How the numbers of a file are written.
struct ElfFields {
    is_64: bool,
    is_little: bool,
}

impl ElfFields {
    fn number(&self, bytes: &[u8], at: usize, length: usize) -> u64 {
        let digits = &bytes[at..at + length];
        let add = |sum: u64, byte: &u8| sum << 8 | u64::from(*byte);
        match self.is_little {
            true => digits.iter().rev().fold(0, add),
            false => digits.iter().fold(0, add),
        }
    }

    fn segment(&self, header: &[u8]) -> Segment {
        let kind = self.number(header, 0, 4);
        let [offset, address, size] = match self.is_64 {
            true => [8, 16, 32].map(|at| self.number(header, at, 8)),
            false => [4, 8, 16].map(|at| self.number(header, at, 4)),
        };
        Segment { kind, offset, address, size }
    }
}

fn bytes(file: &File, at: u64, size: u64) -> io::Result<Vec<u8>> {
    if size > MAX_TABLE {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut bytes = vec![0; size as usize];
    file.read_exact_at(&mut bytes, at)?;
    Ok(bytes)
}

fn until_null(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().copied().take_while(|byte| *byte != 0).collect()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn the_own_program_names_its_libraries() {
        let own = read(&File::open("/proc/self/exe").unwrap()).unwrap().unwrap();
        assert_eq!(own.machine.is_64(), cfg!(target_pointer_width = "64"));
        if !cfg!(target_feature = "crt-static") {
            assert!(own.interpreter.unwrap().starts_with(b"/"));
            assert!(own.needed.iter().any(|name| name.starts_with(b"libc.")), "{:?}", own.needed);
        }
    }

    #[test]
    fn a_damaged_file_is_an_error_and_never_a_panic() {
        let whole = std::fs::read("/proc/self/exe").unwrap();
        for (at, byte) in (0..64).flat_map(|at| [(at, 0), (at, 0xff), (at, 1)]) {
            let mut file = tempfile::tempfile().unwrap();
            let mut start = whole[..4096].to_vec();
            start[at] = byte;
            file.write_all(&start).unwrap();
            let _ = read(&file);
        }
        for text in ["", "#!/bin/sh\n", "\x7fELF"] {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(text.as_bytes()).unwrap();
            assert_eq!(read(&file).unwrap(), None, "{text}");
        }
    }
}
