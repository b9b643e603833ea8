//! Shared by the demonstrations of cgroup limits: watches processes at work and the kernel's counters of their cgroups.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::statfs::{TMPFS_MAGIC, statfs};

use super::plot::Plot;
use super::{Evidence, Stage};
use crate::error::{Error, Result};
use crate::feature::Feature;
use crate::host::Disk;
use crate::observe::cgroup::ProcessCgroup;
use crate::observe::hierarchy::Controller;
use crate::plan::undo::Undo;
use crate::teach::agent::{Agent, Answer, Progress};
use crate::teach::call::PathCall;
use crate::text::{printed, text};
use crate::value::shell::quote;

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
        stage.draw(plot);
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

/// What a user can see of limits who may not make a cgroup.
pub struct OwnCgroup {
    /// The path of the caller's cgroup, and the contents of its files.
    pub evidence: Vec<Evidence>,
    /// The lines with which a user sees the same in a shell.
    pub lines: Vec<String>,
}

/// The caller's own cgroup of a controller. Files that it does not have are left out.
pub fn own(feature: Feature) -> OwnCgroup {
    // Each file with its names in cgroup v1 and v2.
    let (controller, files): (Controller, &[(&str, &str)]) = match feature {
        Feature::Cpu => (
            Controller::Cpu,
            &[("cpu.shares", "cpu.weight"), ("cpu.cfs_quota_us", "cpu.max"), ("cpu.stat", "cpu.stat")],
        ),
        Feature::Blkio => (
            Controller::Io,
            &[("blkio.throttle.write_bps_device", "io.max"), ("blkio.throttle.io_service_bytes", "io.stat")],
        ),
        Feature::Devices => (Controller::Devices, &[("devices.list", "cgroup.controllers")]),
        Feature::Pids => (Controller::Pids, &[("pids.max", "pids.max"), ("pids.current", "pids.current")]),
        _ => (
            Controller::Memory,
            &[
                ("memory.limit_in_bytes", "memory.max"),
                ("memory.usage_in_bytes", "memory.current"),
                ("memory.oom_control", "memory.events"),
            ],
        ),
    };
    let (mut evidence, mut lines) = (vec![], vec![]);
    if let Some(cgroup) = ProcessCgroup::of("/proc/self", controller) {
        let name = cgroup.controller_name();
        let directory = cgroup.directory();
        let seen = |source: String, value: String| Evidence { side: "OUTSIDE", source, value };
        evidence.push(seen(format!("<{name}>, the directory"), printed(directory)));
        lines.extend(["cat /proc/self/cgroup".to_owned(), format!("cd {}", quote(directory))]);
        for (v1, v2) in files {
            let file = cgroup.name(v1, v2);
            if let Some(content) = cgroup.read(v1, v2) {
                let content = content.lines().take(4).collect::<Vec<_>>().join(", ");
                let content = if content.is_empty() { text("limits.own.empty") } else { content };
                evidence.push(seen(format!("<{name}>/{file}"), content));
                lines.push(format!("cat {file}"));
            }
        }
    }
    OwnCgroup { evidence, lines }
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
