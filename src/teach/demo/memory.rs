//! What the memory controller shows.

use super::limits::{file_on_disk, group, mib, outcome, watch};
use super::plot::{Mark, Plot, Sample};
use super::{Card, CardEntry, Stage, dressed};
use crate::config::spec::Spec;
use crate::error::Result;
use crate::exec::Ended;
use crate::feature::Feature::Memory;
use crate::observe::cgroup::{self, ProcessCgroup};
use crate::observe::hierarchy::{Controller, Version};
use crate::observe::proc::{self, kibibytes};
use crate::teach::agent::{Agent, Progress};
use crate::teach::call::LoadCall;
use crate::text::text_with;
use crate::value::units::Size;
use procfs::{FromRead, Meminfo};

pub(super) const CARDS: &[CardEntry] = &[("cache", cache), ("kill", kill), ("meminfo", meminfo)];

/// The limit, where no flag says another one; and the largest that a demonstration fills.
pub(super) const LIMIT: Size = Size(32 << 20);
const MOST: Size = Size(64 << 20);

/// A file larger than the limit: what can be taken back is.
fn cache(stage: &mut Stage<'_>) -> Result<Card> {
    let card = Card::new(Memory, "cache");
    let (spec, limit) = limited(stage);
    if limit > MOST {
        return Ok(card.skip("memory.skip.large"));
    }
    let Some((path, _)) = file_on_disk(stage)? else { return Ok(card.skip("memory.skip.nodisk")) };
    let inside = stage.start(&spec, Memory)?;
    let group = group(&inside, Controller::Memory)?;
    let blocks = usize::try_from(limit.0 >> 20).unwrap_or(0) * 2;
    let load = LoadCall::Fill { path: path.clone(), block: 1024, blocks, direct: false, pause: 12 };
    inside.begin(load)?;
    let (plot, end) = follow(stage, &inside, &group, limit, &format!("write a {blocks} MiB file"), 'c')?;
    let is_alive = matches!(end, Progress::Done(Ok(_)));
    let (oom, (is_met, words)) = (oom_kills(&group), met(&group, limit));
    Ok(card
        .outside(file(&group, "memory.limit_in_bytes", "memory.max"), set(&group))
        .inside(
            format!("write of {blocks} MiB to a file"),
            if is_alive { "done, alive".into() } else { outcome(end) },
        )
        .outside(file(&group, "memory.max_usage_in_bytes", "memory.events"), words)
        .outside(oom_file(&group), format!("oom_kill {oom}"))
        .measured(plot)
        .holds(is_alive && oom == 0 && is_met))
}

/// Anonymous memory larger than the limit: nothing can be taken back.
fn kill(stage: &mut Stage<'_>) -> Result<Card> {
    let card = Card::new(Memory, "kill");
    let (spec, limit) = limited(stage);
    if limit > MOST {
        return Ok(card.skip("memory.skip.large"));
    }
    let inside = stage.start(&spec, Memory)?;
    let group = group(&inside, Controller::Memory)?;
    let wanted = usize::try_from(limit.0 >> 20).unwrap_or(0) * 2;
    inside.begin(LoadCall::Allocate { mib: wanted, keep: false })?;
    let (plot, end) = follow(stage, &inside, &group, limit, &format!("allocate {wanted} MiB"), 'a')?;
    let reached = plot.lanes[0].samples.iter().map(|sample| sample.value).fold(0.0, f64::max);
    let oom = oom_kills(&group);
    let source = oom_file(&group);
    let ended = inside.end()?;
    let holds = end == Progress::Gone && ended == Ended::Killed(libc::SIGKILL) && oom == 1;
    Ok(card
        .inside(
            format!("allocation of {wanted} MiB"),
            text_with("memory.reached", &[("mib", &format!("{reached:.1}"))]),
        )
        .outside(source, format!("oom_kill {oom}"))
        .outside("wait4(2)", format!("{} = 128 + 9 (SIGKILL)", ended.status()))
        .measured(plot)
        .holds(holds))
}

