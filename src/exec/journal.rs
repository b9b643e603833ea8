//! The undo journal: a file that lists what a run has made on the host, so that it is removed even if `sandbox` is
//! killed.
//!
//! Before an object is made, its undo is written to the journal; afterwards, its identity. At the end of the run the
//! entries are undone, the last one first. If `sandbox` was killed, the next `sandbox` command of any kind does this
//! (`sweep`).
//!
//! Each run has a directory in RUN, with the file `journal` and the file `lock`, which its owner has locked. That of a
//! container has its config too, so that other commands need no spec.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use super::cgroup;
use super::process::started;
use super::undo::{self, identity, namespace_of};
use crate::error::{Error, Result};
use crate::host::containers::{JOURNAL, MAX_CONFIG, NameLine, VERSION, own_pid_namespace};
use crate::host::run_directory::{self, PrivateDirectory, Unusable};
use crate::host::token::token;
use crate::host::{run_lock, storage};
use crate::plan::undo::Undo;
use crate::text::{printed, text, text_with};

/// The name of the config in the directory of a run.
pub(super) const CONFIG: &str = "config.json";

/// The name of the journal until its first line is written. So an empty journal is always a damaged one.
const UNFINISHED: &str = "journal.new";

/// The journal of one run. The file is created with the first entry, so a run that leaves nothing on the host writes
/// none.
#[derive(Debug, Default)]
pub struct Journal {
    /// Whether no file is written.
    is_unwritten: bool,
    file: Option<JournalFile>,
    entries: Vec<Entry>,
    /// The config of the container, as JSON. It is written before the journal.
    config: Option<String>,
}

#[derive(Debug)]
struct JournalFile {
    /// The name of the run's directory in RUN.
    run: String,
    /// The lock file of the run. The lock is held as long as it is open.
    _lock: File,
    file: File,
}

/// One line of a journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum Line {
    /// The first line.
    Header {
        /// The version of the format.
        journal: u32,
    },
    /// An object on the host. A later line with the same undo replaces an earlier one.
    Entry(Entry),
    /// The container, if it has a name or a config.
    Name(NameLine),
}

/// An object on the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Entry {
    pub(super) undo: Undo,
    #[serde(rename = "made")]
    pub(super) outcome: EntryOutcome,
    /// The namespace in which the object's name is valid: `net:[4026531840]`. None if the object has a path.
    #[serde(rename = "home")]
    pub(super) namespace: Option<String>,
}

/// What is known about an object that a step was to make.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum EntryOutcome {
    /// It is not known whether it was made: `sandbox` was killed meanwhile, or the object could not be identified.
    #[serde(rename = "intended")]
    Unknown,
    /// It was made. This identity proves that an object is the one that was made: an inode, or a System V ID.
    #[serde(rename = "as")]
    Made(String),
    /// It could not be made. An object with its name belongs to somebody else.
    #[serde(rename = "never")]
    Failed,
}

impl Journal {
    /// The journal of a run, and the config of its container, as JSON. Without a file, this process still undoes what it
    /// has made if a start fails.
    pub fn of(is_written: bool, config: Option<String>) -> Journal {
        Journal { is_unwritten: !is_written, file: None, entries: Vec::new(), config }
    }

    /// Writes the container's name and the PID of its command. Other commands find the container by this line.
    ///
    /// # Errors
    /// As [`Journal::intend`].
    pub fn record_name(&mut self, name: Option<&str>, pid: Pid, namespaces: Vec<String>) -> Result<()> {
        self.write(&Line::Name(NameLine {
            name: name.map(str::to_owned),
            pid: pid.as_raw(),
            home: own_pid_namespace(),
            started: started(pid.as_raw()),
            namespaces,
        }))
    }

