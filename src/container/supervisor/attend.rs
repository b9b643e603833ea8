//! What a supervisor does while the command runs: it reads the output, gives it to the log and to the clients, carries
//! standard input to the command, and answers requests.

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout};
use nix::unistd::Pid;
use rustix::io::{Errno, ioctl_fionbio, ioctl_fionread, read, write};
use rustix::termios::{Winsize, tcgetpgrp, tcsetwinsize};

use super::super::control::{ConnectedClient, Control};
use super::super::freezer::Freezer;
use super::super::log::OutputStream;
use super::super::log::write::LogWriter;
use super::super::message::{ClientMessage, Packet, SentError, SupervisorMessage};
use super::super::record::ContainerRecord;
use super::super::restart::RestartWhen;
use crate::error::{Error, ExitKind, Result};
use crate::exec::{self, Attendant, Container};
use crate::host::storage;
use crate::sys::signal;
use crate::text::{printed, text};

/// The size of the buffer for one read: that of a pipe.
const CHUNK: usize = 64 << 10;

/// How many chunks of a stream are read before the clients are served again.
const CHUNKS: usize = 16;

/// How many bytes of standard input are kept. Then the client that sends them waits.
const MAX_INPUT: usize = 64 << 10;

/// How long a line that has no end yet waits for it, until it is written to the log: it may be a prompt.
const LINE: Duration = Duration::from_millis(200);

/// The interval at which a terminal is read again that no process has open. A process can open it again.
const TERMINAL: Duration = Duration::from_millis(100);

/// A stream of the command's output.
struct Output {
    stream: OutputStream,
    /// None: it has ended.
    descriptor: Option<OwnedFd>,
    is_terminal: bool,
    /// A terminal that no process has open: when it is read again.
    again: Option<Instant>,
    /// Once the command has ended: how many bytes are still to be read. A process that it has left may write more.
    left: Option<usize>,
}

/// A request to stop the command.
#[derive(Default)]
struct Stopping {
    /// When the command gets SIGKILL.
    kill_at: Option<Instant>,
}

/// The command and the clients of a container that runs.
pub(super) struct Attended<'a> {
    control: &'a mut Control,
    log: LogWriter,
    outputs: Vec<Output>,
    /// Standard input of the command. None: it has none, or its end was sent.
    input: Option<OwnedFd>,
    /// What is not written to it yet.
    unwritten: Vec<u8>,
    /// Whether its end follows.
    input_ends: bool,
    /// Whether a client sends standard input.
    had_stdin: bool,
    /// Whether it stays open when that client leaves.
    stdin_stays: bool,
    pidfd: Option<OwnedFd>,
    pid: i32,
    /// Whether the command is process 1 of its PID namespace.
    is_pid_one: bool,
    has_terminal: bool,
    stop_signal: i32,
    /// Whether every signal of a client counts as a request to end, as in Docker: the container has no stop signal of its own, or
    /// its restart policy is `unless-stopped`.
    any_stops: bool,
    stop_timeout: u64,
    stopping: Option<Stopping>,
    /// Whether a client has asked for the end, by `stop` or by a signal.
    is_stopped: bool,
    /// When a line without an end is written.
    line_at: Option<Instant>,
    buffer: Vec<u8>,
    has_ended: bool,
    /// Whether its processes are frozen.
    is_paused: bool,
    /// Writes what has happened to the state of the container and to the events.
    note: &'a dyn Fn(Noted) -> Result<()>,
}

/// What clients have done to a container that runs.
pub(super) enum Noted {
    /// They have frozen it, or thawed it.
    Paused(bool),
    /// They have given its terminal another size.
    Resized { rows: u16, columns: u16 },
    /// They have sent this signal.
    Signalled(i32),
    /// One of them shows its output.
    Attached,
    /// One of them was detached by its keys.
    Detached,
}

/// What is left after the end of the command.
pub(super) struct AttendedEnd {
    /// Whether a client has ended the command.
    pub(super) is_stopped: bool,
    /// How many bytes of output are in no log.
    pub(super) dropped: u64,
}

