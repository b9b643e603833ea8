//! The words of an instruction: variables, quotes and escapes, as Docker's builder expands them. It is a part of what a
//! shell does: no command is executed, no pattern is matched with files.
//!
//! | written | becomes |
//! |---|---|
//! | `$x`, `${x}` | the value of `x`, or nothing |
//! | `${x-w}`, `${x:-w}` | the value; `w` if `x` is not set; with a colon, also if it is empty |
//! | `${x+w}`, `${x:+w}` | `w` if there is a value, otherwise nothing |
//! | `${x?w}`, `${x:?w}` | the value; without one, an error with the text `w` |
//! | `${x#p}`, `${x##p}` | the value without its shortest or longest beginning that matches the pattern `p` |
//! | `${x%p}`, `${x%%p}` | the same for its end |
//! | `${x/p/r}`, `${x//p/r}` | the value with `r` in place of the first or of each match |
//! | `"..."` | variables are expanded, blanks are kept |
//! | `'...'` | the text itself |
//! | `\c` | the character itself, with the escape character of the file |

use std::collections::BTreeSet;
use std::ops::Range;

use super::shell_pattern::ShellPattern;
use crate::text::{text, text_with};

/// The maximum size of an expanded text, in bytes. Values that contain each other could grow without limit.
const MAX_EXPANDED: usize = 4 << 20;

/// The maximum depth of variables in variables: `${a:-${b:-...}}`.
const MAX_DEPTH: usize = 50;

/// What a text became.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Expanded {
    /// The text.
    pub text: String,
    /// The same in words: separated by blanks that are in no quotes. A value with blanks becomes several words.
    pub words: Vec<String>,
    /// The variables with a value that were read. What a cache keeps depends on them.
    pub used: BTreeSet<String>,
    /// The variables without a value that were read.
    pub missing: BTreeSet<String>,
}

/// Why a text cannot be expanded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WordError {
    /// The part of the text that is wrong, in bytes.
    pub range: Range<usize>,
    /// What is wrong, as a sentence without a full stop.
    pub what: String,
}

/// Expands a text. `lookup` returns the value of a variable.
///
/// # Errors
/// A quote or a brace is not closed, the form of `${...}` is unknown, or `${x?w}` has no value.
pub fn expand(
    text: &str,
    escape: char,
    lookup: &dyn Fn(&str) -> Option<String>,
) -> Result<Expanded, WordError> {
    expand_with(text, escape, true, lookup)
}

/// Expands the content of a here-document, in which quotes are characters like others.
///
/// # Errors
/// As [`expand`].
pub fn expand_content(
    text: &str,
    escape: char,
    lookup: &dyn Fn(&str) -> Option<String>,
) -> Result<Expanded, WordError> {
    expand_with(text, escape, false, lookup)
}

fn expand_with(
    text: &str,
    escape: char,
    quotes: bool,
    lookup: &dyn Fn(&str) -> Option<String>,
) -> Result<Expanded, WordError> {
    let mut expander = Expander { text, at: 0, escape, quotes, lookup, depth: 0, out: Expanded::default() };
    let result = expander.until(None, false)?;
    let text = result.text.clone();
    Ok(Expanded { text, words: result.words(), ..expander.out })
}

/// A text, and where its words are separated.
#[derive(Default)]
struct ExpandedWords {
    text: String,
    words: Vec<String>,
    word: String,
}

impl ExpandedWords {
    /// Adds a character that separates words if it is a blank.
    fn push(&mut self, character: char) {
        self.text.push(character);
        if !character.is_whitespace() {
            self.word.push(character);
        } else if !self.word.is_empty() {
            self.words.push(std::mem::take(&mut self.word));
        }
    }

    /// Adds text that belongs to one word, such as that in quotes.
    fn push_whole(&mut self, text: &str) {
        self.text.push_str(text);
        self.word.push_str(text);
    }

    fn words(mut self) -> Vec<String> {
        if !self.word.is_empty() {
            self.words.push(self.word);
        }
        self.words
    }
}

struct Expander<'a> {
    text: &'a str,
    at: usize,
    escape: char,
    /// Whether quotes have their meaning.
    quotes: bool,
    lookup: &'a dyn Fn(&str) -> Option<String>,
    depth: usize,
    out: Expanded,
}

