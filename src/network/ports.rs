//! How a published port is written: as for `docker run -p`.
//!
//! ```text
//! [[ADDRESS:]HOSTPORT:]PORT[/tcp|/udp]       8080:80   127.0.0.1:8080:80   [::1]:8080:80   5353:53/udp
//! ADDRESS::PORT    :PORT    PORT             a free port of the host, which is printed
//! 8000-8005:80-85                            each of the range
//! 8000-8005:80                               the first of the range that is free
//! ```
//!
//! Without an address, the port is published on all IPv4 addresses of the host. Docker takes those of IPv6 too: they are
//! `[::]`. As for Docker, a part may be empty, a number may have leading zeros, and the brackets may be left out: what is
//! before the last two colons is the address.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

use crate::plan::call::publish::Protocol;
use crate::text::{text, text_with};
use crate::value::parse;

/// A published port, or a range of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, JsonSchema)]
#[schemars(with = "parse::Scalar")]
pub struct Port {
    /// The address on the host.
    pub address: IpAddr,
    /// The ports on the host. None: a free port for each port inside.
    pub host: Option<PortRange>,
    /// The ports inside.
    pub inside: PortRange,
    /// The protocol.
    pub protocol: Protocol,
}

/// Port numbers from `first` to `last`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PortRange {
    /// The lowest.
    pub first: u16,
    /// The highest. It is the lowest too if there is only one.
    pub last: u16,
}

impl PortRange {
    /// How many ports these are.
    pub fn count(self) -> usize {
        usize::from(self.last - self.first) + 1
    }

    /// The same number of ports, none below `least`: 80 becomes 8080. None if there are fewer.
    pub(crate) fn raised(self, least: u16) -> Option<PortRange> {
        let room = u16::MAX - self.last;
        let by = 8000.min(room).max(least.saturating_sub(self.first));
        (by <= room).then(|| PortRange { first: self.first + by, last: self.last + by })
    }

    /// Whether both ranges have a port.
    fn overlaps(self, other: PortRange) -> bool {
        self.first <= other.last && other.first <= self.last
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.count() {
            1 => write!(f, "{}", self.first),
            _ => write!(f, "{}-{}", self.first, self.last),
        }
    }
}

impl Port {
    /// Whether the ports on the host are chosen when the container starts: any free port, or the first free one of a
    /// range.
    pub fn is_chosen(&self) -> bool {
        self.host.is_none_or(|host| host.count() != self.inside.count())
    }

    /// Whether the two cannot be published together, because they need the same port of the host.
    pub(crate) fn collides_with(&self, other: &Port) -> bool {
        let (Some(own), Some(others)) = (self.host, other.host) else { return false };
        let is_fixed = !self.is_chosen() && !other.is_chosen();
        let shares_address = self.address.is_ipv4() == other.address.is_ipv4()
            && (self.address == other.address
                || self.address.is_unspecified()
                || other.address.is_unspecified());
        is_fixed && self.protocol == other.protocol && shares_address && own.overlaps(others)
    }
}

impl Port {
    /// Whether it leads to all ports in the container to which the other one leads.
    pub fn is_inside_as(&self, other: &Port) -> bool {
        let (own, others) = (self.inside, other.inside);
        own.first <= others.first && others.last <= own.last && self.protocol == other.protocol
    }
}

impl FromStr for Port {
    type Err = String;

    fn from_str(value: &str) -> Result<Self, String> {
        let (bare, protocol) = match value.split_once('/') {
            None => (value, Protocol::Tcp),
            Some((bare, name)) => (bare, protocol(name)?),
        };
        let mut parts = bare.rsplitn(3, ':');
        let [inside, host, address] = [(); 3].map(|()| parts.next().unwrap_or_default());
        if inside.contains(']') || host.contains(']') {
            return Err(text("net.port.form"));
        }
        let inside = range(inside)?;
        let host = match host {
            // No port, and port 0, are any free port.
            "" => None,
            zero if zero.bytes().all(|byte| byte == b'0') => None,
            host => Some(range(host)?),
        };
        if let Some(host) = host.filter(|host| inside.count() != 1 && host.count() != inside.count()) {
            let counts = [("host", &*host.count().to_string()), ("inside", &*inside.count().to_string())];
            return Err(text_with("net.port.counts", &counts));
        }
        Ok(Port { address: host_address(address)?, host, inside, protocol })
    }
}

