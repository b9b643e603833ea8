//! Mistakes with the mnt namespace.

use super::{Contrast, MistakeEntry};
use crate::error::Result;
use crate::feature::Feature::Mnt;
use crate::plan::call::mount::Propagation;
use crate::teach::demo::mnt::scene::{self, CANARY, MOUNTINFO};
use crate::teach::demo::{Stage, answer_text, one_line};

pub(super) const MISTAKES: &[MistakeEntry] =
    &[("shared", shared), ("chroot", chroot), ("pivot-shared", pivot_shared)];

/// Mounting in a new mount namespace without first making the copied mounts private: the mount appears outside.
fn shared(stage: &mut Stage<'_>) -> Result<Contrast> {
    let mut contrast = Contrast::new(Mnt, "shared");
    for (mode, is_right) in [(Propagation::Private, true), (Propagation::Unchanged, false)] {
        let (outside, inside) = scene::pair(stage, mode)?;
        scene::build(&inside, &[scene::tmpfs("/tmp/b")])?;
        let row_of = |path: &str| format!("{MOUNTINFO}, {path}");
        contrast = contrast.showed(is_right, "INSIDE", row_of("/tmp"), scene::mounted(&inside, "/tmp")?);
        contrast =
            contrast.showed(is_right, "OUTSIDE", row_of("/tmp/b"), scene::mounted(&outside, "/tmp/b")?);
    }
    Ok(contrast)
}

/// Using chroot(2) instead of pivot_root(2).
fn chroot(stage: &mut Stage<'_>) -> Result<Contrast> {
    let mut contrast = Contrast::new(Mnt, "chroot");
    let [enter, pivot, detach, home] = scene::by_pivot();
    let [chroot, chdir] = scene::by_chroot();
    let ways = [(vec![enter], vec![pivot, detach], home, true), (vec![], vec![chroot], chdir, false)];
    for (before, shown, after, is_right) in ways {
        let agent = scene::jail(stage)?;
        scene::build(&agent, &before)?;
        let (calls, answers) = scene::perform_all(&agent, &shown)?;
        if answers.iter().any(std::result::Result::is_err) {
            return Ok(contrast.skip("mnt.skip.pivot"));
        }
        scene::build(&agent, &[after])?;
        scene::perform_all(&agent, &scene::escape())?;
        contrast = contrast.showed(is_right, "INSIDE", calls, scene::answers(&answers));
        contrast = contrast.showed(is_right, "INSIDE", CANARY, one_line(scene::canary(&agent)?));
    }
    Ok(contrast)
}

/// Calling pivot_root(2) while the parent mount of the new root is shared.
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
