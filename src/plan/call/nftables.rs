//! Tables of nf_tables, the kernel's packet filter. A table is data. It is printed in the syntax of nft(8), and sent to
//! the kernel, from the same data.
//!
//! `<address>` in a table is the slot that [`NftablesCall::ClaimAddress`] fills. `<hardware>` is the hardware address
//! that is made of it.

use std::fmt;
use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;

use nix::errno::Errno;
use serde::{Deserialize, Serialize};

use super::net::{DeviceAlias, HardwareAddress};
use crate::plan::slots::Slots;
use crate::sys::nftables::{self, BaseChain, Batch, Expressions};

/// The calls of this family. Each sends NFT_MSG_NEWTABLE and the messages for the table's chains and rules.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NftablesCall {
    /// Claims an address: the first host of a network, from the second on, for which the table can be created. The
    /// table is named after the address. Two tables cannot have the same name, so no other run can claim the address.
    ClaimAddress {
        /// The network, a /24.
        network: Ipv4Addr,
        /// The table.
        table: Table,
    },
    /// Creates another table for the address that was claimed.
    NewTable {
        /// The table.
        table: Table,
    },
}

/// A table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    /// Which packets it gets.
    pub family: TableFamily,
    /// Its name, in which `<address>` is replaced.
    pub name: String,
    /// Its comment, which only the tables of one run have: the name of the container's port.
    pub comment: String,
    /// Its chains.
    pub chains: Vec<Chain>,
}

/// The address family of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TableFamily {
    /// IPv4 packets of all devices.
    Ip,
    /// All packets that one device receives.
    Netdev,
}

/// A chain of rules.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chain {
    /// Its name.
    pub name: String,
    /// Where packets come to it.
    pub hook: Hook,
    /// Whether a packet that no rule decides on is dropped.
    pub drops: bool,
    /// Its rules, in order.
    pub rules: Vec<FirewallRule>,
}

/// The place in the path of a packet where a chain is called.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Hook {
    /// The packet is forwarded from one device to another.
    Forward,
    /// The packet is about to leave, and its source address may still be changed.
    Postrouting,
    /// The packet was received by this device.
    Ingress(String),
}

/// A rule: the statements are evaluated in order, until one does not match.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FirewallRule {
    /// The statements.
    pub statements: Vec<Statement>,
    /// The rule is only created if a device has this alias.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub only_if: Option<DeviceAlias>,
}

/// One match, or what is done with the packet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Statement {
    /// The source address of the IPv4 header is `<address>`.
    IpSource,
    /// The destination address of the IPv4 header is `<address>`.
    IpDestination,
    /// The source address of the Ethernet header is `<hardware>`.
    EtherSource,
    /// The protocol of the packet.
    Protocol(PacketProtocol),
    /// The sender's hardware address of the ARP packet is `<hardware>`.
    ArpSenderEther,
    /// The sender's IPv4 address of the ARP packet is `<address>`.
    ArpSenderIp,
    /// The packet was not received by this device.
    NotReceivedBy(String),
    /// The packet is not sent by this device.
    NotSentBy(String),
    /// The packet belongs to a known connection, or is related to one.
    KnownConnection,
    /// The source address is replaced by that of the device that sends the packet.
    Masquerade,
    /// The packet is accepted.
    Accept,
    /// The packet is dropped.
    Drop,
}

/// A protocol above Ethernet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PacketProtocol {
    /// IPv4.
    Ip,
    /// The address resolution protocol.
    Arp,
}

impl fmt::Display for NftablesCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NftablesCall::ClaimAddress { network, table } => write!(
                f,
                "send(<nftables>, {{NFT_MSG_NEWTABLE {table}}})  [<address>: the first of {network}/24 that is free]"
            ),
            NftablesCall::NewTable { table } => write!(f, "send(<nftables>, {{NFT_MSG_NEWTABLE {table}}})"),
        }
    }
}

impl NftablesCall {
    /// The table that is created.
    pub fn table(&self) -> &Table {
        match self {
            NftablesCall::ClaimAddress { table, .. } | NftablesCall::NewTable { table } => table,
        }
    }

    /// Makes the call.
    pub(super) fn perform(&self, slots: &mut Slots) -> Result<i64, Errno> {
        match self {
            NftablesCall::ClaimAddress { network, table } => claim(*network, table, slots),
            NftablesCall::NewTable { table } => {
                let address = slots.address.ok_or(Errno::EDESTADDRREQ)?;
                table.with_conditions_checked().create(&nftables::open()?, address).map(|()| 0)
            }
        }
    }
}

