//! Sockets, as a demonstration uses them: what they reach shows where a network namespace ends.

use std::fmt;
use std::net::Ipv4Addr;
use std::os::fd::IntoRawFd;

use nix::errno::Errno;
use nix::sys::socket::sockopt::{ReceiveTimeout, SendTimeout};
use nix::sys::socket::{
    AddressFamily, Backlog, MsgFlags, SockFlag, SockType, SockaddrIn, SockaddrLike, UnixAddr, accept, bind,
    connect, getsockname, listen, recv, send, setsockopt, socket,
};
use nix::sys::time::{TimeVal, TimeValLike};
use serde::{Deserialize, Serialize};

use crate::plan::call::c_string;
use crate::sys;

/// The calls of this family, all on stream sockets. Addresses are printed shorter than strace does, to fit a line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SocketCall {
    /// socket(2): gives the descriptor's number. No call on it waits longer than a second.
    Open(Domain),
    /// bind(2).
    Bind(i32, Address),
    /// listen(2).
    Listen(i32),
    /// getsockname(2): gives the port that the kernel chose.
    Port(i32),
    /// connect(2).
    Connect(i32, Address),
    /// accept(2): gives the new descriptor's number.
    Accept(i32),
    /// sendto(2): gives how many bytes were taken.
    Send(i32, String),
    /// recvfrom(2) of just these words: gives how many bytes came; EBADMSG when they are others.
    Receive(i32, String),
}

/// Families of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Domain {
    /// IPv4.
    Inet,
    /// unix(7).
    Unix,
}

/// Where a socket is, or goes to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Address {
    /// An IPv4 address and a port.
    Inet(Ipv4Addr, u16),
    /// A name that is no file: unix(7), "abstract".
    Abstract(String),
    /// A file.
    Path(String),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Inet(address, port) => write!(f, "{{AF_INET, {address}:{port}}}"),
            Address::Abstract(name) => write!(f, "{{AF_UNIX, @{}}}", c_string(name)),
            Address::Path(path) => write!(f, "{{AF_UNIX, {}}}", c_string(path)),
        }
    }
}

impl fmt::Display for SocketCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SocketCall::Open(Domain::Inet) => f.write_str("socket(AF_INET, SOCK_STREAM|SOCK_CLOEXEC, 0)"),
            SocketCall::Open(Domain::Unix) => f.write_str("socket(AF_UNIX, SOCK_STREAM|SOCK_CLOEXEC, 0)"),
            SocketCall::Bind(socket, address) => write!(f, "bind({socket}, {address})"),
            SocketCall::Listen(socket) => write!(f, "listen({socket}, 1)"),
            SocketCall::Port(socket) => write!(f, "getsockname({socket})"),
            SocketCall::Connect(socket, address) => write!(f, "connect({socket}, {address})"),
            SocketCall::Accept(socket) => write!(f, "accept({socket}, NULL, NULL)"),
            SocketCall::Send(socket, words) => {
                write!(f, "sendto({socket}, {}, {})", c_string(words), words.len())
            }
            SocketCall::Receive(socket, words) => {
                write!(f, "recvfrom({socket}, {}, {})", c_string(words), words.len())
            }
        }
    }
}

impl Address {
    /// The address in the kernel's form.
    fn raw(&self) -> Result<Box<dyn SockaddrLike>, Errno> {
        Ok(match self {
            Address::Inet(address, port) => {
                Box::new(SockaddrIn::from(std::net::SocketAddrV4::new(*address, *port)))
            }
            Address::Abstract(name) => Box::new(UnixAddr::new_abstract(name.as_bytes())?),
            Address::Path(path) => Box::new(UnixAddr::new(path.as_str())?),
        })
    }
}

impl SocketCall {
    /// Makes the call.
    pub(super) fn perform(&self) -> Result<i64, Errno> {
        match self {
            SocketCall::Open(domain) => open(*domain),
            SocketCall::Bind(socket, address) => bind(*socket, address.raw()?.as_ref()).map(|()| 0),
            SocketCall::Listen(socket) => listen(&sys::borrow(*socket)?, Backlog::new(1)?).map(|()| 0),
            SocketCall::Port(socket) => {
                getsockname::<SockaddrIn>(*socket).map(|address| address.port().into())
            }
            SocketCall::Connect(socket, address) => connect(*socket, address.raw()?.as_ref()).map(|()| 0),
            SocketCall::Accept(socket) => accept(*socket).map(i64::from),
            SocketCall::Send(socket, words) => {
                send(*socket, words.as_bytes(), MsgFlags::MSG_NOSIGNAL).map(|sent| sent as i64)
            }
            SocketCall::Receive(socket, words) => receive(*socket, words),
        }
    }
}

fn open(domain: Domain) -> Result<i64, Errno> {
    let family = match domain {
        Domain::Inet => AddressFamily::Inet,
        Domain::Unix => AddressFamily::Unix,
    };
    let socket = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    // A firewall that drops packets must not hold a demonstration up; the first bounds connect(2) too. socket(7)
    setsockopt(&socket, SendTimeout, &TimeVal::seconds(1))?;
    setsockopt(&socket, ReceiveTimeout, &TimeVal::seconds(1))?;
    // From here on it is known by its number, until the process ends.
    Ok(i64::from(socket.into_raw_fd()))
}

fn receive(socket: i32, words: &str) -> Result<i64, Errno> {
    let mut buffer = vec![0; words.len()];
    let received = recv(socket, &mut buffer, MsgFlags::MSG_WAITALL)?;
    if &buffer[..received] == words.as_bytes() { Ok(received as i64) } else { Err(Errno::EBADMSG) }
}
