//! The supervisor of a kept container: `sandbox __supervise ID`. It makes the container, is the parent of its command,
//! writes its log, and serves its clients. It belongs to no terminal, no session and no shell.
//!
//! 1. It takes the lock of the container. Another supervisor may have it: then there is nothing to do.
//! 2. It makes the control socket, and reports to the process that has started it that clients can connect.
//! 3. When a client asks for the start, it performs the plan of the container, as `run` does. If all clients leave before,
//!    it ends.
//! 4. Until the command ends, it reads the command's output, and answers its clients. `attend` has this part.
//! 5. It writes the exit status to `state.json`, gives up the lock, reports the end to the clients, and ends.
//!
//! If it is killed, the kernel kills the command by its parent-death signal, and the next `sandbox` command of any kind
//! removes what is left, and notes that the container has ended.

mod attend;
mod plan;

use std::fs::File;
use std::io::Write;
use std::time::{Duration, Instant};

use nix::poll::{PollTimeout, poll};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{geteuid, setsid};

use self::attend::{Attended, AttendedEnd, Noted};
use self::plan::plan;
pub use self::plan::{explain_start, plan_without_links};
use super::control::Control;
use super::events::{Event, EventAction};
use super::log::attributes::attributes;
use super::log::write::LogWriter;
use super::message::{ClientMessage, Packet, SentError, SupervisorMessage, packet_of};
use super::object_events::note_connections;
use super::record::{ContainerState, ContainerStatus, ProcessPlace, RecordedProcess};
use super::restart::BackOff;
use super::store::{ContainerStore, KeptContainer};
use super::volumes::VolumeStore;
use crate::error::{Error, Result};
use crate::exec::{self, Container, Ended, Watch};
use crate::host::cgroups::LeftLimits;
use crate::host::own_run::OwnRun;
use crate::host::run_directory;
use crate::host::storage;
use crate::sys::signal;
use crate::text::{printed, text, text_with};
use crate::value::timestamp::Timestamp;

/// How long it waits for the lock: another command may look at the container just now.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long it waits for its first client.
const FIRST_CLIENT: Duration = Duration::from_secs(10);

/// How long a client that does not read may take for the last output.
const LAST_OUTPUT: Duration = Duration::from_secs(10);

/// The same for a container that was stopped by request: the user waits for its end.
const LAST_OUTPUT_OF_STOPPED: Duration = Duration::from_secs(2);

/// Leaves the session, the terminal and the directory of the process that has started this one, and takes over the pipe on
/// which it reports. No signal is ignored or blocked.
///
/// # Errors
/// Standard output is no pipe: nobody waits for this process.
pub fn leave_caller() -> Result<File> {
    signal::forget_caller();
    let _ = setsid();
    // It was executed as /proc/self/exe, and would be listed as `exe`.
    let _ = rustix::thread::set_name(c"sandbox");
    let _ = nix::unistd::chdir("/");
    umask(Mode::from_bits_truncate(0o022));
    exec::close_inherited();
    let cannot = |error: std::io::Error| {
        Error::failed("cannot report to the caller").call("fcntl(1, F_DUPFD_CLOEXEC, 3)", error)
    };
    let report = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdout(), 3)
        .map_err(|errno| cannot(errno.into()))
        .inspect_err(|error| {
            // Standard output is still the pipe.
            let refused = packet_of(&SupervisorMessage::Refused(SentError::from(error.clone())));
            let _ = rustix::io::write(rustix::stdio::stdout(), &refused);
        })?;
    Ok(File::from(report))
}

/// Moves this process to the root of each cgroup hierarchy, if it is root. The cgroups of the container are made below its
/// own: otherwise they would end with the session of the caller, whose cgroup the login manager removes. Where the kernel
/// refuses it, they are made below the caller's. Returns the limits of the cgroups that it has left.
fn leave_cgroups() -> Vec<LeftLimits> {
    if !geteuid().is_root() {
        return Vec::new();
    }
    let mut left = LeftLimits::gather();
    left.retain(|left| std::fs::write(left.mount.join("cgroup.procs"), "0").is_ok());
    left
}

