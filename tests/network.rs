//! The ways out of a network namespace: the bridge and published ports. The tests check which side can connect to
//! which.

mod support;

use std::fs;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::{Child, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use support::{binary, feed, is_root, run, sandbox, text};

/// A server for perl(1): `ADDRESS PORT TEXT`. It sends TEXT and the client's address to each client.
const SERVE: &str = r#"use IO::Socket::INET; $SIG{PIPE} = 'IGNORE';
    $s = IO::Socket::INET->new(LocalAddr => $ARGV[0], LocalPort => $ARGV[1], Listen => 9, ReuseAddr => 1) or die $!;
    while ($c = $s->accept) { print $c "$ARGV[2] ", $c->peerhost, "\n"; close $c }"#;

/// A client: `ADDRESS PORT [SOURCE ADDRESS]`. It prints what it receives, or `no`.
const ASK: &str = r#"use IO::Socket::INET; @own = $ARGV[2] ? (LocalAddr => $ARGV[2]) : ();
    $s = IO::Socket::INET->new(PeerAddr => $ARGV[0], PeerPort => $ARGV[1], Timeout => 1, @own) or print("no\n"), exit;
    $SIG{ALRM} = sub { print "no\n"; exit }; alarm 2; $words = <$s>; print length($words) ? $words : "no\n""#;

/// An echo server. It answers after the client has closed its sending side: the bytes received, then their count.
const ECHO: &str = r#"use IO::Socket::INET; $SIG{CHLD} = 'IGNORE';
    $s = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => 80, Listen => 512, ReuseAddr => 1) or die $!;
    while (1) { $c = $s->accept or next; if (fork) { close $c; next } local $/; $all = <$c>; print $c $all, length $all; exit }"#;

/// Runs a shell script as root in a new network namespace that represents the host. It has a new /run. Processes that
/// the script leaves are killed when it ends. `$S` is `sandbox`. `serve` and `ask` run the perl scripts above. A
/// command in a container runs them as `perl -e "$SERVE"`. `neighbour NAME NUMBER` creates a neighbour at the other
/// end of a veth pair. The address here is 192.0.2.NUMBER1, and the neighbour's is 192.0.2.NUMBER2. `at NAME COMMAND`
/// runs a command in the neighbour's namespace.
fn in_lab(script: &str) -> Output {
    let script = format!(
        r#"until_true() {{ for i in $(seq 250); do eval "$1" && return; sleep 0.02; done; echo "never: $1" >&2; exit 1; }}
        serve() {{ perl -e "$SERVE" "$@" & }}
        ask() {{ perl -e "$ASK" "$@"; }}
        at() {{ name=$1; shift; nsenter --net=/proc/$(cat /run/$name)/ns/net "$@"; }}
        neighbour() {{
            unshare --net sleep 60 & echo $! > /run/$1
            until_true "[ \$(readlink /proc/$!/ns/net) != $(readlink /proc/self/ns/net) ]"
            ip link add $1 type veth peer name eth0 netns $!
            ip address add 192.0.2.${{2}}1/28 dev $1; ip link set $1 up
            at $1 ip address add 192.0.2.${{2}}2/28 dev eth0; at $1 ip link set eth0 up; at $1 ip link set lo up
        }}
        devices() {{ echo $(tail -n +3 /proc/net/dev | cut -d: -f1 | sort); }}
        echo 0 > /proc/sys/net/ipv4/ip_forward
        forward() {{ cat /proc/sys/net/ipv4/ip_forward; }}
        {script}"#
    );
    let own = r#"exec "$S" mnt --tmpfs /run -q -- "$S" pid -q -- bash -c "$SCRIPT""#;
    let mut lab = sandbox(&["net", "-q", "--", "sh", "-c", own]);
    let words = [("SCRIPT", script.as_str()), ("SERVE", SERVE), ("ASK", ASK), ("ECHO", ECHO)];
    lab.env("S", binary()).envs(words).output().unwrap()
}

