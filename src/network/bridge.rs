//! The bridge that all containers share: a switch made of software. Each container is connected to it by a veth pair. The
//! bridge itself is a device of the host with an address, the containers' gateway. From there the host forwards packets to
//! wherever its own go, with its own address as their source (masquerading). An answer finds its way back because the kernel
//! remembers the connection.
//!
//! What the rules and settings here do, and why:
//! - A container reaches the outside and the host, but no other container: the ports of the bridge are isolated. To let two
//!   containers talk, one publishes a port.
//! - A container cannot send as another one: a packet or an ARP message with another address, IPv4 or hardware, is dropped.
//! - A neighbour that uses the host as its router reaches no container: only answers are forwarded to one. If forwarding was
//!   off before, nothing else is forwarded either.
//! - The tables with the rules are removed by the kernel when `sandbox` ends, however it ends. Each run has its own, named
//!   after its address, so the name is also the claim to that address.
//! - Each run holds a shared lock. At its end, the run that gets the lock for itself alone is the last one: it removes the
//!   bridge, and turns forwarding off if it was off before.
//!
//! bridge(8), veth(4), nft(8), ip-sysctl

use std::fs::{self, File};
use std::io;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use rustix::fs::{FlockOperation, flock};

use super::veth::device_name;
use super::{INSIDE, may_create_devices, refuse, subnet};
use crate::feature::Feature;
use crate::host::token::token;
use crate::observe::file;
use crate::plan::call::file::FileCall;
use crate::plan::call::net::{DeviceAlias, HardwareAddress, NetCall};
use crate::plan::call::nftables::{
    Chain, FirewallRule, Hook, NftablesCall, PacketProtocol, Statement, Table, TableFamily,
};
use crate::plan::order::Phase;
use crate::plan::undo::Undo;
use crate::plan::{Actor, Call, Draft};
use crate::sys::netlink::{self, Link};
use crate::text::{text, text_with};

/// Its name.
const NAME: &str = "sandbox0";

/// The prefix length of its network.
const PREFIX: u8 = 24;

/// How many networks there are to choose from: 10.111.0.0/24 to 10.111.99.0/24. Veth pairs take theirs from those behind.
const NETWORKS: u32 = 100;

/// The caller's network namespace. The lock on the bridge is taken on it, since the bridge belongs to it.
const NAMESPACE: &str = "/proc/self/ns/net";

/// Whether the host forwards packets from one device to another. ip-sysctl
const FORWARDING: &str = "/proc/sys/net/ipv4/ip_forward";

/// The alias of a bridge for which forwarding was turned on: the run that removes the bridge turns it off again.
const FORWARDING_WAS_OFF: &str = "sandbox: ip_forward was 0";

/// The bridge of this machine, as it is or as it would be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bridge {
    /// Its network: 254 hosts, of which the bridge is the first. None where no network is free.
    pub network: Option<Ipv4Addr>,
    /// Whether there is a device of its name that is not one of ours.
    pub is_foreign: bool,
    /// The name of the port that a run would create. It is random, as that of every veth pair.
    pub port: String,
    /// Whether the caller may create devices: CAP_NET_ADMIN is effective.
    pub permitted: bool,
}

impl Bridge {
    /// The network of the bridge that exists, or else the first free one, so that two runs at the same time choose the same.
    pub fn gather() -> Bridge {
        let (link, routes) = link_and_routes();
        let address = link.as_ref().and_then(own_address);
        let network = address.map(|address| Ipv4Addr::from(u32::from(address) & !0xff));
        Bridge {
            network: network.or_else(|| free_network(&routes)),
            is_foreign: link.is_some() && address.is_none(),
            port: device_name(token()),
            permitted: may_create_devices(),
        }
    }
}

/// The address of a bridge of ours, which its hardware address was made of. None for any other device.
fn own_address(link: &Link) -> Option<Ipv4Addr> {
    HardwareAddress::address_of(link.hardware_address())
}

/// The bridge and the routes at the same moment. If another run's bridge appeared or went away between the two, its route
/// would look like somebody else's, and this run would choose another network.
fn link_and_routes() -> (Option<Link>, String) {
    let mut before = netlink::find_link(NAME);
    loop {
        let routes = file::read_text(subnet::ROUTES).unwrap_or_default();
        let after = netlink::find_link(NAME);
        let identity = |link: &Option<Link>| link.as_ref().map(Link::identity);
        if identity(&before) == identity(&after) {
            return (after, routes);
        }
        before = after;
    }
}

/// The first network that no route leads into.
fn free_network(routes: &str) -> Option<Ipv4Addr> {
    subnet::first_free(routes, PREFIX, (0..NETWORKS).map(|index| 0x0a6f_0000 | index << 8))
        .map(Ipv4Addr::from)
}

/// The steps: the bridge and the address before the clone, the veth pair after it.
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
    plan_bridge(network, gateway, draft);
    plan_port(&bridge.port, gateway, draft);
}

/// The bridge, and a claim to one address of its network.
fn plan_bridge(network: Ipv4Addr, gateway: Ipv4Addr, draft: &mut Draft) {
    let (at, name, net) = (Phase::Bridge, NAME.to_owned(), Feature::Net);
    // A process that removes the bridge holds the lock for milliseconds. But any user may lock the namespace, so the lock is
    // not waited for without limit.
    let lock = FileCall::LockShared { path: NAMESPACE.into(), seconds: Some(5) };
    draft.step(at, Actor::Host, net, lock, "net.share.why");
    let hardware = HardwareAddress::of(gateway);
    let undo = Undo::RemoveBridge { name: name.clone() };
    let add = NetCall::AddBridge { name: name.clone(), hardware };
    draft.undoable(at, Actor::Host, net, add, "net.bridge.made.why", undo);
    let mut step = |call: Call, why| draft.step(at, Actor::Host, net, call, why);
    let (device, address) = (name.clone(), Some(gateway));
    step(NetCall::AddAddress { device, address, prefix: PREFIX, shared: true }.into(), "net.gateway.why");
    step(NetCall::LinkUp { name }.into(), "net.bridge.up.why");
    step(
        NetCall::Enable { setting: FORWARDING.into(), note: forwarding_was_off() }.into(),
        "net.forward.why",
    );
    step(NftablesCall::ClaimAddress { network, table: forwarding_rules() }.into(), "net.claim.why");
}

