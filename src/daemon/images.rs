//! The requests about images: their list, what they are, their names.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::sync::Arc;

use hyper::StatusCode;
use serde_json::{Value, json};

use super::Daemon;
use super::answer::{Answered, ApiError, empty, json_answer, ok};
use super::command::{blocking, run, words};
use super::containers::find as find_container;
use super::request::{ApiRequest, ApiVersion, Filters, known_filters, truth_filter};
use super::settings::{list as texts, pairs, string};
use crate::container::store::{ContainerStore, KeptContainer};
use crate::image::digest::Digest;
use crate::image::history::{self, ImageStep};
use crate::image::inspected::inspected;
use crate::image::manifest::read_json;
use crate::image::pattern::NamePattern;
use crate::image::reference::Reference;
use crate::image::store::{ImageStore, StoredImage};
use crate::text::text_with;
use crate::value::timestamp::Timestamp;

/// The filters of the list.
const FILTERS: [&str; 6] = ["before", "dangling", "label", "reference", "since", "until"];

/// The version from which on images have one size, and the one from which on an image without a name has an empty list of names.
const WITHOUT_VIRTUAL_SIZE: ApiVersion = ApiVersion(1, 44);
const WITHOUT_NONE: ApiVersion = ApiVersion(1, 43);

/// The time of an image without one: the first moment of Go's calendar, which clients print as N/A.
const NO_TIME: i64 = -62_135_596_800;

fn created(image: &StoredImage) -> i64 {
    let moment = image.created.as_ref().and_then(|created| created.parse::<Timestamp>().ok());
    moment.map_or(NO_TIME, |moment| i64::try_from(moment.0 / 1_000_000_000).unwrap_or_default())
}

/// An image with all of its names.
struct NamedImage {
    image: StoredImage,
    names: Vec<ImageName>,
}

/// A name, and the digest by which its registry has the image, if it has it.
struct ImageName {
    name: Reference,
    digest: Option<Digest>,
}

fn all(store: &ImageStore) -> Answered<Vec<NamedImage>> {
    let mut found: Vec<NamedImage> = Vec::new();
    for image in store.all()? {
        let digest = image.registry_digest();
        let name = image.name.clone().map(|name| ImageName { name, digest });
        let place = match found.iter().position(|other| other.image.id == image.id) {
            Some(place) => place,
            None => {
                found.push(NamedImage { image, names: Vec::new() });
                found.len() - 1
            }
        };
        found[place].names.extend(name);
    }
    found.sort_by_key(|named| std::cmp::Reverse(created(&named.image)));
    Ok(found)
}

fn labels(store: &ImageStore, image: &StoredImage) -> BTreeMap<String, String> {
    let read = || -> crate::error::Result<Value> { read_json(&store.document(&image.id)?, "config") };
    let labels = read().ok().and_then(|config| config.pointer("/config/Labels").cloned());
    serde_json::from_value(labels.unwrap_or_default()).unwrap_or_default()
}

/// The list.
pub(super) async fn list(_: Arc<Daemon>, request: ApiRequest) -> Answered {
    let mut filters = request.query.filters()?;
    known_filters(&filters, &FILTERS)?;
    // Before version 1.41 of the API, this was a parameter.
    if let Some(pattern) = request.query.get("filter") {
        filters.insert("reference".to_owned(), vec![pattern.to_owned()]);
    }
    let version = request.version;
    let rows = blocking(move || {
        let store = ImageStore::open()?;
        let mut images = all(&store)?;
        for (name, values) in &filters {
            filter(&store, &mut images, name, values)?;
        }
        Ok(images.iter().map(|named| row(&store, named, version)).collect::<Vec<_>>())
    });
    ok(&rows.await?)
}

fn row(store: &ImageStore, NamedImage { image, names }: &NamedImage, version: ApiVersion) -> Value {
    let digest =
        |named: &ImageName| Some(format!("{}@{}", named.name.familiar_name(), named.digest.as_ref()?));
    let digests: BTreeSet<String> = names.iter().filter_map(digest).collect();
    let tags = names.iter().filter(|named| named.name.tag.is_some()).map(|named| named.name.familiar());
    let mut row = json!({
        "Id": image.id,
        "ParentId": "",
        "RepoTags": tags.collect::<Vec<_>>(),
        "RepoDigests": digests,
        "Created": created(image),
        "Size": image.size,
        "SharedSize": -1,
        "Containers": -1,
        "Labels": labels(store, image),
    });
    if version < WITHOUT_VIRTUAL_SIZE {
        row["VirtualSize"] = image.size.into();
    }
    if version < WITHOUT_NONE && names.is_empty() {
        row["RepoTags"] = json!(["<none>:<none>"]);
        row["RepoDigests"] = json!(["<none>@<none>"]);
    }
    row
}

