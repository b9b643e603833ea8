//! The further commands that clients of the daemon have asked for: RUN/ID/exec/EXEC-ID.json has what the client wants, and
//! RUN/ID/exec/EXEC-ID.state what became of it. The daemon holds neither, so another daemon answers for them too. Both go with
//! RUN/ID when the container ends.

use std::collections::BTreeSet;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::events::{EventAction, EventReading};
use super::id::Id;
use super::record::RecordedProcess;
use super::store::ContainerStore;
use crate::error::{Error, Result};
use crate::host::own_run::EXECS;
use crate::host::private_directory::PrivateDirectory;
use crate::host::run_directory;
use crate::text::text;

/// How many commands of a container are remembered. The oldest that have ended are forgotten first.
const MAX: usize = 1000;

/// The maximum size of a file: the body of a request has a limit too.
const MAX_SIZE: u64 = 16 << 20;

/// What a client has asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecFile {
    /// The container.
    pub container: Id,
    /// The words of `sandbox exec`, without the variables.
    pub line: Vec<String>,
    /// The variables.
    pub variables: Vec<String>,
    /// The words of the command alone.
    pub command: Vec<String>,
    /// Whether it gets a terminal.
    pub terminal: bool,
    /// Whether it gets the input of the client.
    pub stdin: bool,
    /// Whether the client wants standard output, and standard error.
    pub outputs: [bool; 2],
    /// The keys that detach the client.
    pub keys: Vec<u8>,
    /// The size of its terminal: lines and columns.
    pub size: (u16, u16),
}

/// What became of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExecState {
    /// It was started.
    Running {
        /// The process that carries its streams.
        carrier: RecordedProcess,
        /// `sandbox exec`. Zero: it is being started.
        pid: u32,
    },
    /// It runs without a client. Its end is an event.
    Detached,
    /// It has ended with this status.
    Ended(i32),
}

/// The files of a command.
#[derive(Debug)]
pub struct ExecFiles {
    directory: PrivateDirectory,
    id: Id,
}

fn cannot(error: &io::Error) -> Error {
    Error::failed(text("container.exec.files")).why(crate::error::io_text(error))
}

impl ExecFiles {
    /// Notes a command. It is not started.
    ///
    /// # Errors
    /// The container has ended; the file cannot be written.
    pub fn create(id: Id, wanted: &ExecFile) -> Result<ExecFiles> {
        let gone = || cannot(&io::ErrorKind::NotFound.into());
        let unusable = |unusable: crate::host::private_directory::Unusable| {
            Error::failed(text("container.exec.files")).why(unusable.reason())
        };
        let run = run_directory::find()?.ok_or_else(gone)?;
        let of_container =
            run.directory(wanted.container.as_str().as_ref()).map_err(unusable)?.ok_or_else(gone)?;
        let made = of_container.make_directory(EXECS.as_ref()).map_err(|error| cannot(&error))?;
        let directory = match made {
            Some(made) => made,
            None => of_container.directory(EXECS.as_ref()).map_err(unusable)?.ok_or_else(gone)?,
        };
        forget_oldest(&directory);
        let files = ExecFiles { directory, id };
        files.write_wanted(wanted)?;
        Ok(files)
    }

    /// The files of a command. None: no container that runs has one with this ID.
    ///
    /// # Errors
    /// RUN cannot be trusted.
    pub fn find(id: &str) -> Result<Option<ExecFiles>> {
        let (Some(id), Some(run)) = (Id::of(id), run_directory::find()?) else { return Ok(None) };
        let (names, _) = run.names().map_err(|error| cannot(&error))?;
        for name in names.iter().filter(|name| name.to_str().and_then(Id::of).is_some()) {
            let Ok(Some(of_container)) = run.directory(name) else { continue };
            let Ok(Some(directory)) = of_container.directory(EXECS.as_ref()) else { continue };
            if matches!(directory.file(&wanted_name(&id)), Ok(Some(_))) {
                return Ok(Some(ExecFiles { directory, id }));
            }
        }
        Ok(None)
    }

    /// The commands of a container that have not ended, in the order of their IDs. As in Docker, one that was not started is among them.
    pub fn unended(container: &Id) -> Vec<Id> {
        let directory = || -> Option<PrivateDirectory> {
            let run = run_directory::find().ok()??;
            run.directory(container.as_str().as_ref()).ok()??.directory(EXECS.as_ref()).ok()?
        };
        let Some(directory) = directory() else { return Vec::new() };
        let mut ids = ids(&directory);
        // They are read once, and only if a command of the background can have ended.
        let mut ended_in_background: Option<BTreeSet<String>> = None;
        ids.retain(|id| match state(&directory, id) {
            None => true,
            Some(ExecState::Running { carrier, .. }) => carrier.lives(),
            Some(ExecState::Ended(_)) => false,
            Some(ExecState::Detached) => {
                !ended_in_background.get_or_insert_with(ended_commands).contains(id.as_str())
            }
        });
        ids.sort();
        ids
    }

    /// The same files, for another thread. None: the process has no descriptor left.
    pub fn again(&self) -> Option<ExecFiles> {
        Some(ExecFiles { directory: self.directory.try_clone().ok()?, id: self.id.clone() })
    }

