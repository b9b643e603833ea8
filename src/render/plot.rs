//! A plot in characters: bars for a terminal, a table for a pipe.

use std::fmt::Write;

use super::paint;
use crate::teach::demo::plot::{Lane, Mark, Plot, Sample};

/// The lines of a picture: it's redrawn in place, so it must fit on any screen.
const LINES: usize = 12;

/// The lanes that are drawn: a bar and a note for each, below the title. More are counted.
const LANES: usize = 5;

/// The rows of a table.
const ROWS: usize = 12;

/// The columns of a table. It's for a pipe, which has no width.
const WIDTH: usize = 80;

/// From little to much, as ink on paper.
const LEVELS: [char; 8] = [' ', '.', ':', '-', '=', '+', '*', '#'];

/// A picture of the plot in at most `width` columns and 12 lines. Per lane: name, bar and last value; how it came about,
/// from left to right, if there's room for all of them; the note.
pub fn frame(plot: &Plot, width: usize) -> Vec<String> {
    let lanes = &plot.lanes[..plot.lanes.len().min(LANES)];
    let notes = lanes.iter().filter(|lane| !lane.note.is_empty()).count();
    let more = plot.lanes.len() - lanes.len();
    let has_history = plot.time_end() > 0.0 && 1 + 2 * lanes.len() + notes + more.min(1) <= LINES;
    let scale = Scale::new(plot, lanes, width);

    let mut lines = vec![title(plot, &scale, width)];
    for lane in lanes {
        lines.push(scale.bar_line(plot, lane));
        if has_history {
            lines.push(scale.history_line(plot, lane));
        }
        if !lane.note.is_empty() {
            lines.push(paint::cut(&format!("    {}", plain(&lane.note)), width));
        }
    }
    if more > 0 {
        lines.push(paint::faint(&paint::cut(&format!("    and {more} more"), width)).to_string());
    }
    lines
}

/// The heading, and behind it what the signs mean that can be seen.
fn title(plot: &Plot, scale: &Scale, width: usize) -> String {
    let unit = if scale.has_units { String::new() } else { format!(" ({})", plot.unit) };
    let title = paint::cut(&format!("{}{unit}", plain(&plot.title)), width);
    let limit = plot.lanes.iter().any(|lane| plot.limit(lane).is_some()).then_some(Mark::Limit);
    let mut marks: Vec<Mark> =
        plot.lanes.iter().flat_map(|lane| &lane.samples).filter_map(|sample| sample.mark).collect();
    marks.extend(limit);
    marks.sort_unstable();
    marks.dedup();
    let legend: String =
        marks.iter().map(|mark| format!("   {} {}", mark.character(), mark.name())).collect();
    let fits = title.len() + legend.len() <= width;
    format!("{}{}", paint::heading(&title), paint::faint(if fits { &legend } else { "" }))
}

/// The columns of a picture, the same for all of its lanes.
struct Scale {
    most: f64,
    digits: usize,
    /// Whether values stand with their unit, or the title has it.
    has_units: bool,
    name: usize,
    bar: usize,
    value: usize,
}

