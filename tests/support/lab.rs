//! A machine of its own for tests of networks: a new network namespace, and scripts that serve and connect in it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::{Child, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::{binary, sandbox, text};

/// A server for perl(1): `ADDRESS PORT TEXT`. It sends TEXT and the client's address to each client.
pub const SERVE: &str = r#"use IO::Socket::INET; $SIG{PIPE} = 'IGNORE';
    $s = IO::Socket::INET->new(LocalAddr => $ARGV[0], LocalPort => $ARGV[1], Listen => 9, ReuseAddr => 1) or die $!;
    while ($c = $s->accept) { print $c "$ARGV[2] ", $c->peerhost, "\n"; close $c }"#;

/// A client: `ADDRESS PORT [SOURCE ADDRESS]`. It prints what it receives, or `no`.
pub const ASK: &str = r#"use IO::Socket::INET; @own = $ARGV[2] ? (LocalAddr => $ARGV[2]) : ();
    $s = IO::Socket::INET->new(PeerAddr => $ARGV[0], PeerPort => $ARGV[1], Timeout => 1, @own) or print("no\n"), exit;
    $SIG{ALRM} = sub { print "no\n"; exit }; alarm 2; $words = <$s>; print length($words) ? $words : "no\n""#;

/// An echo server. It answers after the client has closed its sending side: the bytes received, then their count.
pub const ECHO: &str = r#"use IO::Socket::INET; $SIG{CHLD} = 'IGNORE';
    $s = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => 80, Listen => 512, ReuseAddr => 1) or die $!;
    while (1) { $c = $s->accept or next; if (fork) { close $c; next } local $/; $all = <$c>; print $c $all, length $all; exit }"#;

/// Runs a shell script as root in a new network namespace that represents the host. It has a new /run. Processes that
/// the script leaves are killed when it ends. `$S` is `sandbox`. `serve` and `ask` run the perl scripts above. A
/// command in a container runs them as `perl -e "$SERVE"`. `neighbour NAME NUMBER` creates a neighbour at the other
/// end of a veth pair. The address here is 192.0.2.NUMBER1, and the neighbour's is 192.0.2.NUMBER2. `at NAME COMMAND`
/// runs a command in the neighbour's namespace.
pub fn in_lab(script: &str) -> Output {
    let script = format!(
        r#"until_true() {{ for i in $(seq 1000); do eval "$1" && return; sleep 0.02; done; echo "never: $1" >&2; exit 1; }}
        serve() {{
            perl -e "$SERVE" "$@" &
            until_true "grep -q ':$(printf %04X $2) 00000000:0000 0A' /proc/net/tcp"
        }}
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
        lab=$(ls /run/sandbox)
        others() {{ ls /run/sandbox | grep -v -x "$lab"; true; }}
        echo 0 > /proc/sys/net/ipv4/ip_forward
        forward() {{ cat /proc/sys/net/ipv4/ip_forward; }}
        {script}"#
    );
    let own = r#"exec "$S" pid -q -- "$S" mnt --tmpfs /run -q -- bash -c "$SCRIPT""#;
    let mut lab = sandbox(&["net", "-q", "--", "sh", "-c", own]);
    let words = [("SCRIPT", script.as_str()), ("SERVE", SERVE), ("ASK", ASK), ("ECHO", ECHO)];
    lab.env("S", binary()).envs(words).output().unwrap()
}

/// Standard output of such a script, which must succeed.
pub fn from_lab(script: &str) -> String {
    let output = in_lab(script);
    assert!(output.status.success(), "{script}: {}\n{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

/// Whether lo is up here.
pub fn has_loopback() -> bool {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| TcpStream::connect(listener.local_addr()?)).is_ok()
}

/// Returns true if the test has already been run to its end in a new network namespace with lo up. This happens when
/// lo is down here, as in the namespaces that `scripts/test` creates.
pub fn ran_with_loopback(test: &str) -> bool {
    if has_loopback() {
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
pub struct Published {
    pub sandbox: Child,
    pub port: u16,
}

impl Published {
    pub fn start(script: &str) -> Published {
        Published::start_with(&["-p", "127.0.0.1:0:80"], script).0
    }

    /// The same with these flags. The port is the first of those that `sandbox` prints; the others are returned too.
    pub fn start_with(flags: &[&str], script: &str) -> (Published, Vec<u16>) {
        let words = [&["net", "-q"], flags, &["--", "perl", "-e", script]].concat();
        Published::spawn(sandbox(&words), flags)
    }

    /// The same with a limit of open files. The limit of `sandbox` is that of its relay.
    pub fn start_limited(files: u32, flags: &[&str], script: &str) -> (Published, Vec<u16>) {
        let mut command = std::process::Command::new("sh");
        command.args(["-c", &format!("ulimit -n {files}; exec \"$0\" \"$@\"")]).arg(binary());
        command.args([&["net", "-q"], flags, &["--", "perl", "-e", script]].concat()).stdin(Stdio::null());
        Published::spawn(command, flags)
    }

    fn spawn(mut command: std::process::Command, flags: &[&str]) -> (Published, Vec<u16>) {
        let mut sandbox = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(sandbox.stderr.take().unwrap()).lines();
        let mut ports: Vec<u16> = (0..flags.len() / 2)
            .map(|_| {
                let line = lines.next().unwrap_or(Ok(String::new())).unwrap();
                let port = line.split("127.0.0.1:").nth(1).and_then(|rest| rest.split([' ', '/']).next());
                port.and_then(|port| port.parse().ok()).unwrap_or_else(|| panic!("{line}"))
            })
            .collect();
        // What follows must not fill the pipe.
        thread::spawn(move || lines.for_each(drop));
        (Published { sandbox, port: ports.remove(0) }, ports)
    }

    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        // With a timeout, a relay that loses a connection fails the test and does not block it.
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream
    }

    /// Waits until the server in the container listens. Until then, the relay resets connections.
    pub fn ready(self) -> Published {
        let deadline = Instant::now() + Duration::from_secs(20);
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
pub fn echoed(mut stream: TcpStream, words: &[u8]) -> std::io::Result<Vec<u8>> {
    stream.write_all(words)?;
    stream.shutdown(Shutdown::Write)?;
    let mut heard = Vec::new();
    stream.read_to_end(&mut heard)?;
    Ok(heard)
}