    /// What the client wants. None: the container has ended meanwhile.
    pub fn wanted(&self) -> Option<ExecFile> {
        read(&self.directory, &wanted_name(&self.id))
    }

    /// Writes what the client wants.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write_wanted(&self, wanted: &ExecFile) -> Result<()> {
        let json = serde_json::to_vec(wanted).unwrap_or_default();
        self.directory.replace(&wanted_name(&self.id), &json, false).map_err(|error| cannot(&error))
    }

    /// What became of it. None: it was not started.
    pub fn state(&self) -> Option<ExecState> {
        state(&self.directory, &self.id)
    }

    /// Takes the right to start it. False: another client has it.
    ///
    /// # Errors
    /// The file cannot be made.
    pub fn claim(&self, state: ExecState) -> Result<bool> {
        let made = self.directory.make_file(&state_name(&self.id)).map_err(|error| cannot(&error))?;
        if made.is_none() {
            return Ok(false);
        }
        self.write_state(state).map(|()| true)
    }

    /// Writes what became of it. The directory may be gone, with the container.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write_state(&self, state: ExecState) -> Result<()> {
        let json = serde_json::to_vec(&state).unwrap_or_default();
        self.directory.replace(&state_name(&self.id), &json, false).map_err(|error| cannot(&error))
    }

    /// Gives the right to start it back.
    pub fn release(&self) {
        let _ = self.directory.remove_file(state_name(&self.id));
    }
}

fn wanted_name(id: &Id) -> String {
    format!("{}.json", id.as_str())
}

fn state_name(id: &Id) -> String {
    format!("{}.state", id.as_str())
}

fn state(directory: &PrivateDirectory, id: &Id) -> Option<ExecState> {
    // Until it is written, a new file is empty.
    let name = state_name(id);
    read(directory, &name)
        .or_else(|| matches!(directory.file(&name), Ok(Some(_))).then_some(ExecState::Detached))
}

/// The commands that have files here.
fn ids(directory: &PrivateDirectory) -> Vec<Id> {
    let names = directory.names().map(|(names, _)| names).unwrap_or_default();
    names.iter().filter_map(|name| Id::of(name.to_str()?.strip_suffix(".json")?)).collect()
}

fn read<T: DeserializeOwned>(directory: &PrivateDirectory, name: &str) -> Option<T> {
    let file = directory.file(name).ok()??;
    let mut content = Vec::new();
    file.take(MAX_SIZE).read_to_end(&mut content).ok()?;
    serde_json::from_slice(&content).ok()
}

/// Makes room for another command.
fn forget_oldest(directory: &PrivateDirectory) {
    let ids = ids(directory);
    if ids.len() < MAX {
        return;
    }
    let mut ended: Vec<(i64, Id)> = Vec::new();
    for id in ids {
        let state: Option<ExecState> = read(directory, &state_name(&id));
        let lives = matches!(state, Some(ExecState::Running { carrier, .. }) if carrier.lives());
        let made = directory.file(&wanted_name(&id)).ok().flatten().and_then(|file| file.metadata().ok());
        if let Some(made) = made.filter(|_| !lives) {
            ended.push((made.mtime() * 1_000_000_000 + made.mtime_nsec(), id));
        }
    }
    ended.sort();
    for (_, id) in ended.iter().take(MAX / 10) {
        let _ = directory.remove_file(wanted_name(id));
        let _ = directory.remove_file(state_name(id));
    }
}

/// A command whose files are gone with its container, or that runs in the background: what its events say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExecEvent {
    /// The container.
    pub container: String,
    /// The command.
    pub command: String,
    /// Its exit status. None: it has not ended.
    pub code: Option<i32>,
}

/// The IDs of the commands of which the events have the end.
fn ended_commands() -> BTreeSet<String> {
    let read =
        || -> Option<Vec<EventReading>> { ContainerStore::open().ok()?.events(false).ok()??.read().ok() };
    let ended = read().unwrap_or_default().into_iter().filter_map(|reading| match reading {
        EventReading::Event(event) if event.word() == EventAction::ExecDie.word() => {
            event.actor.attributes.get("execID").cloned()
        }
        _ => None,
    });
    ended.collect()
}

/// What the events say of a command. None: nothing.
///
/// # Errors
/// The events cannot be read.
pub fn event_of(id: &str) -> Result<Option<ExecEvent>> {
    let store = ContainerStore::open()?;
    let Some(mut events) = store.events(false).map_err(|error| cannot(&error))? else { return Ok(None) };
    let mut found: Option<ExecEvent> = None;
    for reading in events.read().map_err(|error| cannot(&error))? {
        let EventReading::Event(event) = reading else { continue };
        if event.actor.attributes.get("execID").is_none_or(|own| own != id) {
            continue;
        }
        let about = found.get_or_insert_default();
        about.container.clone_from(&event.id);
        if let Some((_, command)) = event.action.split_once(": ") {
            command.clone_into(&mut about.command);
        }
        if event.word() == EventAction::ExecDie.word() {
            about.code = event.actor.attributes.get("exitCode").and_then(|code| code.parse().ok());
        }
    }
    // The end of the container is the end of the command too.
    Ok(found.map(|about| match about.code {
        None if !store.find(&about.container).is_ok_and(|found| found.state.status.is_active()) => {
            ExecEvent { code: Some(137), ..about }
        }
        _ => about,
    }))
}
