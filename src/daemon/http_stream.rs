//! The connection as hyper reads and writes it. Two things differ from what Go's server, and so Docker, does. hyper refuses some
//! bytes of a path that users type as they are, as in `?filters={"name":["web"]}`. And its own refusals have no message.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use percent_encoding::percent_encode_byte;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Daemon;
use crate::text::text;

/// How many bytes are read at once of the first line of a request.
const LINE: usize = 4096;

/// The maximum size of a refusal of hyper.
const MAX_REFUSAL: usize = 256;

/// Where a connection is between two requests.
#[derive(Default)]
pub(super) struct RequestTurn {
    /// A request is being answered.
    is_answering: AtomicBool,
    /// An answer has ended: the next byte begins a request.
    has_ended: AtomicBool,
}

/// A request that is being answered. Dropped with the last part of its answer.
pub(super) struct AnsweredRequest {
    turn: Arc<RequestTurn>,
    is_last: bool,
}

impl RequestTurn {
    /// A request is answered from now on.
    pub(super) fn begin(self: &Arc<RequestTurn>) -> AnsweredRequest {
        self.is_answering.store(true, Ordering::Relaxed);
        AnsweredRequest { turn: self.clone(), is_last: false }
    }
}

impl AnsweredRequest {
    /// No request follows: after its answer, the connection carries bytes of another protocol. They are passed on as they are.
    pub(super) fn mark_last(&mut self) {
        self.is_last = true;
    }
}

impl Drop for AnsweredRequest {
    fn drop(&mut self) {
        if self.is_last {
            return;
        }
        self.turn.is_answering.store(false, Ordering::Relaxed);
        self.turn.has_ended.store(true, Ordering::Relaxed);
    }
}

/// A connection, for hyper.
pub(super) struct HttpStream<S> {
    stream: S,
    daemon: Arc<Daemon>,
    turn: Arc<RequestTurn>,
    /// The next byte belongs to the first line of a request.
    in_line: bool,
}

impl<S> HttpStream<S> {
    pub(super) fn of(stream: S, daemon: Arc<Daemon>, turn: Arc<RequestTurn>) -> HttpStream<S> {
        HttpStream { stream, daemon, turn, in_line: true }
    }

    pub(super) fn into_inner(self) -> S {
        self.stream
    }
}

/// Whether a byte of the first line makes hyper refuse the request. Go's server takes it.
fn is_refused(byte: u8) -> bool {
    matches!(byte, b'"' | b'<' | b'>' | b'`') || !byte.is_ascii()
}

impl<S: AsyncRead + Unpin> AsyncRead for HttpStream<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let own = self.get_mut();
        if own.turn.has_ended.swap(false, Ordering::Relaxed) {
            own.in_line = true;
        }
        // An encoded byte takes three.
        let room = (buffer.remaining() / 3).min(LINE);
        if !own.in_line || room == 0 || own.turn.is_answering.load(Ordering::Relaxed) {
            return Pin::new(&mut own.stream).poll_read(context, buffer);
        }
        let mut bytes = [0; LINE];
        let mut read = ReadBuf::new(&mut bytes[..room]);
        ready!(Pin::new(&mut own.stream).poll_read(context, &mut read))?;
        for byte in read.filled() {
            match own.in_line && is_refused(*byte) {
                true => buffer.put_slice(percent_encode_byte(*byte).as_bytes()),
                false => buffer.put_slice(&[*byte]),
            }
            own.in_line &= *byte != b'\n';
        }
        Poll::Ready(Ok(()))
    }
}

/// The status and the message for a refusal of hyper. None: these bytes are something else.
fn refusal(bytes: &[u8]) -> Option<(&'static str, String)> {
    let head = str::from_utf8(bytes).ok().filter(|head| head.len() < MAX_REFUSAL)?;
    // The answers of the daemon have this header.
    if !head.ends_with("\r\n\r\n") || head.to_ascii_lowercase().contains("api-version") {
        return None;
    }
    let status = head.strip_prefix("HTTP/1.1 ")?;
    let known = [
        ("400 Bad Request", "daemon.http.form"),
        ("414 URI Too Long", "daemon.http.path"),
        ("431 Request Header Fields Too Large", "daemon.http.headers"),
    ];
    let found = known.into_iter().find(|(own, _)| status.starts_with(own));
    found.map(|(status, key)| (status, text(key)))
}

impl<S: AsyncWrite + Unpin> HttpStream<S> {
    /// Writes an answer with a message in place of a refusal of hyper. None: these bytes are something else.
    fn poll_refusal(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Option<Poll<io::Result<usize>>> {
        if self.turn.is_answering.load(Ordering::Relaxed) {
            return None;
        }
        let (status, message) = refusal(bytes)?;
        let body = serde_json::json!({ "message": message }).to_string() + "\n";
        let length = body.len();
        let answer = format!(
            "HTTP/1.1 {status}\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
        );
        // All answers before it have been sent, so the kernel has room for all of it.
        let written = Pin::new(&mut self.stream).poll_write(context, answer.as_bytes());
        if matches!(written, Poll::Ready(Ok(_))) {
            self.daemon.trace.refusal(self.daemon.trace.number(), &message);
        }
        Some(written.map_ok(|_| bytes.len()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for HttpStream<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let own = self.get_mut();
        match own.poll_refusal(context, bytes) {
            Some(written) => written,
            None => Pin::new(&mut own.stream).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let own = self.get_mut();
        if let [one] = parts
            && let Some(written) = own.poll_refusal(context, one)
        {
            return written;
        }
        Pin::new(&mut own.stream).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::trace::Trace;

    #[test]
    fn only_the_first_line_of_a_request_is_encoded() {
        let daemon = Arc::new(Daemon { home: "/".into(), trace: Trace::new(false) });
        let turn = Arc::new(RequestTurn::default());
        let mut stream = HttpStream::<&[u8]>::of(&[], daemon, turn.clone());
        let mut read = |bytes: &'static str| {
            stream.stream = bytes.as_bytes();
            let mut space = [0; 256];
            let mut buffer = ReadBuf::new(&mut space);
            let mut context = Context::from_waker(std::task::Waker::noop());
            let read = Pin::new(&mut stream).poll_read(&mut context, &mut buffer);
            assert!(matches!(read, Poll::Ready(Ok(()))), "{bytes}");
            String::from_utf8(buffer.filled().to_vec()).unwrap()
        };
        let request = "GET /<é HTTP/1.1\r\nX: <\r\n\r\n";
        let encoded = "GET /%3C%C3%A9 HTTP/1.1\r\nX: <\r\n\r\n";
        assert_eq!(read(request), encoded);
        let answered = turn.begin();
        assert_eq!(read("<body>"), "<body>");
        drop(answered);
        assert_eq!(read(request), encoded);
        // After the answer 101, the bytes are the input of a container.
        let mut answered = turn.begin();
        answered.mark_last();
        drop(answered);
        assert_eq!(read("\"typed\" <é>\n"), "\"typed\" <é>\n");
    }

    #[test]
    fn only_refusals_of_hyper_get_a_message() {
        let of = |head: &str| refusal(head.as_bytes()).map(|(status, _)| &status[..3]);
        assert_eq!(
            of("HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"),
            Some("400")
        );
        assert_eq!(of("HTTP/1.1 431 Request Header Fields Too Large\r\ndate: x\r\n\r\n"), Some("431"));
        for other in [
            "HTTP/1.1 400 Bad Request\r\napi-version: 1.44\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 200 OK\r\n\r\n",
            "HTTP/1.1 400 Bad Request\r\n",
            "",
        ] {
            assert_eq!(of(other), None, "{other}");
        }
    }
}
