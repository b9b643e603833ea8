//! Links between containers on the bridge: Docker's `--link CONTAINER:ALIAS`.
//!
//! A container gets another address at each start. So the line of /etc/hosts and the variables are made when the container with the
//! link starts, and the other one must run then.

use std::ffi::OsString;
use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use super::id::Id;
use super::network::{address, is_on_bridge, network_mode};
use super::store::{ContainerStore, KeptContainer};
use crate::config::container::Config;
use crate::error::{Error, ExitKind, Result};
use crate::text::{printed, text, text_with};

/// A link to another container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerLink {
    /// The other container.
    pub container: Id,
    /// The name by which the container with the link knows it.
    pub alias: String,
}

impl ContainerLink {
    /// Reads `CONTAINER` or `CONTAINER:ALIAS`. None: the alias is no name of a machine.
    pub fn parse(written: &str) -> Option<(String, String)> {
        let (name, alias) = written.split_once(':').unwrap_or((written, written));
        let (name, alias) = (name.trim_start_matches('/'), alias.rsplit('/').next().unwrap_or_default());
        let is_name = |name: &str| {
            !name.is_empty()
                && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
        };
        (is_name(name) && is_name(alias)).then(|| (name.to_owned(), alias.to_owned()))
    }

    /// Links to these containers, each with its alias.
    ///
    /// # Errors
    /// One does not exist.
    pub fn of(store: &ContainerStore, wanted: &[(String, String)]) -> Result<Vec<ContainerLink>> {
        let link = |(name, alias): &(String, String)| {
            let found = store.find(name).map_err(|error| no_container(name, &error))?;
            Ok(ContainerLink { container: found.record.id, alias: alias.clone() })
        };
        wanted.iter().map(link).collect()
    }
}

/// The error of a link to a container that does not exist. `name` is that of the container, or what the link is for.
fn no_container(name: &str, why: &Error) -> Error {
    let values = [("name", &*printed(name)), ("why", &why.what)];
    Error::new(ExitKind::Usage, text_with("container.link.none", &values))
}

/// The links of a container as Docker describes them: `/CONTAINER:/OWN-NAME/ALIAS`.
pub(super) fn described(container: &KeptContainer) -> Option<Vec<String>> {
    let links = &container.record.links;
    let store = ContainerStore::open().ok().filter(|_| !links.is_empty())?;
    let one = |link: &ContainerLink| {
        let other = store.find(link.container.as_str()).ok()?;
        Some(format!("/{}:/{}/{}", other.name, container.name, link.alias))
    };
    Some(links.iter().filter_map(one).collect())
}

/// Adds to the config of a container what its links give it.
///
/// # Errors
/// One of the other containers does not run.
pub(super) fn add(config: &mut Config, container: &KeptContainer) -> Result<()> {
    if container.record.links.is_empty() {
        return Ok(());
    }
    let store = ContainerStore::open()?;
    for link in &container.record.links {
        let alias = format!("{}/{}", container.name, link.alias);
        // It may have been removed since this container was made.
        let other = store
            .find(link.container.as_str())
            .map_err(|error| Error { kind: ExitKind::Refused, ..no_container(&alias, &error) })?;
        let stopped = || {
            let values = [("name", &*other.name), ("alias", &*alias)];
            Error::new(ExitKind::Refused, text_with("container.link.stopped", &values))
        };
        let is_there = other.state.status.is_active() && network_mode(&other) == "bridge";
        let (address, _) = address(&other).filter(|_| is_there).ok_or_else(stopped)?;
        config.environment.hosts.push(hosts_line(address, &link.alias, &other));
        for (name, value) in variables(&container.name, link, address, &other) {
            // What the user and the image have set, stays.
            if config.process.variable(&name).is_none() {
                config.process.env.get_or_insert_default().push(format!("{name}={value}").into());
            }
        }
    }
    Ok(())
}

/// The line of /etc/hosts: the alias, the hostname of the other container, and its name.
fn hosts_line(address: Ipv4Addr, alias: &str, other: &KeptContainer) -> String {
    let uts = other.record.config.environment.namespaces.uts.options();
    let hostname = uts.and_then(|uts| uts.hostname.as_ref()).map(printed);
    let mut names = vec![alias.to_owned()];
    for name in hostname.into_iter().chain([other.name.clone()]) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    format!("{address}\t{}", names.join(" "))
}

/// Docker's variables: where the other container listens, and what variables its maker and its image have set.
fn variables(
    own_name: &str,
    link: &ContainerLink,
    address: Ipv4Addr,
    other: &KeptContainer,
) -> Vec<(String, String)> {
    let prefix = link.alias.to_ascii_uppercase().replace(['-', '.'], "_");
    let mut all = vec![(format!("{prefix}_NAME"), format!("/{own_name}/{}", link.alias))];
    let record = &other.record;
    let mut ports: Vec<(u16, &str)> = record
        .exposed
        .iter()
        .filter_map(|port| port.split_once('/'))
        .filter_map(|(number, protocol)| Some((number.parse().ok()?, protocol)))
        .collect();
    ports.extend(other.state.ports.iter().map(|port| (port.inside, port.protocol.word())));
    ports.sort();
    ports.dedup();
    if let Some((port, protocol)) = ports.first() {
        all.push((format!("{prefix}_PORT"), format!("{protocol}://{address}:{port}")));
    }
    for (port, protocol) in ports {
        let start = format!("{prefix}_PORT_{port}_{}", protocol.to_ascii_uppercase());
        all.push((format!("{start}_ADDR"), address.to_string()));
        all.push((format!("{start}_PORT"), port.to_string()));
        all.push((format!("{start}_PROTO"), protocol.to_owned()));
        all.push((start, format!("{protocol}://{address}:{port}")));
    }
    let names = record.variables.iter().flatten().filter(|name| !["HOME", "PATH"].contains(&name.as_str()));
    all.extend(names.filter_map(|name| {
        let value: OsString = record.config.process.variable(name)?.to_owned();
        Some((format!("{prefix}_ENV_{name}"), value.into_string().ok()?))
    }));
    all
}

/// Refuses links of a container that is not on the bridge: no other container has an address there.
///
/// # Errors
/// There are links, and the container is in another network.
pub fn check(config: &Config, links: &[(String, String)]) -> Result<()> {
    match links.is_empty() || is_on_bridge(config) {
        true => Ok(()),
        false => {
            let error = Error::new(ExitKind::Usage, text("container.link.network"));
            Err(error.why(text("container.link.bridge")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_has_a_name_and_an_alias() {
        let of = |written: &str| ContainerLink::parse(written);
        assert_eq!(of("web"), Some(("web".into(), "web".into())));
        assert_eq!(of("web:db-1"), Some(("web".into(), "db-1".into())));
        assert_eq!(of("/web:/app/db"), Some(("web".into(), "db".into())));
        for wrong in ["", ":", "web:", ":db", "web:a b", "web:a\nb", "web:a:b"] {
            assert_eq!(of(wrong), None, "{wrong:?}");
        }
    }
}
