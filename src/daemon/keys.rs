//! The keys in a body as Docker's decoder reads them: one that is written in other case is the known key, unless that one is there too.

use serde_json::{Map, Value};

/// The keys of the bodies that are read.
const KEYS: &[&str] = &[
    "Aliases",
    "Annotations",
    "AttachStderr",
    "AttachStdin",
    "AttachStdout",
    "AutoRemove",
    "BindOptions",
    "Binds",
    "BlkioDeviceReadBps",
    "BlkioDeviceReadIOps",
    "BlkioDeviceWriteBps",
    "BlkioDeviceWriteIOps",
    "BlkioWeight",
    "BlkioWeightDevice",
    "CapAdd",
    "CapDrop",
    "Cgroup",
    "CgroupParent",
    "CgroupPermissions",
    "CgroupnsMode",
    "Cmd",
    "Config",
    "ConsoleSize",
    "ContainerIDFile",
    "CpuCount",
    "CpuPercent",
    "CpuPeriod",
    "CpuQuota",
    "CpuRealtimePeriod",
    "CpuRealtimeRuntime",
    "CpuShares",
    "CpusetCpus",
    "CpusetMems",
    "CreateMountpoint",
    "Detach",
    "DetachKeys",
    "DeviceCgroupRules",
    "DeviceRequests",
    "Devices",
    "Dns",
    "DnsOptions",
    "DnsSearch",
    "Domainname",
    "Driver",
    "DriverConfig",
    "DriverOpts",
    "EndpointsConfig",
    "Entrypoint",
    "Env",
    "ExposedPorts",
    "ExtraHosts",
    "GroupAdd",
    "Hard",
    "Healthcheck",
    "HostConfig",
    "HostIp",
    "HostPort",
    "Hostname",
    "IPAMConfig",
    "IPv4Address",
    "IPv6Address",
    "Image",
    "Init",
    "IpcMode",
    "Isolation",
    "KernelMemory",
    "Labels",
    "LinkLocalIPs",
    "Links",
    "LogConfig",
    "MacAddress",
    "MaskedPaths",
    "MaximumRetryCount",
    "Memory",
    "MemoryReservation",
    "MemorySwap",
    "MemorySwappiness",
    "Mode",
    "Mounts",
    "Name",
    "NanoCpus",
    "NetworkDisabled",
    "NetworkMode",
    "NetworkingConfig",
    "NoCopy",
    "NonRecursive",
    "OnBuild",
    "OomKillDisable",
    "OomScoreAdj",
    "OpenStdin",
    "Options",
    "Path",
    "PathInContainer",
    "PathOnHost",
    "PidMode",
    "PidsLimit",
    "PortBindings",
    "Privileged",
    "Propagation",
    "PublishAllPorts",
    "Rate",
    "ReadOnly",
    "ReadOnlyForceRecursive",
    "ReadOnlyNonRecursive",
    "ReadonlyPaths",
    "ReadonlyRootfs",
    "RestartPolicy",
    "Runtime",
    "SecurityOpt",
    "Shell",
    "ShmSize",
    "SizeBytes",
    "Soft",
    "Source",
    "StdinOnce",
    "StopSignal",
    "StopTimeout",
    "StorageOpt",
    "Subpath",
    "Sysctls",
    "Target",
    "Test",
    "Tmpfs",
    "TmpfsOptions",
    "Tty",
    "Type",
    "UTSMode",
    "Ulimits",
    "User",
    "UsernsMode",
    "VolumeDriver",
    "VolumeOptions",
    "Volumes",
    "VolumesFrom",
    "Weight",
    "WorkingDir",
    "email",
    "identitytoken",
    "password",
    "serveraddress",
    "username",
];

/// The keys whose value has keys of the client: names of labels, ports, networks.
const MAPS: [&str; 12] = [
    "Annotations",
    "Config",
    "DriverOpts",
    "EndpointsConfig",
    "ExposedPorts",
    "Labels",
    "Options",
    "PortBindings",
    "StorageOpt",
    "Sysctls",
    "Tmpfs",
    "Volumes",
];

/// The same value with the known keys as Docker writes them.
pub(super) fn known_keys(value: Value) -> Value {
    match value {
        Value::Object(all) => {
            let mut known = Map::new();
            let mut others = Vec::new();
            for (key, value) in all {
                let own = KEYS.iter().find(|own| own.eq_ignore_ascii_case(&key));
                let name = own.map_or_else(|| key.clone(), |own| (*own).to_owned());
                let value = inside(&name, value);
                match own {
                    Some(own) if *own != key => others.push((name, value)),
                    _ => drop(known.insert(name, value)),
                }
            }
            for (name, value) in others {
                known.entry(name).or_insert(value);
            }
            Value::Object(known)
        }
        Value::Array(all) => all.into_iter().map(known_keys).collect(),
        other => other,
    }
}

/// The value of a key.
fn inside(key: &str, value: Value) -> Value {
    match value {
        Value::Object(all) if MAPS.contains(&key) => {
            Value::Object(all.into_iter().map(|(name, value)| (name, known_keys(value))).collect())
        }
        other => known_keys(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_case_of_a_key_has_no_meaning() {
        let body = json!({
            "image": "a", "IMAGE": "b", "cmd": ["CMD"], "labels": {"image": "x", "Image": "y"}, "own": {"tty": true},
            "hostConfig": {"memory": 5, "Memory": 6, "portbindings": {"80/tcp": [{"hostport": "1"}]}},
            "networkingconfig": {"endpointsConfig": {"name": {"aliases": ["n"]}}},
        });
        let known = known_keys(body);
        assert!(known["Image"] == "a" || known["Image"] == "b");
        assert_eq!(known["Labels"], json!({"image": "x", "Image": "y"}));
        assert_eq!(known["Cmd"], json!(["CMD"]));
        assert_eq!(
            known["HostConfig"],
            json!({"Memory": 6, "PortBindings": {"80/tcp": [{"HostPort": "1"}]}})
        );
        assert_eq!(known["NetworkingConfig"]["EndpointsConfig"], json!({"name": {"Aliases": ["n"]}}));
        assert_eq!(known["own"], json!({"Tty": true}));
    }

    #[test]
    fn no_key_is_another_one_in_other_case() {
        let lower: std::collections::BTreeSet<String> =
            KEYS.iter().map(|key| key.to_ascii_lowercase()).collect();
        assert_eq!(lower.len(), KEYS.len());
        assert!(MAPS.iter().all(|map| KEYS.contains(map)));
    }
}
