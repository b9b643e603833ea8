//! The mistakes in a spec, as compilers print them: the position, what is wrong, the line, and carets below the
//! position.

use std::fmt::Write;

use super::paint;
use crate::error::Mistake;
use crate::text::{text_with, wrap};

/// The lines of all mistakes, in their order.
pub(super) fn text_in(mistakes: &[Mistake], width: usize) -> String {
    mistakes.iter().map(|mistake| one(mistake, width)).collect()
}

fn one(mistake: &Mistake, width: usize) -> String {
    let Mistake { file, line, column, what, .. } = mistake;
    let mut out = String::new();
    // Editors find the position only at the start of a line: `file:line:column:`.
    let lines = wrap(&format!("{file}:{line}:{column}: {what}"), width);
    let (first, rest) = lines.split_first().map_or(("", &[][..]), |(first, rest)| (&**first, rest));
    let _ = writeln!(out, "{first}");
    for text in wrap(&rest.join(" "), width.saturating_sub(4)) {
        let _ = writeln!(out, "    {text}");
    }
    let near =
        mistake.near.as_ref().map(|near| text_with("spec.near", &[("word", near)])).unwrap_or_default();
    if mistake.source.trim().is_empty() {
        return if near.is_empty() { out } else { out + &format!("    {near}\n") };
    }
    let number = line.to_string();
    let (shown, before, carets) = excerpt(mistake, width.saturating_sub(number.len() + 5));
    let _ = writeln!(out, "  {} {shown}", paint::faint(&format!("{number} |")));
    let bar = paint::faint(&format!("{:>1$} |", "", number.len())).to_string();
    let _ = writeln!(out, "  {bar} {before}{} {near}", paint::bad(&carets));
    out.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

/// The line, or the part of it that fits. Then the spaces before the carets, and the carets.
fn excerpt(mistake: &Mistake, width: usize) -> (String, String, String) {
    // A control character in the file could move the cursor, so it is printed as a space.
    let line: Vec<char> = mistake
        .source
        .chars()
        .map(|character| if character.is_control() { ' ' } else { character })
        .collect();
    let at = (mistake.column - 1).min(line.len());
    // A line that is too long begins a third of the width before the position.
    let from = if line.len() <= width { 0 } else { at.saturating_sub(width / 3) };
    let part: Vec<char> = line[from..].iter().copied().take(width).collect();
    let length = mistake.length.min(part.len().saturating_sub(at - from)).max(1);
    let before = part[..at - from].iter().map(|character| if is_wide(*character) { '\u{3000}' } else { ' ' });
    (part.iter().collect(), before.collect(), "^".repeat(length))
}

/// Whether a character takes two columns, as those of Chinese, Japanese and Korean.
fn is_wide(character: char) -> bool {
    matches!(character,
        '\u{1100}'..='\u{115f}' | '\u{2e80}'..='\u{a4cf}' | '\u{ac00}'..='\u{d7a3}' | '\u{f900}'..='\u{faff}'
        | '\u{fe30}'..='\u{fe6f}' | '\u{ff00}'..='\u{ff60}' | '\u{1f300}'..='\u{1faff}')
}
