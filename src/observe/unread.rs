//! Records the files that could not be read.
//!
//! If a file does not exist, or the caller may not access it, that is an answer. After any other error the answer is
//! unknown, and a plan made without it could be wrong. So such an error becomes a problem of the plan, and stops the
//! run.

use std::io::{self, ErrorKind};
use std::path::Path;

use nix::errno::Errno;
use nix::unistd::{AccessFlags, access};

use super::file;
use crate::error::Error;
use crate::text::{printed, text};

/// Reads files, and records each file that gave no answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unread(Vec<Error>);

impl Unread {
    /// An error for each of these files, with its path and the errno.
    pub fn errors(&self) -> &[Error] {
        &self.0
    }

    /// The bytes of a file; empty if there is no such file.
    pub fn bytes(&mut self, path: impl AsRef<Path>) -> Vec<u8> {
        let bytes = file::read(&path);
        self.answer(path.as_ref(), bytes).unwrap_or_default()
    }

    /// The content of a file, converted by [`file::text`]; empty if there is no such file.
    pub fn text(&mut self, path: impl AsRef<Path>) -> String {
        file::text(self.bytes(path))
    }

    /// Whether the caller has a permission for a file. access(2)
    pub fn may(&mut self, path: &Path, what: AccessFlags) -> bool {
        match access(path, what) {
            Err(Errno::EACCES | Errno::EPERM | Errno::EROFS | Errno::ETXTBSY) => false,
            answer => self.answer(path, answer.map_err(io::Error::from)).is_some(),
        }
    }

    /// The result of a call on `path`; none if the file does not exist, or after any other error, which is recorded.
    pub fn answer<T>(&mut self, path: &Path, answer: io::Result<T>) -> Option<T> {
        match answer {
            Ok(answer) => Some(answer),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => None,
            Err(error) => {
                let unread = Error::failed(text("common.unread.what"));
                let why = format!("{}: {error}", printed(path));
                self.0.push(unread.why(why).todo(text("common.unread.todo")));
                None
            }
        }
    }
}
