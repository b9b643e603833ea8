//! The patterns of `${x#pattern}`: `*` is any text, `?` is any character, a backslash escapes. A set such as `[a-z]` is
//! not one: it is the text itself.

use crate::text::{text, text_with};

/// The maximum work of one expansion: the characters of the value times those of the pattern.
const MAX_WORK: usize = 20_000_000;

/// What one place of a pattern matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PatternPart {
    Literal(char),
    One,
    Any,
}

/// A pattern that was read.
#[derive(Debug)]
pub(super) struct ShellPattern {
    parts: Vec<PatternPart>,
}

impl ShellPattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// An escape character is before a character that needs none, or at the end.
    pub(super) fn new(pattern: &str, escape: char) -> Result<ShellPattern, String> {
        let mut parts = Vec::new();
        let mut rest = pattern.chars();
        while let Some(next) = rest.next() {
            parts.push(match next {
                '*' if parts.last() == Some(&PatternPart::Any) => continue,
                '*' => PatternPart::Any,
                '?' => PatternPart::One,
                '\\' => match rest.next() {
                    Some(escaped @ ('*' | '?' | '\\' | '}' | '/')) => PatternPart::Literal(escaped),
                    escaped => {
                        let written: String = std::iter::once('\\').chain(escaped).collect();
                        return Err(text_with("dockerfile.word.escape", &[("escape", &written)]));
                    }
                },
                _ if next == escape => PatternPart::Literal(rest.next().unwrap_or(escape)),
                _ => PatternPart::Literal(next),
            });
        }
        Ok(ShellPattern { parts })
    }

    /// The value without what the pattern matches at its start.
    pub(super) fn without_start(&self, value: &str, is_longest: bool) -> Result<String, String> {
        let characters: Vec<char> = value.chars().collect();
        self.check(characters.len())?;
        let end = self.end(&characters, is_longest).unwrap_or(0);
        Ok(characters[end..].iter().collect())
    }

    /// The value without what the pattern matches at its end.
    pub(super) fn without_end(&self, value: &str, is_longest: bool) -> Result<String, String> {
        let backwards: Vec<char> = value.chars().rev().collect();
        self.check(backwards.len())?;
        let pattern = ShellPattern { parts: self.parts.iter().rev().copied().collect() };
        let end = pattern.end(&backwards, is_longest).unwrap_or(0);
        Ok(backwards[end..].iter().rev().collect())
    }

    /// The value with `replacement` in place of the first match, or of every match. A match is as long as possible.
    pub(super) fn replaced(&self, value: &str, replacement: &str, every: bool) -> Result<String, String> {
        let characters: Vec<char> = value.chars().collect();
        // Each character can be the start of a match.
        self.check(characters.len().saturating_mul(characters.len()))?;
        let (mut out, mut at, mut is_done, mut after_match) = (String::new(), 0, false, false);
        while at <= characters.len() {
            let found = if is_done { None } else { self.end(&characters[at..], true) };
            match found {
                // An empty match directly after another one is none.
                Some(length) if length > 0 || !after_match => {
                    out.push_str(replacement);
                    is_done = !every;
                    after_match = true;
                    at += length;
                    if length > 0 {
                        continue;
                    }
                }
                _ => {}
            }
            after_match = false;
            out.extend(characters.get(at));
            at += 1;
        }
        Ok(out)
    }

    fn check(&self, length: usize) -> Result<(), String> {
        let is_small = length.saturating_mul(self.parts.len().max(1)) <= MAX_WORK;
        is_small.then_some(()).ok_or_else(|| text("dockerfile.word.work"))
    }

    /// Where the shortest or the longest match from the start ends.
    fn end(&self, characters: &[char], is_longest: bool) -> Option<usize> {
        // The places in the pattern that the characters up to here can have reached.
        let mut reached = vec![false; self.parts.len() + 1];
        self.reach(&mut reached, 0);
        let mut found = None;
        for at in 0..=characters.len() {
            if reached[self.parts.len()] {
                found = Some(at);
                if !is_longest {
                    break;
                }
            }
            let Some(next) = characters.get(at) else { break };
            let mut after = vec![false; reached.len()];
            for (place, part) in self.parts.iter().enumerate().filter(|(place, _)| reached[*place]) {
                match part {
                    PatternPart::Any => self.reach(&mut after, place),
                    PatternPart::One => self.reach(&mut after, place + 1),
                    PatternPart::Literal(wanted) if wanted == next => self.reach(&mut after, place + 1),
                    PatternPart::Literal(_) => {}
                }
            }
            if !after.contains(&true) {
                break;
            }
            reached = after;
        }
        found
    }

    /// Marks a place as reached, and the one after it if `*` is there, which matches nothing too.
    fn reach(&self, reached: &mut [bool], place: usize) {
        reached[place] = true;
        if self.parts.get(place) == Some(&PatternPart::Any) {
            reached[place + 1] = true;
        }
    }
}
