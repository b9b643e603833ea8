//! A picture of the order of the lessons: each is a box, and an arrow leads from a lesson to those that need it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use super::Edition;
use super::picture::drawn;
use crate::render::svg::escape;
use crate::teach::course::pack::Pack;
use crate::text::{text, text_with};

/// The size of a box, and the distance from one to the next one.
const BOX: (usize, usize) = (104, 30);
const STEP: (usize, usize) = (136, 44);
/// The margin of the picture.
const MARGIN: usize = 6;

/// A lesson in the picture, or the place where an arrow passes between lessons.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Slot {
    /// The index of the lesson, or of the one from which the arrow comes.
    of: usize,
    /// Whether it is a lesson.
    is_box: bool,
    /// The slots of the column to the left from which arrows come.
    from: Vec<usize>,
}

/// The figure.
pub(super) fn picture(edition: &Edition<'_>, number: usize) -> String {
    let pack = edition.pack;
    let columns = columns(pack, edition.language);
    let rows = columns.iter().map(Vec::len).max().unwrap_or(0);
    let width = 2 * MARGIN + columns.len().saturating_sub(1) * STEP.0 + BOX.0;
    let height = 2 * MARGIN + rows.saturating_sub(1) * STEP.1 + BOX.1;
    let (mut arrows, mut boxes) = (String::new(), String::new());
    // A column with fewer rows is in the middle.
    let y_of =
        |column: &[Slot], row: usize| MARGIN + BOX.1 / 2 + row * STEP.1 + (rows - column.len()) * STEP.1 / 2;
    for (index, column) in columns.iter().enumerate() {
        let x = MARGIN + index * STEP.0;
        for (row, slot) in column.iter().enumerate() {
            let y = y_of(column, row);
            for from in &slot.from {
                let before = y_of(&columns[index - 1], *from);
                let (start, middle) = (x - STEP.0 + BOX.0, x - (STEP.0 - BOX.0) / 2);
                let head =
                    if slot.is_box { format!(" marker-end=\"url(#p{number}-head)\"") } else { String::new() };
                let _ = writeln!(
                    arrows,
                    "<path d=\"M{start} {before}C{middle} {before} {middle} {y} {x} {y}\"{head}/>"
                );
            }
            match pack.lessons.get(slot.of).filter(|_| slot.is_box) {
                Some(lesson) => {
                    let (top, middle) = (y - BOX.1 / 2, x + BOX.0 / 2);
                    let _ = writeln!(
                        boxes,
                        "<rect class=\"inside\" fill=\"#dff1e3\" x=\"{x}\" y=\"{top}\" width=\"{}\" height=\"{}\" rx=\"5\"/>\
                         <text fill=\"currentColor\" stroke=\"none\" text-anchor=\"middle\" x=\"{middle}\" y=\"{}\">{} {}</text>",
                        BOX.0,
                        BOX.1,
                        y + 5,
                        lesson.number,
                        escape(&crate::render::paint::cut(&lesson.name, 11)),
                    );
                }
                None => {
                    let _ = writeln!(arrows, "<path d=\"M{x} {y}H{}\"/>", x + BOX.0);
                }
            }
        }
    }
    let start = format!(
        "<svg viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" fill=\"none\" stroke=\"currentColor\" \
         stroke-width=\"1.2\" font-size=\"14\""
    );
    let marker = format!(
        "\n<defs><marker id=\"p{number}-head\" viewBox=\"0 0 8 8\" refX=\"7\" refY=\"4\" markerWidth=\"7\" \
         markerHeight=\"7\" orient=\"auto\"><path d=\"M0 0L8 4L0 8z\" fill=\"currentColor\" stroke=\"none\"/></marker></defs>\n"
    );
    drawn(
        &start,
        &format!("{marker}{arrows}{boxes}"),
        number,
        &text("lesson.page.order.caption"),
        &description(edition),
    )
}

