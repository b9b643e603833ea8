//! A container as `inspect` prints it: with all of Docker's keys that a template may ask for, also where there is nothing to say.

use std::path::Path;

use caps::Capability;
use serde_json::{Map, Value, json};

use super::listing::{bound, inside, inspected};
use super::network::{bridge_address, network_mode};
use super::store::KeptContainer;
use crate::config::container::Namespace;
use crate::security::capabilities::DEFAULT;
use crate::text::printed;

/// The length of the prefix of the bridge's network.
const PREFIX: u8 = 24;

/// Everything about a container.
pub fn described(container: &KeptContainer) -> Value {
    let mut value = inspected(container);
    for mount in value["Mounts"].as_array_mut().into_iter().flatten() {
        complete(mount, json!({ "Mode": "", "Propagation": "" }));
    }
    complete(&mut value, whole(container));
    complete(&mut value["Config"], config(container));
    complete(&mut value["HostConfig"], host_config(container));
    complete(&mut value["NetworkSettings"], network(container));
    value
}

/// Adds to a description how much the container has written, and the size of all its files.
pub fn add_sizes(value: &mut Value, container: &KeptContainer) {
    let written = container.written_size().ok().flatten().unwrap_or_default();
    value["SizeRw"] = written.into();
    value["SizeRootFs"] = (written + container.lower_size()).into();
}

/// Adds the keys of `more` that are missing or null.
fn complete(value: &mut Value, more: Value) {
    let (Value::Object(own), Value::Object(more)) = (value, more) else { return };
    for (name, other) in more {
        match own.get_mut(&name) {
            None => drop(own.insert(name, other)),
            Some(value) if value.is_null() => *value = other,
            Some(_) => {}
        }
    }
}

fn whole(container: &KeptContainer) -> Value {
    // The three files that a container with a root filesystem has of its own.
    let own = |name: &str| {
        let path = container.directory.path().join(name);
        if path.exists() { printed(path) } else { String::new() }
    };
    json!({
        "ResolvConfPath": own("resolv.conf"),
        "HostnamePath": own("hostname"),
        "HostsPath": own("hosts"),
        "Driver": "overlay2",
        "Platform": "linux",
        "MountLabel": "",
        "ProcessLabel": "",
        "AppArmorProfile": "",
        "ExecIDs": null,
        "GraphDriver": { "Name": "overlay2", "Data": {} },
    })
}

fn config(container: &KeptContainer) -> Value {
    let record = &container.record;
    let attaches = !record.stdin_stays;
    let volumes = record.volumes.iter().filter(|volume| volume.is_anonymous);
    let volumes: Map<String, Value> = volumes.map(|volume| (printed(&volume.target), json!({}))).collect();
    let exposed: Map<String, Value> =
        bindings(container).into_iter().map(|(port, _)| (port, json!({}))).collect();
    json!({
        // A new UTS namespace begins with the hostname of the host.
        "Hostname": rustix::system::uname().nodename().to_string_lossy(),
        "Domainname": "",
        "AttachStdin": record.open_stdin && attaches,
        "AttachStdout": attaches,
        "AttachStderr": attaches,
        "StdinOnce": record.open_stdin && attaches,
        "ExposedPorts": exposed,
        "Volumes": volumes,
        "Entrypoint": null,
        "OnBuild": null,
    })
}

/// Docker's `HostConfig`: what the container shares with the host, and its limits.
pub fn host_config(container: &KeptContainer) -> Value {
    let config = &container.record.config;
    let (environment, process) = (&config.environment, &config.process);
    let (added, dropped) = capabilities(container);
    let mnt = environment.namespaces.mnt.options();
    let root = environment.root.as_ref();
    let keeps_all = process.capabilities.is_none() || added.len() + DEFAULT.len() >= ALL;
    let pid = environment.namespaces.pid.options();
    json!({
        "Binds": binds(container),
        "ContainerIDFile": "",
        "NetworkMode": network_mode(container),
        "PortBindings": bindings(container),
        "VolumeDriver": "",
        "VolumesFrom": null,
        "CapAdd": added,
        "CapDrop": dropped,
        "Dns": environment.nameservers.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "DnsOptions": [],
        "DnsSearch": [],
        "ExtraHosts": environment.hosts,
        "GroupAdd": process.additional_gids.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "IpcMode": mode(&environment.namespaces.ipc, "private"),
        "PidMode": mode(&environment.namespaces.pid, ""),
        "UTSMode": mode(&environment.namespaces.uts, ""),
        "UsernsMode": "",
        "CgroupnsMode": mode(&environment.namespaces.cgroup, "private"),
        "Privileged": root.is_some()
            && keeps_all
            && process.seccomp.is_none()
            && environment.masked_paths.is_empty(),
        "PublishAllPorts": false,
        "ReadonlyRootfs": root.map_or(mnt.is_some_and(|mnt| mnt.readonly), |root| root.readonly),
        "MaskedPaths": environment.masked_paths.iter().map(|masked| printed(&masked.path)).collect::<Vec<_>>(),
        "ReadonlyPaths": environment.readonly_paths.iter().map(printed).collect::<Vec<_>>(),
        "SecurityOpt": null,
        "ShmSize": 64 << 20,
        "Runtime": "sandbox",
        "Isolation": "",
        "CpuQuota": 0,
        "CpuPeriod": 0,
        "Devices": [],
        "Init": pid.is_some_and(|pid| pid.init),
        "Links": null,
        "Ulimits": [],
        "OomKillDisable": false,
        "Tmpfs": {},
        "Sysctls": {},
        "CgroupParent": "",
        "BlkioWeight": 0,
        "CpusetMems": "",
        "MemorySwappiness": null,
    })
}

