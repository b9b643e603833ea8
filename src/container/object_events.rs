//! The events of images, volumes and networks, and the filters of all events.

use std::collections::BTreeMap;

use super::events::{Event, EventActor, append};
use super::network::{network_id, network_mode};
use super::store::{ContainerStore, KeptContainer};
use crate::host::home::HomePlace;
use crate::value::timestamp::Timestamp;

/// What an event is about, besides containers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    /// All containers together, as after a prune. One container has events of its own.
    Container,
    /// An image.
    Image,
    /// A volume.
    Volume,
    /// A network.
    Network,
    /// The cache of builds.
    Builder,
}

impl Event {
    /// An event that happens now to something that is not one container. As in Docker, that of an image or of all containers has the
    /// keys of former clients too.
    pub fn about(kind: EventKind, action: &str, id: &str, attributes: &[(&str, &str)]) -> Event {
        let nanoseconds = i64::try_from(Timestamp::now().0).unwrap_or_default();
        let has_former = matches!(kind, EventKind::Image | EventKind::Container);
        let former = |value: &str| if has_former { value.to_owned() } else { String::new() };
        let attributes = attributes.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        Event {
            status: former(action),
            id: former(id),
            from: String::new(),
            kind: match kind {
                EventKind::Container => "container",
                EventKind::Image => "image",
                EventKind::Volume => "volume",
                EventKind::Network => "network",
                EventKind::Builder => "builder",
            }
            .to_owned(),
            action: action.to_owned(),
            actor: EventActor { id: id.to_owned(), attributes: attributes.collect::<BTreeMap<_, _>>() },
            scope: "local".to_owned(),
            time: nanoseconds / 1_000_000_000,
            time_nano: nanoseconds,
        }
    }

    /// Notes that a prune of objects of this kind has freed so many bytes.
    pub fn note_prune(kind: EventKind, bytes: u64) {
        Event::about(kind, "prune", "", &[("reclaimed", &bytes.to_string())]).note();
    }

    /// Adds it to HOME/events. Where that is not possible, the event is lost.
    pub fn note(&self) {
        if let Ok(Some(home)) = HomePlace::find().open() {
            let _ = append(&home, self);
        }
    }

    /// Whether it has what a filter asks for, by Docker's rules.
    pub fn has(&self, filter: &str, value: &str) -> bool {
        let attribute = |name: &str| self.actor.attributes.get(name).map(String::as_str);
        let is_about = |kind: &str| self.kind == kind;
        let is_named = |kind: &str, value: &str| {
            is_about(kind) && (self.actor.id.starts_with(value) || attribute("name") == Some(value))
        };
        match filter {
            "container" => is_named("container", value.trim_start_matches('/')),
            "volume" => is_about("volume") && self.actor.id == value,
            "network" => is_named("network", value),
            "event" => self.word() == value || self.action == value,
            "image" => {
                let name = attribute(if is_about("image") { "name" } else { "image" });
                let known = [Some(self.actor.id.as_str()).filter(|_| is_about("image")), name];
                known.into_iter().flatten().any(|known| known == value || without_tag(known) == value)
            }
            "label" => match value.split_once('=') {
                Some((key, value)) => attribute(key) == Some(value),
                None => attribute(value).is_some(),
            },
            "type" => is_about(value),
            "scope" => value == "local",
            _ => false,
        }
    }
}

/// A name without its tag.
fn without_tag(name: &str) -> &str {
    match name.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => name,
        _ => name,
    }
}

/// Notes what a start or an end of a container does to its volumes and its network. Only the bridge connects containers.
pub(super) fn note_connections(store: &ContainerStore, container: &KeptContainer, starts: bool) {
    let id = container.record.id.as_str();
    for volume in &container.record.volumes {
        let target = volume.target.display().to_string();
        let writable = (!volume.readonly).to_string();
        let attributes = [
            ("container", id),
            ("driver", "local"),
            ("destination", &target),
            ("propagation", ""),
            ("read/write", &writable),
        ];
        let (action, count) = if starts { ("mount", 5) } else { ("unmount", 2) };
        store.note(&Event::about(EventKind::Volume, action, &volume.name, &attributes[..count]));
    }
    let mode = network_mode(container);
    if mode == "bridge" {
        let action = if starts { "connect" } else { "disconnect" };
        let attributes = [("container", id), ("name", mode), ("type", mode)];
        store.note(&Event::about(EventKind::Network, action, &network_id(mode), &attributes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_have_dockers_rules() {
        let pulled = Event::about(EventKind::Image, "pull", "app:1", &[("name", "app")]);
        for (filter, value) in [("image", "app"), ("image", "app:1"), ("type", "image"), ("event", "pull")] {
            assert!(pulled.has(filter, value), "{filter}={value}");
        }
        let pruned = Event::about(EventKind::Builder, "prune", "", &[("reclaimed", "5")]);
        assert!(pruned.has("type", "builder") && !pruned.has("type", "image"));
        for (filter, value) in [("image", "ap"), ("container", "app"), ("volume", "app:1"), ("daemon", "x")] {
            assert!(!pulled.has(filter, value), "{filter}={value}");
        }
        let of_registry =
            Event::about(EventKind::Image, "tag", "sha256:1", &[("name", "127.0.0.1:5000/app")]);
        assert!(of_registry.has("image", "127.0.0.1:5000/app") && !of_registry.has("image", "127.0.0.1"));
        let line = serde_json::to_string(&Event::about(EventKind::Volume, "create", "data", &[])).unwrap();
        assert!(!line.contains("\"status\"") && !line.contains("\"from\""), "{line}");
        assert_eq!(serde_json::from_str::<Event>(&line).unwrap().actor.id, "data");
    }
}
