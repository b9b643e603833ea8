//! Published ports: how they are written, what is refused, and which servers inside are reached.

mod support;

use std::fs;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::{Child, ChildStderr, Stdio};
use std::thread;
use std::time::Duration;

use support::lab::{SERVE, from_lab, ran_with_loopback};
use support::{feed, is_root, run, sandbox, text};

/// `sandbox net` with these flags and `true`: its status and its messages.
fn refusal(flags: &[&str]) -> (Option<i32>, String) {
    let output = run(&[&["net", "-q"], flags, &["--", "true"]].concat());
    (output.status.code(), text(&output.stderr))
}

/// Kinds: a port of another program (TCP and UDP; on the same address, on all addresses, on all of both families); a
/// whole range of them; an address that this machine does not have, of both families; a broadcast address of one of its
/// networks; a privileged port, alone and at the begin of a range. The error comes before anything is created.
#[test]
fn a_port_that_cannot_be_had_is_said_first() {
    if ran_with_loopback("a_port_that_cannot_be_had_is_said_first") {
        return;
    }
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let datagrams = UdpSocket::bind("127.0.0.1:0").unwrap();
    let udp = datagrams.local_addr().unwrap().port();
    let both = TcpListener::bind("[::]:0").unwrap().local_addr().unwrap().port();
    let _both = TcpListener::bind(("::", both)).unwrap();
    let in_use = [
        (format!("127.0.0.1:{port}:80"), "ss -ltnp"),
        (format!("{port}:80"), "ss -ltnp"),
        (format!("{both}:80"), "ss -ltnp"),
        (format!("127.0.0.1:{port}-{port}:80"), "ss -ltnp"),
        (format!("127.0.0.1:{udp}:53/udp"), "ss -lunp"),
        (format!("{udp}:53/udp"), "ss -lunp"),
    ];
    for (port, shows) in &in_use {
        let (status, error) = refusal(&["-p", port]);
        assert!(
            status == Some(125) && error.contains("EADDRINUSE") && error.contains(shows),
            "{port}: {error}"
        );
    }
    for (address, reason) in [
        ("192.0.2.77:0:80", "ip address"),
        ("192.0.2.77:8080:80/udp", "ip address"),
        ("[2001:db8::77]:8080:80", "ip address"),
        ("127.255.255.255:8080:80", "broadcast"),
        ("127.255.255.255:8080:80/udp", "broadcast"),
    ] {
        let (status, error) = refusal(&["-p", address]);
        assert!(status == Some(125) && error.contains(reason), "{address}: {error}");
    }
    let first = fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").unwrap();
    if !is_root() && first.trim().parse::<u16>().unwrap() > 83 {
        for port in ["127.0.0.1:81:80", "81:80/udp", "81-82:80-81", "81-83:80"] {
            let (status, error) = refusal(&["-p", port]);
            assert!(status == Some(125) && error.contains("ip_unprivileged_port_start"), "{port}: {error}");
            assert!(error.contains("8081"), "{port}: {error}");
            // A line that can be pasted.
            assert!(
                error.contains("\n           sudo sysctl net.ipv4.ip_unprivileged_port_start=81\n"),
                "{error}"
            );
        }
    }
}

/// Kinds: the same port twice; with another port inside; on one address and on all; ranges that overlap. Each is named,
/// with its reason, and no other program is blamed. The others are free to be published together.
#[test]
fn two_publications_of_one_port_are_refused_and_similar_ones_are_not() {
    if ran_with_loopback("two_publications_of_one_port_are_refused_and_similar_ones_are_not") {
        return;
    }
    for (one, other) in [
        ("18080:80", "18080:81"),
        ("18080:80", "18080:80"),
        ("18080:80", "127.0.0.1:18080:80"),
        ("[::1]:18080:80", "[::]:18080:80"),
        ("18000-18005:80-85", "18005:80"),
        ("127.0.0.1:18053:53/udp", "18053:53/udp"),
    ] {
        let (status, error) = refusal(&["-p", one, "-p", other]);
        assert_eq!(status, Some(125), "{one} {other}: {error}");
        assert!(error.contains(&format!("{one} and {other} need the same port")), "{error}");
        assert!(!error.contains("Another program"), "{error}");
    }
    // A range gets its first free port. None may be left for it.
    for crowded in [
        &["18080-18081:80", "18080:81", "18081:82"][..],
        &["18080-18081:80", "127.0.0.1:18080-18081:81-82"],
        &["18080-18081:80", "18080-18081:81", "18080-18081:82"],
        &["[::]:18080-18081:53/udp", "[::1]:18080-18081:53-54/udp"],
    ] {
        let flags: Vec<&str> = crowded.iter().flat_map(|port| ["-p", port]).collect();
        let (status, error) = refusal(&flags);
        assert_eq!(status, Some(125), "{crowded:?}: {error}");
        assert!(error.contains("need each port of 18080-18081"), "{crowded:?}: {error}");
    }
    for both in [
        ["18080:80", "18080:80/udp"],
        ["18080-18081:80", "18080-18081:81/udp"],
        ["18080:80", "[::]:18080:80"],
        ["127.0.0.1:18080:80", "127.0.0.2:18080:80"],
        ["18080-18085:80", "18080:80"],
        ["18080-18081:80", "18080-18081:81"],
    ] {
        let (status, error) = refusal(&["-p", both[0], "-p", both[1]]);
        assert_eq!(status, Some(0), "{both:?}: {error}");
    }
}

