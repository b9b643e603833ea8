//! What a new root needs to know of the files of this machine.

use std::path::{Path, PathBuf};
use std::{fs, io};

use nix::unistd::AccessFlags;

use crate::observe::{Unread, file, mountinfo};

/// This machine's files, as far as a new root is made of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Files {
    /// The kernel's version, `(6, 8)`.
    pub kernel: (u32, u32),
    /// Whether the caller is in a user namespace already: its mount table was copied from one that it has no right to, and
    /// so has what an ordinary user's has.
    pub is_nested: bool,
    /// Where something is mounted, `/` itself left out. Only looked up where these files are shown, or a user namespace makes
    /// what was mounted before it immovable. proc_pid_mountinfo(5)
    pub mount_points: Vec<PathBuf>,
    /// What lies in `/`, by name: a link's target, or none for a directory that the caller may enter. Other files are left out.
    /// Only looked up where a spec shows these files.
    pub top: Vec<(String, Option<PathBuf>)>,
    /// The hostname.
    pub hostname: String,
    /// What /etc/resolv.conf says.
    pub resolvers: String,
}

impl Files {
    /// Looks at this machine: at what lies in `/`, if that is to be shown, and at its mounts for that or for a user namespace.
    pub fn gather(shows_host: bool, is_user: bool, unread: &mut Unread) -> Files {
        let names = nix::sys::utsname::uname();
        let name =
            |of: &dyn Fn(&nix::sys::utsname::UtsName) -> String| names.as_ref().map(of).unwrap_or_default();
        let is_nested = !is_whole(&unread.text("/proc/self/uid_map"));
        let has_bounds = shows_host || is_user || is_nested;
        Files {
            kernel: version(&name(&|names| names.release().to_string_lossy().into_owned())),
            is_nested,
            mount_points: if has_bounds { points(&unread.bytes("/proc/self/mountinfo")) } else { Vec::new() },
            top: if shows_host { top(unread) } else { Vec::new() },
            hostname: name(&|names| names.nodename().to_string_lossy().into_owned()),
            resolvers: file::read_text("/etc/resolv.conf").unwrap_or_default(),
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

/// The first user namespace maps every id to itself. user_namespaces(7)
fn is_whole(map: &str) -> bool {
    map.split_whitespace().eq(["0", "0", "4294967295"])
}

/// Whether a file is a directory; none where there is no such file.
///
/// # Errors
/// Why that can't be known, in words.
pub fn is_directory(path: &Path) -> Result<Option<bool>, String> {
    match path.metadata() {
        Ok(metadata) => Ok(Some(metadata.is_dir())),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(None)
        }
        Err(error) => Err(format!("{}: {error}", path.display())),
    }
}

fn version(release: &str) -> (u32, u32) {
    let mut numbers = release.split(|sign: char| !sign.is_ascii_digit()).map(str::parse);
    let mut next = || numbers.next().and_then(Result::ok).unwrap_or(0);
    (next(), next())
}

fn points(table: &[u8]) -> Vec<PathBuf> {
    let points = mountinfo::mounts(table).map(|mount| mount.mount_point.into_owned());
    points.filter(|point| point != Path::new("/")).collect()
}

fn top(unread: &mut Unread) -> Vec<(String, Option<PathBuf>)> {
    let listed = fs::read_dir("/").and_then(Iterator::collect::<io::Result<Vec<_>>>);
    let entries = unread.answer(Path::new("/"), listed).unwrap_or_default().into_iter();
    let mut top: Vec<_> = entries
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let kind = entry.file_type().ok()?;
            if kind.is_symlink() {
                return Some((name, Some(unread.answer(&entry.path(), entry.path().read_link())?)));
            }
            let enters = unread.may(&entry.path(), AccessFlags::X_OK);
            (kind.is_dir() && enters).then_some((name, None))
        })
        .collect();
    top.sort();
    top
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_are_read_as_the_kernel_writes_them() {
        let table = b"1 0 8:1 / / rw - ext4 x rw\n2 1 0:5 / /a\\040b rw - proc proc rw\n";
        assert_eq!(points(table), [PathBuf::from("/a b")]);
        let files = Files { mount_points: vec!["/var/lib".into()], ..Files::default() };
        assert!(files.is_mounted_below(Path::new("/var")) && !files.is_mounted_below(Path::new("/var/lib")));
        assert!(files.is_mounted_at(Path::new("/var/lib")) && !files.is_mounted_at(Path::new("/va")));
    }
}
