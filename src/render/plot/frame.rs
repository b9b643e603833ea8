//! The picture of a plot: a bar for each lane, with its history and its note.

use super::scale::Scale;
use super::{LANES, plain};
use crate::render::paint;
use crate::teach::demo::plot::{Mark, Plot};

/// The maximum number of lines of a picture. It is redrawn in place, so it must fit on every terminal.
pub(super) const LINES: usize = 12;

/// A picture of the plot in at most `width` columns and 12 lines. Each lane has a line with its name, its bar and its
/// last value. Below are its history, if the picture has lines for the history of every lane, and its note.
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

/// The title, then the meaning of the characters in the picture.
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
