//! The settings in the body of a request, as flags of `sandbox`: what `docker run` has made of its own flags is turned back.
//!
//! Zero, null and an empty text mean that a setting is not set. A setting that `sandbox` does not have becomes the flag of that
//! name all the same: the command refuses it, and says why.

use std::ffi::OsString;

use serde_json::Value;

use super::answer::{Answered, ApiError};
use super::limit_settings::limits;
use super::mount_settings::{check_binds, mounts, system_paths};
use crate::text::text_with;

/// The flags for some settings.
pub(super) type Flags = Vec<OsString>;

/// The settings that are texts.
const TEXTS: [(&str, &str); 8] = [
    ("CgroupParent", "cgroup-parent"),
    ("VolumeDriver", "volume-driver"),
    ("PidMode", "pid"),
    ("IpcMode", "ipc"),
    ("UTSMode", "uts"),
    ("UsernsMode", "userns"),
    ("CgroupnsMode", "cgroupns"),
    ("Isolation", "isolation"),
];

/// The settings that are lists.
const LISTS: [(&str, &str); 11] = [
    ("Binds", "volume"),
    ("VolumesFrom", "volumes-from"),
    ("CapAdd", "cap-add"),
    ("CapDrop", "cap-drop"),
    ("Dns", "dns"),
    ("DnsOptions", "dns-option"),
    ("DnsSearch", "dns-search"),
    ("ExtraHosts", "add-host"),
    ("GroupAdd", "group-add"),
    ("SecurityOpt", "security-opt"),
    ("Links", "link"),
];

/// The settings that are true or false.
const SWITCHES: [(&str, &str); 5] = [
    ("Privileged", "privileged"),
    ("PublishAllPorts", "publish-all"),
    ("ReadonlyRootfs", "read-only"),
    ("Init", "init"),
    ("OomKillDisable", "oom-kill-disable"),
];

/// `--name=value`.
pub(super) fn flag(name: &str, value: &str) -> OsString {
    format!("--{name}={value}").into()
}

/// The error for a setting of a wrong type.
pub(super) fn wrong(name: &str) -> ApiError {
    ApiError::bad(text_with("daemon.setting", &[("name", name)]))
}

/// A part of a setting. What is not there is null.
fn field<'a>(value: &'a Value, name: &str) -> Answered<&'a Value> {
    match value {
        Value::Null | Value::Object(_) => Ok(&value[name]),
        _ => Err(wrong(name)),
    }
}

/// A setting that has parts. None: it is not set.
pub(super) fn part<'a>(value: &'a Value, name: &str) -> Answered<&'a Value> {
    match field(value, name)? {
        part @ (Value::Null | Value::Object(_)) => Ok(part),
        _ => Err(wrong(name)),
    }
}

/// A number. None: it is not set.
pub(super) fn number(value: &Value, name: &str) -> Answered<Option<i64>> {
    match field(value, name)? {
        Value::Null => Ok(None),
        Value::Number(number) => {
            // A number with a fraction or an exponent is refused, as by Go, and so is one that is too large.
            Ok(Some(number.as_i64().ok_or_else(|| wrong(name))?).filter(|number| *number != 0))
        }
        _ => Err(wrong(name)),
    }
}

/// A text. None: it is not set.
pub(super) fn string<'a>(value: &'a Value, name: &str) -> Answered<Option<&'a str>> {
    match field(value, name)? {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text.as_str()).filter(|text| !text.is_empty())),
        _ => Err(wrong(name)),
    }
}

/// The lists for which Docker takes one text too.
const TEXT_OR_LIST: [&str; 4] = ["Cmd", "Entrypoint", "CapAdd", "CapDrop"];

/// A list of texts.
pub(super) fn list(value: &Value, name: &str) -> Answered<Vec<String>> {
    match field(value, name)? {
        Value::Null => Ok(Vec::new()),
        Value::String(one) if TEXT_OR_LIST.contains(&name) => Ok(vec![one.clone()]),
        Value::Array(all) => {
            all.iter().map(|one| one.as_str().map(str::to_owned).ok_or_else(|| wrong(name))).collect()
        }
        _ => Err(wrong(name)),
    }
}

/// A truth value. What is not there is false.
pub(super) fn truth(value: &Value, name: &str) -> Answered<bool> {
    match field(value, name)? {
        Value::Null => Ok(false),
        Value::Bool(is) => Ok(*is),
        _ => Err(wrong(name)),
    }
}

