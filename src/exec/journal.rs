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
use std::time::Duration;

use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use super::cgroup;
use super::process::started;
use super::undo::{self, identity, namespace_of};
use crate::error::{Error, Result};
use crate::host::containers::{JOURNAL, MAX_CONFIG, NameLine, VERSION, own_pid_namespace};
use crate::host::own_run::{CONFIG, OwnRun, UNFINISHED, cannot_in};
use crate::plan::undo::Undo;
use crate::text::{text, text_with};
use crate::value::shell::quote;

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
    /// The directory in RUN, if the caller has one that stays. Otherwise the journal makes one, and removes it.
    lent: Option<OwnRun>,
}

#[derive(Debug)]
struct JournalFile {
    run: OwnRun,
    /// Whether the directory is the caller's, and stays.
    is_lent: bool,
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
    ///
    /// `lent` is the directory of the run, if the caller has made one.
    pub fn of(is_written: bool, config: Option<String>, lent: Option<OwnRun>) -> Journal {
        Journal { is_unwritten: !is_written, file: None, entries: Vec::new(), config, lent }
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

    /// Writes the undo of an object again, if it differs from what was written about the same object. Without such a line,
    /// nothing is written. If that fails, the line that was written counts.
    pub(super) fn complete(&mut self, undo: Undo) {
        let same = self.entries.iter_mut().rev().find(|entry| entry.undo.is_about_same(&undo));
        let Some(entry) = same.filter(|entry| entry.undo != undo) else { return };
        entry.undo = undo;
        let line = Line::Entry(entry.clone());
        let _ = self.write(&line);
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
            none => none.insert(JournalFile::create(self.config.as_deref(), self.lent.take())?),
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
        let (mut entries, file) = (std::mem::take(&mut self.entries), self.file.take());
        // This process has adopted the orphans of a command that has ended, and has killed them.
        entries.retain(|entry| {
            !matches!(entry.undo, Undo::EndContainer { pid, started, .. } if !undo::is_running(pid, started))
        });
        let is_complete = run_backwards(&entries, Duration::ZERO).is_complete;
        if let Some(written) = file.filter(|_| is_complete) {
            written.remove();
        }
    }

    /// Closes a child's copies of the descriptors, and undoes nothing. As long as a copy of the lock is open, the owner
    /// seems to be alive.
    pub(super) fn close_in_child(&mut self) {
        (self.file, self.lent) = (None, None);
        self.entries.clear();
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.undo();
    }
}

impl JournalFile {
    fn create(config: Option<&str>, lent: Option<OwnRun>) -> Result<JournalFile> {
        let is_lent = lent.is_some();
        let run = lent.map_or_else(OwnRun::new, Ok)?;
        match JournalFile::file_in(&run, config) {
            Ok(file) => Ok(JournalFile { run, is_lent, file }),
            Err(error) => {
                // On a full filesystem, the directory could be made, and a file could not. A journal that was there before
                // stays.
                for file in [UNFINISHED, CONFIG] {
                    let _ = run.directory().remove_file(file);
                }
                if !is_lent {
                    run.remove();
                }
                Err(error)
            }
        }
    }

    /// The files of a run in its directory.
    fn file_in(run: &OwnRun, config: Option<&str>) -> Result<File> {
        let directory = run.directory();
        let cannot = |error: io::Error| cannot_in(error, directory.path());
        let make = |name: &str| {
            let made = directory.make_file(name).map_err(cannot)?;
            // A container that stays has the same directory at each start.
            made.ok_or_else(|| {
                let what = text_with("gc.journal.left", &[("path", &quote(directory.path().join(name)))]);
                Error::failed(what).why(text("gc.journal.left.reason")).paste("sandbox gc")
            })
        };
        if let Some(config) = config {
            if config.len() as u64 > MAX_CONFIG {
                let values = [("size", &*config.len().to_string()), ("most", &MAX_CONFIG.to_string())];
                return Err(cannot(io::Error::other(text_with("gc.config.size", &values))));
            }
            make(CONFIG)?.write_all(config.as_bytes()).map_err(cannot)?;
        }
        let mut file = make(UNFINISHED)?;
        write(&mut file, &Line::Header { journal: VERSION }).map_err(cannot)?;
        directory.rename_new(UNFINISHED, JOURNAL).map_err(cannot)?;
        Ok(file)
    }

