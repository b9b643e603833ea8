//! The connection that hyper serves. A handler can take it away from hyper in the middle of a request, and hand it to another
//! process, which sends the answer: that to `wait` comes when the container ends, and the daemon may have ended before. And it can wait
//! until the client has read what was sent, so that little is kept for a client that does not read.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustix::net::{RecvFlags, recv};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

/// The connection of a client, without TLS.
pub(super) enum ClientStream {
    Unix(UnixStream),
    Tcp(TcpStream),
}

impl ClientStream {
    /// Waits until the client has sent something, or has left.
    pub(super) async fn readable(&self) -> io::Result<()> {
        match self {
            ClientStream::Unix(stream) => stream.readable().await,
            ClientStream::Tcp(stream) => stream.readable().await,
        }
    }

    /// The descriptor, for another process.
    pub(super) fn into_descriptor(self) -> io::Result<OwnedFd> {
        Ok(match self {
            ClientStream::Unix(stream) => stream.into_std()?.into(),
            ClientStream::Tcp(stream) => stream.into_std()?.into(),
        })
    }
}

impl AsyncRead for ClientStream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            ClientStream::Unix(stream) => Pin::new(stream).poll_read(context, buffer),
            ClientStream::Tcp(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            ClientStream::Unix(stream) => Pin::new(stream).poll_write(context, bytes),
            ClientStream::Tcp(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            ClientStream::Unix(stream) => Pin::new(stream).poll_flush(context),
            ClientStream::Tcp(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            ClientStream::Unix(stream) => Pin::new(stream).poll_shutdown(context),
            ClientStream::Tcp(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            ClientStream::Unix(stream) => Pin::new(stream).poll_write_vectored(context, parts),
            ClientStream::Tcp(stream) => Pin::new(stream).poll_write_vectored(context, parts),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }
}

/// A connection, and whether it takes more.
struct SharedStream {
    /// None: it was taken.
    stream: Option<ClientStream>,
    /// Whether the client has not read what was sent to it last.
    is_full: bool,
    /// Who waits for room.
    waiting: Option<Waker>,
}

/// What of a client has ended.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum ClientEnd {
    /// It sends nothing more, and may still read.
    Sending,
    /// It has closed the connection.
    Connection,
}

/// The interval at which a connection is looked at that has an answer without an end.
const LOOK: Duration = Duration::from_millis(200);

/// The place of a connection, which hyper and the handlers of its requests share.
#[derive(Clone)]
pub(super) struct StreamPlace(Arc<Mutex<SharedStream>>);

impl StreamPlace {
    fn lock(&self) -> MutexGuard<'_, SharedStream> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the connection. From then on it has ended for hyper, which drops what it still writes.
    pub(super) fn take(&self) -> Option<ClientStream> {
        self.lock().stream.take()
    }

    /// Whether the client has left. With a stream of what happens (`Sending`), the end of its requests counts as that, as with
    /// Docker: nobody else says that nothing more is wanted. Of a connection over TCP, no more than this end can be seen.
    pub(super) fn has_left(&self, by: ClientEnd) -> bool {
        let place = self.lock();
        let Some(stream) = &place.stream else { return false };
        let (descriptor, is_enough) = match stream {
            ClientStream::Unix(stream) => (stream.as_fd(), by == ClientEnd::Sending),
            ClientStream::Tcp(stream) => (stream.as_fd(), true),
        };
        // A hang-up and an error are reported in any case.
        let mut polled = [PollFd::new(descriptor, PollFlags::empty())];
        let is_hung_up = poll(&mut polled, PollTimeout::ZERO).is_ok_and(|count| count > 0);
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        let has_ended = || matches!(recv(descriptor, &mut [0], flags), Ok((_, 0)));
        is_hung_up || is_enough && has_ended()
    }

    /// Waits until the client has left.
    pub(super) async fn left(&self, by: ClientEnd) {
        while !self.has_left(by) {
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Waits until the client has read enough that more can be sent.
    pub(super) fn poll_room(&self, context: &Context<'_>) -> Poll<()> {
        let mut place = self.lock();
        if !place.is_full {
            return Poll::Ready(());
        }
        place.waiting = Some(context.waker().clone());
        Poll::Pending
    }
}

/// Waits until the client has left. For a connection over TLS, hyper sees it.
pub(super) async fn left(place: Option<&StreamPlace>, by: ClientEnd) {
    match place {
        Some(place) => place.left(by).await,
        None => std::future::pending().await,
    }
}

/// What hyper reads from and writes to.
pub(super) struct ServedStream(StreamPlace);

impl ServedStream {
    pub(super) fn of(stream: ClientStream) -> ServedStream {
        let place = SharedStream { stream: Some(stream), is_full: false, waiting: None };
        ServedStream(StreamPlace(Arc::new(Mutex::new(place))))
    }

    /// The place from which a handler can take it.
    pub(super) fn place(&self) -> StreamPlace {
        self.0.clone()
    }

    /// Does something with the connection, or returns this if it was taken.
    fn with<T>(
        &self,
        taken: T,
        act: impl FnOnce(Pin<&mut ClientStream>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        match &mut self.0.lock().stream {
            Some(stream) => act(Pin::new(stream)),
            None => Poll::Ready(Ok(taken)),
        }
    }

    /// Notes whether the client takes more.
    fn written(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        let mut place = self.0.lock();
        place.is_full = written.is_pending();
        if !place.is_full
            && let Some(waiting) = place.waiting.take()
        {
            waiting.wake();
        }
        written
    }
}

impl AsyncRead for ServedStream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.with((), |stream| stream.poll_read(context, buffer))
    }
}

impl AsyncWrite for ServedStream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.written(self.with(bytes.len(), |stream| stream.poll_write(context, bytes)))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with((), |stream| stream.poll_flush(context))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with((), |stream| stream.poll_shutdown(context))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let length = parts.iter().map(|part| part.len()).sum();
        self.written(self.with(length, |stream| stream.poll_write_vectored(context, parts)))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }
}
