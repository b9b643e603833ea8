//! The clients of a published UDP port.
//!
//! UDP has no connections. A client is the address and port from which a datagram comes, together with the address of
//! this machine to which it was sent. Each client has a socket of its own inside, so the server sees a different port for
//! each, and an answer is known to be for that client. The answer is sent from the address to which the client has sent:
//! most clients accept it from no other. udp(7), ip(7), IP_PKTINFO

use std::io::{IoSlice, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrStorage, getsockopt, recvmsg, sendmsg,
    sockopt::SocketError,
};

use super::{Reports, inside};
use crate::error::errno;
use crate::plan::call::publish::{Protocol, PublishedPort, PublishedSocket};

/// The maximum number of clients of one port. The one that was silent for the longest time makes room.
const MAX_CLIENTS: usize = 512;

/// How long a silent client is remembered.
const SILENT_TIME: Duration = Duration::from_secs(90);

/// The maximum number of datagrams from one socket before the others are served.
const DATAGRAMS_PER_TURN: usize = 64;

/// A published UDP port.
pub(super) struct UdpPort {
    socket: UdpSocket,
    port: PublishedPort,
    /// The addresses inside that are tried, in this order.
    to: Vec<SocketAddr>,
    clients: Vec<Client>,
    limit: usize,
}

struct Client {
    /// Its address, and the address of this machine to which it has sent.
    key: (SocketAddr, LocalAddress),
    /// The socket inside, which is connected to the address with this index.
    inside: UdpSocket,
    trying: usize,
    /// When the last datagram was passed on.
    moved: Instant,
    is_over: bool,
}

/// An address of this machine, as IP_PKTINFO and IPV6_PKTINFO describe it.
#[derive(Clone, Copy, PartialEq, Eq)]
struct LocalAddress {
    address: IpAddr,
    /// The device, for a link-local address. Otherwise 0.
    device: u32,
}

impl UdpPort {
    pub(super) fn new(published: PublishedSocket, to: Vec<SocketAddr>, limit: usize) -> UdpPort {
        let (socket, port) = (published.socket.into(), published.port);
        UdpPort { socket, port, to, clients: Vec::new(), limit: limit.clamp(1, MAX_CLIENTS) }
    }

    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// The sockets of the clients, in order.
    pub(super) fn sockets(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.clients.iter().map(|client| client.inside.as_fd())
    }

    /// When the next client is forgotten.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.clients.iter().map(|client| client.moved + SILENT_TIME).min()
    }

    /// Forgets the clients that were silent for too long.
    pub(super) fn sweep(&mut self, now: Instant) {
        self.clients.retain(|client| !client.is_over && client.moved + SILENT_TIME > now);
    }

    /// Passes the datagrams of clients on to the server.
    pub(super) fn receive(&mut self, now: Instant, scratch: &mut [u8], reports: &mut Reports) {
        for _ in 0..DATAGRAMS_PER_TURN {
            let Some((key, length)) = receive_from(&self.socket, scratch) else { return };
            if let Err(errno) = self.pass(key, &scratch[..length], now)
                && inside::is_refusal(errno)
            {
                reports.add(&self.port);
            }
        }
    }

    /// Sends a datagram to the first address inside that does not refuse it.
    ///
    /// # Errors
    /// ECONNREFUSED: all addresses refuse it. EMFILE and others: there is no socket for this client.
    fn pass(&mut self, key: (SocketAddr, LocalAddress), datagram: &[u8], now: Instant) -> Result<(), Errno> {
        let known = self.clients.iter().position(|client| client.key == key && !client.is_over);
        let index = match known {
            Some(index) => index,
            None => self.add(key, now)?,
        };
        let client = &mut self.clients[index];
        client.moved = now;
        loop {
            match client.send(datagram) {
                // If the socket's buffer is full, the datagram is lost, as UDP allows.
                Ok(()) | Err(Errno::EAGAIN) => return Ok(()),
                Err(refused) => {
                    let next = connect_first(&self.to, client.trying + 1);
                    let Ok((inside, trying)) = next else {
                        client.is_over = true;
                        return Err(refused);
                    };
                    (client.inside, client.trying) = (inside, trying);
                }
            }
        }
    }

    /// Adds a client. Returns its index.
    fn add(&mut self, key: (SocketAddr, LocalAddress), now: Instant) -> Result<usize, Errno> {
        let (inside, trying) = connect_first(&self.to, 0)?;
        let client = Client { key, inside, trying, moved: now, is_over: false };
        // A new client takes the place of an old one, so the others keep their index for this turn.
        let oldest = (0..self.clients.len()).min_by_key(|index| self.clients[*index].moved);
        match oldest.filter(|_| self.clients.len() >= self.limit) {
            Some(index) => {
                self.clients[index] = client;
                Ok(index)
            }
            None => {
                self.clients.push(client);
                Ok(self.clients.len() - 1)
            }
        }
    }

    /// Passes the answers of the server on to a client.
    pub(super) fn answer(&mut self, index: usize, now: Instant, scratch: &mut [u8], reports: &mut Reports) {
        let Some(client) = self.clients.get_mut(index) else { return };
        for _ in 0..DATAGRAMS_PER_TURN {
            match client.inside.recv(scratch).map_err(errno) {
                Ok(length) => {
                    client.moved = now;
                    send_to(&self.socket, client.key, &scratch[..length]);
                }
                Err(Errno::EAGAIN | Errno::EINTR) => return,
                // The server does not listen at this address. The client's next datagram goes to the next one.
                Err(_) => match connect_first(&self.to, client.trying + 1) {
                    Ok((inside, trying)) => {
                        (client.inside, client.trying) = (inside, trying);
                        return;
                    }
                    Err(_) => {
                        client.is_over = true;
                        return reports.add(&self.port);
                    }
                },
            }
        }
    }
}

