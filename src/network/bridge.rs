//! The bridge that all containers share: a network switch in software. Each container is connected to it by a veth
//! pair. The bridge itself is a device of the host with an address, which is the gateway of the containers. From there
//! the host forwards their packets to other networks. It replaces their source address by its own (masquerading). The
//! kernel remembers each connection, and so forwards the answers to the right container.
//!
//! The rules and settings here, and their reasons:
//! - A container reaches the outside and the host, but no other container: the ports of the bridge are isolated. Two
//!   containers can talk through a published port.
//! - Containers with `neighbours` reach each other, as Docker's do. The bridge itself would let their ports reach the isolated
//!   ones too, and the other way round. So each has a table of the bridge family, which drops frames between its port and
//!   those of others. The names of the ports tell which these are.
//! - A container cannot send packets in the name of another one. A packet or an ARP message with another IPv4 or
//!   hardware address is dropped.
//! - A machine that uses the host as its router reaches no container: only answers are forwarded to a container. If
//!   forwarding was off before, the host forwards nothing else either.
//! - Each run has its own tables with the rules. They are named after its address, so the name is also the claim to that
//!   address. They stay until the container has ended and its port is removed: if `sandbox` is killed, the next command
//!   removes them in this order.
//! - Each run holds a shared lock. The last run is the one that can get an exclusive lock at its end. It removes the
//!   bridge, and turns forwarding off if it was off before.
//!
//! bridge(8), veth(4), nft(8), ip-sysctl

use std::ffi::OsStr;
use std::io;
use std::net::Ipv4Addr;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use nix::errno::Errno;

use super::veth::{PREFIX_OF_NEIGHBOUR, device_name, neighbour_name};
use super::{INSIDE, may_create_devices, refuse, subnet};
use crate::feature::Feature;
use crate::host::run_lock::{self, RunLock};
use crate::host::token::token;
use crate::observe::file;
use crate::plan::call::file::{FileCall, write_once};
use crate::plan::call::net::{DeviceAlias, HardwareAddress, NetCall};
use crate::plan::call::nftables::{
    Chain, ChainKind, ChainPolicy, ChainPriority, FirewallRule, Hook, NftablesCall, PacketMatch,
    PacketVerdict, Table, TableFamily,
};
use crate::plan::order::Phase;
use crate::plan::undo::Undo;
use crate::plan::{Actor, Call, Draft};
use crate::sys::netlink::{self, Link};
use crate::sys::nftables;
use crate::text::{text, text_of_options, text_with};
use crate::value::shell::quote;
use crate::value::typed::TypedCommand;

/// The name of the bridge.
pub(super) const NAME: &str = "sandbox0";

/// The prefix length of its network.
pub const PREFIX: u8 = 24;

/// The number of networks to choose from: 10.111.0.0/24 to 10.111.99.0/24. The networks of veth pairs follow these.
const NETWORKS: u32 = 100;

/// Whether the host forwards packets between devices. ip-sysctl
const FORWARDING: &str = "/proc/sys/net/ipv4/ip_forward";

/// The alias of a bridge for which forwarding was turned on: the run that removes the bridge turns it off again.
const FORWARDING_WAS_OFF: &str = "sandbox: ip_forward was 0";

/// The bridge of this machine, as it is, or as it would be created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bridge {
    /// Its network: 254 hosts, of which the bridge is the first. None if no network is free.
    pub network: Option<Ipv4Addr>,
    /// Whether a device of this name exists that `sandbox` did not create.
    pub is_foreign: bool,
    /// The name of the port that a run would create. It is random, like that of every veth pair.
    pub port: String,
    /// Whether the container reaches others that do the same.
    pub neighbours: bool,
    /// Whether the caller may create devices: CAP_NET_ADMIN is effective.
    pub permitted: bool,
    /// Whether the plan is one of root, which another user only prints.
    pub as_root: bool,
    /// What drops the packets that the bridge forwards: a sentence for each chain, and commands that let them through.
    pub closed: Vec<String>,
}

impl Bridge {
    /// The host's address on it.
    pub fn gateway(&self) -> Option<Ipv4Addr> {
        self.network.map(|network| Ipv4Addr::from(u32::from(network) + 1))
    }

    /// Looks up the bridge. If it exists, its network is used. Otherwise it is the first free one, so that two runs at
    /// the same time choose the same.
    pub fn gather(neighbours: bool, as_root: bool) -> Bridge {
        let (link, routes) = link_and_routes();
        let address = link.as_ref().and_then(own_address);
        let network = address.map(|address| Ipv4Addr::from(u32::from(address) & !0xff));
        Bridge {
            network: network.or_else(|| free_network(&routes)),
            is_foreign: link.is_some() && address.is_none(),
            port: if neighbours { neighbour_name(token()) } else { device_name(token()) },
            neighbours,
            permitted: as_root || may_create_devices(),
            as_root,
            closed: closed_chains(),
        }
    }
}

