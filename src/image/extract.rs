//! Copies files between an archive and a directory of the host: `cp`.
//!
//! An archive of a container cannot be trusted. Each directory of a path is opened without following a link. So a link that an
//! earlier copy has made cannot lead outside. openat2(2)

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::rc::Rc;

use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Gid, Mode, OFlags, ResolveFlags, Timespec, Timestamps, Uid, chownat, fchmod,
    fchown, fstat, futimens, linkat, mkdirat, mknodat, openat, openat2, readlinkat, symlinkat, unlinkat,
};
use rustix::io::Errno;

use super::entries::{ArchiveEntries, ArchiveEntry, EntryKind, Unreadable, printed_bytes};
use super::tar_writer::ArchiveWriter;
use crate::error::{errno, errno_text};
use crate::text::text_with;

/// The permissions that a copy keeps, with the sticky bit: a copy for the host is no set-user-ID program.
const PERMISSIONS: u32 = 0o1777;

/// Writes the files of an archive below a directory. `rename` returns the place of an entry: a path without `..`. None: it has
/// none. An empty path is the directory itself, which stays as it is.
///
/// # Errors
/// The archive cannot be read, or a file cannot be written.
pub fn extract(
    archive: impl Read,
    directory: &OwnedFd,
    rename: impl Fn(&[u8]) -> Option<Vec<u8>>,
    keeps_owners: bool,
) -> Result<(), Unreadable> {
    let mut entries = ArchiveEntries::new(archive);
    let mut directories = Vec::new();
    while let Some(entry) = entries.next_entry()? {
        let Some(path) = rename(&entry.name).filter(|path| !path.is_empty()) else { continue };
        let link = rename(&entry.link).unwrap_or_default();
        let failed = |error: Errno| failed(&entry.name, error);
        let (parent, name) = place(directory, &path).map_err(failed)?;
        make(directory, &parent, name, &entry, &link, &mut entries, keeps_owners)?;
        if entry.kind == EntryKind::Directory {
            directories.push((path, entry));
        }
    }
    // A directory without the permission to write gets its files first, and a new file changes its time.
    for (path, entry) in directories.into_iter().rev() {
        let failed = |error: Errno| failed(&entry.name, error);
        let opened = opened(directory, &path).map_err(failed)?;
        finish(&opened, &entry, keeps_owners).map_err(failed)?;
    }
    entries.finish()
}

fn failed(entry: &[u8], error: Errno) -> Unreadable {
    let values = [("entry", &*printed_bytes(entry)), ("why", &errno_text(errno(error)))];
    Unreadable(text_with("image.tar.entry", &values))
}

/// Opens a directory below another one. No link is followed.
fn opened(directory: &OwnedFd, path: &[u8]) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let path = if path.is_empty() { b"." } else { path };
    openat2(directory, OsStr::from_bytes(path), flags, Mode::empty(), resolve)
}

/// The directory of a path, and the name in it.
fn place<'p>(directory: &OwnedFd, path: &'p [u8]) -> Result<(OwnedFd, &'p OsStr), Errno> {
    let slash = path.iter().rposition(|byte| *byte == b'/');
    let (above, name) = match slash {
        Some(at) => (&path[..at], &path[at + 1..]),
        None => (&path[..0], path),
    };
    Ok((opened(directory, above)?, OsStr::from_bytes(name)))
}

