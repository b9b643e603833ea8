//! For authors: `sandbox lesson lint` and `sandbox lesson test`.

use clap::Args;

use super::lesson_named;
use crate::error::Result;
use crate::render;
use crate::teach::course::pack::Pack;
use crate::teach::course::trial;
use crate::text::text_with;

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
    #[arg(long, value_name = "SEED", default_value = "test")]
    seed: String,
}

/// A pack that was read has no mistake.
pub(super) fn lint(pack: &Pack) -> u8 {
    let lessons = pack.lessons.len().to_string();
    let exercises: usize = pack.lessons.iter().map(|lesson| lesson.data.exercises.len()).sum();
    let values = [("name", &*pack.head.name), ("lessons", &lessons), ("exercises", &exercises.to_string())];
    render::out(&(text_with("lesson.lint.good", &values) + "\n"));
    0
}

/// Tries the exercises of lessons. The status is 1 if one is not as it must be.
pub(super) fn test(pack: &Pack, test: &TestArgs) -> Result<u8> {
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
