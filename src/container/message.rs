//! What a supervisor and its clients send each other, over a socket of type SOCK_SEQPACKET: the kernel keeps the bounds of
//! each message, unix(7).
//!
//! A packet is JSON, or one byte (0, 1 or 2) and then bytes of standard input, output or error. The byte 0 alone is the end
//! of standard input.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::{Error, ExitKind};
use crate::exec;

/// The maximum number of bytes of a stream in a packet.
pub const MAX_DATA: usize = 64 << 10;

/// The maximum length of a packet.
pub const MAX_PACKET: usize = MAX_DATA + 1;

/// The first byte of a packet with standard input.
pub const STDIN: u8 = 0;

/// What a client asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClientMessage {
    /// Send the output from now on.
    Attach {
        /// Whether the client sends standard input.
        stdin: bool,
        /// Whether the container waits for this client when it does not read. Any other client is cut off then.
        front: bool,
        /// How the output is written, if the connection of a client of Docker's API follows. None: as packets.
        #[serde(default)]
        stream: Option<StreamForm>,
    },
    /// The connection of a client of Docker's API, after `Attach` or `WaitOver`: its descriptor is sent with this packet, and nothing more follows on this one.
    Connection {
        /// What the client has sent already.
        ahead: Vec<u8>,
    },
    /// Report each signal of this client that the kernel drops.
    Explain,
    /// The user has typed the keys that detach: the client is going to leave.
    Detach,
    /// Start the command.
    Start,
    /// Report the end of the command.
    Wait,
    /// Report the end of the command to a client of Docker's API, whose connection follows. The answer is `Done`.
    WaitOver {
        /// The head of the HTTP answer, which the client gets at once. The end of the connection is that of the body.
        head: String,
    },
    /// Stop the command, and report its end.
    Stop {
        /// The signal. None: that of the container.
        signal: Option<i32>,
        /// How many seconds later it gets SIGKILL. A negative number: never. None: that of the container.
        timeout: Option<i64>,
        /// Whether the container stays also if it is to be removed at its end: it is going to be started again.
        #[serde(default)]
        keeps: bool,
    },
    /// End, if the command was never started: the container is going to be removed.
    Remove,
    /// Send a signal to the command.
    Kill {
        /// Its number.
        signal: i32,
    },
    /// Freeze the processes.
    Pause,
    /// Thaw them.
    Unpause,
    /// The window of the client has another size.
    Resize {
        /// Lines.
        rows: u16,
        /// Columns.
        columns: u16,
    },
}

/// How a client of Docker's API gets the output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamForm {
    /// Whether it has no frames, as that of a terminal.
    pub is_raw: bool,
    /// Whether the client wants standard output, and standard error.
    pub outputs: [bool; 2],
    /// The keys that detach it. Without any, nothing does.
    pub keys: Vec<u8>,
}

/// What the supervisor answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SupervisorMessage {
    /// On its first pipe: requests can be sent.
    Ready,
    /// On its first pipe: another supervisor has the container.
    Busy,
    /// The client gets the output.
    Attached {
        /// Whether the command has a terminal.
        terminal: bool,
        /// Whether the output is kept until the connection of the client follows.
        #[serde(default)]
        awaits_connection: bool,
    },
    /// The command runs.
    Started {
        /// Its PID.
        pid: i32,
        /// What the user should know about it.
        #[serde(default)]
        notes: Vec<String>,
    },
    /// It is done.
    Done,
    /// It cannot be done.
    Refused(SentError),
    /// The client has not read for too long, and gets no more output.
    Cut {
        /// How many bytes it has missed.
        dropped: u64,
    },
    /// The kernel drops this signal: the command is process 1, and has no handler for it.
    Dropped {
        /// Its number.
        signal: i32,
    },
    /// The command has ended.
    Exited {
        /// Its exit status; 128+N for a signal.
        status: i32,
    },
}

/// An error that another process reports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SentError {
    /// The exit status for it.
    pub status: u8,
    /// What failed.
    pub what: String,
    /// The call.
    pub call: Option<String>,
    /// The reasons.
    pub why: Vec<String>,
    /// What to do.
    pub todo: Vec<String>,
}

impl From<Error> for SentError {
    fn from(error: Error) -> SentError {
        let Error { kind, what, call, why, todo, .. } = error;
        SentError { status: kind.status(), what, call, why, todo }
    }
}

impl From<SentError> for Error {
    fn from(sent: SentError) -> Error {
        let kinds = [ExitKind::Usage, ExitKind::NotExecutable, ExitKind::NotFound, ExitKind::Refused];
        let kind = kinds.into_iter().find(|kind| kind.status() == sent.status).unwrap_or(ExitKind::Failed);
        let error = Error { call: sent.call, why: sent.why, todo: sent.todo, ..Error::new(kind, sent.what) };
        exec::as_typed(error)
    }
}

/// A packet.
#[derive(Debug, PartialEq, Eq)]
pub enum Packet<'a, M> {
    /// A message.
    Message(M),
    /// Bytes of a stream.
    Data(u8, &'a [u8]),
}

impl<'a, M: DeserializeOwned> Packet<'a, M> {
    /// Reads a packet. None: it is none.
    pub fn parse(packet: &'a [u8]) -> Option<Packet<'a, M>> {
        match packet {
            [stream @ 0..=2, data @ ..] => Some(Packet::Data(*stream, data)),
            message => serde_json::from_slice(message).ok().map(Packet::Message),
        }
    }
}

/// A message as a packet.
pub fn packet_of(message: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(message).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_read_back() {
        let start = packet_of(&ClientMessage::Start);
        assert_eq!(start, br#""start""#);
        assert_eq!(Packet::parse(&start), Some(Packet::Message(ClientMessage::Start)));
        let stop = ClientMessage::Stop { signal: None, timeout: Some(-1), keeps: false };
        assert_eq!(Packet::parse(&packet_of(&stop)), Some(Packet::Message(stop)));
        assert_eq!(Packet::<ClientMessage>::parse(b"\0"), Some(Packet::Data(STDIN, b"")));
        assert_eq!(Packet::<ClientMessage>::parse(b"\x02x"), Some(Packet::Data(2, b"x")));
        for wrong in [&b""[..], b"\x03", b"{}", b"x"] {
            assert_eq!(Packet::<ClientMessage>::parse(wrong), None);
        }
    }

    #[test]
    fn an_error_keeps_its_parts_and_its_status() {
        let error = Error::new(ExitKind::NotFound, "x").why("w").todo("t");
        let sent = SentError::from(error.clone());
        assert_eq!(Error::from(sent), error);
    }
}
