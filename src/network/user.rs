//! The network of an ordinary user: a program copies packets between the container and sockets of the user.
//!
//! Only root may create a device on the host. But a program in the user namespace of the container may create a tap device
//! in its network namespace (tuntap.rst). It reads the packets that the container sends, makes the same connection with
//! an ordinary socket on the host, and writes the answers as packets. slirp4netns(1) and pasta(1) do that. For the other
//! machine, the connection comes from the user's program.
//!
//! - Nothing is made on the host, so nothing is left. The program ends with the container, and if `sandbox` is killed,
//!   the kernel kills it (PR_SET_PDEATHSIG).
//! - The host's loopback addresses are not reached: programs trust clients there.
//! - A nameserver on a loopback address of the host, as 127.0.0.53, is not reached either. The program has an address of
//!   its own that leads to it.
//!
//! slirp4netns comes first: it works without a route on the host, and gives the container an address of its own. pasta copies
//! the address and the routes of the host, so it needs a default route.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use super::{INSIDE, refuse};
use crate::error::Error;
use crate::feature::Feature;
use crate::host::subordinate::program;
use crate::observe::{file, net};
use crate::plan::call::user_network::UserNetworkCall;
use crate::plan::order::Phase;
use crate::plan::{Actor, Draft};
use crate::text::{text, text_of_options};

/// The device with which a program makes a tap device.
const TUN: &str = "/dev/net/tun";

/// What an ordinary user has for a connection to other machines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UserNetwork {
    /// This program.
    By {
        /// Which one.
        kind: UserNetworkProgram,
        /// Its file.
        path: PathBuf,
    },
    /// Neither program is installed.
    Missing,
    /// Only pasta is installed, and the host has no default route.
    NoRoute,
    /// The caller may not open /dev/net/tun, or it does not exist.
    NoTun,
    /// The caller is root, who makes a bridge.
    Root,
}

/// A program that connects the container of a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UserNetworkProgram {
    /// slirp4netns(1).
    Slirp4netns,
    /// pasta(1).
    Pasta,
}

impl UserNetwork {
    /// Looks for the programs. `as_root` is whether the plan is one of root.
    pub fn gather(as_root: bool) -> UserNetwork {
        if as_root {
            return UserNetwork::Root;
        }
        let by = |kind: UserNetworkProgram| Some(UserNetwork::By { kind, path: program(kind.name())? });
        let (slirp, pasta) = (by(UserNetworkProgram::Slirp4netns), by(UserNetworkProgram::Pasta));
        if slirp.is_none() && pasta.is_none() {
            return UserNetwork::Missing;
        }
        let access = rustix::fs::Access::READ_OK | rustix::fs::Access::WRITE_OK;
        if rustix::fs::access(TUN, access).is_err() {
            return UserNetwork::NoTun;
        }
        slirp.or(pasta.filter(|_| has_default_route())).unwrap_or(UserNetwork::NoRoute)
    }

    /// The address that leads to the host's nameserver.
    pub fn nameserver(&self) -> Option<Ipv4Addr> {
        match self {
            UserNetwork::By { kind, .. } => Some(kind.nameserver()),
            _ => None,
        }
    }

    /// An address of the host that the container reaches. With pasta, the host's address is the container's own.
    pub fn host_address(&self) -> Option<Ipv4Addr> {
        if !matches!(self, UserNetwork::By { kind: UserNetworkProgram::Slirp4netns, .. }) {
            return None;
        }
        let trie = file::read_text("/proc/self/net/fib_trie").unwrap_or_default();
        let own = net::local_addresses(&trie);
        own.split(' ').filter_map(|one| one.parse().ok()).find(|one: &Ipv4Addr| !one.is_loopback())
    }

