//! The program of this process: the file that /proc/PID/exe leads to, whatever the root and the mount table are.
//!
//! A command that begins `#!/proc/self/exe`, or is a link there, makes the kernel execute *us* as the command. Then whoever is
//! root in a container, without a map of ids, can change the file of `sandbox` outside, which root outside runs next:
//! CVE-2019-5736. The link is followed by the kernel, in the process that is us until then. So before anything of the
//! container is executed, that process tells the kernel of another file.

use std::ffi::c_char;
use std::fs::{self, File};
use std::num::NonZeroUsize;
use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr::NonNull;

use nix::errno::Errno;
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::mman::{MRemapFlags, MapFlags, ProtFlags, mmap, mmap_anonymous, mprotect, mremap};
use nix::unistd::{SysconfVar, sysconf};
use rustix::fs::{AtFlags, StatxFlags, statx};

/// The link to the program's file.
pub(super) const PROGRAM: &str = "/proc/self/exe";

unsafe extern "C" {
    /// The environment as the kernel laid it on the stack, above the arguments. environ(7)
    static environ: *const *const c_char;
    /// The first argument, the lowest of those strings. program_invocation_name(3)
    static program_invocation_name: *const c_char;
}

/// struct prctl_mm_map of linux/prctl.h: what the kernel notes of a process's memory. PR_SET_MM_MAP(2const)
#[repr(C)]
struct Notes {
    code: [u64; 2],
    data: [u64; 2],
    brk: [u64; 2],
    stack: u64,
    arguments: [u64; 2],
    environment: [u64; 2],
    auxv: u64,
    auxv_size: u32,
    exe: u32,
}

/// Whether the kernel has PR_SET_MM_MAP: it says how large the structure is. Without, it takes the call for another one, and
/// refuses it with EINVAL or EPERM.
pub(crate) fn can_be_left() -> bool {
    let mut size: libc::c_uint = 0;
    // SAFETY: the kernel writes one number to where `size` is.
    unsafe { libc::prctl(libc::PR_SET_MM, libc::PR_SET_MM_MAP_SIZE, &raw mut size, 0_usize, 0_usize) == 0 }
}

/// Leaves the program's file: /proc/PID/exe then leads to an empty file in memory.
///
/// The kernel allows that only where nothing of the old file is mapped any more (PR_SET_MM_EXE_FILE(2const)). So each part of
/// the program is mapped again in its place: from the same file by another mount, which the kernel takes for another file,
/// or, where there is none or `is_copied`, from a copy in memory. Only for a process with one thread.
///
/// # Errors
/// EPERM without CAP_CHECKPOINT_RESTORE in the user namespace. EINVAL: a kernel without that call
/// (CONFIG_CHECKPOINT_RESTORE). EACCES: vm.memfd_noexec forbids programs in memory.
pub(crate) fn leave(is_copied: bool) -> Result<(), Errno> {
    // Empty, so that to execute it comes to nothing (ENOEXEC).
    let nothing = memory_file(MFdFlags::MFD_CLOEXEC)?;
    let program = if is_copied { None } else { by_another_mount() };
    let headers = headers();
    let parts = || headers.iter().filter(|header| header.p_type == libc::PT_LOAD && header.p_filesz > 0);
    // The part that the file begins with has the ELF header, and behind it these. elf(5)
    let first = parts().find(|header| header.p_offset == 0).ok_or(Errno::ENOEXEC)?;
    let base = headers.as_ptr() as u64 - size_of::<libc::Elf64_Ehdr>() as u64 - first.p_vaddr;
    let (mut code, mut data) = ([0; 2], [0; 2]);
    let mut written: Vec<[u64; 2]> = Vec::new();
    for header in parts() {
        let part = [base + header.p_vaddr, base + header.p_vaddr + header.p_filesz];
        let pages = pages_of(part);
        match header.p_flags {
            flags if flags & libc::PF_W != 0 => {
                data = part;
                // Each exchange costs: what lies side by side is one.
                match written.last_mut() {
                    Some(last) if last[1] == pages[0] => last[1] = pages[1],
                    _ => written.push(pages),
                }
                continue;
            }
            flags if flags & libc::PF_X != 0 => code = part,
            _ => {}
        }
        match &program {
            Some(program) => map_again(pages, header, program)?,
            None => exchange(pages, rights(header))?,
        }
    }
    for pages in written {
        exchange(pages, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE)?;
    }
    for header in headers.iter().filter(|header| header.p_type == libc::PT_GNU_RELRO) {
        fix([base + header.p_vaddr, base + header.p_vaddr + header.p_memsz])?;
    }
    note(code, data, &nothing)
}

/// A new file in memory that may be executed. memfd_create(2)
pub(super) fn memory_file(flags: MFdFlags) -> Result<OwnedFd, Errno> {
    match memfd_create(c"sandbox", flags | MFdFlags::from_bits_retain(libc::MFD_EXEC)) {
        // Before Linux 6.3 there is no such flag, and every file in memory may be executed.
        Err(Errno::EINVAL) => memfd_create(c"sandbox", flags),
        made => made,
    }
}

/// The program's file, opened by its name, where that leads by another mount than it was executed by: in a mount table that
/// is a copy.
fn by_another_mount() -> Option<File> {
    let wanted = StatxFlags::INO | StatxFlags::MNT_ID;
    let file = File::open(fs::read_link(PROGRAM).ok()?).ok()?;
    let own = statx(rustix::fs::CWD, PROGRAM, AtFlags::empty(), wanted).ok()?;
    let found = statx(&file, c"", AtFlags::EMPTY_PATH, wanted).ok()?;
    let file_of = |of: &rustix::fs::Statx| (of.stx_dev_major, of.stx_dev_minor, of.stx_ino);
    let tells_mounts = (own.stx_mask & found.stx_mask) & StatxFlags::MNT_ID.bits() != 0;
    (tells_mounts && file_of(&own) == file_of(&found) && own.stx_mnt_id != found.stx_mnt_id).then_some(file)
}

