//! One HTTP request and its answer, within limits: of the header, and of the time in which nothing comes.
//!
//! Redirects, authentication and further attempts are decided in `client`, because credentials depend on them.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ureq::http::{HeaderMap, Request};
use ureq::tls::{RootCerts, TlsConfig, TlsProvider};
use ureq::unversioned::transport::DefaultConnector;
use ureq::{Agent, AsSendBody, Body, BodyReader, Proxy, SendBody};

use super::RegistryOptions;
use super::certificates::{Certificates, system_roots};
use super::resolve::OwnResolver;
use super::url::Url;
use crate::error::{Error, ExitKind, io_text};
use crate::image::manifest::{MAX_DOCUMENT, too_large};
use crate::text::{printed, text, text_with};

/// The maximum size of the header of an answer, in bytes.
const MAX_HEADER: usize = 64 << 10;

/// The minimum number of bytes that must arrive within the time limit.
const MIN_BYTES: u64 = 1 << 10;

/// Why there is no usable answer.
#[derive(Debug)]
pub(super) struct HttpFailure {
    pub(super) error: Error,
    /// The least number of seconds before another attempt, which may succeed. None: it would fail too.
    pub(super) again: Option<u16>,
    /// Whether it is a failure of this machine, which would be the same with another server: a full disk, a layer that cannot be
    /// unpacked.
    pub(super) is_own: bool,
}

/// The result of what can fail in this way.
pub(super) type Tried<T> = std::result::Result<T, HttpFailure>;

impl HttpFailure {
    /// Another attempt may succeed.
    pub(super) fn passing(error: Error) -> HttpFailure {
        HttpFailure { error, again: Some(0), is_own: false }
    }

    /// Another attempt would fail too.
    pub(super) fn lasting(error: Error) -> HttpFailure {
        HttpFailure { error, again: None, is_own: false }
    }

    /// This machine has failed, and no server.
    pub(super) fn own(error: Error) -> HttpFailure {
        HttpFailure { error, again: None, is_own: true }
    }
}

impl From<Error> for HttpFailure {
    fn from(error: Error) -> HttpFailure {
        HttpFailure::lasting(error)
    }
}

/// What is sent after the header.
pub(super) enum Content<'c> {
    None,
    Bytes(&'c [u8]),
    /// A file from its beginning, with its length.
    File(&'c File, u64),
}

/// A request.
pub(super) struct HttpExchange<'e> {
    pub(super) method: &'static str,
    pub(super) url: &'e Url,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) content: Content<'e>,
}

/// An answer. Its body is read by who needs it.
pub(super) struct RegistryAnswer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) url: Url,
    body: Body,
}

impl RegistryAnswer {
    /// A header. None: there is none, or it is not text.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The media type, without its parameters.
    pub(super) fn media_type(&self) -> &str {
        self.header("content-type").unwrap_or_default().split(';').next().unwrap_or_default().trim()
    }

    /// The size of the body, if the header says it.
    pub(super) fn length(&self) -> Option<u64> {
        self.header("content-length")?.parse().ok()
    }

    /// The body, which ends with an error if too little comes in this time.
    pub(super) fn reader(self, timeout: Duration) -> Steady<BodyReader<'static>> {
        Steady { inner: self.body.into_reader(), timeout, since: Instant::now(), count: 0 }
    }

    /// A whole document.
    pub(super) fn document(self, timeout: Duration) -> Tried<Vec<u8>> {
        let shown = self.url.shown();
        if self.length().is_some_and(|length| length > MAX_DOCUMENT) {
            return Err(too_large(&shown).into());
        }
        let mut bytes = Vec::new();
        let read = self.reader(timeout).take(MAX_DOCUMENT + 1).read_to_end(&mut bytes);
        read.map_err(|error| cut(&shown, &error))?;
        if bytes.len() as u64 > MAX_DOCUMENT {
            return Err(too_large(&shown).into());
        }
        Ok(bytes)
    }
}

/// The error of a body that did not come to its end.
pub(super) fn cut(url: &str, error: &io::Error) -> HttpFailure {
    let what = text_with("registry.cut", &[("url", &printed(url))]);
    HttpFailure::passing(Error::new(ExitKind::Refused, what).why(printed(io_text(error))))
}