/// Standard output of such a script, which must succeed.
fn from_lab(script: &str) -> String {
    let output = in_lab(script);
    assert!(output.status.success(), "{script}: {}\n{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

/// Starts a container with a server on the bridge, in the background, and waits until it answers.
const SERVER: &str = r#"$S net --mode bridge -q -- perl -e "$SERVE" 0.0.0.0 80 container & first=$!
    until_true '[ "$(ask 10.111.0.2 80)" = "container 10.111.0.1" ]'"#;

#[test]
fn a_container_on_the_bridge_has_an_address_and_a_way_out() {
    let shown = from_lab(
        r#"neighbour beta 1; at beta perl -e "$SERVE" 192.0.2.12 80 neighbour &
        until_true '[ "$(ask 192.0.2.12 80)" != no ]'
        $S net --mode bridge -q -- bash -c 'cat /proc/net/route /proc/net/fib_trie; echo; perl -e "$ASK" 192.0.2.12 80'"#,
    );
    let routes: Vec<&str> = shown.lines().filter(|line| line.starts_with("eth0\t")).collect();
    // 10.111.0.1 is the gateway. /proc/net/route prints addresses as hexadecimal numbers in the machine's byte order.
    let gateway = format!("{:08X}", u32::from_ne_bytes([10, 111, 0, 1]));
    assert!(routes.len() == 2 && routes[0].contains(&format!("00000000\t{gateway}")), "{shown}");
    let words = shown.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("|-- 10.111.0.2 /32 host LOCAL"), "{shown}");
    // The neighbour has no route to the container. It sees the host's address.
    assert!(shown.ends_with("neighbour 192.0.2.11\n"), "{shown}");
}

#[test]
fn a_neighbour_reaches_no_container_by_taking_this_machine_for_a_router() {
    let shown = from_lab(&format!(
        r#"{SERVER}; neighbour beta 1; at beta ip route add 10.111.0.0/24 via 192.0.2.11
        at beta perl -e "$ASK" 10.111.0.2 80; kill $first; wait $first; true"#
    ));
    assert_eq!(shown, "no\n");
}

/// The host forwards for containers only. If forwarding was enabled before, it stays enabled for all.
#[test]
fn nothing_else_is_forwarded_unless_it_was_before() {
    for (before, answer) in [("0", "no\n"), ("1", "other 192.0.2.12\n")] {
        let shown = from_lab(&format!(
            r#"echo {before} > /proc/sys/net/ipv4/ip_forward; {SERVER}; neighbour beta 1
            neighbour gamma 3; ip address del 192.0.2.31/28 dev gamma; ip address add 192.0.2.33/28 dev gamma
            at gamma ip address del 192.0.2.32/28 dev eth0; at gamma ip address add 192.0.2.34/28 dev eth0
            at beta ip route add default via 192.0.2.11; at gamma ip route add default via 192.0.2.33
            at gamma perl -e "$SERVE" 192.0.2.34 80 other & until_true '[ "$(ask 192.0.2.34 80)" != no ]'
            at beta perl -e "$ASK" 192.0.2.34 80; kill $first; wait $first; forward"#
        ));
        assert_eq!(shown, format!("{answer}{before}\n"));
    }
}

#[test]
fn two_containers_share_the_bridge_and_not_a_word_and_the_last_removes_it() {
    // With bridge-nf-call-iptables, the firewall rules also apply to bridged packets. They would hide that ports are
    // not isolated.
    let shown = from_lab(&format!(
        r#"echo 0 > /proc/sys/net/bridge/bridge-nf-call-iptables; {SERVER}
        $S net --mode bridge -q -- bash -c 'perl -e "$ASK" 10.111.0.2 80; sleep 60' & second=$!
        until_true '[ $(devices | grep -o sbx- | wc -l) = 2 ]'; sleep 2
        kill $first; wait $first; devices; forward; kill $second; wait $second; devices; forward; ls /run"#
    ));
    let lines: Vec<&str> = shown.lines().collect();
    assert_eq!(lines[0], "no", "{shown}");
    assert!(lines[1].starts_with("lo sandbox0 sbx-") && lines[2] == "1", "{shown}");
    assert_eq!(lines[3..], ["lo", "0"], "{shown}");
}

#[test]
fn starts_at_one_time_have_an_address_each() {
    let shown = from_lab(
        r#"for i in $(seq 12); do $S net --mode bridge -q -- bash -c '
            grep -B1 "host LOCAL" /proc/net/fib_trie | grep -o 10.111.*; sleep 3' >> /run/all & done
        wait; sort -u /run/all | wc -l; devices; forward"#,
    );
    assert_eq!(shown, "12\nlo\n0\n");
}

/// Root in the container has every capability in its network namespace. Packets with another IP or MAC address are
/// still dropped.
#[test]
fn a_container_cannot_send_as_another() {
    let shown = from_lab(
        r#"$S net --mode bridge -q -- sleep 60 & until_true 'devices | grep -q sandbox0'; serve 10.111.0.1 80 machine
        $S net --mode bridge -q -- bash -c '
            perl -e "$ASK" 10.111.0.1 80
            ip address add 10.111.0.77/24 dev eth0; perl -e "$ASK" 10.111.0.1 80 10.111.0.77
            ip link set eth0 address 02:73:0a:6f:00:02; perl -e "$ASK" 10.111.0.1 80'
        grep -c 10.111.0.77 /proc/net/arp; true"#,
    );
    assert_eq!(shown, "machine 10.111.0.3\nno\nno\n0\n");
}

#[test]
fn a_killed_sandbox_leaves_nothing_once_the_next_command_has_run() {
    // No file in /proc lists nftables tables. If the first address is free again, its table has been removed.
    let first = r#"$S net --mode bridge -q -- grep -c 'eth0' /proc/net/route"#;
    let shown = from_lab(&format!(
        r#"for delay in 0.000 0.002 0.004 0.006 0.008 0.010 0.012 0.014 0.016 0.018 0.020 0.025 0.03 0.04 0.06 0.3; do
            $S net --mode bridge -p 127.0.0.1:0:80 -q -- sleep 60 2>/dev/null & sleep $delay; kill -KILL $!; wait $!
            $S gc > /dev/null; until_true '[ "$(devices)" = "lo" ]'; forward; ls /run
        done 2>/dev/null; {first}; $S net --mode bridge -q -- grep -c '10.111.0.2$' /proc/net/fib_trie"#
    ));
    assert_eq!(shown, format!("{}2\n2\n", "0\n".repeat(16)));
}

#[test]
fn a_device_of_the_bridge_s_name_that_is_not_ours_stays() {
    let output = in_lab(
        "ip link add sandbox0 type bridge; $S net --mode bridge -- true; echo = $?; ip link show sandbox0 | wc -l",
    );
    assert_eq!(text(&output.stdout), "= 125\n2\n");
    assert!(text(&output.stderr).contains("sandbox0 already exists"), "{}", text(&output.stderr));
}

/// A subnet that already has a route is not used, whether the route is from `sandbox` or from another program.
#[test]
fn a_container_in_a_container_has_a_network_of_its_own() {
    let shown = from_lab(
        r#"$S net --mode bridge -q -- $S mnt --tmpfs /run -q -- $S net --mode bridge -q -- \
            grep -o '10.111.1.2$' /proc/net/fib_trie | sort -u"#,
    );
    assert_eq!(shown, "10.111.1.2\n");
}

#[test]
fn the_check_and_the_spec_hold_with_a_bridge() {
    let shown = from_lab(
        r#"printf 'net: { mode: bridge }\nuts: { hostname: box }\ncommand: [sleep, "60"]\n' > /run/box.yaml
        $S run /run/box.yaml -q & until_true 'pgrep -P $! sleep > /run/pid'; $S verify $(cat /run/pid) /run/box.yaml
        nsenter --net --target $(cat /run/pid) ip route del default; $S verify $(cat /run/pid) /run/box.yaml 2>&1
        kill $!; wait; true"#,
    );
    assert!(shown.contains("matches its spec:"), "{shown}");
    assert!(shown.contains("/net/route 0.0.0.0"), "{shown}");
}

#[test]
fn who_may_not_have_a_bridge_is_told_of_ports() {
    if is_root() {
        return;
    }
    let output = run(&["net", "--mode", "bridge", "--", "true"]);
    assert_eq!(output.status.code(), Some(125));
    assert!(text(&output.stderr).contains("publish:"), "{}", text(&output.stderr));
    let spec = "uts:\nnet: { mode: bridge }\noptional: [net]\n";
    let output = feed(&mut sandbox(&["run", "-", "-q", "--", "true"]), spec);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("without net (optional)"), "{}", text(&output.stderr));
}

