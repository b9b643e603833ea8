//! A blob that is downloaded. What has come is kept when the download is interrupted, so the next one goes on from there.
//!
//!     HOME/images/ingest/partial-DIGEST     its owner has a flock on it

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock, fstat};

use super::ImageStore;
use crate::error::{Error, Result};
use crate::host::token::token;
use crate::image::digest::{Digest, Digester};

/// What the names begin with.
const PREFIX: &str = "partial-";

/// The time after which the rest of an interrupted download is removed with other unused blobs.
const KEPT: Duration = Duration::from_secs(24 * 60 * 60);

/// A blob of which the beginning is there.
#[derive(Debug)]
pub struct PartialBlob {
    file: File,
    name: String,
    digest: Digest,
    digester: Digester,
    /// The path of HOME, and of the images, for messages.
    store: (std::path::PathBuf, std::path::PathBuf),
}

impl ImageStore {
    /// The beginning of a blob, which may be empty. If another process downloads the same blob now, it is a file of its
    /// own.
    ///
    /// # Errors
    /// The file cannot be made or read.
    pub fn partial(&self, digest: &Digest) -> Result<PartialBlob> {
        let unwritten = |error: io::Error| self.unwritten(&error);
        let (file, name) = match self.longest_partial(digest).map_err(unwritten)? {
            Some(found) => found,
            None => {
                let usual = format!("{PREFIX}{}", digest.hex());
                match self.own_partial(&usual, true).map_err(unwritten)? {
                    Some(file) => (file, usual),
                    None => {
                        let name = format!("{usual}-{:08x}", token());
                        let made = self.own_partial(&name, true);
                        let made =
                            made.and_then(|made| made.ok_or_else(|| io::ErrorKind::AlreadyExists.into()));
                        (made.map_err(unwritten)?, name)
                    }
                }
            }
        };
        let store = (self.place.path.clone(), self.path());
        let mut partial =
            PartialBlob { file, name, digest: digest.clone(), digester: Digester::default(), store };
        partial.read().map_err(|error| self.unwritten(&error))?;
        Ok(partial)
    }

    /// Leaves at most one beginning of a blob, the longest one. Those that other processes are downloading are left alone.
    pub fn tidy_partials(&self, digest: &Digest) {
        let _ = self.longest_partial(digest);
    }

    /// Removes the beginnings of a blob, except those that other processes are downloading.
    pub fn discard_partials(&self, digest: &Digest) {
        if let (Ok(directories), Ok(Some((_lock, name)))) = (self.directories(), self.longest_partial(digest))
        {
            let _ = directories.ingest.remove_file(&*name);
        }
    }

    /// The longest of the files with the beginning of a blob that no process is downloading, with its lock. The other ones are
    /// removed: two processes that download the same blob at the same time have a file each.
    fn longest_partial(&self, digest: &Digest) -> io::Result<Option<(File, String)>> {
        let ingest = &self.directories().map_err(|error| io::Error::other(error.what))?.ingest;
        let start = format!("{PREFIX}{}", digest.hex());
        let mut longest: Option<(File, String)> = None;
        for entry in std::fs::read_dir(ingest.path_through(""))? {
            let Some(name) =
                entry?.file_name().to_str().filter(|name| name.starts_with(&start)).map(str::to_owned)
            else {
                continue;
            };
            let Some(file) = self.own_partial(&name, false)? else { continue };
            let is_longer = |other: &(File, String)| {
                Ok::<_, io::Error>(file.metadata()?.len() > other.0.metadata()?.len())
            };
            let shorter = match longest.as_ref().map(is_longer).transpose()? {
                Some(false) => Some((file, name)),
                _ => longest.replace((file, name)),
            };
            // Its lock is held until it has no name: no other process can begin to use it.
            if let Some((_lock, name)) = &shorter {
                ingest.remove_file(&**name)?;
            }
        }
        Ok(longest)
    }

