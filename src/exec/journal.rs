//! The undo journal: what will have to be removed is written down before it's made, and its identity after. A journal
//! whose owner is dead is run backwards by the next `sandbox` command of any kind.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::fcntl::{FcntlArg, fcntl};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use super::undo::{self, home, identity, lives};
use crate::error::{Error, Result};
use crate::observe::file;
use crate::plan::undo::Undo;

/// How long the processes of a dead owner may need to die too.
const DYING: Duration = Duration::from_millis(500);

/// What one run has left on the host so far. A run that leaves nothing writes no file.
#[derive(Debug, Default)]
pub struct Journal {
    written: Option<Written>,
}

#[derive(Debug)]
struct Written {
    path: PathBuf,
    file: File,
    entries: Vec<Entry>,
}

/// One line of a journal. A later line with the same undo replaces an earlier one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    undo: Undo,
    made: Made,
    /// The namespace in which the name holds: `net:[4026531840]`. None where a path leads to the thing.
    home: Option<String>,
}

/// How far the making of a thing has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Made {
    /// It may be there or not: its owner died, or nobody looked since.
    Intended,
    /// It is there, and this proves that a thing of its name is the one that we made: an inode, a System V id.
    As(String),
    /// It couldn't be made: a thing of its name is someone else's.
    Never,
}

/// A line of a journal whose container has a name.
#[derive(Debug, Serialize, Deserialize)]
struct Named {
    name: String,
    pid: i32,
}

impl Journal {
    /// Writes down what the container is called, and its command's process, for whoever asks by that name.
    ///
    /// # Errors
    /// As [`Journal::intend`].
    pub fn call(&mut self, name: &str, pid: Pid) -> Result<()> {
        self.written()?.write(&Named { name: name.to_owned(), pid: pid.as_raw() })
    }

    /// Writes down what is about to be made.
    ///
    /// # Errors
    /// When the runtime directory can't be made or isn't ours alone.
    pub fn intend(&mut self, undo: &Undo) -> Result<()> {
        let entry = Entry { undo: undo.clone(), made: Made::Intended, home: home(undo) };
        self.written()?.append(entry)
    }

    /// The file, made when it's first needed.
    fn written(&mut self) -> Result<&mut Written> {
        match &mut self.written {
            Some(written) => Ok(written),
            none => Ok(none.insert(Written::create().map_err(|error| {
                Error::failed(format!("cannot write the undo journal in {}", runtime_directory().display()))
                    .why(error.to_string())
            })?)),
        }
    }

    /// Writes down what became of the last thing that was intended: its identity, or that it couldn't be made.
    ///
    /// # Errors
    /// When the journal can't be written.
    pub fn came_out<T, E>(&mut self, outcome: &std::result::Result<T, E>) -> Result<()> {
        let Some(written) = &mut self.written else { return Ok(()) };
        let Some(last) = written.entries.pop() else { return Ok(()) };
        let made = match outcome {
            Ok(_) => identity(&last.undo).ok().flatten().map_or(Made::Intended, Made::As),
            Err(_) => Made::Never,
        };
        written.append(Entry { made, ..last })
    }

    /// Removes everything, last made first, and then the journal itself. Where something stays, so does the journal: it has no
    /// owner from then on, and the next command tries again.
    pub fn undo(&mut self) {
        if let Some(written) = self.written.take()
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

impl Written {
    fn create() -> io::Result<Written> {
        let directory = runtime_directory();
        // What others do at the same time makes a try fail, never the run: the last user of the directory removes it, a
        // name is in use, a sweep takes the new file for a dead owner's before it is locked.
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
                // With no name left, it was swept: what would be written there nobody would ever find.
                Ok(()) if file.metadata()?.nlink() == 0 => {}
                Ok(()) => return Ok(Written { path, file, entries: Vec::new() }),
            }
        }
        Err(io::Error::other(format!("{} has no free name", directory.display())))
    }

    fn append(&mut self, entry: Entry) -> Result<()> {
        let written = self.write(&entry);
        self.entries.push(entry);
        written
    }

    fn write(&mut self, line: &impl Serialize) -> Result<()> {
        let mut line = serde_json::to_string(line).unwrap_or_default();
        line.push('\n');
        // Not synced: what a killed process has written is the kernel's already. A loss of power takes it along, and with it
        // all that it tells of, but for a demonstration's files; to wait for a disk here was half of a container's start.
        self.file.write_all(line.as_bytes()).map_err(|error| {
            Error::failed(format!("cannot write {}", self.path.display())).why(error.to_string())
        })
    }
}

/// The commands of the caller's containers that run and are called so.
pub fn named(name: &str) -> Vec<i32> {
    let entries = fs::read_dir(runtime_directory()).into_iter().flatten().flatten();
    let journals = entries.filter_map(|entry| File::open(entry.path()).ok()).filter(is_locked);
    let words = journals.filter_map(|journal| io::read_to_string(journal).ok());
    let of = |words: String| {
        let named = words.lines().filter_map(|line| serde_json::from_str::<Named>(line).ok());
        named.filter(|named| named.name == name).map(|named| named.pid).collect::<Vec<_>>()
    };
    words.flat_map(of).collect()
}

