//! The addresses of a host, for the static program of a release.
//!
//! getaddrinfo(3) of glibc loads shared libraries, which must be those that a static program was built with. So that
//! program asks /etc/hosts and the name servers of /etc/resolv.conf itself. Any other build uses getaddrinfo(3).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

use crate::host::token::token;

/// How long a name server may take, each of two times.
const PATIENCE: Duration = Duration::from_secs(3);

/// The maximum size of an answer by UDP, in bytes.
const MAX_ANSWER: usize = 4096;

/// The types of records with addresses: IPv4, IPv6.
const TYPES: [u16; 2] = [1, 28];

/// Reads /etc/hosts and asks the name servers.
#[derive(Debug)]
pub(super) struct OwnResolver;

impl Resolver for OwnResolver {
    fn resolve(&self, uri: &Uri, _: &Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let host = uri.host().ok_or(ureq::Error::HostNotFound)?;
        let port = uri.port_u16().unwrap_or(if uri.scheme_str() == Some("http") { 80 } else { 443 });
        let mut found = self.empty();
        for address in addresses(host).into_iter().take(8) {
            found.push(SocketAddr::new(address, port));
        }
        if found.is_empty() { Err(ureq::Error::HostNotFound) } else { Ok(found) }
    }
}

fn addresses(host: &str) -> Vec<IpAddr> {
    if let Ok(address) = host.trim_start_matches('[').trim_end_matches(']').parse() {
        return vec![address];
    }
    if host == "localhost" || host.ends_with(".localhost") {
        return vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    }
    let file = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let known = in_hosts(&file("/etc/hosts"), host);
    if !known.is_empty() {
        return known;
    }
    let conf = file("/etc/resolv.conf");
    let servers = name_servers(&conf);
    let of = |host: &str| -> Vec<IpAddr> {
        let answer = |kind: &u16| servers.iter().find_map(|server| ask(*server, host, *kind));
        TYPES.iter().flat_map(|kind| answer(kind).unwrap_or_default()).collect()
    };
    let found = names(&conf, host).iter().map(|name| of(name)).find(|found| !found.is_empty());
    found.unwrap_or_default()
}

/// The names to ask for: one without a dot may be a name in a domain of `search`.
fn names(conf: &str, host: &str) -> Vec<String> {
    let search = conf.lines().rev().find_map(|line| line.trim().strip_prefix("search "));
    let domains = search.filter(|_| !host.contains('.')).unwrap_or_default().split_whitespace().take(6);
    domains.map(|domain| format!("{host}.{domain}")).chain([host.to_owned()]).collect()
}

/// The addresses of a host in /etc/hosts.
fn in_hosts(hosts: &str, host: &str) -> Vec<IpAddr> {
    let of_line = |line: &str| {
        let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
        let address = words.next()?.parse().ok()?;
        words.any(|name| name.eq_ignore_ascii_case(host)).then_some(address)
    };
    hosts.lines().filter_map(of_line).collect()
}

fn name_servers(conf: &str) -> Vec<IpAddr> {
    let server = |line: &str| line.trim().strip_prefix("nameserver")?.trim().parse().ok();
    let found: Vec<IpAddr> = conf.lines().filter_map(server).take(3).collect();
    if found.is_empty() { vec![Ipv4Addr::LOCALHOST.into()] } else { found }
}

/// Asks one name server. None: it does not answer.
fn ask(server: IpAddr, host: &str, kind: u16) -> Option<Vec<IpAddr>> {
    let own: IpAddr =
        if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let number = token() as u16;
    let question = question(number, host, kind)?;
    let socket = UdpSocket::bind(SocketAddr::new(own, 0)).ok()?;
    socket.connect(SocketAddr::new(server, 53)).ok()?;
    socket.set_read_timeout(Some(PATIENCE)).ok()?;
    for _ in 0..2 {
        socket.send(&question).ok()?;
        let mut answer = [0; MAX_ANSWER];
        if let Ok(length) = socket.recv(&mut answer)
            && let Some(found) = read_answer(&answer[..length], number, kind)
        {
            return Some(found);
        }
    }
    None
}

