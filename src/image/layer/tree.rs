//! Removes a directory with all that is in it.

use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{AtFlags, Dir, Mode, OFlags, fchmod, openat, unlinkat};
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
    for entry in Dir::read_from(directory)? {
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
        let parent = OwnedFd::from(fs::File::open(directory.path()).unwrap());
        remove(&parent, OsStr::new("tree")).unwrap();
        remove(&parent, OsStr::new("tree")).unwrap();
        assert!(!tree.exists() && canary.exists());
        remove(&parent, OsStr::new("canary")).unwrap();
        assert!(!canary.exists());
    }
}
