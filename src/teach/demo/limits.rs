//! What the demonstrations of limits share: processes at work, and what the kernel counts meanwhile.

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

/// How often is looked.
const EVERY: Duration = Duration::from_millis(25);
/// Longer no demonstration's work may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Looks at the kernel's counters while processes work, until all have come back or are gone: what became of each. `look`
/// is told the seconds since the start, and how each process stands.
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
        if begin.elapsed() > PATIENCE {
            return Err(Error::failed(text("limits.patience")));
        }
        std::thread::sleep(EVERY);
    }
}

/// The group of a process.
pub(crate) fn group(agent: &Agent, controller: Controller) -> Result<ProcessCgroup> {
    ProcessCgroup::of(&format!("/proc/{}", agent.pid()), controller)
        .ok_or_else(|| Error::failed(text("limits.nogroup")))
}

/// A number that the kernel counts, or 0 where it doesn't say.
pub(crate) fn mib(bytes: Option<u64>) -> f64 {
    bytes.unwrap_or(0) as f64 / f64::from(1 << 20)
}

/// An answer, or that there'll be none.
pub(crate) fn outcome(progress: Progress) -> String {
    match progress {
        Progress::Done(answer) => super::answer_text(answer),
        Progress::Works | Progress::Gone => text("limits.killed"),
    }
}

/// A directory for such files that lies on a disk, and the disk: a tmpfs's pages are memory.
pub(super) fn directory_on_disk() -> Option<(PathBuf, Disk)> {
    let directories = [PathBuf::from("/var/tmp"), std::env::temp_dir(), PathBuf::from(".")];
    let is_on_disk = |directory: &Path| statfs(directory).is_ok_and(|at| at.filesystem_type() != TMPFS_MAGIC);
    directories.iter().filter(|directory| is_on_disk(directory)).find_map(|directory| {
        let disk = Disk::find(directory.to_str()?).ok()?;
        Some((directory.canonicalize().ok()?, disk))
    })
}

/// An empty file on a disk, and the disk; none where no directory lies on one.
pub(crate) fn file_on_disk(stage: &mut Stage<'_>) -> Result<Option<(String, Disk)>> {
    let Some((directory, disk)) = directory_on_disk() else { return Ok(None) };
    let path = directory.join(stage.unique("load"));
    let words = path.to_string_lossy().into_owned();
    let create = PathCall::Create { path: words.clone(), content: String::new() };
    let answer: Answer = stage.make(create, Undo::RemoveFile { path })?;
    Ok(answer.is_ok().then_some((words, disk)))
}
