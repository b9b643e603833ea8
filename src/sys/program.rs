//! The program of this process: the file to which /proc/PID/exe leads, in every root directory and mount table.
//!
//! A command that begins with `#!/proc/self/exe`, or is a symbolic link to it, makes the kernel execute `sandbox`
//! itself as the command. Root in a container without a map of IDs can then write to the file of `sandbox` on the host,
//! which root on the host executes next: CVE-2019-5736. The kernel follows the link in the process that executes the
//! command, and that process is still `sandbox`. So before it executes anything of the container, it makes
//! /proc/self/exe lead to another file.

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
use rustix::mount::{OpenTreeFlags, open_tree};

/// The link to the program's file.
pub(super) const PROGRAM: &str = "/proc/self/exe";

unsafe extern "C" {
    /// The environment. The kernel puts its strings on the stack, above those of the arguments. environ(7)
    static environ: *const *const c_char;
    /// The first argument, whose string has the lowest address of all these. program_invocation_name(3)
    static program_invocation_name: *const c_char;
}

/// struct prctl_mm_map of linux/prctl.h: the kernel's description of a process's memory. PR_SET_MM_MAP(2const)
#[repr(C)]
struct PrctlMmMap {
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

/// Whether the kernel has PR_SET_MM_MAP: PR_SET_MM_MAP_SIZE returns the size of its structure. A kernel without it
/// reads the option as another one, and returns EINVAL or EPERM.
pub(crate) fn can_be_left() -> bool {
    let mut size: libc::c_uint = 0;
    // SAFETY: the kernel writes one number to `size`.
    unsafe { libc::prctl(libc::PR_SET_MM, libc::PR_SET_MM_MAP_SIZE, &raw mut size, 0_usize, 0_usize) == 0 }
}

/// Maps each part of the program again, so that [`leave`] finds no page of its file: from a detached copy of the file's mount,
/// which the kernel treats as another file. A process that may not make one (EPERM) replaces the parts by copies in memory.
/// They are charged to the memory cgroup in which this process is now. A child that it creates shares them, copy-on-write.
/// Only for a process with a single thread.
///
/// # Errors
/// ENOMEM: a limit on memory is too low.
pub(crate) fn prepare() -> Result<(), Errno> {
    replace_parts(open_by_detached_mount().as_ref())
}

/// The call of [`prepare`] as text.
pub(crate) fn prepare_text() -> String {
    let flags = "OPEN_TREE_CLONE|OPEN_TREE_CLOEXEC";
    format!(
        "open_tree(AT_FDCWD, \"{PROGRAM}\", {flags}); mmap(<each part>, <length>, <its protection>, MAP_PRIVATE|MAP_FIXED, \
         <program>, <offset>)  [without the right to it: mremap(2) of a copy of each part]"
    )
}

/// Makes /proc/PID/exe lead to an empty file in memory, and no longer to the program's file.
///
/// The kernel allows that only if no page of the old file is mapped any more (PR_SET_MM_EXE_FILE(2const)). So each part
/// of the program is mapped again at the same address. It is mapped from the same file by another mount, which the
/// kernel treats as another file. If there is no other mount, it is replaced by a copy in memory. With `is_prepared`,
/// [`prepare`] has done that before.
/// Only for a process with a single thread.
///
/// # Errors
/// EPERM: no CAP_CHECKPOINT_RESTORE in the user namespace. EINVAL: a kernel without this call
/// (CONFIG_CHECKPOINT_RESTORE). EACCES: vm.memfd_noexec forbids programs in memory.
pub(crate) fn leave(is_prepared: bool) -> Result<(), Errno> {
    // The file is empty, so executing it fails (ENOEXEC).
    let nothing = memory_file(MFdFlags::MFD_CLOEXEC)?;
    if !is_prepared {
        replace_parts(open_by_another_mount().as_ref())?;
    }
    let base = base()?;
    let (mut code, mut data) = ([0; 2], [0; 2]);
    for header in parts() {
        let part = part(header, base);
        match header.p_flags {
            flags if flags & libc::PF_W != 0 => data = part,
            flags if flags & libc::PF_X != 0 => code = part,
            _ => {}
        }
    }
    set_mm_map(code, data, &nothing)
}

/// Maps each part of the program again from its file by another mount, or replaces it by a copy.
fn replace_parts(program: Option<&File>) -> Result<(), Errno> {
    let base = base()?;
    let mut writable_parts: Vec<[u64; 2]> = Vec::new();
    for header in parts() {
        let pages = pages_of(part(header, base));
        match program {
            // Each replacement takes time, so adjacent parts are replaced together.
            _ if header.p_flags & libc::PF_W != 0 => match writable_parts.last_mut() {
                Some(last) if last[1] == pages[0] => last[1] = pages[1],
                _ => writable_parts.push(pages),
            },
            Some(program) => map_again(pages, header, program)?,
            None => replace_by_copy(pages, protection(header))?,
        }
    }
    for pages in writable_parts {
        replace_by_copy(pages, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE)?;
    }
    for header in headers().iter().filter(|header| header.p_type == libc::PT_GNU_RELRO) {
        make_read_only([base + header.p_vaddr, base + header.p_vaddr + header.p_memsz])?;
    }
    Ok(())
}

/// The headers of the parts that are mapped from the file.
fn parts() -> impl Iterator<Item = &'static libc::Elf64_Phdr> {
    headers().iter().filter(|header| header.p_type == libc::PT_LOAD && header.p_filesz > 0)
}