    /// Writes the undo of an object that is about to be made.
    ///
    /// # Errors
    /// RUN cannot be made, or cannot be trusted.
    pub fn intend(&mut self, undo: &Undo) -> Result<()> {
        self.append(Entry {
            undo: undo.clone(),
            outcome: EntryOutcome::Unknown,
            namespace: namespace_of(undo),
        })
    }

    fn append(&mut self, entry: Entry) -> Result<()> {
        let written = self.write(&Line::Entry(entry.clone()));
        self.entries.push(entry);
        written
    }

    /// Writes a line. The file is created when it is first needed.
    fn write(&mut self, line: &Line) -> Result<()> {
        if self.is_unwritten {
            return Ok(());
        }
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(JournalFile::create(self.config.as_deref())?),
        };
        file.write(line)
    }

    /// Writes the result of the last step that was intended: the identity of the object, or that it could not be made.
    ///
    /// # Errors
    /// The journal cannot be written.
    pub fn record<T, E>(&mut self, result: &std::result::Result<T, E>) -> Result<()> {
        let Some(last) = self.entries.pop() else { return Ok(()) };
        let outcome = match result {
            Ok(_) => identity(&last.undo).ok().flatten().map_or(EntryOutcome::Unknown, EntryOutcome::Made),
            Err(_) => EntryOutcome::Failed,
        };
        self.append(Entry { outcome, ..last })
    }

    /// Removes everything that was made, the last object first, and then the journal itself. If an object cannot be
    /// removed, the journal stays without an owner, and the next command tries again.
    pub fn undo(&mut self) {
        let (entries, file) = (std::mem::take(&mut self.entries), self.file.take());
        let is_complete = run_backwards(&entries, Duration::ZERO).is_complete;
        if let Some(written) = file.filter(|_| is_complete) {
            let run = run_directory::find().ok().flatten();
            run.iter().for_each(|run| {
                let _ = remove(run, written.run.as_ref());
            });
            run_directory::remove_if_empty();
        }
    }

    /// Closes a child's copies of the descriptors, and undoes nothing. As long as a copy of the lock is open, the owner
    /// seems to be alive.
    pub(super) fn close_in_child(&mut self) {
        self.file = None;
        self.entries.clear();
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.undo();
    }
}

impl JournalFile {
    fn create(config: Option<&str>) -> Result<JournalFile> {
        let cannot = |error: io::Error| cannot_write(&error, &run_directory::path());
        // Other runs can make one attempt fail: the last user removes RUN, or a sweep removes the new directory before
        // it is locked, because it seems to have no owner.
        for _ in 0..100 {
            let run = run_directory::make()?;
            let name = format!("{}-{:08x}", std::process::id(), token());
            let Some(directory) = run.make_directory(name.as_ref()).map_err(cannot)? else { continue };
            match JournalFile::create_in(&directory, &name, config) {
                Ok(Some(journal)) => return Ok(journal),
                Ok(None) => {}
                Err(error) => {
                    // On a full filesystem, the directory could be made, and the file could not.
                    let _ = remove(&run, name.as_ref());
                    run_directory::remove_if_empty();
                    return Err(error);
                }
            }
        }
        Err(cannot(io::Error::other(text("gc.run.races"))))
    }

    /// The files of a run in its new directory. None: a sweep has removed the directory meanwhile.
    fn create_in(
        directory: &PrivateDirectory,
        name: &str,
        config: Option<&str>,
    ) -> Result<Option<JournalFile>> {
        let cannot = |error: io::Error| cannot_write(&error, directory.path());
        let lock = run_lock::own(directory).map_err(|unusable| match unusable {
            Unusable::Failed(error) => cannot(error),
            unusable => cannot(io::Error::other(unusable.reason())),
        });
        let lock = match lock? {
            // A sweep has unlinked the file, so nobody would ever find it.
            Some(lock) if lock.metadata().is_ok_and(|lock| lock.nlink() > 0) => lock,
            _ => return Ok(None),
        };
        if let Some(config) = config {
            if config.len() as u64 > MAX_CONFIG {
                let values = [("size", &*config.len().to_string()), ("most", &MAX_CONFIG.to_string())];
                return Err(cannot(io::Error::other(text_with("gc.config.size", &values))));
            }
            let Some(mut file) = directory.make_file(CONFIG).map_err(cannot)? else { return Ok(None) };
            file.write_all(config.as_bytes()).map_err(cannot)?;
        }
        let Some(file) = directory.make_file(UNFINISHED).map_err(cannot)? else { return Ok(None) };
        let mut journal = JournalFile { run: name.to_owned(), _lock: lock, file };
        journal.write(&Line::Header { journal: VERSION })?;
        directory.rename(UNFINISHED, JOURNAL).map_err(cannot)?;
        Ok(Some(journal))
    }

