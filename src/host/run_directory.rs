//! RUN: the directory with the locks and the journals of the caller's running containers.
//!
//! Its path depends only on the user ID, never on the environment. So two commands of one user always find each other.
//! For some users it is in /tmp, where every user can make a directory of that name first. Therefore it is opened as
//! something that an attacker may have made: no symbolic link is followed, and its owner, its mode and its type are
//! checked on the open descriptor. The same holds for everything in it. Otherwise a symbolic link, or a journal of
//! another user, could make `sandbox` remove the caller's files; and open(2) of a FIFO would wait for ever.
//!
//! A lock of flock(2) lies on a file that only its owner can open. Any user may lock a file that they can read, and so
//! prevent that `sandbox` starts or cleans up.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat, fstat, mkdirat, openat, statat, unlinkat};
use rustix::io::Errno;

use super::storage;
use crate::error::{Error, Result, errno as errno_of};
use crate::observe::file;
use crate::observe::proc::{id_outside, is_initial_map};
use crate::text::{text, text_with};

/// How often an operation is tried again because another `sandbox` has removed the directory or the file meanwhile.
const ATTEMPTS: usize = 100;

/// The maximum number of names that are read from the directory. A machine never has as many runs at a time.
pub const MAX_NAMES: usize = 10_000;

/// The path of root's.
pub const OF_ROOT: &str = "/run/sandbox";

/// The file of `sandbox ledger` in it. It belongs to no run, and the sweep leaves it alone.
pub const LEDGER: &str = "ledger.json";

/// Whether a name in RUN is that of the ledger, or of its temporary file.
pub fn is_ledger(name: &OsStr) -> bool {
    name.as_bytes().strip_prefix(LEDGER.as_bytes()).is_some_and(|rest| rest.is_empty() || rest == b".new")
}

/// Flags for a directory that may be anything.
const DIRECTORY: OFlags =
    OFlags::DIRECTORY.union(OFlags::NOFOLLOW).union(OFlags::NONBLOCK).union(OFlags::CLOEXEC);

/// An open directory: RUN, or the directory of one run in it. Its owner is the caller, and nobody else can write to it.
#[derive(Debug)]
pub struct PrivateDirectory {
    path: PathBuf,
    descriptor: OwnedFd,
}

/// The path of RUN. For root it is in /run, and for root of a user namespace too if they may write there. For other users
/// it is in the directory that the login manager makes for them; without one it is in /tmp. A process looks once: its RUN
/// stays the same.
pub fn path() -> PathBuf {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(look_for_path).clone()
}

fn look_for_path() -> PathBuf {
    let uid = rustix::process::geteuid();
    let is_usable = |path: &str| rustix::fs::access(path, rustix::fs::Access::WRITE_OK).is_ok();
    let is_host_root = || file::read_text("/proc/self/uid_map").is_ok_and(|map| is_initial_map(&map));
    if uid.is_root() && (is_host_root() || is_usable("/run") || is_usable(OF_ROOT)) {
        return PathBuf::from(OF_ROOT);
    }
    let id = id_in_parent(uid.as_raw());
    let login = PathBuf::from(format!("/run/user/{id}"));
    let is_own = |found: Stat| found.st_uid == uid.as_raw() && is_directory(&found);
    match statat(CWD, &login, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(found) if is_own(found) => login.join("sandbox"),
        _ => PathBuf::from(format!("/tmp/sandbox-{id}")),
    }
}

/// A user ID as seen in the parent user namespace. Two users can both be root in their user namespaces, and must not
/// get the same directory.
fn id_in_parent(uid: u32) -> u32 {
    id_outside("/proc/self/uid_map", uid).unwrap_or(uid)
}

/// Opens RUN. None: it does not exist.
///
/// # Errors
/// It is not a directory, it belongs to another user, or others can write to it.
pub fn find() -> Result<Option<PrivateDirectory>> {
    let path = path();
    PrivateDirectory::at(CWD, path.as_os_str(), path.clone()).map_err(|unusable| unusable.of_run(&path))
}

/// Opens RUN, and makes it if it does not exist.
///
/// # Errors
/// As [`find`]; it cannot be made.
pub fn make() -> Result<PrivateDirectory> {
    find_or_make().map_err(|unusable| unusable.of_run(&path()))
}

/// As [`make`], for a caller that needs the errno of the call that failed.
pub(super) fn find_or_make() -> std::result::Result<PrivateDirectory, Unusable> {
    let path = path();
    for _ in 0..ATTEMPTS {
        if let Some(found) = PrivateDirectory::at(CWD, path.as_os_str(), path.clone())? {
            return Ok(found);
        }
        match make_private(CWD, path.as_os_str(), mode_of(&path)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(Unusable::NotMade(errno)),
        }
    }
    Err(Unusable::Removed)
}

