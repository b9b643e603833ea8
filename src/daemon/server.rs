//! Serves the connections: one task for each, in one thread. Work that blocks is done by other threads.

use std::io;
use std::net::{IpAddr, TcpListener as StdTcpListener};
use std::os::unix::net::UnixListener as StdUnixListener;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http_body_util::BodyExt;
use hyper::body::{Body as _, Incoming};
use hyper::header::{CONNECTION, HOST, HeaderMap, HeaderValue, ORIGIN};
use hyper::service::service_fn;
use hyper::{Request, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;

use super::answer::{Answer, ApiError};
use super::http_stream::{HttpStream, RequestTurn};
use super::request::{ApiRequest, ApiVersion, Permit, RequestQuery};
use super::routes::{self, FoundRoute};
use super::served::{ClientStream, ServedStream, StreamPlace};
use super::service::{DaemonAddress, OwnDaemon, check_addresses};
use super::trace::Trace;
use super::{Daemon, DaemonOptions, passed, private_file, tls};
use crate::container::client;
use crate::error::{Error, Result, io_text};
use crate::host::home::{self, HomePlace};
use crate::sys::signal::{self, SignalSet};
use crate::sys::{descriptors, heap};
use crate::text::{text, text_with};

/// How many threads do work that blocks for a short time. Longer work has threads of its own.
const THREADS: usize = 16;

/// How long a client may take to send the head of a request.
const HEAD: Duration = Duration::from_secs(120);

/// The maximum size of the head of a request, in bytes.
const MAX_HEAD: usize = 64 << 10;

/// The maximum number of open files of the daemon.
const MAX_DESCRIPTORS: u64 = 64 << 10;

/// How many descriptors are left for files and children when all connections are in use.
const SPARE: u64 = 200;

/// How many descriptors a connection takes at most: itself, that to a supervisor, and the streams of a command.
const FOR_ONE: u64 = 4;

/// How many clients are told at the same time that there are too many, and how long that may take.
const REFUSALS: usize = 32;
const REFUSAL: Duration = Duration::from_secs(1);

/// The interval at which supervisors that have ended are reaped.
const REAP: Duration = Duration::from_secs(2);

/// After this number of intervals, free memory is given back to the kernel.
const GIVE_BACK: u64 = 5;

/// A socket on which clients connect.
pub(super) enum Listening {
    Unix(StdUnixListener),
    Tcp(StdTcpListener),
}

/// Runs the daemon until SIGTERM or SIGINT. `ready` is called when clients can connect, with the addresses.
///
/// # Errors
/// Another daemon runs for this HOME; an address cannot be used.
pub fn run(options: &DaemonOptions, ready: impl FnOnce(&[DaemonAddress])) -> Result<()> {
    heap::share();
    let ends = SignalSet::of(&[libc::SIGTERM, libc::SIGINT, libc::SIGHUP]);
    let cannot = |call: &str, error: io::Error| Error::failed(text("daemon.cannot")).call(call, error);
    signal::block(ends).map_err(|errno| cannot("rt_sigprocmask(SIG_BLOCK)", errno.into()))?;
    // A thread waits for the signal, so no handler is needed, which could interrupt a call of another thread.
    let (ended, end) = tokio::sync::oneshot::channel();
    let waiting = std::thread::Builder::new().stack_size(64 << 10).spawn(move || {
        // The end of a child may interrupt the wait. That is no signal to end.
        while signal::wait_for(ends) == Err(nix::errno::Errno::EINTR) {}
        let _ = ended.send(());
    });
    waiting.map_err(|error| cannot("clone(CLONE_THREAD)", error))?;
    // HOME may be a path that begins in this directory.
    let place = HomePlace::find();
    let home = place.instead_of.map_or(place.path, |(asked, _)| asked);
    home::choose(&home);
    // A container's directory of the host need not be this one, and a mounted directory could not be unmounted.
    let _ = std::env::set_current_dir("/");
    let (mut addresses, mut listening): (Vec<_>, Vec<_>) = passed::sockets()?.into_iter().unzip();
    let own_addresses = match &options.hosts[..] {
        [] if addresses.is_empty() => vec![DaemonAddress::default_socket()?],
        hosts => hosts.to_vec(),
    };
    let is_activated = !addresses.is_empty();
    check_addresses(addresses.iter().chain(&own_addresses), options.tls.as_ref())?;
    let acceptor = options.tls.as_ref().map(tls::acceptor).transpose()?;
    let own = OwnDaemon::claim()?;
    for address in own_addresses {
        let (address, listener) = match address {
            DaemonAddress::Unix(path) => {
                let listener = own.bind(&path)?;
                (DaemonAddress::Unix(path), Listening::Unix(listener))
            }
            DaemonAddress::Tcp(at) => {
                let bound = StdTcpListener::bind(at);
                // For port 0, the kernel has chosen one.
                let bound = bound.and_then(|listener| Ok((listener.local_addr()?, listener)));
                let call = format!("bind(<socket>, {at})");
                let (at, listener) =
                    bound.map_err(|error| Error::failed(text("daemon.listen")).call(call, error))?;
                (DaemonAddress::Tcp(at), Listening::Tcp(listener))
            }
        };
        addresses.push(address);
        listening.push(listener);
    }
    own.note(&addresses, options.tls.clone(), is_activated)?;
    private_file::remove_left();
    let daemon = Arc::new(Daemon { home, trace: Trace::new(options.trace) });
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(THREADS)
        .thread_stack_size(2 << 20)
        .build()
        .map_err(|error| cannot("epoll_create1(EPOLL_CLOEXEC)", error))?;
    let served = runtime.block_on(async {
        let connections = Connections::of(connections());
        for one in listening {
            match one {
                Listening::Unix(listener) => {
                    listener.set_nonblocking(true)?;
                    tokio::spawn(accept_unix(
                        daemon.clone(),
                        UnixListener::from_std(listener)?,
                        connections.clone(),
                    ));
                }
                Listening::Tcp(listener) => {
                    listener.set_nonblocking(true)?;
                    tokio::spawn(accept_tcp(
                        daemon.clone(),
                        TcpListener::from_std(listener)?,
                        connections.clone(),
                        acceptor.clone(),
                    ));
                }
            }
        }
        tokio::spawn(async {
            for round in 1_u64.. {
                tokio::time::sleep(REAP).await;
                client::reap();
                if round.is_multiple_of(GIVE_BACK) {
                    heap::give_back();
                }
            }
        });
        ready(&addresses);
        let _ = end.await;
        Ok::<(), io::Error>(())
    });
    // A thread that waits for a command that hangs is not waited for.
    runtime.shutdown_background();
    own.release();
    served.map_err(|error| Error::failed(text("daemon.cannot")).why(io_text(&error)))
}

/// How many connections there are at most: as many as the limit of descriptors allows.
fn connections() -> usize {
    let limit = descriptors::raise(MAX_DESCRIPTORS);
    usize::try_from(limit.saturating_sub(SPARE) / FOR_ONE).unwrap_or(usize::MAX).max(16)
}

/// The connections that are served. One that a client has taken over counts until its end.
#[derive(Clone)]
struct Connections {
    free: Arc<Semaphore>,
    refusals: Arc<Semaphore>,
}

impl Connections {
    fn of(most: usize) -> Connections {
        Connections { free: Arc::new(Semaphore::new(most)), refusals: Arc::new(Semaphore::new(REFUSALS)) }
    }

    /// Serves a connection, or answers that there are too many.
    fn take(&self, daemon: &Arc<Daemon>, stream: ClientStream) {
        if let Ok(permit) = self.free.clone().try_acquire_owned() {
            let came = match &stream {
                ClientStream::Unix(_) => CameOver::Socket,
                ClientStream::Tcp(_) => CameOver::Tcp,
            };
            let daemon = daemon.clone();
            tokio::spawn(async move {
                // A connection on which nothing comes takes no buffers.
                if !matches!(tokio::time::timeout(HEAD, stream.readable()).await, Ok(Ok(()))) {
                    return;
                }
                let stream = ServedStream::of(stream);
                let origin = Origin { came, stream: Some(stream.place()), permit: Arc::new(permit) };
                Box::pin(serve(daemon, stream, origin)).await;
            });
        } else if let Ok(permit) = self.refusals.clone().try_acquire_owned() {
            tokio::spawn(async move {
                let _ = tokio::time::timeout(REFUSAL, refuse(stream)).await;
                drop(permit);
            });
        }
    }
}

/// How long a client may take until it has shown its certificate.
const HANDSHAKE: Duration = Duration::from_secs(20);

impl Connections {
    /// Serves a connection over TLS.
    fn take_encrypted(&self, daemon: &Arc<Daemon>, accepting: tokio_rustls::Accept<tokio::net::TcpStream>) {
        let Ok(permit) = self.free.clone().try_acquire_owned() else { return };
        let daemon = daemon.clone();
        tokio::spawn(async move {
            if let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE, accepting).await {
                let origin = Origin { came: CameOver::Tls, stream: None, permit: Arc::new(permit) };
                serve(daemon, stream, origin).await;
            }
        });
    }
}

