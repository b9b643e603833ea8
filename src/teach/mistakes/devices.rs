//! Mistakes with the devices controller.

use super::{Contrast, MistakeEntry};
use crate::config::spec::Spec;
use crate::error::Result;
use crate::feature::Feature::Devices;
use crate::teach::demo::devices::{node, without_zero};
use crate::teach::demo::{Stage, answer_text};

pub(super) const MISTAKES: &[MistakeEntry] = &[("mknod", mknod)];

/// Only removing a device file. A process can make another file for the same device and open that.
fn mknod(stage: &mut Stage<'_>) -> Result<Contrast> {
    let mut contrast = Contrast::new(Devices, "mknod");
    for (spec, is_right) in [(without_zero(), true), (Spec::default(), false)] {
        let inside = stage.start(&spec, Devices)?;
        let Some((make, made, used)) = node(stage, &inside)? else {
            return Ok(contrast.skip("devices.skip.mknod"));
        };
        contrast = contrast.showed(is_right, "INSIDE", make, answer_text(made)).showed(
            is_right,
            "INSIDE",
            "open(<that node>)",
            answer_text(used),
        );
    }
    Ok(contrast)
}
