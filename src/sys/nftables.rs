//! nf_tables, the kernel's packet filter: the netlink(7) messages that nft(8) sends, as far as `sandbox` needs them.
//! Nothing here is unsafe. linux/netfilter/nf_tables.h
//!
//! A table is owned by the socket that created it (NFT_TABLE_F_OWNER, Linux 5.12). The kernel removes the table when
//! that socket is closed. So no table is left, however its owner ends.

use std::os::fd::{AsRawFd, OwnedFd};

use libc::{
    NFNL_MSG_BATCH_BEGIN, NFNL_MSG_BATCH_END, NFNL_SUBSYS_NFTABLES, NFT_CMP_EQ, NFT_CMP_NEQ, NFT_CT_STATE,
    NFT_MSG_NEWCHAIN, NFT_MSG_NEWRULE, NFT_MSG_NEWTABLE, NFT_REG_1, NFT_REG_VERDICT, NLA_ALIGNTO,
    NLA_F_NESTED, NLM_F_ACK, NLM_F_APPEND, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REQUEST, NLMSG_ERROR, c_int,
};
use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket};

// Constants of linux/netfilter/nf_tables.h that the libc crate does not have: the types of attributes, and one flag.
const NFTA_LIST_ELEM: u16 = 1;
const NFTA_TABLE_NAME: u16 = 1;
const NFTA_TABLE_FLAGS: u16 = 2;
const NFT_TABLE_F_OWNER: c_int = 2;
const NFTA_CHAIN_TABLE: u16 = 1;
const NFTA_CHAIN_NAME: u16 = 3;
const NFTA_CHAIN_HOOK: u16 = 4;
const NFTA_CHAIN_POLICY: u16 = 5;
const NFTA_CHAIN_TYPE: u16 = 7;
const NFTA_HOOK_HOOKNUM: u16 = 1;
const NFTA_HOOK_PRIORITY: u16 = 2;
const NFTA_HOOK_DEV: u16 = 3;
const NFTA_RULE_TABLE: u16 = 1;
const NFTA_RULE_CHAIN: u16 = 2;
const NFTA_RULE_EXPRESSIONS: u16 = 4;
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

/// Opens a socket that owns the tables that are created through it.
///
/// # Errors
/// EPROTONOSUPPORT: a kernel without CONFIG_NETFILTER_NETLINK.
pub(crate) fn open() -> Result<OwnedFd, Errno> {
    let protocol = SockProtocol::NetlinkNetFilter;
    socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol)
}

/// A chain that gets packets from the kernel: a base chain.
#[derive(Debug)]
pub(crate) struct BaseChain<'a> {
    pub(crate) name: &'a str,
    /// `filter` or `nat`.
    pub(crate) kind: &'a str,
    /// NF_INET_* or NF_NETDEV_*.
    pub(crate) hook: c_int,
    pub(crate) priority: c_int,
    /// The device of an ingress hook.
    pub(crate) device: Option<&'a str>,
    /// NF_ACCEPT or NF_DROP: what happens to a packet that no rule decides on.
    pub(crate) policy: c_int,
}

/// The expressions of a rule. The kernel evaluates one after another, until one does not match.
#[derive(Debug, Default)]
pub(crate) struct Expressions(NetlinkAttributes);

impl Expressions {
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

    /// Matches if the device under a key, NFT_META_IIFNAME or NFT_META_OIFNAME, has another name.
    pub(crate) fn device_is_not(&mut self, key: c_int, name: &str) {
        // The kernel compares the name as an array, padded with NULs.
        let mut bytes = name.as_bytes().to_vec();
        bytes.resize(libc::IFNAMSIZ, 0);
        self.load_meta(key);
        self.compare(NFT_CMP_NEQ, &bytes);
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

/// Netlink attributes: a length, a type and a value, padded to four bytes. A value may consist of attributes.
#[derive(Debug, Default)]
struct NetlinkAttributes(Vec<u8>);

impl NetlinkAttributes {
    fn bytes(&mut self, kind: u16, value: &[u8]) {
        self.0.extend((value.len() as u16 + 4).to_ne_bytes());
        self.0.extend(kind.to_ne_bytes());
        self.0.extend(value);
        self.0.resize(self.0.len().next_multiple_of(NLA_ALIGNTO as usize), 0);
    }

    fn text(&mut self, kind: u16, value: &str) {
        self.bytes(kind, &[value.as_bytes(), &[0]].concat());
    }

    /// nf_tables takes numbers in network byte order.
    fn number(&mut self, kind: u16, value: c_int) {
        self.bytes(kind, &value.to_be_bytes());
    }

    fn nest(&mut self, kind: u16, fill: impl FnOnce(&mut NetlinkAttributes)) {
        let mut inner = NetlinkAttributes::default();
        fill(&mut inner);
        self.bytes(kind | NLA_F_NESTED as u16, &inner.0);
    }
}

/// The messages that create one table. The kernel carries out all of them or none.
#[derive(Debug)]
pub(crate) struct Batch<'a> {
    /// NFPROTO_*.
    family: c_int,
    table: &'a str,
    bytes: Vec<u8>,
    count: u32,
}

impl<'a> Batch<'a> {
    /// Begins with an empty table of this address family, NFPROTO_*, and this name.
    pub(crate) fn new(family: c_int, table: &'a str) -> Self {
        let mut batch = Batch { family, table, bytes: Vec::new(), count: 0 };
        batch.boundary(NFNL_MSG_BATCH_BEGIN);
        batch.change(NFT_MSG_NEWTABLE, NLM_F_EXCL, |a| {
            a.text(NFTA_TABLE_NAME, table);
            a.number(NFTA_TABLE_FLAGS, NFT_TABLE_F_OWNER);
        });
        batch
    }

