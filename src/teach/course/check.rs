//! Checks an exercise: finds the process that the learner has made, and compares facts about it. Nothing is changed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use nix::errno::Errno;

use super::advice::{text, text_with};
use super::answer::{NumberBase, is_same, not_a_number};
use super::data::{Check, Exercise, ExerciseKind, SUBJECT, Sought};
use super::fact::{FactValue, Standpoint};
use super::pace::Pace;
use super::pack::Lesson;
use super::place::Scratch;
use super::predicate::{expected, holds};
use super::relatives::innermost;
use super::script::{Processes, Surroundings};
use super::seed::{StudentValues, fill};
use crate::error::{Error, ExitKind, Result};
use crate::observe::file;
use crate::observe::processes::pids;
use crate::teach::compare::Subject;
use crate::value::shell::quote;
use crate::value::typed::TypedCommand;

/// An exercise of one student.
#[derive(Debug)]
pub struct Attempt<'a> {
    /// The lesson.
    pub lesson: &'a Lesson,
    /// The name of the exercise.
    pub name: &'a str,
    /// Its data.
    pub exercise: &'a Exercise,
    /// The values of the student.
    pub values: &'a StudentValues,
    /// The work directory.
    pub directory: &'a Path,
    /// The answer to a prediction.
    pub answer: Option<&'a str>,
    /// How long it may take.
    pub pace: Pace,
}

/// The name of the failure of an answer that is no number, where a number is measured. Such an answer is no try.
pub const FORM: &str = "form";

/// The result of a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Marking {
    /// Every fact is as it must be.
    Passed,
    /// The first check that failed.
    Failed(Failure),
}

/// Why an exercise has not passed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The name of the message in the text of the lesson: that of the check.
    pub message: String,
    /// The message itself, where it is built in.
    pub built_in: Option<String>,
    /// How many checks hold, of those that a process must be made for.
    pub held: usize,
    /// How many such checks there are.
    pub of: usize,
    /// The values for the message: those of the student, and what was seen.
    pub values: StudentValues,
}

impl Failure {
    /// What was measured, if this is about the answer to a prediction.
    pub fn measured(&self) -> Option<&str> {
        self.values.get("answer").and(self.values.get("seen")).map(String::as_str)
    }
}

