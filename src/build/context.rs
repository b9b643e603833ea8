//! The context of a build: the files that `COPY` and `ADD` can take. It is a directory of the caller, or the files of an archive.
//!
//! Every path is resolved by openat2(2) below the directory: neither `..` nor a symbolic link leads out of it. The links of a source are
//! followed, within the context. A link in a directory that is copied stays a link.
//!
//! Docker's client sends a context without the files that `.dockerignore` names. So a link to such a file leads to nothing.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{
    AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, Stat, fstat, major, minor, open, openat2, readlinkat,
    statat,
};
use rustix::io::Errno;

use crate::image::entries::{ArchiveEntry, EntryKind};
use crate::image::layer::attributes;
use crate::image::path_pattern as pattern;
use crate::sys::in_root;

/// Whether a path of the context is left out.
pub type Ignores = Box<dyn Fn(&[u8], bool) -> IgnoreAnswer + Send + Sync>;

/// What `.dockerignore` says about a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IgnoreAnswer {
    /// It is there.
    Kept,
    /// It is not there.
    Ignored,
    /// A directory that is not there itself, but files below it may be.
    Inside,
}

/// The files.
pub struct BuildContext {
    root: OwnedFd,
    ignores: Ignores,
}

/// The maximum number of symbolic links of a path, as in the kernel.
const MAX_LINKS: usize = 40;

/// Something that a source means.
pub struct ContextFile {
    /// Its path in the context, without links.
    path: Vec<u8>,
    /// The last part of the path that was asked for.
    name: Vec<u8>,
    file: OwnedFd,
    /// What it is.
    pub stat: Stat,
}

impl ContextFile {
    /// Whether it is a directory.
    pub fn is_directory(&self) -> bool {
        kind(&self.stat) == FileType::Directory
    }

    /// The last part of the path that was asked for. A link gives its own name, and the content of what it leads to.
    pub fn name(&self) -> &[u8] {
        &self.name
    }

    /// Its path in the context, without links.
    pub fn path(&self) -> &[u8] {
        &self.path
    }
}

