//! What could not be read. That a file is not there, or that the caller has no right to it, is an answer. After any other error
//! the answer is unknown, and a plan that is made without it could be a wrong one. So such an error stops a run, as any
//! problem does.

use std::io::{self, ErrorKind};
use std::path::Path;

use nix::errno::Errno;
use nix::unistd::{AccessFlags, access};

use super::file;
use crate::error::Error;
use crate::text::text;

/// Reads files, and notes each one that gave no answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unread(Vec<Error>);

impl Unread {
    /// An error for each file, whose reason names the file and the errno.
    pub fn errors(&self) -> &[Error] {
        &self.0
    }

    /// The bytes of a file; none if there is no such file.
    pub fn bytes(&mut self, path: impl AsRef<Path>) -> Vec<u8> {
        let bytes = file::read(&path);
        self.answer(path.as_ref(), bytes).unwrap_or_default()
    }

    /// The text of a file, as [`file::text`] makes it; empty if there is no such file.
    pub fn text(&mut self, path: impl AsRef<Path>) -> String {
        file::text(self.bytes(path))
    }

    /// Whether the caller may do this with a file. access(2)
    pub fn may(&mut self, path: &Path, what: AccessFlags) -> bool {
        match access(path, what) {
            Err(Errno::EACCES | Errno::EPERM | Errno::EROFS | Errno::ETXTBSY) => false,
            answer => self.answer(path, answer.map_err(io::Error::from)).is_some(),
        }
    }

    /// What a call gave; none where there is nothing.
    pub fn answer<T>(&mut self, path: &Path, answer: io::Result<T>) -> Option<T> {
        match answer {
            Ok(answer) => Some(answer),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => None,
            Err(error) => {
                let unread = Error::failed(text("common.unread.what"));
                let why = format!("{}: {error}", path.display());
                self.0.push(unread.why(why).todo(text("common.unread.todo")));
                None
            }
        }
    }
}
