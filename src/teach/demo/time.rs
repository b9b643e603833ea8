//! What the time namespace shows.

use nix::errno::Errno;

use super::{Card, CardEntry, Stage, words};
use crate::error::{Error, Result};
use crate::feature::Feature::Time;
use crate::observe::Value;
use crate::plan::call::process::{Namespaces, ProcessCall};
use crate::plan::call::time::{Clock, OFFSETS, TimeCall};
use crate::teach::agent::Agent;
use crate::value::units::Offset;

pub(super) const CARDS: &[CardEntry] =
    &[("children", children), ("clocks", clocks), ("wall", wall), ("late", late)];

const LINK: &str = "/proc/self/ns/time";
const LINK_FOR_CHILDREN: &str = "/proc/self/ns/time_for_children";

/// What the demonstration shifts the clocks by, where no flag says another offset.
const BOOTTIME: Offset = Offset(10 * 86_400);
const MONOTONIC: Offset = Offset(3600);

/// How far two readings of one clock, one after the other, may lie apart: a busy machine, and a second's edge.
const SLACK: i64 = 5;

/// unshare moves the children to come, not the caller.
fn children(stage: &mut Stage<'_>) -> Result<Card> {
    let card = Card::new(Time, "children");
    let Some(caller) = caller(stage)? else { return Ok(card.skip("time.skip.kernel")) };
    let before = words(caller.link(LINK)?);
    let unshare = unshare();
    let answer = caller.perform(unshare.clone())?;
    let (own, promised) = (words(caller.link(LINK)?), words(caller.link(LINK_FOR_CHILDREN)?));
    let born = words(child_of(&caller)?.link(LINK)?);
    let holds = answer.is_ok() && own == before && own != promised && born == promised;
    Ok(card
        .call("CALLER", unshare, answer)
        .seen("CALLER", LINK, own)
        .seen("CALLER", LINK_FOR_CHILDREN, promised)
        .seen("CHILD", LINK, born)
        .holds(holds))
}

/// Two clocks are shifted, by what the offsets say.
fn clocks(stage: &mut Stage<'_>) -> Result<Card> {
    let card = Card::new(Time, "clocks");
    let Some((outside, inside, time)) = both(stage)? else { return Ok(card.skip("time.skip.kernel")) };
    let (boottime, monotonic) = ("clock_gettime(CLOCK_BOOTTIME)", "clock_gettime(CLOCK_MONOTONIC)");
    let outer = (clock(&outside, boottime)?, clock(&outside, monotonic)?);
    let inner = (clock(&inside, boottime)?, clock(&inside, monotonic)?);
    let is_shifted = |outer: &Value, inner: &Value, by: Option<Offset>| {
        let by = by.unwrap_or_default().0;
        difference(outer, inner).is_some_and(|apart| (by..=by + SLACK).contains(&apart))
    };
    let holds =
        is_shifted(&outer.0, &inner.0, time.boottime) && is_shifted(&outer.1, &inner.1, time.monotonic);
    Ok(card
        .outside(boottime, outer.0)
        .inside(boottime, inner.0)
        .outside(monotonic, outer.1)
        .inside(monotonic, inner.1)
        .holds(holds))
}

/// The wall clock isn't.
fn wall(stage: &mut Stage<'_>) -> Result<Card> {
    let card = Card::new(Time, "wall");
    let Some((outside, inside, _)) = both(stage)? else { return Ok(card.skip("time.skip.kernel")) };
    let realtime = "clock_gettime(CLOCK_REALTIME)";
    let (outer, inner) = (clock(&outside, realtime)?, clock(&inside, realtime)?);
    let holds = difference(&outer, &inner).is_some_and(|apart| (0..=SLACK).contains(&apart));
    Ok(card.inside(OFFSETS, offsets(&inside)?).outside(realtime, outer).inside(realtime, inner).holds(holds))
}

/// Once a process is in, the offsets are fixed.
fn late(stage: &mut Stage<'_>) -> Result<Card> {
    let card = Card::new(Time, "late");
    let Some(caller) = caller(stage)? else { return Ok(card.skip("time.skip.kernel")) };
    if let Err(errno) = caller.perform(unshare())? {
        return Err(Error::failed("time").call(unshare(), errno));
    }
    let write = |seconds| TimeCall::WriteOffset { clock: Clock::Boottime, seconds };
    let early = caller.perform(write(60))?;
    let child = child_of(&caller)?;
    let entered = words(child.link(LINK)?);
    let late = caller.perform(write(90))?;
    let kept = offsets(&child)?;
    let holds = early.is_ok() && late == Err(Errno::EACCES) && kept.contains("boottime 60 0");
    Ok(card
        .call("CALLER", write(60), early)
        .seen("CHILD", LINK, entered)
        // The errno's bare name: with its words the line wouldn't fit.
        .seen("CALLER", write(90), late.map_or_else(|errno| format!("-1 {errno:?}"), |n| n.to_string()))
        .seen("CHILD", OFFSETS, kept)
        .holds(holds))
}

/// A process that may make time namespaces. None where the kernel has no time namespaces: before Linux 5.6, or without CONFIG_TIME_NS.
fn caller(stage: &mut Stage<'_>) -> Result<Option<Agent>> {
    let agent = stage.caller(Time)?;
    Ok(agent.link(LINK)?.is_ok().then_some(agent))
}

fn child_of(caller: &Agent) -> Result<Agent> {
    match caller.spawn(&[])? {
        Ok((child, _)) => Ok(child),
        Err(errno) => Err(Error::failed("time").call("clone3({exit_signal=SIGCHLD}, 88)", errno)),
    }
}

/// A process outside and one with shifted clocks, and by what they are shifted. None as for [`caller`].
fn both(stage: &mut Stage<'_>) -> Result<Option<(Agent, Agent, crate::namespaces::time::Time)>> {
    let outside = stage.outside(Time)?;
    if outside.link(LINK)?.is_err() {
        return Ok(None);
    }
    let mut spec = stage.spec.clone();
    let time = spec.time.get_or_insert_default();
    if time.boottime.is_none() && time.monotonic.is_none() {
        (time.boottime, time.monotonic) = (Some(BOOTTIME), Some(MONOTONIC));
    }
    let time = time.clone();
    let inside = stage.start(&spec, Time)?;
    Ok(Some((outside, inside, time)))
}

fn unshare() -> ProcessCall {
    ProcessCall::Unshare { namespaces: Namespaces::of(&[Time]) }
}

/// A clock as the agent reads it.
fn clock(agent: &Agent, name: &str) -> Result<Value> {
    let seen = agent.look(Time)?.observations;
    let value = seen.into_iter().find(|observation| observation.path == name).map(|found| found.value);
    Ok(value.unwrap_or_else(|| Value::Not("no such clock".into())))
}

/// By how many seconds the second reading is ahead of the first.
fn difference(outer: &Value, inner: &Value) -> Option<i64> {
    let seconds = |value: &Value| match value {
        Value::Is(words) => words.strip_suffix(" s")?.parse::<i64>().ok(),
        _ => None,
    };
    Some(seconds(inner)? - seconds(outer)?)
}

/// The offsets' two lines as one.
fn offsets(agent: &Agent) -> Result<String> {
    let lines = agent.read(OFFSETS)?;
    Ok(words(lines.map(|lines| lines.trim_end().replace('\n', ", "))))
}
