//! A fork bomb: a program that forks until no PID of the machine is free. Then no other process can be started, not
//! even to kill the fork bomb.
//!
//! A pid namespace does not limit the number of processes. The pids controller does: at the limit of the cgroup,
//! fork(2) fails with EAGAIN. Processes outside are not affected. This fork bomb makes 48 processes and kills them.
//! cgroups(7), pids

use crate::cgroups::pids::Pids;
use crate::config::complete::Completed;
use crate::config::spec::Spec;
use crate::error::Result;
use crate::feature::Feature::Pid;
use crate::feature::Purpose::Container;
use crate::teach::call::LoadCall;
use crate::teach::demo::{Stage, answer_text};
use crate::teach::mistakes::Contrast;

pub(super) fn attack(stage: &mut Stage<'_>) -> Result<Contrast> {
    let mut contrast = Contrast::new(Container, "fork-bomb");
    let limited = Spec { pids: Some(Pids { max: Some(16) }), ..Spec::of(Pid) };
    let cgroups = Completed::of(&limited, Container).machine.host.cgroups;
    if cgroups.is_none_or(|cgroups| !cgroups.obstacles.is_empty()) {
        return Ok(contrast.skip("run.skip.nogroups"));
    }
    let bomb = LoadCall::Fork { count: 48 };
    for (spec, is_right) in [(limited, true), (Spec::of(Pid), false)] {
        let inside = stage.start(&spec, Container)?;
        contrast = contrast.showed(is_right, "INSIDE", &bomb, answer_text(inside.perform(bomb.clone())?));
    }
    Ok(contrast)
}
