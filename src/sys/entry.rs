//! The C library's entry into the program, in place of the one of Rust's standard library. That one reads
//! /proc/self/maps, makes a stack for its handlers of SIGSEGV and SIGBUS, and takes it down at the end: about a tenth of
//! what a short run of `sandbox` costs. Of what else it does, what is needed is done here.

use std::ffi::{CStr, OsStr, OsString, c_char, c_int};
use std::os::unix::ffi::OsStrExt;

/// `main` as the C library calls it.
// SAFETY: no other `main` is linked: this file belongs to the program alone, whose root says `no_main`.
#[unsafe(no_mangle)]
extern "C" fn main(count: c_int, arguments: *const *const c_char) -> c_int {
    open_standard_descriptors();
    // A reader that has gone away is an error that write(2) returns, not a signal that ends us half-way.
    // And where the caller ignores SIGCHLD, which we inherit, the kernel would keep from us how a child ended. wait(2)
    // SAFETY: neither SIG_IGN nor SIG_DFL runs code of ours, and there is no other thread.
    unsafe {
        libc::signal(libc::SIGPIPE, libc::SIG_IGN);
        libc::signal(libc::SIGCHLD, libc::SIG_DFL);
    }
    let status = sandbox::cli::run((0..count as usize).map(|index| {
        // SAFETY: the C library gives `count` strings, each ended by NUL, which live as long as the process.
        let argument = unsafe { CStr::from_ptr(*arguments.add(index)) };
        OsString::from(OsStr::from_bytes(argument.to_bytes()))
    }));
    // Not by return: the kernel frees faster than destructors do, and standard output is flushed at each write.
    // SAFETY: it only ends the process.
    unsafe { libc::_exit(c_int::from(status)) }
}

/// A standard descriptor that the caller closed would be given to the first file that is opened, and what is printed would
/// land there.
fn open_standard_descriptors() {
    for descriptor in 0..=2 {
        // SAFETY: asks for flags; a number that isn't open gives EBADF. The lowest free number is then that one, and the
        // path is a constant that ends in NUL.
        unsafe {
            if libc::fcntl(descriptor, libc::F_GETFD) == -1 {
                libc::open(c"/dev/null".as_ptr(), libc::O_RDWR);
            }
        }
    }
}
