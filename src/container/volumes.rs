//! Volumes: directories in HOME that stay when a container is removed.
//!
//!     HOME/volumes/NAME/_data          what containers see
//!     HOME/volumes/NAME/volume.json    when it was made, its labels
//!
//! The names are Docker's. A volume without a name has an ID as its name. A command that makes a container holds the lock
//! `volumes-HASH.lock` shared, from the first volume until the container is known. A command that removes volumes has it exclusively.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::events::Event;
use super::id::Id;
use super::name;
use super::object_events::EventKind;
use super::record::ContainerRecord;
use super::store::ContainerStore;
use super::upper;
use crate::error::{Error, ExitKind, Result};
use crate::host::home::HomePlace;
use crate::host::private_directory::{PrivateDirectory, Unusable};
use crate::host::run_lock::RunLock;
use crate::host::storage;
use crate::host::token::token;
use crate::plan::call::user::IdMaps;
use crate::text::{printed, text, text_with};
use crate::value::timestamp::Timestamp;

const VOLUMES: &str = "volumes";
const DATA: &str = "_data";
const ABOUT: &str = "volume.json";

/// What comes before the name of a volume that is being removed. It is in no valid name.
const REMOVED: &str = ".removed-";

/// How long a command waits for another one.
const PATIENCE: Duration = Duration::from_secs(10);

/// The volumes in HOME.
#[derive(Debug)]
pub struct VolumeStore {
    place: HomePlace,
    directory: Option<PrivateDirectory>,
}

/// A volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    /// Its name.
    pub name: String,
    /// What is known about it.
    pub about: AboutVolume,
    /// The directory with its files.
    pub path: PathBuf,
}

/// What is known about a volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AboutVolume {
    /// When it was made.
    pub created: Timestamp,
    /// What its maker says about it.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Whether it was made for a container, without a name.
    #[serde(default)]
    pub is_anonymous: bool,
    /// The ID maps in which its files have their owners. None: real IDs.
    #[serde(default)]
    pub maps: Option<IdMaps>,
}

impl Volume {
    /// Whether it has a label: `KEY`, or `KEY=VALUE`.
    pub fn has_label(&self, label: &str) -> bool {
        match label.split_once('=') {
            Some((key, value)) => self.about.labels.get(key).is_some_and(|own| own == value),
            None => self.about.labels.contains_key(label),
        }
    }

    /// Whether `prune` removes it, if no container has it: all labels of the filters `label` must be there, and none of those of
    /// `label!`. Volumes with a name stay, unless `all` asks for them.
    pub fn is_prunable(&self, is_all: bool, filters: &[(&str, &str)]) -> bool {
        let is_met = |(filter, value): &(&str, &str)| match *filter {
            "label" => self.has_label(value),
            "label!" => !self.has_label(value),
            _ => true,
        };
        (is_all || self.about.is_anonymous) && filters.iter().all(is_met)
    }

    /// Everything about it: Docker's keys.
    pub fn inspected(&self) -> Value {
        json!({
            "CreatedAt": self.about.created,
            "Driver": "local",
            "Labels": self.about.labels,
            "Mountpoint": printed(&self.path),
            "Name": self.name,
            "Options": null,
            "Scope": "local",
        })
    }
}

impl VolumeStore {
    /// Opens HOME. It may not exist.
    ///
    /// # Errors
    /// HOME cannot be trusted.
    pub fn open() -> Result<VolumeStore> {
        let place = HomePlace::find();
        let directory = match place.open()? {
            Some(home) => home.directory(VOLUMES.as_ref()).map_err(|error| failed(&place, error))?,
            None => None,
        };
        Ok(VolumeStore { place, directory })
    }

    /// Opens HOME, and makes it if it does not exist.
    ///
    /// # Errors
    /// As [`VolumeStore::open`]; it cannot be made.
    pub fn make() -> Result<VolumeStore> {
        let place = HomePlace::find();
        let (home, _) = place.make()?;
        home.make_directory(VOLUMES.as_ref()).map_err(|error| failed(&place, error.into()))?;
        VolumeStore::open()
    }

    /// The lock of a command that makes a container with volumes.
    ///
    /// # Errors
    /// A command that removes volumes does not end.
    pub fn using(&self) -> Result<RunLock> {
        let name = self.lock_name();
        RunLock::shared(&name, PATIENCE).map_err(|error| locked(&name, error))
    }

    fn lock_name(&self) -> String {
        format!("volumes-{}.lock", self.place.hash())
    }

    /// The path of the files of a volume.
    pub fn path_of(&self, name: &str) -> PathBuf {
        self.place.path.join(VOLUMES).join(name).join(DATA)
    }

