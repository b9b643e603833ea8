//! Docker's `HostConfig`: what a container shares with the host, and its limits.

use std::path::Path;

use caps::Capability;
use serde_json::{Map, Value, json};

use super::mounts::{self, size};
use crate::cgroups::blkio::{Blkio, Throttle};
use crate::cgroups::devices::Rule;
use crate::config::container::Namespace;
use crate::container::devices::devices_by_numbers;
use crate::container::links;
use crate::container::network::{add_binding, network_name};
use crate::container::record::lifted;
use crate::container::store::KeptContainer;
use crate::rootfs::dev::SHARED_MEMORY;
use crate::security::capabilities::DEFAULT;
use crate::text::printed;

/// The settings that can change after the container was made, and those in which a client's word means the usual.
pub(super) fn known(container: &KeptContainer) -> Value {
    let record = &container.record;
    let resources = &record.config.environment.resources;
    let (memory, cpu) = (resources.memory.as_ref(), resources.cpu.as_ref());
    // Docker counts memory and swap together. Without a limit of swap alone, any amount may be used.
    let swap = memory.and_then(|memory| {
        let limit = memory.limit?.0;
        Some(memory.swap.map_or(-1, |swap| (limit + swap.0).cast_signed()))
    });
    let number = |name: &str| record.lifted.get(name).copied();
    json!({
        "NetworkMode": match &record.config.environment.namespaces.net {
            Namespace::Join { target, .. } => printed(target.written()),
            _ => network_name(container).to_owned(),
        },
        "Memory": memory.and_then(|memory| memory.limit).map_or(0, |limit| limit.0),
        "MemorySwap": swap.or(number(lifted::MEMORY_SWAP)).unwrap_or(0),
        "MemoryReservation": memory.and_then(|memory| memory.reservation).map_or(0, |limit| limit.0),
        "MemorySwappiness": memory.and_then(|memory| memory.swappiness),
        "NanoCpus": cpu.and_then(|cpu| cpu.cpus).map_or(0, |cpus| (cpus.part() * 1e9) as u64),
        "CpuQuota": cpu.and_then(|cpu| cpu.quota?.try_into().ok()).or(number(lifted::CPU_QUOTA)).unwrap_or(0),
        "CpuPeriod": cpu.and_then(|cpu| cpu.period).unwrap_or(0),
        "CpuShares": cpu.and_then(|cpu| cpu.shares).unwrap_or(0),
        "CpusetCpus": cpu.and_then(|cpu| cpu.cpuset.as_deref()).unwrap_or_default(),
        "CpusetMems": cpu.and_then(|cpu| cpu.mems.as_deref()).unwrap_or_default(),
        "BlkioWeight": resources.blkio.as_ref().and_then(|blkio| blkio.weight).unwrap_or(0),
        "PidsLimit": resources.pids.as_ref().and_then(|pids| pids.max.map(i64::from)).or(number(lifted::PIDS)),
        "AutoRemove": record.auto_remove,
        "Links": links::described(container),
        "RestartPolicy": {
            "Name": record.restart.word(),
            "MaximumRetryCount": record.restart.maximum_retry_count,
        },
        "LogConfig": { "Type": "json-file", "Config": log_options(container) },
    })
}

fn log_options(container: &KeptContainer) -> Value {
    if !container.record.log_written.is_empty() {
        return serde_json::json!(container.record.log_written);
    }
    let log = container.record.log;
    let mut options = Map::new();
    options.extend(log.max_size.map(|size| ("max-size".to_owned(), Value::from(size.to_string()))));
    if log.max_files > 0 {
        options.insert("max-file".to_owned(), Value::from(log.max_files.to_string()));
    }
    Value::Object(options)
}

/// All others, where a client has not written them.
pub(super) fn other(container: &KeptContainer) -> Value {
    let parts = [isolation(container), files(container), limits(container), unused()];
    let keys = parts.into_iter().flat_map(|part| match part {
        Value::Object(keys) => keys,
        _ => Map::new(),
    });
    Value::Object(keys.collect())
}

/// Namespaces, privileges, network.
fn isolation(container: &KeptContainer) -> Value {
    let config = &container.record.config;
    let (environment, process) = (&config.environment, &config.process);
    let namespaces = &environment.namespaces;
    let (added, dropped) = capabilities(container);
    let keeps_all = process.capabilities.is_none() || added.len() + DEFAULT.len() >= ALL;
    let is_privileged = environment.root.is_some()
        && keeps_all
        && process.seccomp.is_none()
        && environment.masked_paths.is_empty();
    let has_shm = environment.root.is_none()
        || environment.mounts.iter().any(|mount| mount.destination.as_os_str() == SHARED_MEMORY);
    let mut options = Vec::new();
    if process.no_new_privileges {
        options.push("no-new-privileges");
    }
    if process.seccomp.is_none() && !is_privileged {
        options.push("seccomp=unconfined");
    }
    let sysctls = environment.sysctls.0.iter();
    let sysctls = sysctls.map(|(name, value)| (name.to_string(), value.to_string().into()));
    json!({
        "PortBindings": bindings(container),
        "CapAdd": added,
        "CapDrop": dropped,
        "CgroupnsMode": mode(&namespaces.cgroup, "private"),
        "Dns": environment.nameservers.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "ExtraHosts": environment.hosts.iter().map(|line| host_line(line)).collect::<Vec<_>>(),
        "GroupAdd": process.additional_gids.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "IpcMode": mode(&namespaces.ipc, if has_shm { "private" } else { "none" }),
        "PidMode": mode(&namespaces.pid, ""),
        "UTSMode": mode(&namespaces.uts, ""),
        "Privileged": is_privileged,
        "SecurityOpt": Some(options).filter(|options| !options.is_empty()),
        "Sysctls": sysctls.collect::<Map<String, Value>>(),
        "Init": namespaces.pid.options().is_some_and(|pid| pid.init).then_some(true),
    })
}