impl<'a> Attended<'a> {
    pub(super) fn new(
        control: &'a mut Control,
        record: &ContainerRecord,
        log: LogWriter,
        container: &mut Container,
        note: &'a dyn Fn(Noted) -> Result<()>,
    ) -> Attended<'a> {
        let mut outputs = Vec::new();
        let mut input = None;
        let mut output = |stream, descriptor: OwnedFd, is_terminal| {
            // No other process has this end.
            set_nonblocking(&descriptor);
            outputs.push(Output {
                stream,
                descriptor: Some(descriptor),
                is_terminal,
                again: None,
                left: None,
            });
        };
        let mut has_terminal = false;
        if let Some(master) = container.take_terminal() {
            has_terminal = true;
            input = master.try_clone().ok();
            output(OutputStream::Stdout, master, true);
        } else if let Some(pipes) = container.take_pipes() {
            if let Some(stdin) = &pipes.stdin {
                set_nonblocking(stdin);
            }
            input = pipes.stdin;
            output(OutputStream::Stdout, pipes.stdout, false);
            output(OutputStream::Stderr, pipes.stderr, false);
        }
        Attended {
            control,
            log,
            outputs,
            input,
            unwritten: Vec::new(),
            input_ends: false,
            had_stdin: false,
            stdin_stays: record.stdin_stays,
            pidfd: container.pidfd().and_then(|pidfd| pidfd.try_clone_to_owned().ok()),
            pid: container.command().as_raw(),
            is_pid_one: container.is_pid_one(),
            has_terminal,
            stop_signal: record.stop_signal,
            any_stops: !record.has_stop_signal || record.restart.name == RestartWhen::UnlessStopped,
            stop_timeout: record.stop_timeout,
            stopping: None,
            is_stopped: false,
            line_at: None,
            buffer: vec![0; CHUNK],
            has_ended: false,
            is_paused: false,
            note,
        }
    }

    pub(super) fn end(self) -> AttendedEnd {
        AttendedEnd { is_stopped: self.is_stopped, dropped: self.log.dropped }
    }

    fn takes_input(&self) -> bool {
        self.unwritten.len() < MAX_INPUT
    }

    /// Answers the clients.
    fn serve(&mut self) {
        let takes_input = self.takes_input();
        let Attended {
            control, outputs, input, unwritten, input_ends, pidfd, pid, stopping, is_stopped, ..
        } = self;
        let (has_terminal, stop_signal, stop_timeout, any_stops) =
            (self.has_terminal, self.stop_signal, self.stop_timeout, self.any_stops);
        let (stdin_stays, had_stdin) = (self.stdin_stays, self.had_stdin);
        let pidfd = pidfd.as_ref();
        let (is_paused, note) = (&mut self.is_paused, self.note);
        let is_pid_one = self.is_pid_one;
        let is_dropped = |number| is_pid_one && exec::is_unhandled(Pid::from_raw(*pid), number);
        let send_signal = |number| match pidfd {
            Some(pidfd) => signal::send(pidfd.as_fd(), number),
            None => Ok(()),
        };
        control.receive(takes_input, |client, packet| match packet {
            Packet::Data(_, _) if !client.has_stdin => {}
            // As in Docker: without StdinOnce, the end of a client's input is the end of this client alone.
            Packet::Data(_, []) if stdin_stays && client.ends_by_input() => {}
            // A terminal has no end: another client can type into it later.
            Packet::Data(_, []) => *input_ends |= !stdin_stays && !has_terminal,
            Packet::Data(_, data) if input.is_some() && !*input_ends => {
                if let Some(master) = input.as_ref().filter(|_| has_terminal && client.explains) {
                    let is_for_command = || tcgetpgrp(master).is_ok_and(|group| group.as_raw_pid() == *pid);
                    for signal in exec::typed_signals(master, data) {
                        if is_dropped(signal) && is_for_command() {
                            client.send(&SupervisorMessage::Dropped { signal });
                        }
                    }
                }
                unwritten.extend_from_slice(data);
            }
            // The command does not read: as if it were /dev/null.
            Packet::Data(..) => {}
            Packet::Message(ClientMessage::Start) => {
                client.send(&SupervisorMessage::Started { pid: *pid, notes: Vec::new() })
            }
            Packet::Message(message @ (ClientMessage::Attach { .. } | ClientMessage::Wait)) => {
                if message != ClientMessage::Wait {
                    let _ = note(Noted::Attached);
                }
                handle_before(client, Packet::Message(message), has_terminal);
                client.command_runs();
            }
            Packet::Message(ClientMessage::WaitOver { head }) => client.await_end_over(head),
            Packet::Message(ClientMessage::Detach) => drop(note(Noted::Detached)),
            Packet::Message(ClientMessage::Explain) => client.explains = true,
            Packet::Message(ClientMessage::Connection { .. } | ClientMessage::Remove) => {}
            Packet::Message(ClientMessage::Kill { signal }) => match send_signal(signal) {
                Ok(()) if client.explains && signal != libc::SIGKILL && is_dropped(signal) => {
                    client.send(&SupervisorMessage::Dropped { signal });
                }
                Ok(()) => {
                    let _ = note(Noted::Signalled(signal));
                    let ends = signal == libc::SIGKILL || signal == stop_signal;
                    *is_stopped |= ends || any_stops;
                    // A frozen process would take the signal only when it is thawed.
                    if ends && *is_paused {
                        let _ = set_paused(*pid, false, is_paused, note);
                    }
                    client.send(&SupervisorMessage::Done);
                }
                Err(errno) => {
                    let error = Error::failed(text("container.kill.cannot"));
                    let error = error.call(format!("pidfd_send_signal(<container>, {signal})"), errno);
                    client.send(&SupervisorMessage::Refused(SentError::from(error)));
                }
            },
            Packet::Message(ClientMessage::Stop { signal, timeout, keeps }) => {
                (client.awaited.stop, client.awaited.keeps, *is_stopped) = (true, keeps, true);
                client.awaited.removes = (signal, timeout) == (Some(libc::SIGKILL), Some(0));
                let signal = signal.unwrap_or(stop_signal);
                let _ = send_signal(signal);
                let _ = note(Noted::Signalled(signal));
                if *is_paused {
                    let _ = set_paused(*pid, false, is_paused, note);
                }
                let seconds = match timeout {
                    Some(timeout) => u64::try_from(timeout).ok(),
                    None => Some(stop_timeout),
                };
                // SIGKILL needs no second one.
                let seconds = seconds.filter(|_| signal != libc::SIGKILL);
                let kill_at =
                    seconds.and_then(|seconds| Instant::now().checked_add(Duration::from_secs(seconds)));
                let stopping = stopping.get_or_insert_default();
                stopping.kill_at = [stopping.kill_at, kill_at].into_iter().flatten().min();
            }
            Packet::Message(ref message @ (ClientMessage::Pause | ClientMessage::Unpause)) => {
                let pauses = *message == ClientMessage::Pause;
                client.send(&match set_paused(*pid, pauses, is_paused, note) {
                    Ok(()) => SupervisorMessage::Done,
                    Err(error) => SupervisorMessage::Refused(SentError::from(error)),
                });
            }
            Packet::Message(ClientMessage::Resize { rows, columns }) => {
                let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
                let terminals = outputs.iter().filter(|output| output.is_terminal);
                for master in terminals.filter_map(|output| output.descriptor.as_ref()) {
                    let _ = tcsetwinsize(master, size);
                    let _ = note(Noted::Resized { rows, columns });
                }
            }
        });
        // The last client with standard input has left, without its end.
        let has_stdin = control.clients.iter().any(|client| client.has_stdin);
        *input_ends |= had_stdin && !has_stdin && !stdin_stays && !has_terminal;
        self.had_stdin = has_stdin;
    }

    /// Reads what the command has printed.
    fn read_output(&mut self, has_ended: bool) {
        // After the end, what is left fits into a pipe, and is read without waiting for the front.
        if !has_ended && !self.control.has_room() {
            return;
        }
        let mut has_read = false;
        for output in &mut self.outputs {
            if output.again.is_some_and(|again| again > Instant::now()) && !has_ended {
                continue;
            }
            output.again = None;
            for _ in 0..CHUNKS {
                let Some(descriptor) = &output.descriptor else { break };
                if has_ended && output.left.is_none() {
                    let left = ioctl_fionread(descriptor).ok().and_then(|left| usize::try_from(left).ok());
                    // A terminal tells only what is in its own buffer, so it is read until it is empty.
                    output.left = Some(left.filter(|_| !output.is_terminal).unwrap_or(usize::MAX));
                }
                let most = output.left.map_or(CHUNK, |left| left.min(CHUNK));
                let length = match most {
                    0 => Ok(0),
                    most => read(descriptor, &mut self.buffer[..most]),
                };
                match length {
                    Ok(length @ 1..) => {
                        let content = &self.buffer[..length];
                        self.log.write(output.stream, content);
                        self.control.broadcast(output.stream.number(), content);
                        output.left = output.left.map(|left| left - length);
                        has_read = true;
                    }
                    Err(Errno::INTR) => {}
                    Err(Errno::AGAIN) if !has_ended => break,
                    // EIO: no process has the terminal open.
                    Ok(0) | Err(_) if output.is_terminal && !has_ended => {
                        output.again = Some(Instant::now() + TERMINAL);
                        break;
                    }
                    Ok(_) | Err(_) => output.descriptor = None,
                }
                if !self.control.has_room() && !has_ended {
                    break;
                }
            }
        }
        if has_read {
            self.line_at = self.log.has_pending().then(|| Instant::now() + LINE);
        }
    }

    /// Writes what clients have sent to the standard input of the command.
    fn write_input(&mut self) {
        let Some(input) = &self.input else {
            self.unwritten.clear();
            return;
        };
        while !self.unwritten.is_empty() {
            match write(input, &self.unwritten) {
                Ok(length) => drop(self.unwritten.drain(..length)),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return,
                // Nobody reads it any more.
                Err(_) => {
                    self.input = None;
                    return self.unwritten.clear();
                }
            }
        }
        if self.input_ends {
            self.input = None;
        }
    }

    /// The times at which something is due.
    fn due(&self) -> impl Iterator<Item = Instant> {
        let again = self.outputs.iter().filter_map(|output| output.again);
        let kill_at = self.stopping.as_ref().and_then(|stopping| stopping.kill_at);
        again.chain(kill_at).chain(self.line_at)
    }
}

