//! A bridge: a switch made of software, to which every container is connected by a veth pair. Its own end is this machine's, and from there
//! packets are routed on to wherever this machine's go, under this machine's address (masquerading): an answer finds its way
//! back by the connection that the kernel remembers.
//!
//! What is chosen here, and why:
//! - Containers reach the outside and this machine, and not each other: ports are isolated. Who wants two to talk
//!   publishes a port of the one.
//! - A container can't say that it's another: what leaves its port with another address, of either kind, is dropped there.
//! - Nobody outside reaches a container by taking this machine for a router: only answers are forwarded to it. And where
//!   forwarding was off before, nothing is forwarded but a container's.
//! - The rules are in tables that the kernel removes when `sandbox` ends, however it ends. Each run has its own, named after
//!   its address, so that its name is also the claim to that address.
//!
//! bridge(8), veth(4), nft(8), ip-sysctl

use std::net::Ipv4Addr;

use super::veth::device_name;
use super::{INSIDE, may_create_devices, refuse, subnet};
use crate::feature::Feature;
use crate::host::token::token;
use crate::plan::call::bridge::{BridgeCall, address_of};
use crate::plan::call::net::NetCall;
use crate::plan::order::Phase;
use crate::plan::undo::Undo;
use crate::plan::{Actor, Draft};
use crate::sys::netlink::{self, Link};
use crate::text::{text, text_with};

/// Where containers meet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bridge {
    /// The network: 254 hosts, of which the bridge is the first. None where no network is free.
    pub network: Option<Ipv4Addr>,
    /// Whether a device of its name is there that isn't one of ours.
    pub is_foreign: bool,
    /// What the port of this run would be called. It is random, as the name of every veth pair.
    pub port: String,
    /// Whether the caller may make devices: CAP_NET_ADMIN is effective.
    pub permitted: bool,
}

/// Its name.
pub const NAME: &str = "sandbox0";

/// How many bits name its network.
pub const PREFIX: u8 = 24;

/// The networks that it may lead: 10.111.0.0/24 to 10.111.99.0/24. Veth pairs take theirs from those behind.
const NETWORKS: u32 = 100;

impl Bridge {
    /// The network of the bridge that is there, or else the first free one: two runs at the same time choose the same.
    pub fn gather() -> Bridge {
        let (there, routes) = look();
        let own = there.as_ref().and_then(|link| address_of(link.hardware_address()));
        let network = own.map(|address| Ipv4Addr::from(u32::from(address) & !0xff));
        Bridge {
            network: network.or_else(|| free_network(&routes)),
            is_foreign: there.is_some() && own.is_none(),
            port: device_name(token()),
            permitted: may_create_devices(),
        }
    }
}

/// The bridge and the routes of one moment: another run's bridge that came or went between the two would look like a route of
/// somebody else's, and this run would choose another network than that one.
fn look() -> (Option<Link>, String) {
    let mut there = netlink::find_link(NAME);
    loop {
        let routes = std::fs::read_to_string(subnet::ROUTES).unwrap_or_default();
        let after = netlink::find_link(NAME);
        let identity = |link: &Option<Link>| link.as_ref().map(Link::identity);
        if identity(&there) == identity(&after) {
            return (after, routes);
        }
        there = after;
    }
}

/// The first network that no route leads into.
fn free_network(routes: &str) -> Option<Ipv4Addr> {
    subnet::first_free(routes, PREFIX, (0..NETWORKS).map(|index| 0x0a6f_0000 | index << 8))
        .map(Ipv4Addr::from)
}

/// The steps: before the clone the bridge and the address, after it the veth pair.
pub(crate) fn plan(bridge: &Bridge, draft: &mut Draft) {
    let what = text("net.bridge.cannot");
    if !bridge.permitted {
        let todo = [text("net.bridge.todo"), text("net.bridge.root")];
        return refuse(draft, what, text("net.bridge.why"), todo.into());
    }
    if bridge.is_foreign {
        let why = text_with("net.foreign.why", &[("name", NAME)]);
        return refuse(draft, what, why, vec![text_with("net.foreign.todo", &[("name", NAME)])]);
    }
    let Some(network) = bridge.network else {
        return refuse(draft, what, text("net.subnet.why"), vec![text("net.subnet.todo")]);
    };
    let gateway = Ipv4Addr::from(u32::from(network) + 1);
    let (name, net) = (NAME.to_owned(), Feature::Net);
    let mut step = |call: crate::plan::Call, why| draft.step(Phase::Bridge, Actor::Host, net, call, why);
    step(BridgeCall::Share.into(), "net.share.why");
    let undo = Undo::RemoveBridge { name: name.clone() };
    let make = BridgeCall::Make { name: name.clone(), address: gateway };
    draft.undoable(Phase::Bridge, Actor::Host, net, make, "net.bridge.made.why", undo);
    let mut step = |call: crate::plan::Call, why| draft.step(Phase::Bridge, Actor::Host, net, call, why);
    let address =
        NetCall::AddAddress { device: name.clone(), address: Some(gateway), prefix: PREFIX, shared: true };
    step(address.into(), "net.gateway.why");
    step(NetCall::LinkUp { name: name.clone() }.into(), "net.bridge.up.why");
    step(BridgeCall::Forward { bridge: name.clone() }.into(), "net.forward.why");
    step(BridgeCall::Claim { bridge: name.clone(), network }.into(), "net.claim.why");

    let at = Phase::Veth;
    let port = bridge.port.clone();
    let pair = NetCall::AddVeth { name: port.clone(), peer: INSIDE.into(), pid: None, bridge: Some(name) };
    let undo = Undo::DeleteLink { name: port.clone() };
    draft.undoable(at, Actor::Host, net, pair, "net.port.why", undo);
    // Before the port is up: nothing has come out of it yet.
    draft.step(at, Actor::Host, net, NetCall::Isolate { port: port.clone() }, "net.isolate.why");
    draft.step(at, Actor::Host, net, BridgeCall::Guard { port: port.clone() }, "net.guard.why");
    draft.step(at, Actor::Host, net, NetCall::LinkUp { name: port.clone() }, "net.up.why");
    let mut step = |call: NetCall, why| draft.step(Phase::Network, Actor::Child, net, call, why);
    step(
        NetCall::AddAddress { device: INSIDE.into(), address: None, prefix: PREFIX, shared: false },
        "net.claimed.why",
    );
    step(NetCall::LinkUp { name: INSIDE.into() }, "net.up.why");
    step(NetCall::AddDefaultRoute { gateway }, "net.route.why");
    draft.step(Phase::Carrier, Actor::Host, net, NetCall::AwaitCarrier { name: port }, "net.carrier.why");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_that_a_route_leads_into_is_passed_over() {
        let heading = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n";
        let route = |to: [u8; 4], mask: [u8; 4]| {
            let (to, mask) = (u32::from_ne_bytes(to), u32::from_ne_bytes(mask));
            format!("eth0\t{to:08X}\t00000000\t0001\t0\t0\t0\t{mask:08X}\t0\t0\t0\n")
        };
        let none = heading.to_owned() + &route([0; 4], [0; 4]);
        assert_eq!(free_network(&none), Some(Ipv4Addr::new(10, 111, 0, 0)));
        let veth = none.clone() + &route([10, 111, 0, 8], [255, 255, 255, 252]);
        assert_eq!(free_network(&veth), Some(Ipv4Addr::new(10, 111, 1, 0)));
        let wide = none + &route([10, 0, 0, 0], [255, 0, 0, 0]);
        assert_eq!(free_network(&wide), None);
    }
}
