//! `sandbox lesson ... --explain`: what the action reads, starts and writes, in order. It is printed before the action
//! itself, on standard error, so that a grade or a page on standard output stays as it is.

use std::path::Path;

use super::exercises::{CheckArgs, Chosen};
use super::{Course, LessonAction};
use crate::error::Result;
use crate::render::{self, paint};
use crate::teach::course::data::{ExerciseKind, SUBJECT, Sought};
use crate::teach::course::here;
use crate::teach::course::pack::Lesson;
use crate::teach::course::progress::FILE;
use crate::teach::course::seed::fill;
use crate::text::{printed, text, text_with, wrap};
use crate::value::shell::quote;

/// Prints the steps, each with its number.
pub(super) fn print(steps: &[String]) {
    let width = paint::width();
    let mut out = String::new();
    for (index, step) in steps.iter().enumerate() {
        let mut lines = wrap(step, width.saturating_sub(4)).into_iter();
        out.push_str(&format!("{:>2}  {}\n", index + 1, lines.next().unwrap_or_default()));
        lines.for_each(|line| out.push_str(&format!("    {line}\n")));
    }
    render::err(&(out + "\n"));
}

/// What every action does first.
pub(super) fn first(pack: Option<&Path>) -> Vec<String> {
    let lessons = match pack {
        Some(path) => text_with("lesson.explain.pack", &[("path", &printed(path))]),
        None => text("lesson.explain.shipped"),
    };
    vec![text("lesson.explain.sweep"), lessons]
}

/// What an action does that is for authors and teachers, and reads nothing of a learner.
pub(super) fn without_learner(action: &LessonAction, pack: Option<&Path>) -> Vec<String> {
    let mut steps = first(pack);
    match action {
        LessonAction::New(_) => {
            let path = pack.unwrap_or(Path::new("."));
            steps.pop();
            steps.push(text_with("lesson.explain.new", &[("path", &printed(path))]));
        }
        LessonAction::Lint => steps.push(text("lesson.explain.lint")),
        LessonAction::Test(_) => {
            let values = [("path", &*printed(std::env::temp_dir()))];
            steps.extend([
                text("lesson.explain.test.before"),
                text_with("lesson.explain.test.test", &values),
                text("lesson.explain.test.ends"),
                text("lesson.explain.test.after"),
            ]);
        }
        LessonAction::Export(export) if export.to == Path::new("-") => {}
        LessonAction::Export(export) => {
            let values = [("path", &*printed(&export.to))];
            steps.push(text_with("lesson.explain.export.look", &values));
            steps.push(text_with("lesson.explain.export", &values));
        }
        _ => {}
    }
    steps
}

impl Course {
    /// What an action of a learner does.
    ///
    /// # Errors
    /// No exercise has the name.
    pub(super) fn steps(&self, action: Option<&LessonAction>, pack: Option<&Path>) -> Result<Vec<String>> {
        let mut steps = first(pack);
        steps.push(self.about_progress("lesson.explain.progress"));
        match action {
            None | Some(LessonAction::Next | LessonAction::Lesson(_)) => {
                steps.extend(self.reading(None));
            }
            Some(LessonAction::Start { lesson, .. }) => {
                steps.extend(self.reading(lesson.as_deref().and_then(|name| self.pack.lesson(name))));
            }
            Some(LessonAction::Check(check)) => steps.extend(self.checking(check)?),
            Some(LessonAction::Answer { .. }) => steps.push(self.about_progress("lesson.explain.answer")),
            Some(LessonAction::Hint { .. }) => steps.push(self.about_progress("lesson.explain.hint")),
            Some(LessonAction::Solution { .. }) => steps.push(self.about_progress("lesson.explain.solution")),
            Some(LessonAction::Reset { lesson, .. }) => {
                let lessons = match lesson.as_deref().and_then(|name| self.pack.lesson(name)) {
                    Some(lesson) => vec![lesson],
                    None => self.pack.lessons.iter().collect(),
                };
                let with_files = lessons.into_iter().filter(|lesson| self.learner.work(lesson).exists());
                steps.extend(with_files.map(|lesson| {
                    let path = printed(self.learner.work(lesson));
                    text_with("lesson.explain.reset.files", &[("path", &path)])
                }));
                steps.push(self.about_progress("lesson.explain.reset"));
            }
            _ => {}
        }
        Ok(steps)
    }