/// The number of capabilities from which on all are kept: an older kernel has not the last ones.
const ALL: usize = 38;

/// The capabilities that it has and Docker's containers do not, and the other way round.
fn capabilities(container: &KeptContainer) -> (Vec<String>, Vec<String>) {
    let Some(sets) = &container.record.config.process.capabilities else { return Default::default() };
    let names = |all: &[Capability], without: &[Capability]| {
        all.iter().filter(|one| !without.contains(one)).map(ToString::to_string).collect()
    };
    (names(&sets.bounding, &DEFAULT), names(&DEFAULT, &sets.bounding))
}

/// Docker's word for a namespace: `host`, `container`, or that of a new one.
fn mode<T>(namespace: &Namespace<T>, new: &str) -> String {
    match namespace {
        Namespace::Host => "host".to_owned(),
        Namespace::Join { target, .. } => target.to_string(),
        Namespace::New(_) => new.to_owned(),
    }
}

/// The volumes with a name and the directories of the host, as `-v` takes them.
fn binds(container: &KeptContainer) -> Vec<String> {
    let one = |source: String, target: &Path, is_read_only: bool| {
        format!("{source}:{}{}", printed(target), if is_read_only { ":ro" } else { "" })
    };
    let volumes = container.record.volumes.iter().filter(|volume| !volume.is_anonymous);
    let volumes = volumes.map(|volume| one(volume.name.clone(), &volume.target, volume.readonly));
    let read_only = crate::plan::call::detached::Attributes::READ_ONLY;
    let bound = bound(container)
        .map(|mount| one(printed(&mount.source), &mount.destination, mount.attributes().contains(read_only)));
    volumes.chain(bound).collect()
}

/// The ports that its maker has asked for, each with where it is published.
fn bindings(container: &KeptContainer) -> Map<String, Value> {
    let mut all = Map::new();
    let net = container.record.config.environment.namespaces.net.options();
    for port in net.iter().flat_map(|net| &net.publish) {
        let written = port.to_string();
        let (numbers, protocol) = match written.split_once('/') {
            Some((numbers, protocol)) => (numbers, protocol),
            None => (&*written, "tcp"),
        };
        let (host, inside) = numbers.rsplit_once(':').unwrap_or(("", numbers));
        let (ip, host) = host.rsplit_once(':').unwrap_or(("", host));
        add_binding(&mut all, format!("{inside}/{protocol}"), ip, host);
    }
    all
}

fn add_binding(all: &mut Map<String, Value>, inside: String, ip: &str, port: &str) {
    if let Value::Array(bindings) = all.entry(inside).or_insert_with(|| json!([])) {
        bindings.push(json!({ "HostIp": ip, "HostPort": port }));
    }
}

fn network(container: &KeptContainer) -> Value {
    let mut ports = Map::new();
    for port in &container.state.ports {
        add_binding(&mut ports, inside(port), &port.at.ip().to_string(), &port.at.port().to_string());
    }
    let address = bridge_address(container).map(|address| address.to_string());
    let prefix = if address.is_some() { PREFIX } else { 0 };
    let address = address.unwrap_or_default();
    let endpoint = json!({
        "IPAMConfig": null, "Links": null, "Aliases": null, "MacAddress": "", "DriverOpts": null, "NetworkID": "",
        "EndpointID": "", "Gateway": "", "IPAddress": address, "IPPrefixLen": prefix, "IPv6Gateway": "",
        "GlobalIPv6Address": "", "GlobalIPv6PrefixLen": 0, "DNSNames": null,
    });
    let networks = match network_mode(container) {
        "container" => json!({}),
        mode => json!({ mode: endpoint }),
    };
    json!({
        "Bridge": "",
        "SandboxID": "",
        "SandboxKey": "",
        "HairpinMode": false,
        "LinkLocalIPv6Address": "",
        "LinkLocalIPv6PrefixLen": 0,
        "SecondaryIPAddresses": null,
        "SecondaryIPv6Addresses": null,
        "EndpointID": "",
        "Gateway": "",
        "GlobalIPv6Address": "",
        "GlobalIPv6PrefixLen": 0,
        "IPAddress": address,
        "IPPrefixLen": prefix,
        "IPv6Gateway": "",
        "MacAddress": "",
        "Networks": networks,
        "Ports": ports,
    })
}
