//! For authors: `sandbox lesson lint` and `sandbox lesson test`.

use std::path::Path;

use clap::Args;
use clap::builder::NonEmptyStringValueParser;

use super::{PaceArgs, lesson_named};
use crate::error::Result;
use crate::render;
use crate::teach::course::here::{Here, reasons};
use crate::teach::course::pack::Pack;
use crate::teach::course::skeleton;
use crate::teach::course::trial;
use crate::teach::ledger::Survey;
use crate::text::{printed, text, text_with};
use crate::value::shell::quote;

/// The flags of `lesson test`.
#[derive(Debug, Args)]
#[group(skip)]
pub(super) struct TestArgs {
    /// The names of lessons; the default is all
    #[arg(value_name = "LESSON")]
    lessons: Vec<String>,
    /// Only this exercise
    #[arg(long, value_name = "NAME")]
    exercise: Option<String>,
    /// The seed of the values of a student
    #[arg(long, value_name = "SEED", default_value = "test", value_parser = NonEmptyStringValueParser::new())]
    seed: String,
    #[command(flatten)]
    pace: PaceArgs,
}

/// The flags of `lesson new`.
#[derive(Debug, Args)]
#[group(skip)]
pub(super) struct NewArgs {
    /// The name, which learners type: lowercase letters, digits and hyphens
    #[arg(value_name = "NAME")]
    name: String,
    /// The title; the default is the name
    #[arg(long, value_name = "TITLE")]
    title: Option<String>,
}

/// Writes the skeleton of a lesson, and prints what was written and what to run next.
pub(super) fn create(pack: Option<&Path>, new: &NewArgs) -> Result<u8> {
    let root = pack.unwrap_or(Path::new("."));
    let written = skeleton::create(root, &new.name, new.title.as_deref())?;
    for path in written {
        render::out(&format!("{}\n", printed(path)));
    }
    let (pack, name) = (quote(root), &new.name);
    let commands = [
        format!("sandbox lesson lint --pack {pack}"),
        format!("sandbox lesson test --pack {pack} {name}"),
        format!("sandbox lesson start --pack {pack} {name}"),
    ];
    render::out(&(text("lesson.new.next") + "\n"));
    commands.iter().for_each(|command| render::out(&format!("   {command}\n")));
    Ok(0)
}

/// A pack that was read has no mistake.
pub(super) fn lint(pack: &Pack, root: Option<&Path>) -> u8 {
    let lessons = pack.lessons.len().to_string();
    let exercises: usize = pack.lessons.iter().map(|lesson| lesson.data.exercises.len()).sum();
    // Two packs can have one name. The directory shows which one was read.
    let name = root.map_or_else(|| pack.head.name.clone(), printed);
    let values = [("name", &*name), ("lessons", &lessons), ("exercises", &exercises.to_string())];
    render::out(&(text_with("lesson.lint.good", &values) + "\n"));
    0
}

/// Tries the exercises of lessons. The status is 1 if one is not as it must be.
pub(super) fn test(pack: &Pack, test: &TestArgs) -> Result<u8> {
    let mut lessons = Vec::new();
    for name in &test.lessons {
        lessons.push(lesson_named(pack, name, |near| format!("sandbox lesson test {near}"))?);
    }
    if lessons.is_empty() {
        lessons.extend(&pack.lessons);
    }
    let pace = test.pace.pace();
    render::out(&(text_with("lesson.test.scale", &[("factor", &pace.factor().to_string())]) + "\n"));
    let (mut status, mut here) = (0, Here::look());
    for lesson in lessons {
        let before = Survey::take().ledger;
        let texts = lesson.text("en").exercises().map(|exercise| exercise.name.as_str());
        for name in texts.filter(|name| test.exercise.as_deref().is_none_or(|wanted| wanted == *name)) {
            let Some(exercise) = lesson.data.exercises.get(name) else { continue };
            let title = format!("{} {name}", lesson.name);
            if let Some(obstacle) = reasons(&here.obstacles(lesson, exercise)?) {
                render::out(&format!("skip  {title}: {obstacle}\n"));
                continue;
            }
            trial::exercise(&test.seed, lesson, name, exercise, pace, &mut |step| match &step.wrong {
                None => render::out(&format!("ok    {title}: {}\n", step.name)),
                Some(wrong) => {
                    status = 1;
                    render::out(&format!("FAIL  {title}: {}\n", step.name));
                    wrong.lines().for_each(|line| render::out(&format!("      {line}\n")));
                }
            })?;
        }
        let left = trial::left_since(&before);
        if !left.is_empty() {
            status = 1;
            render::out(&format!("FAIL  {}: {}\n", lesson.name, text("lesson.test.things")));
            left.iter().for_each(|thing| render::out(&format!("      {thing}\n")));
        }
    }
    Ok(status)
}
