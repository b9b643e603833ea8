//! Images of the steps of builds, which later builds take instead of the step: HOME/images/cache/KEY.
//!
//! A key is the digest of everything that the result of a step depends on. Each file is written as a whole, after the blobs that it
//! names. If it names a blob that is not there, it counts as absent. So a crash leaves at most a step that is made again.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;

use super::{ImageStore, StoreDirectories, StoredImage};
use crate::error::Result;
use crate::host::private_directory::{PrivateDirectory, Unusable};
use crate::host::run_lock::RunLock;
use crate::host::token::token;
use crate::image::digest::Digest;
use crate::image::layer;
use crate::image::manifest::{Descriptor, MAX_DOCUMENT};
use crate::plan::call::user::IdMaps;
use crate::value::timestamp::Timestamp;

/// The directory in the layout.
const CACHE: &str = "cache";

/// The beginning of the name of a file that is not complete.
const NEW: &str = ".new-";

/// The directory in the layout with the directories of `RUN --mount=type=cache`.
const MOUNTS: &str = "mounts";

/// The image of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CachedStep {
    /// The name of its file.
    pub key: Digest,
    /// The image.
    pub image: StoredImage,
}

impl ImageStore {
    /// The image that a step with this key has made, if all of it is still there.
    pub fn cached(&self, key: &Digest) -> Option<StoredImage> {
        let image = self.read_cached(key)?;
        self.is_whole(&image.descriptor).then_some(image)
    }

