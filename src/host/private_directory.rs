//! A directory that only its owner can use: RUN, HOME, and what is in them.
//!
//! It is opened as something that an attacker may have made: no symbolic link is followed at its name, and its owner, its
//! mode and its type are checked on the open descriptor. The same holds for each file and directory in it.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat, fchmod, fstat, mkdirat, openat, statat, unlinkat,
};
use rustix::io::Errno;

use super::storage;
use super::token::token;
use crate::error::{Error, errno as errno_of};
use crate::observe::file;
use crate::observe::proc::id_outside;
use crate::text::{text, text_with};
use crate::value::shell::quote;

/// The maximum number of names that are read from the directory. A machine never has as many runs at a time.
pub const MAX_NAMES: usize = 10_000;

/// Flags for a directory that may be anything.
const DIRECTORY: OFlags =
    OFlags::DIRECTORY.union(OFlags::NOFOLLOW).union(OFlags::NONBLOCK).union(OFlags::CLOEXEC);

/// An open directory: RUN, HOME, or a directory in them. Its owner is the caller, and nobody else can write to it.
#[derive(Debug)]
pub struct PrivateDirectory {
    path: PathBuf,
    descriptor: OwnedFd,
}

fn what(path: &Path) -> String {
    text_with("gc.run.unusable", &[("path", &file::path_text(path))])
}

/// mkdirat(2), with exactly this mode. The caller's umask could also take the owner's permissions away. It is not changed for that:
/// it belongs to the whole process, and another thread may start a program meanwhile.
pub(super) fn make_private(directory: BorrowedFd<'_>, name: &OsStr, mode: u32) -> rustix::io::Result<()> {
    mkdirat(directory, name, Mode::from_raw_mode(mode))?;
    // To open it for reading takes a permission that the umask may have removed.
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let made = match openat(directory, name, flags, Mode::empty()) {
        // Another process has removed it. The caller opens it too, and finds that out.
        Err(Errno::NOENT) => return Ok(()),
        made => made?,
    };
    if fstat(&made)?.st_mode & 0o777 == mode {
        return Ok(());
    }
    // fchmod(2) refuses a descriptor that was opened for its path only.
    rustix::fs::chmod(format!("/proc/self/fd/{}", made.as_raw_fd()), Mode::from_raw_mode(mode))
}

/// The owner of a file or directory that `sandbox` refuses to use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PathOwner {
    /// The caller.
    Caller,
    /// Another user.
    Other,
    /// A user who has no ID in this user namespace.
    Unmapped,
}

