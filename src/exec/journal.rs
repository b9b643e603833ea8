//! The undo journal: a file that lists what a run has made on the host, so that it is removed even if `sandbox` is
//! killed.
//!
//! Before an object is made, its undo is written to the journal; afterwards, its identity. At the end of the run the
//! entries are undone, the last one first. If `sandbox` was killed, the next `sandbox` command of any kind does this.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::fcntl::{FcntlArg, fcntl};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use super::undo::{self, exists, identity, namespace_of};
use crate::error::{Error, Result};
use crate::observe::file;
use crate::plan::undo::Undo;

/// How long to wait for the processes of an owner that was killed: they are killed too, a little later.
const PATIENCE: Duration = Duration::from_millis(500);

/// The journal of one run. The file is created with the first entry, so a run that leaves nothing on the host writes
/// none.
#[derive(Debug, Default)]
pub struct Journal {
    file: Option<JournalFile>,
}

#[derive(Debug)]
struct JournalFile {
    path: PathBuf,
    file: File,
    entries: Vec<Entry>,
}

/// One line of a journal. A later line with the same undo replaces an earlier one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    undo: Undo,
    #[serde(rename = "made")]
    outcome: EntryOutcome,
    /// The namespace in which the object's name is valid: `net:[4026531840]`. None if the object has a path.
    #[serde(rename = "home")]
    namespace: Option<String>,
}

/// What is known about an object that a step was to make.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
enum EntryOutcome {
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

/// The line with the name of the container, if it has one.
#[derive(Debug, Serialize, Deserialize)]
struct NameLine {
    name: String,
    pid: i32,
}

impl Journal {
    /// Writes the container's name and the PID of its command. Other commands find the container by this line.
    ///
    /// # Errors
    /// As [`Journal::intend`].
    pub fn record_name(&mut self, name: &str, pid: Pid) -> Result<()> {
        self.file()?.write(&NameLine { name: name.to_owned(), pid: pid.as_raw() })
    }

    /// Writes the undo of an object that is about to be made.
    ///
    /// # Errors
    /// The runtime directory cannot be made, or other users can write to it.
    pub fn intend(&mut self, undo: &Undo) -> Result<()> {
        let entry =
            Entry { undo: undo.clone(), outcome: EntryOutcome::Unknown, namespace: namespace_of(undo) };
        self.file()?.append(entry)
    }

    /// The file. It is created when it is first needed.
    fn file(&mut self) -> Result<&mut JournalFile> {
        match &mut self.file {
            Some(written) => Ok(written),
            none => Ok(none.insert(JournalFile::create().map_err(|error| {
                Error::failed(format!("cannot write the undo journal in {}", runtime_directory().display()))
                    .why(error.to_string())
            })?)),
        }
    }

    /// Writes the result of the last step that was intended: the identity of the object, or that it could not be made.
    ///
    /// # Errors
    /// The journal cannot be written.
    pub fn record<T, E>(&mut self, result: &std::result::Result<T, E>) -> Result<()> {
        let Some(written) = &mut self.file else { return Ok(()) };
        let Some(last) = written.entries.pop() else { return Ok(()) };
        let outcome = match result {
            Ok(_) => identity(&last.undo).ok().flatten().map_or(EntryOutcome::Unknown, EntryOutcome::Made),
            Err(_) => EntryOutcome::Failed,
        };
        written.append(Entry { outcome, ..last })
    }

