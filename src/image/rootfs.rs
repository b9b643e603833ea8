//! The directories of an image's layers, for an overlay.
//!
//!     root      HOME/layers/CHAIN-ID/files
//!     a user    HOME/layers/MAP/CHAIN-ID/files
//!
//! MAP names the ID maps of the user namespace in which the layer was unpacked. So after a change of /etc/subuid no
//! file has a wrong owner: the layer is unpacked again, in another directory.
//!
//! A layer gets its name when it is complete and on the disk. So it is complete, or it does not exist. `unpack` makes them.

mod unpack;

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub(super) use self::unpack::{unpack_all, unpack_each};
use super::Tell;
use super::digest::Digest;
use super::layer::{self, LayerCounts, LayerSummary};
use super::manifest::Descriptor;
use super::store::ImageStore;
use crate::error::{Error, ExitKind, Result};
use crate::host::private_directory::{PrivateDirectory, Unusable};
use crate::host::run_lock::RunLock;
use crate::host::storage;
use crate::host::token::token;
use crate::plan::call::user::{IdMaps, IdRange};
use crate::text::{printed, text, text_with};

/// The directory of the files of a layer.
const FILES: &str = "files";

/// What is known about a layer.
const ABOUT: &str = "about.json";

/// The mode of the root of an image whose layers say nothing about it.
const ROOT_MODE: u32 = 0o755;

/// A layer that is unpacked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnpackedLayer {
    /// Its chain ID.
    pub chain_id: Digest,
    /// The directory of its files.
    pub files: PathBuf,
    /// What it has.
    pub counts: LayerCounts,
    /// Whether this command has unpacked it.
    pub is_new: bool,
}

/// The file about a layer.
#[derive(Debug, Serialize, Deserialize)]
struct AboutLayer {
    diff_id: Digest,
    counts: LayerCounts,
    /// What its files are. None: an older version has unpacked it.
    #[serde(default)]
    summary: Option<LayerSummary>,
}

/// The layers that were unpacked with the same ID maps.
#[derive(Debug)]
pub struct MappedLayers {
    /// Their directory.
    pub directory: PrivateDirectory,
    /// The maps. None: real IDs.
    pub maps: Option<IdMaps>,
}

impl MappedLayers {
    /// The layers with these maps. The directory is made if it does not exist.
    ///
    /// # Errors
    /// It cannot be made or trusted.
    fn of(store: &ImageStore, maps: Option<&IdMaps>) -> Result<MappedLayers> {
        let layers = store.layers()?;
        let unusable = |error: Unusable| {
            let what = text_with("image.store.unusable", &[("path", &printed(layers.path()))]);
            error.explain(Error::new(ExitKind::Refused, what), layers.path())
        };
        let directory = match maps {
            None => layers.try_clone().map_err(|error| unusable(error.into()))?,
            Some(maps) => {
                let name = name_of(maps);
                layers.make_directory(name.as_ref()).map_err(|error| unusable(error.into()))?;
                let found = layers.directory(name.as_ref()).map_err(unusable)?;
                found.ok_or_else(|| unusable(Unusable::Removed))?
            }
        };
        Ok(MappedLayers { directory, maps: maps.cloned() })
    }

    /// All directories of layers: that of real IDs, and those of maps.
    pub(super) fn all(layers: &PrivateDirectory) -> Result<Vec<MappedLayers>> {
        let failed = |error: Unusable| {
            let what = text_with("image.store.unusable", &[("path", &printed(layers.path()))]);
            error.explain(Error::new(ExitKind::Refused, what), layers.path())
        };
        let failed_io = |error: io::Error| failed(error.into());
        let mut all = vec![MappedLayers { directory: layers.try_clone().map_err(failed_io)?, maps: None }];
        for entry in fs::read_dir(layers.path_through("")).map_err(failed_io)? {
            let name = entry.map_err(failed_io)?.file_name();
            if let Some(maps) = maps_of(&name)
                && let Some(directory) = layers.directory(&name).map_err(failed)?
            {
                all.push(MappedLayers { directory, maps: Some(maps) });
            }
        }
        Ok(all)
    }

    /// Whether this is the name of a directory of layers with maps.
    pub(super) fn is_name(name: &OsStr) -> bool {
        maps_of(name).is_some()
    }
}

/// A directory for the files of a layer that is made here. It is removed with this value; if the process is killed, the next
/// sweep removes it.
#[derive(Debug)]
pub struct LayerWorkspace {
    mapped: MappedLayers,
    name: String,
    directory: PrivateDirectory,
}

