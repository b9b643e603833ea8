//! The filters of `ps`, and of the list of the daemon.

use std::ops::RangeInclusive;

use regex_lite::Regex;

use super::ancestor::Ancestor;
use super::devices::bound_without_devices;
use super::network::network_name;
use super::record::ContainerStatus;
use super::store::{ContainerStore, KeptContainer};
use crate::error::Result;
use crate::network::ports::{Port, PortRange};
use crate::plan::call::publish::Protocol;
use crate::text::printed;
use crate::value::timestamp::Timestamp;

/// The filters that there are.
pub const FILTERS: [&str; 15] = [
    "ancestor",
    "before",
    "exited",
    "expose",
    "health",
    "id",
    "is-task",
    "isolation",
    "label",
    "name",
    "network",
    "publish",
    "since",
    "status",
    "volume",
];

/// Docker's words for what a container does.
const STATUSES: [&str; 7] = ["created", "dead", "exited", "paused", "removing", "restarting", "running"];

/// Docker's words for the result of a health check.
const HEALTH: [&str; 4] = ["starting", "healthy", "unhealthy", "none"];

/// Whether a value of a filter can be met by any container.
pub fn is_filter(filter: &str, value: &str) -> bool {
    match filter {
        "name" => Regex::new(value).is_ok(),
        "exited" => value.parse::<i32>().is_ok(),
        "status" => STATUSES.contains(&value),
        "health" => HEALTH.contains(&value),
        "is-task" => ["true", "false", "1", "0"].contains(&value),
        "publish" | "expose" => ports(value).is_some(),
        _ => true,
    }
}

/// Whether a filter is met, which may have several values. Those of `label` must all be met, as in Docker. Of any other filter
/// one is enough, and without a value it asks for nothing.
pub fn is_met<'v>(
    filter: &str,
    values: impl IntoIterator<Item = &'v str>,
    has: impl Fn(&str) -> bool,
) -> bool {
    let mut met = values.into_iter().map(has).peekable();
    if filter == "label" {
        met.all(|is_met| is_met)
    } else {
        met.peek().is_none() || met.any(|is_met| is_met)
    }
}

/// The containers that have what all filters ask for.
///
/// # Errors
/// `before` or `since` names a container that does not exist.
pub fn filtered(
    store: &ContainerStore,
    mut all: Vec<KeptContainer>,
    filters: &[(&str, &str)],
) -> Result<Vec<KeptContainer>> {
    let created = |name: &str| -> Result<Vec<Timestamp>> {
        values(filters, name).map(|value| Ok(store.find(value)?.record.created)).collect()
    };
    let (before, since) = (created("before")?, created("since")?);
    let ancestors: Vec<Ancestor> =
        values(filters, "ancestor").map(|value| Ancestor::of(value, &all)).collect();
    all.retain(|container| {
        let moment = container.record.created;
        filters.iter().all(|(name, _)| match *name {
            "before" => before.iter().any(|other| moment < *other),
            "ancestor" => ancestors.iter().any(|ancestor| ancestor.has(container)),
            "since" => since.iter().any(|other| moment > *other),
            name => is_met(name, values(filters, name), |value| has(container, name, value).unwrap_or(false)),
        })
    });
    Ok(all)
}

/// The values of one filter.
fn values<'a>(filters: &'a [(&'a str, &'a str)], name: &'a str) -> impl Iterator<Item = &'a str> {
    filters.iter().filter(move |(other, _)| *other == name).map(|(_, value)| *value)
}

/// Whether a container has what a filter asks for. None: there is no such filter, or it needs more than the container.
pub fn has(container: &KeptContainer, filter: &str, value: &str) -> Option<bool> {
    let KeptContainer { name, record, state, .. } = container;
    Some(match filter {
        "id" => record.id.as_str().starts_with(value),
        "name" => {
            Regex::new(value).is_ok_and(|form| form.is_match(name) || form.is_match(&format!("/{name}")))
        }
        "status" => state.status.word() == value,
        "exited" => state.status == ContainerStatus::Exited && value.parse() == Ok(state.exit_code),
        "label" => match value.split_once('=') {
            Some((name, value)) => record.labels.get(name).is_some_and(|own| own == value),
            None => record.labels.contains_key(value),
        },
        "volume" => {
            let is_it = |path: &std::path::Path| printed(path) == value;
            record.volumes.iter().any(|volume| volume.name == value || is_it(&volume.target))
                || bound_without_devices(container)
                    .any(|mount| is_it(&mount.source) || is_it(&mount.destination))
        }
        "network" => network_name(container) == value,
        // As in Docker, the port in the container, also where it is published at another one.
        "publish" => asked_for(container).any(|port| is_port(value, port.inside, port.protocol)),
        "expose" => {
            let exposed = record.exposed.iter().filter_map(|port| port.parse::<Port>().ok());
            let mut all = exposed.chain(asked_for(container).copied());
            all.any(|port| is_port(value, port.inside, port.protocol))
        }
        // There are no health checks, and no tasks of a swarm.
        "health" => value == "none",
        "is-task" => ["false", "0"].contains(&value),
        // Docker compares it only on Windows.
        "isolation" => true,
        _ => return None,
    })
}

/// Ports as Docker's filters name them: `80`, `80/udp`, `8000-8010/tcp`.
fn ports(value: &str) -> Option<(RangeInclusive<u16>, Option<Protocol>)> {
    let (numbers, protocol) = match value.split_once('/') {
        None | Some((_, "tcp")) => (value.trim_end_matches("/tcp"), Some(Protocol::Tcp)),
        Some((numbers, "udp")) => (numbers, Some(Protocol::Udp)),
        // Docker has it too, and no container here.
        Some((numbers, "sctp")) => (numbers, None),
        Some(_) => return None,
    };
    let (first, last) = numbers.split_once('-').unwrap_or((numbers, numbers));
    let (first, last) = (first.parse().ok()?, last.parse().ok()?);
    (first <= last).then_some((first..=last, protocol))
}

/// The ports that its maker has published. Without them, a container that has ended would have none.
fn asked_for(container: &KeptContainer) -> impl Iterator<Item = &Port> {
    let net = container.record.config.environment.namespaces.net.options();
    net.into_iter().flat_map(|net| &net.publish)
}

/// Whether one of these ports is among those that a value names.
fn is_port(value: &str, of: PortRange, protocol: Protocol) -> bool {
    ports(value).is_some_and(|(range, wanted)| {
        wanted == Some(protocol) && *range.start() <= of.last && of.first <= *range.end()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_have_dockers_forms() {
        assert_eq!(ports("80"), Some((80..=80, Some(Protocol::Tcp))));
        assert_eq!(ports("53/udp"), Some((53..=53, Some(Protocol::Udp))));
        assert_eq!(ports("8000-8010/tcp"), Some((8000..=8010, Some(Protocol::Tcp))));
        assert_eq!(ports("80/sctp"), Some((80..=80, None)));
        for wrong in ["", "x", "80/dccp", "9-8", "70000", "1-", "/tcp"] {
            assert_eq!(ports(wrong), None, "{wrong}");
        }
    }
}
