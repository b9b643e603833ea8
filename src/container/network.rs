//! The network of a container, in Docker's words.

use std::net::Ipv4Addr;

use super::store::KeptContainer;
use crate::config::container::Namespace;
use crate::namespaces::net::Mode;
use crate::observe::net;

/// Docker's word for the network of a container.
pub fn network_mode(container: &KeptContainer) -> &'static str {
    match &container.record.config.environment.namespaces.net {
        Namespace::Host => "host",
        Namespace::Join { .. } => "container",
        Namespace::New(net) if net.mode == Mode::Bridge => "bridge",
        Namespace::New(_) => "none",
    }
}

/// The address of a container that is connected to the bridge, as the kernel shows it of its process.
pub fn bridge_address(container: &KeptContainer) -> Option<Ipv4Addr> {
    if network_mode(container) != "bridge" {
        return None;
    }
    let trie =
        std::fs::read_to_string(format!("/proc/{}/net/fib_trie", container.state.command?.pid)).ok()?;
    let all = net::local_addresses(&trie);
    all.split(' ').filter_map(|one| one.parse().ok()).find(|one: &Ipv4Addr| !one.is_loopback())
}