    /// All volumes, by their names.
    ///
    /// # Errors
    /// HOME cannot be read.
    pub fn all(&self) -> Result<Vec<Volume>> {
        let Some(directory) = &self.directory else { return Ok(Vec::new()) };
        let (mut names, _) = directory.names().map_err(|error| failed(&self.place, error.into()))?;
        names.sort();
        let names = names.into_iter().filter_map(|name| name.into_string().ok());
        let names = names.filter(|name| name::is_valid(name));
        Ok(names.filter_map(|name| self.read(&name)).collect())
    }

    fn read(&self, name: &str) -> Option<Volume> {
        let own = self.directory.as_ref()?.directory(name.as_ref()).ok()??;
        Some(Volume { name: name.to_owned(), about: about_of(&own)?, path: self.path_of(name) })
    }

    /// The volume with this name.
    ///
    /// # Errors
    /// There is none.
    pub fn find(&self, name: &str) -> Result<Volume> {
        let none = || Error::new(ExitKind::Refused, text_with("volume.none", &[("name", &printed(name))]));
        if !name::is_valid(name) {
            return Err(none());
        }
        self.read(name).ok_or_else(none)
    }

    /// Makes a volume, or takes the one that has the name already. Also returns whether it is new. Without a name it gets an ID.
    ///
    /// # Errors
    /// The name is not valid; it cannot be made.
    pub fn create(
        &self,
        name: Option<&str>,
        labels: BTreeMap<String, String>,
        maps: Option<IdMaps>,
    ) -> Result<(Volume, bool)> {
        let is_anonymous = name.is_none();
        let name = name.map_or_else(|| Id::new().map(|id| id.to_string()), |name| Ok(name.to_owned()))?;
        if !name::is_valid(&name) {
            return Err(Error::new(
                ExitKind::Refused,
                text_with("volume.name", &[("name", &printed(&name))]),
            ));
        }
        if let Some(known) = self.read(&name) {
            return Ok((known, false));
        }
        let unmade = |error: std::io::Error| failed(&self.place, error.into());
        let directory = self.directory.as_ref().ok_or_else(|| Error::failed(text("container.home.gone")))?;
        directory.make_directory(name.as_ref()).map_err(unmade)?;
        let own = directory.directory(name.as_ref()).map_err(|error| failed(&self.place, error))?;
        let own = own.ok_or_else(|| failed(&self.place, Unusable::Removed))?;
        match fs::create_dir(own.path_through(DATA)) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            made => made.map_err(unmade)?,
        }
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(own.path_through(DATA), mode).map_err(unmade)?;
        let about = AboutVolume { created: Timestamp::now(), labels, is_anonymous, maps };
        // With this file, the volume exists. Of two commands that make it at the same time, one writes the file.
        let bytes = serde_json::to_vec(&about).unwrap_or_default();
        let new = format!("{ABOUT}.{:08x}", token());
        let written = own.replace(&new, &bytes, true).and_then(|()| own.rename_new(&new, ABOUT));
        match written {
            Ok(()) => {
                own.sync().map_err(unmade)?;
                Event::about(EventKind::Volume, "create", &name, &[("driver", "local")]).note();
                Ok((Volume { path: self.path_of(&name), name, about }, true))
            }
            Err(error) => {
                let _ = own.remove_file(&*new);
                let is_taken = error.kind() == std::io::ErrorKind::AlreadyExists;
                let known = self.read(&name).filter(|_| is_taken);
                known.map(|known| (known, false)).ok_or_else(|| unmade(error))
            }
        }
    }

    /// Removes a volume that no container has.
    ///
    /// # Errors
    /// There is none, a container has it, or its files cannot be removed.
    pub fn remove(&self, name: &str, containers: &ContainerStore) -> Result<()> {
        let lock = self.removing()?;
        let removed = self.find(name).and_then(|volume| {
            match self.users(containers)?.get(name).and_then(|users| users.first()) {
                None => self.remove_files(&volume),
                Some(id) => {
                    let values = [("name", name), ("id", id.as_str())];
                    Err(Error::new(ExitKind::Refused, text_with("volume.used", &values)))
                }
            }
        });
        lock.release();
        removed
    }

    /// Removes the volumes that no container has and that `wanted` returns. Returns their names and their size.
    ///
    /// # Errors
    /// The containers cannot be read; files cannot be removed.
    pub fn prune(
        &self,
        containers: &ContainerStore,
        wanted: impl Fn(&Volume) -> bool,
    ) -> Result<(Vec<String>, u64)> {
        let lock = self.removing()?;
        let pruned = self.users(containers).and_then(|used| {
            let (mut names, mut size) = (Vec::new(), 0);
            for volume in self.all()?.into_iter().filter(|one| wanted(one) && !used.contains_key(&one.name)) {
                size += self.size(&volume);
                self.remove_files(&volume)?;
                names.push(volume.name);
            }
            Ok((names, size))
        });
        lock.release();
        pruned
    }

    fn removing(&self) -> Result<RunLock> {
        let name = self.lock_name();
        let lock = RunLock::exclusive(&name, PATIENCE, || true).map_err(|error| locked(&name, error))?;
        self.finish_removals();
        Ok(lock)
    }

    /// The volumes that containers have, each with their IDs, for a list. Containers that cannot be read are passed over.
    ///
    /// # Errors
    /// The list of containers cannot be read.
    pub fn known_users(&self, containers: &ContainerStore) -> Result<BTreeMap<String, Vec<Id>>> {
        Ok(by_volume(containers.records()?.into_iter().flatten()))
    }

    /// The same, for a command that removes what has no user. Only configs are read: to correct a state could remove a container,
    /// and so wait for the lock of this command.
    ///
    /// # Errors
    /// A config cannot be read, so it is not known which volumes it has.
    fn users(&self, containers: &ContainerStore) -> Result<BTreeMap<String, Vec<Id>>> {
        let records: Result<Vec<ContainerRecord>> = containers.records()?.into_iter().collect();
        records.map(by_volume)
    }

    /// The size of its files.
    pub fn size(&self, volume: &Volume) -> u64 {
        let directory = self.place.path.join(VOLUMES).join(&volume.name);
        upper::measure(&directory, DATA, volume.about.maps.as_ref()).unwrap_or_default()
    }

    /// Removes a volume. It gets another name first, so that it is there as a whole, or not at all. The caller has the lock.
    fn remove_files(&self, volume: &Volume) -> Result<()> {
        let directory = self.directory.as_ref().ok_or_else(|| Error::failed(text("container.home.gone")))?;
        let removed = format!("{REMOVED}{}", volume.name);
        directory.rename(&volume.name, &removed).map_err(|error| failed(&self.place, error.into()))?;
        Event::about(EventKind::Volume, "destroy", &volume.name, &[("driver", "local")]).note();
        self.finish_removal(&removed)
    }

    /// Removes the files of a volume that has got its other name.
    fn finish_removal(&self, name: &str) -> Result<()> {
        let directory = self.directory.as_ref().ok_or_else(|| Error::failed(text("container.home.gone")))?;
        let own = directory.directory(name.as_ref()).map_err(|error| failed(&self.place, error))?;
        let Some(own) = own else { return Ok(()) };
        let maps = about_of(&own).and_then(|about| about.maps);
        upper::remove_in(own.path(), DATA, maps.as_ref())?;
        // A command that was killed may have left a file beside these two. What says the maps is the last to go.
        let mut files = own.names().map_err(|error| failed(&self.place, error.into()))?.0;
        files.sort_by_key(|file| file == ABOUT);
        let removed = files.iter().try_for_each(|file| own.remove_file(file));
        let removed = removed.and_then(|()| directory.remove_directory(name.as_ref()));
        removed.map_err(|error| failed(&self.place, error.into()))
    }

    /// Finishes what a removal that was killed has left.
    fn finish_removals(&self) {
        let names = self.directory.as_ref().and_then(|directory| directory.names().ok());
        let names = names.into_iter().flat_map(|(names, _)| names).filter_map(|name| name.into_string().ok());
        for name in names.filter(|name| name.starts_with(REMOVED)) {
            let _ = self.finish_removal(&name);
        }
    }

    /// Removes the volumes without a name of a container that was removed. What cannot be removed stays.
    pub fn remove_anonymous(volumes: &[super::record::VolumeMount]) {
        let anonymous: Vec<&str> =
            volumes.iter().filter(|one| one.is_anonymous).map(|one| one.name.as_str()).collect();
        if anonymous.is_empty() {
            return;
        }
        if let (Ok(store), Ok(containers)) = (VolumeStore::open(), ContainerStore::open()) {
            for name in anonymous {
                let _ = store.remove(name, &containers);
            }
        }
    }
}

/// What the file of a volume says.
fn about_of(directory: &PrivateDirectory) -> Option<AboutVolume> {
    serde_json::from_slice(&fs::read(directory.path_through(ABOUT)).ok()?).ok()
}

/// Whether a directory is empty. One that cannot be read is not.
pub fn is_empty(path: &Path) -> bool {
    fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none())
}

fn locked(name: &str, error: std::io::Error) -> Error {
    Error::new(ExitKind::Refused, text("volume.locked")).call(format!("flock(<{name}>)"), error)
}

fn failed(place: &HomePlace, unusable: Unusable) -> Error {
    let path = place.path.join(VOLUMES);
    let what = text_with("volume.cannot", &[("path", &printed(&path))]);
    match unusable {
        Unusable::Failed(error) => storage::explain_io(Error::failed(what), &error, &place.path),
        unusable => Error::failed(what).why(unusable.reason()),
    }
}
fn by_volume(records: impl IntoIterator<Item = ContainerRecord>) -> BTreeMap<String, Vec<Id>> {
    let mut users: BTreeMap<String, Vec<Id>> = BTreeMap::new();
    for record in records {
        for volume in record.volumes {
            users.entry(volume.name).or_default().push(record.id.clone());
        }
    }
    users
}
