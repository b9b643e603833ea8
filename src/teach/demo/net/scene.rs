//! Shared by cards and mistakes of the net namespace: sockets that listen, connect, and exchange a short text.

use std::net::Ipv4Addr;

use crate::error::{Error, Result};
use crate::observe::{Listing, Value};
use crate::teach::agent::{Agent, Answer};
use crate::teach::call::socket::{Address, Domain};
use crate::teach::call::{DemoCall, SocketCall};
use crate::teach::demo::{Stage, one_line};
use procfs::FromReadSI;
use procfs::net::{TcpNetEntries, TcpNetEntry, TcpState};

/// The loopback address.
pub(crate) const LOOPBACK: Ipv4Addr = Ipv4Addr::LOCALHOST;

/// The text that the server sends.
const MESSAGE: &str = "hello";

/// Makes a call that must succeed: it prepares the demonstration. Returns its result.
pub(super) fn must_succeed(agent: &Agent, call: impl Into<DemoCall>) -> Result<i64> {
    let call = call.into();
    agent.perform(call.clone())?.map_err(|errno| Error::failed("the demonstration stops").call(call, errno))
}

/// Opens a stream socket in the agent. Returns its file descriptor.
pub(super) fn socket(agent: &Agent, domain: Domain) -> Result<i32> {
    Ok(must_succeed(agent, SocketCall::Open(domain))? as i32)
}

/// Opens a listening TCP socket. Returns it and the port that the kernel chose.
pub(crate) fn listen(agent: &Agent, address: Ipv4Addr) -> Result<(i32, u16)> {
    let server = socket(agent, Domain::Inet)?;
    must_succeed(agent, SocketCall::Bind(server, Address::Inet(address, 0)))?;
    must_succeed(agent, SocketCall::Listen(server))?;
    Ok((server, must_succeed(agent, SocketCall::Port(server))? as u16))
}

/// Tries to connect a new TCP socket. Returns the call and its result.
pub(crate) fn connect_tcp(agent: &Agent, to: Address) -> Result<(SocketCall, Answer)> {
    let connect = SocketCall::Connect(socket(agent, Domain::Inet)?, to);
    let answer = agent.perform(connect.clone())?;
    Ok((connect, answer))
}

/// Tries to connect a new unix socket. Returns the call and its result.
pub(crate) fn connect_unix(agent: &Agent, to: &Address) -> Result<(SocketCall, Answer)> {
    let connect = SocketCall::Connect(socket(agent, Domain::Unix)?, to.clone());
    let answer = agent.perform(connect.clone())?;
    Ok((connect, answer))
}

/// Has `agent` listen on an abstract socket, which lasts as long as the agent. Returns its name.
pub(crate) fn abstract_name(stage: &mut Stage<'_>, agent: &Agent) -> Result<Address> {
    let name = Address::Abstract(stage.unique("net"));
    let server = socket(agent, Domain::Unix)?;
    must_succeed(agent, SocketCall::Bind(server, name.clone()))?;
    must_succeed(agent, SocketCall::Listen(server))?;
    Ok(name)
}

/// A TCP connection on which the server sent a text, as the client saw it.
#[derive(Debug)]
pub(crate) struct Exchange {
    /// connect(2).
    pub(crate) connect: SocketCall,
    /// Its result.
    pub(crate) connected: Answer,
    /// recvfrom(2).
    pub(crate) receive: SocketCall,
    /// Its result.
    pub(crate) received: Answer,
}

impl Exchange {
    /// Whether the client received the text of the server.
    pub(crate) fn is_received(&self) -> bool {
        self.connected.is_ok() && self.received == Ok(MESSAGE.len() as i64)
    }
}

/// `server` listens on `address`. `client` connects and receives a text.
pub(crate) fn exchange(server: &Agent, client: &Agent, address: Ipv4Addr) -> Result<Exchange> {
    let (listener, port) = listen(server, address)?;
    exchange_on((server, listener), client, Address::Inet(address, port))
}

/// The same with a socket that listens already. Server and client may be one process: the kernel queues the
/// connection and the text until the process accepts and reads them.
pub(super) fn exchange_on(server: (&Agent, i32), client: &Agent, to: Address) -> Result<Exchange> {
    let client_socket = socket(client, Domain::Inet)?;
    let connect = SocketCall::Connect(client_socket, to);
    let connected = client.perform(connect.clone())?;
    if connected.is_ok() {
        let accepted = must_succeed(server.0, SocketCall::Accept(server.1))? as i32;
        must_succeed(server.0, SocketCall::Send(accepted, MESSAGE.into()))?;
    }
    let receive = SocketCall::Receive(client_socket, MESSAGE.into());
    let received = client.perform(receive.clone())?;
    Ok(Exchange { connect, connected, receive, received })
}

/// The result of a call, with the name of the errno only, so that it fits on a line.
pub(crate) fn short_answer(answer: Answer) -> String {
    answer.map_or_else(|errno| format!("-1 {errno:?}"), |result| result.to_string())
}

/// Has `agent` read a file, and summarizes its content with `summarize`.
pub(super) fn summary(agent: &Agent, path: &str, summarize: impl Fn(&str) -> String) -> Result<String> {
    Ok(one_line(agent.read(path)?.map(|content| summarize(&content))))
}

/// The number of rows of a table of /proc/net, without its heading.
pub(super) fn rows(table: &str) -> String {
    Value::List(Listing::new("rows", table.lines().skip(1).map(str::to_owned))).to_string()
}

/// Whether a socket listens on this port, according to a table in the format of /proc/net/tcp.
pub(super) fn port_state(table: &str, port: u16) -> String {
    let sockets = TcpNetEntries::from_read(table.as_bytes(), procfs::current_system_info());
    let is_listening =
        |socket: &TcpNetEntry| socket.state == TcpState::Listen && socket.local_address.port() == port;
    if sockets.is_ok_and(|sockets| sockets.0.iter().any(is_listening)) {
        format!("127.0.0.1:{port} listens")
    } else {
        format!("no 127.0.0.1:{port}")
    }
}
