//! A container as `ps` lists it: Docker's fields and words.

use std::ffi::OsString;
use std::net::{IpAddr, SocketAddr};

use serde::Serialize;

use super::devices::bound_without_devices;
use super::network::{network_mode, network_name};
use super::record::{ContainerRecord, ContainerState, ContainerStatus};
use super::store::KeptContainer;
use crate::host::zone;
use crate::plan::call::publish::{Protocol, PublishedPort};
use crate::rootfs::mount::ContainerMount;
use crate::text::printed;
use crate::value::timestamp::{Timestamp, in_words};
use crate::value::units::human;

/// The number of characters of a command in `ps`.
const COMMAND_WIDTH: usize = 20;

/// A line of `ps`. The names are those of `docker ps --format json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ContainerRow {
    /// The command, in quotes.
    pub command: String,
    /// When it was created.
    pub created_at: String,
    /// The result of its health checks: none are run.
    pub health_status: &'static str,
    /// The ID.
    #[serde(rename = "ID")]
    pub id: String,
    /// What its root filesystem was made from.
    pub image: String,
    /// What its maker and its image say about it.
    pub labels: String,
    /// How many volumes it has.
    pub local_volumes: String,
    /// Its volumes and the directories of the host.
    pub mounts: String,
    /// Its name.
    pub names: String,
    /// Its network: `bridge`, `host` or `none`.
    pub networks: String,
    /// The platform of its image. Docker knows it only where containerd has the images.
    pub platform: Option<String>,
    /// The published ports.
    pub ports: String,
    /// How long ago it was created.
    pub running_for: String,
    /// How much it has written.
    pub size: String,
    /// What it does.
    pub state: String,
    /// What it does, and since when.
    pub status: String,
}

impl ContainerRow {
    /// The same row with the size of what the container has written, and of all its files.
    pub fn with_size(self, container: &KeptContainer) -> ContainerRow {
        let size = match container.written_size() {
            Ok(written) => {
                let written = written.unwrap_or_default();
                let all = written + container.lower_size();
                format!("{} (virtual {})", human(written), human(all))
            }
            Err(_) => "N/A".to_owned(),
        };
        ContainerRow { size, ..self }
    }

    /// The row of a container. With `is_whole`, no value is cut off.
    pub fn of(container: &KeptContainer, now: Timestamp, is_whole: bool) -> ContainerRow {
        let KeptContainer { name, record, state, .. } = container;
        let command = command(&record.config.process.args);
        let created = record.created;
        ContainerRow {
            command: serde_json::Value::from(if is_whole { command } else { shortened(&command) })
                .to_string(),
            health_status: "",
            created_at: created.in_a_list(&zone::local(created)),
            id: if is_whole { record.id.as_str() } else { record.id.short() }.to_owned(),
            image: record.image.clone(),
            labels: labels(record),
            local_volumes: record.volumes.len().to_string(),
            mounts: mounts(container, is_whole),
            names: name.clone(),
            networks: match network_name(container) {
                "container" => String::new(),
                mode => mode.to_owned(),
            },
            platform: None,
            ports: ports(container),
            running_for: format!("{} ago", in_words(created.until(now))),
            size: "0B".to_owned(),
            state: state.status.word().to_owned(),
            status: status(state, now),
        }
    }
}

/// The labels: `a=1,b=2`.
fn labels(record: &ContainerRecord) -> String {
    record.labels.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(",")
}

/// The names of the volumes, and the directories of the host.
fn mounts(container: &KeptContainer, is_whole: bool) -> String {
    let binds = bound_without_devices(container).map(|mount| printed(&mount.source));
    let all = container.record.volumes.iter().map(|volume| volume.name.clone()).chain(binds);
    let cut = |name: String| match is_whole || name.chars().count() <= MOUNT_WIDTH {
        true => name,
        false => name.chars().take(MOUNT_WIDTH - 1).chain(['…']).collect(),
    };
    all.map(cut).collect::<Vec<_>>().join(",")
}

/// The number of characters of a mount in `ps`.
const MOUNT_WIDTH: usize = 15;

/// The bind mounts of a container that are no volumes, and that were asked for. Those of /proc, /sys and /dev/shm, which a container
/// has without a namespace of its own, do not have the mounts below them.
pub fn bound(container: &KeptContainer) -> impl Iterator<Item = &ContainerMount> {
    let record = &container.record;
    let is_volume =
        |mount: &&ContainerMount| record.volumes.iter().any(|volume| volume.target == mount.destination);
    let all = record
        .config
        .environment
        .mounts
        .iter()
        .filter(|mount| mount.bound().is_some() && mount.is_recursive());
    all.filter(move |mount| !is_volume(mount))
}

/// A command in one line, as Docker writes it.
fn command(arguments: &[OsString]) -> String {
    let word = |(index, argument): (usize, &OsString)| match printed(argument) {
        argument if index > 0 && argument.contains(' ') => format!("'{argument}'"),
        argument => argument,
    };
    arguments.iter().enumerate().map(word).collect::<Vec<_>>().join(" ")
}

/// A text with at most [`COMMAND_WIDTH`] characters.
fn shortened(text: &str) -> String {
    match text.chars().count() <= COMMAND_WIDTH {
        true => text.to_owned(),
        false => text.chars().take(COMMAND_WIDTH - 1).chain(['…']).collect(),
    }
}

