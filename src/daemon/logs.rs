//! GET /containers/NAME/logs: what a container has printed. The daemon reads the files of the log itself.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Bytes;
use tokio::sync::mpsc::{self, error::TrySendError};

use super::Daemon;
use super::answer::{Answered, ApiError, slow_stream};
use super::command::blocking;
use super::containers::find;
use super::frames::kind;
use super::request::ApiRequest;
use super::served::{ClientEnd, StreamPlace};
use crate::container::frames::framed;
use crate::container::log::read::{LogReader, Reading};
use crate::container::log::{LOG, LogEntry};
use crate::container::store::{ContainerStore, STATE};
use crate::error::io_text;
use crate::text::{printed, text, text_with};
use crate::value::timestamp::Timestamp;
use crate::value::units::Length;

/// The interval at which a log is read again.
const PAUSE: Duration = Duration::from_millis(50);

/// The number of bytes that are sent in one part. For a client that does not read, two of them are kept, and what the connection
/// buffers.
const PART: usize = 16 << 10;

/// The room for the last line of a part.
const SPARE: usize = 1 << 10;

/// The number of looks at a quiet log after which it is read in any case: the supervisor may have been killed.
const LOOKS: usize = 20;

/// What changes when a container prints something or ends: the inodes and sizes of its log and of its state.
fn looked_at(directory: &Path) -> [Option<(u64, u64)>; 2] {
    [LOG, STATE].map(|name| {
        let found = std::fs::metadata(directory.join(name)).ok()?;
        Some((found.ino(), found.len()))
    })
}

/// A moment as clients write it: seconds since 1970 with a fraction, RFC 3339, or a length of time before now.
pub(super) fn moment(written: &str) -> Answered<Timestamp> {
    let (seconds, fraction) = written.split_once('.').unwrap_or((written, ""));
    if let Ok(seconds) = seconds.parse::<i64>()
        && fraction.bytes().all(|byte| byte.is_ascii_digit())
    {
        let nanoseconds = format!("{fraction:0<9}")[..9].parse::<i128>().unwrap_or_default();
        return Ok(Timestamp(i128::from(seconds) * 1_000_000_000 + nanoseconds));
    }
    if let Ok(moment) = written.parse() {
        return Ok(moment);
    }
    match written.parse::<Length>() {
        Ok(length) => Ok(Timestamp::now().before(Duration::from_secs(length.0.into()))),
        Err(_) => Err(ApiError::bad(text_with("daemon.time", &[("time", &printed(written))]))),
    }
}

/// What is sent of a log.
struct LogWishes {
    terminal: bool,
    outputs: [bool; 2],
    has_times: bool,
    has_details: bool,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    follows: bool,
}

impl LogWishes {
    /// An entry as it is sent. None: it is left out.
    fn sent(&self, entry: &LogEntry, at_line_start: &mut [bool; 2]) -> Option<Vec<u8>> {
        let number = entry.stream.number();
        let at = usize::from(number) - 1;
        let is_late = self.until.is_some_and(|until| entry.time > until);
        if !self.outputs[at] || is_late || self.since.is_some_and(|since| entry.time < since) {
            return None;
        }
        let mut line = Vec::new();
        if at_line_start[at] {
            line.extend_from_slice(entry.beginning(self.has_times, self.has_details).as_bytes());
        }
        at_line_start[at] = entry.content.ends_with(b"\n");
        line.extend_from_slice(&entry.content);
        Some(framed(self.terminal, number, &line))
    }
}

/// Sends a log.
pub(super) async fn logs(_: Arc<Daemon>, request: ApiRequest) -> Answered {
    let query = &request.query;
    let container = find(request.name()).await?;
    let time = |name| query.get(name).filter(|written| *written != "0").map(moment).transpose();
    let wishes = LogWishes {
        terminal: container.record.config.process.terminal,
        outputs: [query.is("stdout"), query.is("stderr")],
        has_times: query.is("timestamps"),
        has_details: query.is("details"),
        since: time("since")?,
        until: time("until")?,
        follows: query.is("follow"),
    };
    if wishes.outputs == [false; 2] {
        return Err(ApiError::bad(text("daemon.logs.none")));
    }
    let tail = query.get("tail").and_then(|tail| tail.parse::<u64>().ok());
    let directory = container.directory.try_clone().map_err(|error| unread(&error))?;
    let reader = blocking(move || LogReader::open(directory, tail).map_err(|error| unread(&error))).await?;
    let place = request.stream.clone();
    let (sender, answer) = slow_stream(kind(wishes.terminal, request.version), request.stream);
    // The config of a container is not kept for each client.
    let (id, directory) = (container.record.id.to_string(), container.directory.path().to_owned());
    tokio::spawn(send(id, directory, reader, wishes, (sender, place)));
    Ok(answer)
}

fn unread(error: &std::io::Error) -> ApiError {
    ApiError::failed(format!("{}: {}", text("daemon.logs.unread"), io_text(error)))
}

/// Sends a log until its end, or with `follow` until the end of the container.
async fn send(
    id: String,
    directory: PathBuf,
    mut reader: LogReader,
    wishes: LogWishes,
    (sender, place): (mpsc::Sender<Bytes>, Option<StreamPlace>),
) {
    let is_left =
        || sender.is_closed() || place.as_ref().is_some_and(|place| place.has_left(ClientEnd::Sending));
    let mut at_line_start = [true; 2];
    let wishes = Arc::new(wishes);
    loop {
        // A part is read when there is room for it. A reader that waits keeps no buffer.
        let room = match sender.try_reserve() {
            Err(TrySendError::Closed(())) => return,
            Ok(room) => room,
            Err(TrySendError::Full(())) => {
                if reader.forget().is_err() {
                    return;
                }
                let Ok(room) = sender.reserve().await else { return };
                room
            }
        };
        let (of_thread, of_container) = (wishes.clone(), id.clone());
        let before = looked_at(&directory);
        let read = blocking(move || {
            // Asked before the log is read: what the container has printed before its end is in the log then.
            let is_over = !of_thread.follows || !runs(&of_container);
            let mut part = Vec::new();
            let mut is_empty = false;
            while part.len() < PART {
                let Some(reading) = reader.read_next().map_err(|error| unread(&error))? else {
                    is_empty = true;
                    break;
                };
                if let Reading::Entry(entry) = reading
                    && let Some(line) = of_thread.sent(&entry, &mut at_line_start)
                {
                    part.reserve(if part.is_empty() { PART + SPARE } else { 0 });
                    part.extend_from_slice(&line);
                }
            }
            Ok((reader, at_line_start, part, is_empty, is_over))
        });
        let Ok((again, starts, part, is_empty, is_over)) = read.await else { return };
        (reader, at_line_start) = (again, starts);
        if !part.is_empty() {
            room.send(Bytes::from(part));
        }
        if !is_empty {
            continue;
        }
        if is_over || wishes.until.is_some_and(|until| Timestamp::now() > until) || is_left() {
            return;
        }
        // To look at two files is short. A client that follows a quiet log takes no thread.
        for _ in 0..LOOKS {
            tokio::time::sleep(PAUSE).await;
            if is_left() || looked_at(&directory) != before {
                break;
            }
        }
    }
}

fn runs(id: &str) -> bool {
    let again = ContainerStore::open().and_then(|store| store.find(id));
    again.is_ok_and(|present| present.state.status.is_active())
}
