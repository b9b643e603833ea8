//! What is wrong with a spec: the place as compilers print it, what is wrong, the line, a caret under the place.

use std::fmt::Write;

use super::paint;
use crate::error::Mistake;
use crate::text::{text_with, wrap};

/// Draws them in so many columns, in their order.
pub(super) fn text_in(mistakes: &[Mistake], width: usize) -> String {
    mistakes.iter().map(|mistake| one(mistake, width)).collect()
}

fn one(mistake: &Mistake, width: usize) -> String {
    let Mistake { file, line, column, what, .. } = mistake;
    let mut out = String::new();
    // `file:line:column:` begins the line, where editors look for it.
    let lines = wrap(&format!("{file}:{line}:{column}: {what}"), width);
    for (index, words) in lines.iter().enumerate() {
        let _ = writeln!(out, "{}{words}", if index == 0 { "" } else { "    " });
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

/// The line, or the part of it that fits, then what stands before the caret in its second line, and the carets.
fn excerpt(mistake: &Mistake, width: usize) -> (String, String, String) {
    // Nothing that is printed may move the cursor, or anything else of a terminal.
    let line: Vec<char> =
        mistake.source.chars().map(|sign| if sign.is_control() { ' ' } else { sign }).collect();
    let at = (mistake.column - 1).min(line.len());
    // Where the line is too long, it's shown from some way before the place on.
    let from = if line.len() <= width { 0 } else { at.saturating_sub(width / 3) };
    let part: Vec<char> = line[from..].iter().copied().take(width).collect();
    let length = mistake.length.min(part.len().saturating_sub(at - from)).max(1);
    let before = part[..at - from].iter().map(|sign| if is_wide(*sign) { '\u{3000}' } else { ' ' });
    (part.iter().collect(), before.collect(), "^".repeat(length))
}

/// Characters that take two columns: those of Chinese, Japanese and Korean.
fn is_wide(sign: char) -> bool {
    matches!(sign, '\u{1100}'..='\u{115f}' | '\u{2e80}'..='\u{a4cf}' | '\u{ac00}'..='\u{d7a3}' | '\u{f900}'..='\u{faff}'
        | '\u{fe30}'..='\u{fe6f}' | '\u{ff00}'..='\u{ff60}' | '\u{1f300}'..='\u{1faff}')
}
