//! A container as `ps` lists it: Docker's fields and words.

use std::ffi::OsString;

use serde::Serialize;

use super::network::network_mode;
use super::record::{ContainerRecord, ContainerState, ContainerStatus};
use super::store::KeptContainer;
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
            created_at: created.of_second().to_string().replace('T', " ").replace('Z', " +0000 UTC"),
            id: if is_whole { record.id.as_str() } else { record.id.short() }.to_owned(),
            image: record.image.clone(),
            labels: labels(record),
            local_volumes: record.volumes.len().to_string(),
            mounts: mounts(container, is_whole),
            names: name.clone(),
            networks: match network_mode(container) {
                "container" => String::new(),
                mode => mode.to_owned(),
            },
            ports: ports(state),
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
    let binds = bound(container).map(|mount| printed(&mount.source));
    let all = container.record.volumes.iter().map(|volume| volume.name.clone()).chain(binds);
    let cut = |name: String| match is_whole || name.chars().count() <= MOUNT_WIDTH {
        true => name,
        false => name.chars().take(MOUNT_WIDTH - 1).chain(['…']).collect(),
    };
    all.map(cut).collect::<Vec<_>>().join(",")
}

/// The number of characters of a mount in `ps`.
const MOUNT_WIDTH: usize = 15;

/// The bind mounts of a container that are no volumes.
pub fn bound(container: &KeptContainer) -> impl Iterator<Item = &ContainerMount> {
    let record = &container.record;
    let is_volume =
        |mount: &&ContainerMount| record.volumes.iter().any(|volume| volume.target == mount.destination);
    let all = record.config.environment.mounts.iter().filter(|mount| mount.bound().is_some());
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

/// The published ports, in the order of those in the container: `0.0.0.0:8080->80/tcp`.
fn ports(state: &ContainerState) -> String {
    let mut all: Vec<&PublishedPort> = state.ports.iter().collect();
    all.sort_by_key(|port| (port.inside, port.protocol == Protocol::Udp, port.at));
    let one = |port: &PublishedPort| format!("{}->{}", port.at, inside(port));
    all.into_iter().map(one).collect::<Vec<_>>().join(", ")
}

/// A port in the container: `80/tcp`.
pub fn inside(port: &PublishedPort) -> String {
    let protocol = match port.protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
    };
    format!("{}/{protocol}", port.inside)
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
}
