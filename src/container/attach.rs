//! A client that shows a container as if its command were its own: it copies the output to its own standard output and error,
//! sends its standard input, and forwards its signals. When it ends, the container runs on. Signals for a command with a terminal are
//! typed, so none is forwarded there: closing the user's terminal sends SIGHUP, and only ends the client.

use std::io::Write;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, send};
use rustix::stdio::{stderr, stdin, stdout};
use rustix::termios::{isatty, tcgetattr, tcgetwinsize};

use super::client::{NoMessage, SupervisorClient};
use super::explain::Explainer;
use super::id::Id;
use super::life::silent;
use super::message::{ClientMessage, MAX_DATA, Packet, STDIN, SupervisorMessage, packet_of};
use crate::error::{Error, ExitKind, Result, io_text};
use crate::exec::RawMode;
use crate::exec::signals::{ENDS, Signals};
use crate::sys::signal;
use crate::text::{text, text_with, wrap};
use crate::value::detach_keys::{DETACH_KEYS, KeyFinder, parse_keys};

/// How many bytes a writable pipe takes at least, pipe(7).
const PIPE_BUF: usize = 4096;

/// The width of a message, without the name before it.
const COLUMNS: usize = 71;

/// How long the supervisor may take to answer a signal.
const ANSWER: Duration = Duration::from_secs(1);

/// How long the supervisor may take to accept this client.
const ACCEPT: Duration = Duration::from_secs(10);

/// How an attached client ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Left {
    /// The command has ended with this status.
    Exited(i32),
    /// The user has typed the keys that detach.
    Detached,
    /// A signal has ended the client, which does not forward it, or not yet.
    Interrupted(i32),
    /// The supervisor was killed, or has ended before this client was served.
    Lost,
    /// The client has not read its output for too long, and gets no more. So many bytes were left out.
    Cut(u64),
}

/// What an attached client does.
#[derive(Debug, Clone)]
pub struct AttachOptions {
    /// Whether it sends its standard input.
    pub stdin: bool,
    /// Whether it forwards its signals, to a command without a terminal.
    pub forwards: bool,
    /// The keys that detach it, from a terminal.
    pub detach_keys: Vec<u8>,
}

/// Shows a container. `start` is whether it is also to be started, when this client gets its output.
///
/// # Errors
/// The command cannot be started; the signals cannot be read.
pub fn attach(
    client: &mut SupervisorClient,
    id: &Id,
    start: bool,
    front: bool,
    options: &AttachOptions,
) -> Result<Left> {
    let signals = Signals::for_command()?;
    let attach = ClientMessage::Attach { stdin: options.stdin, front, stream: None };
    let asked =
        client.send(&attach).and_then(|()| if start { client.send(&ClientMessage::Start) } else { Ok(()) });
    if asked.and_then(|()| client.send(&ClientMessage::Explain)).is_err() {
        return Ok(Left::Lost);
    }
    let mut session = Session {
        signals,
        finder: KeyFinder::new(options.detach_keys.clone()),
        is_open: options.stdin,
        is_attached: false,
        runs: !start,
        unsent: None,
        unprinted: None,
        held: Vec::new(),
        raw: None,
        has_terminal: false,
        lost: [false; 3],
        is_hung_up: false,
        has_dropped: false,
    };
    session.run(client, id, options)
}

struct Session {
    signals: Signals,
    finder: KeyFinder,
    /// Whether standard input has more.
    is_open: bool,
    /// Whether the supervisor has accepted this client.
    is_attached: bool,
    /// Whether the command runs, and so takes input.
    runs: bool,
    /// A packet that the supervisor does not take yet.
    unsent: Option<Vec<u8>>,
    /// Output that is not printed yet, and its stream. No more is taken meanwhile.
    unprinted: Option<(u8, Vec<u8>)>,
    /// Signals that have arrived before the command runs.
    held: Vec<i32>,
    raw: Option<RawMode>,
    has_terminal: bool,
    /// The streams that nobody reads any more.
    lost: [bool; 3],
    /// Whether the user's terminal was closed.
    is_hung_up: bool,
    /// Whether the kernel has dropped a signal before.
    has_dropped: bool,
}