impl LayerWorkspace {
    /// Makes one. The caller has the lock of a command that adds layers.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn make(store: &ImageStore, maps: Option<&IdMaps>) -> Result<LayerWorkspace> {
        maps.map_or(Ok(()), check_maps)?;
        let mapped = MappedLayers::of(store, maps)?;
        let name = format!(".new-{:08x}{:08x}", token(), token());
        let made = mapped.directory.make_directory(name.as_ref());
        let made = made.and_then(|made| made.ok_or_else(|| std::io::ErrorKind::AlreadyExists.into()));
        let directory = made.map_err(|error| unwritten(store, &mapped, &error))?;
        Ok(LayerWorkspace { mapped, name, directory })
    }

    /// Makes an empty directory in it, with the mode and, as root, the owner of another one: of directories that an overlay
    /// merges, the uppermost one decides.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn make_directory(&self, name: &str, like: Option<&Path>) -> std::io::Result<PathBuf> {
        let path = self.directory.path_through(name);
        fs::create_dir(&path)?;
        let like = like.map(fs::metadata).transpose()?;
        if let Some(like) = like.as_ref().filter(|_| nix::unistd::geteuid().is_root()) {
            std::os::unix::fs::chown(&path, Some(like.uid()), Some(like.gid()))?;
        }
        let mode = like.map_or(ROOT_MODE, |like| like.mode() & 0o7777);
        fs::set_permissions(&path, fs::Permissions::from_mode(mode))?;
        Ok(self.directory.path().join(name))
    }
}

impl Drop for LayerWorkspace {
    fn drop(&mut self) {
        let _ = layer::remove_in_map(self.mapped.directory.path(), &self.name, self.mapped.maps.as_ref());
    }
}

fn unwritten(store: &ImageStore, mapped: &MappedLayers, error: &std::io::Error) -> Error {
    let what = text_with("image.store.cannot", &[("path", &printed(mapped.directory.path()))]);
    storage::explain_io(Error::new(ExitKind::Refused, what), error, store.home())
}

/// The name of a directory for maps: `users-0.1000.1-1.100000.65536-groups-0.1000.1`.
fn name_of(maps: &IdMaps) -> String {
    let all = |ranges: &[IdRange]| {
        let range = |range: &IdRange| format!("-{}.{}.{}", range.inside, range.outside, range.count);
        ranges.iter().map(range).collect::<String>()
    };
    format!("users{}-groups{}", all(&maps.users), all(&maps.groups))
}

fn maps_of(name: &OsStr) -> Option<IdMaps> {
    let (users, groups) = name.to_str()?.strip_prefix("users")?.split_once("-groups")?;
    let all = |written: &str| {
        let range = |range: &str| {
            let numbers = range.split('.').map(|number| number.parse().ok()).collect::<Option<Vec<u32>>>()?;
            let [inside, outside, count] = numbers[..] else { return None };
            Some(IdRange { inside, outside, count })
        };
        written.strip_prefix('-')?.split('-').map(range).collect::<Option<Vec<_>>>()
    };
    Some(IdMaps { users: all(users)?, groups: all(groups)? })
}

