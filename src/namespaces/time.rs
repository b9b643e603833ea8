//! The time namespace: offsets of two clocks.
//!
//! # What it is
//!
//! A time namespace has an offset for CLOCK_BOOTTIME and one for CLOCK_MONOTONIC. A process that reads one of these
//! clocks gets the host's value plus the offset. The wall clock (CLOCK_REALTIME) has no offset, so date(1) shows no
//! difference.
//!
//! # Why one wants it
//!
//! A container can be moved to another machine while it runs. The clocks that count from boot would jump there. With
//! offsets they continue.
//!
//! # The calls
//!
//! unshare(2) with CLONE_NEWTIME makes the namespace, for the later children of the caller. The caller itself stays in
//! the old one. The offsets are written to `/proc/PID/timens_offsets`, which the kernel allows until the first process
//! is in the namespace. Both need capabilities: CAP_SYS_ADMIN to make it, CAP_SYS_TIME to write. Since Linux 5.6.
//!
//! # What changes in /proc
//!
//! - `/proc/PID/ns/time_for_children` differs from `/proc/PID/ns/time` in the process that called unshare.
//! - `/proc/uptime` is later or earlier by the offset inside.
//!
//! time_namespaces(7)

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::feature::Feature;
use crate::observe::{Observation, proc};
use crate::plan::call::process::{Namespaces, ProcessCall};
use crate::plan::call::time::{Clock, TimeCall};
use crate::plan::order::Phase;
use crate::plan::{Actor, Context, Draft};
use crate::value::join::JoinTarget;
use crate::value::units::Offset;

/// Options of the time namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args, Serialize, Deserialize, JsonSchema)]
#[group(skip)]
#[serde(deny_unknown_fields, default)]
pub struct Time {
    /// An existing namespace to join: host (your own), container:NAME, or a path such as /proc/123/ns/time
    #[arg(skip)]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"container:web")]
    pub join: Option<JoinTarget>,
    /// Offset of the boot-time clock inside: seconds, or 90m, 1h, 10d, -30s
    #[arg(long, value_name = "OFFSET", allow_hyphen_values = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"10d")]
    pub boottime: Option<Offset>,
    /// Offset of the monotonic clock inside, in the same form
    #[arg(long, value_name = "OFFSET", allow_hyphen_values = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"-30s")]
    pub monotonic: Option<Offset>,
}

impl Time {
    /// The steps: make the namespace, then write its offsets. The child that enters it is made after that, see
    /// `plan::order`.
    pub fn plan(&self, context: &Context<'_>, draft: &mut Draft) {
        if context.joins(Feature::Time) {
            return;
        }
        draft.isolate(Feature::Time);
        let unshare = ProcessCall::Unshare { namespaces: Namespaces::of(&[Feature::Time]) };
        draft.step(Phase::Offsets, Actor::Helper, Feature::Time, unshare, "time.unshare.why");
        for (clock, offset) in [(Clock::Boottime, self.boottime), (Clock::Monotonic, self.monotonic)] {
            if let Some(Offset(seconds)) = offset {
                let write = TimeCall::WriteOffset { clock, seconds };
                draft.step(Phase::Offsets, Actor::Helper, Feature::Time, write, "time.offset.why");
            }
        }
    }

    /// Refuses options that would change a namespace that is not this container's alone.
    pub fn check_join(&self, draft: &mut Draft) {
        let Some(join) = &self.join else { return };
        for (key, offset) in [("boottime", self.boottime), ("monotonic", self.monotonic)] {
            if let Some(offset) = offset {
                draft.refuse_joined(Feature::Time, key, offset, join, "time.joined.reason");
            }
        }
    }
}

/// What to observe. A process on each side reads these files.
pub fn observe(process: &str) -> Vec<Observation> {
    vec![
        proc::file(&format!("{process}/timens_offsets")),
        proc::clock_boottime(),
        proc::clock_monotonic(),
        proc::clock_realtime(),
    ]
}