fn kind(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

impl BuildContext {
    /// The files of a directory.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn open(directory: &Path) -> io::Result<BuildContext> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = open(directory, flags, Mode::empty())?;
        Ok(BuildContext { root, ignores: Box::new(|_, _| IgnoreAnswer::Kept) })
    }

    /// The same files without those that are ignored.
    pub fn ignoring(self, ignores: Ignores) -> BuildContext {
        BuildContext { ignores, ..self }
    }

    fn open_in_root(&self, path: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
        let path = if path.is_empty() { b"." } else { path };
        in_root::open(&self.root, OsStr::from_bytes(path), flags)
    }

    /// A file of the context, also an ignored one. None: there is no such file.
    ///
    /// # Errors
    /// It cannot be opened, or is no regular file.
    pub fn read(&self, path: &[u8], most: u64) -> io::Result<Option<Vec<u8>>> {
        let file = match self.open_in_root(path, OFlags::RDONLY | OFlags::NONBLOCK) {
            Err(Errno::NOENT) => return Ok(None),
            file => file?,
        };
        if kind(&fstat(&file)?) != FileType::RegularFile {
            return Err(Errno::INVAL.into());
        }
        let mut bytes = Vec::new();
        File::from(file).take(most + 1).read_to_end(&mut bytes)?;
        match bytes.len() as u64 > most {
            true => Err(Errno::FBIG.into()),
            false => Ok(Some(bytes)),
        }
    }

    /// What is at a path without `..`. None: nothing, or it is ignored.
    ///
    /// # Errors
    /// Those of openat2(2).
    pub fn find(&self, path: &[u8]) -> Result<Option<ContextFile>, Errno> {
        let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default().to_owned();
        let found = self.resolve(path).and_then(|resolved| {
            let file = match resolved.is_empty() {
                true => self.open_in_root(b"", OFlags::PATH)?,
                false => below_of(&self.root, &resolved, OFlags::PATH)?,
            };
            let stat = fstat(&file)?;
            Ok(ContextFile { path: resolved, name, file, stat })
        });
        let found = match found {
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
            found => found?,
        };
        let is_ignored = self.is_ignored(&found.path, found.is_directory());
        Ok(Some(found).filter(|_| !is_ignored))
    }

    /// Whether a path is a symbolic link that is not ignored.
    pub fn has_link(&self, path: &[u8]) -> bool {
        let found = below_of(&self.root, path, OFlags::PATH).and_then(fstat);
        found.is_ok_and(|found| kind(&found) == FileType::Symlink) && !self.is_ignored(path, false)
    }

    fn is_ignored(&self, path: &[u8], is_directory: bool) -> bool {
        !path.is_empty() && (self.ignores)(path, is_directory) == IgnoreAnswer::Ignored
    }

    /// The path that another one leads to. ENOENT: it leads to nothing, or through a link that is ignored.
    fn resolve(&self, path: &[u8]) -> Result<Vec<u8>, Errno> {
        let parts = |path: &[u8]| path.split(|byte| *byte == b'/').map(<[u8]>::to_vec).collect::<Vec<_>>();
        let (mut left, mut at, mut links) = (VecDeque::from(parts(path)), Vec::new(), 0);
        while let Some(part) = left.pop_front() {
            match part.as_slice() {
                b"" | b"." => continue,
                // The parent of the root is the root.
                b".." => {
                    at.truncate(at.iter().rposition(|byte| *byte == b'/').unwrap_or_default());
                    continue;
                }
                _ => {}
            }
            let next = joined(&at, &part);
            let file = below_of(&self.root, &next, OFlags::PATH)?;
            if kind(&fstat(&file)?) != FileType::Symlink {
                at = next;
                continue;
            }
            links += 1;
            if links > MAX_LINKS {
                return Err(Errno::LOOP);
            }
            if self.is_ignored(&next, false) {
                return Err(Errno::NOENT);
            }
            let target = readlinkat(&file, "", Vec::new())?.into_bytes();
            if target.starts_with(b"/") {
                at.clear();
            }
            parts(&target).into_iter().rev().for_each(|part| left.push_front(part));
        }
        Ok(at)
    }

    /// The paths that a pattern means, in their order. Without a `*`, `?` or `[`, it means itself. With `is_deep`, `**` is any
    /// number of directories.
    ///
    /// # Errors
    /// The pattern is wrong (EINVAL), or a directory cannot be read.
    pub fn expand(&self, written: &[u8], is_deep: bool) -> Result<Vec<Vec<u8>>, Errno> {
        let mut found: Vec<Vec<u8>> = vec![Vec::new()];
        let mut is_pattern = false;
        let mut parts =
            written.split(|byte| *byte == b'/').filter(|part| !matches!(*part, b"" | b".")).peekable();
        while let Some(part) = parts.next() {
            let mut next = Vec::new();
            // What follows a pattern is one too: a backslash in it has its meaning.
            is_pattern |= pattern::has_meta(part);
            for above in found {
                // At the end it means each name.
                if is_deep && part == b"**" && parts.peek().is_some() {
                    self.directories_below(above, &mut next)?;
                    continue;
                }
                let is_literal = !is_pattern || !part.iter().any(|byte| b"*?[\\".contains(byte));
                if is_literal {
                    next.push(joined(&above, part));
                    continue;
                }
                let directory = match self.open_in_root(&above, OFlags::RDONLY | OFlags::DIRECTORY) {
                    Err(Errno::NOENT | Errno::NOTDIR) => continue,
                    directory => directory?,
                };
                for name in names(&directory)? {
                    if pattern::matches(part, &name).ok_or(Errno::INVAL)? {
                        next.push(joined(&above, &name));
                    }
                }
            }
            found = next;
            if is_deep {
                found.sort();
                found.dedup();
            }
        }
        Ok(if is_deep { pattern::without_nested(found) } else { found })
    }

    /// Adds a directory and all that are below it. Links are not followed.
    fn directories_below(&self, top: Vec<u8>, all: &mut Vec<Vec<u8>>) -> Result<(), Errno> {
        let mut left = vec![top];
        while let Some(path) = left.pop() {
            let directory = match self.open_in_root(&path, OFlags::RDONLY | OFlags::DIRECTORY) {
                Err(Errno::NOENT | Errno::NOTDIR) => continue,
                directory => directory?,
            };
            for name in names(&directory)? {
                let below = joined(&path, &name);
                let found = statat(&directory, OsStr::from_bytes(&name), AtFlags::SYMLINK_NOFOLLOW);
                if found.is_ok_and(|found| kind(&found) == FileType::Directory)
                    && !self.is_ignored(&below, true)
                {
                    left.push(below);
                }
            }
            all.push(path);
        }
        Ok(())
    }

    /// Visits a file, and what is in it if it is a directory: the path below it, its entry, and its content.
    ///
    /// # Errors
    /// A file cannot be read; those of `visit`.
    pub fn walk(&self, start: &ContextFile, visit: Visit<'_>) -> Result<(), ContextError> {
        let mut left: Vec<Vec<u8>> = vec![Vec::new()];
        while let Some(below) = left.pop() {
            let path = joined(&start.path, &below);
            let unread = |errno: Errno| ContextError::Unread(path.clone(), errno.into());
            let (file, stat) = if below.is_empty() {
                (start.file.try_clone().map_err(|_| unread(Errno::MFILE))?, start.stat)
            } else {
                let file = below_of(&start.file, &below, OFlags::PATH).map_err(unread)?;
                let stat = fstat(&file).map_err(unread)?;
                (file, stat)
            };
            let is_directory = kind(&stat) == FileType::Directory;
            let answer = match path.is_empty() {
                true => IgnoreAnswer::Kept,
                false => (self.ignores)(&path, is_directory),
            };
            if answer == IgnoreAnswer::Ignored {
                continue;
            }
            if is_directory {
                let directory = self.reopened(start, &below, OFlags::DIRECTORY).map_err(unread)?;
                let names = names(&directory).map_err(unread)?;
                left.extend(names.iter().rev().map(|name| joined(&below, name)));
                if answer == IgnoreAnswer::Kept {
                    let entry = entry(&directory, &stat, EntryKind::Directory).map_err(unread)?;
                    visit(&below, entry, &stat, &mut io::empty())?;
                }
                continue;
            }
            let kind = match kind(&stat) {
                FileType::RegularFile => EntryKind::File,
                FileType::Symlink => EntryKind::Symlink,
                FileType::Fifo => EntryKind::Fifo,
                FileType::CharacterDevice => EntryKind::CharDevice,
                FileType::BlockDevice => EntryKind::BlockDevice,
                // No archive has a socket.
                _ => continue,
            };
            if kind == EntryKind::File {
                let content = self.reopened(start, &below, OFlags::empty()).map_err(unread)?;
                let entry = entry(&content, &stat, kind).map_err(unread)?;
                // It may become shorter meanwhile.
                visit(&below, entry, &stat, &mut File::from(content).chain(io::repeat(0)))?;
            } else {
                let entry = entry(&file, &stat, kind).map_err(unread)?;
                visit(&below, entry, &stat, &mut io::empty())?;
            }
        }
        Ok(())
    }

    /// Opens a regular file. None: it is none.
    ///
    /// # Errors
    /// Those of openat2(2).
    pub fn open_file(&self, file: &ContextFile) -> Result<Option<File>, Errno> {
        match kind(&file.stat) == FileType::RegularFile {
            true => self.reopened(file, b"", OFlags::empty()).map(|opened| Some(File::from(opened))),
            false => Ok(None),
        }
    }

    /// Opens for reading what was opened for its path only.
    fn reopened(&self, start: &ContextFile, below: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | flags;
        match below.is_empty() {
            true => self.open_in_root(&start.path, flags),
            false => below_of(&start.file, below, flags),
        }
    }
}

