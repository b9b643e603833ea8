//! The addresses of requests: `https://HOST[:PORT]/PATH[?QUERY]`.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

/// The maximum length of an address in bytes. Those of storage services are long, because they have a signature.
const MAX_LENGTH: usize = 8 << 10;

/// An address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Url {
    pub(super) scheme: Scheme,
    /// The host as it is written, in lower case; an IPv6 address has its brackets.
    pub(super) host: String,
    pub(super) port: u16,
    /// The path and the query, beginning with `/`.
    pub(super) target: String,
}

/// How the server is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scheme {
    Http,
    Https,
}

impl Scheme {
    fn name(self) -> &'static str {
        match self {
            Scheme::Http => "http",
            Scheme::Https => "https",
        }
    }

    fn port(self) -> u16 {
        match self {
            Scheme::Http => 80,
            Scheme::Https => 443,
        }
    }
}

impl Url {
    /// The address of a path on a host: `HOST[:PORT]`.
    pub(super) fn of(scheme: Scheme, host: &str, target: &str) -> Option<Url> {
        let (host, port) = split_port(host, scheme)?;
        Some(Url { scheme, host, port, target: target.to_owned() })
    }

    /// Reads an absolute address. None: it is none, or has a user name.
    pub(super) fn parse(written: &str) -> Option<Url> {
        let (scheme, rest) = written.split_once("://")?;
        let scheme = [Scheme::Http, Scheme::Https]
            .into_iter()
            .find(|known| known.name().eq_ignore_ascii_case(scheme))?;
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (host, target) = rest.split_at(end);
        let target = target.split('#').next().unwrap_or_default();
        let target = if target.starts_with('/') { target.to_owned() } else { format!("/{target}") };
        let is_plain = target.bytes().all(|byte| byte.is_ascii_graphic());
        (is_plain && written.len() <= MAX_LENGTH).then_some(())?;
        Url::of(scheme, host, &target)
    }

    /// The address that a `Location` means, which may be relative to this one.
    pub(super) fn join(&self, location: &str) -> Option<Url> {
        // A query may have an address in it.
        let is_scheme =
            |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if location.split_once("://").is_some_and(|(scheme, _)| is_scheme(scheme)) {
            return Url::parse(location);
        }
        let authority = self.authority();
        let scheme = self.scheme.name();
        match location {
            "" => None,
            _ if location.starts_with("//") => Url::parse(&format!("{scheme}:{location}")),
            _ if location.starts_with('/') => Url::parse(&format!("{scheme}://{authority}{location}")),
            _ => {
                let path = self.path();
                let directory = &path[..=path.rfind('/').unwrap_or_default()];
                let base = if location.starts_with('?') { path } else { directory };
                Url::parse(&format!("{scheme}://{authority}{base}{location}"))
            }
        }
    }

    /// The path without the query.
    pub(super) fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// The same address with a further part of the query.
    pub(super) fn with_query(&self, query: &str) -> Url {
        let separator = if self.target.contains('?') { '&' } else { '?' };
        Url { target: format!("{}{separator}{query}", self.target), ..self.clone() }
    }

    /// The host, with the port if it is not the usual one.
    pub(super) fn authority(&self) -> String {
        match self.port == self.scheme.port() {
            true => self.host.clone(),
            false => format!("{}:{}", self.host, self.port),
        }
    }

    /// Whether both are on the same server.
    pub(super) fn is_same_origin(&self, other: &Url) -> bool {
        (self.scheme, &self.host, self.port) == (other.scheme, &other.host, other.port)
    }

    /// Whether the host is this machine, whatever a name server says.
    pub(super) fn is_loopback(&self) -> bool {
        is_loopback(&self.host)
    }

    /// The address without its query, which may have a signature that permits access.
    pub(super) fn shown(&self) -> String {
        let query = if self.target.contains('?') { "?..." } else { "" };
        format!("{}://{}{}{query}", self.scheme.name(), self.authority(), self.path())
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.scheme.name(), self.authority(), self.target)
    }
}

/// Whether a host is this machine: `localhost`, a name below it, or an address of the loopback device.
pub(super) fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || host.ends_with(".localhost")
        || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// The host and the port of `HOST[:PORT]`.
fn split_port(authority: &str, scheme: Scheme) -> Option<(String, u16)> {
    let colon = match authority.strip_prefix('[') {
        Some(rest) => {
            let (address, _) = rest.split_once(']')?;
            address.parse::<Ipv6Addr>().ok()?;
            address.len() + 2
        }
        None => authority.find(':').unwrap_or(authority.len()),
    };
    let (host, port) = authority.split_at(colon);
    let port = match port.strip_prefix(':') {
        None if port.is_empty() => scheme.port(),
        None => return None,
        Some(port) => port.parse().ok().filter(|port| *port > 0)?,
    };
    let is_name = |byte: u8| {
        byte.is_ascii_alphanumeric()
            || b"-._".contains(&byte)
            || (host.starts_with('[') && b"[]:".contains(&byte))
    };
    (!host.is_empty() && host.bytes().all(is_name)).then(|| (host.to_ascii_lowercase(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_is_read_as_a_browser_reads_it() {
        let from = Url::parse("https://a.test/v2/x/blobs/1?old=1").unwrap();
        for (location, whole) in [
            ("https://B.test:443/y?z=1#part", "https://b.test/y?z=1"),
            ("http://b.test", "http://b.test/"),
            ("http://[::1]:5000/x", "http://[::1]:5000/x"),
            ("//c.test:8080/y", "https://c.test:8080/y"),
            ("/y?z", "https://a.test/y?z"),
            ("2", "https://a.test/v2/x/blobs/2"),
            ("?new=2", "https://a.test/v2/x/blobs/1?new=2"),
        ] {
            assert_eq!(from.join(location).map(|url| url.to_string()).as_deref(), Some(whole), "{location}");
        }
        for wrong in [
            "ftp://a/",
            "https://",
            "https://user@a.test/",
            "https://a.test:0/",
            "https://a b/",
            "https://a/ x",
        ] {
            assert_eq!(from.join(wrong), None, "{wrong}");
        }
        assert_eq!(from.join(&format!("/{}", "x".repeat(MAX_LENGTH))), None);
        assert_eq!(from.shown(), "https://a.test/v2/x/blobs/1?...");
    }

    #[test]
    fn only_this_machine_is_loopback() {
        for host in ["localhost", "127.0.0.1", "127.9.9.9", "[::1]", "x.localhost"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in ["localhost.test", "128.0.0.1", "127.0.0.1.test", "[::2]", "10.0.0.1"] {
            assert!(!is_loopback(host), "{host}");
        }
    }
}
