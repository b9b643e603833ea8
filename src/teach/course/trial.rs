//! `sandbox lesson test`: tries an exercise as an author must. Untouched, it fails. Solved, it passes. Each wrong answer
//! fails with the message that it names. Nothing that was started is left.

use std::time::{Duration, Instant};

use super::check::{Attempt, FORM, Failure, Marking};
use super::data::{Exercise, ExerciseKind, SUBJECT};
use super::pace::Pace;
use super::pack::Lesson;
use super::place::Scratch;
use super::script::{Processes, Surroundings};
use super::seed::{StudentValues, fill, values};
use crate::error::Result;
use crate::exec::sweep;
use crate::teach::ledger::{Ledger, LedgerDifference, NewThing, Survey};
use crate::text::{text, text_with};

/// How long a process may take on a usual machine, from the end of the script until it is as the check expects.
const SETTLE: Duration = Duration::from_secs(15);

/// How long a script's processes run on a usual machine before a check, where it is not known what to wait for.
const START: Duration = Duration::from_millis(700);

/// One attempt of a trial.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrialStep {
    /// `untouched`, `solution`, or the name of a wrong answer.
    pub name: String,
    /// What is wrong. None: it is as it must be.
    pub wrong: Option<String>,
}

/// Tries an exercise with the values of one seed. Each attempt is reported when it has ended.
///
/// # Errors
/// A script cannot be executed, or a check cannot be made.
pub fn exercise(
    seed: &str,
    lesson: &Lesson,
    name: &str,
    exercise: &Exercise,
    pace: Pace,
    report: &mut dyn FnMut(TrialStep),
) -> Result<()> {
    let values = values(seed, lesson, name, exercise);
    let is_prediction = exercise.kind == ExerciseKind::Predict;
    let attempt_in = |scratch: &Scratch, script: Option<&str>, goal: &Goal<'_>| -> Result<Option<String>> {
        let mut attempt =
            Attempt { lesson, name, exercise, values: &values, directory: &scratch.work, answer: None, pace };
        attempt.add_files()?;
        scratch.add_material(&attempt)?;
        let surroundings =
            Surroundings { directory: &scratch.work, material: &scratch.material, values: &values };
        let processes = Processes::begin(pace)?;
        let end = script.map(|script| processes.run(script, &surroundings)).transpose()?;
        let output = end.as_ref().map(|end| end.output.trim().to_owned()).unwrap_or_default();
        let all = end.as_ref().map(|end| format!("{output}\n{}", end.errors.trim())).unwrap_or_default();
        if end.is_some_and(|end| end.is_late) {
            return Ok(Some(text_with("lesson.test.late", &[("output", &all)])));
        }
        if is_prediction && script.is_some() {
            attempt.answer = Some(&output);
        }
        let wrong = goal.await_it(&attempt)?.map(|wrong| format!("{wrong}\n{}", all.trim()));
        let left = processes.end();
        match left.is_empty() {
            true => Ok(wrong),
            false => Ok(Some(text_with("lesson.test.left", &[("pids", &format!("{left:?}"))]))),
        }
    };
    let mut step = |step: &str, script: Option<&str>, goal: &Goal<'_>| -> Result<()> {
        let wrong = attempt_in(&Scratch::new()?, script, goal)?;
        // A `sandbox` that was killed has left its cgroups.
        drop(sweep::sweep());
        report(TrialStep { name: step.to_owned(), wrong });
        Ok(())
    };
    step("untouched", None, &Goal::Fails(None))?;
    step("solution", Some(&exercise.solution), &Goal::Passes)?;
    for (name, wrong) in &exercise.wrong {
        // A wrong prediction is printed, as the right one is.
        let said = wrong.answer.as_ref().map(|answer| {
            let answer = fill(answer, &values);
            format!("printf '%s' {}", crate::value::shell::quote(answer))
        });
        let script =
            said.or_else(|| wrong.answer_run.clone()).or_else(|| wrong.run.clone()).unwrap_or_default();
        step(name, Some(&script), &Goal::Fails(Some(&wrong.fails)))?;
    }
    Ok(())
}

/// How long the kernel may take to remove what belonged to a namespace, after its last process has ended.
const REMOVAL: Duration = Duration::from_secs(5);

