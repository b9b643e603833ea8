//! The relay: a process that copies bytes between connections to published ports and connections to ports in the
//! container.
//!
//! It is one loop around poll(2), and no other call blocks. While bytes of a connection wait to be written, no more
//! are read from it. So a slow reader delays only its own connection, and memory is bounded. Each direction ends
//! separately, by shutdown(2): a client that has closed its sending side still gets the answer.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrIn, connect, getsockopt, socket, sockopt::SocketError,
};
use nix::sys::wait::waitpid;

use super::kill_by_pidfd;
use crate::plan::gate::Channel;
use crate::plan::slots::Slots;

/// How long clients can still read pending bytes after the container has ended.
pub(super) const DRAIN_TIME: Duration = Duration::from_secs(1);

/// The maximum number of bytes that are buffered in one direction of one connection.
const BUFFER_SIZE: usize = 64 << 10;

/// The maximum number of connections. Later clients wait in the backlog of the listening socket.
const MAX_CONNECTIONS: usize = 1024;

/// The maximum number of reads from one direction before the other connections are served.
const READS_PER_TURN: usize = 8;

/// How long no connection is accepted after accept(2) failed for lack of descriptors or memory.
const PAUSE: Duration = Duration::from_millis(100);

/// Serves until the host closes its end of the gate: the container has ended, or the host was killed. Never returns.
pub(super) fn serve(slots: &mut Slots) -> ! {
    let Some(gate) = slots.gate.take() else { crate::sys::exit(125) };
    let listeners = std::mem::take(&mut slots.listeners);
    // Standard output may be a pipe whose reader waits for the end of file. The other descriptors are copies of the
    // host's gate and locks.
    let sockets = listeners.iter().map(|(listener, _)| listener.as_raw_fd());
    crate::sys::close_all_but(&sockets.chain([gate.as_fd().as_raw_fd()]).collect::<Vec<_>>());
    Server { listeners, connections: Vec::new(), limit: connection_limit(), deadline: None, paused: None }
        .run(&gate);
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
    let _ = waitpid(relay.pid, None);
}

/// The maximum number of connections that the limit of open files allows: each takes two descriptors.
fn connection_limit() -> usize {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or((256, 256));
    let limit = setrlimit(Resource::RLIMIT_NOFILE, hard, hard).map_or(soft, |()| hard);
    usize::try_from(limit / 2).unwrap_or(MAX_CONNECTIONS).saturating_sub(16).clamp(1, MAX_CONNECTIONS)
}

struct Server {
    listeners: Vec<(TcpListener, u16)>,
    connections: Vec<Connection>,
    /// The maximum number of connections.
    limit: usize,
    /// When the relay ends at the latest; none while the container runs.
    deadline: Option<Instant>,
    /// Until when no connection is accepted.
    paused: Option<Instant>,
}

impl Server {
    fn run(&mut self, gate: &Channel) {
        let mut scratch = vec![0; BUFFER_SIZE];
        loop {
            let left = |at: &Instant| at.saturating_duration_since(Instant::now());
            self.paused = self.paused.filter(|until| !left(until).is_zero());
            let timeout = self.deadline.or(self.paused).as_ref().map(left);
            if self.deadline.is_some() && (self.connections.is_empty() || timeout == Some(Duration::ZERO)) {
                return;
            }
            let is_open = self.connections.len() < self.limit && self.paused.is_none();
            let (mut awaited, mut owners) = (Vec::new(), Vec::new());
            if self.deadline.is_none() {
                awaited.push(PollFd::new(gate.as_fd(), PollFlags::POLLIN));
                owners.push(Owner::Gate);
            }
            for (index, (listener, _)) in self.listeners.iter().enumerate().filter(|_| is_open) {
                awaited.push(PollFd::new(listener.as_fd(), PollFlags::POLLIN));
                owners.push(Owner::Listener(index));
            }
            for (index, connection) in self.connections.iter().enumerate() {
                for descriptor in connection.awaited() {
                    awaited.push(descriptor);
                    owners.push(Owner::Connection(index));
                }
            }
            let timeout = timeout.map_or(PollTimeout::NONE, |left| {
                // Rounded up to a millisecond, so that the wait does not end before the time.
                PollTimeout::try_from(left + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX)
            });
            match poll(&mut awaited, timeout) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(_) => return,
            }
            let ready = |descriptor: &PollFd<'_>| descriptor.any().unwrap_or(false);
            let woken: Vec<Owner> = awaited
                .iter()
                .zip(owners)
                .filter(|(descriptor, _)| ready(descriptor))
                .map(|(_, owner)| owner)
                .collect();
            drop(awaited);
            for owner in woken {
                match owner {
                    Owner::Gate => {
                        self.deadline = Some(Instant::now() + DRAIN_TIME);
                        self.listeners.clear();
                    }
                    Owner::Listener(index) => self.accept(index),
                    Owner::Connection(index) => self.connections[index].turn(&mut scratch),
                }
            }
            let is_ending = self.deadline.is_some();
            self.connections.retain(|connection| !connection.is_over(is_ending));
        }
    }

    fn accept(&mut self, index: usize) {
        let Some((listener, port)) = self.listeners.get(index) else { return };
        match listener.accept() {
            Ok((outside, _)) => self.connections.extend(Connection::to(outside, *port)),
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::WouldBlock | ErrorKind::Interrupted | ErrorKind::ConnectionAborted
                ) => {}
            // The client is still in the backlog, so poll(2) would return at once.
            Err(_) => self.paused = Some(Instant::now() + PAUSE),
        }
    }
}

