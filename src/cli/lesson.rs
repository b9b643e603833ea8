//! `sandbox lesson`: the course.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::error::{Error, Result};
use crate::render;
use crate::render::paint::{Color, Stream, decide};
use crate::teach::course::pack::{Lesson, Pack};
use crate::teach::course::trial;
use crate::text::text_with;
use crate::value::nearest::nearest;

/// The arguments of `lesson`.
#[derive(Debug, Args)]
#[group(skip)]
pub(super) struct LessonArgs {
    /// Read the lessons from this directory, in place of the built-in ones
    #[arg(long, global = true, value_name = "DIR")]
    pack: Option<PathBuf>,
    #[command(subcommand)]
    action: LessonAction,
}

#[derive(Debug, Subcommand)]
enum LessonAction {
    /// Read all lessons and print every mistake with its file and line, for authors
    Lint,
    /// Try exercises, for authors: untouched they fail, solved they pass, and each wrong answer gets its own message
    Test(TestArgs),
}

/// The flags of `lesson test`.
#[derive(Debug, Args)]
#[group(skip)]
struct TestArgs {
    /// The names of lessons; the default is all
    #[arg(value_name = "LESSON")]
    lessons: Vec<String>,
    /// Only this exercise
    #[arg(long, value_name = "NAME")]
    exercise: Option<String>,
    /// The seed of the values of a student
    #[arg(long, value_name = "SEED", default_value = "test")]
    seed: String,
}

/// Performs the action.
pub(super) fn run(color: Color, args: &LessonArgs) -> Result<u8> {
    decide(color, Stream::Out);
    let pack = match &args.pack {
        Some(directory) => Pack::in_directory(directory)?,
        None => Pack::shipped()?,
    };
    match &args.action {
        LessonAction::Lint => {
            let (lessons, exercises) = (
                pack.lessons.len().to_string(),
                pack.lessons.iter().map(|lesson| lesson.data.exercises.len()).sum::<usize>().to_string(),
            );
            let values = [("name", &*pack.head.name), ("lessons", &lessons), ("exercises", &exercises)];
            render::out(&(text_with("lesson.lint.good", &values) + "\n"));
        }
        LessonAction::Test(test) => return try_all(&pack, test),
    }
    Ok(0)
}

/// The lesson of this name.
fn lesson_named<'a>(pack: &'a Pack, name: &str) -> Result<&'a Lesson> {
    pack.lesson(name).ok_or_else(|| {
        let names = || pack.lessons.iter().map(|lesson| lesson.name.as_str());
        let near = nearest(name, names());
        let error = Error::usage(text_with("lesson.unknown", &[("name", name)]));
        error.todo(near.map_or_else(|| names().collect::<Vec<_>>().join(", "), str::to_owned))
    })
}

/// Tries the exercises of lessons. The status is 1 if one is not as it must be.
fn try_all(pack: &Pack, test: &TestArgs) -> Result<u8> {
    let mut lessons = Vec::new();
    for name in &test.lessons {
        lessons.push(lesson_named(pack, name)?);
    }
    if lessons.is_empty() {
        lessons.extend(&pack.lessons);
    }
    let mut status = 0;
    for lesson in lessons {
        let texts = lesson.text("en").exercises().map(|exercise| exercise.name.as_str());
        for name in texts.filter(|name| test.exercise.as_deref().is_none_or(|wanted| wanted == *name)) {
            let Some(exercise) = lesson.data.exercises.get(name) else { continue };
            let title = format!("{} {name}", lesson.name);
            if let Some(obstacle) = trial::obstacle(lesson, exercise)? {
                render::out(&format!("skip  {title}: {obstacle}\n"));
                continue;
            }
            trial::exercise(&test.seed, lesson, name, exercise, &mut |step| match &step.wrong {
                None => render::out(&format!("ok    {title}: {}\n", step.name)),
                Some(wrong) => {
                    status = 1;
                    render::out(&format!("FAIL  {title}: {}\n", step.name));
                    wrong.lines().for_each(|line| render::out(&format!("      {line}\n")));
                }
            })?;
        }
    }
    Ok(status)
}
