//! The connections of a published TCP port.
//!
//! While bytes of a connection wait to be written, no more are read from it. So a slow reader delays only its own
//! connection, and memory is bounded. Each direction ends separately, by shutdown(2): a client that has closed its
//! sending side still gets the answer. If one side is reset, the other one is reset too.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags};
use nix::sys::socket::{getsockopt, sockopt::SocketError};
use rustix::net::sockopt;

use super::{Reports, inside};
use crate::plan::call::publish::{Protocol, PublishedPort, PublishedSocket};

/// The maximum number of connections of one port. Later clients wait in the backlog of its listening socket.
const MAX_CONNECTIONS: usize = 256;

/// The maximum number of reads from one direction before the other connections are served.
const READS_PER_TURN: usize = 8;

/// How long no connection is accepted after accept(2) failed for lack of descriptors or memory.
const PAUSE: Duration = Duration::from_millis(100);

/// How long a connection inside may take to be established. The server may accept none.
const CONNECT_TIME: Duration = Duration::from_secs(10);

/// How long a connection lives without a byte, if one direction has ended, or if a receiver does not read.
const STALLED_TIME: Duration = Duration::from_secs(120);

/// How long any other connection lives without a byte. RFC 5382 asks for about this much.
const IDLE_TIME: Duration = Duration::from_secs(2 * 3600);

/// A connection that was idle for this long makes room for a new client.
const YIELD_TIME: Duration = Duration::from_secs(60);

/// A published TCP port.
pub(super) struct TcpPort {
    /// The listening socket. None if the container has ended.
    pub(super) listener: Option<TcpListener>,
    pub(super) connections: Vec<Connection>,
    port: PublishedPort,
    /// The addresses inside that are tried, in this order.
    to: Vec<SocketAddr>,
    limit: usize,
    /// Until when no connection is accepted.
    paused: Option<Instant>,
}

impl TcpPort {
    pub(super) fn new(published: PublishedSocket, to: Vec<SocketAddr>, limit: usize) -> TcpPort {
        let (listener, port) = (Some(published.socket.into()), published.port);
        let limit = limit.clamp(1, MAX_CONNECTIONS);
        TcpPort { listener, connections: Vec::new(), port, to, limit, paused: None }
    }

    /// Whether a client can be accepted now.
    pub(super) fn has_room(&self, now: Instant) -> bool {
        self.paused.is_none_or(|until| until <= now)
            && (self.connections.len() < self.limit || self.yields_at().is_some_and(|at| at <= now))
    }

    /// When the connection that is idle for the longest time makes room.
    fn yields_at(&self) -> Option<Instant> {
        self.connections.iter().map(|connection| connection.moved + YIELD_TIME).min()
    }

    /// When the next timeout ends.
    pub(super) fn next_deadline(&self, now: Instant) -> Option<Instant> {
        let yields = self.yields_at().filter(|at| self.connections.len() >= self.limit && *at > now);
        let paused = self.paused.filter(|until| *until > now);
        self.connections.iter().map(Connection::deadline).chain(yields).chain(paused).min()
    }

    pub(super) fn accept(&mut self, now: Instant, reports: &mut Reports) {
        let Some(listener) = &self.listener else { return };
        match listener.accept() {
            Ok((outside, _)) => {
                if self.connections.len() >= self.limit
                    && let Some(oldest) = self.connections.iter_mut().min_by_key(|one| one.moved)
                {
                    oldest.abort();
                }
                match Connection::to(outside, &self.to, now) {
                    Ok(connection) => self.connections.push(connection),
                    Err(errno) if inside::is_refusal(errno) => reports.add(&self.port),
                    Err(_) => {}
                }
            }
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::WouldBlock | ErrorKind::Interrupted | ErrorKind::ConnectionAborted
                ) => {}
            // The client is still in the backlog, so poll(2) would return at once.
            Err(_) => self.paused = Some(now + PAUSE),
        }
    }

    /// Copies what a connection can copy now. `event` is the number of the connection, the end that has woken, and the
    /// events there.
    pub(super) fn turn(
        &mut self,
        event: (usize, usize, PollFlags),
        now: Instant,
        scratch: &mut [u8],
        reports: &mut Reports,
    ) {
        let (index, end, events) = event;
        let Some(connection) = self.connections.get_mut(index) else { return };
        if connection.turn((end, events), &self.to, now, scratch) == Turn::Refused {
            reports.add(&self.port);
        }
    }

    /// Removes the connections that have ended or timed out.
    pub(super) fn sweep(&mut self, now: Instant, is_ending: bool) {
        for connection in self.connections.iter_mut().filter(|one| !one.is_broken && one.deadline() <= now) {
            connection.abort();
        }
        self.connections.retain(|connection| !connection.is_over(is_ending));
    }
}

