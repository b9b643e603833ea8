//! The kept containers in HOME.
//!
//!     HOME/containers/ID/{config.json,state.json,log}
//!     HOME/names/NAME -> ../containers/ID
//!
//! A name is a symbolic link, so the kernel decides which of two containers gets it, and `rename` is one rename(2).
//!
//! Who changes the two directories has the lock `names-HASH.lock` in RUN exclusively. A container is made below another
//! name and renamed when it is complete, and it is renamed before it is removed. So whatever else is there under the lock
//! was left by a process that was killed, and is removed.

mod files;
mod look;
mod repair;

use std::ffi::OsString;
use std::io;
use std::time::Duration;

use self::files::{
    CONTAINERS, Directories, NAMES, config_of, names_of, read_json, remove_directory, target_of, unread,
};
use super::events::{self, Event, EventAction, EventReader};
use super::id::{self, Id};
use super::name;
use super::record::{ContainerRecord, ContainerState, ProcessPlace};
use super::refusal;
use super::upper;
use crate::error::{Error, ExitKind, Result};
use crate::host::containers::MAX_CONFIG;
use crate::host::home::HomePlace;
use crate::host::private_directory::{PrivateDirectory, Unusable};
use crate::host::run_lock::RunLock;
use crate::host::storage;
use crate::text::{printed, text, text_with};

/// What a container is.
const CONFIG: &str = "config.json";

/// What it does.
pub const STATE: &str = "state.json";

/// How the directory of a container begins that is not complete, or is being removed.
const UNFINISHED: &str = ".";

/// The maximum size of a state in bytes. Real ones have less than a thousand, and a few hundred for each published port.
const MAX_STATE: u64 = 1 << 20;

/// How long a command waits for another one that creates, renames or removes a container. Such a command holds the lock for
/// milliseconds, unless it is stopped.
const PATIENCE: Duration = Duration::from_secs(10);

/// How many random names are tried.
const ATTEMPTS: usize = 100;

/// HOME, with its containers.
#[derive(Debug)]
pub struct ContainerStore {
    place: HomePlace,
    here: ProcessPlace,
    directories: Option<Directories>,
}

/// A kept container, as it was when it was read.
#[derive(Debug)]
pub struct KeptContainer {
    /// Its name. It is empty if a removal was interrupted.
    pub name: String,
    /// What it is.
    pub record: ContainerRecord,
    /// What it does. A state that only the processes of a dead supervisor had is corrected.
    pub state: ContainerState,
    /// Its directory in HOME.
    pub directory: PrivateDirectory,
}

/// A container whose files cannot be read.
#[derive(Debug)]
pub struct UnreadContainer {
    /// Its ID.
    pub id: Id,
    /// Why.
    pub error: Error,
}

impl ContainerStore {
    /// Opens HOME. It may not exist. What killed commands have left is removed.
    ///
    /// # Errors
    /// HOME cannot be trusted.
    pub fn open() -> Result<ContainerStore> {
        let place = HomePlace::find();
        let home = place.open()?;
        let directories =
            home.map(|home| Directories::find(&home)).transpose().map_err(|error| failed(&place, error))?;
        let store = ContainerStore { place, here: ProcessPlace::here(), directories: directories.flatten() };
        store.clean();
        Ok(store)
    }

    /// Opens HOME, and makes it if it does not exist. Also returns a note for the user, once: that it is elsewhere.
    ///
    /// # Errors
    /// As [`ContainerStore::open`]; it cannot be made.
    pub fn make() -> Result<(ContainerStore, Option<String>)> {
        let place = HomePlace::find();
        let (home, is_new) = place.make()?;
        for name in [CONTAINERS, NAMES] {
            home.make_directory(name.as_ref()).map_err(|error| failed(&place, error.into()))?;
        }
        let note = place.note().filter(|_| is_new);
        Ok((ContainerStore::open()?, note))
    }

    /// The path of HOME.
    pub fn path(&self) -> &std::path::Path {
        &self.place.path
    }

