//! Demonstrations of the pid namespace: a process in it has another PID than outside, and sees no process outside.
//!
//! The first process of a new pid namespace has PID 1. It has special duties: it becomes the parent of orphans, it must
//! reap them, and when it ends the kernel kills all other processes of the namespace. pid_namespaces(7)

use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::Signal;

use super::{Card, CardEntry, Stage, answer_text, one_line};
use crate::config::spec::Spec;
use crate::error::{Error, Result};
use crate::feature::Feature::{self, Pid};
use crate::observe::Value;
use crate::observe::proc::status_of;
use crate::plan::call::process::{Namespaces, ProcessCall};
use crate::teach::agent::{Agent, Answer};
use crate::teach::call::SignalCall;
use crate::text::text;

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

/// The status file of the process that reads it.
const OWN_STATUS: &str = "/proc/self/status";
const LINK: &str = "/proc/self/ns/pid";
const LINK_FOR_CHILDREN: &str = "/proc/self/ns/pid_for_children";

/// Starts a process 1 with a new /proc. The user's flags are ignored: the mistakes show what --init and
/// --no-mount-proc change.
fn inside(stage: &mut Stage<'_>) -> Result<Agent> {
    stage.start(&Spec::of(Pid), Pid)
}

/// The same process has one PID outside and another inside.
fn numbers(stage: &mut Stage<'_>) -> Result<Card> {
    let (outside, inside) = (stage.outside(Pid)?, inside(stage)?);
    let status = status_file(inside.pid());
    let (outer, inner) = (field(&outside, &status, "NSpid")?, field(&inside, OWN_STATUS, "NSpid")?);
    let holds =
        inner == "1" && outer.split(' ').collect::<Vec<_>>().ends_with(&[&inside.pid().to_string(), "1"]);
    Ok(Card::new(Pid, "numbers")
        .outside(line_of(&status, "NSpid"), outer)
        .inside(line_of(OWN_STATUS, "NSpid"), inner)
        .holds(holds))
}

/// A /proc that is mounted inside lists only the processes inside.
fn proc(stage: &mut Stage<'_>) -> Result<Card> {
    let (outside, inside) = (stage.outside(Pid)?, inside(stage)?);
    let (outer, inner) = (process_count(&outside)?, process_count(&inside)?);
    let holds = match (&outer, &inner) {
        (Value::List(outer), Value::List(inner)) => outer.count > inner.count && inner.count == 1,
        _ => false,
    };
    Ok(Card::new(Pid, "proc")
        .outside("/proc/[0-9]*", outer)
        .inside("/proc/[0-9]*", inner)
        .inside("/proc/self", one_line(inside.link("/proc/self")?))
        .holds(holds))
}

/// unshare(2) moves only the children that are created later, not the caller.
fn unsharer(stage: &mut Stage<'_>) -> Result<Card> {
    let caller = stage.caller(Pid)?;
    let before = one_line(caller.link(LINK)?);
    let unshare = ProcessCall::Unshare { namespaces: Namespaces::of(&[Pid]) };
    let answer = caller.perform(unshare.clone())?;
    let (child, _) = child_of(&caller, &[])?;
    stage.name_process(child.pid(), text("pid.who.child"));
    let (own, for_children) = (one_line(caller.link(LINK)?), one_line(caller.link(LINK_FOR_CHILDREN)?));
    // The caller's /proc belongs to the outer namespace, so it lists the child under its PID in that namespace.
    let pids = field(&caller, &status_file(child.pid()), "NSpid")?;
    let holds = answer.is_ok() && own == before && own != for_children && pids.ends_with(" 1");
    Ok(Card::new(Pid, "unsharer")
        .call("CALLER", unshare, answer)
        .seen("CALLER", LINK, own)
        .seen("CALLER", LINK_FOR_CHILDREN, for_children)
        .seen("CALLER", line_of(&status_file(child.pid()), "NSpid"), pids)
        .holds(holds))
}

/// Two pid namespaces each have their own process 1.
fn siblings(stage: &mut Stage<'_>) -> Result<Card> {
    let (one, two) = (inside(stage)?, inside(stage)?);
    let links = (one_line(one.link(LINK)?), one_line(two.link(LINK)?));
    let pids = (field(&one, OWN_STATUS, "NSpid")?, field(&two, OWN_STATUS, "NSpid")?);
    let holds = links.0 != links.1 && pids.0 == "1" && pids.1 == "1";
    Ok(Card::new(Pid, "siblings")
        .seen("INSIDE", LINK, links.0)
        .seen("INSIDE", line_of(OWN_STATUS, "NSpid"), pids.0)
        .seen("INSIDE 2", LINK, links.1)
        .seen("INSIDE 2", line_of(OWN_STATUS, "NSpid"), pids.1)
        .holds(holds))
}

