//! Shared by the demonstrations of cgroup limits: watches processes at work and the kernel's counters of their cgroups.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::statfs::{TMPFS_MAGIC, statfs};

use super::Stage;
use super::plot::Plot;
use crate::error::{Error, Result};
use crate::host::Disk;
use crate::observe::cgroup::ProcessCgroup;
use crate::observe::hierarchy::Controller;
use crate::plan::undo::Undo;
use crate::teach::agent::{Agent, Answer, Progress};
use crate::teach::call::PathCall;
use crate::text::text;

/// The time between two readings of the counters.
const INTERVAL: Duration = Duration::from_millis(25);
/// The longest time that a demonstration may take.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Waits until the calls of all `workers` have returned or the workers have ended. Returns the result of each.
/// Meanwhile `look` is called again and again, with the seconds since the start and the progress of each worker.
pub(crate) fn watch(
    stage: &mut Stage<'_>,
    plot: &mut Plot,
    workers: &[&Agent],
    mut look: impl FnMut(f64, &[Progress], &mut Plot),
) -> Result<Vec<Progress>> {
    let begin = Instant::now();
    let mut progress = vec![Progress::Works; workers.len()];
    loop {
        for (worker, progress) in workers.iter().zip(&mut progress) {
            if *progress == Progress::Works {
                *progress = worker.progress()?;
            }
        }
        look(begin.elapsed().as_secs_f64(), &progress, plot);
        let is_over = !progress.contains(&Progress::Works);
        stage.draw(plot, is_over);
        if is_over {
            return Ok(progress);
        }
        if begin.elapsed() > TIMEOUT {
            return Err(Error::failed(text("limits.patience")));
        }
        std::thread::sleep(INTERVAL);
    }
}

/// The cgroup of an agent for a controller.
pub(crate) fn cgroup_of(agent: &Agent, controller: Controller) -> Result<ProcessCgroup> {
    ProcessCgroup::of(&format!("/proc/{}", agent.pid()), controller)
        .ok_or_else(|| Error::failed(text("limits.nogroup")))
}

/// Converts bytes to MiB. A counter that is missing is 0.
pub(crate) fn mib(bytes: Option<u64>) -> f64 {
    bytes.unwrap_or(0) as f64 / f64::from(1 << 20)
}

/// The result of a call, as text, or that the process was killed.
pub(crate) fn outcome(progress: Progress) -> String {
    match progress {
        Progress::Done(answer) => super::answer_text(answer),
        Progress::Works | Progress::Gone => text("limits.killed"),
    }
}

/// A directory for temporary files that is on a disk, and that disk. A tmpfs is not on a disk: its pages are memory.
pub(super) fn directory_on_disk() -> Option<(PathBuf, Disk)> {
    let directories = [PathBuf::from("/var/tmp"), std::env::temp_dir(), PathBuf::from(".")];
    let is_on_disk = |directory: &Path| {
        statfs(directory).is_ok_and(|filesystem| filesystem.filesystem_type() != TMPFS_MAGIC)
    };
    directories.iter().filter(|directory| is_on_disk(directory)).find_map(|directory| {
        let disk = Disk::find(directory.to_str()?).ok()?;
        Some((directory.canonicalize().ok()?, disk))
    })
}

/// Makes an empty file on a disk. Returns its path and the disk. None if no directory is on a disk.
pub(crate) fn file_on_disk(stage: &mut Stage<'_>) -> Result<Option<(PathBuf, Disk)>> {
    let Some((directory, disk)) = directory_on_disk() else { return Ok(None) };
    let path = directory.join(stage.unique("load"));
    let create = PathCall::Create { path: path.clone(), content: String::new() };
    let answer: Answer = stage.make(create, Undo::RemoveFile { path: path.clone() })?;
    Ok(answer.is_ok().then_some((path, disk)))
}
