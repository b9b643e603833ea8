//! A container as `inspect` and the daemon describe it: with all of Docker's keys that a template may ask for, also where there
//! is nothing to say, and under `Sandbox` the config.

mod host_config;
mod mounts;

use std::ffi::OsString;

use serde_json::{Map, Value, json};

use super::exec_files::ExecFiles;
use super::network::network_settings;
use super::record::{ContainerStatus, STOP_TIMEOUT};
use super::store::KeptContainer;
use crate::sys::signal;
use crate::text::printed;
use crate::value::timestamp::Timestamp;

pub use mounts::mounts;

/// The key of what Docker's description does not have.
pub const OWN: &str = "Sandbox";

/// Everything about a container.
pub fn described(container: &KeptContainer) -> Value {
    let mut value = whole(container);
    complete(&mut value["Config"], unusual_config(container));
    if let Some(client) = &container.record.client {
        // A client finds its own settings again, as it has written them. What is known from the container itself, stays.
        complete(&mut value["Config"], set_ones(&client["Config"]));
        complete(&mut value["HostConfig"], set_ones(&client["HostConfig"]));
    }
    complete(&mut value["Config"], usual_config(container));
    complete(&mut value["HostConfig"], host_config::other(container));
    value
}

/// Adds to a description how much the container has written, and the size of all its files.
pub fn add_sizes(value: &mut Value, container: &KeptContainer) {
    let written = container.written_size().ok().flatten().unwrap_or_default();
    value["SizeRw"] = written.into();
    value["SizeRootFs"] = (written + container.lower_size()).into();
}

/// Adds the keys of `more` that are missing or null, also inside of objects.
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
    // As Docker: these numbers mean that nothing is set.
    let is_usual = |name: &str, value: &Value| match name {
        "ShmSize" => *value == json!(0),
        // The container has it itself, if it has it.
        "MemorySwappiness" => true,
        "PidsLimit" => value.as_i64().is_some_and(|most| most <= 0),
        _ => false,
    };
    Value::Object(
        all.filter(|(name, value)| is_set(value) && !is_usual(name, value))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect(),
    )
}

fn words(words: &[OsString]) -> Vec<String> {
    words.iter().map(printed).collect()
}

/// What is known from the container itself.
fn whole(container: &KeptContainer) -> Value {
    let KeptContainer { name, record, state, directory } = container;
    let arguments = words(&record.config.process.args);
    let time = |moment: Option<Timestamp>| {
        moment.map_or("0001-01-01T00:00:00Z".to_owned(), |moment| moment.to_string())
    };
    let running = state.command.filter(|_| state.status.is_active());
    // The three files that a container with a root filesystem has of its own. They are in a filesystem that ends with it.
    let own = |name: &str| match running {
        Some(command) if record.config.environment.root.is_some() => {
            format!("/proc/{}/root/etc/{name}", command.pid)
        }
        _ => String::new(),
    };
    let exec_ids = if state.status.is_active() { ExecFiles::unended(&record.id) } else { Vec::new() };
    json!({
        "Id": record.id,
        "Created": record.created,
        "Path": arguments.first(),
        "Args": arguments.get(1..).unwrap_or_default(),
        "State": {
            "Status": state.status.word(),
            "Running": state.status.is_active(),
            "Paused": state.status == ContainerStatus::Paused,
            "Restarting": state.status == ContainerStatus::Restarting,
            "OOMKilled": state.oom_killed,
            "Dead": false,
            "Pid": state.command.map_or(0, |command| command.pid),
            "ExitCode": state.exit_code,
            "Error": state.error,
            "StartedAt": time(state.started_at),
            "FinishedAt": time(state.finished_at),
        },
        "Image": record.image_id.as_ref().unwrap_or(&record.image),
        "ResolvConfPath": own("resolv.conf"),
        "HostnamePath": own("hostname"),
        "HostsPath": own("hosts"),
        "LogPath": printed(directory.path().join(super::log::LOG)),
        "Name": format!("/{name}"),
        "RestartCount": state.restart_count,
        "Driver": "overlay2",
        "Platform": "linux",
        "MountLabel": "",
        "ProcessLabel": "",
        "AppArmorProfile": "",
        "ExecIDs": Some(exec_ids).filter(|ids| !ids.is_empty()),
        "GraphDriver": graph_driver(container),
        "Mounts": mounts(container),
        "HostConfig": host_config::known(container),
        "Config": known_config(container),
        "NetworkSettings": network_settings(container),
        (OWN): {"Config": record.config, "Supervisor": state.supervisor, "Place": state.place},
    })
}

