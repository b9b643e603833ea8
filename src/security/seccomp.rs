//! The filter of system calls: a program that the kernel asks before each of them.
//!
//! Every process on the machine talks to one kernel by some 360 calls; a program uses a few dozen, and most holes of the
//! kernel lie in the others. A filter sees the number of the call, the architecture that it's of, and its arguments as
//! numbers: what they point at it can't see. It answers: let it pass, or fail with this errno, or end the process. It is
//! inherited, it can't be taken off, and several are all asked. seccomp(2)
//!
//! The default is a list of what is allowed, much like docker's:
//!
//! - What is known and refused fails with EPERM; what is on no list with ENOSYS, as on a kernel that is too old for it. So
//!   programs fall back on calls that are known. clone3(2) is left out for that: its flags lie in memory, clone(2)'s don't.
//! - What is refused for want of a capability is allowed where `capabilities` keeps that one.
//! - Calls of another architecture (i386 on x86_64) have other numbers, and end the process.
//!
//! What you'll see: `Seccomp: 2` in `/proc/PID/status`, and EPERM where root, with its capability, would not be refused.

mod calls;
mod program;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use self::program::Instruction;
use super::status;
use crate::feature::Feature;
use crate::observe::Observation;
use crate::plan::call::restrict::RestrictCall;
use crate::plan::order::Phase;
use crate::plan::{Actor, Context, Draft};
use crate::value::parse::Scalar;

/// `seccomp: default`, or `none`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(with = "Scalar", inline, example = &"default")]
pub enum Seccomp {
    /// The list of this file.
    #[default]
    Default,
    /// No filter.
    None,
}

impl Seccomp {
    /// The step: where it stands depends on what lets it be installed.
    pub fn plan(self, context: &Context<'_>, draft: &mut Draft) {
        if self == Seccomp::None {
            return;
        }
        let program = program::filter(context.keeps).iter().map(Instruction::word).collect();
        let phase = if context.no_new_privileges { Phase::Filter } else { Phase::PrivilegedFilter };
        let call = RestrictCall::Filter { program };
        draft.step(phase, Actor::Command, Feature::Seccomp, call, "seccomp.filter.why");
    }
}

/// The lines that show it; read by a process on each side.
pub fn observe(process: &str) -> Vec<Observation> {
    status(process, ["Seccomp", "Seccomp_filters"])
}

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// It is made.
    Allow,
    /// It fails with EPERM.
    Deny,
    /// It fails with ENOSYS, as on a kernel that doesn't have it.
    Absent,
    /// The process ends, by SIGSYS.
    Kill,
}

#[cfg(test)]
mod tests;