    fn write(&mut self, line: &Line) -> Result<()> {
        let path = || self.run.directory().path().join(JOURNAL);
        write(&mut self.file, line).map_err(|error| cannot_in(error, &path()))
    }

    /// Removes the journal, and the directory that was made for it.
    fn remove(self) {
        for file in [JOURNAL, UNFINISHED, CONFIG] {
            let _ = self.run.directory().remove_file(file);
        }
        if !self.is_lent {
            self.run.remove();
        }
    }
}

fn write(file: &mut File, line: &Line) -> io::Result<()> {
    let mut line = serde_json::to_string(line).unwrap_or_default();
    line.push('\n');
    // No fsync(2): after write(2) the kernel has the data, even if this process is killed. A power failure loses
    // the journal, and also what it lists, except the files of demonstrations. fsync(2) took half of the time to
    // start a container.
    file.write_all(line.as_bytes())
}

/// The result of undoing the entries of a journal.
pub(super) struct Undone {
    pub(super) removed: Vec<Undo>,
    /// Whether nothing is left of what the run made.
    pub(super) is_complete: bool,
    /// The command of the container that could not be ended, and why.
    pub(super) survivor: Option<(Undo, io::Error)>,
    /// The command of the container that has ended, and of whose children nothing is known.
    pub(super) unknown: Option<i32>,
}

/// Undoes entries, the last one first. `patience` is the time to wait for the processes of an owner that was killed.
pub(super) fn run_backwards(entries: &[Entry], patience: Duration) -> Undone {
    let mut undone = Undone { removed: Vec::new(), is_complete: true, survivor: None, unknown: None };
    // The processes of a cgroup are killed before it is removed.
    let has_cgroup = entries.iter().any(|entry| matches!(entry.undo, Undo::RemoveGroup { .. }));
    for entry in entries.iter().rev() {
        let performed = match &entry.undo {
            Undo::EndContainer { pid, started, namespaces } => {
                undo::end_container(*pid, *started, namespaces, patience).map(|ended| {
                    undone.unknown =
                        Some(*pid).filter(|_| ended.is_unknown && !has_cgroup).or(undone.unknown);
                    ended.killed
                })
            }
            other => {
                perform(entry, patience).map(|is_removed| Vec::from_iter(is_removed.then(|| other.clone())))
            }
        };
        match performed {
            Ok(removed) => undone.removed.extend(removed),
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

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use super::super::sweep::{Swept, sweep_one};
    use super::*;
    use crate::host::containers::read_bounded;
    use crate::host::run_directory;

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
            let mut journal = Journal::of(true, Some("x".repeat(size)), None);
            assert_eq!(journal.intend(&undo).is_ok(), fits, "{size}");
            if let Some(file) = &journal.file {
                let config = file.run.directory().file(CONFIG).unwrap().unwrap();
                assert_eq!(read_bounded(config, MAX_CONFIG).unwrap().len(), size);
            }
            journal.undo();
        }
        let _ = fs::remove_file(path);
    }

    #[test]
    fn a_directory_that_is_lent_stays_with_its_lock() {
        let (_, undo) = of_file("lent");
        let own = OwnRun::claim(&format!("lent-{}", std::process::id()), Duration::ZERO).unwrap().unwrap();
        let mut journal = Journal::of(true, None, Some(own.copy().unwrap()));
        journal.intend(&undo).unwrap();
        let path = own.directory().path().to_owned();
        assert!(path.join(JOURNAL).exists());
        journal.record::<(), ()>(&Ok(())).unwrap();
        journal.undo();
        assert!(path.exists() && !path.join(JOURNAL).exists());
        assert!(OwnRun::claim(own.name(), Duration::ZERO).unwrap().is_none(), "the lock is held");
        own.remove();
        assert!(!path.exists());
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
        let run = journal.file.as_ref().unwrap().run.name().to_owned();
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
