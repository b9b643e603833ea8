//! The one shape of an error that a person reads: what failed, the call or the place in a file, why, and what to do.

mod errno;
mod mistake;

use std::fmt;
use std::io;

use nix::errno::Errno;
use serde::Serialize;

pub use self::errno::{errno, errno_text, io_text};
pub use self::mistake::{MAX_MISTAKES, Mistake};
use crate::text::{text, text_with};

/// The exit statuses that `sandbox` itself sets. All others are those of COMMAND.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitKind {
    /// The command line was wrong: 2.
    Usage,
    /// COMMAND cannot be executed: 126.
    NotExecutable,
    /// COMMAND was not found: 127.
    NotFound,
    /// Ended by signal N before a command ran: 128+N.
    Interrupted(i32),
    /// A command of a container's life, such as `stop`, cannot do what it was asked for: 1, as Docker's.
    Refused,
    /// A card or a mistake cannot be shown on this machine: 77, as in the tests of automake.
    Skipped,
    /// Any other error: 125.
    Failed,
}

impl ExitKind {
    /// The exit status as a number.
    pub fn status(self) -> u8 {
        match self {
            ExitKind::Usage => 2,
            ExitKind::Refused => 1,
            ExitKind::NotExecutable => 126,
            ExitKind::NotFound => 127,
            ExitKind::Interrupted(signal) => u8::try_from(128 + signal).unwrap_or(255),
            ExitKind::Skipped => 77,
            ExitKind::Failed => 125,
        }
    }
}

/// An error that a user reads. `render::error` prints it. Its JSON has the parts that a program can use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Error {
    /// The exit status.
    #[serde(skip)]
    pub kind: ExitKind,
    /// What failed, in one line: `net: cannot bring lo up (step 5 of 7, INSIDE)`.
    pub what: String,
    /// The call as strace would print it, with its result.
    pub call: Option<String>,
    /// The name of the cause, if `diagnose` knows it: `apparmor-userns`.
    pub cause: Option<&'static str>,
    /// The reasons that are known: sentences, then the files that prove them.
    pub why: Vec<String>,
    /// What to do. The first item changes the least.
    pub todo: Vec<String>,
    /// The mistakes in a file.
    #[serde(skip)]
    pub mistakes: Vec<Mistake>,
}

impl Error {
    /// An error with only its first line.
    pub fn new(kind: ExitKind, what: impl Into<String>) -> Self {
        let what = what.into();
        Error { kind, what, call: None, cause: None, why: vec![], todo: vec![], mistakes: vec![] }
    }

    /// An error with the exit status 125.
    pub fn failed(what: impl Into<String>) -> Self {
        Error::new(ExitKind::Failed, what)
    }

    /// An error in the command line.
    pub fn usage(what: impl Into<String>) -> Self {
        Error::new(ExitKind::Usage, what)
    }

    /// The error of a file with mistakes, from one to [`MAX_MISTAKES`].
    pub fn mistakes(file: &str, mistakes: Vec<Mistake>) -> Self {
        let what = match mistakes.len() {
            1 => text("spec.mistake"),
            MAX_MISTAKES => text_with("spec.mistakes.most", &[("count", &MAX_MISTAKES.to_string())]),
            count => text_with("spec.mistakes", &[("count", &count.to_string())]),
        };
        Error { mistakes, ..Error::failed(format!("{file}: {what}")) }
    }

    /// Adds the call that failed and its errno. Without an errno, it adds the text of the standard library.
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

    /// Adds a command line to paste. A line of advice that begins with a blank is a command.
    pub fn paste(self, command: impl fmt::Display) -> Self {
        self.todo(format!(" {command}"))
    }

    /// Adds a command line to paste, below what it does: for an error with several things to do.
    pub fn step(self, title: &str, command: impl fmt::Display) -> Self {
        self.todo(format!("{title}\n   {command}"))
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

/// The result of a function whose error a user reads.
pub type Result<T> = std::result::Result<T, Error>;
