//! Published ports: a port of the host that leads to a port in the container.
//!
//! Docker changes addresses in the firewall for this. A packet can then take a path that nobody intended: ports that
//! were published on 127.0.0.1 could be reached from neighbouring machines. Here the port is an ordinary listening
//! socket, which is bound before anything is made. The relay, a process of `sandbox`, accepts connections on it. For
//! each one it connects to the port inside, and forwards the bytes between the two. So the kernel's rules for sockets
//! decide which connections are possible, and ss(8) lists the socket.
//!
//! A socket always belongs to the network namespace in which it was made, whichever process has it. So the relay can be
//! in the container's network namespace and accept connections from the host's. network_namespaces(7), setns(2)

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

use crate::feature::Feature;
use crate::plan::call::process::{Namespaces, ProcessCall};
use crate::plan::call::publish::PublishCall;
use crate::plan::call::restrict::RestrictCall;
use crate::plan::order::Phase;
use crate::plan::{Actor, Call, Draft};
use crate::text::text;
use crate::value::parse;

/// A published port, written as for Docker: `8080:80`, `127.0.0.1:8080:80/tcp`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, JsonSchema)]
#[schemars(with = "String")]
pub struct Port {
    /// The address and port on the host. Port 0 means any free port.
    pub at: SocketAddr,
    /// The port inside.
    pub inside: u16,
}

impl FromStr for Port {
    type Err = String;

    fn from_str(value: &str) -> Result<Self, String> {
        let bare = match value.split_once('/') {
            None | Some((_, "tcp")) => value.split('/').next().unwrap_or_default(),
            Some((_, "udp")) => return Err(text("net.port.udp")),
            Some(_) => return Err(text("net.port.form")),
        };
        let (at, inside) = bare.rsplit_once(':').ok_or_else(|| text("net.port.form"))?;
        let at = port_number(at)
            .map(|port| SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port))
            .or_else(|| at.parse().ok().filter(|_| at.rsplit(':').next().and_then(port_number).is_some()))
            .ok_or_else(|| text("net.port.form"))?;
        match port_number(inside) {
            None | Some(0) => Err(text("net.port.form")),
            Some(inside) => Ok(Port { at, inside }),
        }
    }
}

/// A port number. Rust also parses `+80` as a number, so only digits are allowed here.
fn port_number(text: &str) -> Option<u16> {
    text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()))
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.at.ip() {
            IpAddr::V4(Ipv4Addr::UNSPECIFIED) => write!(f, "{}:{}", self.at.port(), self.inside),
            _ => write!(f, "{}:{}", self.at, self.inside),
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

/// The steps: the sockets first of all, then the relay, while the child waits.
pub(crate) fn plan(ports: &[Port], draft: &mut Draft) {
    let net = Feature::Net;
    for port in ports {
        let listen = PublishCall::Listen { at: port.at, inside: port.inside };
        draft.step(Phase::Prepare, Actor::Host, net, listen, "net.listen.why");
    }
    // The container's network namespace belongs to its user namespace. Without a new one, that is the caller's.
    let both = [Feature::User, net];
    let namespaces = Namespaces::of(if draft.isolates(Feature::User) { &both } else { &both[1..] });
    let at = Phase::Veth;
    draft.step(at, Actor::Host, net, ProcessCall::CloneRelay, "net.relay.why");
    let mut step = |call: Call, why| draft.step(at, Actor::Relay, net, call, why);
    step(ProcessCall::Undumpable.into(), "net.untraced.why");
    step(ProcessCall::Join { pid: None, namespaces }.into(), "net.join.why");
    // From here on, the relay does nothing that needs a capability.
    step(RestrictCall::Capabilities { keep: Vec::new() }.into(), "net.powerless.why");
    step(ProcessCall::DieWithParent.into(), "common.pdeathsig.why");
    step(PublishCall::Serve.into(), "net.serve.why");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_written_as_for_docker() {
        let read = |port: &str| port.parse::<Port>().map(|port| (port.at.to_string(), port.inside));
        assert_eq!(read("8080:80"), Ok(("0.0.0.0:8080".into(), 80)));
        assert_eq!(read("127.0.0.1:0:65535/tcp"), Ok(("127.0.0.1:0".into(), 65535)));
        assert_eq!(read("[::1]:8080:80"), Ok(("[::1]:8080".into(), 80)));
        let bad = [
            "",
            "80",
            ":80",
            "80:",
            "8080:0",
            "65536:1",
            "1:65536",
            "-1:1",
            "+1:1",
            "1:+1",
            "a:1",
            "1:a",
            "::1:80:80",
            "1.2.3:80:80",
            "1.2.3.4::80",
            "1.2.3.4:+8:80",
            "8080:80/",
            "8080:80/sctp",
            "8080 :80",
            "8080-8090:80",
            "localhost:8080:80",
        ];
        for port in bad {
            assert_eq!(read(port), Err(text("net.port.form")), "{port}");
        }
        assert_eq!(read("53:53/udp"), Err(text("net.port.udp")));
        for port in ["8080:80", "127.0.0.1:0:1", "[::1]:8080:80"] {
            assert_eq!(port.parse::<Port>().map(|port| port.to_string()), Ok(port.to_owned()));
        }
    }
}
