//! What connects a network namespace to the outside. A new network namespace has only a loopback device, which is down.
//! A container needs a connection to the host to reach anything.
//!
//! | file | content |
//! |---|---|
//! | `veth` | a veth pair between the host and one container |
//! | `bridge` | the bridge that all containers share: its facts, steps, firewall rules and removal |
//! | `ports` | published ports: a port of the host that leads to one inside, through a relay process |
//! | `subnet` | which IPv4 networks are free |

pub mod bridge;
pub mod ports;
mod subnet;
pub mod veth;

use caps::{CapSet, Capability};

use self::bridge::Bridge;
use self::ports::Port;
use self::veth::Veth;
use crate::error::Error;
use crate::feature::Feature;
use crate::plan::call::gate::GateCall;
use crate::plan::order::Phase;
use crate::plan::{Actor, Draft};

/// The name of the device inside, as in a Docker container.
pub(crate) const INSIDE: &str = "eth0";

/// The connections that a specification asks for.
#[derive(Debug, Clone, Copy)]
pub struct NetworkRequest<'a> {
    /// A veth pair to the host.
    pub veth: bool,
    /// A port of the bridge.
    pub bridge: bool,
    /// The published ports.
    pub publish: &'a [Port],
}

/// The facts about this machine's network that a plan needs. Each is looked up only if a specification asks for it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NetworkFacts {
    /// The veth pair that would be created. None if it is not asked for, or if no network is free.
    pub veth: Option<Veth>,
    /// The bridge of this machine's containers. None if it is not asked for.
    pub bridge: Option<Bridge>,
}

impl NetworkFacts {
    /// Looks up the facts on which these connections depend.
    pub fn gather(wanted: NetworkRequest<'_>) -> NetworkFacts {
        NetworkFacts {
            veth: wanted.veth.then(Veth::gather).flatten(),
            bridge: wanted.bridge.then(Bridge::gather),
        }
    }
}

/// The steps of these connections. The child waits until the host has performed its steps.
pub fn plan(wanted: NetworkRequest<'_>, facts: &NetworkFacts, draft: &mut Draft) {
    if wanted.bridge
        && let Some(bridge) = &facts.bridge
    {
        bridge::plan(bridge, draft);
    }
    if wanted.veth {
        veth::plan(facts.veth.as_ref(), draft);
    }
    if !wanted.publish.is_empty() {
        ports::plan(wanted.publish, draft);
    }
    if wanted.veth || wanted.bridge || !wanted.publish.is_empty() {
        draft.step(Phase::Veth, Actor::Host, Feature::Net, GateCall::Release, "net.laid.why");
        draft.step(Phase::Veth, Actor::Child, Feature::Net, GateCall::Await, "net.wait.why");
    }
}

/// Whether the caller may create network devices outside: CAP_NET_ADMIN is effective.
fn may_create_devices() -> bool {
    caps::has_cap(None, CapSet::Effective, Capability::CAP_NET_ADMIN).unwrap_or(false)
}

/// Adds a problem of the network: what cannot be done, why, and what to do.
fn refuse(draft: &mut Draft, what: String, why: String, todo: Vec<String>) {
    draft.problem(Feature::Net, Error { todo, ..Error::failed(what).why(why) });
}