/// The directories of its overlay. Docker has the merged one on the host; here it is in the container alone.
fn graph_driver(container: &KeptContainer) -> Value {
    let root = container.record.config.environment.root.as_ref().filter(|root| root.overlay);
    let data = root.and_then(|root| {
        let upper = root.upper.as_ref()?;
        let lowers: Vec<String> = root.lowers.iter().map(printed).collect();
        Some(json!({ "LowerDir": lowers.join(":"), "UpperDir": printed(upper) }))
    });
    json!({ "Name": "overlay2", "Data": data.unwrap_or_else(|| json!({})) })
}

/// The part of `Config` that is known from the container itself.
fn known_config(container: &KeptContainer) -> Value {
    let record = &container.record;
    let process = &record.config.process;
    let hostname = record.config.environment.namespaces.uts.options().and_then(|uts| uts.hostname.clone());
    let (entrypoint, command) = process.args.split_at(record.entrypoint.min(process.args.len()));
    let user = record.user.clone().or(process.user.map(|user| user.to_string())).unwrap_or_default();
    json!({
        "Hostname": hostname.map(printed),
        "User": user,
        "Tty": process.terminal,
        "OpenStdin": record.open_stdin,
        "Env": match &record.variables {
            None => words(process.env.as_deref().unwrap_or_default()),
            Some(names) => {
                let value = |name: &String| Some(format!("{name}={}", printed(process.variable(name)?)));
                names.iter().filter_map(value).collect()
            }
        },
        "Cmd": Some(words(command)).filter(|words| !words.is_empty()),
        "Entrypoint": Some(words(entrypoint)).filter(|words| !words.is_empty()),
        "Image": record.image,
        "Labels": record.labels,
        // A command without another one begins in the root directory.
        "WorkingDir": process.cwd.as_ref().filter(|cwd| cwd.as_os_str() != "/").map(printed),
    })
}

/// What Docker shows only if it is not the usual.
fn unusual_config(container: &KeptContainer) -> Value {
    let record = &container.record;
    let mut keys = Map::new();
    if record.stop_signal != libc::SIGTERM {
        keys.insert("StopSignal".to_owned(), json!(signal::name(record.stop_signal)));
    }
    if record.stop_timeout != STOP_TIMEOUT {
        keys.insert("StopTimeout".to_owned(), json!(record.stop_timeout.cast_signed()));
    }
    Value::Object(keys)
}

/// The rest of `Config`, where a client has not written it.
fn usual_config(container: &KeptContainer) -> Value {
    let record = &container.record;
    let attaches = !record.stdin_stays;
    let volumes = record.volumes.iter().filter(|volume| volume.is_anonymous);
    let volumes: Map<String, Value> = volumes.map(|volume| (printed(&volume.target), json!({}))).collect();
    let published = host_config::bindings(container).into_iter().map(|(port, _)| port);
    let exposed: Map<String, Value> =
        published.chain(record.exposed.iter().cloned()).map(|port| (port, json!({}))).collect();
    let uts = record.config.environment.namespaces.uts.options();
    let domain = uts.and_then(|uts| uts.domainname.as_ref());
    json!({
        // A new UTS namespace begins with the hostname of the host.
        "Hostname": rustix::system::uname().nodename().to_string_lossy(),
        "Domainname": domain.map(printed).unwrap_or_default(),
        "WorkingDir": "",
        "AttachStdin": record.open_stdin && attaches,
        "AttachStdout": attaches,
        "AttachStderr": attaches,
        "StdinOnce": record.open_stdin && attaches,
        "ExposedPorts": exposed,
        "Volumes": volumes,
        "OnBuild": null,
    })
}
