//! The directories of the store, and the files of one container in them.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use super::super::id::Id;
use super::super::record::{ContainerRecord, StoredFile, VERSION};
use super::super::upper;
use super::CONFIG;
use crate::error::{Error, Result, io_text};
use crate::host::containers::{MAX_CONFIG, read_bounded};
use crate::host::private_directory::{PrivateDirectory, Unusable};
use crate::host::storage;
use crate::text::{text, text_with};
use crate::value::json_error;
use crate::value::shell::quote;

/// The directory of the containers.
pub(super) const CONTAINERS: &str = "containers";

/// The directory of their names.
pub(super) const NAMES: &str = "names";

/// The directories in HOME.
#[derive(Debug)]
pub(super) struct Directories {
    pub(super) home: PrivateDirectory,
    pub(super) containers: PrivateDirectory,
    pub(super) names: PrivateDirectory,
}

impl Directories {
    pub(super) fn find(home: &PrivateDirectory) -> std::result::Result<Option<Directories>, Unusable> {
        let (containers, names) = (home.directory(CONTAINERS.as_ref())?, home.directory(NAMES.as_ref())?);
        let home = home.try_clone()?;
        Ok(containers.zip(names).map(|(containers, names)| Directories { home, containers, names }))
    }

    /// The path of a container, for messages.
    pub(super) fn path_of(&self, id: &Id) -> PathBuf {
        self.containers.path().join(id.as_str())
    }
}

/// The ID to which a name leads.
pub(super) fn target_of(names: &PrivateDirectory, name: &str) -> io::Result<Option<Id>> {
    let target = names.link(name)?;
    let id = target.and_then(|target| {
        Id::of(target.to_str()?.strip_prefix("../")?.strip_prefix(CONTAINERS)?.strip_prefix('/')?)
    });
    Ok(id)
}

/// The names of a container.
///
/// # Errors
/// A name cannot be read.
pub(super) fn names_of(names: &PrivateDirectory, id: &Id) -> io::Result<Vec<String>> {
    let mut found = Vec::new();
    for name in names.names()?.0.into_iter().filter_map(|name| name.into_string().ok()) {
        if target_of(names, &name)?.as_ref() == Some(id) {
            found.push(name);
        }
    }
    Ok(found)
}

/// Removes the directory of a container, with its files and its upper layer. Its config is the last: it has the ID maps
/// that the next command needs to remove the rest, if this one is killed.
pub(super) fn remove_directory(parent: &PrivateDirectory, name: &OsStr) -> io::Result<()> {
    let found = parent.directory(name).map_err(|unusable| unusable.into_io())?;
    let Some(directory) = found else { return Ok(()) };
    let config = || {
        let content = read_bounded(directory.file_to_read(CONFIG).ok()??, MAX_CONFIG).ok()?;
        serde_json::from_slice::<ContainerRecord>(&content).ok().map(|record| record.config)
    };
    let config = config();
    let mut names = directory.names()?.0;
    names.sort_by_key(|name| name == CONFIG);
    for name in names {
        match directory.remove_file(&name) {
            Err(error) if error.kind() == io::ErrorKind::IsADirectory => {
                upper::remove(&directory, &name.to_string_lossy(), config.as_ref())?;
            }
            removed => removed?,
        }
    }
    parent.remove_directory(name)
}

/// The content of config.json. A container whose config cannot be read is lost, so each is read before it is written.
pub(super) fn config_of(record: &ContainerRecord) -> io::Result<Vec<u8>> {
    let mut config = serde_json::to_vec(record)?;
    serde_json::from_slice::<ContainerRecord>(&config)?;
    config.push(b'\n');
    Ok(config)
}

/// Reads a file of a container.
pub(super) fn read_json<T: StoredFile>(
    directory: &PrivateDirectory,
    id: &Id,
    name: &str,
    most: u64,
) -> Result<T> {
    #[derive(serde::Deserialize)]
    struct FileVersion {
        version: u32,
    }
    let path = directory.path().join(name);
    let wrong = |why: String| damaged(id, format!("{}: {why}", quote(&path)));
    let file = directory.file_to_read(name).map_err(|unusable| unread(id, unusable, &path))?;
    let file = file.ok_or_else(|| wrong(text("container.file.none")))?;
    let content = read_bounded(file, most).map_err(|error| match error.raw_os_error() {
        Some(_) => unread(id, error.into(), &path),
        None => wrong(error.to_string()),
    })?;
    let versioned: FileVersion =
        serde_json::from_slice(&content).map_err(|error| wrong(json_error::reason(&content, &error)))?;
    if versioned.version > VERSION {
        let values = [("version", &*versioned.version.to_string())];
        return Err(wrong(text_with("container.file.newer", &values)));
    }
    let read: T =
        serde_json::from_slice(&content).map_err(|error| wrong(json_error::reason(&content, &error)))?;
    // HOME/containers/ID
    let home = directory.path().ancestors().nth(2).unwrap_or(Path::new("/"));
    Ok(read.in_home(home))
}

/// The error of a container whose files cannot be read now. They may be whole, so nothing is removed.
pub(super) fn unread(id: &Id, unusable: Unusable, path: &Path) -> Error {
    match unusable {
        Unusable::Failed(failed) => {
            let error = Error::failed(unread_text(id)).why(format!("{}: {}", quote(path), io_text(&failed)));
            storage::explain(error, Errno::from_raw(failed.raw_os_error().unwrap_or_default()), path)
        }
        unusable => damaged(id, format!("{}: {}", quote(path), unusable.reason())),
    }
}

/// The error of a container whose files are not what they should be.
fn damaged(id: &Id, why: String) -> Error {
    Error::failed(unread_text(id)).why(why).paste(format!("sandbox rm -f {}", id.short()))
}

fn unread_text(id: &Id) -> String {
    text_with("container.unread", &[("id", id.short())])
}
