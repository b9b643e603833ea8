//! What the pid namespace shows.

use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::Signal as Name;

use super::{Card, CardEntry, Stage, answer_text, words};
use crate::config::spec::Spec;
use crate::error::{Error, Result};
use crate::feature::Feature::{self, Pid};
use crate::observe::Value;
use crate::observe::proc::status_of;
use crate::plan::call::process::{Namespaces, ProcessCall};
use crate::teach::agent::{Agent, Answer};
use crate::teach::call::SignalCall;

pub(super) const CARDS: &[CardEntry] = &[
    ("numbers", numbers),
    ("proc", proc),
    ("unsharer", unsharer),
    ("siblings", siblings),
    ("nesting", nesting),
    ("reach", reach),
    ("first", first),
    ("orphan", orphan),
    ("zombie", zombie),
    ("end", end),
];

/// Read by a process about itself, through the /proc of its own namespace.
const OWN_STATUS: &str = "/proc/self/status";
const LINK: &str = "/proc/self/ns/pid";
const LINK_FOR_CHILDREN: &str = "/proc/self/ns/pid_for_children";

/// A process 1 under its own /proc, whatever the flags: what --init and --no-mount-proc change, the mistakes show.
fn inside(stage: &mut Stage<'_>) -> Result<Agent> {
    stage.start(&Spec::of(Pid), Pid)
}

/// One process, a number on each side.
fn numbers(stage: &mut Stage<'_>) -> Result<Card> {
    let (outside, inside) = (stage.outside(Pid)?, inside(stage)?);
    let status = status_file(inside.pid());
    let (outer, inner) = (field(&outside, &status, "NSpid")?, field(&inside, OWN_STATUS, "NSpid")?);
    let holds =
        inner == "1" && outer.split(' ').collect::<Vec<_>>().ends_with(&[&inside.pid().to_string(), "1"]);
    Ok(Card::new(Pid, "numbers")
        .outside(of(&status, "NSpid"), outer)
        .inside(of(OWN_STATUS, "NSpid"), inner)
        .holds(holds))
}

/// A /proc that was mounted inside lists those inside.
fn proc(stage: &mut Stage<'_>) -> Result<Card> {
    let (outside, inside) = (stage.outside(Pid)?, inside(stage)?);
    let (outer, inner) = (listed(&outside)?, listed(&inside)?);
    let holds = match (&outer, &inner) {
        (Value::Count(outer, _), Value::Count(inner, _)) => outer > inner && *inner == 1,
        _ => false,
    };
    Ok(Card::new(Pid, "proc")
        .outside("/proc/[0-9]*", outer)
        .inside("/proc/[0-9]*", inner)
        .inside("/proc/self", words(inside.link("/proc/self")?))
        .holds(holds))
}

/// unshare moves the children to come, not the caller.
fn unsharer(stage: &mut Stage<'_>) -> Result<Card> {
    let caller = stage.caller(Pid)?;
    let before = words(caller.link(LINK)?);
    let unshare = ProcessCall::Unshare { namespaces: Namespaces::of(&[Pid]) };
    let answer = caller.perform(unshare.clone())?;
    let (child, _) = child_of(&caller, &[])?;
    let (own, promised) = (words(caller.link(LINK)?), words(caller.link(LINK_FOR_CHILDREN)?));
    // The /proc here is the caller's, so the child is asked for under the number that it has there.
    let numbers = field(&caller, &status_file(child.pid()), "NSpid")?;
    let holds = answer.is_ok() && own == before && own != promised && numbers.ends_with(" 1");
    Ok(Card::new(Pid, "unsharer")
        .call("CALLER", unshare, answer)
        .seen("CALLER", LINK, own)
        .seen("CALLER", LINK_FOR_CHILDREN, promised)
        .seen("CALLER", of(&status_file(child.pid()), "NSpid"), numbers)
        .holds(holds))
}

/// Two namespaces, a process 1 in each.
fn siblings(stage: &mut Stage<'_>) -> Result<Card> {
    let (one, two) = (inside(stage)?, inside(stage)?);
    let links = (words(one.link(LINK)?), words(two.link(LINK)?));
    let numbers = (field(&one, OWN_STATUS, "NSpid")?, field(&two, OWN_STATUS, "NSpid")?);
    let holds = links.0 != links.1 && numbers.0 == "1" && numbers.1 == "1";
    Ok(Card::new(Pid, "siblings")
        .seen("INSIDE", LINK, links.0)
        .seen("INSIDE", of(OWN_STATUS, "NSpid"), numbers.0)
        .seen("INSIDE 2", LINK, links.1)
        .seen("INSIDE 2", of(OWN_STATUS, "NSpid"), numbers.1)
        .holds(holds))
}