/// The program headers, by which the kernel has mapped the file. getauxval(3), elf(5)
fn headers() -> &'static [libc::Elf64_Phdr] {
    // SAFETY: the kernel gives their address and number; they lie in the program's first part, which stays mapped, or mapped
    // again with the same words, for as long as the process executes it.
    unsafe {
        let (first, count) = (libc::getauxval(libc::AT_PHDR), libc::getauxval(libc::AT_PHNUM));
        match first {
            0 => &[],
            first => std::slice::from_raw_parts(first as *const libc::Elf64_Phdr, count as usize),
        }
    }
}

/// What the program may do with a part of itself.
fn rights(header: &libc::Elf64_Phdr) -> ProtFlags {
    let may = |flag, allowed| if header.p_flags & flag != 0 { allowed } else { ProtFlags::PROT_NONE };
    may(libc::PF_R, ProtFlags::PROT_READ)
        | may(libc::PF_W, ProtFlags::PROT_WRITE)
        | may(libc::PF_X, ProtFlags::PROT_EXEC)
}

/// Maps a part of the program that nothing writes to again where it is, from the same file by another mount.
fn map_again(pages: [u64; 2], header: &libc::Elf64_Phdr, program: &File) -> Result<(), Errno> {
    let (place, length) = extent(pages)?;
    let offset = (header.p_offset / page() * page()) as libc::off_t;
    // SAFETY: the place has the same pages of the same file before and after, in one step: code that runs in it, and references
    // into it, find what they found. Nobody can have written to the file: it's being executed (ETXTBSY).
    unsafe {
        mmap(
            Some(place),
            length,
            rights(header),
            MapFlags::MAP_PRIVATE | MapFlags::MAP_FIXED,
            program,
            offset,
        )?
    };
    Ok(())
}

/// Puts a copy of pages in their place.
fn exchange(pages: [u64; 2], allowed: ProtFlags) -> Result<(), Errno> {
    let (place, length) = extent(pages)?;
    let writable = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
    // SAFETY: new memory, at a place of the kernel's choice, as long as what is copied into it, which can be read: it's a part
    // of the running program. It then takes the place of that part, in one step and with the same words: between copy and
    // exchange nothing writes to a static, since there's no other thread, and errno isn't one.
    unsafe {
        let copy = mmap_anonymous(None, length, writable, MapFlags::MAP_PRIVATE | MapFlags::MAP_POPULATE)?;
        std::ptr::copy_nonoverlapping(place.get() as *const u8, copy.as_ptr().cast(), length.get());
        if allowed != writable {
            mprotect(copy, length.get(), allowed)?;
        }
        let flags = MRemapFlags::MREMAP_MAYMOVE | MRemapFlags::MREMAP_FIXED;
        mremap(copy, length.get(), length.get(), flags, NonNull::new(place.get() as *mut _))?;
    }
    Ok(())
}

/// Allows reading alone again, where the linker says that nothing is written once the program has begun: PT_GNU_RELRO.
fn fix(part: [u64; 2]) -> Result<(), Errno> {
    let page = page();
    let [start, end] = part.map(|at| at / page * page);
    match NonNull::new(start as *mut _) {
        // SAFETY: it takes away a right that nobody uses, and whole pages of that part alone.
        Some(place) if start < end => unsafe {
            mprotect(place, (end - start) as usize, ProtFlags::PROT_READ)
        },
        _ => Ok(()),
    }
}

/// Tells the kernel which file this process's program is. It wants all else that it notes told again.
fn note(code: [u64; 2], data: [u64; 2], program: &OwnedFd) -> Result<(), Errno> {
    // SAFETY: sbrk(0) only asks. The two variables are the C library's, set before anything of ours runs, and never changed by
    // us; where there's an environment its first word can be read.
    let (brk, arguments, environment, name) = unsafe {
        let end = libc::getauxval(libc::AT_EXECFN);
        let first = if environ.is_null() { std::ptr::null() } else { *environ };
        let environment = if first.is_null() { end } else { first as u64 };
        (libc::sbrk(0) as u64, program_invocation_name as u64, environment, end)
    };
    let notes = Notes {
        code,
        data,
        brk: [brk; 2],
        stack: name,
        arguments: [arguments, environment],
        environment: [environment, name],
        // As they are.
        auxv: 0,
        auxv_size: 0,
        exe: program.as_raw_fd() as u32,
    };
    // SAFETY: the kernel reads as many bytes as are told, which live here, and changes no memory of this process.
    let done = unsafe {
        libc::prctl(libc::PR_SET_MM, libc::PR_SET_MM_MAP, &raw const notes, size_of::<Notes>(), 0_usize)
    };
    Errno::result(done).map(|_| ())
}

/// The pages that a part lies in.
fn pages_of([start, end]: [u64; 2]) -> [u64; 2] {
    [start / page() * page(), end.next_multiple_of(page())]
}

/// Where pages begin, and their length in bytes.
fn extent([start, end]: [u64; 2]) -> Result<(NonZeroUsize, NonZeroUsize), Errno> {
    let length = NonZeroUsize::new((end - start) as usize);
    NonZeroUsize::new(start as usize).zip(length).ok_or(Errno::EINVAL)
}

/// In bytes. The C library was told it when the program began: it can't fail.
fn page() -> u64 {
    sysconf(SysconfVar::PAGE_SIZE).ok().flatten().map_or(4096, |page| page as u64)
}
