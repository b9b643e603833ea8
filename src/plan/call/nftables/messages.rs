//! The messages that create a table.

use std::net::Ipv4Addr;

use libc::{NFT_META_IIFNAME, NFT_META_IIFTYPE, NFT_META_OIFNAME, NFT_META_PROTOCOL, c_int};
use libc::{NFT_PAYLOAD_LL_HEADER, NFT_PAYLOAD_NETWORK_HEADER};

use super::super::net::HardwareAddress;
use super::table::{
    ChainPolicy, ChainPriority, FirewallRule, Hook, PacketMatch, PacketVerdict, Table, TableFamily,
};
use crate::sys::nftables::{BaseChain, Batch, ESTABLISHED, Expressions, RELATED};

impl Table {
    /// All of its messages, for an address. The kernel carries out all of them or none.
    pub(super) fn messages(&self, address: Ipv4Addr) -> Batch {
        let name = self.name.replace("<address>", &address.to_string());
        let mut batch = Batch::new(self.family.number(), &name, &self.comment);
        for chain in &self.chains {
            let (hook, device) = chain.hook.number();
            let (kind, priority) = (chain.kind.name(), chain.priority.number(self.family));
            let policy = chain.policy.number();
            batch.chain(&name, &BaseChain { name: &chain.name, kind, hook, priority, device, policy });
            for rule in &chain.rules {
                batch.rule(&name, &chain.name, &rule.expressions(self.family, address));
            }
        }
        batch
    }
}

impl TableFamily {
    fn number(self) -> c_int {
        match self {
            TableFamily::Ip => libc::NFPROTO_IPV4,
            TableFamily::Bridge => libc::NFPROTO_BRIDGE,
            TableFamily::Netdev => libc::NFPROTO_NETDEV,
        }
    }
}

impl Hook {
    /// The number of the hook, and the device.
    fn number(&self) -> (c_int, Option<&str>) {
        match self {
            Hook::Forward => (libc::NF_INET_FORWARD, None),
            Hook::Postrouting => (libc::NF_INET_POST_ROUTING, None),
            Hook::Ingress(device) => (libc::NF_NETDEV_INGRESS, Some(device)),
        }
    }
}

/// NF_BR_PRI_FILTER_BRIDGED of linux/netfilter_bridge.h: what nft(8) calls `filter` in the bridge family.
const BRIDGE_FILTER: c_int = -200;

impl ChainPriority {
    fn number(self, family: TableFamily) -> c_int {
        match (self, family) {
            (ChainPriority::Filter, TableFamily::Bridge) => BRIDGE_FILTER,
            (ChainPriority::Filter, _) => libc::NF_IP_PRI_FILTER,
            (ChainPriority::Srcnat, _) => libc::NF_IP_PRI_NAT_SRC,
        }
    }
}

impl ChainPolicy {
    fn number(self) -> c_int {
        match self {
            ChainPolicy::Accept => libc::NF_ACCEPT,
            ChainPolicy::Drop => libc::NF_DROP,
        }
    }
}

impl FirewallRule {
    /// Its expressions in a table of this family. As nft(8) does, it first compares the protocol of a packet whose headers
    /// can be of any: bytes at an offset say nothing without it.
    fn expressions(&self, family: TableFamily, address: Ipv4Addr) -> Expressions {
        let mut to = Expressions::default();
        let mut known = Vec::new();
        for part in &self.matches {
            let protocol = part.protocol().filter(|_| family == TableFamily::Netdev);
            if let Some((key, value)) = protocol.filter(|protocol| !known.contains(protocol)) {
                to.meta(key, &value);
                known.push((key, value));
            }
            part.encode(address, &mut to);
        }
        match self.verdict {
            PacketVerdict::Accept => to.verdict(libc::NF_ACCEPT),
            PacketVerdict::Drop => to.verdict(libc::NF_DROP),
            PacketVerdict::Masquerade => to.masquerade(),
        }
        to
    }
}

// The offset of a field in its header.
const IP_SOURCE: c_int = 12; // RFC 791
const IP_DESTINATION: c_int = 16;
const ETHER_SOURCE: c_int = 6; // IEEE 802.3
const ARP_SENDER_ETHER: c_int = 8; // RFC 826
const ARP_SENDER_IP: c_int = 14;

impl PacketMatch {
    /// The metadata of a packet that has the header of this field: the key, and the value.
    fn protocol(&self) -> Option<(c_int, [u8; 2])> {
        let of = |protocol: c_int| Some((NFT_META_PROTOCOL, (protocol as u16).to_be_bytes()));
        match self {
            PacketMatch::IpSource | PacketMatch::IpDestination => of(libc::ETH_P_IP),
            PacketMatch::ArpSenderEther | PacketMatch::ArpSenderIp => of(libc::ETH_P_ARP),
            // A number in the byte order of the machine.
            PacketMatch::EtherSource => Some((NFT_META_IIFTYPE, libc::ARPHRD_ETHER.to_ne_bytes())),
            PacketMatch::ReceivedBy(_)
            | PacketMatch::NotReceivedBy(_)
            | PacketMatch::SentBy(_)
            | PacketMatch::NotSentBy(_)
            | PacketMatch::KnownConnection => None,
        }
    }

    fn encode(&self, address: Ipv4Addr, to: &mut Expressions) {
        let (ip, hardware) = (address.octets(), HardwareAddress::of(address).0);
        match self {
            PacketMatch::IpSource => to.payload(NFT_PAYLOAD_NETWORK_HEADER, IP_SOURCE, &ip),
            PacketMatch::IpDestination => to.payload(NFT_PAYLOAD_NETWORK_HEADER, IP_DESTINATION, &ip),
            PacketMatch::EtherSource => to.payload(NFT_PAYLOAD_LL_HEADER, ETHER_SOURCE, &hardware),
            PacketMatch::ArpSenderEther => {
                to.payload(NFT_PAYLOAD_NETWORK_HEADER, ARP_SENDER_ETHER, &hardware)
            }
            PacketMatch::ArpSenderIp => to.payload(NFT_PAYLOAD_NETWORK_HEADER, ARP_SENDER_IP, &ip),
            PacketMatch::ReceivedBy(device) => to.device(NFT_META_IIFNAME, device, true),
            PacketMatch::NotReceivedBy(device) => to.device(NFT_META_IIFNAME, device, false),
            PacketMatch::SentBy(device) => to.device(NFT_META_OIFNAME, device, true),
            PacketMatch::NotSentBy(device) => to.device(NFT_META_OIFNAME, device, false),
            PacketMatch::KnownConnection => to.connection_state(ESTABLISHED | RELATED),
        }
    }
}
