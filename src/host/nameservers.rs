//! The DNS servers of this machine, and those of them that a container with another network can reach.
//!
//! resolv.conf(5) names them. Often it names a server on a loopback address of this machine, as systemd-resolved at
//! 127.0.0.53. Inside another network namespace, that address is another machine's, so to speak, and no server listens
//! there. systemd-resolved therefore keeps a second file with the servers that it asks itself.

use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::ffi::OsStringExt;

use crate::observe::file;

/// The file that programs read.
pub const RESOLV_CONF: &str = "/etc/resolv.conf";

/// The servers that systemd-resolved asks. systemd-resolved.service(8)
const SYSTEMD: &str = "/run/systemd/resolve/resolv.conf";

/// The content of a resolv.conf for a container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Nameservers {
    /// /etc/resolv.conf as it is.
    pub own: Vec<u8>,
    /// The content for a container with another network, without the servers that it cannot reach.
    pub reached: Vec<u8>,
    /// The servers that are left out, as they are written.
    pub left_out: Vec<String>,
    /// The file that is read in place of /etc/resolv.conf.
    pub instead: Option<&'static str>,
}

impl Nameservers {
    /// Reads the files.
    pub fn gather() -> Nameservers {
        let read = |path| file::read(path).unwrap_or_default();
        Nameservers::of(read(RESOLV_CONF), || read(SYSTEMD))
    }

    fn of(own: Vec<u8>, systemd: impl Fn() -> Vec<u8>) -> Nameservers {
        let (mut reached, mut left_out) = without_unreachable(&own);
        let mut instead = None;
        if !left_out.is_empty() {
            let (other, left_out_of_other) = without_unreachable(&systemd());
            if has_server(&other) {
                (reached, left_out, instead) = (other, left_out_of_other, Some(SYSTEMD));
            }
        }
        Nameservers { own, reached, left_out, instead }
    }

    /// For a network that has an address `own` which leads to this machine's nameserver. It replaces the servers that the
    /// container cannot reach.
    pub fn through(&self, own: Ipv4Addr) -> Nameservers {
        let (mut reached, left_out) = without_unreachable(&self.own);
        if left_out.is_empty() {
            return self.clone();
        }
        if reached.last().is_some_and(|last| *last != b'\n') {
            reached.push(b'\n');
        }
        reached.extend_from_slice(format!("nameserver {own}\n").as_bytes());
        Nameservers { own: self.own.clone(), reached, left_out: Vec::new(), instead: None }
    }

    /// The content for a container, with another network or with this one.
    pub fn content(&self, other_network: bool) -> OsString {
        OsString::from_vec(if other_network { self.reached.clone() } else { self.own.clone() })
    }

    /// Whether the container can reach a server.
    pub fn has_reached(&self) -> bool {
        has_server(&self.reached)
    }
}

/// The lines of a file, without those of servers that another network namespace cannot reach; and these servers.
fn without_unreachable(content: &[u8]) -> (Vec<u8>, Vec<String>) {
    let (mut kept, mut left_out) = (Vec::new(), Vec::new());
    for line in content.split_inclusive(|byte| *byte == b'\n') {
        match server(line).filter(|server| !is_reachable(server)) {
            Some(server) => left_out.push(server),
            None => kept.extend_from_slice(line),
        }
    }
    (kept, left_out)
}

fn has_server(content: &[u8]) -> bool {
    content.split(|byte| *byte == b'\n').any(|line| server(line).is_some())
}

/// The server of a line `nameserver ADDRESS`. Blanks and tabs may be between the two words, and `;` or `#` begins a
/// comment.
fn server(line: &[u8]) -> Option<String> {
    let rest = line.trim_ascii_start().strip_prefix(b"nameserver")?;
    let address = rest.strip_prefix(b" ").or_else(|| rest.strip_prefix(b"\t"))?;
    let address = address.split(|byte| matches!(byte, b';' | b'#')).next()?.trim_ascii();
    let word = address.split(u8::is_ascii_whitespace).next().filter(|word| !word.is_empty())?;
    Some(file::text(word.to_vec()))
}

/// Whether a server can be reached from another network namespace. A loopback address and 0.0.0.0 mean this machine. A
/// link-local address is valid on one of its devices only.
fn is_reachable(server: &str) -> bool {
    let bare = server.split('%').next().unwrap_or(server);
    let address = bare.parse::<IpAddr>().ok().or_else(|| short_form(bare).map(IpAddr::V4));
    let is_local = |address: IpAddr| match address {
        IpAddr::V4(v4) => v4.is_loopback() || v4.is_unspecified(),
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unspecified() || v6.is_unicast_link_local(),
    };
    // The C library ignores a line whose address it does not understand, and so does no harm with it.
    address.is_none_or(|address| !is_local(address.to_canonical()))
}

