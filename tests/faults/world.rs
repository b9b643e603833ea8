//! What a run could leave on the machine, and whether it did.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::limits;

/// The state of the machine at one moment, one line for each thing.
#[derive(Debug, Default)]
pub(crate) struct World(BTreeSet<String>);

impl World {
    /// Everything that a run can leave: processes (those that have `mark` among their arguments), mounts, network
    /// devices, cgroups without processes, journals without an owner, and the files in `scratch`, the directory for
    /// temporary files.
    pub(crate) fn now(mark: &str, scratch: &Path) -> World {
        let mut all = BTreeSet::new();
        all.extend(processes(mark));
        let table = fs::read_to_string("/proc/self/mountinfo").expect("/proc is mounted");
        all.extend(table.lines().map(|line| format!("mount {line}")));
        let devices = fs::read_to_string("/proc/self/net/dev").expect("/proc is mounted");
        let name = |line: &str| Some(format!("device {}", line.split_once(':')?.0.trim()));
        all.extend(devices.lines().filter_map(name));
        for shared in limits::left().into_iter().filter(|group| is_own(group)) {
            all.extend(below(&shared).filter(|group| is_empty(group)).map(|group| line("group", &group)));
            all.extend(is_empty(&shared).then(|| line("group", &shared)));
        }
        all.extend(journals().into_iter().map(|file| line("file", &file)));
        all.extend(below(scratch).map(|file| line("file", &file)));
        World(all)
    }

    /// What is there now, was not there before, and stays: the files of another running `sandbox` exist only for a
    /// moment.
    pub(crate) fn left_since(&self, mark: &str, scratch: &Path, patience: Duration) -> Vec<String> {
        let new = |world: World| -> BTreeSet<String> { world.0.difference(&self.0).cloned().collect() };
        let mut left = new(World::now(mark, scratch));
        let deadline = Instant::now() + patience;
        while !left.is_empty() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20));
            let still = new(World::now(mark, scratch));
            left.retain(|line| still.contains(line));
        }
        left.into_iter().collect()
    }
}

/// Kills the processes that were left, so that they are reported only once.
pub(crate) fn end_processes(left: &[String]) {
    for pid in left.iter().filter_map(|line| line.strip_prefix("process ")?.parse().ok()) {
        let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
    }
}

fn line(kind: &str, path: &Path) -> String {
    format!("{kind} {}", path.display())
}

fn processes(mark: &str) -> Vec<String> {
    let entries = fs::read_dir("/proc").expect("/proc is mounted").flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_string_lossy().parse::<u32>().ok());
    let is_marked = |pid: &u32| {
        let words = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        *pid != std::process::id() && words.split('\0').any(|word| word == mark)
    };
    pids.filter(is_marked).map(|pid| format!("process {pid}")).collect()
}

fn below(directory: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    // The files in a cgroup belong to the kernel.
    let is_group = directory.starts_with("/sys/fs/cgroup");
    entries.map(|entry| entry.path()).filter(move |path| !is_group || path.is_dir())
}

fn is_own(group: &Path) -> bool {
    fs::metadata(group).is_ok_and(|directory| directory.uid() == nix::unistd::geteuid().as_raw())
}

/// Whether no process is in a cgroup or below it.
fn is_empty(group: &Path) -> bool {
    fs::read_to_string(group.join("cgroup.procs")).is_ok_and(|members| members.is_empty())
        && below(group).all(|group| is_empty(&group))
}

/// The runs whose owner has exited, and RUN if it is unused.
fn journals() -> Vec<PathBuf> {
    let directory = sandbox::host::run_directory::path();
    let is_dead = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        !name.split_once('-').is_some_and(|(pid, _)| Path::new("/proc").join(pid).exists())
    };
    let mut all: Vec<PathBuf> = below(&directory).collect();
    if all.is_empty() && directory.exists() {
        return vec![directory];
    }
    all.retain(is_dead);
    all
}