/// Each kind of mistake is one of the command line, with a reason of its own. src/network/ports.rs has the table.
#[test]
fn what_is_no_port_is_refused_with_its_reason() {
    for (port, reason) in [
        ("80:", "empty"),
        ("a:80", "\"a\" is not a port"),
        ("8080:65536", "65536"),
        ("8080 :80", "blanks"),
        ("8000-8001:80-82", "same count"),
        ("8001-8000:80-81", "ends before"),
        ("localhost:8080:80", "not an IP address"),
        ("255.255.255.255:8080:80", "broadcast"),
        ("224.0.0.1:8080:80", "multicast"),
        ("[ff02::1]:8080:80/udp", "multicast"),
        ("::1:8080", "brackets"),
        ("8080:80/sctp", "SCTP"),
        ("8080:80/icmp", "tcp or udp"),
    ] {
        let (status, error) = refusal(&["-p", port]);
        assert_eq!(status, Some(2), "{port}: {error}");
        assert!(error.split_whitespace().collect::<Vec<_>>().join(" ").contains(reason), "{port}: {error}");
        let spec = format!("net: {{ publish: [{port:?}] }}\ncommand: [\"true\"]\n");
        let output = feed(&mut sandbox(&["run", "-", "-q"]), spec);
        assert!(
            !output.status.success() && text(&output.stderr).contains("publish"),
            "{}",
            text(&output.stderr)
        );
    }
}

/// A server for perl(1): `ADDRESS PROTOCOL PORT...`. It answers with the port and the client's address.
const MANY: &str = r#"use IO::Socket::IP; use IO::Select; $| = 1; ($at, $proto, @ports) = @ARGV;
    @only = $at eq "::" ? (V6Only => 0) : ();
    for (@ports) { $s = IO::Socket::IP->new(LocalHost => $at, LocalPort => $_, Proto => $proto, @only,
        $proto eq "tcp" ? (Listen => 9, ReuseAddr => 1) : ()) or die "$at $_: $!"; push @all, $s }
    print "up\n"; $select = IO::Select->new(@all);
    while (1) { for $s ($select->can_read) {
        if ($proto eq "tcp") { $c = $s->accept or next; print $c $s->sockport, " ", $c->peerhost, "\n"; close $c }
        else { $s->recv($words, 65535); $s->send(join " ", $s->sockport, $s->peerhost, length $words) } } }"#;

/// A container with the server `MANY`, which listens. `lines` are what `sandbox` prints about its ports.
struct Serving {
    sandbox: Child,
    lines: Vec<String>,
    errors: std::io::Lines<BufReader<ChildStderr>>,
}

impl Serving {
    fn start(flags: &[&str], server: &[&str]) -> Serving {
        let words = [&["net"], flags, &["--", "perl", "-e", MANY], server].concat();
        let mut sandbox = sandbox(&words).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut up = String::new();
        BufReader::new(sandbox.stdout.take().unwrap()).read_line(&mut up).unwrap();
        let mut errors = BufReader::new(sandbox.stderr.take().unwrap()).lines();
        let count = flags.iter().filter(|flag| **flag == "-p").count();
        let is_port = |line: &String| line.contains("published");
        let lines = if up == "up\n" { count } else { 0 };
        let lines: Vec<String> = errors.by_ref().map(Result::unwrap).filter(is_port).take(lines).collect();
        assert_eq!(up, "up\n", "{words:?}: {:?}", errors.map(Result::unwrap).collect::<Vec<_>>());
        Serving { sandbox, lines, errors }
    }

