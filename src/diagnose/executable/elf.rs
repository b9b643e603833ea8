//! Reads what the kernel reads of an ELF program: the machine, the type, the segments and the loader. elf(5)

use std::ffi::OsString;
use std::fs::File;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use super::{Unexecutable, head};
use crate::host::executable::{Executable, look};
use crate::host::resolver::Resolver;
use crate::text::{printed, text, text_with};
use crate::value::shell::quote;

/// The value of `e_machine`, and the name as uname(1) prints it.
const MACHINES: [(u16, &str); 22] = [
    (2, "sparc"),
    (3, "i386"),
    (4, "m68k"),
    (8, "mips"),
    (15, "parisc"),
    (18, "sparc"),
    (20, "ppc"),
    (21, "ppc64"),
    (22, "s390x"),
    (40, "arm"),
    (42, "sh4"),
    (43, "sparc64"),
    (50, "ia64"),
    (62, "x86_64"),
    (93, "arc"),
    (94, "xtensa"),
    (183, "aarch64"),
    (189, "microblaze"),
    (243, "riscv64"),
    (247, "bpf"),
    (258, "loongarch64"),
    (0x9026, "alpha"),
];

/// The maximum length of the path of a loader: PATH_MAX.
const MAX_PATH: u64 = 4096;

/// What the headers of an ELF file say.
#[derive(Debug, Default)]
pub(super) struct Elf {
    is_64: bool,
    is_little: bool,
    kind: u16,
    machine: u16,
    /// The loader, of a dynamically linked program.
    loader: Option<PathBuf>,
    has_code: bool,
    size: u64,
    /// How many bytes the file must have by its headers.
    needed: u64,
}

impl Elf {
    /// Reads the headers. None if the file does not begin as an ELF file does.
    pub(super) fn read(head: &[u8], file: &File) -> Option<Elf> {
        if !head.starts_with(b"\x7fELF") {
            return None;
        }
        let size = file.metadata().map(|metadata| metadata.len()).unwrap_or_default();
        let mut elf = Elf {
            is_64: head.get(4) != Some(&1),
            is_little: head.get(5) != Some(&2),
            size,
            ..Elf::default()
        };
        elf.needed = if elf.is_64 { 64 } else { 52 };
        if (head.len() as u64) < elf.needed {
            return Some(elf);
        }
        let (table, entry, count) = if elf.is_64 { (32, 54, 56) } else { (28, 42, 44) };
        elf.kind = elf.half(head, 16);
        elf.machine = elf.half(head, 18);
        let (table, entry, count) = (elf.word(head, table), elf.half(head, entry), elf.half(head, count));
        elf.needed = elf.needed.max(table.saturating_add(u64::from(entry) * u64::from(count)));
        elf.read_segments(file, table, usize::from(entry), usize::from(count));
        Some(elf)
    }

    fn read_segments(&mut self, file: &File, table: u64, entry: usize, count: usize) {
        let least = if self.is_64 { 56 } else { 32 };
        if entry != least || self.needed > self.size {
            return;
        }
        let mut headers = vec![0; entry * count];
        if file.read_exact_at(&mut headers, table).is_err() {
            return;
        }
        for header in headers.chunks_exact(entry) {
            let (offset, length) = if self.is_64 { (8, 32) } else { (4, 16) };
            let (offset, length) = (self.word(header, offset), self.word(header, length));
            match self.number(header, 0, 4) {
                1 => {
                    self.has_code = true;
                    self.needed = self.needed.max(offset.saturating_add(length));
                }
                3 if length > 1 && length <= MAX_PATH => {
                    let mut path = vec![0; usize::try_from(length).unwrap_or_default()];
                    if file.read_exact_at(&mut path, offset).is_ok() {
                        path.truncate(path.iter().position(|byte| *byte == 0).unwrap_or(path.len()));
                        self.loader = Some(PathBuf::from(OsString::from_vec(path)));
                    }
                }
                _ => {}
            }
        }
    }

    fn number(&self, bytes: &[u8], at: usize, length: usize) -> u64 {
        let bytes = bytes.get(at..at + length).unwrap_or_default();
        let fold = |number: u64, byte: &u8| number << 8 | u64::from(*byte);
        if self.is_little { bytes.iter().rev().fold(0, fold) } else { bytes.iter().fold(0, fold) }
    }

    fn half(&self, bytes: &[u8], at: usize) -> u16 {
        u16::try_from(self.number(bytes, at, 2)).unwrap_or_default()
    }

    /// A number of 64 bits, or of 32 in a 32-bit file.
    fn word(&self, bytes: &[u8], at: usize) -> u64 {
        self.number(bytes, at, if self.is_64 { 8 } else { 4 })
    }

