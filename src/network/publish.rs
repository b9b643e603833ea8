//! Published ports: a port of the host that leads to a port in the container.
//!
//! Docker changes addresses in the firewall for this. A packet can then take a path that nobody intended: ports that
//! were published on 127.0.0.1 could be reached from neighbouring machines. Here the port is an ordinary listening
//! socket, which is bound before anything is made. The relay, a process of `sandbox`, accepts connections on it. For
//! each one it connects to the port inside, and forwards the bytes between the two. So the kernel's rules for sockets
//! decide which connections are possible, and ss(8) lists the socket.
//!
//! A socket always belongs to the network namespace in which it was made, whichever process has it. So the relay can be
//! in the container's network namespace and accept connections from the host's. network_namespaces(7), setns(2)
//!
//! # To which address inside
//!
//! A program often trusts its own loopback address: there it answers without a password. So a client from outside must
//! not arrive there (CVE-2021-20199). The relay connects to the address that the container has on the bridge or on its
//! veth pair. A container that has only lo gets two more addresses there, one of IPv4 and one of IPv6. They are for
//! documentation (RFC 5737, RFC 3849), so no network uses them. A server that listens on 0.0.0.0 or on `::` is reached
//! there, and sees the same address as its peer.
//!
//! Only clients of the host's own loopback address may reach 127.0.0.1 and ::1 inside, and only where there is no
//! bridge.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use caps::{CapSet, Capability};

use super::ports::{Port, PortRange};
use super::{NetworkRequest, refuse};
use crate::feature::Feature;
use crate::observe::{file, net};
use crate::plan::call::net::NetCall;
use crate::plan::call::process::{Namespaces, ProcessCall};
use crate::plan::call::publish::{Protocol, PublishCall};
use crate::plan::call::restrict::RestrictCall;
use crate::plan::order::Phase;
use crate::plan::{Actor, Call, Draft};
use crate::text::{text, text_with};

/// Our addresses on the container's lo, with their prefix lengths.
const OWN: [(IpAddr, u8); 2] = [
    (IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2)), 32),
    (IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2)), 128),
];

/// The lowest port that needs no capability. ip-sysctl
const FIRST_UNPRIVILEGED: &str = "/proc/sys/net/ipv4/ip_unprivileged_port_start";

/// What decides which ports of this machine the caller may publish.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PortFacts {
    /// The lowest port that the caller may bind.
    pub first: u16,
    /// The broadcast addresses of the machine's networks. The kernel lets a program bind them.
    pub broadcast: Vec<Ipv4Addr>,
}

impl PortFacts {
    /// Reads the facts.
    pub fn gather(as_root: bool) -> PortFacts {
        let is_privileged = as_root
            || caps::has_cap(None, CapSet::Effective, Capability::CAP_NET_BIND_SERVICE).unwrap_or(false);
        let first = file::read_text(FIRST_UNPRIVILEGED).ok().and_then(|first| first.trim().parse().ok());
        let trie = file::read_text("/proc/self/net/fib_trie").unwrap_or_default();
        PortFacts {
            first: if is_privileged { 0 } else { first.unwrap_or(1024) },
            broadcast: net::broadcast_addresses(&trie),
        }
    }
}

/// The steps: the sockets first of all, then the relay, while the child waits. `inside` is the address of the veth
/// pair's end in the container, if there is one.
pub(super) fn plan(
    wanted: NetworkRequest<'_>,
    inside: Option<Ipv4Addr>,
    facts: &PortFacts,
    draft: &mut Draft,
) {
    if !draft.may_relay() {
        let (what, why) = (text("net.norelay.what"), text("net.norelay.reason"));
        return refuse(draft, "publish", &what, why, Vec::new());
    }
    check(wanted.publish, facts, draft);
    check_ranges(wanted.publish, draft);
    plan_sockets(wanted.publish, draft);
    let mut to: Vec<Option<IpAddr>> = inside.map(|address| Some(address.into())).into_iter().collect();
    if wanted.bridge {
        to = vec![None];
    } else {
        for (address, prefix) in OWN {
            let own =
                NetCall::AddAddress { device: "lo".into(), address: Some(address), prefix, shared: false };
            draft.step(Phase::Network, Actor::Child, Feature::Net, own, "net.own.why");
            to.push(Some(address));
        }
    }
    plan_relay(PublishCall::Serve { to, loopback: !wanted.bridge }, draft);
}

