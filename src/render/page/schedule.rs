//! When each part of a lesson begins, for teachers. An author gives only the minutes of the lesson. They are divided by
//! what there is to read and to do.

use pulldown_cmark::{Event, Parser, Tag, TagEnd};

use super::markdown::{end_of, plain};
use crate::teach::course::pack::{LANGUAGES, Lesson};
use crate::teach::course::seed::{fill, lesson_values, values};
use crate::teach::course::text::{ExerciseText, Passage, Section};

/// A part of the plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PlannedPart {
    /// Its section, from 0.
    pub(super) index: usize,
    /// Its heading.
    pub(super) title: String,
    /// The minute in which it begins.
    pub(super) from: u32,
    /// How many minutes it takes. Parts of less than a minute have 0.
    pub(super) minutes: u32,
}

/// How many characters are read in a tenth of a minute.
const CHARACTERS: usize = 110;
/// In tenths of a minute: a code block, a question with its discussion, and an exercise for each unit of its weight.
const BLOCK: usize = 15;
const QUESTION: usize = 20;
const EXERCISE: usize = 20;

/// The parts of a lesson, with the values of the student of this seed. The sum of their minutes is that of the lesson.
pub(super) fn schedule(lesson: &Lesson, language: &str, seed: &str) -> Vec<PlannedPart> {
    let (text, measured) = (lesson.text(language), lesson.text(LANGUAGES[0]));
    // All languages have the same sections, and get the same plan.
    let efforts: Vec<usize> = measured.sections.iter().map(|section| effort(lesson, section)).collect();
    let (all, minutes) = (efforts.iter().sum::<usize>().max(1), text.front.minutes as usize);
    let mut done = 0;
    let mut parts = Vec::new();
    for (index, (section, effort)) in text.sections.iter().zip(efforts).enumerate() {
        let at = |done: usize| u32::try_from((done * minutes + all / 2) / all).unwrap_or(0);
        let (from, to) = (at(done), at(done + effort));
        done += effort;
        parts.push(PlannedPart { index, title: title(lesson, section, seed), from, minutes: to - from });
    }
    parts
}

/// A minute of the plan as hours and minutes.
pub(super) fn clock(minute: u32) -> String {
    format!("{}:{:02}", minute / 60, minute % 60)
}

/// The effort of a section, in tenths of a minute.
fn effort(lesson: &Lesson, section: &Section) -> usize {
    let read = |passage: &Passage| {
        let blocks = passage.blocks();
        let code: usize = blocks.iter().map(|block| block.code.len()).sum();
        passage.markdown.len().saturating_sub(code) / CHARACTERS + blocks.len() * BLOCK
    };
    match section {
        Section::Prose(_, passage) => read(passage),
        Section::Quiz(quiz) => read(&quiz.prompt) + read(&quiz.answer) + QUESTION,
        Section::Exercise(exercise) => {
            let weight = lesson.data.exercises.get(&exercise.name).map_or(1, |data| data.weight as usize);
            read(&exercise.task) + weight.min(20) * EXERCISE
        }
    }
}

/// The first heading of a section; of an exercise, with its number.
fn title(lesson: &Lesson, section: &Section, seed: &str) -> String {
    let of_exercise = |exercise: &ExerciseText| {
        let data = lesson.data.exercises.get(&exercise.name);
        data.map(|data| values(seed, lesson, &exercise.name, data)).unwrap_or_default()
    };
    let (passage, number) = match section {
        Section::Prose(_, passage) => (passage, None),
        Section::Quiz(quiz) => (&quiz.prompt, None),
        Section::Exercise(exercise) => (&exercise.task, Some(lesson.number_of(&exercise.name))),
    };
    let values = match section {
        Section::Exercise(exercise) => of_exercise(exercise),
        _ => lesson_values(seed, lesson),
    };
    // A section without a heading is known by its first line.
    let line = heading(&passage.markdown).unwrap_or_else(|| {
        passage.markdown.lines().next().unwrap_or_default().trim().replace(['`', '*'], "")
    });
    let line = fill(&line, &values);
    match number {
        Some(number) => format!("{number} {line}"),
        None => line,
    }
}

/// The text of the first heading. A comment in a code block is none.
fn heading(markdown: &str) -> Option<String> {
    let events: Vec<Event<'_>> = Parser::new(markdown).collect();
    let start = events.iter().position(|event| matches!(event, Event::Start(Tag::Heading { .. })))?;
    let end = end_of(&events, start, |event| matches!(event, Event::End(TagEnd::Heading(_))));
    Some(plain(&events[start..end]))
}

#[cfg(test)]
mod tests {
    use super::heading;

    #[test]
    fn a_comment_in_a_code_block_is_no_heading() {
        for fence in ["```console\n# as root\n$ id\n```\n", "    # as root\n", "#no-heading\n"] {
            assert_eq!(heading(fence), None, "{fence}");
            let markdown = format!("{fence}\n## The `pid` *namespace* ##\n\nText.\n\n## Another\n");
            assert_eq!(heading(&markdown).as_deref(), Some("The pid namespace"), "{fence}");
        }
    }
}