/// What is called for each file: the path below the start, the entry without a name, the file, the content.
pub type Visit<'v> = &'v mut dyn FnMut(&[u8], ArchiveEntry, &Stat, &mut dyn Read) -> Result<(), ContextError>;

/// Why files cannot be copied.
#[derive(Debug)]
pub enum ContextError {
    /// This path of the context cannot be read.
    Unread(Vec<u8>, io::Error),
    /// The archive cannot be written.
    Unwritten(io::Error),
    /// This source, a path or a pattern, means nothing: a sentence.
    Source(String, String),
    /// Something else: a sentence.
    Wrong(String),
}

/// Opens a path below a directory that is open for its path only. No link is followed.
fn below_of(directory: &OwnedFd, path: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat2(directory, OsStr::from_bytes(path), flags, Mode::empty(), resolve)
}

/// The path of something in a directory.
pub fn joined(above: &[u8], name: &[u8]) -> Vec<u8> {
    match (above.is_empty(), name.is_empty()) {
        (true, _) => name.to_owned(),
        (_, true) => above.to_owned(),
        _ => [above, b"/", name].concat(),
    }
}

/// The names in a directory, in their order.
fn names(directory: &OwnedFd) -> Result<Vec<Vec<u8>>, Errno> {
    let mut names = Vec::new();
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push(name.to_owned());
        }
    }
    names.sort();
    Ok(names)
}

/// The entry of a file, without a name.
fn entry(file: &OwnedFd, stat: &Stat, kind: EntryKind) -> Result<ArchiveEntry, Errno> {
    let is_device = [EntryKind::CharDevice, EntryKind::BlockDevice].contains(&kind);
    let link = match kind {
        EntryKind::Symlink => readlinkat(file, "", Vec::new())?.into_bytes(),
        _ => Vec::new(),
    };
    let has_attributes = [EntryKind::File, EntryKind::Directory].contains(&kind);
    Ok(ArchiveEntry {
        kind,
        name: Vec::new(),
        link,
        size: if kind == EntryKind::File { u64::try_from(stat.st_size).unwrap_or_default() } else { 0 },
        mode: stat.st_mode & 0o7777,
        uid: 0,
        gid: 0,
        mtime: (stat.st_mtime, u32::try_from(stat.st_mtime_nsec).unwrap_or_default()),
        device: if is_device { (major(stat.st_rdev), minor(stat.st_rdev)) } else { (0, 0) },
        attributes: if has_attributes { attributes(file)? } else { Vec::new() },
    })
}