/// A namespace in a namespace: a number at each level, and each level sees those below.
fn nesting(stage: &mut Stage<'_>) -> Result<Card> {
    let (outside, inside) = (stage.outside(Pid)?, inside(stage)?);
    let (nested, between) = child_of(&inside, &[Pid])?;
    let (outer, inner) = (status_file(nested.pid()), status_file(between));
    let seen = (field(&outside, &outer, "NSpid")?, field(&inside, &inner, "NSpid")?);
    let links = (words(inside.link(LINK)?), words(nested.link(LINK)?));
    let holds = seen.0.ends_with(&format!("{} {} 1", nested.pid(), between))
        && seen.1 == format!("{between} 1")
        && links.0 != links.1;
    Ok(Card::new(Pid, "nesting")
        .outside(of(&outer, "NSpid"), seen.0)
        .inside(of(&inner, "NSpid"), seen.1)
        .inside(LINK, links.0)
        .seen("NESTED", LINK, links.1)
        .holds(holds))
}

/// Inside there is no number for what's outside; outside there is one for what's inside.
fn reach(stage: &mut Stage<'_>) -> Result<Card> {
    let (outside, inside) = (stage.outside(Pid)?, inside(stage)?);
    let ask = |pid| SignalCall::Kill { pid, signal: 0 };
    let (up, down) = (ask(outside.pid()), ask(inside.pid()));
    let answers = (inside.perform(up.clone())?, outside.perform(down.clone())?);
    Ok(Card::new(Pid, "reach")
        .call("INSIDE", up, answers.0)
        .call("OUTSIDE", down, answers.1)
        .holds(answers.0 == Err(Errno::ESRCH) && answers.1.is_ok()))
}

/// Process 1 is spared the signals from inside that it has no handler for, even KILL.
fn first(stage: &mut Stage<'_>) -> Result<Card> {
    let inside = inside(stage)?;
    // A blocked signal isn't dropped but waits: the mask has to be empty, as any program expects it.
    let _ = inside.perform(ProcessCall::DefaultSignals)?;
    let caught = field(&inside, OWN_STATUS, "SigCgt")?;
    let (child, _) = child_of(&inside, &[])?;
    let (term, kill) = (send(1, Name::SIGTERM), send(1, Name::SIGKILL));
    let answers = (child.perform(term.clone())?, child.perform(kill.clone())?);
    let state = until(&child, "/proc/1/status", "State", |state| state.starts_with('S'))?;
    let is_caught = u64::from_str_radix(&caught, 16).is_ok_and(|mask| mask & bit(Name::SIGTERM) != 0);
    Ok(Card::new(Pid, "first")
        .seen("PID 1", of(OWN_STATUS, "SigCgt"), caught)
        .call("PID 2", term, answers.0)
        .call("PID 2", kill, answers.1)
        .seen("PID 2", of("/proc/1/status", "State"), &state)
        .holds(answers.0.is_ok() && answers.1.is_ok() && !is_caught && inside.is_alive()))
}

/// Who loses its parent gets process 1 for one.
fn orphan(stage: &mut Stage<'_>) -> Result<Card> {
    let inside = inside(stage)?;
    let family = Descendants::of(&inside)?;
    let status = status_file(family.number);
    let before = field(&inside, &status, "PPid")?;
    let parent = family.parent;
    let (_grandchild, reaped) = family.orphan(&inside)?;
    let after = field(&inside, &status, "PPid")?;
    Ok(Card::new(Pid, "orphan")
        .inside(of(&status, "PPid"), &before)
        .inside(format!("wait4({parent})"), status_text(reaped))
        .inside(of(&status, "PPid"), &after)
        .holds(before == parent.to_string() && after == "1"))
}

/// What has ended stays, as a zombie, until its parent asks how: for orphans that is process 1's duty.
fn zombie(stage: &mut Stage<'_>) -> Result<Card> {
    let inside = inside(stage)?;
    let family = Descendants::of(&inside)?;
    let status = status_file(family.number);
    let number = family.number;
    let (grandchild, _) = family.orphan(&inside)?;
    grandchild.exit(7)?;
    let state = until(&inside, &status, "State", |state| state.starts_with('Z'))?;
    let reaped = inside.reap(number)?;
    let after = field(&inside, &status, "State")?;
    Ok(Card::new(Pid, "zombie")
        .inside(of(&status, "State"), &state)
        .inside(format!("wait4({number})"), status_text(reaped))
        .inside(&status, &after)
        .holds(state.starts_with('Z') && reaped == Ok(7) && after == "(ENOENT)"))
}

