//! The bridge that this machine's containers share, and the network that it leads.

use std::net::Ipv4Addr;

use caps::{CapSet, Capability};

use super::cable::{meets, taken};
use crate::plan::call::bridge::address_of;
use crate::sys::netlink::{self, Link};

/// Where containers meet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bridge {
    /// The network: 254 hosts, of which the bridge is the first. None where no network is free.
    pub network: Option<Ipv4Addr>,
    /// Whether a device of its name is there that isn't one of ours.
    pub is_foreign: bool,
    /// What the port of this run would be called. No one else's: see [`super::Cable`].
    pub port: String,
    /// Whether the caller may make devices: CAP_NET_ADMIN is effective.
    pub permitted: bool,
}

/// Its name.
pub const NAME: &str = "sandbox0";

/// How many bits name its network.
pub const PREFIX: u8 = 24;

/// The networks that it may lead: 10.111.0.0/24 to 10.111.99.0/24. Cables take theirs from those behind.
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
            port: format!("sbx-{:08x}", super::token::token()),
            permitted: caps::has_cap(None, CapSet::Effective, Capability::CAP_NET_ADMIN).unwrap_or(false),
        }
    }
}

/// The bridge and the routes of one moment: another run's bridge that came or went between the two would look like a route of
/// somebody else's, and this run would choose another network than that one.
fn look() -> (Option<Link>, String) {
    let mut there = netlink::find_link(NAME);
    loop {
        let routes = std::fs::read_to_string("/proc/net/route").unwrap_or_default();
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
    let taken = taken(routes);
    let mut all = (0..NETWORKS).map(|number| 0x0a6f_0000 | number << 8);
    all.find(|network| !taken.iter().any(|route| meets(*network, PREFIX, *route))).map(Ipv4Addr::from)
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
        let cable = none.clone() + &route([10, 111, 0, 8], [255, 255, 255, 252]);
        assert_eq!(free_network(&cable), Some(Ipv4Addr::new(10, 111, 1, 0)));
        let wide = none + &route([10, 0, 0, 0], [255, 0, 0, 0]);
        assert_eq!(free_network(&wide), None);
    }
}