/// The address to which those in the headers are relative.
fn base() -> Result<u64, Errno> {
    // The first part of the file contains the ELF header, and the program headers right after it. elf(5)
    let first = parts().find(|header| header.p_offset == 0).ok_or(Errno::ENOEXEC)?;
    Ok(headers().as_ptr() as u64 - size_of::<libc::Elf64_Ehdr>() as u64 - first.p_vaddr)
}

/// The addresses of a part.
fn part(header: &libc::Elf64_Phdr, base: u64) -> [u64; 2] {
    [base + header.p_vaddr, base + header.p_vaddr + header.p_filesz]
}

/// A new file in memory that may be executed. memfd_create(2)
pub(super) fn memory_file(flags: MFdFlags) -> Result<OwnedFd, Errno> {
    match memfd_create(c"sandbox", flags | MFdFlags::from_bits_retain(libc::MFD_EXEC)) {
        // Before Linux 6.3 this flag does not exist, and every file in memory may be executed.
        Err(Errno::EINVAL) => memfd_create(c"sandbox", flags),
        made => made,
    }
}

/// The call of [`memory_file`] as text, with these further flags: `|MFD_ALLOW_SEALING`.
pub(crate) fn memory_file_text(flags: &str) -> String {
    format!("memfd_create(\"sandbox\", MFD_CLOEXEC{flags}|MFD_EXEC)")
}

/// The program's file, opened by its name. None if the name leads to another file, or if this is the mount by which it
/// was executed. Another mount is found if the mount table is a copy.
fn open_by_another_mount() -> Option<File> {
    by_another_mount(File::open(fs::read_link(PROGRAM).ok()?).ok()?)
}

/// The program's file, opened by a detached copy of its mount. None without CAP_SYS_ADMIN in the user namespace of the mounts.
fn open_by_detached_mount() -> Option<File> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let mount = open_tree(rustix::fs::CWD, PROGRAM, flags).ok()?;
    by_another_mount(File::open(format!("/proc/self/fd/{}", mount.as_raw_fd())).ok()?)
}

/// The file, if it is that of the program, and of another mount than the one by which the program was executed.
fn by_another_mount(file: File) -> Option<File> {
    let wanted = StatxFlags::INO | StatxFlags::MNT_ID;
    let own = statx(rustix::fs::CWD, PROGRAM, AtFlags::empty(), wanted).ok()?;
    let found = statx(&file, c"", AtFlags::EMPTY_PATH, wanted).ok()?;
    let file_of = |of: &rustix::fs::Statx| (of.stx_dev_major, of.stx_dev_minor, of.stx_ino);
    let has_mount_ids = (own.stx_mask & found.stx_mask) & StatxFlags::MNT_ID.bits() != 0;
    (has_mount_ids && file_of(&own) == file_of(&found) && own.stx_mnt_id != found.stx_mnt_id).then_some(file)
}