fn filter(store: &ImageStore, images: &mut Vec<NamedImage>, name: &str, values: &[String]) -> Answered<()> {
    match name {
        "dangling" => {
            let filters = Filters::from([(name.to_owned(), values.to_vec())]);
            let wanted = truth_filter(&filters, name)?;
            images.retain(|named| wanted.is_none_or(|wanted| named.names.is_empty() == wanted));
        }
        "reference" => {
            let patterns = values.iter().map(|pattern| NamePattern::new(pattern));
            let patterns = patterns.collect::<crate::error::Result<Vec<NamePattern>>>()?;
            for named in images.iter_mut() {
                named.names.retain(|own| patterns.iter().any(|pattern| pattern.fits(&own.name)));
            }
            images.retain(|named| !named.names.is_empty());
        }
        "label" => images.retain(|named| {
            let own = labels(store, &named.image);
            values.iter().all(|value| match value.split_once('=') {
                Some((key, value)) => own.get(key).is_some_and(|own| own == value),
                None => own.contains_key(value),
            })
        }),
        "until" => {
            for value in values {
                let moment = super::logs::moment(value)?.0 / 1_000_000_000;
                images.retain(|named| i128::from(created(&named.image)) < moment);
            }
        }
        _ => {
            for value in values {
                let other = created(&store.find(value)?);
                images.retain(|named| match name {
                    "before" => created(&named.image) < other,
                    _ => created(&named.image) > other,
                });
            }
        }
    }
    Ok(())
}

/// Everything about an image.
pub(super) async fn inspect(_: Arc<Daemon>, request: ApiRequest) -> Answered {
    let name = request.name();
    let found = blocking(move || {
        let store = ImageStore::open()?;
        let image = store.find(&name)?;
        Ok(inspected(&store, &image)?)
    });
    let mut found = found.await?;
    if let Some(keys) = found.as_object_mut() {
        // Docker has left this key out from version 1.45 on. docker-compose 1 reads the volumes of the image from it.
        keys.insert("ContainerConfig".to_owned(), keys.get("Config").cloned().unwrap_or_default());
        let has_time = keys.get("Created").and_then(Value::as_str).is_some_and(|time| !time.is_empty());
        if request.version < WITHOUT_VIRTUAL_SIZE && !has_time {
            keys.insert("Created".to_owned(), "0001-01-01T00:00:00Z".into());
        }
        if request.version >= WITHOUT_VIRTUAL_SIZE {
            if !has_time {
                keys.remove("Created");
            }
            keys.remove("VirtualSize");
        }
    }
    ok(&found)
}

/// How an image was made, the last step first.
pub(super) async fn history(_: Arc<Daemon>, request: ApiRequest) -> Answered {
    let name = request.name();
    let rows = blocking(move || {
        let store = ImageStore::open()?;
        let image = store.find(&name)?;
        let named = all(&store)?.into_iter().find(|named| named.image.id == image.id);
        let tags: Vec<String> =
            named.iter().flat_map(|named| &named.names).map(|own| own.name.familiar()).collect();
        let mut steps = history::steps(&store, &image)?;
        steps.reverse();
        let row = |(at, ImageStep { step, layer }): (usize, &ImageStep)| {
            let moment = step.created.as_ref().and_then(|created| created.parse::<Timestamp>().ok());
            json!({
                "Id": if at == 0 { image.id.to_string() } else { "<missing>".to_owned() },
                "Created": moment.map_or(NO_TIME.into(), |moment| moment.0 / 1_000_000_000),
                "CreatedBy": step.created_by,
                "Comment": step.comment,
                "Size": layer.as_ref().and_then(|layer| layer.size).unwrap_or_default(),
                "Tags": if at == 0 { json!(tags) } else { Value::Null },
            })
        };
        Ok(steps.iter().enumerate().map(row).collect::<Vec<_>>())
    });
    ok(&rows.await?)
}

