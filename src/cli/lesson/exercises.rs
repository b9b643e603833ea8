//! The exercises of a learner: `check`, `hint` and `solution`.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use clap::Args;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::{Course, PaceArgs, ask, is_interactive};
use crate::error::{Error, ExitKind, Result};
use crate::exec::signals::Signals;
use crate::render::grade::ReportKind;
use crate::render::lesson as text_of;
use crate::render::{self, paint};
use crate::teach::course::advice::{text, text_with};
use crate::teach::course::check::{Attempt, FORM, Marking};
use crate::teach::course::data::{Exercise, ExerciseKind};
use crate::teach::course::grade::{self, ExerciseGrade, Grading};
use crate::teach::course::here::{Here, reasons};
use crate::teach::course::pace::Pace;
use crate::teach::course::pack::Lesson;
use crate::teach::course::seed::StudentValues;
use crate::teach::course::trial::markdown_of;
use crate::teach::course::{seed, text::ExerciseText};
use crate::value::nearest::nearest;

/// What is about one exercise, so not together with a grade.
const OF_ONE: [&str; 3] = ["exercise", "watch", "answer"];

/// The flags of `lesson check`.
#[derive(Debug, Args)]
#[group(skip)]
pub(super) struct CheckArgs {
    /// The exercise: a name or a number such as 2.1; the default is the first of the current lesson that has not passed
    #[arg(value_name = "EXERCISE")]
    exercise: Option<String>,
    /// Check once a second until it passes; Ctrl-C ends it
    #[arg(long, conflicts_with = "answer")]
    watch: bool,
    /// Grade all exercises: those of the course, or of the lesson that --lesson names
    #[arg(long, conflicts_with_all = OF_ONE)]
    all: bool,
    /// Only the exercises of this lesson; can be given several times
    #[arg(long, value_name = "LESSON", requires = "all", conflicts_with_all = OF_ONE)]
    lesson: Vec<String>,
    /// The format of the grade
    #[arg(long, value_name = "FORMAT", default_value = "text", requires = "all", conflicts_with_all = OF_ONE)]
    report: ReportKind,
    /// Give a part of the weight for the checks that hold
    #[arg(long, requires = "all", conflicts_with_all = OF_ONE)]
    partial: bool,
    /// Count only what passes now, not what has passed before
    #[arg(long, requires = "all", conflicts_with_all = OF_ONE)]
    live: bool,
    /// What the grade says about a failure
    #[arg(long, value_name = "DETAIL", default_value = "message", requires = "all", conflicts_with_all = OF_ONE)]
    detail: Detail,
    /// Stop after this time [default: 2 minutes for an exercise, 10 for all, multiplied by --time-scale; none with --watch]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..=86_400))]
    timeout: Option<u32>,
    #[command(flatten)]
    pace: PaceArgs,
    /// Your answer to a prediction
    #[arg(long, value_name = "ANSWER", allow_hyphen_values = true)]
    answer: Option<String>,
}

/// How long the check of one exercise may take on a usual machine, and that of all.
const TOTAL: Duration = Duration::from_secs(120);
const TOTAL_OF_ALL: Duration = Duration::from_secs(600);

impl CheckArgs {
    /// The exercise that is named.
    pub(super) fn exercise(&self) -> Option<&str> {
        self.exercise.as_deref()
    }

    /// Whether all exercises are graded.
    pub(super) fn is_grade(&self) -> bool {
        self.all
    }

    /// Whether it is checked until it passes.
    pub(super) fn is_watch(&self) -> bool {
        self.watch
    }

    /// How long everything may take.
    fn pace(&self, total: Duration) -> Pace {
        let pace = self.pace.pace();
        let given = self.timeout.map(|seconds| Duration::from_secs(seconds.into()));
        pace.ending_after(given.unwrap_or_else(|| pace.scaled(total)))
    }
}

/// What a grade says about a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Detail {
    /// Nothing.
    None,
    /// The name of the check.
    Name,
    /// The message of the check.
    Message,
}

/// An exercise of the course, with everything about it.
pub(super) struct Chosen {
    pub(super) lesson: Lesson,
    pub(super) text: ExerciseText,
    pub(super) data: Exercise,
    pub(super) values: StudentValues,
    pub(super) number: String,
}

