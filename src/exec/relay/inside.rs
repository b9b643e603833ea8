//! Connects to a server in the container. The relay has joined its network namespace, so new sockets are there.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;

use nix::errno::Errno;
use nix::sys::socket::{setsockopt, sockopt::IpBindAddressNoPort};
use procfs::FromBufReadSI;
use procfs::net::{TcpNetEntries, TcpState, UdpNetEntries};
use rustix::net::{self, AddressFamily, SocketFlags, SocketType, sockopt};

use crate::error::errno;
use crate::observe::file;
use crate::plan::call::publish::{BUFFER, Protocol, PublishedPort};

/// The addresses at which a server may listen for this port, in the order in which they are tried. `own` are the
/// container's own addresses. The loopback addresses follow for a port that only this machine can reach.
pub(super) fn addresses(port: &PublishedPort, own: &[IpAddr], loopback: bool) -> Vec<SocketAddr> {
    let loopbacks = [IpAddr::from(Ipv4Addr::LOCALHOST), Ipv6Addr::LOCALHOST.into()];
    let last = loopbacks.into_iter().filter(|_| loopback && port.at.ip().is_loopback());
    own.iter().copied().chain(last).map(|address| SocketAddr::new(address, port.inside)).collect()
}

/// A socket that begins to connect to `to`. It does not block. Also returns whether a TCP connection is not established
/// yet.
///
/// # Errors
/// ECONNREFUSED: no server listens there. EADDRNOTAVAIL: the container does not have this address (any more).
pub(super) fn connect(protocol: Protocol, to: SocketAddr) -> Result<(OwnedFd, bool), Errno> {
    let family = if to.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let kind = if protocol == Protocol::Tcp { SocketType::STREAM } else { SocketType::DGRAM };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = net::socket_with(family, kind, flags, None).map_err(errno)?;
    if protocol == Protocol::Tcp {
        sockopt::set_socket_recv_buffer_size(&socket, BUFFER).map_err(errno)?;
        sockopt::set_socket_send_buffer_size(&socket, BUFFER).map_err(errno)?;
        // The port is chosen by connect(2), which knows the other address. bind(2) would need a port that nobody uses.
        setsockopt(&socket, IpBindAddressNoPort, &true)?;
    }
    // The server sees its own address as the peer, and never a loopback address where `to` is none.
    net::bind(&socket, &SocketAddr::new(to.ip(), 0)).map_err(errno)?;
    match net::connect(&socket, &to) {
        Ok(()) => Ok((socket, false)),
        Err(rustix::io::Errno::INPROGRESS) => Ok((socket, true)),
        Err(error) => Err(errno(error)),
    }
}

/// Whether an error means that no server was reached, and not that this machine lacks descriptors or memory.
pub(super) fn is_refusal(errno: Errno) -> bool {
    !matches!(errno, Errno::EMFILE | Errno::ENFILE | Errno::ENOBUFS | Errno::ENOMEM)
}

/// The loopback address inside on which a server listens on this port. The process's own /proc/PID/net shows the network
/// namespace that it has joined.
pub(super) fn loopback_of_server(protocol: Protocol, port: u16) -> Option<IpAddr> {
    ["", "6"].iter().find_map(|family| {
        let table = file::read_text(format!("/proc/self/net/{protocol}{family}")).ok()?;
        let system = procfs::current_system_info();
        let listening: Vec<SocketAddr> = match protocol {
            Protocol::Tcp => {
                let all = TcpNetEntries::from_buf_read(table.as_bytes(), system).ok()?.0.into_iter();
                all.filter(|one| one.state == TcpState::Listen).map(|one| one.local_address).collect()
            }
            Protocol::Udp => {
                let all = UdpNetEntries::from_buf_read(table.as_bytes(), system).ok()?.0.into_iter();
                all.map(|one| one.local_address).collect()
            }
        };
        let on_port = listening.into_iter().filter(|at| at.port() == port);
        on_port.map(|at| at.ip().to_canonical()).find(IpAddr::is_loopback)
    })
}