/// Why something is not used.
#[derive(Debug)]
pub enum Unusable {
    /// It is something that `sandbox` never makes.
    Suspicious {
        /// What is wrong with it, as a sentence.
        reason: String,
        /// Its owner.
        owner: PathOwner,
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

/// Adds the reason to an error about this path, or about something in it, and what to do.
pub fn explain_denied(error: Error, failed: &io::Error, path: &Path) -> Error {
    let error = storage::explain_io(error, failed, path);
    match failed.raw_os_error() {
        Some(libc::EACCES) => {
            let path = quote(path);
            error.todo(format!("{}\n   ls -ld {path} {path}/*", text("home.denied.todo")))
        }
        _ => error,
    }
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

    /// The same as an error of the standard library. One of a call keeps its errno.
    pub fn into_io(self) -> io::Error {
        match self {
            Unusable::Failed(error) => error,
            Unusable::NotMade(errno) => errno.into(),
            other => io::Error::other(other.reason()),
        }
    }

    /// Adds the reason to an error about this path.
    pub fn explain(self, error: Error, path: &Path) -> Error {
        match self {
            Unusable::Failed(failed) => explain_denied(error, &failed, path),
            Unusable::NotMade(errno) => explain_denied(error, &errno.into(), path),
            other => error.why(other.reason()),
        }
    }

    /// The error of a directory that is not used. `purpose` is a sentence: what it is for, and so why it must be private.
    /// `instead` is advice for a directory whose content is worth something. None: it has only locks and journals, and can be removed.
    pub(super) fn explained(self, path: &Path, mode: u32, purpose: &str, instead: Option<&Instead>) -> Error {
        let shown = file::path_text(path);
        let error = Error::failed(what(path));
        let (reason, owner, is_directory) = match self {
            Unusable::Failed(failed) => {
                let errno = nix::errno::Errno::from_raw(failed.raw_os_error().unwrap_or_default());
                return storage::explain(error.call(format!("openat(\"{shown}\")"), failed), errno, path);
            }
            Unusable::NotMade(errno) => {
                let call = format!("mkdir(\"{shown}\", {mode:#o})");
                let error = error.call(call, errno).why(purpose);
                return storage::explain(error, errno_of(errno), path);
            }
            Unusable::Removed => return error.why(text("gc.run.races")),
            Unusable::Suspicious { reason, owner, is_directory } => (reason, owner, is_directory),
        };
        let quoted = quote(path);
        let look = |error: Error| error.step(&text("gc.run.look"), format!("ls -ld {quoted}"));
        let error = look(error.why(reason).why(purpose));
        let remove = |error: Error, how: &str| error.step(&text("gc.run.remove"), format!("{how} {quoted}"));
        let close = |error: Error| error.step(&text("gc.run.close"), format!("chmod 700 {quoted}"));
        match (owner, is_directory, instead) {
            (PathOwner::Caller, true, None | Some(Instead { is_ours: true, .. })) => close(error),
            // What the caller has named, or a file in the place of a directory, may be worth something.
            (_, _, Some(instead)) => error.todo(&instead.advice),
            (PathOwner::Caller, false, None) => remove(error, "rm"),
            (PathOwner::Other, true, None) => remove(error, "sudo rm -r"),
            (PathOwner::Other, false, None) => remove(error, "sudo rm"),
            // To root outside it may be in use, and root inside cannot remove it.
            (PathOwner::Unmapped, _, None) => error,
        }
    }
}

/// What to use instead of a directory that is not used.
#[derive(Debug)]
pub(super) struct Instead {
    /// A sentence, or one with a command below it.
    pub(super) advice: String,
    /// Whether the directory has the name that `sandbox` has chosen. Otherwise the user has named it, as `/tmp`, and its mode is not
    /// ours to change.
    pub(super) is_ours: bool,
}

impl From<io::Error> for Unusable {
    fn from(error: io::Error) -> Unusable {
        Unusable::Failed(error)
    }
}

impl From<Errno> for Unusable {
    fn from(errno: Errno) -> Unusable {
        Unusable::Failed(errno.into())
    }
}

impl PrivateDirectory {
    /// Opens the directory of a path. None: there is nothing of this name.
    pub(super) fn open(path: &Path) -> std::result::Result<Option<PrivateDirectory>, Unusable> {
        PrivateDirectory::at(CWD, path.as_os_str(), path.to_owned())
    }

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

    /// Another descriptor of it.
    ///
    /// # Errors
    /// The process has no descriptor left.
    pub fn try_clone(&self) -> io::Result<PrivateDirectory> {
        Ok(PrivateDirectory { path: self.path.clone(), descriptor: self.descriptor.try_clone()? })
    }

    /// Its path, for messages. It is never used to open something.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path of something in it, which this process can use as long as it has the directory open. It is short, and no
    /// symbolic link in the directory's own path is followed again.
    pub fn path_through(&self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}/{name}", self.descriptor.as_raw_fd()))
    }

    /// Writes its entries to the disk.
    ///
    /// # Errors
    /// Those of fsync(2).
    pub fn sync(&self) -> io::Result<()> {
        Ok(rustix::fs::fsync(&self.descriptor)?)
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
        self.directory(name).map_err(Unusable::into_io)
    }

    /// Opens a file in it. None: there is nothing of this name.
    ///
    /// # Errors
    /// It is not a regular file, it belongs to another user, others can write to it, or it has a second name.
    pub fn file(&self, name: &str) -> std::result::Result<Option<File>, Unusable> {
        self.file_for(name, OFlags::RDWR)
    }

    /// As [`PrivateDirectory::file`], but the file can only be read, as on a filesystem that is mounted read-only.
    ///
    /// # Errors
    /// As [`PrivateDirectory::file`].
    pub fn file_to_read(&self, name: &str) -> std::result::Result<Option<File>, Unusable> {
        self.file_for(name, OFlags::RDONLY)
    }

    fn file_for(&self, name: &str, access: OFlags) -> std::result::Result<Option<File>, Unusable> {
        // Looked at first: to open a device can have an effect.
        let found = match statat(&self.descriptor, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => return Ok(None),
            found => found?,
        };
        check(&found, FileType::RegularFile)?;
        let flags = access | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
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
            made => {
                let made = made?;
                let mode = Mode::RUSR | Mode::WUSR;
                // The caller's umask can take the owner's permissions away.
                if Mode::from_raw_mode(fstat(&made)?.st_mode & 0o777) != mode {
                    fchmod(&made, mode)?;
                }
                Ok(Some(File::from(made)))
            }
        }
    }

