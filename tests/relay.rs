//! The relay of published ports: what it passes on, what it bounds, and how it ends.

mod support;

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use support::lab::{ECHO, Published, echoed, ran_with_loopback};
use support::{feed, sandbox, text, wait_until};

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
    // Before, it fills the buffers.
    wait_until("it rests", || {
        let before = ticks();
        thread::sleep(Duration::from_millis(500));
        ticks() - before < 10
    });
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

/// Two servers in one process: the one on port 81 accepts and never reads. The one on port 80 answers with a checksum of
/// all that it has read, and their number.
const SERVERS: &str = r#"use IO::Socket::INET; use IO::Select; use Digest::SHA; $SIG{CHLD} = 'IGNORE';
    sub listener { IO::Socket::INET->new(LocalAddr => '0.0.0.0', LocalPort => $_[0], Listen => 512, ReuseAddr => 1) or die $! }
    $count = listener(80); $mute = listener(81); $both = IO::Select->new($count, $mute);
    while (1) { for $s ($both->can_read) { $c = $s->accept or next;
        if ($s == $mute) { push @kept, $c; next }
        if (fork) { close $c; next }
        $sum = Digest::SHA->new(256); $bytes = 0;
        while ($read = sysread $c, $buffer, 65536) { $sum->add($buffer); $bytes += $read }
        print $c $sum->hexdigest, " $bytes"; exit } }"#;

/// Starts these servers. Port 80 is published on the first port, port 81 on the second.
fn servers() -> (Published, u16) {
    let ports = ["-p", "127.0.0.1:0:80", "-p", "127.0.0.1::81"];
    let (published, others) = Published::start_with(&ports, SERVERS);
    (published.ready(), others[0])
}

fn relay_of(published: &Published) -> String {
    let pid = published.sandbox.id();
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    children.split_whitespace().last().unwrap().to_owned()
}

/// Kinds: many bytes in one direction; bytes in both directions; a client that sends slowly; one that reads slowly.
#[test]
fn every_byte_arrives_in_its_place() {
    if ran_with_loopback("every_byte_arrives_in_its_place") {
        return;
    }
    let (published, _) = servers();
    let mut stream = published.connect();
    // 256 MiB of blocks that all differ.
    let mut block: Vec<u8> =
        (0..1_u32 << 18).flat_map(|word| word.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    let mut sum = Command::new("sha256sum").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut summed = sum.stdin.take().unwrap();
    for number in 0..256_u16 {
        block[..2].copy_from_slice(&number.to_le_bytes());
        stream.write_all(&block).unwrap();
        summed.write_all(&block).unwrap();
    }
    drop(summed);
    stream.shutdown(Shutdown::Write).unwrap();
    let mut heard = String::new();
    stream.read_to_string(&mut heard).unwrap();
    let sum = text(&sum.wait_with_output().unwrap().stdout);
    let sum = sum.split_whitespace().next().unwrap();
    assert_eq!(heard, format!("{sum} {}", 256 << 20));
}

/// Kinds: a server that accepts and never reads, with clients that write and stay, that write and close, that only
/// connect. Each kind fills the port that they use. The other port still answers, and memory stays bounded: the kernel's
/// buffers are counted in /proc/net/sockstat, in pages.
#[test]
fn clients_of_a_server_that_does_not_read_take_nothing_from_another_port() {
    if ran_with_loopback("clients_of_a_server_that_does_not_read_take_nothing_from_another_port") {
        return;
    }
    let (published, mute) = servers();
    let pages = || {
        let stat = fs::read_to_string("/proc/net/sockstat").unwrap();
        let words: Vec<&str> =
            stat.lines().find(|line| line.starts_with("TCP:")).unwrap().split(' ').collect();
        words[words.iter().position(|word| *word == "mem").unwrap() + 1].parse::<u64>().unwrap()
    };
    let before = pages();
    let mut kept = Vec::new();
    for number in 0..350 {
        let Ok(mut stream) =
            TcpStream::connect_timeout(&([127, 0, 0, 1], mute).into(), Duration::from_secs(2))
        else {
            break;
        };
        stream.set_nonblocking(true).unwrap();
        // The client's own buffer is counted too, so it is kept small.
        nix::sys::socket::setsockopt(&stream, nix::sys::socket::sockopt::SndBuf, &(32 << 10)).unwrap();
        if number % 3 != 2 {
            let block = vec![0; 1 << 16];
            for _ in 0..64 {
                if stream.write(&block).is_err() {
                    break;
                }
            }
        }
        if number % 3 != 1 {
            kept.push(stream);
        }
    }
    // On a slow machine, the relay may accept fewer than all of them until a connection times out.
    assert!(kept.len() > 50, "{}", kept.len());
    let answer = echoed(published.connect(), b"hello").unwrap();
    assert!(text(&answer).ends_with(" 5"), "{}", text(&answer));
    // 256 connections: here two buffers of each are full, the server's and the client's, and those in the backlog.
    let held = (pages().saturating_sub(before) * 4096) >> 20;
    assert!(held < 400, "{held} MiB");
    let descriptors = fs::read_dir(format!("/proc/{}/fd", relay_of(&published)));
    if let Ok(descriptors) = descriptors {
        let count = descriptors.count();
        assert!(count <= 2 * 256 + 16, "{count}");
    }
}

/// The bound of the relay's own memory: one read of 64 KiB for each direction of a connection. Here no server and no client
/// reads, and all of them write.
#[test]
fn the_relay_keeps_at_most_64_kib_of_each_direction() {
    const CLIENTS: u64 = 100;
    if ran_with_loopback("the_relay_keeps_at_most_64_kib_of_each_direction") {
        return;
    }
    let script = r#"use IO::Socket::INET; $SIG{PIPE} = 'IGNORE'; $block = "z" x 65536;
        $s = IO::Socket::INET->new(LocalAddr => '0.0.0.0', LocalPort => 80, Listen => 512, ReuseAddr => 1) or die $!;
        while (1) { $c = $s->accept or next; $c->blocking(0); push @kept, $c; for (@kept) { 1 while syswrite $_, $block } }"#;
    let published = Published::start(script);
    let deadline = Instant::now() + Duration::from_secs(10);
    while published.connect().read(&mut [0]).is_err() && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(20));
    }
    let relay = relay_of(&published);
    let peak = || {
        let status = fs::read_to_string(format!("/proc/{relay}/status")).unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        peak.trim().trim_end_matches(" kB").parse::<u64>().unwrap()
    };
    let before = peak();
    let block = vec![0; 1 << 16];
    let mut clients: Vec<_> = (0..CLIENTS).map(|_| published.connect()).collect();
    clients.iter().for_each(|client| client.set_nonblocking(true).unwrap());
    let mut sent = 0;
    for _ in 0..20 {
        for client in &mut clients {
            while let Ok(written) = client.write(&block) {
                sent += written;
            }
        }
        thread::sleep(Duration::from_millis(20));
    }
    // More than the relay may keep, so each direction was full.
    assert!(sent as u64 > CLIENTS * (128 << 10), "{sent}");
    let (grown, bound) = (peak() - before, CLIENTS * 2 * 64);
    assert!(grown <= bound + 1024, "{grown} KiB, and {bound} KiB is the bound");
}