/// What a lesson has left on the machine, after its processes were ended: a line for each thing, with its holder.
pub fn left_since(before: &Ledger) -> Vec<String> {
    let started = Instant::now();
    loop {
        let difference = LedgerDifference::between(before, &Survey::take());
        let line = |thing: &NewThing| {
            let holder = thing.description.holder.iter().map(|holder| format!(" ({holder})"));
            format!("{}: {}{}", thing.kind.title(), thing.name, holder.collect::<String>())
        };
        let left: Vec<String> = difference.left_behind().map(line).collect();
        if left.is_empty() || started.elapsed() > REMOVAL {
            return left;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// What an attempt must lead to.
enum Goal<'a> {
    /// The exercise passes.
    Passes,
    /// It fails, with this message or with any.
    Fails(Option<&'a str>),
}

impl Goal<'_> {
    /// Checks again and again until the goal is reached. Returns what is wrong if it is not.
    fn await_it(&self, attempt: &Attempt<'_>) -> Result<Option<String>> {
        if let Goal::Fails(Some(SUBJECT)) = self {
            // At first, no process is there in any case.
            std::thread::sleep(attempt.pace.scaled(START));
        }
        let started = Instant::now();
        loop {
            let marking = attempt.counted(attempt.check())?;
            let wrong = match (self, &marking) {
                (Goal::Passes, Marking::Passed) => return Ok(None),
                (Goal::Fails(None), Marking::Failed(_)) => return Ok(None),
                (Goal::Fails(Some(wanted)), Marking::Failed(failure)) if failure.message == *wanted => {
                    return Ok(unfilled(attempt, &failure.message, &failure.values));
                }
                (Goal::Fails(_), Marking::Passed) => text("lesson.test.passes"),
                (_, Marking::Failed(failure)) => {
                    let message = message_of(attempt.lesson, "en", attempt.name, failure);
                    text_with("lesson.test.fails", &[("check", &failure.message), ("message", &message)])
                }
            };
            let is_settled =
                attempt.exercise.kind == ExerciseKind::Predict || matches!(self, Goal::Fails(None));
            if is_settled || started.elapsed() > attempt.pace.scaled(SETTLE) {
                return Ok(Some(wrong));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// A value in braces that a message has, and that is not known when the check fails.
fn unfilled(attempt: &Attempt<'_>, message: &str, values: &StudentValues) -> Option<String> {
    for language in attempt.lesson.texts.keys() {
        let exercises = attempt.lesson.texts[language].exercises().find(|known| known.name == attempt.name);
        let Some(passage) = exercises.and_then(|exercise| exercise.fails.get(message)) else { continue };
        let mut names = super::lint::placeholders(&passage.markdown).into_iter();
        if let Some(name) = names.find(|name| values.get(name).is_none_or(String::is_empty)) {
            return Some(text_with("lesson.test.value", &[("name", &name), ("check", message)]));
        }
    }
    None
}

/// The message of a failed check, in a language. It is for programs: the values are as they were seen.
pub fn message_of(lesson: &Lesson, language: &str, name: &str, failure: &Failure) -> String {
    match &failure.built_in {
        Some(message) => message.clone(),
        None => fill(&passage_of(lesson, language, name, failure), &failure.values),
    }
}

/// The message of a failed check as Markdown. What was seen or answered can be any text, and is no markup.
pub fn markdown_of(lesson: &Lesson, language: &str, name: &str, failure: &Failure) -> String {
    match &failure.built_in {
        // It has the answer as it was typed.
        Some(message) if failure.message == FORM => escaped(message, false),
        Some(message) => message.clone(),
        None => fill_seen(&passage_of(lesson, language, name, failure), &failure.values),
    }
}

/// What the lesson has for a failed check.
fn passage_of(lesson: &Lesson, language: &str, name: &str, failure: &Failure) -> String {
    let mut exercises = lesson.text(language).exercises();
    let passage = exercises
        .find(|exercise| exercise.name == name)
        .and_then(|exercise| exercise.fails.get(&failure.message));
    passage.map(|passage| passage.markdown.as_str()).unwrap_or(&failure.message).to_owned()
}

/// A passage with its values. Those that are no values of the student are escaped. A value of the student that is a number
/// or a plain word needs no escape, and can be in a block of code.
fn fill_seen(passage: &str, values: &StudentValues) -> String {
    let (mut out, mut rest, mut is_code) = (String::new(), passage, false);
    while let Some(at) = rest.find(['{', '`']) {
        out.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        let found = after.split_once('}').and_then(|(name, behind)| Some((name, values.get(name)?, behind)));
        rest = match found.filter(|_| rest[at..].starts_with('{')) {
            Some((name, value, behind)) => {
                let is_seen = super::lint::SEEN.contains(&name);
                out.push_str(&if is_seen { escaped(value, is_code) } else { value.clone() });
                behind
            }
            None => {
                is_code ^= rest[at..].starts_with('`');
                out.push_str(&rest[at..=at]);
                after
            }
        };
    }
    out + rest
}

/// A text as Markdown that shows just this text. In code, nothing is markup but a backtick.
fn escaped(text: &str, is_code: bool) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars().map(|character| if character.is_control() { ' ' } else { character }) {
        match character {
            '`' if is_code => out.push('\''),
            character => {
                if character.is_ascii_punctuation() && !is_code {
                    out.push('\\');
                }
                out.push(character);
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_seen_is_no_markup() {
        let value = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let values =
            StudentValues::from([value("answer", "**4** <b>`x`"), value("seen", "a`b"), value("n", "7")]);
        assert_eq!(
            fill_seen("You said {answer}. `{seen} {n}` is {other} {n}: `x` {seen}.", &values),
            "You said \\*\\*4\\*\\* \\<b\\>\\`x\\`. `a'b 7` is {other} 7: `x` a\\`b."
        );
        assert_eq!(escaped("4\n# x", false), "4 \\# x");
    }
}
