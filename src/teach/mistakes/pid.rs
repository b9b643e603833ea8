//! Mistakes with the pid namespace.

use nix::sys::signal::Signal;

use super::{Contrast, MistakeEntry};
use crate::config::spec::Spec;
use crate::error::Result;
use crate::feature::Feature::Pid;
use crate::plan::call::process::{Namespaces, ProcessCall};
use crate::teach::agent::Agent;
use crate::teach::demo::pid::{Descendants, child_of, field, listed, of, send, status_file, until};
use crate::teach::demo::{Stage, answer_text, words};

pub(super) const MISTAKES: &[MistakeEntry] =
    &[("no-fork", no_fork), ("stale-proc", stale_proc), ("bad-init", bad_init)];

const LINK: &str = "/proc/self/ns/pid";

/// unshare, and then exec without a fork: the command stays outside, its first child becomes process 1.
fn no_fork(stage: &mut Stage<'_>) -> Result<Contrast> {
    let unshare = ProcessCall::Unshare { namespaces: Namespaces::of(&[Pid]) };
    let fork = "clone3({exit_signal=SIGCHLD}, 88)";
    let mut contrast = Contrast::new(Pid, "no-fork");
    let inside = stage.inside(Pid)?;
    contrast = contrast.right("COMMAND", LINK, words(inside.link(LINK)?));
    contrast = contrast.right("COMMAND", fork, two_children(&inside)?);
    let caller = stage.caller(Pid)?;
    let _ = caller.perform(unshare)?;
    contrast = contrast.wrong("COMMAND", LINK, words(caller.link(LINK)?));
    Ok(contrast.wrong("COMMAND", fork, two_children(&caller)?))
}

/// What the first fork gives, and the second after the first child has ended.
fn two_children(agent: &Agent) -> Result<String> {
    let (first, number) = child_of(agent, &[])?;
    first.exit(0)?;
    let _ = agent.reap(number)?;
    let second = agent.spawn(&[])?.map(|(_, number)| i64::from(number));
    Ok(format!("ok, then {}", second.map_or_else(|errno| answer_text(Err(errno)), |_| "ok".into())))
}

/// A new pid namespace under the old /proc.
fn stale_proc(stage: &mut Stage<'_>) -> Result<Contrast> {
    let mut contrast = Contrast::new(Pid, "stale-proc");
    for mount_proc in [true, false] {
        let pid = crate::namespaces::pid::Pid { mount_proc, init: false };
        let inside = stage.start(&Spec { pid: Some(pid), ..Spec::default() }, Pid)?;
        contrast = contrast.showed(mount_proc, "INSIDE", "/proc/[0-9]*", listed(&inside)?);
        contrast = contrast.showed(mount_proc, "INSIDE", "/proc/self", words(inside.link("/proc/self")?));
    }
    Ok(contrast)
}

/// A process 1 that does nothing of what process 1 is for.
fn bad_init(stage: &mut Stage<'_>) -> Result<Contrast> {
    let mut contrast = Contrast::new(Pid, "bad-init");
    for init in [true, false] {
        let pid = crate::namespaces::pid::Pid { mount_proc: true, init };
        let inside = stage.start(&Spec { pid: Some(pid), ..Spec::default() }, Pid)?;
        let outside = stage.outside(Pid)?;
        let _ = inside.perform(ProcessCall::DefaultSignals)?;

        let family = Descendants::of(&inside)?;
        let orphan = status_file(family.number);
        family.orphan(&inside)?.0.exit(0)?;
        // An init that reaps does so at once; who doesn't leaves a zombie.
        let state =
            until(&inside, &orphan, "State", |state| state.starts_with(if init { '(' } else { 'Z' }))?;
        contrast = contrast.showed(init, "INSIDE", of("an orphan that ended", "State"), state);

        let first = status_file(inside.pid());
        let term = send(inside.pid(), Signal::SIGTERM);
        let answer = outside.perform(term.clone())?;
        contrast = contrast.showed(init, "OUTSIDE", term, answer_text(answer));
        if until(&outside, &first, "State", |state| state.starts_with('Z'))?.starts_with('Z') {
            // It ended; it's ours to reap.
            inside.wait()?;
        }
        contrast = contrast.showed(init, "OUTSIDE", of(&first, "State"), field(&outside, &first, "State")?);
    }
    Ok(contrast)
}
