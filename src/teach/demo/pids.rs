//! What the pids controller shows.

use nix::errno::Errno;

use super::limits::{group, outcome, watch};
use super::plot::{Mark, Plot, Sample};
use super::{Card, CardEntry, Stage, answer_text, dressed};
use crate::error::Result;
use crate::feature::Feature::Pids;
use crate::observe::cgroup::ProcessCgroup;
use crate::observe::hierarchy::Controller;
use crate::teach::agent::Progress;
use crate::teach::call::LoadCall;

pub(super) const CARDS: &[CardEntry] = &[("bomb", bomb), ("spared", spared)];

/// The limit, where no flag says another one; and how many processes a demonstration tries to make.
pub(super) const LIMIT: u32 = 16;
const TRIED: usize = 48;

/// A bounded fork bomb meets the limit.
fn bomb(stage: &mut Stage<'_>) -> Result<Card> {
    let card = Card::new(Pids, "bomb");
    let spec = dressed(Pids, stage.spec);
    let limit = spec.pids.as_ref().and_then(|pids| pids.max).unwrap_or(LIMIT);
    if limit as usize >= TRIED {
        return Ok(card.skip("pids.skip.large"));
    }
    let inside = stage.start(&spec, Pids)?;
    let group = group(&inside, Controller::Pids)?;
    let load = LoadCall::Fork { most: TRIED };
    let source = load.to_string();
    inside.begin(load)?;
    let mut plot = Plot::new("pids.current", "processes", Some(f64::from(limit)));
    let lane = plot.lane("fork bomb", '#');
    let refused = || group.field(("pids.events", "max"), ("pids.events", "max")).unwrap_or(0);
    let mut most = 0;
    let ends = watch(stage, &mut plot, &[&inside], |seconds, progress, plot| {
        let now = group.number("pids.current", "pids.current").unwrap_or(0);
        let is_over = progress[0] != Progress::Works;
        // At its end the bomb takes its children away. That a fork was refused says where it had come to.
        let now = if is_over && refused() > 0 { u64::from(limit) } else { now };
        most = most.max(now);
        let mark = (now >= u64::from(limit)).then_some(Mark::Limit);
        plot.push(lane, Sample { seconds, value: now as f64, mark });
        plot.lanes[lane].note = format!("refused {}", refused());
    })?;
    let holds = ends[0] == Progress::Done(Err(Errno::EAGAIN)) && refused() > 0 && most <= u64::from(limit);
    Ok(card
        .outside("<pids>/pids.max", set(&group))
        .inside(source, outcome(ends[0]))
        .outside("<pids>/pids.events", format!("max {}", refused()))
        .measured(plot)
        .holds(holds))
}

/// Whoever is outside forks as before.
fn spared(stage: &mut Stage<'_>) -> Result<Card> {
    let mut spec = stage.spec.clone();
    // The process itself is one already.
    spec.pids.get_or_insert_default().max = Some(1);
    let inside = stage.start(&spec, Pids)?;
    let outside = stage.outside(Pids)?;
    let fork = LoadCall::Fork { most: 1 };
    let refused = inside.perform(fork.clone())?;
    let answer = outside.perform(fork.clone())?;
    Ok(Card::new(Pids, "spared")
        .outside("<pids>/pids.max", set(&group(&inside, Controller::Pids)?))
        .inside(fork.to_string(), answer_text(refused))
        .outside(fork.to_string(), answer_text(answer))
        .holds(refused == Err(Errno::EAGAIN) && answer.is_ok()))
}

/// The limit, as the kernel has it.
fn set(group: &ProcessCgroup) -> String {
    group.read("pids.max", "pids.max").unwrap_or_default().trim().to_owned()
}
