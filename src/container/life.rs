//! What the commands of a container's life do.

use std::io::Write;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::client::{NoMessage, SupervisorClient};
use super::explain::Explainer;
use super::freezer::Freezer;
use super::id::Id;
use super::message::{ClientMessage, SupervisorMessage};
use super::record::{ContainerStatus, RecordedProcess};
use super::refusal;
use super::store::{ContainerStore, KeptContainer};
use super::supervisor::explain_start;
use crate::error::{Error, ExitKind, Result};
use crate::host::own_run::OwnRun;
use crate::host::run_directory;
use crate::observe::file;
use crate::sys::signal;
use crate::text::{text, text_with};

/// The time between two looks at the state of a container whose supervisor cannot be reached.
const WAIT: Duration = Duration::from_millis(50);

/// How long a supervisor may take for what it does at once.
const ANSWER: Duration = Duration::from_secs(10);

/// How long a start may take.
const START: Duration = Duration::from_secs(60);

/// How long a supervisor may take for the end, after its command was killed.
const END: Duration = Duration::from_secs(10);

/// How long `rm` waits for the lock of a container whose command has ended.
const LOCK: Duration = Duration::from_secs(2);

/// The time between two attempts to get that lock.
const PAUSE: Duration = Duration::from_millis(20);

impl KeptContainer {
    /// Its name; or its ID, if it has none.
    pub fn shown_name(&self) -> &str {
        if self.name.is_empty() { self.record.id.as_str() } else { &self.name }
    }

    /// Refuses to touch a container of another machine.
    ///
    /// # Errors
    /// It is one.
    pub fn is_here(&self) -> Result<()> {
        match self.state.status {
            ContainerStatus::Elsewhere => {
                let values = [("name", &*self.name), ("machine", &self.state.place.machine)];
                Err(Error::failed(text_with("container.elsewhere", &values)))
            }
            _ => Ok(()),
        }
    }
}

/// Starts a container. A container that runs already stays as it is.
///
/// # Errors
/// It cannot be started, with the exit status that `run` has then.
pub fn start(container: &KeptContainer, explain: Explainer) -> Result<()> {
    container.is_here()?;
    if container.state.status == ContainerStatus::Paused {
        return Err(Error::new(ExitKind::Refused, text("container.start.paused")));
    }
    if container.state.status.is_active() {
        return Ok(());
    }
    let id = &container.record.id;
    let deadline = Instant::now() + START;
    loop {
        let mut client = SupervisorClient::summon(id, explain)?;
        explain_start(container, explain);
        let answer = client.send(&ClientMessage::Start).and_then(|()| client.answer(Some(deadline)));
        match answer {
            Ok(SupervisorMessage::Started { notes, .. }) => {
                notes.iter().for_each(|note| drop(writeln!(std::io::stderr(), "sandbox: {note}")));
                return Ok(());
            }
            Ok(SupervisorMessage::Refused(error)) => return Err(error.into()),
            // It has just ended a former run: a new one is started.
            Ok(_) | Err(NoMessage::Ended) if Instant::now() < deadline => {}
            _ => return Err(silent(id)),
        }
    }
}

/// How a container is stopped.
#[derive(Debug, Clone, Copy, Default)]
pub struct StopRequest {
    /// The signal. None: that of the container.
    pub signal: Option<i32>,
    /// How many seconds later SIGKILL follows. A negative number: never. None: that of the container.
    pub timeout: Option<i64>,
    /// Whether it stays also if it is to be removed at its end.
    pub keeps: bool,
}