impl Scale {
    fn new(plot: &Plot, lanes: &[Lane], width: usize) -> Scale {
        let longest =
            |words: &mut dyn Iterator<Item = String>| words.map(|words| words.len()).max().unwrap_or(0);
        let name = longest(&mut lanes.iter().map(|lane| plain(&lane.name))).min(width / 3);
        let mut scale =
            Scale { most: plot.value_end(), digits: digits(plot), has_units: true, name, bar: 0, value: 0 };
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

    /// `31.4/32 MiB`: the last value, and the limit if there is one.
    fn value(&self, plot: &Plot, lane: &Lane) -> String {
        // As wide as it can become: the bar must not move when a value gets one more digit.
        let room = number(self.most, self.digits).len();
        let last = lane.samples.last().map_or("-".into(), |sample| number(sample.value, self.digits));
        let limit = plot.limit(lane).map_or(String::new(), |limit| format!("/{}", short(limit)));
        let unit = if self.has_units { format!(" {}", plot.unit) } else { String::new() };
        format!("{last:>room$}{limit}{unit}")
    }

    fn bar_line(&self, plot: &Plot, lane: &Lane) -> String {
        let name = format!("{:<1$}", paint::cut(&plain(&lane.name), self.name), self.name);
        let value = paint::cut(&self.value(plot, lane), self.value);
        let mark = lane.mark().map_or(' ', Mark::character).to_string();
        format!("{name} [{}]{} {value}", self.bar(plot, lane), paint::bad(&mark)).trim_end().to_owned()
    }

    /// Where a value's end is in the bar. That `as` saturates, and takes NaN for 0, is just what is needed.
    fn column(&self, value: f64) -> usize {
        ((value / self.most * self.bar as f64).round() as usize).min(self.bar)
    }

    fn bar(&self, plot: &Plot, lane: &Lane) -> String {
        let sign = if lane.character.is_ascii_graphic() { lane.character } else { '#' };
        let filled = self.column(lane.samples.last().map_or(0.0, |sample| sample.value));
        let limit = plot.limit(lane).map(|limit| self.column(limit).min(self.bar.saturating_sub(1)));
        let painted = |from: usize, to: usize| {
            let signs = String::from(sign).repeat(filled.clamp(from, to) - from);
            let gap = " ".repeat(to - filled.clamp(from, to));
            let signs = match lane.mark() {
                Some(Mark::Killed) => paint::bad(&signs),
                _ if limit.is_some_and(|limit| filled >= limit) => paint::different(&signs),
                _ => paint::good(&signs),
            };
            format!("{signs}{gap}")
        };
        match limit {
            Some(limit) if self.bar > 0 => {
                format!("{}{}{}", painted(0, limit), paint::heading("|"), painted(limit + 1, self.bar))
            }
            _ => painted(0, self.bar),
        }
    }

    /// The values so far, one character for each moment, the largest where it stands for more; marks take precedence.
    fn history_line(&self, plot: &Plot, lane: &Lane) -> String {
        let moment = plot.time_end() / self.bar as f64;
        let signs: String = (0..self.bar)
            .map(|column| {
                let (from, to) = (column as f64 * moment, (column + 1) as f64 * moment);
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
        let line = format!("{:1$}  {signs}   {2}", "", self.name, paint::cut(&span(plot), self.value));
        paint::faint(line.trim_end()).to_string()
    }

    /// The least ink for anything at all, the most for the largest value of the plot.
    fn level(&self, value: f64) -> char {
        let largest = LEVELS.len() - 1;
        let level = (value / self.most * largest as f64).round() as usize;
        LEVELS[level.clamp(usize::from(value > 0.0), largest)]
    }
}

/// What the history goes over: `0-3.2 s`.
fn span(plot: &Plot) -> String {
    format!("0-{} s", number(plot.time_end(), 1))
}

/// The samples as a table of at most 80 columns and 12 rows, for a pipe; a mark's sign stands behind its value. Where there
/// are more samples, rows are chosen evenly; the first, the last and those with a mark stay before others.
pub fn table(plot: &Plot) -> String {
    let lanes = &plot.lanes[..plot.lanes.len().min(LANES)];
    let all = rows(lanes);
    let ranks: Vec<usize> = (0..all.len()).map(|index| rank(&all, index)).collect();
    let kept = choose(&ranks, ROWS);
    let digits = digits(plot);

    let mut table = vec![vec!["seconds".to_owned()]];
    table[0].extend(lanes.iter().map(|lane| plain(&lane.name)));
    for row in kept.iter().map(|&index| &all[index]) {
        let mut cells = vec![number(row.seconds, 2)];
        for (index, lane) in lanes.iter().enumerate() {
            let value = row.value(index, lane).map_or("-".into(), |value| number(value, digits));
            let mark = row.marks().filter(|(lane, _)| *lane == index).map(|(_, mark)| mark).max();
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
    let mut marks: Vec<Mark> = all.iter().flat_map(Row::marks).map(|(_, mark)| mark).collect();
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

/// A row of the table: a moment, and what was measured then in which lane.
struct Row {
    seconds: f64,
    samples: Vec<(usize, Sample)>,
}

impl Row {
    fn marks(&self) -> impl Iterator<Item = (usize, Mark)> {
        self.samples.iter().filter_map(|&(lane, sample)| Some((lane, sample.mark?)))
    }

    /// What was measured in a lane, or holds still.
    fn value(&self, index: usize, lane: &Lane) -> Option<f64> {
        let own = self.samples.iter().rev().find(|(lane, _)| *lane == index);
        own.map(|(_, sample)| sample.value).or_else(|| lane.at(self.seconds))
    }
}

/// The moments at which any lane was measured. Those that would print the same are one.
fn rows(lanes: &[Lane]) -> Vec<Row> {
    let mut samples: Vec<(usize, Sample)> = vec![];
    for (index, lane) in lanes.iter().enumerate() {
        samples.extend(lane.samples.iter().map(|&sample| (index, sample)));
    }
    samples.sort_by(|(_, one), (_, other)| one.seconds.total_cmp(&other.seconds));
    let mut rows: Vec<Row> = vec![];
    for (lane, sample) in samples {
        match rows.last_mut() {
            Some(row) if number(row.seconds, 2) == number(sample.seconds, 2) => {
                row.samples.push((lane, sample))
            }
            _ => rows.push(Row { seconds: sample.seconds, samples: vec![(lane, sample)] }),
        }
    }
    rows
}

/// How much a row is needed, 0 the most.
fn rank(rows: &[Row], index: usize) -> usize {
    match rows[index].marks().map(|(_, mark)| mark).max() {
        _ if index == 0 || index + 1 == rows.len() => 0,
        Some(Mark::Killed) => 1,
        Some(_) => 2,
        None => 3,
    }
}

/// At most `most` indices, in order: by rank, and evenly within the rank for which the room doesn't suffice.
fn choose(ranks: &[usize], most: usize) -> Vec<usize> {
    let mut kept = vec![];
    for rank in 0..=3 {
        let group: Vec<usize> = (0..ranks.len()).filter(|&index| ranks[index] == rank).collect();
        let take = group.len().min(most - kept.len());
        kept.extend((0..take).map(|nth| group[(2 * nth + 1) * group.len() / (2 * take)]));
    }
    kept.sort_unstable();
    kept
}

/// How many digits after the point the plot's values need: none for what is counted, and about three digits in all.
fn digits(plot: &Plot) -> usize {
    let mut values = plot.lanes.iter().flat_map(|lane| &lane.samples).map(|sample| sample.value);
    if values.all(|value| !value.is_finite() || value.fract() == 0.0) {
        0
    } else {
        significant(plot.value_end())
    }
}

/// The digits after the point that make three digits in all.
fn significant(value: f64) -> usize {
    match value.abs() {
        value if value > 0.0 && value.is_finite() => (2.0 - value.log10().floor()).clamp(0.0, 6.0) as usize,
        _ => 0,
    }
}

/// With so many digits after the point; never longer than a column can be.
fn number(value: f64, digits: usize) -> String {
    match value {
        value if !value.is_finite() => "?".into(),
        value if value.abs() >= 1e9 => format!("{value:.1e}"),
        // Adding 0 makes a 0 of -0.
        value => format!("{:.digits$}", value + 0.0),
    }
}

/// As short as it can be said with three digits: `32`, `31.4`, `0.25`.
pub(super) fn short(value: f64) -> String {
    let long = number(value, significant(value));
    if long.contains('.') && !long.contains('e') {
        long.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        long
    }
}

/// One column for each character: whatever else is in a name could move the cursor or take two.
fn plain(words: &str) -> String {
    words.chars().map(|sign| if sign.is_ascii_graphic() || sign == ' ' { sign } else { '?' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Without the escape sequences of colour.
    fn bare(line: &str) -> String {
        let mut parts = line.split('\x1b');
        let first = parts.next().unwrap_or_default().to_owned();
        first + &parts.filter_map(|part| Some(part.split_once('m')?.1)).collect::<String>()
    }

    fn drawn(plot: &Plot, width: usize) -> Vec<String> {
        frame(plot, width).iter().map(|line| bare(line)).collect()
    }

    fn add(plot: &mut Plot, name: &str, sign: char, values: &[f64], mark: Option<Mark>) -> usize {
        let lane = plot.lane(name, sign);
        for (index, &value) in values.iter().enumerate() {
            let mark = mark.filter(|_| index + 1 == values.len());
            plot.push(lane, Sample { seconds: index as f64 * 0.1, value, mark });
        }
        lane
    }

    fn memory() -> Plot {
        let mut plot = Plot::new("memory.current at memory.max = 32 MiB", "MiB", Some(32.0));
        let rising = |by: f64| (0..33).map(|step| (f64::from(step) * by).min(32.0)).collect::<Vec<_>>();
        let file = add(&mut plot, "1/2 write a 64 MiB file", 'c', &rising(1.9), Some(Mark::Limit));
        plot.lanes[file].note = "max 391  oom_kill 0      at the limit; old cache dropped; alive".into();
        let memory = add(&mut plot, "2/2 allocate 64 MiB", 'a', &rising(0.98), Some(Mark::Killed));
        plot.lanes[memory].note = "max 447  oom_kill 1      no swap to move it to: killed at 31 MiB".into();
        plot
    }

    /// Plots of every kind of number, with up to seven lanes.
    fn plots() -> Vec<Plot> {
        let numbers = [0.0, -0.0, -7.0, 0.004, 1.0, 31.4, 1e5, 1e12, f64::MAX, f64::NAN, f64::INFINITY];
        let mut plots = vec![Plot::new("", "", None), memory()];
        for lanes in 1..=7 {
            for (nth, limit) in numbers.iter().enumerate() {
                let mut plot = Plot::new("a title ".repeat(nth * 2), "% of a CPU", Some(*limit));
                for lane in 0..lanes {
                    let values: Vec<f64> =
                        (0..nth * 9).map(|step| numbers[(step + lane) % numbers.len()]).collect();
                    let name = ["x", "a long name of a lane, or two", "\u{4e2d}\n\x1b[2J"][lane % 3];
                    let mark = [None, Some(Mark::Killed), Some(Mark::Throttled)][(lane + nth) % 3];
                    let lane = add(&mut plot, name, ['#', '\u{4e2d}'][lane % 2], &values, mark);
                    plot.lanes[lane].limit = numbers.get(lane + nth).copied();
                    plot.lanes[lane].note = "note ".repeat(nth);
                    plot.lanes[lane].samples.extend(numbers.map(|n| Sample { seconds: n, value: n, mark }));
                }
                plots.push(plot);
            }
        }
        plots
    }

    #[test]
    fn a_picture_fits_whatever_is_measured() {
        for plot in plots() {
            for width in 30..=100 {
                let lines = drawn(&plot, width);
                assert!(lines.len() <= LINES, "{lines:#?}");
                for line in &lines {
                    assert!(
                        line.len() <= width && line.chars().all(|sign| (' '..='~').contains(&sign)),
                        "{width} {line:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_table_fits_whatever_is_measured() {
        for plot in plots() {
            let table = bare(&table(&plot));
            // A title, a heading, and what was left out.
            assert!(table.lines().count() <= ROWS + 3, "{table}");
            assert!(table.lines().all(|line| line.len() <= WIDTH && line.is_ascii()), "{table}");
        }
    }

    #[test]
    fn limit_and_mark_stand_where_they_belong() {
        for width in 30..=100 {
            for value in [0.0, 8.0, 40.0, 64.0] {
                let mut plot = Plot::new("", "MiB", Some(32.0));
                add(&mut plot, "x", 'a', &[64.0, value], Some(Mark::Throttled));
                let line = &drawn(&plot, width)[1];
                let (from, to) = (line.find('[').expect("a bar") + 1, line.rfind(']').expect("its end"));
                assert!(line[to..].starts_with("]! "), "{line}");
                let bar = &line[from..to];
                let place = |value: f64| value / plot.value_end() * bar.len() as f64;
                let limit = bar.find('|').expect("the limit") as f64;
                assert!((limit - place(32.0)).abs() <= 0.5, "{line}");
                let filled = bar.rfind('a').map_or(0, |last| last + 1) as f64;
                assert!((filled - place(value)).abs() <= 0.5, "{line}");
            }
        }
    }

    #[test]
    fn what_is_at_its_limit_touches_it() {
        let mut plot = Plot::new("", "", Some(32.0));
        add(&mut plot, "x", 'c', &[32.0], None);
        let line = &drawn(&plot, 80)[1];
        assert!(line.contains("c|") && !line.contains("|c"), "{line}");
    }

    #[test]
    fn a_picture_in_full() {
        let expected = "\
memory.current at memory.max = 32 MiB   | limit   X killed
1/2 write a 64 MiB file [ccccccccccccccccccccccccccccccccccccccc| ]| 32.0/32 MiB
                          ....:::---====++****###################|   0-3.2 s
    max 391  oom_kill 0      at the limit; old cache dropped; alive
2/2 allocate 64 MiB     [aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa | ]X 31.4/32 MiB
                          .........::::::-------======+++++******X   0-3.2 s
    max 447  oom_kill 1      no swap to move it to: killed at 31 MiB
";
        assert_eq!(drawn(&memory(), 80).join("\n") + "\n", expected);
    }

    #[test]
    fn a_table_in_full() {
        let expected = "\
memory.current at memory.max = 32 MiB (MiB, limit 32)
seconds  1/2 write a 64 MiB file  2/2 allocate 64 MiB
   0.00                    0.0                  0.0
   0.20                    3.8                  2.0
   0.50                    9.5                  4.9
   0.80                   15.2                  7.8
   1.10                   20.9                 10.8
   1.40                   26.6                 13.7
   1.80                   32.0                 17.6
   2.10                   32.0                 20.6
   2.40                   32.0                 23.5
   2.70                   32.0                 26.5
   3.00                   32.0                 29.4
   3.20                   32.0 |               31.4 X
(| limit, X killed, 12 of 33 rows)
";
        assert_eq!(bare(&table(&memory())), expected);
    }

    #[test]
    fn the_first_the_last_and_the_marked_stay() {
        let mut ranks = vec![3; 300];
        (ranks[0], ranks[299], ranks[77]) = (0, 0, 1);
        ranks[100..150].fill(2);
        let kept = choose(&ranks, ROWS);
        assert_eq!(kept.len(), ROWS);
        assert!([0, 77, 299].iter().all(|index| kept.contains(index)) && kept.is_sorted());
        assert_eq!(choose(&[0, 3, 0], ROWS), [0, 1, 2]);
        assert_eq!(choose(&[], ROWS), [0; 0]);
    }

    #[test]
    fn numbers_have_three_digits() {
        let said = [0.0, -0.0, 0.25, 0.0012, 3.0, 31.44, 447.2, 12345.0, 4e9, f64::NAN].map(short);
        assert_eq!(said, ["0", "0", "0.25", "0.0012", "3", "31.4", "447", "12345", "4.0e9", "?"]);
    }
}
