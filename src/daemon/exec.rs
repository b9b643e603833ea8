//! POST /containers/NAME/exec and /exec/ID/...: a further command in a container. What the client wants is a file in RUN. When the
//! client starts the command, a process of its own gets its connection (`carrier`), and runs `sandbox exec`.

use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::Arc;

use hyper::StatusCode;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde_json::{Value, json};

use super::Daemon;
use super::answer::{Answered, ApiError, empty, json_answer, ok};
use super::attach::detach_keys;
use super::carrier::{self, CarrierOrder};
use super::command::{Words, blocking, run_quietly, typed, words};
use super::connection::{HandedConnection, take_over};
use super::containers::find;
use super::private_file::PrivateFile;
use super::request::{ApiRequest, ApiVersion};
use super::settings::{flag, list, string, truth, wrong};
use crate::container::client;
use crate::container::exec_files::{ExecFile, ExecFiles, ExecState, event_of};
use crate::container::id::Id;
use crate::container::record::{ContainerStatus, RecordedProcess};
use crate::container::refusal;
use crate::container::store::KeptContainer;
use crate::error::{Error, io_text};
use crate::sys::signal::restore_before;
use crate::text::{printed, text, text_with};

/// The exit status of a command whose carrier was killed.
const LOST: i32 = 255;

fn none(id: &str) -> ApiError {
    let message = text_with("daemon.exec.none", &[("id", &printed(id))]);
    ApiError::new(StatusCode::NOT_FOUND, message)
}

/// The files of a command, and what the client wants.
async fn files_of(id: String) -> Answered<(ExecFiles, ExecFile)> {
    blocking(move || {
        let files = ExecFiles::find(&id)?.ok_or_else(|| none(&id))?;
        let wanted = files.wanted().ok_or_else(|| none(&id))?;
        Ok((files, wanted))
    })
    .await
}

/// The size of the client's terminal: lines and columns. None: it is not given. Before version 1.42, the key had no meaning.
fn console_size(body: &Value, version: ApiVersion) -> Answered<Option<(u16, u16)>> {
    if version < ApiVersion(1, 42) {
        return Ok(None);
    }
    let wrong = || wrong("ConsoleSize");
    let side = |value: &Value| value.as_u64().and_then(|side| u16::try_from(side).ok()).ok_or_else(wrong);
    match &body["ConsoleSize"] {
        Value::Null => Ok(None),
        Value::Array(sides) if sides.len() == 2 => {
            Ok(Some((side(&sides[0])?, side(&sides[1])?)).filter(|size| *size != (0, 0)))
        }
        _ => Err(wrong()),
    }
}

/// Refuses a further command in a container that does not run.
fn takes_commands(container: &KeptContainer) -> Answered<()> {
    match container.state.status {
        ContainerStatus::Running => Ok(()),
        ContainerStatus::Paused => {
            let values = [("name", container.shown_name())];
            Err(ApiError::new(StatusCode::CONFLICT, text_with("container.exec.paused", &values)))
        }
        ContainerStatus::Restarting => Err(refusal::restarting(container).into()),
        _ => Err(refusal::not_running(container).into()),
    }
}

/// Notes a command. It is not started.
pub(super) async fn create(_: Arc<Daemon>, mut request: ApiRequest) -> Answered {
    let body = request.json().await?;
    let container = find(request.name()).await?;
    takes_commands(&container)?;
    let command = list(&body, "Cmd")?;
    if command.is_empty() {
        return Err(ApiError::bad(text("daemon.exec.empty")));
    }
    let terminal = truth(&body, "Tty")?;
    let stdin = truth(&body, "AttachStdin")?;
    let mut line = vec!["exec".to_owned()];
    let mut flags =
        vec![("interactive", stdin), ("tty", terminal), ("privileged", truth(&body, "Privileged")?)];
    flags.retain(|(_, is_set)| *is_set);
    line.extend(flags.iter().map(|(name, _)| format!("--{name}")));
    for (name, own) in [("User", "user"), ("WorkingDir", "workdir")] {
        line.extend(string(&body, name)?.map(|value| format!("--{own}={value}")));
    }
    let mut variables = list(&body, "Env")?;
    variables.retain(|one| one.contains('=') && !one.starts_with('='));
    let id = Id::new()?;
    line.push(format!("--exec-id={}", id.as_str()));
    line.push(container.record.id.as_str().to_owned());
    line.extend(command.iter().cloned());
    let wanted = ExecFile {
        container: container.record.id.clone(),
        line,
        variables,
        command,
        terminal,
        stdin,
        outputs: [truth(&body, "AttachStdout")?, truth(&body, "AttachStderr")?],
        keys: detach_keys(string(&body, "DetachKeys")?)?,
        size: console_size(&body, request.version)?.unwrap_or((24, 80)),
    };
    let noted = id.clone();
    blocking(move || Ok(ExecFiles::create(noted, &wanted)?)).await?;
    Ok(json_answer(StatusCode::CREATED, &json!({ "Id": id })))
}

