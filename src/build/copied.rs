//! The layer of `COPY`, `ADD` and `WORKDIR`: an archive that is written without a container, and hashed in the same pass.
//!
//! Two digests are made. That of the archive names the layer. That of the content is a part of the key of the cache: it has paths,
//! content, modes, owners and attributes, but no times, because a checkout of the same files has other times.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;

use super::context::ContextError;
use super::layer_files::each_entry;
use super::mode::CopiedMode;
use super::stop::StopFlag;
use crate::error::io_text;
use crate::image::digest::{Digest, Digester};
use crate::image::entries::{ArchiveEntry, EntryKind};
use crate::image::tar_writer::ArchiveWriter;
use crate::text::{printed, text, text_with};

/// The owner and the mode that copied files get.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CopiedAs {
    /// The owner and the group. None: root, or those of the archive.
    pub owner: Option<(u32, u32)>,
    /// The mode. None: that of the source.
    pub mode: Option<CopiedMode>,
    /// Later times are set to this one, in seconds since 1970: SOURCE_DATE_EPOCH.
    pub latest: Option<i64>,
}

/// A time that is not later than this.
fn limited(time: (i64, u32), latest: Option<i64>) -> (i64, u32) {
    latest.map_or(time, |latest| time.min((latest, 0)))
}

/// Copies an archive, in which no time is later than this.
///
/// # Errors
/// It cannot be read or written.
pub fn copy_limited<W: Write>(archive: impl Read, output: W, latest: i64) -> Result<W, ContextError> {
    let mut writer = ArchiveWriter::new(output);
    each_entry(archive, |mut entry, mut content| {
        entry.mtime = limited(entry.mtime, Some(latest));
        writer.entry(&entry, &mut content).map_err(ContextError::Unwritten)
    })?;
    writer.finish().map_err(ContextError::Unwritten)
}

/// The mode of directories that have to be made.
const DIRECTORY_MODE: u32 = 0o755;

/// The archive of a layer.
pub struct CopiedLayer<'s, W: Write> {
    writer: ArchiveWriter<W>,
    content: Digester,
    copied_as: CopiedAs,
    /// The time of directories that have to be made.
    now: (i64, u32),
    /// The directories that the archive has.
    directories: BTreeSet<Vec<u8>>,
    /// The first name of each file that has several.
    linked: BTreeMap<(u64, u64), Vec<u8>>,
    /// The files that were copied, and whether each is a directory. Those of an archive that was unpacked are not among them.
    pub copied: BTreeMap<Vec<u8>, bool>,
    /// A file that two sources have: one as a directory, and one as something else.
    pub twice: Option<Vec<u8>>,
    /// The number of entries.
    pub count: u64,
    /// What ends the copy early.
    stops: &'s StopFlag,
}

