//! From the text of a Dockerfile to its instructions as text: directives, comments, continued lines, here-documents.

use super::heredoc::{self, HeredocMarker};
use super::place::{Placed, SourceText, Span};
use super::split::{Json, Split};
use super::{Directives, Heredoc};
use crate::error::{MAX_MISTAKES, Mistake};
use crate::text::{printed, text, text_with};

/// The maximum number of instructions.
const MAX_INSTRUCTIONS: usize = 10_000;

/// What was found in a text.
pub(super) struct FoundLines {
    pub(super) directives: Directives,
    /// The instructions, each with its here-documents.
    pub(super) instructions: Vec<Placed<Vec<Heredoc>>>,
    pub(super) warnings: Vec<Mistake>,
    pub(super) mistakes: Vec<Mistake>,
}

/// Finds the instructions of a text. `bad` are the places of bytes that are not UTF-8, in their order.
pub(super) fn read(source: &SourceText, bad: &[usize]) -> FoundLines {
    let directives = Directives { syntax: None, escape: '\\', check: None };
    let found = FoundLines { directives, instructions: vec![], warnings: vec![], mistakes: vec![] };
    let mut reader = LineReader { source, bad, at: 0, found };
    reader.directives();
    while reader.instruction() {}
    reader.found
}

struct LineReader<'a> {
    source: &'a SourceText,
    bad: &'a [usize],
    /// Where the next line begins.
    at: usize,
    found: FoundLines,
}

/// A line without its end.
#[derive(Clone, Copy)]
struct PhysicalLine<'a> {
    start: usize,
    text: &'a str,
    /// Whether it ends with a carriage return and a newline.
    is_crlf: bool,
}

impl PhysicalLine<'_> {
    fn is_comment(&self) -> bool {
        self.text.trim_start().starts_with('#')
    }

    fn is_blank(&self) -> bool {
        self.text.trim().is_empty()
    }
}

