//! The table of a plot: a row for each moment, a column for each lane.

use std::fmt::Write;

use super::number::{digits, number, short};
use super::{LANES, plain};
use crate::render::paint;
use crate::teach::demo::plot::{Lane, Mark, Plot, Sample};

/// The maximum number of rows of a table.
pub(super) const ROWS: usize = 12;

/// The maximum width of a table. A table is for a pipe, which has no width of its own.
pub(super) const WIDTH: usize = 80;

/// The samples as a table of at most 80 columns and 12 rows, for a pipe. The character of a mark follows its value. If
/// there are more rows, some are chosen: first the first, the last and those with a mark, then others at equal
/// distances.
pub fn table(plot: &Plot) -> String {
    let lanes = &plot.lanes[..plot.lanes.len().min(LANES)];
    let all = moments(lanes);
    let ranks: Vec<usize> = (0..all.len()).map(|index| rank(&all, index)).collect();
    let kept = choose(&ranks, ROWS);
    let digits = digits(plot);

    let mut table = vec![vec!["seconds".to_owned()]];
    table[0].extend(lanes.iter().map(|lane| plain(&lane.name)));
    for moment in kept.iter().map(|&index| &all[index]) {
        let mut cells = vec![number(moment.seconds, 2)];
        for (index, lane) in lanes.iter().enumerate() {
            let value = moment.value(index, lane).map_or("-".into(), |value| number(value, digits));
            let mark = moment.marks().filter(|(lane, _)| *lane == index).map(|(_, mark)| mark).max();
            cells.push(format!("{value} {}", mark.map_or(' ', Mark::character)));
        }
        table.push(cells);
    }

    let limit = plot.limit.map_or(String::new(), |limit| format!(", limit {}", short(limit)));
    let title = format!("{} ({}{limit})", plain(&plot.title), plain(plot.unit));
    let mut out = format!("{}\n", paint::heading(&paint::cut(&title, WIDTH)));
    let room = WIDTH / table[0].len() - 2;
    let longest = |column: usize| table.iter().map(|cells| cells[column].len()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..table[0].len()).map(|column| longest(column).min(room)).collect();
    for (index, cells) in table.iter().enumerate() {
        let cells =
            cells.iter().zip(&widths).map(|(cell, width)| format!("{:>width$}", paint::cut(cell, *width)));
        let line = cells.collect::<Vec<_>>().join("  ");
        let line = if index == 0 { paint::heading(&line) } else { line.trim_end().into() };
        let _ = writeln!(out, "{line}");
    }

    let mut below: Vec<String> = vec![];
    let mut marks: Vec<Mark> = all.iter().flat_map(Moment::marks).map(|(_, mark)| mark).collect();
    marks.sort_unstable();
    marks.dedup();
    below.extend(marks.iter().map(|mark| format!("{} {}", mark.character(), mark.name())));
    if kept.len() < all.len() {
        below.push(format!("{} of {} rows", kept.len(), all.len()));
    }
    if lanes.len() < plot.lanes.len() {
        below.push(format!("{} of {} lanes", lanes.len(), plot.lanes.len()));
    }
    if !below.is_empty() {
        let _ = writeln!(out, "{}", paint::faint(&format!("({})", below.join(", "))));
    }
    out
}

/// The samples of one moment, each with the index of its lane: a row of the table.
struct Moment {
    seconds: f64,
    samples: Vec<(usize, Sample)>,
}

impl Moment {
    fn marks(&self) -> impl Iterator<Item = (usize, Mark)> {
        self.samples.iter().filter_map(|&(lane, sample)| Some((lane, sample.mark?)))
    }

    /// The value of a lane: its sample of this moment, or the last one before.
    fn value(&self, index: usize, lane: &Lane) -> Option<f64> {
        let own = self.samples.iter().rev().find(|(lane, _)| *lane == index);
        own.map(|(_, sample)| sample.value).or_else(|| lane.at(self.seconds))
    }
}

/// The moments at which any lane has a sample. Moments that are printed alike become one.
fn moments(lanes: &[Lane]) -> Vec<Moment> {
    let mut samples: Vec<(usize, Sample)> = vec![];
    for (index, lane) in lanes.iter().enumerate() {
        samples.extend(lane.samples.iter().map(|&sample| (index, sample)));
    }
    samples.sort_by(|(_, one), (_, other)| one.seconds.total_cmp(&other.seconds));
    let mut moments: Vec<Moment> = vec![];
    for (lane, sample) in samples {
        match moments.last_mut() {
            Some(moment) if number(moment.seconds, 2) == number(sample.seconds, 2) => {
                moment.samples.push((lane, sample))
            }
            _ => moments.push(Moment { seconds: sample.seconds, samples: vec![(lane, sample)] }),
        }
    }
    moments
}

/// The rank of a row. Rows with the lowest rank are kept first.
fn rank(moments: &[Moment], index: usize) -> usize {
    match moments[index].marks().map(|(_, mark)| mark).max() {
        _ if index == 0 || index + 1 == moments.len() => 0,
        Some(Mark::Killed) => 1,
        Some(_) => 2,
        None => 3,
    }
}

/// At most `most` indices, in order. The lowest ranks are taken first. If not all of a rank can be taken, they are
/// taken at equal distances.
pub(super) fn choose(ranks: &[usize], most: usize) -> Vec<usize> {
    let mut kept = vec![];
    for rank in 0..=3 {
        let group: Vec<usize> = (0..ranks.len()).filter(|&index| ranks[index] == rank).collect();
        let take = group.len().min(most - kept.len());
        kept.extend((0..take).map(|nth| group[(2 * nth + 1) * group.len() / (2 * take)]));
    }
    kept.sort_unstable();
    kept
}
