//! Reads the upper directory of a container together with its layers: what was changed, the changes as a layer, or all files as
//! an archive.
//!
//! An overlay marks a deleted file by a character device 0:0, and a directory that hides what is below by an attribute. In an
//! archive, these are `.wh.NAME` and `.wh..wh..opq`.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;

use nix::sys::statfs::{CGROUP_SUPER_MAGIC, CGROUP2_SUPER_MAGIC, PROC_SUPER_MAGIC, SYSFS_MAGIC, fstatfs};
use rustix::fs::{Dir, FileType, OFlags, Stat, fstat, major, minor, readlinkat};
use rustix::io::Errno;

use super::apply::OPAQUE_NAME;
use super::files::{WHITEOUT, attributes, failed, io_failed, noted_owner, wrong};
use super::merged::{LayerLook, LayerPath, is_opaque, is_whiteout, look, open, type_of};
use super::paths::{kinds, path_of, place, reach};
use super::task::{LayerMessage, LayerReading};
use crate::image::entries::{ArchiveEntry, EntryKind, Unreadable};
use crate::image::tar_writer::ArchiveWriter;

/// Writes what is asked for to `output`. The first layer is the upper directory.
pub(super) fn read(
    reading: &LayerReading,
    layers: &[OwnedFd],
    output: impl Write,
) -> Result<LayerMessage, Unreadable> {
    let is_left = Cell::new(false);
    let output = LeftOutput { output, is_left: &is_left };
    match read_into(reading, layers, output) {
        // Nobody reads any more. The reader knows why: its disk may be full.
        Err(Unreadable(why)) if is_left.get() => Ok(LayerMessage::Left(why)),
        done => done.map(|()| LayerMessage::Read),
    }
}

/// Notes whether its reader has left.
struct LeftOutput<'l, W> {
    output: W,
    is_left: &'l Cell<bool>,
}

impl<W: Write> LeftOutput<'_, W> {
    fn noted<T>(&self, done: io::Result<T>) -> io::Result<T> {
        if done.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::BrokenPipe) {
            self.is_left.set(true);
        }
        done
    }
}

impl<W: Write> Write for LeftOutput<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.output.write(bytes);
        self.noted(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        let flushed = self.output.flush();
        self.noted(flushed)
    }
}

fn read_into(reading: &LayerReading, layers: &[OwnedFd], output: impl Write) -> Result<(), Unreadable> {
    let (upper, below) = layers.split_at(1.min(layers.len()));
    match reading {
        LayerReading::Changes => changes(&OpenLayers(upper), &OpenLayers(below), output),
        LayerReading::Layer => archive(&OpenLayers(upper), &LayerPath::default(), b"", true, output),
        LayerReading::Files => archive(&OpenLayers(layers), &LayerPath::default(), b"", false, output),
        LayerReading::Tree { path, name } => {
            archive(&OpenLayers(layers), &path_of(path), name.as_os_str().as_bytes(), false, output)
        }
        LayerReading::Reach(path) => {
            let found = reach(layers, path).map_err(|errno| failed(path.as_os_str().as_bytes(), errno))?;
            serde_json::to_writer(output, &found).map_err(|error| Unreadable(error.to_string()))
        }
        LayerReading::Kinds(paths) => {
            let found = kinds(layers, paths)?;
            serde_json::to_writer(output, &found).map_err(|error| Unreadable(error.to_string()))
        }
        LayerReading::Place { path, follows } => {
            let failed = |errno| failed(path.as_os_str().as_bytes(), errno);
            let found = place(layers, path.as_os_str().as_bytes(), *follows).map_err(failed)?;
            serde_json::to_writer(output, &found).map_err(|error| Unreadable(error.to_string()))
        }
    }
}

/// Some layers, the topmost first.
struct OpenLayers<'l>(&'l [OwnedFd]);

/// A file of one of them.
struct FoundFile<'l> {
    path: LayerPath,
    layer: &'l OwnedFd,
    /// It was opened for its path only.
    file: OwnedFd,
    stat: Stat,
}

impl FoundFile<'_> {
    /// Opens a file or a directory to read it. A running container may have put something else in its place, such as a device.
    fn opened(&self) -> Result<OwnedFd, Errno> {
        let file = open(self.layer, self.path.as_os_str(), OFlags::RDONLY | OFlags::NONBLOCK)?;
        if type_of(&fstat(&file)?) == type_of(&self.stat) { Ok(file) } else { Err(Errno::STALE) }
    }

    fn is_directory(&self) -> bool {
        type_of(&self.stat) == FileType::Directory
    }

    /// Whether it is in a filesystem that only a running container has: /proc, /sys, a cgroup hierarchy, /dev.
    fn is_of_kernel(&self) -> bool {
        let kinds = [PROC_SUPER_MAGIC, SYSFS_MAGIC, CGROUP_SUPER_MAGIC, CGROUP2_SUPER_MAGIC];
        self.path.as_bytes() == b"dev"
            || fstatfs(&self.file).is_ok_and(|about| kinds.contains(&about.filesystem_type()))
    }
}

