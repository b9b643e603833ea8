//! A file descriptor of a directory on the host that is still open when the command starts. A process can leave the
//! container through it, because a descriptor stays valid after pivot_root(2).
//!
//! The command need not be hostile. If descriptor 8 leaks, an image with the working directory `/proc/self/fd/8` is
//! enough (CVE-2024-21626). `sandbox` has four protections: it opens all files with O_CLOEXEC, closes the descriptors
//! for the new root before it enters it, sets close-on-exec on descriptors of the caller, and checks the working
//! directory. open(2)

use crate::error::Result;
use crate::feature::Purpose::Container;
use crate::plan::call::detached::DetachedMountCall;
use crate::plan::call::mount::MountCall;
use crate::plan::slots::Held;
use crate::teach::demo::mnt::scene;
use crate::teach::demo::{Stage, one_line};
use crate::teach::mistakes::Contrast;

pub(super) fn attack(stage: &mut Stage<'_>) -> Result<Contrast> {
    let mut contrast = Contrast::new(Container, "leaked-descriptor");
    for is_right in [true, false] {
        let inside = scene::jail(stage)?;
        if !is_right {
            let open = DetachedMountCall::Open { path: "/tmp".into(), to: Held::Lower(0) };
            scene::build(&inside, &[open.clone().into()])?;
            contrast = contrast.wrong("SANDBOX", open, "(stays open)");
        }
        let (_, pivoted) = scene::perform_all(&inside, &scene::by_pivot())?;
        if pivoted.iter().any(std::result::Result::is_err) {
            return Ok(contrast.skip("mnt.skip.pivot"));
        }
        let directory = |fd: i32| MountCall::Chdir { path: format!("/proc/self/fd/{fd}").into() };
        let mut entered = 0;
        for fd in 0..64 {
            entered += usize::from(inside.perform(directory(fd))?.is_ok());
        }
        contrast = contrast
            .showed(is_right, "INSIDE", "chdir(\"/proc/self/fd/0\" ... \"63\")", format!("{entered} entered"))
            .showed(is_right, "INSIDE", "read(\"canary\")", one_line(inside.read("canary")?));
    }
    Ok(contrast)
}