/// Clears what dead owners left. What still has an owner, and what isn't proved to be ours, stays.
pub fn sweep() -> Vec<Undo> {
    let (mut removed, directory) = (Vec::new(), runtime_directory());
    let Ok(entries) = fs::read_dir(&directory) else { return removed };
    for entry in entries.flatten() {
        let path = entry.path();
        if path.extension().is_some_and(|extension| extension == "journal") {
            removed.extend(sweep_one(&path).unwrap_or_default());
        }
    }
    // Its last user may have died before there was a journal in it.
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
    // A line that was cut off by the owner's death announced something that wasn't made.
    let mut entries: Vec<Entry> = Vec::new();
    for entry in content.lines().filter_map(|line| serde_json::from_str::<Entry>(line).ok()) {
        entries.retain(|earlier| earlier.undo != entry.undo);
        entries.push(entry);
    }
    // A name is the same thing only in its own namespace: the next command there removes it, if there can be one.
    let elsewhere = |entry: &Entry| entry.home != home(&entry.undo);
    let is_out_of_reach =
        entries.iter().any(|entry| elsewhere(entry) && entry.home.as_deref().is_some_and(lives));
    entries.retain(|entry| !elsewhere(entry));
    let undone = run_backwards(&entries, DYING);
    if undone.is_complete && !is_out_of_reach {
        remove(path);
    }
    Ok(undone.removed)
}

/// What has become of the entries of a journal.
struct Undone {
    removed: Vec<Undo>,
    /// Nothing of ours is left.
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

/// Removes a thing; false where it isn't there, or isn't ours, or isn't ours alone.
fn perform(entry: &Entry, patience: Duration) -> io::Result<bool> {
    if entry.made == Made::Never {
        return Ok(false);
    }
    let current = identity(&entry.undo)?;
    let is_ours = match &entry.made {
        // Its name holds our token, as all names that we choose do.
        Made::Intended => current.is_some(),
        Made::As(identity) => current.as_ref() == Some(identity),
        Made::Never => false,
    };
    if !is_ours {
        return Ok(false);
    }
    undo::remove(&entry.undo, patience)
}

const WHOLE: libc::flock =
    libc::flock { l_type: libc::F_WRLCK as i16, l_whence: 0, l_start: 0, l_len: 0, l_pid: 0 };

/// Whether an owner that lives has it.
fn is_locked(file: &File) -> bool {
    let mut lock = WHOLE;
    fcntl(file, FcntlArg::F_GETLK(&mut lock)).is_ok() && lock.l_type != libc::F_UNLCK as i16
}

/// A lock that no child inherits: fcntl(2)'s record lock belongs to the process, not to the descriptor as flock(2)'s does.
fn lock(file: &File) -> io::Result<()> {
    fcntl(file, FcntlArg::F_SETLK(&WHOLE))?;
    Ok(())
}

/// root's is in /run, unless it is root of a user namespace only, to whom /run is closed; a user's in $XDG_RUNTIME_DIR, or
/// in a directory of /tmp that must be theirs alone.
fn runtime_directory() -> PathBuf {
    let uid = nix::unistd::geteuid();
    if uid.is_root() && nix::unistd::access("/run", nix::unistd::AccessFlags::W_OK).is_ok() {
        return PathBuf::from("/run/sandbox");
    }
    match std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|directory| directory.is_dir()) {
        Some(directory) => directory.join("sandbox"),
        None => PathBuf::from(format!("/tmp/sandbox-{}", outer(uid.as_raw()))),
    }
}

/// A user id as the parent of the caller's user namespace has it: two users who are both root inside don't meet.
fn outer(uid: u32) -> u32 {
    let map = file::read_text("/proc/self/uid_map").unwrap_or_default();
    let outside = map.lines().find_map(|line| {
        let numbers: Vec<u32> = line.split_whitespace().filter_map(|word| word.parse().ok()).collect();
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
    let mine = metadata.is_dir()
        && metadata.uid() == nix::unistd::geteuid().as_raw()
        && metadata.mode() & 0o022 == 0;
    if mine {
        Ok(())
    } else {
        Err(io::Error::other(format!("{} isn't a directory of yours alone", directory.display())))
    }
}

/// Removes the journal, and the directory with its last user.
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
    fn what_was_made_is_removed_and_what_could_not_be_made_is_another_s() {
        let mut journal = Journal::default();
        let ((ours, made), (other, failed)) = (of_file("ours"), of_file("other"));
        journal.intend(&made).unwrap();
        journal.came_out::<(), ()>(&Ok(())).unwrap();
        journal.intend(&failed).unwrap();
        journal.came_out::<(), ()>(&Err(())).unwrap();
        journal.undo();
        assert_eq!((ours.exists(), other.exists()), (false, true));
        fs::remove_file(other).unwrap();
    }

    #[test]
    fn what_took_the_place_of_a_thing_of_ours_stays() {
        let (path, undo) = of_file("replaced");
        let mut journal = Journal::default();
        journal.intend(&undo).unwrap();
        journal.came_out::<(), ()>(&Ok(())).unwrap();
        let second = path.with_extension("second");
        fs::write(&second, "").unwrap();
        fs::rename(&second, &path).unwrap();
        journal.undo();
        assert!(path.exists());
        fs::remove_file(path).unwrap();
    }

    #[test]
    fn what_could_not_be_removed_is_left_to_the_next_command() {
        let path = std::env::temp_dir().join(format!("sandbox-full-{}", std::process::id()));
        let inside = path.join("file");
        fs::create_dir(&path).unwrap();
        fs::write(&inside, "").unwrap();
        let undo = Undo::RemoveDirectory { path: path.clone() };
        let mut journal = Journal::default();
        journal.intend(&undo).unwrap();
        journal.came_out::<(), ()>(&Ok(())).unwrap();
        let file = journal.written.as_ref().unwrap().path.clone();
        // Another test may have the same name next, but not the same file.
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
