//! What connects a network namespace to the outside. A new network namespace has only a loopback device, which is down.
//! A container needs a connection to the host to reach anything.
//!
//! | file | content |
//! |---|---|
//! | `veth` | a veth pair between the host and one container |
//! | `bridge` | the bridge that all containers share: its facts, steps, firewall rules and removal |
//! | `ports` | how a published port is written |
//! | `publish` | published ports: a port of the host that leads to one inside, through a relay process |
//! | `subnet` | which IPv4 networks are free |
//! | `user` | the network of an ordinary user: a program copies packets to sockets of the user |

pub mod bridge;
pub mod ports;
pub mod publish;
mod subnet;
pub mod user;
pub mod veth;

use std::net::Ipv4Addr;

use caps::{CapSet, Capability};

use self::bridge::Bridge;
use self::ports::Port;
use self::publish::PortFacts;
use self::user::UserNetwork;
use self::veth::Veth;
use crate::error::Error;
use crate::feature::Feature;
use crate::host::nameservers::{Nameservers, RESOLV_CONF};
use crate::plan::call::gate::GateCall;
use crate::plan::call::mount::MountCall;
use crate::plan::order::Phase;
use crate::plan::{Actor, Draft};
use crate::text::text_with;

/// The word for the address at which a container reaches the host, in a line of /etc/hosts: Docker's.
pub const HOST_GATEWAY: &str = "host-gateway";

/// The name of the device inside, as in a Docker container.
pub(crate) const INSIDE: &str = "eth0";

/// Whether a network device of the host is one of ours, by its name: the bridge, or the outer device of a veth pair. Our
/// nf_tables tables have such a name as their comment.
pub fn is_our_device(name: &str) -> bool {
    name == bridge::NAME || name.starts_with(veth::PREFIX_OF_NAME)
}

/// The connections that a specification asks for.
#[derive(Debug, Clone, Copy)]
pub struct NetworkRequest<'a> {
    /// A veth pair to the host.
    pub veth: bool,
    /// A port of the bridge.
    pub bridge: bool,
    /// Whether the container reaches the others on the bridge that do the same.
    pub neighbours: bool,
    /// The program that connects an ordinary user's container.
    pub user: bool,
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
    /// What decides which ports can be published. None if none is asked for.
    pub ports: Option<PortFacts>,
    /// The program for an ordinary user. None if it is not asked for.
    pub user: Option<UserNetwork>,
}

impl NetworkFacts {
    /// Looks up the facts on which these connections depend: as the caller, or with `as_root` as root, for a plan that is
    /// only printed.
    pub fn gather(wanted: NetworkRequest<'_>, as_root: bool) -> NetworkFacts {
        let is_root = nix::unistd::geteuid().is_root();
        NetworkFacts {
            veth: wanted.veth.then(|| Veth::gather(as_root)).flatten(),
            bridge: wanted.bridge.then(|| Bridge::gather(wanted.neighbours, as_root)),
            ports: (!wanted.publish.is_empty()).then(|| PortFacts::gather(as_root)),
            user: wanted.user.then(|| UserNetwork::gather(as_root || is_root)),
        }
    }

    /// The address at which a container with this network reaches the host.
    pub fn host_gateway(&self) -> Option<Ipv4Addr> {
        let of_bridge = self.bridge.as_ref().and_then(Bridge::gateway);
        of_bridge.or_else(|| self.user.as_ref().and_then(UserNetwork::host_address))
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
    if let Some(ports) = &facts.ports {
        let inside = facts.veth.as_ref().map(|veth| veth.inside);
        publish::plan(wanted, inside, ports, draft);
    }
    if let Some(network) = &facts.user {
        user::plan(network, draft);
    }
    if wanted.veth || wanted.bridge || wanted.user || !wanted.publish.is_empty() {
        draft.step(Phase::Veth, Actor::Host, Feature::Net, GateCall::Release, "net.laid.why");
        draft.step(Phase::Veth, Actor::Child, Feature::Net, GateCall::Await, "net.wait.why");
    }
}

/// Gives a container on the bridge that keeps the host's root filesystem the nameservers that it can reach. Where there
/// is no file with them, says which are not reached. A mount that the user asks for comes later, and covers this one.
pub fn plan_nameservers(nameservers: &Nameservers, draft: &mut Draft) {
    match nameservers.instead.filter(|_| draft.isolates(Feature::Mnt)) {
        Some(file) => {
            let bind = MountCall::Bind { source: file.into(), target: RESOLV_CONF.into() };
            draft.step(Phase::Layers, Actor::Child, Feature::Net, bind, "net.resolvers.why");
        }
        None if nameservers.left_out.is_empty() => {}
        None => {
            let servers = nameservers.left_out.join(", ");
            draft.kept_note(text_with("net.resolvers.note", &[("servers", &servers)]));
        }
    }
}

/// Whether the caller may create network devices outside: CAP_NET_ADMIN is effective.
fn may_create_devices() -> bool {
    caps::has_cap(None, CapSet::Effective, Capability::CAP_NET_ADMIN).unwrap_or(false)
}

/// Adds a problem of an option of the network: what cannot be done, why, and what to do.
fn refuse(draft: &mut Draft, key: &str, what: &str, why: String, todo: Vec<String>) {
    let what = format!("{what} ({})", draft.option(Feature::Net, key));
    draft.problem_of(Feature::Net, key, Error { todo, ..Error::failed(what).why(why) });
}