    /// Renames something in it. A file of the new name is replaced.
    ///
    /// # Errors
    /// Those of rename(2).
    pub fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        Ok(rustix::fs::renameat(&self.descriptor, from, &self.descriptor, to)?)
    }

    /// Renames something in it, and replaces nothing.
    ///
    /// # Errors
    /// Those of renameat2(2). EEXIST: the new name is in use.
    pub fn rename_new(&self, from: &str, to: &str) -> io::Result<()> {
        let flags = rustix::fs::RenameFlags::NOREPLACE;
        Ok(rustix::fs::renameat_with(&self.descriptor, from, &self.descriptor, to, flags)?)
    }

    /// Replaces the content of a file, at once: a reader sees the old content or the new one, whatever happens. `is_durable`
    /// is whether the file must outlive a power cut.
    ///
    /// The caller is the only one that writes the file: it has a lock, or the directory is its own.
    ///
    /// # Errors
    /// The new file cannot be written.
    pub fn replace(&self, name: &str, content: &[u8], is_durable: bool) -> io::Result<()> {
        let new = format!("{name}.new");
        // A process that was killed may have left it.
        self.remove_file(&new)?;
        self.replace_by(&new, name, content, is_durable)
    }

    /// As [`PrivateDirectory::replace`], where another process may write the same file at the same time. One of them is the last.
    ///
    /// # Errors
    /// As [`PrivateDirectory::replace`].
    pub fn replace_beside_others(&self, name: &str, content: &[u8], is_durable: bool) -> io::Result<()> {
        let new = format!("{name}.new-{:08x}{:08x}", token(), token());
        self.replace_by(&new, name, content, is_durable)
    }

    fn replace_by(&self, new: &str, name: &str, content: &[u8], is_durable: bool) -> io::Result<()> {
        let Some(mut file) = self.make_file(new)? else { return Err(io::ErrorKind::NotFound.into()) };
        let written =
            file.write_all(content).and_then(|()| if is_durable { file.sync_all() } else { Ok(()) });
        written.and_then(|()| self.rename(new, name)).inspect_err(|_| {
            let _ = self.remove_file(new);
        })
    }

    /// Replaces the content of a file also where the disk is full: then the new content is written over the old one. A block that
    /// the file has already is enough for that. Only then may a reader see a part of each. What the old content had more becomes
    /// blanks.
    ///
    /// # Errors
    /// The file cannot be written in either way.
    pub fn replace_on_full_disk(&self, name: &str, content: &[u8]) -> io::Result<()> {
        let replaced = self.replace(name, content, false);
        let Err(error) = &replaced else { return Ok(()) };
        if !matches!(error.raw_os_error(), Some(libc::ENOSPC | libc::EDQUOT)) {
            return replaced;
        }
        let Ok(Some(file)) = self.file_for(name, OFlags::WRONLY) else { return replaced };
        let length = usize::try_from(file.metadata()?.len()).unwrap_or(0);
        let mut whole = content.to_vec();
        whole.resize(length.max(content.len()), b' ');
        // Without an offset of its own, no reader sees an empty file in between.
        std::os::unix::fs::FileExt::write_all_at(&file, &whole, 0)
    }

    /// Makes a symbolic link in it.
    ///
    /// # Errors
    /// Those of symlink(2). EEXIST: the name is in use.
    pub fn make_link(&self, name: &str, target: &str) -> io::Result<()> {
        Ok(rustix::fs::symlinkat(target, &self.descriptor, name)?)
    }

    /// The target of a symbolic link in it. None: there is nothing of this name, or it is no link.
    ///
    /// # Errors
    /// Those of readlink(2).
    pub fn link(&self, name: &str) -> io::Result<Option<std::ffi::OsString>> {
        use std::os::unix::ffi::OsStringExt;
        match rustix::fs::readlinkat(&self.descriptor, name, Vec::new()) {
            Ok(target) => Ok(Some(std::ffi::OsString::from_vec(target.into_bytes()))),
            Err(Errno::NOENT | Errno::INVAL) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Removes a file in it. It is no error if there is none.
    ///
    /// # Errors
    /// Those of unlink(2).
    pub fn remove_file(&self, name: impl rustix::path::Arg) -> io::Result<()> {
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

pub(super) fn is_directory(found: &Stat) -> bool {
    FileType::from_raw_mode(found.st_mode) == FileType::Directory
}

/// Refuses something that `sandbox` cannot have made.
fn check(found: &Stat, expected: FileType) -> std::result::Result<(), Unusable> {
    let owner = match found.st_uid == rustix::process::geteuid().as_raw() {
        true => PathOwner::Caller,
        false if is_unmapped(found.st_uid) => PathOwner::Unmapped,
        false => PathOwner::Other,
    };
    let refused = |reason| Unusable::Suspicious { reason, owner, is_directory: is_directory(found) };
    suspicion(found, expected).map_or(Ok(()), |reason| Err(refused(reason)))
}

/// Whether this is the overflow ID: stat(2) returns it for each user that this user namespace does not map. user_namespaces(7)
fn is_unmapped(uid: u32) -> bool {
    let overflow = file::read_text("/proc/sys/kernel/overflowuid");
    overflow.is_ok_and(|overflow| overflow.trim() == uid.to_string())
        && id_outside("/proc/self/uid_map", uid).is_none()
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
        let key = if is_unmapped(found.st_uid) { "gc.run.unmapped" } else { "gc.run.owner" };
        Some(text_with(key, &ids))
    } else if mode & 0o022 != 0 {
        Some(text_with("gc.run.mode", &[("mode", &format!("{mode:04o}"))]))
    } else if kind == FileType::RegularFile && found.st_nlink > 1 {
        Some(text("gc.run.link"))
    } else {
        None
    }
}