/// Stops a container: its stop signal, and after the timeout SIGKILL. A container that does not run stays as it is.
///
/// # Errors
/// It still runs.
pub fn stop(
    store: &ContainerStore,
    container: &KeptContainer,
    request: StopRequest,
    explain: Explainer,
) -> Result<()> {
    let StopRequest { signal, timeout, keeps } = request;
    container.is_here()?;
    if !container.state.status.is_active() {
        return Ok(());
    }
    let record = &container.record;
    if let Some(mut client) = SupervisorClient::connect(&record.id, explain)? {
        let (number, seconds) =
            (signal.unwrap_or(record.stop_signal), timeout.unwrap_or(record.stop_timeout.cast_signed()));
        let name = signal::name(number);
        explain.step(
            format!("send(<socket>, {{\"stop\": {{\"signal\": {number}, \"timeout\": {seconds}}}}})"),
            "container.explain.stop",
        );
        let (why, follows) = match (number, seconds) {
            (libc::SIGKILL, _) => ("container.explain.stop.kill", false),
            (_, ..0) => ("container.explain.stop.signal", false),
            _ => ("container.explain.stop.signal", true),
        };
        explain.step(format!("pidfd_send_signal(<container>, {name})  [by the supervisor]"), why);
        if follows {
            explain.step(
                format!("pidfd_send_signal(<container>, SIGKILL)  [after {seconds} s, if it still runs]"),
                "container.explain.stop.kill",
            );
        }
        // None: it is never late.
        let deadline = u64::try_from(seconds)
            .ok()
            .and_then(|seconds| Instant::now().checked_add(Duration::from_secs(seconds))?.checked_add(END));
        let stop = ClientMessage::Stop { signal, timeout, keeps };
        match client.send(&stop).and_then(|()| client.answer(deadline)) {
            Ok(SupervisorMessage::Refused(error)) => return Err(error.into()),
            Ok(_) => {
                client.await_end(Instant::now() + END);
                await_gone(container.state.supervisor, Instant::now() + END);
                return Ok(());
            }
            Err(NoMessage::Ended) => {}
            // It was stopped by a signal, or it hangs.
            Err(NoMessage::Late) => {}
        }
    }
    // It may have ended by itself: then its supervisor is sending the last output.
    match store.again(container)? {
        Some(present) if present.state.status.is_active() => end_directly(&present, explain),
        _ => Ok(()),
    }
}

/// Sends a signal to the command of a container.
///
/// # Errors
/// It does not run.
pub fn kill(container: &KeptContainer, number: i32, explain: Explainer) -> Result<()> {
    container.is_here()?;
    let id = &container.record.id;
    let not_running = || refusal::cannot_kill(container);
    if !container.state.status.is_active() {
        return Err(not_running());
    }
    let name = signal::name(number);
    if let Some(mut client) = SupervisorClient::connect(id, explain)? {
        explain.step(
            format!("send(<socket>, {{\"kill\": {{\"signal\": {number}}}}})"),
            "container.explain.kill",
        );
        explain.step(
            format!("pidfd_send_signal(<container>, {name})  [by the supervisor]"),
            "container.explain.kill.signal",
        );
        // Nothing survives SIGKILL. So its end is waited for, and the next command finds it, as with Docker.
        let ends = number == libc::SIGKILL;
        let asked = if ends { client.send(&ClientMessage::Wait) } else { Ok(()) };
        let sent = asked.and_then(|()| client.send(&ClientMessage::Kill { signal: number }));
        match sent.and_then(|()| client.answer(Some(Instant::now() + ANSWER))) {
            Ok(SupervisorMessage::Refused(error)) => return Err(error.into()),
            Ok(answer) => {
                if ends {
                    await_exit(&mut client, answer);
                }
                return Ok(());
            }
            Err(NoMessage::Ended) => return Err(not_running()),
            Err(NoMessage::Late) => {}
        }
    }
    // The supervisor does not answer. The kernel does.
    match container.state.command.map(|command| send_directly(command, number, explain)) {
        Some(true) => Ok(()),
        _ => Err(not_running()),
    }
}

