//! A view as text. OUTSIDE is always on the left and INSIDE on the right. In a narrow terminal, INSIDE is below
//! OUTSIDE.

use std::fmt::Write;

use unicode_width::UnicodeWidthStr;

use super::table::{self, Cell, Row, Side};
use super::{paint, plan};
use crate::feature::{Feature, Purpose};
use crate::observe::{Observation, Value};
use crate::plan::Plan;
use crate::security::capabilities::names_in;
use crate::text::{pad, text, text_with, wrap};
use crate::views::{OnePath, View};

/// The maximum number of lines of a view, so that it fits a terminal.
const LINES: usize = 24;

/// The lines of a view.
pub fn text_of(view: &View, of: &Plan) -> String {
    let width = paint::width();
    let is_container = view.purpose == Purpose::Container;
    let mut before = plan::announcement(of);
    if !is_container {
        before.push('\n');
    }
    // If only the added user namespace changes these values, they do not belong to this feature. JSON still has them.
    let is_shown = view.purpose.feature().is_none_or(|of| matches!(of, Feature::Pid | Feature::User));
    if is_shown && view.process.differs() {
        process(&mut before, view, width);
    }
    let mut after = String::new();
    if view.purpose.has_namespaces() {
        who(&mut after, view);
    }
    // For a container, the limits are among the files of part B.
    if !view.intents.is_empty() && !is_container {
        let letter = if view.purpose.has_namespaces() { "D" } else { "C" };
        heading(&mut after, letter, &text("common.view.spellings"));
        after.push_str(&super::versions::lines(&view.intents, 3));
    }
    let gap = if is_container { "" } else { "\n" };
    let _ = writeln!(after, "{gap}{}", text(&format!("{}.next", view.purpose)));
    let mut out = before;
    let room = LINES.saturating_sub(out.lines().count() + after.lines().count());
    paths(&mut out, view, width, room);
    out + &after
}

fn process(out: &mut String, view: &View, width: usize) {
    heading(out, "A", &text("common.view.process"));
    let (outside, inside) = (&view.process.outside, &view.process.inside);
    let file = |side: &[Observation]| side.first().map_or(String::new(), |seen| seen.path.clone());
    let [reader, itself] = readers(view);
    let sides = [
        (format!("OUTSIDE ({reader})"), file(outside), outside, true),
        (format!("INSIDE ({itself})"), file(inside), inside, false),
    ];
    let label_width = sides.iter().map(|(label, ..)| label.width()).max().unwrap_or_default();
    let columns = |at: usize| {
        let name = outside[at].field.as_deref().map_or(0, str::width);
        [outside, inside].iter().map(|side| side[at].value.to_string().width()).max().unwrap_or(0).max(name)
    };
    let [side, of] = ["common.view.side", "common.view.file"].map(text);
    let mut head = format!("   {} {}", pad(&side, label_width), pad(&of, 20));
    for (at, seen) in outside.iter().enumerate() {
        let _ = write!(head, "  {:<1$}", seen.field.as_deref().unwrap_or(""), columns(at));
    }
    let _ = writeln!(out, "{}", paint::faint(head.trim_end()));
    for (label, file, side, is_outside) in sides {
        let label = pad(&label, label_width);
        let label = if is_outside { paint::outside(&label) } else { paint::inside(&label) };
        let mut line = format!("   {label} {file:<20}");
        for (at, seen) in side.iter().enumerate() {
            let _ = write!(line, "  {:<1$}", seen.value, columns(at));
        }
        let _ = writeln!(out, "{}", line.trim_end());
    }
    // The view of a container needs this line for a value.
    if view.purpose != Purpose::Container {
        meaning(out, &view.process.meaning, width);
    }
}

/// The processes that opened the paths, by name and PID: `sandbox 4002`, `demo 1`. The one inside has the name of the
/// command that it becomes.
fn readers(view: &View) -> [String; 2] {
    let pid = |reader: &str| reader.trim_start_matches("pid ").to_owned();
    let name = view.who.last().map_or("", |who| who.name.rsplit('/').next().unwrap_or_default());
    [format!("sandbox {}", pid(&view.outside)), format!("{} {}", paint::cut(name, 12), pid(&view.inside))]
}

/// Part B. For a container, at most `room` lines.
fn paths(out: &mut String, view: &View, width: usize, room: usize) {
    let side =
        |side: &str, reader: &str| Side { label: format!("{side} ({reader})"), short: side.to_owned() };
    let [outside, inside] = readers(view);
    let sides = [side("OUTSIDE", &outside), side("INSIDE", &inside)];
    let is_container = view.purpose == Purpose::Container;
    // The heading and the names of the sides take two lines.
    let rows = if is_container { summary(view, room.saturating_sub(2)) } else { rows(view) };
    let [left, right] = &sides;
    match table::has_room(&[left, right], &rows, width) {
        true => heading(out, "B", &text("common.view.paths")),
        false => {
            let values = [("outside", &*left.label), ("inside", &*right.label)];
            heading(out, "B", &text_with("common.view.readers", &values));
        }
    }
    if is_container {
        table::draw_cut(out, &sides, rows, width);
    } else {
        table::draw(out, &sides, &rows, width);
        let lists = view.paths.iter().map(|row| (row.path.as_str(), &row.outside));
        out.push_str(&table::left_out(lists, width));
        meaning(out, &text(&format!("{}.view.meaning", view.purpose)), width);
    }
}