#[test]
fn this_machine_s_own_network_is_that_and_said() {
    let own = fs::read_link("/proc/self/ns/net").unwrap();
    let spec = "uts:\nnet: { mode: host }\n";
    let output = feed(&mut sandbox(&["run", "-", "--", "readlink", "/proc/self/ns/net"]), spec);
    assert_eq!(text(&output.stdout).trim(), own.to_str().unwrap());
    assert!(text(&output.stderr).contains("the host's network"), "{}", text(&output.stderr));
    let output =
        feed(&mut sandbox(&["run", "-", "--", "true"]), "uts:\nnet: { mode: host, publish: [\"0:80\"] }\n");
    assert_eq!(output.status.code(), Some(125), "{}", text(&output.stderr));
}

/// Returns true if the test has already been run to its end in a new network namespace with lo up. This happens when
/// lo is down here, as in the namespaces that `scripts/test` creates.
fn ran_with_loopback(test: &str) -> bool {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    if TcpStream::connect(listener.local_addr().unwrap()).is_ok() {
        return false;
    }
    let own = std::env::current_exe().unwrap();
    let output = sandbox(&["net", "-q", "--", own.to_str().unwrap(), "--exact", test, "--nocapture"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
    true
}

/// A container that runs a perl script. Its port 80 is published on a free port of 127.0.0.1.
struct Published {
    sandbox: Child,
    port: u16,
}

impl Published {
    fn start(script: &str) -> Published {
        let mut sandbox = sandbox(&["net", "-p", "127.0.0.1:0:80", "-q", "--", "perl", "-e", script])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(sandbox.stderr.take().unwrap()).read_line(&mut line).unwrap();
        let port = line.split("127.0.0.1:").nth(1).and_then(|rest| rest.split(' ').next());
        Published { sandbox, port: port.unwrap_or_else(|| panic!("{line}")).parse().unwrap() }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        // With a timeout, a relay that loses a connection fails the test and does not block it.
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream
    }

    /// Waits until the server in the container listens. Until then, the relay resets connections.
    fn ready(self) -> Published {
        let deadline = Instant::now() + Duration::from_secs(10);
        while echoed(self.connect(), b"?").is_err() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(20));
        }
        self
    }
}

