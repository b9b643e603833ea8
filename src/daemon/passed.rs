//! Sockets that systemd has made for the daemon, and keeps: LISTEN_PID and LISTEN_FDS of sd_listen_fds(3). A client that connects
//! while no daemon runs waits in the queue of the socket until systemd has started one.

use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;

use rustix::io::{FdFlags, fcntl_getfd, fcntl_setfd};
use rustix::net::sockopt::socket_acceptconn;
use rustix::net::{AddressFamily, getsockname};

use super::server::Listening;
use super::service::DaemonAddress;
use crate::error::{Error, Result};
use crate::sys;
use crate::text::{text, text_with};

/// The number of the first descriptor: SD_LISTEN_FDS_START.
const FIRST: i32 = 3;

/// The sockets that were passed to this process, with their addresses. There are none if the variables are for another process.
pub(super) fn sockets() -> Result<Vec<(DaemonAddress, Listening)>> {
    let number = |name: &str| std::env::var(name).ok().and_then(|value| value.parse::<i32>().ok());
    if number("LISTEN_PID") != Some(std::process::id().cast_signed()) {
        return Ok(Vec::new());
    }
    let count = number("LISTEN_FDS").unwrap_or(0).clamp(0, 64);
    (FIRST..FIRST + count).map(socket).collect()
}

fn socket(number: i32) -> Result<(DaemonAddress, Listening)> {
    let wrong =
        |why: String| Error::failed(text_with("daemon.passed", &[("number", &number.to_string())])).why(why);
    let open = sys::borrow(number).map_err(|errno| wrong(errno.to_string()))?;
    fcntl_getfd(open).map_err(|errno| wrong(errno.to_string()))?;
    let socket: OwnedFd = sys::adopt(number);
    // The commands that the daemon executes must not have it.
    fcntl_setfd(&socket, FdFlags::CLOEXEC).map_err(|errno| wrong(errno.to_string()))?;
    if !socket_acceptconn(&socket).unwrap_or(false) {
        return Err(wrong(text("daemon.passed.listens")));
    }
    let name = getsockname(&socket).map_err(|errno| wrong(errno.to_string()))?;
    if name.address_family() == AddressFamily::UNIX {
        let listener = UnixListener::from(socket);
        let address = listener.local_addr().ok().and_then(|at| at.as_pathname().map(ToOwned::to_owned));
        let address = address.ok_or_else(|| wrong(text("daemon.passed.name")))?;
        return Ok((DaemonAddress::Unix(address), Listening::Unix(listener)));
    }
    let listener = TcpListener::from(socket);
    let at = listener.local_addr().map_err(|error| wrong(error.to_string()))?;
    let address = format!("tcp://{at}").parse().map_err(wrong)?;
    Ok((address, Listening::Tcp(listener)))
}