impl Course {
    /// The exercise that a word means: a name of the current lesson or of any, `LESSON/NAME`, or `2.1`. Without a word,
    /// the first exercise of the current lesson that has not passed. `action` is the one that advised commands name.
    ///
    /// # Errors
    /// No exercise has the name, or several of other lessons have it.
    pub(super) fn chosen(&self, action: &str, word: Option<&str>) -> Result<Chosen> {
        let first = self.current().or(self.pack.lessons.first());
        let first = first.ok_or_else(|| Error::failed(text("lesson.nolessons")))?;
        let Some(word) = word else {
            let open = first
                .text(self.language)
                .exercises()
                .find(|exercise| !self.learner.has_passed(first, &exercise.name));
            return match open {
                Some(exercise) => self.known(first, exercise),
                None => Err(Error::failed(text_with("lesson.allpassed", &[("name", &first.name)]))
                    .paste("sandbox lesson next")),
            };
        };
        let all = || {
            let lessons = self.pack.lessons.iter();
            lessons.flat_map(|lesson| {
                lesson.text(self.language).exercises().map(move |exercise| (lesson, exercise))
            })
        };
        let is_full = |(lesson, exercise): &(&Lesson, &ExerciseText)| {
            word == lesson.number_of(&exercise.name) || word == format!("{}/{}", lesson.name, exercise.name)
        };
        let mut found: Vec<_> = all().filter(is_full).collect();
        if found.is_empty() {
            found = all().filter(|(_, exercise)| exercise.name == word).collect();
        }
        // In its lesson, a name is enough.
        if let Some(here) = found.iter().find(|(lesson, _)| lesson.name == first.name) {
            found = vec![*here];
        }
        match found[..] {
            [(lesson, exercise)] => self.known(lesson, exercise),
            [] => {
                let near = nearest(word, all().map(|(_, exercise)| exercise.name.as_str()));
                let error = Error::usage(text_with("lesson.exercise.unknown", &[("name", word)]));
                Err(match near {
                    Some(near) => error.paste(format!("sandbox lesson {action} {near}")),
                    None => error.paste("sandbox lesson list"),
                })
            }
            _ => {
                let full: Vec<(String, &str)> = found
                    .iter()
                    .map(|(lesson, exercise)| (lesson.number_of(&exercise.name), lesson.name.as_str()))
                    .collect();
                let all: Vec<String> =
                    full.iter().map(|(number, lesson)| format!("{number} ({lesson})")).collect();
                let values = [("name", word), ("all", &*all.join(", "))];
                let error = Error::usage(text_with("lesson.exercise.several", &values))
                    .why(text("lesson.exercise.several.reason"));
                Err(full.iter().fold(error, |error, (number, lesson)| {
                    let title = text_with("lesson.exercise.several.of", &[("lesson", lesson)]);
                    error.step(&title, format!("sandbox lesson {action} {number}"))
                }))
            }
        }
    }

    /// Everything about an exercise.
    pub(super) fn known(&self, lesson: &Lesson, exercise: &ExerciseText) -> Result<Chosen> {
        // A pack without this data is refused when it is read.
        let data = lesson.data.exercises.get(&exercise.name).cloned();
        let data = data.ok_or_else(|| Error::failed(text("lesson.nolessons")))?;
        let values = self.learner.values(lesson, &exercise.name, &data);
        let number = lesson.number_of(&exercise.name);
        Ok(Chosen { lesson: lesson.clone(), text: exercise.clone(), data, values, number })
    }