/// The mode of RUN. The directory of root has a socket that others may connect to; what is in it is private all the same.
fn mode_of(path: &Path) -> u32 {
    if path == Path::new(OF_ROOT) { 0o711 } else { 0o700 }
}

/// Removes RUN if it is empty. rmdir(2) follows no symbolic link.
pub fn remove_if_empty() {
    let _ = std::fs::remove_dir(path());
}

fn what(path: &Path) -> String {
    text_with("gc.run.unusable", &[("path", &file::path_text(path))])
}

/// mkdirat(2), with exactly this mode. The caller's umask could also take the owner's permissions away.
fn make_private(directory: BorrowedFd<'_>, name: &OsStr, mode: u32) -> rustix::io::Result<()> {
    let before = rustix::process::umask(Mode::empty());
    let made = mkdirat(directory, name, Mode::from_raw_mode(mode));
    rustix::process::umask(before);
    made
}

/// Why something is not used.
#[derive(Debug)]
pub enum Unusable {
    /// It is something that `sandbox` never makes.
    Suspicious {
        /// What is wrong with it, as a sentence.
        reason: String,
        /// Whether it belongs to the caller.
        is_own: bool,
        /// Whether it is a directory.
        is_directory: bool,
    },
    /// It cannot be opened or read.
    Failed(io::Error),
    /// It cannot be made.
    NotMade(Errno),
    /// Other `sandbox` processes remove it again and again.
    Removed,
}

impl Unusable {
    /// The reason, as a sentence.
    pub fn reason(&self) -> String {
        match self {
            Unusable::Suspicious { reason, .. } => reason.clone(),
            Unusable::Failed(error) => error.to_string(),
            Unusable::NotMade(errno) => errno.to_string(),
            Unusable::Removed => text("gc.run.races"),
        }
    }

    /// The errno of the call that failed. EPERM: `sandbox` itself refuses to use it.
    pub(super) fn errno(self) -> io::Error {
        match self {
            Unusable::Suspicious { .. } => Errno::PERM.into(),
            Unusable::Failed(error) => error,
            Unusable::NotMade(errno) => errno.into(),
            Unusable::Removed => Errno::AGAIN.into(),
        }
    }

    fn of_run(self, path: &Path) -> Error {
        let shown = file::path_text(path);
        let error = Error::failed(what(path));
        let (reason, todo) = match self {
            Unusable::Failed(failed) => return error.call(format!("openat(\"{shown}\")"), failed),
            Unusable::NotMade(errno) => {
                let call = format!("mkdir(\"{shown}\", {:#o})", mode_of(path));
                let error = error.call(call, errno).why(text("gc.run.purpose"));
                return storage::explain(error, errno_of(errno), path);
            }
            Unusable::Removed => return error.why(text("gc.run.races")),
            Unusable::Suspicious { reason, is_own, is_directory } => (reason, (is_own, is_directory)),
        };
        let todo = match todo {
            (true, true) => format!("chmod 700 {shown}"),
            (true, false) => format!("rm {shown}"),
            (false, true) => format!("sudo rm -r {shown}"),
            (false, false) => format!("sudo rm {shown}"),
        };
        error.why(reason).why(text("gc.run.purpose")).todo(format!("ls -ld {shown}")).todo(todo)
    }
}

impl From<Errno> for Unusable {
    fn from(errno: Errno) -> Unusable {
        Unusable::Failed(errno.into())
    }
}

