//! The times of a UDP client, without waiting: the time is a parameter.

use super::*;

const SECOND: Duration = Duration::from_secs(1);

/// A published port and a server inside, both on 127.0.0.1.
struct UdpLab {
    port: UdpPort,
    server: UdpSocket,
    reports: Reports,
    start: Instant,
}

impl UdpLab {
    fn new(limit: usize) -> UdpLab {
        let bind = || UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let (outside, server) = (bind(), bind());
        nix::sys::socket::setsockopt(&outside, nix::sys::socket::sockopt::Ipv4PacketInfo, &true).unwrap();
        let (at, to) = (outside.local_addr().unwrap(), server.local_addr().unwrap());
        let port = PublishedPort { protocol: Protocol::Udp, at, inside: to.port(), is_chosen: true };
        let published = PublishedSocket { port, socket: outside.into() };
        let port = UdpPort::new(published, vec![to], limit);
        UdpLab { port, server, reports: Reports::default(), start: Instant::now() }
    }

    /// A datagram of a client, passed on this long after the start. Returns where the server sees it come from.
    fn send(&mut self, client: &UdpSocket, after: Duration) -> SocketAddr {
        client.send_to(b"?", self.port.port.at).unwrap();
        self.port.receive(self.start + after, &mut [0; 1 << 10], &mut self.reports);
        self.server.recv_from(&mut [0; 8]).unwrap().1
    }
}

fn client() -> UdpSocket {
    UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap()
}

#[test]
fn a_silent_client_is_forgotten_after_90_seconds() {
    let mut lab = UdpLab::new(8);
    let from = lab.send(&client(), 5 * SECOND);
    assert_eq!(lab.port.next_deadline(), Some(lab.start + 95 * SECOND));
    lab.port.sweep(lab.start + 95 * SECOND - Duration::from_nanos(1));
    assert_eq!(lab.port.clients.len(), 1);
    // An answer counts, too.
    lab.server.send_to(b"!", from).unwrap();
    lab.port.answer(0, lab.start + 50 * SECOND, &mut [0; 1 << 10], &mut lab.reports);
    assert_eq!(lab.port.next_deadline(), Some(lab.start + 140 * SECOND));
    lab.port.sweep(lab.start + 95 * SECOND);
    assert_eq!(lab.port.clients.len(), 1);
    lab.port.sweep(lab.start + 140 * SECOND);
    assert!(lab.port.clients.is_empty() && lab.port.next_deadline().is_none());
}

#[test]
fn a_datagram_starts_the_time_again() {
    let (mut lab, client) = (UdpLab::new(8), client());
    let first = lab.send(&client, Duration::ZERO);
    assert_eq!(lab.send(&client, 89 * SECOND), first);
    assert_eq!(lab.port.next_deadline(), Some(lab.start + (89 + 90) * SECOND));
}

#[test]
fn the_client_that_was_silent_longest_makes_room() {
    let mut lab = UdpLab::new(2);
    let (first, second, third) = (client(), client(), client());
    let seen = [lab.send(&first, Duration::ZERO), lab.send(&second, SECOND)];
    lab.send(&first, 2 * SECOND);
    lab.send(&third, 3 * SECOND);
    assert_eq!(lab.port.clients.len(), 2);
    // The first one is still known; the second one gets a new socket.
    assert_eq!(lab.send(&first, 4 * SECOND), seen[0]);
    assert_ne!(lab.send(&second, 5 * SECOND), seen[1]);
}
