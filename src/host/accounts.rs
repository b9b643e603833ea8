//! Looks up user and group names in /etc/passwd and /etc/group of a running container.
//!
//! The files belong to the container, and may be anything. So a path is resolved in the root directory of the container
//! by openat2(2) with RESOLVE_IN_ROOT: a symbolic link leads nowhere else. The file is looked at before it is opened for
//! reading, because to open a device can have an effect. Only a regular file is read, and not more than [`MAX_SIZE`]
//! bytes. Lines that are not in the form of passwd(5) or group(5) are passed over.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, fstat, open, openat2};

/// The maximum size of such a file, in bytes.
const MAX_SIZE: u64 = 4 << 20;

/// A line of /etc/passwd.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
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
    root: OwnedFd,
}

impl Accounts {
    /// The accounts below a root directory: `/proc/PID/root`.
    ///
    /// # Errors
    /// Those of open(2).
    pub fn of(root: &Path) -> io::Result<Accounts> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Accounts { root: open(root, flags, Mode::empty())? })
    }

    /// The account with this name. None: there is none.
    ///
    /// # Errors
    /// /etc/passwd cannot be read.
    pub fn user(&self, name: &[u8]) -> io::Result<Option<Account>> {
        Ok(find(&read(self.root.as_fd(), "/etc/passwd")?, name, account))
    }

    /// The first account with this user ID. None: there is none, or the file cannot be read.
    pub fn user_of(&self, uid: u32) -> Option<Account> {
        let passwd = read(self.root.as_fd(), "/etc/passwd").ok()?;
        let mut lines = passwd.split(|byte| *byte == b'\n');
        lines.find_map(|line| account(&fields(line)).filter(|account| account.uid == uid))
    }

    /// The ID of the group with this name. None: there is none.
    ///
    /// # Errors
    /// /etc/group cannot be read.
    pub fn group(&self, name: &[u8]) -> io::Result<Option<u32>> {
        Ok(find(&read(self.root.as_fd(), "/etc/group")?, name, |fields| id(fields.get(2)?)))
    }
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

/// The bytes of a regular file in the container.
fn read(root: BorrowedFd<'_>, path: &str) -> io::Result<Vec<u8>> {
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let found = openat2(root, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), resolve)?;
    let about = fstat(&found)?;
    if FileType::from_raw_mode(about.st_mode) != FileType::RegularFile {
        return Err(io::Error::other("it is not a regular file"));
    }
    // This link of the caller's own /proc leads to the file that was looked at, whatever has its name now.
    let link = format!("/proc/self/fd/{}", found.as_raw_fd());
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::openat(CWD, link, flags, Mode::empty())?);
    let mut content = Vec::new();
    file.take(MAX_SIZE + 1).read_to_end(&mut content)?;
    if content.len() as u64 > MAX_SIZE {
        return Err(io::Error::other(format!("it has more than {MAX_SIZE} bytes")));
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    fn root(passwd: impl AsRef<[u8]>) -> (tempfile::TempDir, Accounts) {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("etc")).unwrap();
        fs::write(root.path().join("etc/passwd"), passwd).unwrap();
        let accounts = Accounts::of(root.path()).unwrap();
        (root, accounts)
    }

    #[test]
    fn an_account_has_ids_and_a_home() {
        let passwd = b"root:x:0:0::/root:/bin/sh\n\xff\xfe:::\nbob:x:01:2\nbob:x:4294967295:0::/\nbob:x:7:8::home:\nbob:x:9:9::/\n";
        let (root, accounts) = root(passwd);
        let of = |uid, gid, home: Option<&str>| Account { uid, gid, home: home.map(PathBuf::from) };
        assert_eq!(accounts.user(b"root").unwrap(), Some(of(0, 0, Some("/root"))));
        assert_eq!(accounts.user(b"bob").unwrap(), Some(of(1, 2, None)));
        assert_eq!(accounts.user_of(7), Some(of(7, 8, None)));
        for none in [&b"nobody"[..], b"", b"0", b"roo", b"root:x"] {
            assert_eq!(accounts.user(none).unwrap(), None, "{none:?}");
        }
        assert!(accounts.group(b"tty").is_err());
        fs::write(root.path().join("etc/group"), "tty:x:5:a,b\nbad\nwheel:x:-1:\nwheel:x:10:").unwrap();
        assert_eq!(accounts.group(b"tty").unwrap(), Some(5));
        assert_eq!(accounts.group(b"wheel").unwrap(), Some(10));
    }

    #[test]
    fn what_is_no_regular_file_of_the_container_is_not_read() {
        let (root, accounts) = root("");
        let file = root.path().join("etc/passwd");
        let replace = |with: &dyn Fn(&Path)| {
            fs::remove_file(&file).unwrap();
            with(&file);
            accounts.user(b"root")
        };
        // The link stays below the root, which has no such file.
        assert!(replace(&|file| symlink("/etc/hostname", file).unwrap()).is_err());
        assert!(replace(&|file| symlink("../../../../../../../../etc/passwd", file).unwrap()).is_err());
        assert!(replace(&|file| nix::unistd::mkfifo(file, nix::sys::stat::Mode::S_IRWXU).unwrap()).is_err());
        assert!(replace(&|file| drop(std::os::unix::net::UnixListener::bind(file).unwrap())).is_err());
        let large = replace(&|file| fs::File::create(file).unwrap().set_len(MAX_SIZE + 1).unwrap());
        assert!(large.unwrap_err().to_string().contains("4194304 bytes"));
        // A link to another file of the container is followed.
        fs::write(root.path().join("users"), "root:x:3:4:").unwrap();
        assert!(replace(&|file| symlink("/users", file).unwrap()).unwrap().is_some());
    }
}
