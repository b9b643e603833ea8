//! What the daemon answers: JSON, a stream, nothing, or an error with a message.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http_body_util::{BodyExt, Empty, Full, combinators::UnsyncBoxBody};
use hyper::body::{Body, Bytes, Frame};
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};
use serde::Serialize;
use serde_json::json;
use tokio::sync::mpsc;

use super::served::StreamPlace;
use crate::error::{Error, ExitKind};
use crate::text::text_with;

/// The body of an answer.
pub(super) type AnswerBody = UnsyncBoxBody<Bytes, io::Error>;

/// An answer.
pub(super) type Answer = Response<AnswerBody>;

/// How many parts of a stream are kept for a client that does not read. Then the source waits.
const PARTS: usize = 2;

/// An error as the client gets it.
#[derive(Debug, Clone)]
pub(super) struct ApiError {
    pub(super) status: StatusCode,
    pub(super) message: String,
}

/// The result of a request.
pub(super) type Answered<T = Answer> = Result<T, ApiError>;

impl ApiError {
    pub(super) fn new(status: StatusCode, message: impl Into<String>) -> ApiError {
        ApiError { status, message: message.into() }
    }

    /// A parameter is wrong.
    pub(super) fn bad(message: impl Into<String>) -> ApiError {
        ApiError::new(StatusCode::BAD_REQUEST, message)
    }

    /// The daemon itself has failed.
    pub(super) fn failed(message: impl Into<String>) -> ApiError {
        ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, message)
    }

    /// Something that Docker has and this program does not.
    pub(super) fn absent(what: &str) -> ApiError {
        ApiError::new(StatusCode::NOT_IMPLEMENTED, text_with("daemon.absent", &[("what", what)]))
    }

    /// The error of a command. `docker run` reads from its words that a program was not found, or cannot be executed.
    pub(super) fn of(kind: ExitKind, message: String) -> ApiError {
        let words = match kind {
            ExitKind::NotFound => Some("executable file not found in $PATH"),
            ExitKind::NotExecutable => Some("permission denied"),
            _ => None,
        };
        let is_taken = message.contains("EADDRINUSE") && !message.contains("port is already allocated");
        let message = if is_taken { format!("{message}: port is already allocated") } else { message };
        let status = status_of(kind, &message);
        let message = match words.filter(|words| !message.contains(*words)) {
            Some(words) => format!("{message}: {words}"),
            None => message,
        };
        ApiError { status, message }
    }

    /// The answer.
    pub(super) fn answer(&self) -> Answer {
        json_answer(self.status, &json!({ "message": self.message }))
    }
}

impl From<Error> for ApiError {
    fn from(error: Error) -> ApiError {
        let mut message = error.to_string();
        for why in &error.why {
            message.push_str(": ");
            message.push_str(why);
        }
        ApiError::of(error.kind, message)
    }
}

/// A part of the message for an image of another platform. Its status makes the client pull the image for the right one.
pub(super) const OTHER_PLATFORM: &str = "does not match the specified platform";

