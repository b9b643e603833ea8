//! The expressions of a rule: small instructions, as nft(8) makes them of a rule.

use libc::{NFT_CMP_EQ, NFT_CMP_NEQ, NFT_CT_STATE, NFT_REG_1, NFT_REG_VERDICT, c_int};

use super::message::NetlinkAttributes;

// The types of attributes, linux/netfilter/nf_tables.h. The libc crate does not have them.
const NFTA_LIST_ELEM: u16 = 1;
const NFTA_EXPR_NAME: u16 = 1;
const NFTA_EXPR_DATA: u16 = 2;
const NFTA_PAYLOAD_DREG: u16 = 1;
const NFTA_PAYLOAD_BASE: u16 = 2;
const NFTA_PAYLOAD_OFFSET: u16 = 3;
const NFTA_PAYLOAD_LEN: u16 = 4;
const NFTA_META_DREG: u16 = 1;
const NFTA_META_KEY: u16 = 2;
const NFTA_CMP_SREG: u16 = 1;
const NFTA_CMP_OP: u16 = 2;
const NFTA_CMP_DATA: u16 = 3;
const NFTA_CT_DREG: u16 = 1;
const NFTA_CT_KEY: u16 = 2;
const NFTA_BITWISE_SREG: u16 = 1;
const NFTA_BITWISE_DREG: u16 = 2;
const NFTA_BITWISE_LEN: u16 = 3;
const NFTA_BITWISE_MASK: u16 = 4;
const NFTA_BITWISE_XOR: u16 = 5;
const NFTA_IMMEDIATE_DREG: u16 = 1;
const NFTA_IMMEDIATE_DATA: u16 = 2;
const NFTA_DATA_VALUE: u16 = 1;
const NFTA_DATA_VERDICT: u16 = 2;
const NFTA_VERDICT_CODE: u16 = 1;

// NF_CT_STATE_BIT of IP_CT_ESTABLISHED and of IP_CT_RELATED, linux/netfilter/nf_conntrack_common.h.
pub(crate) const ESTABLISHED: u32 = 1 << 1;
pub(crate) const RELATED: u32 = 1 << 2;

/// The expressions of a rule. The kernel evaluates one after another, until one does not match.
#[derive(Debug, Default)]
pub(crate) struct Expressions(NetlinkAttributes);

impl Expressions {
    /// All of them, as they are sent.
    pub(super) fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// Matches if these are the bytes at this offset of a header: NFT_PAYLOAD_*.
    pub(crate) fn payload(&mut self, header: c_int, offset: c_int, bytes: &[u8]) {
        self.add("payload", |a| {
            a.number(NFTA_PAYLOAD_DREG, NFT_REG_1);
            a.number(NFTA_PAYLOAD_BASE, header);
            a.number(NFTA_PAYLOAD_OFFSET, offset);
            a.number(NFTA_PAYLOAD_LEN, bytes.len() as c_int);
        });
        self.compare(NFT_CMP_EQ, bytes);
    }

    /// Matches if this is the metadata of the packet under a key, NFT_META_*.
    pub(crate) fn meta(&mut self, key: c_int, bytes: &[u8]) {
        self.load_meta(key);
        self.compare(NFT_CMP_EQ, bytes);
    }

    /// Matches if the device under a key, NFT_META_IIFNAME or NFT_META_OIFNAME, has this name, or with `is` false another
    /// one. A `*` at the end matches any further characters.
    pub(crate) fn device(&mut self, key: c_int, name: &str, is: bool) {
        // The kernel compares the name as an array, padded with NULs.
        let mut bytes = name.as_bytes().to_vec();
        match bytes.pop_if(|last| *last == b'*') {
            Some(_) => {}
            None => bytes.resize(libc::IFNAMSIZ, 0),
        }
        self.load_meta(key);
        self.compare(if is { NFT_CMP_EQ } else { NFT_CMP_NEQ }, &bytes);
    }

    /// Matches if the state of the packet's connection is one of these bits.
    pub(crate) fn connection_state(&mut self, bits: u32) {
        self.add("ct", |a| {
            a.number(NFTA_CT_DREG, NFT_REG_1);
            a.number(NFTA_CT_KEY, NFT_CT_STATE);
        });
        self.add("bitwise", |a| {
            a.number(NFTA_BITWISE_SREG, NFT_REG_1);
            a.number(NFTA_BITWISE_DREG, NFT_REG_1);
            a.number(NFTA_BITWISE_LEN, size_of::<u32>() as c_int);
            a.nest(NFTA_BITWISE_MASK, |a| a.bytes(NFTA_DATA_VALUE, &bits.to_ne_bytes()));
            a.nest(NFTA_BITWISE_XOR, |a| a.bytes(NFTA_DATA_VALUE, &[0; 4]));
        });
        self.compare(NFT_CMP_NEQ, &[0; 4]);
    }

    /// Replaces the packet's source address by that of the device that the packet leaves by.
    pub(crate) fn masquerade(&mut self) {
        self.add("masq", |_| {});
    }

    /// Decides on the packet: NF_ACCEPT or NF_DROP.
    pub(crate) fn verdict(&mut self, code: c_int) {
        self.add("immediate", |a| {
            a.number(NFTA_IMMEDIATE_DREG, NFT_REG_VERDICT);
            a.nest(NFTA_IMMEDIATE_DATA, |a| {
                a.nest(NFTA_DATA_VERDICT, |a| a.number(NFTA_VERDICT_CODE, code));
            });
        });
    }

    fn load_meta(&mut self, key: c_int) {
        self.add("meta", |a| {
            a.number(NFTA_META_DREG, NFT_REG_1);
            a.number(NFTA_META_KEY, key);
        });
    }

    fn compare(&mut self, operation: c_int, bytes: &[u8]) {
        self.add("cmp", |a| {
            a.number(NFTA_CMP_SREG, NFT_REG_1);
            a.number(NFTA_CMP_OP, operation);
            a.nest(NFTA_CMP_DATA, |a| a.bytes(NFTA_DATA_VALUE, bytes));
        });
    }

    fn add(&mut self, name: &str, data: impl FnOnce(&mut NetlinkAttributes)) {
        self.0.nest(NFTA_LIST_ELEM, |a| {
            a.text(NFTA_EXPR_NAME, name);
            a.nest(NFTA_EXPR_DATA, data);
        });
    }
}
