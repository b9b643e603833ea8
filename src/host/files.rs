//! What a new root needs to know of the files of this machine.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::fs;
use std::path::{Path, PathBuf};

/// This machine's files, as far as a new root is made of them. What only some roots need is looked at when it's asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Files {
    /// The kernel's version, `(6, 8)`.
    pub kernel: (u32, u32),
    /// Whether the caller is in a user namespace already: its mount table was copied from one that it has no right to, and
    /// so has what an ordinary user's has.
    pub is_nested: bool,
    /// The hostname.
    pub hostname: String,
    mount_points: OnceCell<Vec<PathBuf>>,
    top: OnceCell<Vec<(String, Option<PathBuf>)>>,
    resolvers: OnceCell<String>,
}

impl Files {
    /// Looks at this machine.
    pub fn gather() -> Files {
        let names = nix::sys::utsname::uname();
        let name =
            |of: &dyn Fn(&nix::sys::utsname::UtsName) -> String| names.as_ref().map(of).unwrap_or_default();
        Files {
            kernel: version(&name(&|names| names.release().to_string_lossy().into_owned())),
            is_nested: super::read("/proc/self/uid_map").is_ok_and(|map| !is_whole(&map)),
            hostname: name(&|names| names.nodename().to_string_lossy().into_owned()),
            ..Files::default()
        }
    }

    /// Where something is mounted, `/` itself left out. proc_pid_mountinfo(5)
    pub fn mount_points(&self) -> &[PathBuf] {
        self.mount_points.get_or_init(|| points(&super::read("/proc/self/mountinfo").unwrap_or_default()))
    }

    /// What lies in `/`, by name: a link's target, or none for a folder that the caller may enter. Other files are left out.
    pub fn top(&self) -> &[(String, Option<PathBuf>)] {
        self.top.get_or_init(top)
    }

    /// What /etc/resolv.conf says.
    pub fn resolvers(&self) -> &str {
        self.resolvers.get_or_init(|| fs::read_to_string("/etc/resolv.conf").unwrap_or_default())
    }

    /// Whether something is mounted below a folder.
    pub fn is_mounted_below(&self, folder: &Path) -> bool {
        self.mount_points().iter().any(|point| point.starts_with(folder) && point != folder)
    }

    /// Whether something is mounted on a folder, or below it.
    pub fn is_mounted_at(&self, folder: &Path) -> bool {
        self.mount_points().iter().any(|point| point.starts_with(folder))
    }
}

/// The first user namespace maps every id to itself. user_namespaces(7)
fn is_whole(map: &str) -> bool {
    map.split_whitespace().eq(["0", "0", "4294967295"])
}

fn version(release: &str) -> (u32, u32) {
    let mut numbers = release.split(|sign: char| !sign.is_ascii_digit()).map(str::parse);
    let mut next = || numbers.next().and_then(Result::ok).unwrap_or(0);
    (next(), next())
}

/// The fifth field, in which the kernel writes a blank as `\040`.
fn points(table: &str) -> Vec<PathBuf> {
    let fields = table.lines().filter_map(|line| line.split(' ').nth(4));
    fields.filter(|point| *point != "/").map(|point| PathBuf::from(&*unescape(point))).collect()
}

/// A path as it is, of the mount table's words for it.
pub fn unescape(words: &str) -> Cow<'_, str> {
    // Nearly all are the same.
    if !words.contains('\\') {
        return words.into();
    }
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .iter()
        .fold(words.to_owned(), |words, (code, sign)| words.replace(code, sign))
        .into()
}

fn top() -> Vec<(String, Option<PathBuf>)> {
    let entries = fs::read_dir("/").into_iter().flatten().flatten();
    let mut top: Vec<_> = entries
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let kind = entry.file_type().ok()?;
            if kind.is_symlink() {
                return Some((name, Some(entry.path().read_link().ok()?)));
            }
            let enters = nix::unistd::access(&entry.path(), nix::unistd::AccessFlags::X_OK).is_ok();
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
        let table = "1 0 8:1 / / rw - ext4 x rw\n2 1 0:5 / /a\\040b rw - proc proc rw\n";
        assert_eq!(points(table), [PathBuf::from("/a b")]);
        let files = Files { mount_points: vec!["/var/lib".into()].into(), ..Files::default() };
        assert!(files.is_mounted_below(Path::new("/var")) && !files.is_mounted_below(Path::new("/var/lib")));
        assert!(files.is_mounted_at(Path::new("/var/lib")) && !files.is_mounted_at(Path::new("/va")));
    }
}
