//! Two mistakes that a YAML parser reports in another line than the one with the mistake: a key without a colon, and a tab
//! after a value.

use super::flaw::Flaw;
use super::tree::Place;
use crate::text::{text, text_with};

/// The flaw to report in place of this syntax error. None: the mistake is where the parser says.
pub(super) fn instead_of(place: Place, document: &str, error: &str) -> Option<Flaw> {
    let lines: Vec<&str> = document.lines().collect();
    let own = lines.get(place.line.saturating_sub(1)).copied().unwrap_or_default();
    if error.contains("tab") && !indent(own).contains('\t') {
        let after = lines.iter().enumerate().skip(place.line.saturating_sub(1));
        let (index, line) = after.into_iter().find(|(_, line)| indent(line).contains('\t'))?;
        let column = indent(line).chars().position(|character| character == '\t')?;
        return Some(Flaw::at(Place { line: index + 1, column, length: 1 }, text("spec.tab")));
    }
    if !["mapping values are not allowed", "simple key expect"].iter().any(|part| error.contains(part)) {
        return None;
    }
    // Lines without a colon are read as one text, which goes on until the colon that the parser reports.
    let is_text =
        |line: &str| !line.trim().is_empty() && !line.contains([':', '#', '[', '{', '"', '\'', '-']);
    let before = lines[..place.line.saturating_sub(1).min(lines.len())].iter().enumerate().rev();
    let (index, line) = before.take_while(|(_, line)| is_text(line)).last()?;
    let (written, column) = (line.trim(), indent(line).chars().count());
    let fixed = match written.split_once(char::is_whitespace) {
        Some((key, value)) => format!("{key}: {}", value.trim_start()),
        None => format!("{written}:"),
    };
    let place = Place { line: index + 1, column, length: written.chars().count() };
    Some(Flaw::at(place, text_with("spec.colon", &[("fixed", &fixed)])))
}

fn indent(line: &str) -> &str {
    &line[..line.len() - line.trim_start().len()]
}
