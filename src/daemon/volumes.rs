//! The requests about volumes.

use std::sync::Arc;

use hyper::StatusCode;
use serde_json::{Value, json};

use super::Daemon;
use super::answer::{Answered, done, json_answer, ok};
use super::command::{blocking, run, words};
use super::request::{ApiRequest, ApiVersion, known_filters, truth_filter};
use super::settings::{flag, pairs, string};
use crate::container::events::Event;
use crate::container::filter::is_met;
use crate::container::object_events::EventKind;
use crate::container::store::ContainerStore;
use crate::container::volumes::{Volume, VolumeStore};

/// The list.
pub(super) async fn list(_: Arc<Daemon>, request: ApiRequest) -> Answered {
    let filters = request.query.filters()?;
    known_filters(&filters, &["dangling", "driver", "label", "name"])?;
    let dangling = truth_filter(&filters, "dangling")?;
    let found = blocking(move || {
        let store = VolumeStore::open()?;
        let users = store.known_users(&ContainerStore::open()?)?;
        let has = |volume: &Volume, name: &str, value: &str| match name {
            "name" => volume.name.contains(value),
            "driver" => value == "local",
            "dangling" => Some(!users.contains_key(&volume.name)) == dangling,
            _ => volume.has_label(value),
        };
        let mut all = store.all()?;
        all.retain(|volume| {
            filters.iter().all(|(name, values)| {
                is_met(name, values.iter().map(String::as_str), |value| has(volume, name, value))
            })
        });
        Ok(all.iter().map(Volume::inspected).collect::<Vec<_>>())
    });
    ok(&json!({ "Volumes": found.await?, "Warnings": null }))
}

/// Makes a volume. One that exists is returned.
pub(super) async fn create(daemon: Arc<Daemon>, mut request: ApiRequest) -> Answered {
    let body = request.json().await?;
    let mut line = words(&["volume", "create"]);
    line.extend(
        string(&body, "Driver")?.filter(|driver| *driver != "local").map(|driver| flag("driver", driver)),
    );
    line.extend(pairs(&body, "Labels")?.iter().map(|(key, value)| flag("label", &format!("{key}={value}"))));
    if let Some((option, _)) = pairs(&body, "DriverOpts")?.first() {
        return Err(super::answer::ApiError::absent(&format!("--opt {option}")));
    }
    if let Some(name) = string(&body, "Name")? {
        line.extend(words(&["--", name]));
    }
    let printed = run(&daemon, request.number, line).await?;
    let name = String::from_utf8_lossy(&printed).trim().to_owned();
    let volume = blocking(move || Ok(VolumeStore::open()?.find(&name)?.inspected())).await?;
    Ok(json_answer(StatusCode::CREATED, &volume))
}

/// Everything about a volume.
pub(super) async fn inspect(_: Arc<Daemon>, request: ApiRequest) -> Answered {
    let name = request.name();
    ok(&blocking(move || Ok(VolumeStore::open()?.find(&name)?.inspected())).await?)
}

/// Removes a volume.
pub(super) async fn remove(daemon: Arc<Daemon>, request: ApiRequest) -> Answered {
    let mut line = words(&["volume", "rm"]);
    if request.query.is("force") {
        line.push("--force".into());
    }
    line.extend(words(&["--", &request.name()]));
    run(&daemon, request.number, line).await?;
    done()
}

/// Removes the volumes that no container uses.
pub(super) async fn prune(_: Arc<Daemon>, request: ApiRequest) -> Answered {
    let filters = request.query.filters()?;
    known_filters(&filters, &["all", "label", "label!"])?;
    // Before version 1.42, those with a name went too.
    let is_all = truth_filter(&filters, "all")?.unwrap_or(request.version < ApiVersion(1, 42));
    let removed = blocking(move || {
        let pairs =
            filters.iter().flat_map(|(name, all)| all.iter().map(|value| (name.as_str(), value.as_str())));
        let pairs: Vec<_> = pairs.collect();
        let store = VolumeStore::open()?;
        let (names, space) =
            store.prune(&ContainerStore::open()?, |volume| volume.is_prunable(is_all, &pairs))?;
        Event::note_prune(EventKind::Volume, space);
        Ok((names, space))
    });
    let (names, space) = removed.await?;
    ok(&json!({ "VolumesDeleted": names, "SpaceReclaimed": space }))
}

/// The volumes with their sizes, for `system df`.
pub(super) fn rows() -> Answered<Vec<Value>> {
    let store = VolumeStore::open()?;
    let users = store.known_users(&ContainerStore::open()?)?;
    let row = |volume: &Volume| {
        let mut row = volume.inspected();
        let count = users.get(&volume.name).map_or(0, Vec::len);
        row["UsageData"] = json!({ "Size": store.size(volume), "RefCount": count });
        row
    };
    Ok(store.all()?.iter().map(row).collect())
}
