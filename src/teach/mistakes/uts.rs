//! Mistakes with the uts namespace.

use super::{Contrast, MistakeEntry};
use crate::error::Result;
use crate::feature::Feature::Uts;
use crate::plan::call::uts::UtsCall;
use crate::teach::demo::{Stage, answer_text, one_line};

pub(super) const MISTAKES: &[MistakeEntry] = &[("no-namespace", no_namespace)];

const HOSTNAME: &str = "/proc/sys/kernel/hostname";

/// Setting the hostname of a container that has no UTS namespace of its own. A new UTS namespace stands for the host,
/// so the real host keeps its name.
fn no_namespace(stage: &mut Stage<'_>) -> Result<Contrast> {
    let mut contrast = Contrast::new(Uts, "no-namespace");
    for is_right in [true, false] {
        let host = stage.inside(Uts)?;
        let _ = host.perform(UtsCall::SetHostname("host".into()))?;
        let new: &[_] = if is_right { &[Uts] } else { &[] };
        let Ok((container, _)) = host.spawn(new)? else { return Ok(contrast.skip("uts.skip.nochild")) };
        let call = UtsCall::SetHostname("aquarium".into());
        let answer = container.perform(call.clone())?;
        contrast = contrast
            .showed(is_right, "INSIDE", &call, answer_text(answer))
            .showed(is_right, "INSIDE", HOSTNAME, one_line(container.read(HOSTNAME)?))
            .showed(is_right, "OUTSIDE", HOSTNAME, one_line(host.read(HOSTNAME)?));
    }
    Ok(contrast)
}