impl Session {
    fn run(&mut self, client: &mut SupervisorClient, id: &Id, options: &AttachOptions) -> Result<Left> {
        let accepted_by = Instant::now() + ACCEPT;
        loop {
            self.flush(client);
            self.print_more();
            // Only the answer tells whether there are keys that detach.
            let is_read = self.is_open && self.is_attached && self.runs && self.unsent.is_none();
            let mut events = PollFlags::empty();
            events.set(PollFlags::POLLIN, self.unprinted.is_none());
            events.set(PollFlags::POLLOUT, self.unsent.is_some());
            let mut ready = vec![PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)];
            // Without events, poll(2) would still return for a hang-up, each time at once.
            let place = (!events.is_empty()).then_some(ready.len());
            ready.extend(place.map(|_| PollFd::new(client.as_fd(), events)));
            let printed =
                self.unprinted.as_ref().map(|(stream, _)| PollFd::new(printer(*stream), PollFlags::POLLOUT));
            ready.extend(printed);
            let input = is_read.then_some(ready.len());
            ready.extend(input.map(|_| PollFd::new(stdin(), PollFlags::POLLIN)));
            let mut timeout = self.signals.timeout();
            if !self.is_attached {
                let left = accepted_by.saturating_duration_since(Instant::now());
                let left = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
                timeout = if timeout.is_none() { left } else { timeout.min(left) };
            }
            if self.is_hung_up {
                timeout = PollTimeout::ZERO;
            }
            match poll(&mut ready, timeout) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(errno) => return Err(Error::failed("cannot wait for the container").call("poll", errno)),
            }
            let has = |place: Option<usize>, wanted: PollFlags| {
                let ends = PollFlags::POLLHUP | PollFlags::POLLERR;
                let found = place.and_then(|place| ready.get(place)?.revents());
                found.is_some_and(|found| found.intersects(wanted | ends))
            };
            let has_message = self.unprinted.is_none() && has(place, PollFlags::POLLIN);
            let has_input = has(input, PollFlags::POLLIN);
            let forwards = options.forwards && !self.has_terminal;
            while let Some(arrived) = self.signals.next() {
                match arrived.number {
                    // Without a terminal of its own, the command gets them as every other signal.
                    libc::SIGWINCH | libc::SIGCONT if self.has_terminal => {
                        self.raw.iter().for_each(RawMode::set_again);
                        self.resize(client);
                    }
                    libc::SIGCHLD => {}
                    _ if arrived.stops() => signal::stop_self(),
                    // The supervisor may not answer: then this is the only way to end the client.
                    number if !self.is_attached && self.runs && arrived.ends() => {
                        return Ok(Left::Interrupted(number));
                    }
                    number if forwards && !self.runs => self.held.push(number),
                    number if forwards => self.forward(client, id, options, number),
                    number if arrived.ends() => return Ok(Left::Interrupted(number)),
                    _ => {}
                }
            }
            // The signal that comes with it was forwarded before.
            if self.is_hung_up {
                return Ok(Left::Interrupted(libc::SIGHUP));
            }
            if has_input && self.read_input() {
                let _ = client.send(&ClientMessage::Detach);
                return Ok(Left::Detached);
            }
            if has_message && let Some(left) = self.take_packet(client, id)? {
                return Ok(left);
            }
            if !self.is_attached && accepted_by <= Instant::now() {
                return Err(silent(id));
            }
            if self.runs {
                for number in std::mem::take(&mut self.held) {
                    self.forward(client, id, options, number);
                }
            }
        }
    }

    /// Handles the next packet of the supervisor.
    fn take_packet(&mut self, client: &mut SupervisorClient, id: &Id) -> Result<Option<Left>> {
        // A packet that is none for this version is passed over, so there may be no other.
        let message = match client.receive(Some(Instant::now())) {
            Err(NoMessage::Late) => return Ok(None),
            Err(NoMessage::Ended) => return Ok(Some(Left::Lost)),
            Ok(Packet::Data(stream, content)) => {
                self.print(stream, content);
                return Ok(None);
            }
            Ok(Packet::Message(message)) => message,
        };
        match message {
            SupervisorMessage::Attached { terminal, .. } => {
                self.is_attached = true;
                self.has_terminal = terminal;
                if terminal && self.is_open {
                    self.raw = RawMode::enter();
                }
                if self.runs {
                    self.resize(client);
                }
            }
            SupervisorMessage::Started { notes, .. } => {
                let end = if self.has_terminal { "\r\n" } else { "\n" };
                let notes: String = notes.iter().map(|note| format!("sandbox: {note}{end}")).collect();
                self.print(2, notes.as_bytes());
                self.runs = true;
                self.resize(client);
            }
            // Later ones answer signals that could not be sent.
            SupervisorMessage::Refused(error) if !self.runs || !self.is_attached => return Err(error.into()),
            SupervisorMessage::Cut { dropped } => return Ok(Some(Left::Cut(dropped))),
            SupervisorMessage::Dropped { signal } => self.explain_dropped(client, id, signal),
            SupervisorMessage::Exited { status } => return Ok(Some(Left::Exited(status))),
            _ => {}
        }
        Ok(None)
    }

    /// Forwards a signal. Behind standard input that the command does not read, it would wait: then it goes by a connection
    /// of its own.
    fn forward(&mut self, client: &SupervisorClient, id: &Id, options: &AttachOptions, number: i32) {
        let kill = ClientMessage::Kill { signal: number };
        match options.stdin.then(|| SupervisorClient::connect(id, Explainer::default())) {
            Some(Ok(Some(mut other))) => {
                let sent = other.send(&ClientMessage::Explain).and_then(|()| other.send(&kill));
                let answer = sent.and_then(|()| other.answer(Some(Instant::now() + ANSWER)));
                if let Ok(SupervisorMessage::Dropped { signal }) = answer {
                    self.explain_dropped(&other, id, signal);
                }
            }
            _ => drop(client.send(&kill)),
        }
    }

    /// The kernel has dropped a signal that asks the command to end. The second one from the keyboard kills it.
    fn explain_dropped(&mut self, client: &SupervisorClient, id: &Id, number: i32) {
        if !ENDS.contains(number) {
            return;
        }
        let is_typed = [libc::SIGINT, libc::SIGQUIT].contains(&number);
        let kills = self.has_dropped && is_typed;
        let key = match (is_typed, kills) {
            (false, _) => "pid.dropped.kept",
            (true, false) => "pid.dropped.explained",
            (true, true) => "pid.dropped.killed",
        };
        let values = [("signal", &*signal::name(number)), ("id", id.short())];
        let message = wrap(&text_with(key, &values), COLUMNS).join("\n         ");
        let message = format!("\n{message}");
        // In raw mode, the terminal does not go to the start of a new line by itself. Its mode stays: a key that is pressed just
        // now belongs to the command.
        tell(&if self.raw.is_some() { message.replace('\n', "\r\n") + "\r" } else { message });
        self.has_dropped = true;
        if kills {
            let _ = client.send(&ClientMessage::Kill { signal: libc::SIGKILL });
        }
    }

    fn print(&mut self, stream: u8, content: &[u8]) {
        self.unprinted = Some((stream, content.to_vec()));
        self.print_more();
    }

    /// Prints what can be printed without waiting: signals are served meanwhile.
    fn print_more(&mut self) {
        let Some((stream, content)) = &mut self.unprinted else { return };
        let lost = &mut self.lost[usize::from(*stream)];
        if !*lost {
            match write_ready(printer(*stream), content) {
                Ok(written) => drop(content.drain(..written)),
                Err(errno) => {
                    *lost = true;
                    self.is_hung_up |= is_hung_up(printer(*stream));
                    if errno != rustix::io::Errno::PIPE && !self.is_hung_up {
                        tell(&format!("sandbox: {}: {}", text("stream.lost"), io_text(&errno.into())));
                    }
                }
            }
        }
        if content.is_empty() || *lost {
            self.unprinted = None;
        }
    }

    /// Reads input. Returns whether the user has typed the keys that detach.
    fn read_input(&mut self) -> bool {
        let mut packet = vec![STDIN; MAX_DATA + 1];
        match rustix::io::read(stdin(), &mut packet[1..]) {
            Ok(length @ 1..) => {
                packet.truncate(length + 1);
                if self.has_terminal {
                    let (typed, is_detached) = self.finder.take(&packet[1..]);
                    if is_detached {
                        return true;
                    }
                    packet.splice(1.., typed);
                }
                // The byte alone would be the end of the input.
                self.unsent = Some(packet).filter(|packet| packet.len() > 1);
            }
            Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => {}
            // Its end would be typed into the container's terminal, and end a shell there.
            Ok(0) | Err(_) if self.has_terminal && is_hung_up(stdin()) => self.is_hung_up = true,
            Ok(0) | Err(_) => {
                self.is_open = false;
                self.unsent = Some(vec![STDIN]);
            }
        }
        false
    }

    /// Sends input, without waiting: the supervisor may wait until this client takes output.
    fn flush(&mut self, client: &SupervisorClient) {
        let Some(packet) = &self.unsent else { return };
        let flags = MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT;
        match send(client.as_fd().as_raw_fd(), packet, flags) {
            Err(Errno::EAGAIN | Errno::EINTR | Errno::ENOBUFS) => {}
            // If the supervisor has ended, the next packet says so.
            _ => self.unsent = None,
        }
    }

    /// Gives the command's terminal the size of the user's.
    fn resize(&self, client: &SupervisorClient) {
        let size = [stdin(), stdout(), stderr()];
        let size =
            size.into_iter().find(|stream| isatty(stream)).and_then(|stream| tcgetwinsize(stream).ok());
        if let Some(size) = size.filter(|_| self.has_terminal) {
            let resize = ClientMessage::Resize { rows: size.ws_row, columns: size.ws_col };
            let flags = MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT;
            let _ = send(client.as_fd().as_raw_fd(), &packet_of(&resize), flags);
        }
    }
}

