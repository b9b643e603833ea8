//! A sealed copy of the program, for a kernel without PR_SET_MM_MAP. There a process cannot leave its program's file
//! ([`super::program`]), so `sandbox` executes a copy of that file in memory instead. Because of the seals nobody can
//! change the copy, not even root. /proc/PID/exe leads to it. memfd_create(2), "File sealing" in fcntl(2)

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStringExt;

use nix::errno::Errno;
use nix::fcntl::AtFlags;
use nix::sys::memfd::MFdFlags;
use nix::sys::prctl;
use nix::unistd::execveat;
use rustix::fs::{SealFlags, fcntl_add_seals, fcntl_get_seals};

use super::program::{PROGRAM, memory_file};

/// The content of the file cannot be changed, and no seal can be removed.
const SEALS: SealFlags =
    SealFlags::SEAL.union(SealFlags::SHRINK).union(SealFlags::GROW).union(SealFlags::WRITE);

/// An environment variable that [`execute`] sets. A kernel that does not show the seals of the copy would otherwise
/// cause an endless loop.
const MARK: &str = "SANDBOX_SEALED_COPY";

/// Whether a program is a sealed file. Only files in memory have these seals.
pub(crate) fn is_sealed(program: impl AsFd) -> bool {
    fcntl_get_seals(program).is_ok_and(|seals| seals.contains(SEALS))
}

/// The calls of [`execute`] as text.
pub(crate) fn executed() -> String {
    let memfd = super::program::memory_file_text("|MFD_ALLOW_SEALING");
    let copy = format!("write(<memfd>, <{PROGRAM}>, <its size>)");
    let seals = "fcntl(<memfd>, F_ADD_SEALS, F_SEAL_SEAL|F_SEAL_SHRINK|F_SEAL_GROW|F_SEAL_WRITE)";
    let signals = super::signal::restored();
    let execveat = format!("execveat(<sealed memfd>, \"\", argv, [environ, \"{MARK}=1\"], AT_EMPTY_PATH)");
    [memfd, copy, seals.to_owned(), signals, execveat].join("; ")
}

/// Executes this program again, from a sealed copy, with the same arguments and environment. Returns if the program is
/// a sealed copy already.
///
/// # Errors
/// Those of memfd_create(2), fcntl(2), execveat(2), and of copying. EACCES: vm.memfd_noexec forbids programs in memory.
/// ELOOP: the program was executed again, but the kernel does not show its seals.
pub(crate) fn execute() -> Result<(), Errno> {
    let is_again = std::env::var_os(MARK).is_some();
    if File::open(PROGRAM).is_ok_and(is_sealed) {
        if is_again {
            // execveat(2) has named the process after the number of the copy's descriptor.
            prctl::set_name(c"sandbox")?;
            // SAFETY: sandbox has a single thread, so no other thread reads the environment meanwhile.
            unsafe { std::env::remove_var(MARK) };
        }
        return Ok(());
    }
    if is_again {
        return Err(Errno::ELOOP);
    }
    let mut copy = File::from(memory_file(MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING)?);
    let errno = |error: io::Error| Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO));
    io::copy(&mut File::open(PROGRAM).map_err(errno)?, &mut copy).map_err(errno)?;
    fcntl_add_seals(&copy, SEALS).map_err(|error| Errno::from_raw(error.raw_os_error()))?;
    let string = |bytes: Vec<u8>| CString::new(bytes).map_err(|_| Errno::EINVAL);
    let arguments: Vec<CString> =
        std::env::args_os().map(|argument| string(argument.into_vec())).collect::<Result<_, _>>()?;
    let variables = std::env::vars_os().chain([(MARK.into(), "1".into())]);
    let environment: Vec<CString> = variables
        .map(|(name, value)| string([name.into_vec(), value.into_vec()].join(&b'=')))
        .collect::<Result<_, _>>()?;
    // The copy looks at the signals that it is started with, as this program did.
    super::signal::restore()?;
    match execveat(&copy, c"", &arguments, &environment, AtFlags::AT_EMPTY_PATH)? {}
}
