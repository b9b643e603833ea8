//! What a cable to the host is to be called, and which addresses are free for its two ends.

use std::net::Ipv4Addr;

use caps::{CapSet, Capability};

use super::token::token;

/// A veth pair that could be laid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cable {
    /// The device outside. No one else's: 32 random bits are in it, which is what an undo after a crash relies on.
    pub name: String,
    /// The address outside.
    pub outside: Ipv4Addr,
    /// The address inside.
    pub inside: Ipv4Addr,
    /// Whether the caller may make devices outside: CAP_NET_ADMIN is effective.
    pub permitted: bool,
}

/// A network of two hosts.
pub const PREFIX: u8 = 30;

/// Where the networks are taken from: 10.111.100.100/30 to 10.111.227.224/30. Both changing numbers have three digits, so
/// that columns and lines look the same on every run.
const NETWORKS: u32 = 128 * 32;

/// The network of this number.
fn network(number: u32) -> u32 {
    let (third, fourth) = (100 + number / 32, 100 + number % 32 * 4);
    0x0a6f_0000 | third << 8 | fourth
}

impl Cable {
    /// A free name, and the first free network from a random one on: two runs at the same time won't choose the same.
    pub fn gather() -> Option<Cable> {
        let random = token();
        let routes = std::fs::read_to_string("/proc/net/route").unwrap_or_default();
        let network = free_network(&routes, random % NETWORKS)?;
        Some(Cable {
            name: format!("sbx-{random:08x}"),
            outside: Ipv4Addr::from(network + 1),
            inside: Ipv4Addr::from(network + 2),
            permitted: caps::has_cap(None, CapSet::Effective, Capability::CAP_NET_ADMIN).unwrap_or(false),
        })
    }
}

/// The first network that no route leads into, from the one numbered `first` on.
fn free_network(routes: &str, first: u32) -> Option<u32> {
    let mut all = (0..NETWORKS).map(|step| network((first + step) % NETWORKS));
    let taken = taken(routes);
    all.find(|network| !taken.iter().any(|route| meets(*network, PREFIX, *route)))
}

/// Destination and mask of every route, in the words of /proc/net/route.
pub(super) fn taken(routes: &str) -> Vec<(u32, u32)> {
    routes.lines().skip(1).filter_map(destination).collect()
}

/// Whether a route leads into a network. The default route leads everywhere, and so says nothing.
pub(super) fn meets(network: u32, prefix: u8, (to, mask): (u32, u32)) -> bool {
    let all = u32::MAX << (32 - u32::from(prefix));
    mask != 0 && network & mask & all == to & all
}

/// Destination and mask of a line of /proc/net/route, which prints the bytes of the network as a number of this machine.
fn destination(line: &str) -> Option<(u32, u32)> {
    let mut words = line.split_whitespace();
    let mut number =
        |skipped| words.nth(skipped).and_then(|word| u32::from_str_radix(word, 16).ok()).map(u32::from_be);
    Some((number(1)?, number(5)?))
}

#[cfg(test)]
mod tests {
    use super::{NETWORKS, free_network, network};

    fn route(destination: u32, mask: u32) -> String {
        let (to, mask) = (destination.to_be(), mask.to_be());
        format!("eth0\t{to:08X}\t00000000\t0001\t0\t0\t0\t{mask:08X}\t0\t0\t0\n")
    }

    #[test]
    fn a_network_that_a_route_leads_into_is_passed_over() {
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