/// A reader that ends with an error if less than [`MIN_BYTES`] come in a time.
pub(super) struct Steady<R> {
    inner: R,
    timeout: Duration,
    since: Instant,
    count: u64,
}

impl<R: Read> Read for Steady<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.count += count as u64;
        if count > 0 && self.since.elapsed() > self.timeout {
            if self.count < MIN_BYTES {
                return Err(io::Error::new(io::ErrorKind::TimedOut, text("registry.slow")));
            }
            (self.since, self.count) = (Instant::now(), 0);
        }
        Ok(count)
    }
}

/// Makes the connections.
pub(super) struct HttpTransport {
    options: RegistryOptions,
    /// One for each server, which keeps connections open.
    agents: Mutex<HashMap<(String, bool), Agent>>,
}

impl HttpTransport {
    pub(super) fn new(options: RegistryOptions) -> HttpTransport {
        HttpTransport { options, agents: Mutex::default() }
    }

    pub(super) fn options(&self) -> &RegistryOptions {
        &self.options
    }

    /// Sends a request and reads the header of the answer. `is_insecure` is whether any certificate is accepted.
    pub(super) fn exchange(&self, exchange: &HttpExchange<'_>, is_insecure: bool) -> Tried<RegistryAnswer> {
        let HttpExchange { method, url, headers, content } = exchange;
        let agent = self.agent(url, is_insecure)?;
        let shown = format!("{method} {}", url.shown());
        let mut request = Request::builder().method(*method).uri(url.to_string());
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        let malformed = |error: ureq::http::Error| {
            let error = Error::new(
                ExitKind::Refused,
                text_with("registry.request", &[("request", &printed(&shown))]),
            )
            .why(error.to_string());
            HttpFailure::lasting(error)
        };
        let answer = match content {
            // The server must know that nothing follows.
            Content::None if matches!(*method, "POST" | "PUT") => {
                send(&agent, request.body(&[] as &[u8]).map_err(malformed)?)
            }
            Content::None => send(&agent, request.body(()).map_err(malformed)?),
            Content::Bytes(bytes) => send(&agent, request.body(*bytes).map_err(malformed)?),
            Content::File(file, length) => {
                // A request that is sent again begins at its beginning.
                let mut file = *file;
                file.seek(SeekFrom::Start(0)).map_err(|error| {
                    let what = text_with("registry.request", &[("request", &printed(&shown))]);
                    HttpFailure::lasting(Error::new(ExitKind::Refused, what).call("lseek()", error))
                })?;
                let mut part = file.take(*length);
                let request = request.header("content-length", length.to_string());
                send(&agent, request.body(SendBody::from_reader(&mut part)).map_err(malformed)?)
            }
        };
        let answer = answer.map_err(|error| self.failure(&shown, url, error))?;
        let (parts, body) = answer.into_parts();
        Ok(RegistryAnswer {
            status: parts.status.as_u16(),
            headers: parts.headers,
            url: (*url).clone(),
            body,
        })
    }

    /// Whether a server at this address speaks HTTP: `false` if it does not understand TLS.
    pub(super) fn speaks_tls(&self, url: &Url, is_insecure: bool) -> Tried<bool> {
        let agent = self.agent(url, is_insecure)?;
        let request = Request::get(url.to_string()).body(());
        match send(&agent, request.unwrap_or_default()) {
            Ok(_) => Ok(true),
            Err(ureq::Error::Rustls(rustls::Error::InvalidMessage(_))) => Ok(false),
            // It has read what it does not understand, and has closed the connection.
            Err(ureq::Error::Io(error)) if is_hang_up(&error) => Ok(false),
            Err(error) => Err(self.failure(&format!("GET {}", url.shown()), url, error)),
        }
    }