    /// The file of this name with its lock. None: another process has the lock, or, without `makes`, there is no such file.
    fn own_partial(&self, name: &str, makes: bool) -> io::Result<Option<File>> {
        let ingest = &self.directories().map_err(|error| io::Error::other(error.what))?.ingest;
        for _ in 0..100 {
            let file = match ingest.file(name).map_err(|error| error.into_io())? {
                Some(file) => file,
                None if !makes => return Ok(None),
                None => match ingest.make_file(name)? {
                    Some(file) => file,
                    None => continue,
                },
            };
            if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
                return Ok(None);
            }
            // Its owner may have renamed or removed it before the lock.
            let named = ingest.file_to_read(name).ok().flatten();
            let is_same = |other: &File| {
                Ok::<_, io::Error>(
                    (fstat(other)?.st_dev, fstat(other)?.st_ino)
                        == (fstat(&file)?.st_dev, fstat(&file)?.st_ino),
                )
            };
            if named.as_ref().is_some_and(|named| is_same(named).unwrap_or(false)) {
                return Ok(Some(file));
            }
        }
        Ok(None)
    }
}

/// Whether this is the name of a download.
pub(super) fn is_partial(name: &std::ffi::OsStr) -> bool {
    name.to_str().is_some_and(|name| name.starts_with(PREFIX))
}

/// Whether a file in `ingest` is the rest of an interrupted download that may still go on.
pub(super) fn is_kept(name: &std::ffi::OsStr, path: &std::path::Path) -> bool {
    let age = std::fs::symlink_metadata(path).and_then(|about| about.modified());
    is_partial(name) && age.is_ok_and(|modified| modified.elapsed().is_ok_and(|age| age < KEPT))
}

impl PartialBlob {
    /// Computes the digest of what is there.
    fn read(&mut self) -> io::Result<()> {
        let mut buffer = vec![0; 128 << 10];
        self.file.seek(SeekFrom::Start(0))?;
        loop {
            match self.file.read(&mut buffer)? {
                0 => return Ok(()),
                count => self.digester.add(&buffer[..count]),
            }
        }
    }

    /// The number of bytes that are there.
    pub fn length(&self) -> u64 {
        self.digester.count()
    }

    /// The digest of what is there.
    pub fn digest(&self) -> Digest {
        self.digester.clone().finish()
    }

    /// Begins again.
    ///
    /// # Errors
    /// Those of ftruncate(2).
    pub fn restart(&mut self) -> Result<()> {
        self.digester = Digester::default();
        let emptied = self.file.set_len(0).and_then(|()| self.file.seek(SeekFrom::Start(0)));
        emptied.map(|_| ()).map_err(|error| self.unwritten(&error))
    }

    /// The error of a write.
    pub fn unwritten(&self, error: &io::Error) -> Error {
        super::unwritten(&self.store.1, &self.store.0, error)
    }

    /// Keeps what is there for the next download, unless another file has more of it.
    pub fn keep(self, store: &ImageStore) {
        let digest = self.digest.clone();
        // This one is unlocked, so that it is compared with the others.
        drop(self);
        store.tidy_partials(&digest);
    }

    /// Gives the blob its name in the store. When this returns, a power cut does not lose it.
    ///
    /// # Errors
    /// It has another digest, or cannot be written.
    pub fn publish(self, store: &ImageStore) -> Result<()> {
        if self.digest() != self.digest {
            return Err(store.changed(&self.digest));
        }
        let directories = store.directories()?;
        let to = directories.blobs.path_through(self.digest.hex());
        let published = self
            .file
            .sync_all()
            .and_then(|()| std::fs::rename(directories.ingest.path_through(&self.name), to))
            .and_then(|()| directories.blobs.sync());
        published.map_err(|error| store.unwritten(&error))?;
        // Nobody needs what another process has begun and left.
        store.discard_partials(&self.digest);
        Ok(())
    }

    /// Removes what is there.
    pub fn discard(self, store: &ImageStore) {
        if let Ok(directories) = store.directories() {
            let _ = directories.ingest.remove_file(&*self.name);
        }
    }
}

impl Write for PartialBlob {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write(bytes)?;
        self.digester.add(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