    /// Which program connects the containers of this user, or why none does: a sentence.
    pub fn sentence(&self) -> String {
        text(match self {
            UserNetwork::By { kind: UserNetworkProgram::Slirp4netns, .. } => "net.user.by.slirp4netns",
            UserNetwork::By { kind: UserNetworkProgram::Pasta, .. } => "net.user.by.pasta",
            UserNetwork::Missing => "net.user.missing",
            UserNetwork::NoRoute => "net.user.noroute",
            UserNetwork::NoTun => "net.user.notun",
            UserNetwork::Root => "net.user.root",
        })
    }
}

impl UserNetworkProgram {
    fn name(self) -> &'static str {
        match self {
            UserNetworkProgram::Slirp4netns => "slirp4netns",
            UserNetworkProgram::Pasta => "pasta",
        }
    }

    fn nameserver(self) -> Ipv4Addr {
        match self {
            // The third address of its network, which is 10.0.2.0/24.
            UserNetworkProgram::Slirp4netns => Ipv4Addr::new(10, 0, 2, 3),
            // A link-local address, so no nameserver of a network has it.
            UserNetworkProgram::Pasta => Ipv4Addr::new(169, 254, 1, 1),
        }
    }

    /// The options, which come before the PID.
    fn options(self) -> Vec<String> {
        let nameserver = self.nameserver().to_string();
        let words: &[&str] = match self {
            // It writes to its standard input when it is ready, also with what protects the host from it.
            UserNetworkProgram::Slirp4netns => &[
                "--configure",
                "--ready-fd=0",
                "--mtu=65520",
                "--disable-host-loopback",
                "--enable-sandbox",
                "--enable-seccomp",
            ],
            // Without --no-map-gw, the address of the gateway would lead to the host's loopback address. No port of the
            // container is bound on the host, and none of the host in the container.
            UserNetworkProgram::Pasta => &[
                "--foreground",
                "--quiet",
                "--config-net",
                "--no-map-gw",
                "--dns-forward",
                &nameserver,
                "--tcp-ports",
                "none",
                "--udp-ports",
                "none",
                "--tcp-ns",
                "none",
                "--udp-ns",
                "none",
                "--ns-ifname",
                INSIDE,
            ],
        };
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    /// The words after the PID.
    fn last(self) -> Vec<String> {
        match self {
            UserNetworkProgram::Slirp4netns => vec![INSIDE.to_owned()],
            UserNetworkProgram::Pasta => Vec::new(),
        }
    }
}

/// Whether the host has a default route.
fn has_default_route() -> bool {
    let read = |name: &str| file::read_text(Path::new("/proc/self/net").join(name)).unwrap_or_default();
    net::has_default_route(&read("route"), &read("ipv6_route"))
}

/// The steps: the host starts the program, and waits until it is ready. Meanwhile the child waits: the program finds
/// the namespaces by its /proc/PID/ns, twice, and an ordinary user may open these only before the child is undumpable.
pub(super) fn plan(network: &UserNetwork, draft: &mut Draft) {
    let what = text("net.user.cannot");
    let (kind, path) = match network {
        // It is a child of `sandbox`, and ends with it.
        UserNetwork::By { .. } if !draft.may_relay() => {
            return refuse(draft, "mode", &what, text("net.user.alone.reason"), Vec::new());
        }
        UserNetwork::By { kind, path } => (*kind, path),
        missing => {
            let todo = match missing {
                UserNetwork::Missing | UserNetwork::NoRoute => text("net.user.install.todo"),
                UserNetwork::Root => text_of_options(draft.are_flags(Feature::Net), "net.user.root.todo"),
                _ => text("net.user.notun.todo"),
            };
            let error = Error { todo: vec![todo], ..Error::failed(what).why(missing.sentence()) };
            return draft.problem_of(Feature::Net, "mode", error);
        }
    };
    let (at, net) = (Phase::Veth, Feature::Net);
    let start = UserNetworkCall::Start { program: path.clone(), options: kind.options(), last: kind.last() };
    draft.step(at, Actor::Host, net, start, "net.user.start.why");
    draft.step(
        at,
        Actor::Host,
        net,
        UserNetworkCall::AwaitReady { says_so: kind == UserNetworkProgram::Slirp4netns },
        "net.user.ready.why",
    );
}