/// Starts a command, and gives the connection of the client to it.
pub(super) async fn start(daemon: Arc<Daemon>, mut request: ApiRequest) -> Answered {
    let body = request.json().await?;
    let is_detached = truth(&body, "Detach")?;
    // Whether the client expects frames is what it says now, not what it has said when the command was noted.
    let is_raw = truth(&body, "Tty")?;
    let size = console_size(&body, request.version)?;
    let id = request.name();
    let (files, mut wanted) = files_of(id.clone()).await?;
    // It may have ended since the command was noted.
    takes_commands(&find(wanted.container.as_str().to_owned()).await?)?;
    wanted.size = size.unwrap_or(wanted.size);
    let own = RecordedProcess::of(std::process::id().cast_signed());
    let own = own.ok_or_else(|| ApiError::failed(text("daemon.panic")))?;
    let state = if is_detached { ExecState::Detached } else { ExecState::Running { carrier: own, pid: 0 } };
    let (files, wanted, is_first) = blocking(move || {
        let is_first = files.claim(state)?;
        // The carrier reads it.
        if is_first && size.is_some() {
            files.write_wanted(&wanted).inspect_err(|_| files.release())?;
        }
        Ok((files, wanted, is_first))
    })
    .await?;
    if !is_first {
        return Err(ApiError::new(StatusCode::CONFLICT, text_with("daemon.exec.again", &[("id", &id)])));
    }
    let mut line = words(&wanted.line);
    if is_detached {
        line.insert(1, "--detach".into());
    }
    let mut shown = line.clone();
    shown.retain(|word| !word.as_encoded_bytes().starts_with(b"--exec-id="));
    shown.splice(1..1, wanted.variables.iter().map(|one| flag("env", one)));
    daemon.trace.command(request.number, &typed(&shown));
    if is_detached {
        return detached(&daemon, &files, line, &wanted.variables).await;
    }
    // The client has the connection before the command runs. docker-py loses output that it reads together with the head.
    let (answer, connection) =
        take_over(request.upgrade, request.permit, is_raw, request.version, request.stream);
    tokio::spawn(async move {
        let Ok(connection) = connection.await else { return files.release() };
        let Ok(handed) = connection.hand_over() else { return files.release() };
        let started = blocking(move || {
            let started = carry(&daemon, &id, is_raw, handed);
            if started.is_err() {
                let _ = files.write_state(ExecState::Ended(126));
            }
            started
        });
        let _ = started.await;
    });
    Ok(answer)
}

/// Starts the process that carries the streams of a command. Its standard output is the connection of the client.
fn carry(daemon: &Daemon, id: &str, is_raw: bool, handed: HandedConnection) -> Answered<()> {
    let HandedConnection { descriptor, ahead } = handed;
    let failed = |error: std::io::Error| {
        ApiError::from(
            Error::failed(text("daemon.command.unstarted")).call("execve(\"/proc/self/exe\")", error),
        )
    };
    let mut command = Command::new("/proc/self/exe");
    command.arg0("sandbox").args(["--lang", "en", "--color", "never", "--home"]).arg(&daemon.home);
    command.args(["__exec", id]).env_remove("COLUMNS");
    command.stdin(Stdio::piped()).stdout(Stdio::from(descriptor)).stderr(Stdio::null());
    restore_before(&mut command);
    let mut child = command.spawn().map_err(failed)?;
    // The command has the other copy of the connection.
    drop(command);
    let order =
        child.stdin.take().map(|pipe| carrier::send(OwnedFd::from(pipe), &CarrierOrder { is_raw, ahead }));
    client::reap_later(child);
    match order {
        Some(Err(error)) => Err(ApiError::failed(io_text(&error))),
        _ => Ok(()),
    }
}