/// The chains of other programs that drop forwarded packets, such as Docker's and ufw's. Each has the commands that add rules for
/// the packets of the bridge. In nf_tables, a packet must be accepted by all chains. Without CAP_NET_ADMIN, it is not known.
pub fn closed_chains() -> Vec<String> {
    let sentence = |chain: nftables::ClosedChain| {
        let name = |bytes: &[u8]| quote(OsStr::from_bytes(bytes));
        let place = format!("{} {} {}", chain.family, name(&chain.table), name(&chain.name));
        let rules =
            [format!("iifname {NAME} accept"), format!("oifname {NAME} ct state established,related accept")];
        // A line that begins with a blank is a command.
        let rules = rules.map(|rule| format!("\n   nft insert rule {place} {rule}")).concat();
        text_with("net.closed", &[("place", &place)]) + &rules
    };
    nftables::closed_chains(NAME).unwrap_or_default().into_iter().map(sentence).collect()
}

/// The address of our bridge, which is part of its hardware address. None for a device that `sandbox` did not create.
fn own_address(link: &Link) -> Option<Ipv4Addr> {
    HardwareAddress::address_of(link.hardware_address())
}

/// The bridge and the routes at the same moment. If another run creates or removes its bridge between the two, its
/// route looks like that of another program. This run would then choose another network.
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

/// The first free network.
fn free_network(routes: &str) -> Option<Ipv4Addr> {
    subnet::first_free(routes, PREFIX, (0..NETWORKS).map(|index| 0x0a6f_0000 | index << 8))
        .map(Ipv4Addr::from)
}

/// The steps: the bridge and the address before the clone, the veth pair after it.
pub(crate) fn plan(bridge: &Bridge, draft: &mut Draft) {
    let what = text("net.bridge.cannot");
    if !bridge.permitted {
        let as_root =
            format!("{}\n   {}", text("net.bridge.root"), TypedCommand::of_this_process().as_root());
        let todo = [text_of_options(draft.are_flags(Feature::Net), "net.bridge.todo"), as_root];
        return refuse(draft, "mode", &what, text("net.bridge.why"), todo.into());
    }
    if bridge.is_foreign {
        let why = text_with("net.foreign.why", &[("name", NAME)]);
        return refuse(draft, "mode", &what, why, vec![text_with("net.foreign.todo", &[("name", NAME)])]);
    }
    let Some(network) = bridge.network else {
        return refuse(draft, "mode", &what, text("net.subnet.why"), vec![text("net.subnet.todo")]);
    };
    bridge.closed.iter().for_each(|closed| draft.kept_note(format!("net: {closed}")));
    let gateway = bridge.gateway().unwrap_or(network);
    plan_bridge(network, gateway, bridge, draft);
    plan_port(&bridge.port, bridge.neighbours, gateway, draft);
}

/// The bridge, and a claim to one address of its network.
fn plan_bridge(network: Ipv4Addr, gateway: Ipv4Addr, bridge: &Bridge, draft: &mut Draft) {
    let port = bridge.port.as_str();
    let (at, name, net) = (Phase::Bridge, NAME.to_owned(), Feature::Net);
    // A process that removes the bridge holds the lock only for milliseconds.
    let lock =
        FileCall::LockShared { path: run_lock::path(&run_lock::of_bridge(), bridge.as_root), seconds: 5 };
    draft.step(at, Actor::Host, net, lock, "net.share.why");
    let hardware = HardwareAddress::of(gateway);
    let undo = Undo::RemoveBridge { name: name.clone() };
    let add = NetCall::AddBridge { name: name.clone(), hardware };
    draft.undoable(at, Actor::Host, net, add, "net.bridge.made.why", undo);
    let mut step = |call: Call, why| draft.step(at, Actor::Host, net, call, why);
    let (device, address) = (name.clone(), Some(gateway.into()));
    step(NetCall::AddAddress { device, address, prefix: PREFIX, shared: true }.into(), "net.gateway.why");
    step(NetCall::LinkUp { name }.into(), "net.bridge.up.why");
    step(
        NetCall::Enable { setting: FORWARDING.into(), note: forwarding_was_off() }.into(),
        "net.forward.why",
    );
    // Undone last but one, after the port, and with both tables of the run: the container never has a port without them.
    let undo = Undo::RemoveTables { comment: port.to_owned() };
    let claim = NftablesCall::ClaimAddress { network, table: forwarding_rules(port, bridge.neighbours) };
    draft.undoable(at, Actor::Host, net, claim, "net.claim.why", undo);
}