/// An object, as pairs with texts.
pub(super) fn pairs(value: &Value, name: &str) -> Answered<Vec<(String, String)>> {
    match field(value, name)? {
        Value::Null => Ok(Vec::new()),
        Value::Object(all) => all
            .iter()
            .map(|(key, value)| match value {
                Value::String(text) => Ok((key.clone(), text.clone())),
                Value::Null => Ok((key.clone(), String::new())),
                _ => Err(wrong(name)),
            })
            .collect(),
        _ => Err(wrong(name)),
    }
}

/// The keys of an object, as `ExposedPorts` has them.
pub(super) fn keys(value: &Value, name: &str) -> Answered<Vec<String>> {
    match field(value, name)? {
        Value::Null => Ok(Vec::new()),
        Value::Object(all) => Ok(all.keys().cloned().collect()),
        _ => Err(wrong(name)),
    }
}

/// What HostConfig says.
pub(super) fn host(value: &Value) -> Answered<Flags> {
    let mut flags = limits(value)?;
    if let Some(size) = number(value, "ShmSize")? {
        flags.push(flag("shm-size", &size.to_string()));
    }
    for (name, own) in TEXTS {
        match string(value, name)? {
            // The default of this program too.
            Some("default" | "private" | "shareable") if name != "VolumeDriver" => {}
            Some("local") if name == "VolumeDriver" => {}
            Some(text) => flags.push(flag(own, text)),
            None => {}
        }
    }
    for (name, own) in LISTS {
        flags.extend(list(value, name)?.iter().map(|one| flag(own, one)));
    }
    for (name, own) in SWITCHES {
        if truth(value, name)? {
            flags.push(format!("--{own}").into());
        }
    }
    for (name, own) in [("Tmpfs", "tmpfs"), ("Sysctls", "sysctl"), ("StorageOpt", "storage-opt")] {
        flags.extend(pairs(value, name)?.iter().map(|(key, of)| match (name, of.as_str()) {
            ("Tmpfs", "") => flag(own, key),
            ("Tmpfs", of) => flag(own, &format!("{key}:{of}")),
            (_, of) => flag(own, &format!("{key}={of}")),
        }));
    }
    check_binds(value)?;
    flags.extend(network(value)?);
    flags.extend(published(value)?);
    flags.extend(mounts(value)?);
    flags.extend(objects(value)?);
    flags.extend(system_paths(value)?);
    // Zero is a value here.
    number(value, "MemorySwappiness")?;
    match value["MemorySwappiness"].as_i64() {
        None | Some(-1) => {}
        Some(percent @ 0..=100) => flags.push(flag("memory-swappiness", &percent.to_string())),
        Some(other) => {
            let message = format!("Invalid value: {other}, valid memory swappiness range is 0-100");
            return Err(ApiError::bad(message));
        }
    }
    match string(value, "Runtime")? {
        None | Some("runc" | "sandbox") => {}
        Some(other) => flags.push(flag("runtime", other)),
    }
    let log = part(value, "LogConfig")?;
    if let Some(kind) = string(log, "Type")?.filter(|kind| *kind != "json-file") {
        let message = format!("logger: no log driver named '{}' is registered", crate::text::printed(kind));
        return Err(ApiError::bad(message));
    }
    let options = pairs(log, "Config")?;
    // Without a maximum size there is one file, whatever their maximum number.
    let has_size = options.iter().any(|(key, _)| key == "max-size");
    let options = options.iter().filter(|(key, _)| has_size || key != "max-file");
    flags.extend(options.map(|(key, of)| flag("log-opt", &format!("{key}={of}"))));
    if truth(value, "AutoRemove")? {
        flags.push("--rm".into());
    }
    Ok(flags)
}

fn network(value: &Value) -> Answered<Flags> {
    Ok(match string(value, "NetworkMode")? {
        None | Some("default") => Vec::new(),
        // As with rootless Docker, the network of this name is the default one: only root can make a bridge.
        Some("bridge") if !nix::unistd::geteuid().is_root() => Vec::new(),
        Some(mode @ ("none" | "bridge" | "user" | "host")) => vec![flag("network", mode)],
        Some(mode) if mode.starts_with("container:") => vec![flag("network", mode)],
        Some(other) => {
            let message = text_with("daemon.network.named", &[("name", &crate::text::printed(other))]);
            return Err(ApiError::new(hyper::StatusCode::NOT_IMPLEMENTED, message));
        }
    })
}