/// How a turn ended.
#[derive(PartialEq, Eq)]
enum Turn {
    Done,
    /// No address inside has accepted the connection.
    Refused,
}

/// A connection of a client, and the connection to the container that belongs to it.
pub(super) struct Connection {
    /// The socket of the client, the socket to the container.
    ends: [TcpStream; 2],
    /// The direction that begins at each of them.
    flows: [Flow; 2],
    /// While the connection to the container is not established: the index of the address that is tried.
    trying: Option<usize>,
    /// When the last byte was moved.
    moved: Instant,
    /// Whether the connection to the container has ended, while bytes of it still wait for the client.
    has_hung_up: bool,
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
    /// Starts to connect to the container. If that fails, because no process listens there, the client's connection is
    /// reset.
    fn to(outside: TcpStream, to: &[SocketAddr], now: Instant) -> Result<Connection, Errno> {
        let connected = match outside.set_nonblocking(true) {
            Ok(()) => connect_first(to, 0),
            Err(error) => Err(crate::error::errno(error)),
        };
        let (inside, trying) = match connected {
            Ok(connected) => connected,
            Err(errno) => {
                reset(&outside);
                return Err(errno);
            }
        };
        // A client that has vanished is noticed after two minutes. TCP_NODELAY: small writes are passed on at once, as
        // the sender made them.
        let _ = sockopt::set_socket_keepalive(&outside, true);
        let _ = sockopt::set_tcp_keepidle(&outside, Duration::from_secs(60));
        let _ = sockopt::set_tcp_keepintvl(&outside, Duration::from_secs(15));
        let _ = sockopt::set_tcp_keepcnt(&outside, 4);
        let _ = outside.set_nodelay(true);
        let ends = [outside, inside];
        let flows = Default::default();
        Ok(Connection { ends, flows, trying, moved: now, has_hung_up: false, is_broken: false })
    }

    /// The sockets to wait for, with their events. A socket without events is awaited too, because poll(2) always
    /// reports a reset. It is left out where it would report the same hang-up again and again.
    pub(super) fn awaited(&self) -> impl Iterator<Item = (usize, PollFd<'_>)> {
        let of = |end: usize| {
            let (from, to) = (&self.flows[end], &self.flows[1 - end]);
            let mut flags = PollFlags::empty();
            if self.trying.is_some() {
                flags.set(PollFlags::POLLOUT, end == 1);
            } else {
                flags.set(PollFlags::POLLIN, !from.is_over && from.pending.is_empty());
                flags.set(PollFlags::POLLOUT, !to.pending.is_empty());
            }
            let is_silent = to.is_over || end == 1 && self.has_hung_up;
            (!flags.is_empty() || !is_silent).then(|| (end, PollFd::new(self.ends[end].as_fd(), flags)))
        };
        [of(0), of(1)].into_iter().flatten()
    }