/// The protocol of this name. As for Docker, capital letters are the same, and no name is TCP.
fn protocol(name: &str) -> Result<Protocol, String> {
    match name.to_ascii_lowercase().as_str() {
        "" | "tcp" => Ok(Protocol::Tcp),
        "udp" => Ok(Protocol::Udp),
        "sctp" => Err(text("net.port.sctp")),
        _ => Err(text_with("net.port.protocol", &[("name", &format!("{name:?}"))])),
    }
}

/// An address of the host, with or without brackets. None is all IPv4 addresses. What can be none is refused.
fn host_address(written: &str) -> Result<IpAddr, String> {
    let bare = match written.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']').ok_or_else(|| text("net.port.brackets"))?,
        None => written,
    };
    if bare.is_empty() {
        return Ok(Ipv4Addr::UNSPECIFIED.into());
    }
    let refuse = |key: &str| Err(text_with(key, &[("address", &format!("{bare:?}"))]));
    let Ok(address) = bare.parse::<IpAddr>() else {
        return match bare {
            _ if bare.contains('%') => refuse("net.port.scope"),
            _ if bare == written && bare.contains(':') => Err(text("net.port.brackets")),
            _ => refuse("net.port.address"),
        };
    };
    // `::ffff:127.0.0.1` is 127.0.0.1.
    let address = address.to_canonical();
    match address {
        _ if address.is_multicast() => refuse("net.port.multicast"),
        IpAddr::V4(Ipv4Addr::BROADCAST) => refuse("net.port.broadcast"),
        // The kernel takes the rest of 0.0.0.0/8 for broadcast addresses.
        IpAddr::V4(v4) if v4.octets()[0] == 0 && !v4.is_unspecified() => refuse("net.port.broadcast"),
        IpAddr::V6(v6) if v6.is_unicast_link_local() => refuse("net.port.scope"),
        _ => Ok(address),
    }
}

/// `80` or `80-85`.
fn range(written: &str) -> Result<PortRange, String> {
    let (first, last) = written.split_once('-').unwrap_or((written, written));
    let (first, last) = (port_number(first)?, port_number(last)?);
    match first <= last {
        true => Ok(PortRange { first, last }),
        false => Err(text_with("net.port.reversed", &[("range", written)])),
    }
}

/// A port number from 1 to 65535, without `+` and blanks.
fn port_number(written: &str) -> Result<u16, String> {
    if written.is_empty() {
        return Err(text("net.port.empty"));
    }
    let is_plain = written.bytes().all(|byte| byte.is_ascii_digit());
    match written.parse() {
        Ok(number @ 1..) if is_plain => Ok(number),
        _ => Err(text_with("net.port.number", &[("number", &format!("{written:?}"))])),
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.address, self.host) {
            (IpAddr::V4(Ipv4Addr::UNSPECIFIED), None) => write!(f, "{}", self.inside)?,
            (IpAddr::V4(Ipv4Addr::UNSPECIFIED), Some(host)) => write!(f, "{host}:{}", self.inside)?,
            (IpAddr::V4(address), None) => write!(f, "{address}::{}", self.inside)?,
            (IpAddr::V4(address), Some(host)) => write!(f, "{address}:{host}:{}", self.inside)?,
            (IpAddr::V6(address), None) => write!(f, "[{address}]::{}", self.inside)?,
            (IpAddr::V6(address), Some(host)) => write!(f, "[{address}]:{host}:{}", self.inside)?,
        }
        match self.protocol {
            Protocol::Tcp => Ok(()),
            Protocol::Udp => f.write_str("/udp"),
        }
    }
}

