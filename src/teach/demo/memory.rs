//! Demonstrations of the memory controller: a limit on the memory of a cgroup.
//!
//! At the limit the kernel first reclaims page cache. Anonymous memory cannot be reclaimed without swap. If reclaim
//! is not enough, the OOM killer kills a process of the cgroup. Processes of other cgroups are not affected.

use super::limits::{cgroup_of, file_on_disk, mib, outcome, watch};
use super::plot::{Mark, Plot, Sample};
use super::{Card, CardEntry, Stage, with_default_limits};
use crate::config::spec::Spec;
use crate::error::Result;
use crate::exec::Ended;
use crate::feature::Feature::Memory;
use crate::observe::cgroup::{self, ProcessCgroup};
use crate::observe::hierarchy::{Controller, Version};
use crate::observe::proc::{self, kibibytes};
use crate::teach::agent::{Agent, Progress};
use crate::teach::call::LoadCall;
use crate::text::{text, text_with};
use crate::value::units::Size;
use procfs::{FromRead, Meminfo};

pub(super) const CARDS: &[CardEntry] = &[("cache", cache), ("kill", kill), ("meminfo", meminfo)];

/// The limit if the user gives none.
pub(super) const LIMIT: Size = Size(32 << 20);
/// The largest limit that a demonstration fills.
const MAX_LIMIT: Size = Size(64 << 20);

/// Writes a file that is larger than the limit. Page cache can be reclaimed, so the process is not killed.
fn cache(stage: &mut Stage<'_>) -> Result<Card> {
    let card = Card::new(Memory, "cache");
    let (spec, limit) = limited(stage);
    if limit > MAX_LIMIT {
        return Ok(card.skip("memory.skip.large"));
    }
    let Some((path, _)) = file_on_disk(stage)? else { return Ok(card.skip("memory.skip.nodisk")) };
    let inside = stage.start(&spec, Memory)?;
    let cgroup = cgroup_of(&inside, Controller::Memory)?;
    let blocks = usize::try_from(limit.0 >> 20).unwrap_or(0) * 2;
    let load = LoadCall::Fill { path: path.clone(), block: 1024, blocks, direct: false, pause: 12 };
    inside.begin(load)?;
    let name = text_with("memory.picture.file", &[("mib", &blocks.to_string())]);
    let lane = (name, 'c', text("memory.picture.cache"));
    let (plot, end) = follow(stage, &inside, &cgroup, limit, lane)?;
    let is_alive = matches!(end, Progress::Done(Ok(_)));
    let (oom, (is_reached, counter)) = (oom_kills(&cgroup), limit_reached(&cgroup, limit));
    Ok(card
        .outside(file(&cgroup, "memory.limit_in_bytes", "memory.max"), limit_text(&cgroup))
        .inside(
            format!("write of {blocks} MiB to a file"),
            if is_alive { "done, alive".into() } else { outcome(end) },
        )
        .outside(file(&cgroup, "memory.max_usage_in_bytes", "memory.events"), counter)
        .outside(oom_file(&cgroup), format!("oom_kill {oom}"))
        .measured(plot)
        .in_cgroup(&cgroup)
        .with("limit", limit.0)
        .with("mib", blocks)
        .with("file", path.with_file_name("big").display())
        .holds(is_alive && oom == 0 && is_reached))
}

/// Allocates more anonymous memory than the limit. Without swap it cannot be reclaimed, so the OOM killer kills the
/// process.
fn kill(stage: &mut Stage<'_>) -> Result<Card> {
    let card = Card::new(Memory, "kill");
    let (spec, limit) = limited(stage);
    if limit > MAX_LIMIT {
        return Ok(card.skip("memory.skip.large"));
    }
    let inside = stage.start(&spec, Memory)?;
    let cgroup = cgroup_of(&inside, Controller::Memory)?;
    let wanted = usize::try_from(limit.0 >> 20).unwrap_or(0) * 2;
    inside.begin(LoadCall::Allocate { mib: wanted, keep: false })?;
    let name = text_with("memory.picture.allocate", &[("mib", &wanted.to_string())]);
    let lane = (name, 'a', text("memory.picture.anonymous"));
    let (plot, end) = follow(stage, &inside, &cgroup, limit, lane)?;
    let reached = plot.lanes[0].samples.iter().map(|sample| sample.value).fold(0.0, f64::max);
    let oom = oom_kills(&cgroup);
    let source = oom_file(&cgroup);
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
        .in_cgroup(&cgroup)
        .with("limit", limit.0)
        .with("mib", wanted)
        .holds(holds))
}

