//! The bridge that all containers share, and the firewall's rules for one of them. rtnetlink(7), and nf_tables: nft(8).

use std::fmt;
use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use super::c_string;
use crate::error::errno;
use crate::plan::slots::Slots;
use crate::sys::netlink;
use crate::sys::nftables::{self, Chain, Expression, Family, Hook};

/// The network namespace of whoever opens it: what a bridge lies in, as a folder lies in another.
pub const NETWORK: &str = "/proc/self/ns/net";

/// Whether this machine passes packets on from one device to another. ip_sysctl
pub const FORWARD: &str = "/proc/sys/net/ipv4/ip_forward";

/// What is written beside a bridge for which forwarding was turned on: whoever removes it turns that off again.
pub const FORWARDED: &str = "sandbox: ip_forward was 0";

/// The calls of this family.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BridgeCall {
    /// flock(2), shared, on the network namespace: as long as one run has it, no other removes the bridge.
    Share,
    /// RTM_NEWLINK: a bridge. That it's there already is as good, where it's one of ours with this address.
    Make {
        /// Its name.
        name: String,
        /// Its address, which its hardware address is made of.
        address: Ipv4Addr,
    },
    /// A write of `1` to ip_forward, unless it says so: then it's written beside the bridge first.
    Forward {
        /// The bridge.
        bridge: String,
    },
    /// NFT_MSG_NEWTABLE and what goes with it: the rules for one address of the network, the first for which no other run
    /// has a table. That is `<address>`: the kernel makes no second table of one name.
    Claim {
        /// The bridge.
        bridge: String,
        /// The network, of 254 hosts, of which the first is the bridge.
        network: Ipv4Addr,
    },
    /// NFT_MSG_NEWTABLE: what comes out of a port must come from `<address>`.
    Guard {
        /// The port.
        port: String,
    },
}

impl fmt::Display for BridgeCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BridgeCall::Share => write!(f, "flock(<{NETWORK}>, LOCK_SH)"),
            BridgeCall::Make { name, address } => {
                let hardware = hardware(*address).map(|byte| format!("{byte:02x}")).join(":");
                write!(f, "send(<netlink>, {{RTM_NEWLINK bridge {name} address {hardware}}})")
            }
            BridgeCall::Forward { .. } => {
                write!(f, "write(<{FORWARD}>, {}, 1)  [unless it is]", c_string("1"))
            }
            BridgeCall::Claim { bridge, .. } => write!(
                f,
                "send(<nftables>, {{NFT_MSG_NEWTABLE ip sandbox-<address>, flags owner; \
                 forward: ip daddr <address> ct state != {{established, related}} drop; \
                 postrouting: ip saddr <address> oifname != {bridge} masquerade}})"
            ),
            BridgeCall::Guard { port } => write!(
                f,
                "send(<nftables>, {{NFT_MSG_NEWTABLE netdev sandbox-<address>, flags owner; \
                 ingress {port}: ip saddr <address> accept; arp saddr ip <address> accept; drop}})"
            ),
        }
    }
}

impl BridgeCall {
    /// Makes the call.
    pub(super) fn perform(&self, slots: &mut Slots) -> Result<i64, Errno> {
        match self {
            BridgeCall::Share => {
                slots.shares.push(share()?);
                Ok(0)
            }
            BridgeCall::Make { name, address } => make(name, hardware(*address)).map(|()| 0),
            BridgeCall::Forward { bridge } => forward(bridge),
            BridgeCall::Claim { bridge, network } => claim(bridge, *network, slots),
            BridgeCall::Guard { port } => {
                let (Some(socket), Some(address)) = (&slots.tables, slots.address) else {
                    return Err(Errno::EDESTADDRREQ);
                };
                let name = table_name(address);
                nftables::make_table(socket, Family::Netdev, &name, &[guard(port, address)]).map(|()| 0)
            }
        }
    }
}

/// The hardware address that goes with an address: locally administered, an `s`, and the four bytes. Who gets an address
/// that another had before is then found where that one was looked for.
pub fn hardware(address: Ipv4Addr) -> [u8; 6] {
    let [a, b, c, d] = address.octets();
    [0x02, b's', a, b, c, d]
}

/// The address that a hardware address of ours was made of.
pub fn address_of(hardware: &[u8]) -> Option<Ipv4Addr> {
    match *hardware {
        [0x02, b's', a, b, c, d] => Some(Ipv4Addr::new(a, b, c, d)),
        _ => None,
    }
}

