//! A view, as text: OUTSIDE always on the left, INSIDE on the right; stacked where the terminal is narrow.

use std::fmt::Write;

use colored::ColoredString;

use super::{paint, plan};
use crate::feature::Feature;
use crate::observe::view::{OnePath, View};
use crate::observe::{Observation, Value};
use crate::plan::Plan;
use crate::text::text;

/// Below this many columns two values don't stand side by side any more.
const NARROW: usize = 72;

/// The lines of a view.
pub fn text_of(view: &View, of: &Plan) -> String {
    let width = paint::width();
    let mut out = plan::announcement(of);
    out.push('\n');
    // What only a forced user namespace changes isn't this feature's lesson; it is announced, and JSON has it.
    if matches!(view.feature, Feature::Pid | Feature::User) && view.process.differs() {
        process(&mut out, view, width);
    }
    paths(&mut out, view, width);
    who(&mut out, view);
    let _ = writeln!(out, "\n{}", text(&format!("{}.next", view.feature)));
    out
}

fn process(out: &mut String, view: &View, width: usize) {
    heading(out, "A", &text("common.view.process"));
    let (outside, inside) = (&view.process.outside, &view.process.inside);
    let file = |side: &[Observation]| side.first().map_or(String::new(), |seen| seen.path.clone());
    let sides = [
        (format!("OUTSIDE ({})", text("common.view.yourshell")), file(outside), outside, true),
        ("INSIDE".to_owned(), file(inside), inside, false),
    ];
    let columns = |at: usize| {
        let name = outside[at].field.as_deref().map_or(0, str::len);
        [outside, inside].iter().map(|side| side[at].value.to_string().len()).max().unwrap_or(0).max(name)
    };
    let mut head = format!("   {:<21} {:<20}", text("common.view.side"), text("common.view.file"));
    for (at, seen) in outside.iter().enumerate() {
        let _ = write!(head, "  {:<1$}", seen.field.as_deref().unwrap_or(""), columns(at));
    }
    let _ = writeln!(out, "{}", paint::faint(head.trim_end()));
    for (label, file, side, is_outside) in sides {
        let label = format!("{label:<21}");
        let label = if is_outside { paint::outside(&label) } else { paint::inside(&label) };
        let mut line = format!("   {label} {file:<20}");
        for (at, seen) in side.iter().enumerate() {
            let _ = write!(line, "  {:<1$}", seen.value, columns(at));
        }
        let _ = writeln!(out, "{}", line.trim_end());
    }
    meaning(out, &view.process.meaning, width);
}

fn paths(out: &mut String, view: &View, width: usize) {
    heading(out, "B", &text("common.view.paths"));
    let label = |side: &str, who: &str| format!("{side} ({who})");
    let (outside, inside) = (label("OUTSIDE", &view.outside), label("INSIDE", &view.inside));
    let rows: Vec<Row> = rows(view);
    let path = rows.iter().map(|row| row.path.chars().count()).max().unwrap_or(0).max(4);
    // "   PATH == OUTSIDE  INSIDE": what is left is shared evenly.
    let column = width.saturating_sub(3 + path + 4 + 2) / 2;
    // A label that is cut could be mistaken.
    let is_narrow = width < NARROW || column < outside.len();
    if !is_narrow {
        let head = format!("   {:<path$}    ", text("common.view.path"));
        let outside = format!("{outside:<column$}");
        let _ =
            writeln!(out, "{}{}  {}", paint::faint(&head), paint::outside(&outside), paint::inside(&inside));
    }
    for Row { path: name, sign, outside: left, inside: right } in rows {
        let name_column = format!("{name:<path$}");
        if is_narrow || left.chars().count() > column || right.chars().count() > column {
            let _ = writeln!(out, "   {} {sign}", name_column.trim_end());
            let _ = writeln!(out, "      {} {}", paint::outside("OUTSIDE"), paint::cut(&left, width - 14));
            if !right.is_empty() {
                let _ =
                    writeln!(out, "      {}  {}", paint::inside("INSIDE"), paint::cut(&right, width - 14));
            }
        } else {
            let line = format!("   {name_column} {sign} {left:<column$}  {right}");
            let _ = writeln!(out, "{}", line.trim_end());
        }
    }
    meaning(out, &text(&format!("{}.view.meaning", view.feature)), width);
}

/// A row of part B, ready to print.
struct Row {
    path: String,
    sign: ColoredString,
    outside: String,
    inside: String,
}

/// The feature's own link and those that differ one by one, then its files; what is equal and would fill the screen (the
/// other links, the other lines of one file) as one row. JSON has them all.
fn rows(view: &View) -> Vec<Row> {
    let own = format!("/proc/self/ns/{}", view.feature);
    let is_other =
        |row: &&OnePath| row.equal && row.path != own && (is_link(row) || row.path == "/proc/self/cgroup");
    let mut rows = Vec::new();
    let mut left_out: Vec<&OnePath> = Vec::new();
    for row in &view.paths {
        if left_out.last().is_some_and(|other| is_link(other) && !is_link(row)) {
            rows.push(together(&mut left_out));
        }
        if is_other(&row) {
            left_out.push(row);
            continue;
        }
        let path = match &row.field {
            Some(field) => format!("{} {field}", row.path),
            None if row.added => format!("{} {}", row.path, text("common.view.added")),
            None => row.path.clone(),
        };
        let sign = if row.equal { paint::faint("==") } else { paint::different("!=") };
        rows.push(Row { path, sign, outside: row.outside.to_string(), inside: row.inside.to_string() });
    }
    if !left_out.is_empty() {
        rows.push(together(&mut left_out));
    }
    rows
}

fn is_link(row: &OnePath) -> bool {
    crate::feature::Feature::ALL.iter().any(|feature| row.path == format!("/proc/self/ns/{feature}"))
}

fn together(rows: &mut Vec<&OnePath>) -> Row {
    let (path, of) =
        if is_link(rows[0]) { ("/proc/self/ns/...", "links") } else { (rows[0].path.as_str(), "lines") };
    let path = format!("{path} {}", text("common.view.others"));
    let count = format!("{} {}", Value::Count(rows.len(), of.into()), text("common.view.equal"));
    rows.clear();
    Row { path, sign: paint::faint("=="), outside: count, inside: String::new() }
}

fn who(out: &mut String, view: &View) {
    let head = format!("{:<18} {:>8} {:>8}", text("common.view.who"), "OUTSIDE", "INSIDE");
    heading(out, "C", &head);
    for who in &view.who {
        let inside = who.inside.map_or("-".to_owned(), |pid| pid.to_string());
        let _ = writeln!(
            out,
            "   {:<18} {:>8} {inside:>8}   {}",
            paint::cut(&who.name, 18),
            who.outside,
            who.role
        );
    }
}

fn heading(out: &mut String, letter: &str, words: &str) {
    let _ = writeln!(out, "{}", paint::heading(&format!("{letter}  {words}")));
}

fn meaning(out: &mut String, words: &str, width: usize) {
    for line in paint::wrap(words, width - 3) {
        let _ = writeln!(out, "   {}", paint::good(&line));
    }
}
