//! Network devices, addresses and routes.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use serde::{Deserialize, Serialize};

use super::c_string;
use super::file::write_once;
use crate::error::errno;
use crate::observe::file;
use crate::plan::slots::Slots;
use crate::sys;

/// The calls of this family. Those of rtnetlink(7) are messages: the braces show what is sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NetCall {
    /// ioctl SIOCSIFFLAGS: brings a device up. netdevice(7).
    LinkUp {
        /// The device.
        name: String,
    },
    /// RTM_NEWLINK: a veth pair, whose other device is created in another network namespace. veth(4).
    AddVeth {
        /// The device in the caller's network namespace.
        name: String,
        /// The other device.
        peer: String,
        /// The process whose network namespace the other device is created in. None: `<child>`.
        pid: Option<i32>,
        /// The bridge that the first device becomes a port of.
        bridge: Option<String>,
        /// Whether the other device gets `<hardware>`, the hardware address that is made of `<address>`.
        claimed: bool,
    },
    /// RTM_NEWLINK: a bridge. If it exists already, with this hardware address, that counts as success.
    AddBridge {
        /// Its name.
        name: String,
        /// Its hardware address. With one of its own, a bridge keeps it whatever ports it gets.
        hardware: HardwareAddress,
    },
    /// RTM_NEWADDR: gives a device an address.
    AddAddress {
        /// The device.
        device: String,
        /// The address. None: `<address>`. Where the device has no IPv6, an IPv6 address is left out.
        address: Option<IpAddr>,
        /// The prefix length of its network.
        prefix: u8,
        /// Other runs give it this address too: EEXIST counts as success.
        shared: bool,
    },
    /// RTM_NEWLINK of a bridge's port: an isolated port. The bridge forwards no packet from one isolated port to
    /// another.
    Isolate {
        /// The port.
        port: String,
    },
    /// RTM_NEWROUTE: the default route, for packets that match no other route.
    AddDefaultRoute {
        /// The router to which it leads.
        gateway: Ipv4Addr,
    },
    /// A write of `1` to a setting, if it is 0. An alias of a device records that it was 0. The alias is set first, so
    /// that it exists even if this process ends between the two.
    Enable {
        /// The file of the setting.
        setting: String,
        /// What records it.
        note: DeviceAlias,
    },
    /// RTM_GETLINK, repeated until the device has a carrier: the other device of its veth pair is up too.
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
            NetCall::AddVeth { name, peer, pid, bridge, claimed } => {
                let pid = pid.map_or_else(|| "<child>".to_owned(), |pid| pid.to_string());
                let bridge = bridge.as_ref().map_or_else(String::new, |bridge| format!(" master {bridge}"));
                let hardware = if *claimed { " address <hardware>" } else { "" };
                write!(
                    f,
                    "send(<netlink>, {{RTM_NEWLINK veth {name}{bridge}, peer {peer}{hardware} in netns of {pid}}})"
                )
            }
            NetCall::AddBridge { name, hardware } => {
                write!(f, "send(<netlink>, {{RTM_NEWLINK bridge {name} address {hardware}}})")
            }
            NetCall::Enable { setting, note: DeviceAlias { device, alias } } => {
                let alias = c_string(alias);
                write!(f, "send(<netlink>, {{RTM_NEWLINK {device} alias {alias}}}); ")?;
                write!(f, "write(<{setting}>, \"1\", 1)  [if it is 0]")
            }
            NetCall::Isolate { port } => write!(f, "send(<netlink>, {{RTM_NEWLINK {port}, isolated}})"),
            NetCall::AddDefaultRoute { gateway } => {
                write!(f, "send(<netlink>, {{RTM_NEWROUTE default via {gateway} proto static}})")
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
            NetCall::AddVeth { name, peer, pid, bridge, claimed } => {
                // The child is not reaped before the end of the run, so no other process can have its PID.
                let pid = pid.or(slots.child.map(nix::unistd::Pid::as_raw)).ok_or(Errno::ESRCH)?;
                let hardware = match claimed {
                    true => Some(HardwareAddress::of(slots.address.ok_or(Errno::EDESTADDRREQ)?).0),
                    false => None,
                };
                sys::netlink::add_veth(name, peer, pid.unsigned_abs(), bridge.as_deref(), hardware)
            }
            NetCall::AddBridge { name, hardware } => add_bridge(name, *hardware),
            NetCall::Enable { setting, note } => return enable(setting, note),
            NetCall::AddAddress { device, address, prefix, shared } => {
                let address = address.or(slots.address.map(Into::into)).ok_or(Errno::EDESTADDRREQ)?;
                match sys::netlink::add_address(device, address, *prefix) {
                    Err(Errno::EEXIST) if *shared => Ok(()),
                    // disable_ipv6 is 1, or the kernel has no IPv6.
                    Err(Errno::EACCES | Errno::EOPNOTSUPP | Errno::EAFNOSUPPORT) if address.is_ipv6() => {
                        Ok(())
                    }
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

/// The hardware address of a network device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct HardwareAddress(pub [u8; 6]);

impl HardwareAddress {
    /// A locally administered address that is made of an IPv4 address: `02:73` and its four bytes. If a container gets
    /// the IPv4 address of an earlier one, it also gets its hardware address. So old entries in ARP tables are still
    /// right.
    pub fn of(address: Ipv4Addr) -> HardwareAddress {
        let [a, b, c, d] = address.octets();
        HardwareAddress([0x02, b's', a, b, c, d])
    }

    /// The IPv4 address that a hardware address was made of. None if it is not one of ours.
    pub fn address_of(hardware: &[u8]) -> Option<Ipv4Addr> {
        match *hardware {
            [0x02, b's', a, b, c, d] => Some(Ipv4Addr::new(a, b, c, d)),
            _ => None,
        }
    }
}

impl fmt::Display for HardwareAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.map(|byte| format!("{byte:02x}")).join(":"))
    }
}

