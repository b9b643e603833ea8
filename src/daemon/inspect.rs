//! GET /containers/NAME/json: everything about a container, with all keys that clients read.

use std::net::Ipv4Addr;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::Daemon;
use super::answer::{Answered, ok};
use super::containers::find;
use super::request::ApiRequest;
use crate::config::container::Namespace;
use crate::container::description::host_config;
use crate::container::listing::{self, inspected};
use crate::container::store::KeptContainer;
use crate::namespaces::net::Mode;
use crate::observe::net;

/// A container.
pub(super) async fn container(_: Arc<Daemon>, request: ApiRequest) -> Answered {
    let with_size = request.query.is("size");
    let container = find(request.name()).await?;
    let found = super::command::blocking(move || Ok(whole(&container, with_size)));
    ok(&found.await?)
}

/// Adds the keys of `more` that are missing, also inside of objects.
fn complete(value: &mut Value, more: Value) {
    match (value, more) {
        (Value::Object(own), Value::Object(more)) => {
            for (name, other) in more {
                match own.get_mut(&name) {
                    Some(value) => complete(value, other),
                    None => drop(own.insert(name, other)),
                }
            }
        }
        (value @ Value::Null, more) => *value = more,
        _ => {}
    }
}

/// The settings that a client has set: without those that are null or empty.
fn set_ones(settings: &Value) -> Value {
    let all = settings.as_object().into_iter().flatten();
    let is_set = |value: &Value| match value {
        Value::Null => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(all) => !all.is_empty(),
        Value::Object(all) => !all.is_empty(),
        _ => true,
    };
    Value::Object(
        all.filter(|(_, value)| is_set(value)).map(|(name, value)| (name.clone(), value.clone())).collect(),
    )
}

fn whole(container: &KeptContainer, with_size: bool) -> Value {
    let record = &container.record;
    let mut value = inspected(container);
    let ports = ports(container);
    let exposed: Map<String, Value> = ports.keys().map(|port| (port.clone(), json!({}))).collect();
    let volumes: Map<String, Value> = record
        .volumes
        .iter()
        .filter(|volume| volume.is_anonymous)
        .map(|volume| (volume.target.to_string_lossy().into_owned(), json!({})))
        .collect();
    if let Some(client) = &record.client {
        // What is known from the container itself is there already, and stays.
        for part in ["Config", "HostConfig"] {
            complete(&mut value[part], set_ones(&client[part]));
        }
    }
    let stdin = record.open_stdin;
    let attaches = !record.stdin_stays;
    complete(
        &mut value,
        json!({
            "State": { "Status": "created" },
            "ResolvConfPath": "",
            "HostnamePath": "",
            "HostsPath": "",
            "Driver": "overlay2",
            "Platform": "linux",
            "MountLabel": "",
            "ProcessLabel": "",
            "AppArmorProfile": "",
            "ExecIDs": null,
            "GraphDriver": { "Name": "overlay2", "Data": {} },
            "Config": {
                "Hostname": "",
                "Domainname": "",
                "AttachStdin": stdin && attaches,
                "AttachStdout": attaches,
                "AttachStderr": attaches,
                "ExposedPorts": exposed,
                "StdinOnce": stdin && attaches,
                "Volumes": volumes,
                "Entrypoint": null,
                "OnBuild": null,
            },
        }),
    );
    complete(&mut value["HostConfig"], host_config(container));
    complete(
        &mut value["NetworkSettings"],
        json!({
            "Bridge": "",
            "SandboxID": "",
            "HairpinMode": false,
            "LinkLocalIPv6Address": "",
            "LinkLocalIPv6PrefixLen": 0,
            "SandboxKey": "",
            "SecondaryIPAddresses": null,
            "SecondaryIPv6Addresses": null,
            "EndpointID": "",
            "Gateway": "",
            "GlobalIPv6Address": "",
            "GlobalIPv6PrefixLen": 0,
            "IPAddress": "",
            "IPPrefixLen": 0,
            "IPv6Gateway": "",
            "MacAddress": "",
            "Networks": networks(container),
        }),
    );
    value["NetworkSettings"]["Ports"] = Value::Object(ports);
    if let Some((address, gateway)) = address(container) {
        for place in ["/NetworkSettings", "/NetworkSettings/Networks/bridge"] {
            if let Some(network) = value.pointer_mut(place) {
                network["IPAddress"] = address.to_string().into();
                network["IPPrefixLen"] = PREFIX.into();
                network["Gateway"] = gateway.as_deref().unwrap_or_default().into();
            }
        }
    }
    value["Mounts"] = mounts(container).into();
    if with_size {
        let written = container.written_size().ok().flatten().unwrap_or_default();
        value["SizeRw"] = written.into();
        value["SizeRootFs"] = (written + container.lower_size()).into();
    }
    value
}

/// The length of the prefix of the bridge's network.
const PREFIX: u8 = 24;

/// The address and the gateway of a container that is connected to the bridge, as the kernel shows them of its process.
fn address(container: &KeptContainer) -> Option<(Ipv4Addr, Option<String>)> {
    if network_mode(container) != "bridge" {
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
        (destination == "00000000").then(|| Ipv4Addr::from(bytes).to_string())
    });
    Some((address, gateway))
}

/// The published ports.
pub(super) fn ports(container: &KeptContainer) -> Map<String, Value> {
    let mut ports = Map::new();
    for port in &container.state.ports {
        let binding = json!({ "HostIp": port.at.ip().to_string(), "HostPort": port.at.port().to_string() });
        let bindings = ports.entry(listing::inside(port)).or_insert_with(|| json!([]));
        bindings.as_array_mut().into_iter().for_each(|all| all.push(binding.clone()));
    }
    ports
}

/// Docker's word for the network of a container.
pub(super) fn network_mode(container: &KeptContainer) -> String {
    match &container.record.config.environment.namespaces.net {
        Namespace::Host => "host".to_owned(),
        Namespace::Join { .. } => "container".to_owned(),
        Namespace::New(net) if net.mode == Mode::Bridge => "bridge".to_owned(),
        Namespace::New(_) => "none".to_owned(),
    }
}

/// Its networks.
pub(super) fn networks(container: &KeptContainer) -> Value {
    let mode = network_mode(container);
    if mode == "container" {
        return json!({});
    }
    let endpoint = json!({
        "IPAMConfig": null, "Links": null, "Aliases": null, "NetworkID": super::networks::id_of(&mode),
        "EndpointID": "", "Gateway": "", "IPAddress": "", "IPPrefixLen": 0, "IPv6Gateway": "",
        "GlobalIPv6Address": "", "GlobalIPv6PrefixLen": 0, "MacAddress": "", "DriverOpts": null, "DNSNames": null,
    });
    json!({ mode: endpoint })
}

/// Its volumes and the directories of the host.
pub(super) fn mounts(container: &KeptContainer) -> Vec<Value> {
    let mut mounts = inspected(container)["Mounts"].as_array().cloned().unwrap_or_default();
    for mount in &mut mounts {
        let propagation = if mount["Type"] == "bind" { "rprivate" } else { "" };
        complete(mount, json!({ "Mode": "", "Propagation": propagation }));
    }
    mounts
}
