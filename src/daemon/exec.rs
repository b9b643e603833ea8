//! POST /containers/NAME/exec and /exec/ID/...: a further command in a container. `sandbox exec` runs it, as a child of the
//! daemon, and the daemon copies its streams.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};

use hyper::StatusCode;
use hyper::body::Bytes;
use rustix::pty::{OpenptFlags, grantpt, openpt, unlockpt};
use rustix::termios::{OptionalActions, Winsize, tcgetattr, tcsetattr, tcsetwinsize};
use serde_json::json;
use tokio::sync::mpsc;

use super::Daemon;
use super::answer::{Answered, ApiError, empty, json_answer, ok};
use super::attach::{ClientReader, ClientWriter, detach_keys, hand_over};
use super::command::{Words, blocking, sandbox, typed, words};
use super::containers::find;
use super::frames::framed;
use super::private_file::PrivateFile;
use super::request::ApiRequest;
use super::settings::{flag, list, string, truth};
use crate::container::attach::KeyFinder;
use crate::container::events::{EventAction, EventReading};
use crate::container::id::Id;
use crate::container::record::ContainerStatus;
use crate::container::refusal;
use crate::container::store::ContainerStore;
use crate::error::{Error, io_text};
use crate::sys::session;
use crate::text::{printed, text, text_with};

/// How many commands are remembered. The oldest that has ended is forgotten first.
const MAX_EXECS: usize = 1000;

/// The size of a part of a stream.
const PART: usize = 32 << 10;

/// A command that a client has asked for.
struct Exec {
    number: u64,
    container: Id,
    /// The words of `sandbox exec`, without the variables.
    line: Words,
    variables: Vec<String>,
    /// The words of the command alone.
    command: Vec<String>,
    terminal: bool,
    stdin: bool,
    outputs: [bool; 2],
    keys: Vec<u8>,
    /// The size that the client wants the terminal to have.
    size: Winsize,
    state: ExecState,
}

/// What a command does.
enum ExecState {
    Created,
    Running {
        pid: u32,
        /// Its terminal.
        master: Option<OwnedFd>,
    },
    /// It runs without a client and without the daemon. Its end is an event.
    Detached,
    Ended(i32),
}

/// The commands, by their IDs.
#[derive(Default)]
pub(super) struct ExecTable {
    all: Mutex<BTreeMap<String, Exec>>,
}

impl ExecTable {
    /// Does something with a command.
    fn with<T>(&self, id: &str, act: impl FnOnce(&mut Exec) -> Answered<T>) -> Answered<T> {
        let none = || {
            let message = text_with("daemon.exec.none", &[("id", &printed(id))]);
            ApiError::new(StatusCode::NOT_FOUND, message)
        };
        let mut all = self.all.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        act(all.get_mut(id).ok_or_else(none)?)
    }

    /// Notes what a command does.
    fn set(&self, id: &str, state: ExecState) -> Answered<()> {
        self.with(id, |exec| {
            exec.state = state;
            Ok(())
        })
    }

    fn add(&self, id: &Id, exec: Exec) {
        let mut all = self.all.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if all.len() >= MAX_EXECS {
            let ended = all.iter().filter(|(_, exec)| !matches!(exec.state, ExecState::Running { .. }));
            if let Some(oldest) = ended.min_by_key(|(_, exec)| exec.number).map(|(id, _)| id.clone()) {
                all.remove(&oldest);
            }
        }
        all.insert(id.as_str().to_owned(), exec);
    }
}

/// Notes a command. It is not started.
pub(super) async fn create(daemon: Arc<Daemon>, mut request: ApiRequest) -> Answered {
    let body = request.json().await?;
    let container = find(request.name()).await?;
    match container.state.status {
        ContainerStatus::Running => {}
        ContainerStatus::Paused => {
            let values = [("name", container.shown_name())];
            let message = text_with("container.exec.paused", &values);
            return Err(ApiError::new(StatusCode::CONFLICT, message));
        }
        _ => return Err(refusal::not_running(&container).into()),
    }
    let command = list(&body, "Cmd")?;
    if command.is_empty() {
        return Err(ApiError::bad(text("daemon.exec.empty")));
    }
    let terminal = truth(&body, "Tty")?;
    let stdin = truth(&body, "AttachStdin")?;
    let mut line = words(&["exec"]);
    if stdin {
        line.push("--interactive".into());
    }
    if terminal {
        line.push("--tty".into());
    }
    if truth(&body, "Privileged")? {
        line.push("--privileged".into());
    }
    for (name, own) in [("User", "user"), ("WorkingDir", "workdir")] {
        line.extend(string(&body, name)?.map(|value| flag(own, value)));
    }
    let mut variables = list(&body, "Env")?;
    variables.retain(|one| one.contains('=') && !one.starts_with('='));
    let id = Id::new()?;
    line.push(flag("exec-id", id.as_str()));
    line.push(container.record.id.as_str().into());
    line.extend(command.iter().map(OsString::from));
    let exec = Exec {
        number: request.number,
        container: container.record.id.clone(),
        line,
        variables,
        command,
        terminal,
        stdin,
        outputs: [truth(&body, "AttachStdout")?, truth(&body, "AttachStderr")?],
        // docker-py writes this key so.
        keys: detach_keys(string(&body, "DetachKeys")?.or(string(&body, "detachKeys")?))?,
        size: Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 },
        state: ExecState::Created,
    };
    daemon.execs.add(&id, exec);
    Ok(json_answer(StatusCode::CREATED, &json!({ "Id": id })))
}