/// The program headers, which say how the kernel has mapped the file. getauxval(3), elf(5)
fn headers() -> &'static [libc::Elf64_Phdr] {
    // SAFETY: the kernel states their address and number. They are in the program's first part. It stays mapped, or is
    // mapped again with the same content, as long as the process executes the program.
    unsafe {
        let (first, count) = (libc::getauxval(libc::AT_PHDR), libc::getauxval(libc::AT_PHNUM));
        match first {
            0 => &[],
            first => std::slice::from_raw_parts(first as *const libc::Elf64_Phdr, count as usize),
        }
    }
}

/// The memory protection of a part of the program.
fn protection(header: &libc::Elf64_Phdr) -> ProtFlags {
    let may = |flag, allowed| if header.p_flags & flag != 0 { allowed } else { ProtFlags::PROT_NONE };
    may(libc::PF_R, ProtFlags::PROT_READ)
        | may(libc::PF_W, ProtFlags::PROT_WRITE)
        | may(libc::PF_X, ProtFlags::PROT_EXEC)
}

/// Maps a part of the program again at its address, from the same file by another mount. Nothing writes to this part.
fn map_again(pages: [u64; 2], header: &libc::Elf64_Phdr, program: &File) -> Result<(), Errno> {
    let (address, length) = extent(pages)?;
    let offset = (header.p_offset / page() * page()) as libc::off_t;
    // SAFETY: mmap(2) replaces the pages in one step by the same pages of the same file. So code that runs in them, and
    // references to them, stay valid. No process can have written to the file, because it is being executed (ETXTBSY).
    unsafe {
        mmap(
            Some(address),
            length,
            protection(header),
            MapFlags::MAP_PRIVATE | MapFlags::MAP_FIXED,
            program,
            offset,
        )?
    };
    Ok(())
}

/// Replaces pages by a copy of them.
fn replace_by_copy(pages: [u64; 2], allowed: ProtFlags) -> Result<(), Errno> {
    let (address, length) = extent(pages)?;
    let writable = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
    // SAFETY: the copy is new memory, at an address that the kernel chooses, of the same length as the pages. The pages
    // can be read, because they are a part of the running program. mremap(2) then replaces them in one step by the same
    // content. Between the copy and the replacement nothing writes to a static variable: there is no other thread, and
    // errno is not a static variable.
    unsafe {
        let copy = mmap_anonymous(None, length, writable, MapFlags::MAP_PRIVATE | MapFlags::MAP_POPULATE)?;
        std::ptr::copy_nonoverlapping(address.get() as *const u8, copy.as_ptr().cast(), length.get());
        if allowed != writable {
            mprotect(copy, length.get(), allowed)?;
        }
        let flags = MRemapFlags::MREMAP_MAYMOVE | MRemapFlags::MREMAP_FIXED;
        mremap(copy, length.get(), length.get(), flags, NonNull::new(address.get() as *mut _))?;
    }
    Ok(())
}

/// Makes a part read-only again: PT_GNU_RELRO, to which nothing is written after the program has started.
fn make_read_only(part: [u64; 2]) -> Result<(), Errno> {
    let page = page();
    let [start, end] = part.map(|at| at / page * page);
    match NonNull::new(start as *mut _) {
        // SAFETY: it takes away a permission that nothing uses, and only from whole pages of that part.
        Some(address) if start < end => unsafe {
            mprotect(address, (end - start) as usize, ProtFlags::PROT_READ)
        },
        _ => Ok(()),
    }
}