/// The veth pair between the bridge and the container.
fn plan_port(port: &str, neighbours: bool, gateway: Ipv4Addr, draft: &mut Draft) {
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
    // Both come before the port is up, so no packet can come out of it before.
    match neighbours {
        true => step(NftablesCall::NewTable { table: neighbour_rules(port) }.into(), "net.neighbours.why"),
        false => step(NetCall::Isolate { port: name.clone() }.into(), "net.isolate.why"),
    }
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

/// The packets that the host forwards. Only answers are forwarded to the container. If forwarding was off before, a
/// packet is dropped if it neither comes from the bridge nor goes to it.
///
/// If br_netfilter is loaded (Docker loads it), these chains get the packets between neighbours too.
fn forwarding_rules(port: &str, neighbours: bool) -> Table {
    use PacketMatch::{IpDestination, IpSource, KnownConnection, NotReceivedBy, NotSentBy, ReceivedBy};
    use PacketVerdict::{Accept, Drop, Masquerade};
    let (not_from, not_to) = (NotReceivedBy(NAME.into()), NotSentBy(NAME.into()));
    let not_ours = rule([not_from, not_to.clone()], Drop);
    let of_neighbours = neighbours.then(|| rule([IpDestination, ReceivedBy(NAME.into())], Accept));
    let mut rules = vec![rule([IpDestination, KnownConnection], Accept)];
    rules.extend(of_neighbours);
    rules.push(rule([IpDestination], Drop));
    rules.push(FirewallRule { only_if: Some(forwarding_was_off()), ..not_ours });
    let forward = forward_chain(rules);
    let postrouting = Chain {
        name: "postrouting".into(),
        kind: ChainKind::Nat,
        hook: Hook::Postrouting,
        priority: ChainPriority::Srcnat,
        policy: ChainPolicy::Accept,
        rules: vec![rule([IpSource, not_to], Masquerade)],
    };
    table(TableFamily::Ip, port, vec![forward, postrouting])
}

/// The frames that the bridge forwards between the port and others: only the ports of neighbours.
fn neighbour_rules(port: &str) -> Table {
    use PacketMatch::{NotReceivedBy, NotSentBy, ReceivedBy, SentBy};
    let any = format!("{PREFIX_OF_NEIGHBOUR}*");
    let rules = vec![
        rule([ReceivedBy(port.into()), NotSentBy(any.clone())], PacketVerdict::Drop),
        rule([SentBy(port.into()), NotReceivedBy(any)], PacketVerdict::Drop),
    ];
    table(TableFamily::Bridge, port, vec![forward_chain(rules)])
}

fn forward_chain(rules: Vec<FirewallRule>) -> Chain {
    Chain {
        name: "forward".into(),
        kind: ChainKind::Filter,
        hook: Hook::Forward,
        priority: ChainPriority::Filter,
        policy: ChainPolicy::Accept,
        rules,
    }
}

/// The packets that the container may send: IPv4 packets with its source address, and ARP messages about its own
/// address. All others are dropped. So a container can neither use the address of another one nor send IPv6 router
/// advertisements.
fn port_rules(port: &str) -> Table {
    use PacketMatch::{ArpSenderEther, ArpSenderIp, EtherSource, IpSource};
    let ingress = Chain {
        name: "ingress".into(),
        kind: ChainKind::Filter,
        hook: Hook::Ingress(port.into()),
        priority: ChainPriority::Filter,
        policy: ChainPolicy::Drop,
        rules: vec![
            rule([EtherSource, IpSource], PacketVerdict::Accept),
            rule([EtherSource, ArpSenderEther, ArpSenderIp], PacketVerdict::Accept),
        ],
    };
    table(TableFamily::Netdev, port, vec![ingress])
}

fn table(family: TableFamily, port: &str, chains: Vec<Chain>) -> Table {
    Table { family, name: "sandbox-<address>".into(), comment: port.to_owned(), chains }
}

fn rule(matches: impl Into<Vec<PacketMatch>>, verdict: PacketVerdict) -> FirewallRule {
    FirewallRule { matches: matches.into(), verdict, only_if: None }
}

/// The bridge of this name, if `sandbox` created it.
pub(crate) fn find(name: &str) -> Option<Link> {
    netlink::find_link(name).filter(|link| own_address(link).is_some())
}

/// Removes the bridge, if no other run holds the shared lock. Forwarding is turned off first, because only the bridge
/// records whether it was off before.
///
/// A child inherits the lock, until its execve. If a run was killed, its child is killed too, but that may take a
/// moment. So a command that cleans up after such a run waits up to `patience`.
///
/// # Errors
/// EAGAIN: another run uses the bridge. ENODEV: there is no bridge of ours. Those of write(2) and of RTM_DELLINK.
pub(crate) fn remove(name: &str, patience: Duration) -> io::Result<()> {
    let lock = RunLock::exclusive(&run_lock::of_bridge(), patience, || true)?;
    let removed = remove_locked(name);
    lock.release();
    removed
}

fn remove_locked(name: &str) -> io::Result<()> {
    let bridge = find(name).ok_or(Errno::ENODEV)?;
    if bridge.alias() == Some(FORWARDING_WAS_OFF) {
        write_once(FORWARDING, "0")?;
    }
    Ok(netlink::delete_link(name)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_that_overlaps_with_a_route_is_not_chosen() {
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
