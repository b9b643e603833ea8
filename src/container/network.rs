//! The network of a container, in Docker's words.

use std::net::Ipv4Addr;

use serde_json::{Map, Value, json};

use super::listing::{inside, only_exposed};
use super::store::KeptContainer;
use crate::config::container::{Config, Namespace};
use crate::namespaces::net::Mode;
use crate::network::bridge::{Bridge, PREFIX};
use crate::observe::net;

/// Docker's word for the network of a container.
pub fn network_mode(container: &KeptContainer) -> &'static str {
    match &container.record.config.environment.namespaces.net {
        Namespace::Host => "host",
        Namespace::Join { .. } => "container",
        Namespace::New(net) if net.mode == Mode::Bridge => "bridge",
        Namespace::New(net) if net.mode == Mode::User => "user",
        Namespace::New(_) => "none",
    }
}

/// Whether a container with this config is connected to the bridge.
pub(super) fn is_on_bridge(config: &Config) -> bool {
    matches!(&config.environment.namespaces.net, Namespace::New(net) if net.mode == Mode::Bridge)
}

/// The same as a client of the daemon sees it: an ordinary user's containers have another network in place of the bridge.
pub fn network_name(container: &KeptContainer) -> &'static str {
    let client = container.record.client.as_ref();
    let asked = client.and_then(|client| client["HostConfig"]["NetworkMode"].as_str());
    match network_mode(container) {
        "user" | "none" if asked.is_some_and(|asked| ["bridge", "default"].contains(&asked)) => "bridge",
        mode => mode,
    }
}

/// The ID of a network. There is no file of it, so it is made of its name.
pub fn network_id(name: &str) -> String {
    let hex: String = name.bytes().map(|byte| format!("{byte:02x}")).collect();
    format!("{hex:0<64}")
}

/// The address and the gateway of a container that is connected to the bridge, as the kernel shows them of its process.
pub(super) fn address(container: &KeptContainer) -> Option<(Ipv4Addr, Option<Ipv4Addr>)> {
    if !matches!(network_mode(container), "bridge" | "user") {
        return None;
    }
    let process = format!("/proc/{}", container.state.command?.pid);
    let trie = std::fs::read_to_string(format!("{process}/net/fib_trie")).ok()?;
    let all = net::local_addresses(&trie);
    let address =
        all.split(' ').filter_map(|one| one.parse().ok()).find(|one: &Ipv4Addr| !one.is_loopback())?;
    let routes = std::fs::read_to_string(format!("{process}/net/route")).unwrap_or_default();
    // The destination and the gateway are hexadecimal numbers in the byte order of this machine.
    let gateway = routes.lines().skip(1).find_map(|line| {
        let mut fields = line.split_whitespace().skip(1);
        let (destination, gateway) = (fields.next()?, fields.next()?);
        let bytes = u32::from_str_radix(gateway, 16).ok()?.to_ne_bytes();
        (destination == "00000000").then(|| Ipv4Addr::from(bytes))
    });
    Some((address, gateway))
}

/// The network of the bridge and the host's address in it: as they are, or as the next container would get them. None: an
/// ordinary user has no bridge.
pub fn bridge_addresses() -> Option<(String, Ipv4Addr)> {
    let bridge = Bridge::gather(true, false);
    let (network, gateway) = bridge.network.filter(|_| bridge.permitted).zip(bridge.gateway())?;
    Some((format!("{network}/{PREFIX}"), gateway))
}

/// Docker's `NetworkSettings`.
pub fn network_settings(container: &KeptContainer) -> Value {
    let mut ports = Map::new();
    for port in &container.state.ports {
        add_binding(&mut ports, inside(port), &port.at.ip().to_string(), &port.at.port().to_string());
    }
    for port in only_exposed(container) {
        ports.insert(port.to_owned(), Value::Null);
    }
    let networks = networks(container);
    let running = container.state.command.filter(|_| container.state.status.is_active());
    let running = running.map(|command| command.pid);
    let of = |name: &str| networks.pointer(&format!("/bridge/{name}")).cloned().unwrap_or_else(|| "".into());
    json!({
        "Bridge": "",
        "SandboxID": "",
        // The file of its network, which nsenter(1) can join.
        "SandboxKey": running.map(|pid| format!("/proc/{pid}/ns/net")).unwrap_or_default(),
        "HairpinMode": false,
        "LinkLocalIPv6Address": "",
        "LinkLocalIPv6PrefixLen": 0,
        "SecondaryIPAddresses": null,
        "SecondaryIPv6Addresses": null,
        "EndpointID": "",
        "Gateway": of("Gateway"),
        "GlobalIPv6Address": "",
        "GlobalIPv6PrefixLen": 0,
        "IPAddress": of("IPAddress"),
        "IPPrefixLen": networks.pointer("/bridge/IPPrefixLen").cloned().unwrap_or_else(|| 0.into()),
        "IPv6Gateway": "",
        "MacAddress": "",
        "Networks": networks,
        "Ports": ports,
    })
}

/// Its networks, each with the address that it has there.
pub fn networks(container: &KeptContainer) -> Value {
    let mode = network_name(container);
    if mode == "container" {
        return json!({});
    }
    let (ip, gateway) = address(container).map_or((None, None), |(ip, gateway)| (Some(ip), gateway));
    let written = |address: Option<Ipv4Addr>| address.map(|address| address.to_string()).unwrap_or_default();
    let endpoint = json!({
        "IPAMConfig": null, "Links": null, "Aliases": null, "MacAddress": "", "DriverOpts": null,
        "NetworkID": network_id(mode), "EndpointID": "", "Gateway": written(gateway), "IPAddress": written(ip),
        "IPPrefixLen": if ip.is_some() { PREFIX } else { 0 }, "IPv6Gateway": "", "GlobalIPv6Address": "",
        "GlobalIPv6PrefixLen": 0, "DNSNames": null, "GwPriority": 0,
    });
    json!({ mode: endpoint })
}

/// Adds where a port of the container is published.
pub(super) fn add_binding(all: &mut Map<String, Value>, inside: String, ip: &str, port: &str) {
    if let Value::Array(bindings) = all.entry(inside).or_insert_with(|| json!([])) {
        bindings.push(json!({ "HostIp": ip, "HostPort": port }));
    }
}
