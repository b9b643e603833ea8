//! The cgroup namespace: the root of the cgroup tree that a process sees.
//!
//! # What it is
//!
//! A cgroup namespace changes the paths under which cgroups are shown. The cgroup of the process that makes the
//! namespace becomes its root: the processes in the namespace see it as `/`. The namespace limits nothing. Limits
//! belong to the cgroup.
//!
//! # Why one wants it
//!
//! Without it, /proc/self/cgroup shows a container the path of its cgroup on the host, for example the name of a user's
//! session. A program in the container that manages cgroups also expects to begin at `/`.
//!
//! # The calls
//!
//! clone3(2) or unshare(2) with CLONE_NEWCGROUP makes the namespace, which needs CAP_SYS_ADMIN. The process must be in
//! its cgroup before, because the namespace takes its root from there.
//!
//! # What changes in /proc
//!
//! - `/proc/self/cgroup`: a line `0::/name` outside is `0::/` inside.
//! - `/proc/self/mountinfo`: a cgroup mount that is older than the namespace shows a root such as `/..`, above the new
//!   root.
//!
//! cgroup_namespaces(7)

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::feature::Feature;
use crate::observe::{Observation, proc};
use crate::plan::{Context, Draft};
use crate::value::join::JoinTarget;

/// Options of the cgroup namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args, Serialize, Deserialize, JsonSchema)]
#[group(skip)]
#[serde(deny_unknown_fields, default)]
pub struct Cgroup {
    /// An existing namespace to join: host (your own), container:NAME, or a path such as /proc/123/ns/cgroup
    #[arg(skip)]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"container:web")]
    pub join: Option<JoinTarget>,
}

impl Cgroup {
    /// The steps: only the namespace. With cgroup v1 the child joins its cgroup first, see `plan::order`.
    pub fn plan(&self, context: &Context<'_>, draft: &mut Draft) {
        if !context.joins(Feature::Cgroup) {
            draft.isolate(Feature::Cgroup);
        }
    }

    /// Any option is possible with a namespace that is joined: there is none.
    pub fn check_join(&self, _draft: &mut Draft) {}
}

/// What to observe. A process on each side reads these files.
pub fn observe(process: &str) -> Vec<Observation> {
    proc::cgroups(process)
}
