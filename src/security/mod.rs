//! What restricts a process of a container, a page for each. Namespaces change what a process sees, and cgroups limit
//! how much it gets. The restrictions here reduce what it may ask of the kernel. They apply to a process and all its
//! descendants, and no process can remove them from itself.
//!
//! Each page has the same order: what the kernel does, why one wants it, what you see, the key of the spec, the steps,
//! what to observe, the tests.

pub mod capabilities;
pub mod rlimits;
pub mod run_as;
pub mod seccomp;

use crate::feature::Feature;
use crate::observe::{Observation, proc};
use crate::plan::call::restrict::RestrictCall;
use crate::plan::order::Phase;
use crate::plan::{Actor, Draft};

/// `no_new_privileges`: after this step, execve(2) gives the process no privileges that it does not have. The
/// set-user-ID bit and the capabilities of a program are ignored. A process without privileges may then also install a
/// seccomp filter, because the filter cannot mislead a privileged program. prctl(2), PR_SET_NO_NEW_PRIVS
pub fn plan_no_new_privileges(draft: &mut Draft) {
    let (phase, call) = (Phase::NoNewPrivs, RestrictCall::NoNewPrivileges);
    draft.step(phase, Actor::Command, Feature::Capabilities, call, "capabilities.nonew.why");
}

/// All that the kernel shows of the restrictions of a process.
pub fn observe(process: &str) -> Vec<Observation> {
    [capabilities::observe(process), seccomp::observe(process), rlimits::observe(process)].concat()
}

/// Lines of the status file of a process.
fn status<const N: usize>(process: &str, fields: [&str; N]) -> Vec<Observation> {
    fields.map(|field| proc::status(&format!("{process}/status"), field)).to_vec()
}