impl Attendant for Attended<'_> {
    fn act(&mut self, has_ended: bool) -> bool {
        self.has_ended = has_ended;
        self.serve();
        self.read_output(has_ended);
        self.write_input();
        let is_due = |at: Option<Instant>| at.is_some_and(|at| at <= Instant::now());
        let stopping = self.stopping.as_mut();
        if stopping.as_ref().is_some_and(|stopping| is_due(stopping.kill_at)) {
            stopping.into_iter().for_each(|stopping| stopping.kill_at = None);
            let sent = self.pidfd.as_ref().map(|pidfd| signal::send(pidfd.as_fd(), libc::SIGKILL));
            if !has_ended && sent.is_some_and(|sent| sent.is_ok()) {
                let _ = (self.note)(Noted::Signalled(libc::SIGKILL));
            }
        }
        let is_done = has_ended && self.outputs.iter().all(|output| output.descriptor.is_none());
        if is_done || is_due(self.line_at) {
            self.line_at = None;
            self.log.write_pending();
        }
        self.control.flush();
        is_done
    }

    fn poll_set(&self) -> Vec<PollFd<'_>> {
        let mut set = self.control.poll_set(self.takes_input());
        if self.has_ended || self.control.has_room() {
            let open = self.outputs.iter().filter(|output| output.again.is_none());
            let readable = open.filter_map(|output| output.descriptor.as_ref());
            set.extend(readable.map(|descriptor| PollFd::new(descriptor.as_fd(), PollFlags::POLLIN)));
        }
        let writable = self.input.as_ref().filter(|_| !self.unwritten.is_empty());
        set.extend(writable.map(|input| PollFd::new(input.as_fd(), PollFlags::POLLOUT)));
        set
    }

    fn timeout(&self) -> PollTimeout {
        let Some(next) = self.due().min() else { return PollTimeout::NONE };
        let left = next.saturating_duration_since(Instant::now()) + Duration::from_millis(1);
        PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
    }
}

