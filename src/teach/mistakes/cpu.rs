//! Mistakes with the cpu controller.

use super::{Contrast, MistakeEntry};
use crate::cgroups::cpu::{Cpu as Flags, Cpus};
use crate::config::spec::Spec;
use crate::error::Result;
use crate::feature::Feature::Cpu;
use crate::teach::call::LoadCall;
use crate::teach::demo::Stage;
use crate::teach::demo::cpu::CpuTime;
use crate::teach::demo::limits::watch;
use crate::teach::demo::plot::Plot;

pub(super) const MISTAKES: &[MistakeEntry] = &[("shares-alone", shares_alone)];

/// Using shares (a weight) as a limit: 512 shares are not half a CPU when nothing else competes for it.
fn shares_alone(stage: &mut Stage<'_>) -> Result<Contrast> {
    let mut contrast = Contrast::new(Cpu, "shares-alone");
    let quota = Flags { cpus: Some(Cpus::percent(50)), ..Flags::default() };
    let shares = Flags { shares: Some(512), ..Flags::default() };
    for (flags, words, is_right) in [(quota, "--cpus 0.5", true), (shares, "--shares 512", false)] {
        let inside = stage.start(&Spec { cpu: Some(flags), ..Spec::default() }, Cpu)?;
        let time = CpuTime::of(&inside)?;
        let begin = time.seconds();
        inside.begin(LoadCall::Spin { milliseconds: 1000 })?;
        let mut end = 0.0;
        watch(stage, &mut Plot::new(String::new(), "%", None), &[&inside], |seconds, _, _| end = seconds)?;
        let used = 100.0 * (time.seconds() - begin) / end.max(0.001);
        contrast = contrast.showed(is_right, "INSIDE", words, format!("{used:.0} % of a CPU"));
    }
    Ok(contrast)
}