/// Answers 503. The request is read first: the kernel would report an error to a client that has sent something unread.
async fn refuse<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S) {
    let mut request = vec![0; MAX_HEAD];
    let _ = stream.read(&mut request).await;
    let body = serde_json::json!({ "message": text("daemon.busy") }).to_string();
    let head = "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nConnection: close\r\n";
    let answer = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
    let _ = stream.write_all(answer.as_bytes()).await;
    let _ = stream.shutdown().await;
}

async fn accept_unix(daemon: Arc<Daemon>, listener: UnixListener, connections: Connections) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => connections.take(&daemon, ClientStream::Unix(stream)),
            // The process has no descriptor left. There will be one again.
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

async fn accept_tcp(
    daemon: Arc<Daemon>,
    listener: TcpListener,
    connections: Connections,
    acceptor: Option<TlsAcceptor>,
) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let _ = stream.set_nodelay(true);
                match &acceptor {
                    None => connections.take(&daemon, ClientStream::Tcp(stream)),
                    Some(acceptor) => connections.take_encrypted(&daemon, acceptor.accept(stream)),
                }
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

/// What a connection came over.
#[derive(Clone, Copy)]
enum CameOver {
    /// A socket of the file system, which no browser can reach.
    Socket,
    /// TCP without TLS, so at a loopback address.
    Tcp,
    /// TLS over TCP. The user may have given the certificate to a browser too.
    Tls,
}

