//! Archives: the files of a container, in and out, and images.

use std::ffi::OsString;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::StatusCode;
use hyper::body::Bytes;
use serde_json::{Value, json};

use super::Daemon;
use super::answer::{Answer, Answered, ApiError, empty, line, stream, whole_stream, with_header};
use super::command::{Streaming, Words, words};
use super::containers::find;
use super::request::ApiRequest;
use super::served::StreamPlace;
use crate::text::{printed, text, text_with};
use crate::value::timestamp::Timestamp;

/// The header with what is known about a path.
const STAT: &str = "x-docker-container-path-stat";

/// The size of a block of an archive.
const BLOCK: usize = 512;

/// The maximum size of what comes before the content of the first entry.
const MAX_BEGUN: usize = 4 << 20;

/// The bits of Go's file modes for the kinds of files.
const DIRECTORY: u32 = 1 << 31;
const LINK: u32 = 1 << 27;
const DEVICE: u32 = 1 << 26;
const PIPE: u32 = 1 << 25;
const CHARACTERS: u32 = 1 << 21;

/// The bits of a mode of Unix with those of Go: set-user-ID, set-group-ID, sticky.
const SPECIAL: [(u32, u32); 3] = [(0o4000, 1 << 23), (0o2000, 1 << 22), (0o1000, 1 << 20)];

/// Sends the output of a command as an archive.
async fn sent(daemon: &Daemon, request: ApiRequest, line: Words) -> Answered {
    let streaming = Streaming::start(daemon, request.number, line, None).await?;
    Ok(forward(streaming, request.stream))
}

fn forward(mut streaming: Streaming, place: Option<StreamPlace>) -> Answer {
    let (sender, answer) = whole_stream("application/x-tar", place);
    tokio::spawn(async move {
        while let Some(part) = streaming.next().await {
            let part = part.map_err(|error| std::io::Error::other(error.message));
            if sender.send(part).await.is_err() {
                return;
            }
        }
    });
    answer
}

/// All files of a container.
pub(super) async fn export(daemon: Arc<Daemon>, request: ApiRequest) -> Answered {
    let container = find(request.name()).await?;
    let line = words(&["export", container.record.id.as_str()]);
    sent(&daemon, request, line).await
}

/// Images.
pub(super) async fn save(daemon: Arc<Daemon>, request: ApiRequest) -> Answered {
    let mut names = request.names.clone();
    for value in request.query.all("names") {
        names.extend(value.split(',').filter(|name| !name.is_empty()).map(str::to_owned));
    }
    if names.is_empty() {
        return Err(ApiError::bad(text("daemon.save.none")));
    }
    let mut line = words(&["save", "--"]);
    line.extend(names.into_iter().map(OsString::from));
    sent(&daemon, request, line).await
}

/// Images from an archive.
pub(super) async fn load(daemon: Arc<Daemon>, mut request: ApiRequest) -> Answered {
    let body = request.body.take();
    let loading = Streaming::start(&daemon, request.number, words(&["load", "--quiet"]), body).await;
    let (sender, answer) = stream("application/json");
    let mut loading = match loading {
        Ok(loading) => loading,
        // As with Docker, an archive that cannot be loaded is an error in the stream.
        Err(error) => {
            let _ = sender.send(line(&error_line(&error))).await;
            return Ok(answer);
        }
    };
    tokio::spawn(async move {
        let mut lines = WholeLines::default();
        while let Some(part) = loading.next().await {
            let values = match part {
                Ok(part) => lines.of(&part),
                Err(error) => vec![error_line(&error)],
            };
            for value in values {
                if sender.send(line(&value)).await.is_err() {
                    return;
                }
            }
        }
    });
    Ok(answer)
}

/// The lines of an output that comes in parts. A part may end in the middle of a line, or of a character.
#[derive(Debug, Default)]
pub(super) struct WholeLines {
    rest: Vec<u8>,
}

impl WholeLines {
    /// The lines that this part ends, each as the client prints it.
    pub(super) fn of(&mut self, part: &[u8]) -> Vec<Value> {
        self.rest.extend_from_slice(part);
        let end = self.rest.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let whole: Vec<u8> = self.rest.drain(..end).collect();
        let lines = whole.split_inclusive(|byte| *byte == b'\n');
        lines.map(|line| json!({ "stream": String::from_utf8_lossy(line) })).collect()
    }

    /// The last line, if it has no end.
    pub(super) fn end(self) -> Option<Value> {
        let rest = String::from_utf8_lossy(&self.rest).into_owned();
        (!rest.is_empty()).then(|| json!({ "stream": rest }))
    }
}

/// An error after the answer has begun. Clients read `errorDetail` alone.
pub(super) fn error_line(error: &ApiError) -> Value {
    json!({ "errorDetail": { "message": error.message }, "error": error.message })
}

/// The words of `sandbox cp` for a path in a container.
async fn place(request: &ApiRequest) -> Answered<String> {
    let path = request.query.get("path").ok_or_else(|| ApiError::bad(text("daemon.path.none")))?;
    // The name that the client has given, as it looks for it in an error.
    let name = request.name();
    find(name.clone()).await?;
    Ok(format!("{}:/{}", name.trim_start_matches('/'), path.trim_start_matches('/')))
}

