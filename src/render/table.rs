//! A table of two values for each path, side by side. If the terminal is too narrow for that, or a value is too long,
//! the second value is below the first.

use std::fmt::Write;

use unicode_width::UnicodeWidthStr;

use super::paint;
use crate::observe::Value;
use crate::text::{cut_start, pad, text, text_with, wrap};

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
    pub(super) left: Cell,
    /// None if `left` is about both sides, and may take the room of both.
    pub(super) right: Option<Cell>,
}

/// A value as text.
pub(super) struct Cell {
    /// A long form, and shorter ones. The first one that fits is printed.
    forms: Vec<String>,
    /// The form that is left if a row may take only one line.
    bare: String,
}

impl Cell {
    /// A value with one form.
    pub(super) fn new(text: String) -> Cell {
        Cell { forms: vec![text.clone()], bare: text }
    }

    /// A value with several forms, of which the first one that has room is shown.
    pub(super) fn of_forms(forms: Vec<String>) -> Cell {
        Cell { bare: forms.first().cloned().unwrap_or_default(), forms }
    }

    /// The values of two sides. If both are lists, each has the number of items that only this side has.
    pub(super) fn pair(left: &Value, right: &Value) -> [Cell; 2] {
        let unshared = left.unshared(right).unwrap_or_default();
        let cell = |value: &Value, other: &Value, only: usize, place: &str| {
            let bare = value.to_string();
            let forms = match (value, other) {
                // Beside an empty list, every item is on this side only.
                (Value::List(list), Value::List(other)) if only > 0 && other.count > 0 => {
                    let (count, place) = (only.to_string(), text(place));
                    let number = list.count.to_string();
                    let values =
                        [("all", &*bare), ("number", &*number), ("count", &*count), ("place", &*place)];
                    ["common.view.only", "common.view.only.short", "common.view.only.least"]
                        .map(|key| text_with(key, &values))
                        .to_vec()
                }
                (Value::List(_), Value::List(_)) if value != other && unshared.is_empty() => {
                    vec![text_with("common.view.order", &[("list", &bare)])]
                }
                _ => vec![bare.clone()],
            };
            Cell { forms, bare }
        };
        [
            cell(left, right, unshared.one.len(), "common.view.only.here"),
            cell(right, left, unshared.other.len(), "common.view.only.there"),
        ]
    }

    /// The longest form that fits, if any does.
    fn fitting(&self, room: usize) -> Option<&str> {
        self.forms.iter().map(String::as_str).find(|form| form.width() <= room)
    }

    /// The longest form that fits. If none does, the bare form in at most `room` columns.
    fn shortened(&self, room: usize) -> String {
        self.fitting(room).map_or_else(|| shortened(&self.bare, room), str::to_owned)
    }
}

impl Row {
    /// One row that counts equal rows, which would fill the screen. `of` is the message key of what is counted.
    pub(super) fn together(path: &str, count: usize, of: &str) -> Row {
        let values = [("count", &*count.to_string()), ("of", &*text(of))];
        Row {
            path: format!("{path} {}", text("common.view.others")),
            equal: Some(true),
            left: Cell::new(text_with("common.view.equal", &values)),
            right: None,
        }
    }
}

/// The value in at most `room` columns. A path is cut at its start, because its end is more useful.
fn shortened(value: &str, room: usize) -> String {
    if value.starts_with('/') { cut_start(value, room) } else { paint::cut(value, room) }
}

/// As [`draw`], but values that do not fit are cut, so that each row takes one line.
pub(super) fn draw_cut(out: &mut String, sides: &[Side; 2], mut rows: Vec<Row>, width: usize) {
    let column = column(&rows, width);
    for row in &mut rows {
        let room = if row.right.is_some() { column } else { 2 * column + 2 };
        row.left = Cell::new(row.left.shortened(room));
        row.right = row.right.as_ref().map(|right| Cell::new(right.shortened(column)));
    }
    draw(out, sides, &rows, width);
}