/// Supervises a container. `report` is the pipe to the process that waits for [`SupervisorMessage::Ready`].
pub fn supervise(id: &str, mut report: File) {
    let mut answer = |message: &SupervisorMessage| report.write_all(&packet_of(message));
    // The report ends when no descriptor of it is left: standard output is one.
    match exec::close_streams().and_then(|()| Supervisor::prepare(id)) {
        Ok(Some(supervisor)) => {
            let patience = match answer(&SupervisorMessage::Ready) {
                Ok(()) => FIRST_CLIENT,
                // Without that process, no client may come. If it still exists, it receives the reason.
                Err(error) => {
                    let error =
                        Error::failed(text("container.supervisor.cannot")).call("write(<report>)", error);
                    drop(answer(&SupervisorMessage::Refused(SentError::from(error))));
                    Duration::ZERO
                }
            };
            drop(report);
            supervisor.run(patience);
        }
        Ok(None) => drop(answer(&SupervisorMessage::Busy)),
        Err(error) => drop(answer(&SupervisorMessage::Refused(SentError::from(error)))),
    }
}

/// A command that runs.
struct StartedCommand {
    /// What limits of the caller's cgroup mean for it. All other notes were printed when the container was created.
    notes: Vec<String>,
    container: Container,
    watch: SupervisorWatch,
    log: LogWriter,
}

struct Supervisor {
    store: ContainerStore,
    container: KeptContainer,
    own: OwnRun,
    control: Control,
    /// The limits of the caller's cgroups, which this process has left.
    left: Vec<LeftLimits>,
}

impl Supervisor {
    /// Takes the lock, and makes the control socket. None: the container has a supervisor.
    fn prepare(id: &str) -> Result<Option<Supervisor>> {
        let store = ContainerStore::open()?;
        let container = store.find(id)?;
        let Some(own) = OwnRun::claim(container.record.id.as_str(), PATIENCE)? else { return Ok(None) };
        // It may have ended, been started or been removed before this process had the lock.
        let Some(container) = store.again(&container)? else {
            own.remove();
            return Err(store.find(id).err().unwrap_or_else(|| Error::failed(text("container.home.gone"))));
        };
        match Control::listen(own.directory()) {
            Ok(control) => Ok(Some(Supervisor { store, container, own, control, left: Vec::new() })),
            Err(error) => {
                let path = own.directory().path().join("control");
                own.remove();
                let call = format!("bind(<socket>, {{AF_UNIX, {path:?}}})");
                Err(Error::failed(text("container.control.cannot")).call(call, error))
            }
        }
    }

    fn run(mut self, patience: Duration) {
        if !self.await_start(patience) {
            return self.own.remove();
        }
        self.left = leave_cgroups();
        self.container.state.restart_count = 0;
        let mut back_off = BackOff::new();
        loop {
            let started = match self.start() {
                Ok(started) => started,
                Err(error) => return self.refuse(error),
            };
            let began = Instant::now();
            let state = self.follow(started);
            self.read_record();
            let policy = self.container.record.restart;
            if !policy.restarts(state.exit_code, state.restart_count, state.stopped) {
                return self.finish(state);
            }
            self.report_end(state.exit_code);
            // The next run does not wait for a client of this one.
            self.control.clients.iter_mut().for_each(|client| client.is_front = false);
            let restart_count = state.restart_count + 1;
            let restarting =
                ContainerState { status: ContainerStatus::Restarting, restart_count, ..state.clone() };
            self.container.state = restarting;
            // If it cannot be written, the container is started again all the same.
            let _ = self.write_state();
            if !self.await_restart(back_off.next(began.elapsed())) {
                return self.finish(ContainerState { stopped: true, restart_count, ..state });
            }
            self.read_record();
            // `update` may have changed the policy during the wait.
            if !self.container.record.restart.restarts(state.exit_code, state.restart_count, false) {
                return self.finish(ContainerState { restart_count, ..state });
            }
        }
    }

    /// Reads the container's config again: `update` may have changed it meanwhile.
    fn read_record(&mut self) {
        if let Ok(Some(present)) = self.store.again(&self.container) {
            self.container.record = present.record;
        }
    }

    /// Serves clients until the container is to be started again. False: one has asked to stop it.
    fn await_restart(&mut self, delay: Duration) -> bool {
        let deadline = Instant::now() + delay;
        loop {
            let terminal = self.container.record.config.process.terminal;
            let mut is_stopped = false;
            self.control.receive(true, |client, packet| match packet {
                Packet::Message(ClientMessage::Stop { keeps, .. }) => {
                    (client.awaited.stop, client.awaited.keeps, is_stopped) = (true, keeps, true);
                }
                // No process gets the signal: the container is not started again.
                Packet::Message(ClientMessage::Kill { .. }) => {
                    is_stopped = true;
                    client.send(&SupervisorMessage::Done);
                }
                packet => attend::handle_before(client, packet, terminal),
            });
            self.control.flush();
            let left = deadline.saturating_duration_since(Instant::now());
            if is_stopped || left.is_zero() {
                return !is_stopped;
            }
            let timeout = PollTimeout::try_from(left + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX);
            let _ = poll(&mut self.control.poll_set(true), timeout);
        }
    }

