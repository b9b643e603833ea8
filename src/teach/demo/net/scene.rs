//! Sockets that talk to each other, for cards and mistakes.

use std::net::Ipv4Addr;

use crate::error::{Error, Result};
use crate::teach::agent::{Agent, Answer};
use crate::teach::call::socket::{Address, Domain};
use crate::teach::call::{DemoCall, SocketCall};
use crate::teach::demo::{Stage, words};
use procfs::FromReadSI;
use procfs::net::{TcpNetEntries, TcpNetEntry, TcpState};

/// The loopback address.
pub(crate) const HERE: Ipv4Addr = Ipv4Addr::LOCALHOST;

/// What is said.
const WORDS: &str = "hello";

/// A call that must succeed for the rest to mean anything.
pub(super) fn outcome(agent: &Agent, call: impl Into<DemoCall>) -> Result<i64> {
    let call = call.into();
    agent.perform(call.clone())?.map_err(|errno| Error::failed("the demonstration stops").call(call, errno))
}

/// A new socket's number.
pub(super) fn socket(agent: &Agent, domain: Domain) -> Result<i32> {
    Ok(outcome(agent, SocketCall::Open(domain))? as i32)
}

/// A listening TCP socket, and the port that the kernel chose for it.
pub(crate) fn listening(agent: &Agent, address: Ipv4Addr) -> Result<(i32, u16)> {
    let server = socket(agent, Domain::Inet)?;
    outcome(agent, SocketCall::Bind(server, Address::Inet(address, 0)))?;
    outcome(agent, SocketCall::Listen(server))?;
    Ok((server, outcome(agent, SocketCall::Port(server))? as u16))
}

/// A new TCP socket's attempt to connect: the call and its answer.
pub(crate) fn tcp(agent: &Agent, to: Address) -> Result<(SocketCall, Answer)> {
    let connect = SocketCall::Connect(socket(agent, Domain::Inet)?, to);
    let answer = agent.perform(connect.clone())?;
    Ok((connect, answer))
}

/// The same of a unix socket.
pub(crate) fn reach(agent: &Agent, to: &Address) -> Result<(SocketCall, Answer)> {
    let connect = SocketCall::Connect(socket(agent, Domain::Unix)?, to.clone());
    let answer = agent.perform(connect.clone())?;
    Ok((connect, answer))
}

/// The name of an abstract socket on which `agent` listens. It goes with the agent.
pub(crate) fn abstract_name(stage: &mut Stage<'_>, agent: &Agent) -> Result<Address> {
    let name = Address::Abstract(stage.unique("net"));
    let server = socket(agent, Domain::Unix)?;
    outcome(agent, SocketCall::Bind(server, name.clone()))?;
    outcome(agent, SocketCall::Listen(server))?;
    Ok(name)
}

/// A TCP exchange, as the client made it.
#[derive(Debug)]
pub(crate) struct Line {
    /// connect(2).
    pub(crate) connect: SocketCall,
    /// Its answer.
    pub(crate) connected: Answer,
    /// recvfrom(2).
    pub(crate) receive: SocketCall,
    /// Its answer.
    pub(crate) received: Answer,
}

impl Line {
    /// Whether the client heard what the server said.
    pub(crate) fn heard(&self) -> bool {
        self.connected.is_ok() && self.received == Ok(WORDS.len() as i64)
    }
}

/// `server` listens on `address` and says a word to `client`.
pub(crate) fn said(server: &Agent, client: &Agent, address: Ipv4Addr) -> Result<Line> {
    let (listener, port) = listening(server, address)?;
    said_on((server, listener), client, Address::Inet(address, port))
}

/// The same on a socket that listens already. Both may be one process: the kernel keeps the connection and the word until
/// they are taken.
pub(super) fn said_on(server: (&Agent, i32), client: &Agent, to: Address) -> Result<Line> {
    let number = socket(client, Domain::Inet)?;
    let connect = SocketCall::Connect(number, to);
    let connected = client.perform(connect.clone())?;
    if connected.is_ok() {
        let accepted = outcome(server.0, SocketCall::Accept(server.1))? as i32;
        outcome(server.0, SocketCall::Send(accepted, WORDS.into()))?;
    }
    let receive = SocketCall::Receive(number, WORDS.into());
    let received = client.perform(receive.clone())?;
    Ok(Line { connect, connected, receive, received })
}

/// An answer in the space of a line: the errno's name without its words.
pub(crate) fn brief(answer: Answer) -> String {
    answer.map_or_else(|errno| format!("-1 {errno:?}"), |result| result.to_string())
}

/// What `part` makes of a file that `agent` reads.
pub(super) fn table(agent: &Agent, path: &str, part: impl Fn(&str) -> String) -> Result<String> {
    Ok(words(agent.read(path)?.map(|content| part(&content))))
}

/// How many rows a table of /proc/net has below its heading.
pub(super) fn rows(table: &str) -> String {
    crate::observe::Value::Count(table.lines().count().saturating_sub(1), "rows".into()).to_string()
}

/// Whether a socket listens on this port, by the table of /proc/net/tcp.
pub(super) fn listed(table: &str, port: u16) -> String {
    let sockets = TcpNetEntries::from_read(table.as_bytes(), procfs::current_system_info());
    let is_listening =
        |socket: &TcpNetEntry| socket.state == TcpState::Listen && socket.local_address.port() == port;
    if sockets.is_ok_and(|sockets| sockets.0.iter().any(is_listening)) {
        format!("127.0.0.1:{port} listens")
    } else {
        format!("no 127.0.0.1:{port}")
    }
}