fn make(
    directory: &OwnedFd,
    parent: &OwnedFd,
    name: &OsStr,
    entry: &ArchiveEntry,
    link: &[u8],
    content: &mut impl Read,
    keeps_owners: bool,
) -> Result<(), Unreadable> {
    let failed = |error: Errno| failed(&entry.name, error);
    if name.is_empty() {
        return Ok(());
    }
    if entry.kind == EntryKind::Directory {
        return match mkdirat(parent, name, Mode::RWXU) {
            // Its files are put beside those that are there.
            Err(Errno::EXIST) => opened(parent, name.as_bytes()).map(drop).map_err(failed),
            made => made.map_err(failed),
        };
    }
    // A directory is never replaced by something else.
    match unlinkat(parent, name, AtFlags::empty()) {
        Err(Errno::NOENT) => {}
        unlinked => unlinked.map_err(failed)?,
    }
    match entry.kind {
        EntryKind::File => {
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let file = openat(parent, name, flags, Mode::RUSR | Mode::WUSR).map_err(failed)?;
            let mut file = File::from(file);
            io::copy(content, &mut file)?;
            finish(&file.into(), entry, keeps_owners).map_err(failed)
        }
        EntryKind::HardLink => {
            let (above, target) = place(directory, link).map_err(failed)?;
            linkat(&above, target, parent, name, AtFlags::empty()).map_err(failed)
        }
        EntryKind::Symlink => {
            symlinkat(OsStr::from_bytes(&entry.link), parent, name).map_err(failed)?;
            match keeps_owners {
                true => {
                    chownat(parent, name, uid(entry), gid(entry), AtFlags::SYMLINK_NOFOLLOW).map_err(failed)
                }
                false => Ok(()),
            }
        }
        EntryKind::Fifo => {
            let mode = Mode::from_raw_mode(entry.mode & PERMISSIONS);
            mknodat(parent, name, FileType::Fifo, mode, 0).map_err(failed)
        }
        // A device file of a container would be a device of the host.
        EntryKind::CharDevice | EntryKind::BlockDevice => {
            Err(Unreadable(text_with("image.copy.device", &[("entry", &printed_bytes(&entry.name))])))
        }
        EntryKind::Directory => Ok(()),
    }
}

fn uid(entry: &ArchiveEntry) -> Option<Uid> {
    Some(Uid::from_raw(entry.uid))
}

fn gid(entry: &ArchiveEntry) -> Option<Gid> {
    Some(Gid::from_raw(entry.gid))
}

fn finish(file: &OwnedFd, entry: &ArchiveEntry, keeps_owners: bool) -> Result<(), Errno> {
    if keeps_owners {
        fchown(file, uid(entry), gid(entry))?;
    }
    fchmod(file, Mode::from_raw_mode(entry.mode & PERMISSIONS))?;
    let time = Timespec { tv_sec: entry.mtime.0, tv_nsec: entry.mtime.1.into() };
    futimens(file, &Timestamps { last_access: time, last_modification: time })
}

/// Writes a file or a directory of the host to an archive, under this path. Without `has_top`, only what is in the directory.
/// Without `keeps_owners`, all belongs to root.
///
/// # Errors
/// A file cannot be read, or the archive cannot be written.
pub fn archive(
    source: &Path,
    name: &[u8],
    has_top: bool,
    keeps_owners: bool,
    output: impl Write,
) -> io::Result<()> {
    let mut writer = ArchiveWriter::new(io::BufWriter::new(output));
    // Each file is looked at and read by one descriptor: another user may put a link in its place meanwhile.
    let look = |directory: BorrowedFd<'_>, name: &OsStr| {
        openat(directory, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
    };
    let again = |file: &OwnedFd, flags: OFlags| {
        let own = format!("/proc/self/fd/{}", file.as_raw_fd());
        openat(CWD, own, flags | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty())
    };
    let mut left = vec![(None::<Rc<OwnedFd>>, source.as_os_str().to_owned(), name.to_owned())];
    while let Some((above, own, name)) = left.pop() {
        let file = look(above.as_ref().map_or(CWD, |above| above.as_fd()), &own)?;
        let about = fstat(&file)?;
        let kind = match FileType::from_raw_mode(about.st_mode) {
            FileType::Directory => EntryKind::Directory,
            FileType::RegularFile => EntryKind::File,
            FileType::Symlink => EntryKind::Symlink,
            FileType::Fifo => EntryKind::Fifo,
            FileType::Socket => continue,
            _ => {
                return Err(io::Error::other(text_with(
                    "image.copy.device",
                    &[("entry", &printed_bytes(&name))],
                )));
            }
        };
        let mut entry = ArchiveEntry {
            kind,
            name: name.clone(),
            link: Vec::new(),
            size: 0,
            mode: about.st_mode & 0o7777,
            uid: if keeps_owners { about.st_uid } else { 0 },
            gid: if keeps_owners { about.st_gid } else { 0 },
            mtime: (about.st_mtime, u32::try_from(about.st_mtime_nsec).unwrap_or_default()),
            device: (0, 0),
            attributes: Vec::new(),
        };
        match kind {
            EntryKind::Directory => {
                if has_top || above.is_some() {
                    writer.entry(&entry, &mut io::empty())?;
                }
                let file = Rc::new(again(&file, OFlags::RDONLY | OFlags::DIRECTORY)?);
                let mut names = Vec::new();
                for entry in Dir::read_from(&file)? {
                    let name = entry?.file_name().to_bytes().to_owned();
                    names.extend(Some(OsString::from_vec(name)).filter(|name| name != "." && name != ".."));
                }
                names.sort();
                for inner in names.into_iter().rev() {
                    let below = match name.is_empty() {
                        true => inner.as_bytes().to_vec(),
                        false => [&name[..], b"/", inner.as_bytes()].concat(),
                    };
                    left.push((Some(file.clone()), inner, below));
                }
                continue;
            }
            EntryKind::Symlink => entry.link = readlinkat(&file, "", Vec::new())?.into_bytes(),
            EntryKind::File => {
                let file = File::from(again(&file, OFlags::RDONLY)?);
                entry.size = file.metadata()?.len();
                writer.entry(&entry, &mut file.chain(io::repeat(0)))?;
                continue;
            }
            _ => {}
        }
        writer.entry(&entry, &mut io::empty())?;
    }
    writer.finish().map(drop)
}

