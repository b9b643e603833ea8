//! A view, as text: OUTSIDE always on the left, INSIDE on the right; stacked where the terminal is narrow.

use std::fmt::Write;

use super::table::{self, Row, Side};
use super::{paint, plan};
use crate::feature::{Feature, Purpose};
use crate::observe::Observation;
use crate::plan::Plan;
use crate::text::{text, text_with, wrap};
use crate::views::{OnePath, View};

/// The lines of a view.
pub fn text_of(view: &View, of: &Plan) -> String {
    let width = paint::width();
    let mut out = plan::announcement(of);
    out.push('\n');
    // What only a forced user namespace changes isn't this feature's lesson; it is announced, and JSON has it.
    let is_shown = view.purpose.feature().is_none_or(|of| matches!(of, Feature::Pid | Feature::User));
    if is_shown && view.process.differs() {
        process(&mut out, view, width);
    }
    paths(&mut out, view, width);
    // A limit leaves the numbers as they are.
    let has_namespaces = view.purpose.has_namespaces();
    if has_namespaces {
        who(&mut out, view);
    }
    if !view.intents.is_empty() {
        heading(&mut out, if has_namespaces { "D" } else { "C" }, &text("common.view.spellings"));
        out.push_str(&super::spellings::lines(&view.intents, 3));
    }
    let _ = writeln!(out, "\n{}", text(&format!("{}.next", view.purpose)));
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
    let side = |side: &str, who: &str| Side { label: format!("{side} ({who})"), short: side.to_owned() };
    let sides = [side("OUTSIDE", &view.outside), side("INSIDE", &view.inside)];
    table::draw(out, &sides, &rows(view), width);
    meaning(out, &text(&format!("{}.view.meaning", view.purpose)), width);
}

/// What comes back without a key.
pub fn returned(rows: &[OnePath], key: &str) -> String {
    let (mut out, width) = (String::new(), paint::width());
    let _ = writeln!(out, "{}", paint::heading(&text_with("run.returned", &[("key", key)])));
    if rows.is_empty() {
        meaning(&mut out, &text("run.returned.none"), width);
        return out;
    }
    let side = |key| Side { label: text(key), short: text(key) };
    let sides = [side("run.returned.with"), side("run.returned.without")];
    table::draw(&mut out, &sides, &rows.iter().map(row_of).collect::<Vec<_>>(), width);
    out
}

/// The feature's own link and those that differ one by one, then its files; what is equal and would fill the screen (the
/// other links, the other lines of one file) as one row. JSON has them all.
fn rows(view: &View) -> Vec<Row> {
    if view.purpose == Purpose::Container {
        return differing_rows(view);
    }
    let own = format!("/proc/self/ns/{}", view.purpose);
    let is_other = |row: &&OnePath| {
        row.equal == Some(true)
            && row.path != own
            && (is_link(row) || row.path == "/proc/self/cgroup" && view.purpose == Feature::Cgroup)
    };
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
        rows.push(row_of(row));
    }
    if !left_out.is_empty() {
        rows.push(together(&mut left_out));
    }
    rows
}

/// Of a whole container what differs: all else would fill screens. Each value once, whichever features it belongs to.
fn differing_rows(view: &View) -> Vec<Row> {
    let is_first = |at: usize, row: &OnePath| {
        let same = |other: &OnePath| (&other.path, &other.field) == (&row.path, &row.field);
        !view.paths[..at].iter().any(same)
    };
    let each = view.paths.iter().enumerate().filter(|(at, row)| is_first(*at, row)).map(|(_, row)| row);
    let (equal, differing): (Vec<&OnePath>, Vec<&OnePath>) = each.partition(|row| row.equal == Some(true));
    let mut rows: Vec<Row> = differing.into_iter().map(row_of).collect();
    if !equal.is_empty() {
        let mut together = Row::together("", equal.len(), "values");
        together.path = together.path.trim_start().to_owned();
        rows.push(together);
    }
    rows
}

fn row_of(row: &OnePath) -> Row {
    let path = match &row.field {
        Some(field) => format!("{} {field}", row.path),
        None if row.added => format!("{} {}", row.path, text("common.view.added")),
        None => row.path.clone(),
    };
    Row { path, equal: row.equal, left: row.outside.to_string(), right: row.inside.to_string() }
}

fn is_link(row: &OnePath) -> bool {
    crate::feature::Feature::NAMESPACES.iter().any(|feature| row.path == format!("/proc/self/ns/{feature}"))
}

fn together(rows: &mut Vec<&OnePath>) -> Row {
    let (path, of) =
        if is_link(rows[0]) { ("/proc/self/ns/...", "links") } else { (rows[0].path.as_str(), "lines") };
    let row = Row::together(path, rows.len(), of);
    rows.clear();
    row
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

pub(super) fn heading(out: &mut String, letter: &str, words: &str) {
    let _ = writeln!(out, "{}", paint::heading(&format!("{letter}  {words}")));
}

pub(super) fn meaning(out: &mut String, words: &str, width: usize) {
    for line in wrap(words, width - 3) {
        let _ = writeln!(out, "   {}", paint::good(&line));
    }
}
