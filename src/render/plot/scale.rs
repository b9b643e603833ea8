//! The scale of a picture: the value axis, the widths of the columns, and the rows drawn by them.

use unicode_width::UnicodeWidthStr;

use super::number::{digits, number, unit_of};
use super::{paint, plain};
use crate::teach::demo::plot::{Lane, Mark, Plot};
use crate::text::{pad, text, text_with};

/// The characters of the history, from the smallest value to the largest.
pub(super) const LEVELS: [char; 8] = [' ', '.', ':', '-', '=', '+', '*', '@'];

/// The minimum width of a bar. Where there is less room, a row has only its value.
const LEAST: usize = 5;

/// The value axis and the column widths of a picture. They are the same for all its lanes.
pub(super) struct Scale {
    /// The value at the end of the bar.
    end: f64,
    /// The digits after the decimal point.
    digits: usize,
    /// The widths of the three columns.
    label: usize,
    bar: usize,
    value: usize,
}

impl Scale {
    /// A scale for rows of at most `width` columns.
    pub(super) fn new(plot: &Plot, lanes: &[Lane], width: usize) -> Scale {
        let label = ["demo.picture.last", "demo.picture.time"].map(|key| text(key).width());
        let label = label.into_iter().max().unwrap_or(0);
        let mut scale = Scale { end: plot.value_end(), digits: digits(plot), label, bar: 0, value: 0 };
        let units = [Some(&plot.unit), plot.unit_of_one.as_ref()].into_iter().flatten();
        let unit = units.map(|unit| plain(unit).width()).max().unwrap_or(0);
        let values = lanes.iter().map(|lane| scale.number(lane).len() + 1 + unit).max().unwrap_or(0);
        // A label, a blank, a bar in brackets, a mark, a blank, a value.
        scale.value = values.max(span(plot).width()).min(width.saturating_sub(label + 1));
        scale.bar = width.saturating_sub(label + 5 + scale.value);
        scale
    }

    /// Whether there is room for bars.
    pub(super) fn has_bars(&self) -> bool {
        self.bar >= LEAST
    }

    /// The label of a row, and the blank after it.
    pub(super) fn label(&self, key: &str) -> String {
        pad(&text(key), self.label + 1)
    }

    /// The character of a bar.
    pub(super) fn character(&self, lane: &Lane) -> char {
        if lane.character.is_ascii_graphic() { lane.character } else { '#' }
    }

    /// The last value. Its width is that of the largest one. Otherwise the bar would move when it gets one more digit.
    fn number(&self, lane: &Lane) -> String {
        let room = number(self.end, self.digits).len();
        let last = lane.samples.last().map_or("-".into(), |last| number(last.value, self.digits));
        format!("{last:>room$}")
    }

    /// The last value with its unit: `31.4 MiB`.
    fn value(&self, plot: &Plot, lane: &Lane) -> String {
        let last = lane.samples.last().map_or(0.0, |sample| sample.value);
        format!("{} {}", self.number(lane), plain(unit_of(plot, last)))
    }

    /// The bar of the last value, and that value.
    pub(super) fn bar_row(&self, plot: &Plot, lane: &Lane) -> String {
        let (label, value) =
            (self.label("demo.picture.last"), paint::cut(&self.value(plot, lane), self.value));
        if !self.has_bars() {
            return label + value.trim_start();
        }
        let mark = lane.mark().map_or(' ', Mark::character).to_string();
        format!("{label}[{}]{} {value}", self.bar(plot, lane), paint::bad(&mark))
    }

    /// The length of a value in the bar. `as` saturates, and converts NaN to 0, as needed here.
    fn column(&self, value: f64) -> usize {
        ((value / self.end * self.bar as f64).round() as usize).min(self.bar)
    }

    fn bar(&self, plot: &Plot, lane: &Lane) -> String {
        let filled = self.column(lane.samples.last().map_or(0.0, |sample| sample.value));
        let limit = plot.limit(lane).map(|limit| self.column(limit).min(self.bar.saturating_sub(1)));
        let painted = |from: usize, to: usize| {
            let filling = String::from(self.character(lane)).repeat(filled.clamp(from, to) - from);
            let gap = " ".repeat(to - filled.clamp(from, to));
            let filling = match lane.mark() {
                Some(Mark::Killed) => paint::bad(&filling),
                _ if limit.is_some_and(|limit| filled >= limit) => paint::different(&filling),
                _ => paint::good(&filling),
            };
            format!("{filling}{gap}")
        };
        match limit {
            Some(limit) => {
                format!("{}{}{}", painted(0, limit), paint::heading("|"), painted(limit + 1, self.bar))
            }
            None => painted(0, self.bar),
        }
    }

    /// The values so far. Each character stands for an interval of time: the mark in it, or else the largest value.
    pub(super) fn history_row(&self, plot: &Plot, lane: &Lane) -> String {
        let interval = plot.time_end() / self.bar as f64;
        let history: String = (0..self.bar)
            .map(|column| {
                let (from, to) = (column as f64 * interval, (column + 1) as f64 * interval);
                let is_last = column + 1 == self.bar;
                let within = || {
                    let samples = lane.samples.iter();
                    samples.filter(|sample| from <= sample.seconds && (sample.seconds < to || is_last))
                };
                let value = within().map(|sample| sample.value).reduce(f64::max).or(lane.at(from));
                match within().filter_map(|sample| sample.mark).max() {
                    Some(mark) => mark.character(),
                    None => self.level(value.unwrap_or(0.0)),
                }
            })
            .collect();
        let span = paint::cut(&span(plot), self.value);
        format!("{}[{history}]  {span}", self.label("demo.picture.time"))
    }

    /// The character for a value. Every value above 0 has a visible character.
    fn level(&self, value: f64) -> char {
        let largest = LEVELS.len() - 1;
        let level = (value / self.end * largest as f64).round() as usize;
        LEVELS[level.clamp(usize::from(value > 0.0), largest)]
    }
}

/// The time that the history covers: `0 to 3.2 s`.
fn span(plot: &Plot) -> String {
    text_with("demo.picture.span", &[("seconds", &number(plot.time_end(), 1))])
}
