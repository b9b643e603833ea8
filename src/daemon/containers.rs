//! The requests about containers that exist: their list, and what is done with them.

use std::sync::Arc;

use hyper::StatusCode;
use serde_json::{Value, json};

use super::Daemon;
use super::answer::{Answered, ApiError, done, empty, json_answer, ok};
use super::command::{blocking, long, run, words};
use super::request::{ApiRequest, Filters, known_filters};
use crate::container::description::mounts;
use crate::container::events::Event;
use crate::container::explain::Explainer;
use crate::container::filter;
use crate::container::life::{self, StopRequest};
use crate::container::listing::{self, ContainerRow};
use crate::container::network::{network_name, networks};
use crate::container::object_events::EventKind;
use crate::container::record::ContainerStatus;
use crate::container::store::{ContainerStore, KeptContainer};
use crate::sys::signal;
use crate::text::{printed, text, text_with};
use crate::value::timestamp::Timestamp;

/// The container with this name or ID.
pub(super) async fn find(name: String) -> Answered<KeptContainer> {
    blocking(move || Ok(ContainerStore::open()?.find(&name)?)).await
}

/// The list.
pub(super) async fn list(daemon: Arc<Daemon>, request: ApiRequest) -> Answered {
    ok(&rows(&daemon, &request).await?)
}

/// The lines of the list.
pub(super) async fn rows(_: &Daemon, request: &ApiRequest) -> Answered<Vec<Value>> {
    let query = &request.query;
    let filters = query.filters()?;
    known_filters(&filters, &filter::FILTERS)?;
    let limit = query.number::<i64>("limit")?.filter(|limit| *limit > 0);
    let limit = limit.and_then(|limit| usize::try_from(limit).ok());
    let (all, with_size) = (query.is("all"), query.is("size"));
    let rows = blocking(move || {
        let mut found = ContainerStore::open()?.all()?.0;
        let has_status = filters.contains_key("status") || filters.contains_key("exited");
        if !all && limit.is_none() && !has_status {
            found.retain(|container| container.state.status.is_active());
        }
        let found = filtered(found, &filters)?;
        let now = Timestamp::now();
        let found = found.iter().take(limit.unwrap_or(usize::MAX));
        Ok(found.map(|container| row(container, now, with_size)).collect::<Vec<_>>())
    });
    rows.await
}

/// The containers that have what the filters ask for. Values of one filter are alternatives.
fn filtered(all: Vec<KeptContainer>, filters: &Filters) -> Answered<Vec<KeptContainer>> {
    for (name, values) in filters {
        if let Some(value) = values.iter().find(|value| !filter::is_filter(name, value)) {
            let filter = format!("{}={}", printed(name), printed(value));
            return Err(ApiError::bad(text_with("container.filter", &[("filter", &filter)])));
        }
    }
    let pairs =
        filters.iter().flat_map(|(name, values)| values.iter().map(|value| (name.as_str(), value.as_str())));
    Ok(filter::filtered(&ContainerStore::open()?, all, &pairs.collect::<Vec<_>>())?)
}

fn row(container: &KeptContainer, now: Timestamp, with_size: bool) -> Value {
    let KeptContainer { name, record, state, .. } = container;
    let shown = ContainerRow::of(container, now, true);
    let published = state.ports.iter().map(|port| {
        let inside = listing::inside(port);
        let (number, protocol) = inside.split_once('/').unwrap_or((&inside, "tcp"));
        json!({
            "IP": port.at.ip().to_string(),
            "PrivatePort": number.parse::<u16>().unwrap_or_default(),
            "PublicPort": port.at.port(),
            "Type": protocol,
        })
    });
    let exposed = listing::only_exposed(container).map(|port| {
        let (number, protocol) = port.split_once('/').unwrap_or((port, "tcp"));
        json!({ "PrivatePort": number.parse::<u16>().unwrap_or_default(), "Type": protocol })
    });
    let mut row = json!({
        "Id": record.id,
        "Names": [format!("/{name}")],
        "Image": record.image,
        "ImageID": record.image_id.as_deref().unwrap_or_default(),
        "Command": serde_json::from_str::<String>(&shown.command).unwrap_or_default(),
        "Created": record.created.0 / 1_000_000_000,
        "Ports": published.chain(exposed).collect::<Vec<_>>(),
        "Labels": record.labels,
        "State": state.status.word(),
        "Status": shown.status,
        "HostConfig": { "NetworkMode": network_name(container) },
        "NetworkSettings": { "Networks": networks(container) },
        "Mounts": mounts(container),
    });
    if with_size && let Some(row) = row.as_object_mut() {
        let written = container.written_size().ok().flatten().unwrap_or_default();
        row.insert("SizeRw".into(), written.into());
        row.insert("SizeRootFs".into(), (written + container.lower_size()).into());
    }
    row
}