    /// The address on the host of the publication with this number.
    fn at(&self, number: usize) -> SocketAddr {
        let word =
            self.lines[number].split("published ").nth(1).and_then(|rest| rest.split([' ', '/']).next());
        let at: SocketAddr =
            word.and_then(|at| at.parse().ok()).unwrap_or_else(|| panic!("{:?}", self.lines));
        match at {
            SocketAddr::V4(v4) if v4.ip().is_unspecified() => ([127, 0, 0, 1], v4.port()).into(),
            other => other,
        }
    }

    /// The next message, which is not about a publication.
    fn message(&mut self) -> String {
        self.errors.by_ref().map(Result::unwrap).find(|line| line.contains("inside")).unwrap_or_default()
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.sandbox.kill();
        let _ = self.sandbox.wait();
    }
}

/// What a server sends to a new connection, or the error.
fn heard(at: SocketAddr) -> Result<String, ErrorKind> {
    let mut stream = TcpStream::connect(at).map_err(|error| error.kind())?;
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut words = String::new();
    stream.read_to_string(&mut words).map_err(|error| error.kind())?;
    Ok(words.trim().to_owned())
}

/// The answer to one datagram, or the error.
fn answered(at: SocketAddr, length: usize) -> Result<String, ErrorKind> {
    let own: SocketAddr = if at.is_ipv4() { ([127, 0, 0, 1], 0).into() } else { ([0; 16], 0).into() };
    let socket = UdpSocket::bind(own).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    // A connected socket accepts an answer from no other address.
    socket.connect(at).unwrap();
    socket.send(&vec![b'x'; length]).map_err(|error| error.kind())?;
    let mut words = vec![0; 100];
    let read = socket.recv(&mut words).map_err(|error| error.kind())?;
    Ok(text(&words[..read]))
}

/// Kinds of servers: on 0.0.0.0, on `::`, on `::` without IPv4, on the container's address, on 127.0.0.1, on ::1. Kinds
/// of publications: on all addresses, on the host's loopback address of each family.
#[test]
fn a_server_is_reached_where_it_listens_and_never_as_loopback_from_outside() {
    if ran_with_loopback("a_server_is_reached_where_it_listens_and_never_as_loopback_from_outside") {
        return;
    }
    let flags = ["-p", "127.0.0.1:0:8080", "-p", "[::1]::8080", "-p", "0.0.0.0::8080"];
    let refused = Err(ErrorKind::ConnectionReset);
    for (server, on_loopback, on_all) in [
        ("0.0.0.0", Ok("8080 192.0.2.2"), Ok("8080 192.0.2.2")),
        ("192.0.2.2", Ok("8080 192.0.2.2"), Ok("8080 192.0.2.2")),
        ("2001:db8::2", Ok("8080 2001:db8::2"), Ok("8080 2001:db8::2")),
        ("127.0.0.1", Ok("8080 127.0.0.1"), refused),
        ("::1", Ok("8080 ::1"), refused),
    ] {
        let mut serving = Serving::start(&flags, &[server, "tcp", "8080"]);
        for (number, wanted) in [(0, on_loopback), (1, on_loopback), (2, on_all)] {
            assert_eq!(heard(serving.at(number)), wanted.map(str::to_owned), "{server} {number}");
        }
        if on_all == refused {
            assert_eq!(heard(serving.at(2)), Err(ErrorKind::ConnectionReset));
            let message = serving.message();
            let at = std::net::SocketAddr::new(server.parse().unwrap(), 8080);
            assert!(message.contains(&format!("listens on {at} and is not reached")), "{message}");
            let _ = serving.sandbox.kill();
            // It is said once.
            assert_eq!(serving.message(), "");
        }
    }
    let serving = Serving::start(&flags, &["::", "tcp", "8080"]);
    assert_eq!(heard(serving.at(2)).as_deref(), Ok("8080 ::ffff:192.0.2.2"));
}

