//! What couldn't be looked at. That something isn't there, or is closed to the caller, is an answer; any other error is none,
//! and a plan that was made without that answer would be another plan. So it stops a run, as any problem does.

use std::io::{self, ErrorKind};
use std::path::Path;

use nix::errno::Errno;
use nix::unistd::{AccessFlags, access};

/// Looks, and notes where it got no answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unread(Vec<String>);

impl Unread {
    /// One line for each: the file, and the errno.
    pub fn lines(&self) -> &[String] {
        &self.0
    }

    /// What a file says; nothing where there is none.
    pub fn text(&mut self, path: impl AsRef<Path>) -> String {
        let text = super::read(&path);
        self.answer(path.as_ref(), text).unwrap_or_default()
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
                self.0.push(format!("{}: {error}", path.display()));
                None
            }
        }
    }
}