/// The veth pair between the bridge and the container.
fn plan_port(port: &str, gateway: Ipv4Addr, draft: &mut Draft) {
    let (at, net) = (Phase::Veth, Feature::Net);
    let name = port.to_owned();
    let pair = NetCall::AddVeth {
        name: name.clone(),
        peer: INSIDE.into(),
        pid: None,
        bridge: Some(NAME.into()),
        claimed: true,
    };
    draft.undoable(at, Actor::Host, net, pair, "net.port.why", Undo::DeleteLink { name: name.clone() });
    let mut step = |call: Call, why| draft.step(at, Actor::Host, net, call, why);
    // Both before the port is up, so before any packet comes out of it.
    step(NetCall::Isolate { port: name.clone() }.into(), "net.isolate.why");
    step(NftablesCall::NewTable { table: port_rules(port) }.into(), "net.guard.why");
    step(NetCall::LinkUp { name: name.clone() }.into(), "net.up.why");
    let mut step = |call: NetCall, why| draft.step(Phase::Network, Actor::Child, net, call, why);
    let device = INSIDE.to_owned();
    step(NetCall::AddAddress { device, address: None, prefix: PREFIX, shared: false }, "net.claimed.why");
    step(NetCall::LinkUp { name: INSIDE.into() }, "net.up.why");
    step(NetCall::AddDefaultRoute { gateway }, "net.route.why");
    draft.step(Phase::Carrier, Actor::Host, net, NetCall::AwaitCarrier { name }, "net.carrier.why");
}

fn forwarding_was_off() -> DeviceAlias {
    DeviceAlias { device: NAME.into(), alias: FORWARDING_WAS_OFF.into() }
}

/// What the host forwards. Only answers are forwarded to the container. If forwarding was off before, nothing is forwarded
/// that neither comes from the bridge nor goes to it.
fn forwarding_rules() -> Table {
    use Statement::{
        Accept, Drop, IpDestination, IpSource, KnownConnection, Masquerade, NotReceivedBy, NotSentBy,
    };
    let (not_from, not_to) = (NotReceivedBy(NAME.into()), NotSentBy(NAME.into()));
    let forward = vec![
        rule([IpDestination, KnownConnection, Accept]),
        rule([IpDestination, Drop]),
        FirewallRule { only_if: Some(forwarding_was_off()), ..rule([not_from, not_to.clone(), Drop]) },
    ];
    let postrouting = vec![rule([IpSource, not_to, Masquerade])];
    let chains = [("forward", Hook::Forward, forward), ("postrouting", Hook::Postrouting, postrouting)];
    Table {
        family: TableFamily::Ip,
        name: "sandbox-<address>".into(),
        chains: chains
            .into_iter()
            .map(|(name, hook, rules)| Chain { name: name.into(), hook, drops: false, rules })
            .collect(),
    }
}

/// What the container may send: IPv4 packets from its address, and ARP messages about no other address. Everything else is
/// dropped, so a container can neither take a neighbour's address nor advertise routes (IPv6).
fn port_rules(port: &str) -> Table {
    use Statement::{Accept, ArpSenderEther, ArpSenderIp, EtherSource, IpSource, Protocol};
    let rules = vec![
        rule([EtherSource, Protocol(PacketProtocol::Ip), IpSource, Accept]),
        rule([EtherSource, Protocol(PacketProtocol::Arp), ArpSenderEther, ArpSenderIp, Accept]),
    ];
    let hook = Hook::Ingress(port.into());
    Table {
        family: TableFamily::Netdev,
        name: "sandbox-<address>".into(),
        chains: vec![Chain { name: "ingress".into(), hook, drops: true, rules }],
    }
}

fn rule(statements: impl Into<Vec<Statement>>) -> FirewallRule {
    FirewallRule { statements: statements.into(), only_if: None }
}

/// The bridge of this name, if it is one of ours.
pub(crate) fn find(name: &str) -> Option<Link> {
    netlink::find_link(name).filter(|link| own_address(link).is_some())
}

/// Removes the bridge, if no other run holds the shared lock. Forwarding is turned off first: whether it was off before is only
/// known as long as the bridge exists.
///
/// A child inherits the lock, until its execve. The child of a run that was killed is being killed too, but that may take a
/// moment: a command that cleans up after such a run has `patience`.
///
/// # Errors
/// EAGAIN: another run uses the bridge. ENODEV: there is no bridge of ours. Those of write(2) and of RTM_DELLINK.
pub(crate) fn remove(name: &str, patience: Duration) -> io::Result<()> {
    let deadline = Instant::now() + patience;
    let namespace = File::open(NAMESPACE)?;
    loop {
        match flock(&namespace, FlockOperation::NonBlockingLockExclusive) {
            Err(rustix::io::Errno::AGAIN) if Instant::now() < deadline => {}
            locked => break locked?,
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    let bridge = find(name).ok_or(Errno::ENODEV)?;
    if bridge.alias() == Some(FORWARDING_WAS_OFF) {
        fs::write(FORWARDING, "0")?;
    }
    Ok(netlink::delete_link(name)?)
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
