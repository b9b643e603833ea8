//! What connects a network namespace to the outside.
//!
//! | file | what |
//! |---|---|
//! | `veth` | a veth pair between the host and one container |
//! | `bridge` | the bridge that all containers share: its facts, steps, firewall rules and removal |
//! | `ports` | published ports: a port of the host that leads to one inside, through a relay process |
//! | `subnet` | which networks are free |

pub mod bridge;
pub mod ports;
mod subnet;
pub mod veth;

use caps::{CapSet, Capability};

use self::bridge::Bridge;
use self::veth::Veth;
use crate::feature::Feature;
use crate::plan::{Draft, Problem};

/// The name of the device inside, as in a Docker container.
pub(crate) const INSIDE: &str = "eth0";

/// The facts about this machine's network that a plan needs. Each is only looked up where a spec asks for it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NetworkFacts {
    /// What a veth pair to the host would be. None where no network is free.
    pub veth: Option<Veth>,
    /// The bridge of this machine's containers.
    pub bridge: Option<Bridge>,
}

/// Whether the caller may create network devices outside: CAP_NET_ADMIN is effective.
fn may_create_devices() -> bool {
    caps::has_cap(None, CapSet::Effective, Capability::CAP_NET_ADMIN).unwrap_or(false)
}

/// Adds a problem of the network: what cannot be done, why, and what to do.
fn refuse(draft: &mut Draft, what: String, why: String, todo: Vec<String>) {
    draft.problem(Problem { purpose: Feature::Net.into(), what, why, todo });
}