impl<'de> Deserialize<'de> for Port {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        parse::parsed(deserializer)
    }
}

impl Serialize for Port {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(written: &str) -> Result<String, String> {
        written.parse::<Port>().map(|port| {
            let host = port.host.map_or("free".into(), |host| host.to_string());
            format!("{} {host} {} {}", port.address, port.inside, port.protocol)
        })
    }

    #[test]
    fn a_raised_range_may_be_bound_without_privilege() {
        for (first, last, least, raised) in [
            (80, 80, 1024, Some("8080")),
            (80, 89, 1024, Some("8080-8089")),
            (80, 80, 9000, Some("9000")),
            (1, 64000, 1024, Some("1536-65535")),
            (1, 65000, 1024, None),
            (1, 65535, 1024, None),
            (600, 600, 1024, Some("8600")),
        ] {
            let range = PortRange { first, last }.raised(least).map(|range| range.to_string());
            assert_eq!(range.as_deref(), raised, "{first}-{last}, {least}");
        }
    }

    #[test]
    fn each_form_of_docker_is_read() {
        let forms = [
            ("8080:80", "0.0.0.0 8080 80 tcp"),
            ("80", "0.0.0.0 free 80 tcp"),
            ("80/udp", "0.0.0.0 free 80 udp"),
            ("0:80", "0.0.0.0 free 80 tcp"),
            ("127.0.0.1::80", "127.0.0.1 free 80 tcp"),
            ("127.0.0.1:0:65535/tcp", "127.0.0.1 free 65535 tcp"),
            ("127.0.0.1:8080:80/UDP", "127.0.0.1 8080 80 udp"),
            ("[::1]:8080:80/udp", "::1 8080 80 udp"),
            ("[::]::80", ":: free 80 tcp"),
            ("[::ffff:127.0.0.1]:1:1", "127.0.0.1 1 1 tcp"),
            ("8000-8005:80-85", "0.0.0.0 8000-8005 80-85 tcp"),
            ("8000-8005:80", "0.0.0.0 8000-8005 80 tcp"),
            ("127.0.0.1::80-85", "127.0.0.1 free 80-85 tcp"),
            ("80-81", "0.0.0.0 free 80-81 tcp"),
            ("65535-65535:1", "0.0.0.0 65535 1 tcp"),
            (":80", "0.0.0.0 free 80 tcp"),
            ("::80", "0.0.0.0 free 80 tcp"),
            (":80-81/udp", "0.0.0.0 free 80-81 udp"),
            (":8080:80", "0.0.0.0 8080 80 tcp"),
            ("8080:80/", "0.0.0.0 8080 80 tcp"),
            ("08080:080", "0.0.0.0 8080 80 tcp"),
            ("08000-0000008002:080-0082", "0.0.0.0 8000-8002 80-82 tcp"),
            ("00:80", "0.0.0.0 free 80 tcp"),
            ("127.0.0.1:000:80", "127.0.0.1 free 80 tcp"),
            ("[127.0.0.1]:80:80", "127.0.0.1 80 80 tcp"),
            ("::1:8080:80", "::1 8080 80 tcp"),
            ("::1::80", "::1 free 80 tcp"),
            ("2001:db8::2:8080:80/udp", "2001:db8::2 8080 80 udp"),
            (":::8080:80", ":: 8080 80 tcp"),
            ("[]:8080:80", "0.0.0.0 8080 80 tcp"),
        ];
        for (written, port) in forms {
            assert_eq!(read(written), Ok(port.to_owned()), "{written}");
        }
    }