impl Attempt<'_> {
    /// Checks the exercise.
    ///
    /// # Errors
    /// A fact cannot be read for a reason that is not the learner's.
    pub fn check(&self) -> Result<Marking> {
        match self.exercise.kind {
            _ if self.pace.is_over() => Ok(self.failed("time", Some(text("lesson.time")), &[])),
            ExerciseKind::Predict => self.check_answer(),
            _ => self.check_process(),
        }
    }

    /// The result of a check that could not be made: a grade counts it as not passed, and goes on. A signal ends all.
    ///
    /// # Errors
    /// A signal interrupted the check.
    pub(super) fn counted(&self, checked: Result<Marking>) -> Result<Marking> {
        checked.or_else(|error| match error.kind {
            ExitKind::Interrupted(_) => Err(error),
            _ => {
                Ok(self.failed("error", Some(format!("{error}\n{}", error.reasons()).trim().to_owned()), &[]))
            }
        })
    }

    fn failed(&self, message: &str, built_in: Option<String>, more: &[(&str, String)]) -> Marking {
        let mut values = self.values.clone();
        values.extend(more.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
        Marking::Failed(Failure { message: message.to_owned(), built_in, held: 0, of: 0, values })
    }

    fn check_process(&self) -> Result<Marking> {
        let Some(sought) = &self.exercise.subject else { return Ok(Marking::Passed) };
        let subject = match self.find(sought)? {
            Ok(subject) => subject,
            Err(why) => return Ok(self.failed(SUBJECT, Some(why), &[])),
        };
        let mut others = BTreeMap::new();
        for (name, sought) in &self.exercise.others {
            match self.find(sought)? {
                Ok(process) => drop(others.insert(name.as_str(), process)),
                Err(why) => return Ok(self.failed(SUBJECT, Some(why), &[])),
            }
        }
        let shipped = self.files(true);
        let place = |name: &str| Standpoint {
            subject: if name == SUBJECT { Some(&subject) } else { others.get(name) },
            directory: self.directory,
            values: self.values,
            shipped: &shipped,
        };
        // Each check is made, because a grade can count those that hold.
        let (mut first, mut held) = (None, BTreeSet::new());
        for (index, check) in self.exercise.checks.iter().enumerate() {
            let seen = place(&check.of).read(&check.fact)?;
            let expect = place(&check.of).expectation(&check.fact, &check.expect);
            let other = expect.other().map(|name| place(name).read(&check.fact)).transpose()?;
            if holds(expect, &seen, other.as_ref(), self.values) {
                held.insert(index);
            } else if first.is_none() {
                let more = [
                    ("pid", subject.pid.to_string()),
                    ("comm", subject.name.clone()),
                    ("seen", shown(&seen)),
                    ("count", seen.items.len().to_string()),
                    ("expected", expected(expect, self.values)),
                    ("other", other.as_ref().map(shown).unwrap_or_default()),
                ];
                first = Some(self.failed(&check.name, None, &more));
            }
        }
        Ok(match first {
            _ if subject.has_ended() => self.failed(SUBJECT, Some(self.missing(sought)), &[]),
            Some(Marking::Failed(failure)) => {
                let earned = self.earned();
                let held = held.intersection(&earned).count();
                Marking::Failed(Failure { held, of: earned.len(), ..failure })
            }
            _ => Marking::Passed,
        })
    }

    /// The checks that something must be done for. The others hold for the checker too, and so for each process that is
    /// simply started.
    fn earned(&self) -> BTreeSet<usize> {
        let shipped = self.files(true);
        let place =
            Standpoint { subject: None, directory: self.directory, values: self.values, shipped: &shipped };
        let holds_for_checker = |check: &Check| {
            let seen = place.read(&check.fact).ok()?;
            let expect = place.expectation(&check.fact, &check.expect);
            let other = expect.other().map(|_| place.read(&check.fact)).transpose().ok()?;
            Some(holds(expect, &seen, other.as_ref(), self.values))
        };
        let checks = self.exercise.checks.iter().enumerate();
        checks.filter(|(_, check)| holds_for_checker(check) != Some(true)).map(|(index, _)| index).collect()
    }

    /// The arguments of a process, with the values of the student.
    fn arguments(&self, sought: &Sought) -> Vec<String> {
        sought.process.iter().map(|argument| fill(argument, self.values)).collect()
    }

    fn missing(&self, sought: &Sought) -> String {
        let line: Vec<String> = self.arguments(sought).iter().map(quote).collect();
        text_with("lesson.subject.none", &[("command", &line.join(" "))])
    }

    /// The one process with exactly these arguments; of a process and its descendants, the innermost. It can be in any PID
    /// namespace below that of the caller. A sentence says why there is none.
    fn find(&self, sought: &Sought) -> Result<std::result::Result<Subject, String>> {
        let arguments = self.arguments(sought);
        let wanted: Vec<u8> = arguments.iter().flat_map(|argument| argument.bytes().chain([0])).collect();
        let mut found: Vec<i32> = pids()
            .into_iter()
            .filter(|pid| file::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line == wanted))
            .collect();
        // Who may not read the links of a process cannot check it: it belongs to another user.
        let is_own = |pid: &i32| {
            let link = std::fs::read_link(format!("/proc/{pid}/ns/user"));
            link.is_ok_and(|_| true)
        };
        let is_refused = |pid: &i32| {
            let error = std::fs::read_link(format!("/proc/{pid}/ns/user")).err();
            error.and_then(|error| error.raw_os_error()) == Some(Errno::EACCES as i32)
        };
        let refused = found.iter().find(|pid| is_refused(pid)).copied();
        found.retain(is_own);
        // A program that forks and waits for its child: the child is the one that it made.
        if let Some(pid) = innermost(&found) {
            found = vec![pid];
        }
        Ok(match found[..] {
            [pid] => Subject::open(pid, &TypedCommand::of_this_process()).map_err(|_| self.missing(sought)),
            [] => Err(match refused {
                Some(pid) => text_with("lesson.subject.other", &[("pid", &pid.to_string())]),
                None => self.missing(sought),
            }),
            _ => {
                let pids: Vec<String> = found.iter().map(ToString::to_string).collect();
                let line: Vec<String> = arguments.iter().map(quote).collect();
                let values = [("command", &*line.join(" ")), ("pids", &pids.join(", "))];
                Err(text_with("lesson.subject.many", &values))
            }
        })
    }

    /// Compares the answer to a prediction with what is measured now.
    fn check_answer(&self) -> Result<Marking> {
        let Some(answer) = self.answer else {
            return Ok(self.failed(
                "answer",
                Some(text_with("lesson.answer.none", &[("number", &self.number())])),
                &[],
            ));
        };
        let measured = self.printed_by(self.exercise.measure.as_deref().unwrap_or_default())?;
        let base = if self.exercise.hexadecimal { NumberBase::Sixteen } else { NumberBase::Ten };
        if is_same(answer, &measured, base) {
            return Ok(Marking::Passed);
        }
        if let Some(why) = not_a_number(answer, &measured, base) {
            return Ok(self.failed(FORM, Some(why), &[]));
        }
        let mut message = "answer";
        for wrong in self.exercise.wrong.values() {
            let text = match (&wrong.answer, &wrong.answer_run) {
                (Some(text), _) => fill(text, self.values),
                (None, Some(script)) => self.printed_by(script)?,
                (None, None) => continue,
            };
            if is_same(&text, answer, base) {
                message = &wrong.fails;
                break;
            }
        }
        Ok(self.failed(message, None, &[("answer", answer.to_owned()), ("seen", measured)]))
    }

    /// Runs a script in a directory of its own, and ends what it started. Returns what it printed.
    fn printed_by(&self, script: &str) -> Result<String> {
        let scratch = Scratch::new()?;
        scratch.add_material(self)?;
        let surroundings =
            Surroundings { directory: &scratch.work, material: &scratch.material, values: self.values };
        let processes = Processes::begin(self.pace)?;
        let end = processes.run(script, &surroundings)?;
        let measured = end.output.trim().to_owned();
        if !end.is_late && !measured.is_empty() {
            return Ok(measured);
        }
        if self.pace.is_over() {
            return Err(Error::failed(text("lesson.time")));
        }
        let key = if end.is_late { "lesson.measure.late" } else { "lesson.measure" };
        let error = Error::failed(text_with(key, &[("number", &self.number())]));
        // On a full disk the script could write nothing, not even its errors.
        Err(match (end.errors.trim(), scratch.obstacle()) {
            ("", Some(cause)) => error.why(cause),
            ("", None) => error,
            (errors, _) => error.why(errors),
        })
    }

    /// The number of the exercise, which advised commands name.
    fn number(&self) -> String {
        self.lesson.number_of(self.name)
    }
}

/// A value in a message. A long one is cut.
fn shown(value: &FactValue) -> String {
    const MAX: usize = 200;
    let text = value.text();
    match (text.is_empty(), text.chars().count() > MAX) {
        (true, _) => text_with("lesson.nothing", &[]),
        (_, true) => text.chars().take(MAX).chain("...".chars()).collect(),
        _ => text,
    }
}
