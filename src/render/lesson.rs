//! The sections of a lesson, as lines for a terminal.

use unicode_width::UnicodeWidthStr;

use super::markdown::{self, Look};
use super::paint;
use crate::feature::Purpose;
use crate::teach::course::advice::{advised, text, text_with};
use crate::teach::course::data::Exercise;
use crate::teach::course::here::{Extent, LessonHere, needs_of};
use crate::teach::course::pack::{Lesson, Pack};
use crate::teach::course::seed::{StudentValues, fill};
use crate::teach::course::text::{ExerciseText, Passage, Quiz};
use crate::text::pad;

/// The width of the list of lessons, in columns.
const LIST_WIDTH: usize = 80;

/// What the lines depend on.
#[derive(Debug, Clone, Copy)]
pub struct LessonView<'a> {
    /// The width, and whether it is for a screen reader.
    pub look: Look,
    /// Whether the learner is root: blocks for another user are left out.
    pub is_root: bool,
    /// Whether the features of the lesson work here. Otherwise its output is shown as recorded.
    pub works: bool,
    /// The features that do not work here. A block that needs one of them is shown as recorded.
    pub lacking: &'a [Purpose],
}

/// The title: the number, the name, and how long it takes. Then what is to know before the lesson begins: the lessons that
/// it builds on and that are not done, and what cannot be done here.
pub fn title(
    pack: &Pack,
    lesson: &Lesson,
    language: &str,
    here: &LessonHere,
    needs: &[String],
    view: LessonView<'_>,
) -> Vec<String> {
    let front = &lesson.text(language).front;
    let values = [
        ("number", &*lesson.number.to_string()),
        ("count", &pack.lessons.last().map_or(0, |last| last.number).to_string()),
        ("title", &front.title),
        ("minutes", &front.minutes.to_string()),
    ];
    let mut lines = vec![paint::heading(&text_with("lesson.title", &values)).to_string()];
    if let Some(first) = needs.first() {
        let note = text_with("lesson.title.needs", &[("names", &needs.join(", "))]);
        let command = advised(format!("sandbox lesson start {first}"));
        // The command stays whole, so that it can be pasted.
        let gap = if note.ends_with(':') { "  " } else { "" };
        match note.width() + gap.len() + command.width() <= view.look.width {
            true => lines.push(format!("{note}{gap}{command}")),
            false => {
                lines.extend(markdown::lines(&note, view.look));
                lines.push(format!("   {command}"));
            }
        }
    }
    let mut notes = Vec::new();
    if !here.recorded.is_empty() {
        let names: Vec<&str> = here.recorded.iter().map(|feature| feature.name()).collect();
        notes.push(text_with("lesson.title.recorded", &[("features", &names.join(", "))]));
    }
    if !here.exercises.is_empty() {
        notes.push(text_with("lesson.title.exercises", &[("exercises", &here.refusals().join("; "))]));
    }
    if here.here != Extent::Full {
        notes.push(text("lesson.title.fix"));
    }
    lines.extend(notes.iter().flat_map(|note| markdown::lines(note, view.look)));
    lines
}

/// The lines of a passage, with the values of the student.
pub fn passage(passage: &Passage, values: &StudentValues, view: LessonView<'_>) -> Vec<String> {
    markdown::lines(&fill(&fitting(&passage.markdown, view), values), view.look)
}

/// The text without the blocks for another user. Blocks that cannot be done here get the label "recorded".
///
/// If nothing but the heading would be left, the blocks for the other user are shown with that label.
fn fitting(markdown: &str, view: LessonView<'_>) -> String {
    let fitting = blocks_for(markdown, view, false);
    let is_text = |line: &str| !line.trim().is_empty() && !line.starts_with('#');
    match fitting.lines().any(is_text) {
        true => fitting,
        false => blocks_for(markdown, view, true),
    }
}