/// Checks that layers can be unpacked with these maps.
///
/// # Errors
/// They lack the caller's own ID, to which the directory of the layers belongs; or they map nothing.
fn check_maps(maps: &IdMaps) -> Result<()> {
    let (uid, gid) = (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
    let has = |ranges: &[IdRange], own: u32| {
        ranges.first().is_some_and(|first| own >= first.outside && own - first.outside < first.count)
    };
    if has(&maps.users, uid) && has(&maps.groups, gid) {
        return Ok(());
    }
    let values = [("uid", &*uid.to_string()), ("gid", &gid.to_string())];
    let error =
        Error::new(ExitKind::Refused, text("image.maps")).why(text_with("image.maps.reason", &values));
    Err(error.todo(text("image.maps.todo")))
}

/// The size of the files of a layer, if it is unpacked with any maps.
pub(super) fn size_of(store: &ImageStore, chain_id: &Digest) -> Option<u64> {
    let all = MappedLayers::all(store.layers().ok()?).ok()?;
    all.iter().find_map(|mapped| Some(find(mapped, chain_id).ok()??.counts.size))
}

/// The size of the files of a layer. None: this is not the directory of a layer's files.
pub fn size_of_files(files: &Path) -> Option<u64> {
    let layer = files.parent().filter(|_| files.file_name() == Some(FILES.as_ref()))?;
    let about: AboutLayer = serde_json::from_slice(&fs::read(layer.join(ABOUT)).ok()?).ok()?;
    Some(about.counts.size)
}

/// The directories of an image's layers, the topmost first. What is not unpacked yet is unpacked now. As long as the lock is
/// held, no command removes a layer: until the container is known that has them.
///
/// # Errors
/// A layer cannot be unpacked.
pub fn directories(
    store: &ImageStore,
    descriptor: &Descriptor,
    maps: Option<&IdMaps>,
    tell: Tell<'_>,
) -> Result<(Vec<PathBuf>, RunLock)> {
    let parts = store.parts(descriptor)?;
    let lock = store.adding()?;
    match unpack_all(store, &parts, &|digest| store.blob(digest), maps, tell) {
        Ok(layers) => Ok((visible(&layers).map_err(|error| unread(store, &error))?, lock)),
        Err(error) => {
            lock.release();
            Err(error)
        }
    }
}

/// The directories of layers for an overlay, the topmost first. A layer whose root is opaque hides all below, but the
/// kernel does not look at that attribute of a root.
///
/// # Errors
/// The process has no descriptor left: then it is not known what is hidden.
fn visible(layers: &[UnpackedLayer]) -> io::Result<Vec<PathBuf>> {
    let mut visible = Vec::new();
    for UnpackedLayer { files, .. } in layers.iter().rev() {
        visible.push(files.clone());
        match File::open(files).map(OwnedFd::from) {
            Ok(root) if layer::is_opaque(&root) => break,
            Err(error) if storage::is_shortage(&error) => return Err(error),
            _ => {}
        }
    }
    Ok(visible)
}

/// The error of layers that cannot be looked at. They may be whole.
fn unread(store: &ImageStore, error: &io::Error) -> Error {
    let what = text_with("image.store.unusable", &[("path", &printed(store.home().join("layers")))]);
    storage::explain_io(Error::new(ExitKind::Refused, what), error, store.home())
}

/// A layer that is there already.
///
/// # Errors
/// As [`find_about`].
fn find(mapped: &MappedLayers, chain_id: &Digest) -> io::Result<Option<UnpackedLayer>> {
    let layer = |(files, about): (PathBuf, AboutLayer)| UnpackedLayer {
        chain_id: chain_id.clone(),
        files,
        counts: about.counts,
        is_new: false,
    };
    Ok(find_about(mapped, chain_id)?.map(layer))
}

/// The directory of the files of a layer, and what is known about it. None: it is not unpacked, or not whole.
///
/// # Errors
/// The process has no descriptor left, or the device has failed: then it is not known.
fn find_about(mapped: &MappedLayers, chain_id: &Digest) -> io::Result<Option<(PathBuf, AboutLayer)>> {
    let directory = match mapped.directory.directory(chain_id.hex().as_ref()) {
        Err(Unusable::Failed(error)) if storage::is_shortage(&error) => return Err(error),
        Ok(Some(directory)) => directory,
        _ => return Ok(None),
    };
    let about = match fs::read(directory.path_through(ABOUT)) {
        Err(error) if storage::is_shortage(&error) => return Err(error),
        about => about.ok().and_then(|about| serde_json::from_slice(&about).ok()),
    };
    Ok(about.map(|about| (directory.path().join(FILES), about)))
}

/// What is wrong with the unpacked files of a layer, if anything is. None: it is not unpacked, or by an older
/// version. With `maps`, also the files for
/// containers with these ID maps are looked at.
///
/// # Errors
/// The files cannot be looked at.
pub(super) fn wrong_files(
    store: &ImageStore,
    chain_id: &Digest,
    maps: Option<&IdMaps>,
) -> Result<Option<Option<String>>> {
    let mut wrong = None;
    for mapped in MappedLayers::all(store.layers()?)? {
        let is_own =
            mapped.maps.is_none() || mapped.maps.as_ref() == maps || nix::unistd::geteuid().is_root();
        let found = find_about(&mapped, chain_id).map_err(|error| unread(store, &error))?;
        let Some((files, about)) = found.filter(|_| is_own) else { continue };
        // An older version has unpacked it.
        let Some(expected) = about.summary else { continue };
        let found = layer::summarize(&files, mapped.maps.as_ref())?;
        let path = printed(&files);
        let counts = [expected.count.to_string(), found.count.to_string()];
        let why = match found == expected {
            true => None,
            false if expected.count == found.count => {
                Some(text_with("image.verify.files", &[("path", &path)]))
            }
            false => {
                let values = [("path", &*path), ("said", &counts[0]), ("found", &counts[1])];
                Some(text_with("image.verify.count", &values))
            }
        };
        wrong = Some(wrong.flatten().or(why));
    }
    Ok(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_are_in_the_name_of_their_directory() {
        let range = |inside, outside, count| IdRange { inside, outside, count };
        let maps = IdMaps {
            users: vec![range(0, 1000, 1), range(1, 100_000, 65_536)],
            groups: vec![range(0, 1000, 1)],
        };
        let name = name_of(&maps);
        assert_eq!(name, "users-0.1000.1-1.100000.65536-groups-0.1000.1");
        assert_eq!(maps_of(OsStr::new(&name)), Some(maps));
        for other in ["users", "users-groups", "users-1.2-groups-1.2.3", &"a".repeat(64)] {
            assert_eq!(maps_of(OsStr::new(other)), None, "{other}");
        }
    }
}