    fn write(&mut self, line: &Line) -> Result<()> {
        let mut line = serde_json::to_string(line).unwrap_or_default();
        line.push('\n');
        // No fsync(2): after write(2) the kernel has the data, even if this process is killed. A power failure loses
        // the journal, and also what it lists, except the files of demonstrations. fsync(2) took half of the time to
        // start a container.
        let path = || run_directory::path().join(&self.run).join(JOURNAL);
        self.file.write_all(line.as_bytes()).map_err(|error| cannot_write(&error, &path()))
    }
}

fn cannot_write(error: &io::Error, path: &Path) -> Error {
    let what = text_with("gc.journal.cannot", &[("path", &printed(path))]);
    storage::explain_io(Error::failed(what), error, path)
}

/// The result of undoing the entries of a journal.
pub(super) struct Undone {
    pub(super) removed: Vec<Undo>,
    /// Whether nothing is left of what the run made.
    pub(super) is_complete: bool,
    /// The command of the container that could not be ended, and why.
    pub(super) survivor: Option<(Undo, io::Error)>,
}

/// Undoes entries, the last one first. `patience` is the time to wait for the processes of an owner that was killed.
pub(super) fn run_backwards(entries: &[Entry], patience: Duration) -> Undone {
    let mut undone = Undone { removed: Vec::new(), is_complete: true, survivor: None };
    for entry in entries.iter().rev() {
        match perform(entry, patience) {
            Ok(true) => undone.removed.push(entry.undo.clone()),
            Ok(false) => {}
            Err(error) => {
                undone.is_complete = false;
                // While the container runs, it keeps its network, its firewall and its cgroups.
                if matches!(entry.undo, Undo::EndContainer { .. }) {
                    undone.survivor = Some((entry.undo.clone(), error));
                    break;
                }
            }
        }
    }
    undone
}

/// Removes an object. Returns false if it does not exist, was not made by this run, or is still used by other runs.
fn perform(entry: &Entry, patience: Duration) -> io::Result<bool> {
    if entry.outcome == EntryOutcome::Failed {
        return Ok(false);
    }
    let current = identity(&entry.undo)?;
    if let (
        None,
        Undo::RemoveGroup { path }
        | Undo::RemoveSharedGroup { path }
        | Undo::WithdrawControllers { path, .. },
    ) = (&current, &entry.undo)
        && !cgroup::is_visible(path)
    {
        // The cgroup may still exist. A later command in another mount namespace removes it.
        return Err(io::ErrorKind::NotFound.into());
    }
    let is_ours = match &entry.outcome {
        // The name contains a random token, so nobody else has made an object with it.
        EntryOutcome::Unknown => current.is_some(),
        EntryOutcome::Made(identity) => current.as_ref() == Some(identity),
        EntryOutcome::Failed => false,
    };
    if !is_ours {
        return Ok(false);
    }
    undo::remove(&entry.undo, patience)
}