    /// A message about the file of the learner's progress.
    fn about_progress(&self, key: &str) -> String {
        text_with(key, &[("path", &printed(self.learner.directory.join(FILE)))])
    }

    /// To read a lesson: the one that is given, or the one that the learner reads.
    fn reading(&self, lesson: Option<&Lesson>) -> Vec<String> {
        let current = self.current();
        let Some(lesson) = lesson.or(current).or(self.pack.lessons.first()) else { return Vec::new() };
        let exercises = || lesson.data.exercises.values();
        let mut files: Vec<&str> =
            exercises().flat_map(|exercise| &exercise.files).map(String::as_str).collect();
        files.sort_unstable();
        let mut steps = vec![self.about_progress("lesson.explain.read")];
        if !files.is_empty() {
            let path = printed(self.learner.work(lesson));
            steps.push(text_with("lesson.explain.files", &[("path", &path), ("files", &files.join(", "))]));
        }
        steps.extend(trying(lesson, &mut exercises().flat_map(|exercise| &exercise.programs)));
        steps.push(self.about_progress("lesson.explain.page"));
        steps
    }

    /// To check one exercise, or all.
    fn checking(&self, args: &CheckArgs) -> Result<Vec<String>> {
        if args.is_grade() {
            let values = [("path", &*printed(std::env::temp_dir()))];
            return Ok(vec![
                text_with("lesson.explain.grade", &values),
                self.about_progress("lesson.explain.grade.record"),
            ]);
        }
        let chosen = self.chosen("check", args.exercise())?;
        let mut steps = trying(&chosen.lesson, &mut chosen.data.programs.iter());
        steps.extend(match chosen.data.kind {
            ExerciseKind::Predict => vec![
                self.about_progress("lesson.explain.predict"),
                text_with("lesson.explain.measure", &[("path", &printed(std::env::temp_dir()))]),
            ],
            _ => facts(&chosen),
        });
        steps.push(self.about_progress("lesson.explain.record"));
        if args.is_watch() {
            steps.push(text("lesson.explain.watch"));
        }
        Ok(steps)
    }
}

/// The features that are tried, and the programs that are searched.
fn trying(lesson: &Lesson, programs: &mut dyn Iterator<Item = &String>) -> Vec<String> {
    let features: Vec<&str> = here::features_of(lesson).iter().map(|feature| feature.name()).collect();
    let mut programs: Vec<&str> = programs.map(String::as_str).collect();
    programs.sort_unstable();
    programs.dedup();
    let mut steps = Vec::new();
    if !features.is_empty() {
        steps.push(text_with("lesson.explain.features", &[("features", &features.join(", "))]));
    }
    if !programs.is_empty() {
        steps.push(text_with("lesson.explain.programs", &[("programs", &programs.join(", "))]));
    }
    steps
}

/// The processes that are searched, and the facts that are read.
fn facts(chosen: &Chosen) -> Vec<String> {
    let command = |sought: &Sought| {
        let line: Vec<String> =
            sought.process.iter().map(|argument| quote(fill(argument, &chosen.values))).collect();
        line.join(" ")
    };
    let sought = chosen.data.subject.iter().chain(chosen.data.others.values());
    let mut steps: Vec<String> =
        sought.map(|sought| text_with("lesson.explain.find", &[("command", &command(sought))])).collect();
    for check in &chosen.data.checks {
        let mut values = vec![("check", check.name.clone()), ("source", check.fact.source(&chosen.values))];
        values.push(("process", check.of.clone()));
        let mut key = if check.of == SUBJECT { "lesson.explain.fact" } else { "lesson.explain.fact.of" };
        if let Some(other) = check.expect.other() {
            values.push(("other", other.clone()));
            key = "lesson.explain.fact.both";
        }
        let values: Vec<(&str, &str)> = values.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let helper = if check.fact.needs_helper() { text("lesson.explain.helper") } else { String::new() };
        steps.push(format!("{} {helper}", text_with(key, &values)).trim_end().to_owned());
    }
    steps
}