/// The line that names what is not compared in the lists of these values. Empty if there is no such list.
pub(super) fn left_out<'a>(values: impl Iterator<Item = (&'a str, &'a Value)>, width: usize) -> String {
    let named = values.filter_map(|(path, value)| match value {
        Value::List(list) if !list.without.is_empty() => {
            Some(format!("{} ({})", list.without.join(", "), path.rsplit('/').next().unwrap_or(path)))
        }
        _ => None,
    });
    let all = named.collect::<Vec<_>>().join("; ");
    if all.is_empty() {
        return String::new();
    }
    let lines = wrap(&text_with("common.view.leftout", &[("list", &all)]), width - 3);
    lines.iter().map(|line| format!("   {}\n", paint::faint(line))).collect()
}

fn path_width(rows: &[Row]) -> usize {
    rows.iter().map(|row| row.path.width()).max().unwrap_or(0).max(4)
}

/// The width of a value. The two values share the rest of the line evenly: `   PATH == LEFT  RIGHT`.
fn column(rows: &[Row], width: usize) -> usize {
    width.saturating_sub(3 + path_width(rows) + 4 + 2) / 2
}

/// Whether the labels of the sides fit above their columns, even if their PIDs have the most digits that a PID can have.
/// So the form of a heading is the same on every run.
pub(super) fn has_room(sides: &[&Side; 2], rows: &[Row], width: usize) -> bool {
    let widest = |label: &str| {
        let is_digit = |character: &char| character.is_ascii_digit();
        let digits = label.chars().filter(is_digit).count();
        label.width() - digits + if digits > 0 { DIGITS_OF_PID.max(digits) } else { 0 }
    };
    width >= NARROW && sides.iter().all(|side| widest(&side.label) <= column(rows, width))
}

/// The number of digits of the largest PID of Linux, 4194303. proc_sys_kernel(5), `pid_max`
const DIGITS_OF_PID: usize = 7;

/// Draws a heading with the names of the sides, then the rows.
pub(super) fn draw(out: &mut String, [left_side, right_side]: &[Side; 2], rows: &[Row], width: usize) {
    let (path, column) = (path_width(rows), column(rows, width));
    let fits = |label: &String| label.width() <= column;
    let is_narrow = width < NARROW || !(fits(&left_side.short) && fits(&right_side.short));
    // Labels are never cut: a reader could mistake a cut one.
    let has_room = has_room(&[left_side, right_side], rows, width);
    if !is_narrow {
        let [left, right] = if has_room {
            [&left_side.label, &right_side.label]
        } else {
            [&left_side.short, &right_side.short]
        };
        let head = format!("   {}    ", pad(&text("common.view.path"), path));
        let (left, right) = (paint::outside(&pad(left, column)), paint::inside(right));
        let _ = writeln!(out, "{}{left}  {right}", paint::faint(&head));
    }
    let short = left_side.short.width().max(right_side.short.width());
    for row in rows {
        let name = pad(&row.path, path);
        let mark = match row.equal {
            Some(true) => paint::faint("=="),
            Some(false) => paint::different("!="),
            None => paint::bad("??"),
        };
        // A value about both sides takes the room of both.
        let room = if row.right.is_some() { column } else { 2 * column + 2 };
        let left = row.left.fitting(room).filter(|_| !is_narrow);
        let right = row.right.as_ref().map(|right| right.fitting(column));
        if let (Some(left), Some(right)) = (left, right.unwrap_or(Some(""))) {
            let line = format!("   {name} {mark} {}  {right}", pad(left, column));
            let _ = writeln!(out, "{}", line.trim_end());
            continue;
        }
        let _ = writeln!(out, "   {} {mark}", name.trim_end());
        let Some(right_cell) = &row.right else {
            let _ = writeln!(out, "      {}", row.left.shortened(width.saturating_sub(6)));
            continue;
        };
        let room = width.saturating_sub(7 + short);
        let (outer, inner) = (pad(&left_side.short, short), pad(&right_side.short, short));
        let _ = writeln!(out, "      {} {}", paint::outside(&outer), row.left.shortened(room));
        let _ = writeln!(out, "      {} {}", paint::inside(&inner), right_cell.shortened(room));
    }
}