/// The first host of the network is the gateway, the last address is that of the broadcast.
fn claim(network: Ipv4Addr, table: &Table, slots: &mut Slots) -> Result<i64, Errno> {
    let (socket, table) = (nftables::open()?, table.with_conditions_checked());
    for host in 2..=254 {
        let address = Ipv4Addr::from(u32::from(network) + host);
        match table.create(&socket, address) {
            // Another run has this address. The kernel reports EPERM for a table that a socket of another program
            // owns. It cannot mean a missing privilege here: a caller who may create a bridge may also create a table.
            Err(Errno::EEXIST | Errno::EPERM) => {}
            created => {
                created?;
                slots.address = Some(address);
                return Ok(i64::from(host));
            }
        }
    }
    Err(Errno::EADDRNOTAVAIL)
}

impl Table {
    /// The table without the rules whose condition is not met.
    fn with_conditions_checked(&self) -> Table {
        let mut table = self.clone();
        for chain in &mut table.chains {
            chain.rules.retain(|rule| rule.only_if.as_ref().is_none_or(DeviceAlias::is_set));
        }
        table
    }

    /// Creates the table for an address, all of it or nothing.
    fn create(&self, socket: &OwnedFd, address: Ipv4Addr) -> Result<(), Errno> {
        let name = self.name.replace("<address>", &address.to_string());
        let mut batch = Batch::new(self.family.number(), &name, &self.comment);
        for chain in &self.chains {
            let (kind, hook, priority, device) = chain.hook.parts();
            let policy = if chain.drops { libc::NF_DROP } else { libc::NF_ACCEPT };
            batch.chain(&BaseChain { name: &chain.name, kind, hook, priority, device, policy });
            for rule in &chain.rules {
                let mut expressions = Expressions::default();
                rule.statements.iter().for_each(|part| part.encode(address, &mut expressions));
                batch.rule(&chain.name, &expressions);
            }
        }
        batch.send(socket)
    }
}

impl TableFamily {
    fn number(self) -> i32 {
        match self {
            TableFamily::Ip => libc::NFPROTO_IPV4,
            TableFamily::Netdev => libc::NFPROTO_NETDEV,
        }
    }
}

impl Hook {
    /// The type of the chain, the number of the hook, the priority, and the device.
    fn parts(&self) -> (&'static str, i32, i32, Option<&str>) {
        match self {
            Hook::Forward => ("filter", libc::NF_INET_FORWARD, libc::NF_IP_PRI_FILTER, None),
            Hook::Postrouting => ("nat", libc::NF_INET_POST_ROUTING, libc::NF_IP_PRI_NAT_SRC, None),
            Hook::Ingress(device) => ("filter", libc::NF_NETDEV_INGRESS, 0, Some(device)),
        }
    }
}

// The offset of a field in its header.
const IP_SOURCE: i32 = 12; // RFC 791
const IP_DESTINATION: i32 = 16;
const ETHER_SOURCE: i32 = 6; // IEEE 802.3
const ARP_SENDER_ETHER: i32 = 8; // RFC 826
const ARP_SENDER_IP: i32 = 14;

