//! Published ports: the sockets that listen on the host, and the relay process that serves them.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;

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

impl Protocol {
    /// Its name.
    pub fn word(self) -> &'static str {
        match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
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
                let kind = if *protocol == Protocol::Tcp { "SOCK_STREAM" } else { "SOCK_DGRAM" };
                write!(f, "socket({family}, {kind}|SOCK_CLOEXEC|SOCK_NONBLOCK, 0); ")?;
                for option in SocketOption::all(*protocol, *at) {
                    write!(f, "setsockopt(<{protocol} socket>, {option}); ")?;
                }
                write!(f, "bind(<{protocol} socket>, {{{family}, {at}}})")?;
                if *protocol == Protocol::Tcp {
                    write!(f, "; listen(<{protocol} socket>, {BACKLOG})")?;
                }
                match last {
                    Some(last) => write!(f, "  [or the first free port up to {last}]"),
                    None => Ok(()),
                }
            }
            PublishCall::Serve { to, loopback } => {
                let to: Vec<String> = to.iter().map(|to| inside_text(*to)).collect();
                write!(f, "poll([<socket>, ...])  [accept, connect inside to {}", to.join(", "))?;
                if *loopback {
                    f.write_str(", for a port of a loopback address also to 127.0.0.1 and ::1")?;
                }
                f.write_str("; recv, send]")
            }
        }
    }
}

/// An address inside, which may be known only when the plan runs.
fn inside_text(to: Option<IpAddr>) -> String {
    to.map_or_else(|| "<address>".to_owned(), |address| address.to_string())
}

/// A published port, as it was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
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
    SocketOption::all(protocol, at).into_iter().try_for_each(|option| option.set(&socket))?;
    net::bind(&socket, &at).map_err(errno)?;
    if protocol == Protocol::Tcp {
        net::listen(&socket, BACKLOG).map_err(errno)?;
    }
    Ok(socket)
}

/// An option that a socket gets before bind(2) and listen(2). setsockopt(2)
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SocketOption {
    /// `[::]` is for IPv6 alone, so that it can be published beside 0.0.0.0.
    V6Only,
    /// A port whose last connections ended a short time ago can be bound again. For UDP, this option would let two
    /// programs share a port.
    ReuseAddress,
    /// The size of the receive buffer. Accepted sockets inherit it.
    ReceiveBuffer,
    /// The size of the send buffer, in the same way.
    SendBuffer,
    /// The relay must know to which address a client has sent, because the answer must come from there.
    PacketInfo,
    /// The same for IPv6.
    PacketInfoV6,
}

impl SocketOption {
    /// Those of a socket, in the order in which they are set.
    fn all(protocol: Protocol, at: SocketAddr) -> Vec<SocketOption> {
        let v6_only = at.is_ipv6().then_some(SocketOption::V6Only);
        let others: &[SocketOption] = match (protocol, at) {
            (Protocol::Tcp, _) => {
                &[SocketOption::ReuseAddress, SocketOption::ReceiveBuffer, SocketOption::SendBuffer]
            }
            (Protocol::Udp, SocketAddr::V4(_)) => &[SocketOption::PacketInfo],
            (Protocol::Udp, SocketAddr::V6(_)) => &[SocketOption::PacketInfoV6],
        };
        v6_only.into_iter().chain(others.iter().copied()).collect()
    }

    fn set(self, socket: &OwnedFd) -> Result<(), Errno> {
        use nix::sys::socket::{setsockopt, sockopt as of_nix};
        match self {
            SocketOption::V6Only => sockopt::set_ipv6_v6only(socket, true).map_err(errno),
            SocketOption::ReuseAddress => sockopt::set_socket_reuseaddr(socket, true).map_err(errno),
            SocketOption::ReceiveBuffer => {
                sockopt::set_socket_recv_buffer_size(socket, BUFFER).map_err(errno)
            }
            SocketOption::SendBuffer => sockopt::set_socket_send_buffer_size(socket, BUFFER).map_err(errno),
            SocketOption::PacketInfo => setsockopt(socket, of_nix::Ipv4PacketInfo, &true),
            SocketOption::PacketInfoV6 => setsockopt(socket, of_nix::Ipv6RecvPacketInfo, &true),
        }
    }
}

/// As strace(1) prints the arguments of setsockopt(2), after the descriptor.
impl fmt::Display for SocketOption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, value) = match self {
            SocketOption::V6Only => ("SOL_IPV6, IPV6_V6ONLY", 1),
            SocketOption::ReuseAddress => ("SOL_SOCKET, SO_REUSEADDR", 1),
            SocketOption::ReceiveBuffer => ("SOL_SOCKET, SO_RCVBUF", BUFFER),
            SocketOption::SendBuffer => ("SOL_SOCKET, SO_SNDBUF", BUFFER),
            SocketOption::PacketInfo => ("SOL_IP, IP_PKTINFO", 1),
            SocketOption::PacketInfoV6 => ("SOL_IPV6, IPV6_RECVPKTINFO", 1),
        };
        write!(f, "{name}, [{value}], 4")
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
