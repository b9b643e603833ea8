//! nf_tables, the kernel's packet filter: the netlink(7) messages that nft(8) sends, as far as `sandbox` needs them.
//! Nothing here is unsafe. linux/netfilter/nf_tables.h
//!
//! A table has a comment, by which its creator finds it again. nft(8) prints it. NFTA_TABLE_USERDATA, Linux 5.10
//!
//! A table could also be owned by the socket that created it (NFT_TABLE_F_OWNER). The kernel would then remove it when
//! `sandbox` is killed, but the container can still run at that moment, and would be without its firewall.

use std::os::fd::{AsRawFd, OwnedFd};

use libc::{
    NFNL_MSG_BATCH_BEGIN, NFNL_MSG_BATCH_END, NFNL_SUBSYS_NFTABLES, NFT_CMP_EQ, NFT_CMP_NEQ, NFT_CT_STATE,
    NFT_MSG_DELTABLE, NFT_MSG_GETTABLE, NFT_MSG_NEWCHAIN, NFT_MSG_NEWRULE, NFT_MSG_NEWTABLE, NFT_REG_1,
    NFT_REG_VERDICT, NLA_ALIGNTO, NLA_F_NESTED, NLM_F_ACK, NLM_F_APPEND, NLM_F_CREATE, NLM_F_DUMP,
    NLM_F_EXCL, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR, c_int,
};
use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket};

// Constants of linux/netfilter/nf_tables.h that the libc crate does not have: the types of attributes.
const NFTA_LIST_ELEM: u16 = 1;
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

/// The type of a comment in the data that a program may store with a table. libnftnl/udata.h
const COMMENT: u8 = 0;

/// Opens a socket for messages about tables.
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

/// The data with a comment, as nft(8) stores it: type, length, text, NUL.
fn user_data(comment: &str) -> Vec<u8> {
    let mut data = vec![COMMENT, comment.len() as u8 + 1];
    data.extend(comment.bytes());
    data.push(0);
    data
}

/// A table that exists in the caller's network namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FoundTable {
    /// NFPROTO_*.
    family: c_int,
    /// The kernel's number for it. The kernel does not use a number again.
    handle: Vec<u8>,
    /// Its name.
    name: Vec<u8>,
    /// The comment that its creator has stored with it.
    comment: Option<String>,
}

impl FoundTable {
    /// The address family, as nft(8) names it: `inet`.
    pub(crate) fn family(&self) -> &'static str {
        match self.family {
            libc::NFPROTO_INET => "inet",
            libc::NFPROTO_IPV4 => "ip",
            libc::NFPROTO_IPV6 => "ip6",
            libc::NFPROTO_ARP => "arp",
            libc::NFPROTO_BRIDGE => "bridge",
            libc::NFPROTO_NETDEV => "netdev",
            _ => "?",
        }
    }

    /// The name, which can be any bytes.
    pub(crate) fn name(&self) -> &[u8] {
        &self.name
    }

    /// The number of the table, which the kernel does not use again.
    pub(crate) fn number(&self) -> u64 {
        self.handle.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
    }

    /// The comment that its creator has stored with it.
    pub(crate) fn comment(&self) -> Option<&str> {
        self.comment.as_deref()
    }
}

/// The tables with this comment.
///
/// # Errors
/// As [`tables`].
pub(crate) fn find_tables(comment: &str) -> Result<Vec<FoundTable>, Errno> {
    Ok(tables()?.into_iter().filter(|table| table.comment.as_deref() == Some(comment)).collect())
}

/// All tables of the caller's network namespace. NFT_MSG_GETTABLE
///
/// # Errors
/// Those of [`open`]. EPERM: no CAP_NET_ADMIN here.
pub(crate) fn tables() -> Result<Vec<FoundTable>, Errno> {
    let socket = open()?;
    let mut request = Batch::of(libc::NFPROTO_UNSPEC, "");
    let kind = NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETTABLE;
    request.message(kind, NLM_F_REQUEST | NLM_F_DUMP, request.family, 0, &NetlinkAttributes::default());
    send(socket.as_raw_fd(), &request.bytes, MsgFlags::empty())?;
    let (mut found, mut buffer) = (Vec::new(), vec![0; 16 << 10]);
    loop {
        let length = recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty())?;
        if length == 0 {
            return Err(Errno::EPROTO);
        }
        for (kind, body) in messages(&buffer[..length]) {
            match kind {
                NLMSG_DONE => return Ok(found),
                NLMSG_ERROR => return Err(code(body).map_or(Errno::EPROTO, |code| Errno::from_raw(-code))),
                _ => found.extend(found_table(body)),
            }
        }
    }
}