impl Drop for Published {
    fn drop(&mut self) {
        let _ = self.sandbox.kill();
        let _ = self.sandbox.wait();
    }
}

/// Sends bytes, shuts down the sending side, and reads the answer.
fn echoed(mut stream: TcpStream, words: &[u8]) -> std::io::Result<Vec<u8>> {
    stream.write_all(words)?;
    stream.shutdown(Shutdown::Write)?;
    let mut heard = Vec::new();
    stream.read_to_end(&mut heard)?;
    Ok(heard)
}

#[test]
fn a_client_that_has_said_all_still_gets_the_answer() {
    if ran_with_loopback("a_client_that_has_said_all_still_gets_the_answer") {
        return;
    }
    let published = Published::start(ECHO).ready();
    assert_eq!(echoed(published.connect(), b"hello").unwrap(), b"hello5");
    let much = vec![b'x'; 3 << 20];
    let heard = echoed(published.connect(), &much).unwrap();
    assert!(heard.starts_with(&much) && heard.ends_with(b"x3145728"), "{}", heard.len());
}

#[test]
fn one_that_does_not_read_holds_up_nobody() {
    if ran_with_loopback("one_that_does_not_read_holds_up_nobody") {
        return;
    }
    let published = Published::start(ECHO).ready();
    let mut slow = published.connect();
    slow.write_all(&vec![b'x'; 16 << 20]).unwrap();
    slow.shutdown(Shutdown::Write).unwrap();
    let relay = fs::read_to_string(format!("/proc/{0}/task/{0}/children", published.sandbox.id())).unwrap();
    let relay = relay.split_whitespace().last().unwrap().to_owned();
    // The relay must not poll in a loop. The ticks are user and system time, see proc_pid_stat(5).
    let ticks = || {
        let stat = fs::read_to_string(format!("/proc/{relay}/stat")).unwrap();
        let words = stat.rsplit(')').next().unwrap().split_whitespace();
        words.skip(11).take(2).map(|ticks| ticks.parse::<u32>().unwrap()).sum::<u32>()
    };
    thread::sleep(Duration::from_millis(300));
    let before = ticks();
    thread::sleep(Duration::from_millis(500));
    assert!(ticks() - before < 10, "{} ticks", ticks() - before);
    let clients: Vec<_> = (0..100)
        .map(|number: u32| {
            let stream = published.connect();
            thread::spawn(move || {
                let words = vec![b'y'; 1000 + number as usize];
                assert_eq!(echoed(stream, &words).unwrap().len(), words.len() + 4);
            })
        })
        .collect();
    clients.into_iter().for_each(|client| client.join().unwrap());
    // The relay does not buffer data without limit when the receiver does not read.
    let status = fs::read_to_string(format!("/proc/{relay}/status")).unwrap();
    let held = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap().trim();
    assert!(held.trim_end_matches(" kB").parse::<u32>().unwrap() < 8 << 10, "{held}");
    let mut heard = Vec::new();
    slow.read_to_end(&mut heard).unwrap();
    assert_eq!(heard.len(), (16 << 20) + 8);
}

