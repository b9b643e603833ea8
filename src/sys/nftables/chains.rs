//! Chains of other programs that drop what this machine forwards.

use libc::{NF_DROP, NF_INET_FORWARD, NFT_MSG_GETCHAIN, NFT_MSG_GETRULE, c_int};
use nix::errno::Errno;

use super::message::{attributes, text};
use super::tables::{dump, family_name};

// The types of attributes, linux/netfilter/nf_tables.h. The libc crate does not have them.
const NFTA_CHAIN_TABLE: u16 = 1;
const NFTA_CHAIN_NAME: u16 = 3;
const NFTA_CHAIN_HOOK: u16 = 4;
const NFTA_CHAIN_POLICY: u16 = 5;
const NFTA_HOOK_HOOKNUM: u16 = 1;
const NFTA_RULE_TABLE: u16 = 1;

/// A chain that sees each packet that is forwarded, and drops it unless a rule accepts it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ClosedChain {
    /// The address family, as nft(8) names it: `ip`.
    pub(crate) family: &'static str,
    /// The name of its table.
    pub(crate) table: Vec<u8>,
    /// Its name.
    pub(crate) name: Vec<u8>,
}

/// The chains with the hook forward and the policy drop, in whose tables no rule names this device. Such a rule would let the
/// packets of the device through, as docker and ufw do it for their own.
///
/// # Errors
/// As [`super::tables`].
pub(crate) fn closed_chains(device: &str) -> Result<Vec<ClosedChain>, Errno> {
    let mut closed = dump(NFT_MSG_GETCHAIN, closed_chain)?;
    if !closed.is_empty() {
        let opened = dump(NFT_MSG_GETRULE, |body| table_of_rule(body, device.as_bytes()))?;
        closed.retain(|chain| !opened.contains(&(chain.family, chain.table.clone())));
    }
    Ok(closed)
}

/// The chain in the body of a message: struct nfgenmsg and attributes.
fn closed_chain(body: &[u8]) -> Option<ClosedChain> {
    let family = c_int::from(*body.first()?);
    // Only these two see packets of IPv4.
    if ![libc::NFPROTO_IPV4, libc::NFPROTO_INET].contains(&family) {
        return None;
    }
    let all = attributes(body.get(4..)?);
    let value = |wanted: u16| all.iter().find(|(kind, _)| *kind == wanted).map(|(_, value)| *value);
    let hook = attributes(value(NFTA_CHAIN_HOOK)?);
    let (_, hook) = hook.iter().find(|(kind, _)| *kind == NFTA_HOOK_HOOKNUM)?;
    let is_closed = number(hook)? == NF_INET_FORWARD && number(value(NFTA_CHAIN_POLICY)?)? == NF_DROP;
    is_closed.then_some(ClosedChain {
        family: family_name(family),
        table: text(value(NFTA_CHAIN_TABLE)?),
        name: text(value(NFTA_CHAIN_NAME)?),
    })
}

/// The table of a rule that names a device.
fn table_of_rule(body: &[u8], device: &[u8]) -> Option<(&'static str, Vec<u8>)> {
    let names = body.windows(device.len()).any(|window| window == device);
    let all = attributes(body.get(4..).filter(|_| names)?);
    let (_, table) = all.iter().find(|(kind, _)| *kind == NFTA_RULE_TABLE)?;
    Some((family_name(c_int::from(*body.first()?)), text(table)))
}

/// nf_tables has numbers in network byte order.
fn number(value: &[u8]) -> Option<c_int> {
    Some(c_int::from_be_bytes(value.try_into().ok()?))
}