/// An IPv4 address with fewer than four numbers, as inet_aton(3) reads it: `127.1` is 127.0.0.1.
fn short_form(address: &str) -> Option<Ipv4Addr> {
    let numbers: Vec<&str> = address.split('.').collect();
    let (last, first) = numbers.split_last()?;
    let mut bytes = [0; 4];
    for (byte, number) in bytes.iter_mut().zip(first) {
        *byte = u8::try_from(number_of(number)?).ok()?;
    }
    let rest = number_of(last)?;
    let is_short = first.len() < 4 && u64::from(rest) < 1 << (8 * (4 - first.len()));
    is_short.then(|| Ipv4Addr::from(u32::from_be_bytes(bytes) | rest))
}

/// A number in C's notation: decimal, octal with a leading 0, hexadecimal with a leading 0x.
fn number_of(written: &str) -> Option<u32> {
    let hexadecimal = written.strip_prefix("0x").or_else(|| written.strip_prefix("0X"));
    match (hexadecimal, written.strip_prefix('0')) {
        (Some(digits), _) => u32::from_str_radix(digits, 16).ok(),
        (None, Some(digits)) if !digits.is_empty() => u32::from_str_radix(digits, 8).ok(),
        _ => written.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(own: &[u8], systemd: &[u8]) -> Nameservers {
        Nameservers::of(own.to_vec(), || systemd.to_vec())
    }

    /// Kinds: each loopback address in each notation; any blanks; comments; scope ids; bytes that are no text.
    #[test]
    fn a_server_on_this_machine_is_left_out_however_it_is_written() {
        for server in [
            "127.0.0.53",
            "127.0.0.1",
            "127.255.0.9",
            "127.1",
            "0x7f.1",
            "0177.0.0.1",
            "2130706433",
            "0.0.0.0",
            "::1",
            "0:0:0:0:0:0:0:1",
            "::ffff:127.0.0.1",
            "::",
            "::1%lo",
            "fe80::1%eth0",
            "fe80::1",
        ] {
            for line in [
                format!("nameserver {server}\n"),
                format!("nameserver\t{server}\n"),
                format!("nameserver \t  {server}  \n"),
                format!("  nameserver {server}\r\n"),
                format!("nameserver {server} # stub\n"),
                format!("nameserver {server};stub\n"),
                format!("nameserver {server}"),
            ] {
                let mut content = b"# \xff\nsearch lan\nnameserver 10.0.0.1\noptions edns0\n".to_vec();
                let wanted = content.clone();
                content.extend_from_slice(line.as_bytes());
                let found = of(&content, b"");
                assert_eq!(found.reached, wanted, "{line:?}");
                assert_eq!(found.left_out, [server], "{line:?}");
                assert!(found.has_reached() && found.instead.is_none());
            }
        }
    }

    #[test]
    fn a_network_with_a_nameserver_of_its_own_has_it_in_place_of_what_is_not_reached() {
        let own = Ipv4Addr::new(10, 0, 2, 3);
        for (content, wanted) in [
            ("nameserver 127.0.0.53\noptions edns0", "options edns0\nnameserver 10.0.2.3\n"),
            (
                "search lan\nnameserver ::1\nnameserver 10.0.0.1\n",
                "search lan\nnameserver 10.0.0.1\nnameserver 10.0.2.3\n",
            ),
            ("nameserver 10.0.0.1\n", "nameserver 10.0.0.1\n"),
            ("", ""),
        ] {
            let found = of(content.as_bytes(), b"nameserver 10.9.9.9\n").through(own);
            assert_eq!((&found.reached[..], found.instead), (wanted.as_bytes(), None));
        }
    }

    #[test]
    fn what_is_no_such_server_stays() {
        for line in [
            "nameserver 10.0.0.1\n",
            "nameserver 2001:db8::53\n",
            "#nameserver 127.0.0.53\n",
            ";nameserver ::1\n",
            "options nameserver 127.0.0.1\n",
            "nameservers 127.0.0.1\n",
            "nameserver\n",
            "nameserver 127.0.0.1.1\n",
            "nameserver localhost\n",
            "nameserver 128.0.0.1\n",
            "search 127.0.0.1\n",
            "\n",
        ] {
            let found = of(line.as_bytes(), b"nameserver 10.9.9.9\n");
            assert_eq!((found.reached, found.instead), (line.as_bytes().to_vec(), None), "{line}");
        }
    }

    #[test]
    fn the_servers_that_systemd_resolved_asks_are_taken_instead() {
        let stub = b"nameserver 127.0.0.53\noptions edns0\n";
        let found = of(stub, b"nameserver 10.0.0.1\nnameserver 127.0.0.1\n");
        assert_eq!((&found.reached[..], found.instead), (&b"nameserver 10.0.0.1\n"[..], Some(SYSTEMD)));
        assert_eq!(found.left_out, ["127.0.0.1"]);
        for useless in [&b""[..], b"# none\n", b"nameserver ::1\n"] {
            let found = of(stub, useless);
            assert_eq!((&found.reached[..], found.instead), (&b"options edns0\n"[..], None));
            assert!(found.left_out == ["127.0.0.53"] && !found.has_reached());
        }
        assert!(!of(b"", b"nameserver 10.0.0.1\n").has_reached());
    }
}
