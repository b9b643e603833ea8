//! Subordinate IDs: the ranges that /etc/subuid and /etc/subgid grant to a user, and the programs that can map them.

use std::path::{Path, PathBuf};

use crate::observe::Unread;

/// The IDs that the caller may map besides its own. subuid(5), newuidmap(1)
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Subordinate {
    /// The ranges of user IDs: `(first, count)`.
    pub uids: Vec<(u32, u32)>,
    /// The ranges of group IDs.
    pub gids: Vec<(u32, u32)>,
    /// The path of newuidmap, if it is installed.
    pub newuidmap: Option<PathBuf>,
    /// The path of newgidmap, if it is installed.
    pub newgidmap: Option<PathBuf>,
}

impl Subordinate {
    /// Reads this machine's files for the user `uid`.
    pub fn gather(uid: u32, unread: &mut Unread) -> Subordinate {
        let mut read = |path: &str| unread.bytes(path);
        let name = name_of(&read("/etc/passwd"), uid);
        Subordinate {
            uids: ranges(&read("/etc/subuid"), name.as_deref(), uid),
            gids: ranges(&read("/etc/subgid"), name.as_deref(), uid),
            newuidmap: program("newuidmap"),
            newgidmap: program("newgidmap"),
        }
    }
}

/// The file of a program that belongs to the system. The caller's PATH is not asked.
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    ["/usr/bin", "/usr/local/bin", "/bin"]
        .iter()
        .map(|directory| Path::new(directory).join(name))
        .find(|path| rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok())
}

/// The user's name. /etc/passwd is read as a file, because getpwuid(3) loads plug-ins, which a static program cannot
/// do. A field may contain bytes that are not UTF-8.
fn name_of(passwd: &[u8], uid: u32) -> Option<Vec<u8>> {
    lines(passwd).find_map(|line| {
        let mut fields = line.split(|byte| *byte == b':');
        let name = fields.next()?;
        (number(fields.nth(1)?) == Some(uid)).then(|| name.to_owned())
    })
}

/// The lines `name:first:count` of this user. The first field may also be the user's ID.
fn ranges(file: &[u8], name: Option<&[u8]>, uid: u32) -> Vec<(u32, u32)> {
    let of_user = lines(file).filter_map(|line| {
        let mut fields = line.trim_ascii().split(|byte| *byte == b':');
        let user = fields.next()?;
        let is_own = Some(user) == name || number(user) == Some(uid);
        let range = (number(fields.next()?)?, number(fields.next()?)?);
        is_own.then_some(range)
    });
    of_user.collect()
}

fn lines(file: &[u8]) -> impl Iterator<Item = &[u8]> {
    file.split(|byte| *byte == b'\n')
}

fn number(field: &[u8]) -> Option<u32> {
    str::from_utf8(field).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_found_by_name_and_by_user_id() {
        let file = b"J\xfcrgen:7:7\nann:100000:65536\n1001:200000:10\nbob:1:x\n\n";
        assert_eq!(ranges(file, Some(b"ann".as_slice()), 1000), [(100_000, 65_536)]);
        assert_eq!(ranges(file, Some(b"J\xfcrgen".as_slice()), 8), [(7, 7)]);
        assert_eq!(ranges(file, None, 1001), [(200_000, 10)]);
        assert_eq!(ranges(file, Some(b"bob".as_slice()), 7), []);
    }

    #[test]
    fn a_name_is_read_from_passwd() {
        assert_eq!(
            name_of(b"J\xfcrgen:x:0:0:J\xfcrgen:/:/bin/sh\nann:x:1000:1000::/:/bin/sh\n", 1000).as_deref(),
            Some(b"ann".as_slice())
        );
        assert_eq!(name_of(b"broken\n", 0), None);
    }
}
