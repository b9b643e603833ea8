//! The file that `save` and `export` write. It is the whole archive, or the file that was there before.
//!
//! Only a regular file is replaced: rename(2) would replace a device or a symbolic link too. A symbolic link is followed
//! by the kernel, so its rules for links in /tmp hold (fs.protected_symlinks).
//!
//! The new file has no name until it is complete (O_TMPFILE), so a command that is killed leaves nothing.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, Stat, fchmod, fstat, linkat, openat, renameat, statat, unlinkat,
};
use rustix::io::Errno;

use crate::error::{Error, ExitKind, Result, errno};
use crate::host::storage;
use crate::host::token::token;
use crate::text::{printed, text, text_with};

/// A file that is written.
#[derive(Debug)]
pub(in crate::cli) struct OutputFile {
    /// As the user has written it.
    path: PathBuf,
    /// Where the file is or will be.
    directory: OwnedFd,
    name: OsString,
    file: File,
    /// The name of the file that is not complete. None: it has none.
    temporary: Option<OsString>,
}

impl OutputFile {
    /// Opens a new file for this path.
    ///
    /// # Errors
    /// There is something else than a regular file; the new file cannot be made.
    pub(in crate::cli) fn create(path: &Path) -> Result<OutputFile> {
        let (place, before) = place_of(path)?;
        let name = place.file_name().ok_or_else(|| not_regular(path, FileType::Directory))?.to_owned();
        let above = place.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = openat(CWD, above, flags, Mode::empty());
        let directory = directory.map_err(|errno| failed(path, &open(above), errno))?;
        let mode = Mode::from_raw_mode(0o666);
        let unnamed = openat(&directory, ".", OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC, mode);
        let (file, temporary) = match unnamed {
            Ok(file) => (file, None),
            // Not every filesystem has such files.
            Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL | Errno::NOENT) => {
                let name = temporary_name();
                let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
                let made = openat(&directory, &name, flags, mode);
                (made.map_err(|errno| failed(path, &open(above.join(&name)), errno))?, Some(name))
            }
            Err(errno) => return Err(failed(path, "openat(O_TMPFILE)", errno)),
        };
        let new = OutputFile { path: path.to_owned(), directory, name, file: file.into(), temporary };
        if let Some(before) = before {
            let mode = Mode::from_raw_mode(before.st_mode & 0o777);
            fchmod(&new.file, mode).map_err(|errno| failed(path, "fchmod()", errno))?;
        }
        Ok(new)
    }

    /// A descriptor to write to.
    ///
    /// # Errors
    /// Those of dup(2).
    pub(in crate::cli) fn to_write(&self) -> Result<File> {
        self.file.try_clone().map_err(|error| self.unwritten(&error))
    }

    /// The error of a write.
    pub(in crate::cli) fn unwritten(&self, error: &io::Error) -> Error {
        match error.raw_os_error() {
            Some(number) => failed(&self.path, "write()", Errno::from_raw_os_error(number)),
            None => cannot(&self.path).why(error.to_string()),
        }
    }

    /// Gives the complete file its name.
    ///
    /// # Errors
    /// It cannot be linked or renamed.
    pub(in crate::cli) fn finish(mut self) -> Result<()> {
        let name = printed(&self.name);
        if self.temporary.is_none() {
            let unnamed = format!("/proc/self/fd/{}", self.file.as_raw_fd());
            let link = |name: &OsStr| linkat(CWD, &*unnamed, &self.directory, name, AtFlags::SYMLINK_FOLLOW);
            // linkat(2) replaces nothing.
            match link(&self.name) {
                Ok(()) => return Ok(()),
                Err(Errno::EXIST) => {}
                Err(errno) => return Err(failed(&self.path, &format!("linkat(\"{name}\")"), errno)),
            }
            let temporary = temporary_name();
            link(&temporary).map_err(|errno| {
                failed(&self.path, &format!("linkat(\"{}\")", printed(&temporary)), errno)
            })?;
            self.temporary = Some(temporary);
        }
        // What came there meanwhile may be something else.
        if let Ok(found) = statat(&self.directory, &self.name, AtFlags::SYMLINK_NOFOLLOW) {
            check(&self.path, &found)?;
        }
        if let Some(temporary) = &self.temporary {
            let renamed = renameat(&self.directory, temporary, &self.directory, &self.name);
            renamed.map_err(|errno| failed(&self.path, &format!("rename(\"{name}\")"), errno))?;
        }
        self.temporary = None;
        Ok(())
    }
}

impl Drop for OutputFile {
    fn drop(&mut self) {
        if let Some(temporary) = &self.temporary {
            let _ = unlinkat(&self.directory, temporary, AtFlags::empty());
        }
    }
}

/// A name that no other command has.
fn temporary_name() -> OsString {
    format!(".sandbox-{:08x}{:08x}.new", token(), token()).into()
}

/// The path of the file itself, and the file that is there.
fn place_of(path: &Path) -> Result<(PathBuf, Option<Stat>)> {
    let opened = openat(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
    let found = match opened {
        Err(Errno::NOENT) => {
            // A link whose target does not exist, or no file.
            let link = statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW);
            return link
                .map_or_else(|_| Ok((path.to_owned(), None)), |_| Err(not_regular(path, FileType::Symlink)));
        }
        found => found.map_err(|errno| failed(path, &open(path), errno))?,
    };
    let about = fstat(&found).map_err(|errno| failed(path, "fstat()", errno))?;
    check(path, &about)?;
    let place = std::fs::read_link(format!("/proc/self/fd/{}", found.as_raw_fd()));
    let place = place.map_err(|error| cannot(path).call("readlink(</proc/self/fd>)", error))?;
    // A file without a name has a path there that leads nowhere.
    match statat(CWD, &place, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(named) if (named.st_dev, named.st_ino) == (about.st_dev, about.st_ino) => Ok((place, Some(about))),
        _ => Err(cannot(path).why(text("image.save.unnamed"))),
    }
}

fn check(path: &Path, found: &Stat) -> Result<()> {
    match FileType::from_raw_mode(found.st_mode) {
        FileType::RegularFile => Ok(()),
        other => Err(not_regular(path, other)),
    }
}

fn not_regular(path: &Path, found: FileType) -> Error {
    let key = match found {
        FileType::Directory => "gc.kind.directory",
        FileType::Symlink => "image.save.dangling",
        FileType::Fifo => "gc.kind.fifo",
        FileType::Socket => "gc.kind.socket",
        _ => "gc.kind.device",
    };
    let what = text_with("image.save.kind", &[("path", &printed(path))]);
    Error::new(ExitKind::Refused, what).why(text(key)).todo(text("image.save.todo"))
}

fn open(path: impl AsRef<Path>) -> String {
    format!("openat(\"{}\")", printed(path.as_ref()))
}

fn cannot(path: &Path) -> Error {
    Error::new(ExitKind::Refused, text_with("image.save.file", &[("path", &printed(path))]))
}

fn failed(path: &Path, call: &str, failed: Errno) -> Error {
    storage::explain(cannot(path).call(call, failed), errno(failed), path)
}
