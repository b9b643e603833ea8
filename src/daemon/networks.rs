//! The requests about networks. There are the three that Docker always has. Networks with a name are not there yet.

use std::sync::Arc;

use hyper::StatusCode;
use serde_json::{Value, json};

use super::Daemon;
use super::answer::{Answered, ApiError, ok};
use super::command::blocking;
use super::request::{ApiRequest, known_filters, truth_filter};
use crate::container::events::Event;
use crate::container::network::{bridge_addresses, network_id, network_name, networks};
use crate::container::object_events::EventKind;
use crate::container::store::{ContainerStore, KeptContainer};
use crate::text::{printed, text, text_with};

/// The networks, each with its driver.
const NETWORKS: [(&str, &str); 3] = [("bridge", "bridge"), ("host", "host"), ("none", "null")];

/// The description of a network. For that of the bridge, the kernel is asked.
fn network(name: &str, driver: &str, containers: Value) -> Value {
    let addresses = if name == "bridge" { bridge_addresses() } else { None };
    let addresses = addresses.map(|(subnet, gateway)| json!({ "Subnet": subnet, "Gateway": gateway }));
    json!({
        "Name": name,
        "Id": network_id(name),
        "Created": "0001-01-01T00:00:00Z",
        "Scope": "local",
        "Driver": driver,
        "EnableIPv4": true,
        "EnableIPv6": false,
        "IPAM": { "Driver": "default", "Options": null, "Config": Vec::from_iter(addresses) },
        "Internal": false,
        "Attachable": false,
        "Ingress": false,
        "ConfigFrom": { "Network": "" },
        "ConfigOnly": false,
        "Containers": containers,
        "Options": {},
        "Labels": {},
    })
}

/// The list.
pub(super) async fn list(_: Arc<Daemon>, request: ApiRequest) -> Answered {
    let filters = request.query.filters()?;
    known_filters(&filters, &["dangling", "driver", "id", "label", "name", "scope", "type"])?;
    truth_filter(&filters, "dangling")?;
    let has = |name: &str, driver: &str, filter: &str, value: &str| match filter {
        "name" => name.contains(value),
        "id" => network_id(name).starts_with(value),
        "driver" => driver == value,
        "scope" => value == "local",
        "type" => value == "builtin",
        "dangling" => value == "false" || value == "0",
        _ => false,
    };
    let found = blocking(move || {
        let found = NETWORKS.iter().filter(|(name, driver)| {
            filters.iter().all(|(filter, values)| values.iter().any(|value| has(name, driver, filter, value)))
        });
        Ok(found.map(|(name, driver)| network(name, driver, json!({}))).collect::<Vec<_>>())
    });
    ok(&found.await?)
}

/// One of them, with the containers in it.
pub(super) async fn inspect(_: Arc<Daemon>, request: ApiRequest) -> Answered {
    let (name, driver) = find(&request.name())?;
    let found = blocking(move || {
        let mut all = ContainerStore::open()?.all()?.0;
        all.retain(|container| container.state.status.is_active() && network_name(container) == name);
        let of = |container: &KeptContainer| {
            let about = json!({
                "Name": container.name, "EndpointID": "", "MacAddress": "", "IPv4Address": address_in(container, name),
                "IPv6Address": "",
            });
            (container.record.id.to_string(), about)
        };
        Ok(network(name, driver, Value::Object(all.iter().map(of).collect())))
    });
    ok(&found.await?)
}

/// The address of a container in a network, with the length of the prefix. Empty: it has none.
fn address_in(container: &KeptContainer, network: &str) -> String {
    let networks = networks(container);
    match (&networks[network]["IPAddress"], &networks[network]["IPPrefixLen"]) {
        (Value::String(address), prefix) if !address.is_empty() => format!("{address}/{prefix}"),
        _ => String::new(),
    }
}

/// The network with this name, or with an ID that begins so, and its driver.
fn find(wanted: &str) -> Answered<(&'static str, &'static str)> {
    let is_it = |name: &str| name == wanted || wanted.len() >= 4 && network_id(name).starts_with(wanted);
    let found = NETWORKS.iter().find(|(name, _)| is_it(name)).copied();
    found.ok_or_else(|| none(wanted))
}

fn none(name: &str) -> ApiError {
    ApiError::new(StatusCode::NOT_FOUND, text_with("daemon.network.none", &[("name", &printed(name))]))
}

/// Removes a network. Those that Docker always has stay, and there are no others.
pub(super) async fn remove(_: Arc<Daemon>, request: ApiRequest) -> Answered {
    let (name, _) = find(&request.name())?;
    let message = text_with("daemon.network.predefined", &[("name", name)]);
    Err(ApiError::new(StatusCode::FORBIDDEN, message))
}

/// What is not there yet.
pub(super) async fn change(_: Arc<Daemon>, _: ApiRequest) -> Answered {
    Err(ApiError::new(StatusCode::NOT_IMPLEMENTED, text("daemon.network.change")))
}

/// There is nothing to remove.
pub(super) async fn prune(_: Arc<Daemon>, request: ApiRequest) -> Answered {
    known_filters(&request.query.filters()?, &["label", "label!", "until"])?;
    blocking(|| {
        Event::note_prune(EventKind::Network, 0);
        Ok(())
    })
    .await?;
    ok(&json!({ "NetworksDeleted": null }))
}
