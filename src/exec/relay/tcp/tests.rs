//! The times of a connection, without waiting: the time is a parameter. Kinds: a connection that is idle, that is not
//! established yet, of which one direction has ended, whose receiver does not read, that makes room for a new client.

use std::net::{Ipv4Addr, TcpListener};

use super::*;

const SECOND: Duration = Duration::from_secs(1);

/// A published port and a server inside, both on 127.0.0.1. The server does not read.
struct TcpLab {
    port: TcpPort,
    server: TcpListener,
    /// What the server has accepted.
    served: Vec<TcpStream>,
    reports: Reports,
    start: Instant,
}

impl TcpLab {
    fn new(limit: usize) -> TcpLab {
        let listen = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let (outside, server) = (listen(), listen());
        outside.set_nonblocking(true).unwrap();
        let (at, to) = (outside.local_addr().unwrap(), server.local_addr().unwrap());
        let port = PublishedPort { protocol: Protocol::Tcp, at, inside: to.port(), is_chosen: true };
        let published = PublishedSocket { port, socket: outside.into() };
        let port = TcpPort::new(published, vec![to], limit);
        TcpLab { port, server, served: Vec::new(), reports: Reports::default(), start: Instant::now() }
    }

    /// A client that is accepted this long after the start. Its connection inside is established, if it is `served`.
    fn client(&mut self, after: Duration, served: bool) -> TcpStream {
        let client = TcpStream::connect(self.port.port.at).unwrap();
        self.port.accept(self.start + after, &mut self.reports);
        if served {
            self.served.push(self.server.accept().unwrap().0);
            self.turn(after, PollFlags::POLLOUT, 1);
        }
        client
    }

    /// A turn of the last connection.
    fn turn(&mut self, after: Duration, events: PollFlags, end: usize) {
        let index = self.port.connections.len() - 1;
        let mut scratch = vec![0; 1 << 16];
        self.port.turn((index, end, events), self.start + after, &mut scratch, &mut self.reports);
    }

    /// Asserts that the connections end exactly this long after the start.
    fn ends(mut self, after: Duration) {
        assert_eq!(self.port.next_deadline(self.start), Some(self.start + after));
        let count = self.port.connections.len();
        self.port.sweep(self.start + after - Duration::from_nanos(1), false);
        assert_eq!(self.port.connections.len(), count);
        self.port.sweep(self.start + after, false);
        assert!(self.port.connections.is_empty());
        assert_eq!(self.port.next_deadline(self.start), None);
    }
}

#[test]
fn an_idle_connection_ends_after_two_hours() {
    let mut lab = TcpLab::new(8);
    let _client = lab.client(Duration::ZERO, true);
    lab.ends(2 * 3600 * SECOND);
}

#[test]
fn each_byte_starts_the_time_again() {
    let mut lab = TcpLab::new(8);
    let mut client = lab.client(Duration::ZERO, true);
    client.write_all(b"x").unwrap();
    // A turn without a byte changes nothing.
    lab.turn(500 * SECOND, PollFlags::POLLIN, 0);
    lab.turn(900 * SECOND, PollFlags::POLLIN, 0);
    lab.ends((500 + 2 * 3600) * SECOND);
}

#[test]
fn a_connection_that_is_not_established_ends_after_ten_seconds() {
    let mut lab = TcpLab::new(8);
    let _client = lab.client(3 * SECOND, false);
    lab.ends(13 * SECOND);
}

#[test]
fn a_half_closed_connection_ends_after_two_minutes() {
    for end in [0, 1] {
        let mut lab = TcpLab::new(8);
        let client = lab.client(Duration::ZERO, true);
        [&client, &lab.served[0]][end].shutdown(Shutdown::Write).unwrap();
        lab.turn(7 * SECOND, PollFlags::POLLIN, end);
        lab.ends((7 + 120) * SECOND);
    }
}

#[test]
fn a_connection_whose_receiver_does_not_read_ends_after_two_minutes() {
    let mut lab = TcpLab::new(8);
    let mut client = lab.client(Duration::ZERO, true);
    client.set_nonblocking(true).unwrap();
    // Until the buffers of all sockets are full, and a byte waits in the relay.
    while lab.port.connections[0].flows[0].pending.is_empty() {
        let _ = client.write(&[0; 1 << 16]);
        lab.turn(5 * SECOND, PollFlags::POLLIN, 0);
    }
    lab.ends((5 + 120) * SECOND);
}

/// Only where the port has no room.
#[test]
fn a_connection_that_was_idle_for_a_minute_makes_room() {
    let mut lab = TcpLab::new(2);
    let _first = lab.client(Duration::ZERO, true);
    let _second = lab.client(10 * SECOND, true);
    let at = |after: u64| lab.start + after as u32 * SECOND;
    assert!(!lab.port.has_room(at(59)) && lab.port.has_room(at(60)));
    assert_eq!(lab.port.next_deadline(at(59)), Some(at(60)));
    assert_eq!(lab.port.next_deadline(at(60)), Some(at(2 * 3600)));
    let oldest = lab.port.connections[0].ends[0].peer_addr().unwrap();
    let _third = lab.client(60 * SECOND, true);
    lab.port.sweep(lab.start + 60 * SECOND, false);
    assert_eq!(lab.port.connections.len(), 2);
    assert!(lab.port.connections.iter().all(|one| one.ends[0].peer_addr().unwrap() != oldest));
    let mut lab = TcpLab::new(2);
    let _only = lab.client(Duration::ZERO, true);
    assert!(lab.port.has_room(lab.start));
    lab.ends(2 * 3600 * SECOND);
}

#[test]
fn a_client_that_has_vanished_is_noticed_after_two_minutes() {
    let mut lab = TcpLab::new(8);
    let _client = lab.client(Duration::ZERO, true);
    let outside = &lab.port.connections[0].ends[0];
    assert!(sockopt::socket_keepalive(outside).unwrap());
    let (idle, interval, count) = (
        sockopt::tcp_keepidle(outside).unwrap(),
        sockopt::tcp_keepintvl(outside).unwrap(),
        sockopt::tcp_keepcnt(outside).unwrap(),
    );
    assert_eq!(idle + interval * count, 120 * SECOND);
}

#[test]
fn after_the_end_of_the_container_only_its_answer_is_awaited() {
    let mut lab = TcpLab::new(8);
    let _client = lab.client(Duration::ZERO, true);
    lab.port.sweep(lab.start, true);
    assert_eq!(lab.port.connections.len(), 1);
    lab.served.clear();
    lab.turn(Duration::ZERO, PollFlags::POLLIN, 1);
    lab.port.sweep(lab.start, false);
    assert_eq!(lab.port.connections.len(), 1);
    lab.port.sweep(lab.start, true);
    assert!(lab.port.connections.is_empty());
}