/// A command that was started: its process, and the daemon's ends of its streams.
struct Started {
    child: Child,
    /// Where its standard input is written to.
    input: Option<File>,
    /// Its output, each with the number of its stream.
    outputs: Vec<(u8, File)>,
}

/// Starts a command, and gives its streams to the client.
pub(super) async fn start(daemon: Arc<Daemon>, mut request: ApiRequest) -> Answered {
    let body = request.json().await?;
    let is_detached = truth(&body, "Detach")?;
    // Whether the client expects frames is what it says now, not what it has said when the command was noted.
    let is_raw = truth(&body, "Tty")?;
    let id = request.name();
    let (mut line, variables, terminal, outputs, keys) = daemon.execs.with(&id, |exec| match exec.state {
        ExecState::Created => {
            exec.state = match is_detached {
                true => ExecState::Detached,
                false => ExecState::Running { pid: 0, master: None },
            };
            let Exec { line, variables, terminal, outputs, keys, .. } = &*exec;
            Ok((line.clone(), variables.clone(), *terminal, *outputs, keys.clone()))
        }
        _ => Err(ApiError::new(StatusCode::CONFLICT, text_with("daemon.exec.again", &[("id", &id)]))),
    })?;
    if is_detached {
        line.insert(1, "--detach".into());
    }
    let mut shown = line.clone();
    shown.retain(|word| !word.as_bytes().starts_with(b"--exec-id="));
    shown.splice(1..1, variables.iter().map(|one| flag("env", one)));
    daemon.trace.command(request.number, &typed(&shown));
    let file = PrivateFile::of_variables(&variables)?;
    line.splice(1..1, file.iter().map(|file| file.flag("env-file")));
    if is_detached {
        return detached(&daemon, id, line, file).await;
    }
    // The client has the connection before the command runs. docker-py loses output that it reads together with the head.
    let (answer, client) = hand_over(request.upgrade, request.permit, is_raw, request.version);
    tokio::spawn(async move {
        let Ok((reader, mut writer)) = client.await else {
            let _ = daemon.execs.set(&id, ExecState::Created);
            return;
        };
        let (sender, parts) = mpsc::channel(8);
        let begun = blocking({
            let (daemon, id) = (daemon.clone(), id.clone());
            move || begin(&daemon, &id, &line, terminal, file, sender)
        });
        match begun.await {
            Ok(input) => {
                let finder = KeyFinder::new(if terminal { keys } else { Vec::new() });
                let shown = ExecOutput { is_raw, terminal, outputs };
                copy(reader, writer, input, parts, shown, finder).await;
            }
            Err(error) => {
                let _ = daemon.execs.set(&id, ExecState::Ended(126));
                writer.write(framed(is_raw, 2, format!("{}\r\n", error.message).as_bytes())).await;
                writer.finish().await;
            }
        }
    });
    Ok(answer)
}

/// Runs a command without a client. `sandbox exec --detach` ends when the command runs.
async fn detached(daemon: &Arc<Daemon>, id: String, line: Words, file: Option<PrivateFile>) -> Answered {
    let started = super::command::run_quietly(daemon, line, None).await;
    drop(file);
    if let Err(error) = started {
        daemon.execs.set(&id, ExecState::Ended(126))?;
        return Err(error);
    }
    Ok(empty(StatusCode::OK))
}

