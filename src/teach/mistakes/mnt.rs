//! Mistakes with the mnt namespace.

use super::{Contrast, MistakeEntry};
use crate::error::Result;
use crate::feature::Feature::Mnt;
use crate::plan::call::mount::Propagation;
use crate::teach::demo::mnt::scene::{self, CANARY, MOUNTINFO};
use crate::teach::demo::{Stage, answer_text, words};

pub(super) const MISTAKES: &[MistakeEntry] =
    &[("shared", shared), ("chroot", chroot), ("pivot-shared", pivot_shared)];

/// A copy of a shared tree in which something is mounted before it was made private.
fn shared(stage: &mut Stage<'_>) -> Result<Contrast> {
    let mut contrast = Contrast::new(Mnt, "shared");
    for (mode, is_right) in [(Propagation::Private, true), (Propagation::Unchanged, false)] {
        let (outside, inside) = scene::pair(stage, mode)?;
        scene::build(&inside, &[scene::tmpfs("/tmp/b")])?;
        let at = |place: &str| format!("{MOUNTINFO}, {place}");
        contrast = contrast.showed(is_right, "INSIDE", at("/tmp"), scene::mounted(&inside, "/tmp")?);
        contrast = contrast.showed(is_right, "OUTSIDE", at("/tmp/b"), scene::mounted(&outside, "/tmp/b")?);
    }
    Ok(contrast)
}

/// chroot where pivot_root belongs.
fn chroot(stage: &mut Stage<'_>) -> Result<Contrast> {
    let mut contrast = Contrast::new(Mnt, "chroot");
    let [enter, pivot, detach, home] = scene::by_pivot();
    let [chroot, chdir] = scene::by_chroot();
    let ways = [(vec![enter], vec![pivot, detach], home, true), (vec![], vec![chroot], chdir, false)];
    for (before, telling, after, is_right) in ways {
        let agent = scene::jail(stage)?;
        scene::build(&agent, &before)?;
        let (calls, answers) = scene::row(&agent, &telling)?;
        if answers.iter().any(std::result::Result::is_err) {
            return Ok(contrast.skip("mnt.skip.pivot"));
        }
        scene::build(&agent, &[after])?;
        scene::row(&agent, &scene::escape())?;
        contrast = contrast.showed(is_right, "INSIDE", calls, scene::answers(&answers));
        contrast = contrast.showed(is_right, "INSIDE", CANARY, words(scene::canary(&agent)?));
    }
    Ok(contrast)
}

/// pivot_root below a shared mount.
fn pivot_shared(stage: &mut Stage<'_>) -> Result<Contrast> {
    let mut contrast = Contrast::new(Mnt, "pivot-shared");
    for (mode, is_right) in [(Propagation::Private, true), (Propagation::Shared, false)] {
        let agent = scene::jail(stage)?;
        let make = scene::propagation(mode);
        let answer = agent.perform(make.clone())?;
        let [enter, pivot, ..] = scene::by_pivot();
        scene::build(&agent, &[enter])?;
        let result = agent.perform(pivot.clone())?;
        if is_right && result.is_err() {
            return Ok(contrast.skip("mnt.skip.pivot"));
        }
        contrast = contrast.showed(is_right, "INSIDE", make.to_string(), answer_text(answer));
        contrast = contrast.showed(is_right, "INSIDE", pivot.to_string(), answer_text(result));
    }
    Ok(contrast)
}
