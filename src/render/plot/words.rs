//! A plot in words, for screen readers.

use super::number::{short, with_unit};
use crate::teach::demo::plot::{Lane, Mark, Plot};
use crate::text::{join, text_with};

/// The sentences that describe a plot.
pub(in crate::render) fn description(plot: &Plot) -> String {
    let values = [("title", &*plot.title), ("seconds", &short(plot.time_end()))];
    let mut sentences = vec![text_with("demo.picture.plain", &values)];
    if let Some(limit) = plot.limit {
        sentences.push(text_with("demo.picture.plain.limit", &[("limit", &with_unit(plot, limit))]));
    }
    for lane in &plot.lanes {
        sentences.push(described(plot, lane));
        if let Some(limit) = lane.limit {
            sentences.push(text_with("demo.picture.plain.limit", &[("limit", &with_unit(plot, limit))]));
        }
        for (mark, sample) in lane.first_marks() {
            sentences.push(text_with(mark_key(mark), &[("seconds", &short(sample.seconds))]));
        }
        if !lane.note.is_empty() {
            sentences.push(text_with("demo.picture.plain.note", &[("note", &lane.note)]));
        }
    }
    join(&sentences)
}

/// The highest and the last value of a lane.
fn described(plot: &Plot, lane: &Lane) -> String {
    let highest = lane.samples.iter().map(|sample| sample.value).reduce(f64::max);
    match (highest, lane.samples.last()) {
        (Some(highest), Some(last)) => text_with(
            "demo.picture.plain.lane",
            &[
                ("name", &lane.name),
                ("highest", &with_unit(plot, highest)),
                ("last", &with_unit(plot, last.value)),
            ],
        ),
        _ => text_with("demo.picture.plain.none", &[("name", &lane.name)]),
    }
}

fn mark_key(mark: Mark) -> &'static str {
    match mark {
        Mark::Limit => "demo.picture.plain.mark.limit",
        Mark::Throttled => "demo.picture.plain.mark.throttled",
        Mark::Killed => "demo.picture.plain.mark.killed",
    }
}
