//! Blobs on their way into the store.

use std::fs::File;
use std::io::{self, Write};

use super::ImageStore;
use crate::error::Result;
use crate::host::private_directory::PrivateDirectory;
use crate::host::run_lock::RunLock;
use crate::host::token::token;
use crate::image::digest::{Digest, Digesting};
use crate::image::layer;
use crate::image::sparse::SparseFile;

/// A directory for blobs that are not complete. As long as it exists, no command removes unused blobs. What was not
/// published is removed with it.
#[derive(Debug)]
pub struct Ingest<'s> {
    store: &'s ImageStore,
    name: String,
    directory: PrivateDirectory,
    lock: Option<RunLock>,
}

/// A blob that is written.
#[derive(Debug)]
pub struct NewBlob {
    file: Digesting<SparseFile<File>>,
    name: String,
}

/// A blob that is complete, and has no name in the store yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StagedBlob {
    name: String,
    /// Its digest.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
}

impl ImageStore {
    /// A place for new blobs.
    ///
    /// # Errors
    /// Another command is removing unused blobs; the directory cannot be made.
    pub fn ingest(&self) -> Result<Ingest<'_>> {
        let lock = self.adding()?;
        let name = format!("{:08x}{:08x}", token(), token());
        let made = self.directories()?.ingest.make_directory(name.as_ref());
        let made = made.and_then(|made| made.ok_or_else(|| io::ErrorKind::AlreadyExists.into()));
        let directory = made.map_err(|error| self.unwritten(&error))?;
        Ok(Ingest { store: self, name, directory, lock: Some(lock) })
    }

    /// Whether a command that was killed has left something, or another one is adding blobs.
    pub fn has_leftovers(&self) -> bool {
        let names = self.directories().ok().and_then(|found| found.ingest.names().ok());
        names.is_some_and(|(names, _)| names.iter().any(|name| !super::partial::is_partial(name)))
    }

    /// The lock of a command that adds blobs or layers.
    pub(in crate::image) fn adding(&self) -> Result<RunLock> {
        self.lock("blobs", RunLock::shared(&self.lock_name("blobs"), super::PATIENCE))
    }
}

impl Ingest<'_> {
    /// A new blob.
    ///
    /// # Errors
    /// The file cannot be made.
    pub fn blob(&self) -> Result<NewBlob> {
        let name = format!("{:08x}{:08x}", token(), token());
        let made = self.directory.make_file(&name);
        let made = made.and_then(|made| made.ok_or_else(|| io::ErrorKind::AlreadyExists.into()));
        let file = made.map_err(|error| self.store.unwritten(&error))?;
        Ok(NewBlob { file: Digesting::new(SparseFile::new(file)), name })
    }

    /// Its path, for messages.
    pub fn path(&self) -> std::path::PathBuf {
        self.directory.path().to_owned()
    }

    /// The error of a blob that cannot be written.
    pub fn unwritten(&self, error: &io::Error) -> crate::error::Error {
        self.store.unwritten(error)
    }

    /// The end of a blob.
    pub fn staged(&self, blob: NewBlob) -> StagedBlob {
        let NewBlob { file, name } = blob;
        StagedBlob { name, size: file.digester.count(), digest: file.digester.finish() }
    }

    /// Removes a blob that nothing needs.
    pub fn discard(&self, staged: &StagedBlob) {
        // What is left is removed with the directory.
        let _ = self.directory.remove_file(staged.name.as_str());
    }

    /// Writes a whole blob.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write(&self, bytes: &[u8]) -> Result<StagedBlob> {
        let mut blob = self.blob()?;
        blob.write_all(bytes).map_err(|error| self.store.unwritten(&error))?;
        Ok(self.staged(blob))
    }

    /// Opens a blob to read it.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn open(&self, staged: &StagedBlob) -> Result<File> {
        let opened = self.directory.file_to_read(&staged.name).map_err(|error| error.into_io());
        let opened = opened.and_then(|opened| opened.ok_or_else(|| io::ErrorKind::NotFound.into()));
        opened.map_err(|error| self.store.unwritten(&error))
    }

    /// Gives blobs their names in the store. When this returns, a power cut does not lose them.
    ///
    /// A blob that exists already is replaced by the same content: the old file may have been damaged.
    ///
    /// # Errors
    /// They cannot be written.
    pub fn publish<'b>(&self, blobs: impl IntoIterator<Item = &'b StagedBlob>) -> Result<()> {
        let to = &self.store.directories()?.blobs;
        let publish = |staged: &StagedBlob| {
            let from = self.directory.path_through(&staged.name);
            // Two descriptors of an archive can name the same blob.
            match File::open(&from) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
                opened => opened?.sync_all()?,
            }
            std::fs::rename(from, to.path_through(staged.digest.hex()))
        };
        let published = blobs.into_iter().try_for_each(publish).and_then(|()| to.sync());
        published.map_err(|error| self.store.unwritten(&error))
    }
}

impl Write for NewBlob {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for Ingest<'_> {
    fn drop(&mut self) {
        if let Ok(directories) = self.store.directories() {
            let _ = layer::remove_tree(directories.ingest.path_through(""), self.name.as_ref());
        }
        if let Some(lock) = self.lock.take() {
            lock.release();
        }
    }
}
