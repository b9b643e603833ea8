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
