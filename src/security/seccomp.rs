//! The seccomp filter: a program that the kernel runs before each system call.
//!
//! # What it is
//!
//! A filter gets the number of the system call, its architecture and its arguments. It cannot read the memory that an
//! argument points to. It decides what happens: the call is made, it fails with an errno, or the process is killed. A
//! child inherits the filter, and nobody can remove it. If a process has several filters, the kernel runs all of them.
//!
//! # Why one wants it
//!
//! All processes of a machine use the same kernel, which has some 360 system calls. A program needs a few dozen of
//! them, and most vulnerabilities are in the others.
//!
//! # The default filter
//!
//! It is a list of allowed calls, much like docker's:
//!
//! - A known call that is not allowed fails with EPERM. A call on no list fails with ENOSYS, as on a kernel that is too
//!   old for it, so that programs fall back to an older call. clone3(2) is on no list: its flags are in memory, where
//!   the filter cannot read them. Those of clone(2) are in an argument.
//! - A call that needs a capability is allowed if `capabilities` keeps this capability.
//! - The calls of 32-bit programs (i386 on x86_64) have other numbers, so the filter has a second table for them. Each
//!   call gets the action of the native one.
//! - A call of any other architecture kills the process by SIGSYS, because its numbers have unknown meanings.
//!
//! # What you see
//!
//! `Seccomp: 2` in `/proc/PID/status`, and EPERM although root has the capability. seccomp(2)

mod calls;
#[cfg(target_arch = "x86_64")]
mod i386;
mod program;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use self::program::FilterInstruction;
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
    /// The default filter.
    #[default]
    Default,
    /// No filter.
    None,
}

impl Seccomp {
    /// The step. Without no_new_privileges it needs CAP_SYS_ADMIN, so it comes in an earlier phase then.
    pub fn plan(self, context: &Context<'_>, draft: &mut Draft) {
        if self == Seccomp::None {
            return;
        }
        let program = program::filter(context.keeps).iter().map(FilterInstruction::word).collect();
        let phase = if context.no_new_privileges { Phase::Filter } else { Phase::PrivilegedFilter };
        let call = RestrictCall::Filter { program };
        draft.step(phase, Actor::Command, Feature::Seccomp, call, "seccomp.filter.why");
    }
}

/// What to observe. A process on each side reads these lines.
pub fn observe(process: &str) -> Vec<Observation> {
    status(process, ["Seccomp", "Seccomp_filters"])
}

/// What the filter does with a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FilterAction {
    /// The call is made.
    Allow,
    /// The call fails with EPERM.
    Deny,
    /// The call fails with ENOSYS, as on a kernel that does not have it.
    Absent,
    /// The process is killed by SIGSYS.
    Kill,
}

#[cfg(test)]
mod tests;
