//! Reads a small file of /proc or /sys as a whole.
//!
//! Names in the kernel are bytes: the name of a process, a mount point or a cgroup may not be UTF-8. So a file is
//! read as bytes. In a text made from it, a byte that is not UTF-8 is written as `\xNN`.
//!
//! In a container, anything can be in the place of such a file: a FIFO, for whose writer open(2) would wait for ever, a
//! device, or a file without end. So only a regular file is read, and only up to [`MAX_SIZE`].

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use procfs::FromRead;

use crate::text::without_bad_bytes;

/// The maximum size of a file that is read, in bytes. A mount table of 100,000 mounts has a quarter of it.
const MAX_SIZE: u64 = 64 << 20;

/// The bytes of a file. The kernel reports the size 0 for a file of /proc. Then the standard library starts with
/// reads of 32 bytes; this starts with 4096.
///
/// # Errors
/// Those of open(2) and read(2); the file is not a regular file; EFBIG.
pub fn read(path: impl AsRef<Path>) -> io::Result<Vec<u8>> {
    let file = open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    read_open(file)
}

/// Opens a file for reading. It waits for nothing.
///
/// # Errors
/// Those of open(2).
pub fn open(path: impl AsRef<Path>) -> io::Result<File> {
    // O_NONBLOCK: open(2) of a FIFO does not wait for a writer. O_NOCTTY: a terminal does not become ours.
    OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path)
}

/// The bytes of an open file.
///
/// # Errors
/// Those of read(2); EFBIG: it is larger than [`MAX_SIZE`].
pub fn read_open(file: File) -> io::Result<Vec<u8>> {
    let mut content = Vec::with_capacity(4096);
    // `take` hides that this is a file. For a file, the standard library would make two system calls to find its size.
    file.take(MAX_SIZE + 1).read_to_end(&mut content)?;
    match content.len() as u64 > MAX_SIZE {
        true => Err(io::Error::from_raw_os_error(libc::EFBIG)),
        false => Ok(content),
    }
}

/// The content of a file, converted by [`text`].
///
/// # Errors
/// Those of open(2) and read(2).
pub fn read_text(path: impl AsRef<Path>) -> io::Result<String> {
    read(path).map(text)
}

/// The target of a symbolic link, converted by [`text`].
///
/// # Errors
/// Those of readlink(2).
pub fn read_link(path: impl AsRef<Path>) -> io::Result<String> {
    Ok(text(std::fs::read_link(path)?.into_os_string().into_vec()))
}

/// Parses a file as a type of the crate procfs. The file is read here, because procfs hides the errno of a failed
/// read, and fails on bytes that are not UTF-8.
///
/// # Errors
/// Those of open(2) and read(2); the message of procfs if it cannot parse the content.
pub fn parse<T: FromRead>(path: impl AsRef<Path>) -> io::Result<T> {
    T::from_read(read_text(path)?.as_bytes()).map_err(io::Error::other)
}

/// Converts bytes to text. Each byte that is not UTF-8 becomes `\xNN`.
pub fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|error| without_bad_bytes(error.as_bytes()))
}

/// A path, converted by [`text`].
pub fn path_text(path: &Path) -> String {
    without_bad_bytes(path.as_os_str().as_bytes())
}

/// A text on one line: each run of blanks is one blank, and ` | ` separates the lines.
pub(super) fn one_line(text: &str) -> String {
    let lines = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
    let joined = lines.collect::<Vec<_>>().join(" | ");
    if joined.is_empty() { "(empty)".into() } else { joined }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_that_is_not_utf8_is_escaped() {
        assert_eq!(text(b"a\xffb".to_vec()), r"a\xffb");
        assert_eq!(text("Gr\u{fc}n".into()), "Gr\u{fc}n");
        let directory = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(
            std::ffi::OsString::from_vec(b"/\xfe".to_vec()),
            directory.path().join("l"),
        )
        .unwrap();
        assert_eq!(read_link(directory.path().join("l")).unwrap(), r"/\xfe");
    }

    /// What a container can put in the place of a file of /proc. A test that waits for ever fails by the limit of time.
    #[test]
    fn only_a_regular_file_of_a_sane_size_is_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        nix::unistd::mkfifo(&path("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        std::os::unix::fs::symlink("fifo", path("link")).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(path("socket")).unwrap();
        for name in ["fifo", "link", "socket", "", "/dev/zero", "/dev/ptmx"] {
            assert!(read(path(name)).is_err(), "{name}");
        }
        File::create(path("sparse")).unwrap().set_len(1 << 40).unwrap();
        assert_eq!(read(path("sparse")).unwrap_err().raw_os_error(), Some(libc::EFBIG));
    }

    #[test]
    fn an_error_of_parse_has_the_errno_of_a_failed_read() {
        let missing = parse::<procfs::Meminfo>("/proc/no-such-file").unwrap_err();
        assert_eq!(missing.raw_os_error(), Some(libc::ENOENT));
        let other = parse::<procfs::Meminfo>("/proc/version").unwrap_err();
        assert_eq!(other.raw_os_error(), None);
    }
}
