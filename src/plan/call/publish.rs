//! Published ports: the sockets that listen on the host, and the relay process that serves them.

use std::fmt;
use std::net::{SocketAddr, TcpListener};

use nix::errno::Errno;
use serde::{Deserialize, Serialize};

use crate::error::errno;
use crate::plan::slots::Slots;

/// The calls of this family.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PublishCall {
    /// socket(2), bind(2) and listen(2). The result is the port. The kernel chooses a free one if 0 is asked for.
    Listen {
        /// The address and port on the host.
        at: SocketAddr,
        /// The port inside.
        inside: u16,
    },
    /// accept(2), connect(2), recv(2) and send(2) for as long as the container runs. `exec::relay` does it.
    Serve,
}

impl fmt::Display for PublishCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PublishCall::Listen { at, .. } => {
                let family = if at.is_ipv4() { "AF_INET" } else { "AF_INET6" };
                write!(f, "bind(<socket>, {{{family}, {at}}}); listen(<socket>, 128)")
            }
            PublishCall::Serve => f.write_str("poll([<socket>, ...])  [accept, connect inside, recv, send]"),
        }
    }
}

impl PublishCall {
    /// Makes the call.
    pub(super) fn perform(&self, slots: &mut Slots) -> Result<i64, Errno> {
        match self {
            PublishCall::Listen { at, inside } => {
                // Rust sets SO_REUSEADDR: a port that was in use a short time ago can be bound again.
                let listener = TcpListener::bind(at).map_err(errno)?;
                listener.set_nonblocking(true).map_err(errno)?;
                let at = listener.local_addr().map_err(errno)?;
                slots.published.push((at, *inside));
                slots.listeners.push((listener, *inside));
                Ok(i64::from(at.port()))
            }
            PublishCall::Serve => Ok(0),
        }
    }
}