fn blocks_for(markdown: &str, view: LessonView<'_>, shows_all: bool) -> String {
    let other = if view.is_root { "user" } else { "root" };
    let (mut out, mut is_code, mut is_hidden) = (String::new(), false, false);
    for line in markdown.lines() {
        let fence = line.trim_start().strip_prefix("```");
        let mut line = line.to_owned();
        if let Some(words) = fence {
            is_code = !is_code;
            if is_code {
                let is_of_other = words.split_whitespace().any(|word| word == other);
                is_hidden = is_of_other && !shows_all;
                let mut needs = needs_of(words.split_whitespace());
                let works =
                    view.works && !is_of_other && !needs.any(|feature| view.lacking.contains(&feature));
                if words.starts_with("console") && !works && !words.contains("recorded") {
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
pub fn question(quiz: &Quiz, values: &StudentValues, view: LessonView<'_>) -> Vec<String> {
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
    view: LessonView<'_>,
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
    view: LessonView<'_>,
) -> Vec<String> {
    let mut lines = passage(&exercise.task, values, view);
    lines.push(String::new());
    if let Some(obstacle) = obstacle {
        lines
            .extend(markdown::lines(&text_with("lesson.exercise.obstacle", &[("why", obstacle)]), view.look));
        return lines;
    }
    if !data.files.is_empty() {
        let files = [("directory", directory), ("files", &*data.files.join(", "))];
        lines.extend(markdown::lines(&text_with("lesson.exercise.files", &files), view.look));
    }
    let key = match data.measure {
        Some(_) => "lesson.exercise.predict",
        None => "lesson.exercise.check",
    };
    lines.push(text_with(key, &[("number", number)]));
    lines
}

/// The parts of the course, and a line for each lesson: its state, and the lessons to do first. An empty line is between two
/// parts.
pub fn list(
    pack: &Pack,
    language: &str,
    is_plain: bool,
    state: impl Fn(&Lesson) -> String,
    needs: impl Fn(&Lesson) -> Vec<String>,
) -> String {
    let mut out = String::new();
    let column = pack.lessons.iter().map(|lesson| lesson.name.width()).max().unwrap_or_default();
    for lesson in &pack.lessons {
        let front = &lesson.text(language).front;
        if let Some(part) = pack.part(lesson, language) {
            let before = if out.is_empty() { "" } else { "\n" };
            let title = match is_plain {
                true => format!("{} {part}", text("lesson.plain.heading")),
                false => paint::heading(part).to_string(),
            };
            out.push_str(&format!("{before}{title}\n"));
        }
        let state = state(lesson);
        let minutes = text_with("lesson.minutes", &[("minutes", &front.minutes.to_string())]);
        let (name, needs) = (&lesson.name, needs(lesson));
        let first = |names: &[String]| match names.is_empty() {
            true => String::new(),
            false => text_with("lesson.list.needs", &[("names", &names.join(", "))]),
        };
        if is_plain {
            let rest = if needs.is_empty() { String::new() } else { format!("; {}", first(&needs)) };
            out.push_str(&format!("{}. {name}: {}; {minutes}; {state}{rest}\n", lesson.number, front.title));
            continue;
        }
        let mut line = format!(
            "{:>2}  {name:<column$} {}{}{}",
            lesson.number,
            pad(&state, 11),
            pad(&minutes, 8),
            front.title
        );
        // The last lesson of those to do first names the others. If there is no room for it either, it has a line of its own.
        if let Some(last) = needs.last() {
            let aside = |names: &[String]| text_with("lesson.list.aside", &[("needs", &first(names))]);
            let (all, last) = (aside(&needs), aside(std::slice::from_ref(last)));
            let has_room = |aside: &&String| line.width() + 2 + aside.width() <= LIST_WIDTH;
            let written = match [&all, &last].into_iter().find(has_room) {
                Some(aside) => format!("  {aside}"),
                None => format!("\n{:1$}{last}", "", column + 24),
            };
            line.push_str(&written);
        }
        out.push_str(&(line + "\n"));
    }
    out
}

/// The word for an exercise that has passed or not.
pub fn state(has_passed: bool) -> String {
    match has_passed {
        true => paint::good(&text("lesson.state.passed")).to_string(),
        false => text("lesson.state.open"),
    }
}