/// KILL from outside isn't spared, and with process 1 all others end.
fn end(stage: &mut Stage<'_>) -> Result<Card> {
    let (outside, inside) = (stage.outside(Pid)?, inside(stage)?);
    let (child, _) = child_of(&inside, &[])?;
    let (status, kill) = (status_file(child.pid()), send(inside.pid(), Name::SIGKILL));
    let before = until(&outside, &status, "State", |state| state.starts_with('S'))?;
    let answer = outside.perform(kill.clone())?;
    let ended = inside.wait()?;
    // Process 1 isn't reaped before the last of the others is.
    let after = field(&outside, &status, "State")?;
    Ok(Card::new(Pid, "end")
        .outside(of(&status, "State"), &before)
        .call("OUTSIDE", kill, answer)
        .outside(&status, &after)
        .holds(ended.status() == 137 && !before.starts_with('(') && after == "(ENOENT)"))
}

/// A child and a grandchild of process 1.
pub(crate) struct Descendants {
    child: Agent,
    grandchild: Agent,
    /// The child's number inside.
    pub(crate) parent: i32,
    /// The grandchild's number inside.
    pub(crate) number: i32,
}

impl Descendants {
    /// Has an agent make both.
    pub(crate) fn of(first: &Agent) -> Result<Descendants> {
        let (child, parent) = child_of(first, &[])?;
        let (grandchild, number) = child_of(&child, &[])?;
        // Agents are on a leash: this one is to survive its parent.
        let _ = grandchild.perform(SignalCall::ClearParentDeath)?;
        Ok(Descendants { child, grandchild, parent, number })
    }

    /// Has the child end, and its parent reap it, with what answer: the grandchild, which is then an orphan.
    pub(crate) fn orphan(self, parent: &Agent) -> Result<(Agent, Answer)> {
        self.child.exit(0)?;
        let reaped = parent.reap(self.parent)?;
        Ok((self.grandchild, reaped))
    }
}

/// A child in these new namespaces, and its number as its parent sees it.
pub(crate) fn child_of(parent: &Agent, namespaces: &[Feature]) -> Result<(Agent, i32)> {
    parent.spawn(namespaces)?.map_err(|errno| {
        let clone = ProcessCall::Clone {
            namespaces: Namespaces::of(namespaces),
            as_sibling: false,
            into_cgroup: false,
        };
        Error::failed("pid").call(clone, errno)
    })
}

/// How a reaped child ended.
fn status_text(reaped: Answer) -> String {
    reaped.map_or_else(|errno| answer_text(Err(errno)), |status| format!("status {status}"))
}

/// The call that sends a signal.
pub(crate) fn send(pid: i32, signal: Name) -> SignalCall {
    SignalCall::Kill { pid, signal: signal as i32 }
}

fn bit(signal: Name) -> u64 {
    1 << (signal as i32 - 1)
}

/// The status file of a process.
pub(crate) fn status_file(pid: i32) -> String {
    format!("/proc/{pid}/status")
}

/// A line of a file, named.
pub(crate) fn of(file: &str, line: &str) -> String {
    format!("{file}, {line}:")
}

/// A line of a status file as an agent reads it, or why it can't.
pub(crate) fn field(agent: &Agent, file: &str, line: &str) -> Result<String> {
    Ok(match agent.read(file)? {
        Ok(content) => words(Ok(status_of(&content, line).unwrap_or("(no such line)").to_owned())),
        Err(errno) => format!("({errno:?})"),
    })
}

/// The same, asked again until it is as wanted, a second at most: a process that ends takes a moment.
pub(crate) fn until(agent: &Agent, file: &str, line: &str, wanted: impl Fn(&str) -> bool) -> Result<String> {
    let mut seen = field(agent, file, line)?;
    for _ in 0..100 {
        if wanted(&seen) {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
        seen = field(agent, file, line)?;
    }
    Ok(seen)
}

/// How many processes an agent's /proc lists.
pub(crate) fn listed(agent: &Agent) -> Result<Value> {
    let seen = agent.look(Pid)?.observations.into_iter().find(|seen| seen.path == "/proc/[0-9]*");
    Ok(seen.map_or_else(|| Value::Not("no /proc".into()), |seen| seen.value))
}
