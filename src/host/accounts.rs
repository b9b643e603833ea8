//! Looks up user and group names in /etc/passwd and /etc/group of a running container.
//!
//! The files belong to the container, and may be anything. Lines that are not in the form of passwd(5) or group(5) are passed
//! over.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::resolver::Resolver;
use super::untrusted::UntrustedRoot;

/// The maximum size of such a file, in bytes.
const MAX_SIZE: u64 = 4 << 20;

/// A line of /etc/passwd.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// The name.
    pub name: Vec<u8>,
    /// The user ID.
    pub uid: u32,
    /// The ID of its group.
    pub gid: u32,
    /// The home directory, if it is an absolute path.
    pub home: Option<PathBuf>,
}

/// The accounts of a container.
#[derive(Debug)]
pub struct Accounts {
    passwd: AccountFile,
    group: AccountFile,
}

/// A file with names: the directory in which its path is resolved, and the path. None: there is no such file.
type AccountFile = Option<(Rc<UntrustedRoot>, String)>;

impl Accounts {
    /// The accounts below a root directory.
    pub fn of(root: UntrustedRoot) -> Accounts {
        let root = Rc::new(root);
        Accounts {
            passwd: Some((root.clone(), "/etc/passwd".to_owned())),
            group: Some((root, "/etc/group".to_owned())),
        }
    }

    /// The accounts that an overlay of these directories will show, the topmost first. Symbolic links are resolved through all of
    /// them, as the overlay does it, and each file is read below the root of its own layer.
    pub fn of_layers(layers: &[PathBuf]) -> Accounts {
        let resolver = Resolver::of_layers(layers.to_vec());
        let file = |path: &str| {
            let host = resolver.resolve(Path::new(path)).host?;
            let layer = layers.iter().find(|layer| host.starts_with(layer))?;
            let inside = Path::new("/").join(host.strip_prefix(layer).ok()?).to_str()?.to_owned();
            Some((Rc::new(UntrustedRoot::open(layer).ok()?), inside))
        };
        Accounts { passwd: file("/etc/passwd"), group: file("/etc/group") }
    }

    /// The account with this name. None: there is none.
    ///
    /// # Errors
    /// /etc/passwd cannot be read.
    pub fn user(&self, name: &[u8]) -> io::Result<Option<Account>> {
        Ok(find(&read(&self.passwd)?, name, account))
    }

    /// The first account with this user ID. None: there is none, or the file cannot be read.
    pub fn user_of(&self, uid: u32) -> Option<Account> {
        let passwd = read(&self.passwd).ok()?;
        let mut lines = passwd.split(|byte| *byte == b'\n');
        lines.find_map(|line| account(&fields(line)).filter(|account| account.uid == uid))
    }

    /// The ID of the group with this name. None: there is none.
    ///
    /// # Errors
    /// /etc/group cannot be read.
    pub fn group(&self, name: &[u8]) -> io::Result<Option<u32>> {
        Ok(find(&read(&self.group)?, name, group))
    }

    /// The IDs of the groups that list this user as a member, each once, in ascending order. Empty: there is no /etc/group.
    ///
    /// # Errors
    /// /etc/group cannot be read.
    pub fn groups_of(&self, name: &[u8]) -> io::Result<Vec<u32>> {
        let content = read(&self.group)?;
        let lines = content.split(|byte| *byte == b'\n').map(fields);
        let all: BTreeSet<u32> =
            lines.filter(|fields| has_member(fields, name)).filter_map(|fields| group(&fields)).collect();
        Ok(all.into_iter().collect())
    }
}

/// The content of a file. One that does not exist has no lines.
fn read(file: &AccountFile) -> io::Result<Vec<u8>> {
    let Some((root, path)) = file else { return Ok(Vec::new()) };
    match root.read(path, MAX_SIZE) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        read => read,
    }
}

