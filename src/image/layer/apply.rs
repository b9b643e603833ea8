//! Makes the files of one layer, in a directory of its own that is a layer of an overlay.
//!
//! | in the archive | in the directory |
//! |---|---|
//! | `.wh.NAME` | a character device 0/0 `NAME`: the mark of an overlay for a deleted file, where a lower layer has the directory |
//! | `.wh..wh..opq` | the attribute `overlay.opaque` of the directory: it hides what lower layers have in it |
//! | a directory that lacks | made, with the owner, mode and times that it has in a lower layer |
//!
//! overlayfs.rst; the OCI image specification, layer.md

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, Stat, Uid, XattrFlags, chownat, fchmod, fchown, fsetxattr, fstat,
    futimens, linkat, makedev, mkdirat, mknodat, openat, readlinkat, statat, symlinkat, unlinkat, utimensat,
};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::files::{
    WHITEOUT, copy_attributes, failed, forget_owner, io_failed, is_kept, mark_opaque, new_file, note_owner,
    noted_owner, parts, times, unlink_whiteout, wrong,
};
use super::merged::{LayerPath, LayerPlace, Merged, is_whiteout, open, type_of};
use super::times::{DirectoryTimes, time_of};
use super::{tree, whiteouts};
use crate::image::entries::{
    ArchiveEntries, ArchiveEntry, EntryKind, MANY_ENTRIES, Unreadable, printed_bytes,
};
use crate::image::sparse::SparseFile;
use crate::plan::call::user::IdMaps;
use crate::text::text_with;

/// The beginning of the names that aufs has for itself.
const OF_AUFS: &[u8] = b".wh..wh.";

/// The name that means that lower layers are hidden.
pub(super) const OPAQUE_NAME: &[u8] = b".wh..wh..opq";

/// What was made of a layer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerCounts {
    /// The sizes of all files together.
    pub size: u64,
    /// The number of entries.
    pub entries: u64,
    /// The device files that an ordinary user cannot make.
    pub devices: u64,
    /// The attributes that were left out.
    pub attributes: u64,
    /// The files whose owner the user namespace does not map. They belong to root there.
    pub owners: u64,
}

impl LayerCounts {
    /// The counts of two layers together.
    pub fn and(mut self, other: &LayerCounts) -> LayerCounts {
        self.size += other.size;
        self.entries += other.entries;
        self.devices += other.devices;
        self.attributes += other.attributes;
        self.owners += other.owners;
        self
    }
}

/// Unpacks a layer.
pub(super) struct Unpacker<'m> {
    merged: Merged,
    /// The IDs that can be owners. None: all.
    maps: Option<&'m IdMaps>,
    /// The times that directories get at the end: to make a file in a directory changes its time.
    times: DirectoryTimes,
    /// The directory of the last entry, as the archive names it.
    last: Option<(Vec<u8>, LayerPath, OwnedFd)>,
    /// Whether the archive is a layer: it has marks of deleted files, and replaces directories by files and the other way round.
    is_layer: bool,
    /// Whether a whiteout was made.
    has_whiteouts: bool,
    /// Whether the root is that of the layers below: the archive has had no entry for it.
    adopts_root: bool,
    /// Counts the entries of the whole archive. It is called if there are many.
    check: Option<Box<dyn FnOnce() -> Result<(), Unreadable> + 'm>>,
    counts: LayerCounts,
}

