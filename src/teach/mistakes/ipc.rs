//! Mistakes with the ipc namespace.

use super::{Contrast, MistakeEntry};
use crate::error::Result;
use crate::feature::Feature::{Ipc, Mnt};
use crate::plan::call::mount::MountCall;
use crate::plan::undo::Undo;
use crate::teach::call::PathCall;
use crate::teach::demo::{Stage, answer_text, one_line};

pub(super) const MISTAKES: &[MistakeEntry] = &[("shm-file", shm_file)];

/// Expecting an ipc namespace to hide POSIX shared memory, which is a file in /dev/shm.
fn shm_file(stage: &mut Stage<'_>) -> Result<Contrast> {
    let contrast = Contrast::new(Ipc, "shm-file");
    let path = format!("/dev/shm/{}", stage.unique("shm"));
    let call = PathCall::Create { path: path.clone().into(), content: "secret\n".into() };
    if stage.make(call, Undo::RemoveFile { path: path.clone().into() })?.is_err() {
        return Ok(contrast.skip("ipc.noshm"));
    }
    let mut both = stage.spec.clone();
    both.add(Ipc);
    both.add(Mnt);
    let right = stage.start(&both, Ipc)?;
    let mount = MountCall::Filesystem { kind: "tmpfs".into(), target: "/dev/shm".into(), data: None };
    let mounted = right.perform(mount.clone())?;
    let wrong = stage.inside(Ipc)?;
    Ok(contrast
        .right("INSIDE", mount, answer_text(mounted))
        .right("INSIDE", &path, one_line(right.read(&path)?))
        .wrong("INSIDE", &path, one_line(wrong.read(&path)?)))
}
