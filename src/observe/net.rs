//! Readers of /proc/PID/net: the network namespace of a process. proc_pid_net(5)

use std::net::Ipv4Addr;

use super::proc::{listed, observed, refusal};
use super::{Listing, Observation, Value, file};

/// The names of the network devices in a process's network namespace.
pub fn devices(process: &str) -> Observation {
    part(format!("{process}/net/dev"), device_names)
}

/// The names in /proc/PID/net/dev, in the kernel's order. The first two lines are headings, and a colon follows each
/// name. The crate procfs does not keep the order.
pub fn device_names(table: &str) -> String {
    let names = table.lines().skip(2).filter_map(|line| Some(line.split_once(':')?.0.trim()));
    names.collect::<Vec<_>>().join(" ")
}

/// The IPv4 addresses in a process's network namespace. fib_trie is the only file in /proc that has them.
pub fn addresses(process: &str) -> Observation {
    part(format!("{process}/net/fib_trie"), local_addresses)
}

/// The local addresses in a fib_trie: a line `|-- ADDRESS`, and below it `/32 host LOCAL`.
pub fn local_addresses(trie: &str) -> String {
    let (mut found, mut leaf) = (Vec::new(), "");
    for line in trie.lines().map(str::trim) {
        if let Some(address) = line.strip_prefix("|-- ") {
            leaf = address;
        } else if line == "/32 host LOCAL" && !found.contains(&leaf) {
            found.push(leaf);
        }
    }
    if found.is_empty() { "(none)".into() } else { found.join(" ") }
}

/// The broadcast addresses in a fib_trie: a line `|-- ADDRESS`, and below it `/32 link BROADCAST`.
pub fn broadcast_addresses(trie: &str) -> Vec<Ipv4Addr> {
    let lines = trie.lines().map(str::trim);
    let pairs = lines.clone().zip(lines.skip(1));
    pairs
        .filter(|(_, kind)| *kind == "/32 link BROADCAST")
        .filter_map(|(leaf, _)| leaf.strip_prefix("|-- ")?.parse().ok())
        .collect()
}

/// The TCP sockets over IPv4 in a process's network namespace. Queues and timers change while a socket is used.
pub fn tcp_sockets(process: &str) -> Observation {
    sockets(&format!("{process}/net/tcp"), &[1, 2, 3, 7, 9], &["slot", "queues", "timers"])
}

/// The UNIX sockets in a process's network namespace.
pub fn unix_sockets(process: &str) -> Observation {
    sockets(&format!("{process}/net/unix"), &[3, 4, 5, 6, 7], &["address", "references"])
}

/// The rows of a table of sockets, each with these fields alone. The inode of a socket tells it from every other one.
fn sockets(path: &str, fields: &[usize], without: &[&str]) -> Observation {
    let row = |line: &str| {
        let parts: Vec<&str> = line.split_whitespace().collect();
        fields.iter().filter_map(|field| parts.get(*field).copied()).collect::<Vec<_>>().join(" ")
    };
    listed(path, |table| Listing::sorted("rows", table.lines().skip(1).map(row).collect()).without(without))
}

/// A value that `part` extracts from a file.
fn part(path: String, part: impl Fn(&str) -> String) -> Observation {
    let value = match file::read_text(&path) {
        Ok(content) => Value::Is(part(&content)),
        Err(error) => refusal(&error),
    };
    observed(&path, value)
}
