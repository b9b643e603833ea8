//! A card of a demonstration: a title, a claim, the evidence, what it means, and the lines that repeat it.

use std::fmt::Write;

use unicode_width::UnicodeWidthStr;

use super::{paint, plot};
use crate::teach::demo::plot::Plot;
use crate::teach::demo::{Card, Evidence, Outcome};
use crate::text::{pad, text as message, text_with, wrap};

/// The column of the evidence, and of what it means.
const INDENT: usize = 10;

/// The lines of a card. `is_plain` is for a screen reader: it describes the pictures.
pub fn text(card: &Card, is_plain: bool) -> String {
    let width = paint::width();
    let mut out = heading(card);
    for plot in &card.plots {
        picture(plot, is_plain).iter().for_each(|line| out.push_str(&format!("{line}\n")));
    }
    out.push_str(&evidence(&card.evidence, INDENT, width));
    for process in &card.processes {
        let pid = process.pid.to_string();
        let line = text_with("demo.pid", &[("pid", &pid), ("who", &process.who)]);
        let _ = writeln!(out, "{:INDENT$}{}", "", paint::faint(&line));
    }
    let mark = |key| pad(&message(key), INDENT);
    let (mark, verdict) = match &card.outcome {
        Outcome::Holds => (paint::good(&mark("demo.holds")), &card.verdict),
        Outcome::Fails => (paint::bad(&mark("demo.fails")), &card.verdict),
        Outcome::Skipped(reason) => (paint::faint(&mark("demo.skipped")), reason),
    };
    for (index, line) in wrap(verdict, width - INDENT).iter().enumerate() {
        let mark = if index == 0 { mark.clone() } else { pad("", INDENT).as_str().into() };
        let _ = writeln!(out, "{mark}{line}");
    }
    if !card.repeat.is_empty() {
        let _ = writeln!(out, "{}", message("demo.repeat"));
        card.repeat.iter().for_each(|line| out.push_str(&format!("   {line}\n")));
    }
    out
}

/// The title and the claim of a card.
pub fn heading(card: &Card) -> String {
    let width = paint::width();
    let mut out = title(&format!("{}/{}  {}", card.place, card.of, card.name), &card.alone, width);
    for line in wrap(&card.claim, width) {
        let _ = writeln!(out, "{}", paint::heading(&line));
    }
    out
}

/// The lines of a picture, or of its description.
pub fn picture(measured: &Plot, is_plain: bool) -> Vec<String> {
    match is_plain {
        true => plot::spoken(measured, paint::width()),
        false => plot::frame(measured, paint::width(), super::is_stable()),
    }
}

/// A title line: `left` at the left end, `right` at the right end, or below it where both do not fit.
pub fn title(left: &str, right: &str, width: usize) -> String {
    let gap = width.saturating_sub(left.width() + right.width());
    let (left, right) = (paint::heading(left), paint::faint(right));
    if gap < 2 { format!("{left}\n{right}\n") } else { format!("{left}{:gap$}{right}\n", "") }
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
    let longest = all.iter().map(|evidence| evidence.source.width()).max().unwrap_or(0);
    let values = all.iter().map(|evidence| evidence.value.width()).max().unwrap_or(0);
    let fits = indent + longest + 2 + values <= width;
    for Evidence { side, source, value } in all {
        let painted = format!("{side:<indent$}");
        let painted =
            if side.starts_with("OUTSIDE") { paint::outside(&painted) } else { paint::inside(&painted) };
        if value.is_empty() {
            let _ = writeln!(out, "{painted}{}", paint::cut(source, width.saturating_sub(indent)));
        } else if fits {
            let _ = writeln!(out, "{painted}{}  {value}", pad(source, longest));
        } else if indent + source.width() + 3 + value.width() <= width {
            let _ = writeln!(out, "{painted}{source} = {value}");
        } else {
            let room = width - indent;
            let _ = writeln!(out, "{painted}{}", paint::cut(source, room));
            let _ = writeln!(out, "{:indent$}{}", "", paint::cut(&format!("= {value}"), room));
        }
    }
    out
}
