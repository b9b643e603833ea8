//! The network namespace: a network stack of one's own.
//!
//! Devices, addresses, routes, ports, firewall rules, /proc/net, the sysctls of /proc/sys/net and abstract unix sockets
//! belong to a network namespace. A new one has a single device, lo, which is down: not even 127.0.0.1 answers until
//! it's brought up. A veth pair is a cable: one end here, one there; it goes when either end's namespace goes.
//! Sockets that are files, and what /sys lists, are the mount's business. network_namespaces(7), veth(4), rtnetlink(7)
//!
//! What you'll see: /proc/net/dev, /proc/net/route and the addresses of each side.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::feature::Feature;
use crate::host::Host;
use crate::host::cable::{Cable, PREFIX};
use crate::observe::{Observation, proc};
use crate::plan::call::gate::Gate;
use crate::plan::call::net::Net as Call;
use crate::plan::order::Phase;
use crate::plan::undo::Undo;
use crate::plan::{Actor, Draft, Problem};
use crate::text::text;

/// What can be said about the network namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args, Serialize, Deserialize, JsonSchema)]
#[group(skip)]
#[serde(deny_unknown_fields, default)]
pub struct Net {
    /// Whether lo is brought up
    #[arg(long, value_name = "STATE", default_value = "up")]
    pub lo: Lo,
    /// Lay a cable to the outside: a veth pair, both ends with an address of a /30 of 10.111.0.0/16 (needs root)
    #[arg(long)]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub veth: bool,
}

/// The state of the loopback device.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Lo {
    /// Brought up: 127.0.0.1 answers.
    #[default]
    Up,
    /// As the kernel makes it.
    Down,
}

/// The name of the cable's end inside, as in docker.
pub(crate) const INSIDE: &str = "eth0";

impl Net {
    /// The steps: the namespace, the cable, then lo.
    pub fn plan(&self, host: &Host, draft: &mut Draft) {
        draft.isolate(Feature::Net);
        if self.veth {
            match &host.cable {
                Some(cable) if cable.permitted => plan_cable(cable, draft),
                Some(_) => refuse(draft, "net.veth.why", vec![text("net.veth.todo"), text("net.veth.root")]),
                None => refuse(draft, "net.subnet.why", vec![text("net.subnet.todo")]),
            }
        }
        if self.lo == Lo::Up {
            let call = Call::LinkUp { name: "lo".into() };
            draft.step(Phase::Network, Actor::Child, Feature::Net, call, "net.lo.why");
        }
    }
}

/// The pair, addressed and up on both sides. Each side does its own: the host has no business in the child's namespace
/// beyond putting the peer there.
fn plan_cable(cable: &Cable, draft: &mut Draft) {
    let (at, net) = (Phase::Cable, Feature::Net);
    let name = cable.name.clone();
    let pair = Call::AddVeth { name: name.clone(), peer: INSIDE.into(), pid: None };
    let undo = Undo::DeleteLink { name: name.clone() };
    draft.undoable(at, Actor::Host, net, pair, "net.pair.why", undo);
    let address = Call::AddAddress { device: name.clone(), address: cable.outside, prefix: PREFIX };
    draft.step(at, Actor::Host, net, address, "net.address.why");
    draft.step(at, Actor::Host, net, Call::LinkUp { name: name.clone() }, "net.up.why");
    draft.step(at, Actor::Host, net, Gate::Release, "net.laid.why");
    draft.step(at, Actor::Child, net, Gate::Await, "net.wait.why");
    let address = Call::AddAddress { device: INSIDE.into(), address: cable.inside, prefix: PREFIX };
    draft.step(Phase::Network, Actor::Child, net, address, "net.address.why");
    draft.step(Phase::Network, Actor::Child, net, Call::LinkUp { name: INSIDE.into() }, "net.up.why");
    draft.step(Phase::Carrier, Actor::Host, net, Call::AwaitCarrier { name }, "net.carrier.why");
}

fn refuse(draft: &mut Draft, why: &'static str, todo: Vec<String>) {
    let what = text("net.pair.cannot");
    draft.problem(Problem { feature: Feature::Net, what, why: text(why), todo });
}

/// The files that show it; read by a process on each side. The last two answer for the reader and for the mount.
pub fn observe(process: &str) -> Vec<Observation> {
    vec![
        proc::devices(process),
        proc::addresses(process),
        proc::rows(&format!("{process}/net/route")),
        proc::rows(&format!("{process}/net/tcp")),
        proc::rows(&format!("{process}/net/unix")),
        proc::first_word("/proc/sys/net/ipv4/ip_forward"),
        proc::entries("/sys/class/net", "devices"),
    ]
}