#[test]
fn the_last_words_of_a_container_arrive() {
    if ran_with_loopback("the_last_words_of_a_container_arrive") {
        return;
    }
    let once = r#"use IO::Socket::INET;
        $s = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => 80, Listen => 9) or die $!;
        while (1) { $c = $s->accept; $words = <$c>; if ($words eq "?") { print $c "!"; close $c; next }
            print $c "z" x 20000000; close $c; exit 7 }"#;
    let mut published = Published::start(once).ready();
    let mut stream = published.connect();
    stream.write_all(b"now\n").unwrap();
    let (mut heard, mut buffer) = (0, vec![0; 1 << 20]);
    while heard < 20_000_000 {
        thread::sleep(Duration::from_millis(5));
        match stream.read(&mut buffer).unwrap() {
            0 => break,
            read => heard += read,
        }
    }
    assert_eq!(heard, 20_000_000);
    assert_eq!(published.sandbox.wait().unwrap().code(), Some(7));
}

#[test]
fn who_finds_nobody_inside_is_told_by_a_reset() {
    if ran_with_loopback("who_finds_nobody_inside_is_told_by_a_reset") {
        return;
    }
    let published = Published::start("sleep 60");
    let read = published.connect().read(&mut [0]);
    assert_eq!(read.map_err(|error| error.kind()), Err(ErrorKind::ConnectionReset));
}

#[test]
fn the_relay_ends_with_the_container_and_with_sandbox() {
    if ran_with_loopback("the_relay_ends_with_the_container_and_with_sandbox") {
        return;
    }
    for signal in [nix::sys::signal::SIGTERM, nix::sys::signal::SIGKILL] {
        let mut published = Published::start(ECHO).ready();
        // A connection that is never closed.
        let _idle = published.connect();
        let pid = nix::unistd::Pid::from_raw(published.sandbox.id().cast_signed());
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
        assert_eq!(children.split_whitespace().count(), 2, "{children}");
        nix::sys::signal::kill(pid, signal).unwrap();
        let begun = Instant::now();
        let status = published.sandbox.wait().unwrap();
        let is_term = signal == nix::sys::signal::SIGTERM;
        assert_eq!(status.code(), is_term.then_some(143));
        assert!(begun.elapsed() < Duration::from_secs(5));
        let deadline = Instant::now() + Duration::from_secs(5);
        let lives = |pid: &str| fs::read_to_string(format!("/proc/{pid}/comm")).is_ok();
        while children.split_whitespace().any(lives) && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(10));
        }
        assert!(!children.split_whitespace().any(lives), "{children}");
        let refused = TcpStream::connect(("127.0.0.1", published.port)).map_err(|error| error.kind());
        assert!(matches!(refused, Err(ErrorKind::ConnectionRefused)), "{refused:?}");
    }
}