/// `{"80/tcp": [{"HostIp": "", "HostPort": "8080"}]}`.
fn published(value: &Value) -> Answered<Flags> {
    let bindings = match &value["PortBindings"] {
        Value::Null => return Ok(Vec::new()),
        Value::Object(bindings) => bindings,
        _ => return Err(wrong("PortBindings")),
    };
    let mut flags = Flags::new();
    for (inside, all) in bindings {
        let (port, protocol) = inside.split_once('/').unwrap_or((inside, "tcp"));
        let end = if protocol == "tcp" { String::new() } else { format!("/{protocol}") };
        let empty = vec![Value::Null];
        let all = match all {
            Value::Null => &empty,
            Value::Array(all) if all.is_empty() => &empty,
            Value::Array(all) => all,
            _ => return Err(wrong("PortBindings")),
        };
        for binding in all {
            let of = |name| match binding {
                Value::Null => Ok(""),
                binding => string(binding, name).map(Option::unwrap_or_default),
            };
            let (ip, host) = (of("HostIp")?, of("HostPort")?);
            let ip = if ip.contains(':') && !ip.starts_with('[') { format!("[{ip}]") } else { ip.to_owned() };
            flags.push(match (ip.as_str(), host) {
                ("", "" | "0") => flag("publish", &format!("{port}{end}")),
                ("", host) => flag("publish", &format!("{host}:{port}{end}")),
                (ip, "" | "0") => flag("publish", &format!("{ip}::{port}{end}")),
                (ip, host) => flag("publish", &format!("{ip}:{host}:{port}{end}")),
            });
        }
    }
    Ok(flags)
}

/// The settings of a container in a network, which docker has made of flags of `run`.
pub(super) fn endpoints(value: &Value) -> Answered<Flags> {
    let mut flags = Flags::new();
    let all = part(value, "EndpointsConfig")?;
    for name in keys(value, "EndpointsConfig")? {
        let endpoint = part(all, &name)?;
        let addresses = part(endpoint, "IPAMConfig")?;
        for (value, name, own) in [
            (endpoint, "MacAddress", "mac-address"),
            (addresses, "IPv4Address", "ip"),
            (addresses, "IPv6Address", "ip6"),
        ] {
            flags.extend(string(value, name)?.map(|value| flag(own, value)));
        }
        for (value, name, own) in [
            (endpoint, "Aliases", "network-alias"),
            (endpoint, "Links", "link"),
            (addresses, "LinkLocalIPs", "link-local-ip"),
        ] {
            flags.extend(list(value, name)?.iter().map(|value| flag(own, value)));
        }
    }
    Ok(flags)
}

