//! Mistakes with the memory controller.

use super::{Contrast, MistakeEntry};
use crate::config::spec::Spec;
use crate::error::Result;
use crate::feature::Feature::Memory;
use crate::observe::file;
use crate::observe::hierarchy::Controller;
use crate::plan::call::file::FileCall;
use crate::teach::agent::{Agent, Progress};
use crate::teach::call::LoadCall;
use crate::teach::demo::Stage;
use crate::teach::demo::limits::{cgroup_of, outcome, watch};
use crate::teach::demo::memory::{file, oom_file, oom_kills, usage};
use crate::teach::demo::plot::Plot;
use crate::value::units::Size;

pub(super) const MISTAKES: &[MistakeEntry] = &[("join-late", join_late), ("swap", swap)];

/// The memory limit.
const LIMIT: Size = Size(32 << 20);
/// How many MiB are allocated: more than the limit, but little for the machine.
const WORK: usize = 48;

/// Joining a cgroup only after the memory was allocated: pages stay charged to the cgroup in which they were allocated.
fn join_late(stage: &mut Stage<'_>) -> Result<Contrast> {
    let mut contrast = Contrast::new(Memory, "join-late");
    let work = LoadCall::Allocate { mib: WORK, keep: true };
    let source = format!("allocation of {WORK} MiB");
    let inside = stage.start(&limited(Some(Size(0))), Memory)?;
    let early = cgroup_of(&inside, Controller::Memory)?;
    let end = finish(stage, &inside, &work)?;
    contrast = contrast.right("INSIDE", &source, outcome(end)).right(
        "OUTSIDE",
        oom_file(&early),
        format!("oom_kill {}", oom_kills(&early)),
    );
    // The cgroup still exists after its process has ended. The late process joins it.
    let late = stage.outside(Memory)?;
    let end = finish(stage, &late, &work)?;
    let join =
        FileCall::Write { path: early.directory().join("cgroup.procs"), content: late.pid().to_string() };
    let joined = stage.outside(Memory)?.perform(join)?;
    let answer = match end {
        Progress::Done(Ok(_)) => format!("{WORK} MiB held"),
        other => outcome(other),
    };
    contrast = contrast
        .wrong("OUTSIDE", &source, answer)
        .wrong("OUTSIDE", "write(<memory>/cgroup.procs, <its pid>)", crate::teach::demo::answer_text(joined))
        .wrong(
            "OUTSIDE",
            file(&early, "memory.usage_in_bytes", "memory.current"),
            format!("{:.1} MiB", usage(&early)),
        )
        .wrong("INSIDE", "alive", if late.is_alive() { "yes" } else { "no" });
    Ok(contrast)
}

/// Limiting memory but not swap: pages above the limit are swapped out, and the process uses more than the limit.
fn swap(stage: &mut Stage<'_>) -> Result<Contrast> {
    let mut contrast = Contrast::new(Memory, "swap");
    let swaps = file::read_text("/proc/swaps").unwrap_or_default();
    if swaps.lines().count() < 2 {
        return Ok(contrast.skip("memory.skip.noswap"));
    }
    let work = LoadCall::Allocate { mib: WORK, keep: true };
    for (swap, is_right) in [(Some(Size(0)), true), (None, false)] {
        let inside = stage.start(&limited(swap), Memory)?;
        let own = cgroup_of(&inside, Controller::Memory)?;
        let end = finish(stage, &inside, &work)?;
        let swapped = own.field(("memory.stat", "swap"), ("", "")).or(own.number("", "memory.swap.current"));
        let swapped = format!("{:.0} MiB", crate::teach::demo::limits::mib(swapped));
        let answer =
            if matches!(end, Progress::Done(Ok(_))) { format!("{WORK} MiB held") } else { outcome(end) };
        contrast = contrast
            .showed(is_right, "INSIDE", format!("allocation of {WORK} MiB, limit {LIMIT}"), answer)
            .showed(is_right, "OUTSIDE", file(&own, "memory.stat, swap", "memory.swap.current"), swapped)
            .showed(is_right, "OUTSIDE", oom_file(&own), format!("oom_kill {}", oom_kills(&own)));
    }
    Ok(contrast)
}

/// A spec with the memory limit, and with this swap limit.
fn limited(swap: Option<Size>) -> Spec {
    let mut spec = Spec::default();
    let memory = spec.memory.get_or_insert_default();
    (memory.limit, memory.swap) = (Some(LIMIT), swap);
    spec
}

/// Has `worker` do the work, and waits for the result.
fn finish(stage: &mut Stage<'_>, worker: &Agent, work: &LoadCall) -> Result<Progress> {
    worker.begin(work.clone())?;
    let ends = watch(stage, &mut Plot::new(String::new(), "MiB", None), &[worker], |_, _, _| {})?;
    Ok(ends[0])
}
