//! Demonstrations of the pids controller: a limit on the number of processes in a cgroup.
//!
//! Without such a limit, one program that forks without end can use up all PIDs of the machine.

use nix::errno::Errno;

use super::limits::{cgroup_of, outcome, watch};
use super::plot::{Mark, Plot, Sample};
use super::{Card, CardEntry, Stage, answer_text, with_default_limits};
use crate::error::Result;
use crate::feature::Feature::Pids;
use crate::observe::cgroup::ProcessCgroup;
use crate::observe::hierarchy::Controller;
use crate::teach::agent::Progress;
use crate::teach::call::LoadCall;
use crate::text::{text, text_with};

pub(super) const CARDS: &[CardEntry] = &[("bomb", bomb), ("spared", spared)];

/// The limit if the user gives none.
pub(super) const LIMIT: u32 = 16;
/// How many processes the fork bomb tries to make.
const TRIED: usize = 48;

/// A fork bomb of 48 processes reaches the limit; fork(2) then fails with EAGAIN.
fn bomb(stage: &mut Stage<'_>) -> Result<Card> {
    let card = Card::new(Pids, "bomb");
    let spec = with_default_limits(Pids, stage.spec);
    let limit = spec.pids.as_ref().and_then(|pids| pids.max).unwrap_or(LIMIT);
    if limit as usize >= TRIED {
        return Ok(card.skip("pids.skip.large"));
    }
    let inside = stage.start(&spec, Pids)?;
    let cgroup = cgroup_of(&inside, Controller::Pids)?;
    let load = LoadCall::Fork { count: TRIED };
    let source = load.to_string();
    inside.begin(load)?;
    let mut plot = Plot::new(text("pids.picture.title"), text("pids.picture.unit"), Some(f64::from(limit)));
    plot.unit_of_one = Some(text("pids.picture.unit.one"));
    let name = text_with("pids.picture.bomb", &[("count", &TRIED.to_string())]);
    let lane = plot.lane(name, '#', text("pids.picture.process"));
    let refused = || cgroup.field(("pids.events", "max"), ("pids.events", "max")).unwrap_or(0);
    let mut highest = 0;
    let ends = watch(stage, &mut plot, &[&inside], |seconds, progress, plot| {
        let now = cgroup.number("pids.current", "pids.current").unwrap_or(0);
        let is_over = progress[0] != Progress::Works;
        // When the bomb ends, it kills its children, and pids.current falls. If a fork was refused, the limit was
        // reached.
        let now = if is_over && refused() > 0 { u64::from(limit) } else { now };
        highest = highest.max(now);
        let mark = (now >= u64::from(limit)).then_some(Mark::Limit);
        plot.push(lane, Sample { seconds, value: now as f64, mark });
        plot.lanes[lane].note = text_with("pids.picture.counts", &[("count", &refused().to_string())]);
    })?;
    let holds = ends[0] == Progress::Done(Err(Errno::EAGAIN)) && refused() > 0 && highest <= u64::from(limit);
    Ok(card
        .outside("<pids>/pids.max", limit_text(&cgroup))
        .inside(source, outcome(ends[0]))
        .outside("<pids>/pids.events", format!("max {}", refused()))
        .measured(plot)
        .in_cgroup(&cgroup)
        .with("max", limit)
        .with("tried", TRIED)
        .holds(holds))
}

/// A process outside of the cgroup can still fork.
fn spared(stage: &mut Stage<'_>) -> Result<Card> {
    let mut spec = stage.spec.clone();
    // The process itself already counts as one.
    spec.pids.get_or_insert_default().max = Some(1);
    let inside = stage.start(&spec, Pids)?;
    let outside = stage.outside(Pids)?;
    let fork = LoadCall::Fork { count: 1 };
    let refused = inside.perform(fork.clone())?;
    let answer = outside.perform(fork.clone())?;
    let cgroup = cgroup_of(&inside, Controller::Pids)?;
    Ok(Card::new(Pids, "spared")
        .in_cgroup(&cgroup)
        .outside("<pids>/pids.max", limit_text(&cgroup))
        .inside(fork.to_string(), answer_text(refused))
        .outside(fork.to_string(), answer_text(answer))
        .holds(refused == Err(Errno::EAGAIN) && answer.is_ok()))
}

/// The limit that the kernel reports.
fn limit_text(cgroup: &ProcessCgroup) -> String {
    cgroup.read("pids.max", "pids.max").unwrap_or_default().trim().to_owned()
}
