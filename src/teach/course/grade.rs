//! The grade of a learner: which exercises have passed, with their weights.

use schemars::JsonSchema;
use serde::Serialize;

use super::check::{Attempt, Marking};
use super::data::{Exercise, ExerciseKind};
use super::here::{Here, reasons};
use super::pace::Pace;
use super::pack::{Lesson, Pack};
use super::progress::{ExerciseProgress, Learner};
use super::trial::message_of;
use crate::error::Result;

/// The grade of a course.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Grade {
    /// The version of this format.
    pub format: u32,
    /// The name of the pack.
    pub pack: String,
    /// The seed of the learner's values.
    pub seed: String,
    /// By how much the times of measurements were multiplied on this machine.
    pub time_scale: f64,
    /// The sum of the scores.
    pub score: f64,
    /// The sum of the weights.
    pub max: f64,
    /// The exercises, in the order of the course.
    pub exercises: Vec<ExerciseGrade>,
}

impl Grade {
    /// The names of the exercises of a lesson that pass now.
    pub fn passing(&self, lesson: &Lesson) -> impl Iterator<Item = &str> {
        let of_lesson = self.exercises.iter().filter(|exercise| exercise.lesson == lesson.name);
        of_lesson.filter(|exercise| exercise.passed && !exercise.earlier).map(|exercise| &*exercise.exercise)
    }
}

/// The grade of one exercise.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct ExerciseGrade {
    /// The name of the lesson.
    pub lesson: String,
    /// The name of the exercise.
    pub exercise: String,
    /// The number of the exercise: `2.1`.
    pub number: String,
    /// Whether it has passed, now or before.
    pub passed: bool,
    /// Whether it passed before, and not now: its process has ended since.
    pub earlier: bool,
    /// The score.
    pub score: f64,
    /// The weight.
    pub max: f64,
    /// How often it was checked before it passed.
    pub tries: u32,
    /// How many hints were read.
    pub hints: usize,
    /// Whether the solution was read before it passed.
    pub saw_solution: bool,
    /// Why it cannot be done on this machine, or by this user. Then it has no weight.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cannot: Option<String>,
    /// The name of the check that failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
    /// Why it has not passed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// How a teacher grades.
#[derive(Debug, Clone, Copy)]
pub struct Grading<'a> {
    /// The language of the messages.
    pub language: &'a str,
    /// Whether the checks of an exercise that hold count in part.
    pub is_partial: bool,
    /// Whether only what passes now counts.
    pub is_live: bool,
    /// How long the checks may take.
    pub pace: Pace,
}

/// Grades the exercises of these lessons.
///
/// # Errors
/// A check cannot be made.
pub fn grade(pack: &Pack, lessons: &[Lesson], learner: &Learner, grading: Grading<'_>) -> Result<Grade> {
    let mut exercises = Vec::new();
    let mut here = Here::look();
    for lesson in lessons {
        for (place, text) in lesson.text(grading.language).exercises().enumerate() {
            if let Some(data) = lesson.data.exercises.get(&text.name) {
                let number = format!("{}.{}", lesson.number, place + 1);
                exercises.push(one(lesson, &text.name, data, number, learner, grading, &mut here)?);
            }
        }
    }
    Ok(Grade {
        format: 1,
        pack: pack.head.name.clone(),
        seed: learner.progress.seed.clone(),
        time_scale: grading.pace.factor(),
        score: rounded(exercises.iter().map(|exercise| exercise.score).sum()),
        max: exercises.iter().map(|exercise| exercise.max).sum(),
        exercises,
    })
}

fn one(
    lesson: &Lesson,
    name: &str,
    data: &Exercise,
    number: String,
    learner: &Learner,
    grading: Grading<'_>,
    here: &mut Here,
) -> Result<ExerciseGrade> {
    let (values, directory) = (learner.values(lesson, name, data), learner.work(lesson));
    let had_passed = learner.has_passed(lesson, name);
    let ExerciseProgress { answer, tries, hints, saw_solution, .. } = learner.exercise(lesson, name);
    let cannot = match had_passed && !grading.is_live {
        true => None,
        false => reasons(&here.obstacles(lesson, data)?),
    };
    if cannot.is_some() {
        return Ok(ExerciseGrade {
            lesson: lesson.name.clone(),
            exercise: name.to_owned(),
            number,
            passed: false,
            earlier: false,
            score: 0.0,
            max: 0.0,
            tries,
            hints,
            saw_solution,
            cannot,
            failed: None,
            message: None,
        });
    }
    let attempt = Attempt {
        lesson,
        name,
        exercise: data,
        values: &values,
        directory: &directory,
        answer: answer.as_deref(),
        pace: grading.pace,
    };
    // A prediction that has passed is not measured again, except for what passes now.
    let is_known = had_passed && data.kind == ExerciseKind::Predict && !grading.is_live;
    let marking = if is_known { Marking::Passed } else { attempt.counted(attempt.check())? };
    let passes_now = marking == Marking::Passed;
    let passed = passes_now || (had_passed && !grading.is_live);
    let max = f64::from(data.weight);
    let (mut score, mut failed, mut message) = (if passed { max } else { 0.0 }, None, None);
    if let (false, Marking::Failed(failure)) = (passed, &marking) {
        if grading.is_partial && failure.of > 0 {
            score = rounded(max * failure.held as f64 / failure.of as f64);
        }
        failed = Some(failure.message.clone());
        message = Some(message_of(lesson, grading.language, name, failure));
    }
    Ok(ExerciseGrade {
        lesson: lesson.name.clone(),
        exercise: name.to_owned(),
        number,
        passed,
        earlier: passed && !passes_now,
        score,
        max,
        tries,
        hints,
        saw_solution,
        cannot: None,
        failed,
        message,
    })
}

/// A score with two decimals.
fn rounded(score: f64) -> f64 {
    (score * 100.0).round() / 100.0
}
