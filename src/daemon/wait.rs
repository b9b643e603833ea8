//! POST /containers/NAME/wait: the end of a container.
//!
//! The supervisor gets the connection of the client, and sends the exit status over it. The daemon itself waits only for clients
//! over TLS, whose keys it has, and for the removal of a container without `--rm`.

use std::sync::Arc;
use std::time::Duration;

use hyper::StatusCode;
use hyper::body::Bytes;
use serde_json::{Value, json};

use super::Daemon;
use super::answer::{Answered, ApiError, empty, ok, stream};
use super::channel::SupervisorChannel;
use super::command::blocking;
use super::connection::HandedConnection;
use super::containers::find;
use super::request::ApiRequest;
use super::served::{ClientEnd, StreamPlace, left};
use super::server::COMMON;
use crate::container::client::SupervisorClient;
use crate::container::explain::Explainer;
use crate::container::id::Id;
use crate::container::message::{ClientMessage, SupervisorMessage};
use crate::container::record::ContainerStatus;
use crate::container::refusal;
use crate::container::store::ContainerStore;
use crate::error::io_text;
use crate::text::{printed, text, text_with};

/// The interval at which a container is looked for that is being removed.
const PAUSE: Duration = Duration::from_millis(20);

/// What a client waits for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Condition {
    /// That it does not run.
    NotRunning,
    /// The end of this run or of the next one.
    NextExit,
    /// That it is removed.
    Removed,
}

/// Waits for the end of a container. The head of the answer is sent at once: the client starts the container after it.
pub(super) async fn wait(_: Arc<Daemon>, request: ApiRequest) -> Answered {
    let condition = match request.query.get("condition") {
        None | Some("not-running") => Condition::NotRunning,
        Some("next-exit") => Condition::NextExit,
        Some("removed") => Condition::Removed,
        Some(other) => {
            return Err(ApiError::bad(text_with("daemon.wait", &[("condition", &printed(other))])));
        }
    };
    let container = find(request.name()).await?;
    let code = container.state.exit_code;
    let is_active = container.state.status.is_active();
    if condition == Condition::NotRunning && !is_active {
        return ok(&status_answer(code));
    }
    container.is_here()?;
    let id = container.record.id.clone();
    // A container without `--rm` is removed when its supervisor has ended.
    let ends_with_supervisor = condition != Condition::Removed || container.record.auto_remove;
    if ends_with_supervisor
        && let Some(stream) = &request.stream
        && let Some(channel) = supervisor(&id, is_active).await?
        && hand_over(stream, channel).await
    {
        return Ok(empty(StatusCode::OK));
    }
    // Nobody who waits for the removal of a container that has ended may start its supervisor, which has its lock. One that was
    // never started will have a status, which its supervisor sends.
    let has_ended = container.state.status == ContainerStatus::Exited;
    let channel = match condition == Condition::Removed && has_ended {
        true => None,
        false => supervisor(&id, is_active).await?,
    };
    match &channel {
        Some(channel) => drop(channel.send(&ClientMessage::Wait).await),
        // It has just ended, and may be removed already.
        None if condition != Condition::Removed => {
            let name = id.as_str().to_owned();
            let status = settled(&id, None, condition).await;
            return ok(&status_answer(status.ok_or_else(|| refusal::none(&name))?));
        }
        None => {}
    }
    let (sender, answer) = stream("application/json");
    tokio::spawn(async move {
        let ended = async {
            // What is removed has no status any more.
            let mut status = (condition == Condition::Removed && has_ended).then_some(code);
            if let Some(channel) = channel {
                while let Some(message) = channel.message().await {
                    match message {
                        SupervisorMessage::Exited { status: of } => {
                            status = Some(of);
                            if condition != Condition::Removed {
                                break;
                            }
                        }
                        SupervisorMessage::Refused(_) => break,
                        _ => {}
                    }
                }
            }
            let answer = match settled(&id, status, condition).await {
                Some(status) => status_answer(status),
                None => json!({ "StatusCode": 125, "Error": { "Message": text("daemon.wait.unknown") } }),
            };
            let _ = sender.send(Bytes::from(format!("{answer}\n"))).await;
        };
        // A client that leaves is waited for no longer.
        tokio::select! {
            () = ended => {}
            () = sender.closed() => {}
            () = left(request.stream.as_ref(), ClientEnd::Sending) => {}
        }
    });
    Ok(answer)
}

/// The exit status of a container that was removed, from its events.
fn noted_end(id: &Id) -> Answered<Option<i32>> {
    let failed = |error: std::io::Error| ApiError::failed(io_text(&error));
    let Some(mut events) = ContainerStore::open()?.events(false).map_err(failed)? else { return Ok(None) };
    events.exit_status_of(id.as_str()).map_err(failed)
}

fn status_answer(status: i32) -> Value {
    json!({ "StatusCode": status, "Error": null })
}

/// Connects to the supervisor. One that does not run has none, and gets one, which waits for its start.
async fn supervisor(id: &Id, is_active: bool) -> Answered<Option<SupervisorChannel>> {
    let (id, own) = (id.clone(), id.clone());
    let client = blocking(move || {
        Ok(match is_active {
            true => SupervisorClient::connect(&id, Explainer::default())?,
            false => Some(SupervisorClient::summon(&id, Explainer::default())?),
        })
    });
    match client.await {
        Ok(client) => client.map(SupervisorChannel::of).transpose(),
        // A container with `--rm` that has just ended cannot be started: it is gone.
        Err(error) => {
            let find = blocking(move || Ok(ContainerStore::open()?.find(own.as_str())?));
            if find.await.is_ok() { Err(error) } else { Ok(None) }
        }
    }
}

/// Gives the connection to the supervisor, which sends the answer: its head at once, and the rest when the command ends: then the end of the daemon
/// does not end the wait. False: the supervisor is of a version before this one, or has just ended.
async fn hand_over(place: &StreamPlace, channel: SupervisorChannel) -> bool {
    let mut head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n".to_owned();
    COMMON.iter().for_each(|(name, value)| head.push_str(&format!("{name}: {value}\r\n")));
    head.push_str("\r\n");
    let is_accepted = channel.send(&ClientMessage::WaitOver { head }).await.is_ok()
        && channel.message().await == Some(SupervisorMessage::Done);
    let Some(stream) = Some(place).filter(|_| is_accepted).and_then(StreamPlace::take) else { return false };
    if let Ok(descriptor) = stream.into_descriptor() {
        let _ = channel.hand_over(HandedConnection { descriptor, ahead: Vec::new() }).await;
    }
    true
}

/// The exit status of a container whose supervisor has reported it, or has ended. It may have to be removed first. None: nothing
/// says it any more.
async fn settled(id: &Id, status: Option<i32>, condition: Condition) -> Option<i32> {
    if status.is_some() && condition != Condition::Removed {
        return status;
    }
    let mut last = status;
    loop {
        let own = id.clone();
        let found = blocking(move || Ok(ContainerStore::open()?.find(own.as_str())?)).await;
        match found {
            Err(_) if last.is_some() => return last,
            Err(_) => {
                let id = id.clone();
                return blocking(move || noted_end(&id)).await.ok().flatten();
            }
            Ok(container) => {
                let is_active = container.state.status.is_active();
                last = status.or(Some(container.state.exit_code));
                if condition != Condition::Removed && !is_active {
                    return last;
                }
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}
