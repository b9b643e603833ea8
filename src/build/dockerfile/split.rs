//! Splits an instruction: its name, its flags, and the words of the rest.

use std::ops::Range;

/// An instruction in its parts.
#[derive(Debug)]
pub(super) struct Split<'a> {
    text: &'a str,
    /// The name as it was written.
    pub(super) name: &'a str,
    /// The flags, without quotes.
    pub(super) flags: Vec<FlagWord>,
    /// The place of what is after the flags.
    pub(super) rest: Range<usize>,
}

/// A word that begins with `--`.
#[derive(Debug)]
pub(super) struct FlagWord {
    pub(super) text: String,
    pub(super) range: Range<usize>,
}

/// What separates the name from its arguments, and words from each other.
const BLANKS: [char; 5] = ['\t', '\u{b}', '\u{c}', '\r', ' '];

impl<'a> Split<'a> {
    /// Splits an instruction, which begins with its name.
    pub(super) fn new(text: &'a str, escape: char) -> Split<'a> {
        let end = text.find(BLANKS).unwrap_or(text.len());
        let (flags, rest) = flags(text, end, escape);
        let trimmed = text[rest..].trim();
        let start = text.len() - text[rest..].trim_start().len();
        Split { text, name: &text[..end], flags, rest: start..start + trimmed.len() }
    }

    /// What is after the flags.
    pub(super) fn rest_text(&self) -> &'a str {
        &self.text[self.rest.clone()]
    }

    /// The words of the rest, separated by blanks. Quotes have no meaning.
    pub(super) fn plain_words(&self) -> Vec<Range<usize>> {
        let (mut words, mut start) = (Vec::new(), None);
        for (at, next) in self.rest_text().char_indices() {
            let at = self.rest.start + at;
            if BLANKS.contains(&next) {
                words.extend(start.take().map(|start| start..at));
            } else {
                start.get_or_insert(at);
            }
        }
        words.extend(start.map(|start| start..self.rest.end));
        words
    }

    /// The words of the rest, with their quotes. Blanks in quotes do not separate them.
    pub(super) fn quoted_words(&self, escape: char) -> Vec<Range<usize>> {
        let (mut words, mut start, mut quote, mut end) = (Vec::new(), None, None, self.rest.end);
        let mut characters = self.rest_text().char_indices().map(|(at, next)| (self.rest.start + at, next));
        while let Some((at, next)) = characters.next() {
            match quote {
                None if next.is_whitespace() => {
                    words.extend(start.take().map(|start| start..at));
                    continue;
                }
                None if matches!(next, '\'' | '"') => quote = Some(next),
                Some(open) if open == next => quote = None,
                _ if next == escape && quote != Some('\'') => end = characters.next().map_or(at, |_| end),
                _ => {}
            }
            start.get_or_insert(at);
        }
        // An escape character at the end escapes nothing, and is no part of the word.
        words.extend(start.map(|start| start..end).filter(|range| !range.is_empty()));
        words
    }
}

/// The flags that begin at `from`, and where the rest begins.
fn flags(text: &str, from: usize, escape: char) -> (Vec<FlagWord>, usize) {
    let (mut flags, mut at) = (Vec::new(), from);
    loop {
        let rest = text[at..].trim_start();
        let start = text.len() - rest.len();
        if !rest.starts_with("--") {
            return (flags, start);
        }
        let (word, length) = unquoted(rest, escape);
        at = start + length;
        if word == "--" {
            return (flags, at);
        }
        flags.push(FlagWord { text: word, range: start..at });
    }
}

/// The first word without its quotes, and its length.
fn unquoted(text: &str, escape: char) -> (String, usize) {
    let (mut word, mut quote) = (String::new(), None);
    let mut characters = text.char_indices();
    while let Some((at, next)) = characters.next() {
        match quote {
            None if next.is_whitespace() => return (word, at),
            None if matches!(next, '\'' | '"') => quote = Some(next),
            Some(open) if open == next => quote = None,
            _ if next == escape => word.extend(characters.next().map(|(_, escaped)| escaped)),
            _ => word.push(next),
        }
    }
    (word, text.len())
}

/// The arguments of an instruction as JSON.
#[derive(Debug)]
pub(super) enum Json {
    /// A list of strings.
    List(Vec<String>),
    /// A list with something else in it.
    Other,
    /// No list.
    No,
}

impl Json {
    pub(super) fn read(text: &str) -> Json {
        if !text.starts_with('[') {
            return Json::No;
        }
        match serde_json::from_str::<Vec<serde_json::Value>>(text) {
            Ok(list) => {
                let strings = list.into_iter().map(|value| match value {
                    serde_json::Value::String(string) => Some(string),
                    _ => None,
                });
                strings.collect::<Option<_>>().map_or(Json::Other, Json::List)
            }
            Err(_) => Json::No,
        }
    }
}