    pub(super) fn check(&mut self, args: &CheckArgs) -> Result<u8> {
        if args.all {
            return self.check_all(args);
        }
        let chosen = self.chosen("check", args.exercise.as_deref())?;
        if args.answer.is_some() && chosen.data.kind != ExerciseKind::Predict {
            return Err(Error::usage(text_with("lesson.noprediction", &[("name", &chosen.text.name)]))
                .paste(format!("sandbox lesson check {}", chosen.number)));
        }
        if args.answer.as_deref().is_some_and(|answer| answer.trim().is_empty()) {
            return Err(Error::usage(text("lesson.answer.empty"))
                .paste(format!("sandbox lesson check {} --answer 1", chosen.number)));
        }
        if args.watch {
            if chosen.data.kind == ExerciseKind::Predict {
                return Err(Error::usage(text_with("lesson.watch.predict", &[("name", &chosen.text.name)]))
                    .paste(format!("sandbox lesson check {} --answer 1", chosen.number)));
            }
            return self.watch(&chosen, args);
        }
        // Below the exercise of a page, the question is on the screen. Here it may be long ago.
        if chosen.data.kind == ExerciseKind::Predict && args.answer.is_none() && is_interactive() {
            let mut lines = vec![format!("{} {}", chosen.number, chosen.text.name)];
            lines.extend(text_of::passage(&chosen.text.task, &chosen.values, self.view()));
            print(&lines);
        }
        self.check_once(&chosen, args.answer.as_deref(), args.pace(TOTAL))
    }

    /// Grades exercises. The status is 1 if one has not passed.
    fn check_all(&mut self, args: &CheckArgs) -> Result<u8> {
        let mut lessons: Vec<Lesson> = Vec::new();
        for name in &args.lesson {
            let advised = |near: &str| format!("sandbox lesson check --all --lesson {near}");
            let lesson = super::lesson_named(&self.pack, name, advised)?;
            // A lesson that is named twice counts once.
            if lessons.iter().all(|known| known.number != lesson.number) {
                lessons.push(lesson.clone());
            }
        }
        if lessons.is_empty() {
            lessons.clone_from(&self.pack.lessons);
        }
        let (is_partial, is_live, pace) = (args.partial, args.live, args.pace(TOTAL_OF_ALL));
        let grading = Grading { language: self.language, is_partial, is_live, pace };
        let mut grade = grade::grade(&self.pack, &lessons, &self.learner, grading)?;
        let now: Vec<(&Lesson, String)> = lessons
            .iter()
            .flat_map(|lesson| grade.passing(lesson).map(move |name| (lesson, name.to_owned())))
            .filter(|(lesson, name)| !self.learner.has_passed(lesson, name))
            .collect();
        if !now.is_empty() {
            self.learner.change(|progress| {
                now.iter().for_each(|(lesson, name)| progress.record(lesson, name, true))
            })?;
        }
        for exercise in &mut grade.exercises {
            if args.detail != Detail::Message {
                exercise.message = None;
            }
            if args.detail == Detail::None {
                exercise.failed = None;
            }
        }
        render::out(&render::grade::text_of(&grade, args.report));
        let has_failed = |exercise: &ExerciseGrade| !exercise.passed && exercise.cannot.is_none();
        Ok(u8::from(grade.exercises.iter().any(has_failed)))
    }

    /// Checks an exercise and prints the result. The status is 1 if it has not passed.
    pub(super) fn check_once(&mut self, chosen: &Chosen, answer: Option<&str>, pace: Pace) -> Result<u8> {
        let why = reasons(&Here::look().obstacles(&chosen.lesson, &chosen.data)?);
        let is_obstructed = why.is_some();
        if let Some(why) = why {
            let obstacle = text_with("lesson.exercise.obstacle", &[("why", &why)]);
            print(&render::markdown::lines(&obstacle, self.view().look));
        }
        let name = &chosen.text.name;
        let mut answer = answer.map(str::to_owned);
        if chosen.data.kind == ExerciseKind::Predict && answer.is_none() && is_interactive() {
            answer = ask(&text("lesson.answer.ask")).filter(|answer| !answer.is_empty());
        }
        if answer.is_some() && is_interactive() {
            print(&[text("lesson.answer.measuring")]);
        }
        let marking = self.mark(chosen, answer.as_deref(), pace);
        // Without an answer, there was no try. A word in place of a number is a slip of the keyboard: an answer that was given before
        // stays. If the measurement fails, the answer was given.
        let is_form = matches!(&marking, Ok(Marking::Failed(failure)) if failure.message == FORM);
        let is_prediction = chosen.data.kind == ExerciseKind::Predict;
        if let Some(answer) = answer.as_ref().filter(|_| is_prediction && !is_form) {
            self.learner.change(|progress| {
                progress.exercise(&chosen.lesson, name).answer = Some(answer.clone());
            })?;
        }
        let marking = match marking {
            // Why it cannot be measured here has just been printed.
            Err(_) if is_obstructed => return Ok(1),
            marking => marking?,
        };
        let is_try = chosen.data.kind != ExerciseKind::Predict || answer.is_some() && !is_form;
        if is_try {
            let has_passed = marking == Marking::Passed;
            self.learner.change(|progress| progress.record(&chosen.lesson, name, has_passed))?;
        }
        self.print_marking(chosen, &marking);
        Ok(u8::from(marking != Marking::Passed))
    }

