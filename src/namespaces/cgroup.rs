//! The cgroup namespace: where the tree of cgroups seems to begin.
//!
//! It limits nothing. It hides the path: the cgroup in which a process was when the namespace was made becomes the
//! root `/` of what /proc/self/cgroup and the mount table show to the processes in it. cgroup_namespaces(7)
//!
//! What you'll see: `0::/name` outside is `0::/` inside; a mount of the hierarchy that was there before shows the
//! root `/..`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::feature::Feature;
use crate::observe::{Observation, proc};
use crate::plan::{Context, Draft};

/// Options of the cgroup namespace: none.
#[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args, Serialize, Deserialize, JsonSchema)]
#[group(skip)]
#[serde(deny_unknown_fields, default)]
pub struct Cgroup {}

impl Cgroup {
    /// The steps: the namespace is all. On v1 it must be made after joining the cgroup that shall be its root.
    pub fn plan(&self, _context: &Context<'_>, draft: &mut Draft) {
        draft.isolate(Feature::Cgroup);
    }
}

/// The files that show it; read by a process on each side.
pub fn observe(process: &str) -> Vec<Observation> {
    proc::cgroups(process)
}
