//! A summary of the files of a layer: what shows that one was added, removed or changed, without a read of their contents.

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, openat, readlinkat, statat};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::image::digest::{Digest, Digester};

/// What the files of a layer were when it was unpacked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerSummary {
    /// The number of files and directories.
    pub count: u64,
    /// The digest of a line for each of them: its path, type, mode, owner, size, time, and the target of a link.
    pub digest: Digest,
}

/// Summarizes all files below a directory, and the directory itself. No symbolic link is followed.
pub(super) fn summarize(root: &OwnedFd) -> Result<LayerSummary, Errno> {
    let mut digester = Digester::default();
    let mut count = 0;
    // By paths, not by descriptors: a layer may have more levels than a process may have descriptors.
    let mut left = vec![OsString::from(".")];
    while let Some(path) = left.pop() {
        let about = statat(root, &path, AtFlags::SYMLINK_NOFOLLOW)?;
        let kind = FileType::from_raw_mode(about.st_mode);
        // What is in a directory decides about its size, and the filesystem too.
        let size = if kind == FileType::RegularFile { about.st_size } else { 0 };
        let target = match kind {
            FileType::Symlink => readlinkat(root, &path, Vec::new())?.into_bytes(),
            _ => Vec::new(),
        };
        let numbers = [
            u64::from(about.st_mode),
            u64::from(about.st_uid),
            u64::from(about.st_gid),
            about.st_rdev,
            size.cast_unsigned(),
            about.st_mtime.cast_unsigned(),
            about.st_mtime_nsec,
        ];
        // A length before each string: otherwise two trees could have the same line.
        for string in [path.as_bytes(), &target] {
            digester.add(&(string.len() as u64).to_le_bytes());
            digester.add(string);
        }
        numbers.iter().for_each(|number| digester.add(&number.to_le_bytes()));
        count += 1;
        if kind == FileType::Directory {
            let mut inner = names(root, &path)?;
            inner.sort();
            let joined = |name: Vec<u8>| [path.as_bytes(), b"/", &name].concat();
            left.extend(inner.into_iter().map(|name| OsString::from_vec(joined(name))));
        }
    }
    Ok(LayerSummary { count, digest: digester.finish() })
}

fn names(root: &OwnedFd, path: &OsString) -> Result<Vec<Vec<u8>>, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory = match openat(root, path, flags, Mode::empty()) {
        // A user with one ID may not look into a directory of such a mode.
        Err(Errno::ACCESS) => return Ok(Vec::new()),
        opened => opened?,
    };
    let mut names = Vec::new();
    for entry in Dir::new(directory)? {
        let name = entry?.file_name().to_bytes().to_vec();
        if name != b"." && name != b".." {
            names.push(name);
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::path::Path;
    use std::time::{Duration, SystemTime};

    use super::*;

    /// What a change is: added, removed, another type, mode, size, time, target, a name in another directory.
    #[test]
    fn each_change_is_seen_and_a_read_is_none() {
        let temporary = tempfile::tempdir().unwrap();
        let at = |name: &str| temporary.path().join(name);
        let touch = |path: &Path| {
            let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1);
            File::open(path).unwrap().set_modified(time).unwrap();
        };
        fs::create_dir_all(at("a/b")).unwrap();
        fs::write(at("a/file"), "one").unwrap();
        symlink("file", at("a/link")).unwrap();
        let settle = || ["a/file", "a/b", "a", "."].iter().for_each(|name| touch(&at(name)));
        let of = || {
            settle();
            summarize(&OwnedFd::from(File::open(temporary.path()).unwrap())).unwrap()
        };
        let before = of();
        assert_eq!(before.count, 5);
        fs::read(at("a/file")).unwrap();
        assert_eq!(of(), before);
        type Change<'c> = (&'c str, &'c dyn Fn(), &'c dyn Fn());
        let directory_mode = fs::metadata(at("a/b")).unwrap().permissions();
        let changes: [Change<'_>; 5] = [
            ("added", &|| fs::write(at("a/b/new"), "").unwrap(), &|| fs::remove_file(at("a/b/new")).unwrap()),
            ("size", &|| fs::write(at("a/file"), "onee").unwrap(), &|| {
                fs::write(at("a/file"), "one").unwrap()
            }),
            (
                "mode",
                &|| fs::set_permissions(at("a/file"), fs::Permissions::from_mode(0o600)).unwrap(),
                &|| fs::set_permissions(at("a/file"), fs::Permissions::from_mode(0o644)).unwrap(),
            ),
            ("moved", &|| fs::rename(at("a/link"), at("a/b/link")).unwrap(), &|| {
                fs::rename(at("a/b/link"), at("a/link")).unwrap()
            }),
            (
                "type",
                &|| {
                    fs::remove_dir(at("a/b")).unwrap();
                    fs::write(at("a/b"), "").unwrap();
                },
                &|| {
                    fs::remove_file(at("a/b")).unwrap();
                    fs::create_dir(at("a/b")).unwrap();
                    fs::set_permissions(at("a/b"), directory_mode.clone()).unwrap();
                },
            ),
        ];
        fs::set_permissions(at("a/file"), fs::Permissions::from_mode(0o644)).unwrap();
        for (name, change, undo) in changes {
            let before = of();
            change();
            assert_ne!(of(), before, "{name}");
            undo();
            assert_eq!(of(), before, "{name}");
        }
    }
}
