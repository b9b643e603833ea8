//! What hardens a container. Namespaces change what a process sees, cgroups how much it gets; these change what it may still
//! ask of the kernel. Each binds a process and all that it makes, and none can be taken back from inside.
//!
//! One file per thing: what the kernel does, its key, its steps, what to look at.

pub mod capabilities;
pub mod rlimits;
pub mod run_as;
pub mod seccomp;

use crate::feature::Feature;
use crate::observe::{Observation, proc};
use crate::plan::call::restrict::RestrictCall;
use crate::plan::order::Phase;
use crate::plan::{Actor, Draft};

/// `no_new_privileges`: from then on execve(2) gives nothing that the process doesn't have. Set-user-id programs and files
/// with capabilities run as what they are without. It also lets anyone install a filter of system calls, since no such
/// program can be misled by it any more. prctl(2), PR_SET_NO_NEW_PRIVS
pub fn plan_no_new_privileges(draft: &mut Draft) {
    let (phase, call) = (Phase::NoNewPrivs, RestrictCall::NoNewPrivileges);
    draft.step(phase, Actor::Command, Feature::Capabilities, call, "capabilities.nonew.why");
}

/// All that the kernel shows of a process's hardening.
pub fn observe(process: &str) -> Vec<Observation> {
    [capabilities::observe(process), seccomp::observe(process), rlimits::observe(process)].concat()
}

/// These lines of a process's status file.
fn status<const N: usize>(process: &str, fields: [&str; N]) -> Vec<Observation> {
    fields.map(|field| proc::status(&format!("{process}/status"), field)).to_vec()
}