    fn mark(&self, chosen: &Chosen, answer: Option<&str>, pace: Pace) -> Result<Marking> {
        let directory = self.learner.work(&chosen.lesson);
        let attempt = Attempt {
            lesson: &chosen.lesson,
            name: &chosen.text.name,
            exercise: &chosen.data,
            values: &chosen.values,
            directory: &directory,
            answer,
            pace,
        };
        attempt.check()
    }

    fn print_marking(&self, chosen: &Chosen, marking: &Marking) {
        let (number, view) = (&chosen.number, self.view());
        let name = &chosen.text.name;
        let Marking::Failed(failure) = marking else {
            let passed = paint::good(&text("lesson.state.passed")).to_string();
            let mut lines = vec![format!("{number} {name}: {passed}")];
            lines.extend(text_of::passage(&chosen.text.passed, &chosen.values, view));
            if self.learner.has_done(&chosen.lesson) {
                lines.push(text_with("lesson.read.done", &[("name", &chosen.lesson.name)]));
            }
            return print(&lines);
        };
        let message = markdown_of(&chosen.lesson, self.language, name, failure);
        let not_yet = paint::different(&text("lesson.state.notyet")).to_string();
        let mut lines = vec![format!("{number} {name}: {not_yet}")];
        lines.extend(render::markdown::lines(&message, view.look));
        let (seen, count) = (self.learner.exercise(&chosen.lesson, name).hints, chosen.text.hints.len());
        // The measured value is the answer: it comes after the last hint, and nothing is left to hint at.
        if let (true, Some(measured)) = (seen >= count, failure.measured()) {
            // An answer of several words may have been measured as several lines.
            let words: Vec<&str> = measured.split_whitespace().collect();
            lines.push(text_with("lesson.answer.measured", &[("seen", &*words.join(" "))]));
            return print(&lines);
        }
        let key = if seen < count { "lesson.hint.next" } else { "lesson.solution.next" };
        let hints = [("next", &*(seen + 1).to_string()), ("count", &count.to_string()), ("number", number)];
        lines.push(text_with(key, &hints));
        print(&lines);
    }

    /// Checks once a second, and prints the result when it changes. Ctrl-C ends it: a check blocks signals, so they are
    /// read here.
    fn watch(&mut self, chosen: &Chosen, args: &CheckArgs) -> Result<u8> {
        let signals = Signals::block()?;
        let end = args.timeout.map(|seconds| Instant::now() + Duration::from_secs(seconds.into()));
        let mut last = None;
        loop {
            let marking = self.mark(chosen, None, args.pace.pace())?;
            if marking == Marking::Passed {
                self.learner.change(|progress| progress.record(&chosen.lesson, &chosen.text.name, true))?;
            }
            if last.as_ref() != Some(&marking) {
                self.print_marking(chosen, &marking);
                if last.is_none() && marking != Marking::Passed {
                    render::out(&(text("lesson.watch") + "\n"));
                }
            }
            if marking == Marking::Passed {
                return Ok(0);
            }
            last = Some(marking);
            // A signal makes the descriptor readable, and ends the wait.
            let _ = poll(&mut [PollFd::new(signals.as_fd(), PollFlags::POLLIN)], PollTimeout::from(1000_u16));
            let stopped = |status| {
                render::out(&format!(
                    "\n{}\n",
                    text_with("lesson.watch.end", &[("name", &chosen.text.name)])
                ));
                Ok(status)
            };
            if let Some(signal) = signals.next_end() {
                return stopped(ExitKind::Interrupted(signal.number).status());
            }
            if end.is_some_and(|end| Instant::now() >= end) {
                return stopped(1);
            }
        }
    }

