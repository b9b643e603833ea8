//! A /proc of one's own still has the machine's settings below /proc/sys: most of them belong to no namespace.
//!
//! kernel.core_pattern may name a program that the kernel runs, outside and as root, when any process crashes. So /proc/sys is
//! mounted read-only over itself; without CAP_SYS_ADMIN nobody takes that away. core(5), proc_sys(5)

use crate::config::spec::Spec;
use crate::error::Result;
use crate::feature::Feature::Pid;
use crate::feature::Purpose::Container;
use crate::rootfs::Rootfs;
use crate::teach::call::AttackCall;
use crate::teach::demo::{Stage, answer_text};
use crate::teach::mistakes::Contrast;

pub(super) fn attack(stage: &mut Stage<'_>) -> Result<Contrast> {
    let mut contrast = Contrast::new(Container, "proc-sys");
    if !stage.host.privileged {
        return Ok(contrast.skip("run.skip.procsys"));
    }
    let open = AttackCall::OpenToWrite { path: "/proc/sys/kernel/core_pattern".into() };
    for (rootfs, is_right) in [(Some(Rootfs::Host), true), (None, false)] {
        let inside = stage.start(&Spec { rootfs, ..Spec::of(Pid) }, Container)?;
        contrast = contrast.showed(is_right, "INSIDE", &open, answer_text(inside.perform(open.clone())?));
    }
    Ok(contrast)
}
