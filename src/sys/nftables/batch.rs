//! The messages that create or remove tables, in one datagram.

use std::os::fd::{AsRawFd, OwnedFd};

use libc::{
    NFNL_MSG_BATCH_BEGIN, NFNL_MSG_BATCH_END, NFNL_SUBSYS_NFTABLES, NFT_MSG_DELTABLE, NFT_MSG_NEWCHAIN,
    NFT_MSG_NEWRULE, NFT_MSG_NEWTABLE, NLA_F_NESTED, NLM_F_ACK, NLM_F_APPEND, NLM_F_CREATE, NLM_F_EXCL,
    NLM_F_REQUEST, c_int,
};
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv, send};

use super::expressions::Expressions;
use super::message::{NetlinkAttributes, codes, message};
use super::tables::{FoundTable, user_data};

// The types of attributes, linux/netfilter/nf_tables.h. The libc crate does not have them.
const NFTA_TABLE_NAME: u16 = 1;
const NFTA_TABLE_HANDLE: u16 = 4;
const NFTA_TABLE_USERDATA: u16 = 6;
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

/// The messages that create one table, or remove some. The kernel carries out all of them or none.
#[derive(Debug)]
pub(crate) struct Batch {
    /// NFPROTO_*.
    family: c_int,
    bytes: Vec<u8>,
    count: u32,
}

impl Batch {
    /// Begins without a change.
    fn begin(family: c_int) -> Self {
        let mut batch = Batch { family, bytes: Vec::new(), count: 0 };
        batch.boundary(NFNL_MSG_BATCH_BEGIN);
        batch
    }

    /// Begins with an empty table of this address family, NFPROTO_*, with this name and comment.
    pub(crate) fn new(family: c_int, table: &str, comment: &str) -> Self {
        let mut batch = Batch::begin(family);
        batch.change(NFT_MSG_NEWTABLE, NLM_F_CREATE | NLM_F_EXCL, |a| {
            a.text(NFTA_TABLE_NAME, table);
            a.bytes(NFTA_TABLE_USERDATA, &user_data(comment));
        });
        batch
    }

    /// The removal of these tables.
    pub(super) fn delete(tables: &[FoundTable]) -> Self {
        let mut batch = Batch::begin(libc::NFPROTO_UNSPEC);
        for table in tables {
            batch.family = table.family;
            batch.change(NFT_MSG_DELTABLE, 0, |a| a.bytes(NFTA_TABLE_HANDLE, &table.handle));
        }
        batch
    }

    /// Adds a chain to a table.
    pub(crate) fn chain(&mut self, table: &str, chain: &BaseChain<'_>) {
        self.change(NFT_MSG_NEWCHAIN, NLM_F_CREATE | NLM_F_EXCL, |a| {
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
    pub(crate) fn rule(&mut self, table: &str, chain: &str, expressions: &Expressions) {
        self.change(NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND, |a| {
            a.text(NFTA_RULE_TABLE, table);
            a.text(NFTA_RULE_CHAIN, chain);
            a.bytes(NFTA_RULE_EXPRESSIONS | NLA_F_NESTED as u16, expressions.as_bytes());
        });
    }

    /// All messages, as they are sent.
    pub(crate) fn into_bytes(mut self) -> Vec<u8> {
        self.boundary(NFNL_MSG_BATCH_END);
        self.bytes
    }

    /// Sends all messages.
    ///
    /// # Errors
    /// EEXIST: there is a table of this name. EPERM: a socket of another program owns a table of this name, or no
    /// CAP_NET_ADMIN here. EINVAL: a kernel before 5.10. ENOENT, EOPNOTSUPP, EAFNOSUPPORT: a kernel that lacks a part of nf_tables.
    pub(crate) fn send(self, socket: &OwnedFd) -> Result<(), Errno> {
        send(socket.as_raw_fd(), &self.into_bytes(), MsgFlags::empty())?;
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

    fn change(&mut self, kind: c_int, flags: c_int, fill: impl FnOnce(&mut NetlinkAttributes)) {
        let mut attributes = NetlinkAttributes::default();
        fill(&mut attributes);
        let kind = NFNL_SUBSYS_NFTABLES << 8 | kind;
        self.message(kind, NLM_F_REQUEST | NLM_F_ACK | flags, self.family, 0, &attributes);
    }

    /// The first or the last message of the batch.
    fn boundary(&mut self, kind: c_int) {
        let family = libc::NFPROTO_UNSPEC;
        self.message(kind, NLM_F_REQUEST, family, NFNL_SUBSYS_NFTABLES, &NetlinkAttributes::default());
    }

    fn message(
        &mut self,
        kind: c_int,
        flags: c_int,
        family: c_int,
        resource: c_int,
        attributes: &NetlinkAttributes,
    ) {
        self.bytes.extend(message(self.count, kind, flags, [family, resource], attributes));
        self.count += 1;
    }
}
