//! A client of Docker's API that is attached to a container, or waits for its end: its own connection, which the daemon has handed
//! over.
//!
//! The daemon connects to the supervisor first, and asks for the output. The supervisor keeps it until the connection of the
//! client follows, as a descriptor (SCM_RIGHTS, unix(7)). From then on the bytes go through no other process, so the end of the
//! daemon cuts no client off.

use std::io;
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, Shutdown, recv, shutdown};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use serde_json::{Value, json};

use super::frames::framed;
use super::message::{StreamForm, SupervisorMessage};
use crate::value::detach_keys::KeyFinder;

/// A client whose bytes are those of Docker's API, not packets.
#[derive(Debug)]
pub(super) struct HandedStream {
    /// What it gets of the output. None: only the end of the container is reported to it.
    form: Option<StreamForm>,
    finder: KeyFinder,
    /// Whether its connection has come. Until then its output is kept.
    pub(super) has_connection: bool,
    /// Input that the daemon has read together with the request.
    ahead: Vec<u8>,
    /// How much of the first packet in the queue is sent.
    pub(super) sent: usize,
    /// Whether the command runs, and so takes input.
    pub(super) runs: bool,
    /// Whether the client sends nothing more.
    pub(super) input_ended: bool,
    /// Whether its connection is closed when all is sent.
    pub(super) closes: bool,
}

/// What a client has typed.
pub(super) struct Typed {
    /// What is for the command.
    pub(super) input: Vec<u8>,
    /// Whether the client wants to be detached.
    pub(super) detaches: bool,
}

impl HandedStream {
    pub(super) fn new(form: StreamForm) -> HandedStream {
        HandedStream {
            finder: KeyFinder::new(form.keys.clone()),
            form: Some(form),
            has_connection: false,
            ahead: Vec::new(),
            sent: 0,
            runs: false,
            input_ended: false,
            closes: false,
        }
    }

    /// That of a client that waits for the end of the container.
    pub(super) fn of_waiting() -> HandedStream {
        let form = StreamForm { is_raw: true, outputs: [false; 2], keys: Vec::new() };
        HandedStream { form: None, ..HandedStream::new(form) }
    }

    /// The body of the answer to `POST /containers/NAME/wait`, if this client waits for the end.
    pub(super) fn end(&self, message: &SupervisorMessage) -> Option<Rc<[u8]>> {
        let (status, error) = match message {
            SupervisorMessage::Exited { status } => (*status, Value::Null),
            SupervisorMessage::Refused(error) => (i32::from(error.status), json!({ "Message": error.what })),
            _ => return None,
        };
        let body = format!("{}\n", json!({ "StatusCode": status, "Error": error }));
        self.form.is_none().then(|| body.into_bytes().into())
    }

    /// Takes over the connection.
    pub(super) fn connect(&mut self, ahead: Vec<u8>) {
        (self.has_connection, self.ahead) = (true, ahead);
    }

    /// A part of the output as this client gets it. None: it does not want this stream.
    pub(super) fn packet(&self, stream: u8, content: &[u8]) -> Option<Rc<[u8]>> {
        let outputs = self.form.as_ref()?.outputs;
        let is_wanted = outputs.get(usize::from(stream).wrapping_sub(1)).is_some_and(|wanted| *wanted);
        is_wanted.then(|| self.message(stream, content))
    }

    /// The same for what the client gets in any case.
    pub(super) fn message(&self, stream: u8, content: &[u8]) -> Rc<[u8]> {
        framed(self.form.as_ref().is_some_and(|form| form.is_raw), stream, content).into()
    }

    /// Whether the client has gone, or, before the command takes input, cannot be waited for.
    pub(super) fn has_hung_up(socket: &OwnedFd) -> bool {
        let mut state = [PollFd::new(socket.as_fd(), PollFlags::empty())];
        poll(&mut state, PollTimeout::ZERO).is_ok()
            && state[0]
                .revents()
                .is_some_and(|events| events.intersects(PollFlags::POLLHUP | PollFlags::POLLERR))
    }

    /// Reads what the client has sent, without waiting.
    ///
    /// # Errors
    /// EAGAIN: nothing. Others: the connection is broken.
    pub(super) fn read(&mut self, socket: &OwnedFd, buffer: &mut [u8]) -> nix::Result<Option<Typed>> {
        let ahead = std::mem::take(&mut self.ahead);
        let sent = match ahead.is_empty() {
            false => &ahead[..],
            true => match recv(socket.as_raw_fd(), buffer, MsgFlags::MSG_DONTWAIT)? {
                0 => {
                    self.input_ended = true;
                    return Ok(None);
                }
                length => &buffer[..length],
            },
        };
        let (input, detaches) = self.finder.take(sent);
        Ok(Some(Typed { input, detaches }))
    }

    /// What to wait for.
    pub(super) fn events(&self, takes_input: bool, has_output: bool) -> Option<PollFlags> {
        let mut events = PollFlags::empty();
        let reads = self.runs && !self.input_ended;
        events.set(PollFlags::POLLIN, reads && takes_input && self.has_connection);
        events.set(PollFlags::POLLOUT, has_output && self.has_connection);
        // Until the connection comes, the daemon is waited for. Later, a client that sends nothing is watched for its hang-up, but
        // not one whose input has to wait: poll(2) would return each time at once.
        match self.has_connection {
            false => Some(PollFlags::POLLIN),
            true => (!events.is_empty() || !reads).then_some(events),
        }
    }
}

/// Ends a connection, so that the client gets all that was sent. What the client has sent is read first: the kernel would report
/// an error to a peer whose bytes nobody has read.
pub fn end_connection(socket: BorrowedFd<'_>) {
    let _ = shutdown(socket.as_raw_fd(), Shutdown::Both);
    let mut rest = [0; 4096];
    while recv(socket.as_raw_fd(), &mut rest, MsgFlags::MSG_DONTWAIT).is_ok_and(|length| length > 0) {}
}

/// Waits until the peer of a socket has gone. One that has only ended its output still reads: then the kernel reports no hang-up.
pub fn await_hang_up(socket: BorrowedFd<'_>) {
    loop {
        let mut state = [PollFd::new(socket, PollFlags::empty())];
        match poll(&mut state, PollTimeout::NONE) {
            Err(nix::errno::Errno::EINTR) | Ok(0) => {}
            _ => return,
        }
    }
}

/// Sends a packet with a descriptor.
///
/// # Errors
/// Those of sendmsg(2).
pub fn send_with(socket: BorrowedFd<'_>, packet: &[u8], descriptor: BorrowedFd<'_>) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let descriptors = [descriptor];
    ancillary.push(SendAncillaryMessage::ScmRights(&descriptors));
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    Ok(sendmsg(socket, &[IoSlice::new(packet)], &mut ancillary, flags).map(|_| ())?)
}

/// Receives a packet without waiting, and the descriptor that comes with it. More than one is closed by the kernel.
pub(super) fn receive_with(
    socket: &OwnedFd,
    packet: &mut [u8],
) -> rustix::io::Result<(usize, Option<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
    let received = recvmsg(socket, &mut [IoSliceMut::new(packet)], &mut ancillary, flags)?;
    let mut descriptor = None;
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(mut all) = message {
            descriptor = all.next();
        }
    }
    Ok((received.bytes, descriptor))
}
