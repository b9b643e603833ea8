//! A program that does nothing but fork fills the machine's table of processes: then nobody can start another, not even to end
//! this one.
//!
//! A namespace doesn't count. A cgroup does: at its limit fork(2) fails with EAGAIN in there, and nowhere else. This bomb has
//! 48 processes, which end with it. cgroups(7), pids

use crate::cgroups::pids::Pids;
use crate::config::compose;
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
    let cgroups = compose::gather(&limited).host.cgroups;
    if cgroups.is_none_or(|cgroups| !cgroups.obstacles.is_empty()) {
        return Ok(contrast.skip("run.skip.nogroups"));
    }
    let bomb = LoadCall::Fork { most: 48 };
    for (spec, is_right) in [(limited, true), (Spec::of(Pid), false)] {
        let inside = stage.start(&spec, Container)?;
        contrast = contrast.showed(is_right, "INSIDE", &bomb, answer_text(inside.perform(bomb.clone())?));
    }
    Ok(contrast)
}
