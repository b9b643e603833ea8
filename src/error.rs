//! The one shape of an error that a person reads: what failed, the call or the place in a file, why, and what to do.

mod errno;
mod mistake;

use std::fmt;
use std::io;

use nix::errno::Errno;
use serde::Serialize;

pub use self::errno::{errno, errno_text};
pub use self::mistake::{MAX_MISTAKES, Mistake};
use crate::text::{text, text_with};

/// The exit statuses of the command-line contract that `sandbox` itself decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitKind {
    /// The command line was wrong: 2.
    Usage,
    /// COMMAND can't be executed: 126.
    NotExecutable,
    /// COMMAND isn't found: 127.
    NotFound,
    /// Ended by signal N before a command ran: 128+N.
    Interrupted(i32),
    /// Anything else: 125.
    Failed,
}

impl ExitKind {
    /// The exit status of the contract.
    pub fn status(self) -> u8 {
        match self {
            ExitKind::Usage => 2,
            ExitKind::NotExecutable => 126,
            ExitKind::NotFound => 127,
            ExitKind::Interrupted(signal) => u8::try_from(128 + signal).unwrap_or(255),
            ExitKind::Failed => 125,
        }
    }
}

/// An error that a user reads. `render::error` prints it; its JSON has what a program can use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Error {
    /// Which exit status it means.
    #[serde(skip)]
    pub kind: ExitKind,
    /// What failed, in one line: `net: cannot bring lo up (step 5 of 7, INSIDE)`.
    pub what: String,
    /// The call as strace would print it, with its result.
    pub call: Option<String>,
    /// The name of the cause, where `diagnose` knows it: `apparmor-userns`.
    pub cause: Option<&'static str>,
    /// Why, as far as can be known: sentences, then the files that prove it.
    pub why: Vec<String>,
    /// What to do. The first item changes the least.
    pub todo: Vec<String>,
    /// What is wrong with a file, place by place.
    #[serde(skip)]
    pub mistakes: Vec<Mistake>,
}

impl Error {
    /// An error with one line and nothing more to say yet.
    pub fn new(kind: ExitKind, what: impl Into<String>) -> Self {
        let what = what.into();
        Error { kind, what, call: None, cause: None, why: vec![], todo: vec![], mistakes: vec![] }
    }

    /// An error that ends in exit status 125.
    pub fn failed(what: impl Into<String>) -> Self {
        Error::new(ExitKind::Failed, what)
    }

    /// A wrong command line.
    pub fn usage(what: impl Into<String>) -> Self {
        Error::new(ExitKind::Usage, what)
    }

    /// A file with mistakes, at least one and at most [`MAX_MISTAKES`].
    pub fn mistakes(file: &str, mistakes: Vec<Mistake>) -> Self {
        let what = match mistakes.len() {
            1 => text("spec.mistake"),
            MAX_MISTAKES => text_with("spec.mistakes.most", &[("count", &MAX_MISTAKES.to_string())]),
            count => text_with("spec.mistakes", &[("count", &count.to_string())]),
        };
        Error { mistakes, ..Error::failed(format!("{file}: {what}")) }
    }

    /// Names the call that failed and its errno; without an errno, what the standard library says.
    pub fn call(mut self, call: impl fmt::Display, error: impl Into<io::Error>) -> Self {
        let error = error.into();
        self.call = Some(match error.raw_os_error() {
            Some(number) => format!("{call} = -1 {}", errno_text(Errno::from_raw(number))),
            None => format!("{call}: {error}"),
        });
        self
    }

    /// Adds a reason.
    pub fn why(mut self, why: impl Into<String>) -> Self {
        self.why.push(why.into());
        self
    }

    /// Adds something to do.
    pub fn todo(mut self, todo: impl Into<String>) -> Self {
        self.todo.push(todo.into());
        self
    }

    /// All reasons in one text, one in each line.
    pub fn reasons(&self) -> String {
        self.why.join("\n")
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        if let Some(call) = &self.call {
            write!(f, ": {call}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

/// The result of anything that a user may have to read about.
pub type Result<T> = std::result::Result<T, Error>;