/// /proc/meminfo shows the memory of the whole machine, also inside: it knows no cgroup.
fn meminfo(stage: &mut Stage<'_>) -> Result<Card> {
    let (spec, limit) = limited(stage);
    let inside = stage.start(&spec, Memory)?;
    let cgroup = cgroup_of(&inside, Controller::Memory)?;
    let content = inside.read("/proc/meminfo")?.unwrap_or_default();
    let outside = proc::total_memory().value.to_string();
    let inner = Meminfo::from_read(content.as_bytes()).map(|memory| kibibytes(memory.mem_total));
    let inner = inner.unwrap_or_default();
    Ok(Card::new(Memory, "meminfo")
        .outside(file(&cgroup, "memory.limit_in_bytes", "memory.max"), limit_text(&cgroup))
        .outside("/proc/meminfo, MemTotal:", &outside)
        .inside("/proc/meminfo, MemTotal:", &inner)
        .in_cgroup(&cgroup)
        .with("limit", limit.0)
        .with("file", cgroup.name("memory.limit_in_bytes", "memory.max"))
        .holds(!inner.is_empty() && inner == outside))
}

/// The spec with a memory limit, and that limit.
fn limited(stage: &Stage<'_>) -> (Spec, Size) {
    let spec = with_default_limits(Memory, stage.spec);
    let limit = spec.memory.as_ref().and_then(|memory| memory.limit).unwrap_or(LIMIT);
    (spec, limit)
}

/// Draws the memory usage of a cgroup while one of its processes works.
fn follow(
    stage: &mut Stage<'_>,
    inside: &Agent,
    cgroup: &ProcessCgroup,
    limit: Size,
    (name, character, meaning): (String, char, String),
) -> Result<(Plot, Progress)> {
    let file = cgroup.name("memory.usage_in_bytes", "memory.current");
    let title = text_with("memory.picture.title", &[("file", file)]);
    let mut plot = Plot::new(title, "MiB", Some(mib(Some(limit.0))));
    let lane = plot.lane(name, character, meaning);
    let mut highest = 0.0_f64;
    let mut kills = 0;
    let ends = watch(stage, &mut plot, &[inside], |seconds, _, plot| {
        let used = usage(cgroup);
        highest = highest.max(used);
        let now = oom_kills(cgroup);
        let mark = if now > kills {
            Some(Mark::Killed)
        } else {
            (used >= mib(Some(limit.0)) * 0.99).then_some(Mark::Limit)
        };
        // A killed process frees its memory at once. So the highest usage before the kill is shown.
        let value = if mark == Some(Mark::Killed) { highest } else { used };
        if kills == 0 {
            plot.push(lane, Sample { seconds, value, mark });
        }
        kills = now;
        plot.lanes[lane].note = match cgroup.version() {
            Version::V1 => text_with(
                "memory.picture.counts.v1",
                &[("mib", &format!("{:.1}", highest_usage(cgroup))), ("kills", &now.to_string())],
            ),
            Version::V2 => text_with(
                "memory.picture.counts.v2",
                &[("hits", &limit_hits(cgroup).to_string()), ("kills", &now.to_string())],
            ),
        };
    })?;
    Ok((plot, ends[0]))
}

/// The limit that the kernel reports, in bytes and in a larger unit.
fn limit_text(cgroup: &ProcessCgroup) -> String {
    let limit = cgroup.read("memory.limit_in_bytes", "memory.max").unwrap_or_default().trim().to_owned();
    match limit.parse() {
        Ok(bytes) => format!("{limit} ({})", Size(bytes)),
        Err(_) => limit,
    }
}

/// The current memory usage of a cgroup in MiB.
pub(crate) fn usage(cgroup: &ProcessCgroup) -> f64 {
    mib(cgroup.number("memory.usage_in_bytes", "memory.current"))
}

/// Whether the cgroup has reached its limit, and the counter that shows it. For cgroup v1 this is not failcnt: if
/// memory plus swap has the same limit, the kernel checks that limit first and counts the failure there.
fn limit_reached(cgroup: &ProcessCgroup, limit: Size) -> (bool, String) {
    match cgroup.version() {
        Version::V1 => {
            let highest = highest_usage(cgroup);
            // Each CPU charges memory in batches, so the recorded maximum may be a little below the limit.
            (highest >= mib(Some(limit.0)) * 0.9, format!("{highest:.1} MiB"))
        }
        Version::V2 => {
            let hits = limit_hits(cgroup);
            (hits > 0, format!("max {hits}"))
        }
    }
}

/// The highest memory usage so far in MiB, as cgroup v1 records it.
fn highest_usage(cgroup: &ProcessCgroup) -> f64 {
    mib(cgroup.number("memory.max_usage_in_bytes", ""))
}

/// How often the usage was about to go over the limit, as cgroup v2 counts it.
fn limit_hits(cgroup: &ProcessCgroup) -> u64 {
    cgroup.field(("", ""), ("memory.events", "max")).unwrap_or(0)
}

/// How many processes of the cgroup the OOM killer has killed.
pub(crate) fn oom_kills(cgroup: &ProcessCgroup) -> u64 {
    cgroup::oom_kills(cgroup.directory())
}

/// The name of the file that counts these kills.
pub(crate) fn oom_file(cgroup: &ProcessCgroup) -> String {
    file(cgroup, "memory.oom_control", "memory.events")
}

/// The name of a file of the memory controller, for the evidence.
pub(crate) fn file(cgroup: &ProcessCgroup, v1: &str, v2: &str) -> String {
    format!("<memory>/{}", cgroup.name(v1, v2))
}
