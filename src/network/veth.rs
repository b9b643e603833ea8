//! A veth pair: two network devices that are connected. A packet that is sent on one device is received on the other.
//! One device is in the caller's network namespace, and the other is created in the container's. When one of these
//! namespaces ends, the kernel removes both devices.
//!
//! Both devices get an address of the same free /30 network. So host and container can reach each other, and nothing
//! else.
//!
//! veth(4), rtnetlink(7)

use std::net::{IpAddr, Ipv4Addr};

use super::{INSIDE, may_create_devices, refuse, subnet};
use crate::feature::Feature;
use crate::host::token::token;
use crate::observe::file;
use crate::plan::call::net::NetCall;
use crate::plan::order::Phase;
use crate::plan::undo::Undo;
use crate::plan::{Actor, Draft};
use crate::text::text;
use crate::value::typed::TypedCommand;

/// The name and the addresses of the veth pair that a run would create.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Veth {
    /// The name of the device outside. It contains 32 random bits, so no other device has it. The undo after a crash
    /// relies on that.
    pub name: String,
    /// The address outside.
    pub outside: Ipv4Addr,
    /// The address inside.
    pub inside: Ipv4Addr,
    /// Whether the caller may create devices outside: CAP_NET_ADMIN is effective.
    pub permitted: bool,
}

/// The prefix length of a network with two hosts.
pub const PREFIX: u8 = 30;

/// The number of networks to choose from: 10.111.100.100/30 to 10.111.227.224/30. The two numbers that vary have three
/// digits each, so columns and lines have the same width on every run.
const NETWORKS: u32 = 128 * 32;

/// The address of the network with this index.
fn network(index: u32) -> u32 {
    let (third, fourth) = (100 + index / 32, 100 + index % 32 * 4);
    0x0a6f_0000 | third << 8 | fourth
}

impl Veth {
    /// Chooses a random name and a free network. The search begins at a random network, so that two runs at the same
    /// time do not choose the same one. None if no network is free.
    pub fn gather(as_root: bool) -> Option<Veth> {
        let random = token();
        let routes = file::read_text(subnet::ROUTES).unwrap_or_default();
        let network = free_network(&routes, random % NETWORKS)?;
        Some(Veth {
            name: device_name(random),
            outside: Ipv4Addr::from(network + 1),
            inside: Ipv4Addr::from(network + 2),
            permitted: as_root || may_create_devices(),
        })
    }
}

/// How the names of outer devices begin.
pub(super) const PREFIX_OF_NAME: &str = "sbx-";

/// How the names of ports of the bridge begin whose containers reach each other. No hexadecimal digit follows the hyphen, so no
/// other name begins so.
pub(super) const PREFIX_OF_NEIGHBOUR: &str = "sbx-n";

/// The name of the outer device of a veth pair, from 32 random bits.
pub(super) fn device_name(random: u32) -> String {
    format!("{PREFIX_OF_NAME}{random:08x}")
}

/// The same, for a container that reaches others like it.
pub(super) fn neighbour_name(random: u32) -> String {
    format!("{PREFIX_OF_NEIGHBOUR}{random:08x}")
}

/// The first free network, from the one with the index `first` on.
fn free_network(routes: &str, first: u32) -> Option<u32> {
    subnet::first_free(routes, PREFIX, (0..NETWORKS).map(|step| network((first + step) % NETWORKS)))
}

/// The steps: the pair, with an address for each device, both up. Each side configures its own device. In the
/// container's namespace, the host only creates the device.
pub(crate) fn plan(veth: Option<&Veth>, draft: &mut Draft) {
    let what = text("net.pair.cannot");
    let Some(veth) = veth else {
        return refuse(draft, "veth", &what, text("net.subnet.why"), vec![text("net.subnet.todo")]);
    };
    if !veth.permitted {
        return refuse(
            draft,
            "veth",
            &what,
            text("net.veth.why"),
            vec![
                text("net.veth.todo"),
                format!("{}\n   {}", text("net.bridge.root"), TypedCommand::of_this_process().as_root()),
            ],
        );
    }
    let (at, net) = (Phase::Veth, Feature::Net);
    let name = veth.name.clone();
    let pair =
        NetCall::AddVeth { name: name.clone(), peer: INSIDE.into(), pid: None, bridge: None, claimed: false };
    let undo = Undo::DeleteLink { name: name.clone() };
    draft.undoable(at, Actor::Host, net, pair, "net.pair.why", undo);
    let address = |device: &str, address| NetCall::AddAddress {
        device: device.to_owned(),
        address: Some(IpAddr::V4(address)),
        prefix: PREFIX,
        shared: false,
    };
    draft.step(at, Actor::Host, net, address(&name, veth.outside), "net.address.why");
    draft.step(at, Actor::Host, net, NetCall::LinkUp { name: name.clone() }, "net.up.why");
    let at = Phase::Network;
    draft.step(at, Actor::Child, net, address(INSIDE, veth.inside), "net.address.why");
    draft.step(at, Actor::Child, net, NetCall::LinkUp { name: INSIDE.into() }, "net.up.why");
    draft.step(Phase::Carrier, Actor::Host, net, NetCall::AwaitCarrier { name }, "net.carrier.why");
}

#[cfg(test)]
mod tests {
    use super::{NETWORKS, free_network, network};

    fn route(destination: u32, mask: u32) -> String {
        let (to, mask) = (destination.to_be(), mask.to_be());
        format!("eth0\t{to:08X}\t00000000\t0001\t0\t0\t0\t{mask:08X}\t0\t0\t0\n")
    }

    #[test]
    fn a_network_that_overlaps_with_a_route_is_not_chosen() {
        let heading = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n";
        let default = heading.to_owned() + &route(0, 0);
        assert_eq!(free_network(&default, 5), Some(network(5)));
        let one = default.clone() + &route(network(5), 0xffff_fffc);
        assert_eq!(free_network(&one, 5), Some(network(6)));
        let host = default.clone() + &route(network(5) + 1, 0xffff_ffff);
        assert_eq!(free_network(&host, 5), Some(network(6)));
        let last = default.clone() + &route(network(NETWORKS - 1) & 0xffff_ff00, 0xffff_ff00);
        assert_eq!(free_network(&last, NETWORKS - 1), Some(network(0)));
        let all = default + &route(0x0a00_0000, 0xff00_0000);
        assert_eq!(free_network(&all, 5), None);
    }
}
