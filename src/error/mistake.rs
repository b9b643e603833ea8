//! A mistake in a file, and its place there.

/// An error names at most this many mistakes.
pub const MAX_MISTAKES: usize = 50;

/// One mistake in a file, with all that is needed to show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// The file, as it was named.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// The column, from 1, in characters.
    pub column: usize,
    /// How many characters are wrong.
    pub length: usize,
    /// The line itself.
    pub source: String,
    /// What is wrong: a sentence without its full stop.
    pub what: String,
    /// The known word that is nearest, where one is near.
    pub near: Option<String>,
}

impl Mistake {
    /// Something wrong with a file as a whole.
    pub fn whole(file: &str, what: impl Into<String>) -> Mistake {
        let source = String::new();
        Mistake { file: file.into(), line: 1, column: 1, length: 1, source, what: what.into(), near: None }
    }
}