    /// Prints the next hint.
    pub(super) fn hint(&mut self, word: Option<&str>) -> Result<u8> {
        let chosen = self.chosen("hint", word)?;
        self.print_hint(&chosen)?;
        Ok(0)
    }

    pub(super) fn print_hint(&mut self, chosen: &Chosen) -> Result<()> {
        let (name, count) = (&chosen.text.name, chosen.text.hints.len());
        let mut shown = 0;
        self.learner.change(|progress| {
            let exercise = progress.exercise(&chosen.lesson, name);
            exercise.hints = (exercise.hints + 1).min(count);
            shown = exercise.hints;
        })?;
        let values =
            [("next", &*shown.to_string()), ("count", &count.to_string()), ("number", &chosen.number)];
        let mut lines = vec![format!("{} {name}: {}", chosen.number, text_with("lesson.hint", &values))];
        if let Some(hint) = chosen.text.hints.get(shown.saturating_sub(1)) {
            lines.extend(text_of::passage(hint, &chosen.values, self.view()));
        }
        if shown == count {
            lines.push(text_with("lesson.solution.next", &values));
        }
        print(&lines);
        Ok(())
    }

    /// Prints the solution, after all hints.
    pub(super) fn solution(&mut self, word: Option<&str>, yes: bool) -> Result<u8> {
        let chosen = self.chosen("solution", word)?;
        let name = chosen.text.name.clone();
        let (seen, count) = (self.learner.exercise(&chosen.lesson, &name).hints, chosen.text.hints.len());
        if seen < count && !yes {
            let values = [("next", &*(seen + 1).to_string()), ("count", &count.to_string()), ("name", &name)];
            return Err(Error::usage(text_with("lesson.solution.hints", &values))
                .step(&text("lesson.solution.hints.read"), format!("sandbox lesson hint {}", chosen.number))
                .step(
                    &text("lesson.solution.hints.skip"),
                    format!("sandbox lesson solution {} --yes", chosen.number),
                ));
        }
        let has_passed = self.learner.has_passed(&chosen.lesson, &name);
        if !has_passed && !yes && is_interactive() {
            let answer = ask(&text("lesson.solution.question"));
            if !answer.is_some_and(|answer| answer.starts_with('y')) {
                return Ok(1);
            }
        }
        if !has_passed {
            self.learner.change(|progress| progress.exercise(&chosen.lesson, &name).saw_solution = true)?;
        }
        let directory = self.learner.work(&chosen.lesson);
        let attempt = Attempt {
            lesson: &chosen.lesson,
            name: &name,
            exercise: &chosen.data,
            values: &chosen.values,
            directory: &directory,
            answer: None,
            pace: Pace::default(),
        };
        let mut lines = vec![format!("{} {name}: {}", chosen.number, text("lesson.solution"))];
        let material = attempt.material_of(&chosen.data.solution);
        // The lines can be pasted: the files of the lesson are made, and the values are variables. A line of a file must
        // begin where it begins.
        if !material.is_empty() {
            lines.push("material=$(mktemp -d)".to_owned());
        }
        for (file, content) in &material {
            lines.push(format!("cat > \"$material/{file}\" <<'END'"));
            lines.extend(String::from_utf8_lossy(content).lines().map(str::to_owned));
            lines.push("END".to_owned());
        }
        let indent = if material.is_empty() { "   " } else { "" };
        for (name, value) in
            chosen.values.iter().filter(|(name, _)| chosen.data.solution.contains(name.as_str()))
        {
            lines.push(format!("{indent}{name}={}", crate::value::shell::quote(value)));
        }
        let script = seed::fill(&chosen.data.solution, &chosen.values);
        lines.extend(script.lines().map(|line| format!("{indent}{line}")));
        print(&lines);
        Ok(0)
    }
}

pub(super) fn print(lines: &[String]) {
    render::out(&lines.iter().map(|line| format!("{line}\n")).collect::<String>());
}