/// Runs a command without a client. `sandbox exec --detach` ends when the command runs.
async fn detached(daemon: &Daemon, files: &ExecFiles, mut line: Words, variables: &[String]) -> Answered {
    let file = PrivateFile::of_variables(variables)?;
    line.splice(1..1, file.iter().map(|file| file.flag("env-file")));
    let started = run_quietly(daemon, line, None).await;
    drop(file);
    if let Err(error) = started {
        files.write_state(ExecState::Ended(126))?;
        return Err(error);
    }
    Ok(empty(StatusCode::OK))
}

/// Another size of the terminal. The carrier reads it at its start, and at SIGWINCH.
pub(super) async fn resize(_: Arc<Daemon>, request: ApiRequest) -> Answered {
    let size = |name| Answered::Ok(request.query.number::<u16>(name)?.unwrap_or_default());
    let size = (size("h")?, size("w")?);
    let (files, wanted) = files_of(request.name()).await?;
    blocking(move || {
        files.write_wanted(&ExecFile { size, ..wanted })?;
        if let Some(ExecState::Running { carrier, pid: 1.. }) = files.state() {
            let process = Pid::from_raw(carrier.pid).map(|pid| pidfd_open(pid, PidfdFlags::empty()));
            // Looked at when the process is held: its PID is not another's then.
            if let Some(Ok(process)) = process
                && carrier.lives()
            {
                let _ = pidfd_send_signal(&process, Signal::WINCH);
            }
        }
        Ok(())
    })
    .await?;
    Ok(empty(StatusCode::OK))
}

/// What a command does, and its exit status.
pub(super) async fn inspect(_: Arc<Daemon>, request: ApiRequest) -> Answered {
    let id = request.name();
    blocking(move || {
        let noted = ExecFiles::find(&id)?.and_then(|files| Some((files.wanted()?, files.state())));
        let event = |id: &str| Answered::Ok(event_of(id)?);
        let Some((wanted, state)) = noted else {
            // Its files have gone with the container.
            let event = event(&id)?.filter(|event| event.code.is_some()).ok_or_else(|| none(&id))?;
            let (program, arguments) = event.command.split_once(' ').unwrap_or((&event.command, ""));
            let arguments: Vec<&str> = arguments.split(' ').filter(|word| !word.is_empty()).collect();
            return ok(&json!({
                "ID": id, "ContainerID": event.container, "Running": false, "ExitCode": event.code, "Pid": 0,
                "OpenStdin": false, "OpenStdout": false, "OpenStderr": false, "CanRemove": true, "DetachKeys": "",
                "ProcessConfig": { "tty": false, "entrypoint": program, "arguments": arguments, "privileged": false },
            }));
        };
        let (is_running, code, pid) = match state {
            None => (false, None, 0),
            Some(ExecState::Ended(code)) => (false, Some(code), 0),
            Some(ExecState::Running { carrier, pid }) if carrier.lives() => (true, None, pid),
            Some(ExecState::Running { .. }) => {
                (false, Some(event(&id)?.and_then(|event| event.code).unwrap_or(LOST)), 0)
            }
            Some(ExecState::Detached) => match event(&id)?.and_then(|event| event.code) {
                Some(code) => (false, Some(code), 0),
                None => (true, None, 0),
            },
        };
        let (program, arguments) =
            wanted.command.split_first().map_or(("", &[][..]), |(one, rest)| (one.as_str(), rest));
        ok(&json!({
            "ID": id,
            "ContainerID": wanted.container,
            "Running": is_running,
            "ExitCode": code,
            "Pid": pid,
            "OpenStdin": wanted.stdin,
            "OpenStdout": wanted.outputs[0],
            "OpenStderr": wanted.outputs[1],
            "CanRemove": !is_running,
            "DetachKeys": "",
            "ProcessConfig": {
                "tty": wanted.terminal, "entrypoint": program, "arguments": arguments,
                "privileged": wanted.line.iter().any(|word| word == "--privileged"),
            },
        }))
    })
    .await
}
