//! The reader of /proc/PID/mountinfo. proc_pid_mountinfo(5)
//!
//! The crate procfs reads this file too, but as UTF-8, and without decoding the kernel's escapes. With it, one mount
//! point that is not UTF-8 makes the whole table unreadable, and a blank in a path stays `\040`.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use super::file;

/// One mount: a line of the file, with the kernel's escapes decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount<'a> {
    /// The ID of the mount.
    pub id: u32,
    /// The ID of the mount that it is mounted on.
    pub parent: u32,
    /// The device number of the filesystem: major and minor.
    pub device: (u64, u64),
    /// The directory of the filesystem that is mounted. For the file of a namespace, its name: `net:[4026531840]`.
    pub root: Cow<'a, Path>,
    /// The mount point, as the process sees it.
    pub mount_point: Cow<'a, Path>,
    /// The options of the mount: `rw,nosuid,relatime`.
    pub options: Cow<'a, str>,
    /// The propagation: `shared:1`, `master:2`, `propagate_from:1`, `unbindable`. A private mount has none of these.
    pub propagation: Vec<Cow<'a, str>>,
    /// The type of the filesystem: `ext4`, `cgroup2`.
    pub filesystem: Cow<'a, OsStr>,
    /// The source: a device, or any string.
    pub source: Cow<'a, OsStr>,
    /// The options of the filesystem.
    pub super_options: Cow<'a, OsStr>,
}

impl Mount<'_> {
    /// Whether it is mounted on this path.
    pub fn is_on(&self, path: impl AsRef<Path>) -> bool {
        *self.mount_point == *path.as_ref()
    }

    /// The propagation as one text: `shared:1 master:2`, `private`.
    pub fn propagation_text(&self) -> String {
        if self.propagation.is_empty() { "private".into() } else { self.propagation.join(" ") }
    }

    /// Everything about the mount but its IDs, on one line.
    pub fn description(&self) -> String {
        let bytes = |bytes: &OsStr| file::text(bytes.as_bytes().to_vec());
        let (root, place) = (file::path_text(&self.root), self.place());
        let (filesystem, source) = (bytes(&self.filesystem), bytes(&self.source));
        let (propagation, super_options) = (self.propagation_text(), bytes(&self.super_options));
        let options = &self.options;
        format!("{place} {root} {options} {propagation} {filesystem} {source} {super_options}")
    }

    /// The mount point and the device of the filesystem.
    fn place(&self) -> String {
        let (major, minor) = self.device;
        format!("{} {major}:{minor}", file::path_text(&self.mount_point))
    }

    /// The options of the filesystem, one by one.
    pub fn each_super_option(&self) -> impl Iterator<Item = &OsStr> {
        self.super_options.as_bytes().split(|byte| *byte == b',').map(OsStr::from_bytes)
    }
}

/// The bytes of a process's mount table, for [`mounts`]. `process` is `/proc/self` or `/proc/PID`.
///
/// # Errors
/// Those of open(2) and read(2).
pub fn read(process: &str) -> io::Result<Vec<u8>> {
    file::read(format!("{process}/mountinfo"))
}

/// Each mount of a mount table without its IDs, on one line. Instead of its parent's ID, it has the parent itself.
pub fn descriptions(table: &[u8]) -> Vec<String> {
    let places: HashMap<u32, String> = mounts(table).map(|mount| (mount.id, mount.place())).collect();
    let described = mounts(table).map(|mount| match places.get(&mount.parent) {
        Some(parent) => format!("{} on {parent}", mount.description()),
        None => mount.description(),
    });
    described.collect()
}

/// The mounts of a mount table, in its order. Of two mounts on one path, the later one is on top. A line that is not
/// a mount is left out.
pub fn mounts(table: &[u8]) -> impl DoubleEndedIterator<Item = Mount<'_>> {
    table.split(|byte| *byte == b'\n').filter_map(mount)
}

fn mount(line: &[u8]) -> Option<Mount<'_>> {
    let mut fields = line.split(|byte| *byte == b' ');
    let (id, parent) = (number(fields.next()?)?, number(fields.next()?)?);
    let (major, minor) = str::from_utf8(fields.next()?).ok()?.split_once(':')?;
    let device = (major.parse().ok()?, minor.parse().ok()?);
    let (root, mount_point) = (path(fields.next()?), path(fields.next()?));
    let options = String::from_utf8_lossy(fields.next()?);
    // The number of these fields varies. A dash ends them.
    let tags = fields.by_ref().take_while(|field| *field != b"-");
    let propagation = tags.map(String::from_utf8_lossy).collect();
    let (filesystem, source) = (decoded(fields.next()?), decoded(fields.next()?));
    let super_options = decoded(fields.next()?);
    Some(Mount {
        id,
        parent,
        device,
        root,
        mount_point,
        options,
        propagation,
        filesystem,
        source,
        super_options,
    })
}

