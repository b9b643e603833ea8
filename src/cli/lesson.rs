//! `sandbox lesson`: the course.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::error::Result;
use crate::render;
use crate::render::paint::{Color, Stream, decide};
use crate::teach::course::pack::Pack;
use crate::text::text_with;

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
}

/// Performs the action.
pub(super) fn run(color: Color, args: &LessonArgs) -> Result<u8> {
    decide(color, Stream::Out);
    let pack = match &args.pack {
        Some(directory) => Pack::in_directory(directory)?,
        None => Pack::shipped()?,
    };
    match args.action {
        LessonAction::Lint => {
            let (lessons, exercises) = (
                pack.lessons.len().to_string(),
                pack.lessons.iter().map(|lesson| lesson.data.exercises.len()).sum::<usize>().to_string(),
            );
            let values = [("name", &*pack.head.name), ("lessons", &lessons), ("exercises", &exercises)];
            render::out(&(text_with("lesson.lint.good", &values) + "\n"));
        }
    }
    Ok(0)
}
