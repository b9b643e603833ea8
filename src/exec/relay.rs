//! The relay: a process that copies bytes between clients of published ports and servers in the container.
//!
//! It is one loop around poll(2), and no other call blocks. Each published port has a limit of its own, so a port with
//! many clients takes nothing from another one. What the relay keeps is bounded, also in the kernel:
//!
//! | bound | value |
//! |---|---|
//! | connections of a port | 256, or what the limit of open files allows; later clients wait |
//! | kernel buffers of a connection | 4 of 256 KiB: at most 256 MiB for a port |
//! | memory of the relay for a connection | 64 KiB for each direction: at most 32 MiB for a port |
//! | an idle connection | 2 hours; 1 minute while another client waits and the port has no room |
//! | a half-closed connection, or one whose receiver does not read | 2 minutes without a byte |
//! | a client that has vanished | 2 minutes: TCP keepalive |
//! | UDP clients of a port | 512, or what the limit of open files allows; the oldest idle one is forgotten |
//! | a UDP client | 90 seconds without a datagram |

mod inside;
mod tcp;
mod udp;

use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use rustix::process::{WaitId, WaitIdOptions, waitid};

use self::tcp::TcpPort;
use self::udp::UdpPort;
use super::kill_by_pidfd;
use crate::plan::call::publish::{Protocol, PublishedPort};
use crate::plan::gate::{Channel, Message, Unreached};
use crate::plan::slots::Slots;

/// How long clients can still read pending bytes after the container has ended.
pub(super) const DRAIN_TIME: Duration = Duration::from_secs(1);

/// The size of the buffer for one read. It also holds every datagram.
const BUFFER_SIZE: usize = 64 << 10;

/// The maximum number of descriptors that connections and UDP clients of all ports take.
const MAX_DESCRIPTORS: usize = 2048;

/// The descriptors that are left for everything else.
const RESERVED: usize = 16;

/// The maximum number of messages to the host. Nobody may read them: then the gate must not fill up.
const MAX_MESSAGES: usize = 64;

/// Serves until the host closes its end of the gate: the container has ended, or the host was killed. Never returns.
///
/// `to` are the container's own addresses; `None` is the claimed one. `loopback` is whether its loopback addresses are
/// tried too.
pub(super) fn serve(slots: &mut Slots, to: &[Option<IpAddr>], loopback: bool) -> ! {
    let Some(gate) = slots.gate.take() else { crate::sys::exit(125) };
    let published = std::mem::take(&mut slots.published);
    // Standard output may be a pipe whose reader waits for the end of file. The other descriptors are copies of the
    // host's gate and locks.
    let sockets = published.iter().map(|one| one.socket.as_raw_fd());
    crate::sys::close_all_but(&sockets.chain([gate.as_fd().as_raw_fd()]).collect::<Vec<_>>());
    let own: Vec<IpAddr> =
        to.iter().filter_map(|address| address.or(slots.address.map(IpAddr::V4))).collect();
    let share = descriptors() / published.len().max(1);
    let reports = Reports { loopback, ..Reports::default() };
    let mut server = Server { tcp: Vec::new(), udp: Vec::new(), reports, deadline: None };
    for one in published {
        let to = inside::addresses(&one.port, &own, loopback);
        match one.port.protocol {
            Protocol::Tcp => server.tcp.push(TcpPort::new(one, to, share / 2)),
            Protocol::Udp => server.udp.push(UdpPort::new(one, to, share)),
        }
    }
    server.run(&gate);
    crate::sys::exit(0)
}

/// Called by the host when the container has ended: waits until the relay has written the pending bytes, at most
/// twice `patience`.
pub(super) fn end(slots: &mut Slots, patience: Duration) {
    let Some(relay) = slots.relay.take() else { return };
    drop(relay.gate);
    // The relay has its own deadline, `DRAIN_TIME`. This one is for a relay that was stopped by a signal.
    let latest = if patience.is_zero() { patience } else { patience * 2 };
    let timeout = PollTimeout::try_from(latest).unwrap_or(PollTimeout::ZERO);
    if poll(&mut [PollFd::new(relay.pidfd.as_fd(), PollFlags::POLLIN)], timeout) != Ok(1) {
        kill_by_pidfd(relay.pidfd.as_fd());
    }
    // By the pidfd: a relay that was killed may be reaped already, and its PID may be that of another child.
    let _ = waitid(WaitId::PidFd(relay.pidfd.as_fd()), WaitIdOptions::EXITED);
}

/// How many descriptors the limit of open files leaves for connections and clients.
fn descriptors() -> usize {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or((256, 256));
    let limit = setrlimit(Resource::RLIMIT_NOFILE, hard, hard).map_or(soft, |()| hard);
    usize::try_from(limit).unwrap_or(MAX_DESCRIPTORS).saturating_sub(RESERVED).min(MAX_DESCRIPTORS)
}

/// Ports that no server inside has answered on. Each is reported to the host once.
#[derive(Default)]
struct Reports {
    /// Whether the loopback addresses inside are tried for a port that is published on those of the host.
    loopback: bool,
    reported: Vec<Unreached>,
    waiting: Vec<Unreached>,
}