    /// Copies what can be copied now.
    fn turn(
        &mut self,
        (end, events): (usize, PollFlags),
        to: &[SocketAddr],
        now: Instant,
        scratch: &mut [u8],
    ) -> Turn {
        if self.is_broken {
            return Turn::Done;
        }
        let has_ended = !events.intersects(PollFlags::POLLIN | PollFlags::POLLOUT);
        match end {
            // The client was reset: nobody waits for an answer.
            0 if has_ended => {
                self.abort();
                return Turn::Done;
            }
            1 if has_ended && self.trying.is_none() => self.has_hung_up = true,
            _ => {}
        }
        if let Some(index) = self.trying {
            if end == 0 {
                return Turn::Done;
            }
            match getsockopt(&self.ends[1], SocketError) {
                Ok(0) => self.trying = None,
                result => return self.try_next(result, to, index + 1),
            }
        }
        for from in [0, 1] {
            let [outside, inside] = &self.ends;
            let (source, target) = if from == 0 { (outside, inside) } else { (inside, outside) };
            match self.flows[from].pass(source, target, scratch) {
                Ok(true) => self.moved = now,
                Ok(false) => {}
                Err(_) => {
                    self.abort();
                    break;
                }
            }
        }
        Turn::Done
    }

    /// The connection to one address has failed. Tries the others from `next` on.
    fn try_next(&mut self, result: Result<i32, Errno>, to: &[SocketAddr], next: usize) -> Turn {
        let failed = result.map_or_else(|errno| errno, Errno::from_raw);
        match connect_first(to, next) {
            Ok((inside, trying)) => {
                self.ends[1] = inside;
                self.trying = trying;
                Turn::Done
            }
            Err(errno) => {
                self.abort();
                let is_refused = inside::is_refusal(failed) && inside::is_refusal(errno);
                if is_refused { Turn::Refused } else { Turn::Done }
            }
        }
    }

    /// One connection has failed. Both are reset, so that neither peer takes this for a normal end.
    fn abort(&mut self) {
        self.ends.iter().for_each(reset);
        self.is_broken = true;
    }

    /// When it ends, if no byte is moved until then.
    fn deadline(&self) -> Instant {
        let is_stalled = self.flows.iter().any(|flow| flow.is_over || !flow.pending.is_empty());
        self.moved
            + match self.trying {
                Some(_) => CONNECT_TIME,
                None if is_stalled => STALLED_TIME,
                None => IDLE_TIME,
            }
    }

    /// Whether nothing is left to copy. After the end of the container, only its answer counts.
    fn is_over(&self, is_ending: bool) -> bool {
        let [sent, answered] = &self.flows;
        self.is_broken || answered.is_over && (sent.is_over || is_ending)
    }
}

/// Connects to the first address from `next` on where that does not fail at once. Also returns its index, if the
/// connection is not established yet.
fn connect_first(to: &[SocketAddr], next: usize) -> Result<(TcpStream, Option<usize>), Errno> {
    let mut failed = Errno::ECONNREFUSED;
    for (index, address) in to.iter().enumerate().skip(next) {
        match inside::connect(Protocol::Tcp, *address) {
            Ok((socket, is_connecting)) => {
                let inside = TcpStream::from(socket);
                let _ = inside.set_nodelay(true);
                return Ok((inside, is_connecting.then_some(index)));
            }
            Err(errno) => failed = errno,
        }
    }
    Err(failed)
}

impl Flow {
    /// Passes on what can be passed on now. Returns whether a byte or the end was.
    fn pass(
        &mut self,
        mut from: &TcpStream,
        mut to: &TcpStream,
        scratch: &mut [u8],
    ) -> std::io::Result<bool> {
        let mut has_moved = false;
        for _ in 0..READS_PER_TURN {
            if self.is_over {
                return Ok(has_moved);
            }
            while !self.pending.is_empty() {
                match unless_blocked(to.write(&self.pending))? {
                    Some(written) => drop(self.pending.drain(..written)),
                    None => return Ok(has_moved),
                }
                has_moved = true;
            }
            match unless_blocked(from.read(scratch))? {
                None => return Ok(has_moved),
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
            has_moved = true;
        }
        Ok(has_moved)
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

/// Makes close(2) reset the connection, in place of a normal end: socket(7), SO_LINGER.
fn reset(end: &TcpStream) {
    let _ = sockopt::set_socket_linger(end, Some(Duration::ZERO));
}

#[cfg(test)]
mod tests;
