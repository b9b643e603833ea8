//! The connection of a client that takes it over: after the answer 101 there are no HTTP messages on it.
//!
//! It is handed to the process that has the other end of the streams, so neither the bytes nor the end of the daemon go through
//! the daemon. What cannot be handed over is copied by the daemon: a connection over TLS, whose keys are here, and the body of an
//! answer, for a client that has not asked for its connection.

use std::io;
use std::os::fd::OwnedFd;

use hyper::StatusCode;
use hyper::body::Bytes;
use hyper::header::{CONNECTION, CONTENT_TYPE, UPGRADE};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot};

use super::answer::{Answer, empty, stream, with_header};
use super::frames::kind;
use super::http_stream::HttpStream;
use super::request::{ApiVersion, Permit};
use super::served::{ClientEnd, ClientStream, ServedStream, StreamPlace, left};

/// How much input that came together with the request is handed over with the connection. With more, it is copied.
const MAX_AHEAD: usize = 8 << 10;

/// The size of a part of a stream.
const PART: usize = 32 << 10;

/// A connection that a client has taken over, and what was read of it already.
enum ClientConnection {
    Plain(ClientStream, Bytes),
    /// Over TLS.
    Encrypted(TokioIo<Upgraded>),
    /// The body of an answer.
    Body(mpsc::Sender<Bytes>, Option<StreamPlace>),
}

/// A connection that a client has taken over.
pub(super) struct TakenConnection {
    connection: ClientConnection,
    /// It counts as one until the daemon does not have it any more.
    permit: Permit,
}

/// What another process needs of a connection.
pub(super) struct HandedConnection {
    pub(super) descriptor: OwnedFd,
    /// What was read of it already.
    pub(super) ahead: Vec<u8>,
}

impl TakenConnection {
    fn of(upgraded: Upgraded, permit: Permit) -> Option<TakenConnection> {
        let connection = match upgraded.downcast::<TokioIo<HttpStream<ServedStream>>>() {
            Ok(parts) => match parts.io.into_inner().into_inner().place().take() {
                Some(stream) => ClientConnection::Plain(stream, parts.read_buf),
                None => return None,
            },
            Err(upgraded) => ClientConnection::Encrypted(TokioIo::new(upgraded)),
        };
        Some(TakenConnection { connection, permit })
    }

    /// Sends output. False: the client has left.
    pub(super) async fn write(&mut self, bytes: Bytes) -> bool {
        match &mut self.connection {
            ClientConnection::Plain(stream, _) => stream.write_all(&bytes).await.is_ok(),
            ClientConnection::Encrypted(stream) => stream.write_all(&bytes).await.is_ok(),
            ClientConnection::Body(sender, _) => sender.send(bytes).await.is_ok(),
        }
    }

    /// Nothing follows.
    pub(super) async fn finish(self) {
        let _ = match self.connection {
            ClientConnection::Plain(mut stream, _) => stream.shutdown().await,
            ClientConnection::Encrypted(mut stream) => stream.shutdown().await,
            ClientConnection::Body(..) => Ok(()),
        };
    }

    /// Gives the connection away. One that must stay is copied to a pair of sockets, whose other end is given away.
    pub(super) fn hand_over(self) -> io::Result<HandedConnection> {
        let TakenConnection { connection, permit } = self;
        match connection {
            ClientConnection::Plain(stream, ahead) if ahead.len() <= MAX_AHEAD => {
                Ok(HandedConnection { descriptor: stream.into_descriptor()?, ahead: ahead.into() })
            }
            connection => {
                let (own, other) = UnixStream::pair()?;
                let descriptor = other.into_std()?.into();
                tokio::spawn(async move {
                    match connection {
                        ClientConnection::Plain(stream, ahead) => copy(stream, ahead, own).await,
                        ClientConnection::Encrypted(stream) => copy(stream, Bytes::new(), own).await,
                        ClientConnection::Body(sender, place) => send_all(own, &sender, place.as_ref()).await,
                    }
                    drop(permit);
                });
                Ok(HandedConnection { descriptor, ahead: Vec::new() })
            }
        }
    }
}

/// Copies the bytes between a client and the process that has the other end, until that process has no more output or the client
/// has left. The end of the client's input is only that.
async fn copy(client: impl AsyncRead + AsyncWrite, ahead: Bytes, own: UnixStream) {
    let (reader, mut writer) = tokio::io::split(client);
    let mut reader = io::Cursor::new(ahead).chain(reader);
    let (mut output, mut input) = own.into_split();
    let shown = async {
        let _ = tokio::io::copy(&mut output, &mut writer).await;
        let _ = writer.shutdown().await;
    };
    let typed = async {
        if tokio::io::copy(&mut reader, &mut input).await.is_ok() {
            let _ = input.shutdown().await;
            std::future::pending::<()>().await;
        }
    };
    tokio::pin!(shown, typed);
    tokio::select! {
        () = shown => {}
        () = typed => {}
    }
}

/// Sends the output as the body of an answer.
async fn send_all(mut own: UnixStream, sender: &mpsc::Sender<Bytes>, place: Option<&StreamPlace>) {
    let mut buffer = vec![0; PART];
    loop {
        let length = tokio::select! {
            length = own.read(&mut buffer) => length,
            () = sender.closed() => return,
            () = left(place, ClientEnd::Connection) => return,
        };
        match length {
            Ok(length @ 1..) if sender.send(Bytes::copy_from_slice(&buffer[..length])).await.is_ok() => {}
            _ => return,
        }
    }
}

/// The connection of a client, as soon as it has the answer.
pub(super) type AwaitedConnection = oneshot::Receiver<TakenConnection>;

/// The answer by which the client gets the connection, or the body of an answer.
pub(super) fn take_over(
    upgrade: Option<OnUpgrade>,
    permit: Permit,
    terminal: bool,
    version: ApiVersion,
    place: Option<StreamPlace>,
) -> (Answer, AwaitedConnection) {
    let (give, take) = oneshot::channel();
    let kind = kind(terminal, version);
    let Some(upgrade) = upgrade else {
        let (sender, answer) = stream(kind);
        let _ = give.send(TakenConnection { connection: ClientConnection::Body(sender, place), permit });
        return (answer, take);
    };
    tokio::spawn(async move {
        if let Ok(upgraded) = upgrade.await
            && let Some(taken) = TakenConnection::of(upgraded, permit)
        {
            let _ = give.send(taken);
        }
    });
    let mut answer = with_header(empty(StatusCode::SWITCHING_PROTOCOLS), CONNECTION, "Upgrade");
    answer = with_header(answer, UPGRADE, "tcp");
    answer = with_header(answer, CONTENT_TYPE, kind);
    answer.extensions_mut().insert(hyper::ext::ReasonPhrase::from_static(b"UPGRADED"));
    (answer, take)
}
