//! Places in a Dockerfile, and mistakes at them.

use std::ops::Range;
use std::sync::Arc;

use crate::error::{Error, Mistake};

/// A range of bytes in a text.
pub type Span = Range<usize>;

/// The name and the text of a Dockerfile. A copy of it shares the text.
#[derive(Debug, Clone)]
pub struct SourceText {
    name: Arc<str>,
    text: Arc<str>,
}

impl SourceText {
    /// A text that was read from a file of this name.
    pub fn new(name: &str, text: &str) -> SourceText {
        SourceText { name: name.into(), text: text.into() }
    }

    /// The name of the file.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The text of the file.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The line of a byte, from 1, and its column, from 1, in characters.
    pub fn position(&self, at: usize) -> (usize, usize) {
        let before = &self.text[..self.boundary(at)];
        let start = before.rfind('\n').map_or(0, |newline| newline + 1);
        (before.matches('\n').count() + 1, before[start..].chars().count() + 1)
    }

    /// A mistake in this range of bytes. If the range has several lines, the first one is shown.
    pub fn mistake(&self, span: &Span, what: impl Into<String>) -> Mistake {
        let (start, end) = (self.boundary(span.start), self.boundary(span.end));
        let (line, column) = self.position(start);
        let from = self.text[..start].rfind('\n').map_or(0, |newline| newline + 1);
        let to = self.text[start..].find('\n').map_or(self.text.len(), |newline| start + newline);
        let length = self.text[start..end.clamp(start, to)].trim_end().chars().count().max(1);
        let source = self.text[from..to].trim_end_matches('\r').to_owned();
        Mistake { file: self.name.to_string(), line, column, length, source, what: what.into(), near: None }
    }

    /// The error of one mistake in this range of bytes.
    pub fn error(&self, span: &Span, what: impl Into<String>) -> Error {
        Error::mistakes(&self.name, vec![self.mistake(span, what)])
    }

    /// The error of a mistake of the file as a whole.
    pub fn whole(&self, what: impl Into<String>) -> Error {
        Error::mistakes(&self.name, vec![Mistake::whole(&self.name, what)])
    }

    /// The end of the last whole character before this byte.
    fn boundary(&self, at: usize) -> usize {
        let is_boundary = |at: &usize| self.text.is_char_boundary(*at);
        (0..=at.min(self.text.len())).rev().find(is_boundary).unwrap_or(0)
    }
}

/// What was read, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed<T> {
    /// What was read.
    pub value: T,
    /// The instruction in one line, without its continuations and comments: `RUN a   b`. Docker prints it in this form.
    pub text: String,
    /// The place of the instruction, without its here-documents.
    pub span: Span,
    /// For each part of `text`: where it begins there, and where it begins in the file.
    pub(super) parts: Vec<(usize, usize)>,
}

impl<T> Placed<T> {
    /// The same place with another value.
    pub fn with<U>(self, value: U) -> Placed<U> {
        Placed { value, text: self.text, span: self.span, parts: self.parts }
    }

    /// The place in the file of a range of `text`.
    pub fn inner(&self, range: &Range<usize>) -> Span {
        let start = self.offset(range.start);
        start..self.offset(range.end.saturating_sub(1)).saturating_add(1).max(start + 1)
    }

    /// The place in the file of a word of the instruction. It is the whole instruction if the word is not in it as it
    /// is, such as one that JSON escapes.
    pub fn place_of(&self, word: &str) -> Span {
        self.range_of(word).map_or(self.span.clone(), |range| self.inner(&range))
    }

    /// Where a word first is in `text`, after the name of the instruction.
    pub(super) fn range_of(&self, word: &str) -> Option<Range<usize>> {
        let name = self.text.find(char::is_whitespace)?;
        let at = name + self.text[name..].find(word).filter(|_| !word.is_empty())?;
        Some(at..at + word.len())
    }

    /// The place in the file of a byte of `text`.
    fn offset(&self, at: usize) -> usize {
        let part = self.parts.partition_point(|(start, _)| *start <= at).saturating_sub(1);
        self.parts.get(part).map_or(self.span.start, |(start, place)| place + (at - start))
    }
}
