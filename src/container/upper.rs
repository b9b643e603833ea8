//! The upper layer of a kept container: what it has written, from its creation until `rm` removes it.
//!
//!     HOME/containers/ID/upper         the upper directory of its overlay
//!     HOME/containers/ID/upper.work    the directory in which overlayfs prepares files
//!
//! A container has them if its root filesystem is an overlay, and if its spec names no upper directory. Nothing of ours is
//! written there: the mount points that a container needs are in the init layer below (`rootfs::init_layer`).
//!
//! As a user with subordinate IDs, the files in it belong to the IDs of the container. A process in a user namespace with
//! the same maps removes and measures them, as it does with layers.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;

use super::record::ContainerRecord;
use super::store::{ContainerStore, KeptContainer};
use crate::config::container::Config;
use crate::error::{Error, Result};
use crate::host::private_directory::PrivateDirectory;
use crate::plan::call::user::IdMaps;
use crate::rootfs::{RootFilesystem, lower_only};
use crate::text::{printed, text, text_with};

/// The name of the upper directory.
const UPPER: &str = "upper";

/// The mode of the root of a container whose lower directory cannot be looked at.
const MODE: u32 = 0o755;

/// Gives a new container an upper directory in HOME, if its root filesystem is an overlay whose upper layer would be in memory.
/// The directory is made with the container.
///
/// # Errors
/// overlayfs cannot have an upper directory on the filesystem of HOME.
pub fn give(store: &ContainerStore, record: &mut ContainerRecord) -> Result<()> {
    let directory = store.path().join("containers").join(record.id.as_str());
    let wants = |root: &&mut RootFilesystem| root.overlay && root.upper.is_none() && !root.host;
    let Some(root) = record.config.environment.root.as_mut().filter(wants) else { return Ok(()) };
    if let Some(kind) = lower_only(store.path()) {
        let error = Error::failed(text_with("container.upper.cannot", &[("path", &printed(store.path()))]));
        let error = error.why(text_with("rootfs.upper.kind", &[("kind", kind)]));
        return Err(error.todo(text("container.upper.todo")));
    }
    root.upper = Some(directory.join(UPPER));
    Ok(())
}

impl ContainerRecord {
    /// The upper directory that belongs to the container. None: its writes go to a directory of the user, or to memory.
    pub fn own_upper(&self) -> Option<&Path> {
        let upper = self.config.environment.root.as_ref()?.upper.as_deref()?;
        upper.ends_with(Path::new(self.id.as_str()).join(UPPER)).then_some(upper)
    }
}

/// Makes the upper directory of a new container in its directory. It gets the mode and the owner of the root of the topmost
/// layer: of merged directories, the uppermost one decides.
pub(super) fn make(directory: &PrivateDirectory, record: &ContainerRecord) -> io::Result<()> {
    if record.own_upper().is_none() {
        return Ok(());
    }
    let path = directory.path_through(UPPER);
    fs::create_dir(&path)?;
    let lower = record.config.environment.root.iter().flat_map(|root| &root.lowers).next();
    let like = lower.and_then(|lower| lower.metadata().ok());
    if let Some(like) = like.as_ref().filter(|_| nix::unistd::geteuid().is_root()) {
        chown(&path, Some(like.uid()), Some(like.gid()))?;
    }
    let mode = like.map_or(MODE, |like| like.permissions().mode() & 0o7777);
    fs::set_permissions(&path, fs::Permissions::from_mode(mode))
}

/// The ID maps in which a container sees its files. None: the IDs on the disk are those of the host, or the host shows them
/// by idmapped mounts.
fn maps(config: &Config) -> Option<&IdMaps> {
    let maps = config.environment.namespaces.user.options();
    maps.filter(|maps| !nix::unistd::geteuid().is_root() && !maps.users.is_empty())
}

/// Removes a directory in the directory of a container, with all that is in it.
pub(super) fn remove(directory: &PrivateDirectory, name: &str, config: Option<&Config>) -> io::Result<()> {
    let removed = tree::remove(directory.path(), name, config.and_then(maps));
    removed.map_err(|error| io::Error::other(error.to_string()))
}

/// Removes an entry of a directory in HOME, whose files have their owners in these maps.
pub(super) fn remove_in(directory: &Path, name: &str, maps: Option<&IdMaps>) -> Result<()> {
    tree::remove(directory, name, maps)
}

/// The size of an entry of a directory in HOME.
pub(super) fn measure(directory: &Path, name: &str, maps: Option<&IdMaps>) -> Result<u64> {
    tree::measure(directory, name, maps)
}

impl KeptContainer {
    /// The size of the files that the container has written. None: it has no upper directory of its own.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn written_size(&self) -> Result<Option<u64>> {
        if self.record.own_upper().is_none() {
            return Ok(None);
        }
        tree::measure(self.directory.path(), UPPER, maps(&self.record.config)).map(Some)
    }

    /// The size of the files of all its layers below. The files of the host do not count.
    pub fn lower_size(&self) -> u64 {
        let root = self.record.config.environment.root.as_ref().filter(|root| !root.host);
        root.map_or(0, |root| root.lowers.iter().map(|lower| lower_size(lower)).sum())
    }
}

#[cfg(feature = "images")]
fn lower_size(lower: &Path) -> u64 {
    let known = crate::image::rootfs::size_of_files(lower);
    known.or_else(|| crate::image::layer::measure_tree(lower).ok()).unwrap_or_default()
}

#[cfg(not(feature = "images"))]
fn lower_size(_lower: &Path) -> u64 {
    0
}

#[cfg(feature = "images")]
mod tree {
    pub(super) use crate::image::layer::{measure_in_map as measure, remove_in_map as remove};
}

/// Without images there is no process that works in a user namespace with the maps of a container.
#[cfg(not(feature = "images"))]
mod tree {
    use std::path::Path;

    use crate::error::{Error, Result, io_text};
    use crate::plan::call::user::IdMaps;
    use crate::text::{printed, text_with};

    pub(super) fn remove(directory: &Path, name: &str, _maps: Option<&IdMaps>) -> Result<()> {
        let path = directory.join(name);
        let work = path.join("work");
        // overlayfs leaves a directory that nobody may enter.
        let _ = std::fs::set_permissions(&work, std::os::unix::fs::PermissionsExt::from_mode(0o700));
        std::fs::remove_dir_all(&path).map_err(|error| {
            let what = text_with("container.upper.remove", &[("path", &printed(&path))]);
            Error::failed(what).why(io_text(&error))
        })
    }

    pub(super) fn measure(_directory: &Path, _name: &str, _maps: Option<&IdMaps>) -> Result<u64> {
        Ok(0)
    }
}