/// Starts a container.
pub(super) async fn start(_: Arc<Daemon>, request: ApiRequest) -> Answered {
    let container = find(request.name()).await?;
    if matches!(container.state.status, ContainerStatus::Running | ContainerStatus::Restarting) {
        return Ok(empty(StatusCode::NOT_MODIFIED));
    }
    long(move || {
        // What was left by a supervisor that was killed may still have the ports of this container.
        crate::exec::sweep::sweep();
        Ok(life::start(&container, Explainer::default())?)
    })
    .await?;
    done()
}

/// Reads a signal as kill(1) does: `TERM`, `SIGTERM`, `15`.
pub(super) fn signal_of(written: &str) -> Answered<i32> {
    signal::of_word(written)
        .ok_or_else(|| ApiError::bad(text_with("container.signal", &[("signal", &printed(written))])))
}

/// Stops a container.
pub(super) async fn stop(_: Arc<Daemon>, request: ApiRequest) -> Answered {
    let signal = request.query.get("signal").map(signal_of).transpose()?;
    let timeout = request.query.number::<i64>("t")?;
    let container = find(request.name()).await?;
    if !container.state.status.is_active() {
        return Ok(empty(StatusCode::NOT_MODIFIED));
    }
    long(move || {
        let store = ContainerStore::open()?;
        let request = StopRequest { signal, timeout, keeps: false };
        Ok(life::stop(&store, &container, request, Explainer::default())?)
    })
    .await?;
    done()
}

/// Stops a container, and starts it again.
pub(super) async fn restart(daemon: Arc<Daemon>, request: ApiRequest) -> Answered {
    let mut line = words(&["restart"]);
    if let Some(timeout) = request.query.number::<i64>("t")? {
        line.push(format!("--time={timeout}").into());
    }
    if let Some(signal) = request.query.get("signal") {
        line.push(format!("--signal={}", signal_of(signal)?).into());
    }
    line.push(find(request.name()).await?.record.id.as_str().into());
    run(&daemon, request.number, line).await?;
    done()
}

/// Sends a signal.
pub(super) async fn kill(_: Arc<Daemon>, request: ApiRequest) -> Answered {
    let signal = signal_of(request.query.get("signal").unwrap_or("KILL"))?;
    let container = find(request.name()).await?;
    long(move || Ok(life::kill(&container, signal, Explainer::default())?)).await?;
    done()
}

/// Freezes the processes.
pub(super) async fn pause(_: Arc<Daemon>, request: ApiRequest) -> Answered {
    let container = find(request.name()).await?;
    blocking(move || Ok(life::pause(&container, true, Explainer::default())?)).await?;
    done()
}

/// Thaws them.
pub(super) async fn unpause(_: Arc<Daemon>, request: ApiRequest) -> Answered {
    let container = find(request.name()).await?;
    blocking(move || Ok(life::pause(&container, false, Explainer::default())?)).await?;
    done()
}

/// Gives another name.
pub(super) async fn rename(daemon: Arc<Daemon>, request: ApiRequest) -> Answered {
    let name = request.query.get("name").unwrap_or_default().trim_start_matches('/').to_owned();
    let container = find(request.name()).await?;
    let line = words(&["rename", "--", container.record.id.as_str(), &name]);
    daemon.trace.command(request.number, &super::command::typed(&line));
    blocking(move || Ok(ContainerStore::open()?.rename(&container, &name)?)).await?;
    done()
}

