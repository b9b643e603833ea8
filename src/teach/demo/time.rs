//! Demonstrations of the time namespace: it shifts the clocks that count from boot.
//!
//! When a container moves to another machine, its monotonic clock must not jump. So CLOCK_MONOTONIC and
//! CLOCK_BOOTTIME have offsets in each namespace. CLOCK_REALTIME, the time of day, is the same everywhere.
//! time_namespaces(7)

use nix::errno::Errno;

use super::{Card, CardEntry, Stage, one_line};
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

/// The offset of CLOCK_BOOTTIME if the user gives none.
const BOOTTIME: Offset = Offset(10 * 86_400);
/// The offset of CLOCK_MONOTONIC if the user gives none.
const MONOTONIC: Offset = Offset(3600);

/// How many seconds two successive readings of a clock may differ: the machine may be busy, and seconds are rounded.
const TOLERANCE: i64 = 5;

/// unshare(2) moves only the children that are created later, not the caller.
fn children(stage: &mut Stage<'_>) -> Result<Card> {
    let card = Card::new(Time, "children");
    let Some(caller) = caller(stage)? else { return Ok(card.skip("time.skip.kernel")) };
    let before = one_line(caller.link(LINK)?);
    let unshare = unshare();
    let answer = caller.perform(unshare.clone())?;
    let (own, for_children) = (one_line(caller.link(LINK)?), one_line(caller.link(LINK_FOR_CHILDREN)?));
    let child_link = one_line(child_of(&caller)?.link(LINK)?);
    let holds = answer.is_ok() && own == before && own != for_children && child_link == for_children;
    Ok(card
        .call("CALLER", unshare, answer)
        .seen("CALLER", LINK, own)
        .seen("CALLER", LINK_FOR_CHILDREN, for_children)
        .seen("CHILD", LINK, child_link)
        .holds(holds))
}

/// Two clocks are shifted by the offsets.
fn clocks(stage: &mut Stage<'_>) -> Result<Card> {
    let card = Card::new(Time, "clocks");
    let Some((outside, inside, time)) = outside_and_inside(stage)? else {
        return Ok(card.skip("time.skip.kernel"));
    };
    let (boottime, monotonic) = ("clock_gettime(CLOCK_BOOTTIME)", "clock_gettime(CLOCK_MONOTONIC)");
    let outer = (clock(&outside, boottime)?, clock(&outside, monotonic)?);
    let inner = (clock(&inside, boottime)?, clock(&inside, monotonic)?);
    let is_shifted = |outer: &Value, inner: &Value, by: Option<Offset>| {
        let by = by.unwrap_or_default().0;
        difference(outer, inner).is_some_and(|seconds| (by..=by + TOLERANCE).contains(&seconds))
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

/// The wall clock is not shifted.
fn wall(stage: &mut Stage<'_>) -> Result<Card> {
    let card = Card::new(Time, "wall");
    let Some((outside, inside, _)) = outside_and_inside(stage)? else {
        return Ok(card.skip("time.skip.kernel"));
    };
    let realtime = "clock_gettime(CLOCK_REALTIME)";
    let (outer, inner) = (clock(&outside, realtime)?, clock(&inside, realtime)?);
    let holds = difference(&outer, &inner).is_some_and(|seconds| (0..=TOLERANCE).contains(&seconds));
    Ok(card.inside(OFFSETS, offsets(&inside)?).outside(realtime, outer).inside(realtime, inner).holds(holds))
}

/// The offsets cannot be changed after the first process has entered the namespace.
fn late(stage: &mut Stage<'_>) -> Result<Card> {
    let card = Card::new(Time, "late");
    let Some(caller) = caller(stage)? else { return Ok(card.skip("time.skip.kernel")) };
    if let Err(errno) = caller.perform(unshare())? {
        return Err(Error::failed("time").call(unshare(), errno));
    }
    let write = |seconds| TimeCall::WriteOffset { clock: Clock::Boottime, seconds };
    let early = caller.perform(write(60))?;
    let child = child_of(&caller)?;
    let entered = one_line(child.link(LINK)?);
    let late = caller.perform(write(90))?;
    let kept = offsets(&child)?;
    let holds = early.is_ok() && late == Err(Errno::EACCES) && kept.contains("boottime 60 0");
    Ok(card
        .call("CALLER", write(60), early)
        .seen("CHILD", LINK, entered)
        // Only the name of the errno: with its text the line would be too long.
        .seen("CALLER", write(90), late.map_or_else(|errno| format!("-1 {errno:?}"), |n| n.to_string()))
        .seen("CHILD", OFFSETS, kept)
        .holds(holds))
}

/// Starts a process that may create time namespaces. None if the kernel has no time namespaces: before Linux 5.6, or
/// without CONFIG_TIME_NS.
pub(crate) fn caller(stage: &mut Stage<'_>) -> Result<Option<Agent>> {
    let agent = stage.caller(Time)?;
    Ok(agent.link(LINK)?.is_ok().then_some(agent))
}

pub(crate) fn child_of(caller: &Agent) -> Result<Agent> {
    match caller.spawn(&[])? {
        Ok((child, _)) => Ok(child),
        Err(errno) => Err(Error::failed("time").call("clone3({exit_signal=SIGCHLD}, 88)", errno)),
    }
}

/// Starts a process outside and one with shifted clocks. Returns them and the offsets. None as for [`caller`].
fn outside_and_inside(
    stage: &mut Stage<'_>,
) -> Result<Option<(Agent, Agent, crate::namespaces::time::Time)>> {
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

pub(crate) fn unshare() -> ProcessCall {
    ProcessCall::Unshare { namespaces: Namespaces::of(&[Time]) }
}

/// The value of a clock that an agent reads.
fn clock(agent: &Agent, name: &str) -> Result<Value> {
    let seen = agent.look(Time)?.observations;
    let value = seen.into_iter().find(|observation| observation.path == name).map(|found| found.value);
    Ok(value.unwrap_or_else(|| Value::Not("no such clock".into())))
}

/// By how many seconds `inner` is ahead of `outer`.
fn difference(outer: &Value, inner: &Value) -> Option<i64> {
    let seconds = |value: &Value| match value {
        Value::Clock(clock) => Some(clock.seconds),
        _ => None,
    };
    Some(seconds(inner)? - seconds(outer)?)
}

/// The two lines of the offsets file, joined to one.
pub(crate) fn offsets(agent: &Agent) -> Result<String> {
    let lines = agent.read(OFFSETS)?;
    Ok(one_line(lines.map(|lines| lines.trim_end().replace('\n', ", "))))
}
