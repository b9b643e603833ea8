//! The stages of a build at work: which ones are built, and by which thread.
//!
//!     a thread takes the first stage that nobody builds ──> builds its steps ──> needs another stage (FROM, COPY --from)
//!                                                                    nobody builds it: builds it first
//!                                                                    somebody builds it: waits
//!
//! A stage needs only stages before it. So the thread with the first stage never waits, and all others end too.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use super::engine::{BuildInputs, ImageBuilder, StepImage};
use super::options::{BuildEvent, BuildStop, BuildWatch};
use super::scope::BuildScope;
use super::stages::{self, ResolvedStage};
use crate::error::Result;
use crate::image::Tell;
use crate::image::store::StoredImage;
use crate::text::text;

/// The stages.
pub struct StageTable {
    /// What each stage begins with.
    pub(super) resolved: Vec<ResolvedStage>,
    /// The variables before the first `FROM`.
    pub(super) scope: BuildScope,
    slots: Mutex<Vec<StageSlot>>,
    changed: Condvar,
}

#[derive(Debug, Clone)]
enum StageSlot {
    Waiting,
    Building,
    Built(Box<StepImage>),
    Failed,
}

/// A stage that this thread builds. Without a result, it has failed.
struct TakenStage<'t> {
    table: &'t StageTable,
    number: usize,
    result: StageSlot,
}

impl Drop for TakenStage<'_> {
    fn drop(&mut self) {
        let result = std::mem::replace(&mut self.result, StageSlot::Failed);
        self.table.lock()[self.number] = result;
        self.table.changed.notify_all();
    }
}

impl StageTable {
    fn lock(&self) -> MutexGuard<'_, Vec<StageSlot>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives the target, which is built, another image.
    pub(super) fn replace(&self, number: usize, image: StepImage) {
        self.lock()[number] = StageSlot::Built(Box::new(image));
    }

    /// The image of a stage. It is built with `build`, unless another thread builds it or has built it.
    pub(super) fn image(
        &self,
        number: usize,
        build: impl FnOnce() -> std::result::Result<StepImage, BuildStop>,
    ) -> std::result::Result<StepImage, BuildStop> {
        let mut slots = self.lock();
        loop {
            match &slots[number] {
                StageSlot::Built(image) => return Ok((**image).clone()),
                StageSlot::Failed => return Err(BuildStop::Needed),
                StageSlot::Building => {
                    slots = self.changed.wait(slots).unwrap_or_else(PoisonError::into_inner);
                }
                StageSlot::Waiting => break,
            }
        }
        slots[number] = StageSlot::Building;
        drop(slots);
        let mut taken = TakenStage { table: self, number, result: StageSlot::Failed };
        let built = build()?;
        taken.result = StageSlot::Built(Box::new(built.clone()));
        Ok(built)
    }
}

/// Builds the target, and the stages that it needs. `at_once`: how many at the same time. Returns its image.
///
/// # Errors
/// A step fails. What was built before stays in the cache.
pub fn build(
    inputs: &BuildInputs<'_>,
    watch: &dyn BuildWatch,
    tell: Tell<'_>,
    at_once: usize,
) -> std::result::Result<StoredImage, BuildStop> {
    let dockerfile = inputs.dockerfile;
    let scope = global_scope(inputs)?;
    let (resolved, needed) = stages::resolve(inputs, &scope)?;
    let of_labels = usize::from(!inputs.options.labels.is_empty());
    let of_stages = |number: &usize| dockerfile.stages[*number].steps.len() + 1;
    let of_arguments = dockerfile.arguments.len();
    let steps = of_arguments + of_labels + needed.iter().map(of_stages).sum::<usize>();
    watch.event(0, BuildEvent::Steps(steps));
    // Docker counts and prints them too. Their values are known already.
    dockerfile.arguments.iter().for_each(|argument| watch.event(0, BuildEvent::Step(&argument.text)));
    let slots = Mutex::new(vec![StageSlot::Waiting; resolved.len()]);
    let table = StageTable { resolved, scope, slots, changed: Condvar::new() };
    let (next, failure) = (AtomicUsize::new(0), Mutex::new(None));
    let work = |tell: Tell<'_>| {
        loop {
            let turn = next.fetch_add(1, Ordering::SeqCst);
            let Some(number) = needed.get(turn) else { break };
            let mut builder = ImageBuilder::new(inputs, &table, (watch, turn), tell);
            let built = builder.stage(*number);
            let is_last = turn + 1 == needed.len();
            let built =
                built.and_then(|built| if is_last { builder.finish_target(*number, built) } else { Ok(()) });
            match built {
                Ok(()) => watch.event(turn, BuildEvent::StageEnded),
                Err(BuildStop::Needed) => break,
                // The first failure is the reason of all others.
                Err(stop) => {
                    let mut failure = failure.lock().unwrap_or_else(PoisonError::into_inner);
                    if failure.is_none() {
                        *failure = Some(stop);
                        watch.event(turn, BuildEvent::StageFailed);
                    }
                    inputs.stops.fail();
                    break;
                }
            }
        }
    };
    std::thread::scope(|threads| {
        for _ in 1..at_once.clamp(1, needed.len().max(1)) {
            threads.spawn(|| work(&|_, _| ()));
        }
        work(tell);
    });
    if let Some(stop) = failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
        return Err(stop);
    }
    let last = needed.last().copied().unwrap_or_default();
    let target = match &table.lock()[last] {
        StageSlot::Built(target) => target.image.clone(),
        _ => None,
    };
    target.ok_or_else(|| {
        let from = &dockerfile.stages[last].from;
        dockerfile.source.error(&from.span, text("build.scratch.empty")).into()
    })
}

/// The variables that are declared before the first `FROM`.
fn global_scope(inputs: &BuildInputs<'_>) -> Result<BuildScope> {
    let dockerfile = inputs.dockerfile;
    let mut scope = BuildScope::new(&inputs.options.arguments);
    for placed in &dockerfile.arguments {
        for argument in &placed.value {
            let source = (&dockerfile.source, dockerfile.directives.escape);
            let expand = |word: &str| super::scope::expand(source, placed, word, &|name| scope.global(name));
            let default = argument.default.as_deref().map(expand).transpose()?;
            inputs.use_argument(&argument.name);
            scope.declare_global(argument, default.map(|expanded| expanded.text));
        }
    }
    Ok(scope)
}
