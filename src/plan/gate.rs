//! The gate: a socket pair between the host and the child. Messages on it say that a side may go on, what the result of
//! each step was, and what the child sees. It also carries descriptors. The end of file means that the other process
//! has ended, or has executed the command.

use std::io::{IoSlice, IoSliceMut};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, recv, recvmsg, send,
    sendmsg, socketpair,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::call::publish::Protocol;

/// A value that differs from what the plan requires.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// The file, and where in it.
    pub source: String,
    /// The value that is required.
    pub wanted: String,
    /// The value that the file shows.
    pub shown: String,
}

/// A published port on which no server in the container has accepted a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unreached {
    /// The protocol.
    pub protocol: Protocol,
    /// The address and port on the host.
    pub at: SocketAddr,
    /// The port inside.
    pub inside: u16,
    /// The loopback address inside on which a server listens on this port.
    pub on_loopback: Option<IpAddr>,
    /// Whether such a server would be reached through a port that is published on the host's loopback address.
    pub is_loopback_tried: bool,
}

/// A message on the gate while a plan runs.
#[derive(Debug, Serialize, Deserialize)]
pub enum Message {
    /// Host to the others: perform step N now. Only sent if every step is reported.
    Go(usize),
    /// Helper to host: this is the PID of the child.
    ChildPid(i32),
    /// Init to host: it has forked the command, which has this PID there. The descriptor in this message is its pidfd.
    Forked(i64),
    /// Child or helper to host: step N returned this result.
    Did(usize, i64),
    /// Child or helper to host: step N failed with this errno, and this process ends.
    Failed(usize, i32),
    /// Child to host: these values differ from the plan, and this process ends.
    Differs(Vec<Difference>),
    /// Child to host: the descriptor in this message is the master of the command's terminal.
    Terminal,
    /// Child to host: the descriptor in this message is the other end of the pipe that replaces this standard descriptor.
    Stream(i32),
    /// Child to host: everything is verified, and the child waits for its release by a FIFO. The host may end now.
    Held,
    /// Child to host: the view from inside.
    Report(serde_json::Value),
    /// Relay to host: a client was refused. Each of these is sent once.
    Unreached(Unreached),
}

/// One end of the gate. A message is a length of 4 bytes and JSON. Descriptors are sent with the length.
#[derive(Debug)]
pub struct Channel {
    socket: OwnedFd,
}

/// The maximum length of a message. It limits how much memory a broken peer can make this process allocate.
const MAX_LENGTH: usize = 16 << 20;

impl Channel {
    /// A new pair. Both are close-on-exec: the end of file shows that the command was executed.
    ///
    /// # Errors
    /// Those of socketpair(2).
    pub fn pair() -> Result<(Channel, Channel), Errno> {
        let (one, other) = socketpair(AddressFamily::Unix, SockType::Stream, None, SockFlag::SOCK_CLOEXEC)?;
        Ok((Channel { socket: one }, Channel { socket: other }))
    }

    /// Lets the other side go on. This message is a single byte and not JSON, because every run sends it and it says
    /// nothing else.
    ///
    /// # Errors
    /// Those of send(2). EPIPE: the other side is gone.
    pub fn release(&self) -> Result<(), Errno> {
        send(self.socket.as_raw_fd(), b".", MsgFlags::MSG_NOSIGNAL).map(|_| ())
    }

    /// Waits until the other side lets this process go on. Then checks that the other side is still alive: it may have
    /// sent its byte and died before this process set its parent-death signal.
    ///
    /// When a process dies, the kernel first closes its descriptors, and then sends parent-death signals. So if there
    /// is no hang-up here, the other side is alive, or its parent-death signal is still to come.
    ///
    /// # Errors
    /// Those of recv(2) and poll(2). EPIPE: the other side is gone.
    pub fn await_release(&self) -> Result<(), Errno> {
        match recv(self.socket.as_raw_fd(), &mut [0], MsgFlags::empty()) {
            Err(Errno::EINTR) => self.await_release(),
            Ok(0) => Err(Errno::EPIPE),
            Err(errno) => Err(errno),
            Ok(_) => {
                let mut gate = [PollFd::new(self.socket.as_fd(), PollFlags::empty())];
                poll(&mut gate, PollTimeout::ZERO)?;
                if gate[0].any().unwrap_or(true) { Err(Errno::EPIPE) } else { Ok(()) }
            }
        }
    }

