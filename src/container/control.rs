//! The control socket of a supervisor, and the clients that are connected to it.
//!
//! No client makes the container or another client wait, except one: the front, the command line that shows the container as
//! if it were its own. Output for any other client that does not read is kept up to a bound. Then it is dropped and counted,
//! and the client gets a message and is disconnected.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::rc::Rc;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, Backlog, MsgFlags, SockFlag, SockType, UnixAddr, bind, getsockopt, listen, send, socket,
    sockopt::PeerCredentials,
};
use nix::unistd::geteuid;
use rustix::net::SocketFlags;

use super::message::{
    ClientMessage, MAX_DATA, MAX_PACKET, Packet, STDIN, StreamForm, SupervisorMessage, packet_of,
};
use super::stream::{HandedStream, end_connection, receive_with};
use crate::error::Error;
use crate::feature::Feature;
use crate::host::own_run::CONTROL;
use crate::host::private_directory::PrivateDirectory;
use crate::observe::proc::namespace_link;
use crate::text::{text, text_with};

/// The stream of standard error.
const STDERR: u8 = 2;

/// How many bytes are kept for a client that does not read.
const ROOM: usize = 1 << 20;

/// How many bytes are kept for the front before the container waits for it.
const ROOM_OF_FRONT: usize = 256 << 10;

/// The maximum number of clients. Further ones are refused.
const MAX_CLIENTS: usize = 500;

/// The maximum number of clients that get the output: for each of them, up to [`ROOM`] is kept.
const MAX_ATTACHED: usize = 64;

/// The maximum number of packets that are read from a client at a time.
const MAX_RECEIVED: usize = 16;

/// What a client has asked for, and waits for.
#[derive(Debug, Default)]
pub(super) struct Awaited {
    /// The start of the command.
    pub(super) start: bool,
    /// Its end, as a message with the status.
    pub(super) end: bool,
    /// Its end, because this client has asked for it.
    pub(super) stop: bool,
    /// Its end, because it is removed: Docker has no event `stop` for that.
    pub(super) removes: bool,
    /// That it is not removed at its end.
    pub(super) keeps: bool,
}

/// A client.
#[derive(Debug)]
pub(super) struct ConnectedClient {
    socket: OwnedFd,
    /// Packets that are not sent yet.
    queue: VecDeque<Rc<[u8]>>,
    /// Their length.
    queued: usize,
    /// Whether it gets the output.
    pub(super) is_attached: bool,
    /// Whether it has asked for the output.
    pub(super) was_attached: bool,
    /// Whether it sends standard input.
    pub(super) has_stdin: bool,
    /// Whether the container waits for it.
    pub(super) is_front: bool,
    /// Whether signals that the kernel drops are reported to it.
    pub(super) explains: bool,
    /// What it waits for.
    pub(super) awaited: Awaited,
    /// How many bytes of output were dropped.
    dropped: u64,
    /// How it gets its output, if it is a client of Docker's API.
    stream: Option<HandedStream>,
    is_gone: bool,
}

impl ConnectedClient {
    /// Sends a message, when the client can take it.
    pub(super) fn send(&mut self, message: &SupervisorMessage) {
        self.report_dropped();
        let Some(stream) = &mut self.stream else { return self.enqueue(packet_of(message).into()) };
        match message {
            SupervisorMessage::Started { .. } => stream.runs = true,
            SupervisorMessage::Cut { dropped } => {
                let message = text_with("container.attach.cut", &[("bytes", &dropped.to_string())]);
                stream.closes = true;
                let packet = stream.message(STDERR, format!("{message}\r\n").as_bytes());
                self.enqueue(packet);
            }
            SupervisorMessage::Exited { .. } | SupervisorMessage::Refused(_) => {
                stream.closes = true;
                let body = stream.end(message);
                body.into_iter().for_each(|body| self.enqueue(body));
            }
            _ => {}
        }
    }

    /// Keeps the output from now on, until the connection of the client comes. The answer goes to the daemon before.
    pub(super) fn await_connection(&mut self, form: StreamForm, terminal: bool) {
        self.send(&SupervisorMessage::Attached { terminal, awaits_connection: true });
        self.hand_over(HandedStream::new(form));
    }

