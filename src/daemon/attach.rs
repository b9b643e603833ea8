//! POST /containers/NAME/attach: the streams of a container, over the connection of the request.
//!
//! The client asks to take the connection over, and gets 101. From then on there are no HTTP messages on it: what the client
//! sends is standard input, and what it gets is output. It is connected before the container is started, so it misses
//! nothing. The bytes are copied between this connection and the control socket of the supervisor.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use hyper::StatusCode;
use hyper::body::Bytes;
use hyper::header::{CONNECTION, UPGRADE};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot};

use super::Daemon;
use super::answer::{Answer, Answered, ApiError, empty, stream, with_header};
use super::channel::SupervisorChannel;
use super::command::blocking;
use super::containers::find;
use super::frames::{framed, kind};
use super::request::{ApiRequest, ApiVersion, Permit, RequestQuery};
use crate::container::attach::{DETACH_KEYS, KeyFinder, parse_keys};
use crate::container::client::SupervisorClient;
use crate::container::explain::Explainer;
use crate::container::log::read::{LogReader, Reading};
use crate::container::message::{ClientMessage, MAX_DATA, Packet, STDIN, SupervisorMessage};
use crate::container::record::ContainerStatus;
use crate::container::store::KeptContainer;
use crate::error::Error;
use crate::text::{printed, text, text_with};
use crate::value::timestamp::Timestamp;

/// The stream of standard error.
const STDERR: u8 = 2;

/// Where output goes.
pub(super) enum ClientWriter {
    /// The connection, which is the client's alone. It counts as one until its end.
    Taken { stream: Box<dyn AsyncWrite + Send + Unpin>, _permit: Permit },
    /// The body of an answer, for a client that has not asked for the connection.
    Body(mpsc::Sender<Bytes>),
}

impl ClientWriter {
    /// Sends output. False: the client has left.
    pub(super) async fn write(&mut self, bytes: Bytes) -> bool {
        match self {
            ClientWriter::Taken { stream, .. } => stream.write_all(&bytes).await.is_ok(),
            ClientWriter::Body(sender) => sender.send(bytes).await.is_ok(),
        }
    }

    /// Nothing follows.
    pub(super) async fn finish(mut self) {
        if let ClientWriter::Taken { stream, .. } = &mut self {
            let _ = stream.shutdown().await;
        }
    }
}

/// The interval at which it is looked whether a client has gone that sends nothing more.
const LOOK: Duration = Duration::from_millis(500);

/// Where input comes from.
pub(super) struct ClientInput {
    stream: Box<dyn AsyncRead + Send + Unpin>,
    /// The socket, if it is one of the file system.
    socket: Option<OwnedFd>,
}

impl ClientInput {
    /// Reads. Zero: the client sends nothing more.
    pub(super) async fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.stream.read(buffer).await
    }

    /// Waits until the client has gone. One that has only ended its input still reads the output: then the kernel reports no
    /// hang-up, POLLHUP of poll(2).
    pub(super) async fn gone(self) {
        let Some(socket) = self.socket else { return std::future::pending().await };
        let is_gone = || {
            let mut state = [PollFd::new(socket.as_fd(), PollFlags::empty())];
            let _ = poll(&mut state, PollTimeout::ZERO);
            state[0].revents().is_some_and(|events| events.contains(PollFlags::POLLHUP))
        };
        while !is_gone() {
            tokio::time::sleep(LOOK).await;
        }
    }
}

/// The streams of a connection that a client has taken over, with what was read of it already.
fn streams_of(connection: Upgraded, permit: Permit) -> (ClientInput, ClientWriter) {
    match connection.downcast::<TokioIo<UnixStream>>() {
        Ok(parts) => {
            let stream = parts.io.into_inner();
            let socket = stream.as_fd().try_clone_to_owned().ok();
            let (reader, writer) = stream.into_split();
            let stream = Box::new(std::io::Cursor::new(parts.read_buf).chain(reader));
            (
                ClientInput { stream, socket },
                ClientWriter::Taken { stream: Box::new(writer), _permit: permit },
            )
        }
        Err(connection) => {
            let (reader, writer) = tokio::io::split(TokioIo::new(connection));
            let input = ClientInput { stream: Box::new(reader), socket: None };
            (input, ClientWriter::Taken { stream: Box::new(writer), _permit: permit })
        }
    }
}

/// Where input comes from. None: the client sends none.
pub(super) type ClientReader = Option<ClientInput>;

/// The streams of a client, as soon as it has them.
pub(super) type ClientStreams = oneshot::Receiver<(ClientReader, ClientWriter)>;

/// The answer by which the client gets the connection, or the body of an answer.
pub(super) fn hand_over(
    upgrade: Option<OnUpgrade>,
    permit: Permit,
    terminal: bool,
    version: ApiVersion,
) -> (Answer, ClientStreams) {
    let (give, take) = oneshot::channel();
    let kind = kind(terminal, version);
    let Some(upgrade) = upgrade else {
        let (sender, answer) = stream(kind);
        let _ = give.send((None, ClientWriter::Body(sender)));
        return (answer, take);
    };
    tokio::spawn(async move {
        if let Ok(connection) = upgrade.await {
            let (reader, writer) = streams_of(connection, permit);
            let _ = give.send((Some(reader), writer));
        }
    });
    let mut answer = with_header(empty(StatusCode::SWITCHING_PROTOCOLS), CONNECTION, "Upgrade");
    answer = with_header(answer, UPGRADE, "tcp");
    answer = with_header(answer, hyper::header::CONTENT_TYPE, kind);
    answer.extensions_mut().insert(hyper::ext::ReasonPhrase::from_static(b"UPGRADED"));
    (answer, take)
}