/// Makes a descriptor non-blocking. The supervisor must never wait for one stream, so there are two ways.
fn set_nonblocking(descriptor: &OwnedFd) {
    if ioctl_fionbio(descriptor, true).is_err() {
        let _ = rustix::fs::fcntl_setfl(descriptor, rustix::fs::OFlags::NONBLOCK);
    }
}

/// Answers a client before the command runs: it can attach, and wait.
pub(super) fn handle_before(client: &mut ConnectedClient, packet: Packet<'_, ClientMessage>, terminal: bool) {
    match packet {
        Packet::Message(ClientMessage::Start) => client.awaited.start = true,
        Packet::Message(ClientMessage::Wait) => client.awaited.end = true,
        Packet::Message(ClientMessage::WaitOver { head }) => client.await_end_over(head),
        Packet::Message(ClientMessage::Attach { stdin, front, stream }) => {
            (client.is_attached, client.was_attached) = (true, true);
            (client.has_stdin, client.is_front) = (stdin, front);
            match stream {
                Some(form) => client.await_connection(form, terminal),
                None => client.send(&SupervisorMessage::Attached { terminal, awaits_connection: false }),
            }
        }
        Packet::Message(ClientMessage::Explain) => client.explains = true,
        Packet::Message(ClientMessage::Stop { .. }) => client.send(&SupervisorMessage::Done),
        Packet::Message(ClientMessage::Kill { .. } | ClientMessage::Pause | ClientMessage::Unpause) => {
            let error = Error::failed(text("container.kill.notrunning"));
            client.send(&SupervisorMessage::Refused(SentError::from(error)));
        }
        // A connection is taken where the packets are read.
        Packet::Message(
            ClientMessage::Detach
            | ClientMessage::Remove
            | ClientMessage::Resize { .. }
            | ClientMessage::Connection { .. },
        )
        | Packet::Data(..) => {}
    }
}