/// Where the requests of a connection come from.
#[derive(Clone)]
struct Origin {
    /// Whether a web page may have sent them.
    came: CameOver,
    /// The connection itself. None: it is over TLS.
    stream: Option<StreamPlace>,
    permit: Permit,
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    daemon: Arc<Daemon>,
    stream: S,
    origin: Origin,
) {
    let is_plain = origin.stream.is_some();
    let turn = Arc::new(RequestTurn::default());
    let stream = HttpStream::of(stream, daemon.clone(), turn.clone());
    let service = service_fn(move |request| {
        let (daemon, origin) = (daemon.clone(), origin.clone());
        let mut answered = turn.begin();
        // hyper keeps the room for it as long as the connection. In a box, it takes memory only until there is an answer.
        Box::pin(async move {
            let answer = answer(daemon, request, origin).await;
            let is_last = answer.headers().get(CONNECTION).is_some_and(|value| value == "close");
            if is_last || answer.status() == StatusCode::SWITCHING_PROTOCOLS {
                answered.mark_last();
            }
            Ok::<Answer, std::convert::Infallible>(answer.map(|body| {
                // The closure owns `answered`, so that is dropped with the body.
                let noted = move |error| {
                    let _ = &answered;
                    error
                };
                body.map_err(noted).boxed_unsync()
            }))
        })
    });
    let mut http = hyper::server::conn::http1::Builder::new();
    // A client may send its request, and close its writing side before it reads the answer. Of TLS, the end is that of both.
    http.half_close(is_plain);
    http.timer(TokioTimer::new()).header_read_timeout(HEAD).max_buf_size(MAX_HEAD);
    // A client that breaks the connection is no error of the daemon.
    let _ = http.serve_connection(TokioIo::new(stream), service).with_upgrades().await;
}

