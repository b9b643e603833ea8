//! The sections of a lesson, as lines for a terminal.

use super::markdown::{self, Look};
use super::paint;
use crate::teach::course::data::Exercise;
use crate::teach::course::pack::{Lesson, Pack};
use crate::teach::course::seed::{StudentValues, fill};
use crate::teach::course::text::{ExerciseText, LessonText, Passage, Quiz};
use crate::text::{pad, text, text_with};

/// What the lines depend on.
#[derive(Debug, Clone, Copy)]
pub struct LessonView {
    /// The width, and whether it is for a screen reader.
    pub look: Look,
    /// Whether the learner is root: blocks for another user are left out.
    pub is_root: bool,
    /// Whether the features of the lesson work here. Otherwise its output is shown as recorded.
    pub works: bool,
}

/// The title: the number, the name, and how long it takes.
pub fn title(pack: &Pack, lesson: &Lesson, language: &str, view: LessonView) -> Vec<String> {
    let front = &lesson.text(language).front;
    let values = [
        ("number", &*lesson.number.to_string()),
        ("count", &pack.lessons.last().map_or(0, |last| last.number).to_string()),
        ("title", &front.title),
        ("minutes", &front.minutes.to_string()),
    ];
    let mut lines = vec![paint::heading(&text_with("lesson.title", &values)).to_string()];
    let names: Vec<&str> = front.features.iter().map(|feature| feature.name()).collect();
    if !view.works {
        let note = text_with("lesson.title.impossible", &[("features", &names.join(", "))]);
        lines.extend(markdown::lines(&note, view.look));
    }
    lines
}

/// The lines of a passage, with the values of the student.
pub fn passage(passage: &Passage, values: &StudentValues, view: LessonView) -> Vec<String> {
    markdown::lines(&fill(&fitting(&passage.markdown, view), values), view.look)
}

/// The text without the blocks for another user. Where the lesson cannot be done, blocks get the label "recorded".
fn fitting(markdown: &str, view: LessonView) -> String {
    let other = if view.is_root { "user" } else { "root" };
    let (mut out, mut is_code, mut is_hidden) = (String::new(), false, false);
    for line in markdown.lines() {
        let fence = line.trim_start().strip_prefix("```");
        let mut line = line.to_owned();
        if let Some(words) = fence {
            is_code = !is_code;
            if is_code {
                is_hidden = words.split_whitespace().any(|word| word == other);
                if words.starts_with("console") && !view.works && !words.contains("recorded") {
                    line.push_str(" recorded");
                }
            }
        }
        if !is_hidden {
            out.push_str(&line);
            out.push('\n');
        }
        is_hidden &= is_code;
    }
    out
}

/// A question with its options.
pub fn question(quiz: &Quiz, values: &StudentValues, view: LessonView) -> Vec<String> {
    let mut lines = passage(&quiz.prompt, values, view);
    for (letter, option) in &quiz.options {
        let item = markdown::lines(&format!("- {option}"), view.look);
        for (index, line) in item.iter().enumerate() {
            lines.push(match index {
                0 => format!(" {letter}) {}", line.trim_start_matches("- ")),
                _ => format!("  {line}"),
            });
        }
    }
    lines
}

/// Whether the answer was right, why it was not, and the explanation.
pub fn answer(
    quiz: &Quiz,
    right: char,
    given: Option<char>,
    values: &StudentValues,
    view: LessonView,
) -> Vec<String> {
    let mut lines = Vec::new();
    let letters = [("right", &*right.to_string()), ("given", &given.unwrap_or(' ').to_string())];
    match given {
        Some(given) if given == right => {
            lines.push(paint::good(&text_with("lesson.answer.right", &letters)).to_string());
        }
        Some(given) => {
            lines.push(paint::different(&text_with("lesson.answer.wrong", &letters)).to_string());
            if let Some(reply) = quiz.replies.get(&given) {
                lines.extend(passage(reply, values, view));
            }
        }
        None => lines.push(text_with("lesson.answer.is", &letters)),
    }
    lines.push(String::new());
    lines.extend(passage(&quiz.answer, values, view));
    lines
}

/// An exercise: its task, and how to go on.
pub fn exercise(
    number: &str,
    exercise: &ExerciseText,
    data: &Exercise,
    obstacle: Option<&str>,
    directory: &str,
    values: &StudentValues,
    view: LessonView,
) -> Vec<String> {
    let mut lines = passage(&exercise.task, values, view);
    lines.push(String::new());
    if let Some(obstacle) = obstacle {
        lines
            .extend(markdown::lines(&text_with("lesson.exercise.obstacle", &[("why", obstacle)]), view.look));
    }
    if !data.files.is_empty() {
        let files = [("directory", directory), ("files", &*data.files.join(", "))];
        lines.extend(markdown::lines(&text_with("lesson.exercise.files", &files), view.look));
    }
    let key = match data.measure {
        Some(_) => "lesson.exercise.predict",
        None => "lesson.exercise.check",
    };
    lines.push(text_with(key, &[("number", number), ("name", &exercise.name)]));
    lines
}

/// A line for each lesson.
pub fn list(pack: &Pack, language: &str, is_plain: bool, state: impl Fn(&Lesson) -> String) -> String {
    let mut out = String::new();
    for lesson in &pack.lessons {
        let front = &lesson.text(language).front;
        let state = state(lesson);
        let minutes = text_with("lesson.minutes", &[("minutes", &front.minutes.to_string())]);
        let name = &lesson.name;
        out.push_str(&match is_plain {
            true => format!("{}. {name}: {}; {minutes}; {state}\n", lesson.number, front.title),
            false => {
                let (state, minutes) = (pad(&state, 11), pad(&minutes, 8));
                format!("{:>2}  {name:<10} {state}{minutes}{}\n", lesson.number, front.title)
            }
        });
    }
    out
}

/// The number of an exercise: that of its lesson, and its place in it.
pub fn number_of(lesson: &Lesson, text: &LessonText, name: &str) -> String {
    let place = text.exercises().position(|exercise| exercise.name == name).unwrap_or(0);
    format!("{}.{}", lesson.number, place + 1)
}

/// The word for an exercise that has passed or not.
pub fn state(has_passed: bool) -> String {
    match has_passed {
        true => paint::good(&text("lesson.state.passed")).to_string(),
        false => text("lesson.state.open"),
    }
}