    /// All containers, the newest first.
    ///
    /// # Errors
    /// HOME cannot be read.
    pub fn all(&self) -> Result<(Vec<KeptContainer>, Vec<UnreadContainer>)> {
        let (mut all, mut unread) = (Vec::new(), Vec::new());
        let Some(directories) = &self.directories else { return Ok((all, unread)) };
        let mut names = self.names(directories)?;
        for id in self.ids(directories)? {
            let name = names.iter().position(|(_, of)| *of == id).map(|at| names.swap_remove(at).0);
            match self.read(directories, &id, name.unwrap_or_default()) {
                Ok(Some(container)) => all.push(container),
                // It was removed meanwhile.
                Ok(None) => {}
                Err(error) => unread.push(UnreadContainer { id, error }),
            }
        }
        all.sort_by(|one, other| {
            other.record.created.cmp(&one.record.created).then_with(|| one.record.id.cmp(&other.record.id))
        });
        Ok((all, unread))
    }

    /// The configs of all containers, as they are written, or why one cannot be read. Nothing is corrected.
    ///
    /// # Errors
    /// The list cannot be read.
    pub fn records(&self) -> Result<Vec<Result<ContainerRecord>>> {
        let Some(directories) = &self.directories else { return Ok(Vec::new()) };
        let read = |id: &Id| {
            let found = read_in(directories, id, |directory| read_json(directory, id, CONFIG, MAX_CONFIG));
            found.transpose().map(|found| found.map(|(_, record)| record))
        };
        Ok(self.ids(directories)?.iter().filter_map(read).collect())
    }

    /// The container with this name, this ID, or an ID that begins so and no other does.
    ///
    /// # Errors
    /// There is none; or several; or its files cannot be read.
    pub fn find(&self, reference: &str) -> Result<KeptContainer> {
        let none = || refusal::none(reference);
        let directories = self.directories.as_ref().ok_or_else(none)?;
        let reference = name::without_slash(reference);
        let whole = self.whole_id(directories, reference)?;
        let named = match whole {
            Some(_) => None,
            None => self.id_of_name(directories, reference)?,
        };
        let (id, name) = match named {
            Some(id) => (id, reference.to_owned()),
            None => {
                let id = match whole {
                    Some(id) => id,
                    None => self.id_of_prefix(directories, reference)?.ok_or_else(none)?,
                };
                let name = self.names(directories)?.into_iter().find(|(_, of)| *of == id);
                (id, name.map(|(name, _)| name).unwrap_or_default())
            }
        };
        self.read(directories, &id, name)?.ok_or_else(none)
    }

    /// The container with this ID of 64 digits. Another one may have it as its name.
    fn whole_id(&self, directories: &Directories, reference: &str) -> Result<Option<Id>> {
        let Some(id) = Id::of(reference) else { return Ok(None) };
        Ok(self.ids(directories)?.contains(&id).then_some(id))
    }

    /// The container whose ID begins so, if no other's does.
    fn id_of_prefix(&self, directories: &Directories, prefix: &str) -> Result<Option<Id>> {
        if !id::is_prefix(prefix) {
            return Ok(None);
        }
        let mut ids = self.ids(directories)?;
        ids.retain(|id| id.as_str().starts_with(prefix));
        if ids.len() > 1 {
            let values = [("prefix", prefix), ("count", &ids.len().to_string())];
            return Err(Error::new(ExitKind::Refused, text_with("container.several", &values)));
        }
        Ok(ids.pop())
    }

    /// The names of all containers.
    ///
    /// # Errors
    /// HOME cannot be read.
    pub fn all_names(&self) -> Result<Vec<String>> {
        let Some(directories) = &self.directories else { return Ok(Vec::new()) };
        Ok(self.names(directories)?.into_iter().map(|(name, _)| name).collect())
    }

    /// The ID of the container that [`ContainerStore::find`] would read, also if its files cannot be read.
    ///
    /// # Errors
    /// As [`ContainerStore::find`].
    pub fn id_of(&self, reference: &str) -> Result<Option<Id>> {
        let Some(directories) = &self.directories else { return Ok(None) };
        let reference = name::without_slash(reference);
        if let Some(id) = self.whole_id(directories, reference)? {
            return Ok(Some(id));
        }
        match self.id_of_name(directories, reference)? {
            None => self.id_of_prefix(directories, reference),
            named => Ok(named),
        }
    }

