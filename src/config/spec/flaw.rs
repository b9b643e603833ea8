//! A flaw: something wrong in the text of a spec, with its place. Flaws become the mistakes of an error.

use super::tree::Place;
use crate::error::{MAX_MISTAKES, Mistake};
use crate::text::{text as catalogue, text_with};

/// Something wrong at a place of the text. The name of the file is added later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Flaw {
    pub(super) place: Place,
    pub(super) what: String,
    pub(super) near: Option<String>,
}

impl Flaw {
    pub(super) fn at(place: Place, what: impl Into<String>) -> Flaw {
        Flaw { place, what: what.into(), near: None }
    }

    /// A syntax error, at which the parser stopped.
    pub(super) fn syntax(place: Place, text: &str, error: &str) -> Flaw {
        if let Some(flaw) = super::unclosed::instead_of(place, text, error) {
            return flaw;
        }
        if let Some(flaw) = super::misplaced::instead_of(place, text, error) {
            return flaw;
        }
        let place = in_text(place, text);
        let line = line_of(text, place.line);
        let indent = &line[..line.len() - line.trim_start().len()];
        Flaw::at(
            place,
            if indent.contains('\t') {
                catalogue("spec.tab")
            } else {
                text_with("spec.syntax", &[("error", error)])
            },
        )
    }
}

/// The place of an error that the parser reports behind the end of the document: the last line that is not empty.
fn in_text(place: Place, text: &str) -> Place {
    let lines = text.lines().enumerate().take(place.line).filter(|(_, line)| !line.trim().is_empty());
    match lines.last() {
        Some((index, line)) if index + 1 < place.line && text.lines().nth(place.line - 1).is_none() => {
            let column = line.chars().take_while(|character| character.is_whitespace()).count();
            Place { line: index + 1, column, length: line.trim().chars().count() }
        }
        _ => place,
    }
}

/// The flaws as mistakes of a file, in the order of its lines.
pub(super) fn mistakes_of(mut flaws: Vec<Flaw>, text: &str, file: &str) -> Vec<Mistake> {
    flaws.sort_by_key(|flaw| (flaw.place.line, flaw.place.column));
    // A value with aliases is read once for each alias. Its flaw is reported once.
    flaws.dedup();
    flaws.truncate(MAX_MISTAKES);
    let mistake = |flaw: Flaw| Mistake {
        file: file.into(),
        line: flaw.place.line,
        column: flaw.place.column + 1,
        length: flaw.place.length,
        source: line_of(text, flaw.place.line).into(),
        what: clean(&flaw.what),
        near: flaw.near,
    };
    flaws.into_iter().map(mistake).collect()
}

fn line_of(text: &str, line: usize) -> &str {
    text.lines().nth(line.saturating_sub(1)).unwrap_or_default()
}

/// Makes a sentence safe to print. It may quote the file, so it must not move the cursor or fill the screen.
fn clean(what: &str) -> String {
    const MAX_LENGTH: usize = 600;
    let printable = |character: char| if character.is_control() { ' ' } else { character };
    what.chars().take(MAX_LENGTH).map(printable).collect()
}
