//! Mistakes with the pids controller.

use super::{Contrast, MistakeEntry};
use crate::config::spec::Spec;
use crate::error::Result;
use crate::feature::Feature::Pids;
use crate::plan::call::restrict::{Resource, RestrictCall};

use crate::teach::call::LoadCall;
use crate::teach::demo::{Stage, answer_text};

pub(super) const MISTAKES: &[MistakeEntry] = &[("ulimit", ulimit)];

/// The limit, and how many processes are tried.
const LIMIT: u32 = 4;
const TRIED: usize = 8;

/// Limiting the processes of root by RLIMIT_NPROC, which does not apply to root.
fn ulimit(stage: &mut Stage<'_>) -> Result<Contrast> {
    let mut contrast = Contrast::new(Pids, "ulimit");
    if !stage.host.privileged {
        return Ok(contrast.skip("pids.skip.ulimit"));
    }
    let mut spec = Spec::default();
    spec.pids.get_or_insert_default().max = Some(LIMIT);
    let fork = LoadCall::Fork { count: TRIED };
    let limited = stage.start(&spec, Pids)?;
    contrast = contrast.right("OUTSIDE", "<pids>/pids.max", LIMIT).right(
        "INSIDE",
        &fork,
        answer_text(limited.perform(fork.clone())?),
    );
    let other = stage.outside(Pids)?;
    let soft = u64::from(LIMIT);
    let call = RestrictCall::Limit { resource: Resource::Nproc, soft, hard: soft };
    let set = other.perform(call.clone())?;
    Ok(contrast.wrong("INSIDE", call, answer_text(set)).wrong(
        "INSIDE",
        &fork,
        answer_text(other.perform(fork.clone())?),
    ))
}