    /// Keeps the end of the command until the connection of the client comes.
    pub(super) fn await_end_over(&mut self, head: String) {
        self.awaited.end = true;
        self.send(&SupervisorMessage::Done);
        self.hand_over(HandedStream::of_waiting());
        self.enqueue(head.into_bytes().into());
    }

    fn hand_over(&mut self, stream: HandedStream) {
        self.flush();
        self.is_gone |= !self.queue.is_empty();
        self.stream = Some(stream);
    }

    /// Ends a client of Docker's API whose input has ended: it gets what was printed until now. False: it is another client.
    pub(super) fn ends_by_input(&mut self) -> bool {
        let Some(stream) = &mut self.stream else { return false };
        stream.closes = true;
        (self.is_attached, self.was_attached, self.has_stdin) = (false, false, false);
        true
    }

    /// The command runs, so the client can send input to it.
    pub(super) fn command_runs(&mut self) {
        self.stream.iter_mut().for_each(|stream| stream.runs = true);
    }

    /// Tells the client how much it has missed. It gets no more output.
    fn report_dropped(&mut self) {
        if self.dropped > 0 {
            let dropped = std::mem::take(&mut self.dropped);
            self.is_attached = false;
            self.send(&SupervisorMessage::Cut { dropped });
        }
    }

    /// Drops what was kept: memory is for clients that read. A packet that is sent in part stays.
    fn drop_queue(&mut self) {
        let begun = self.stream.as_ref().is_some_and(|stream| stream.sent > 0);
        let kept = if begun { self.queue.pop_front() } else { None };
        self.dropped += self.queue.iter().map(|packet| packet.len() as u64 - 1).sum::<u64>();
        self.queue.clear();
        self.queued = kept.as_ref().map_or(0, |packet| packet.len());
        self.queue.extend(kept);
    }

    fn enqueue(&mut self, packet: Rc<[u8]>) {
        self.queued += packet.len();
        self.queue.push_back(packet);
    }

    fn flush(&mut self) {
        if self.stream.as_ref().is_some_and(|stream| !stream.has_connection) {
            return;
        }
        while let Some(packet) = self.queue.front() {
            let begun = self.stream.as_ref().map_or(0, |stream| stream.sent);
            let flags = MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT;
            match send(self.socket.as_raw_fd(), &packet[begun..], flags) {
                // A stream may take a part only.
                Ok(length) if self.stream.is_some() && begun + length < packet.len() => {
                    self.stream.iter_mut().for_each(|stream| stream.sent = begun + length);
                }
                Ok(_) => {
                    self.queued -= packet.len();
                    self.queue.pop_front();
                    self.stream.iter_mut().for_each(|stream| stream.sent = 0);
                }
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN | Errno::ENOBUFS) => return,
                Err(_) => {
                    self.is_gone = true;
                    return;
                }
            }
        }
        if self.stream.as_ref().is_some_and(|stream| stream.closes) && self.dropped == 0 {
            end_connection(self.socket.as_fd());
            self.is_gone = true;
        }
    }

    /// Whether all is sent.
    fn is_flushed(&self) -> bool {
        self.queue.is_empty() && !self.stream.as_ref().is_some_and(|stream| stream.closes)
    }

    /// Reads what a client of Docker's API has sent, as packets of input.
    fn receive_stream(
        &mut self,
        takes_input: bool,
        buffer: &mut [u8],
        handle: &mut impl FnMut(&mut ConnectedClient, Packet<'_, ClientMessage>),
    ) {
        for _ in 0..MAX_RECEIVED {
            let Some(stream) = &mut self.stream else { return };
            if !stream.runs || stream.input_ended {
                self.is_gone |= HandedStream::has_hung_up(&self.socket);
                return;
            }
            if self.is_gone || self.has_stdin && !takes_input {
                return;
            }
            match stream.read(&self.socket, buffer) {
                Ok(Some(typed)) => {
                    if self.has_stdin && !typed.input.is_empty() {
                        handle(self, Packet::Data(STDIN, &typed.input));
                    }
                    if typed.detaches {
                        handle(self, Packet::Message(ClientMessage::Detach));
                        end_connection(self.socket.as_fd());
                        self.is_gone = true;
                    }
                }
                // Its standard input has ended. It still gets the output.
                Ok(None) if self.has_stdin => handle(self, Packet::Data(STDIN, &[])),
                Ok(None) | Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return,
                Err(_) => self.is_gone = true,
            }
        }
    }
}