    /// An end that was received as a descriptor.
    pub fn from_fd(socket: OwnedFd) -> Channel {
        Channel { socket }
    }

    /// The descriptor, to give away.
    pub fn into_fd(self) -> OwnedFd {
        self.socket
    }

    /// Sends a message, with descriptors.
    ///
    /// # Errors
    /// Those of sendmsg(2); EPIPE when the other side is gone.
    pub fn send(&self, message: &impl Serialize, descriptors: &[BorrowedFd<'_>]) -> Result<(), Errno> {
        let body = serde_json::to_vec(message).map_err(|_| Errno::EINVAL)?;
        let length = u32::try_from(body.len()).map_err(|_| Errno::EMSGSIZE)?.to_ne_bytes();
        let raw: Vec<RawFd> = descriptors.iter().map(AsRawFd::as_raw_fd).collect();
        let rights = [ControlMessage::ScmRights(&raw)];
        let control: &[ControlMessage<'_>] = if raw.is_empty() { &[] } else { &rights };
        let whole = [IoSlice::new(&length), IoSlice::new(&body)];
        let sent = sendmsg::<()>(self.socket.as_raw_fd(), &whole, control, MsgFlags::MSG_NOSIGNAL, None)?;
        let mut rest = &body[sent.saturating_sub(length.len())..];
        while !rest.is_empty() {
            let some = [IoSlice::new(rest)];
            let sent = sendmsg::<()>(self.socket.as_raw_fd(), &some, &[], MsgFlags::MSG_NOSIGNAL, None)?;
            rest = &rest[sent..];
        }
        Ok(())
    }

    /// Waits for a message; `None` at the end of file.
    ///
    /// # Errors
    /// Those of recvmsg(2); EBADMSG when what came is no message.
    pub fn receive<M: DeserializeOwned>(&self) -> Result<Option<(M, Vec<OwnedFd>)>, Errno> {
        let mut length = [0; 4];
        let mut descriptors = Vec::new();
        if !self.fill(&mut length, &mut descriptors)? {
            return Ok(None);
        }
        let length = u32::from_ne_bytes(length) as usize;
        if length > MAX_LENGTH {
            return Err(Errno::EBADMSG);
        }
        let mut body = vec![0; length];
        if !self.fill(&mut body, &mut descriptors)? {
            return Ok(None);
        }
        let message = serde_json::from_slice(&body).map_err(|_| Errno::EBADMSG)?;
        Ok(Some((message, descriptors)))
    }

    /// Fills `buffer`; false at the end of file.
    fn fill(&self, buffer: &mut [u8], descriptors: &mut Vec<OwnedFd>) -> Result<bool, Errno> {
        let mut filled = 0;
        while filled < buffer.len() {
            let mut control = nix::cmsg_space!([RawFd; 4]);
            let mut some = [IoSliceMut::new(&mut buffer[filled..])];
            let flags = MsgFlags::MSG_CMSG_CLOEXEC;
            let got = match recvmsg::<()>(self.socket.as_raw_fd(), &mut some, Some(&mut control), flags) {
                Err(Errno::EINTR) => continue,
                // The other side ended and had not read all of our messages. This is an end of file too.
                Err(Errno::ECONNRESET) => return Ok(false),
                got => got?,
            };
            for message in got.cmsgs()? {
                if let ControlMessageOwned::ScmRights(received) = message {
                    descriptors.extend(received.into_iter().map(crate::sys::adopt));
                }
            }
            if got.bytes == 0 {
                return Ok(false);
            }
            filled += got.bytes;
        }
        Ok(true)
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