/// Writes an archive again, with other paths.
///
/// # Errors
/// It cannot be read or written.
pub fn renamed(
    archive: impl Read,
    rename: impl Fn(&[u8]) -> Option<Vec<u8>>,
    output: impl Write,
) -> Result<(), Unreadable> {
    let mut entries = ArchiveEntries::new(archive);
    let mut writer = ArchiveWriter::new(io::BufWriter::new(output));
    while let Some(mut entry) = entries.next_entry()? {
        let Some(name) = rename(&entry.name) else { continue };
        entry.name = name;
        if entry.kind == EntryKind::HardLink {
            entry.link = rename(&entry.link).unwrap_or_default();
        }
        writer.entry(&entry, &mut entries)?;
    }
    entries.finish()?;
    writer.finish().map(drop).map_err(Unreadable::from)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    use super::*;

    #[test]
    fn a_tree_is_copied_and_no_link_leads_out() {
        let place = tempfile::tempdir().unwrap();
        let path = |name: &str| place.path().join(name);
        fs::create_dir_all(path("from/inner")).unwrap();
        fs::write(path("from/inner/file"), "content").unwrap();
        fs::set_permissions(path("from/inner/file"), fs::Permissions::from_mode(0o4750)).unwrap();
        fs::set_permissions(path("from/inner"), fs::Permissions::from_mode(0o555)).unwrap();
        symlink("/nowhere", path("from/link")).unwrap();
        let mut bytes = Vec::new();
        archive(&path("from"), b"top", true, false, &mut bytes).unwrap();
        fs::create_dir(path("to")).unwrap();
        let to = OwnedFd::from(File::open(path("to")).unwrap());
        let same = |name: &[u8]| Some(name.strip_suffix(b"/").unwrap_or(name).to_vec());
        extract(&bytes[..], &to, same, false).unwrap();
        assert_eq!(fs::read_to_string(path("to/top/inner/file")).unwrap(), "content");
        assert_eq!(fs::metadata(path("to/top/inner/file")).unwrap().mode() & 0o7777, 0o750);
        assert_eq!(fs::metadata(path("to/top/inner")).unwrap().mode() & 0o7777, 0o555);
        assert_eq!(fs::read_link(path("to/top/link")).unwrap(), Path::new("/nowhere"));
        // A link that is there already is not followed: for a directory it is an error, and a file replaces it.
        fs::create_dir(path("outside")).unwrap();
        fs::write(path("canary"), "old").unwrap();
        fs::create_dir_all(path("second/top")).unwrap();
        symlink(path("outside"), path("second/top/inner")).unwrap();
        let second = OwnedFd::from(File::open(path("second")).unwrap());
        assert!(extract(&bytes[..], &second, same, false).is_err());
        assert_eq!(fs::read_dir(path("outside")).unwrap().count(), 0);
        fs::create_dir_all(path("third/top/inner")).unwrap();
        symlink(path("canary"), path("third/top/inner/file")).unwrap();
        let third = OwnedFd::from(File::open(path("third")).unwrap());
        extract(&bytes[..], &third, same, false).unwrap();
        assert_eq!(fs::read_to_string(path("canary")).unwrap(), "old");
        assert_eq!(fs::read_to_string(path("third/top/inner/file")).unwrap(), "content");
        for directory in ["from/inner", "to/top/inner", "third/top/inner"] {
            fs::set_permissions(path(directory), fs::Permissions::from_mode(0o755)).unwrap();
        }
    }
}
