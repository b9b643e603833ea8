//! Plots as a picture for a handout: one SVG document that needs no other file. The same numbers give the same
//! document.

use std::fmt::Write;

use super::paint;
use super::plot::{description, short, with_unit};
use crate::teach::demo::plot::{Lane, Mark, Plot};
use crate::text::{text, text_with};

/// The width of the document. A browser or a slide scales it.
const WIDTH: f64 = 800.0;
/// The height of one plot with its title and its axis.
const HEIGHT: f64 = 300.0;
/// The margins: for the title, the names of the lanes, the seconds and the values.
const TOP: f64 = 56.0;
const RIGHT: f64 = 190.0;
const BOTTOM: f64 = 48.0;
const LEFT: f64 = 60.0;
/// The height of a line of text.
const LINE: f64 = 16.0;

/// The colours and dashes of the lines. The colours of Okabe and Ito differ for colour-blind readers too; here they are
/// darker, for a white background. The dashes differ on paper that is printed in black.
const LINES: [(&str, &str); 5] = [
    ("#0072b2", "none"),
    ("#c04a00", "9 4"),
    ("#00785a", "2 3"),
    ("#a8488a", "10 3 2 3"),
    ("#333333", "5 2"),
];

/// A document with the plots, one below the other.
pub fn svg(plots: &[Plot]) -> String {
    let height = HEIGHT * plots.len().max(1) as f64;
    let titles: Vec<&str> = plots.iter().map(|plot| plot.title.as_str()).collect();
    let descriptions: Vec<String> = plots.iter().map(description).collect();
    let mut out = String::new();
    let _ = write!(
        out,
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" role="img" aria-labelledby="title desc" font-family="system-ui, -apple-system, 'Segoe UI', Roboto, 'Liberation Sans', sans-serif" font-size="12" fill="#222">
<title id="title">{}</title>
<desc id="desc">{}</desc>
<rect width="100%" height="100%" fill="#fff"/>
"##,
        escape(&titles.join("; ")),
        escape(&descriptions.join(" ")),
    );
    for (index, plot) in plots.iter().enumerate() {
        let _ = writeln!(out, r#"<g transform="translate(0 {})">"#, index as f64 * HEIGHT);
        Area::new(plot).draw(&mut out, plot);
        out.push_str("</g>\n");
    }
    out.push_str("</svg>\n");
    out
}

fn mark_text(mark: Mark) -> String {
    text(match mark {
        Mark::Limit => "demo.picture.svg.mark.limit",
        Mark::Throttled => "demo.picture.svg.mark.throttled",
        Mark::Killed => "demo.picture.svg.mark.killed",
    })
}

/// The axes of a plot, and where its numbers are in the picture.
struct Area {
    /// The value at the top of the value axis.
    value_end: f64,
    /// The seconds at the right end of the time axis.
    time_end: f64,
}

impl Area {
    fn new(plot: &Plot) -> Area {
        let end = plot.time_end();
        Area { value_end: plot.value_end(), time_end: if end > 0.0 { end } else { 1.0 } }
    }

    fn x(&self, seconds: f64) -> f64 {
        LEFT + within(seconds / self.time_end) * (WIDTH - LEFT - RIGHT)
    }

    fn y(&self, value: f64) -> f64 {
        HEIGHT - BOTTOM - within(value / self.value_end) * (HEIGHT - TOP - BOTTOM)
    }

    fn draw(&self, out: &mut String, plot: &Plot) {
        let title = escape(&paint::cut(&plot.title, 90));
        let _ = writeln!(out, r#"<text x="{LEFT}" y="24" font-size="15" font-weight="600">{title}</text>"#);
        self.axes(out, &plot.unit);
        let labels = self.limits(out, plot);
        for (index, lane) in plot.lanes.iter().enumerate() {
            self.line(out, lane, LINES[index % LINES.len()]);
        }
        self.names(out, plot);
        // Labels and marks are drawn last, so that no line covers them.
        out.push_str(&labels);
        for (index, lane) in plot.lanes.iter().enumerate() {
            self.marks(out, lane, LINES[index % LINES.len()].0);
        }
    }

    fn axes(&self, out: &mut String, unit: &str) {
        let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
        for tick in ticks(self.value_end, 5.0) {
            let (y, label) = (self.y(tick), short(tick));
            let _ = writeln!(out, r##"<path d="M{LEFT} {y:.1}H{right}" stroke="#e4e4e4"/>"##);
            let _ = writeln!(
                out,
                r#"<text x="{}" y="{:.1}" text-anchor="end">{label}</text>"#,
                LEFT - 8.0,
                y + 4.0
            );
        }
        for tick in ticks(self.time_end, 8.0) {
            let (x, label) = (self.x(tick), short(tick));
            let _ = writeln!(out, r##"<path d="M{x:.1} {bottom}v5" stroke="#555"/>"##);
            let _ = writeln!(
                out,
                r#"<text x="{x:.1}" y="{}" text-anchor="middle">{label}</text>"#,
                bottom + 19.0
            );
        }
        let _ = writeln!(out, r##"<path d="M{LEFT} {TOP}V{bottom}H{right}" fill="none" stroke="#555"/>"##);
        let _ = writeln!(out, r##"<text x="{LEFT}" y="{}" fill="#555">{}</text>"##, TOP - 12.0, escape(unit));
        let (x, seconds) = (right + 10.0, escape(&text("demo.picture.svg.seconds")));
        let _ = writeln!(out, r##"<text x="{x}" y="{}" fill="#555">{seconds}</text>"##, bottom + 19.0);
    }

    /// Draws each limit once, and returns the labels. A label names the lanes, unless the limit is for all lanes.
    fn limits(&self, out: &mut String, plot: &Plot) -> String {
        let mut labels = String::new();
        let mut limits: Vec<(f64, Vec<&str>)> = plot.limit.into_iter().map(|limit| (limit, vec![])).collect();
        for lane in &plot.lanes {
            let Some(limit) = lane.limit else { continue };
            match limits.iter_mut().find(|(known, _)| *known == limit) {
                Some((_, names)) if names.is_empty() => {}
                Some((_, names)) => names.push(&lane.name),
                None => limits.push((limit, vec![&lane.name])),
            }
        }
        for (limit, names) in limits.iter().filter(|(limit, _)| limit.is_finite()) {
            let y = self.y(*limit);
            let values = [("limit", &*with_unit(plot, *limit)), ("names", &names.join(", "))];
            let key = if names.is_empty() { "demo.picture.svg.limit" } else { "demo.picture.svg.limit.of" };
            let label = escape(&paint::cut(&text_with(key, &values), 80));
            let right = WIDTH - RIGHT;
            let _ = writeln!(
                out,
                r##"<path d="M{LEFT} {y:.1}H{right}" stroke="#b00020" stroke-width="1.2" stroke-dasharray="6 4"/>"##
            );
            let _ = writeln!(
                labels,
                r##"<text x="{}" y="{:.1}" fill="#b00020" {HALO}>{label}</text>"##,
                LEFT + 8.0,
                y - 5.0
            );
        }
        labels
    }

    fn line(&self, out: &mut String, lane: &Lane, (colour, dashes): (&str, &str)) {
        let points: Vec<String> = lane
            .samples
            .iter()
            .filter(|sample| sample.seconds.is_finite() && sample.value.is_finite())
            .map(|sample| format!("{:.1},{:.1}", self.x(sample.seconds), self.y(sample.value)))
            .collect();
        let Some((x, y)) = points.last().and_then(|last| last.split_once(',')) else { return };
        let _ = writeln!(
            out,
            r#"<polyline points="{}" fill="none" stroke="{colour}" stroke-width="2" stroke-dasharray="{dashes}" stroke-linejoin="round"/>"#,
            points.join(" "),
        );
        // A line with one sample would be invisible, so its end has a circle.
        let _ = writeln!(out, r#"<circle cx="{x}" cy="{y}" r="3" fill="{colour}"/>"#);
    }

    /// The names of the lanes beside the ends of their lines, each with a short piece of its line. Names that would
    /// overlap are moved apart.
    fn names(&self, out: &mut String, plot: &Plot) {
        let ends =
            plot.lanes.iter().map(|lane| self.y(lane.samples.last().map_or(0.0, |sample| sample.value)));
        let mut names: Vec<(usize, f64)> = ends.enumerate().collect();
        names.sort_by(|(_, one), (_, other)| one.total_cmp(other));
        let mut free = TOP;
        for (_, y) in &mut names {
            *y = y.max(free);
            free = *y + LINE;
        }
        // Names that are below the picture now are moved up again.
        let mut free = HEIGHT - BOTTOM;
        for (_, y) in names.iter_mut().rev() {
            *y = y.min(free);
            free = *y - LINE;
        }
        let x = WIDTH - RIGHT + 10.0;
        for (index, y) in names {
            let (colour, dashes) = LINES[index % LINES.len()];
            let name = escape(&paint::cut(&plot.lanes[index].name, 22));
            let _ = writeln!(
                out,
                r#"<path d="M{x} {y:.1}h26" stroke="{colour}" stroke-width="2" stroke-dasharray="{dashes}"/>"#
            );
            let _ =
                writeln!(out, r#"<text x="{}" y="{:.1}" fill="{colour}">{name}</text>"#, x + 32.0, y + 4.0);
        }
    }

    /// The character of a mark where it begins, unless it would cover the one before. The first mark of each kind also
    /// has its name.
    fn marks(&self, out: &mut String, lane: &Lane, colour: &str) {
        let (mut before, mut free) = (None, 0.0);
        for sample in &lane.samples {
            let (x, y) = (self.x(sample.seconds), self.y(sample.value));
            let begins = sample.mark.filter(|_| sample.mark != before);
            before = sample.mark;
            // The mark of a killed process is always drawn.
            let Some(mark) = begins.filter(|mark| x >= free || *mark == Mark::Killed) else { continue };
            free = x + LINE;
            let _ = writeln!(
                out,
                r#"<text x="{x:.1}" y="{:.1}" text-anchor="middle" font-size="15" font-weight="700" fill="{colour}" {HALO}>{}</text>"#,
                y + 5.0,
                mark.character(),
            );
        }
        for (mark, sample) in lane.first_marks() {
            let (x, y) = (self.x(sample.seconds), self.y(sample.value));
            // The name is below the line: a line that rises to its limit leaves room there. At the right edge of the
            // picture, the name is to the left.
            let (x, anchor) = if x > WIDTH - RIGHT - 80.0 {
                (x + 4.0, "end")
            } else {
                ((x - 4.0).max(LEFT + 4.0), "start")
            };
            let y = if y > HEIGHT - BOTTOM - 24.0 { y - 12.0 } else { y + 20.0 };
            let name = escape(&mark_text(mark));
            let _ = writeln!(
                out,
                r#"<text x="{x:.1}" y="{y:.1}" text-anchor="{anchor}" fill="{colour}" {HALO}>{name}</text>"#
            );
        }
    }
}

/// A white edge around text that is drawn over lines.
const HALO: &str = r##"stroke="#fff" stroke-width="3" stroke-linejoin="round" paint-order="stroke""##;

/// A part of an axis, from 0 to 1. NaN becomes 0.
fn within(share: f64) -> f64 {
    if share.is_nan() { 0.0 } else { share.clamp(0.0, 1.0) }
}

/// About `count` round values from 0 to `end`. Their distance is 1, 2 or 5 times a power of ten.
fn ticks(end: f64, count: f64) -> Vec<f64> {
    let rough = end / count;
    let power = 10f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].iter().map(|times| times * power).find(|step| *step >= rough);
    let step = step.unwrap_or(rough);
    (0..=(end / step) as usize).map(|nth| nth as f64 * step).collect()
}

/// Text for an XML or HTML document. Reserved characters are escaped, and forbidden characters become spaces.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::new();
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' | '\t' => out.push(character),
            '\u{fffe}' | '\u{ffff}' => out.push(' '),
            character if character.is_control() => out.push(' '),
            character => out.push(character),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::teach::demo::plot::Sample;

    fn sampled(plot: &mut Plot, name: &str, values: impl Iterator<Item = (f64, f64, Option<Mark>)>) -> usize {
        let lane = plot.lane(name, '#', "x");
        for (seconds, value, mark) in values {
            plot.push(lane, Sample { seconds, value, mark });
        }
        lane
    }

    fn sample() -> Vec<Plot> {
        let mut memory = Plot::new("Two ways to fill memory.max", "MiB", Some(32.0));
        let steps = |from: i32, to: i32| (from..=to).map(|step| f64::from(step) * 0.05);
        let file = steps(0, 40).map(|at| (at, (at * 24.0).min(32.0), (at > 1.34).then_some(Mark::Limit)));
        let file = sampled(&mut memory, "write a 64 MiB file", file);
        memory.lanes[file].note = "max 391  oom_kill 0".into();
        let killed = |at: f64| (at > 3.59).then_some(Mark::Killed);
        sampled(&mut memory, "allocate 64 MiB", steps(44, 72).map(|at| (at, (at - 2.2) * 22.5, killed(at))));
        let mut cpu = Plot::new("A busy loop under cpu.max = 20000 100000", "% of a CPU", None);
        for (name, quota) in [("<20 %> & \"more\"", 20.0), ("50 %", 50.0), ("no quota", 100.0)] {
            let mark = (quota < 100.0).then_some(Mark::Throttled);
            let wave = steps(0, 80).map(|at| (at, quota * (1.0 - 0.08 * (at * 9.0).sin().abs()), mark));
            let lane = sampled(&mut cpu, name, wave);
            cpu.lanes[lane].limit = (quota < 100.0).then_some(quota);
        }
        vec![memory, cpu]
    }

    /// Checks that tags are opened and closed in order, that attributes have quotes, and that text has no bare `<` or
    /// `&`.
    fn check(document: &str) {
        let mut open: Vec<&str> = vec![];
        for part in document.split('<').skip(1) {
            let (tag, text) = part.split_once('>').expect("a tag's end");
            assert!(!text.contains('>'), "{text}");
            for entity in part.split('&').skip(1) {
                assert!(
                    ["amp;", "lt;", "gt;", "quot;"].iter().any(|known| entity.starts_with(known)),
                    "{entity}"
                );
            }
            if let Some(name) = tag.strip_prefix('/') {
                assert_eq!(open.pop(), Some(name));
                continue;
            }
            assert_eq!(tag.matches('"').count(), 2 * tag.matches("=\"").count(), "{tag}");
            if !tag.ends_with('/') {
                open.push(tag.split(' ').next().unwrap_or(tag));
            }
        }
        assert!(
            open.is_empty() && document.starts_with("<svg ") && document.ends_with("</svg>\n"),
            "{open:?}"
        );
        assert!(!document.contains("NaN") && !document.contains("inf"), "{document}");
        assert!(document.chars().all(|character| character == '\n' || !character.is_control()));
    }

    #[test]
    fn a_document_is_well_formed_and_always_the_same() {
        let document = svg(&sample());
        // To look at it: SANDBOX_SVG=/tmp/plot.svg cargo test svg
        if let Some(path) = std::env::var_os("SANDBOX_SVG") {
            std::fs::write(path, &document).expect("a file");
        }
        check(&document);
        assert_eq!(document, svg(&sample()));
        assert!(document.contains("&lt;20 %&gt; &amp; &quot;more&quot;"));
        assert!(document.contains("Killed: at 3.6 s."));
    }

    #[test]
    fn a_document_is_well_formed_with_any_numbers() {
        check(&svg(&[]));
        let numbers = [0.0, -1.0, 1e-300, 1e300, f64::MAX, f64::NAN, f64::INFINITY, f64::NEG_INFINITY];
        for limit in numbers {
            let mut plot = Plot::new("\u{0}\u{ffff}]]>", "&", Some(limit));
            sampled(&mut plot, "nothing", std::iter::empty());
            sampled(&mut plot, "\x1b[1m", numbers.iter().map(|&number| (number, number, Some(Mark::Limit))));
            let lane = sampled(&mut plot, "tiny", std::iter::once((1e-310, 1e-310, None)));
            plot.lanes[lane].limit = Some(limit / 2.0);
            check(&svg(&[plot]));
        }
        for number in numbers {
            let mut plot = Plot::new("", "", None);
            sampled(&mut plot, "one", std::iter::once((number, number, None)));
            check(&svg(&[plot]));
        }
    }

    #[test]
    fn ticks_are_round() {
        assert_eq!(ticks(33.6, 5.0), [0.0, 10.0, 20.0, 30.0]);
        assert_eq!(ticks(100.0, 5.0), [0.0, 20.0, 40.0, 60.0, 80.0, 100.0]);
        assert_eq!(ticks(1.0, 2.0), [0.0, 0.5, 1.0]);
        for most in [1e-300, 1e-3, 0.7, 3.2, 999.0, 1e12, f64::MAX] {
            let ticks = ticks(most, 5.0);
            assert!(
                (2..=11).contains(&ticks.len()) && ticks.iter().all(|tick| *tick <= most),
                "{most} {ticks:?}"
            );
        }
    }

    #[test]
    fn many_names_stay_apart_and_inside() {
        let mut plot = Plot::new("", "", None);
        for _ in 0..8 {
            sampled(&mut plot, "same", std::iter::once((1.0, 0.0, None)));
        }
        let mut out = String::new();
        Area::new(&plot).names(&mut out, &plot);
        let places: Vec<f64> = out
            .lines()
            .filter_map(|line| line.strip_prefix("<path d=\"M620 ")?.split_once('h')?.0.parse().ok())
            .collect();
        assert_eq!(places.len(), 8);
        assert!(places.windows(2).all(|pair| pair[1] - pair[0] >= LINE) && places[0] >= TOP, "{places:?}");
    }
}
