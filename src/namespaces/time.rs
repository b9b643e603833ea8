//! The time namespace: offsets of two clocks.
//!
//! CLOCK_BOOTTIME and CLOCK_MONOTONIC get an offset per namespace, so that a container that moves to another machine
//! doesn't see its clocks jump. The wall clock (CLOCK_REALTIME) is one for all: date(1) shows no difference.
//! The offsets are written to /proc/PID/timens_offsets after unshare(2) and before the first process enters: the
//! caller itself stays in the old namespace. time_namespaces(7), Linux 5.6
//!
//! What you'll see: /proc/uptime is later by the offset, `time` and `time_for_children` differ while it's being made.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::feature::Feature;
use crate::observe::{Observation, proc};
use crate::plan::call::process::{Namespaces, ProcessCall};
use crate::plan::call::time::{Clock, TimeCall};
use crate::plan::order::Phase;
use crate::plan::{Actor, Context, Draft};
use crate::value::units::Offset;

/// Options of the time namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args, Serialize, Deserialize, JsonSchema)]
#[group(skip)]
#[serde(deny_unknown_fields, default)]
pub struct Time {
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
    /// The steps: unshare, write the offsets; the clone that enters comes after (see `plan::order`).
    pub fn plan(&self, _context: &Context<'_>, draft: &mut Draft) {
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
}

/// The files that show it; read by a process on each side.
pub fn observe(process: &str) -> Vec<Observation> {
    vec![
        proc::file(&format!("{process}/timens_offsets")),
        proc::clock_boottime(),
        proc::clock_monotonic(),
        proc::clock_realtime(),
    ]
}