impl<'a> LineReader<'a> {
    fn peek(&self) -> Option<PhysicalLine<'a>> {
        let rest = &self.source.text()[self.at..];
        let line = rest.split_inclusive('\n').next()?;
        let text = line.trim_end_matches(['\r', '\n']);
        Some(PhysicalLine { start: self.at, text, is_crlf: line.ends_with("\r\n") })
    }

    fn next(&mut self) -> Option<PhysicalLine<'a>> {
        let line = self.peek()?;
        let rest = &self.source.text()[self.at..];
        self.at += rest.find('\n').map_or(rest.len(), |newline| newline + 1);
        Some(line)
    }

    fn wrong(&mut self, span: &Span, what: String) {
        // One more than is reported, so that the report can say that there are more.
        if self.found.mistakes.len() <= MAX_MISTAKES {
            self.found.mistakes.push(self.source.mistake(span, what));
        }
    }

    /// Reads the directives: comments of the form `# name=value` that are before all else.
    fn directives(&mut self) {
        let mut seen = Vec::new();
        while let Some(line) = self.peek() {
            let Some((name, value)) = directive(line.text) else { return };
            self.next();
            let start = line.start + (line.text.len() - line.text.trim_start().len());
            let span = start..line.start + line.text.trim_end().len();
            if seen.contains(&name) {
                self.wrong(&span, text_with("dockerfile.directive.twice", &[("name", &name)]));
            }
            match (name.as_str(), value) {
                ("escape", "\\") => self.found.directives.escape = '\\',
                ("escape", "`") => self.found.directives.escape = '`',
                ("escape", other) => {
                    let what = text_with("dockerfile.directive.escape", &[("value", &printed(other))]);
                    self.wrong(&span, what);
                }
                ("syntax", value) => self.found.directives.syntax = Some(value.to_owned()),
                (_, value) => self.found.directives.check = Some(value.to_owned()),
            }
            seen.push(name);
        }
    }

    /// Reads the next instruction. False: there is none.
    fn instruction(&mut self) -> bool {
        let Some(line) = self.next() else { return false };
        if line.is_blank() || line.is_comment() {
            return true;
        }
        let mut placed =
            Placed { value: vec![], text: String::new(), span: line.start..line.start, parts: vec![] };
        let indent = line.text.len() - line.text.trim_start().len();
        placed.span.start += indent;
        let mut body = PhysicalLine { start: line.start + indent, text: &line.text[indent..], ..line };
        let mut blank = None;
        loop {
            self.check(&body);
            let (kept, is_continued) = continued(body.text, self.found.directives.escape);
            placed.parts.push((placed.text.len(), body.start));
            placed.text.push_str(kept);
            placed.span.end = body.start + kept.trim_end().len();
            if !is_continued {
                break;
            }
            match self.after_continuation(&mut blank) {
                Some(next) => body = next,
                None => break,
            }
        }
        placed.text.truncate(placed.text.trim_end().len());
        if placed.text.is_empty() {
            return true;
        }
        if let Some(span) = blank.filter(|_| self.found.warnings.len() < MAX_MISTAKES) {
            self.found.warnings.push(self.source.mistake(&span, text("dockerfile.continuation.blank")));
        }
        if self.found.instructions.len() == MAX_INSTRUCTIONS {
            self.wrong(
                &placed.span,
                text_with("dockerfile.many", &[("count", &MAX_INSTRUCTIONS.to_string())]),
            );
            return false;
        }
        let is_complete = self.heredocs(&mut placed, line.is_crlf);
        if is_complete {
            self.found.instructions.push(placed);
        }
        is_complete
    }

    /// The line that continues an instruction: comments and blank lines between are skipped.
    fn after_continuation(&mut self, blank: &mut Option<Span>) -> Option<PhysicalLine<'a>> {
        loop {
            let next = self.next()?;
            if next.is_blank() {
                blank.get_or_insert(next.start..next.start);
            } else if !next.is_comment() {
                return Some(next);
            }
        }
    }

    /// Refuses what no instruction can have: bytes that are not UTF-8, and null characters.
    fn check(&mut self, line: &PhysicalLine) {
        let end = line.start + line.text.len();
        let bad = self.bad.partition_point(|bad| *bad < line.start);
        if let Some(bad) = self.bad.get(bad).copied().filter(|bad| *bad < end) {
            self.wrong(&(bad..bad + 1), text("dockerfile.utf8"));
        } else if let Some(null) = line.text.find('\0') {
            self.wrong(&(line.start + null..line.start + null + 1), text("dockerfile.null"));
        }
    }

    /// Reads the here-documents of an instruction. False: one has no end.
    fn heredocs(&mut self, placed: &mut Placed<Vec<Heredoc>>, is_crlf: bool) -> bool {
        if !placed.text.contains("<<") || !can_have_heredocs(&placed.text, self.found.directives.escape) {
            return true;
        }
        for marker in heredoc::markers(&placed.text) {
            match self.heredoc(&marker, is_crlf) {
                Some(document) => placed.value.push(document),
                None => return self.unclosed(&marker, &placed.inner(&marker.range)),
            }
        }
        true
    }

    /// The lines of a here-document. `None`: its end is missing.
    fn heredoc(&mut self, marker: &HeredocMarker, is_crlf: bool) -> Option<Heredoc> {
        let (start, mut content, mut original) = (self.at, String::new(), String::new());
        let stripped = |line: &'a str| if marker.strip_tabs { line.trim_start_matches('\t') } else { line };
        loop {
            let line = self.next()?;
            if stripped(line.text) == marker.name {
                let span = start..line.start;
                let HeredocMarker { name, expand, strip_tabs, descriptor, .. } = marker.clone();
                return Some(Heredoc { name, content, original, expand, strip_tabs, descriptor, span });
            }
            self.check(&line);
            // In a file with CRLF, a shell would take the carriage return for a part of the command.
            let written = &self.source.text()[line.start..self.at];
            let (body, end) = match written.strip_suffix("\r\n") {
                Some(body) if is_crlf => (body, "\n"),
                _ => (written, ""),
            };
            content.extend([stripped(body), end]);
            original.extend([body, end]);
        }
    }

    /// Reports a here-document without an end, and a line that was probably meant to be its end.
    fn unclosed(&mut self, marker: &HeredocMarker, span: &Span) -> bool {
        let rest = &self.source.text()[span.end..];
        let near = rest.lines().position(|line| line.trim() == marker.name);
        let what = match near {
            Some(after) => {
                let line = (self.source.position(span.end).0 + after).to_string();
                text_with("dockerfile.heredoc.blanks", &[("name", &marker.name), ("line", &line)])
            }
            None => text_with("dockerfile.heredoc.unclosed", &[("name", &marker.name)]),
        };
        self.wrong(span, what);
        false
    }
}

/// Whether `RUN`, `COPY` or `ADD` is in the shell form: only then `<<` begins a here-document.
fn can_have_heredocs(text: &str, escape: char) -> bool {
    let mut split = Split::new(text, escape);
    if split.name.eq_ignore_ascii_case("ONBUILD") {
        split = Split::new(&text[split.rest], escape);
    }
    let is_one = ["RUN", "COPY", "ADD"].iter().any(|name| split.name.eq_ignore_ascii_case(name));
    is_one && !matches!(Json::read(split.rest_text()), Json::List(_))
}

/// A directive: its name in small letters, and its value.
fn directive(line: &str) -> Option<(String, &str)> {
    let (name, value) = line.trim_start().strip_prefix('#')?.trim_start().split_once('=')?;
    let (name, value) = (name.trim_end().to_ascii_lowercase(), value.trim());
    (["syntax", "escape", "check"].contains(&&*name) && !value.is_empty()).then_some((name, value))
}

/// The line without the escape character that continues it, and whether there is one. As Docker reads it, two of them
/// never continue a line, whatever is before.
fn continued(line: &str, escape: char) -> (&str, bool) {
    let trimmed = line.trim_end_matches([' ', '\t']);
    match trimmed.strip_suffix(escape) {
        Some(kept) if !kept.ends_with(escape) => (kept, true),
        _ => (line, false),
    }
}