/// Starts a command, and a thread that reads its output. Returns where its standard input is written to.
fn begin(
    daemon: &Arc<Daemon>,
    id: &str,
    line: &Words,
    terminal: bool,
    file: Option<PrivateFile>,
    sender: mpsc::Sender<(u8, Bytes)>,
) -> Answered<Option<File>> {
    let size = daemon.execs.with(id, |exec| Ok(exec.size))?;
    let Started { mut child, input, outputs } = spawn(daemon, line, terminal.then_some(size))?;
    let master = match (&input, terminal) {
        (Some(master), true) => master.try_clone().ok().map(OwnedFd::from),
        _ => None,
    };
    daemon.execs.with(id, |exec| {
        // The size may be another one by now.
        if let Some(master) = &master {
            let _ = tcsetwinsize(master, exec.size);
        }
        exec.state = ExecState::Running { pid: child.id(), master };
        Ok(())
    })?;
    let (daemon, id) = (daemon.clone(), id.to_owned());
    // The exit status is noted before the client sees the end of its stream: it asks for it then.
    let pumped = std::thread::Builder::new().stack_size(256 << 10).spawn(move || {
        pump(outputs, &sender);
        let code = child.wait().ok().map_or(255, exit_code);
        drop(file);
        let _ = daemon.execs.set(&id, ExecState::Ended(code));
        drop(sender);
    });
    pumped.map_err(|error| ApiError::failed(io_text(&error)))?;
    Ok(input)
}

fn exit_code(status: std::process::ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt;
    status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(255)
}

