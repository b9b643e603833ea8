//! Mistakes with the cgroup namespace.

use super::{Contrast, MistakeEntry};
use crate::config::spec::Spec;
use crate::error::Result;
use crate::feature::Feature::{Cgroup, Pids};
use crate::observe::hierarchy::Controller;
use crate::plan::call::file::FileCall;
use crate::teach::agent::Agent;
use crate::teach::demo::limits::cgroup_of;
use crate::teach::demo::{Stage, answer_text, one_line};

pub(super) const MISTAKES: &[MistakeEntry] = &[("join-late", join_late)];

const FILE: &str = "/proc/self/cgroup";

/// Joining a cgroup after the namespace was made. The root of the namespace stays where the process was before.
fn join_late(stage: &mut Stage<'_>) -> Result<Contrast> {
    let contrast = Contrast::new(Cgroup, "join-late");
    let mut spec = Spec::of(Cgroup);
    spec.pids.get_or_insert_default().max = Some(16);
    // Without the right to make a cgroup, nothing can be joined.
    let Ok(right) = stage.start(&spec, Pids) else { return Ok(contrast.skip("cgroup.skip.join")) };
    let wrong = stage.start(&Spec::of(Cgroup), Cgroup)?;
    let directory = cgroup_of(&right, Controller::Pids)?.directory().to_owned();
    let join = FileCall::Write { path: directory.join("cgroup.procs"), content: wrong.pid().to_string() };
    let joined = stage.outside(Cgroup)?.perform(join)?;
    let seen = (path_of(&right)?, path_of(&wrong)?);
    // A process in the cgroup would keep it from being removed.
    wrong.end()?;
    Ok(contrast
        .right("INSIDE", format!("{FILE}, pids"), seen.0)
        .wrong("OUTSIDE", "write(<pids>/cgroup.procs, <its pid>)", answer_text(joined))
        .wrong("INSIDE", format!("{FILE}, pids"), seen.1))
}

/// The path of an agent's cgroup of the pids controller, as it sees it itself.
fn path_of(agent: &Agent) -> Result<String> {
    let file = agent.read(FILE)?;
    Ok(one_line(file.map(|file| {
        let of_pids = |line: &&str| {
            line.split(':').nth(1).is_some_and(|names| names.split(',').any(|one| one == "pids"))
        };
        let line = file.lines().find(of_pids).or_else(|| file.lines().find(|line| line.starts_with("0::")));
        line.and_then(|line| line.splitn(3, ':').nth(2)).unwrap_or_default().to_owned()
    })))
}
