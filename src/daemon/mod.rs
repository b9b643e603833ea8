//! The daemon: Docker's HTTP API, so that Docker's own client can be used.
//!
//!     docker ──HTTP──> RUN/docker.sock ──> sandbox daemon ──reads──> HOME
//!                                               └──execve──> sandbox create, sandbox pull, ...
//!
//! It holds no state of a container or an image. It reads HOME by the same modules as the command line, and executes
//! `sandbox` for what makes or changes something. So a container that was made on the command line is seen by a client of
//! the daemon, and the other way round, and the end of the daemon ends no container.
//!
//! [`request`] takes a request apart, [`routes`] has the table of all of them, and [`answer`] what is sent back. [`server`]
//! serves the connections; it is the only place, together with [`connection`], [`served`], [`http_stream`] and [`channel`], that knows
//! of tokio's sockets.

mod answer;
mod archive;
mod attach;
mod build;
pub mod carrier;
mod channel;
mod command;
mod conflicts;
mod connection;
mod containers;
mod create;
mod events;
mod exec;
mod frames;
mod http_stream;
mod images;
mod inspect;
mod keys;
mod limit_settings;
mod logs;
mod mount_settings;
mod networks;
mod passed;
mod private_file;
mod pull;
pub mod query;
mod request;
mod routes;
mod served;
mod server;
pub mod service;
mod settings;
mod stats;
mod system;
pub mod tls;
mod trace;
mod volumes;
mod wait;

use std::path::PathBuf;

pub use self::server::run;
use self::trace::Trace;

/// What all requests share.
pub(crate) struct Daemon {
    /// HOME.
    home: PathBuf,
    trace: Trace,
}

/// How the daemon is run.
#[derive(Debug, Clone, Default)]
pub struct DaemonOptions {
    /// Where it listens: `unix:///PATH` or `tcp://ADDRESS:PORT`. Empty: RUN/docker.sock.
    pub hosts: Vec<service::DaemonAddress>,
    /// The certificates for TCP. None: there is no TLS, and only this machine can connect.
    pub tls: Option<tls::TlsFiles>,
    /// Whether each request is printed.
    pub trace: bool,
}
