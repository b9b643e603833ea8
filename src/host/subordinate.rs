//! Subordinate ids: the ranges that /etc/subuid and /etc/subgid lend to a user, and the programs that may map them.

use std::path::{Path, PathBuf};

use super::Unread;

/// Ids that the caller may map besides its own. subuid(5), newuidmap(1).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Subordinate {
    /// `(first, count)` of each range of user ids.
    pub uids: Vec<(u32, u32)>,
    /// The same for group ids.
    pub gids: Vec<(u32, u32)>,
    /// newuidmap, where it is installed.
    pub newuidmap: Option<PathBuf>,
    /// newgidmap, where it is installed.
    pub newgidmap: Option<PathBuf>,
}

impl Subordinate {
    /// Reads this machine's files for the user `uid`.
    pub fn gather(uid: u32, unread: &mut Unread) -> Subordinate {
        let mut read = |path: &str| unread.text(path);
        let name = name_of(&read("/etc/passwd"), uid);
        Subordinate {
            uids: ranges(&read("/etc/subuid"), name.as_deref(), uid),
            gids: ranges(&read("/etc/subgid"), name.as_deref(), uid),
            newuidmap: program("newuidmap"),
            newgidmap: program("newgidmap"),
        }
    }
}

fn program(name: &str) -> Option<PathBuf> {
    ["/usr/bin", "/usr/local/bin", "/bin"]
        .iter()
        .map(|folder| Path::new(folder).join(name))
        .find(|path| path.exists())
}

/// /etc/passwd is read as a file: the C library's look-up loads plug-ins, which a static program can't.
fn name_of(passwd: &str, uid: u32) -> Option<String> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    })
}

/// The lines `name:first:count` of this user; the first field may also be the number.
fn ranges(file: &str, name: Option<&str>, uid: u32) -> Vec<(u32, u32)> {
    file.lines()
        .filter_map(|line| {
            let mut fields = line.trim().split(':');
            let who = fields.next()?;
            let mine = Some(who) == name || who.parse() == Ok(uid);
            let range = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
            mine.then_some(range)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_found_by_name_and_by_number() {
        let file = "ann:100000:65536\n1001:200000:10\nbob:1:x\n\n";
        assert_eq!(ranges(file, Some("ann"), 1000), [(100_000, 65_536)]);
        assert_eq!(ranges(file, None, 1001), [(200_000, 10)]);
        assert_eq!(ranges(file, Some("bob"), 7), []);
    }

    #[test]
    fn a_name_is_read_from_passwd() {
        assert_eq!(
            name_of("root:x:0:0::/:/bin/sh\nann:x:1000:1000::/:/bin/sh\n", 1000).as_deref(),
            Some("ann")
        );
        assert_eq!(name_of("broken\n", 0), None);
    }
}
