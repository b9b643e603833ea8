//! The PID namespace: process IDs, and a process 1.
//!
//! # What it is
//!
//! A process has a PID in its own PID namespace and one in each namespace above it, up to the initial one. It sees only
//! the processes of its own namespace and of those below. The first process in a namespace is process 1, its init:
//!
//! - Orphans in the namespace are reparented to it, and it must reap them.
//! - A signal from inside the namespace has an effect on it only if it has installed a handler. From outside, SIGKILL
//!   and SIGSTOP always work.
//! - When it ends, the kernel kills all processes of the namespace.
//!
//! # Why one wants it
//!
//! A process in a container cannot see the processes of the host, or send them signals. When process 1 ends, no process
//! of the container is left behind.
//!
//! # The calls
//!
//! clone3(2) with CLONE_NEWPID makes the namespace, with the child as process 1. unshare(2) and setns(2) never move the
//! caller: only its later children are in the other namespace. All of them need CAP_SYS_ADMIN.
//!
//! # What changes in /proc
//!
//! - `NSpid:` in `/proc/PID/status` has one PID for each level.
//! - A proc filesystem shows the PID namespace of the process that mounted it. Inside, /proc therefore shows the
//!   host's processes until a new one is mounted, which needs a new mount namespace. Then it lists only the processes
//!   inside.
//!
//! pid_namespaces(7)

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::feature::Feature;
use crate::observe::{Observation, proc};
use crate::plan::call::mount::MountCall;
use crate::plan::call::process::ProcessCall;
use crate::plan::order::Phase;
use crate::plan::{Actor, Context, Draft};
use crate::value::join::JoinTarget;

/// Options of the PID namespace.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args, Serialize, Deserialize, JsonSchema)]
#[group(skip)]
#[serde(deny_unknown_fields, default)]
pub struct Pid {
    /// An existing namespace to join: host (your own), container:NAME, or a path such as /proc/123/ns/pid
    #[arg(skip)]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"container:web")]
    pub join: Option<JoinTarget>,
    /// Whether a new /proc is mounted for the namespace
    #[arg(
        long = "no-mount-proc",
        action = clap::ArgAction::SetFalse,
        help = "Keep the old /proc, which shows the host's processes"
    )]
    pub mount_proc: bool,
    /// Run a small init as process 1; it starts COMMAND, reaps orphans and forwards signals
    #[arg(long)]
    pub init: bool,
}

impl Default for Pid {
    fn default() -> Self {
        Pid { join: None, mount_proc: true, init: false }
    }
}

impl Pid {
    /// The steps: the namespace, its /proc, and an init if it is asked for. A new root filesystem mounts /proc itself.
    pub fn plan(&self, context: &Context<'_>, draft: &mut Draft) {
        let is_joined = context.joins(Feature::Pid);
        if !is_joined {
            draft.isolate(Feature::Pid);
        }
        if self.mount_proc && !context.has_rootfs {
            let mount = MountCall::Filesystem { kind: "proc".into(), target: "/proc".into(), data: None };
            draft.step(Phase::Proc, Actor::Child, Feature::Pid, mount, "pid.proc.why");
        }
        if self.init && !is_joined {
            draft.step(Phase::Init, Actor::Child, Feature::Pid, ProcessCall::ForkCommand, "pid.init.why");
        }
    }

    /// Refuses options that would change a namespace that is not this container's alone.
    pub fn check_join(&self, draft: &mut Draft) {
        if let Some(join) = self.join.as_ref().filter(|_| self.init) {
            draft.refuse_joined(Feature::Pid, "init", true, join, "pid.joined.reason");
        }
    }
}

/// What to observe. A process on each side reads these files.
pub fn observe(_process: &str) -> Vec<Observation> {
    vec![proc::processes(), proc::link("/proc/self")]
}
