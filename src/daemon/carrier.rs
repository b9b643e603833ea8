//! The process that carries the streams of a further command between a client and `sandbox exec`: `sandbox __exec ID`. It has the
//! client's own connection, and a session of its own, so it goes on when the daemon ends.
//!
//! Its standard input is a pipe with its order, its standard output is the connection. What the client wants of the command, and
//! what became of it, are files in RUN.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use nix::unistd::setsid;
use rustix::io::{fcntl_dupfd_cloexec, ioctl_fionbio};
use rustix::pty::{OpenptFlags, grantpt, openpt, unlockpt};
use rustix::termios::{OptionalActions, Winsize, tcgetattr, tcsetattr, tcsetwinsize};
use serde::{Deserialize, Serialize};

use super::command::{Words, sandbox_of, words};
use super::private_file::PrivateFile;
use crate::container::exec_files::{ExecFile, ExecFiles, ExecState};
use crate::container::frames::framed;
use crate::container::record::RecordedProcess;
use crate::container::stream::{await_hang_up, end_connection};
use crate::error::{Error, Result};
use crate::exec;
use crate::host::home::HomePlace;
use crate::sys::session;
use crate::sys::signal::{self, SignalSet};
use crate::text::{text, text_with};
use crate::value::detach_keys::KeyFinder;

/// The size of a part of a stream.
const PART: usize = 32 << 10;

/// The size of the stack of a thread that copies.
const STACK: usize = 256 << 10;

/// The stream of standard error.
const STDERR: u8 = 2;

/// What the daemon says to the process besides the ID of the command.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct CarrierOrder {
    /// Whether the client expects output without frames.
    pub(super) is_raw: bool,
    /// What the client has sent together with its request.
    pub(super) ahead: Vec<u8>,
}

/// Sends the order.
///
/// # Errors
/// The process has ended.
pub(super) fn send(pipe: OwnedFd, order: &CarrierOrder) -> io::Result<()> {
    File::from(pipe).write_all(&serde_json::to_vec(order)?)
}

/// The end of a client's connection that is written to.
struct ClientOutput {
    connection: File,
    is_raw: bool,
    /// Whether the client has left or is detached. The output of the command is still read: it must not wait.
    has_left: bool,
}

impl ClientOutput {
    fn write(&mut self, stream: u8, content: &[u8]) {
        if !self.has_left && self.connection.write_all(&framed(self.is_raw, stream, content)).is_err() {
            self.has_left = true;
        }
    }
}

/// Carries the streams of a command until its end.
///
/// # Errors
/// The order cannot be read, or the command is not noted.
pub fn run(id: &str) -> Result<()> {
    let cannot = |call: &str, error: io::Error| Error::failed(text("daemon.carrier")).call(call, error);
    signal::forget_caller();
    let _ = setsid();
    // It was executed as /proc/self/exe, and would be listed as `exe`.
    let _ = rustix::thread::set_name(c"sandbox");
    let _ = nix::unistd::chdir("/");
    exec::close_inherited();
    let mut order = Vec::new();
    io::stdin().lock().read_to_end(&mut order).map_err(|error| cannot("read(<order>)", error))?;
    let order: CarrierOrder =
        serde_json::from_slice(&order).map_err(|error| cannot("read(<order>)", error.into()))?;
    let connection = fcntl_dupfd_cloexec(rustix::stdio::stdout(), 3)
        .map_err(|errno| cannot("fcntl(1, F_DUPFD_CLOEXEC, 3)", errno.into()))?;
    let _ = ioctl_fionbio(&connection, false);
    exec::close_streams()?;
    // A size that comes from now on is not missed.
    let resized = SignalSet::of(&[libc::SIGWINCH]);
    let _ = signal::block(resized);
    let unnoted = || Error::failed(text_with("daemon.exec.none", &[("id", id)]));
    let files = ExecFiles::find(id)?.ok_or_else(unnoted)?;
    let wanted = files.wanted().ok_or_else(unnoted)?;
    let input = File::from(connection.try_clone().map_err(|error| cannot("dup(<connection>)", error))?);
    let output = ClientOutput { connection: File::from(connection), is_raw: order.is_raw, has_left: false };
    let output = Arc::new(Mutex::new(output));
    let code = match carry(&files, &wanted, input, order.ahead, &output) {
        Ok(code) => code,
        Err(error) => {
            lock(&output).write(STDERR, format!("{error}\r\n").as_bytes());
            126
        }
    };
    // The client asks for the exit status when it sees the end of its stream. If the container has ended, the file has gone, and the
    // events have the status.
    let _ = files.write_state(ExecState::Ended(code));
    end_connection(lock(&output).connection.as_fd());
    Ok(())
}