    /// Removes everything that was made, the last object first, and then the journal itself. If an object cannot be
    /// removed, the journal stays without an owner, and the next command tries again.
    pub fn undo(&mut self) {
        if let Some(written) = self.file.take()
            && run_backwards(&written.entries, Duration::ZERO).is_complete
        {
            remove(&written.path);
        }
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.undo();
    }
}

impl JournalFile {
    fn create() -> io::Result<JournalFile> {
        let directory = runtime_directory();
        // Other runs can make one attempt fail: the last user removes the directory, a name is in use, or a sweep
        // removes the new file before it is locked, because it seems to have no owner.
        for attempt in 0..100 {
            match make_directory(&directory) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                made => made?,
            }
            let path = directory.join(format!("{}-{attempt}.journal", std::process::id()));
            let file =
                match OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path) {
                    Err(error)
                        if matches!(error.kind(), io::ErrorKind::AlreadyExists | io::ErrorKind::NotFound) =>
                    {
                        continue;
                    }
                    opened => opened?,
                };
            match lock(&file) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => {
                    remove(&path);
                    return Err(error);
                }
                // A sweep has unlinked the file, so nobody would ever find it.
                Ok(()) if file.metadata()?.nlink() == 0 => {}
                Ok(()) => return Ok(JournalFile { path, file, entries: Vec::new() }),
            }
        }
        Err(io::Error::other(format!("no file name is free in {}", directory.display())))
    }

    fn append(&mut self, entry: Entry) -> Result<()> {
        let written = self.write(&entry);
        self.entries.push(entry);
        written
    }

    fn write(&mut self, line: &impl Serialize) -> Result<()> {
        let mut line = serde_json::to_string(line).unwrap_or_default();
        line.push('\n');
        // No fsync(2): after write(2) the kernel has the data, even if this process is killed. A power failure loses
        // the journal, and also what it lists, except the files of demonstrations. fsync(2) took half of the time to
        // start a container.
        self.file.write_all(line.as_bytes()).map_err(|error| {
            Error::failed(format!("cannot write {}", self.path.display())).why(error.to_string())
        })
    }
}

/// The PIDs of the commands of the caller's running containers with this name.
pub fn named(name: &str) -> Vec<i32> {
    let entries = fs::read_dir(runtime_directory()).into_iter().flatten().flatten();
    let journals = entries.filter_map(|entry| File::open(entry.path()).ok()).filter(is_locked);
    let contents = journals.filter_map(|journal| io::read_to_string(journal).ok());
    let of = |content: String| {
        let names = content.lines().filter_map(|line| serde_json::from_str::<NameLine>(line).ok());
        names.filter(|line| line.name == name).map(|line| line.pid).collect::<Vec<_>>()
    };
    contents.flat_map(of).collect()
}

/// Removes what killed `sandbox` processes have left, and returns it. An object stays if its owner lives, or if
/// nothing proves that
/// `sandbox` made it.
pub fn sweep() -> Vec<Undo> {
    let (mut removed, directory) = (Vec::new(), runtime_directory());
    let Ok(entries) = fs::read_dir(&directory) else { return removed };
    for entry in entries.flatten() {
        let path = entry.path();
        if path.extension().is_some_and(|extension| extension == "journal") {
            removed.extend(sweep_one(&path).unwrap_or_default());
        }
    }
    // The last user of the directory may have been killed before it created a journal.
    let _ = fs::remove_dir(directory);
    removed
}

fn sweep_one(path: &Path) -> io::Result<Vec<Undo>> {
    let mut file = OpenOptions::new().read(true).write(true).custom_flags(libc::O_NOFOLLOW).open(path)?;
    if file.metadata()?.uid() != nix::unistd::geteuid().as_raw() || lock(&file).is_err() {
        return Ok(Vec::new());
    }
    let mut content = String::new();
    file.rewind()?;
    file.read_to_string(&mut content)?;
    // The last line may be incomplete, if the owner was killed while it wrote. Then the object was not made.
    let mut entries: Vec<Entry> = Vec::new();
    for entry in content.lines().filter_map(|line| serde_json::from_str::<Entry>(line).ok()) {
        entries.retain(|earlier| earlier.undo != entry.undo);
        entries.push(entry);
    }
    // A name means the same object only in its own namespace. If that namespace still exists, a later command that
    // runs in it removes the object.
    let is_elsewhere = |entry: &Entry| entry.namespace != namespace_of(&entry.undo);
    let is_out_of_reach =
        entries.iter().any(|entry| is_elsewhere(entry) && entry.namespace.as_deref().is_some_and(exists));
    entries.retain(|entry| !is_elsewhere(entry));
    let undone = run_backwards(&entries, PATIENCE);
    if undone.is_complete && !is_out_of_reach {
        remove(path);
    }
    Ok(undone.removed)
}

/// The result of undoing the entries of a journal.
struct Undone {
    removed: Vec<Undo>,
    /// Whether nothing is left of what the run made.
    is_complete: bool,
}

