//! A bridge: a switch made of software, to which every container has a cable. Its own end is this machine's, and from there
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

use crate::feature::Feature;
use crate::host::Host;
use crate::host::bridge::{NAME, PREFIX};
use crate::namespaces::net::INSIDE;
use crate::plan::call::bridge::BridgeCall;
use crate::plan::call::net::NetCall;
use crate::plan::order::Phase;
use crate::plan::undo::Undo;
use crate::plan::{Actor, Draft, Problem};
use crate::text::{text, text_with};

/// The steps: before the clone the bridge and the address, after it the cable.
pub(crate) fn plan(host: &Host, draft: &mut Draft) {
    let Some(bridge) = &host.bridge else { return };
    if !bridge.permitted {
        let todo = [text("net.bridge.todo"), text("net.bridge.root")];
        return refuse(draft, text("net.bridge.why"), todo.into());
    }
    if bridge.is_foreign {
        let why = text_with("net.foreign.why", &[("name", NAME)]);
        return refuse(draft, why, vec![text_with("net.foreign.todo", &[("name", NAME)])]);
    }
    let Some(network) = bridge.network else {
        return refuse(draft, text("net.subnet.why"), vec![text("net.subnet.todo")]);
    };
    let gateway = std::net::Ipv4Addr::from(u32::from(network) + 1);
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

    let at = Phase::Cable;
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

fn refuse(draft: &mut Draft, why: String, todo: Vec<String>) {
    let what = text("net.bridge.cannot");
    draft.problem(Problem { purpose: Feature::Net.into(), what, why, todo });
}
