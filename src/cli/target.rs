//! A process that a command line names: by its PID, or by the name of one of the caller's containers.

use std::str::FromStr;
use std::time::{Duration, Instant};

use crate::container::record::ContainerStatus;
use crate::container::refusal;
use crate::container::store::{ContainerStore, KeptContainer};
use crate::diagnose;
use crate::error::{Error, ExitKind, Result};
use crate::exec;
use crate::feature::Purpose;
use crate::host::containers::{self, NameLine};
use crate::teach::compare::Subject;
use crate::text::{text, text_with};
use crate::value::typed::TypedCommand;

/// How long a command waits for a container that just starts or ends: only root may look at one then.
const PATIENCE: Duration = Duration::from_secs(2);

/// How often it looks.
const PAUSE: Duration = Duration::from_millis(20);

/// `4711` or `web`. A number is always a PID: a container may have a number as its name, and a PID must never come to mean
/// another process because of that.
#[derive(Debug, Clone)]
pub(super) enum Target {
    Pid(i32),
    Name(String),
}

impl FromStr for Target {
    type Err = String;

    fn from_str(target: &str) -> std::result::Result<Target, String> {
        match target.parse() {
            Ok(pid) if pid > 0 => Ok(Target::Pid(pid)),
            Err(_) if !target.is_empty() && !target.starts_with('-') => Ok(Target::Name(target.to_owned())),
            _ => Err(text("run.target.form")),
        }
    }
}

/// Adds the PID of the container that has this number as its name, if there is one.
fn name_hint(number: i32, error: Error) -> Error {
    match containers::named(&number.to_string()).as_deref() {
        Ok([line]) => {
            let values = [("number", &*number.to_string()), ("pid", &line.pid.to_string())];
            error.todo(text_with("run.target.number.todo", &values))
        }
        _ => error,
    }
}

/// The command of the container with this name or ID: of one that stays, or else of any other.
/// Errors about one that does not stay begin with the command, by `named`.
fn command_of(name: &str, named: impl Fn(Error) -> Error) -> Result<NameLine> {
    let Ok(container) = ContainerStore::open().and_then(|store| store.find(name)) else {
        return containers::find(name).map_err(named);
    };
    let id = container.record.id.as_str();
    match containers::in_run(id)? {
        Some(line) => Ok(line),
        // A run that does not stay may have the same name.
        None => match &*containers::passing(name).map_err(named)? {
            [line] => Ok(line.clone()),
            _ => Err(not_running(container)),
        },
    }
}

fn not_running(container: KeptContainer) -> Error {
    let refused = match container.state.status {
        ContainerStatus::Restarting => refusal::restarting(&container),
        _ => refusal::not_running(&container),
    };
    Error { kind: ExitKind::Failed, ..refused }
}

impl Target {
    /// The container that stays with this name, if this is the PID of its command.
    pub(super) fn kept(&self, pid: i32) -> Option<(ContainerStore, KeptContainer)> {
        let Target::Name(name) = self else { return None };
        let store = ContainerStore::open().ok()?;
        let container = store.find(name).ok()?;
        (container.state.command.as_ref()?.pid == pid).then_some((store, container))
    }

    /// The container that stays with this name, whatever it does. None: there is none, or the target is a PID.
    pub(super) fn named(&self) -> Option<KeptContainer> {
        let Target::Name(name) = self else { return None };
        ContainerStore::open().ok()?.find(name).ok()
    }

    /// Opens the process.
    ///
    /// # Errors
    /// No container has this name, or several have it; as [`Subject::open`].
    pub(super) fn open(&self) -> Result<Subject> {
        let typed = TypedCommand::of_this_process();
        let name = match self {
            Target::Pid(pid) => return Subject::open(*pid, &typed).map_err(|error| name_hint(*pid, error)),
            Target::Name(name) => name,
        };
        let command = typed.subcommand();
        // The journal has a PID, which means nothing without /proc.
        diagnose::need_proc(&command, Purpose::Container)?;
        let named = |error: Error| Error { what: format!("{command}: {}", error.what), ..error };
        let line = command_of(name, named)?;
        let typed = typed.with_word(name, &line.pid.to_string());
        let begun = Instant::now();
        loop {
            let error = match Subject::open(line.pid, &typed) {
                Ok(subject) => return Ok(subject),
                Err(error) => error,
            };
            // It may have ended since its name was found.
            if matches!(line.is_running(), Ok(false)) {
                return Err(self
                    .named()
                    .map_or_else(|| named(Error::failed(text("run.target.gone"))), not_running));
            }
            if !exec::is_starting_or_ending(line.pid) || begun.elapsed() > PATIENCE {
                return Err(error);
            }
            std::thread::sleep(PAUSE);
        }
    }
}