/// The status for an error of a command. Its words are Docker's where Docker has an error of that kind.
fn status_of(kind: ExitKind, message: &str) -> StatusCode {
    let has = |words: &[&str]| words.iter().any(|word| message.contains(word));
    if has(&[
        "No such container",
        "No such image",
        "no such volume",
        "the volume driver",
        "There is no such file",
        "Could not find the file",
        OTHER_PLATFORM,
    ]) {
        return StatusCode::NOT_FOUND;
    }
    let conflicts = [
        "Conflict",
        "conflict:",
        "is not running",
        "cannot remove container",
        "volume is in use",
        "already paused",
        "is not paused",
        "is restarting",
        "a paused container",
    ];
    if has(&conflicts) {
        return StatusCode::CONFLICT;
    }
    match kind {
        ExitKind::Usage | ExitKind::NotFound | ExitKind::NotExecutable => StatusCode::BAD_REQUEST,
        _ if has(&[
            "Multiple IDs",
            "is not supported",
            "Invalid container name",
            "invalid reference format",
            "expected an ID, a decimal number",
            "with the same name as its current name",
            "no command specified",
            "expected OS/ARCH",
            "unknown log opt",
            "invalid filter",
            "This machine has no such CPU",
            "may be set only in a namespace that is made for this container",
            // In a seccomp profile, and in a change of `commit` and `import`.
            ": one mistake ",
            " mistakes ",
        ]) =>
        {
            StatusCode::BAD_REQUEST
        }
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// An answer with JSON.
pub(super) fn json_answer(status: StatusCode, value: &impl Serialize) -> Answer {
    let mut bytes = serde_json::to_vec(value).unwrap_or_default();
    bytes.push(b'\n');
    typed(status, "application/json", bytes)
}

/// An answer with JSON, which went well.
pub(super) fn ok(value: &impl Serialize) -> Answered {
    Ok(json_answer(StatusCode::OK, value))
}

/// An answer with these bytes.
pub(super) fn typed(status: StatusCode, kind: &'static str, bytes: Vec<u8>) -> Answer {
    with_type(status, kind, Full::new(Bytes::from(bytes)).map_err(|never| match never {}).boxed_unsync())
}

/// An answer without a body.
pub(super) fn empty(status: StatusCode) -> Answer {
    let mut answer = Response::new(Empty::new().map_err(|never| match never {}).boxed_unsync());
    *answer.status_mut() = status;
    answer
}

/// An answer without a body: it is done.
pub(super) fn done() -> Answered {
    Ok(empty(StatusCode::NO_CONTENT))
}

/// An answer that goes on, and where its parts are sent. Its headers are sent at once.
pub(super) fn stream(kind: &'static str) -> (mpsc::Sender<Bytes>, Answer) {
    let (sender, receiver) = mpsc::channel(PARTS);
    (sender, with_type(StatusCode::OK, kind, ChannelBody { receiver, part: Ok, place: None }.boxed_unsync()))
}

/// The same for many clients that may not read for long, such as those of logs and counters: only one part is kept for each.
/// The connection takes the next one when it has sent the one before.
pub(super) fn slow_stream(kind: &'static str, place: Option<StreamPlace>) -> (mpsc::Sender<Bytes>, Answer) {
    let (sender, receiver) = mpsc::channel(1);
    (sender, with_type(StatusCode::OK, kind, ChannelBody { receiver, part: Ok, place }.boxed_unsync()))
}

/// The same for what is of use only as a whole, such as an archive. After an error the connection ends without the end of the
/// body, so that the client knows that something is missing.
pub(super) fn whole_stream(
    kind: &'static str,
    place: Option<StreamPlace>,
) -> (mpsc::Sender<io::Result<Bytes>>, Answer) {
    let (sender, receiver) = mpsc::channel(1);
    let body = ChannelBody { receiver, part: |part| part, place };
    (sender, with_type(StatusCode::OK, kind, body.boxed_unsync()))
}

/// The same answer with a header.
pub(super) fn with_header(mut answer: Answer, name: HeaderName, value: &str) -> Answer {
    if let Ok(value) = HeaderValue::from_str(value) {
        answer.headers_mut().insert(name, value);
    }
    answer
}

fn with_type(status: StatusCode, kind: &'static str, body: AnswerBody) -> Answer {
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    answer
}

/// A body whose parts come from a channel. It ends when all senders are dropped.
struct ChannelBody<T> {
    receiver: mpsc::Receiver<T>,
    part: fn(T) -> io::Result<Bytes>,
    /// The connection, if the parts wait for it. Otherwise hyper takes more of them, up to the size of its buffer.
    place: Option<StreamPlace>,
}

impl<T> Body for ChannelBody<T> {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if let Some(place) = &self.place {
            ready!(place.poll_room(context));
        }
        let of = self.part;
        self.receiver.poll_recv(context).map(|part| part.map(|part| of(part).map(Frame::data)))
    }
}

/// A value as a line of a stream.
pub(super) fn line(value: &impl Serialize) -> Bytes {
    let mut line = serde_json::to_vec(value).unwrap_or_default();
    line.extend_from_slice(b"\r\n");
    Bytes::from(line)
}
