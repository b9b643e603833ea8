//! Two values side by side for each path; stacked where the terminal, or a value, leaves no room for that.

use std::fmt::Write;

use super::paint;
use crate::observe::Value;
use crate::text::text;

/// Below this many columns two values don't stand side by side any more.
const NARROW: usize = 72;

/// The name of a side, and its short form where values are stacked.
pub(super) struct Side {
    pub(super) label: String,
    pub(super) short: String,
}

/// A row, ready to print. Equal rows that were put together say so on the left only.
pub(super) struct Row {
    pub(super) path: String,
    /// None where one of them couldn't be read.
    pub(super) equal: Option<bool>,
    pub(super) left: String,
    pub(super) right: String,
}

impl Row {
    /// What is equal and would fill the screen, as one row.
    pub(super) fn together(path: &str, count: usize, of: &str) -> Row {
        Row {
            path: format!("{path} {}", text("common.view.others")),
            equal: Some(true),
            left: format!("{} {}", Value::Count(count, of.into()), text("common.view.equal")),
            right: String::new(),
        }
    }
}

/// A value that fits. Of a path the end tells more.
fn shortened(value: &str, room: usize) -> String {
    let length = value.chars().count();
    if value.starts_with('/') && length > room {
        format!("~{}", value.chars().skip(length + 1 - room).collect::<String>())
    } else {
        paint::cut(value, room)
    }
}

/// As [`draw`], with values that do not fit cut: a row takes one line.
pub(super) fn draw_cut(out: &mut String, sides: &[Side; 2], mut rows: Vec<Row>, width: usize) {
    let column = column(&rows, width);
    for row in &mut rows {
        row.left = shortened(&row.left, column);
        row.right = shortened(&row.right, column);
    }
    draw(out, sides, &rows, width);
}

fn path_width(rows: &[Row]) -> usize {
    rows.iter().map(|row| row.path.chars().count()).max().unwrap_or(0).max(4)
}

/// The columns for a value. "   PATH == LEFT  RIGHT": what the path leaves is shared evenly.
fn column(rows: &[Row], width: usize) -> usize {
    width.saturating_sub(3 + path_width(rows) + 4 + 2) / 2
}

/// Draws the rows below a heading with the names of the sides.
pub(super) fn draw(out: &mut String, [left, right]: &[Side; 2], rows: &[Row], width: usize) {
    let (path, column) = (path_width(rows), column(rows, width));
    let fits = |label: &String| label.chars().count() <= column;
    let is_narrow = width < NARROW || !(fits(&left.short) && fits(&right.short));
    if !is_narrow {
        // A label that is cut could be mistaken.
        let [left, right] = if fits(&left.label) && fits(&right.label) {
            [&left.label, &right.label]
        } else {
            [&left.short, &right.short]
        };
        let head = format!("   {:<path$}    ", text("common.view.path"));
        let (left, right) = (paint::outside(&format!("{left:<column$}")), paint::inside(right));
        let _ = writeln!(out, "{}{left}  {right}", paint::faint(&head));
    }
    let short = left.short.chars().count().max(right.short.chars().count());
    for row in rows {
        let name = format!("{:<path$}", row.path);
        let sign = match row.equal {
            Some(true) => paint::faint("=="),
            Some(false) => paint::different("!="),
            None => paint::bad("??"),
        };
        if is_narrow || row.left.chars().count() > column || row.right.chars().count() > column {
            let room = width.saturating_sub(7 + short);
            let _ = writeln!(out, "   {} {sign}", name.trim_end());
            let label = format!("{:<short$}", left.short);
            let _ = writeln!(out, "      {} {}", paint::outside(&label), shortened(&row.left, room));
            if !row.right.is_empty() {
                let label = format!("{:<short$}", right.short);
                let _ = writeln!(out, "      {} {}", paint::inside(&label), shortened(&row.right, room));
            }
        } else {
            let line = format!("   {name} {sign} {:<column$}  {}", row.left, row.right);
            let _ = writeln!(out, "{}", line.trim_end());
        }
    }
}