/// A question as RFC 1035 has it.
fn question(number: u16, host: &str, kind: u16) -> Option<Vec<u8>> {
    let mut bytes = number.to_be_bytes().to_vec();
    // Recursion is wanted; one question.
    bytes.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in host.trim_end_matches('.').split('.') {
        bytes.push(u8::try_from(label.len()).ok().filter(|length| (1..=63).contains(length))?);
        bytes.extend(label.bytes());
    }
    bytes.push(0);
    bytes.extend(kind.to_be_bytes());
    bytes.extend([0, 1]);
    Some(bytes)
}

/// The addresses in an answer. None: it is no answer to this question.
fn read_answer(bytes: &[u8], number: u16, kind: u16) -> Option<Vec<IpAddr>> {
    let pair = |at: usize| Some(u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]));
    let is_answer = bytes.get(2)? & 0x80 != 0;
    // No error, or no such name. With any other code the server cannot answer, and the next one is asked.
    let is_known = matches!(bytes.get(3)? & 0xf, 0 | 3);
    if pair(0)? != number || !is_answer || !is_known {
        return None;
    }
    let mut at = 12;
    for _ in 0..pair(4)? {
        at = after_name(bytes, at)? + 4;
    }
    let mut found = Vec::new();
    for _ in 0..pair(6)? {
        at = after_name(bytes, at)?;
        let length = usize::from(pair(at + 8)?);
        let data = bytes.get(at + 10..at + 10 + length)?;
        // Names that lead to others (CNAME) are followed by the name server.
        if pair(at)? == kind {
            found.extend(<[u8; 4]>::try_from(data).map(IpAddr::from));
            found.extend(<[u8; 16]>::try_from(data).map(IpAddr::from));
        }
        at += 10 + length;
    }
    Some(found)
}

/// The place after a name, which may end in a pointer to another one.
fn after_name(bytes: &[u8], at: usize) -> Option<usize> {
    let mut at = at;
    loop {
        match *bytes.get(at)? {
            0 => return Some(at + 1),
            length if length & 0xc0 == 0xc0 => return Some(at + 2),
            length => at += 1 + usize::from(length),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_and_answers_are_read() {
        let hosts = "127.0.0.1 localhost\n192.0.2.7\tone.test One # two.test\n2001:db8::1 one.test\n";
        let expected: Vec<IpAddr> = vec!["192.0.2.7".parse().unwrap(), "2001:db8::1".parse().unwrap()];
        assert_eq!(in_hosts(hosts, "ONE.test"), expected);
        assert_eq!(in_hosts(hosts, "two.test"), Vec::<IpAddr>::new());
        assert_eq!(name_servers("# x\nnameserver 192.0.2.1\n"), ["192.0.2.1".parse::<IpAddr>().unwrap()]);
        let mut answer = question(7, "a.test", 1).unwrap();
        answer[2] |= 0x80;
        answer[7] = 2;
        // A CNAME record, then the address.
        answer.extend([0xc0, 12, 0, 5, 0, 1, 0, 0, 0, 1, 0, 2, 0xc0, 12]);
        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4, 192, 0, 2, 9]);
        assert_eq!(read_answer(&answer, 7, 1), Some(vec!["192.0.2.9".parse().unwrap()]));
        assert_eq!(read_answer(&answer, 8, 1), None);
        // A server that refuses, or fails, has not answered. One that knows of no such name has.
        for (code, is_answer) in [(2, false), (5, false), (3, true)] {
            let mut other = answer.clone();
            other[3] = other[3] & 0xf0 | code;
            assert_eq!(read_answer(&other, 7, 1).is_some(), is_answer, "{code}");
        }
        for end in 0..answer.len() {
            assert_eq!(read_answer(&answer[..end], 7, 1), None, "{end}");
        }
    }

    #[test]
    fn a_name_without_a_dot_may_be_in_a_domain_of_the_network() {
        let conf = "search first.example\nnameserver 192.0.2.1\nsearch lab.example  b.example\n";
        assert_eq!(names(conf, "registry"), ["registry.lab.example", "registry.b.example", "registry"]);
        assert_eq!(names(conf, "registry.example"), ["registry.example"]);
        assert_eq!(names("", "registry"), ["registry"]);
    }
}