/// Kinds: a range of equal counts, a range for one port, a free port for each of a range, one port alone, an address
/// without a port, an empty port, leading zeros; each chosen port is printed.
#[test]
fn each_form_of_a_port_leads_inside() {
    if ran_with_loopback("each_form_of_a_port_leads_inside") {
        return;
    }
    let taken = TcpListener::bind("0.0.0.0:0").unwrap();
    let first = taken.local_addr().unwrap().port().min(65_000);
    let range = format!("{first}-{}:83", first + 9);
    let fixed = ["127.0.0.1:28080-28081:84-85", "127.0.0.1:028082:0089"];
    let ports = ["127.0.0.1::80", "81", "0:82", ":88", &range, fixed[0], fixed[1], "127.0.0.1::86-87"];
    let serving = Serving::start(
        &ports.iter().flat_map(|port| ["-p", port]).collect::<Vec<_>>(),
        &["0.0.0.0", "tcp", "80", "81", "82", "83", "84", "85", "86", "87", "88", "89"],
    );
    // Fixed ports first, then ranges, then free ports.
    let wanted = [84, 85, 89, 83, 80, 81, 82, 88];
    for (number, port) in wanted.into_iter().enumerate() {
        assert_eq!(heard(serving.at(number)), Ok(format!("{port} 192.0.2.2")), "{:?}", serving.lines);
    }
    assert!((first + 1..=first + 9).contains(&serving.at(3).port()), "{:?}", serving.lines);
    assert_eq!(serving.at(2).port(), 28082);
    let quiet = run(&["net", "-q", "-p", &range, "-p", "127.0.0.1:28080:80", "--", "true"]);
    let quiet = text(&quiet.stderr);
    assert!(quiet.contains("-> 83 inside") || quiet.contains("EADDRINUSE"), "{quiet}");
}

/// Kinds: both families; a server on all addresses and on 127.0.0.1; empty and large datagrams; many clients at one time;
/// answers that come from the address that was asked.
#[test]
fn datagrams_go_to_the_server_and_answers_to_their_client() {
    if ran_with_loopback("datagrams_go_to_the_server_and_answers_to_their_client") {
        return;
    }
    let flags = ["-p", "127.0.0.1:0:53/udp", "-p", "[::1]::53/udp", "-p", "0.0.0.0::53/udp"];
    let serving = Serving::start(&flags, &["0.0.0.0", "udp", "53"]);
    for number in 0..3 {
        for length in [0, 1, 1500, 65_507] {
            let answer = answered(serving.at(number), length);
            assert_eq!(answer, Ok(format!("53 192.0.2.2 {length}")), "{:?}", serving.lines);
        }
    }
    // The answer comes from 127.0.0.2, or the connected socket would not get it.
    let other = SocketAddr::from(([127, 0, 0, 2], serving.at(2).port()));
    assert_eq!(answered(other, 7), Ok("53 192.0.2.2 7".into()));
    let at = serving.at(0);
    let clients: Vec<_> =
        (1..=100).map(|length| thread::spawn(move || (length, answered(at, length)))).collect();
    for client in clients {
        let (length, answer) = client.join().unwrap();
        assert_eq!(answer, Ok(format!("53 192.0.2.2 {length}")));
    }
    drop(serving);
    let mut serving = Serving::start(&flags, &["127.0.0.1", "udp", "53"]);
    assert_eq!(answered(serving.at(0), 3), Ok("53 127.0.0.1 3".into()));
    assert!(answered(serving.at(2), 3).is_err());
    let message = serving.message();
    assert!(message.contains("/udp: the server inside listens on 127.0.0.1:53"), "{message}");
}

/// More clients than are kept: the oldest is forgotten, and each new one gets its answer.
#[test]
fn a_new_datagram_client_takes_the_place_of_the_oldest() {
    if ran_with_loopback("a_new_datagram_client_takes_the_place_of_the_oldest") {
        return;
    }
    let serving = Serving::start(&["-p", "127.0.0.1:0:53/udp"], &["0.0.0.0", "udp", "53"]);
    for length in 0..600 {
        assert_eq!(answered(serving.at(0), length), Ok(format!("53 192.0.2.2 {length}")));
    }
    let pid = serving.sandbox.id();
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    let relay = children.split_whitespace().last().unwrap();
    if let Ok(descriptors) = fs::read_dir(format!("/proc/{relay}/fd")) {
        let count = descriptors.count();
        assert!((500..=520).contains(&count), "{count}");
    }
}

