//! nf_tables, the kernel's firewall, in the messages of netlink(7) that nft(8) would send: linux/netfilter/nf_tables.h.
//! Nothing here is unsafe. As much of it as `sandbox` needs: a table of chains of rules, made whole or not at all.
//!
//! A table is owned (NFT_TABLE_F_OWNER, Linux 5.12): the kernel removes it when the socket that made it closes, so that
//! nothing is left of it however its owner ends.

use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket};

const SUBSYSTEM: u16 = 10; // NFNL_SUBSYS_NFTABLES
const BATCH_BEGIN: u16 = 0x10; // NFNL_MSG_BATCH_BEGIN
const BATCH_END: u16 = 0x11;
const NEW_TABLE: u16 = 0; // NFT_MSG_NEWTABLE
const NEW_CHAIN: u16 = 3;
const NEW_RULE: u16 = 6;
/// Which register of nf_tables' little machine a value is loaded into: NFT_REG_1.
const REGISTER: u32 = 1;
/// Where a verdict is loaded into: NFT_REG_VERDICT.
const VERDICT: u32 = 0;

/// Where a table's packets come from: NFPROTO_*.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
    /// IPv4, whatever device it goes through.
    Ip = 2,
    /// Whatever one device takes in.
    Netdev = 5,
}

/// Where in a packet's way a chain stands.
#[derive(Debug, Clone)]
pub(crate) enum Hook {
    /// What goes through this machine from one device to another.
    Forward,
    /// What leaves, whose address may still be changed.
    Postrouting,
    /// What comes out of this device.
    Ingress(String),
}

/// A chain and its rules.
#[derive(Debug, Clone)]
pub(crate) struct Chain {
    pub(crate) name: &'static str,
    pub(crate) hook: Hook,
    /// What becomes of a packet that no rule decides on.
    pub(crate) drops: bool,
    pub(crate) rules: Vec<Vec<Expression>>,
}

/// One part of a rule. A rule goes on to the next part only while each one holds.
#[derive(Debug, Clone)]
pub(crate) enum Expression {
    /// Bytes of the frame's header (layer 2) are these.
    Frame(u32, Vec<u8>),
    /// Bytes of what the frame carries, from its beginning, are these.
    Packet(u32, Vec<u8>),
    /// The protocol that the frame carries: ETH_P_*.
    Protocol(u16),
    /// It came from this device, or from another.
    From(String, bool),
    /// It goes to this device, or to another.
    To(String, bool),
    /// It's an answer: of a connection that is known, or related to one.
    Answer,
    /// Its sender's address becomes that of the device that it leaves by.
    Masquerade,
    /// It may pass.
    Accept,
    /// It's dropped.
    Drop,
}

/// A socket that owns what is made through it.
///
/// # Errors
/// EPROTONOSUPPORT: a kernel without CONFIG_NETFILTER_NETLINK.
pub(crate) fn open() -> Result<OwnedFd, Errno> {
    let protocol = SockProtocol::NetlinkNetFilter;
    socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol)
}

/// Makes a table, all of it or nothing.
///
/// # Errors
/// EEXIST: there is a table of this name. EPERM: there is, and it's another's; or no CAP_NET_ADMIN here. EINVAL: before
/// Linux 5.12. ENOENT, EOPNOTSUPP, EAFNOSUPPORT: a kernel that lacks a part of nf_tables.
pub(crate) fn make_table(
    socket: &OwnedFd,
    family: Family,
    name: &str,
    chains: &[Chain],
) -> Result<(), Errno> {
    let mut batch = Batch::default();
    batch.message(BATCH_BEGIN, 0, SUBSYSTEM, |_| {});
    batch.change(NEW_TABLE, family, |a| {
        a.text(1, name); // NFTA_TABLE_NAME
        a.number(2, 2); // NFTA_TABLE_FLAGS: NFT_TABLE_F_OWNER
    });
    for chain in chains {
        batch.change(NEW_CHAIN, family, |a| chain.describe(name, a));
        for rule in &chain.rules {
            batch.change(NEW_RULE, family, |a| {
                a.text(1, name); // NFTA_RULE_TABLE
                a.text(2, chain.name); // NFTA_RULE_CHAIN
                a.nest(4, |a| rule.iter().for_each(|part| part.describe(a))); // NFTA_RULE_EXPRESSIONS
            });
        }
    }
    batch.message(BATCH_END, 0, SUBSYSTEM, |_| {});
    batch.send(socket)
}

