//! Mistakes with the blkio controller.

use super::{Contrast, MistakeEntry};
use crate::error::Result;
use crate::feature::Feature::Blkio;
use crate::teach::demo::Stage;
use crate::teach::demo::blkio::Scene;

pub(super) const MISTAKES: &[MistakeEntry] = &[("buffered", buffered)];

/// Testing a limit with ordinary writes, which end in the page cache, and concluding that it does not work.
fn buffered(stage: &mut Stage<'_>) -> Result<Contrast> {
    let mut contrast = Contrast::new(Blkio, "buffered");
    for (direct, is_right) in [(true, true), (false, false)] {
        let Some(scene) = Scene::limited(stage)? else { return Ok(contrast.skip("blkio.skip.nodisk")) };
        let run = scene.write(stage, (64, 32), direct, None)?;
        let rate = run.mib / run.seconds;
        let value = if rate > 10.0 { format!("{rate:.0} MiB/s") } else { format!("{rate:.1} MiB/s") };
        contrast = contrast.showed(is_right, "INSIDE", run.load, value);
    }
    Ok(contrast)
}