impl Expander<'_> {
    fn peek(&self) -> Option<char> {
        self.text[self.at..].chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let next = self.peek()?;
        self.at += next.len_utf8();
        Some(next)
    }

    /// Skips this character, if it is the next one.
    fn skips(&mut self, wanted: char) -> bool {
        let is_next = self.peek() == Some(wanted);
        self.at += if is_next { wanted.len_utf8() } else { 0 };
        is_next
    }

    /// An error from `start` to here.
    fn error<T>(&self, start: usize, what: String) -> Result<T, WordError> {
        Err(WordError { range: start..self.at.max(start + 1), what })
    }

    /// Expands up to the character `stop`, which is consumed, or up to the end. With `keep`, escape characters stay, as
    /// patterns need them.
    fn until(&mut self, stop: Option<char>, keep: bool) -> Result<ExpandedWords, WordError> {
        let mut out = ExpandedWords::default();
        while let Some(next) = self.peek() {
            if out.text.len() > MAX_EXPANDED {
                return self.error(0, text("dockerfile.word.long"));
            }
            match next {
                _ if Some(next) == stop => {
                    self.next();
                    return Ok(out);
                }
                '\'' if self.quotes => out.push_whole(&self.single_quoted()?),
                '"' if self.quotes => out.push_whole(&self.double_quoted(keep)?),
                '$' => self.variable()?.chars().for_each(|character| out.push(character)),
                _ if next == self.escape => {
                    self.next();
                    let mut own = [0; 4];
                    if keep {
                        out.push_whole(next.encode_utf8(&mut own));
                    }
                    // At the end, an escape character escapes nothing.
                    if let Some(escaped) = self.next() {
                        out.push_whole(escaped.encode_utf8(&mut own));
                    }
                }
                _ => {
                    self.next();
                    out.push(next);
                }
            }
        }
        match stop {
            None => Ok(out),
            Some(stop) => {
                self.error(self.at, text_with("dockerfile.word.brace", &[("character", &stop.to_string())]))
            }
        }
    }

    fn single_quoted(&mut self) -> Result<String, WordError> {
        let start = self.at;
        self.next();
        match self.text[self.at..].find('\'') {
            Some(length) => {
                let quoted = self.text[self.at..self.at + length].to_owned();
                self.at += length + 1;
                Ok(quoted)
            }
            None => {
                self.at = self.text.len();
                self.error(start, text_with("dockerfile.word.quote", &[("quote", "'")]))
            }
        }
    }

    fn double_quoted(&mut self, keep: bool) -> Result<String, WordError> {
        let (start, mut out) = (self.at, String::new());
        self.next();
        loop {
            match self.peek() {
                None => return self.error(start, text_with("dockerfile.word.quote", &[("quote", "\"")])),
                Some('"') => {
                    self.next();
                    return Ok(out);
                }
                Some('$') => out.push_str(&self.variable()?),
                Some(escape) if escape == self.escape => {
                    self.next();
                    if keep {
                        out.push(escape);
                    }
                    // In quotes, only these can be escaped. Before others, the escape character is itself.
                    match self.peek() {
                        Some(next) if next == '"' || next == '$' || next == self.escape => {
                            self.next();
                            out.push(next);
                        }
                        Some(_) => out.push(escape),
                        None => {}
                    }
                }
                Some(next) => {
                    self.next();
                    out.push(next);
                }
            }
            if out.len() > MAX_EXPANDED {
                return self.error(start, text("dockerfile.word.long"));
            }
        }
    }

    /// Expands what begins with `$`.
    fn variable(&mut self) -> Result<String, WordError> {
        let start = self.at;
        self.next();
        if !self.skips('{') {
            let name = self.name();
            return Ok(if name.is_empty() { "$".to_owned() } else { self.value(&name).unwrap_or_default() });
        }
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return self.error(start, text("dockerfile.word.deep"));
        }
        let value = self.braced(start);
        self.depth -= 1;
        value
    }

    /// Expands what is after `${`.
    fn braced(&mut self, start: usize) -> Result<String, WordError> {
        match self.peek() {
            None => return self.error(start, text("dockerfile.word.unclosed")),
            Some('{' | '}' | ':') => {
                self.next();
                return self.error(start, text("dockerfile.word.name"));
            }
            Some(_) => {}
        }
        let name = self.name();
        let form = self.at;
        let next = self.next();
        let has_colon = next == Some(':');
        let operator = if has_colon { self.next() } else { next };
        match operator {
            None => self.error(start, text("dockerfile.word.unclosed")),
            Some('}') if !has_colon => Ok(self.value(&name).unwrap_or_default()),
            Some(operator @ ('-' | '+' | '?')) => {
                let word = self.part('}', false, start)?;
                self.choice(start, &name, operator, has_colon, word)
            }
            Some(end @ ('#' | '%')) if !has_colon => {
                let pattern = self.part('}', true, start)?;
                let value = self.value(&name).unwrap_or_default();
                let is_longest = pattern.starts_with(end);
                let pattern = self.pattern(start, &pattern[usize::from(is_longest)..])?;
                let rest = if end == '#' {
                    pattern.without_start(&value, is_longest)
                } else {
                    pattern.without_end(&value, is_longest)
                };
                rest.or_else(|what| self.error(start, what))
            }
            Some('/') if !has_colon => {
                let every = self.skips('/');
                let pattern = self.part('/', true, start)?;
                let replacement = self.part('}', true, start)?;
                let value = self.value(&name).unwrap_or_default();
                let replaced = self.pattern(start, &pattern)?.replaced(&value, &replacement, every);
                replaced.or_else(|what| self.error(start, what))
            }
            Some(_) => {
                let operator = &self.text[form..self.at];
                let what = text_with("dockerfile.word.operator", &[("operator", operator)]);
                self.error(start, what)
            }
        }
    }

    /// `${x-w}`, `${x+w}`, `${x?w}`, each also with a colon.
    fn choice(
        &mut self,
        start: usize,
        name: &str,
        operator: char,
        has_colon: bool,
        word: String,
    ) -> Result<String, WordError> {
        let set = self.value(name);
        let value = set.clone().filter(|value| !(has_colon && value.is_empty()));
        match (operator, value) {
            ('+', None) => Ok(String::new()),
            ('-', None) | ('+', Some(_)) => Ok(word),
            (_, Some(value)) => Ok(value),
            (_, None) => {
                let key =
                    if set.is_some() { text("dockerfile.word.empty") } else { text("dockerfile.word.unset") };
                self.error(start, format!("{name}: {}", if word.is_empty() { key } else { word }))
            }
        }
    }

    /// A part of `${...}` up to `stop`.
    fn part(&mut self, stop: char, keep: bool, start: usize) -> Result<String, WordError> {
        let part = self.until(Some(stop), keep);
        let ended = self.at >= self.text.len();
        // An error in the part has its own place, except that the end of the text is the fault of this `${`.
        part.map(|out| out.text).map_err(|error| {
            let is_own = ended && error.range.start >= self.text.len();
            if is_own { WordError { range: start..self.text.len(), ..error } } else { error }
        })
    }

    fn pattern(&self, start: usize, pattern: &str) -> Result<ShellPattern, WordError> {
        ShellPattern::new(pattern, self.escape).or_else(|what| self.error(start, what))
    }

    /// The name of a variable. It is empty if the next character begins none.
    fn name(&mut self) -> String {
        let rest = &self.text[self.at..];
        let length = match rest.chars().next() {
            Some(digit) if digit.is_numeric() => rest.find(|next: char| !next.is_numeric()),
            // The special parameters of a shell. None has a value here.
            Some('@' | '*' | '#' | '?' | '-' | '$' | '!') => Some(1),
            _ => rest.find(|next: char| !next.is_alphanumeric() && next != '_'),
        };
        let name = rest[..length.unwrap_or(rest.len())].to_owned();
        self.at += name.len();
        name
    }

    fn value(&mut self, name: &str) -> Option<String> {
        let value = (self.lookup)(name);
        let names = if value.is_some() { &mut self.out.used } else { &mut self.out.missing };
        names.insert(name.to_owned());
        value
    }
}

#[cfg(test)]
mod tests;