    /// Serves clients until one asks for the start. False: all have left, none has come for so long, or the container is going
    /// to be removed.
    fn await_start(&mut self, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        loop {
            let terminal = self.container.record.config.process.terminal;
            let mut is_removed = false;
            self.control.receive(true, |client, packet| match packet {
                Packet::Message(ClientMessage::Remove) => is_removed = true,
                packet => attend::handle_before(client, packet, terminal),
            });
            self.control.flush();
            if is_removed {
                return false;
            }
            if self.control.clients.iter().any(|client| client.awaited.start) {
                return true;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let is_alone = self.control.clients.is_empty() && (self.control.had_client || left.is_zero());
            if is_alone {
                return false;
            }
            let timeout = PollTimeout::try_from(left).ok().filter(|_| !self.control.had_client);
            let _ = poll(&mut self.control.poll_set(true), timeout.unwrap_or(PollTimeout::NONE));
        }
    }

    /// Makes the container. Its command runs.
    fn start(&mut self) -> Result<StartedCommand> {
        let plan = plan(&self.container, &self.left)?;
        let log = self.open_log()?;
        let own = self.own.copy().map_err(|error| {
            storage::explain_io(Error::failed(text("container.lock.copy")), &error, &run_directory::path())
        })?;
        self.own.forget_config();
        let mut watch = SupervisorWatch::default();
        let container = exec::start_in(own, &plan, &mut watch)?;
        self.container.state = ContainerState {
            status: ContainerStatus::Running,
            place: ProcessPlace::here(),
            supervisor: RecordedProcess::of(std::process::id().cast_signed()),
            command: RecordedProcess::of(container.pid().as_raw()),
            started_at: Some(Timestamp::now()),
            // The end of the last run, until this one ends.
            finished_at: self.container.state.finished_at,
            exit_code: 0,
            oom_killed: false,
            restart_count: self.container.state.restart_count,
            log_dropped: self.container.state.log_dropped,
            error: String::new(),
            ports: container.ports().to_vec(),
            ..ContainerState::created()
        };
        self.write_state()?;
        self.control
            .clients
            .iter()
            .filter(|client| client.is_attached)
            .for_each(|_| self.note(EventAction::Attach, |event| event));
        note_connections(&self.store, &self.container, true);
        self.note(EventAction::Start, |event| event);
        Ok(StartedCommand { container, watch, log, notes: plan.limit_notes })
    }

    fn note(&self, action: EventAction, change: impl FnOnce(Event) -> Event) {
        self.store.note_of(&self.container, change, action);
    }

    /// Waits for the end of the command. Returns the state of the container then.
    fn follow(&mut self, started: StartedCommand) -> ContainerState {
        let StartedCommand { notes, mut container, mut watch, log } = started;
        let running = SupervisorMessage::Started { pid: container.command().as_raw(), notes };
        for client in
            self.control.clients.iter_mut().filter(|client| client.awaited.start || client.is_attached)
        {
            client.awaited.start = false;
            client.send(&running);
        }
        let (store, kept) = (&self.store, &self.container);
        let note = |noted| match noted {
            Noted::Paused(is_paused) => {
                let (status, action) = match is_paused {
                    true => (ContainerStatus::Paused, EventAction::Pause),
                    false => (ContainerStatus::Running, EventAction::Unpause),
                };
                store.write_state(&kept.directory, &ContainerState { status, ..kept.state.clone() })?;
                store.note_of(kept, |event| event, action);
                Ok(())
            }
            Noted::Signalled(number) => {
                store.note_of(kept, |event| event.with("signal", number), EventAction::Kill);
                Ok(())
            }
            Noted::Resized { rows, columns } => {
                let change = |event: Event| event.with("height", rows).with("width", columns);
                store.note_of(kept, change, EventAction::Resize);
                Ok(())
            }
            Noted::Attached => {
                store.note_of(kept, |event| event, EventAction::Attach);
                Ok(())
            }
            Noted::Detached => {
                store.note_of(kept, |event| event, EventAction::Detach);
                Ok(())
            }
        };
        let mut attended = Attended::new(&mut self.control, &kept.record, log, &mut container, &note);
        let ended = container.wait_attended(&mut watch, &mut attended);
        let AttendedEnd { is_stopped, dropped } = attended.end();
        let (exit_code, mut error) = match &ended {
            Ok(ended) => (i32::from(ended.status()), String::new()),
            Err(error) => (i32::from(error.kind.status()), error.to_string()),
        };
        if watch.oom_killed {
            self.note(EventAction::Oom, |event| event);
        }
        self.note(EventAction::Die, |event| event.with("exitCode", exit_code));
        note_connections(&self.store, &self.container, false);
        if dropped > 0 {
            error = text_with("container.log.dropped", &[("bytes", &dropped.to_string())]);
        }
        ContainerState {
            status: ContainerStatus::Exited,
            supervisor: self.container.state.supervisor,
            command: None,
            finished_at: Some(Timestamp::now()),
            ports: Vec::new(),
            oom_killed: watch.oom_killed,
            stopped: is_stopped,
            exit_code,
            error,
            log_dropped: self.container.state.log_dropped + dropped,
            ..self.container.state.clone()
        }
    }

    /// Reports the end to the clients that wait for it, or show the output.
    fn report_end(&mut self, exit_code: i32) {
        for client in &mut self.control.clients {
            if client.was_attached || client.awaited.end {
                client.send(&SupervisorMessage::Exited { status: exit_code });
                (client.was_attached, client.is_attached) = (false, false);
                client.awaited.end = false;
            }
        }
    }

    fn open_log(&self) -> Result<LogWriter> {
        let directory = &self.container.directory;
        let record = &self.container.record;
        let opened = directory.try_clone().and_then(|copy| LogWriter::open(copy, record.log));
        let opened = opened.map(|log| log.with_attributes(attributes(record)));
        opened.map_err(|error| {
            let what = text_with("container.log.cannot", &[("path", &printed(directory.path()))]);
            storage::explain_io(Error::failed(what), &error, directory.path())
        })
    }

    /// The command could not be started.
    fn refuse(mut self, error: Error) {
        let exit_code = i32::from(error.kind.status());
        let refused = SupervisorMessage::Refused(SentError::from(error.clone()));
        for client in self.control.clients.iter_mut().filter(|client| client.awaited.start) {
            client.send(&refused);
        }
        let state = ContainerState { error: error.what, exit_code, ..self.container.state.clone() };
        // A container that never ran stays in its state, as Docker's.
        let status = if state.status.is_active() { ContainerStatus::Exited } else { state.status };
        self.finish(ContainerState { status, ..state });
    }

    /// Writes the last state, gives up the lock, and reports the end to the clients, which then can start the container again.
    fn finish(mut self, state: ContainerState) {
        let finished_at =
            if state.status == ContainerStatus::Exited { Some(Timestamp::now()) } else { state.finished_at };
        let state =
            ContainerState { supervisor: None, command: None, ports: Vec::new(), finished_at, ..state };
        let (exit_code, is_stopped) = (state.exit_code, state.stopped);
        self.container.state = state;
        if self.control.clients.iter().any(|client| client.awaited.stop && !client.awaited.removes) {
            self.note(EventAction::Stop, |event| event);
        }
        // If it cannot be written, the next command finds a dead supervisor.
        let _ = self.write_state();
        if self.container.record.auto_remove
            && !self.control.clients.iter().any(|client| client.awaited.keeps)
        {
            let _ = self.store.remove(&self.container.record.id);
            VolumeStore::remove_anonymous(&self.container.record.volumes);
        }
        self.control.close();
        self.report_end(exit_code);
        for client in self.control.clients.iter_mut().filter(|client| client.awaited.stop) {
            client.send(&SupervisorMessage::Done);
        }
        let Supervisor { own, mut control, .. } = self;
        // Before a client knows of the end, which may start the container again.
        own.remove();
        let deadline = Instant::now() + if is_stopped { LAST_OUTPUT_OF_STOPPED } else { LAST_OUTPUT };
        loop {
            control.receive(true, |_, _| {});
            control.flush();
            let left = deadline.saturating_duration_since(Instant::now());
            // The front is waited for, unless somebody wants the container to end.
            if control.is_flushed(left.is_zero()) || left.is_zero() && is_stopped {
                return;
            }
            let timeout = if left.is_zero() {
                PollTimeout::NONE
            } else {
                PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
            };
            let _ = poll(&mut control.poll_set(true), timeout);
        }
    }

    fn write_state(&self) -> Result<()> {
        self.store.write_state(&self.container.directory, &self.container.state)
    }
}

/// Notes what the state of the container says about its end.
#[derive(Debug, Default)]
struct SupervisorWatch {
    oom_killed: bool,
}

impl Watch for SupervisorWatch {
    fn out_of_memory(&mut self, _kills: u64, _limit: Option<u64>, _ended: Ended) {
        self.oom_killed = true;
    }
}
