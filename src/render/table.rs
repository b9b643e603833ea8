//! A table of two values for each path, side by side. If the terminal is too narrow for that, or a value is too long,
//! the second value is below the first.

use std::fmt::Write;

use super::paint;
use crate::observe::Value;
use crate::text::text;

/// In a terminal with fewer columns, values are not printed side by side.
const NARROW: usize = 72;

/// The name of a side, and the short form that is used if the values are below each other.
pub(super) struct Side {
    pub(super) label: String,
    pub(super) short: String,
}

/// A row as text. A row that counts equal rows has only a left value.
pub(super) struct Row {
    pub(super) path: String,
    /// None if one of them could not be read.
    pub(super) equal: Option<bool>,
    pub(super) left: String,
    pub(super) right: String,
}

impl Row {
    /// One row that counts equal rows, which would fill the screen.
    pub(super) fn together(path: &str, count: usize, of: &str) -> Row {
        Row {
            path: format!("{path} {}", text("common.view.others")),
            equal: Some(true),
            left: format!("{} {}", Value::Count(count, of.into()), text("common.view.equal")),
            right: String::new(),
        }
    }
}

/// The value in at most `room` columns. A path is cut at its start, because its end is more useful.
fn shortened(value: &str, room: usize) -> String {
    let length = value.chars().count();
    if value.starts_with('/') && length > room {
        format!("~{}", value.chars().skip(length + 1 - room).collect::<String>())
    } else {
        paint::cut(value, room)
    }
}

/// As [`draw`], but values that do not fit are cut, so that each row takes one line.
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

/// The width of a value. The two values share the rest of the line evenly: `   PATH == LEFT  RIGHT`.
fn column(rows: &[Row], width: usize) -> usize {
    width.saturating_sub(3 + path_width(rows) + 4 + 2) / 2
}

/// Draws a heading with the names of the sides, then the rows.
pub(super) fn draw(out: &mut String, [left, right]: &[Side; 2], rows: &[Row], width: usize) {
    let (path, column) = (path_width(rows), column(rows, width));
    let fits = |label: &String| label.chars().count() <= column;
    let is_narrow = width < NARROW || !(fits(&left.short) && fits(&right.short));
    if !is_narrow {
        // Labels are never cut: a reader could mistake a cut one.
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
        let mark = match row.equal {
            Some(true) => paint::faint("=="),
            Some(false) => paint::different("!="),
            None => paint::bad("??"),
        };
        if is_narrow || row.left.chars().count() > column || row.right.chars().count() > column {
            let room = width.saturating_sub(7 + short);
            let _ = writeln!(out, "   {} {mark}", name.trim_end());
            let label = format!("{:<short$}", left.short);
            let _ = writeln!(out, "      {} {}", paint::outside(&label), shortened(&row.left, room));
            if !row.right.is_empty() {
                let label = format!("{:<short$}", right.short);
                let _ = writeln!(out, "      {} {}", paint::inside(&label), shortened(&row.right, room));
            }
        } else {
            let line = format!("   {name} {mark} {:<column$}  {}", row.left, row.right);
            let _ = writeln!(out, "{}", line.trim_end());
        }
    }
}