fn lock(output: &Mutex<ClientOutput>) -> std::sync::MutexGuard<'_, ClientOutput> {
    output.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs the command. Returns its exit status.
fn carry(
    files: &ExecFiles,
    wanted: &ExecFile,
    input: File,
    ahead: Vec<u8>,
    output: &Arc<Mutex<ClientOutput>>,
) -> Result<i32> {
    let unstarted =
        |error: io::Error| Error::failed(text("daemon.command.unstarted")).call("clone(CLONE_THREAD)", error);
    let file = PrivateFile::of_variables(&wanted.variables).map_err(|error| Error::failed(error.message))?;
    let mut line = words(&wanted.line);
    line.splice(1..1, file.iter().map(|file| file.flag("env-file")));
    let mut started = spawn(&line, wanted.terminal.then_some(wanted.size))?;
    let own = RecordedProcess::of(std::process::id().cast_signed());
    if let Some(carrier) = own {
        // Without the file, the container is ending.
        let _ = files.write_state(ExecState::Running { carrier, pid: started.child.id() });
    }
    let thread = || thread::Builder::new().stack_size(STACK);
    let typed = TypedInput {
        finder: KeyFinder::new(if wanted.terminal { wanted.keys.clone() } else { Vec::new() }),
        keeps_open: wanted.terminal,
    };
    thread::scope(|scope| {
        if let Some(master) = &started.master {
            resize(files, master);
            let again = master.try_clone().map_err(unstarted)?;
            let own = files.again();
            thread()
                .spawn(move || {
                    let resized = SignalSet::of(&[libc::SIGWINCH]);
                    while let (Ok(_), Some(files)) = (signal::wait_for(resized), &own) {
                        resize(files, &again);
                    }
                })
                .map_err(unstarted)?;
        }
        let (to, shown) = (started.input.take(), output.clone());
        thread().spawn(move || typed.copy(input, ahead, to, &shown)).map_err(unstarted)?;
        for (number, stream) in started.outputs.drain(..) {
            let is_wanted = wanted.terminal || wanted.outputs[usize::from(number) - 1];
            thread()
                .spawn_scoped(scope, move || copy_output(number, stream, is_wanted, output))
                .map_err(unstarted)?;
        }
        Ok::<(), Error>(())
    })?;
    let status = started.child.wait();
    drop(file);
    Ok(status.map_or(255, exit_code))
}

fn exit_code(status: std::process::ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt;
    status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(255)
}

/// Gives the terminal the size that the client wants.
fn resize(files: &ExecFiles, master: &OwnedFd) {
    if let Some(wanted) = files.wanted() {
        let _ = tcsetwinsize(master, window(wanted.size));
    }
}

fn window((rows, columns): (u16, u16)) -> Winsize {
    Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }
}

/// A command that was started: its process, and this process's ends of its streams.
struct Started {
    child: Child,
    /// Its terminal.
    master: Option<OwnedFd>,
    /// Where its standard input is written to.
    input: Option<File>,
    /// Its output, each with the number of its stream.
    outputs: Vec<(u8, File)>,
}