    /// Notes the image that a step with this key has made. Its blobs have their names.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn remember(&self, key: &Digest, image: &StoredImage) -> Result<()> {
        let images = &self.directories()?.images;
        let written = images.make_directory(CACHE.as_ref()).and_then(|_| {
            let cache = images.directory(CACHE.as_ref()).map_err(|error| error.into_io())?;
            let cache = cache.ok_or(io::ErrorKind::NotFound)?;
            // Another build may write the same key now.
            let name = format!("{NEW}{:08x}{:08x}", token(), token());
            let mut file = cache.make_file(&name)?.ok_or(io::ErrorKind::AlreadyExists)?;
            let bytes = serde_json::to_vec(&image.described(None)).unwrap_or_default();
            file.write_all(&bytes)?;
            cache.rename(&name, key.hex())
        });
        written.map_err(|error| self.unwritten(&error))
    }

    /// The images of all steps, the oldest first. One that has two keys is there once.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn cached_steps(&self) -> Result<Vec<CachedStep>> {
        let mut all: Vec<CachedStep> = self
            .cache_keys()?
            .into_iter()
            .filter_map(|key| Some(CachedStep { image: self.read_cached(&key)?, key }))
            .collect();
        all.sort_by(|one, other| one.image.created.cmp(&other.image.created));
        let mut seen = BTreeSet::new();
        all.retain(|step| seen.insert(step.image.descriptor.digest.clone()));
        Ok(all)
    }

    /// Removes the notes about all steps, or about those that were made before this time. Returns their number. The next sweep
    /// removes what only they name.
    ///
    /// # Errors
    /// A file cannot be removed.
    pub fn forget_steps(&self, before: Option<Timestamp>) -> Result<usize> {
        let Some(cache) = self.cache()? else { return Ok(0) };
        // A file that was not complete at a crash has another name, and goes too.
        let entries = fs::read_dir(cache.path_through("")).map_err(|error| self.unwritten(&error))?;
        let mut count = 0;
        for entry in entries {
            let entry = entry.map_err(|error| self.unwritten(&error))?;
            if !is_before(entry.metadata(), before) {
                continue;
            }
            let name = entry.file_name();
            cache.remove_file(name.as_os_str()).map_err(|error| self.unwritten(&error))?;
            count += usize::from(name.to_str().is_some_and(|name| Digest::of_hex(name).is_some()));
        }
        Ok(count)
    }

    /// Removes notes that were not complete when a build was killed. No build is running.
    pub(super) fn forget_unfinished(&self) -> Result<()> {
        let Some(cache) = self.cache()? else { return Ok(()) };
        for entry in fs::read_dir(cache.path_through("")).map_err(|error| self.unwritten(&error))? {
            let name = entry.map_err(|error| self.unwritten(&error))?.file_name();
            if name.as_encoded_bytes().starts_with(NEW.as_bytes()) {
                cache.remove_file(name.as_os_str()).map_err(|error| self.unwritten(&error))?;
            }
        }
        Ok(())
    }

    /// The directory of a cache of `RUN --mount` with these ID maps, and whether it is new. Its files are in `files`.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn cache_directory(&self, id: &str, maps: Option<&IdMaps>) -> Result<(PathBuf, bool)> {
        let images = &self.directories()?.images;
        let name = Digest::of(json!([id, maps]).to_string().as_bytes()).hex().to_owned();
        let made = images.make_directory(MOUNTS.as_ref()).and_then(|_| {
            let unusable = |error: Unusable| error.into_io();
            let mounts =
                images.directory(MOUNTS.as_ref()).map_err(unusable)?.ok_or(io::ErrorKind::NotFound)?;
            mounts.make_directory(name.as_ref())?;
            let own = mounts.directory(name.as_ref()).map_err(unusable)?.ok_or(io::ErrorKind::NotFound)?;
            let is_new = match fs::create_dir(own.path_through("files")) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => false,
                made => made.map(|()| true)?,
            };
            Ok((own.path().to_owned(), is_new))
        });
        made.map_err(|error| self.unwritten(&error))
    }

    /// Removes the directories of caches whose files have their owners in these ID maps; or those of them that were changed last
    /// before this time. As long as a build is running, they stay.
    ///
    /// # Errors
    /// A file cannot be removed.
    pub fn forget_directories(&self, maps: Option<&IdMaps>, before: Option<Timestamp>) -> Result<()> {
        let Some(directories) = &self.directories else { return Ok(()) };
        let lock = match RunLock::exclusive(&self.lock_name("blobs"), Duration::ZERO, || false) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            lock => self.lock("blobs", lock)?,
        };
        let removed = self.remove_directories(directories, maps, before);
        lock.release();
        removed
    }

    fn remove_directories(
        &self,
        directories: &StoreDirectories,
        maps: Option<&IdMaps>,
        before: Option<Timestamp>,
    ) -> Result<()> {
        let found = directories.images.directory(MOUNTS.as_ref());
        let Some(mounts) = found.map_err(|error| super::unusable(&self.place, error))? else { return Ok(()) };
        for entry in fs::read_dir(mounts.path_through("")).map_err(|error| self.unwritten(&error))? {
            let entry = entry.map_err(|error| self.unwritten(&error))?;
            if !is_before(fs::symlink_metadata(entry.path().join("files")), before) {
                continue;
            }
            let name = entry.file_name();
            layer::remove_in_map(mounts.path(), name.to_str().unwrap_or_default(), maps)?;
        }
        Ok(())
    }

    /// The directory with the directories of caches. None: there is none.
    pub fn cache_directories(&self) -> Option<PathBuf> {
        let found = self.directories.as_ref()?.images.directory(MOUNTS.as_ref()).ok()??;
        Some(found.path().to_owned())
    }

    fn cache(&self) -> Result<Option<PrivateDirectory>> {
        let Some(directories) = &self.directories else { return Ok(None) };
        directories.images.directory(CACHE.as_ref()).map_err(|error| super::unusable(&self.place, error))
    }

    fn cache_keys(&self) -> Result<Vec<Digest>> {
        let Some(cache) = self.cache()? else { return Ok(Vec::new()) };
        let mut keys = Vec::new();
        for entry in fs::read_dir(cache.path_through("")).map_err(|error| self.unwritten(&error))? {
            let name = entry.map_err(|error| self.unwritten(&error))?.file_name();
            keys.extend(name.to_str().and_then(Digest::of_hex));
        }
        Ok(keys)
    }

    fn read_cached(&self, key: &Digest) -> Option<StoredImage> {
        let file = self.cache().ok()??.file_to_read(key.hex()).ok()??;
        let mut bytes = Vec::new();
        file.take(MAX_DOCUMENT).read_to_end(&mut bytes).ok()?;
        StoredImage::of(serde_json::from_slice::<Descriptor>(&bytes).ok()?)
    }
}

/// Whether a file was changed last before this time. Without a time, each one counts.
fn is_before(found: io::Result<fs::Metadata>, before: Option<Timestamp>) -> bool {
    let Some(before) = before else { return true };
    let changed =
        found.map(|found| i128::from(found.mtime()) * 1_000_000_000 + i128::from(found.mtime_nsec()));
    changed.is_ok_and(|changed| changed < before.0)
}
