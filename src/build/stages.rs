//! The stages of a Dockerfile: what each begins with, and which ones the target needs.

use std::collections::BTreeSet;

use super::dockerfile::mount::RunMount;
use super::dockerfile::{Dockerfile, Instruction};
use super::engine::BuildInputs;
use super::scope::{BuildScope, expand};
use crate::error::Result;
use crate::text::{printed, text, text_with};

/// What a stage begins with, or what files are copied from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum StageBase {
    /// Nothing.
    Scratch,
    /// An earlier stage.
    Stage(usize),
    /// An image.
    Image(String),
}

/// A stage, resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ResolvedStage {
    /// What it begins with.
    pub base: StageBase,
    /// The platform that was asked for.
    pub platform: Option<String>,
}

/// Resolves the stages, and returns the numbers of those that the target needs, in their order; the target is the last one.
///
/// # Errors
/// There is no such target; a `FROM` is wrong.
pub(super) fn resolve(
    inputs: &BuildInputs<'_>,
    scope: &BuildScope,
) -> Result<(Vec<ResolvedStage>, Vec<usize>)> {
    let dockerfile = inputs.dockerfile;
    let source = (&dockerfile.source, dockerfile.directives.escape);
    let mut stages = Vec::new();
    for (number, stage) in dockerfile.stages.iter().enumerate() {
        let one = |word: &str| {
            expand(source, &stage.from, word, &|name| scope.global(name)).map(|expanded| expanded.text)
        };
        let image = one(&stage.from.value.image)?;
        if image.is_empty() {
            let values = [("image", &*printed(&stage.from.value.image))];
            let place = stage.from.place_of(&stage.from.value.image);
            return Err(dockerfile.source.error(&place, text_with("build.from.empty", &values)));
        }
        let base = match image.as_str() {
            "scratch" => StageBase::Scratch,
            name => earlier(dockerfile, number, name, false)
                .map_or_else(|| StageBase::Image(image.clone()), StageBase::Stage),
        };
        if let StageBase::Image(name) = &base
            && is_later(dockerfile, number, name)
            && inputs.is_id(name)
        {
            let place = stage.from.place_of(&stage.from.value.image);
            let values = [("stage", &*printed(name))];
            return Err(dockerfile.source.error(&place, text_with("build.from.later", &values)));
        }
        let platform = stage.from.value.platform.as_deref().map(one).transpose()?;
        stages.push(ResolvedStage { base, platform: platform.filter(|platform| !platform.is_empty()) });
    }
    let last = stages.len().saturating_sub(1);
    let target = match inputs.options.target.as_deref() {
        None => last,
        Some(name) => earlier(dockerfile, stages.len(), name, true).ok_or_else(|| {
            let values = [("target", &*printed(name))];
            dockerfile.source.whole(text_with("build.target", &values))
        })?,
    };
    let mut needed = BTreeSet::new();
    let mut left = vec![target];
    while let Some(number) = left.pop() {
        if !needed.insert(number) {
            continue;
        }
        let triggers = match &stages[number].base {
            StageBase::Stage(base) => {
                left.push(*base);
                Vec::new()
            }
            StageBase::Image(name) => inputs.triggers(name),
            StageBase::Scratch => Vec::new(),
        };
        let own = dockerfile.stages[number].steps.iter().map(|step| &step.value);
        for name in triggers.iter().chain(own).flat_map(sources_of) {
            left.extend(earlier(dockerfile, number, &name, true));
        }
    }
    Ok((stages, needed.into_iter().collect()))
}

/// What an instruction takes files from, besides the context.
fn sources_of(step: &Instruction) -> Vec<String> {
    match step {
        Instruction::Copy(files) | Instruction::Add(files) => files.from.iter().cloned().collect(),
        Instruction::Run(run) => run.mounts.iter().filter_map(|mount| RunMount::stage_of(mount)).collect(),
        _ => Vec::new(),
    }
}

/// Whether the stage itself or a later one has this name.
pub(super) fn is_later(dockerfile: &Dockerfile, number: usize, name: &str) -> bool {
    let name = name.to_lowercase();
    dockerfile.stages[number..].iter().any(|stage| stage.from.value.stage.as_deref() == Some(name.as_str()))
}

/// The stage before `number` that has this name, or, with `numbers`, this number. The last one of several has the name.
pub(super) fn earlier(dockerfile: &Dockerfile, number: usize, name: &str, numbers: bool) -> Option<usize> {
    let name = name.to_lowercase();
    let has_name = |(_, stage): &(usize, &super::dockerfile::BuildStage)| {
        stage.from.value.stage.as_deref() == Some(name.as_str())
    };
    let named = dockerfile.stages[..number].iter().enumerate().rev().find(has_name).map(|(at, _)| at);
    named.or_else(|| name.parse().ok().filter(|at| numbers && *at < number))
}

/// What `--from` means in a stage.
///
/// # Errors
/// It is the stage itself or a later one: a sentence.
pub(super) fn source_of(
    dockerfile: &Dockerfile,
    number: usize,
    from: &str,
) -> std::result::Result<StageBase, String> {
    if let Some(stage) = earlier(dockerfile, number, from, true) {
        return Ok(StageBase::Stage(stage));
    }
    let is_later = earlier(dockerfile, dockerfile.stages.len(), from, true).is_some();
    if is_later || from.parse::<usize>().is_ok() {
        return Err(text_with("build.copy.later", &[("stage", &printed(from))]));
    }
    if from == "scratch" {
        return Err(text("build.copy.scratch"));
    }
    Ok(StageBase::Image(from.to_owned()))
}
