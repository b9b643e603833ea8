//! Removes a directory with all that is in it, or adds up the sizes of its files.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, fchmod, fstat, openat, statat, unlinkat};
use rustix::io::Errno;

/// Removes what a name is, whatever it is. A name that does not exist is no error. No symbolic link is followed.
///
/// It goes down by descriptors, one for each level, so no path is ever too long. A layer has at most as many levels as
/// a path of 4 KiB, and more than a process may have descriptors: then the levels below are moved up.
pub(in crate::image) fn remove(parent: &OwnedFd, name: &OsStr) -> Result<(), Errno> {
    match unlinkat(parent, name, AtFlags::empty()) {
        Err(Errno::ISDIR) => {}
        Err(Errno::NOENT) => return Ok(()),
        done => return done,
    }
    let mut above: Vec<(OwnedFd, OsString)> = Vec::new();
    let mut current = open(parent, name)?;
    loop {
        match first_directory(&current)? {
            Some(inner) => {
                if above.len() < MAX_LEVELS {
                    let below = open(&current, &inner)?;
                    above.push((std::mem::replace(&mut current, below), inner));
                } else {
                    // To the top, where it is removed later.
                    let top = above.first().map_or(&current, |(top, _)| top);
                    let moved = format!(".moved-{}", crate::host::token::token());
                    rustix::fs::renameat(&current, &inner, top, moved.as_str())?;
                }
            }
            None => match above.pop() {
                Some((upper, inner)) => {
                    unlinkat(&upper, &inner, AtFlags::REMOVEDIR)?;
                    current = upper;
                }
                None => return unlinkat(parent, name, AtFlags::REMOVEDIR),
            },
        }
    }
}

/// The maximum number of levels for which a descriptor is open.
const MAX_LEVELS: usize = 200;

/// Opens a directory. Its owner may not be allowed to read it or to write to it, and gives itself the permission.
fn open(parent: &OwnedFd, name: &OsStr) -> Result<OwnedFd, Errno> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match openat(parent, name, flags | OFlags::RDONLY, Mode::empty()) {
        Err(Errno::ACCESS) => {
            // The name cannot be a link: nobody else writes here.
            rustix::fs::chmodat(parent, name, Mode::RWXU, AtFlags::empty())?;
            openat(parent, name, flags | OFlags::RDONLY, Mode::empty())
        }
        opened => opened,
    }
}

/// Removes all files of a directory, up to the first directory in it.
fn first_directory(directory: &OwnedFd) -> Result<Option<OsString>, Errno> {
    let mut is_writable = false;
    // It is opened again from itself, which takes the permission to search it.
    let entries = match Dir::read_from(directory) {
        Err(Errno::ACCESS) => {
            fchmod(directory, Mode::RWXU)?;
            is_writable = true;
            Dir::read_from(directory)
        }
        opened => opened,
    };
    for entry in entries? {
        let entry = entry?;
        let name = OsStr::from_bytes(entry.file_name().to_bytes());
        if name == "." || name == ".." {
            continue;
        }
        let mut removed = unlinkat(directory, name, AtFlags::empty());
        if removed == Err(Errno::ACCESS) && !is_writable {
            fchmod(directory, Mode::RWXU)?;
            is_writable = true;
            removed = unlinkat(directory, name, AtFlags::empty());
        }
        match removed {
            Err(Errno::ISDIR) => return Ok(Some(name.to_owned())),
            Err(Errno::NOENT) => {}
            removed => removed?,
        }
    }
    Ok(None)
}

/// The size of the files below a name. A file with several names counts once. No symbolic link is followed, and no other
/// filesystem is entered. What may not be read does not count.
pub(super) fn measure(parent: &OwnedFd, name: &OsStr) -> Result<u64, Errno> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::RDONLY;
    let top = openat(parent, name, flags, Mode::empty())?;
    let device = fstat(&top)?.st_dev;
    let (mut size, mut seen) = (0, BTreeSet::new());
    let mut levels = vec![Dir::new(top)?];
    loop {
        let can_go_down = levels.len() < MAX_LEVELS;
        let Some(level) = levels.last_mut() else { return Ok(size) };
        let Some(entry) = level.read() else {
            levels.pop();
            continue;
        };
        let entry = entry?;
        let name = entry.file_name();
        if [&b"."[..], b".."].contains(&name.to_bytes()) {
            continue;
        }
        let found = match statat(level.fd()?, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(found) => found,
            // It was removed meanwhile.
            Err(_) => continue,
        };
        match FileType::from_raw_mode(found.st_mode) {
            FileType::Directory if found.st_dev == device && can_go_down => {
                if let Ok(below) = openat(level.fd()?, name, flags, Mode::empty()) {
                    levels.push(Dir::new(below)?);
                }
            }
            FileType::RegularFile | FileType::Symlink if found.st_nlink == 1 || seen.insert(found.st_ino) => {
                size += u64::try_from(found.st_size).unwrap_or_default();
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn everything_is_removed_and_no_link_is_followed() {
        let directory = tempfile::tempdir().unwrap();
        let canary = directory.path().join("canary");
        fs::write(&canary, "x").unwrap();
        let tree = directory.path().join("tree");
        let deep = tree.join("d/".repeat(500));
        fs::create_dir_all(&deep).unwrap();
        fs::write(deep.join("file"), "x").unwrap();
        std::os::unix::fs::symlink(directory.path(), tree.join("link")).unwrap();
        for name in ["closed", "closed/inner"] {
            fs::create_dir(tree.join(name)).unwrap();
            fs::write(tree.join(name).join("file"), "x").unwrap();
        }
        for name in ["closed/inner", "closed"] {
            fs::set_permissions(tree.join(name), fs::Permissions::from_mode(0o000)).unwrap();
        }
        for mode in [0o111, 0o222, 0o444, 0o666] {
            let listed = tree.join(format!("{mode:o}/empty"));
            fs::create_dir_all(&listed).unwrap();
            fs::set_permissions(&listed, fs::Permissions::from_mode(mode)).unwrap();
            fs::set_permissions(listed.parent().unwrap(), fs::Permissions::from_mode(mode)).unwrap();
        }
        let parent = OwnedFd::from(fs::File::open(directory.path()).unwrap());
        // The link has the path of its target as its content.
        let link = directory.path().as_os_str().len() as u64;
        // Only root may look into the closed directories. The file below 500 directories is too deep.
        let closed = if rustix::process::geteuid().is_root() { 2 } else { 0 };
        assert_eq!(measure(&parent, OsStr::new("tree")), Ok(closed + link));
        remove(&parent, OsStr::new("tree")).unwrap();
        remove(&parent, OsStr::new("tree")).unwrap();
        assert!(!tree.exists() && canary.exists());
        remove(&parent, OsStr::new("canary")).unwrap();
        assert!(!canary.exists());
    }
}
