//! The pids controller: how many processes and threads a cgroup may have.
//!
//! # What it does
//!
//! It counts the processes and threads of a cgroup. At the limit, fork(2) and clone(2) fail with EAGAIN, in this cgroup
//! only.
//!
//! # Why one wants it
//!
//! The number of PIDs is limited for the whole machine. A program that forks without end (a fork bomb) takes all of
//! them. Then no program can be started any more, not even a shell to stop it.
//!
//! # What you see here
//!
//! pids.max and pids.current in the files of the cgroup, and EAGAIN. The file names are the same in cgroup v1 and
//! cgroup v2.
//!
//! Documentation/admin-guide/cgroup-v1/pids.rst, cgroup-v2.rst (PID)

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::intent;
use crate::error::Error;
use crate::feature::Feature;
use crate::observe::hierarchy::Controller;
use crate::observe::{Observation, cgroup, proc};
use crate::plan::{Context, Draft, Setting};
use crate::text::text;
use crate::value::parse;

/// Options of the pids controller.
#[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args, Serialize, Deserialize, JsonSchema)]
#[group(skip)]
#[serde(deny_unknown_fields, default)]
pub struct Pids {
    /// Maximum number of processes and threads
    #[arg(long, visible_alias = "pids-limit", value_name = "N")]
    #[serde(
        skip_serializing_if = "Option::is_none",
        deserialize_with = "parse::within::<1, 4_194_304, _, _>"
    )]
    #[schemars(range(min = 1, max = 4_194_304), example = 64)]
    pub max: Option<u32>,
}

/// PID_MAX_LIMIT of the kernel, the maximum number of PIDs.
const MOST: u32 = 4_194_304;

impl Pids {
    /// The controllers that these options need.
    pub fn controllers(&self) -> Vec<Controller> {
        vec![Controller::Pids]
    }

    /// The limits, as intents: the files and values of cgroup v1 and of cgroup v2.
    pub fn plan(&self, context: &Context<'_>, draft: &mut Draft) {
        let host = context.host;
        let Some(max) = self.max else { return };
        if !(1..=MOST).contains(&max) {
            let error = Error::failed(draft.option_with(Feature::Pids, "max", max));
            let error = error.why(text("pids.range.why")).todo(text("pids.range.todo"));
            draft.problem_of(Feature::Pids, "max", error);
        }
        let docker = format!("--pids-limit {max}");
        let mut intent = intent(host, Controller::Pids, "pids.max.why", format!("max {max}"), docker);
        intent.v1 = vec![Setting::new("pids.max", max)];
        intent.v2 = intent.v1.clone();
        draft.intent(intent);
    }
}

/// What to observe. A process on each side reads these files.
pub fn observe(process: &str) -> Vec<Observation> {
    let file = |name| cgroup::file(process, Controller::Pids, name, name);
    vec![
        cgroup::membership(process, Controller::Pids),
        file("pids.max"),
        cgroup::counter(process, Controller::Pids, "pids.current", "pids.current", |content| {
            content.trim().to_owned()
        }),
        proc::file("/proc/sys/kernel/pid_max"),
    ]
}
