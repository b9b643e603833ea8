//! Tables of nf_tables, the kernel's packet filter. A table is data ([`Table`]). Both are made from that data: the text
//! in the syntax of nft(8), and the messages that are sent to the kernel.
//!
//! `<address>` in a table is the slot that [`NftablesCall::ClaimAddress`] fills. `<hardware>` is the hardware address
//! that is made of it.

mod messages;
mod table;

use std::fmt;
use std::net::Ipv4Addr;

use nix::errno::Errno;
use serde::{Deserialize, Serialize};

pub use self::table::{
    Chain, ChainKind, ChainPolicy, ChainPriority, FirewallRule, Hook, PacketMatch, PacketVerdict, Table,
    TableFamily,
};
use crate::plan::slots::Slots;
use crate::sys::nftables;

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

impl fmt::Display for NftablesCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let table = self.table();
        write!(f, "send(<nftables>, {{NFT_MSG_NEWTABLE {table}}})")?;
        if let NftablesCall::ClaimAddress { network, .. } = self {
            write!(f, "  [<address>: the first of {network}/24 that is free]")?;
        }
        for (rule, alias) in table.conditions() {
            write!(f, "  [`{rule}` only if {alias}]")?;
        }
        Ok(())
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
                table.with_conditions_checked().messages(address).send(&nftables::open()?).map(|()| 0)
            }
        }
    }
}

/// The first host of the network is the gateway, the last address is that of the broadcast.
fn claim(network: Ipv4Addr, table: &Table, slots: &mut Slots) -> Result<i64, Errno> {
    let (socket, table) = (nftables::open()?, table.with_conditions_checked());
    for host in 2..=254 {
        let address = Ipv4Addr::from(u32::from(network) + host);
        match table.messages(address).send(&socket) {
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

#[cfg(test)]
mod tests {
    use super::super::net::DeviceAlias;
    use super::*;

    #[test]
    fn a_table_is_printed_as_nft_reads_it() {
        let alias = DeviceAlias { device: "br".into(), alias: "note".into() };
        let rules = vec![
            FirewallRule {
                matches: vec![PacketMatch::EtherSource, PacketMatch::ArpSenderIp],
                verdict: PacketVerdict::Accept,
                only_if: None,
            },
            FirewallRule {
                matches: vec![PacketMatch::NotSentBy("br".into())],
                verdict: PacketVerdict::Drop,
                only_if: Some(alias),
            },
        ];
        let chain = Chain {
            name: "in".into(),
            kind: ChainKind::Filter,
            hook: Hook::Ingress("port".into()),
            priority: ChainPriority::Filter,
            policy: ChainPolicy::Drop,
            rules,
        };
        let table = Table {
            family: TableFamily::Netdev,
            name: "t-<address>".into(),
            comment: "port".into(),
            chains: vec![chain],
        };
        let call = NftablesCall::NewTable { table };
        assert_eq!(
            call.to_string(),
            r#"send(<nftables>, {NFT_MSG_NEWTABLE table netdev t-<address> { comment "port"; chain in { type filter hook ingress device "port" priority filter; policy drop; ether saddr <hardware> arp saddr ip <address> accept; oifname != "br" drop; }; }})  [`oifname != "br" drop` only if the alias of br is "note"]"#
        );
    }
}
