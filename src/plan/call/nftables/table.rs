//! A table as data, and its text in the syntax of nft(8). `nft list table` prints the same text on several lines.

use std::fmt;
use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use super::super::net::DeviceAlias;

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
    /// The frames that a bridge forwards from one port to another.
    Bridge,
    /// All packets that one device receives.
    Netdev,
}

/// A chain of rules that gets packets from the kernel: a base chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chain {
    /// Its name.
    pub name: String,
    /// What its rules may do.
    pub kind: ChainKind,
    /// Where packets come to it.
    pub hook: Hook,
    /// Its place among the chains of the same hook.
    pub priority: ChainPriority,
    /// What happens to a packet that no rule decides on.
    pub policy: ChainPolicy,
    /// Its rules, in order.
    pub rules: Vec<FirewallRule>,
}

/// What the rules of a chain may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChainKind {
    /// Accept packets, and drop them.
    Filter,
    /// Change addresses. The first packet of a connection decides for all of them.
    Nat,
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

/// The place of a chain among those of the same hook, by the names of nft(8).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChainPriority {
    /// 0, for bridges -200: where packets are filtered.
    Filter,
    /// 100: where the source address is changed.
    Srcnat,
}

/// What happens to a packet that no rule decides on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChainPolicy {
    /// It is accepted.
    Accept,
    /// It is dropped.
    Drop,
}

/// A rule. If a packet matches everything, the verdict applies to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FirewallRule {
    /// What is compared, in this order.
    pub matches: Vec<PacketMatch>,
    /// What is done with the packet.
    pub verdict: PacketVerdict,
    /// The rule is only created if a device has this alias.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub only_if: Option<DeviceAlias>,
}

/// Something that is compared with a value. A field of a header also says of which protocol the packet must be: in a table
/// that gets all packets, `ip saddr` matches IPv4 packets only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PacketMatch {
    /// The source address of the IPv4 header is `<address>`.
    IpSource,
    /// The destination address of the IPv4 header is `<address>`.
    IpDestination,
    /// The source address of the Ethernet header is `<hardware>`.
    EtherSource,
    /// The sender's hardware address of the ARP packet is `<hardware>`.
    ArpSenderEther,
    /// The sender's IPv4 address of the ARP packet is `<address>`.
    ArpSenderIp,
    /// The packet was received by this device.
    ReceivedBy(String),
    /// The packet was not received by this device. A `*` at the end matches any further characters.
    NotReceivedBy(String),
    /// The packet is sent by this device.
    SentBy(String),
    /// The packet is not sent by this device. A `*` at the end matches any further characters.
    NotSentBy(String),
    /// The packet belongs to a known connection, or is related to one.
    KnownConnection,
}

/// What is done with a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PacketVerdict {
    /// It is accepted.
    Accept,
    /// It is dropped.
    Drop,
    /// Its source address is replaced by that of the device that sends it.
    Masquerade,
}

impl Table {
    /// Its rules with a condition, each with what must be true.
    pub fn conditions(&self) -> impl Iterator<Item = (&FirewallRule, &DeviceAlias)> {
        let rules = self.chains.iter().flat_map(|chain| &chain.rules);
        rules.filter_map(|rule| Some((rule, rule.only_if.as_ref()?)))
    }

    /// What is sent to create it for an address, with all of its rules.
    pub fn bytes(&self, address: Ipv4Addr) -> Vec<u8> {
        self.messages(address).into_bytes()
    }

    /// The table without the rules whose condition is not met.
    pub(super) fn with_conditions_checked(&self) -> Table {
        let mut table = self.clone();
        for chain in &mut table.chains {
            chain.rules.retain(|rule| rule.only_if.as_ref().is_none_or(DeviceAlias::is_set));
        }
        table
    }
}

/// As nft(8) reads it from a file, on one line.
impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "table {} {} {{ comment {:?};", self.family, self.name, self.comment)?;
        for chain in &self.chains {
            write!(f, " chain {} {{ {}", chain.name, chain.declaration())?;
            chain.rules.iter().try_for_each(|rule| write!(f, " {rule};"))?;
            f.write_str(" };")?;
        }
        f.write_str(" }")
    }
}

impl Chain {
    /// The declaration of a base chain.
    pub fn declaration(&self) -> String {
        let Chain { kind, hook, priority, policy, .. } = self;
        format!("type {kind} hook {hook} priority {priority}; policy {policy};")
    }
}

impl fmt::Display for TableFamily {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TableFamily::Ip => "ip",
            TableFamily::Bridge => "bridge",
            TableFamily::Netdev => "netdev",
        })
    }
}

impl ChainKind {
    /// Its name.
    pub(super) fn name(self) -> &'static str {
        match self {
            ChainKind::Filter => "filter",
            ChainKind::Nat => "nat",
        }
    }
}

impl fmt::Display for ChainKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
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

impl fmt::Display for ChainPriority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ChainPriority::Filter => "filter",
            ChainPriority::Srcnat => "srcnat",
        })
    }
}

impl fmt::Display for ChainPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ChainPolicy::Accept => "accept",
            ChainPolicy::Drop => "drop",
        })
    }
}

/// Without its condition.
impl fmt::Display for FirewallRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.matches.iter().try_for_each(|part| write!(f, "{part} "))?;
        self.verdict.fmt(f)
    }
}

impl fmt::Display for PacketMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PacketMatch::IpSource => f.write_str("ip saddr <address>"),
            PacketMatch::IpDestination => f.write_str("ip daddr <address>"),
            PacketMatch::EtherSource => f.write_str("ether saddr <hardware>"),
            PacketMatch::ArpSenderEther => f.write_str("arp saddr ether <hardware>"),
            PacketMatch::ArpSenderIp => f.write_str("arp saddr ip <address>"),
            PacketMatch::ReceivedBy(device) => write!(f, "iifname {device:?}"),
            PacketMatch::NotReceivedBy(device) => write!(f, "iifname != {device:?}"),
            PacketMatch::SentBy(device) => write!(f, "oifname {device:?}"),
            PacketMatch::NotSentBy(device) => write!(f, "oifname != {device:?}"),
            PacketMatch::KnownConnection => f.write_str("ct state established,related"),
        }
    }
}

impl fmt::Display for PacketVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PacketVerdict::Accept => "accept",
            PacketVerdict::Drop => "drop",
            PacketVerdict::Masquerade => "masquerade",
        })
    }
}
