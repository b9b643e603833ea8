//! Mistakes with the pid namespace.

use nix::sys::signal::Signal;

use super::{Contrast, MistakeEntry};
use crate::config::spec::Spec;
use crate::error::Result;
use crate::feature::Feature::Pid;
use crate::plan::call::process::{Namespaces, ProcessCall};
use crate::teach::agent::Agent;
use crate::teach::demo::pid::{
    Descendants, child_of, field, line_of, process_count, read_until, send, status_file,
};
use crate::teach::demo::{Stage, answer_text, one_line};

pub(super) const MISTAKES: &[MistakeEntry] =
    &[("no-fork", no_fork), ("stale-proc", stale_proc), ("bad-init", bad_init)];

const LINK: &str = "/proc/self/ns/pid";

/// Calling unshare(2) and then execve(2) without fork(2). The command stays in the old pid namespace, and its first
/// child becomes process 1. When that child ends, no further fork is possible.
fn no_fork(stage: &mut Stage<'_>) -> Result<Contrast> {
    let unshare = ProcessCall::Unshare { namespaces: Namespaces::of(&[Pid]) };
    let fork = "clone3({exit_signal=SIGCHLD}, 88)";
    let mut contrast = Contrast::new(Pid, "no-fork");
    let inside = stage.inside(Pid)?;
    contrast = contrast.right("COMMAND", LINK, one_line(inside.link(LINK)?));
    contrast = contrast.right("COMMAND", fork, two_children(&inside)?);
    let caller = stage.caller(Pid)?;
    let _ = caller.perform(unshare)?;
    contrast = contrast.wrong("COMMAND", LINK, one_line(caller.link(LINK)?));
    Ok(contrast.wrong("COMMAND", fork, two_children(&caller)?))
}

/// The result of a first fork, and of a second one after the first child has ended.
fn two_children(agent: &Agent) -> Result<String> {
    let (first, pid) = child_of(agent, &[])?;
    first.exit(0)?;
    let _ = agent.reap(pid)?;
    let second = agent.spawn(&[])?.map(|(_, pid)| i64::from(pid));
    Ok(format!("ok, then {}", second.map_or_else(|errno| answer_text(Err(errno)), |_| "ok".into())))
}

/// Using a new pid namespace without mounting a new /proc.
fn stale_proc(stage: &mut Stage<'_>) -> Result<Contrast> {
    let mut contrast = Contrast::new(Pid, "stale-proc");
    for mount_proc in [true, false] {
        let pid = crate::namespaces::pid::Pid { mount_proc, ..Default::default() };
        let inside = stage.start(&Spec { pid: Some(pid), ..Spec::default() }, Pid)?;
        contrast = contrast.showed(mount_proc, "INSIDE", "/proc/[0-9]*", process_count(&inside)?);
        contrast = contrast.showed(mount_proc, "INSIDE", "/proc/self", one_line(inside.link("/proc/self")?));
    }
    Ok(contrast)
}

/// Running a process 1 that neither reaps orphans nor handles signals.
fn bad_init(stage: &mut Stage<'_>) -> Result<Contrast> {
    let mut contrast = Contrast::new(Pid, "bad-init");
    for init in [true, false] {
        let pid = crate::namespaces::pid::Pid { init, ..Default::default() };
        let inside = stage.start(&Spec { pid: Some(pid), ..Spec::default() }, Pid)?;
        let outside = stage.outside(Pid)?;
        let _ = inside.perform(ProcessCall::DefaultSignals)?;

        let family = Descendants::of(&inside)?;
        let orphan = status_file(family.grandchild_pid);
        family.orphan(&inside)?.0.exit(0)?;
        // An init reaps the orphan at once. Without one it stays as a zombie.
        let state =
            read_until(&inside, &orphan, "State", |state| state.starts_with(if init { '(' } else { 'Z' }))?;
        contrast = contrast.showed(init, "INSIDE", line_of("an orphan that ended", "State"), state);

        let first = status_file(inside.pid());
        let term = send(inside.pid(), Signal::SIGTERM);
        let answer = outside.perform(term.clone())?;
        contrast = contrast.showed(init, "OUTSIDE", term, answer_text(answer));
        if read_until(&outside, &first, "State", |state| state.starts_with('Z'))?.starts_with('Z') {
            // Process 1 has ended, and this process is its parent, so it reaps it.
            inside.wait()?;
        }
        contrast =
            contrast.showed(init, "OUTSIDE", line_of(&first, "State"), field(&outside, &first, "State")?);
    }
    Ok(contrast)
}