impl Reports {
    /// No address inside has accepted a client of this port.
    fn add(&mut self, port: &PublishedPort) {
        let on_loopback = inside::loopback_of_server(port.protocol, port.inside);
        let report = Unreached {
            protocol: port.protocol,
            at: port.at,
            inside: port.inside,
            on_loopback,
            is_loopback_tried: self.loopback,
        };
        if self.reported.len() < MAX_MESSAGES && !self.reported.contains(&report) {
            self.reported.push(report);
            self.waiting.push(report);
        }
    }

    fn send(&mut self, gate: &Channel) {
        for report in self.waiting.drain(..) {
            // The host may have ended. The end of file on the gate shows that.
            let _ = gate.send(&Message::Unreached(report), &[]);
        }
    }
}

struct Server {
    tcp: Vec<TcpPort>,
    udp: Vec<UdpPort>,
    reports: Reports,
    /// When the relay ends at the latest; none while the container runs.
    deadline: Option<Instant>,
}

/// What a polled descriptor belongs to.
#[derive(Clone, Copy)]
enum Owner {
    Gate,
    /// The listening socket of a TCP port.
    Listener(usize),
    /// A connection of a TCP port, and which end of it.
    Connection(usize, usize, usize),
    /// The socket of a UDP port.
    Datagrams(usize),
    /// The socket of a UDP client.
    Client(usize, usize),
}

impl Server {
    fn run(&mut self, gate: &Channel) {
        let mut scratch = vec![0; BUFFER_SIZE];
        loop {
            let now = Instant::now();
            let is_drained = self.tcp.iter().all(|port| port.connections.is_empty());
            if self.deadline.is_some_and(|deadline| is_drained || deadline <= now) {
                return;
            }
            let Ok(woken) = self.wait(gate, now) else { return };
            let now = Instant::now();
            for (owner, events) in woken {
                match owner {
                    Owner::Gate => {
                        self.deadline = Some(now + DRAIN_TIME);
                        self.tcp.iter_mut().for_each(|port| port.listener = None);
                        self.udp.clear();
                    }
                    Owner::Listener(port) => self.tcp[port].accept(now, &mut self.reports),
                    Owner::Connection(port, index, end) => {
                        self.tcp[port].turn((index, end, events), now, &mut scratch, &mut self.reports);
                    }
                    // The ports are gone if the gate was closed in this turn.
                    Owner::Datagrams(port) => {
                        if let Some(port) = self.udp.get_mut(port) {
                            port.receive(now, &mut scratch, &mut self.reports);
                        }
                    }
                    Owner::Client(port, client) => {
                        if let Some(port) = self.udp.get_mut(port) {
                            port.answer(client, now, &mut scratch, &mut self.reports);
                        }
                    }
                }
            }
            let is_ending = self.deadline.is_some();
            self.tcp.iter_mut().for_each(|port| port.sweep(now, is_ending));
            self.udp.iter_mut().for_each(|port| port.sweep(now));
            self.reports.send(gate);
        }
    }

    /// Waits for an event, or until something has timed out.
    fn wait(&self, gate: &Channel, now: Instant) -> Result<Vec<(Owner, PollFlags)>, Errno> {
        let (mut awaited, mut owners) = (Vec::new(), Vec::new());
        let mut add = |owner, descriptor| {
            owners.push(owner);
            awaited.push(descriptor);
        };
        if self.deadline.is_none() {
            add(Owner::Gate, PollFd::new(gate.as_fd(), PollFlags::POLLIN));
        }
        for (index, port) in self.tcp.iter().enumerate() {
            if let Some(listener) = port.listener.as_ref().filter(|_| port.has_room(now)) {
                add(Owner::Listener(index), PollFd::new(listener.as_fd(), PollFlags::POLLIN));
            }
            for (number, connection) in port.connections.iter().enumerate() {
                for (end, descriptor) in connection.awaited() {
                    add(Owner::Connection(index, number, end), descriptor);
                }
            }
        }
        for (index, port) in self.udp.iter().enumerate() {
            add(Owner::Datagrams(index), PollFd::new(port.as_fd(), PollFlags::POLLIN));
            for (client, socket) in port.sockets().enumerate() {
                add(Owner::Client(index, client), PollFd::new(socket, PollFlags::POLLIN));
            }
        }
        let tcp = self.tcp.iter().filter_map(|port| port.next_deadline(now));
        let udp = self.udp.iter().filter_map(UdpPort::next_deadline);
        let next = tcp.chain(udp).chain(self.deadline).min();
        let timeout = next.map_or(PollTimeout::NONE, |at| {
            // Rounded up to a millisecond, so that the wait does not end before the time.
            let left = at.saturating_duration_since(now) + Duration::from_millis(1);
            PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
        });
        match poll(&mut awaited, timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
        let events = |descriptor: &PollFd<'_>| descriptor.revents().unwrap_or(PollFlags::empty());
        let woken = owners.into_iter().zip(awaited.iter().map(events));
        Ok(woken.filter(|(_, events)| !events.is_empty()).collect())
    }
}