impl<'s, W: Write> CopiedLayer<'s, W> {
    /// Begins an archive.
    pub fn new(output: W, copied_as: CopiedAs, now: (i64, u32), stops: &'s StopFlag) -> CopiedLayer<'s, W> {
        CopiedLayer {
            writer: ArchiveWriter::new(output),
            content: Digester::default(),
            copied_as,
            now,
            directories: BTreeSet::new(),
            linked: BTreeMap::new(),
            copied: BTreeMap::new(),
            twice: None,
            count: 0,
            stops,
        }
    }

    /// Adds the directories of a path below one that exists, if the archive does not have them yet.
    ///
    /// # Errors
    /// The archive cannot be written; a name cannot be in a layer.
    pub fn directories(&mut self, existing: &[u8], rest: &[u8]) -> Result<(), AddError> {
        let mut path = existing.to_owned();
        for part in rest.split(|byte| *byte == b'/').filter(|part| !part.is_empty()) {
            path = super::context::joined(&path, part);
            if self.directories.contains(&path) {
                continue;
            }
            let (uid, gid) = self.copied_as.owner.unwrap_or_default();
            let entry = ArchiveEntry {
                kind: EntryKind::Directory,
                name: path.clone(),
                link: Vec::new(),
                size: 0,
                mode: DIRECTORY_MODE,
                uid,
                gid,
                mtime: self.now,
                device: (0, 0),
                attributes: Vec::new(),
            };
            self.put(&entry, &mut io::empty())?;
        }
        Ok(())
    }

    /// Adds a file that is copied. `inode` names a file that can have several names.
    ///
    /// # Errors
    /// The archive cannot be written; the content cannot be read; the name cannot be in a layer.
    pub fn add(
        &mut self,
        entry: ArchiveEntry,
        inode: Option<(u64, u64)>,
        content: &mut dyn Read,
    ) -> Result<(), AddError> {
        let is_directory = entry.kind == EntryKind::Directory;
        if self.copied.insert(entry.name.clone(), is_directory).is_some_and(|before| before != is_directory) {
            self.twice = Some(entry.name.clone());
        }
        self.add_any(entry, inode, content)
    }

    /// Adds a file, which may replace anything: the files of an archive do so in Docker too.
    ///
    /// # Errors
    /// As those of [`add`](Self::add).
    pub fn add_any(
        &mut self,
        mut entry: ArchiveEntry,
        inode: Option<(u64, u64)>,
        content: &mut dyn Read,
    ) -> Result<(), AddError> {
        if let Some((uid, gid)) = self.copied_as.owner {
            (entry.uid, entry.gid) = (uid, gid);
        }
        if let Some(mode) = self.copied_as.mode.as_ref().filter(|_| entry.kind != EntryKind::Symlink) {
            entry.mode = mode.applied(entry.mode, entry.kind == EntryKind::Directory);
        }
        if let Some(inode) = inode {
            match self.linked.get(&inode) {
                Some(first) => {
                    (entry.kind, entry.size, entry.link) = (EntryKind::HardLink, 0, first.clone());
                    entry.attributes.clear();
                }
                None => drop(self.linked.insert(inode, entry.name.clone())),
            }
        }
        self.put(&entry, content)
    }

    fn put(&mut self, entry: &ArchiveEntry, content: &mut dyn Read) -> Result<(), AddError> {
        // In a layer, such a name means that a file is deleted.
        if entry.name.split(|byte| *byte == b'/').any(|part| part.starts_with(b".wh.")) {
            let name = printed(OsStr::from_bytes(&entry.name));
            return Err(AddError::Refused(text_with("build.copy.whiteout", &[("name", &name)])));
        }
        if entry.kind == EntryKind::Directory {
            self.directories.insert(entry.name.clone());
        }
        self.count += 1;
        self.note(entry);
        let mtime = limited(entry.mtime, self.copied_as.latest);
        let entry = ArchiveEntry { mtime, ..entry.clone() };
        self.stops.check_copy().map_err(AddError::Unwritten)?;
        let mut content = StoppedRead { input: content, stops: self.stops };
        let mut tee = Tee { input: &mut content, content: &mut self.content, is_broken: false };
        let written = self.writer.entry(&entry, &mut tee);
        let is_unread = tee.is_broken;
        // The end of a file that has become shorter is no error of read(2).
        written.map_err(|error| match is_unread || error.kind() == io::ErrorKind::UnexpectedEof {
            true => AddError::Unread(error),
            false => AddError::Unwritten(error),
        })
    }

    /// Adds what the content digest has of an entry. Each part has its length before it, so that no two lists of parts are equal.
    fn note(&mut self, entry: &ArchiveEntry) {
        let numbers = [
            entry.kind as u64,
            entry.size,
            entry.mode.into(),
            entry.uid.into(),
            entry.gid.into(),
            entry.device.0.into(),
            entry.device.1.into(),
            entry.attributes.len() as u64,
        ];
        numbers.iter().for_each(|number| self.content.add(&number.to_le_bytes()));
        let attributes = entry.attributes.iter().flat_map(|(name, value)| [name, value]);
        for part in [&entry.name, &entry.link].into_iter().chain(attributes) {
            self.content.add(&(part.len() as u64).to_le_bytes());
            self.content.add(part);
        }
    }

    /// The end of the archive: what was written, and the digest of the content.
    ///
    /// # Errors
    /// The archive cannot be written.
    pub fn finish(self) -> io::Result<(W, Digest)> {
        Ok((self.writer.finish()?, self.content.finish()))
    }
}

/// Why a file cannot be added to a layer.
#[derive(Debug)]
pub enum AddError {
    /// Its content cannot be read.
    Unread(io::Error),
    /// It cannot be in a layer: a sentence.
    Refused(String),
    /// The archive cannot be written.
    Unwritten(io::Error),
}

impl AddError {
    /// The error of a file with this path. Empty: it has none.
    pub(super) fn of(self, path: &[u8]) -> ContextError {
        match self {
            AddError::Unread(error) if !path.is_empty() => ContextError::Unread(path.to_owned(), error),
            error => error.into(),
        }
    }
}

impl From<AddError> for ContextError {
    fn from(error: AddError) -> ContextError {
        match error {
            AddError::Unread(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                ContextError::Wrong(text("image.tar.end"))
            }
            AddError::Unread(error) => ContextError::Wrong(io_text(&error)),
            AddError::Refused(why) => ContextError::Wrong(why),
            AddError::Unwritten(error) => ContextError::Unwritten(error),
        }
    }
}

/// Reads, until the build has to end.
pub(super) struct StoppedRead<'s> {
    pub(super) input: &'s mut dyn Read,
    pub(super) stops: &'s StopFlag,
}

impl Read for StoppedRead<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stops.check_copy()?;
        self.input.read(buffer)
    }
}

/// Reads, and adds what is read to the digest.
struct Tee<'t> {
    input: &'t mut dyn Read,
    content: &'t mut Digester,
    /// Whether it could not be read.
    is_broken: bool,
}

impl Read for Tee<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self
            .input
            .read(buffer)
            .inspect_err(|error| self.is_broken |= error.kind() != io::ErrorKind::Interrupted)?;
        self.content.add(&buffer[..count]);
        Ok(count)
    }
}
