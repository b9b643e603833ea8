//! The one conversion of an error to an errno. The standard library and rustix have their own error types. Plans, steps
//! and messages between processes use `Errno` of nix.

use std::io::{self, ErrorKind};

use nix::errno::Errno;

/// The errno of an error of the standard library or of rustix.
///
/// The standard library returns some errors without a system call. Such an error gets the errno that a system call
/// returns for the same fault. Where a person reads the error, use [`Error::call`](super::Error::call), which keeps its
/// text.
pub fn errno(error: impl Into<io::Error>) -> Errno {
    let error = error.into();
    if let Some(number) = error.raw_os_error() {
        return Errno::from_raw(number);
    }
    match error.kind() {
        // A path or an argument with a null byte.
        ErrorKind::InvalidInput => Errno::EINVAL,
        // A file that is not UTF-8, read as a string.
        ErrorKind::InvalidData => Errno::EILSEQ,
        ErrorKind::OutOfMemory => Errno::ENOMEM,
        // Errors such as UnexpectedEof and WriteZero. No function that we call returns them.
        _ => Errno::EIO,
    }
}

/// An error of the standard library for a person: with the name of its errno, if it has one.
pub fn io_text(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(number) => errno_text(Errno::from_raw(number)),
        None => error.to_string(),
    }
}

/// `EPERM (Operation not permitted)`, as strace prints it.
pub fn errno_text(errno: Errno) -> String {
    format!("{errno:?} ({})", errno.desc())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_errno_does_not_change() {
        assert_eq!(errno(io::Error::from_raw_os_error(libc::EPERM)), Errno::EPERM);
        assert_eq!(errno(rustix::io::Errno::NOSPC), Errno::ENOSPC);
        assert_eq!(errno(Errno::EUSERS), Errno::EUSERS);
    }

    #[test]
    fn an_error_without_an_errno_gets_the_errno_of_its_cause() {
        let null_byte = std::fs::File::open("a\0b").expect_err("no path has a null byte");
        assert_eq!(errno(null_byte), Errno::EINVAL);
        let directory = tempfile::tempdir().expect("a temporary directory");
        let file = directory.path().join("latin1");
        std::fs::write(&file, b"\xe9").expect("a file");
        let not_utf8 = std::fs::read_to_string(&file).expect_err("0xe9 alone is not UTF-8");
        assert_eq!(errno(not_utf8), Errno::EILSEQ);
    }
}