/// The error comes before anything is created: no process, no namespace, no journal.
#[test]
fn a_port_that_cannot_be_had_is_said_first() {
    if ran_with_loopback("a_port_that_cannot_be_had_is_said_first") {
        return;
    }
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = format!("{}:80", taken.local_addr().unwrap());
    let output = run(&["net", "-p", &port, "-q", "--", "true"]);
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(125), "{error}");
    assert!(error.contains("EADDRINUSE") && error.contains("ss -ltnp"), "{error}");
    let output = run(&["net", "-p", "192.0.2.77:0:80", "-q", "--", "true"]);
    assert!(text(&output.stderr).contains("ip address"), "{}", text(&output.stderr));
    let first = fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").unwrap();
    if !is_root() && first.trim().parse::<u16>().unwrap() > 81 {
        let output = run(&["net", "-p", "127.0.0.1:81:80", "-q", "--", "true"]);
        assert!(text(&output.stderr).contains("ip_unprivileged_port_start"), "{}", text(&output.stderr));
    }
    for bad in ["80", "80:", "a:80", "53:53/udp"] {
        assert_eq!(run(&["net", "-p", bad, "--", "true"]).status.code(), Some(2), "{bad}");
    }
}

/// If a firewall rewrites addresses, a neighbour can reach a port published on 127.0.0.1: it sends packets to
/// 127.0.0.1 through this host. A socket that listens on 127.0.0.1 is not reachable that way.
#[test]
fn what_is_published_on_loopback_is_not_reached_from_a_neighbour() {
    let shown = from_lab(
        r#"ip link set lo up; neighbour beta 1
        $S net --mode bridge -p 127.0.0.1:8080:80 -p 8081:80 -q -- perl -e "$SERVE" 127.0.0.1 80 container & first=$!
        until_true '[ "$(ask 127.0.0.1 8080)" != no ]'; ask 127.0.0.1 8080
        at beta ip address del 127.0.0.1/8 dev lo; at beta sysctl -qw net.ipv4.conf.all.route_localnet=1 \
            net.ipv4.conf.eth0.route_localnet=1; at beta ip route add 127.0.0.0/8 via 192.0.2.11 src 192.0.2.12
        at beta perl -e "$ASK" 127.0.0.1 8080; at beta perl -e "$ASK" 192.0.2.11 8080; at beta perl -e "$ASK" 192.0.2.11 8081
        cat /proc/sys/net/ipv4/conf/*/route_localnet | sort -u; kill $first; wait $first; true"#,
    );
    assert_eq!(shown, "container 127.0.0.1\nno\nno\ncontainer 127.0.0.1\n0\n");
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

/// The relay is in the container's user namespace, and no PID namespace hides it. Still, root in the container cannot
/// trace it or read its memory. The relay has no capabilities.
#[test]
fn the_relay_is_not_the_container_s_to_trace() {
    let script = "for pid in $(cat /proc/$PPID/task/$PPID/children); do
        [ $pid = $$ ] && name=own || name=relay
        readlink /proc/$pid/exe >/dev/null && echo $name seen || echo $name hidden
        grep CapEff /proc/$pid/status; done";
    let spec = "user: { map: root }\nnet: { publish: [\"127.0.0.1:0:80\"] }\n";
    let output = feed(&mut sandbox(&["run", "-", "-q", "--", "sh", "-c", script]), spec);
    let shown = text(&output.stdout);
    let lines: Vec<&str> = shown.lines().collect();
    let [own, _, relay, capabilities] = lines[..] else { panic!("{shown}{}", text(&output.stderr)) };
    assert_eq!((own, relay, capabilities), ("own seen", "relay hidden", "CapEff:\t0000000000000000"));
}