fn number(field: &[u8]) -> Option<u32> {
    str::from_utf8(field).ok()?.parse().ok()
}

fn path(field: &[u8]) -> Cow<'_, Path> {
    match decoded(field) {
        Cow::Borrowed(path) => Cow::Borrowed(Path::new(path)),
        Cow::Owned(path) => Cow::Owned(PathBuf::from(path)),
    }
}

/// Decodes a field. The kernel writes a blank, a tab, a newline, a backslash and a few other characters as `\` and
/// three octal digits.
fn decoded(field: &[u8]) -> Cow<'_, OsStr> {
    if !field.contains(&b'\\') {
        return Cow::Borrowed(OsStr::from_bytes(field));
    }
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, after)) = rest.split_first() {
        match rest {
            [b'\\', high @ b'0'..=b'3', middle @ b'0'..=b'7', low @ b'0'..=b'7', after @ ..] => {
                bytes.push((high - b'0') << 6 | (middle - b'0') << 3 | (low - b'0'));
                rest = after;
            }
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    Cow::Owned(OsString::from_vec(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_parsed_into_all_fields() {
        let line =
            b"36 35 98:0 /mnt1 /mnt2 rw,noatime shared:1 master:2 - ext3 /dev/root rw,errors=continue\n";
        let all: Vec<_> = mounts(line).collect();
        let [mount] = all.as_slice() else { panic!("{all:?}") };
        assert_eq!((mount.id, mount.parent, mount.device), (36, 35, (98, 0)));
        assert_eq!((&*mount.root, &*mount.mount_point), (Path::new("/mnt1"), Path::new("/mnt2")));
        assert_eq!(
            (&*mount.options, mount.propagation.as_slice()),
            ("rw,noatime", &["shared:1".into(), "master:2".into()][..])
        );
        assert_eq!((mount.filesystem.to_str(), mount.source.to_str()), (Some("ext3"), Some("/dev/root")));
        assert_eq!(mount.each_super_option().collect::<Vec<_>>(), ["rw", "errors=continue"]);
    }

    #[test]
    fn a_path_can_have_octal_escapes_and_bytes_that_are_not_utf8() {
        let table = b"1 0 8:1 / / rw - ext4 x rw\n2 1 0:5 / /a\\040b\\011c\\012d\\134\xff rw - tmpfs a\\043b rw\nnot a mount\n";
        let all: Vec<_> = mounts(table).collect();
        assert_eq!(all.len(), 2);
        assert_eq!(all[1].mount_point.as_os_str().as_bytes(), b"/a b\tc\nd\\\xff");
        assert_eq!(all[1].source.to_str(), Some("a#b"));
        assert_eq!(all[1].propagation, [""; 0]);
        // Other backslashes stay as they are.
        assert_eq!(decoded(b"a\\04\\9\\777\\"), OsStr::new("a\\04\\9\\777\\"));
    }

    #[test]
    fn a_copy_with_other_ids_in_another_order_has_the_same_descriptions() {
        let table =
            b"1 0 8:1 / / rw - ext4 x rw\n2 1 0:5 / /a rw - tmpfs a rw\n3 2 0:6 / /a rw - tmpfs b rw\n";
        let copy =
            b"7 6 8:1 / / rw - ext4 x rw\n9 8 0:6 / /a rw - tmpfs b rw\n8 7 0:5 / /a rw - tmpfs a rw\n";
        let other =
            b"7 6 8:1 / / rw - ext4 x rw\n9 7 0:6 / /a rw - tmpfs b rw\n8 9 0:5 / /a rw - tmpfs a rw\n";
        let sorted = |table: &[u8]| {
            let mut all = descriptions(table);
            all.sort();
            all
        };
        assert_eq!(sorted(table), sorted(copy));
        // In this one, the lower of two mounts on one path is on top.
        assert_ne!(sorted(table), sorted(other));
    }

    #[test]
    fn a_source_can_be_empty() {
        let all: Vec<_> = mounts(b"2 1 0:5 / /m rw -  tmpfs rw\n3 1 0:6 / /n rw - tmpfs  rw\n").collect();
        assert_eq!(all.last().map(|mount| mount.source.is_empty()), Some(true));
    }

    #[test]
    fn each_line_of_a_real_table_is_a_mount() {
        let table = read("/proc/self").unwrap();
        let lines = table.iter().filter(|byte| **byte == b'\n').count();
        assert_eq!(mounts(&table).count(), lines);
    }
}