    fn agent(&self, url: &Url, is_insecure: bool) -> Tried<Agent> {
        let key = (url.authority(), is_insecure);
        let mut agents = self.agents.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(agent) = agents.get(&key) {
            return Ok(agent.clone());
        }
        let own = Certificates::of(&url.authority(), self.options.certificates.as_deref())?;
        let roots = system_roots().iter().chain(&own.authorities).cloned().collect::<Vec<_>>();
        let tls = TlsConfig::builder()
            .provider(TlsProvider::Rustls)
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .root_certs(RootCerts::Specific(Arc::new(roots)))
            .client_cert(own.client)
            .disable_verification(is_insecure)
            .build();
        let timeout = Some(self.options.timeout);
        let agent = Agent::config_builder()
            .tls_config(tls)
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .max_response_header_size(MAX_HEADER)
            .user_agent(concat!("sandbox/", env!("CARGO_PKG_VERSION")))
            .timeout_resolve(timeout)
            .timeout_connect(timeout)
            .timeout_send_request(timeout)
            .timeout_recv_response(timeout)
            .timeout_per_read(timeout)
            .timeout_per_write(timeout)
            .proxy(if url.is_loopback() { None } else { Proxy::try_from_env() })
            .build();
        let agent = match cfg!(all(target_env = "gnu", target_feature = "crt-static")) {
            true => Agent::with_parts(agent, DefaultConnector::default(), OwnResolver),
            false => agent.new_agent(),
        };
        agents.insert(key, agent.clone());
        Ok(agent)
    }

    fn failure(&self, shown: &str, url: &Url, error: ureq::Error) -> HttpFailure {
        let failed =
            Error::new(ExitKind::Refused, text_with("registry.request", &[("request", &printed(shown))]));
        let host = [("host", &*printed(&url.host))];
        let is_unknown = match &error {
            ureq::Error::HostNotFound => true,
            // The standard library has no kind for the errors of getaddrinfo(3).
            ureq::Error::Io(error) => {
                error.raw_os_error().is_none() && error.to_string().contains("lookup address")
            }
            _ => false,
        };
        match error {
            _ if is_unknown => HttpFailure::lasting(
                failed
                    .why(text_with("registry.host", &host))
                    .paste(format!("getent hosts {}", crate::value::shell::quote(&url.host))),
            ),
            ureq::Error::Io(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                let port = [("host", &*printed(&url.host)), ("port", &*url.port.to_string())];
                HttpFailure::lasting(
                    failed.call("connect()", error).why(text_with("registry.refused", &port)),
                )
            }
            ureq::Error::Io(error) => match error.get_ref().and_then(|inner| inner.downcast_ref()) {
                Some(rustls_error) => self.tls_failure(failed, url, rustls_error),
                None => HttpFailure::passing(failed.why(printed(io_text(&error)))),
            },
            ureq::Error::Rustls(error) => self.tls_failure(failed, url, &error),
            ureq::Error::Timeout(_) => {
                let seconds = format!("{:?}", self.options.timeout);
                HttpFailure::passing(failed.why(text_with("registry.timeout", &[("time", &seconds)])))
            }
            ureq::Error::LargeResponseHeader(..) => HttpFailure::lasting(
                failed.why(text_with("registry.header", &[("most", &(MAX_HEADER >> 10).to_string())])),
            ),
            other => HttpFailure::passing(failed.why(printed(other.to_string()))),
        }
    }

    fn tls_failure(&self, failed: Error, url: &Url, error: &rustls::Error) -> HttpFailure {
        let failed = failed.why(printed(error.to_string()));
        HttpFailure::lasting(match error {
            rustls::Error::InvalidCertificate(_) => {
                let host = [("host", &*printed(url.authority()))];
                failed
                    .why(text_with("registry.certificate", &host))
                    .todo(text_with("registry.certificate.todo", &host))
            }
            rustls::Error::InvalidMessage(_) => failed.why(text("registry.notls")),
            rustls::Error::AlertReceived(_) => {
                failed.todo(text_with("registry.client.todo", &[("host", &printed(url.authority()))]))
            }
            _ => failed,
        })
    }
}

fn send(agent: &Agent, request: Request<impl AsSendBody>) -> Result<ureq::http::Response<Body>, ureq::Error> {
    agent.run(request)
}

/// Whether the other side has closed the connection.
fn is_hang_up(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, InvalidData, UnexpectedEof};
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::InvalidMessage(_)) => true,
        Some(_) => false,
        None => matches!(error.kind(), BrokenPipe | ConnectionReset | InvalidData | UnexpectedEof),
    }
}
