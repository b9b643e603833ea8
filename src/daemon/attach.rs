//! POST /containers/NAME/attach: the streams of a container, over the connection of the request.
//!
//! The client asks to take the connection over, and gets 101. From then on there are no HTTP messages on it: what the client
//! sends is standard input, and what it gets is output. The supervisor is asked for the output before the client can start the
//! container, so it misses nothing. Then it gets the connection itself.

use std::sync::Arc;
use std::time::Duration;

use hyper::StatusCode;
use hyper::body::Bytes;

use super::Daemon;
use super::answer::{Answered, ApiError, empty};
use super::channel::SupervisorChannel;
use super::command::blocking;
use super::connection::{TakenConnection, take_over};
use super::containers::find;
use super::request::{ApiRequest, RequestQuery};
use crate::container::client::SupervisorClient;
use crate::container::explain::Explainer;
use crate::container::frames::framed;
use crate::container::log::read::{LogReader, Reading};
use crate::container::message::{ClientMessage, StreamForm, SupervisorMessage};
use crate::container::record::ContainerStatus;
use crate::container::store::KeptContainer;
use crate::error::Error;
use crate::text::{printed, text, text_with};
use crate::value::detach_keys::{DETACH_KEYS, parse_keys};
use crate::value::timestamp::Timestamp;

/// The keys that detach a client.
pub(super) fn detach_keys(written: Option<&str>) -> Answered<Vec<u8>> {
    match written {
        None | Some("") => Ok(DETACH_KEYS.to_vec()),
        Some(written) => parse_keys(written)
            .ok_or_else(|| ApiError::bad(text_with("container.keys", &[("keys", &printed(written))]))),
    }
}

/// Shows a container.
pub(super) async fn attach(_: Arc<Daemon>, request: ApiRequest) -> Answered {
    let ApiRequest { ref query, version, .. } = request;
    let keys = detach_keys(query.get("detachKeys"))?;
    let container = find(request.name()).await?;
    if container.state.status == ContainerStatus::Paused {
        return Err(Error::failed(text("container.attach.paused")).into());
    }
    let wants = Wants::of(query);
    let terminal = container.record.config.process.terminal;
    let is_active = container.state.status.is_active();
    // The streams of a container that has ended are those of its next start. Only its log has the ones before.
    let before = match query.is("logs") {
        true => Some(LoggedOutput::of(&container, terminal, wants)?),
        false => None,
    };
    if !wants.stream {
        let (answer, connection) =
            take_over(request.upgrade, request.permit, terminal, version, request.stream);
        tokio::spawn(async move {
            let Ok(mut connection) = connection.await else { return };
            if let Some(before) = before
                && !before.send(&mut connection).await
            {
                return;
            }
            connection.finish().await;
        });
        return Ok(answer);
    }
    let stdin = wants.stdin && container.record.open_stdin;
    let summoned = blocking(move || {
        container.is_here()?;
        let id = &container.record.id;
        let connected = match is_active {
            true => SupervisorClient::connect(id, Explainer::default())?,
            false => None,
        };
        Ok(match connected {
            Some(client) => client,
            None => SupervisorClient::summon(id, Explainer::default())?,
        })
    });
    let channel = SupervisorChannel::of(summoned.await?)?;
    // The client that starts a container loses no output, so the container waits for it. Another one is cut off if it does
    // not read.
    let keys = if terminal { keys } else { Vec::new() };
    let form = StreamForm { is_raw: terminal, outputs: wants.outputs, keys };
    let asked = channel.send(&ClientMessage::Attach { stdin, front: !is_active, stream: Some(form) }).await;
    let ended = || ApiError::failed(text("daemon.attach.ended"));
    asked.map_err(|_| ended())?;
    match channel.message().await {
        Some(SupervisorMessage::Attached { awaits_connection: true, .. }) => {}
        // A supervisor of a version before this one.
        Some(SupervisorMessage::Attached { .. }) => return Err(ApiError::failed(text("daemon.attach.old"))),
        Some(SupervisorMessage::Refused(error)) => return Err(Error::from(error).into()),
        _ => return Err(ended()),
    }
    let (answer, connection) = take_over(request.upgrade, request.permit, terminal, version, request.stream);
    tokio::spawn(async move {
        let Ok(mut connection) = connection.await else { return };
        if let Some(before) = before
            && !before.send(&mut connection).await
        {
            return;
        }
        if let Ok(handed) = connection.hand_over() {
            let _ = channel.hand_over(handed).await;
        }
    });
    Ok(answer)
}

/// What the client asks for.
#[derive(Clone, Copy)]
struct Wants {
    stream: bool,
    stdin: bool,
    outputs: [bool; 2],
}

impl Wants {
    fn of(query: &RequestQuery) -> Wants {
        let outputs = [query.is("stdout"), query.is("stderr")];
        Wants { stream: query.is("stream"), stdin: query.is("stdin"), outputs }
    }

    fn has(self, stream: u8) -> bool {
        self.outputs.get(usize::from(stream).wrapping_sub(1)).copied().unwrap_or(true)
    }
}

/// What the log has already.
struct LoggedOutput {
    reader: LogReader,
    terminal: bool,
    wants: Wants,
    /// What is written later comes from the supervisor.
    until: Timestamp,
}

/// The number of bytes that are read of a log at a time.
const LOGGED: usize = 256 << 10;

/// A pause after the head of an answer. docker-py loses what it reads together with the head.
const AFTER_HEAD: Duration = Duration::from_millis(10);

impl LoggedOutput {
    fn of(container: &KeptContainer, terminal: bool, wants: Wants) -> Answered<LoggedOutput> {
        let unread = |error: std::io::Error| ApiError::failed(crate::error::io_text(&error));
        let directory = container.directory.try_clone().map_err(unread)?;
        let reader = LogReader::open(directory, None).map_err(unread)?;
        Ok(LoggedOutput { reader, terminal, wants, until: Timestamp::now() })
    }

    /// The next parts. None: there are none.
    fn next(&mut self) -> Option<Vec<Bytes>> {
        let (mut parts, mut size) = (Vec::new(), 0);
        while size < LOGGED {
            let Ok(Some(reading)) = self.reader.read_next() else { break };
            if let Reading::Entry(entry) = reading
                && self.wants.has(entry.stream.number())
                && entry.time <= self.until
            {
                size += entry.content.len();
                parts.push(Bytes::from(framed(self.terminal, entry.stream.number(), &entry.content)));
            }
        }
        (!parts.is_empty()).then_some(parts)
    }

    /// Sends it, a part at a time. False: the client has left.
    async fn send(mut self, connection: &mut TakenConnection) -> bool {
        tokio::time::sleep(AFTER_HEAD).await;
        loop {
            let read = blocking(move || {
                let parts = self.next();
                Ok((self, parts))
            });
            let Ok((own, Some(parts))) = read.await else { return true };
            self = own;
            for part in parts {
                if !connection.write(part).await {
                    return false;
                }
            }
        }
    }
}

/// Another size of the terminal of a container. One that does not run yet gets it later.
pub(super) async fn resize(_: Arc<Daemon>, request: ApiRequest) -> Answered {
    let size = |name| Answered::Ok(request.query.number::<u16>(name)?.unwrap_or_default());
    let (rows, columns) = (size("h")?, size("w")?);
    let container = find(request.name()).await?;
    blocking(move || {
        if container.state.status.is_active()
            && let Some(client) = SupervisorClient::connect(&container.record.id, Explainer::default())?
        {
            let _ = client.send(&ClientMessage::Resize { rows, columns });
        }
        Ok(())
    })
    .await?;
    Ok(empty(StatusCode::OK))
}