/// Kinds: the client resets; the server resets; the server never accepted.
#[test]
fn a_reset_is_passed_on() {
    if ran_with_loopback("a_reset_is_passed_on") {
        return;
    }
    let script = r#"use IO::Socket::INET; use Socket; $| = 1;
        $s = IO::Socket::INET->new(LocalAddr => '0.0.0.0', LocalPort => 80, Listen => 9, ReuseAddr => 1) or die $!;
        while ($c = $s->accept) { $words = <$c>; if ($words eq "?") { print $c "!"; close $c; next }
            if ($words eq "reset\n") { setsockopt($c, SOL_SOCKET, SO_LINGER, pack('ii', 1, 0)); close $c; next }
            print $c "go\n"; $got = sysread $c, $buffer, 1; $last = defined $got ? "end" : $! + 0; close $c;
            $c = $s->accept; print $c $last; close $c }"#;
    let published = Published::start(script).ready();
    let mut stream = published.connect();
    stream.write_all(b"reset\n").unwrap();
    assert_eq!(stream.read(&mut [0]).map_err(|error| error.kind()), Err(ErrorKind::ConnectionReset));
    let mut stream = published.connect();
    stream.write_all(b"wait\n").unwrap();
    stream.read_exact(&mut [0; 3]).unwrap();
    nix::sys::socket::setsockopt(
        &stream,
        nix::sys::socket::sockopt::Linger,
        &nix::libc::linger { l_onoff: 1, l_linger: 0 },
    )
    .unwrap();
    drop(stream);
    let mut last = String::new();
    published.connect().read_to_string(&mut last).unwrap();
    assert_eq!(last, nix::libc::ECONNRESET.to_string());
}

/// With few descriptors, each port still serves: the limit of open files is shared among the ports.
#[test]
fn few_descriptors_are_shared_among_the_ports() {
    if ran_with_loopback("few_descriptors_are_shared_among_the_ports") {
        return;
    }
    // It accepts on both ports, and answers each client's first byte. It keeps the connections.
    let script = r#"use IO::Socket::INET; use IO::Select; $all = IO::Select->new;
        $all->add(IO::Socket::INET->new(LocalAddr => '0.0.0.0', LocalPort => $_, Listen => 99, ReuseAddr => 1)) for 80, 81;
        while (1) { for $s ($all->can_read) { if ($s->sockopt(30)) { $all->add($s->accept) }
            elsif (sysread $s, $word, 1) { syswrite $s, "!" } else { $all->remove($s); close $s } } }"#;
    let (published, others) =
        Published::start_limited(40, &["-p", "127.0.0.1:0:80", "-p", "127.0.0.1:0:81"], script);
    let published = published.ready();
    let _idle: Vec<_> = (0..30).map(|_| published.connect()).collect();
    let mut stream = TcpStream::connect(("127.0.0.1", others[0])).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream.write_all(b"?").unwrap();
    let mut heard = [0];
    stream.read_exact(&mut heard).unwrap();
    assert_eq!(&heard, b"!");
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