/// Whoever has it alone is removing the bridge, which takes milliseconds; anybody may lock what anybody may open, so this
/// doesn't wait for ever.
fn share() -> Result<OwnedFd, Errno> {
    let deadline = Instant::now() + Duration::from_secs(5);
    let own = OwnedFd::from(File::open(NETWORK).map_err(errno)?);
    loop {
        match flock(&own, FlockOperation::NonBlockingLockShared) {
            Err(rustix::io::Errno::AGAIN) if Instant::now() < deadline => {}
            Err(error) => return Err(errno(error)),
            Ok(()) => return Ok(own),
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn make(name: &str, hardware: [u8; 6]) -> Result<(), Errno> {
    match netlink::add_bridge(name, hardware) {
        Err(Errno::EEXIST)
            if netlink::find_link(name).is_some_and(|link| link.hardware_address() == hardware) =>
        {
            Ok(())
        }
        made => made,
    }
}

/// Noted before it's done: a run that dies in between has at worst noted what didn't happen, and 0 is written over 0.
fn forward(bridge: &str) -> Result<i64, Errno> {
    if fs::read_to_string(FORWARD).map_err(errno)?.trim() != "0" {
        return Ok(0);
    }
    netlink::set_alias(bridge, FORWARDED)?;
    fs::write(FORWARD, "1").map(|()| 1).map_err(errno)
}

fn claim(bridge: &str, network: Ipv4Addr, slots: &mut Slots) -> Result<i64, Errno> {
    let socket = nftables::open()?;
    let is_ours = netlink::find_link(bridge).is_some_and(|link| link.alias() == Some(FORWARDED));
    for host in 2..=254 {
        let address = Ipv4Addr::from(u32::from(network) + host);
        let chains = passage(bridge, address, is_ours);
        match nftables::make_table(&socket, Family::Ip, &table_name(address), &chains) {
            // Another's. EPERM is what the kernel says of a table that has an owner; who may make a bridge may make a table.
            Err(Errno::EEXIST | Errno::EPERM) => {}
            made => {
                made?;
                (slots.address, slots.tables) = (Some(address), Some(socket));
                return Ok(i64::from(host));
            }
        }
    }
    Err(Errno::EADDRNOTAVAIL)
}

fn table_name(address: Ipv4Addr) -> String {
    format!("sandbox-{address}")
}

/// What goes through this machine. A neighbour that takes this machine for its router reaches no container: only answers go
/// in. And where forwarding is on for our sake alone, nothing else is forwarded, as before.
fn passage(bridge: &str, address: Ipv4Addr, is_ours: bool) -> [Chain; 2] {
    use Expression::{Accept, Answer, Drop, From, Masquerade, Packet, To};
    // Bytes 12 to 15 of an IPv4 header are the sender, 16 to 19 the receiver. RFC 791
    let (sender, receiver) = (Packet(12, nftables::address(address)), Packet(16, nftables::address(address)));
    let mut rules = vec![vec![receiver.clone(), Answer, Accept], vec![receiver, Drop]];
    if is_ours {
        rules.push(vec![From(bridge.into(), false), To(bridge.into(), false), Drop]);
    }
    let out = vec![vec![sender, To(bridge.into(), false), Masquerade]];
    [
        Chain { name: "forward", hook: Hook::Forward, drops: false, rules },
        Chain { name: "postrouting", hook: Hook::Postrouting, drops: false, rules: out },
    ]
}

/// What comes out of the container: IPv4 from its address, and ARP that tells of no other. All else is dropped: nobody
/// there can take a neighbour's address, or advertise routes (IPv6).
fn guard(port: &str, address: Ipv4Addr) -> Chain {
    use Expression::{Accept, Frame, Packet, Protocol};
    let (hardware, bytes) = (hardware(address).to_vec(), nftables::address(address));
    let sender = Frame(6, hardware.clone());
    let packet = vec![sender.clone(), Protocol(0x0800), Packet(12, bytes.clone()), Accept];
    // In ARP the sender's hardware address stands from byte 8 on, its IPv4 address from byte 14 on. RFC 826
    let arp = vec![sender, Protocol(0x0806), Packet(8, hardware), Packet(14, bytes), Accept];
    Chain { name: "ingress", hook: Hook::Ingress(port.into()), drops: true, rules: vec![packet, arp] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hardware_address_leads_back() {
        let address = Ipv4Addr::new(10, 111, 7, 1);
        assert_eq!(address_of(&hardware(address)), Some(address));
        assert_eq!(address_of(&[0x02, 0x42, 10, 111, 7, 1]), None);
        assert_eq!(address_of(&[]), None);
        // The second lowest bit of the first byte: locally administered; the lowest would be a group's. IEEE 802
        assert_eq!(hardware(address)[0] & 3, 2);
    }
}