fn run_backwards(entries: &[Entry], patience: Duration) -> Undone {
    let mut undone = Undone { removed: Vec::new(), is_complete: true };
    for entry in entries.iter().rev() {
        match perform(entry, patience) {
            Ok(true) => undone.removed.push(entry.undo.clone()),
            Ok(false) => {}
            Err(_) => undone.is_complete = false,
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

/// A write lock on the whole file.
const WHOLE_FILE: libc::flock =
    libc::flock { l_type: libc::F_WRLCK as i16, l_whence: 0, l_start: 0, l_len: 0, l_pid: 0 };

/// Whether a living owner has locked the file.
fn is_locked(file: &File) -> bool {
    let mut lock = WHOLE_FILE;
    fcntl(file, FcntlArg::F_GETLK(&mut lock)).is_ok() && lock.l_type != libc::F_UNLCK as i16
}

/// Locks the file by fcntl(2). Such a lock belongs to the process, so no child inherits it. A lock of flock(2)
/// belongs to the open file, which children share.
fn lock(file: &File) -> io::Result<()> {
    fcntl(file, FcntlArg::F_SETLK(&WHOLE_FILE))?;
    Ok(())
}

/// The directory of the journals. For root it is in /run; root of a user namespace may not be allowed to write there.
/// For other users it is in $XDG_RUNTIME_DIR, or in /tmp, where nobody else may have write permission for it.
fn runtime_directory() -> PathBuf {
    let uid = nix::unistd::geteuid();
    if uid.is_root() && nix::unistd::access("/run", nix::unistd::AccessFlags::W_OK).is_ok() {
        return PathBuf::from("/run/sandbox");
    }
    match std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|directory| directory.is_dir()) {
        Some(directory) => directory.join("sandbox"),
        None => PathBuf::from(format!("/tmp/sandbox-{}", id_in_parent(uid.as_raw()))),
    }
}

/// A user ID as seen in the parent user namespace. Two users can both be root in their user namespaces, and must not
/// get the same directory.
fn id_in_parent(uid: u32) -> u32 {
    let map = file::read_text("/proc/self/uid_map").unwrap_or_default();
    let outside = map.lines().find_map(|line| {
        let numbers: Vec<u32> = line.split_whitespace().filter_map(|field| field.parse().ok()).collect();
        match numbers.as_slice() {
            [inside, outside, count] if (*inside..inside.saturating_add(*count)).contains(&uid) => {
                Some(outside + (uid - inside))
            }
            _ => None,
        }
    });
    outside.unwrap_or(uid)
}

fn make_directory(directory: &Path) -> io::Result<()> {
    match fs::DirBuilder::new().mode(0o700).create(directory) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        made => return made,
    }
    let metadata = fs::symlink_metadata(directory)?;
    let is_private = metadata.is_dir()
        && metadata.uid() == nix::unistd::geteuid().as_raw()
        && metadata.mode() & 0o022 == 0;
    if is_private {
        Ok(())
    } else {
        Err(io::Error::other(format!(
            "{} must be a directory that you own and that nobody else can write to",
            directory.display()
        )))
    }
}

/// Removes the journal, and the directory if it is empty then.
fn remove(journal: &Path) {
    let _ = fs::remove_file(journal);
    if let Some(directory) = journal.parent() {
        let _ = fs::remove_dir(directory);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn the_next_command_removes_what_could_not_be_removed() {
        let path = std::env::temp_dir().join(format!("sandbox-full-{}", std::process::id()));
        let inside = path.join("file");
        fs::create_dir(&path).unwrap();
        fs::write(&inside, "").unwrap();
        let undo = Undo::RemoveDirectory { path: path.clone() };
        let mut journal = Journal::default();
        journal.intend(&undo).unwrap();
        journal.record::<(), ()>(&Ok(())).unwrap();
        let file = journal.file.as_ref().unwrap().path.clone();
        // Another test may create a file of the same name, but not the same inode.
        let kept = File::open(&file).unwrap();
        journal.undo();
        assert!(path.exists() && file.exists());
        assert_eq!(sweep_one(&file).unwrap(), []);
        assert!(path.exists() && file.exists());
        fs::remove_file(inside).unwrap();
        assert_eq!(sweep_one(&file).unwrap(), [undo]);
        assert!(!path.exists() && kept.metadata().unwrap().nlink() == 0);
    }
}