impl PrivateDirectory {
    /// Opens a directory. None: there is nothing of this name.
    fn at(
        directory: BorrowedFd<'_>,
        name: &OsStr,
        path: PathBuf,
    ) -> std::result::Result<Option<PrivateDirectory>, Unusable> {
        let descriptor = match openat(directory, name, OFlags::RDONLY | DIRECTORY, Mode::empty()) {
            Ok(descriptor) => descriptor,
            Err(Errno::NOENT) => return Ok(None),
            Err(errno) => {
                return match statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
                    Ok(found) => Err(check(&found, FileType::Directory).err().unwrap_or(errno.into())),
                    Err(Errno::NOENT) => Ok(None),
                    Err(_) => Err(errno.into()),
                };
            }
        };
        check(&fstat(&descriptor)?, FileType::Directory)?;
        Ok(Some(PrivateDirectory { path, descriptor }))
    }

    /// Its path, for messages. It is never used to open something.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The names in it, at most [`MAX_NAMES`], and whether these are all.
    ///
    /// # Errors
    /// Those of getdents(2).
    pub fn names(&self) -> io::Result<(Vec<std::ffi::OsString>, bool)> {
        let mut names = Vec::new();
        for entry in Dir::read_from(&self.descriptor)? {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if matches!(name, b"." | b"..") {
                continue;
            }
            if names.len() == MAX_NAMES {
                return Ok((names, false));
            }
            names.push(OsStr::from_bytes(name).to_owned());
        }
        Ok((names, true))
    }

    /// Opens a directory in it. None: there is nothing of this name.
    ///
    /// # Errors
    /// It is not a directory, it belongs to another user, or others can write to it.
    pub fn directory(&self, name: &OsStr) -> std::result::Result<Option<PrivateDirectory>, Unusable> {
        PrivateDirectory::at(self.descriptor.as_fd(), name, self.path.join(name))
    }

    /// Makes a directory in it. None: the name is in use, or this directory was removed meanwhile.
    ///
    /// # Errors
    /// Those of mkdir(2).
    pub fn make_directory(&self, name: &OsStr) -> io::Result<Option<PrivateDirectory>> {
        match make_private(self.descriptor.as_fd(), name, 0o700) {
            Err(Errno::EXIST | Errno::NOENT) => return Ok(None),
            made => made?,
        }
        self.directory(name).map_err(|unusable| io::Error::other(unusable.reason()))
    }

    /// Opens a file in it. None: there is nothing of this name.
    ///
    /// # Errors
    /// It is not a regular file, it belongs to another user, others can write to it, or it has a second name.
    pub fn file(&self, name: &str) -> std::result::Result<Option<File>, Unusable> {
        // Looked at first: to open a device can have an effect.
        let found = match statat(&self.descriptor, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => return Ok(None),
            found => found?,
        };
        check(&found, FileType::RegularFile)?;
        let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        match openat(&self.descriptor, name, flags, Mode::empty()) {
            Err(Errno::NOENT) => Ok(None),
            opened => {
                let opened = opened?;
                check(&fstat(&opened)?, FileType::RegularFile)?;
                Ok(Some(File::from(opened)))
            }
        }
    }

    /// Makes a file in it. None: the name is in use, or the directory was removed meanwhile.
    ///
    /// # Errors
    /// Those of open(2).
    pub fn make_file(&self, name: &str) -> io::Result<Option<File>> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match openat(&self.descriptor, name, flags, Mode::RUSR | Mode::WUSR) {
            Err(Errno::EXIST | Errno::NOENT) => Ok(None),
            made => Ok(Some(File::from(made?))),
        }
    }

    /// Renames a file in it.
    ///
    /// # Errors
    /// Those of rename(2).
    pub fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        Ok(rustix::fs::renameat(&self.descriptor, from, &self.descriptor, to)?)
    }

    /// Removes a file in it. It is no error if there is none.
    ///
    /// # Errors
    /// Those of unlink(2).
    pub fn remove_file(&self, name: &str) -> io::Result<()> {
        removed(unlinkat(&self.descriptor, name, AtFlags::empty()))
    }

    /// Removes an empty directory in it. It is no error if there is none.
    ///
    /// # Errors
    /// Those of rmdir(2): ENOTEMPTY, something is in it.
    pub fn remove_directory(&self, name: &OsStr) -> io::Result<()> {
        removed(unlinkat(&self.descriptor, name, AtFlags::REMOVEDIR))
    }
}

fn removed(result: rustix::io::Result<()>) -> io::Result<()> {
    match result {
        Err(Errno::NOENT) => Ok(()),
        result => Ok(result?),
    }
}

fn is_directory(found: &Stat) -> bool {
    FileType::from_raw_mode(found.st_mode) == FileType::Directory
}

/// Refuses something that `sandbox` cannot have made.
fn check(found: &Stat, expected: FileType) -> std::result::Result<(), Unusable> {
    let is_own = found.st_uid == rustix::process::geteuid().as_raw();
    let refused = |reason| Unusable::Suspicious { reason, is_own, is_directory: is_directory(found) };
    suspicion(found, expected).map_or(Ok(()), |reason| Err(refused(reason)))
}

/// Why something cannot be what `sandbox` has made: a sentence. None: it can be.
fn suspicion(found: &Stat, expected: FileType) -> Option<String> {
    let kind = FileType::from_raw_mode(found.st_mode);
    let own = rustix::process::geteuid().as_raw();
    let mode = found.st_mode & 0o7777;
    if kind != expected {
        let key = match kind {
            FileType::RegularFile => "gc.kind.file",
            FileType::Directory => "gc.kind.directory",
            FileType::Symlink => "gc.kind.symlink",
            FileType::Fifo => "gc.kind.fifo",
            FileType::Socket => "gc.kind.socket",
            _ => "gc.kind.device",
        };
        Some(text(key))
    } else if found.st_uid != own {
        let ids = [("owner", &*found.st_uid.to_string()), ("own", &*own.to_string())];
        Some(text_with("gc.run.owner", &ids))
    } else if mode & 0o022 != 0 {
        Some(text_with("gc.run.mode", &[("mode", &format!("{mode:04o}"))]))
    } else if kind == FileType::RegularFile && found.st_nlink > 1 {
        Some(text("gc.run.link"))
    } else {
        None
    }
}
