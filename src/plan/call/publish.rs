//! Published ports: the sockets that listen on the host, and the relay process that serves them.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use rustix::net::{self, AddressFamily, SocketFlags, SocketType, sockopt};
use serde::{Deserialize, Serialize};

use crate::error::errno;
use crate::plan::slots::Slots;

/// The size of the send and receive buffers that is asked for each socket of a published TCP port: SO_SNDBUF and
/// SO_RCVBUF. The kernel reserves twice as much. Without it, the kernel lets each buffer grow to several MiB, and peers
/// that do not read could fill the memory of the host. tcp(7)
pub const BUFFER: usize = 128 << 10;

/// The maximum number of clients that wait to be accepted on one published port.
const BACKLOG: i32 = 128;

/// The transport protocol of a published port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// Connections.
    Tcp,
    /// Datagrams.
    Udp,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        })
    }
}

/// The calls of this family.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PublishCall {
    /// socket(2), bind(2), and for TCP listen(2). The result is the port. The kernel chooses a free one if 0 is asked
    /// for.
    Listen {
        /// The protocol.
        protocol: Protocol,
        /// The address and port on the host.
        at: SocketAddr,
        /// The last port to try, if that port and those after it are in use. None: only that port.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        last: Option<u16>,
        /// The port inside.
        inside: u16,
    },
    /// accept(2), connect(2), recv(2) and send(2) for as long as the container runs. `exec::relay` does it.
    Serve {
        /// The addresses inside that are tried, in this order. None: `<address>`.
        to: Vec<Option<IpAddr>>,
        /// Whether 127.0.0.1 and ::1 inside are tried after them, for ports that are published on the loopback
        /// addresses of the host.
        loopback: bool,
    },
}

impl fmt::Display for PublishCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PublishCall::Listen { protocol, at, last, .. } => {
                let family = if at.is_ipv4() { "AF_INET" } else { "AF_INET6" };
                write!(f, "bind(<{protocol} socket>, {{{family}, {at}}})")?;
                if *protocol == Protocol::Tcp {
                    write!(f, "; listen(<{protocol} socket>, {BACKLOG})")?;
                }
                match last {
                    Some(last) => write!(f, "  [or the first free port up to {last}]"),
                    None => Ok(()),
                }
            }
            PublishCall::Serve { to, .. } => {
                let to: Vec<String> = to.iter().map(|to| inside_text(*to)).collect();
                write!(f, "poll([<socket>, ...])  [accept, connect inside to {}, recv, send]", to.join(", "))
            }
        }
    }
}

/// An address inside, which may be known only when the plan runs.
fn inside_text(to: Option<IpAddr>) -> String {
    to.map_or_else(|| "<address>".to_owned(), |address| address.to_string())
}

/// A published port, as it was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublishedPort {
    /// The protocol.
    pub protocol: Protocol,
    /// The address and port on the host.
    pub at: SocketAddr,
    /// The port inside.
    pub inside: u16,
    /// Whether the port on the host was chosen when the plan ran.
    pub is_chosen: bool,
}

/// The socket of a published port.
#[derive(Debug)]
pub struct PublishedSocket {
    /// What it belongs to.
    pub port: PublishedPort,
    /// The socket. It is in the network namespace of the host, and it does not block.
    pub socket: OwnedFd,
}

impl PublishCall {
    /// Makes the call.
    pub(super) fn perform(&self, slots: &mut Slots) -> Result<i64, Errno> {
        match self {
            PublishCall::Listen { protocol, at: asked, last, inside } => {
                let (socket, at) = first_free(*protocol, *asked, last.unwrap_or(asked.port()))?;
                let is_chosen = last.is_some() || asked.port() == 0;
                let port = PublishedPort { protocol: *protocol, at, inside: *inside, is_chosen };
                slots.ports.push(port);
                slots.published.push(PublishedSocket { port, socket });
                Ok(i64::from(at.port()))
            }
            PublishCall::Serve { .. } => Ok(0),
        }
    }
}

/// A socket on the first port from that of `at` to `last` that is not in use, and its address.
fn first_free(protocol: Protocol, at: SocketAddr, last: u16) -> Result<(OwnedFd, SocketAddr), Errno> {
    let mut result = Err(Errno::EADDRINUSE);
    for port in at.port()..=last {
        result = open(protocol, SocketAddr::new(at.ip(), port));
        if !matches!(result, Err(Errno::EADDRINUSE)) {
            break;
        }
    }
    let socket = result?;
    let bound = net::getsockname(&socket).map_err(errno)?;
    Ok((socket, SocketAddr::try_from(bound).map_err(errno)?))
}

fn open(protocol: Protocol, at: SocketAddr) -> Result<OwnedFd, Errno> {
    let family = if at.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let kind = if protocol == Protocol::Tcp { SocketType::STREAM } else { SocketType::DGRAM };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = net::socket_with(family, kind, flags, None).map_err(errno)?;
    prepare(&socket, protocol, at)?;
    net::bind(&socket, &at).map_err(errno)?;
    if protocol == Protocol::Tcp {
        net::listen(&socket, BACKLOG).map_err(errno)?;
    }
    Ok(socket)
}

/// Sets the options of a socket that must be set before bind(2) and listen(2).
fn prepare(socket: &OwnedFd, protocol: Protocol, at: SocketAddr) -> Result<(), Errno> {
    if at.is_ipv6() {
        // `[::]` is for IPv6 alone, so that it can be published beside 0.0.0.0.
        sockopt::set_ipv6_v6only(socket, true).map_err(errno)?;
    }
    match (protocol, at) {
        (Protocol::Tcp, _) => {
            // A port whose last connections ended a short time ago can be bound again. For UDP, this option would let
            // two programs share a port.
            sockopt::set_socket_reuseaddr(socket, true).map_err(errno)?;
            // Accepted sockets inherit the sizes.
            sockopt::set_socket_recv_buffer_size(socket, BUFFER).map_err(errno)?;
            sockopt::set_socket_send_buffer_size(socket, BUFFER).map_err(errno)
        }
        // The relay must know to which address a client has sent, because the answer must come from there.
        (Protocol::Udp, SocketAddr::V4(_)) => {
            nix::sys::socket::setsockopt(&socket.as_fd(), nix::sys::socket::sockopt::Ipv4PacketInfo, &true)
        }
        (Protocol::Udp, SocketAddr::V6(_)) => nix::sys::socket::setsockopt(
            &socket.as_fd(),
            nix::sys::socket::sockopt::Ipv6RecvPacketInfo,
            &true,
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn any(protocol: Protocol) -> (OwnedFd, SocketAddr) {
        first_free(protocol, "127.0.0.1:0".parse().unwrap(), 0).unwrap()
    }

    #[test]
    fn the_first_port_of_a_range_that_is_free_is_taken() {
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            let (_taken, at) = any(protocol);
            assert_eq!(first_free(protocol, at, at.port()).unwrap_err(), Errno::EADDRINUSE);
            let Ok((_next, next)) = first_free(protocol, at, at.port().saturating_add(50)) else { continue };
            assert!(next.port() > at.port(), "{next}");
        }
    }

    #[test]
    fn tcp_and_udp_have_ports_of_their_own() {
        let (_tcp, at) = any(Protocol::Tcp);
        // Another program may have the UDP port.
        assert!(
            !matches!(first_free(Protocol::Udp, at, at.port()), Err(errno) if errno != Errno::EADDRINUSE)
        );
    }
}
