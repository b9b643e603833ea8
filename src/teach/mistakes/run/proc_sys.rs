//! Also in a new /proc, /proc/sys has the settings of the whole machine: most of them do not belong to a namespace.
//!
//! An example is kernel.core_pattern. It can name a program that the kernel runs on the host as root when a process
//! crashes. So /proc/sys is bind-mounted on itself read-only. Only a process with CAP_SYS_ADMIN can undo that.
//! core(5), proc_sys(5)

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
