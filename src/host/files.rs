//! Facts about the files of this machine, from which a new root filesystem is planned.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::{fs, io};

use nix::sys::utsname::UtsName;
use nix::unistd::AccessFlags;

use super::containers::read_bounded;
use crate::observe::proc::is_initial_map;
use crate::observe::{Unread, file, mountinfo};
use crate::text::printed;

/// The files of this machine, as far as a new root filesystem depends on them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Files {
    /// The kernel's version, `(6, 8)`.
    pub kernel: (u32, u32),
    /// Whether the caller is in a user namespace that is not the initial one. Then its mount table may be a copy from
    /// a more privileged mount namespace, with the restrictions that an ordinary user's new mount namespace has.
    pub is_nested: bool,
    /// All mount points except `/`. They are read only if the files of the host are shown, or if there is a user
    /// namespace, in which the older mounts are locked. mount_namespaces(7)
    pub mount_points: Vec<PathBuf>,
    /// The directories and symbolic links in `/`, by name, with the target of a link. Directories that the caller may
    /// not enter are left out. This is read only if a spec shows the files of the host.
    pub top: Vec<(OsString, Option<PathBuf>)>,
    /// The hostname.
    pub hostname: OsString,
    /// /etc/hosts. None: there is no such file, or it cannot be read.
    pub hosts: Option<OsString>,
}

impl Files {
    /// Reads the facts. `shows_host` is whether the files of the host are shown, `is_user` whether there is a user
    /// namespace.
    pub fn gather(shows_host: bool, is_user: bool, unread: &mut Unread) -> Files {
        let names = nix::sys::utsname::uname();
        let name = |of: fn(&UtsName) -> &OsStr| names.as_ref().map(of).unwrap_or_default().to_owned();
        let is_nested = !is_initial_map(&unread.text("/proc/self/uid_map"));
        let needs_mounts = shows_host || is_user || is_nested;
        Files {
            kernel: version(&file::text(name(UtsName::release).into_vec())),
            is_nested,
            mount_points: if needs_mounts {
                points(&unread.bytes("/proc/self/mountinfo"))
            } else {
                Vec::new()
            },
            top: if shows_host { top(unread) } else { Vec::new() },
            hostname: name(UtsName::nodename),
            hosts: hosts(),
        }
    }

    /// Whether something is mounted below a directory.
    pub fn is_mounted_below(&self, directory: &Path) -> bool {
        self.mount_points.iter().any(|point| point.starts_with(directory) && point != directory)
    }

    /// Whether something is mounted on a directory, or below it.
    pub fn is_mounted_at(&self, directory: &Path) -> bool {
        self.mount_points.iter().any(|point| point.starts_with(directory))
    }
}

/// The maximum size of /etc/hosts that a container gets, in bytes. None of a longer one is used.
const MAX_HOSTS: u64 = 256 << 10;

/// /etc/hosts, which ends with the end of a line.
fn hosts() -> Option<OsString> {
    let file = fs::File::open("/etc/hosts")
        .ok()
        .filter(|file| file.metadata().is_ok_and(|about| about.is_file()))?;
    let mut content = read_bounded(file, MAX_HOSTS).ok()?;
    if content.last().is_some_and(|last| *last != b'\n') {
        content.push(b'\n');
    }
    Some(OsString::from_vec(content))
}

/// Whether a file is a directory; none if there is no such file.
///
/// # Errors
/// A message: why this cannot be found out.
pub fn is_directory(path: &Path) -> Result<Option<bool>, String> {
    match path.metadata() {
        Ok(metadata) => Ok(Some(metadata.is_dir())),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(None)
        }
        Err(error) => Err(format!("{}: {error}", printed(path))),
    }
}

fn version(release: &str) -> (u32, u32) {
    let mut numbers = release.split(|character: char| !character.is_ascii_digit()).map(str::parse);
    let mut next = || numbers.next().and_then(Result::ok).unwrap_or(0);
    (next(), next())
}

fn points(table: &[u8]) -> Vec<PathBuf> {
    let points = mountinfo::mounts(table).map(|mount| mount.mount_point.into_owned());
    points.filter(|point| point != Path::new("/")).collect()
}

fn top(unread: &mut Unread) -> Vec<(OsString, Option<PathBuf>)> {
    let listed = fs::read_dir("/").and_then(Iterator::collect::<io::Result<Vec<_>>>);
    let entries = unread.answer(Path::new("/"), listed).unwrap_or_default().into_iter();
    let mut top: Vec<_> = entries
        .filter_map(|entry| {
            let name = entry.file_name();
            let kind = entry.file_type().ok()?;
            if kind.is_symlink() {
                return Some((name, Some(unread.answer(&entry.path(), entry.path().read_link())?)));
            }
            let may_enter = unread.may(&entry.path(), AccessFlags::X_OK);
            (kind.is_dir() && may_enter).then_some((name, None))
        })
        .collect();
    top.sort();
    top
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_are_decoded() {
        let table = b"1 0 8:1 / / rw - ext4 x rw\n2 1 0:5 / /a\\040b rw - proc proc rw\n";
        assert_eq!(points(table), [PathBuf::from("/a b")]);
        let files = Files { mount_points: vec!["/var/lib".into()], ..Files::default() };
        assert!(files.is_mounted_below(Path::new("/var")) && !files.is_mounted_below(Path::new("/var/lib")));
        assert!(files.is_mounted_at(Path::new("/var/lib")) && !files.is_mounted_at(Path::new("/va")));
    }
}