/// The picture as sentences.
fn description(edition: &Edition<'_>) -> String {
    let sentences = edition.pack.lessons.iter().map(|lesson| {
        let needs = lesson.text(edition.language).front.needs.join(", ");
        match needs.is_empty() {
            true => text_with("lesson.page.order.first", &[("name", &lesson.name)]),
            false => text_with("lesson.page.order.after", &[("name", &lesson.name), ("needs", &needs)]),
        }
    });
    sentences.collect::<Vec<_>>().join(" ")
}

/// The lessons that each lesson needs, by index. A need that another need has already is left out.
fn needs(pack: &Pack, language: &str) -> Vec<Vec<usize>> {
    let index: BTreeMap<&str, usize> =
        pack.lessons.iter().enumerate().map(|(index, lesson)| (lesson.name.as_str(), index)).collect();
    // A need is an earlier lesson, so the needs of a need are known before.
    let (mut direct, mut all): (Vec<Vec<usize>>, Vec<BTreeSet<usize>>) = (Vec::new(), Vec::new());
    for (own, lesson) in pack.lessons.iter().enumerate() {
        let named =
            lesson.text(language).front.needs.iter().filter_map(|need| index.get(need.as_str()).copied());
        let named: Vec<usize> = named.filter(|need| *need < own).collect();
        let indirect: BTreeSet<usize> = named.iter().flat_map(|need| all[*need].iter().copied()).collect();
        direct.push(named.iter().copied().filter(|need| !indirect.contains(need)).collect());
        all.push(named.into_iter().chain(indirect).collect());
    }
    direct
}

/// The slots of each column. A lesson is one column to the right of the last lesson that it needs.
fn columns(pack: &Pack, language: &str) -> Vec<Vec<Slot>> {
    let needs = needs(pack, language);
    let mut column_of: Vec<usize> = Vec::new();
    for needed in &needs {
        column_of.push(needed.iter().map(|need| column_of[*need] + 1).max().unwrap_or(0));
    }
    let count = column_of.iter().max().map_or(0, |last| last + 1);
    let mut columns: Vec<Vec<Slot>> = Vec::new();
    for column in 0..count {
        let before = columns.last().map_or(&[][..], Vec::as_slice);
        let slot_of = |lesson: usize| before.iter().position(|slot| slot.of == lesson);
        let mut slots: Vec<Slot> = Vec::new();
        for (lesson, needed) in needs.iter().enumerate() {
            if column_of[lesson] == column {
                let from = needed.iter().filter_map(|need| slot_of(*need)).collect();
                slots.push(Slot { of: lesson, is_box: true, from });
            }
            // An arrow from an earlier column to a later one passes.
            let is_needed_later = |other: usize| column_of[other] > column && needs[other].contains(&lesson);
            if column_of[lesson] < column && (0..needs.len()).any(is_needed_later) {
                slots.push(Slot { of: lesson, is_box: false, from: slot_of(lesson).into_iter().collect() });
            }
        }
        // Each slot is near those from which its arrows come.
        slots.sort_by_key(|slot| (slot.from.iter().sum::<usize>() * 100 / slot.from.len().max(1), slot.of));
        columns.push(slots);
    }
    columns
}

#[cfg(test)]
mod tests {
    use super::{columns, needs};
    use crate::teach::course::pack::Pack;

    /// A pack in which each lesson needs all earlier ones.
    fn chain(count: usize) -> Pack {
        let mut pack = Pack::shipped().unwrap();
        let first = pack.lessons[0].clone();
        pack.lessons = (0..count)
            .map(|index| {
                let mut lesson = first.clone();
                lesson.name = format!("lesson-{index}");
                for text in lesson.texts.values_mut() {
                    text.front.needs = (0..index).map(|earlier| format!("lesson-{earlier}")).collect();
                }
                lesson
            })
            .collect();
        pack
    }

    #[test]
    fn an_arrow_leads_only_from_what_no_other_need_has() {
        let pack = chain(40);
        let direct = needs(&pack, "en");
        assert_eq!(direct[0], Vec::<usize>::new());
        for (lesson, direct) in direct.iter().enumerate().skip(1) {
            assert_eq!(*direct, [lesson - 1]);
        }
        assert_eq!(columns(&pack, "en").iter().map(Vec::len).collect::<Vec<_>>(), [1; 40]);
    }
}
