//! The network namespace: a network stack of one's own.
//!
//! Devices, addresses, routes, ports, firewall rules, /proc/net, the sysctls of /proc/sys/net and abstract unix sockets
//! belong to a network namespace. A new one has a single device, lo, which is down: not even 127.0.0.1 answers until
//! it's brought up. What connects it to the outside (a veth pair, a bridge, published ports) is in `network`.
//! Sockets that are files, and what /sys lists, are the mount's business. network_namespaces(7), veth(4), rtnetlink(7)
//!
//! What you'll see: /proc/net/dev, /proc/net/route and the addresses of each side.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::feature::Feature;
use crate::network::NetworkRequest;
use crate::network::ports::Port;
use crate::observe::{Observation, net, proc};
use crate::plan::call::net::NetCall as Call;
use crate::plan::order::Phase;
use crate::plan::{Actor, Context, Draft};
use crate::text::text;

/// Options of the network namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args, Serialize, Deserialize, JsonSchema)]
#[group(skip)]
#[serde(deny_unknown_fields, default)]
pub struct Net {
    /// State of lo, the loopback device
    #[arg(long, value_name = "STATE", default_value = "up")]
    pub lo: Lo,
    /// Connect to the host by a veth pair; both ends get an address of a /30 subnet of 10.111.0.0/16 (needs root)
    #[arg(long)]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub veth: bool,
    /// Network mode: none (lo alone), bridge (to the host and beyond; needs root), or host (no new network namespace)
    #[arg(long, value_name = "MODE", default_value = "none", visible_alias = "network")]
    pub mode: Mode,
    /// Publish a port: connections to HOSTPORT on the host go to PORT inside; [ADDRESS:]HOSTPORT:PORT[/tcp] (may be repeated)
    #[arg(long, short, value_name = "PORTS")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(example = ["8080:80"])]
    pub publish: Vec<Port>,
}

/// The network mode.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Lo alone, no connection to the outside.
    #[default]
    None,
    /// The host's network: no new network namespace.
    Host,
    /// A bridge to the host and to other networks.
    Bridge,
}

/// The state of the loopback device.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Lo {
    /// Up: 127.0.0.1 can be reached.
    #[default]
    Up,
    /// Down, as in every new network namespace.
    Down,
}

impl Net {
    /// The steps: the namespace, then lo. What connects it to the outside is planned by `network`.
    pub fn plan(&self, _context: &Context<'_>, draft: &mut Draft) {
        draft.isolate(Feature::Net);
        self.check(draft);
        if self.lo == Lo::Up {
            let call = Call::LinkUp { name: "lo".into() };
            draft.step(Phase::Network, Actor::Child, Feature::Net, call, "net.lo.why");
        }
    }
}

impl Net {
    /// What shall connect it to the outside.
    pub fn request(&self) -> NetworkRequest<'_> {
        NetworkRequest { veth: self.veth, bridge: self.mode == Mode::Bridge, publish: &self.publish }
    }

    /// What is to be known of what was asked for, and what makes no sense without a network of one's own.
    pub(crate) fn say(&self, draft: &mut Draft) {
        if self.mode != Mode::Host {
            return;
        }
        draft.note(text("net.host.note"));
        if self.veth || !self.publish.is_empty() || self.lo == Lo::Down {
            refuse(draft, "mode: host", "net.host.why", "net.host.todo");
        }
    }

    /// What can't be had together.
    fn check(&self, draft: &mut Draft) {
        if self.veth && self.mode == Mode::Bridge {
            refuse(draft, "veth, mode: bridge", "net.both.why", "net.both.todo");
        }
        if self.lo == Lo::Down && !self.publish.is_empty() {
            refuse(draft, "lo: down, publish", "net.lodown.why", "net.lodown.todo");
        }
    }
}

fn refuse(draft: &mut Draft, what: &str, why: &str, todo: &str) {
    draft.problem(Feature::Net, Error::failed(what).why(text(why)).todo(text(todo)));
}

/// The files that show it; read by a process on each side. The last two answer for the reader and for the mount.
pub fn observe(process: &str) -> Vec<Observation> {
    vec![
        net::devices(process),
        net::addresses(process),
        proc::rows(&format!("{process}/net/route")),
        proc::rows(&format!("{process}/net/tcp")),
        proc::rows(&format!("{process}/net/unix")),
        proc::first_word("/proc/sys/net/ipv4/ip_forward"),
        proc::entries("/sys/class/net", "devices"),
    ]
}
