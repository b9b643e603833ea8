//! `sandbox api`: a client of the daemon in one request.

use std::io::{BufRead, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use super::service::DaemonAddress;
use super::tls::{self, TlsFiles};
use crate::error::{Error, Result};
use crate::text::{text, text_with};

/// The characters of a path that a request cannot have as they are: blanks, quotes and brackets. `%` is not one of them: the user may
/// have encoded a part already.
const ENCODED: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'<')
    .add(b'>')
    .add(b'`')
    .add(b'{')
    .add(b'}')
    .add(b'|')
    .add(b'\\')
    .add(b'^')
    .add(b'#');

/// Encodes a path for a request.
pub fn encoded(path: &str) -> String {
    utf8_percent_encode(path, ENCODED).to_string()
}

/// A request of `sandbox api`.
#[derive(Debug)]
pub struct ApiQuery<'a> {
    /// GET, POST, ...
    pub method: &'a str,
    /// `/containers/json?all=1`.
    pub path: &'a str,
    /// The body. Empty: there is none.
    pub body: &'a [u8],
}

/// The maximum size of the head of an answer.
const MAX_HEAD: usize = 64 << 10;

impl ApiQuery<'_> {
    /// The request as it is sent.
    pub fn written(&self) -> String {
        let kind = if self.body.is_empty() { "" } else { "Content-Type: application/json\r\n" };
        format!(
            "{} {} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{kind}Content-Length: {}\r\n\r\n",
            self.method,
            self.path,
            self.body.len()
        )
    }

    /// Sends it. `print` gets the parts of the answer's body. Returns its status.
    ///
    /// # Errors
    /// The daemon cannot be reached, or ends the connection too early.
    pub fn send(
        &self,
        to: &DaemonAddress,
        tls: Option<&TlsFiles>,
        mut print: impl FnMut(&[u8]),
    ) -> Result<u16> {
        let cannot = |call: String, error: std::io::Error| {
            Error::failed(text_with("daemon.api.cannot", &[("address", &to.to_string())]))
                .call(call, error)
                .paste("sandbox daemon start")
        };
        let connected = |error| cannot(format!("connect(<socket>, {to})"), error);
        match (to, tls) {
            (DaemonAddress::Unix(path), None) => {
                self.over(UnixStream::connect(path).map_err(connected)?, &mut print)
            }
            (DaemonAddress::Unix(_), Some(_)) => return Err(Error::usage(text("daemon.api.tls"))),
            (DaemonAddress::Tcp(at), None) => {
                self.over(TcpStream::connect(at).map_err(connected)?, &mut print)
            }
            (DaemonAddress::Tcp(at), Some(files)) => {
                let session = tls::client(files, at.ip())?;
                let stream = TcpStream::connect(at).map_err(connected)?;
                self.over(rustls::StreamOwned::new(session, stream), &mut print)
            }
        }
        .map_err(|error| cannot("read(<socket>)".to_owned(), error))
    }

    fn over(&self, mut stream: impl Read + Write, print: &mut impl FnMut(&[u8])) -> std::io::Result<u16> {
        stream.write_all(self.written().as_bytes())?;
        stream.write_all(self.body)?;
        let mut input = std::io::BufReader::new(stream);
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            input.read_exact(&mut byte)?;
            head.push(byte[0]);
            if head.len() > MAX_HEAD {
                return Err(std::io::Error::other(text("daemon.api.answer")));
            }
        }
        let head = String::from_utf8_lossy(&head).to_ascii_lowercase();
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.ok_or_else(|| std::io::Error::other(text("daemon.api.answer")))?;
        if self.method == "HEAD" {
            return Ok(status);
        }
        if head.contains("transfer-encoding: chunked") {
            chunks(&mut input, print)?;
        } else {
            let mut part = [0; 4096];
            loop {
                match input.read(&mut part)? {
                    0 => break,
                    length => print(&part[..length]),
                }
            }
        }
        Ok(status)
    }
}

/// Reads a body whose parts each have their length before them.
fn chunks(input: &mut impl std::io::BufRead, print: &mut impl FnMut(&[u8])) -> std::io::Result<()> {
    loop {
        let mut line = String::new();
        input.by_ref().take(64).read_line(&mut line)?;
        let length = usize::from_str_radix(line.trim(), 16)
            .map_err(|_| std::io::Error::other(text("daemon.api.answer")))?;
        if length == 0 {
            return Ok(());
        }
        let mut left = length;
        let mut part = [0; 4096];
        while left > 0 {
            let most = left.min(part.len());
            let read = input.read(&mut part[..most])?;
            if read == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            print(&part[..read]);
            left -= read;
        }
        input.read_exact(&mut [0; 2])?;
    }
}
