//! Readers of /proc/PID/net: the network namespace of a process. proc_pid_net(5)

use std::ffi::{OsStr, OsString};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::ffi::OsStrExt;

use procfs::FromReadSI;
use procfs::net::{TcpNetEntries, TcpState, UdpNetEntries, UdpState};

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

/// The names of the network devices in the caller's network namespace, from /proc/self/net/dev. A name can be any bytes.
///
/// # Errors
/// Those of open(2) and read(2).
pub fn own_devices() -> io::Result<Vec<OsString>> {
    let table = file::read("/proc/self/net/dev")?;
    let name = |line: &[u8]| {
        let end = line.iter().position(|byte| *byte == b':')?;
        Some(OsStr::from_bytes(line[..end].trim_ascii()).to_owned())
    };
    // The first two lines are headings.
    Ok(table.split(|byte| *byte == b'\n').skip(2).filter_map(name).collect())
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

/// The addresses on which a TCP socket listens in a process's network namespace, over IPv4 and IPv6.
///
/// # Errors
/// Those of open(2) and read(2).
pub fn tcp_listeners(process: &str) -> io::Result<Vec<SocketAddr>> {
    addresses_in(process, "tcp", |table| {
        let all = TcpNetEntries::from_read(table, procfs::current_system_info()).map(|all| all.0)?;
        let listening = all.into_iter().filter(|socket| socket.state == TcpState::Listen);
        Ok(listening.map(|socket| socket.local_address).collect())
    })
}

/// The addresses to which an unconnected UDP socket is bound in a process's network namespace, over IPv4 and IPv6.
///
/// # Errors
/// Those of open(2) and read(2).
pub fn udp_listeners(process: &str) -> io::Result<Vec<SocketAddr>> {
    addresses_in(process, "udp", |table| {
        let all = UdpNetEntries::from_read(table, procfs::current_system_info()).map(|all| all.0)?;
        let bound = all.into_iter().filter(|socket| socket.state == UdpState::Close);
        Ok(bound.map(|socket| socket.local_address).collect())
    })
}

/// The addresses in two tables of sockets, sorted, each once.
fn addresses_in(
    process: &str,
    name: &str,
    read: impl Fn(&[u8]) -> procfs::ProcResult<Vec<SocketAddr>>,
) -> io::Result<Vec<SocketAddr>> {
    let mut found = Vec::new();
    for file in [name.to_owned(), format!("{name}6")] {
        match file::read(format!("{process}/net/{file}")) {
            Ok(table) => found.extend(read(&table).map_err(io::Error::other)?),
            // A kernel without IPv6 has no second file.
            Err(error) if file.ends_with('6') && error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

/// The UNIX sockets in a process's network namespace.
pub fn unix_sockets(process: &str) -> Observation {
    sockets(&format!("{process}/net/unix"), &[3, 4, 5, 6, 7], &["address", "references"])
}

/// Whether there is a default route, in the tables of IPv4 and IPv6. Each network namespace has an IPv6 route to everything
/// by lo, which rejects packets.
pub fn has_default_route(route: &str, ipv6_route: &str) -> bool {
    let is_default = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        fields.get(1) == Some(&"00000000") && fields.get(7) == Some(&"00000000")
    };
    let is_default_v6 = |line: &str| {
        let mut fields = line.split_whitespace();
        fields.nth(1) == Some("00")
            && line.starts_with("00000000000000000000000000000000 ")
            && fields.last() != Some("lo")
    };
    route.lines().skip(1).any(is_default) || ipv6_route.lines().any(is_default_v6)
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