/// Removes a container.
pub(super) async fn remove(daemon: Arc<Daemon>, request: ApiRequest) -> Answered {
    if request.query.is("link") {
        return Err(ApiError::absent(&text("daemon.what.links")));
    }
    // With `-f`, the command takes a container that is not there for removed.
    if request.query.is("force")
        && let Err(error) = find(request.name()).await
        && error.status == StatusCode::NOT_FOUND
    {
        return Err(error);
    }
    let mut line = words(&["rm"]);
    if request.query.is("force") {
        line.push("-f".into());
    }
    if request.query.is("v") {
        line.push("-v".into());
    }
    line.extend(words(&["--", &request.name()]));
    run(&daemon, request.number, line).await?;
    done()
}

/// Other limits.
pub(super) async fn update(daemon: Arc<Daemon>, mut request: ApiRequest) -> Answered {
    let body = request.json().await?;
    let mut line = words(&["update"]);
    line.extend(super::limit_settings::limits(&body)?);
    let name = find(request.name()).await?.record.id;
    if line.len() > 1 {
        line.extend(words(&["--", name.as_str()]));
        run(&daemon, request.number, line).await?;
    }
    ok(&json!({ "Warnings": [] }))
}

/// The processes.
pub(super) async fn top(daemon: Arc<Daemon>, request: ApiRequest) -> Answered {
    let container = find(request.name()).await?;
    let mut line = words(&["top", container.record.id.as_str()]);
    let options = request.query.get("ps_args").unwrap_or("-ef");
    line.extend(options.split_whitespace().map(Into::into));
    let printed = run(&daemon, request.number, line).await?;
    let printed = String::from_utf8_lossy(&printed);
    let mut lines = printed.lines();
    let titles: Vec<&str> = lines.next().unwrap_or_default().split_whitespace().collect();
    // The last column is the command, which has blanks.
    let cells = |line: &str| {
        let mut words = line.split_whitespace();
        let mut cells: Vec<String> =
            words.by_ref().take(titles.len().saturating_sub(1)).map(str::to_owned).collect();
        cells.push(words.collect::<Vec<_>>().join(" "));
        cells
    };
    ok(&json!({ "Titles": titles, "Processes": lines.map(cells).collect::<Vec<_>>() }))
}

/// What a container has changed.
pub(super) async fn changes(daemon: Arc<Daemon>, request: ApiRequest) -> Answered {
    let container = find(request.name()).await?;
    let line = words(&["diff", container.record.id.as_str()]);
    let printed = run(&daemon, request.number, line).await?;
    let printed = String::from_utf8_lossy(&printed);
    let change = |line: &str| {
        let (kind, path) = line.split_once(' ')?;
        let kind = ["C", "A", "D"].iter().position(|word| *word == kind)?;
        Some(json!({ "Path": path, "Kind": kind }))
    };
    ok(&printed.lines().filter_map(change).collect::<Vec<_>>())
}

/// Removes all containers that do not run.
pub(super) async fn prune(_: Arc<Daemon>, request: ApiRequest) -> Answered {
    let filters = request.query.filters()?;
    known_filters(&filters, &["label", "label!", "until"])?;
    let until = match filters.get("until").and_then(|values| values.first()) {
        Some(value) => Some(super::logs::moment(value)?),
        None => None,
    };
    let removed = long(move || {
        let store = ContainerStore::open()?;
        let (mut ids, mut space) = (Vec::new(), 0);
        let label = |container: &KeptContainer, value: &String| {
            filter::has(container, "label", value).unwrap_or(false)
        };
        for container in store.all()?.0 {
            let values = |name: &str| filters.get(name).into_iter().flatten();
            let is_kept = container.state.status.is_active()
                || container.state.status == ContainerStatus::Elsewhere
                || values("label").any(|value| !label(&container, value))
                || values("label!").any(|value| label(&container, value))
                || until.is_some_and(|until| container.record.created >= until);
            if is_kept {
                continue;
            }
            let size = container.written_size().ok().flatten().unwrap_or_default();
            if life::remove(&store, &container, false, Explainer::default()).is_ok() {
                ids.push(container.record.id.to_string());
                space += size;
            }
        }
        Event::note_prune(EventKind::Container, space);
        Ok((ids, space))
    });
    let (ids, space) = removed.await?;
    ok(&json!({ "ContainersDeleted": ids, "SpaceReclaimed": space }))
}

/// The answer of `create`.
pub(super) fn created(id: &str, warnings: &[String]) -> Answered {
    Ok(json_answer(StatusCode::CREATED, &json!({ "Id": id, "Warnings": warnings })))
}