/// What a polled descriptor belongs to.
enum Owner {
    Gate,
    Listener(usize),
    Connection(usize),
}

/// A connection of a client, and the connection to the container that belongs to it.
struct Connection {
    /// The socket of the client, the socket to the container.
    ends: [TcpStream; 2],
    /// The direction that begins at each of them.
    flows: [Flow; 2],
    /// Whether the connection to the container is not established yet.
    is_connecting: bool,
    is_broken: bool,
}

/// One direction.
#[derive(Default)]
struct Flow {
    /// Bytes that were read and not written yet.
    pending: Vec<u8>,
    /// Whether all bytes and the end of file were passed on.
    is_over: bool,
}

impl Connection {
    /// Starts to connect to the container. None if that fails, because no process listens there. Then the client's
    /// connection is reset.
    fn to(outside: TcpStream, port: u16) -> Option<Connection> {
        let connection = outside.set_nonblocking(true).ok().and_then(|()| connect_inside(port).ok());
        let Some((inside, is_connecting)) = connection else {
            reset(&outside);
            return None;
        };
        // TCP_NODELAY: small writes are passed on at once, as the sender made them.
        for end in [&outside, &inside] {
            let _ = end.set_nodelay(true);
        }
        let ends = [outside, inside];
        Some(Connection { ends, flows: Default::default(), is_connecting, is_broken: false })
    }

    /// The sockets to wait for, with their events. A socket without events is left out: poll(2) would still return
    /// for a hang-up, each time at once.
    fn awaited(&self) -> impl Iterator<Item = PollFd<'_>> {
        let of = |end: usize| {
            let (from, to) = (&self.flows[end], &self.flows[1 - end]);
            let mut flags = PollFlags::empty();
            if self.is_connecting {
                flags.set(PollFlags::POLLOUT, end == 1);
            } else {
                flags.set(PollFlags::POLLIN, !from.is_over && from.pending.is_empty());
                flags.set(PollFlags::POLLOUT, !to.pending.is_empty());
            }
            (!flags.is_empty()).then(|| PollFd::new(self.ends[end].as_fd(), flags))
        };
        [of(0), of(1)].into_iter().flatten()
    }

    /// Copies what can be copied now.
    fn turn(&mut self, scratch: &mut [u8]) {
        if self.is_broken {
            return;
        }
        if self.is_connecting {
            match getsockopt(&self.ends[1], SocketError) {
                Ok(0) => self.is_connecting = false,
                _ => return self.abort(),
            }
        }
        for from in [0, 1] {
            let [outside, inside] = &self.ends;
            let (source, target) = if from == 0 { (outside, inside) } else { (inside, outside) };
            if self.flows[from].pass(source, target, scratch).is_err() {
                return self.abort();
            }
        }
    }

    /// One connection has failed. Both are reset, so that neither peer takes this for a normal end.
    fn abort(&mut self) {
        self.ends.iter().for_each(reset);
        self.is_broken = true;
    }

    /// Whether nothing is left to copy. After the end of the container, only its answer counts.
    fn is_over(&self, is_ending: bool) -> bool {
        let [sent, answered] = &self.flows;
        self.is_broken || answered.is_over && (sent.is_over || is_ending)
    }
}

impl Flow {
    fn pass(&mut self, mut from: &TcpStream, mut to: &TcpStream, scratch: &mut [u8]) -> std::io::Result<()> {
        for _ in 0..READS_PER_TURN {
            if self.is_over {
                return Ok(());
            }
            while !self.pending.is_empty() {
                match unless_blocked(to.write(&self.pending))? {
                    Some(written) => drop(self.pending.drain(..written)),
                    None => return Ok(()),
                }
            }
            match unless_blocked(from.read(scratch))? {
                None => return Ok(()),
                // Passed on at once: this socket is not polled any more, so there is no later turn for it.
                Some(0) => {
                    self.is_over = true;
                    // ENOTCONN: the peer has gone. Reading from it reports this.
                    let _ = to.shutdown(Shutdown::Write);
                }
                Some(read) => {
                    let written = unless_blocked(to.write(&scratch[..read]))?.unwrap_or(0);
                    self.pending = scratch[written..read].to_vec();
                }
            }
        }
        Ok(())
    }
}

/// The number of bytes; none if the call would block.
fn unless_blocked(result: std::io::Result<usize>) -> std::io::Result<Option<usize>> {
    match result {
        Ok(count) => Ok(Some(count)),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Connects to a port in the container. Also returns whether the connection is not established yet.
fn connect_inside(port: u16) -> nix::Result<(TcpStream, bool)> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(AddressFamily::Inet, SockType::Stream, flags, None)?;
    let [a, b, c, d] = Ipv4Addr::LOCALHOST.octets();
    match connect(socket.as_raw_fd(), &SockaddrIn::new(a, b, c, d, port)) {
        Ok(()) => Ok((socket.into(), false)),
        Err(Errno::EINPROGRESS) => Ok((socket.into(), true)),
        Err(errno) => Err(errno),
    }
}

/// Makes close(2) reset the connection, in place of a normal end: socket(7), SO_LINGER.
fn reset(end: &TcpStream) {
    let _ = rustix::net::sockopt::set_socket_linger(end, Some(Duration::ZERO));
}
