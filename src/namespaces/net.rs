//! The network namespace: a network stack.
//!
//! # What it is
//!
//! A network namespace has its own devices, addresses, routes, ports, firewall rules, abstract Unix sockets and network
//! sysctls. A new one has only the device lo, which is down: not even 127.0.0.1 answers before lo is up.
//!
//! # Why one wants it
//!
//! A container can bind any port without a conflict with the host, and reaches only the networks that it is connected
//! to. A veth pair, a bridge and published ports make such connections. Their code is in `network`.
//!
//! # The calls
//!
//! clone3(2) or unshare(2) with CLONE_NEWNET makes the namespace, which needs CAP_SYS_ADMIN. rtnetlink(7) messages
//! configure its devices. A device is in one network namespace at a time; each end of a veth pair (veth(4)) can be in a
//! different one.
//!
//! # What changes in /proc
//!
//! - `/proc/net`, which is a link to `/proc/self/net`, shows the devices, routes and sockets of the reader's namespace.
//! - `/proc/sys/net` has the values of the reader's namespace.
//! - /sys/class/net lists the devices of the process that mounted /sys. So a new one is mounted, in a new mount
//!   namespace.
//!
//! Unix sockets that are files stay reachable by their paths. A mount namespace separates them. network_namespaces(7)

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::feature::Feature;
use crate::host::sysfs::{self, Sysfs};
use crate::network::NetworkRequest;
use crate::network::ports::Port;
use crate::observe::{Observation, net, proc};
use crate::plan::call::detached::DetachedMountCall;
use crate::plan::call::mount::MountCall;
use crate::plan::call::net::NetCall;
use crate::plan::order::Phase;
use crate::plan::slots::Held;
use crate::plan::{Actor, Call, Context, Draft};
use crate::text::{text, text_of_options, text_with};
use crate::value::join::JoinTarget;

/// Options of the network namespace.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args, Serialize, Deserialize, JsonSchema)]
#[group(skip)]
#[serde(deny_unknown_fields, default)]
pub struct Net {
    /// An existing namespace to join: host (your own), container:NAME, or a path such as /proc/123/ns/net
    #[arg(skip)]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"container:web")]
    pub join: Option<JoinTarget>,
    /// State of lo, the loopback device
    #[arg(long, value_name = "STATE", default_value = "up")]
    pub lo: Lo,
    /// Connect to the host by a veth pair; both ends get an address of a /30 subnet of 10.111.0.0/16 (needs root)
    #[arg(long)]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub veth: bool,
    /// Network mode: none (lo alone), bridge (to the host and beyond; needs root), user (beyond, by slirp4netns or pasta), or host (no new network namespace)
    #[arg(long, value_name = "MODE", default_value = "none", visible_alias = "network")]
    pub mode: Mode,
    /// With mode: bridge, reach the other containers on the bridge that have this too, as Docker's containers do
    #[arg(skip)]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub neighbours: bool,
    /// Publish a port, like docker's -p: [[ADDRESS:]HOSTPORT:]PORT[/udp]; without ADDRESS, on all IPv4 addresses (may be repeated)
    #[arg(long, short, value_name = "PORTS")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(example = ["8080:80"])]
    pub publish: Vec<Port>,
    /// Whether a new /sys is mounted, which lists the devices of the namespace
    #[arg(
        long = "no-mount-sys",
        action = clap::ArgAction::SetFalse,
        help = "Keep the old /sys, which lists the host's network devices"
    )]
    #[serde(skip_serializing_if = "Clone::clone")]
    pub mount_sys: bool,
}

impl Default for Net {
    fn default() -> Self {
        Net {
            join: None,
            lo: Lo::Up,
            veth: false,
            mode: Mode::None,
            neighbours: false,
            publish: Vec::new(),
            mount_sys: true,
        }
    }
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
    /// For an ordinary user: slirp4netns or pasta copies packets to sockets of the user.
    User,
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
    /// The steps: the namespace, then lo. `network` plans what connects it to the outside.
    pub fn plan(&self, context: &Context<'_>, draft: &mut Draft) {
        let is_joined = context.joins(Feature::Net);
        if !is_joined {
            draft.isolate(Feature::Net);
            self.check(draft);
        }
        if let Some(sysfs) = &context.host.sysfs {
            plan_sys(sysfs, context.mounts_sys, draft);
        }
        if self.lo == Lo::Up && !is_joined {
            let call = NetCall::LinkUp { name: "lo".into() };
            draft.step(Phase::Network, Actor::Child, Feature::Net, call, "net.lo.why");
        }
    }

    /// Whether the container keeps the caller's network: `mode: host` and `join: host` mean the same.
    pub fn is_host(&self) -> bool {
        self.mode == Mode::Host || self.join == Some(JoinTarget::Host)
    }