/// Refuses ports that cannot be published, before anything is made.
fn check(ports: &[Port], facts: &PortFacts, draft: &mut Draft) {
    for (index, port) in ports.iter().enumerate() {
        let shown = port.to_string();
        if let Some(earlier) = ports[..index].iter().find(|earlier| earlier.collides_with(port)) {
            let values = [("one", &*earlier.to_string()), ("other", &*shown)];
            let why = text_with("net.twice.why", &values);
            refuse(draft, "publish", &text_with("net.twice", &values), why, vec![text("net.twice.todo")]);
        }
        let what = || text_with("net.publish.cannot", &[("port", &shown)]);
        if let IpAddr::V4(address) = port.address
            && facts.broadcast.contains(&address)
        {
            let why = text_with("net.broadcast.why", &[("address", &address.to_string())]);
            refuse(draft, "publish", &what(), why, vec![text("net.broadcast.todo")]);
        }
        if let Some(host) = port.host.filter(|host| host.first < facts.first) {
            let values = [("port", &*host.first.to_string()), ("first", &facts.first.to_string())];
            let higher = host.raised(facts.first).map(|host| Port { host: Some(host), ..*port }.to_string());
            let mut todo: Vec<String> =
                higher.iter().map(|port| text_with("net.privileged.todo", &[("higher", port)])).collect();
            let sysctl = format!("sudo sysctl net.ipv4.ip_unprivileged_port_start={}", host.first);
            todo.push(format!("{}\n   {sysctl}", text("net.privileged.root")));
            refuse(draft, "publish", &what(), text_with("net.privileged.why", &values), todo);
        }
    }
}

/// Refuses a range of the host's ports if other publications need each of them: all that are fixed, and the earlier
/// ranges, of which each gets its first free port.
fn check_ranges(ports: &[Port], draft: &mut Draft) {
    let mut taken: Vec<Port> = ports.iter().filter(|port| !port.is_chosen()).copied().collect();
    for port in ports.iter().filter(|port| port.is_chosen()) {
        let Some(range) = port.host else { continue };
        let one = |number| PortRange { first: number, last: number };
        let is_free = |own: &Port| !taken.iter().any(|other| other.collides_with(own));
        let candidates = (range.first..=range.last).map(|number| Port { host: Some(one(number)), ..*port });
        match candidates.into_iter().find(is_free) {
            Some(first) => taken.push(first),
            None => {
                let what = text_with("net.publish.cannot", &[("port", &port.to_string())]);
                let why = text_with("net.crowded.why", &[("range", &range.to_string())]);
                refuse(draft, "publish", &what, why, vec![text("net.crowded.todo")]);
            }
        }
    }
}

/// One socket for each port. Ports that are chosen when the container starts come last, so that they do not take one
/// that another publication needs.
fn plan_sockets(ports: &[Port], draft: &mut Draft) {
    let mut sockets = Vec::new();
    for port in ports {
        let one = |host: u16, last, inside| {
            (
                PublishCall::Listen {
                    protocol: port.protocol,
                    at: SocketAddr::new(port.address, host),
                    last,
                    inside,
                },
                port.host.is_none(),
                last.is_some(),
            )
        };
        match port.host {
            Some(host) if port.is_chosen() => {
                sockets.push(one(host.first, Some(host.last), port.inside.first));
            }
            host => {
                let inside = port.inside.first..=port.inside.last;
                sockets.extend(inside.enumerate().map(|(index, inside)| {
                    one(host.map_or(0, |host| host.first + index as u16), None, inside)
                }));
            }
        }
    }
    sockets.sort_by_key(|(_, is_free, is_range)| (*is_free, *is_range));
    for (listen, _, is_range) in sockets {
        let is_udp = matches!(listen, PublishCall::Listen { protocol: Protocol::Udp, .. });
        let why = match (is_range, is_udp) {
            (true, _) => "net.range.why",
            (false, true) => "net.datagrams.why",
            (false, false) => "net.listen.why",
        };
        draft.step(Phase::Prepare, Actor::Host, Feature::Net, listen, why);
    }
}

/// The relay, which joins the container's network while the child waits.
fn plan_relay(serve: PublishCall, draft: &mut Draft) {
    let net = Feature::Net;
    // The container's network namespace belongs to its user namespace. Without a new one, that is the caller's.
    let both = [Feature::User, net];
    let namespaces = Namespaces::of(if draft.isolates(Feature::User) { &both } else { &both[1..] });
    let at = Phase::Veth;
    draft.step(at, Actor::Host, net, ProcessCall::CloneRelay, "net.relay.why");
    let mut step = |call: Call, why| draft.step(at, Actor::Relay, net, call, why);
    step(ProcessCall::Undumpable.into(), "net.untraced.why");
    step(ProcessCall::Join { pid: None, namespaces }.into(), "net.join.why");
    // From here on, the relay does nothing that needs a capability.
    step(RestrictCall::Capabilities { keep: Vec::new(), until_exec: Vec::new() }.into(), "net.powerless.why");
    step(ProcessCall::DieWithParent.into(), "common.pdeathsig.why");
    step(serve.into(), "net.serve.why");
}
