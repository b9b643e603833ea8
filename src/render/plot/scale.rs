//! The scale of a picture: the value axis, the widths of the columns, and the lines drawn by them.

use super::number::{digits, number, short};
use super::plain;
use crate::render::paint;
use crate::teach::demo::plot::{Lane, Mark, Plot};

/// The characters of the history, from the smallest value to the largest.
const LEVELS: [char; 8] = [' ', '.', ':', '-', '=', '+', '*', '#'];

/// The value axis and the column widths of a picture. They are the same for all its lanes.
pub(super) struct Scale {
    /// The value at the end of the bar.
    end: f64,
    /// The digits after the decimal point.
    digits: usize,
    /// Whether each value has its unit. Otherwise the title has it.
    pub(super) has_units: bool,
    /// The widths of the three columns.
    name: usize,
    bar: usize,
    value: usize,
}

impl Scale {
    pub(super) fn new(plot: &Plot, lanes: &[Lane], width: usize) -> Scale {
        let longest =
            |texts: &mut dyn Iterator<Item = String>| texts.map(|text| text.len()).max().unwrap_or(0);
        let name = longest(&mut lanes.iter().map(|lane| plain(&lane.name))).min(width / 3);
        let mut scale =
            Scale { end: plot.value_end(), digits: digits(plot), has_units: true, name, bar: 0, value: 0 };
        for has_units in [true, false] {
            scale.has_units = has_units;
            let values = longest(&mut lanes.iter().map(|lane| scale.value(plot, lane)));
            scale.value = values.max(span(plot).len()).min(width / 3);
            // "NAME [BAR]X VALUE"
            scale.bar = width.saturating_sub(name + scale.value + 5);
            if scale.bar >= 16 {
                break;
            }
        }
        scale
    }

    /// The last value, and the limit if there is one: `31.4/32 MiB`.
    fn value(&self, plot: &Plot, lane: &Lane) -> String {
        // The width is that of the largest value. Otherwise the bar would move when a value gets one more digit.
        let room = number(self.end, self.digits).len();
        let last = lane.samples.last().map_or("-".into(), |sample| number(sample.value, self.digits));
        let limit = plot.limit(lane).map_or(String::new(), |limit| format!("/{}", short(limit)));
        let unit = if self.has_units { format!(" {}", plot.unit) } else { String::new() };
        format!("{last:>room$}{limit}{unit}")
    }

    pub(super) fn bar_line(&self, plot: &Plot, lane: &Lane) -> String {
        let name = format!("{:<1$}", paint::cut(&plain(&lane.name), self.name), self.name);
        let value = paint::cut(&self.value(plot, lane), self.value);
        let mark = lane.mark().map_or(' ', Mark::character).to_string();
        format!("{name} [{}]{} {value}", self.bar(plot, lane), paint::bad(&mark)).trim_end().to_owned()
    }

    /// The length of a value in the bar. `as` saturates, and converts NaN to 0, as needed here.
    fn column(&self, value: f64) -> usize {
        ((value / self.end * self.bar as f64).round() as usize).min(self.bar)
    }

    fn bar(&self, plot: &Plot, lane: &Lane) -> String {
        let character = if lane.character.is_ascii_graphic() { lane.character } else { '#' };
        let filled = self.column(lane.samples.last().map_or(0.0, |sample| sample.value));
        let limit = plot.limit(lane).map(|limit| self.column(limit).min(self.bar.saturating_sub(1)));
        let painted = |from: usize, to: usize| {
            let filling = String::from(character).repeat(filled.clamp(from, to) - from);
            let gap = " ".repeat(to - filled.clamp(from, to));
            let filling = match lane.mark() {
                Some(Mark::Killed) => paint::bad(&filling),
                _ if limit.is_some_and(|limit| filled >= limit) => paint::different(&filling),
                _ => paint::good(&filling),
            };
            format!("{filling}{gap}")
        };
        match limit {
            Some(limit) if self.bar > 0 => {
                format!("{}{}{}", painted(0, limit), paint::heading("|"), painted(limit + 1, self.bar))
            }
            _ => painted(0, self.bar),
        }
    }

    /// The values so far. Each character stands for an interval of time: the mark in it, or else the largest value.
    pub(super) fn history_line(&self, plot: &Plot, lane: &Lane) -> String {
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
        let line = format!("{:1$}  {history}   {2}", "", self.name, paint::cut(&span(plot), self.value));
        paint::faint(line.trim_end()).to_string()
    }

    /// The character for a value. Every value above 0 has a visible character.
    fn level(&self, value: f64) -> char {
        let largest = LEVELS.len() - 1;
        let level = (value / self.end * largest as f64).round() as usize;
        LEVELS[level.clamp(usize::from(value > 0.0), largest)]
    }
}

/// The time that the history covers: `0-3.2 s`.
fn span(plot: &Plot) -> String {
    format!("0-{} s", number(plot.time_end(), 1))
}
