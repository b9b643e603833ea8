//! The undo journal: what will have to be removed is written down before it's made, and its identity after. A journal
//! whose owner is dead is run backwards by the next `sandbox` command of any kind.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::{FcntlArg, fcntl};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::plan::undo::Undo;
use crate::sys;

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
    /// What proves that the thing is the one that we made: an inode, an ifindex, a System V id. None until it's made.
    identity: Option<String>,
}

impl Journal {
    /// Writes down what is about to be made.
    ///
    /// # Errors
    /// When the runtime folder can't be made or isn't ours alone.
    pub fn intend(&mut self, undo: &Undo) -> Result<()> {
        let entry = Entry { undo: undo.clone(), identity: None };
        let written =
            match &mut self.written {
                Some(written) => written,
                None => self.written.insert(Written::create().map_err(|error| {
                    Error::failed("cannot write the undo journal").why(error.to_string())
                })?),
            };
        written.append(entry)
    }

    /// Writes down the identity of the last thing that was intended.
    ///
    /// # Errors
    /// When the journal can't be written.
    pub fn made(&mut self) -> Result<()> {
        let Some(written) = &mut self.written else { return Ok(()) };
        let Some(last) = written.entries.pop() else { return Ok(()) };
        let identity = identity(&last.undo);
        written.append(Entry { identity, ..last })
    }

    /// Removes everything, last made first, and then the journal itself.
    pub fn undo(&mut self) {
        if let Some(written) = self.written.take() {
            run_backwards(&written.entries);
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
        let folder = runtime_folder();
        // What others do at the same time makes a try fail, never the run: the last user of the folder removes it, a
        // name is in use, a sweep takes the new file for a dead owner's before it is locked.
        for attempt in 0..100 {
            match make_folder(&folder) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                made => made?,
            }
            let path = folder.join(format!("{}-{attempt}.journal", std::process::id()));
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
        Err(io::Error::other(format!("{} has no free name", folder.display())))
    }

    fn append(&mut self, entry: Entry) -> Result<()> {
        let mut line = serde_json::to_string(&entry).unwrap_or_default();
        line.push('\n');
        self.entries.push(entry);
        let written = self.file.write_all(line.as_bytes()).and_then(|()| self.file.sync_data());
        written.map_err(|error| {
            Error::failed(format!("cannot write {}", self.path.display())).why(error.to_string())
        })
    }
}

/// Clears what dead owners left. What still has an owner, and what isn't proved to be ours, stays.
pub fn sweep() -> Vec<Undo> {
    let mut removed = Vec::new();
    let Ok(entries) = fs::read_dir(runtime_folder()) else { return removed };
    for entry in entries.flatten() {
        let path = entry.path();
        if path.extension().is_some_and(|extension| extension == "journal") {
            removed.extend(sweep_one(&path).unwrap_or_default());
        }
    }
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
    let removed = run_backwards(&entries);
    remove(path);
    Ok(removed)
}

fn run_backwards(entries: &[Entry]) -> Vec<Undo> {
    entries.iter().rev().filter(|entry| perform(entry)).map(|entry| entry.undo.clone()).collect()
}

/// Whether something was there and is gone now.
fn perform(entry: &Entry) -> bool {
    // Not made yet as far as the journal knows: it can only be ours where its name holds our token, which all names that
    // we choose do; where the identity is known it must be the same.
    let current = identity(&entry.undo);
    if current.is_none() || (entry.identity.is_some() && entry.identity != current) {
        return false;
    }
    match &entry.undo {
        Undo::DeleteLink { name } => sys::netlink::delete_link(name).is_ok(),
        Undo::RemoveFolder { path } => fs::remove_dir(path).is_ok(),
        Undo::RemoveFile { path } => fs::remove_file(path).is_ok(),
        Undo::Unmount { path } => nix::mount::umount2(path, nix::mount::MntFlags::MNT_DETACH).is_ok(),
        Undo::RemoveSysv { kind, key } => sys::sysv::remove(*kind, *key).is_ok(),
        Undo::RemoveQueue { name } => sys::queue::remove(name).is_ok(),
    }
}

/// What makes a thing known again; none if it isn't there.
fn identity(undo: &Undo) -> Option<String> {
    let inode = |path: &Path| {
        let metadata = fs::symlink_metadata(path).ok()?;
        Some(format!("{}:{}", metadata.dev(), metadata.ino()))
    };
    match undo {
        // Not from /sys/class/net: that lists the namespace in which it was mounted, which needn't be the caller's.
        Undo::DeleteLink { name } => sys::netlink::find_link(name).map(|link| link.identity()),
        Undo::RemoveFolder { path } | Undo::RemoveFile { path } | Undo::Unmount { path } => inode(path),
        Undo::RemoveSysv { kind, key } => sys::sysv::find(*kind, *key).ok().map(|id| id.to_string()),
        Undo::RemoveQueue { name } => sys::queue::identity(name),
    }
}

/// A lock that no child inherits: fcntl(2)'s record lock belongs to the process, not to the descriptor as flock(2)'s does.
fn lock(file: &File) -> io::Result<()> {
    let whole = libc::flock { l_type: libc::F_WRLCK as i16, l_whence: 0, l_start: 0, l_len: 0, l_pid: 0 };
    fcntl(file, FcntlArg::F_SETLK(&whole))
        .map(|_| ())
        .map_err(|errno| io::Error::from_raw_os_error(errno as i32))
}

/// root's is in /run, unless it is root of a user namespace only, to whom /run is closed; a user's in $XDG_RUNTIME_DIR, or in a folder of /tmp that must be theirs alone.
fn runtime_folder() -> PathBuf {
    let uid = nix::unistd::geteuid();
    if uid.is_root() && nix::unistd::access("/run", nix::unistd::AccessFlags::W_OK).is_ok() {
        return PathBuf::from("/run/sandbox");
    }
    match std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|folder| folder.is_dir()) {
        Some(folder) => folder.join("sandbox"),
        None => PathBuf::from(format!("/tmp/sandbox-{}", outer(uid.as_raw()))),
    }
}

/// A user id as the parent of the caller's user namespace has it: two users who are both root inside don't meet.
fn outer(uid: u32) -> u32 {
    let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
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

fn make_folder(folder: &Path) -> io::Result<()> {
    match fs::DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        made => return made,
    }
    let metadata = fs::symlink_metadata(folder)?;
    let mine = metadata.is_dir()
        && metadata.uid() == nix::unistd::geteuid().as_raw()
        && metadata.mode() & 0o022 == 0;
    if mine {
        Ok(())
    } else {
        Err(io::Error::other(format!("{} isn't a folder of yours alone", folder.display())))
    }
}

/// Removes the journal, and the folder with its last user.
fn remove(journal: &Path) {
    let _ = fs::remove_file(journal);
    if let Some(folder) = journal.parent() {
        let _ = fs::remove_dir(folder);
    }
}