/// A text that the kernel stores with a network device and shows to everyone: IFLA_IFALIAS.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceAlias {
    /// The device.
    pub device: String,
    /// The text.
    pub alias: String,
}

impl DeviceAlias {
    /// Whether the device exists and has this alias.
    pub(crate) fn is_set(&self) -> bool {
        sys::netlink::find_link(&self.device).is_some_and(|link| link.alias() == Some(&self.alias))
    }
}

impl fmt::Display for DeviceAlias {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the alias of {} is {}", self.device, c_string(&self.alias))
    }
}

fn add_bridge(name: &str, hardware: HardwareAddress) -> Result<(), Errno> {
    match sys::netlink::add_bridge(name, hardware.0) {
        Err(Errno::EEXIST)
            if sys::netlink::find_link(name).is_some_and(|link| link.hardware_address() == hardware.0) =>
        {
            Ok(())
        }
        added => added,
    }
}

/// The alias comes first. If this process ends between the two, the setting is still 0, and writing 0 again does no
/// harm.
fn enable(setting: &str, note: &DeviceAlias) -> Result<i64, Errno> {
    if file::read_text(setting).map_err(errno)?.trim() != "0" {
        return Ok(0);
    }
    sys::netlink::set_alias(&note.device, &note.alias)?;
    write_once(setting, "1")
}

/// Waits until the other device of the pair is up. The kernel then sets the carrier in a work queue, which takes about
/// a millisecond.
fn await_carrier(name: &str) -> Result<(), Errno> {
    let deadline = Instant::now() + Duration::from_secs(5);
    while Instant::now() < deadline {
        match sys::netlink::find_link(name) {
            // The device is gone: its network namespace or that of its peer has ended, because the process that should
            // have set the peer up has ended.
            None => return Err(Errno::EPIPE),
            Some(link) if link.is_up() => return Ok(()),
            Some(_) => std::thread::sleep(Duration::from_micros(200)),
        }
    }
    Err(Errno::ETIMEDOUT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hardware_address_contains_its_ipv4_address() {
        let address = Ipv4Addr::new(10, 111, 7, 1);
        let hardware = HardwareAddress::of(address);
        assert_eq!(HardwareAddress::address_of(&hardware.0), Some(address));
        assert_eq!(HardwareAddress::address_of(&[0x02, 0x42, 10, 111, 7, 1]), None);
        assert_eq!(HardwareAddress::address_of(&[]), None);
        assert_eq!(hardware.to_string(), "02:73:0a:6f:07:01");
        // The second lowest bit of the first byte means locally administered. The lowest bit would mean a multicast
        // address. IEEE 802
        assert_eq!(hardware.0[0] & 3, 2);
    }
}