/// Freezes the processes of a container, or with `pauses` false thaws them.
///
/// # Errors
/// It does not run, or is paused already, or is not paused; it has no cgroup.
pub fn pause(container: &KeptContainer, pauses: bool, explain: Explainer) -> Result<()> {
    container.is_here()?;
    let id = &container.record.id;
    let refused = |key| Error::new(ExitKind::Refused, text_with(key, &[("id", id.as_str())]));
    match (container.state.status, pauses) {
        (ContainerStatus::Running, true) | (ContainerStatus::Paused, false) => {}
        (ContainerStatus::Paused, true) => return Err(refused("container.pause.already.id")),
        (ContainerStatus::Restarting, true) => return Err(refused("container.restarting")),
        (_, true) => return Err(refusal::not_running(container)),
        (_, false) => return Err(refused("container.unpause.not.id")),
    }
    let processes = container.state.command.zip(container.state.supervisor);
    let freezer = processes.and_then(|(command, supervisor)| Freezer::of(command.pid, supervisor.pid));
    let lives = || container.state.command.is_some_and(RecordedProcess::lives);
    let Some(freezer) = freezer else {
        return Err(if lives() { no_cgroup(container) } else { refusal::not_running(container) });
    };
    let Some(mut client) = SupervisorClient::connect(id, explain)? else {
        return Err(refusal::not_running(container));
    };
    let (message, word) = match pauses {
        true => (ClientMessage::Pause, "pause"),
        false => (ClientMessage::Unpause, "unpause"),
    };
    explain.step(format!("send(<socket>, {word:?})"), "container.explain.pause");
    let (file, value) = (file::path_text(&freezer.file()), freezer.value(pauses));
    explain.step(
        format!("write(<{file}>, {value:?})  [by the supervisor]"),
        if pauses { "container.explain.freeze" } else { "container.explain.thaw" },
    );
    let answer = client.send(&message);
    match answer.and_then(|()| client.answer(Some(Instant::now() + ANSWER))) {
        Ok(SupervisorMessage::Refused(error)) => Err(error.into()),
        Ok(_) => Ok(()),
        Err(NoMessage::Ended) => Err(refusal::not_running(container)),
        Err(NoMessage::Late) => Err(silent(id)),
    }
}

/// Why a container cannot be paused that has no cgroup of its own.
pub fn no_cgroup(container: &KeptContainer) -> Error {
    let values = [("id", container.record.id.as_str())];
    let error = Error::new(ExitKind::Refused, text_with("container.nocgroup", &values));
    match nix::unistd::geteuid().is_root() {
        true => error.why(text("container.nocgroup.root")),
        false => error.why(text("container.nocgroup.user")),
    }
}

/// Waits for the end of a container, and returns its exit status.
///
/// # Errors
/// It was removed meanwhile, and its status is not known.
pub fn wait(store: &ContainerStore, container: &KeptContainer, explain: Explainer) -> Result<i32> {
    container.is_here()?;
    if container.state.status.is_active()
        && let Some(mut client) = SupervisorClient::connect(&container.record.id, explain)?
    {
        explain.step("send(<socket>, \"wait\")", "container.explain.wait");
        let mut answer = client.send(&ClientMessage::Wait).and_then(|()| client.answer(None));
        loop {
            match answer {
                Ok(SupervisorMessage::Exited { status }) => return Ok(status),
                Ok(SupervisorMessage::Refused(error)) => return Err(error.into()),
                Ok(_) => answer = client.answer(None),
                Err(_) => break,
            }
        }
    }
    // The supervisor has just ended, or was killed; or its socket was removed, and only its state tells of the end.
    loop {
        match store.again(container)? {
            Some(present) if present.state.status.is_active() => std::thread::sleep(WAIT),
            Some(ended) => return Ok(ended.state.exit_code),
            None => return Err(none(&container.record.id)),
        }
    }
}

/// Removes a container. With `force`, one that runs is killed first.
///
/// # Errors
/// It runs; its files cannot be removed.
pub fn remove(
    store: &ContainerStore,
    container: &KeptContainer,
    force: bool,
    explain: Explainer,
) -> Result<()> {
    container.is_here()?;
    let id = &container.record.id;
    if container.state.status.is_active() && !force {
        return Err(match container.state.status {
            ContainerStatus::Paused => refusal::paused(container),
            state => refusal::running(container.shown_name(), state),
        });
    }
    let kill = StopRequest { signal: Some(libc::SIGKILL), timeout: Some(0), keeps: false };
    let end = |container: &KeptContainer| match container.state.status.is_active() {
        true => stop(store, container, kill, explain),
        false => Ok(()),
    };
    end(container)?;
    match remove_files(store, id, explain) {
        // Another command has started it meanwhile.
        Err(error) if force => match store.again(container)? {
            Some(started) if started.state.status.is_active() => {
                end(&started)?;
                remove_files(store, id, explain)
            }
            _ => Err(error),
        },
        removed => removed,
    }
}