/// On a bridge, a client arrives at the container's own address. A server on 127.0.0.1 is reached from nowhere.
#[test]
fn on_a_bridge_only_the_container_s_own_address_is_reached() {
    let shown = from_lab(
        r#"ip link set lo up
        $S net --mode bridge -p 8080:80 -p 127.0.0.1:8081:80 -q -- perl -e "$SERVE" 0.0.0.0 80 all & all=$!
        until_true '[ "$(ask 127.0.0.1 8080)" != no ]'; ask 127.0.0.1 8080; ask 127.0.0.1 8081; kill $all; wait $all
        $S net --mode bridge -p 8080:80 -p 127.0.0.1:8081:80 -q -- bash -c '
            (until grep -q " 0100007F:0050 .* 0A " /proc/net/tcp; do sleep 0.05; done; echo > /run/up) &
            exec perl -e "$SERVE" 127.0.0.1 80 own' 2> /run/errors & own=$!
        until_true '[ -e /run/up ]'; ask 127.0.0.1 8080; ask 127.0.0.1 8081; ask 127.0.0.1 8081
        kill $own; wait $own; grep -c "127.0.0.1:80 and is not reached: on a bridge" /run/errors"#,
    );
    assert_eq!(shown, "all 10.111.0.2\nall 10.111.0.2\nno\nno\nno\n2\n");
}

/// If a firewall rewrites addresses, a neighbour can reach a port published on 127.0.0.1: it sends packets to
/// 127.0.0.1 through this host. A socket that listens on 127.0.0.1 is not reachable that way.
#[test]
fn what_is_published_on_loopback_is_not_reached_from_a_neighbour() {
    let shown = from_lab(
        r#"ip link set lo up; neighbour beta 1
        $S net --mode bridge -p 127.0.0.1:8080:80 -p 8081:80 -q -- perl -e "$SERVE" 0.0.0.0 80 container & first=$!
        until_true '[ "$(ask 127.0.0.1 8080)" != no ]'; ask 127.0.0.1 8080
        at beta ip address del 127.0.0.1/8 dev lo; at beta sysctl -qw net.ipv4.conf.all.route_localnet=1 \
            net.ipv4.conf.eth0.route_localnet=1; at beta ip route add 127.0.0.0/8 via 192.0.2.11 src 192.0.2.12
        at beta perl -e "$ASK" 127.0.0.1 8080; at beta perl -e "$ASK" 192.0.2.11 8080; at beta perl -e "$ASK" 192.0.2.11 8081
        cat /proc/sys/net/ipv4/conf/*/route_localnet | sort -u; kill $first; wait $first; true"#,
    );
    assert_eq!(shown, "container 10.111.0.2\nno\nno\ncontainer 10.111.0.2\n0\n");
}

/// The relay also works with another user's IDs, a time namespace (a helper creates the child), an init, or a root.
#[test]
fn a_port_is_published_whatever_else_is_isolated() {
    if ran_with_loopback("a_port_is_published_whatever_else_is_isolated") {
        return;
    }
    let specs = [
        "pid: { init: true }\nuser: { map: root }\ntime: { boottime: 1h }\nmnt:\n",
        "rootfs: host\npid:\nuts:\nipc:\ncapabilities: default\nseccomp: default\nno_new_privileges: true\n",
        "user: { map: root }\ncapabilities: { keep: [net_bind_service] }\n",
    ];
    for spec in specs {
        let spec = format!("{spec}net: {{ publish: [\"127.0.0.1:0:8080\"] }}\n");
        let serve = SERVE.replace("while (", "print STDERR \"up\\n\"; while (");
        let mut child =
            sandbox(&["run", "-", "-q", "--", "perl", "-e", &serve, "127.0.0.1", "8080", "hello"])
                .stdin(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
        child.stdin.take().unwrap().write_all(spec.as_bytes()).unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
        let told = lines.next().unwrap_or_default();
        let port = told.split("127.0.0.1:").nth(1).and_then(|rest| rest.split(' ').next()?.parse().ok());
        let Some(port) = port else { panic!("{spec}{told}\n{}", lines.collect::<Vec<_>>().join("\n")) };
        assert_eq!(lines.next().as_deref(), Some("up"), "{spec}");
        let mut heard = String::new();
        TcpStream::connect(("127.0.0.1", port)).unwrap().read_to_string(&mut heard).unwrap();
        assert_eq!(heard, "hello 127.0.0.1\n", "{spec}");
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