/// Lists of objects: devices, limits of processes, rates of disks.
fn objects(value: &Value) -> Answered<Flags> {
    let mut flags = Flags::new();
    let all = |name: &'static str| match &value[name] {
        Value::Null => Ok(Vec::new()),
        Value::Array(all) => Ok(all.clone()),
        _ => Err(wrong(name)),
    };
    for device in all("Devices")? {
        let of = |name| string(&device, name).map(Option::unwrap_or_default);
        let (host, inside, rights) = (of("PathOnHost")?, of("PathInContainer")?, of("CgroupPermissions")?);
        let inside = if inside.is_empty() { host } else { inside };
        let rights = if rights.is_empty() { "rwm" } else { rights };
        flags.push(flag("device", &format!("{host}:{inside}:{rights}")));
    }
    for rule in list(value, "DeviceCgroupRules")? {
        flags.push(flag("device-cgroup-rule", &rule));
    }
    for limit in all("Ulimits")? {
        let name = string(&limit, "Name")?.ok_or_else(|| wrong("Ulimits"))?;
        let of = |name: &str| number(&limit, name).map(Option::unwrap_or_default);
        flags.push(flag("ulimit", &format!("{name}={}:{}", of("Soft")?, of("Hard")?)));
    }
    for (name, own) in [
        ("BlkioDeviceReadBps", "device-read-bps"),
        ("BlkioDeviceWriteBps", "device-write-bps"),
        ("BlkioDeviceReadIOps", "device-read-iops"),
        ("BlkioDeviceWriteIOps", "device-write-iops"),
        ("BlkioWeightDevice", "blkio-weight-device"),
    ] {
        for rate in all(name)? {
            let path = string(&rate, "Path")?.unwrap_or_default();
            let most = number(&rate, "Rate")?.or(number(&rate, "Weight")?).unwrap_or_default();
            flags.push(flag(own, &format!("{path}:{most}")));
        }
    }
    if !all("DeviceRequests")?.is_empty() {
        flags.push(flag("gpus", "all"));
    }
    Ok(flags)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn flags(value: &Value) -> Vec<String> {
        host(value).unwrap().into_iter().map(|flag| flag.into_string().unwrap()).collect()
    }

    #[test]
    fn what_is_not_set_is_no_flag() {
        let nothing = json!({
            "Binds": null, "NetworkMode": "default", "PortBindings": {}, "RestartPolicy": {"Name": "no", "MaximumRetryCount": 0},
            "Memory": 0, "NanoCpus": 0, "CapAdd": null, "Init": null, "MemorySwappiness": -1, "ShmSize": 0,
            "LogConfig": {"Type": "", "Config": {}}, "IpcMode": "", "Runtime": "", "ConsoleSize": [0, 0],
        });
        assert_eq!(flags(&nothing), ["--restart=no"]);
        assert!(flags(&Value::Null).is_empty());
    }

    #[test]
    fn settings_become_flags() {
        let settings = json!({
            "Binds": ["data:/d:ro"], "NetworkMode": "container:web", "Memory": 64 << 20, "NanoCpus": 500_000_000,
            "PortBindings": {"80/tcp": [{"HostIp": "", "HostPort": "8080"}], "53/udp": [{"HostIp": "127.0.0.1", "HostPort": ""}]},
            "Ulimits": [{"Name": "nofile", "Soft": 10, "Hard": 20}], "ReadonlyRootfs": true, "AutoRemove": true,
            "Mounts": [{"Type": "tmpfs", "Target": "/t", "ReadOnly": true}], "Tmpfs": {"/x": "size=1m", "/y": ""},
        });
        let flags = flags(&settings);
        for expected in [
            "--volume=data:/d:ro",
            "--network=container:web",
            "--memory=67108864",
            "--cpus=0.5",
            "--publish=8080:80",
            "--publish=127.0.0.1::53/udp",
            "--ulimit=nofile=10:20",
            "--read-only",
            "--rm",
            "--mount=type=tmpfs,target=/t,readonly",
            "--tmpfs=/x:size=1m",
            "--tmpfs=/y",
        ] {
            assert!(flags.iter().any(|flag| flag == expected), "{expected} {flags:?}");
        }
        assert_eq!(flags.len(), 12);
        assert!(host(&json!({"NetworkMode": "front"})).is_err());
        for wrong in [
            json!(5),
            json!({"Memory": "much"}),
            json!({"Memory": 1e30}),
            json!({"ShmSize": 67108864.7}),
            json!({"MemorySwappiness": 101}),
            json!({"MemorySwappiness": "0"}),
            json!({"RestartPolicy": "always"}),
            json!({"RestartPolicy": {"Name": "always", "MaximumRetryCount": 3}}),
            json!({"RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": -3}}),
            json!({"Ulimits": [{"Name": "nofile", "Soft": "x", "Hard": 20}]}),
            json!({"PortBindings": {"80/tcp": {}}}),
            json!({"PortBindings": {"80/tcp": [5]}}),
            json!({"Mounts": [5]}),
            json!({"Devices": ["/dev/null"]}),
            json!({"MaskedPaths": ["/proc/kcore"]}),
        ] {
            assert_eq!(host(&wrong).map_err(|error| error.status.as_u16()), Err(400), "{wrong}");
        }
        assert_eq!(self::flags(&json!({"MemorySwappiness": 0})), ["--memory-swappiness=0"]);
        let open = json!({"MaskedPaths": [], "ReadonlyPaths": []});
        assert_eq!(self::flags(&open), ["--security-opt=systempaths=unconfined"]);
        let mode = json!({"Mounts": [{"Type": "tmpfs", "Target": "/t", "TmpfsOptions": {"Mode": 448}}]});
        assert_eq!(self::flags(&mode), ["--mount=type=tmpfs,target=/t,tmpfs-mode=700"]);
        let path = json!({"Mounts": [{"Type": "bind", "Source": "/a,\"b", "Target": "/t"}]});
        assert_eq!(self::flags(&path), [r#"--mount=type=bind,"source=/a,""b",target=/t"#]);
    }
}