    /// The same container again: its present state. None: it was removed.
    ///
    /// # Errors
    /// Its files cannot be read.
    pub fn again(&self, container: &KeptContainer) -> Result<Option<KeptContainer>> {
        let Some(directories) = &self.directories else { return Ok(None) };
        self.read(directories, &container.record.id, container.name.clone())
    }

    /// Makes a container that was never started. Without a name it gets a random one. Returns its name.
    ///
    /// # Errors
    /// The name is not valid, or another container has it; the files cannot be written.
    pub fn create(&self, record: &ContainerRecord, name: Option<&str>) -> Result<String> {
        let directories = self.directories()?;
        let name = name.map(name::without_slash);
        if let Some(name) = name.filter(|name| !name::is_valid(name)) {
            return Err(refusal::misnamed(name));
        }
        let _lock = self.lock()?;
        // The directory is first. A name alone would be no sign for the next command that this one was killed.
        let unfinished = format!("{UNFINISHED}new-{}", record.id);
        let made = directories.containers.make_directory(unfinished.as_ref());
        let made = made.and_then(|made| made.ok_or_else(|| io::ErrorKind::AlreadyExists.into()));
        let made = made.map_err(|error| failed(&self.place, error.into()))?;
        let named = match name {
            Some(name) => self.claim(directories, name, &record.id).and_then(|owner| match owner {
                None => Ok(name.to_owned()),
                Some(owner) => Err(refusal::taken(name, &owner)),
            }),
            None => self.claim_random(directories, &record.id),
        };
        let created = named.and_then(|name| {
            self.write_new(directories, &made, &unfinished, record).map_err(|error| {
                let _ = directories.names.remove_file(&name);
                failed(&self.place, error.into())
            })?;
            self.note(&Event::now(EventAction::Create, record, &name));
            Ok(name)
        });
        created.inspect_err(|_| {
            let _ = remove_directory(&directories.containers, unfinished.as_ref());
        })
    }

    /// The files of a new container. When this returns, a power cut does not lose it.
    fn write_new(
        &self,
        directories: &Directories,
        made: &PrivateDirectory,
        unfinished: &str,
        record: &ContainerRecord,
    ) -> io::Result<()> {
        made.replace(CONFIG, &config_of(record)?, true)?;
        made.replace(STATE, &ContainerState::created().to_json(), true)?;
        upper::make(made, record)?;
        made.sync()?;
        directories.containers.rename_new(unfinished, record.id.as_str())?;
        directories.containers.sync()?;
        directories.names.sync()
    }

    /// Gives a name to a container. Returns the ID of the container that has it already.
    fn claim(&self, directories: &Directories, name: &str, id: &Id) -> Result<Option<Id>> {
        let target = format!("../{CONTAINERS}/{id}");
        loop {
            match directories.names.make_link(name, &target) {
                Ok(()) => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(failed(&self.place, error.into())),
            }
            match self.id_of_name(directories, name)? {
                Some(owner) => return Ok(Some(owner)),
                // A process that was killed has left it.
                None => {
                    directories.names.remove_file(name).map_err(|error| failed(&self.place, error.into()))?
                }
            }
        }
    }

    fn claim_random(&self, directories: &Directories, id: &Id) -> Result<String> {
        for attempt in 0..ATTEMPTS {
            let name = name::random(attempt);
            if self.claim(directories, &name, id)?.is_none() {
                return Ok(name);
            }
        }
        Err(Error::failed(text("container.name.random")))
    }

