//! The directory of a run in RUN whose owner this process is: it has the lock in it.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use super::containers::JOURNAL;
use super::private_directory::{PrivateDirectory, Unusable};
use super::token::token;
use super::{run_directory, run_lock, storage};
use crate::error::{Error, Result};
use crate::text::{printed, text, text_with};

/// The config of the container, as JSON.
pub const CONFIG: &str = "config.json";

/// The socket on which the supervisor of a kept container takes requests.
pub const CONTROL: &str = "control";

/// The directory with the further commands that clients of the daemon have asked for.
pub const EXECS: &str = "exec";

/// The name of the journal until its first line is written. So an empty journal is always a damaged one.
pub const UNFINISHED: &str = "journal.new";

/// How often an operation is tried again because another `sandbox` has removed the directory meanwhile.
const ATTEMPTS: usize = 100;

/// The time between two attempts to get the lock.
const PAUSE: Duration = Duration::from_millis(2);

/// A directory in RUN, and its lock. The lock is held as long as this, or a copy of it, exists.
#[derive(Debug)]
pub struct OwnRun {
    name: String,
    directory: PrivateDirectory,
    lock: File,
}

impl OwnRun {
    /// A new directory, with a new name.
    ///
    /// # Errors
    /// RUN or the directory cannot be made.
    pub fn new() -> Result<OwnRun> {
        // Other runs can make one attempt fail: the last user removes RUN, or a sweep removes the new directory before
        // it is locked, because it seems to have no owner.
        for _ in 0..ATTEMPTS {
            let run = run_directory::make()?;
            let name = format!("{}-{:08x}", std::process::id(), token());
            let Some(directory) = run.make_directory(name.as_ref()).map_err(cannot)? else { continue };
            if let Some(own) = OwnRun::lock(&name, directory)? {
                return Ok(own);
            }
        }
        Err(cannot(io::Error::other(text("gc.run.races"))))
    }

    /// The directory of this name, which is made if it does not exist. None: another process is its owner, and still is
    /// after `patience`.
    ///
    /// # Errors
    /// As [`OwnRun::new`].
    pub fn claim(name: &str, patience: Duration) -> Result<Option<OwnRun>> {
        let deadline = Instant::now() + patience;
        loop {
            let run = run_directory::make()?;
            let found = run.directory(name.as_ref()).map_err(|unusable| cannot(unusable.errno()))?;
            let directory = match found {
                Some(found) => Some(found),
                None => run.make_directory(name.as_ref()).map_err(cannot)?,
            };
            let own = directory.map(|directory| OwnRun::lock(name, directory)).transpose()?;
            match own.flatten() {
                Some(own) => return Ok(Some(own)),
                None if Instant::now() >= deadline => return Ok(None),
                None => std::thread::sleep(PAUSE),
            }
        }
    }

    /// None: another process has the lock, or has removed the directory.
    fn lock(name: &str, directory: PrivateDirectory) -> Result<Option<OwnRun>> {
        let lock = run_lock::own(&directory).map_err(|unusable| match unusable {
            Unusable::Failed(error) => cannot_in(error, directory.path()),
            unusable => cannot_in(unusable.into_io(), directory.path()),
        });
        if lock.is_err() {
            // On a full filesystem, the directory could be made, and the file could not.
            let _ = std::fs::remove_dir(directory.path());
            run_directory::remove_if_empty();
        }
        Ok(lock?.map(|lock| OwnRun { name: name.to_owned(), directory, lock }))
    }

    /// A copy, with the same lock.
    ///
    /// # Errors
    /// The process has no descriptor left.
    pub fn copy(&self) -> io::Result<OwnRun> {
        let directory = self.directory.try_clone()?;
        Ok(OwnRun { name: self.name.clone(), directory, lock: self.lock.try_clone()? })
    }

    /// Its name in RUN.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The directory.
    pub fn directory(&self) -> &PrivateDirectory {
        &self.directory
    }

    /// Removes the config of a former run. A command that was changing it can have written it after the end of that run.
    pub fn forget_config(&self) {
        if matches!(self.directory.file(JOURNAL), Ok(None)) {
            let _ = self.directory.remove_file(CONFIG);
        }
    }

    /// Removes the directory, and gives up the lock. With a journal in it, the directory stays: something that it lists is not
    /// undone yet, and the next command tries again.
    pub fn remove(self) {
        if matches!(self.directory.file(JOURNAL), Ok(None)) {
            if let Ok(Some(run)) = run_directory::find() {
                let _ = remove(&run, self.name.as_ref());
            }
        } else {
            let _ = self.directory.remove_file(CONTROL);
        }
        drop(self);
        run_directory::remove_if_empty();
    }
}

/// Removes the directory of a run from RUN. The caller has its lock.
///
/// # Errors
/// ENOTEMPTY: it has files that `sandbox` has not made. They stay.
pub fn remove(run: &PrivateDirectory, name: &OsStr) -> io::Result<()> {
    let directory = match run.directory(name) {
        Ok(Some(directory)) => directory,
        Ok(None) => return Ok(()),
        Err(unusable) => return Err(unusable.into_io()),
    };
    remove_execs(&directory)?;
    // An `update` that was killed while it wrote the config has left the new content of it.
    let unfinished = format!("{CONFIG}.new");
    for file in directory.names().unwrap_or_default().0 {
        if file.as_encoded_bytes().starts_with(unfinished.as_bytes()) {
            directory.remove_file(&*file)?;
        }
    }
    // The lock file last: without it, a command could take the directory for one that is just being made.
    for file in [JOURNAL, UNFINISHED, CONFIG, CONTROL, run_lock::LOCK] {
        directory.remove_file(file)?;
    }
    run.remove_directory(name)
}

/// Removes the files of further commands. One that ends just now may write its state once more.
fn remove_execs(directory: &PrivateDirectory) -> io::Result<()> {
    for _ in 0..ATTEMPTS {
        let Ok(Some(commands)) = directory.directory(EXECS.as_ref()) else { return Ok(()) };
        for name in commands.names()?.0 {
            let is_own = |name: &str| name.get(64..).is_some_and(|rest| rest.starts_with(['.']));
            if name.to_str().is_some_and(is_own) {
                commands.remove_file(&*name)?;
            }
        }
        if directory.remove_directory(EXECS.as_ref()).is_ok() {
            return Ok(());
        }
    }
    directory.remove_directory(EXECS.as_ref())
}

/// The error of a run whose files in RUN cannot be written.
pub fn cannot_in(error: io::Error, path: &Path) -> Error {
    let what = text_with("gc.journal.cannot", &[("path", &printed(path))]);
    storage::explain_io(Error::failed(what), &error, path)
}

fn cannot(error: io::Error) -> Error {
    cannot_in(error, &run_directory::path())
}