/// What a container no longer isolates or limits without a key.
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

/// The links and files of part B. One row counts the equal links of other namespaces. For the feature cgroup, one row
/// counts the equal lines of /proc/self/cgroup. JSON has them all.
fn rows(view: &View) -> Vec<Row> {
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
        rows.push(capabilities_of(row).unwrap_or_else(|| row_of(row)));
    }
    if !left_out.is_empty() {
        rows.push(together(&mut left_out));
    }
    rows
}

/// Part B of a container in at most `room` rows: the links, the first file of each feature that differs, and the number
/// of all others.
fn summary(view: &View, room: usize) -> Vec<Row> {
    let is_counted = |row: &&OnePath| row.equal != Some(true);
    let (links, files): (Vec<&OnePath>, Vec<&OnePath>) = view.paths.iter().partition(|row| is_link(row));
    let new = links.iter().copied().filter(is_counted).count();
    let links = Row {
        path: "/proc/self/ns/*".into(),
        equal: Some(new == 0),
        left: Cell::new(text_with(
            "run.view.links",
            &[("count", &new.to_string()), ("all", &links.len().to_string())],
        )),
        right: None,
    };
    let mut rows = vec![links];
    let mut shown: Vec<&OnePath> = Vec::new();
    for row in files.iter().copied().filter(is_counted) {
        let is_same = |other: &&OnePath| (&other.path, &other.field) == (&row.path, &row.field);
        let is_known = shown.iter().any(|other| other.feature == row.feature || is_same(other));
        // The path of a cgroup is long. The limits of the cgroup are more useful.
        if !is_known && row.path != "/proc/self/cgroup" && rows.len() + 1 < room {
            rows.push(row_of(row));
            shown.push(row);
        }
    }
    let equal = files.iter().filter(|row| row.equal == Some(true)).count();
    let differing = files.len() - equal - shown.len();
    rows.push(Row {
        path: text("common.view.others"),
        equal: Some(differing == 0),
        left: Cell::new(text_with(
            "run.view.rest",
            &[("differ", &differing.to_string()), ("equal", &equal.to_string())],
        )),
        right: None,
    });
    rows
}

fn row_of(row: &OnePath) -> Row {
    let path = match &row.field {
        Some(field) => format!("{} {field}", row.path),
        None if row.added => format!("{} {}", row.path, text("common.view.added")),
        None => row.path.clone(),
    };
    let [left, right] = Cell::pair(&row.outside, &row.inside);
    Row { path, equal: row.equal, left, right: Some(right) }
}

/// A set of capabilities: in place of the mask, their names, or their number where the names have no room.
fn capabilities_of(row: &OnePath) -> Option<Row> {
    let field = row.field.as_deref().filter(|field| field.starts_with("Cap"))?;
    let last = caps::all().iter().map(caps::Capability::index).max()?;
    let cell = |value: &Value| {
        let mask = u64::from_str_radix(&value.to_string(), 16).ok()?;
        let count = text_with("user.capabilities.count", &[("count", &mask.count_ones().to_string())]);
        Some(Cell::of_forms(vec![names_in(mask, last), count]))
    };
    let (left, right) = (cell(&row.outside)?, cell(&row.inside)?);
    Some(Row { path: format!("{} {field}", row.path), equal: row.equal, left, right: Some(right) })
}

fn is_link(row: &OnePath) -> bool {
    Feature::NAMESPACES.iter().any(|feature| row.path == format!("/proc/self/ns/{feature}"))
}

fn together(rows: &mut Vec<&OnePath>) -> Row {
    let (path, of) = if is_link(rows[0]) {
        ("/proc/self/ns/...", "common.view.links")
    } else {
        (rows[0].path.as_str(), "common.view.lines")
    };
    let row = Row::together(path, rows.len(), of);
    rows.clear();
    row
}

fn who(out: &mut String, view: &View) {
    let head = format!("{} {:>8} {:>8}", pad(&text("common.view.who"), 18), "OUTSIDE", "INSIDE");
    heading(out, "C", &head);
    for who in &view.who {
        let inside = who.inside.map_or("-".to_owned(), |pid| pid.to_string());
        let _ = writeln!(
            out,
            "   {} {:>8} {inside:>8}   {}",
            pad(&paint::cut(&who.name, 18), 18),
            who.outside,
            who.role
        );
    }
}

pub(super) fn heading(out: &mut String, letter: &str, title: &str) {
    let _ = writeln!(out, "{}", paint::heading(&format!("{letter}  {title}")));
}

pub(super) fn meaning(out: &mut String, meaning: &str, width: usize) {
    for line in wrap(meaning, width - 3) {
        let _ = writeln!(out, "   {}", paint::good(&line));
    }
}
