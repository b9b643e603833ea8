//! Network devices and their addresses.

use std::fmt;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use serde::{Deserialize, Serialize};

use super::bridge::hardware;
use super::c_string;
use crate::plan::slots::Slots;
use crate::sys;

/// The calls of this family. rtnetlink(7)'s are messages: what is sent stands in braces.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NetCall {
    /// ioctl SIOCSIFFLAGS: brings a device up. netdevice(7).
    LinkUp {
        /// The device.
        name: String,
    },
    /// RTM_NEWLINK: a veth pair, born with its other end in another network namespace. veth(4).
    AddVeth {
        /// The end in the caller's network namespace.
        name: String,
        /// The other end.
        peer: String,
        /// Whose network namespace the other end is put into; `<child>` where none is given.
        pid: Option<i32>,
        /// The bridge that this end is a port of; where there is an `<address>`, the other gets the hardware address of it.
        bridge: Option<String>,
    },
    /// RTM_NEWADDR: gives a device an address.
    AddAddress {
        /// The device.
        device: String,
        /// The address; `<address>` where none is given.
        address: Option<Ipv4Addr>,
        /// How many of its bits name the network.
        prefix: u8,
        /// Other runs give it this address too: that it has it already is as good.
        shared: bool,
    },
    /// RTM_NEWLINK of a bridge's port: it sends to no other such port.
    Isolate {
        /// The port.
        port: String,
    },
    /// RTM_NEWROUTE: where everything goes that has no other route.
    AddDefaultRoute {
        /// The machine that takes it.
        gateway: Ipv4Addr,
    },
    /// RTM_GETLINK, again and again until the device can send: the other device of its veth pair is up too.
    AwaitCarrier {
        /// The device.
        name: String,
    },
}

impl fmt::Display for NetCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NetCall::LinkUp { name } => {
                write!(
                    f,
                    "ioctl(<socket>, SIOCSIFFLAGS, {{ifr_name={}, ifr_flags=IFF_UP|IFF_RUNNING}})",
                    c_string(name)
                )
            }
            NetCall::AddVeth { name, peer, pid, bridge } => {
                let pid = pid.map_or_else(|| "<child>".to_owned(), |pid| pid.to_string());
                let bridge = bridge.as_ref().map_or_else(String::new, |bridge| format!(" master {bridge}"));
                write!(
                    f,
                    "send(<netlink>, {{RTM_NEWLINK veth {name}{bridge}, peer {peer} in netns of {pid}}})"
                )
            }
            NetCall::Isolate { port } => write!(f, "send(<netlink>, {{RTM_NEWLINK {port}, isolated}})"),
            NetCall::AddDefaultRoute { gateway } => {
                write!(f, "send(<netlink>, {{RTM_NEWROUTE default via {gateway}}})")
            }
            NetCall::AddAddress { device, address, prefix, .. } => {
                let address = address.map_or_else(|| "<address>".to_owned(), |address| address.to_string());
                write!(f, "send(<netlink>, {{RTM_NEWADDR {address}/{prefix} dev {device}}})")
            }
            NetCall::AwaitCarrier { name } => {
                write!(f, "send(<netlink>, {{RTM_GETLINK {name}}})  [until operstate is UP]")
            }
        }
    }
}

impl NetCall {
    /// Makes the call.
    pub(super) fn perform(&self, slots: &mut Slots) -> Result<i64, Errno> {
        match self {
            NetCall::LinkUp { name } => sys::link::set_up(name),
            NetCall::AddVeth { name, peer, pid, bridge } => {
                // The child isn't reaped before the end, so its number can't have become another's.
                let pid = pid.or(slots.child.map(nix::unistd::Pid::as_raw)).ok_or(Errno::ESRCH)?;
                let hardware = slots.address.filter(|_| bridge.is_some()).map(hardware);
                sys::netlink::add_veth(name, peer, pid.unsigned_abs(), bridge.as_deref(), hardware)
            }
            NetCall::AddAddress { device, address, prefix, shared } => {
                let address = address.or(slots.address).ok_or(Errno::EDESTADDRREQ)?;
                match sys::netlink::add_address(device, address, *prefix) {
                    Err(Errno::EEXIST) if *shared => Ok(()),
                    added => added,
                }
            }
            NetCall::Isolate { port } => sys::netlink::isolate_port(port),
            NetCall::AddDefaultRoute { gateway } => sys::netlink::add_default_route(*gateway),
            NetCall::AwaitCarrier { name } => await_carrier(name),
        }
        .map(|()| 0)
    }
}

/// Waits for the kernel's work queue, which takes a millisecond, and for whoever sets the other end up.
fn await_carrier(name: &str) -> Result<(), Errno> {
    let deadline = Instant::now() + Duration::from_secs(5);
    while Instant::now() < deadline {
        match sys::netlink::find_link(name) {
            // Gone with the other end, and that with its namespace: who should have set it up has ended.
            None => return Err(Errno::EPIPE),
            Some(link) if link.is_up() => return Ok(()),
            Some(_) => std::thread::sleep(Duration::from_micros(200)),
        }
    }
    Err(Errno::ETIMEDOUT)
}