/// The ID of `name:password:gid:members`.
fn group(fields: &[&[u8]]) -> Option<u32> {
    id(fields.get(2)?)
}

/// Whether the last field of `name:password:gid:members` lists the user.
fn has_member(fields: &[&[u8]], user: &[u8]) -> bool {
    !user.is_empty()
        && fields
            .get(3)
            .is_some_and(|members| members.split(|byte| *byte == b',').any(|member| member == user))
}

/// The first line that begins with this name and is read by `of`.
fn find<T>(content: &[u8], name: &[u8], of: impl Fn(&[&[u8]]) -> Option<T>) -> Option<T> {
    let mut lines = content.split(|byte| *byte == b'\n').map(fields);
    lines.find_map(|fields| if fields.first() == Some(&name) { of(&fields) } else { None })
}

fn fields(line: &[u8]) -> Vec<&[u8]> {
    line.split(|byte| *byte == b':').collect()
}

/// `name:password:uid:gid:comment:home:shell`
fn account(fields: &[&[u8]]) -> Option<Account> {
    let home = fields.get(5).and_then(|home| std::str::from_utf8(home).ok()).map(PathBuf::from);
    Some(Account {
        name: fields.first()?.to_vec(),
        uid: id(fields.get(2)?)?,
        gid: id(fields.get(3)?)?,
        home: home.filter(|home| home.is_absolute()),
    })
}

/// An ID in decimal digits. 4294967295 is (uid_t) -1, which means no ID.
fn id(digits: &[u8]) -> Option<u32> {
    let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    let id = is_number.then(|| std::str::from_utf8(digits).ok()?.parse().ok()).flatten()?;
    (id != u32::MAX).then_some(id)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn root(passwd: impl AsRef<[u8]>) -> (tempfile::TempDir, Accounts) {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("etc")).unwrap();
        fs::write(root.path().join("etc/passwd"), passwd).unwrap();
        let accounts = Accounts::of(UntrustedRoot::open(root.path()).unwrap());
        (root, accounts)
    }

    #[test]
    fn an_account_has_ids_and_a_home() {
        let passwd = b"root:x:0:0::/root:/bin/sh\n\xff\xfe:::\nbob:x:01:2\nbob:x:4294967295:0::/\nbob:x:7:8::home:\nbob:x:9:9::/\n";
        let (root, accounts) = root(passwd);
        let of = |name: &str, uid, gid, home: Option<&str>| Account {
            name: name.into(),
            uid,
            gid,
            home: home.map(PathBuf::from),
        };
        assert_eq!(accounts.user(b"root").unwrap(), Some(of("root", 0, 0, Some("/root"))));
        assert_eq!(accounts.user(b"bob").unwrap(), Some(of("bob", 1, 2, None)));
        assert_eq!(accounts.user_of(7), Some(of("bob", 7, 8, None)));
        for none in [&b"nobody"[..], b"", b"0", b"roo", b"root:x"] {
            assert_eq!(accounts.user(none).unwrap(), None, "{none:?}");
        }
        assert_eq!(accounts.group(b"tty").unwrap(), None);
        assert_eq!(accounts.groups_of(b"a").unwrap(), [0; 0]);
        fs::write(root.path().join("etc/group"), "tty:x:5:a,b\nbad\nwheel:x:-1:\nwheel:x:10:").unwrap();
        assert_eq!(accounts.group(b"tty").unwrap(), Some(5));
        assert_eq!(accounts.group(b"wheel").unwrap(), Some(10));
        let groups =
            "z:x:9:b,a\ntty:x:5:a,b\nagain:x:9:a\nbad:x:-1:a\nab:x:6:ab\nno:x:7\nlast:x:4294967294:a\n";
        fs::write(root.path().join("etc/group"), groups).unwrap();
        assert_eq!(accounts.groups_of(b"a").unwrap(), [5, 9, 4_294_967_294]);
        assert_eq!(accounts.groups_of(b"").unwrap(), [0; 0]);
    }
}