/// The table in the body of a message: struct nfgenmsg and attributes.
fn found_table(body: &[u8]) -> Option<FoundTable> {
    let family = c_int::from(*body.first()?);
    let mut table = FoundTable { family, handle: Vec::new(), name: Vec::new(), comment: None };
    let mut rest = body.get(4..)?;
    while let [a, b, c, d, ..] = *rest {
        let length = usize::from(u16::from_ne_bytes([a, b]));
        let value = rest.get(4..length)?;
        match u16::from_ne_bytes([c, d]) {
            NFTA_TABLE_HANDLE => value.clone_into(&mut table.handle),
            NFTA_TABLE_NAME => table.name = value.strip_suffix(b"\0").unwrap_or(value).to_vec(),
            NFTA_TABLE_USERDATA => table.comment = comment_in(value),
            _ => {}
        }
        rest = rest.get(length.next_multiple_of(NLA_ALIGNTO as usize)..).unwrap_or_default();
    }
    (!table.handle.is_empty()).then_some(table)
}

/// The comment in the data that a program has stored with a table, if there is nothing else. The reverse of
/// [`user_data`].
fn comment_in(data: &[u8]) -> Option<String> {
    let [COMMENT, length, text @ ..] = data else { return None };
    let text = text.strip_suffix(b"\0").filter(|_| usize::from(*length) == text.len())?;
    String::from_utf8(text.to_vec()).ok()
}

/// Removes tables with all that they contain. NFT_MSG_DELTABLE
///
/// # Errors
/// ENOENT: one of them does not exist any more. EPERM: no CAP_NET_ADMIN here.
pub(crate) fn delete_tables(tables: &[FoundTable]) -> Result<(), Errno> {
    let mut batch = Batch::of(libc::NFPROTO_UNSPEC, "");
    batch.boundary(NFNL_MSG_BATCH_BEGIN);
    for table in tables {
        batch.family = table.family;
        batch.change(NFT_MSG_DELTABLE, 0, |a| a.bytes(NFTA_TABLE_HANDLE, &table.handle));
    }
    batch.send(&open()?)
}

/// The messages that create one table, or remove some. The kernel carries out all of them or none.
#[derive(Debug)]
pub(crate) struct Batch<'a> {
    /// NFPROTO_*.
    family: c_int,
    table: &'a str,
    bytes: Vec<u8>,
    count: u32,
}

impl<'a> Batch<'a> {
    fn of(family: c_int, table: &'a str) -> Self {
        Batch { family, table, bytes: Vec::new(), count: 0 }
    }

    /// Begins with an empty table of this address family, NFPROTO_*, with this name and comment.
    pub(crate) fn new(family: c_int, table: &'a str, comment: &str) -> Self {
        let mut batch = Batch::of(family, table);
        batch.boundary(NFNL_MSG_BATCH_BEGIN);
        batch.change(NFT_MSG_NEWTABLE, NLM_F_CREATE | NLM_F_EXCL, |a| {
            a.text(NFTA_TABLE_NAME, table);
            a.bytes(NFTA_TABLE_USERDATA, &user_data(comment));
        });
        batch
    }

    /// Adds a chain to the table.
    pub(crate) fn chain(&mut self, chain: &BaseChain<'_>) {
        let table = self.table;
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
    pub(crate) fn rule(&mut self, chain: &str, expressions: &Expressions) {
        let table = self.table;
        self.change(NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND, |a| {
            a.text(NFTA_RULE_TABLE, table);
            a.text(NFTA_RULE_CHAIN, chain);
            a.bytes(NFTA_RULE_EXPRESSIONS | NLA_F_NESTED as u16, &expressions.0.0);
        });
    }

    /// Sends all messages.
    ///
    /// # Errors
    /// EEXIST: there is a table of this name. EPERM: a socket of another program owns a table of this name, or no
    /// CAP_NET_ADMIN here. EINVAL: a kernel before 5.10. ENOENT, EOPNOTSUPP, EAFNOSUPPORT: a kernel that lacks a part of nf_tables.
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

/// The messages in a datagram: the type and the body of each, which follows struct nlmsghdr.
fn messages(mut bytes: &[u8]) -> Vec<(c_int, &[u8])> {
    let mut messages = Vec::new();
    while let [a, b, c, d, kind, other, ..] = *bytes {
        let length = (u32::from_ne_bytes([a, b, c, d]) as usize).max(16);
        let body = bytes.get(16..length).unwrap_or_default();
        messages.push((c_int::from(u16::from_ne_bytes([kind, other])), body));
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    messages
}

/// The codes of the acknowledgements in a datagram: NLMSG_ERROR, in which 0 means success.
fn codes(bytes: &[u8]) -> Vec<i32> {
    let errors = messages(bytes).into_iter().filter(|(kind, _)| *kind == NLMSG_ERROR);
    errors.filter_map(|(_, body)| code(body)).collect()
}

/// The code at the start of the body of NLMSG_ERROR.
fn code(body: &[u8]) -> Option<i32> {
    Some(i32::from_ne_bytes(body.get(..4)?.try_into().ok()?))
}