    fn machine(&self) -> String {
        let known = MACHINES.iter().find(|(number, _)| *number == self.machine);
        let name = known.map_or_else(|| format!("ELF machine {}", self.machine), |(_, name)| (*name).into());
        match (&*name, self.is_64, self.is_little) {
            ("riscv64", false, _) => "riscv32".into(),
            ("x86_64", false, _) => "x86_64 (x32)".into(),
            ("mips", true, little) => if little { "mips64el" } else { "mips64" }.into(),
            ("mips", false, true) => "mipsel".into(),
            ("ppc64", _, true) => "ppc64le".into(),
            ("aarch64", _, false) => "aarch64_be".into(),
            _ => name,
        }
    }

    /// Why this program cannot be executed.
    pub(super) fn explain(
        &self,
        path: &Path,
        file: &Executable,
        tree: &Resolver,
        errno: Errno,
    ) -> Option<Unexecutable> {
        let name = printed(path);
        let values = [("file", name.as_str())];
        let (machine, here) = (self.machine(), std::env::consts::ARCH);
        let is_ours = machine == here || here == "powerpc64" && machine.starts_with("ppc64");
        let is_small = (here, &*machine) == ("x86_64", "i386") || (here, &*machine) == ("aarch64", "arm");
        if matches!(errno, Errno::ENOEXEC | Errno::ELIBBAD) {
            let why = match () {
                () if self.needed > self.size => {
                    let (size, needed) = (self.size.to_string(), self.needed.to_string());
                    let values = [("file", &*name), ("size", &*size), ("needed", &*needed)];
                    let why = text_with("exec.truncated", &values);
                    return Some(Unexecutable::new(why).todo(text("exec.truncated.todo")));
                }
                () if is_small => text_with("exec.class", &values),
                () if !is_ours => {
                    let values = [("file", &*name), ("machine", &*machine), ("here", here)];
                    text_with("exec.machine", &values)
                }
                () if !matches!(self.kind, 2 | 3) => {
                    let kind = match self.kind {
                        1 => "exec.object.relocatable",
                        4 => "exec.object.core",
                        _ => "exec.object.unknown",
                    };
                    return Some(Unexecutable::new(text_with(
                        "exec.object",
                        &[("file", &name), ("kind", &text(kind))],
                    )));
                }
                () => {
                    return self
                        .bad_loader(&name, tree)
                        .or_else(|| Some(Unexecutable::new(text_with("exec.elf", &values))));
                }
            };
            let todo = text_with("exec.machine.todo", &[("here", here)]);
            return Some(Unexecutable::new(why).todo(todo));
        }
        let Some(loader) = &self.loader else {
            let is_foreign = !is_ours && !is_small && errno == Errno::ENOENT;
            return is_foreign.then(|| self.emulated(&name, &machine));
        };
        match look(loader, tree) {
            Err(obstacle) => {
                let key = if obstacle.is_missing { "exec.loader.missing" } else { "exec.loader.refused" };
                let why = text_with(key, &[("file", &name), ("why", &obstacle.why)]);
                Some(Unexecutable::new(why).todo(advice(loader, is_small, &file.host)))
            }
            Ok(_) if !is_ours && !is_small => Some(self.emulated(&name, &machine)),
            Ok(_) => None,
        }
    }

    fn emulated(&self, file: &str, machine: &str) -> Unexecutable {
        Unexecutable::new(text_with("exec.emulator", &[("file", file), ("machine", machine)]))
    }

    /// A loader that is itself no program for this machine.
    fn bad_loader(&self, file: &str, tree: &Resolver) -> Option<Unexecutable> {
        let path = self.loader.as_ref()?;
        let found = look(path, tree).ok()?;
        let opened = found.open().ok()?;
        let loader = Elf::read(&head(&found).ok()?, &opened);
        let fits =
            loader.is_some_and(|loader| loader.machine == self.machine && loader.needed <= loader.size);
        let values = [("file", file), ("loader", &*printed(path))];
        (!fits).then(|| Unexecutable::new(text_with("exec.loader.format", &values)))
    }
}

/// What to do about a missing loader.
fn advice(loader: &Path, is_small: bool, host: &Path) -> String {
    let loader = printed(loader);
    if loader.contains("ld-musl") {
        text("exec.loader.musl")
    } else if is_small {
        text("exec.loader.x32")
    } else if loader.starts_with("/nix/") || loader.starts_with("/gnu/") {
        text("exec.loader.nix")
    } else {
        text("exec.loader.todo") + &format!("\n   ldd {}", quote(host))
    }
}