impl<'l> OpenLayers<'l> {
    /// What is seen at a path. With `marks`, a whiteout is a file too.
    fn find(&self, path: &LayerPath, marks: bool) -> Result<Option<FoundFile<'l>>, Errno> {
        for layer in self.0 {
            let (file, stat) = match look(layer, path)? {
                LayerLook::Hit(file, stat) => (file, stat),
                LayerLook::Miss => continue,
                LayerLook::Hidden if !marks => return Ok(None),
                LayerLook::Hidden => match open(layer, path.as_os_str(), OFlags::PATH) {
                    Ok(file) => {
                        let stat = fstat(&file)?;
                        (file, stat)
                    }
                    Err(_) => return Ok(None),
                },
            };
            return Ok(Some(FoundFile { path: path.clone(), layer, file, stat }));
        }
        Ok(None)
    }

    /// The names in a directory.
    fn names(&self, path: &LayerPath) -> Result<BTreeSet<Vec<u8>>, Errno> {
        let mut all = BTreeSet::new();
        for layer in self.0 {
            match look(layer, path)? {
                LayerLook::Hit(_, stat) if type_of(&stat) == FileType::Directory => {
                    let directory = open(layer, path.as_os_str(), OFlags::RDONLY | OFlags::DIRECTORY)?;
                    all.extend(names(&directory)?);
                    if is_opaque(&directory) {
                        break;
                    }
                }
                LayerLook::Miss => {}
                _ => break,
            }
        }
        Ok(all)
    }

    /// Visits all files: a directory before what is in it, and all in the order of their names.
    fn walk(
        &self,
        start: &LayerPath,
        marks: bool,
        mut visit: impl FnMut(&FoundFile<'l>) -> Result<(), Unreadable>,
    ) -> Result<(), Unreadable> {
        let mut left = vec![start.clone()];
        let mut device = None;
        while let Some(path) = left.pop() {
            let found = self.find(&path, marks).map_err(|errno| failed(path.as_bytes(), errno))?;
            // A running container may have removed it meanwhile.
            let Some(found) = found else { continue };
            visit(&found)?;
            let device = *device.get_or_insert(found.stat.st_dev);
            if found.is_directory() && !(found.stat.st_dev != device && found.is_of_kernel()) {
                let names = self.names(&path).map_err(|errno| failed(path.as_bytes(), errno))?;
                left.extend(names.iter().rev().map(|name| path.join(name)));
            }
        }
        Ok(())
    }
}

/// Writes `A`, `C` or `D`, the path, and a null byte, for each change.
fn changes(upper: &OpenLayers<'_>, below: &OpenLayers<'_>, mut output: impl Write) -> Result<(), Unreadable> {
    let mut all: BTreeMap<Vec<u8>, u8> = BTreeMap::new();
    upper.walk(&LayerPath::default(), true, |found| {
        let path = found.path.as_bytes();
        if path.is_empty() {
            return Ok(());
        }
        let unread = |errno| failed(path, errno);
        let is_below = below.find(&found.path, false).map_err(unread)?.is_some();
        match (is_whiteout(&found.stat), is_below) {
            (true, true) => all.insert(path.to_vec(), b'D'),
            (true, false) => None,
            (false, true) => all.insert(path.to_vec(), b'C'),
            (false, false) => all.insert(path.to_vec(), b'A'),
        };
        if found.is_directory() && is_below {
            let own = found.opened().map_err(unread)?;
            if is_opaque(&own) {
                let own = names(&own).map_err(unread)?;
                let hidden = below.names(&found.path).map_err(unread)?;
                all.extend(
                    hidden.difference(&own).map(|name| (found.path.join(name).as_bytes().to_vec(), b'D')),
                );
            }
        }
        Ok(())
    })?;
    for (path, kind) in all {
        let line = [&[kind, b'/'][..], &path, b"\0"].concat();
        output.write_all(&line).map_err(|error| io_failed(&path, &error))?;
    }
    output.flush().map_err(|error| io_failed(b"", &error))
}

