//! Mistakes with the time namespace.

use super::{Contrast, MistakeEntry};
use crate::error::Result;
use crate::feature::Feature::Time;
use crate::plan::call::time::{Clock, OFFSETS, TimeCall};
use crate::teach::demo::time::{caller, child_of, offsets, unshare};
use crate::teach::demo::{Stage, answer_text};

pub(super) const MISTAKES: &[MistakeEntry] = &[("late", late)];

/// Writing the offsets when a process is already in the namespace.
fn late(stage: &mut Stage<'_>) -> Result<Contrast> {
    let mut contrast = Contrast::new(Time, "late");
    let write = TimeCall::WriteOffset { clock: Clock::Boottime, seconds: 60 };
    for is_right in [true, false] {
        let Some(caller) = caller(stage)? else { return Ok(contrast.skip("time.skip.kernel")) };
        if caller.perform(unshare())?.is_err() {
            return Ok(contrast.skip("time.skip.kernel"));
        }
        let (answer, child) = if is_right {
            (caller.perform(write.clone())?, child_of(&caller)?)
        } else {
            let child = child_of(&caller)?;
            (caller.perform(write.clone())?, child)
        };
        contrast = contrast.showed(is_right, "CALLER", &write, answer_text(answer)).showed(
            is_right,
            "CHILD",
            OFFSETS,
            offsets(&child)?,
        );
    }
    Ok(contrast)
}
