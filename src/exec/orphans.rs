//! What the command leaves running, in a container without a PID namespace.
//!
//! When process 1 of a PID namespace ends, the kernel kills all others. Without a new PID namespace, an orphan is
//! reparented to process 1 of the machine, and runs on after the container. So `sandbox` is a subreaper, prctl(2): the
//! orphans become its children. It reaps those that end, and kills the others after the command has ended. Container
//! engines do the same with the container's cgroup, which an ordinary user may not have.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::prctl::set_child_subreaper;
use nix::unistd::{Pid, getpid};
use rustix::process::{WaitId, WaitIdOptions, WaitOptions, wait, waitid, waitpid};

use super::process::{self, OwnNamespaces};
use crate::feature::Feature;
use crate::plan::Plan;
use crate::sys::wait::ended_child;

/// How long processes that are killed may take to end: one may wait for a disk, or create others meanwhile.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long a round waits for the processes that it has killed.
const PAUSE: Duration = Duration::from_millis(5);

/// The number of rounds without a kill and without an end, after which the other processes are left: they belong to
/// another user, or cannot be seen in /proc. One round is not enough: a process can end in the middle of it.
const IDLE_ROUNDS: usize = 10;

/// The maximum number of children that are reaped in a round.
const MAX_REAPED: usize = 1000;

/// What the command had left running. Each process is written as `sleep (4711)`.
#[derive(Debug, Default)]
pub(super) struct LeftRunning {
    /// Those that were killed.
    pub(super) killed: Vec<String>,
    /// Those that still run: the caller may not kill them, or they wait for a disk.
    pub(super) running: Vec<String>,
}

impl LeftRunning {
    fn of(killed: BTreeMap<i32, String>, running: BTreeMap<i32, String>) -> LeftRunning {
        let written = |processes: BTreeMap<i32, String>| {
            processes.into_iter().map(|(pid, name)| format!("{name} ({pid})")).collect()
        };
        LeftRunning { killed: written(killed), running: written(running) }
    }
}

/// Becomes the parent of orphans, if the plan needs that: it makes a container, and the kernel does not end it as a whole.
/// The processes of a container that is only entered are not ours (`Frame::ends_orphans`). Neither are the children that this process already
/// has: a shell may have started them before it executed `sandbox`. Then it adopts none.
pub(super) fn adopt(plan: &Plan) -> bool {
    let is_needed = plan.frame.ends_orphans
        && plan.steps.iter().any(super::is_exec)
        && !super::has_new_pid_namespace(plan);
    is_needed && has_no_child() && set_child_subreaper(true).is_ok()
}

fn has_no_child() -> bool {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    matches!(waitid(WaitId::All, options), Err(rustix::io::Errno::CHILD))
}

/// Reaps the children that have ended, but not `command`.
pub(super) fn reap(command: Pid) {
    while let Some(pid) = ended_child().filter(|pid| *pid != command) {
        let _ = waitpid(rustix::process::Pid::from_raw(pid.as_raw()), WaitOptions::empty());
    }
}

/// Kills all children that are left, and their descendants.
pub(super) fn end() -> LeftRunning {
    let deadline = Instant::now() + PATIENCE;
    let own = getpid().as_raw();
    let (mut killed, mut idle) = (BTreeMap::new(), 0);
    while idle < IDLE_ROUNDS && Instant::now() < deadline {
        // No child is left. At the first time, this is the usual case.
        let Some(reaped) = reap_ended() else { return LeftRunning::of(killed, BTreeMap::new()) };
        let signalled = process::kill_descendants(own);
        let is_idle = reaped == 0 && signalled.is_empty();
        idle = if is_idle { idle + 1 } else { 0 };
        killed.extend(signalled);
        thread::sleep(PAUSE);
    }
    let running = process::descendants(own);
    killed.retain(|pid, _| !running.contains_key(pid));
    LeftRunning::of(killed, running)
}

/// The namespaces by which the orphans of a container are found that is in a joined PID namespace: there, they are reparented
/// to process 1 of that namespace, which belongs to another container. None: the kernel or a subreaper finds them, or no
/// namespace was made for this container.
///
/// An orphan that has left all of them for namespaces of its own is found only by its cgroup, which is killed when it is
/// removed. For root, such a container has one (`config::complete`).
pub(super) fn namespaces_of(plan: &Plan, process: Pid) -> Option<OwnNamespaces> {
    let joins_pids = plan.joined.iter().any(|joined| joined.kind == Feature::Pid);
    joins_pids.then(|| OwnNamespaces::open(process.as_raw(), &plan.namespaces)).flatten()
}

/// Kills the processes that are left in the namespaces of the container.
pub(super) fn end_in(namespaces: &OwnNamespaces) -> LeftRunning {
    let deadline = Instant::now() + PATIENCE;
    let mut killed = BTreeMap::new();
    loop {
        let signalled = namespaces.kill_members();
        if signalled.is_empty() {
            return LeftRunning::of(killed, BTreeMap::new());
        }
        if Instant::now() > deadline {
            return LeftRunning::of(BTreeMap::new(), signalled);
        }
        killed.extend(signalled);
        thread::sleep(PAUSE);
    }
}

/// Reaps the children that have ended, but not more than [`MAX_REAPED`]: others may create new ones without an end.
/// Returns their number, or None if there is no child at all.
fn reap_ended() -> Option<usize> {
    for reaped in 0..MAX_REAPED {
        match wait(WaitOptions::NOHANG) {
            Ok(Some(_)) => {}
            Err(rustix::io::Errno::CHILD) => return None,
            Ok(None) | Err(_) => return Some(reaped),
        }
    }
    Some(MAX_REAPED)
}