/// The socket and its clients.
#[derive(Debug)]
pub(super) struct Control {
    /// None: no more clients are accepted.
    listener: Option<OwnedFd>,
    /// The clients.
    pub(super) clients: Vec<ConnectedClient>,
    /// Whether there ever was a client.
    pub(super) had_client: bool,
    /// Where a packet is read to.
    packet: Vec<u8>,
}

impl Control {
    /// Makes the socket in the directory of a run.
    ///
    /// # Errors
    /// Those of socket(2), bind(2) and listen(2).
    pub(super) fn listen(directory: &PrivateDirectory) -> io::Result<Control> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let listener = socket(AddressFamily::Unix, SockType::SeqPacket, flags, None)?;
        // A path may have 108 bytes, and that of RUN may be longer.
        let address = UnixAddr::new(&directory.path_through(CONTROL))?;
        directory.remove_file(CONTROL)?;
        bind(listener.as_raw_fd(), &address)?;
        listen(&listener, Backlog::new(128)?)?;
        Ok(Control {
            listener: Some(listener),
            clients: Vec::new(),
            had_client: false,
            packet: vec![0; MAX_PACKET],
        })
    }

    /// Accepts no more clients.
    pub(super) fn close(&mut self) {
        self.listener = None;
    }

    /// Accepts new clients, and reads what they have sent: each message with the place of its client. `takes_input` is
    /// whether standard input can be taken now.
    pub(super) fn receive(
        &mut self,
        takes_input: bool,
        mut handle: impl FnMut(&mut ConnectedClient, Packet<'_, ClientMessage>),
    ) {
        while let Some(listener) = &self.listener {
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            let Ok(socket) = rustix::net::accept_with(listener, flags) else { break };
            let outside = is_outside(&socket);
            // A client that cannot be looked at may be the one to wait for.
            self.had_client |= outside.is_err();
            let refused = match outside {
                Ok(true) if self.clients.len() < MAX_CLIENTS => None,
                Ok(true) => {
                    let most = MAX_CLIENTS.to_string();
                    Some(Error::failed(text_with("container.clients", &[("most", &most)])))
                }
                Ok(false) => Some(Error::failed(text("container.client"))),
                Err(failed) => {
                    Some(Error::failed(text("container.client")).call("readlink(</proc/PID/ns/pid>)", failed))
                }
            };
            if let Some(error) = refused {
                let refused = packet_of(&SupervisorMessage::Refused(error.into()));
                let _ = send(socket.as_raw_fd(), &refused, MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT);
                continue;
            }
            self.had_client = true;
            self.clients.push(ConnectedClient {
                socket,
                queue: VecDeque::new(),
                queued: 0,
                is_attached: false,
                was_attached: false,
                has_stdin: false,
                is_front: false,
                explains: false,
                awaited: Awaited::default(),
                dropped: 0,
                stream: None,
                is_gone: false,
            });
        }
        let Control { clients, packet, .. } = self;
        let mut attached = clients.iter().filter(|client| client.is_attached).count();
        for client in clients.iter_mut() {
            for _ in 0..MAX_RECEIVED {
                if client.stream.as_ref().is_some_and(|stream| stream.has_connection) {
                    client.receive_stream(takes_input, packet, &mut handle);
                    break;
                }
                if client.is_gone || client.has_stdin && !takes_input && client.stream.is_none() {
                    break;
                }
                match receive_with(&client.socket, packet) {
                    Ok((0, _)) => client.is_gone = true,
                    Ok((length, descriptor)) => match Packet::parse(&packet[..length]) {
                        Some(Packet::Message(ClientMessage::Attach { .. })) if attached >= MAX_ATTACHED => {
                            let most = MAX_ATTACHED.to_string();
                            let error = Error::failed(text_with("container.attached", &[("most", &most)]));
                            client.send(&SupervisorMessage::Refused(error.into()));
                        }
                        Some(Packet::Message(ClientMessage::Connection { ahead })) => {
                            match (&mut client.stream, descriptor) {
                                (Some(stream), Some(descriptor)) => {
                                    stream.connect(ahead);
                                    client.socket = descriptor;
                                }
                                _ => client.is_gone = true,
                            }
                        }
                        Some(packet) => {
                            let was_attached = client.is_attached;
                            handle(client, packet);
                            attached += usize::from(client.is_attached && !was_attached);
                        }
                        // It is no client of this version.
                        None => client.is_gone = true,
                    },
                    Err(rustix::io::Errno::INTR) => {}
                    Err(rustix::io::Errno::AGAIN) => break,
                    Err(_) => client.is_gone = true,
                }
            }
        }
        self.clients.retain(|client| !client.is_gone);
    }

    /// Whether the front takes more output. Without one, there is always room.
    pub(super) fn has_room(&self) -> bool {
        self.clients.iter().all(|client| !client.is_front || client.queued < ROOM_OF_FRONT)
    }

    /// Sends output to all attached clients.
    pub(super) fn broadcast(&mut self, number: u8, content: &[u8]) {
        if !self.clients.iter().any(|client| client.is_attached) {
            return;
        }
        for part in content.chunks(MAX_DATA) {
            let mut packet = Vec::with_capacity(part.len() + 1);
            packet.push(number);
            packet.extend_from_slice(part);
            let packet: Rc<[u8]> = packet.into();
            for client in self.clients.iter_mut().filter(|client| client.is_attached) {
                let packet = match &client.stream {
                    None => packet.clone(),
                    Some(stream) => match stream.packet(number, part) {
                        Some(packet) => packet,
                        None => continue,
                    },
                };
                if client.dropped == 0 && (client.is_front || client.queued + packet.len() <= ROOM) {
                    client.enqueue(packet);
                    continue;
                }
                if client.dropped == 0 {
                    client.drop_queue();
                }
                client.dropped += part.len() as u64;
            }
        }
        self.flush();
    }

    /// Sends what can be sent without waiting.
    pub(super) fn flush(&mut self) {
        for client in &mut self.clients {
            client.flush();
            if client.dropped > 0 && client.queue.is_empty() && can_send(client) {
                client.report_dropped();
                client.flush();
            }
        }
        self.clients.retain(|client| !client.is_gone);
    }

    /// Whether all is sent that this client, or with `front` only the front, shall get.
    pub(super) fn is_flushed(&self, only_front: bool) -> bool {
        self.clients.iter().filter(|client| client.is_front || !only_front).all(ConnectedClient::is_flushed)
    }

    /// The descriptors to wait for.
    pub(super) fn poll_set(&self, takes_input: bool) -> Vec<PollFd<'_>> {
        let mut set: Vec<_> =
            self.listener.iter().map(|socket| PollFd::new(socket.as_fd(), PollFlags::POLLIN)).collect();
        for client in &self.clients {
            if let Some(stream) = &client.stream {
                let has_output = !client.queue.is_empty() || client.dropped > 0;
                let events = stream.events(takes_input || !client.has_stdin, has_output);
                set.extend(events.map(|events| PollFd::new(client.socket.as_fd(), events)));
                continue;
            }
            let mut events = PollFlags::empty();
            events.set(PollFlags::POLLIN, takes_input || !client.has_stdin);
            events.set(PollFlags::POLLOUT, !client.queue.is_empty() || client.dropped > 0);
            // Without events, poll(2) would still return for a hang-up, each time at once.
            if !events.is_empty() {
                set.push(PollFd::new(client.socket.as_fd(), events));
            }
        }
        set
    }
}

/// Whether a client is no process of a container. In a root filesystem that shows the files of the host, the socket can be
/// connected to, also through an overlay. A process in the same PID namespace could send signals to all of these processes
/// anyway, so the others are refused.
fn is_outside(socket: &OwnedFd) -> io::Result<bool> {
    let peer = getsockopt(socket, PeerCredentials)?;
    if peer.uid() != geteuid().as_raw() {
        return Ok(false);
    }
    let namespace = |process: &str| namespace_link(process, Feature::Pid);
    Ok(namespace(&format!("/proc/{}", peer.pid()))? == namespace("/proc/self")?)
}

fn can_send(client: &ConnectedClient) -> bool {
    let mut ready = [PollFd::new(client.socket.as_fd(), PollFlags::POLLOUT)];
    poll(&mut ready, PollTimeout::ZERO).is_ok_and(|count| count > 0)
}