/// Sets the program's file of this process. The kernel needs all other fields of the structure too.
fn set_mm_map(code: [u64; 2], data: [u64; 2], program: &OwnedFd) -> Result<(), Errno> {
    // SAFETY: sbrk(0) only reads.
    let brk = unsafe { libc::sbrk(0) } as u64;
    let [name, environment, end] = strings();
    let map = PrctlMmMap {
        code,
        data,
        brk: [brk; 2],
        stack: end,
        arguments: [name, environment],
        environment: [environment, end],
        // The auxiliary vector does not change.
        auxv: 0,
        auxv_size: 0,
        exe: program.as_raw_fd() as u32,
    };
    // SAFETY: the kernel reads the given number of bytes, which live here, and changes no memory of this process.
    let done = unsafe {
        libc::prctl(libc::PR_SET_MM, libc::PR_SET_MM_MAP, &raw const map, size_of::<PrctlMmMap>(), 0_usize)
    };
    Errno::result(done).map(|_| ())
}

/// The addresses of the strings with which the program was started: of the first argument, of the first variable of the
/// environment, and of their end. The kernel puts all of them into one piece of the stack. execve(2)
fn strings() -> [u64; 3] {
    // SAFETY: the C library sets the two variables before any code of this program runs, and this program never changes
    // them. If there is an environment, its first pointer can be read.
    unsafe {
        let end = libc::getauxval(libc::AT_EXECFN);
        let first = if environ.is_null() { std::ptr::null() } else { *environ };
        let environment = if first.is_null() { end } else { first as u64 };
        [program_invocation_name as u64, environment, end]
    }
}

/// Makes /proc/PID/cmdline of this process show only `name`, and /proc/PID/environ nothing. The arguments of `sandbox`
/// and the environment of its caller do not belong to the container, in which every process can read the first.
///
/// It only writes to memory, so a seccomp filter cannot deny it. The last byte of the arguments is not a NUL
/// afterwards. The kernel then takes them for one string that ends at its first NUL (fs/proc/base.c, setproctitle(3)).
///
/// For a process that never executes a program, and that reads neither its arguments nor its environment any more.
pub(crate) fn hide_arguments(name: &str) {
    let [start, environment, end] = strings();
    let room = environment.saturating_sub(start) as usize;
    if start == 0 || end < environment || room < name.len() + 2 {
        return;
    }
    // SAFETY: the bytes from `start` to `end` are the strings that the kernel has put on the stack. They stay mapped and
    // writable as long as the process lives, there is no other thread, and the caller no longer reads them.
    unsafe {
        let first = start as *mut u8;
        std::ptr::write_bytes(first, 0, (end - start) as usize);
        std::ptr::copy_nonoverlapping(name.as_ptr(), first, name.len());
        first.add(room - 1).write(b' ');
    }
}

/// Overwrites the strings of the environment with zeros: a process with CAP_SYS_PTRACE can read /proc/PID/environ of a
/// process that is undumpable too. proc_pid_environ(5)
///
/// It only writes to memory, as [`hide_arguments`]. For a process that does not read its environment any more.
pub(crate) fn hide_environment() {
    let [start, environment, end] = strings();
    if start == 0 || environment < start || end <= environment {
        return;
    }
    // SAFETY: the bytes from `environment` to `end` are strings that the kernel has put on the stack. They stay mapped
    // and writable as long as the process lives, there is no other thread, and the caller no longer reads them. Each
    // pointer to one of them then refers to an empty string.
    unsafe { std::ptr::write_bytes(environment as *mut u8, 0, (end - environment) as usize) }
}

/// The pages that contain a part.
fn pages_of([start, end]: [u64; 2]) -> [u64; 2] {
    [start / page() * page(), end.next_multiple_of(page())]
}

/// The address of pages, and their length in bytes.
fn extent([start, end]: [u64; 2]) -> Result<(NonZeroUsize, NonZeroUsize), Errno> {
    let length = NonZeroUsize::new((end - start) as usize);
    NonZeroUsize::new(start as usize).zip(length).ok_or(Errno::EINVAL)
}

/// The size of a page in bytes. The kernel passes it to the C library at the start, so sysconf(3) cannot fail.
fn page() -> u64 {
    sysconf(SysconfVar::PAGE_SIZE).ok().flatten().map_or(4096, |page| page as u64)
}