/// Starts to copy a path out of a container, and says what it is.
async fn copy_out(daemon: &Daemon, request: &ApiRequest) -> Answered<(Streaming, String)> {
    let place = place(request).await?;
    let line = words(&["cp", "--archive", "--", &place, "-"]);
    let mut streaming = Streaming::start(daemon, request.number, line, None).await?;
    // The first header may come in a later part: the members before it have what does not fit into it.
    let mut begun = Vec::new();
    let about = loop {
        if let Some(about) = about(&begun, &place) {
            break about;
        }
        match streaming.next().await {
            Some(part) if begun.len() < MAX_BEGUN => begun.extend_from_slice(&part?),
            _ => return Err(ApiError::failed(text("daemon.archive.head"))),
        }
    };
    streaming.first = Some(Bytes::from(begun));
    Ok((streaming, STANDARD.encode(about.to_string())))
}

/// What the first entry of an archive is, as Docker describes a path. The archive is our own.
fn about(archive: &[u8], place: &str) -> Option<Value> {
    let mut at = 0;
    // Members before an entry have what does not fit into its header.
    let header = loop {
        let header = tar::Header::from_byte_slice(archive.get(at..at + BLOCK)?);
        if !b"xgLK".contains(&header.entry_type().as_byte()) {
            break header;
        }
        at += BLOCK + usize::try_from(header.size().ok()?).ok()?.next_multiple_of(BLOCK);
    };
    let time = Timestamp(i128::from(header.mtime().ok()?) * 1_000_000_000);
    let path = place.split_once(':').map_or(place, |(_, path)| path);
    let name = path.trim_end_matches('/').rsplit('/').find(|part| !part.is_empty()).unwrap_or("/");
    let bits = match header.entry_type().as_byte() {
        b'5' => DIRECTORY,
        b'2' => LINK,
        b'3' => DEVICE | CHARACTERS,
        b'4' => DEVICE,
        b'6' => PIPE,
        _ => 0,
    };
    let link = header.link_name_bytes().filter(|_| bits == LINK).unwrap_or_default();
    let unix = header.mode().ok()?;
    let special = SPECIAL.iter().filter(|(own, _)| unix & own != 0).fold(0, |all, (_, bit)| all | bit);
    let mode = (unix & 0o777) | bits | special;
    let size = match bits {
        DIRECTORY => 4096,
        LINK => link.len() as u64,
        _ => header.size().ok()?,
    };
    let link = String::from_utf8_lossy(&link);
    Some(json!({ "name": name, "size": size, "mode": mode, "mtime": time, "linkTarget": link }))
}

/// What a path is.
pub(super) async fn stat(daemon: Arc<Daemon>, request: ApiRequest) -> Answered {
    let (_, about) = copy_out(&daemon, &request).await?;
    Ok(with_header(empty(StatusCode::OK), hyper::header::HeaderName::from_static(STAT), &about))
}

/// Copies a path out of a container.
pub(super) async fn get(daemon: Arc<Daemon>, request: ApiRequest) -> Answered {
    let (streaming, about) = copy_out(&daemon, &request).await?;
    Ok(with_header(forward(streaming, request.stream), hyper::header::HeaderName::from_static(STAT), &about))
}

/// Docker's error for a path that an archive cannot be copied to: it does not exist, or is not a directory.
async fn of_target(daemon: &Daemon, request: &ApiRequest) -> ApiError {
    match copy_out(daemon, request).await {
        Ok(_) => return ApiError::bad("extraction point is not a directory"),
        Err(error) if error.status != StatusCode::NOT_FOUND => return error,
        Err(_) => {}
    }
    let path = printed(request.query.get("path").unwrap_or_default());
    let values = [("path", &*path), ("name", &printed(request.name()))];
    ApiError::new(StatusCode::NOT_FOUND, text_with("image.copy.none", &values))
}

/// Copies an archive into a directory of a container.
pub(super) async fn put(daemon: Arc<Daemon>, mut request: ApiRequest) -> Answered {
    let body = request.body.take();
    let place = match place(&request).await {
        Ok(place) => place,
        Err(error) => {
            // The client sends all before it reads the answer.
            if let Some(body) = body {
                ApiRequest::drain(body).await;
            }
            return Err(error);
        }
    };
    let mut line = words(&["cp"]);
    if request.query.is("copyUIDGID") {
        line.push("--archive".into());
    }
    line.extend(words(&["--", "-", &place]));
    let mut copying = Streaming::begin(&daemon, request.number, line, body)?;
    let mut copied = Ok(());
    while let Some(part) = copying.next().await {
        copied = copied.and(part.map(|_| ()));
    }
    copying.drained().await;
    match copied {
        Ok(()) => Ok(empty(StatusCode::OK)),
        Err(error) if error.message.contains(&text_with("image.copy.nodirectory", &[("path", "")])) => {
            Err(of_target(&daemon, &request).await)
        }
        Err(error) => Err(error),
    }
}
