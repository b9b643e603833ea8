//! Calls on sockets. Whether a socket can reach another one shows whether both are in the same net namespace.

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

/// The calls of this family, all on stream sockets. Addresses are printed shorter than by strace, so that they fit on
/// a line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SocketCall {
    /// socket(2): returns the file descriptor. No call on it waits longer than a second.
    Open(Domain),
    /// bind(2).
    Bind(i32, Address),
    /// listen(2).
    Listen(i32),
    /// getsockname(2): returns the port that the kernel chose.
    Port(i32),
    /// connect(2).
    Connect(i32, Address),
    /// accept(2): returns the new file descriptor.
    Accept(i32),
    /// sendto(2): returns the number of bytes sent.
    Send(i32, String),
    /// recvfrom(2): receives this text and returns its length. Fails with EBADMSG if other bytes come.
    Receive(i32, String),
}

/// Address families.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Domain {
    /// IPv4.
    Inet,
    /// unix(7).
    Unix,
}

/// The address of a socket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Address {
    /// An IPv4 address and a port.
    Inet(Ipv4Addr, u16),
    /// The name of an abstract socket, which is not a file. unix(7)
    Abstract(String),
    /// The path of a socket file.
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
            SocketCall::Send(socket, text) => {
                write!(f, "sendto({socket}, {}, {})", c_string(text), text.len())
            }
            SocketCall::Receive(socket, text) => {
                write!(f, "recvfrom({socket}, {}, {})", c_string(text), text.len())
            }
        }
    }
}

impl Address {
    /// The address as a `sockaddr`.
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
            SocketCall::Send(socket, text) => {
                send(*socket, text.as_bytes(), MsgFlags::MSG_NOSIGNAL).map(|sent| sent as i64)
            }
            SocketCall::Receive(socket, text) => receive(*socket, text),
        }
    }
}

fn open(domain: Domain) -> Result<i64, Errno> {
    let family = match domain {
        Domain::Inet => AddressFamily::Inet,
        Domain::Unix => AddressFamily::Unix,
    };
    let socket = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    // A firewall that drops packets must not block a demonstration. SO_SNDTIMEO also limits connect(2). socket(7)
    setsockopt(&socket, SendTimeout, &TimeVal::seconds(1))?;
    setsockopt(&socket, ReceiveTimeout, &TimeVal::seconds(1))?;
    // The descriptor stays open until the process ends. Later calls refer to it by number.
    Ok(i64::from(socket.into_raw_fd()))
}

fn receive(socket: i32, text: &str) -> Result<i64, Errno> {
    let mut buffer = vec![0; text.len()];
    let received = recv(socket, &mut buffer, MsgFlags::MSG_WAITALL)?;
    if &buffer[..received] == text.as_bytes() { Ok(received as i64) } else { Err(Errno::EBADMSG) }
}