/// Prints a line to standard error. Nothing else can be done if nobody reads it.
fn tell(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Whether this was a terminal that is closed: the kernel answers EIO to every question about it.
fn is_hung_up(stream: BorrowedFd<'_>) -> bool {
    matches!(tcgetattr(stream), Err(rustix::io::Errno::IO))
}

/// Where a stream is printed.
fn printer(stream: u8) -> BorrowedFd<'static> {
    if stream == 1 { stdout() } else { stderr() }
}

/// Writes what a descriptor takes now, and returns how much. Other processes may have the same description, so it is not made
/// non-blocking: a pipe that poll(2) calls writable takes at least PIPE_BUF bytes, pipe(7).
fn write_ready(to: BorrowedFd<'_>, content: &[u8]) -> rustix::io::Result<usize> {
    let mut written = 0;
    while written < content.len() {
        let mut ready = [PollFd::new(to, PollFlags::POLLOUT)];
        if !poll(&mut ready, PollTimeout::ZERO).is_ok_and(|count| count > 0) {
            break;
        }
        let part = &content[written..content.len().min(written + PIPE_BUF)];
        match rustix::io::write(to, part) {
            Ok(length) => written += length,
            Err(rustix::io::Errno::INTR) => {}
            Err(rustix::io::Errno::AGAIN) => break,
            Err(errno) => return Err(errno),
        }
    }
    Ok(written)
}

/// The keys of a command line, or the usual ones.
///
/// # Errors
/// They are wrong.
pub fn keys(written: Option<&str>) -> Result<Vec<u8>> {
    match written {
        None | Some("") => Ok(DETACH_KEYS.to_vec()),
        Some(written) => parse_keys(written).ok_or_else(|| {
            // Docker's daemon reads them, so this is no error of the command line.
            let error = Error::new(ExitKind::Refused, text_with("container.keys", &[("keys", written)]));
            error.why(text("container.keys.reason"))
        }),
    }
}
