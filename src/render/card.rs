//! A card of a demonstration: a claim, the evidence and the verdict, in at most six lines.

use std::fmt::Write;

use super::paint;
use crate::teach::demo::{Card, Evidence, Outcome};
use crate::text::{text_with, wrap};

/// The lines of a card.
pub fn text(card: &Card) -> String {
    let width = paint::width();
    let mut out = String::new();
    let indent = 10;
    for (index, line) in wrap(&card.claim, width - indent).iter().enumerate() {
        let name = if index == 0 { card.name } else { "" };
        let _ = writeln!(out, "{:<indent$}{}", paint::heading(name), paint::heading(line));
    }
    out.push_str(&evidence(&card.evidence, indent, width));
    let (mark, verdict) = match &card.outcome {
        Outcome::Holds => (paint::good("ok"), &card.verdict),
        Outcome::Fails => (paint::bad("NOT SO"), &card.verdict),
        Outcome::Skipped(reason) => (paint::faint("skipped"), reason),
    };
    for (index, line) in wrap(verdict, width - indent).iter().enumerate() {
        let mark = if index == 0 { mark.clone() } else { "".into() };
        let _ = writeln!(out, "{mark:<indent$}{line}");
    }
    out
}

/// The line that counts the skipped cards. Empty if there are none.
pub fn skipped(cards: &[Card]) -> String {
    let count = cards.iter().filter(|card| matches!(card.outcome, Outcome::Skipped(_))).count();
    let key = match count {
        0 => return String::new(),
        count if count == cards.len() => "common.skipped.all",
        _ => "common.skipped",
    };
    text_with(key, &[("count", &count.to_string()), ("all", &cards.len().to_string())]) + "\n"
}

/// The lines of evidence: side, source and value. The value has a line of its own if both do not fit on one.
pub fn evidence(all: &[Evidence], indent: usize, width: usize) -> String {
    let mut out = String::new();
    let longest = all.iter().map(|evidence| evidence.source.chars().count()).max().unwrap_or(0);
    let values = all.iter().map(|evidence| evidence.value.chars().count()).max().unwrap_or(0);
    let fits = indent + longest + 2 + values <= width;
    for Evidence { side, source, value } in all {
        let painted = format!("{side:<indent$}");
        let painted =
            if side.starts_with("OUTSIDE") { paint::outside(&painted) } else { paint::inside(&painted) };
        if fits {
            let _ = writeln!(out, "{painted}{source:<longest$}  {value}");
        } else if indent + source.chars().count() + 3 + value.chars().count() <= width {
            let _ = writeln!(out, "{painted}{source} = {value}");
        } else {
            let room = width - indent;
            let _ = writeln!(out, "{painted}{}", paint::cut(source, room));
            let _ = writeln!(out, "{:indent$}{}", "", paint::cut(&format!("= {value}"), room));
        }
    }
    out
}
