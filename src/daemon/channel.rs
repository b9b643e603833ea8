//! A connection to the supervisor of a container, for tasks: it is waited for without a thread.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixDatagram as StdUnixDatagram;

use rustix::io::ioctl_fionbio;
use tokio::io::Interest;
use tokio::net::UnixDatagram;

use super::answer::{Answered, ApiError};
use super::connection::HandedConnection;
use crate::container::client::SupervisorClient;
use crate::container::message::{ClientMessage, MAX_PACKET, Packet, SupervisorMessage, packet_of};
use crate::container::stream::send_with;
use crate::error::io_text;

/// A connection to a supervisor.
pub(super) struct SupervisorChannel {
    /// It is of type SOCK_SEQPACKET. The calls for datagrams are the same, and at the end it gives an empty packet.
    socket: UnixDatagram,
}

impl SupervisorChannel {
    /// Takes over the connection of a client.
    pub(super) fn of(client: SupervisorClient) -> Answered<SupervisorChannel> {
        let socket = client.into_socket();
        let cannot = |error: io::Error| ApiError::failed(io_text(&error));
        ioctl_fionbio(&socket, true).map_err(|errno| cannot(errno.into()))?;
        Ok(SupervisorChannel {
            socket: UnixDatagram::from_std(StdUnixDatagram::from(socket)).map_err(cannot)?,
        })
    }

    /// Sends a packet. The supervisor may be slow.
    pub(super) async fn send_packet(&self, packet: &[u8]) -> io::Result<()> {
        self.socket.send(packet).await.map(|_| ())
    }

    /// Sends a message.
    pub(super) async fn send(&self, message: &ClientMessage) -> io::Result<()> {
        self.send_packet(&packet_of(message)).await
    }

    /// Gives the connection of a client to the supervisor. Nothing follows on this one.
    pub(super) async fn hand_over(self, connection: HandedConnection) -> io::Result<()> {
        let HandedConnection { descriptor, ahead } = connection;
        let packet = packet_of(&ClientMessage::Connection { ahead });
        let send = || send_with(self.socket.as_fd(), &packet, descriptor.as_fd());
        self.socket.async_io(Interest::WRITABLE, send).await
    }

    /// The next packet. None: the supervisor has ended.
    pub(super) async fn receive(&self, buffer: &mut Vec<u8>) -> Option<()> {
        loop {
            // Until there is a packet, no memory is needed for it.
            self.socket.readable().await.ok()?;
            buffer.resize(MAX_PACKET, 0);
            match self.socket.try_recv(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    buffer.truncate(0);
                    continue;
                }
                Ok(0) | Err(_) => return None,
                Ok(length) => buffer.truncate(length),
            }
            // What this version does not know is passed over.
            if Packet::<SupervisorMessage>::parse(buffer).is_some() {
                return Some(());
            }
        }
    }

    /// The next message. Output is dropped.
    pub(super) async fn message(&self) -> Option<SupervisorMessage> {
        let mut buffer = Vec::new();
        loop {
            self.receive(&mut buffer).await?;
            if let Some(Packet::Message(message)) = Packet::parse(&buffer) {
                return Some(message);
            }
        }
    }
}