impl Statement {
    fn encode(&self, address: Ipv4Addr, to: &mut Expressions) {
        use libc::{NFT_PAYLOAD_LL_HEADER, NFT_PAYLOAD_NETWORK_HEADER};
        let (ip, hardware) = (address.octets(), HardwareAddress::of(address).0);
        match self {
            Statement::IpSource => to.payload(NFT_PAYLOAD_NETWORK_HEADER, IP_SOURCE, &ip),
            Statement::IpDestination => to.payload(NFT_PAYLOAD_NETWORK_HEADER, IP_DESTINATION, &ip),
            Statement::EtherSource => to.payload(NFT_PAYLOAD_LL_HEADER, ETHER_SOURCE, &hardware),
            Statement::ArpSenderEther => to.payload(NFT_PAYLOAD_NETWORK_HEADER, ARP_SENDER_ETHER, &hardware),
            Statement::ArpSenderIp => to.payload(NFT_PAYLOAD_NETWORK_HEADER, ARP_SENDER_IP, &ip),
            Statement::Protocol(protocol) => {
                let number = match protocol {
                    PacketProtocol::Ip => libc::ETH_P_IP,
                    PacketProtocol::Arp => libc::ETH_P_ARP,
                };
                to.meta(libc::NFT_META_PROTOCOL, &(number as u16).to_be_bytes());
            }
            Statement::NotReceivedBy(device) => to.device_is_not(libc::NFT_META_IIFNAME, device),
            Statement::NotSentBy(device) => to.device_is_not(libc::NFT_META_OIFNAME, device),
            Statement::KnownConnection => to.connection_state(nftables::ESTABLISHED | nftables::RELATED),
            Statement::Masquerade => to.masquerade(),
            Statement::Accept => to.verdict(libc::NF_ACCEPT),
            Statement::Drop => to.verdict(libc::NF_DROP),
        }
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {{ comment {:?};", self.family, self.name, self.comment)?;
        for chain in &self.chains {
            write!(f, " chain {} {{ {}", chain.name, chain.declaration())?;
            chain.rules.iter().try_for_each(|rule| write!(f, " {rule};"))?;
            f.write_str(" }")?;
        }
        f.write_str(" }")
    }
}

impl Chain {
    /// What nft(8) declares a base chain with.
    pub fn declaration(&self) -> String {
        let (kind, _, priority, _) = self.hook.parts();
        let policy = if self.drops { "drop" } else { "accept" };
        format!("type {kind} hook {} priority {priority}; policy {policy};", self.hook)
    }
}

impl fmt::Display for TableFamily {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TableFamily::Ip => "ip",
            TableFamily::Netdev => "netdev",
        })
    }
}

impl fmt::Display for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Hook::Forward => f.write_str("forward"),
            Hook::Postrouting => f.write_str("postrouting"),
            Hook::Ingress(device) => write!(f, "ingress device {device:?}"),
        }
    }
}

impl FirewallRule {
    /// The rule in the syntax of nft(8), without its condition.
    pub fn statements(&self) -> String {
        self.statements.iter().map(Statement::to_string).collect::<Vec<_>>().join(" ")
    }
}

impl fmt::Display for FirewallRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.statements())?;
        self.only_if.as_ref().map_or(Ok(()), |alias| write!(f, " [if {alias}]"))
    }
}

impl fmt::Display for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Statement::IpSource => f.write_str("ip saddr <address>"),
            Statement::IpDestination => f.write_str("ip daddr <address>"),
            Statement::EtherSource => f.write_str("ether saddr <hardware>"),
            Statement::Protocol(PacketProtocol::Ip) => f.write_str("meta protocol ip"),
            Statement::Protocol(PacketProtocol::Arp) => f.write_str("meta protocol arp"),
            Statement::ArpSenderEther => f.write_str("arp saddr ether <hardware>"),
            Statement::ArpSenderIp => f.write_str("arp saddr ip <address>"),
            Statement::NotReceivedBy(device) => write!(f, "iifname != {device:?}"),
            Statement::NotSentBy(device) => write!(f, "oifname != {device:?}"),
            Statement::KnownConnection => f.write_str("ct state established,related"),
            Statement::Masquerade => f.write_str("masquerade"),
            Statement::Accept => f.write_str("accept"),
            Statement::Drop => f.write_str("drop"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_printed_as_nft_reads_it() {
        let alias = DeviceAlias { device: "br".into(), alias: "note".into() };
        let rules = vec![
            FirewallRule { statements: vec![Statement::IpDestination, Statement::Drop], only_if: None },
            FirewallRule {
                statements: vec![Statement::NotSentBy("br".into()), Statement::Masquerade],
                only_if: Some(alias),
            },
        ];
        let hook = Hook::Ingress("port".into());
        let chain = Chain { name: "in".into(), hook, drops: true, rules };
        let table = Table {
            family: TableFamily::Netdev,
            name: "t-<address>".into(),
            comment: "port".into(),
            chains: vec![chain],
        };
        let call = NftablesCall::NewTable { table };
        assert_eq!(
            call.to_string(),
            r#"send(<nftables>, {NFT_MSG_NEWTABLE netdev t-<address> { comment "port"; chain in { type filter hook ingress device "port" priority 0; policy drop; ip daddr <address> drop; oifname != "br" masquerade [if the alias of br is "note"]; } }})"#
        );
    }
}
