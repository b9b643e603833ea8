//! The tables of the caller's network namespace.

use std::os::fd::AsRawFd;

use libc::{
    NFNL_SUBSYS_NFTABLES, NFT_MSG_GETTABLE, NLM_F_DUMP, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR, c_int,
};
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv, send};

use super::batch::Batch;
use super::message::{NetlinkAttributes, attributes, code, message, messages, text};
use super::open;

// The types of attributes, linux/netfilter/nf_tables.h. The libc crate does not have them.
const NFTA_TABLE_NAME: u16 = 1;
const NFTA_TABLE_HANDLE: u16 = 4;
const NFTA_TABLE_USERDATA: u16 = 6;

/// The type of a comment in the data that a program may store with a table. libnftnl/udata.h
const COMMENT: u8 = 0;

/// A table that exists in the caller's network namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FoundTable {
    /// NFPROTO_*.
    pub(super) family: c_int,
    /// The kernel's number for it. The kernel does not use a number again.
    pub(super) handle: Vec<u8>,
    /// Its name.
    name: Vec<u8>,
    /// The comment that its creator has stored with it.
    comment: Option<String>,
}

impl FoundTable {
    /// The address family, as nft(8) names it: `inet`.
    pub(crate) fn family(&self) -> &'static str {
        family_name(self.family)
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

/// An address family, as nft(8) names it.
pub(super) fn family_name(family: c_int) -> &'static str {
    match family {
        libc::NFPROTO_INET => "inet",
        libc::NFPROTO_IPV4 => "ip",
        libc::NFPROTO_IPV6 => "ip6",
        libc::NFPROTO_ARP => "arp",
        libc::NFPROTO_BRIDGE => "bridge",
        libc::NFPROTO_NETDEV => "netdev",
        _ => "?",
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
    dump(NFT_MSG_GETTABLE, found_table)
}

/// All objects of a kind in the caller's network namespace, as far as `read` takes them.
///
/// # Errors
/// Those of [`open`]. EPERM: no CAP_NET_ADMIN here.
pub(super) fn dump<T>(kind: c_int, read: impl Fn(&[u8]) -> Option<T>) -> Result<Vec<T>, Errno> {
    let socket = open()?;
    let kind = NFNL_SUBSYS_NFTABLES << 8 | kind;
    let (about, none) = ([libc::NFPROTO_UNSPEC, 0], NetlinkAttributes::default());
    let request = message(0, kind, NLM_F_REQUEST | NLM_F_DUMP, about, &none);
    send(socket.as_raw_fd(), &request, MsgFlags::empty())?;
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
                _ => found.extend(read(body)),
            }
        }
    }
}

/// The table in the body of a message: struct nfgenmsg and attributes.
fn found_table(body: &[u8]) -> Option<FoundTable> {
    let family = c_int::from(*body.first()?);
    let mut table = FoundTable { family, handle: Vec::new(), name: Vec::new(), comment: None };
    for (kind, value) in attributes(body.get(4..)?) {
        match kind {
            NFTA_TABLE_HANDLE => value.clone_into(&mut table.handle),
            NFTA_TABLE_NAME => table.name = text(value),
            NFTA_TABLE_USERDATA => table.comment = comment_in(value),
            _ => {}
        }
    }
    (!table.handle.is_empty()).then_some(table)
}

/// The data with a comment, as nft(8) stores it: type, length, text, NUL.
pub(super) fn user_data(comment: &str) -> Vec<u8> {
    let mut data = vec![COMMENT, comment.len() as u8 + 1];
    data.extend(comment.bytes());
    data.push(0);
    data
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
    Batch::delete(tables).send(&open()?)
}