impl<'m> Unpacker<'m> {
    pub(super) fn new(merged: Merged, maps: Option<&'m IdMaps>) -> Unpacker<'m> {
        Unpacker {
            merged,
            maps,
            times: DirectoryTimes::default(),
            last: None,
            is_layer: true,
            has_whiteouts: false,
            adopts_root: false,
            check: None,
            counts: LayerCounts::default(),
        }
    }

    /// The same, which calls `check` before it makes the files of an archive with many entries.
    pub(super) fn checked(self, check: impl FnOnce() -> Result<(), Unreadable> + 'm) -> Unpacker<'m> {
        Unpacker { check: Some(Box::new(check)), ..self }
    }

    /// Makes the files of all entries of a layer.
    pub(super) fn unpack<R: Read>(
        mut self,
        entries: &mut ArchiveEntries<R>,
    ) -> Result<LayerCounts, Unreadable> {
        self.adopts_root = true;
        self.apply_all(entries)
    }

    /// Makes the files of an archive that is no layer, beside those that are there. Neither a directory nor what is no directory
    /// is replaced by the other: a directory can be a mount point of a running container.
    pub(super) fn fill<R: Read>(
        mut self,
        entries: &mut ArchiveEntries<R>,
    ) -> Result<LayerCounts, Unreadable> {
        self.is_layer = false;
        self.apply_all(entries)
    }

    fn apply_all<R: Read>(mut self, entries: &mut ArchiveEntries<R>) -> Result<LayerCounts, Unreadable> {
        while let Some(entry) = entries.next_entry()? {
            self.counts.entries += 1;
            if self.counts.entries > MANY_ENTRIES
                && let Some(check) = self.check.take()
            {
                check()?;
            }
            self.apply(&entry, entries)?;
            if self.times.is_full() {
                self.times.set(&self.merged.layer)?;
                // The next entry looks its directory up again, and so keeps its time.
                self.last = None;
            }
        }
        if self.adopts_root {
            // At the end: until then, the layers below may be unpacked too.
            let root = LayerPath::default();
            let lower = self.merged.lowers().and_then(|lowers| lowers.first().map(fstat).transpose());
            let owner = self.merged.lowers().ok().and_then(|lowers| noted_owner(lowers.first()?));
            let adopted = lower.and_then(|stat| stat.map_or(Ok(()), |stat| self.adopt(&root, &stat, owner)));
            adopted.map_err(|errno| failed(b"/", errno))?;
        }
        self.times.set(&self.merged.layer)?;
        if self.has_whiteouts {
            let lowers = self.merged.lowers();
            let removed = lowers.and_then(|lowers| whiteouts::remove_unneeded(&self.merged.layer, lowers));
            removed.map_err(|errno| failed(b"/", errno))?;
        }
        Ok(self.counts)
    }

    fn apply<R: Read>(
        &mut self,
        entry: &ArchiveEntry,
        content: &mut ArchiveEntries<R>,
    ) -> Result<(), Unreadable> {
        let parts = parts(&entry.name, self.is_layer)?;
        let Some((name, above)) = parts.split_last() else {
            if entry.kind != EntryKind::Directory {
                return Err(wrong("image.tar.root", &entry.name));
            }
            self.adopts_root = false;
            let root = LayerPath::default();
            let made = open(&self.merged.layer, root.as_os_str(), OFlags::RDONLY | OFlags::DIRECTORY);
            return made
                .and_then(|directory| self.finish(&directory, entry, &root))
                .map_err(|errno| failed(&entry.name, errno));
        };
        let parent = self.parent(above).map_err(|errno| failed(&entry.name, errno))?;
        if !self.is_layer {
            self.keeps_kind(&parent.0.join(name), entry).map_err(|errno| failed(&entry.name, errno))?;
        }
        match name.strip_prefix(WHITEOUT).filter(|_| self.is_layer) {
            Some(_) if *name == OPAQUE_NAME => {
                self.set_opaque(&parent).map_err(|errno| failed(&entry.name, errno))
            }
            // Notes of aufs, which mean nothing elsewhere.
            Some(_) if name.starts_with(OF_AUFS) => Ok(()),
            Some(b"" | b"." | b"..") => Err(wrong("image.tar.whiteout", &entry.name)),
            Some(deleted) => self.delete(&parent, deleted).map_err(|errno| failed(&entry.name, errno)),
            None if entry.kind == EntryKind::File => self.make_file(&parent, name, entry, content),
            None if entry.kind == EntryKind::HardLink => self.make_hard_link(&parent, name, entry),
            None if entry.kind == EntryKind::CharDevice && entry.device == (0, 0) => {
                Err(wrong("image.tar.mark", &entry.name))
            }
            None => self.make(&parent, name, entry).map_err(|errno| failed(&entry.name, errno)),
        }
    }

    /// Refuses an entry that would replace a directory, or a directory that would replace something else.
    fn keeps_kind(&self, path: &LayerPath, entry: &ArchiveEntry) -> Result<(), Errno> {
        let (LayerPlace::Here(_, stat) | LayerPlace::Below(_, stat)) = self.merged.find(path)? else {
            return Ok(());
        };
        match (type_of(&stat) == FileType::Directory, entry.kind == EntryKind::Directory) {
            (true, false) => Err(Errno::ISDIR),
            (false, true) => Err(Errno::NOTDIR),
            _ => Ok(()),
        }
    }

    /// The directory of an entry. What lacks of it is made.
    fn parent(&mut self, above: &[&[u8]]) -> Result<(LayerPath, OwnedFd), Errno> {
        let written = above.join(&b'/');
        if let Some((last, resolved, directory)) = &self.last
            && *last == written
        {
            return Ok((resolved.clone(), directory.try_clone().map_err(|_| Errno::MFILE)?));
        }
        let (mut made, mut changed) = (Vec::new(), Vec::new());
        let merged = &self.merged;
        let resolved = merged.resolve(above, |path, place| {
            let above = path.parent();
            let stat =
                open(&merged.layer, above.as_os_str(), OFlags::PATH).and_then(|found| fstat(&found))?;
            changed.push((above, stat));
            let was_deleted = match unlink_whiteout(&merged.layer, path) {
                Err(Errno::NOENT) => false,
                unlinked => unlinked?,
            };
            mkdirat(&merged.layer, path.as_os_str(), Mode::from_raw_mode(0o755))?;
            if was_deleted {
                mark_opaque(&open(&merged.layer, path.as_os_str(), OFlags::RDONLY | OFlags::DIRECTORY)?)?;
            }
            if let LayerPlace::Below(lower, stat) = place {
                let noted = openat(lower, ".", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
                made.push((path.clone(), *stat, noted.ok().and_then(noted_owner)));
            }
            Ok(true)
        })?;
        let resolved = resolved.unwrap_or_default();
        changed.iter().for_each(|(path, stat)| self.times.keep(path, stat));
        for (path, stat, owner) in made {
            self.adopt(&path, &stat, owner)?;
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let directory = open(&self.merged.layer, resolved.as_os_str(), flags)?;
        self.times.keep(&resolved, &fstat(&directory)?);
        let copy = directory.try_clone().map_err(|_| Errno::MFILE)?;
        self.last = Some((written, resolved.clone(), copy));
        Ok((resolved, directory))
    }

    /// Gives a directory the owner, the mode and the times that it has in a lower layer, which it hides.
    fn adopt(&mut self, path: &LayerPath, stat: &Stat, noted: Option<(u32, u32)>) -> Result<(), Errno> {
        let made = open(&self.merged.layer, path.as_os_str(), OFlags::RDONLY | OFlags::DIRECTORY)?;
        fchown(&made, Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)))?;
        fchmod(&made, Mode::from_raw_mode(stat.st_mode & 0o7777))?;
        if let Some((uid, gid)) = noted {
            note_owner(&made, uid, gid);
        }
        self.times.note(path, time_of(stat));
        Ok(())
    }

    /// Hides what lower layers have in a directory.
    fn set_opaque(&mut self, (path, directory): &(LayerPath, OwnedFd)) -> Result<(), Errno> {
        mark_opaque(directory)?;
        if *path == LayerPath::default() {
            self.merged.hide_lowers();
        }
        Ok(())
    }

    /// Deletes what lower layers have at a name. What this layer has there stays, whatever the order of its entries.
    fn delete(&mut self, (path, directory): &(LayerPath, OwnedFd), name: &[u8]) -> Result<(), Errno> {
        let name_text = OsStr::from_bytes(name);
        match statat(directory, name_text, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(own) if type_of(&own) == FileType::Directory => {
                mark_opaque(&open(&self.merged.layer, path.join(name).as_os_str(), OFlags::RDONLY)?)
            }
            Ok(_) => Ok(()),
            Err(Errno::NOENT) => {
                self.has_whiteouts = true;
                mknodat(directory, name_text, FileType::CharacterDevice, Mode::empty(), 0)
            }
            Err(errno) => Err(errno),
        }
    }

    /// Makes room for an entry. Returns whether lower layers must stay hidden there: this layer has deleted what they
    /// have.
    fn make_room(&mut self, directory: &OwnedFd, name: &OsStr, is_directory: bool) -> Result<Room, Errno> {
        let own = match statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => return Ok(Room::Free),
            own => own?,
        };
        match type_of(&own) {
            _ if is_whiteout(&own) => {
                unlinkat(directory, name, AtFlags::empty())?;
                Ok(Room::Deleted)
            }
            FileType::Directory if is_directory => Ok(Room::IsDirectory),
            _ => {
                // A path that went through it may lead elsewhere now.
                self.last = None;
                tree::remove(directory, name)?;
                // It hid what lower layers have there, and that must not come back.
                Ok(Room::Deleted)
            }
        }
    }

    fn make_file<R: Read>(
        &mut self,
        (_, directory): &(LayerPath, OwnedFd),
        name: &[u8],
        entry: &ArchiveEntry,
        content: &mut ArchiveEntries<R>,
    ) -> Result<(), Unreadable> {
        let name = OsStr::from_bytes(name);
        let made = self.make_room(directory, name, false).and_then(|_| new_file(directory, name));
        let file = made.map_err(|errno| failed(&entry.name, errno))?;
        let mut sparse = SparseFile::new(&file);
        // What cannot be read is another error than what cannot be written.
        let mut buffer = [0; 64 << 10];
        loop {
            let count = content.read(&mut buffer)?;
            if count == 0 {
                break;
            }
            io::Write::write_all(&mut sparse, &buffer[..count])
                .map_err(|error| io_failed(&entry.name, &error))?;
        }
        self.counts.size += entry.size;
        let file = OwnedFd::from(file);
        let done = self.own(&file, entry).and_then(|()| futimens(&file, &times(entry.mtime)));
        done.map_err(|errno| failed(&entry.name, errno))
    }

    fn make_hard_link(
        &mut self,
        (path, directory): &(LayerPath, OwnedFd),
        name: &[u8],
        entry: &ArchiveEntry,
    ) -> Result<(), Unreadable> {
        let missing = || {
            let values = [("entry", &*printed_bytes(&entry.name)), ("target", &printed_bytes(&entry.link))];
            Unreadable(text_with("image.tar.link", &values))
        };
        let errno = |errno| failed(&entry.name, errno);
        let parts = parts(&entry.link, self.is_layer)?;
        let (target, above) = parts.split_last().ok_or_else(missing)?;
        // Directories that only a lower layer has are not made for this.
        let found = self.merged.resolve(above, |_, place| Ok(matches!(place, LayerPlace::Below(..))));
        let target = found.map_err(errno)?.ok_or_else(missing)?.join(target);
        if target == path.join(name) {
            return Ok(());
        }
        let name = OsStr::from_bytes(name);
        match self.merged.find(&target).map_err(errno)? {
            LayerPlace::Nothing => Err(missing()),
            LayerPlace::Here(_, stat) | LayerPlace::Below(_, stat)
                if type_of(&stat) == FileType::Directory =>
            {
                Err(missing())
            }
            LayerPlace::Here(_, stat) => {
                let same = statat(directory, name, AtFlags::SYMLINK_NOFOLLOW);
                if same.is_ok_and(|same| (same.st_dev, same.st_ino) == (stat.st_dev, stat.st_ino)) {
                    return Ok(());
                }
                self.make_room(directory, name, false).map_err(errno)?;
                // The room may have been the directory in which the target was.
                let made = linkat(&self.merged.layer, target.as_os_str(), directory, name, AtFlags::empty());
                made.map_err(errno)
            }
            LayerPlace::Below(lower, stat) => {
                self.make_room(directory, name, false).map_err(errno)?;
                let copied = self.copy_up(&target, (&lower, &stat), directory, name);
                copied.map_err(|error| io_failed(&entry.name, &error))
            }
        }
    }

    /// Copies a file of a lower layer, as an overlay does when a file gets a further name.
    fn copy_up(
        &mut self,
        target: &LayerPath,
        (lower, stat): (&OwnedFd, &Stat),
        directory: &OwnedFd,
        name: &OsStr,
    ) -> io::Result<()> {
        let mode = Mode::from_raw_mode(stat.st_mode & 0o7777);
        let owner = (Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)));
        let time = times(time_of(stat));
        match type_of(stat) {
            FileType::RegularFile => {
                // A descriptor of a path cannot be read. The first layer that has it is the one that was found.
                let flags = OFlags::RDONLY | OFlags::NONBLOCK;
                let mut opened =
                    self.merged.lowers()?.iter().map(|root| open(root, target.as_os_str(), flags));
                let from = opened.find(|opened| !matches!(opened, Err(Errno::NOENT)));
                let mut from = File::from(from.ok_or(Errno::NOENT)??);
                let to = new_file(directory, name)?;
                self.counts.size += io::copy(&mut from, &mut SparseFile::new(&to))?;
                fchown(&to, owner.0, owner.1)?;
                fchmod(&to, mode)?;
                self.counts.attributes += copy_attributes(&from, &to)?;
                if let Some((uid, gid)) = noted_owner(&from) {
                    note_owner(&to, uid, gid);
                }
                futimens(&to, &time)?;
                return Ok(());
            }
            FileType::Symlink => {
                symlinkat(readlinkat(lower, "", Vec::new())?, directory, name)?;
                chownat(directory, name, owner.0, owner.1, AtFlags::SYMLINK_NOFOLLOW)?;
            }
            kind => {
                mknodat(directory, name, kind, mode, stat.st_rdev)?;
                chownat(directory, name, owner.0, owner.1, AtFlags::SYMLINK_NOFOLLOW)?;
                // A change of the owner removes some bits of the mode. It is no link: this process has just made it.
                rustix::fs::chmodat(directory, name, mode, AtFlags::empty())?;
            }
        }
        Ok(utimensat(directory, name, &time, AtFlags::SYMLINK_NOFOLLOW)?)
    }

    /// Makes what has no content.
    fn make(
        &mut self,
        (path, parent): &(LayerPath, OwnedFd),
        name: &[u8],
        entry: &ArchiveEntry,
    ) -> Result<(), Errno> {
        let (at, path) = (OsStr::from_bytes(name), path.join(name));
        let room = self.make_room(parent, at, entry.kind == EntryKind::Directory)?;
        let mode = Mode::from_raw_mode(entry.mode);
        let special = match entry.kind {
            EntryKind::Directory => {
                if !matches!(room, Room::IsDirectory) {
                    mkdirat(parent, at, Mode::RWXU)?;
                }
                let made = open(&self.merged.layer, path.as_os_str(), OFlags::RDONLY | OFlags::DIRECTORY)?;
                if matches!(room, Room::Deleted) {
                    mark_opaque(&made)?;
                }
                return self.finish(&made, entry, &path);
            }
            EntryKind::Symlink => {
                symlinkat(OsStr::from_bytes(&entry.link), parent, at)?;
                None
            }
            EntryKind::Fifo => Some(FileType::Fifo),
            EntryKind::BlockDevice => Some(FileType::BlockDevice),
            _ => Some(FileType::CharacterDevice),
        };
        if let Some(kind) = special {
            let device = makedev(entry.device.0, entry.device.1);
            match mknodat(parent, at, kind, Mode::RUSR, device) {
                // Only root outside may make a device. In a container nobody could open it either.
                Err(Errno::PERM) if self.maps.is_some() && kind != FileType::Fifo => {
                    self.counts.devices += 1;
                    return Ok(());
                }
                made => made?,
            }
        }
        self.counts.attributes += entry.attributes.len() as u64;
        let (uid, gid) = self.owner(entry);
        chownat(parent, at, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
        if special.is_some() {
            // It is no link: this process has just made it, and nobody else can write here.
            rustix::fs::chmodat(parent, at, mode, AtFlags::empty())?;
        }
        utimensat(parent, at, &times(entry.mtime), AtFlags::SYMLINK_NOFOLLOW)
    }

    /// Gives a directory what its entry says.
    fn finish(&mut self, directory: &OwnedFd, entry: &ArchiveEntry, path: &LayerPath) -> Result<(), Errno> {
        self.own(directory, entry)?;
        self.times.note(path, entry.mtime);
        Ok(())
    }

    /// Gives a file its owner, its mode and its attributes. A change of the owner removes capabilities and some bits
    /// of the mode, so it comes first.
    fn own(&mut self, file: &OwnedFd, entry: &ArchiveEntry) -> Result<(), Errno> {
        let (uid, gid) = self.owner(entry);
        fchown(file, Some(uid), Some(gid))?;
        fchmod(file, Mode::from_raw_mode(entry.mode))?;
        if self.is_layer {
            let is_lost = (uid.as_raw(), gid.as_raw()) != (entry.uid, entry.gid);
            match entry.kind {
                // What is copied or written from here gets the right owner.
                _ if is_lost => note_owner(file, entry.uid, entry.gid),
                // It may have a note of a lower layer: files in it came before its own entry.
                EntryKind::Directory => forget_owner(file),
                _ => {}
            }
        }
        for (name, value) in &entry.attributes {
            match is_kept(name).then(|| fsetxattr(file, OsStr::from_bytes(name), value, XattrFlags::empty()))
            {
                Some(Ok(())) => {}
                // The filesystem has none, or the kernel does not allow this one.
                None | Some(Err(Errno::OPNOTSUPP | Errno::PERM | Errno::INVAL)) => {
                    self.counts.attributes += 1
                }
                Some(Err(errno)) => return Err(errno),
            }
        }
        Ok(())
    }

    fn owner(&mut self, entry: &ArchiveEntry) -> (Uid, Gid) {
        let is_mapped =
            |ranges: &[crate::plan::call::user::IdRange], id| ranges.iter().any(|range| range.has(id));
        let (uid, gid) = match self.maps {
            None => (entry.uid, entry.gid),
            Some(maps) => {
                let has = (is_mapped(&maps.users, entry.uid), is_mapped(&maps.groups, entry.gid));
                self.counts.owners += u64::from(has != (true, true));
                (if has.0 { entry.uid } else { 0 }, if has.1 { entry.gid } else { 0 })
            }
        };
        (Uid::from_raw(uid), Gid::from_raw(gid))
    }
}

/// What was at the name of an entry.
enum Room {
    Free,
    /// This layer has deleted what lower layers have there.
    Deleted,
    IsDirectory,
}
