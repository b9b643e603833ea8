//! Finds a free IPv4 network: one that overlaps with no route of the caller's network namespace.

/// The path of the IPv4 routing table. proc_net(5)
pub(super) const ROUTES: &str = "/proc/net/route";

/// The first of these networks, with this prefix length, that is free. `routes` is the content of /proc/net/route.
pub(super) fn first_free(routes: &str, prefix: u8, mut networks: impl Iterator<Item = u32>) -> Option<u32> {
    let taken: Vec<(u32, u32)> = routes.lines().skip(1).filter_map(destination).collect();
    networks.find(|network| !taken.iter().any(|route| overlaps(*network, prefix, *route)))
}

/// Whether a route, given by its destination and mask, overlaps with a network. The default route matches every
/// address, so it does not show that a network is in use.
fn overlaps(network: u32, prefix: u8, (destination, mask): (u32, u32)) -> bool {
    let own_mask = u32::MAX << (32 - u32::from(prefix));
    mask != 0 && network & mask & own_mask == destination & own_mask
}

/// The destination and the mask of a line of /proc/net/route. The kernel prints an address as a hexadecimal integer in
/// the byte order of the machine, but the address itself is in network byte order.
///
/// The crate procfs reads this file too, but one unexpected line makes it reject the whole table. Every network would
/// then look free. Here only that line is ignored.
fn destination(line: &str) -> Option<(u32, u32)> {
    let mut fields = line.split_whitespace();
    let mut number =
        |skipped| fields.nth(skipped).and_then(|field| u32::from_str_radix(field, 16).ok()).map(u32::from_be);
    Some((number(1)?, number(5)?))
}