    #[test]
    fn each_mistake_has_its_reason() {
        let number = |part: &str| text_with("net.port.number", &[("number", &format!("{part:?}"))]);
        let address = |key: &str, part: &str| text_with(key, &[("address", &format!("{part:?}"))]);
        let counts =
            |host: &str, inside: &str| text_with("net.port.counts", &[("host", host), ("inside", inside)]);
        let mistakes = [
            ("", text("net.port.empty")),
            ("80:", text("net.port.empty")),
            ("80-", text("net.port.empty")),
            ("-80:80", text("net.port.empty")),
            ("/tcp", text("net.port.empty")),
            ("127.0.0.1::", text("net.port.empty")),
            ("0080-:80", text("net.port.empty")),
            ("8080:00", number("00")),
            ("000-2:80", number("000")),
            ("065536:1", number("065536")),
            ("8080:0", number("0")),
            ("0", number("0")),
            ("65536:1", number("65536")),
            ("1:65536", number("65536")),
            ("1:99999999999999999999", number("99999999999999999999")),
            ("+1:1", number("+1")),
            ("8080 :80", number("8080 ")),
            ("8080:\t80", number("\t80")),
            ("a:1", number("a")),
            ("1:http", number("http")),
            ("80-82-84:80", number("82-84")),
            ("0-2:80", number("0")),
            ("81-80:81-80", text_with("net.port.reversed", &[("range", "81-80")])),
            ("8000-8001:80-82", counts("2", "3")),
            ("8000:80-82", counts("1", "3")),
            ("localhost:8080:80", address("net.port.address", "localhost")),
            ("127.0.0.01:8080:80", address("net.port.address", "127.0.0.01")),
            ("127.1:8080:80", address("net.port.address", "127.1")),
            ("[::g]:8080:80", address("net.port.address", "::g")),
            ("[fe80::1%lo]:8080:80", address("net.port.scope", "fe80::1%lo")),
            ("[fe80::1]:8080:80", address("net.port.scope", "fe80::1")),
            ("255.255.255.255:80:80", address("net.port.broadcast", "255.255.255.255")),
            ("0.0.0.1:80:80", address("net.port.broadcast", "0.0.0.1")),
            ("224.0.0.1:80:80", address("net.port.multicast", "224.0.0.1")),
            ("239.255.255.250:80:80/udp", address("net.port.multicast", "239.255.255.250")),
            ("[ff02::1]:80:80", address("net.port.multicast", "ff02::1")),
            ("[::1:80:80", text("net.port.brackets")),
            ("::1:80", text("net.port.brackets")),
            ("1:2:3:80:80", text("net.port.brackets")),
            ("[::1]80:80", text("net.port.form")),
            ("[::1]:80", text("net.port.form")),
            ("8080:80/sctp", text("net.port.sctp")),
            ("8080:80/tcp/udp", text_with("net.port.protocol", &[("name", "\"tcp/udp\"")])),
        ];
        for (written, reason) in mistakes {
            assert_eq!(read(written), Err(reason), "{written:?}");
        }
    }

    #[test]
    fn a_port_is_printed_as_it_is_read() {
        let forms =
            ["8080:80", "80", "127.0.0.1::1", "[::1]:8080:80/udp", "8000-8005:80", "1.2.3.4:1-2:3-4/udp"];
        for written in forms {
            assert_eq!(written.parse::<Port>().map(|port| port.to_string()), Ok(written.to_owned()));
        }
    }

    #[test]
    fn two_ports_collide_where_they_need_one_port_of_the_host() {
        let collide = |one: &str, other: &str| {
            let [one, other] = [one, other].map(|port| port.parse::<Port>().unwrap());
            assert_eq!(one.collides_with(&other), other.collides_with(&one));
            one.collides_with(&other)
        };
        assert!(collide("18080:80", "18080:81") && collide("18080:80", "18080:80"));
        assert!(collide("8000-8005:80-85", "8003:9") && collide("8080:80", "127.0.0.1:8080:81"));
        assert!(collide("[::]:8080:80", "[::1]:8080:81") && collide("53:53/udp", "53:54/udp"));
        assert!(!collide("53:53", "53:53/udp") && !collide("8080:80", "[::]:8080:80"));
        assert!(!collide("127.0.0.1:80:80", "127.0.0.2:80:80") && !collide("80", "80"));
        assert!(!collide("8000-8001:80", "8000-8001:81") && !collide("8000:80", "8001:80"));
    }
}