/// The root filesystem and what is mounted in it.
fn files(container: &KeptContainer) -> Value {
    let environment = &container.record.config.environment;
    let mnt = environment.namespaces.mnt.options();
    let is_read_only =
        environment.root.as_ref().map_or(mnt.is_some_and(|mnt| mnt.readonly), |root| root.readonly);
    json!({
        "Binds": mounts::binds(container),
        "Mounts": mounts::flags(container),
        "ReadonlyRootfs": is_read_only,
        "MaskedPaths": environment.masked_paths.iter().map(|masked| printed(&masked.path)).collect::<Vec<_>>(),
        "ReadonlyPaths": environment.readonly_paths.iter().map(printed).collect::<Vec<_>>(),
        "ShmSize": shared_memory(container),
        "Tmpfs": mounts::tmpfs(container),
    })
}

/// Limits of the cgroups and of the process.
fn limits(container: &KeptContainer) -> Value {
    let config = &container.record.config;
    let usual = Blkio::default();
    let blkio = config.environment.resources.blkio.as_ref().unwrap_or(&usual);
    let (devices, rules) = devices(container);
    let ulimits = config.process.rlimits.0.iter().map(|(resource, limit)| {
        let (soft, hard) = (limit.soft.cast_signed(), limit.hard.cast_signed());
        json!({ "Name": resource.to_string(), "Soft": soft, "Hard": hard })
    });
    json!({
        "Devices": devices,
        "DeviceCgroupRules": Some(rules).filter(|rules| !rules.is_empty()),
        "Ulimits": ulimits.collect::<Vec<_>>(),
        "BlkioDeviceReadBps": throttles(&blkio.read_bps),
        "BlkioDeviceWriteBps": throttles(&blkio.write_bps),
        "BlkioDeviceReadIOps": throttles(&blkio.read_iops),
        "BlkioDeviceWriteIOps": throttles(&blkio.write_iops),
    })
}

/// What no container has here.
fn unused() -> Value {
    json!({
        "ContainerIDFile": "",
        "VolumeDriver": "",
        "VolumesFrom": null,
        "ConsoleSize": [0, 0],
        "Annotations": {},
        "Cgroup": "",
        "DnsOptions": [],
        "DnsSearch": [],
        "UsernsMode": "",
        "PublishAllPorts": false,
        "StorageOpt": {},
        "Runtime": "sandbox",
        "Isolation": "",
        "DeviceRequests": null,
        "CpuRealtimePeriod": 0,
        "CpuRealtimeRuntime": 0,
        "CpuCount": 0,
        "CpuPercent": 0,
        "BlkioWeightDevice": [],
        "IOMaximumIOps": 0,
        "IOMaximumBandwidth": 0,
        "OomKillDisable": false,
        "OomScoreAdj": 0,
        "CgroupParent": "",
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

/// Docker's word for a namespace: `host`, `container:NAME`, or that of a new one.
fn mode<T>(namespace: &Namespace<T>, new: &str) -> String {
    match namespace {
        Namespace::Host => "host".to_owned(),
        Namespace::Join { target, .. } => printed(target.written()),
        Namespace::New(_) => new.to_owned(),
    }
}

/// A line of /etc/hosts, `ADDRESS NAME`, as `--add-host` takes it.
fn host_line(line: &str) -> String {
    match line.split_once(char::is_whitespace) {
        Some((address, name)) => format!("{}:{address}", name.trim()),
        None => line.to_owned(),
    }
}

/// The devices of the host that were asked for by their path, and the rules with numbers.
fn devices(container: &KeptContainer) -> (Vec<Value>, Vec<String>) {
    let (mut devices, mut rules) = (Vec::new(), Vec::new());
    let asked = container.record.config.environment.resources.devices.iter();
    for rule in asked.flat_map(|devices| &devices.rules.allow) {
        match rule {
            Rule::Path(path, access) => devices.push(json!({
                "PathOnHost": printed(path), "PathInContainer": printed(path), "CgroupPermissions": access.to_string(),
            })),
            rule => rules.push(rule.to_string()),
        }
    }
    for (mount, device) in devices_by_numbers(container) {
        rules.retain(|rule| *rule != device.to_string());
        devices.push(json!({
            "PathOnHost": printed(&mount.source), "PathInContainer": printed(&mount.destination),
            "CgroupPermissions": device.access.to_string(),
        }));
    }
    (devices, rules)
}

/// The size of /dev/shm: that of the last filesystem which is mounted there. Zero: it is that of the host.
fn shared_memory(container: &KeptContainer) -> u64 {
    let mounts = container.record.config.environment.mounts.iter();
    mounts.rev().filter(|mount| mount.destination == Path::new(SHARED_MEMORY)).find_map(size).unwrap_or(0)
}

fn throttles(all: &[Throttle]) -> Vec<Value> {
    all.iter().map(|one| json!({ "Path": printed(&one.device), "Rate": one.rate.0 })).collect()
}

/// The ports that its maker has asked for, each with where it is published.
pub(super) fn bindings(container: &KeptContainer) -> Map<String, Value> {
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