/// Starts `sandbox exec`.
fn spawn(daemon: &Daemon, line: &Words, terminal: Option<Winsize>) -> Answered<Started> {
    let failed = |error: std::io::Error| {
        ApiError::from(
            Error::failed(text("daemon.command.unstarted")).call("execve(\"/proc/self/exe\")", error),
        )
    };
    let mut command = sandbox(daemon, line);
    let Some(size) = terminal else {
        let mut child = command.stdin(Stdio::piped()).spawn().map_err(failed)?;
        let file = |pipe: Option<OwnedFd>| pipe.map(File::from);
        let input = file(child.stdin.take().map(OwnedFd::from));
        let outputs =
            [(1, child.stdout.take().map(OwnedFd::from)), (2, child.stderr.take().map(OwnedFd::from))];
        let outputs = outputs.into_iter().filter_map(|(number, pipe)| Some((number, file(pipe)?))).collect();
        return Ok(Started { child, input, outputs });
    };
    let made = terminal_pair(size).map_err(|errno| failed(errno.into()))?;
    let (master, slave) = made;
    let again = |slave: &OwnedFd| slave.try_clone().map(Stdio::from).map_err(failed);
    command.stdin(again(&slave)?).stdout(again(&slave)?).stderr(again(&slave)?);
    let child = session::with_terminal(&mut command).spawn().map_err(failed)?;
    // Now only the child has it: its end is the end of the stream.
    drop(command);
    drop(slave);
    let output = File::from(master.try_clone().map_err(failed)?);
    Ok(Started { child, input: Some(File::from(master)), outputs: vec![(1, output)] })
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

/// Reads the output to its end.
fn pump(streams: Vec<(u8, File)>, sender: &mpsc::Sender<(u8, Bytes)>) {
    std::thread::scope(|scope| {
        for (number, mut stream) in streams {
            scope.spawn(move || {
                let mut buffer = vec![0; PART];
                loop {
                    match stream.read(&mut buffer) {
                        // A terminal that no process has open gives EIO.
                        Ok(0) => return,
                        Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                        Err(_) => return,
                        // Without a client, the output is read all the same: the command must not wait.
                        Ok(length) => {
                            let _ = sender.blocking_send((number, Bytes::copy_from_slice(&buffer[..length])));
                        }
                    }
                }
            });
        }
    });
}

/// How the output of a command is sent.
struct ExecOutput {
    /// Whether it has no frames.
    is_raw: bool,
    /// Whether it comes from a terminal, and so is one stream.
    terminal: bool,
    /// Which streams the client wants.
    outputs: [bool; 2],
}

/// Copies the streams between the client and the command.
async fn copy(
    reader: ClientReader,
    mut writer: ClientWriter,
    input: Option<File>,
    mut parts: mpsc::Receiver<(u8, Bytes)>,
    shown: ExecOutput,
    finder: KeyFinder,
) {
    let output = async {
        while let Some((stream, part)) = parts.recv().await {
            let is_wanted = shown.terminal || shown.outputs[usize::from(stream) - 1];
            if is_wanted && !writer.write(framed(shown.is_raw, stream, &part)).await {
                break;
            }
        }
        writer.finish().await;
    };
    let typing = send_input(reader, input, shown.terminal, finder);
    tokio::select! {
        () = output => {}
        () = typing => {}
    }
}

/// Sends input to the command. Returns when the client is detached or has left.
async fn send_input(reader: ClientReader, input: Option<File>, terminal: bool, mut finder: KeyFinder) {
    let (Some(mut reader), Some(mut input)) = (reader, input) else { return std::future::pending().await };
    // The command may not read: a thread waits for it.
    let (sender, mut typed) = mpsc::channel::<Vec<u8>>(4);
    let wrote = std::thread::Builder::new().stack_size(256 << 10).spawn(move || {
        while let Some(part) = typed.blocking_recv() {
            if input.write_all(&part).is_err() {
                return;
            }
        }
        // Here the pipe is closed, which is the end of standard input.
    });
    if wrote.is_err() {
        return;
    }
    let mut sender = Some(sender);
    let mut buffer = vec![0; PART];
    loop {
        match reader.read(&mut buffer).await {
            Ok(0) => {
                if !terminal {
                    sender = None;
                }
                reader.gone().await;
                drop(sender.take());
                return;
            }
            Ok(length) => {
                let (part, is_detached) = finder.take(&buffer[..length]);
                if let Some(sender) = &sender
                    && !part.is_empty()
                {
                    let _ = sender.send(part).await;
                }
                if is_detached {
                    return;
                }
            }
            Err(_) => return,
        }
    }
}

/// Another size of the terminal.
pub(super) async fn resize(daemon: Arc<Daemon>, request: ApiRequest) -> Answered {
    let size = |name| Answered::Ok(request.query.number::<u16>(name)?.unwrap_or_default());
    let size = Winsize { ws_row: size("h")?, ws_col: size("w")?, ws_xpixel: 0, ws_ypixel: 0 };
    daemon.execs.with(&request.name(), |exec| {
        exec.size = size;
        if let ExecState::Running { master: Some(master), .. } = &exec.state {
            let _ = tcsetwinsize(master.as_fd(), size);
        }
        Ok(())
    })?;
    Ok(empty(StatusCode::OK))
}

/// What a command does, and its exit status.
pub(super) async fn inspect(daemon: Arc<Daemon>, request: ApiRequest) -> Answered {
    let id = request.name();
    let container = daemon
        .execs
        .with(&id, |exec| Ok(matches!(exec.state, ExecState::Detached).then(|| exec.container.clone())))?;
    if let Some(container) = container {
        let own = id.clone();
        if let Some(code) = blocking(move || end_of(&container, &own)).await? {
            daemon.execs.set(&id, ExecState::Ended(code))?;
        }
    }
    let found = daemon.execs.with(&id, |exec| {
        let (is_running, code, pid) = match exec.state {
            ExecState::Created => (false, None, 0),
            ExecState::Running { pid, .. } => (true, None, pid),
            ExecState::Detached => (true, None, 0),
            ExecState::Ended(code) => (false, Some(code), 0),
        };
        let (program, arguments) =
            exec.command.split_first().map_or(("", &[][..]), |(one, rest)| (one.as_str(), rest));
        Ok(json!({
            "ID": id,
            "ContainerID": exec.container,
            "Running": is_running,
            "ExitCode": code,
            "Pid": pid,
            "OpenStdin": exec.stdin,
            "OpenStdout": exec.outputs[0],
            "OpenStderr": exec.outputs[1],
            "CanRemove": !is_running,
            "DetachKeys": "",
            "ProcessConfig": {
                "tty": exec.terminal, "entrypoint": program, "arguments": arguments, "privileged": false,
            },
        }))
    });
    ok(&found?)
}

/// The exit status of a command that runs without the daemon. None: it runs still.
fn end_of(container: &Id, id: &str) -> Answered<Option<i32>> {
    let store = ContainerStore::open()?;
    let is_over = !store.find(container.as_str()).is_ok_and(|found| found.state.status.is_active());
    let failed = |error: std::io::Error| ApiError::failed(io_text(&error));
    let mut code = None;
    if let Some(mut events) = store.events(false).map_err(failed)? {
        for reading in events.read().map_err(failed)? {
            if let EventReading::Event(event) = reading
                && event.word() == EventAction::ExecDie.word()
                && event.actor.attributes.get("execID").is_some_and(|own| own == id)
            {
                code = event.actor.attributes.get("exitCode").and_then(|code| code.parse().ok());
            }
        }
    }
    // The end of the container is its end too.
    Ok(code.or(is_over.then_some(137)))
}
