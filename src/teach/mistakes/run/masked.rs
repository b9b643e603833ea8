//! Also in a new /proc, some files show facts about the whole machine: its timers, its keys, its memory.
//!
//! These files do not depend on a namespace. /dev/null is bind-mounted over each file, and an empty filesystem is
//! mounted on each directory. A process that reads them gets nothing. proc(5)

use crate::config::spec::Spec;
use crate::error::Result;
use crate::feature::Feature::Pid;
use crate::feature::Purpose::Container;
use crate::rootfs::Rootfs;
use crate::teach::demo::Stage;
use crate::teach::mistakes::Contrast;

/// Only root can read the first file. A user can read one of the others.
const FILES: [&str; 3] = ["/proc/timer_list", "/proc/keys", "/sys/firmware/memmap/0/start"];

pub(super) fn attack(stage: &mut Stage<'_>) -> Result<Contrast> {
    let mut contrast = Contrast::new(Container, "masked");
    let has_content = |file: &&str| std::fs::read(file).is_ok_and(|content| !content.is_empty());
    let Some(file) = FILES.into_iter().find(has_content) else { return Ok(contrast.skip("run.skip.masked")) };
    for (rootfs, is_right) in [(Some(Rootfs::Host), true), (None, false)] {
        let inside = stage.start(&Spec { rootfs, ..Spec::of(Pid) }, Container)?;
        // The content changes all the time, so it is not shown. On /sys/firmware the file is missing instead of empty.
        let is_empty = inside.read(file)?.unwrap_or_default().is_empty();
        let value = if is_empty { "nothing" } else { "the machine's" };
        contrast = contrast.showed(is_right, "INSIDE", file, value);
    }
    Ok(contrast)
}
