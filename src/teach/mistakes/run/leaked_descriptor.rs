//! A descriptor of a directory outside that is open when the command begins is a way out: no root stops it.
//!
//! The image needn't even be hostile code: a working directory of `/proc/self/fd/8` is enough, if 8 is the one that leaked.
//! So `sandbox` opens everything to be closed by execve, lets go of what the new root was made with before it's entered,
//! marks whatever else the caller left open, and looks at what the working directory has become. open(2), O_CLOEXEC

use crate::error::Result;
use crate::feature::Purpose::Container;
use crate::plan::call::detached::DetachedMountCall;
use crate::plan::call::mount::MountCall;
use crate::plan::slots::Held;
use crate::teach::demo::mnt::scene;
use crate::teach::demo::{Stage, words};
use crate::teach::mistakes::Contrast;

pub(super) fn attack(stage: &mut Stage<'_>) -> Result<Contrast> {
    let mut contrast = Contrast::new(Container, "leaked-descriptor");
    for is_right in [true, false] {
        let inside = scene::jail(stage)?;
        if !is_right {
            let open = DetachedMountCall::Open { path: "/tmp".into(), to: Held::Lower };
            scene::build(&inside, &[open.clone().into()])?;
            contrast = contrast.wrong("SANDBOX", open, "(stays open)");
        }
        let (_, pivoted) = scene::row(&inside, &scene::by_pivot())?;
        if pivoted.iter().any(std::result::Result::is_err) {
            return Ok(contrast.skip("mnt.skip.pivot"));
        }
        let directory = |number: i32| MountCall::Chdir { path: format!("/proc/self/fd/{number}") };
        let mut entered = 0;
        for number in 0..64 {
            entered += usize::from(inside.perform(directory(number))?.is_ok());
        }
        contrast = contrast
            .showed(is_right, "INSIDE", "chdir(\"/proc/self/fd/0\" ... \"63\")", format!("{entered} entered"))
            .showed(is_right, "INSIDE", "read(\"canary\")", words(inside.read("canary")?));
    }
    Ok(contrast)
}
