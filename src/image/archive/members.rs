//! The files of an archive of images, or of a directory with an image layout.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;

use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};

use super::ArchiveSource;
use crate::error::{Error, ExitKind, Result, io_text};
use crate::host::storage;
use crate::image::Tell;
use crate::image::decompress::decompressed;
use crate::image::entries::{ArchiveEntries, EntryKind, Unreadable, printed_bytes};
use crate::image::manifest::{MAX_DOCUMENT, too_large};
use crate::image::store::{Ingest, StagedBlob};
use crate::text::{printed, text, text_with};

/// The maximum number of files in an archive. One of a thousand images has fewer.
const MAX_MEMBERS: usize = 100_000;

/// The maximum length of a name or a link, in bytes: that of a path in Linux.
const MAX_NAME: usize = 4096;

/// The maximum length of all names and links together, in bytes. All of them are kept.
const MAX_NAMES: usize = 16 << 20;

/// The maximum size of all documents together, in bytes. That of an image is some KiB.
const MAX_DOCUMENTS: u64 = 32 << 20;

/// The maximum number of links that are followed from one file to another.
const MAX_LINKS: usize = 8;

enum Member {
    Blob(StagedBlob),
    /// The name of another one. `docker save` once wrote a layer that several images have only once.
    Link(String),
}

/// The files, by their names.
pub(super) struct Members<'i, 's> {
    ingest: &'i Ingest<'s>,
    members: RefCell<BTreeMap<String, Member>>,
    /// The bytes of the documents that were read.
    documents: Cell<u64>,
    /// A directory, whose files are read when they are needed.
    directory: Option<OwnedFd>,
}

impl<'i, 's> Members<'i, 's> {
    /// Writes all files of an archive to the store, without names.
    pub(super) fn read(
        ingest: &'i Ingest<'s>,
        source: ArchiveSource,
        tell: Tell<'_>,
    ) -> Result<Members<'i, 's>> {
        let mut members =
            Members { ingest, members: RefCell::default(), documents: Cell::new(0), directory: None };
        match source {
            ArchiveSource::Directory(path) => {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
                let opened = rustix::fs::open(&path, flags, Mode::empty()).map_err(|errno| {
                    let what = text_with("image.archive.cannot", &[("path", &printed(&path))]);
                    Error::new(ExitKind::Refused, what).call(format!("openat(\"{}\")", printed(&path)), errno)
                })?;
                tell(&format!("openat(\"{}\")", printed(&path)), "image.explain.directory");
                members.directory = Some(opened);
            }
            ArchiveSource::Stream(stream) => {
                tell(&"read(<archive>)", "image.explain.archive");
                members.read_archive(stream)?;
            }
        }
        Ok(members)
    }

    fn read_archive(&self, stream: Box<dyn Read>) -> Result<()> {
        let unreadable = |Unreadable(why): Unreadable| unread(why);
        let archive = decompressed(stream).map_err(|error| unread(io_text(&error)))?;
        let mut entries = ArchiveEntries::new(archive);
        let mut members = self.members.borrow_mut();
        let mut names = 0;
        while let Some(entry) = entries.next_entry().map_err(unreadable)? {
            names += entry.name.len() + entry.link.len();
            if entry.name.len().max(entry.link.len()) > MAX_NAME || names > MAX_NAMES {
                return Err(unread(text_with(
                    "image.archive.names",
                    &[("entry", &printed_bytes(&entry.name))],
                )));
            }
            let Some(name) = normalized("", &entry.name) else { continue };
            let above = name.rsplit_once('/').map_or("", |(above, _)| above);
            let member = match entry.kind {
                EntryKind::File => Member::Blob(self.stage(&mut entries)?),
                EntryKind::Symlink => match normalized(above, &entry.link) {
                    Some(target) => Member::Link(target),
                    None => continue,
                },
                EntryKind::HardLink => match normalized("", &entry.link) {
                    Some(target) => Member::Link(target),
                    None => continue,
                },
                _ => continue,
            };
            members.insert(name, member);
            if members.len() > MAX_MEMBERS {
                return Err(unread(text_with("image.tar.many", &[("most", &MAX_MEMBERS.to_string())])));
            }
        }
        Ok(())
    }