/// Removes a container whose config cannot be read. Its supervisor read it when it started, so it can still end the command.
///
/// # Errors
/// As [`remove`].
pub fn remove_unread(store: &ContainerStore, id: &Id, explain: Explainer) -> Result<()> {
    if let Some(mut client) = SupervisorClient::connect(id, explain)? {
        let stop = ClientMessage::Stop { signal: Some(libc::SIGKILL), timeout: Some(0), keeps: false };
        explain.step("send(<socket>, {\"stop\": {\"signal\": 9, \"timeout\": 0}})", "container.explain.stop");
        let deadline = Instant::now() + END;
        if client.send(&stop).and_then(|()| client.answer(Some(deadline))).is_ok() {
            client.await_end(deadline);
        }
    }
    remove_files(store, id, explain)
}

/// Removes the files of a container that does not run.
///
/// # Errors
/// As [`remove`].
fn remove_files(store: &ContainerStore, id: &Id, explain: Explainer) -> Result<()> {
    let run = file::path_text(&run_directory::path().join(id.as_str()).join("lock"));
    explain.step(format!("flock(<{run}>, LOCK_EX)"), "container.explain.lock");
    let deadline = Instant::now() + LOCK;
    let own = loop {
        match OwnRun::claim(id.as_str(), PAUSE)? {
            Some(own) => break own,
            // Its supervisor may still wait for the request to start. Other clients may wait there for the end of the command.
            None if Instant::now() < deadline => {
                if let Some(mut client) = SupervisorClient::connect(id, Explainer::default())? {
                    let _ = client.send(&ClientMessage::Remove);
                    client.await_end(Instant::now() + PAUSE);
                }
            }
            None => return Err(refusal::running(id.short(), ContainerStatus::Running)),
        }
    };
    let directory = file::path_text(&store.path().join("containers").join(id.as_str()));
    explain.step(format!("renameat(\"{directory}\", \".rm-{id}\"); unlinkat(…)"), "container.explain.remove");
    let removed = store.remove(id);
    own.remove();
    removed
}

/// Ends a container whose supervisor does not answer: SIGKILL for its command, and then for the supervisor. What is left
/// otherwise is removed by the next command.
fn end_directly(container: &KeptContainer, explain: Explainer) -> Result<()> {
    let processes = [container.state.command, container.state.supervisor];
    for process in processes.into_iter().flatten() {
        send_directly(process, libc::SIGKILL, explain);
    }
    // On cgroup v1, a frozen process does not end before it is thawed.
    if let [Some(command), Some(supervisor)] = processes
        && let Some(freezer) = Freezer::of(command.pid, supervisor.pid)
    {
        let _ = freezer.set(false);
    }
    match await_gone(processes.into_iter().flatten(), Instant::now() + END) {
        true => Ok(()),
        false => Err(silent(&container.record.id)),
    }
}

/// Waits until the supervisor reports the end of a command that was killed. Then the container can be started again.
fn await_exit(client: &mut SupervisorClient, first: SupervisorMessage) {
    let deadline = Instant::now() + END;
    let mut answer = Ok(first);
    while !matches!(answer, Ok(SupervisorMessage::Exited { .. }) | Err(_)) {
        answer = client.answer(Some(deadline));
    }
}

/// Waits until processes have ended. False: one still exists at the deadline.
fn await_gone(processes: impl IntoIterator<Item = RecordedProcess>, deadline: Instant) -> bool {
    processes.into_iter().all(|process| {
        while process.lives() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(2));
        }
        !process.lives()
    })
}

/// Sends a signal to a process, if it still is the one that was recorded.
fn send_directly(process: RecordedProcess, number: i32, explain: Explainer) -> bool {
    let pid = Pid::from_raw(process.pid);
    let Some(pidfd) = pid.and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok()) else { return false };
    // After the pidfd is open, its PID cannot become that of another process unnoticed.
    if !process.lives() {
        return false;
    }
    let name = signal::name(number);
    explain.step(format!("pidfd_send_signal(<{}>, {name})", process.pid), "container.explain.directly");
    signal::send(pidfd.as_fd(), number).is_ok()
}

/// The supervisor does not answer.
pub(super) fn silent(id: &Id) -> Error {
    let what = text_with("container.silent", &[("id", id.short())]);
    Error::failed(what).why(text("container.silent.reason")).paste(format!("sandbox rm -f {}", id.short()))
}

fn none(id: &Id) -> Error {
    refusal::none(id.as_str())
}