impl Chain {
    fn describe(&self, table: &str, a: &mut Attributes) {
        // NF_INET_FORWARD, NF_INET_POST_ROUTING, NF_NETDEV_INGRESS; 100 is NF_IP_PRI_NAT_SRC.
        let (kind, number, priority) = match &self.hook {
            Hook::Forward => ("filter", 2, 0),
            Hook::Postrouting => ("nat", 4, 100),
            Hook::Ingress(_) => ("filter", 0, 0),
        };
        a.text(1, table); // NFTA_CHAIN_TABLE
        a.text(3, self.name); // NFTA_CHAIN_NAME
        a.nest(4, |a| {
            a.number(1, number); // NFTA_HOOK_HOOKNUM
            a.number(2, priority); // NFTA_HOOK_PRIORITY
            if let Hook::Ingress(device) = &self.hook {
                a.text(3, device); // NFTA_HOOK_DEV
            }
        });
        a.number(5, if self.drops { 0 } else { 1 }); // NFTA_CHAIN_POLICY: NF_DROP, NF_ACCEPT
        a.text(7, kind); // NFTA_CHAIN_TYPE
    }
}

impl Expression {
    fn describe(&self, a: &mut Attributes) {
        match self {
            Expression::Frame(offset, bytes) => payload(a, 0, *offset, bytes),
            Expression::Packet(offset, bytes) => payload(a, 1, *offset, bytes),
            Expression::Protocol(number) => meta(a, 1, &number.to_be_bytes(), true),
            Expression::From(device, holds) => meta(a, 6, &device_name(device), *holds),
            Expression::To(device, holds) => meta(a, 7, &device_name(device), *holds),
            Expression::Answer => answer(a),
            Expression::Masquerade => expression(a, "masq", |_| {}),
            Expression::Accept => verdict(a, 1),
            Expression::Drop => verdict(a, 0),
        }
    }
}

fn expression(a: &mut Attributes, name: &str, data: impl FnOnce(&mut Attributes)) {
    a.nest(1, |a| {
        a.text(1, name); // NFTA_EXPR_NAME
        a.nest(2, data); // NFTA_EXPR_DATA
    });
}

/// Loads bytes of a header (0: the frame's, 1: the network's) and compares them.
fn payload(a: &mut Attributes, base: u32, offset: u32, bytes: &[u8]) {
    expression(a, "payload", |a| {
        a.number(1, REGISTER); // NFTA_PAYLOAD_DREG
        a.number(2, base);
        a.number(3, offset);
        a.number(4, bytes.len() as u32);
    });
    compare(a, bytes, true);
}

/// Loads what is known of the packet beside its bytes (NFT_META_*), and compares it.
fn meta(a: &mut Attributes, key: u32, bytes: &[u8], holds: bool) {
    expression(a, "meta", |a| {
        a.number(1, REGISTER); // NFTA_META_DREG
        a.number(2, key);
    });
    compare(a, bytes, holds);
}

fn compare(a: &mut Attributes, bytes: &[u8], holds: bool) {
    expression(a, "cmp", |a| {
        a.number(1, REGISTER); // NFTA_CMP_SREG
        a.number(2, if holds { 0 } else { 1 }); // NFT_CMP_EQ, NFT_CMP_NEQ
        a.nest(3, |a| a.bytes(1, bytes)); // NFTA_CMP_DATA: NFTA_DATA_VALUE
    });
}

/// The state of its connection is one of two bits of a mask: NF_CT_STATE_BIT of ESTABLISHED and of RELATED.
fn answer(a: &mut Attributes) {
    let mask = (2_u32 | 4).to_ne_bytes();
    expression(a, "ct", |a| {
        a.number(1, REGISTER); // NFTA_CT_DREG
        a.number(2, 0); // NFT_CT_STATE
    });
    expression(a, "bitwise", |a| {
        a.number(1, REGISTER); // NFTA_BITWISE_SREG
        a.number(2, REGISTER); // NFTA_BITWISE_DREG
        a.number(3, 4); // NFTA_BITWISE_LEN
        a.nest(4, |a| a.bytes(1, &mask)); // NFTA_BITWISE_MASK
        a.nest(5, |a| a.bytes(1, &[0; 4])); // NFTA_BITWISE_XOR
    });
    compare(a, &[0; 4], false);
}

fn verdict(a: &mut Attributes, code: u32) {
    expression(a, "immediate", |a| {
        a.number(1, VERDICT); // NFTA_IMMEDIATE_DREG
        a.nest(2, |a| a.nest(2, |a| a.number(1, code))); // NFTA_DATA_VERDICT: NFTA_VERDICT_CODE
    });
}