impl Client {
    /// Sends a datagram. Within one machine, the answer "no such port" (ICMP) arrives before send(2) returns, and is then
    /// an error of the socket.
    fn send(&self, datagram: &[u8]) -> Result<(), Errno> {
        self.inside.send(datagram).map_err(errno)?;
        match getsockopt(&self.inside, SocketError)? {
            0 => Ok(()),
            error => Err(Errno::from_raw(error)),
        }
    }
}

/// A socket that is connected to the first address from `next` on that the container has, and the address's index.
fn connect_first(to: &[SocketAddr], next: usize) -> Result<(UdpSocket, usize), Errno> {
    let mut failed = Errno::ECONNREFUSED;
    for (index, address) in to.iter().enumerate().skip(next) {
        match inside::connect(Protocol::Udp, *address) {
            Ok((socket, _)) => return Ok((socket.into(), index)),
            Err(errno) => failed = errno,
        }
    }
    Err(failed)
}

/// A datagram, its client and its length. None if there is no more, or if it did not fit into `buffer`: UDP has none
/// that does not.
fn receive_from(socket: &UdpSocket, buffer: &mut [u8]) -> Option<((SocketAddr, LocalAddress), usize)> {
    let mut control = nix::cmsg_space!(libc::in6_pktinfo);
    let mut into = [IoSliceMut::new(buffer)];
    let flags = MsgFlags::MSG_DONTWAIT;
    let got = recvmsg::<SockaddrStorage>(socket.as_raw_fd(), &mut into, Some(&mut control), flags).ok()?;
    let address = got.address?;
    let client = match (address.as_sockaddr_in(), address.as_sockaddr_in6()) {
        (Some(v4), _) => SocketAddr::from((v4.ip(), v4.port())),
        (_, Some(v6)) => std::net::SocketAddrV6::new(v6.ip(), v6.port(), 0, v6.scope_id()).into(),
        _ => return None,
    };
    let local = got.cmsgs().ok()?.find_map(|message| match message {
        // The kernel names the address from which an answer goes, also for a datagram to a broadcast address.
        ControlMessageOwned::Ipv4PacketInfo(info) => {
            let address = Ipv4Addr::from(u32::from_be(info.ipi_spec_dst.s_addr));
            Some(LocalAddress { address: address.into(), device: 0 })
        }
        ControlMessageOwned::Ipv6PacketInfo(info) => {
            let address = std::net::Ipv6Addr::from(info.ipi6_addr.s6_addr);
            let device = if address.is_unicast_link_local() { info.ipi6_ifindex } else { 0 };
            Some(LocalAddress { address: address.into(), device })
        }
        _ => None,
    })?;
    Some(((client, local), got.bytes))
}

/// Sends an answer. An error is not reported: UDP may lose it.
fn send_to(socket: &UdpSocket, (client, local): (SocketAddr, LocalAddress), datagram: &[u8]) {
    let from = [IoSlice::new(datagram)];
    let to = SockaddrStorage::from(client);
    let send = |control| {
        let flags = MsgFlags::MSG_DONTWAIT;
        let _ = sendmsg(socket.as_raw_fd(), &from, &[control], flags, Some(&to));
    };
    match local.address {
        IpAddr::V4(address) => {
            let source = libc::in_addr { s_addr: u32::from(address).to_be() };
            let info = libc::in_pktinfo {
                ipi_ifindex: 0,
                ipi_spec_dst: source,
                ipi_addr: libc::in_addr { s_addr: 0 },
            };
            send(ControlMessage::Ipv4PacketInfo(&info));
        }
        IpAddr::V6(address) => {
            let info = libc::in6_pktinfo {
                ipi6_addr: libc::in6_addr { s6_addr: address.octets() },
                ipi6_ifindex: local.device,
            };
            send(ControlMessage::Ipv6PacketInfo(&info));
        }
    }
}

#[cfg(test)]
mod tests;
