//! Removes what no image names: mark and sweep.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::Duration;

use super::{ImageStore, StoreDirectories, partial};
use crate::error::Result;
use crate::host::private_directory::PrivateDirectory;
use crate::host::run_lock::RunLock;
use crate::host::token::token;
use crate::image::digest::Digest;
use crate::image::layer;
use crate::image::manifest::{Descriptor, ImageDocument, media, read_document};
use crate::image::rootfs::{self, MappedLayers};
use crate::plan::call::user::IdMaps;

/// What was removed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Freed {
    /// The bytes of the blobs.
    pub bytes: u64,
    /// The bytes of the files in the layers, as Docker counts what a prune frees.
    pub unpacked: u64,
    /// The chain IDs of the layers.
    pub layers: Vec<Digest>,
    /// Whether another command was adding blobs, so that nothing was removed.
    pub is_postponed: bool,
}

impl ImageStore {
    /// Removes the blobs and layers that no image names. `in_use` returns directories of layers that containers have. It is called
    /// when no command can add a container any more.
    ///
    /// # Errors
    /// A document cannot be read, so it is not known what it names; a file cannot be removed.
    pub fn sweep(&self, in_use: impl FnOnce() -> Result<Vec<PathBuf>>) -> Result<Freed> {
        let Some(directories) = &self.directories else { return Ok(Freed::default()) };
        let lock = match RunLock::exclusive(&self.lock_name("blobs"), Duration::ZERO, || false) {
            Ok(lock) => lock,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                return Ok(Freed { is_postponed: true, ..Freed::default() });
            }
            Err(error) => return Err(self.lock("blobs", Err(error)).expect_err("an error")),
        };
        let swept = in_use().and_then(|in_use| self.sweep_locked(directories, &in_use));
        lock.release();
        let (freed, unused) = swept?;
        unused.iter().try_for_each(UnusedTree::remove)?;
        Ok(freed)
    }

    /// Removes blobs, and gives layers other names. A layer can have very many files, so they are removed after the release
    /// of the lock.
    fn sweep_locked(
        &self,
        directories: &StoreDirectories,
        in_use: &[PathBuf],
    ) -> Result<(Freed, Vec<UnusedTree>)> {
        let mut marked = Marked::default();
        for descriptor in self.index()?.manifests {
            self.mark(&descriptor, &mut marked)?;
        }
        for step in self.cached_steps()? {
            // A step whose image is damaged is made again.
            let _ = self.mark(&step.image.descriptor, &mut marked);
        }
        let (mut freed, mut unused) = (Freed::default(), Vec::new());
        // The process that wrote there was killed: this command has the lock exclusively.
        let failed = |error: std::io::Error| self.unwritten(&error);
        for left in names(&directories.ingest).map_err(failed)? {
            if partial::is_kept(&left, &directories.ingest.path_through("").join(&left)) {
                continue;
            }
            let directory = directories.ingest.path().to_owned();
            unused.push(UnusedTree { directory, name: left, maps: None });
        }
        self.forget_unfinished()?;
        for name in names(&directories.blobs).map_err(failed)? {
            let digest = name.to_str().and_then(Digest::of_hex);
            if digest.is_none_or(|digest| !marked.blobs.contains(&digest)) {
                let path = directories.blobs.path_through("").join(&name);
                freed.bytes += fs::symlink_metadata(&path).map(|file| file.len()).unwrap_or_default();
                fs::remove_file(path).map_err(failed)?;
            }
        }
        for mapped in MappedLayers::all(&directories.layers)? {
            for name in names(&mapped.directory).map_err(failed)? {
                let chain_id = name.to_str().and_then(Digest::of_hex);
                let path = mapped.directory.path().join(&name);
                let is_used = in_use.iter().any(|used| used.starts_with(&path));
                let is_marked = chain_id.as_ref().is_some_and(|chain_id| marked.layers.contains(chain_id));
                if MappedLayers::is_name(&name) || is_marked || is_used {
                    continue;
                }
                let is_new = |chain_id: &Digest| !freed.layers.contains(chain_id);
                if let Some(chain_id) = chain_id.filter(is_new) {
                    freed.unpacked += rootfs::size_of(self, &chain_id).unwrap_or_default();
                    freed.layers.push(chain_id);
                }
                unused.push(UnusedTree::rename(&mapped, &name));
            }
        }
        Ok((freed, unused))
    }

    fn mark(&self, descriptor: &Descriptor, marked: &mut Marked) -> Result<()> {
        // The index from which the image was taken.
        let pulled = descriptor.annotations.get(super::PULLED).and_then(|digest| digest.parse().ok());
        marked.blobs.extend(pulled.filter(|digest| *digest != descriptor.digest));
        if !marked.blobs.insert(descriptor.digest.clone()) {
            return Ok(());
        }
        // An index names the images of all platforms, and usually only one is here.
        if !self.has_blob(&descriptor.digest) {
            return Ok(());
        }
        if !media::is_index(&descriptor.media_type) && !media::is_manifest(&descriptor.media_type) {
            return Ok(());
        }
        let what = descriptor.digest.to_string();
        match read_document(&self.document(&descriptor.digest)?, &descriptor.media_type, &what)? {
            ImageDocument::Index(index) => {
                index.manifests.iter().try_for_each(|inner| self.mark(inner, marked))
            }
            ImageDocument::Manifest(manifest) => {
                marked.blobs.insert(manifest.config.digest.clone());
                marked.blobs.extend(manifest.layers.iter().map(|layer| layer.digest.clone()));
                // An artifact has no layers of files.
                if let Ok(parts) = self.parts(descriptor) {
                    marked.layers.extend(parts.config.rootfs.chain_ids());
                }
                Ok(())
            }
        }
    }
}

/// What images name.
#[derive(Default)]
struct Marked {
    blobs: BTreeSet<Digest>,
    layers: BTreeSet<Digest>,
}

/// All names of a directory, however many there are.
fn names(directory: &PrivateDirectory) -> std::io::Result<Vec<std::ffi::OsString>> {
    fs::read_dir(directory.path_through(""))?.map(|entry| Ok(entry?.file_name())).collect()
}

/// A directory that no command uses any more.
struct UnusedTree {
    directory: PathBuf,
    name: OsString,
    maps: Option<IdMaps>,
}

impl UnusedTree {
    /// A layer, with another name: in one step, so that it is never there in part.
    fn rename(mapped: &MappedLayers, name: &OsStr) -> UnusedTree {
        let directory = mapped.directory.path_through("");
        let mut removed = OsString::from(format!(".rm-{:08x}", token()));
        // A name that begins with a dot is removed in any case.
        let has_name = name.as_bytes().starts_with(b".rm-");
        if has_name || fs::rename(directory.join(name), directory.join(&removed)).is_err() {
            removed = name.to_owned();
        }
        let directory = mapped.directory.path().to_owned();
        UnusedTree { directory, name: removed, maps: mapped.maps.clone() }
    }

    /// Removes it, unless another command is removing it.
    fn remove(&self) -> Result<()> {
        let lock = match RunLock::of_directory(&self.directory.join(&self.name)) {
            Err(error) if matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::ENOENT)) => return Ok(()),
            // Something that no command of this program makes has no lock.
            lock => lock.ok(),
        };
        let name = self.name.to_str().unwrap_or_default();
        let removed = layer::remove_in_map(&self.directory, name, self.maps.as_ref());
        drop(lock);
        removed
    }
}