/// A pid namespace in another: a process has a PID at each level, and each level sees the processes of the levels
/// below.
fn nesting(stage: &mut Stage<'_>) -> Result<Card> {
    let (outside, inside) = (stage.outside(Pid)?, inside(stage)?);
    let (nested, between) = child_of(&inside, &[Pid])?;
    stage.name_process(nested.pid(), text("pid.who.nested"));
    stage.name_process(between, text("pid.who.between"));
    let (outer, inner) = (status_file(nested.pid()), status_file(between));
    let seen = (field(&outside, &outer, "NSpid")?, field(&inside, &inner, "NSpid")?);
    let links = (one_line(inside.link(LINK)?), one_line(nested.link(LINK)?));
    let holds = seen.0.ends_with(&format!("{} {} 1", nested.pid(), between))
        && seen.1 == format!("{between} 1")
        && links.0 != links.1;
    Ok(Card::new(Pid, "nesting")
        .outside(line_of(&outer, "NSpid"), seen.0)
        .inside(line_of(&inner, "NSpid"), seen.1)
        .inside(LINK, links.0)
        .seen("NESTED", LINK, links.1)
        .holds(holds))
}

/// A process outside has no PID inside, so it cannot be signalled from inside. The other direction works.
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

/// Process 1 does not receive signals from inside for which it has no handler, not even SIGKILL.
fn first(stage: &mut Stage<'_>) -> Result<Card> {
    let inside = inside(stage)?;
    // The kernel drops such a signal only if it is not blocked; a blocked signal stays pending. So unblock all signals.
    let _ = inside.perform(ProcessCall::DefaultSignals)?;
    let caught = field(&inside, OWN_STATUS, "SigCgt")?;
    let (child, _) = child_of(&inside, &[])?;
    let (term, kill) = (send(1, Signal::SIGTERM), send(1, Signal::SIGKILL));
    let answers = (child.perform(term.clone())?, child.perform(kill.clone())?);
    let state = read_until(&child, "/proc/1/status", "State", |state| state.starts_with('S'))?;
    let handlers = if caught.bytes().all(|digit| digit == b'0') {
        format!(" {}", text("pid.nohandlers"))
    } else {
        String::new()
    };
    let is_caught = u64::from_str_radix(&caught, 16).is_ok_and(|mask| mask & bit(Signal::SIGTERM) != 0);
    Ok(Card::new(Pid, "first")
        .seen("PID 1", line_of(OWN_STATUS, "SigCgt"), caught + &handlers)
        .call("PID 2", term, answers.0)
        .call("PID 2", kill, answers.1)
        .seen("PID 2", line_of("/proc/1/status", "State"), &state)
        .holds(answers.0.is_ok() && answers.1.is_ok() && !is_caught && inside.is_alive()))
}

/// When a process's parent exits, process 1 of its pid namespace becomes the new parent.
fn orphan(stage: &mut Stage<'_>) -> Result<Card> {
    let inside = inside(stage)?;
    let family = Descendants::of(&inside)?;
    let status = status_file(family.grandchild_pid);
    stage.name_process(family.child_pid, text("pid.who.parent"));
    stage.name_process(family.grandchild_pid, text("pid.who.orphan"));
    let before = field(&inside, &status, "PPid")?;
    let parent = family.child_pid;
    let (_grandchild, reaped) = family.orphan(&inside)?;
    let after = field(&inside, &status, "PPid")?;
    Ok(Card::new(Pid, "orphan")
        .inside(line_of(&status, "PPid"), &before)
        .inside(format!("wait4({parent})"), status_text(reaped))
        .inside(line_of(&status, "PPid"), &after)
        .holds(before == parent.to_string() && after == "1"))
}

/// A process that has ended stays as a zombie until its parent reaps it by wait4(2). For orphans this is the task of
/// process 1.
fn zombie(stage: &mut Stage<'_>) -> Result<Card> {
    let inside = inside(stage)?;
    let family = Descendants::of(&inside)?;
    let status = status_file(family.grandchild_pid);
    let pid = family.grandchild_pid;
    stage.name_process(pid, text("pid.who.zombie"));
    let (grandchild, _) = family.orphan(&inside)?;
    grandchild.exit(7)?;
    let state = read_until(&inside, &status, "State", |state| state.starts_with('Z'))?;
    let reaped = inside.reap(pid)?;
    let after = field(&inside, &status, "State")?;
    Ok(Card::new(Pid, "zombie")
        .inside(line_of(&status, "State"), &state)
        .inside(format!("wait4({pid})"), status_text(reaped))
        .inside(&status, &after)
        .holds(state.starts_with('Z') && reaped == Ok(7) && after == "(ENOENT)"))
}