    /// What the options ask for as a connection to the outside.
    pub fn request(&self) -> NetworkRequest<'_> {
        NetworkRequest {
            veth: self.veth,
            bridge: self.mode == Mode::Bridge,
            neighbours: self.neighbours,
            user: self.mode == Mode::User,
            publish: &self.publish,
        }
    }

    /// Notes that `mode: host` makes no new network namespace, and refuses options that need one.
    pub(crate) fn announce_host_mode(&self, draft: &mut Draft) {
        if !self.is_host() {
            return;
        }
        draft.note(text_of_options(draft.are_flags(Feature::Net), "net.host.note"));
        if self.mode != Mode::Host {
            return;
        }
        if self.veth || !self.publish.is_empty() || self.lo == Lo::Down {
            let what = draft.option_with(Feature::Net, "mode", "host");
            refuse(draft, "mode", &what, "net.host.why", "net.host.todo");
        }
    }

    /// Refuses options that would change a namespace that is not this container's alone.
    pub fn check_join(&self, draft: &mut Draft) {
        let Some(join) = &self.join else { return };
        let mut refuse = |key, value: &str, why| draft.refuse_joined(Feature::Net, key, value, join, why);
        match self.mode {
            Mode::Host if *join != JoinTarget::Host => refuse("mode", "host", "net.joined.mode.reason"),
            Mode::None | Mode::Host => {}
            Mode::Bridge => refuse("mode", "bridge", "net.joined.mode.reason"),
            Mode::User => refuse("mode", "user", "net.joined.mode.reason"),
        }
        if self.veth {
            refuse("veth", "true", "net.joined.veth.reason");
        }
        if self.lo == Lo::Down {
            refuse("lo", "down", "net.joined.lo.reason");
        }
        if let Some(port) = self.publish.first() {
            refuse("publish", &port.to_string(), "net.joined.publish.reason");
        }
    }

    /// Refuses options that exclude each other.
    fn check(&self, draft: &mut Draft) {
        let other = match self.mode {
            Mode::Bridge => Some("bridge"),
            Mode::User => Some("user"),
            Mode::None | Mode::Host => None,
        };
        if let Some(mode) = other.filter(|_| self.veth) {
            let mode = draft.option_with(Feature::Net, "mode", mode);
            let what = format!("{}, {mode}", draft.option(Feature::Net, "veth"));
            refuse(draft, "veth", &what, "net.both.why", "net.both.todo");
        }
        if self.lo == Lo::Down && !self.publish.is_empty() {
            let lo = draft.option_with(Feature::Net, "lo", "down");
            let what = format!("{lo}, {}", draft.option(Feature::Net, "publish"));
            refuse(draft, "lo", &what, "net.lodown.why", "net.lodown.todo");
        }
    }
}

/// Mounts a new /sys on the old one, as `ip netns exec` does. The cgroup filesystems below the old one stay visible.
/// Before all other mounts, which may be below /sys. ip-netns(8)
fn plan_sys(sysfs: &Sysfs, is_replaced: bool, draft: &mut Draft) {
    if !is_replaced {
        if let Some(at) = sysfs.restricted_at.as_ref().filter(|_| sysfs.is_mounted) {
            draft.note(text_with("net.sys.note", &[("at", &at.to_string_lossy())]));
        }
        return;
    }
    let mut step = |call: Call, why| draft.step(Phase::Layers, Actor::Child, Feature::Net, call, why);
    let cgroups = PathBuf::from(sysfs::CGROUPS);
    if sysfs.has_cgroups {
        let copy = DetachedMountCall::Clone { path: cgroups.clone(), below: true, to: Held::Mount };
        step(copy.into(), "net.cgroups.why");
    }
    let new = MountCall::Filesystem { kind: "sysfs".into(), target: "/sys".into(), data: None };
    step(new.into(), "net.sys.why");
    if sysfs.has_cgroups {
        step(DetachedMountCall::Open { path: "/".into(), to: Held::Root }.into(), "rootfs.current.why");
        let back = DetachedMountCall::Attach { mount: Held::Mount, at: Held::Root, path: cgroups };
        step(back.into(), "net.again.why");
    }
}

fn refuse(draft: &mut Draft, key: &str, what: &str, why: &str, todo: &str) {
    let todo = text_of_options(draft.are_flags(Feature::Net), todo);
    draft.problem_of(Feature::Net, key, Error::failed(what).why(text(why)).todo(todo));
}

/// What to observe. A process on each side reads these files. ip_forward depends on the namespace of the reader, and
/// /sys/class/net on the process that mounted /sys.
pub fn observe(process: &str) -> Vec<Observation> {
    vec![
        net::devices(process),
        net::addresses(process),
        proc::rows(&format!("{process}/net/route")),
        net::tcp_sockets(process),
        net::unix_sockets(process),
        proc::first_word("/proc/sys/net/ipv4/ip_forward"),
        proc::names("/sys/class/net", "devices"),
    ]
}