/// Answers a request.
async fn answer(daemon: Arc<Daemon>, mut request: Request<Incoming>, origin: Origin) -> Answer {
    let began = Instant::now();
    let number = daemon.trace.number();
    let upgrade = wants_upgrade(request.headers()).then(|| hyper::upgrade::on(&mut request));
    let (head, body) = request.into_parts();
    let written = head.uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
    let refused = foreign(&head.headers, origin.came);
    let found = match refused {
        Some(refused) => Err(refused),
        None => ApiVersion::of_path(head.uri.path())
            .and_then(|(version, path)| routes::find(&head.method, path).map(|found| (version, found))),
    };
    let query = RequestQuery::parse(head.uri.query().unwrap_or_default());
    let means = found.as_ref().ok().map(|(_, found)| found.route.means(&query));
    daemon.trace.request(number, head.method.as_str(), &written, means);
    let mut is_last = false;
    let answered = match found {
        Ok((version, FoundRoute { route, names })) => {
            // Its handler may answer while the body still comes. What follows the answer is not the first line of a request then.
            is_last = route.streams_body() && !body.is_end_stream();
            if let Some(line) = route.command_line(&names, &query) {
                daemon.trace.command(number, &line);
            }
            let (whole, body) = match route.streams_body() {
                true => (Ok(hyper::body::Bytes::new()), Some(body)),
                false => (ApiRequest::whole(body).await, None),
            };
            let headers = head.headers;
            let Origin { stream, permit, .. } = origin;
            let request =
                ApiRequest { number, version, names, query, headers, whole, body, upgrade, stream, permit };
            (route.handler)(daemon.clone(), request).await
        }
        Err(error) => {
            ApiRequest::drain(body).await;
            Err(error)
        }
    };
    let mut answer = answered.unwrap_or_else(|error| {
        daemon.trace.refusal(number, &error.message);
        error.answer()
    });
    if is_last {
        answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    daemon.trace.answer(number, answer.status(), began.elapsed());
    with_common(answer)
}

/// The headers of each answer.
pub(super) const COMMON: [(&str, &str); 4] = [
    ("server", concat!("sandbox/", env!("CARGO_PKG_VERSION"), " (linux)")),
    ("api-version", "1.44"),
    ("ostype", "linux"),
    ("docker-experimental", "false"),
];

/// Adds the headers of each answer. Clients read the version from that of _ping.
fn with_common(mut answer: Answer) -> Answer {
    for (name, value) in COMMON {
        answer.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    answer
}

/// Whether the client asks to take the connection over.
fn wants_upgrade(headers: &HeaderMap) -> bool {
    let has = |name: &str, word: &str| {
        headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .is_some_and(|value| value.split(',').any(|part| part.trim().eq_ignore_ascii_case(word)))
    };
    has("connection", "upgrade") && has("upgrade", "tcp")
}

/// Why a request over TCP is refused that a web page may have sent: a browser sends requests to 127.0.0.1 for any page, and
/// names the page in these headers.
fn foreign(headers: &HeaderMap, came: CameOver) -> Option<ApiError> {
    let refuse = |name: &str| {
        Some(ApiError::new(StatusCode::FORBIDDEN, text_with("daemon.foreign", &[("header", name)])))
    };
    if matches!(came, CameOver::Socket) {
        return None;
    }
    let site = headers.get("sec-fetch-site").map(HeaderValue::as_bytes);
    if site.is_some_and(|site| site != b"none" && site != b"same-origin") {
        return refuse("Sec-Fetch-Site");
    }
    if headers.contains_key(ORIGIN) {
        return refuse("Origin");
    }
    // A web page can give its own host name the address of this machine. Then its requests are from the same origin, and only Host has
    // that name. Over TLS, the certificate of the daemon does not have it.
    if matches!(came, CameOver::Tls) {
        return None;
    }
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    // `docker` sends this name where the address is one of a socket. No name server has it.
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let address = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().ok();
    let is_loopback = address.is_some_and(|address| address.is_loopback());
    let is_name = ["localhost", "api.moby.localhost"].iter().any(|own| name.eq_ignore_ascii_case(own));
    if is_loopback || is_name { None } else { refuse("Host") }
}