/// SIGKILL from outside ends process 1. The kernel then kills all other processes of the namespace.
fn end(stage: &mut Stage<'_>) -> Result<Card> {
    let (outside, inside) = (stage.outside(Pid)?, inside(stage)?);
    let (child, _) = child_of(&inside, &[])?;
    stage.name_process(child.pid(), text("pid.who.last"));
    let (status, kill) = (status_file(child.pid()), send(inside.pid(), Signal::SIGKILL));
    let before = read_until(&outside, &status, "State", |state| state.starts_with('S'))?;
    let answer = outside.perform(kill.clone())?;
    let ended = inside.wait()?;
    // The kernel lets process 1 be reaped only after all other processes of the namespace.
    let after = field(&outside, &status, "State")?;
    Ok(Card::new(Pid, "end")
        .outside(line_of(&status, "State"), &before)
        .call("OUTSIDE", kill, answer)
        .outside(&status, &after)
        .holds(ended.status() == 137 && !before.starts_with('(') && after == "(ENOENT)"))
}

/// A child and a grandchild of process 1.
pub(crate) struct Descendants {
    child: Agent,
    grandchild: Agent,
    /// The PID of the child, inside.
    pub(crate) child_pid: i32,
    /// The PID of the grandchild, inside.
    pub(crate) grandchild_pid: i32,
}

impl Descendants {
    /// Has the agent `first` make both.
    pub(crate) fn of(first: &Agent) -> Result<Descendants> {
        let (child, child_pid) = child_of(first, &[])?;
        let (grandchild, grandchild_pid) = child_of(&child, &[])?;
        // Agents have a parent-death signal. This one must survive its parent.
        let _ = grandchild.perform(SignalCall::ClearParentDeath)?;
        Ok(Descendants { child, grandchild, child_pid, grandchild_pid })
    }

    /// Ends the child and has its parent reap it. Returns the grandchild, now an orphan, and the result of the reaping.
    pub(crate) fn orphan(self, parent: &Agent) -> Result<(Agent, Answer)> {
        self.child.exit(0)?;
        let reaped = parent.reap(self.child_pid)?;
        Ok((self.grandchild, reaped))
    }
}

/// Makes a child in these new namespaces. Returns it and its PID in the namespace of its parent.
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

/// The exit status of a reaped child, as text.
fn status_text(reaped: Answer) -> String {
    reaped.map_or_else(|errno| answer_text(Err(errno)), |status| format!("status {status}"))
}

/// The call that sends `signal` to `pid`.
pub(crate) fn send(pid: i32, signal: Signal) -> SignalCall {
    SignalCall::Kill { pid, signal: signal as i32 }
}

fn bit(signal: Signal) -> u64 {
    1 << (signal as i32 - 1)
}

/// The path of the status file of a process.
pub(crate) fn status_file(pid: i32) -> String {
    format!("/proc/{pid}/status")
}

/// Names a line of a file, for the evidence.
pub(crate) fn line_of(file: &str, line: &str) -> String {
    format!("{file}, {line}:")
}

/// The value of a line of a status file that an agent reads, or the errno.
pub(crate) fn field(agent: &Agent, file: &str, line: &str) -> Result<String> {
    let mut content = agent.read(file)?;
    // ESRCH: the process was reaped after open(2), before read(2). Now the file is missing, as it will be from now on.
    if matches!(content, Err(Errno::ESRCH)) {
        content = agent.read(file)?;
    }
    Ok(match content {
        Ok(content) => one_line(Ok(status_of(&content, line).unwrap_or("(no such line)").to_owned())),
        Err(errno) => format!("({errno:?})"),
    })
}

/// As [`field`], but reads again for up to a second until the value is as wanted. A process needs a moment to end.
pub(crate) fn read_until(
    agent: &Agent,
    file: &str,
    line: &str,
    wanted: impl Fn(&str) -> bool,
) -> Result<String> {
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

/// The number of processes that an agent's /proc lists.
pub(crate) fn process_count(agent: &Agent) -> Result<Value> {
    let seen = agent.look(Pid)?.observations.into_iter().find(|seen| seen.path == "/proc/[0-9]*");
    Ok(seen.map_or_else(|| Value::Not("no /proc".into()), |seen| seen.value))
}
