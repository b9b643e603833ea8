//! nf_tables, the kernel's packet filter: the netlink(7) messages that nft(8) sends, as far as `sandbox` needs them.
//! Nothing here is unsafe. linux/netfilter/nf_tables.h
//!
//! A table has a comment, by which its creator finds it again. nft(8) prints it. NFTA_TABLE_USERDATA, Linux 5.10
//!
//! A table could also be owned by the socket that created it (NFT_TABLE_F_OWNER). The kernel would then remove it when
//! `sandbox` is killed, but the container can still run at that moment, and would be without its firewall.
//!
//! | file | what |
//! |---|---|
//! | `message` | what a message consists of, and what the kernel answers |
//! | `expressions` | the expressions of a rule |
//! | `batch` | the messages that create or remove tables |
//! | `tables` | the tables that exist |
//! | `chains` | chains of other programs that drop what is forwarded |

mod batch;
mod chains;
mod expressions;
mod message;
mod tables;

use std::os::fd::OwnedFd;

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockProtocol, SockType, socket};

pub(crate) use self::batch::{BaseChain, Batch};
pub(crate) use self::chains::{ClosedChain, closed_chains};
pub(crate) use self::expressions::{ESTABLISHED, Expressions, RELATED};
pub(crate) use self::tables::{FoundTable, delete_tables, find_tables, tables};

/// Opens a socket for messages about tables.
///
/// # Errors
/// EPROTONOSUPPORT: a kernel without CONFIG_NETFILTER_NETLINK.
pub(crate) fn open() -> Result<OwnedFd, Errno> {
    let protocol = SockProtocol::NetlinkNetFilter;
    socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol)
}
