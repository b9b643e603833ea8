//! How many files a log has had, in `log.number`: the number of the newest one. `log.1` has the number below it, and so on.
//!
//! A follower compares the number of the file that it has read with that of the next one. Names and inodes alone do not show
//! whether a whole file was written and removed between the two.

use std::io::Read;

use crate::host::private_directory::PrivateDirectory;

/// The name of the file.
const NUMBER: &str = "log.number";

/// The maximum length of a number of 64 bits.
const MAX_DIGITS: u64 = 20;

/// The number of the newest file. None: it is not known.
pub(super) fn read(directory: &PrivateDirectory) -> Option<u64> {
    let mut content = String::new();
    directory.file_to_read(NUMBER).ok()??.take(MAX_DIGITS).read_to_string(&mut content).ok()?;
    content.trim().parse().ok()
}

/// Writes it. On a full disk it stays as it was: then a follower may report lines as missed that are not.
pub(super) fn write(directory: &PrivateDirectory, number: u64) {
    let _ = directory.replace(NUMBER, format!("{number}\n").as_bytes(), false);
}