/// Gives a further name.
pub(super) async fn tag(daemon: Arc<Daemon>, request: ApiRequest) -> Answered {
    let name = full_name(&request, "repo")?;
    let line = words(&["tag", "--", &request.name(), &name]);
    run(&daemon, request.number, line).await?;
    Ok(empty(StatusCode::CREATED))
}

/// The name in the parameters `repo` and `tag`.
pub(super) fn full_name(request: &ApiRequest, parameter: &str) -> Answered<String> {
    let Some(repository) = request.query.get(parameter) else {
        return Err(ApiError::bad(text_with("daemon.parameter", &[("name", parameter)])));
    };
    Ok(match request.query.get("tag") {
        Some(digest) if digest.contains(':') => format!("{repository}@{digest}"),
        Some(tag) => format!("{repository}:{tag}"),
        None => repository.to_owned(),
    })
}

/// What a command has printed about names and images that were removed.
fn removed(printed: &[u8]) -> Vec<Value> {
    let printed = String::from_utf8_lossy(printed);
    let of = |line: &str| {
        let (what, name) = line.split_once(": ")?;
        let key = match what.to_ascii_lowercase().as_str() {
            "untagged" => "Untagged",
            "deleted" => "Deleted",
            _ => return None,
        };
        Some(json!({ key: name }))
    };
    printed.lines().filter_map(of).collect()
}

/// Removes a name, and an image without a name.
pub(super) async fn remove(daemon: Arc<Daemon>, request: ApiRequest) -> Answered {
    let mut line = words(&["rmi"]);
    if request.query.is("force") {
        line.push("--force".into());
    }
    line.extend(words(&["--", &request.name()]));
    let printed = run(&daemon, request.number, line).await.map_err(|mut error| {
        if error.message.contains("unable to remove") || error.message.contains("unable to delete") {
            error.status = StatusCode::CONFLICT;
        }
        error
    })?;
    ok(&removed(&printed))
}

/// Removes images that nobody needs.
pub(super) async fn prune(daemon: Arc<Daemon>, request: ApiRequest) -> Answered {
    let filters: Filters = request.query.filters()?;
    known_filters(&filters, &["dangling", "label", "label!", "until"])?;
    let is_all = truth_filter(&filters, "dangling")? == Some(false);
    let mut line = words(&["image", "prune", "--force"]);
    if is_all {
        line.push("--all".into());
    }
    let more = filters.iter().filter(|(name, _)| *name != "dangling");
    line.extend(more.flat_map(|(name, all)| {
        all.iter().map(move |value| super::settings::flag("filter", &format!("{name}={value}")))
    }));
    // A layer is removed with the last image that has it.
    let size = |version| blocking(move || rows(version).map(|(_, size)| size));
    let before = size(request.version).await?;
    let printed = run(&daemon, request.number, line).await?;
    let space = before.saturating_sub(size(request.version).await?);
    ok(&json!({ "ImagesDeleted": removed(&printed), "SpaceReclaimed": space }))
}

/// Searches for images.
pub(super) async fn search(daemon: Arc<Daemon>, request: ApiRequest) -> Answered {
    let Some(term) = request.query.get("term") else {
        return Err(ApiError::bad(text_with("daemon.parameter", &[("name", "term")])));
    };
    let mut line = words(&["search", "--no-trunc", "--format", "json"]);
    if let Some(limit) = request.query.number::<u8>("limit")?.filter(|limit| *limit > 0) {
        line.push(format!("--limit={limit}").into());
    }
    for (name, values) in request.query.filters()? {
        line.extend(values.iter().map(|value| OsString::from(format!("--filter={name}={value}"))));
    }
    line.extend(words(&["--", term]));
    let printed = run(&daemon, request.number, line).await?;
    let row = |line: &str| {
        let row: Value = serde_json::from_str(line).ok()?;
        let is = |name: &str| row[name] == "[OK]";
        Some(json!({
            "name": row["Name"],
            "description": row["Description"],
            "star_count": row["StarCount"].as_str().and_then(|stars| stars.parse::<u64>().ok()).unwrap_or_default(),
            "is_official": is("IsOfficial"),
            "is_automated": is("IsAutomated"),
        }))
    };
    ok(&String::from_utf8_lossy(&printed).lines().filter_map(row).collect::<Vec<_>>())
}