/// Removes the directory of a run from RUN.
///
/// # Errors
/// ENOTEMPTY: it has files that `sandbox` has not made. They stay.
pub(super) fn remove(run: &PrivateDirectory, name: &std::ffi::OsStr) -> io::Result<()> {
    let directory = match run.directory(name) {
        Ok(Some(directory)) => directory,
        Ok(None) => return Ok(()),
        Err(unusable) => return Err(io::Error::other(unusable.reason())),
    };
    // The lock file last: without it, a command could take the directory for one that is just being made.
    for file in [JOURNAL, UNFINISHED, CONFIG, run_lock::LOCK] {
        directory.remove_file(file)?;
    }
    run.remove_directory(name)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use super::super::sweep::{Swept, sweep_one};
    use super::*;
    use crate::host::containers::read_bounded;

    fn of_file(name: &str) -> (PathBuf, Undo) {
        let path = std::env::temp_dir().join(format!("sandbox-{name}-{}", std::process::id()));
        fs::write(&path, "").unwrap();
        (path.clone(), Undo::RemoveFile { path })
    }

    #[test]
    fn an_object_that_was_made_is_removed_and_one_that_could_not_be_made_stays() {
        let mut journal = Journal::default();
        let ((ours, made), (other, failed)) = (of_file("ours"), of_file("other"));
        journal.intend(&made).unwrap();
        journal.record::<(), ()>(&Ok(())).unwrap();
        journal.intend(&failed).unwrap();
        journal.record::<(), ()>(&Err(())).unwrap();
        journal.undo();
        assert_eq!((ours.exists(), other.exists()), (false, true));
        fs::remove_file(other).unwrap();
    }

    #[test]
    fn an_object_that_replaced_the_one_that_was_made_stays() {
        let (path, undo) = of_file("replaced");
        let mut journal = Journal::default();
        journal.intend(&undo).unwrap();
        journal.record::<(), ()>(&Ok(())).unwrap();
        let second = path.with_extension("second");
        fs::write(&second, "").unwrap();
        fs::rename(&second, &path).unwrap();
        journal.undo();
        assert!(path.exists());
        fs::remove_file(path).unwrap();
    }

    #[test]
    fn a_config_is_written_only_if_it_can_be_read_back() {
        let (path, undo) = of_file("config");
        for (size, fits) in [(MAX_CONFIG as usize, true), (MAX_CONFIG as usize + 1, false)] {
            let mut journal = Journal::of(true, Some("x".repeat(size)));
            assert_eq!(journal.intend(&undo).is_ok(), fits, "{size}");
            if let Some(file) = &journal.file {
                let run = run_directory::find().unwrap().unwrap().directory(file.run.as_ref()).unwrap();
                let config = run.unwrap().file(CONFIG).unwrap().unwrap();
                assert_eq!(read_bounded(config, MAX_CONFIG).unwrap().len(), size);
            }
            journal.undo();
        }
        let _ = fs::remove_file(path);
    }

    #[test]
    fn the_next_command_removes_what_could_not_be_removed() {
        let path = std::env::temp_dir().join(format!("sandbox-full-{}", std::process::id()));
        let inside = path.join("file");
        fs::create_dir(&path).unwrap();
        fs::write(&inside, "").unwrap();
        let undo = Undo::RemoveDirectory { path: path.clone() };
        let mut journal = Journal::default();
        journal.intend(&undo).unwrap();
        journal.record::<(), ()>(&Ok(())).unwrap();
        let run = journal.file.as_ref().unwrap().run.clone();
        let directory = run_directory::path().join(&run);
        journal.undo();
        assert!(path.exists() && directory.exists());
        let mut swept = Swept::default();
        sweep_one(&run_directory::make().unwrap(), run.as_ref(), &mut swept);
        assert!(path.exists() && directory.exists() && swept.removed.is_empty());
        fs::remove_file(inside).unwrap();
        sweep_one(&run_directory::make().unwrap(), run.as_ref(), &mut swept);
        assert_eq!((swept.removed, path.exists(), directory.exists()), (vec![undo], false, false));
    }
}
