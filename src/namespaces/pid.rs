//! The pid namespace: numbers for processes, and a process 1.
//!
//! A process has one number in each pid namespace from its own up to the first one, the outermost. The caller of
//! clone(2) or unshare(2) never moves: its *children* are born in the new namespace, the first of them as process 1.
//! Process 1 gets the orphans, is spared signals that it has no handler for, and takes the whole namespace with it
//! when it ends. /proc shows the pid namespace of the process that mounted it, so a new one has to be mounted, which
//! takes a mount table of one's own. pid_namespaces(7)
//!
//! What you'll see: `NSpid:` in /proc/PID/status has one number per level; /proc lists only what's inside.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::feature::Feature;
use crate::observe::{Observation, proc};
use crate::plan::call::mount::MountCall;
use crate::plan::call::process::ProcessCall;
use crate::plan::order::Phase;
use crate::plan::{Actor, Context, Draft};

/// Options of the PID namespace.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args, Serialize, Deserialize, JsonSchema)]
#[group(skip)]
#[serde(deny_unknown_fields, default)]
pub struct Pid {
    /// Whether a new /proc is mounted for the namespace; --no-mount-proc keeps the old one
    #[arg(long = "no-mount-proc", action = clap::ArgAction::SetFalse)]
    pub mount_proc: bool,
    /// Run a small init as process 1; it starts COMMAND, reaps orphans and forwards signals
    #[arg(long)]
    pub init: bool,
}

impl Default for Pid {
    fn default() -> Self {
        Pid { mount_proc: true, init: false }
    }
}

impl Pid {
    /// The steps: the namespace at clone, then its /proc, then an init if wanted. A root of its own comes with its /proc.
    pub fn plan(&self, context: &Context<'_>, draft: &mut Draft) {
        draft.isolate(Feature::Pid);
        if self.mount_proc && !context.has_rootfs {
            let mount = MountCall::Filesystem { kind: "proc".into(), target: "/proc".into(), data: None };
            draft.step(Phase::Proc, Actor::Child, Feature::Pid, mount, "pid.proc.why");
        }
        if self.init {
            draft.step(Phase::Init, Actor::Child, Feature::Pid, ProcessCall::ForkCommand, "pid.init.why");
        }
    }
}

/// The files that show it; read by a process on each side.
pub fn observe(_process: &str) -> Vec<Observation> {
    vec![proc::processes(), proc::link("/proc/self")]
}