    /// Gives another name to a container.
    ///
    /// # Errors
    /// As [`ContainerStore::create`].
    pub fn rename(&self, container: &KeptContainer, new: &str) -> Result<()> {
        let directories = self.directories()?;
        let new = name::without_slash(new);
        if !name::is_valid(new) {
            return Err(refusal::misnamed(new));
        }
        if new == container.name {
            return Err(Error::failed(text("container.name.same")));
        }
        let _lock = self.lock()?;
        // Another command may have renamed it, and given its name to another container.
        if self.id_of_name(directories, &container.name)?.as_ref() != Some(&container.record.id) {
            return Err(refusal::none(&container.name));
        }
        if let Some(owner) = self.id_of_name(directories, new)? {
            return Err(refusal::taken(new, &owner));
        }
        let renamed = directories
            .names
            .remove_file(new)
            .and_then(|()| directories.names.rename_new(&container.name, new))
            .and_then(|()| directories.names.sync());
        if renamed.is_ok() {
            let event = Event::now(EventAction::Rename, &container.record, new);
            self.note(&event.with("oldName", &container.name));
        }
        renamed.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => refusal::none(&container.name),
            _ => failed(&self.place, error.into()),
        })
    }

    /// Removes the files of a container that does not run. The caller has its lock.
    ///
    /// # Errors
    /// They cannot be removed.
    pub fn remove(&self, id: &Id) -> Result<()> {
        let directories = self.directories()?;
        let removed = format!("{UNFINISHED}rm-{id}");
        let lock = self.lock()?;
        // A name that cannot be read could be that of this container, and would stay.
        let names = names_of(&directories.names, id).map_err(|error| failed(&self.place, error.into()))?;
        let event = self.event_of_removal(directories, id, names.first());
        let renamed = match directories.containers.rename(id.as_str(), &removed) {
            // Another command has removed it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            renamed => renamed,
        };
        let unnamed =
            renamed.and_then(|()| names.iter().try_for_each(|name| directories.names.remove_file(name)));
        lock.release();
        event.iter().filter(|_| unnamed.is_ok()).for_each(|event| self.note(event));
        unnamed
            .and_then(|()| remove_directory(&directories.containers, removed.as_ref()))
            .map_err(|error| failed(&self.place, error.into()))
    }

    /// The event of a container that is removed. Its config may not be readable, or it was removed already.
    fn event_of_removal(&self, directories: &Directories, id: &Id, name: Option<&String>) -> Option<Event> {
        let directory = directories.containers.directory(id.as_str().as_ref()).ok()??;
        let record: ContainerRecord = read_json(&directory, id, CONFIG, MAX_CONFIG).ok()?;
        Some(Event::now(EventAction::Destroy, &record, name.map_or("", String::as_str)))
    }

    /// Adds an event of a container under its present name.
    pub fn note_of(
        &self,
        container: &KeptContainer,
        change: impl FnOnce(Event) -> Event,
        action: EventAction,
    ) {
        let Some(directories) = &self.directories else { return };
        let id = &container.record.id;
        let is_named = matches!(self.id_of_name(directories, &container.name), Ok(Some(of)) if of == *id);
        let renamed = || self.names(directories).ok()?.into_iter().find(|(_, of)| of == id);
        let name = match is_named {
            true => container.name.clone(),
            false => renamed().map(|(name, _)| name).unwrap_or_default(),
        };
        self.note(&change(Event::now(action, &container.record, &name)));
    }

    /// Adds an event to HOME/events. Where that is not possible, the event is lost.
    pub fn note(&self, event: &Event) {
        if let Some(directories) = &self.directories {
            let _ = events::append(&directories.home, event);
        }
    }

    /// A reader of the events. None: HOME does not exist.
    ///
    /// # Errors
    /// They cannot be read.
    pub fn events(&self, is_new: bool) -> io::Result<Option<EventReader>> {
        let Some(directories) = &self.directories else { return Ok(None) };
        EventReader::open(directories.home.try_clone()?, is_new).map(Some)
    }

    /// Writes another config of a container, as `change` returns it.
    ///
    /// # Errors
    /// Those of `change`; the file cannot be written.
    pub fn update(
        &self,
        container: &KeptContainer,
        change: impl FnOnce(ContainerRecord) -> Result<ContainerRecord>,
    ) -> Result<ContainerRecord> {
        let id = &container.record.id;
        // Two updates at the same time are made one after the other.
        let _lock = self.lock()?;
        let directory = &container.directory;
        let changed = change(read_json(directory, id, CONFIG, MAX_CONFIG)?)?;
        config_of(&changed).and_then(|config| directory.replace(CONFIG, &config, true)).map_err(|error| {
            let what = text_with("container.update.unwritten", &[("path", &printed(directory.path()))]);
            storage::explain_io(Error::failed(what), &error, directory.path())
        })?;
        Ok(changed)
    }

    /// Writes what a container does. The caller has its lock.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write_state(&self, directory: &PrivateDirectory, state: &ContainerState) -> Result<()> {
        // On a full disk too, the exit status must not be lost.
        directory.replace_on_full_disk(STATE, &state.to_json()).map_err(|error| {
            let what = text_with("container.state.cannot", &[("path", &printed(directory.path()))]);
            storage::explain_io(Error::failed(what), &error, directory.path())
        })
    }

    fn directories(&self) -> Result<&Directories> {
        self.directories.as_ref().ok_or_else(|| Error::failed(text("container.home.gone")))
    }

    fn lock(&self) -> Result<RunLock> {
        RunLock::exclusive(&self.lock_name(), PATIENCE, || true).map_err(|error| {
            let error =
                Error::failed(text("container.locked")).call(format!("flock(<{}>)", self.lock_name()), error);
            error.why(text("container.locked.reason"))
        })
    }

    fn lock_name(&self) -> String {
        format!("names-{}.lock", self.place.hash())
    }

    /// The IDs of the containers that are complete.
    fn ids(&self, directories: &Directories) -> Result<Vec<Id>> {
        let (names, _) = directories.containers.names().map_err(|error| failed(&self.place, error.into()))?;
        Ok(names.iter().filter_map(|name| Id::of(name.to_str()?)).collect())
    }

    /// All names, each with the ID of its container.
    fn names(&self, directories: &Directories) -> Result<Vec<(String, Id)>> {
        let (names, _) = directories.names.names().map_err(|error| failed(&self.place, error.into()))?;
        let of = |name: OsString| {
            let name = name.into_string().ok()?;
            let id = target_of(&directories.names, &name).ok()??;
            Some((name, id))
        };
        Ok(names.into_iter().filter_map(of).collect())
    }

    /// The container with exactly this name.
    fn id_of_name(&self, directories: &Directories, name: &str) -> Result<Option<Id>> {
        if !name::is_valid(name) {
            return Ok(None);
        }
        let id = target_of(&directories.names, name).map_err(|error| failed(&self.place, error.into()))?;
        let exists =
            |id: &Id| matches!(directories.containers.directory(id.as_str().as_ref()), Ok(Some(_)) | Err(_));
        Ok(id.filter(exists))
    }

    fn read(&self, directories: &Directories, id: &Id, name: String) -> Result<Option<KeptContainer>> {
        let found = read_in(directories, id, |directory| {
            let record: ContainerRecord = read_json(directory, id, CONFIG, MAX_CONFIG)?;
            let state: ContainerState = read_json(directory, id, STATE, MAX_STATE)?;
            let state = self.present(directory, &record, &name, state)?;
            Ok((record, state))
        })?;
        Ok(found.map(|(directory, (record, state))| KeptContainer { name, record, state, directory }))
    }
}

/// The directory of a container, and what is read in it. None: it does not exist, or another process has removed it meanwhile.
fn read_in<T>(
    directories: &Directories,
    id: &Id,
    read: impl FnOnce(&PrivateDirectory) -> Result<T>,
) -> Result<Option<(PrivateDirectory, T)>> {
    let find = || {
        let found = directories.containers.directory(id.as_str().as_ref());
        found.map_err(|unusable| unread(id, unusable, &directories.path_of(id)))
    };
    let Some(directory) = find()? else { return Ok(None) };
    match read(&directory) {
        Ok(content) => Ok(Some((directory, content))),
        Err(_) if matches!(find(), Ok(None)) => Ok(None),
        Err(error) => Err(error),
    }
}

fn failed(place: &HomePlace, unusable: Unusable) -> Error {
    let what = text_with("container.home.cannot", &[("path", &printed(&place.path))]);
    unusable.explain(Error::failed(what), &place.path)
}
