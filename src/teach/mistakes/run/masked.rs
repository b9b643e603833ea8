//! A /proc of one's own still tells of the whole machine: its timers, its keys, its memory.
//!
//! Those files know no namespace. Over each of them lies the null device, over a directory an empty filesystem: whoever reads
//! gets nothing. proc(5)

use crate::config::spec::Spec;
use crate::error::Result;
use crate::feature::Feature::Pid;
use crate::feature::Purpose::Container;
use crate::rootfs::Rootfs;
use crate::teach::demo::Stage;
use crate::teach::mistakes::Contrast;

/// The first is root's to read; the others are what a user may see of it.
const FILES: [&str; 3] = ["/proc/timer_list", "/proc/keys", "/sys/firmware/memmap/0/start"];

pub(super) fn attack(stage: &mut Stage<'_>) -> Result<Contrast> {
    let mut contrast = Contrast::new(Container, "masked");
    let is_told = |file: &&str| std::fs::read(file).is_ok_and(|words| !words.is_empty());
    let Some(file) = FILES.into_iter().find(is_told) else { return Ok(contrast.skip("run.skip.masked")) };
    for (rootfs, is_right) in [(Some(Rootfs::Host), true), (None, false)] {
        let inside = stage.start(&Spec { rootfs, ..Spec::of(Pid) }, Container)?;
        // What it says changes all the time; below /sys/firmware there is no file at all any more.
        let is_empty = inside.read(file)?.unwrap_or_default().is_empty();
        let value = if is_empty { "nothing" } else { "the machine's" };
        contrast = contrast.showed(is_right, "INSIDE", file, value);
    }
    Ok(contrast)
}
