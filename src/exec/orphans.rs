//! What the command leaves running, in a container without a PID namespace.
//!
//! When process 1 of a PID namespace ends, the kernel kills all others. Without a new PID namespace, a process that outlives
//! its parent gets process 1 of the machine as its new parent, and runs on after the container. So `sandbox` is a
//! subreaper, prctl(2): such orphans become its children. It reaps those that end, and kills the others after the
//! command has ended. Container engines do the same with the container's cgroup, which an ordinary user may not have.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use nix::sys::prctl::set_child_subreaper;
use nix::unistd::{Pid, getpid};
use rustix::process::{WaitId, WaitIdOptions, WaitOptions, wait, waitid, waitpid};

use super::process;
use crate::plan::call::process::ProcessCall;
use crate::plan::{Call, Plan};
use crate::sys::wait::ended_child;

/// How long a process that is killed may take to end: it may wait for a disk.
const PATIENCE: Duration = Duration::from_secs(5);

/// Becomes the parent of orphans, if the plan needs that: it makes a container, and the kernel does not end it as a whole.
/// The processes of a container that is only entered are not ours. Neither are the children that this process already
/// has: a shell may have started them before it executed `sandbox`. Then it adopts none.
pub(super) fn adopt(plan: &Plan) -> bool {
    let is_entered = plan
        .steps
        .iter()
        .any(|step| matches!(step.call, Call::Process(ProcessCall::Join { pid: Some(_), .. })));
    let is_needed =
        !is_entered && plan.steps.iter().any(super::is_exec) && !super::has_new_pid_namespace(plan);
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

/// Kills all children that are left, and their descendants. Returns their names and PIDs: `sleep (4711)`.
pub(super) fn end() -> Vec<String> {
    let deadline = Instant::now() + PATIENCE;
    let mut ended = BTreeMap::new();
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(Some(_)) => continue,
            // No child is left. This is the usual case.
            Err(rustix::io::Errno::CHILD) => break,
            Ok(None) | Err(_) => {}
        }
        let killed = process::end_descendants(getpid().as_raw(), deadline);
        ended.extend(killed.into_iter().map(|(pid, name)| (pid, format!("{name} ({pid})"))));
        if Instant::now() >= deadline {
            break;
        }
    }
    ended.into_values().collect()
}
