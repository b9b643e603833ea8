//! Where a line begins here-documents: `<<NAME`, `<<-NAME`, `3<<"NAME"`.

use std::ops::Range;

use super::instruction::{CommandForm, Heredoc, RunCommand, RunScript};
use super::place::{SourceText, Span};

/// The beginning of a here-document in a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct HeredocMarker {
    pub(super) name: String,
    pub(super) expand: bool,
    pub(super) strip_tabs: bool,
    pub(super) descriptor: Option<u32>,
    /// Its place in the line.
    pub(super) range: Range<usize>,
}

/// The here-documents that a line begins, in their order. A line with a quote that is not closed begins none.
pub(super) fn markers(line: &str) -> Vec<HeredocMarker> {
    words(line).into_iter().flatten().filter_map(|range| marker(&line[range.clone()], range)).collect()
}

/// The words of a line, with their quotes. Blanks after `<<` and `<<-` belong to the word, as in a shell.
fn words(line: &str) -> Option<Vec<Range<usize>>> {
    let (mut words, mut start, mut at) = (Vec::new(), None, 0);
    while let Some(next) = line[at..].chars().next() {
        let rest = &line[at..];
        if next.is_whitespace() {
            words.extend(start.take().map(|start| start..at));
            at += next.len_utf8();
            continue;
        }
        start.get_or_insert(at);
        at += match next {
            '\'' | '"' => quoted(rest)?,
            '\\' => 1 + rest[1..].chars().next().map_or(0, char::len_utf8),
            '$' if rest.starts_with("${") => rest.find('}')? + 1,
            '<' if rest.starts_with("<<") => {
                let after = rest[2..].strip_prefix('-').unwrap_or(&rest[2..]);
                rest.len() - after.trim_start_matches([' ', '\t', '\r']).len()
            }
            _ => next.len_utf8(),
        };
    }
    words.extend(start.map(|start| start..line.len()));
    Some(words)
}

/// The length of a quoted text with its quotes.
fn quoted(text: &str) -> Option<usize> {
    let mut characters = text.char_indices();
    let (_, quote) = characters.next()?;
    while let Some((at, next)) = characters.next() {
        match next {
            '\\' if quote == '"' => {
                characters.next();
            }
            _ if next == quote => return Some(at + 1),
            _ => {}
        }
    }
    None
}

/// Reads a word as the beginning of a here-document.
fn marker(word: &str, range: Range<usize>) -> Option<HeredocMarker> {
    let (descriptor, rest) = word.split_once("<<")?;
    if !descriptor.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let (strip_tabs, rest) = rest.strip_prefix('-').map_or((false, rest), |rest| (true, rest));
    let written = rest.trim_start();
    if written.contains('<') {
        return None;
    }
    let (name, has_quotes) = unquoted(written);
    let descriptor = descriptor.parse().ok();
    (!name.is_empty()).then_some(HeredocMarker { name, expand: !has_quotes, strip_tabs, descriptor, range })
}

/// The text without its quotes and escape characters, and whether it had quotes.
fn unquoted(text: &str) -> (String, bool) {
    let (mut out, mut quote, mut has_quotes) = (String::new(), None, false);
    let mut rest = text.chars().peekable();
    while let Some(next) = rest.next() {
        match (quote, next) {
            (Some(open), _) if open == next => quote = None,
            (None, '\'' | '"') => (quote, has_quotes) = (Some(next), true),
            (None, '\\') => out.extend(rest.next()),
            (Some('"'), '\\') => {
                let escaped = rest.next_if(|next| matches!(next, '"' | '$' | '\\'));
                out.push(escaped.unwrap_or('\\'));
            }
            _ => out.push(next),
        }
    }
    (out, has_quotes)
}

impl Heredoc {
    /// The name of its file: the last part, as in BuildKit. None: that is no name of a file.
    pub fn file_name(&self) -> Option<&str> {
        self.name.rsplit('/').next().filter(|name| !["", ".", ".."].contains(name))
    }

    /// The place in the file of a part of the content, which may lack the tabs at the beginning of its lines.
    pub fn place_of(&self, source: &SourceText, range: &Range<usize>) -> Span {
        let written = source.text().get(self.span.clone()).unwrap_or_default();
        let before = self.content.get(..range.start).unwrap_or_default();
        let begin = before.rfind('\n').map_or(0, |end| end + 1);
        let number = before.matches('\n').count();
        let mut lines = written.split_inclusive('\n');
        let above: usize = lines.by_ref().take(number).map(str::len).sum();
        let tabs = |line: &str| line.len() - line.trim_start_matches('\t').len();
        let removed = tabs(lines.next().unwrap_or_default()).saturating_sub(tabs(&self.content[begin..]));
        let start = self.span.start + above + removed + (range.start - begin);
        start..start + range.len()
    }
}

impl RunCommand {
    /// The command with its here-documents.
    ///
    /// If the line is one here-document and nothing else, its content is the script. With other words, the shell gets
    /// the line and the here-documents, and reads them itself.
    pub fn script(&self) -> RunScript<'_> {
        let line = match &self.form {
            CommandForm::Exec(arguments) => return RunScript::Exec(arguments),
            CommandForm::Shell(line) => line,
        };
        let is_all = |only: &[HeredocMarker]| only.len() == 1 && only[0].range == (0..line.len());
        match &*self.heredocs {
            [] => RunScript::Shell(line.clone()),
            [only] if is_all(&markers(line)) => {
                let content = only.content.clone();
                let is_program = content.starts_with("#!");
                if is_program {
                    RunScript::File { name: only.file_name().unwrap_or("script"), content }
                } else {
                    RunScript::Shell(content)
                }
            }
            several => {
                let documents =
                    several.iter().map(|document| format!("\n{}{}", document.original, document.name));
                RunScript::Shell(line.clone() + &documents.collect::<String>())
            }
        }
    }
}