/// Freezes or thaws the processes of a container, and writes that to its state. If that cannot be written, they run.
fn set_paused(
    pid: i32,
    pauses: bool,
    is_paused: &mut bool,
    note: &dyn Fn(Noted) -> Result<()>,
) -> Result<()> {
    if *is_paused == pauses {
        let key = if pauses { "container.pause.already" } else { "container.unpause.not" };
        return Err(Error::new(ExitKind::Refused, text(key)));
    }
    let freezer = Freezer::of(pid, std::process::id().cast_signed());
    let freezer = freezer.ok_or_else(|| Error::new(ExitKind::Refused, text("container.pause.nocgroup")))?;
    let set = |frozen| {
        freezer.set(frozen).map_err(|error| {
            let (file, value) = (freezer.file(), freezer.value(frozen));
            let number = error.raw_os_error().unwrap_or_default();
            let key = if frozen { "container.pause.cannot" } else { "container.unpause.cannot" };
            let error =
                Error::failed(text(key)).call(format!("write(<{}>, {value:?})", printed(&file)), error);
            // The kernel waits for a process that cannot be interrupted. Any other errno is that of the file.
            match number {
                libc::ETIMEDOUT if frozen => error.why(text("container.pause.cannot.reason")),
                libc::ETIMEDOUT => error,
                _ => storage::explain(error, nix::errno::Errno::from_raw(number), &file),
            }
        })
    };
    set(pauses)?;
    *is_paused = pauses;
    note(Noted::Paused(pauses)).inspect_err(|_| {
        if pauses && set(false).is_ok() {
            *is_paused = false;
        }
    })
}