/// The whole machine's memory is shown inside.
fn meminfo(stage: &mut Stage<'_>) -> Result<Card> {
    let (spec, _) = limited(stage);
    let inside = stage.start(&spec, Memory)?;
    let group = group(&inside, Controller::Memory)?;
    let words = inside.read("/proc/meminfo")?.unwrap_or_default();
    let outside = proc::total_memory().value.to_string();
    let inner = Meminfo::from_read(words.as_bytes()).map(|memory| kibibytes(memory.mem_total));
    let inner = inner.unwrap_or_default();
    Ok(Card::new(Memory, "meminfo")
        .outside(file(&group, "memory.limit_in_bytes", "memory.max"), set(&group))
        .outside("/proc/meminfo, MemTotal:", &outside)
        .inside("/proc/meminfo, MemTotal:", &inner)
        .holds(!inner.is_empty() && inner == outside))
}

/// The spec, and its limit.
fn limited(stage: &Stage<'_>) -> (Spec, Size) {
    let spec = dressed(Memory, stage.spec);
    let limit = spec.memory.as_ref().and_then(|memory| memory.limit).unwrap_or(LIMIT);
    (spec, limit)
}

/// Draws how a group fills while one of its processes works.
fn follow(
    stage: &mut Stage<'_>,
    inside: &Agent,
    group: &ProcessCgroup,
    limit: Size,
    name: &str,
    sign: char,
) -> Result<(Plot, Progress)> {
    let title = text_with("memory.plot", &[("file", group.name("memory.usage_in_bytes", "memory.current"))]);
    let mut plot = Plot::new(title, "MiB", Some(mib(Some(limit.0))));
    let lane = plot.lane(name, sign);
    let mut highest = 0.0_f64;
    let mut kills = 0;
    let ends = watch(stage, &mut plot, &[inside], |seconds, _, plot| {
        let used = usage(group);
        highest = highest.max(used);
        let now = oom_kills(group);
        let mark = if now > kills {
            Some(Mark::Killed)
        } else {
            (used >= mib(Some(limit.0)) * 0.99).then_some(Mark::Limit)
        };
        // At a kill all is given back at once: what counts is what had been reached.
        let value = if mark == Some(Mark::Killed) { highest } else { used };
        if kills == 0 {
            plot.push(lane, Sample { seconds, value, mark });
        }
        kills = now;
        plot.lanes[lane].note = format!("{}  oom_kill {now}", met(group, limit).1);
    })?;
    Ok((plot, ends[0]))
}

/// The limit, as the kernel has it.
fn set(group: &ProcessCgroup) -> String {
    group.read("memory.limit_in_bytes", "memory.max").unwrap_or_default().trim().to_owned()
}

pub(crate) fn usage(group: &ProcessCgroup) -> f64 {
    mib(group.number("memory.usage_in_bytes", "memory.current"))
}

/// That the group has been at its limit, in the kernel's words: v1's failcnt doesn't tell, where the sum of memory and swap
/// has the same limit and is asked first.
fn met(group: &ProcessCgroup, limit: Size) -> (bool, String) {
    match group.version() {
        Version::V1 => {
            let most = mib(group.number("memory.max_usage_in_bytes", ""));
            // A processor takes its charges by the batch, and what it holds back isn't used.
            (most >= mib(Some(limit.0)) * 0.9, format!("{most:.1} MiB"))
        }
        Version::V2 => {
            let hits = group.field(("", ""), ("memory.events", "max")).unwrap_or(0);
            (hits > 0, format!("max {hits}"))
        }
    }
}

pub(crate) fn oom_kills(group: &ProcessCgroup) -> u64 {
    cgroup::oom_kills(group.directory())
}

pub(crate) fn oom_file(group: &ProcessCgroup) -> String {
    file(group, "memory.oom_control", "memory.events")
}

pub(crate) fn file(group: &ProcessCgroup, v1: &str, v2: &str) -> String {
    format!("<memory>/{}", group.name(v1, v2))
}
