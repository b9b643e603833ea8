//! Reads a small file of /proc or /sys as a whole. The kernel's names are bytes: a process, a mount point or a cgroup may
//! have a name that is not UTF-8. So a file is read as bytes, and a text that is made of it shows such a byte as `\xNN`.

use std::fmt::Write;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use procfs::FromRead;

/// The bytes of a file. The kernel reports the size 0 for a file of /proc, and then the standard library begins with reads
/// of 32 bytes; this begins with 4096.
///
/// # Errors
/// Those of open(2) and read(2).
pub fn read(path: impl AsRef<Path>) -> io::Result<Vec<u8>> {
    read_open(File::open(path)?)
}

/// The bytes of a file that is open.
///
/// # Errors
/// Those of read(2).
pub fn read_open(file: File) -> io::Result<Vec<u8>> {
    let mut content = Vec::with_capacity(4096);
    // `take` hides that this is a file. The standard library would ask a file for its size first, in two system calls.
    file.take(u64::MAX).read_to_end(&mut content)?;
    Ok(content)
}

/// The text of a file, as [`text`] makes it.
///
/// # Errors
/// Those of open(2) and read(2).
pub fn read_text(path: impl AsRef<Path>) -> io::Result<String> {
    read(path).map(text)
}

/// What a link contains, as [`text`] makes it.
///
/// # Errors
/// Those of readlink(2).
pub fn read_link(path: impl AsRef<Path>) -> io::Result<String> {
    Ok(text(std::fs::read_link(path)?.into_os_string().into_vec()))
}

/// A file as a type of procfs. The file is read here and not by procfs, which hides the errno of a file that cannot be read,
/// and most of whose types cannot be made of bytes that are not UTF-8.
///
/// # Errors
/// Those of open(2) and read(2); procfs's own message where the content is not as procfs expects it.
pub fn parse<T: FromRead>(path: impl AsRef<Path>) -> io::Result<T> {
    T::from_read(read_text(path)?.as_bytes()).map_err(io::Error::other)
}

/// Bytes as text: each byte that is not UTF-8 becomes `\xNN`, all others stay.
pub fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|error| escaped(error.as_bytes()))
}

/// A path as text, as [`text`] makes it.
pub fn path_text(path: &Path) -> String {
    text(path.as_os_str().as_bytes().to_vec())
}

fn escaped(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() + 16);
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        for byte in chunk.invalid() {
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text
}

/// A file's text on one line: the words of each line, and ` | ` between two lines.
pub(super) fn one_line(text: &str) -> String {
    let lines = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
    let joined = lines.collect::<Vec<_>>().join(" | ");
    if joined.is_empty() { "(empty)".into() } else { joined }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_that_is_not_utf8_is_shown_and_stops_nothing() {
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

    #[test]
    fn the_errno_of_a_file_that_cannot_be_read_is_the_kernels() {
        let missing = parse::<procfs::Meminfo>("/proc/no-such-file").unwrap_err();
        assert_eq!(missing.raw_os_error(), Some(libc::ENOENT));
        let other = parse::<procfs::Meminfo>("/proc/version").unwrap_err();
        assert_eq!(other.raw_os_error(), None);
    }
}