/// Writes an archive: with `is_layer`, one layer with its marks, otherwise what is seen of all of them. The start has this name in it.
fn archive(
    layers: &OpenLayers<'_>,
    start: &LayerPath,
    name_of_start: &[u8],
    is_layer: bool,
    output: impl Write,
) -> Result<(), Unreadable> {
    let mut writer = ArchiveWriter::new(io::BufWriter::new(output));
    // The first name of each file that has several.
    let mut linked: BTreeMap<(u64, u64), Vec<u8>> = BTreeMap::new();
    let named = |path: &[u8]| {
        let rest = path.get(start.as_bytes().len()..).unwrap_or_default();
        let rest = rest.strip_prefix(b"/").unwrap_or(rest);
        let is_joined = rest.is_empty() || name_of_start.is_empty() || name_of_start.ends_with(b"/");
        [name_of_start, if is_joined { b"" } else { b"/" }, rest].concat()
    };
    layers.walk(start, is_layer, |found| {
        let path = found.path.as_bytes();
        let own = named(path);
        if own.is_empty() {
            return Ok(());
        }
        let unread = |errno| failed(path, errno);
        if is_whiteout(&found.stat) {
            let at = path.iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1);
            let name = [&path[..at], WHITEOUT, &path[at..]].concat();
            return writer.entry(&mark(name), &mut io::empty()).map_err(|error| io_failed(path, &error));
        }
        let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        if is_layer && name.starts_with(WHITEOUT) {
            return Err(wrong("image.layer.mark", path));
        }
        let Some(mut entry) = entry_of(found).map_err(unread)? else { return Ok(()) };
        entry.name = own;
        let mut content: Box<dyn Read> = Box::new(io::empty());
        if entry.kind == EntryKind::File {
            let key = (found.stat.st_dev, found.stat.st_ino);
            match linked.get(&key).filter(|_| found.stat.st_nlink > 1) {
                Some(first) => {
                    (entry.kind, entry.size, entry.link) = (EntryKind::HardLink, 0, first.clone());
                    entry.attributes.clear();
                }
                None => {
                    if found.stat.st_nlink > 1 {
                        linked.insert(key, entry.name.clone());
                    }
                    // A running container may make it shorter meanwhile.
                    content = Box::new(File::from(found.opened().map_err(unread)?).chain(io::repeat(0)));
                }
            }
        }
        writer.entry(&entry, &mut content).map_err(|error| io_failed(path, &error))?;
        if is_layer && found.is_directory() && is_opaque(&found.opened().map_err(unread)?) {
            let mark = mark([path, b"/", OPAQUE_NAME].concat());
            writer.entry(&mark, &mut io::empty()).map_err(|error| io_failed(path, &error))?;
        }
        Ok(())
    })?;
    writer.finish().map(drop).map_err(|error| io_failed(b"", &error))
}

/// The entry of a mark: an empty file.
fn mark(name: Vec<u8>) -> ArchiveEntry {
    ArchiveEntry {
        kind: EntryKind::File,
        name,
        link: Vec::new(),
        size: 0,
        mode: 0o600,
        uid: 0,
        gid: 0,
        mtime: (0, 0),
        device: (0, 0),
        attributes: Vec::new(),
    }
}

/// The entry of a file. None: a socket, which no archive has.
fn entry_of(found: &FoundFile<'_>) -> Result<Option<ArchiveEntry>, Errno> {
    let stat = &found.stat;
    let kind = match type_of(stat) {
        FileType::RegularFile => EntryKind::File,
        FileType::Directory => EntryKind::Directory,
        FileType::Symlink => EntryKind::Symlink,
        FileType::CharacterDevice => EntryKind::CharDevice,
        FileType::BlockDevice => EntryKind::BlockDevice,
        FileType::Fifo => EntryKind::Fifo,
        _ => return Ok(None),
    };
    let is_device = [EntryKind::CharDevice, EntryKind::BlockDevice].contains(&kind);
    let link = match kind {
        EntryKind::Symlink => readlinkat(&found.file, "", Vec::new())?.into_bytes(),
        _ => Vec::new(),
    };
    let has_attributes = [EntryKind::File, EntryKind::Directory].contains(&kind);
    let opened = if has_attributes { Some(found.opened()?) } else { None };
    let attributes = opened.as_ref().map(attributes).transpose()?.unwrap_or_default();
    let owner = opened.and_then(noted_owner).unwrap_or((stat.st_uid, stat.st_gid));
    Ok(Some(ArchiveEntry {
        kind,
        name: found.path.as_bytes().to_vec(),
        link,
        size: if kind == EntryKind::File { u64::try_from(stat.st_size).unwrap_or_default() } else { 0 },
        mode: stat.st_mode & 0o7777,
        uid: owner.0,
        gid: owner.1,
        mtime: (stat.st_mtime, u32::try_from(stat.st_mtime_nsec).unwrap_or_default()),
        device: if is_device { (major(stat.st_rdev), minor(stat.st_rdev)) } else { (0, 0) },
        attributes,
    }))
}

fn names(directory: &OwnedFd) -> Result<BTreeSet<Vec<u8>>, Errno> {
    let mut names = BTreeSet::new();
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.insert(name.to_vec());
        }
    }
    Ok(names)
}