/// The keys that detach a client.
pub(super) fn detach_keys(written: Option<&str>) -> Answered<Vec<u8>> {
    match written {
        None => Ok(DETACH_KEYS.to_vec()),
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
        let (answer, streams) = hand_over(request.upgrade, request.permit, terminal, version);
        tokio::spawn(async move {
            let Ok((_, mut writer)) = streams.await else { return };
            if let Some(before) = before
                && !before.send(&mut writer).await
            {
                return;
            }
            writer.finish().await;
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
    let asked = channel.send(&ClientMessage::Attach { stdin, front: !is_active }).await;
    let ended = || ApiError::failed(text("daemon.attach.ended"));
    asked.map_err(|_| ended())?;
    match channel.message().await {
        Some(SupervisorMessage::Attached { .. }) => {}
        Some(SupervisorMessage::Refused(error)) => return Err(Error::from(error).into()),
        _ => return Err(ended()),
    }
    let (answer, streams) = hand_over(request.upgrade, request.permit, terminal, version);
    tokio::spawn(async move {
        let Ok((reader, mut writer)) = streams.await else { return };
        if let Some(before) = before
            && !before.send(&mut writer).await
        {
            return;
        }
        let session = AttachedSession { channel, terminal, wants, stdin, runs: is_active };
        session.run(reader, writer, KeyFinder::new(if terminal { keys } else { Vec::new() })).await;
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
                parts.push(framed(self.terminal, entry.stream.number(), &entry.content));
            }
        }
        (!parts.is_empty()).then_some(parts)
    }

    /// Sends it, a part at a time. False: the client has left.
    async fn send(mut self, writer: &mut ClientWriter) -> bool {
        tokio::time::sleep(AFTER_HEAD).await;
        loop {
            let read = blocking(move || {
                let parts = self.next();
                Ok((self, parts))
            });
            let Ok((own, Some(parts))) = read.await else { return true };
            self = own;
            for part in parts {
                if !writer.write(part).await {
                    return false;
                }
            }
        }
    }
}

/// A client that is attached.
struct AttachedSession {
    channel: SupervisorChannel,
    terminal: bool,
    wants: Wants,
    stdin: bool,
    /// Whether the command runs already, and so takes input.
    runs: bool,
}

impl AttachedSession {
    /// Copies the bytes until the container has ended, or the client has left.
    async fn run(self, reader: ClientReader, mut writer: ClientWriter, finder: KeyFinder) {
        let (started, start) = oneshot::channel();
        let mut started = Some(started);
        if self.runs {
            started.take().map(|started| started.send(()));
        }
        let output = async {
            let mut packet = Vec::new();
            while self.channel.receive(&mut packet).await.is_some() {
                let part = match Packet::<SupervisorMessage>::parse(&packet) {
                    Some(Packet::Data(stream, data)) if self.wants.has(stream) => {
                        framed(self.terminal, stream, data)
                    }
                    Some(Packet::Message(SupervisorMessage::Started { .. })) => {
                        started.take().map(|started| started.send(()));
                        continue;
                    }
                    Some(Packet::Message(SupervisorMessage::Cut { dropped })) => {
                        let message = text_with("container.attach.cut", &[("bytes", &dropped.to_string())]);
                        let _ = writer
                            .write(framed(self.terminal, STDERR, format!("{message}\r\n").as_bytes()))
                            .await;
                        break;
                    }
                    Some(Packet::Message(
                        SupervisorMessage::Exited { .. } | SupervisorMessage::Refused(_),
                    )) => break,
                    _ => continue,
                };
                if !writer.write(part).await {
                    break;
                }
            }
            writer.finish().await;
        };
        let input = async {
            let Some(reader) = reader else { return std::future::pending().await };
            if start.await.is_err() {
                return std::future::pending().await;
            }
            self.send_input(reader, finder).await;
        };
        tokio::select! {
            () = output => {}
            () = input => {}
        }
    }

    /// Sends standard input. Returns when the client is detached or has left.
    async fn send_input(&self, mut reader: ClientInput, mut finder: KeyFinder) {
        let mut packet = vec![0; MAX_DATA / 2];
        loop {
            match reader.read(&mut packet).await {
                // Only its standard input has ended. Its output goes on.
                Ok(0) => {
                    if self.stdin && !self.terminal {
                        let _ = self.channel.send_packet(&[STDIN]).await;
                    }
                    return reader.gone().await;
                }
                Ok(length) => {
                    let (typed, is_detached) = finder.take(&packet[..length]);
                    if self.stdin && !typed.is_empty() {
                        let data = [&[STDIN], &typed[..]].concat();
                        if self.channel.send_packet(&data).await.is_err() {
                            return std::future::pending().await;
                        }
                    }
                    if is_detached {
                        let _ = self.channel.send(&ClientMessage::Detach).await;
                        return;
                    }
                }
                Err(_) => return,
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