    /// Writes a file to the store.
    fn stage(&self, content: &mut impl Read) -> Result<StagedBlob> {
        let mut blob = self.ingest.blob()?;
        let mut buffer = vec![0; 256 << 10];
        loop {
            let count = content.read(&mut buffer).map_err(|error| unread(Unreadable::from(error).0))?;
            if count == 0 {
                return Ok(self.ingest.staged(blob));
            }
            blob.write_all(&buffer[..count]).map_err(|error| {
                let path = self.ingest.path();
                let what = text_with("image.store.cannot", &[("path", &printed(&path))]);
                storage::explain_io(Error::new(ExitKind::Refused, what), &error, &path)
            })?;
        }
    }

    /// The place of the new blobs.
    pub(super) fn ingest(&self) -> &Ingest<'s> {
        self.ingest
    }

    /// A file. None: it does not exist.
    pub(super) fn blob(&self, name: &str) -> Result<Option<StagedBlob>> {
        let Some(mut name) = normalized("", name.as_bytes()) else { return Ok(None) };
        for _ in 0..MAX_LINKS {
            match self.members.borrow().get(&name) {
                Some(Member::Blob(blob)) => return Ok(Some(blob.clone())),
                Some(Member::Link(target)) => name = target.clone(),
                None => break,
            }
        }
        let Some(directory) = &self.directory else { return Ok(None) };
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = match openat2(directory, &name, flags, Mode::empty(), resolve) {
            Err(rustix::io::Errno::NOENT) => return Ok(None),
            opened => opened.map(File::from).map_err(io::Error::from),
        };
        let is_file = |file: File| match file.metadata()?.is_file() {
            true => Ok(file),
            false => Err(io::Error::other(text("image.archive.nofile"))),
        };
        let mut file = opened
            .and_then(is_file)
            .map_err(|error| unread(format!("{}: {}", printed(&name), io_text(&error))))?;
        let blob = self.stage(&mut file)?;
        self.members.borrow_mut().insert(name, Member::Blob(blob.clone()));
        Ok(Some(blob))
    }

    /// The content of a document. None: there is no such file.
    pub(super) fn small(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let Some(blob) = self.blob(name)? else { return Ok(None) };
        if blob.size > MAX_DOCUMENT {
            return Err(too_large(name));
        }
        self.content(&blob).map(Some)
    }

    /// The content of a blob that is known to be small.
    pub(super) fn content(&self, blob: &StagedBlob) -> Result<Vec<u8>> {
        self.documents.set(self.documents.get() + blob.size);
        if self.documents.get() > MAX_DOCUMENTS {
            let values = [("most", &*(MAX_DOCUMENTS >> 20).to_string())];
            return Err(unread(text_with("image.archive.documents", &values)));
        }
        let mut bytes = Vec::new();
        self.open(blob)?
            .take(MAX_DOCUMENT)
            .read_to_end(&mut bytes)
            .map_err(|error| unread(io_text(&error)))?;
        Ok(bytes)
    }

    /// Opens a blob.
    pub(super) fn open(&self, blob: &StagedBlob) -> Result<File> {
        self.ingest.open(blob)
    }

    /// Whether this looks like the files of a machine, as `docker export` writes them.
    pub(super) fn has_root(&self) -> bool {
        self.members.borrow().keys().any(|name| name.starts_with("etc/") || name.starts_with("usr/"))
    }
}

fn unread(why: String) -> Error {
    Error::new(ExitKind::Refused, text("image.archive.wrong")).why(why)
}

/// A path in an archive without `.` and `..`. None: it leaves the archive, or is not UTF-8, which no image's is.
fn normalized(above: &str, path: &[u8]) -> Option<String> {
    let path = str::from_utf8(path).ok()?;
    let above = if path.starts_with('/') { "" } else { above };
    let mut parts: Vec<&str> = Vec::new();
    for part in above.split('/').chain(path.split('/')) {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    (!parts.is_empty()).then(|| parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stays_in_the_archive() {
        let name = |above: &str, path: &str| normalized(above, path.as_bytes());
        assert_eq!(name("", "./a//b/.").as_deref(), Some("a/b"));
        assert_eq!(name("one", "../two/layer.tar").as_deref(), Some("two/layer.tar"));
        assert_eq!(name("one", "/two").as_deref(), Some("two"));
        for outside in ["..", "../..", "a/../..", "", "."] {
            assert_eq!(name("", outside), None, "{outside}");
        }
    }
}
