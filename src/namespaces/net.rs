//! The network namespace: a network stack of one's own.
//!
//! Devices, addresses, routes, ports, firewall rules, /proc/net and abstract unix sockets belong to a network
//! namespace. A new one has a single device, lo, which is down: not even 127.0.0.1 answers until it's brought up.
//! A veth pair is a cable: one end here, one there. It goes with the namespace. network_namespaces(7), veth(4)
//!
//! What you'll see: /proc/net/dev, /proc/net/route and the addresses of each side.

use serde::{Deserialize, Serialize};

use crate::feature::Feature;
use crate::observe::{Observation, proc};
use crate::plan::call::net::Net as Call;
use crate::plan::order::Phase;
use crate::plan::{Actor, Draft};

/// What can be said about the network namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args, Serialize, Deserialize)]
#[group(skip)]
#[serde(deny_unknown_fields, default)]
pub struct Net {
    /// Whether lo is brought up
    #[arg(long, value_name = "STATE", default_value = "up")]
    pub lo: Lo,
}

/// The state of the loopback device.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Lo {
    /// Brought up: 127.0.0.1 answers.
    #[default]
    Up,
    /// As the kernel makes it.
    Down,
}

impl Net {
    /// The steps: the namespace, then lo.
    pub fn plan(&self, draft: &mut Draft) {
        draft.isolate(Feature::Net);
        if self.lo == Lo::Up {
            let call = Call::LinkUp { name: "lo".into() };
            draft.step(Phase::Network, Actor::Child, Feature::Net, call, "net.lo.why");
        }
    }
}

/// The files that show it; read by a process on each side.
pub fn observe(process: &str) -> Vec<Observation> {
    vec![
        proc::devices(process),
        proc::rows("/proc/net/route"),
        proc::rows("/proc/net/unix"),
        proc::rows("/proc/net/tcp"),
        proc::entries("/sys/class/net", "devices"),
    ]
}
