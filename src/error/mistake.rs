//! A mistake in a file, with its place.

use serde::Serialize;

/// An error names at most this many mistakes.
pub const MAX_MISTAKES: usize = 50;

/// One mistake in a file, with everything that is needed to show it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Mistake {
    /// The name of the file, as the user wrote it.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// The column, from 1, in characters.
    pub column: usize,
    /// The number of wrong characters.
    pub length: usize,
    /// The text of the line.
    pub source: String,
    /// What is wrong, as a sentence without a full stop.
    pub what: String,
    /// The known name that was probably meant, if there is one.
    pub near: Option<String>,
}

impl Mistake {
    /// A mistake of the file as a whole.
    pub fn whole(file: &str, what: impl Into<String>) -> Mistake {
        let source = String::new();
        Mistake { file: file.into(), line: 1, column: 1, length: 1, source, what: what.into(), near: None }
    }
}
