//! What went wrong, as a person can use it: what failed, the call, why, and what to do.

mod errno;

use std::fmt;
use std::io;

use nix::errno::Errno;

pub use self::errno::{errno, errno_text};
use crate::config::spec::{MOST_MISTAKES, Mistake};
use crate::diagnose::Cause;
use crate::text::{text, text_with};

/// The exit statuses of the command-line contract that `sandbox` itself decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
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

impl Kind {
    /// The exit status of the contract.
    pub fn status(self) -> u8 {
        match self {
            Kind::Usage => 2,
            Kind::NotExecutable => 126,
            Kind::NotFound => 127,
            Kind::Interrupted(signal) => u8::try_from(128 + signal).unwrap_or(255),
            Kind::Failed => 125,
        }
    }
}

/// An error that a user reads. Plain words; `render::error` draws it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// Which exit status it means.
    pub kind: Kind,
    /// What failed, in one line: `net: cannot bring lo up (step 5 of 7, INSIDE)`.
    pub what: String,
    /// The call as strace would print it, with its result.
    pub call: Option<String>,
    /// The cause's name, where it is one that `host::diagnose` knows: `apparmor-userns`.
    pub cause: Option<&'static str>,
    /// Why, as far as can be known: sentences, then the files that prove it.
    pub why: Vec<String>,
    /// What to do, the narrowest way first.
    pub todo: Vec<String>,
    /// What is wrong with a file, place by place.
    pub mistakes: Vec<Mistake>,
}

impl Error {
    /// An error with one line and nothing more to say yet.
    pub fn new(kind: Kind, what: impl Into<String>) -> Self {
        let what = what.into();
        Error { kind, what, call: None, cause: None, why: vec![], todo: vec![], mistakes: vec![] }
    }

    /// An error of the kind that ends in 125.
    pub fn failed(what: impl Into<String>) -> Self {
        Error::new(Kind::Failed, what)
    }

    /// A wrong command line.
    pub fn usage(what: impl Into<String>) -> Self {
        Error::new(Kind::Usage, what)
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

    /// A spec with mistakes, of which there is at least one.
    pub fn spec(file: &str, mistakes: Vec<Mistake>) -> Self {
        let what = match mistakes.len() {
            1 => text("spec.mistake"),
            MOST_MISTAKES => text_with("spec.mistakes.most", &[("count", &MOST_MISTAKES.to_string())]),
            count => text_with("spec.mistakes", &[("count", &count.to_string())]),
        };
        Error { mistakes, ..Error::failed(format!("{file}: {what}")) }
    }

    /// Takes over a likely cause, where there is one.
    pub fn because(mut self, cause: Option<Cause>) -> Self {
        if let Some(cause) = cause {
            (self.cause, self.why, self.todo) = (Some(cause.name), cause.why, cause.todo);
        }
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
