//! The picture of a plot: a title, the rows of each lane, and a legend that explains each character.

use unicode_width::UnicodeWidthStr;

use super::number::with_unit;
use super::scale::{LEVELS, Scale};
use super::{LANES, paint, plain};
use crate::teach::demo::plot::{Lane, Mark, Plot};
use crate::text::{pad, text, text_with, wrap};

/// The maximum number of lines of a picture. Together with its card, it must fit on a terminal of 24 lines.
pub(super) const LINES: usize = 12;

/// The column of the rows of a lane, and of its name. The character of its bar is before it.
const INDENT: usize = 3;

/// How much a picture shows. What fits into its lines is tried in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PictureDetail {
    /// The last value of each lane, its history, and its counters.
    All,
    /// The last value and the history.
    History,
    /// The last value. Texts are cut, so that each takes one line.
    Last,
}

/// A picture of the plot in at most `width` columns and 12 lines. `is_stable` leaves out what was measured, because it
/// differs on every run.
pub fn frame(plot: &Plot, width: usize, is_stable: bool) -> Vec<String> {
    let lanes = &plot.lanes[..plot.lanes.len().min(LANES)];
    let picture = Picture { plot, lanes, width, is_stable, scale: Scale::new(plot, lanes, width - INDENT) };
    let all = picture.lines(PictureDetail::All);
    if all.len() <= LINES {
        return all;
    }
    let history = picture.lines(PictureDetail::History);
    if history.len() <= LINES { history } else { picture.lines(PictureDetail::Last) }
}

struct Picture<'a> {
    plot: &'a Plot,
    lanes: &'a [Lane],
    width: usize,
    is_stable: bool,
    scale: Scale,
}

impl Picture<'_> {
    fn lines(&self, detail: PictureDetail) -> Vec<String> {
        let title = self.broken(&plain(&self.plot.title), self.width, detail);
        let mut lines: Vec<String> = title.iter().map(|line| paint::heading(line).to_string()).collect();
        for lane in self.lanes {
            lines.extend(self.lane(lane, detail));
        }
        let more = self.plot.lanes.len() - self.lanes.len();
        if more > 0 {
            let more = text_with("demo.picture.more", &[("count", &more.to_string())]);
            lines.push(paint::cut(&format!("{:INDENT$}{more}", ""), self.width));
        }
        lines.extend(self.legend(detail));
        lines
    }

    /// The name of a lane after the character of its bar, then its rows.
    fn lane(&self, lane: &Lane, detail: PictureDetail) -> Vec<String> {
        let values = [("name", &*plain(&lane.name)), ("meaning", &*plain(&lane.meaning))];
        let mut lines = self.item(
            &self.scale.character(lane).to_string(),
            INDENT,
            &text_with("demo.picture.name", &values),
            detail,
        );
        let mut rows = vec![];
        if self.is_stable {
            let unit = plain(&self.plot.unit);
            rows.push(
                self.scale.label("demo.picture.last") + &format!("{} {unit}", text("demo.picture.measured")),
            );
        } else {
            rows.push(self.scale.bar_row(self.plot, lane));
            if self.has_history(detail) {
                rows.push(self.scale.history_row(self.plot, lane));
            }
            if detail == PictureDetail::All && !lane.note.is_empty() {
                rows.extend(wrap(&plain(&lane.note), self.width - INDENT));
            }
        }
        lines.extend(rows.iter().map(|row| format!("{:INDENT$}{row}", "")));
        lines
    }

    fn has_history(&self, detail: PictureDetail) -> bool {
        detail != PictureDetail::Last
            && self.plot.time_end() > 0.0
            && self.scale.has_bars()
            && !self.is_stable
    }

    /// Whether a row over time has the mark of the limit.
    fn reaches_limit(&self) -> bool {
        self.lanes.iter().flat_map(|lane| &lane.samples).any(|sample| sample.mark == Some(Mark::Limit))
    }

    /// The meaning of each character that is not explained beside the name of its lane.
    fn legend(&self, detail: PictureDetail) -> Vec<String> {
        let levels: String = LEVELS.iter().filter(|level| **level != ' ').collect();
        let mut items: Vec<(String, String)> = vec![];
        for mark in self.plot.marks() {
            let limits = self.lanes.iter().filter_map(|lane| self.plot.limit(lane));
            let mut limits: Vec<String> = limits.map(|limit| with_unit(self.plot, limit)).collect();
            limits.dedup();
            let meaning = match mark {
                Mark::Limit if self.has_history(detail) && self.reaches_limit() => "demo.picture.limit",
                Mark::Limit => "demo.picture.limit.alone",
                Mark::Throttled => "demo.picture.throttled",
                Mark::Killed => "demo.picture.killed",
            };
            let meaning = text_with(meaning, &[("limit", &plain(&limits.join(", ")))]);
            items.push((mark.character().to_string(), meaning));
        }
        if self.has_history(detail) {
            items.push((levels, text("demo.picture.levels")));
        }
        let column = 2 + items.iter().map(|(characters, _)| characters.width()).max().unwrap_or(0);
        let lines =
            items.iter().flat_map(|(characters, meaning)| self.item(characters, column, meaning, detail));
        lines.map(|line| paint::faint(&line).to_string()).collect()
    }

    /// Characters, and their meaning from this column on.
    fn item(&self, characters: &str, column: usize, meaning: &str, detail: PictureDetail) -> Vec<String> {
        let lines = self.broken(meaning, self.width - column, detail);
        let before = |index| pad(if index == 0 { characters } else { "" }, column);
        lines.iter().enumerate().map(|(index, line)| before(index) + line).collect()
    }

    /// The lines of a text: one where the picture has no room for more.
    fn broken(&self, text: &str, width: usize, detail: PictureDetail) -> Vec<String> {
        match detail {
            PictureDetail::Last => vec![paint::cut(text, width)],
            _ => wrap(text, width).iter().map(|line| paint::cut(line, width)).collect(),
        }
    }
}