/// What a container does, in Docker's words: `Up 2 minutes`, `Exited (0) 3 seconds ago`.
fn status(state: &ContainerState, now: Timestamp) -> String {
    let since = |moment: Option<Timestamp>| in_words(moment.unwrap_or(now).until(now));
    match state.status {
        ContainerStatus::Created => "Created".to_owned(),
        ContainerStatus::Running => format!("Up {}", since(state.started_at)),
        ContainerStatus::Paused => format!("Up {} (Paused)", since(state.started_at)),
        ContainerStatus::Restarting => {
            format!("Restarting ({}) {} ago", state.exit_code, since(state.finished_at))
        }
        ContainerStatus::Exited => format!("Exited ({}) {} ago", state.exit_code, since(state.finished_at)),
        ContainerStatus::Elsewhere => "Elsewhere".to_owned(),
    }
}

/// The ports as Docker's client lists them: those that follow each other are one range where host and container have the same
/// numbers, or where they are exposed only. `0.0.0.0:8080->80/tcp, 99/tcp`.
fn ports(container: &KeptContainer) -> String {
    let state = &container.state;
    let mut all: Vec<&PublishedPort> = state.ports.iter().collect();
    all.sort_by_key(|port| (port.inside, port.at, port.protocol == Protocol::Udp));
    let exposed = only_exposed(container).filter_map(|port| {
        let (number, protocol) = port.split_once('/')?;
        Some((number.parse().ok()?, None, protocol))
    });
    let mut rows: Vec<(u16, Option<SocketAddr>, &str)> = exposed.collect();
    rows.extend(all.into_iter().map(|port| (port.inside, Some(port.at), port.protocol.word())));
    rows.sort();
    grouped(&rows)
}

/// These ports, each with where it is published, in the order of those in the container.
fn grouped(rows: &[(u16, Option<SocketAddr>, &str)]) -> String {
    let (mut open, mut closed, mut others) =
        (Vec::<(Option<IpAddr>, &str, u16, u16)>::new(), Vec::new(), Vec::new());
    for (inside, at, protocol) in rows.iter().copied() {
        if let Some(at) = at.filter(|at| at.port() != inside) {
            others.push(format!("{at}->{inside}/{protocol}"));
            continue;
        }
        let address = at.map(|at| at.ip());
        let group = open.iter_mut().find(|group| (group.0, group.1) == (address, protocol));
        match group {
            Some(group) if inside == group.3.saturating_add(1) => group.3 = inside,
            Some(group) => closed.push(std::mem::replace(group, (address, protocol, inside, inside))),
            None => open.push((address, protocol, inside, inside)),
        }
    }
    let written = |(address, protocol, first, last): (Option<IpAddr>, &str, u16, u16)| {
        let numbers = if first == last { first.to_string() } else { format!("{first}-{last}") };
        match address {
            None => format!("{numbers}/{protocol}"),
            Some(IpAddr::V4(address)) => format!("{address}:{numbers}->{numbers}/{protocol}"),
            Some(IpAddr::V6(address)) => format!("[{address}]:{numbers}->{numbers}/{protocol}"),
        }
    };
    closed.into_iter().chain(open).map(written).chain(others).collect::<Vec<_>>().join(", ")
}

/// The ports that a running container exposes and does not publish: `80/tcp`. In the network of the host, and without a network, there
/// are none, as with Docker.
pub fn only_exposed(container: &KeptContainer) -> impl Iterator<Item = &str> {
    let has_some = container.state.status.is_active() && matches!(network_mode(container), "bridge" | "user");
    let exposed = container.record.exposed.iter().filter(move |_| has_some);
    let is_published = |port: &str| container.state.ports.iter().any(|published| inside(published) == port);
    exposed.map(String::as_str).filter(move |port| !is_published(port))
}

/// A port in the container: `80/tcp`.
pub fn inside(port: &PublishedPort) -> String {
    format!("{}/{}", port.inside, port.protocol.word())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_written_as_docker_does() {
        let words = ["sh", "-c", "echo hello; sleep 1"].map(OsString::from);
        assert_eq!(command(&words), "sh -c 'echo hello; sleep 1'");
        assert_eq!(shortened(&command(&words)), "sh -c 'echo hello; …");
        assert_eq!(shortened("12345678901234567890"), "12345678901234567890");
    }

    #[test]
    fn ports_that_follow_each_other_are_a_range() {
        let at = |written: &str| Some(written.parse().unwrap());
        let rows = [
            (53, None, "udp"),
            (80, at("0.0.0.0:8080"), "tcp"),
            (90, None, "tcp"),
            (91, None, "tcp"),
            (99, None, "tcp"),
            (200, at("0.0.0.0:200"), "tcp"),
            (200, at("[::]:200"), "tcp"),
            (201, at("0.0.0.0:201"), "tcp"),
            (201, at("[::]:201"), "tcp"),
        ];
        assert_eq!(
            grouped(&rows),
            "90-91/tcp, 53/udp, 99/tcp, 0.0.0.0:200-201->200-201/tcp, [::]:200-201->200-201/tcp, 0.0.0.0:8080->80/tcp"
        );
    }
}