    /// Adds a chain to the table.
    pub(crate) fn chain(&mut self, chain: &BaseChain<'_>) {
        let table = self.table;
        self.change(NFT_MSG_NEWCHAIN, NLM_F_EXCL, |a| {
            a.text(NFTA_CHAIN_TABLE, table);
            a.text(NFTA_CHAIN_NAME, chain.name);
            a.nest(NFTA_CHAIN_HOOK, |a| {
                a.number(NFTA_HOOK_HOOKNUM, chain.hook);
                a.number(NFTA_HOOK_PRIORITY, chain.priority);
                if let Some(device) = chain.device {
                    a.text(NFTA_HOOK_DEV, device);
                }
            });
            a.number(NFTA_CHAIN_POLICY, chain.policy);
            a.text(NFTA_CHAIN_TYPE, chain.kind);
        });
    }

    /// Adds a rule to the end of a chain.
    pub(crate) fn rule(&mut self, chain: &str, expressions: &Expressions) {
        let table = self.table;
        self.change(NFT_MSG_NEWRULE, NLM_F_APPEND, |a| {
            a.text(NFTA_RULE_TABLE, table);
            a.text(NFTA_RULE_CHAIN, chain);
            a.bytes(NFTA_RULE_EXPRESSIONS | NLA_F_NESTED as u16, &expressions.0.0);
        });
    }

    /// Sends all messages.
    ///
    /// # Errors
    /// EEXIST: there is a table of this name. EPERM: another socket owns a table of this name, or no CAP_NET_ADMIN
    /// here. EINVAL: a kernel before 5.12. ENOENT, EOPNOTSUPP, EAFNOSUPPORT: a kernel that lacks a part of nf_tables.
    pub(crate) fn send(mut self, socket: &OwnedFd) -> Result<(), Errno> {
        self.boundary(NFNL_MSG_BATCH_END);
        send(socket.as_raw_fd(), &self.bytes, MsgFlags::empty())?;
        // The kernel answers before send(2) returns, with an acknowledgement or an error for each change. The first
        // error counts.
        let (mut answers, mut buffer) = (Vec::new(), vec![0; 16 << 10]);
        loop {
            match recv(socket.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT) {
                Ok(length) => answers.extend(codes(&buffer[..length])),
                Err(Errno::EAGAIN) => break,
                Err(errno) => return Err(errno),
            }
        }
        match answers.iter().find(|code| **code != 0) {
            Some(code) => Err(Errno::from_raw(-code)),
            None if answers.is_empty() => Err(Errno::EPROTO),
            None => Ok(()),
        }
    }

    fn change(&mut self, kind: c_int, flag: c_int, fill: impl FnOnce(&mut NetlinkAttributes)) {
        let mut attributes = NetlinkAttributes::default();
        fill(&mut attributes);
        let kind = NFNL_SUBSYS_NFTABLES << 8 | kind;
        self.message(kind, NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | flag, self.family, 0, &attributes);
    }

    /// The first or the last message of the batch.
    fn boundary(&mut self, kind: c_int) {
        let family = libc::NFPROTO_UNSPEC;
        self.message(kind, NLM_F_REQUEST, family, NFNL_SUBSYS_NFTABLES, &NetlinkAttributes::default());
    }

    /// A message: struct nlmsghdr, struct nfgenmsg, attributes.
    fn message(
        &mut self,
        kind: c_int,
        flags: c_int,
        family: c_int,
        resource: c_int,
        attributes: &NetlinkAttributes,
    ) {
        const HEADERS: usize = 16 + 4;
        self.bytes.extend(((HEADERS + attributes.0.len()) as u32).to_ne_bytes());
        self.bytes.extend((kind as u16).to_ne_bytes());
        self.bytes.extend((flags as u16).to_ne_bytes());
        // The sequence number, and the port ID, which is 0 for the kernel.
        self.bytes.extend(self.count.to_ne_bytes());
        self.bytes.extend(0_u32.to_ne_bytes());
        self.bytes.extend([family as u8, libc::NFNETLINK_V0 as u8]);
        self.bytes.extend((resource as u16).to_be_bytes());
        self.bytes.extend(&attributes.0);
        self.count += 1;
    }
}

/// The codes of the acknowledgements in a datagram: NLMSG_ERROR, in which 0 means success.
fn codes(mut bytes: &[u8]) -> Vec<i32> {
    let mut codes = Vec::new();
    while let [a, b, c, d, kind, other, ..] = *bytes {
        let length = (u32::from_ne_bytes([a, b, c, d]) as usize).next_multiple_of(4);
        if c_int::from(u16::from_ne_bytes([kind, other])) == NLMSG_ERROR
            && let Some(code) = bytes.get(16..20)
        {
            codes.push(i32::from_ne_bytes(code.try_into().unwrap_or_default()));
        }
        bytes = bytes.get(length.max(16)..).unwrap_or_default();
    }
    codes
}