/// A device's name as the kernel compares it: filled up with NULs.
fn device_name(name: &str) -> Vec<u8> {
    let mut bytes = name.as_bytes().to_vec();
    bytes.resize(libc::IFNAMSIZ, 0);
    bytes
}

/// The bytes of an address.
pub(crate) fn address(address: Ipv4Addr) -> Vec<u8> {
    address.octets().to_vec()
}

/// Attributes: a length, a type, a value, filled up to four bytes; one may hold others.
#[derive(Default)]
struct Attributes(Vec<u8>);

impl Attributes {
    fn bytes(&mut self, kind: u16, value: &[u8]) {
        self.0.extend((value.len() as u16 + 4).to_ne_bytes());
        self.0.extend(kind.to_ne_bytes());
        self.0.extend(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
    }

    fn text(&mut self, kind: u16, value: &str) {
        self.bytes(kind, &[value.as_bytes(), &[0]].concat());
    }

    /// Numbers of nf_tables have the network's order of bytes.
    fn number(&mut self, kind: u16, value: u32) {
        self.bytes(kind, &value.to_be_bytes());
    }

    fn nest(&mut self, kind: u16, fill: impl FnOnce(&mut Attributes)) {
        let mut inner = Attributes::default();
        fill(&mut inner);
        self.bytes(kind | 1 << 15, &inner.0); // NLA_F_NESTED
    }
}

/// Messages that the kernel carries out all together or not at all.
#[derive(Default)]
struct Batch {
    bytes: Vec<u8>,
    count: u32,
}

impl Batch {
    fn change(&mut self, kind: u16, family: Family, fill: impl FnOnce(&mut Attributes)) {
        self.message(SUBSYSTEM << 8 | kind, family as u8, 0, fill);
    }

    fn message(&mut self, kind: u16, family: u8, resource: u16, fill: impl FnOnce(&mut Attributes)) {
        let is_change = kind > 0xff;
        let flags = if is_change {
            libc::NLM_F_REQUEST | libc::NLM_F_ACK | libc::NLM_F_CREATE | libc::NLM_F_EXCL
        } else {
            libc::NLM_F_REQUEST
        };
        // A rule is put behind those that are there.
        let is_rule = kind == SUBSYSTEM << 8 | NEW_RULE;
        let flags = if is_rule { flags & !libc::NLM_F_EXCL | libc::NLM_F_APPEND } else { flags };
        let mut attributes = Attributes::default();
        fill(&mut attributes);
        let length = 20 + attributes.0.len() as u32;
        self.bytes.extend(length.to_ne_bytes());
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend((flags as u16).to_ne_bytes());
        self.bytes.extend(self.count.to_ne_bytes());
        self.bytes.extend([0; 4]);
        // struct nfgenmsg
        self.bytes.extend([family, 0]);
        self.bytes.extend(resource.to_be_bytes());
        self.bytes.extend(attributes.0);
        self.count += 1;
    }

    fn send(&self, socket: &OwnedFd) -> Result<(), Errno> {
        send(socket.as_raw_fd(), &self.bytes, MsgFlags::empty())?;
        // The kernel has answered before send(2) returns: for each change an acknowledgement, or its error.
        let (mut outcome, mut answers) = (Err(Errno::EPROTO), vec![0; 16 << 10]);
        loop {
            match recv(socket.as_raw_fd(), &mut answers, MsgFlags::MSG_DONTWAIT) {
                Err(Errno::EAGAIN) => return outcome,
                Err(errno) => return Err(errno),
                Ok(length) => {
                    for code in codes(&answers[..length]) {
                        match code {
                            0 if outcome == Err(Errno::EPROTO) => outcome = Ok(()),
                            0 => {}
                            code if outcome.is_ok() || outcome == Err(Errno::EPROTO) => {
                                outcome = Err(Errno::from_raw(-code));
                            }
                            _ => {}
                        }
                    }
                }
            }
        }
    }
}

/// The codes of the acknowledgements in a datagram: NLMSG_ERROR, in which 0 means that all is well.
fn codes(mut bytes: &[u8]) -> Vec<i32> {
    let mut codes = Vec::new();
    while let [a, b, c, d, kind, other, ..] = *bytes {
        let length = (u32::from_ne_bytes([a, b, c, d]) as usize).next_multiple_of(4);
        if let (2, Some(code)) = (u16::from_ne_bytes([kind, other]), bytes.get(16..20)) {
            codes.push(i32::from_ne_bytes(code.try_into().unwrap_or_default()));
        }
        bytes = bytes.get(length.max(16)..).unwrap_or_default();
    }
    codes
}