/// Starts `sandbox exec`.
fn spawn(line: &Words, terminal: Option<(u16, u16)>) -> Result<Started> {
    let failed = |error: io::Error| {
        Error::failed(text("daemon.command.unstarted")).call("execve(\"/proc/self/exe\")", error)
    };
    let home = HomePlace::find();
    let home = home.instead_of.map_or(home.path, |(asked, _)| asked);
    let mut command = sandbox_of(&home, line);
    let Some(size) = terminal else {
        let mut child = command.stdin(Stdio::piped()).spawn().map_err(failed)?;
        let file = |pipe: Option<OwnedFd>| pipe.map(File::from);
        let input = file(child.stdin.take().map(OwnedFd::from));
        let outputs =
            [(1, child.stdout.take().map(OwnedFd::from)), (2, child.stderr.take().map(OwnedFd::from))];
        let outputs = outputs.into_iter().filter_map(|(number, pipe)| Some((number, file(pipe)?))).collect();
        return Ok(Started { child, master: None, input, outputs });
    };
    let (master, slave) = terminal_pair(window(size)).map_err(|errno| failed(errno.into()))?;
    let again = |slave: &OwnedFd| slave.try_clone().map(Stdio::from).map_err(failed);
    command.stdin(again(&slave)?).stdout(again(&slave)?).stderr(again(&slave)?);
    let child = session::with_terminal(&mut command).spawn().map_err(failed)?;
    // Now only the child has it: its end is the end of the stream.
    drop(command);
    drop(slave);
    let copy = || master.try_clone().map(File::from).map_err(failed);
    Ok(Started { child, input: Some(copy()?), outputs: vec![(1, copy()?)], master: Some(master) })
}

/// A terminal for `sandbox exec`. It is raw from the beginning, so that what is typed early is neither changed nor shown twice.
fn terminal_pair(size: Winsize) -> rustix::io::Result<(OwnedFd, OwnedFd)> {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    grantpt(&master)?;
    unlockpt(&master)?;
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let slave = rustix::pty::ioctl_tiocgptpeer(&master, flags)?;
    let mut modes = tcgetattr(&slave)?;
    modes.make_raw();
    tcsetattr(&slave, OptionalActions::Now, &modes)?;
    tcsetwinsize(&slave, size)?;
    Ok((master, slave))
}

/// Copies a stream of output to the client.
fn copy_output(number: u8, mut stream: File, is_wanted: bool, output: &Mutex<ClientOutput>) {
    let mut buffer = vec![0; PART];
    loop {
        match stream.read(&mut buffer) {
            // A terminal that no process has open gives EIO.
            Ok(0) => return,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return,
            Ok(length) if is_wanted => lock(output).write(number, &buffer[..length]),
            Ok(_) => {}
        }
    }
}

/// How the input of a client is read.
struct TypedInput {
    finder: KeyFinder,
    /// Whether the end of the client's input is none for the command: a terminal has no end.
    keeps_open: bool,
}

impl TypedInput {
    /// Copies input to the command, until the client is detached or has left. Then the command gets the end of its input.
    fn copy(mut self, mut client: File, ahead: Vec<u8>, to: Option<File>, output: &Mutex<ClientOutput>) {
        let mut to = to;
        let mut buffer = vec![0; PART];
        let mut next = Some(ahead).filter(|ahead| !ahead.is_empty());
        loop {
            let part = match next.take() {
                Some(ahead) => ahead,
                None => match client.read(&mut buffer) {
                    Ok(0) => break,
                    Ok(length) => buffer[..length].to_vec(),
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    Err(_) => return,
                },
            };
            let (typed, is_detached) = self.finder.take(&part);
            if let Some(file) = &mut to
                && file.write_all(&typed).is_err()
            {
                to = None;
            }
            if is_detached {
                // The output may wait for the client, and has the lock then: this ends that too.
                end_connection(client.as_fd());
                lock(output).has_left = true;
                return;
            }
        }
        if !self.keeps_open {
            to = None;
        }
        // The client still gets the output. When it has gone, what the command reads has ended.
        await_hang_up(client.as_fd());
        drop(to);
    }
}
