//! GET /events: what happens to containers, images, volumes and networks. The daemon follows HOME/events, where each command writes what it does.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Bytes;
use tokio::sync::mpsc;

use super::Daemon;
use super::answer::{Answered, ApiError, line, slow_stream};
use super::command::blocking;
use super::logs::moment;
use super::request::{ApiRequest, Filters, known_filters};
use super::served::ClientEnd;
use crate::container::events::{EVENTS, Event, EventReader, EventReading};
use crate::container::filter::is_met;
use crate::container::store::ContainerStore;
use crate::error::io_text;
use crate::value::timestamp::Timestamp;

/// The interval at which the events are read again.
const PAUSE: Duration = Duration::from_millis(50);

/// The filters. Docker has more types of objects than this: with such a type, nothing comes.
const FILTERS: [&str; 11] = [
    "container",
    "daemon",
    "event",
    "image",
    "label",
    "network",
    "node",
    "scope",
    "service",
    "type",
    "volume",
];

/// What changes when an event is added: the inode and the size of the file.
fn looked_at(home: &Path) -> Option<(u64, u64)> {
    let found = std::fs::metadata(home.join(EVENTS)).ok()?;
    Some((found.ino(), found.len()))
}

/// Sends events.
pub(super) async fn events(_: Arc<Daemon>, request: ApiRequest) -> Answered {
    let query = &request.query;
    let filters = query.filters()?;
    known_filters(&filters, &FILTERS)?;
    let since = query.get("since").map(moment).transpose()?;
    let until = query.get("until").map(moment).transpose()?;
    let is_new = since.is_none() && until.is_none();
    let open = move || {
        let (store, _) = ContainerStore::make()?;
        let reader = store.events(is_new).map_err(|error| ApiError::failed(io_text(&error)))?;
        Ok((reader, store.path().to_owned()))
    };
    let (mut reader, home) = blocking(open).await?;
    let (sender, answer) = slow_stream("application/json", request.stream.clone());
    let place = request.stream;
    let is_left = move |sender: &mpsc::Sender<Bytes>| {
        sender.is_closed() || place.as_ref().is_some_and(|place| place.has_left(ClientEnd::Sending))
    };
    tokio::spawn(async move {
        loop {
            let before = looked_at(&home);
            let is_over = until.is_some_and(|until| Timestamp::now() > until);
            let read = blocking(move || read(reader, is_new));
            let Ok((again, found)) = read.await else { return };
            reader = again;
            for event in found {
                let moment = event.moment();
                let is_in =
                    since.is_none_or(|since| moment >= since) && until.is_none_or(|until| moment <= until);
                if is_in && fits(&event, &filters) && sender.send(line(&event)).await.is_err() {
                    return;
                }
            }
            if is_over || is_left(&sender) {
                return;
            }
            // To look at a file is short. A client that waits for events takes no thread.
            loop {
                tokio::time::sleep(PAUSE).await;
                let is_late = until.is_some_and(|until| Timestamp::now() > until);
                if is_late || is_left(&sender) || looked_at(&home) != before {
                    break;
                }
            }
        }
    });
    Ok(answer)
}

fn read(reader: Option<EventReader>, is_new: bool) -> Answered<(Option<EventReader>, Vec<Event>)> {
    let failed = |error: std::io::Error| ApiError::failed(io_text(&error));
    let reader = match reader {
        Some(reader) => Some(reader),
        None => ContainerStore::open()?.events(is_new).map_err(failed)?,
    };
    let Some(mut reader) = reader else { return Ok((None, Vec::new())) };
    let found = reader.read().map_err(failed)?;
    let events = found.into_iter().filter_map(|reading| match reading {
        EventReading::Event(event) => Some(*event),
        EventReading::Damaged | EventReading::Missed => None,
    });
    let events = events.collect();
    Ok((Some(reader), events))
}

/// Whether an event has what the filters ask for. Values of one filter are alternatives.
fn fits(event: &Event, filters: &Filters) -> bool {
    filters
        .iter()
        .all(|(name, values)| is_met(name, values.iter().map(String::as_str), |value| event.has(name, value)))
}