/// Makes an image of a container.
pub(super) async fn commit(daemon: Arc<Daemon>, mut request: ApiRequest) -> Answered {
    let body = request.json().await?;
    let query = &request.query;
    let container = find_container(query.get("container").unwrap_or_default().to_owned()).await?;
    let mut line = words(&["commit"]);
    for (name, own) in [("author", "author"), ("comment", "message")] {
        line.extend(query.get(name).map(|value| super::settings::flag(own, value)));
    }
    for change in query.all("changes") {
        line.extend(change.lines().map(|change| super::settings::flag("change", change)));
    }
    // The client may send the config of the new image.
    for (name, instruction) in [("User", "USER"), ("WorkingDir", "WORKDIR"), ("StopSignal", "STOPSIGNAL")] {
        line.extend(
            string(&body, name)?
                .map(|value| super::settings::flag("change", &format!("{instruction} {value}"))),
        );
    }
    for (name, instruction) in [("Cmd", "CMD"), ("Entrypoint", "ENTRYPOINT")] {
        let all = texts(&body, name)?;
        if !all.is_empty() {
            line.push(super::settings::flag("change", &format!("{instruction} {}", json!(all))));
        }
    }
    line.extend(
        texts(&body, "Env")?
            .iter()
            .map(|one| super::settings::flag("change", &format!("ENV {}", quoted(one)))),
    );
    for (name, value) in pairs(&body, "Labels")? {
        line.push(super::settings::flag("change", &format!("LABEL {}", quoted(&format!("{name}={value}")))));
    }
    for (name, instruction) in [("ExposedPorts", "EXPOSE"), ("Volumes", "VOLUME")] {
        for key in body[name].as_object().into_iter().flatten().map(|(key, _)| key) {
            let value = if name == "Volumes" { json!([key]).to_string() } else { key.clone() };
            line.push(super::settings::flag("change", &format!("{instruction} {value}")));
        }
    }
    if query.get("pause").is_some() && !query.is("pause") {
        line.push("--pause=false".into());
    }
    line.extend(words(&["--", container.record.id.as_str()]));
    if query.get("repo").is_some() {
        line.push(full_name(&request, "repo")?.into());
    }
    let printed = run(&daemon, request.number, line).await?;
    let id = String::from_utf8_lossy(&printed).trim().to_owned();
    Ok(json_answer(StatusCode::CREATED, &json!({ "Id": id })))
}

/// A variable as a line of a Dockerfile has it. Nothing has a meaning between single quotes.
fn quoted(variable: &str) -> String {
    let (name, value) = variable.split_once('=').unwrap_or((variable, ""));
    format!("{name}='{}'", value.replace('\'', "'\"'\"'"))
}

/// How many images and containers there are.
pub(super) fn counts() -> Answered<(usize, [usize; 3])> {
    let images = all(&ImageStore::open()?)?.len();
    let (containers, _) = ContainerStore::open()?.all()?;
    let count = |wanted: &[&str]| {
        containers.iter().filter(|container| wanted.contains(&container.state.status.word())).count()
    };
    Ok((
        images,
        [count(&["running", "restarting"]), count(&["paused"]), count(&["created", "exited", "elsewhere"])],
    ))
}

/// The images, for `system df`, with what they share, and the size of all layers. A layer that several images have takes its space
/// once.
pub(super) fn rows(version: ApiVersion) -> Answered<(Vec<Value>, u64)> {
    let store = ImageStore::open()?;
    let images = all(&store)?;
    let (containers, _) = ContainerStore::open()?.all()?;
    let mut layers = BTreeMap::new();
    let mut of_images = Vec::new();
    for NamedImage { image, .. } in &images {
        let own = history::layers(&store, &store.parts(&image.descriptor)?);
        for layer in &own {
            layers.entry(layer.chain_id.clone()).or_insert((0, layer.size.unwrap_or_default())).0 += 1;
        }
        of_images.push(own);
    }
    let rows = images.iter().zip(&of_images).map(|(named, own)| {
        let id = named.image.id.to_string();
        let shared =
            own.iter().filter_map(|layer| layers.get(&layer.chain_id)).filter(|(count, _)| *count > 1);
        let mut row = row(&store, named, version);
        row["SharedSize"] = shared.map(|(_, size)| size).sum::<u64>().into();
        let is_its = |container: &&KeptContainer| container.record.image_id.as_ref() == Some(&id);
        row["Containers"] = containers.iter().filter(is_its).count().into();
        row
    });
    let rows = rows.collect();
    Ok((rows, layers.values().map(|(_, size)| size).sum()))
}
