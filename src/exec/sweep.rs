//! Removes what killed `sandbox` processes have left. It reads the journals of all runs of the caller.
//!
//! A journal is deleted only when it was read to its end, and when nothing is left of what it lists. A journal that
//! cannot be read stays, and is reported: something on this machine may depend on it.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use nix::errno::Errno;

use super::journal::{Entry, EntryOutcome, Line, run_backwards};
use super::undo::{exists, namespace_of};
use crate::config::container::{Config, ConfigVersion};
use crate::error::{Error, Result};
use crate::host::containers::{self, NameLine, VERSION, read_journal};
use crate::host::memory_directory;
use crate::host::own_run::{self, CONFIG};
use crate::host::private_directory::{MAX_NAMES, PrivateDirectory, Unusable};
use crate::host::run_directory;
use crate::host::run_lock::{self, RunLock};
use crate::host::storage;
use crate::observe::Unread;
use crate::plan::call::c_string;
use crate::plan::undo::Undo;
use crate::text::{text, text_with};
use crate::value::shell::quote;

/// How long to wait for the processes of an owner that was killed: they are killed too, a little later.
const PATIENCE: Duration = Duration::from_millis(500);

/// What a sweep did.
#[derive(Debug, Default)]
pub struct Swept {
    /// What was removed.
    pub removed: Vec<Undo>,
    /// What could not be read, and so was left alone.
    pub kept: Vec<Kept>,
    /// The commands that have ended with their `sandbox`, and of whose children nothing is known.
    pub unknown: Vec<i32>,
    /// Why RUN could not be read at all.
    pub refused: Option<Error>,
}

/// Something in RUN that was left alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// Its path.
    pub path: PathBuf,
    /// The reason, as a sentence.
    pub why: String,
    /// Whether the container has got SIGKILL, and its processes are just not gone yet. A later command finds them gone, so
    /// only `gc` tells it.
    pub is_ending: bool,
}

/// Removes what killed `sandbox` processes have left. An object stays if its owner lives, or if nothing proves that
/// `sandbox` made it.
pub fn sweep() -> Swept {
    let mut swept = Swept::default();
    let left = memory_directory::remove_left();
    swept.removed.extend(left.into_iter().map(|path| Undo::RemoveDirectory { path }));
    let run = match run_directory::find() {
        Ok(None) => return swept,
        Ok(Some(run)) => run,
        Err(error) => return Swept { refused: Some(error), ..swept },
    };
    for name in names(&run, &mut swept) {
        sweep_one(&run, &name, &mut swept);
    }
    // The last user of the directory may have been killed before it created a journal.
    run_directory::remove_if_empty();
    swept
}

/// Why a run was not cleaned up.
enum Uncleaned {
    /// Something there cannot be read, or is not removed: a sentence.
    Kept(String),
    /// The container has got SIGKILL, and has not ended yet: a sentence.
    Ending(String),
    /// This process could not open or change a file. So nothing is known about the content of that file.
    Unopened(io::Error),
}

impl From<String> for Uncleaned {
    fn from(why: String) -> Uncleaned {
        Uncleaned::Kept(why)
    }
}

impl From<io::Error> for Uncleaned {
    fn from(error: io::Error) -> Uncleaned {
        match error.raw_os_error() {
            Some(libc::EROFS) => Uncleaned::Unopened(error),
            _ if storage::is_shortage(&error) => Uncleaned::Unopened(error),
            _ => Uncleaned::Kept(crate::error::io_text(&error)),
        }
    }
}

impl From<Unusable> for Uncleaned {
    fn from(unusable: Unusable) -> Uncleaned {
        match unusable {
            Unusable::Failed(error) => error.into(),
            other => Uncleaned::Kept(other.reason()),
        }
    }
}

impl Swept {
    /// Takes down why something was not cleaned up.
    fn note(&mut self, path: PathBuf, why: Uncleaned) {
        match why {
            Uncleaned::Kept(why) => self.kept.push(Kept { path, why, is_ending: false }),
            Uncleaned::Ending(why) => self.kept.push(Kept { path, why, is_ending: true }),
            // It is the same for all files, so it is reported once.
            Uncleaned::Unopened(_) if self.refused.is_some() => {}
            Uncleaned::Unopened(error) => {
                let errno = Errno::from_raw(error.raw_os_error().unwrap_or_default());
                let refused = match errno {
                    Errno::EROFS => {
                        let run = run_directory::path();
                        Error::failed(text_with("gc.readonly", &[("path", &quote(&run))]))
                    }
                    _ => Error::failed(text_with("gc.unopened", &[("path", &quote(&path))])),
                };
                let refused = refused.call(format!("openat({})", c_string(&path)), error);
                self.refused = Some(storage::explain(refused, errno, &path));
            }
        }
    }
}

/// The names in RUN.
fn names(run: &PrivateDirectory, swept: &mut Swept) -> Vec<OsString> {
    match run.names() {
        Err(error) => {
            swept.note(run.path().to_owned(), error.into());
            Vec::new()
        }
        Ok((names, is_all)) => {
            if !is_all {
                let why = text_with("gc.kept.many", &[("count", &MAX_NAMES.to_string())]);
                swept.note(run.path().to_owned(), why.into());
            }
            names
        }
    }
}

/// Cleans up after one run, if its owner is dead.
pub(super) fn sweep_one(run: &PrivateDirectory, name: &OsStr, swept: &mut Swept) {
    if run_directory::is_ledger(name) {
        return;
    }
    if run_directory::is_new_content(name) {
        return sweep_new_content(run, &name.to_string_lossy());
    }
    if run_directory::is_of_daemon(name) {
        return sweep_daemon(run, &name.to_string_lossy(), swept);
    }
    let result = match name.to_str().filter(|name| name.ends_with(".lock")) {
        Some(lock) => sweep_lock(run, lock),
        None => sweep_run(run, name, swept),
    };
    if let Err(why) = result {
        swept.note(run.path().join(name), why);
    }
}

/// How long a process may take from making a file of a few kilobytes to its new name.
const WRITING: Duration = Duration::from_secs(60);

/// Removes the new content of a file if the process that has written it was killed before it gave it its name. No lock says so: a
/// process that still works has made the file a moment ago.
fn sweep_new_content(run: &PrivateDirectory, name: &str) {
    let Ok(Some(file)) = run.file_to_read(name) else { return };
    let made = file.metadata().and_then(|about| about.modified());
    if made.is_ok_and(|made| made.elapsed().is_ok_and(|age| age > WRITING)) {
        let _ = run.remove_file(name);
    }
}

/// Removes a file of a daemon that is dead. The file with its PID and the socket of a HOME have the name of its lock, which no
/// process has then. The passwords of a request have its PID.
fn sweep_daemon(run: &PrivateDirectory, name: &str, swept: &mut Swept) {
    if let Some(rest) = name.strip_prefix(run_directory::DAEMON_PASSWORDS) {
        let pid = rest.split('-').next().and_then(|pid| pid.parse().ok());
        if !pid.is_some_and(run_directory::may_be_of_daemon) && run.remove_file(name).is_ok() {
            swept.removed.push(Undo::RemoveFile { path: run.path().join(name) });
        }
        return;
    }
    let of_socket = name.strip_prefix("docker-").and_then(|rest| rest.strip_suffix(".sock"));
    let hash = of_socket
        .or_else(|| name.strip_prefix(run_directory::DAEMON).and_then(|rest| rest.strip_suffix(".json")));
    let Some(hash) = hash else { return };
    let lock = format!("{}{hash}.lock", run_directory::DAEMON);
    if let Ok(lock) = RunLock::exclusive(&lock, Duration::ZERO, || false) {
        let _ = run.remove_file(name);
        lock.release();
    }
}

/// Removes the file of a lock that no process has.
fn sweep_lock(run: &PrivateDirectory, name: &str) -> std::result::Result<(), Uncleaned> {
    if run.file(name)?.is_some() {
        run_lock::remove_unused(name);
    }
    Ok(())
}

fn sweep_run(run: &PrivateDirectory, name: &OsStr, swept: &mut Swept) -> std::result::Result<(), Uncleaned> {
    let Some(directory) = run.directory(name)? else { return Ok(()) };
    // The lock is held until the end of this function.
    let Some(_lock) = run_lock::own(&directory)? else { return Ok(()) };
    let content = read_journal(&directory)?;
    let (lines, damage) = parse(content.as_deref());
    // The last line about an object counts.
    let mut entries: Vec<Entry> = Vec::new();
    for line in lines {
        if let Line::Entry(entry) = line {
            entries.retain(|earlier| !earlier.undo.is_about_same(&entry.undo));
            entries.push(entry);
        }
    }
    if damage.is_some() {
        // A line that is missing could say that an object was never made. So only those with a proof are removed.
        entries.retain(|entry| matches!(entry.outcome, EntryOutcome::Made(_)));
    }
    // A name means the same object only in its own namespace. If that namespace still exists, a later command that
    // runs in it removes the object.
    let is_elsewhere = |entry: &Entry| entry.namespace != namespace_of(&entry.undo);
    let is_out_of_reach =
        entries.iter().any(|entry| is_elsewhere(entry) && entry.namespace.as_deref().is_some_and(exists));
    entries.retain(|entry| !is_elsewhere(entry));
    let undone = run_backwards(&entries, PATIENCE);
    swept.removed.extend(undone.removed);
    swept.unknown.extend(undone.unknown);
    match (damage, undone.survivor) {
        (Some(why), _) => Err(why.into()),
        (None, Some((_, error))) if error.raw_os_error() == Some(libc::ETIMEDOUT) => {
            Err(Uncleaned::Ending(text("gc.ending.process")))
        }
        (None, Some((command, error))) => Err(format!("{command}: {error}").into()),
        (None, None) if undone.is_complete && !is_out_of_reach => Ok(own_run::remove(run, name)?),
        (None, None) => Ok(()),
    }
}

/// The lines of a journal that can be read, and why the journal is not whole. None: there is no journal.
fn parse(content: Option<&[u8]>) -> (Vec<Line>, Option<String>) {
    let Some(content) = content else { return (Vec::new(), None) };
    let mut lines = Vec::new();
    let mut damage = None;
    let parts: Vec<&[u8]> = content.split(|byte| *byte == b'\n').collect();
    // What follows the last newline is not a line. It is empty, unless the journal was cut off.
    let Some((rest, whole)) = parts.split_last() else { return (lines, damage) };
    for (index, part) in whole.iter().enumerate() {
        match serde_json::from_slice::<Line>(part) {
            Ok(Line::Header { journal }) if index == 0 && journal > VERSION => {
                return (Vec::new(), Some(text_with("gc.kept.newer", &[("version", &journal.to_string())])));
            }
            Ok(Line::Header { journal: VERSION }) if index == 0 => {}
            Ok(Line::Header { .. }) => damage = damage.or_else(|| Some(bad_line(index))),
            Ok(_) if index == 0 => damage = damage.or_else(|| Some(bad_line(index))),
            Ok(line) => lines.push(line),
            Err(_) => damage = damage.or_else(|| Some(bad_line(index))),
        }
    }
    if damage.is_none() && (!rest.is_empty() || whole.is_empty()) {
        damage = Some(text(if content.is_empty() { "gc.kept.empty" } else { "gc.kept.cut" }));
    }
    (lines, damage)
}

fn bad_line(index: usize) -> String {
    text_with("gc.kept.line", &[("line", &(index + 1).to_string())])
}

/// The config of the caller's running container whose command has this PID, and the line of its journal. None: there is no
/// such container.
///
/// # Errors
/// RUN or the file cannot be trusted; the container has no such file, or it cannot be read, or is no config; no container
/// was found, and a run cannot be read.
pub fn config_of(pid: i32) -> Result<Option<(Config, NameLine)>> {
    let mut unread = Unread::default();
    let of = |run: LiveRun| Some((run.name_line().filter(|line| line.pid == pid)?, run));
    let found = running(&mut unread)?.into_iter().find_map(of);
    let found = found.and_then(|(line, run)| Some((containers::if_running(line, &mut unread)?, run)));
    let Some((line, run)) = found else {
        return unread.errors().first().map_or(Ok(None), |error| Err(error.clone()));
    };
    let path = run.directory.path().join(CONFIG);
    let unread =
        |why: String| Error::failed(text_with("gc.config.unread", &[("path", &quote(&path))])).why(why);
    let Some(file) = run.directory.file(CONFIG).map_err(|unusable| unread(unusable.reason()))? else {
        // The journal is the first file that is removed: the run has just ended.
        if matches!(run.directory.file(containers::JOURNAL), Ok(None)) {
            return Ok(None);
        }
        let pid = pid.to_string();
        let values = [("pid", &*pid), ("path", &*quote(&path))];
        let error = Error::failed(text_with("gc.config.none", &values)).why(text("gc.config.none.reason"));
        return Err(error.todo(text_with("gc.config.none.todo", &values)));
    };
    let content = containers::read_bounded(file, containers::MAX_CONFIG)
        .map_err(|error| unread(crate::error::io_text(&error)))?;
    if let Some(other) = ConfigVersion::other(&content) {
        let values = [("pid", &*pid.to_string()), ("found", &other), ("own", &ConfigVersion.to_string())];
        let error = Error::failed(text_with("gc.config.version", &values));
        return Err(error
            .why(text_with("gc.config.version.reason", &values))
            .todo(text_with("gc.config.none.todo", &values)));
    }
    let config = serde_json::from_slice(&content).map_err(|error| unread(error.to_string()))?;
    Ok(Some((config, line)))
}

/// A run whose owner lives.
struct LiveRun {
    directory: PrivateDirectory,
    lines: Vec<Line>,
}

impl LiveRun {
    /// The line with the command of the container.
    fn name_line(&self) -> Option<NameLine> {
        self.lines.iter().find_map(|line| match line {
            Line::Name(line) => Some(line.clone()),
            _ => None,
        })
    }
}

fn running(unread: &mut Unread) -> Result<Vec<LiveRun>> {
    let mut all = Vec::new();
    for directory in containers::live(unread)? {
        let path = directory.path().join(containers::JOURNAL);
        let Some(content) = containers::usable(&path, read_journal(&directory), unread) else { continue };
        let (lines, _) = parse(content.as_deref());
        all.push(LiveRun { directory, lines });
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = concat!(
        "{\"journal\":1}\n",
        "{\"undo\":{\"remove_file\":{\"path\":\"/tmp/a\"}},\"made\":\"intended\",\"home\":null}\n",
        "{\"name\":\"web\",\"pid\":12,\"home\":\"pid:[1]\"}\n",
    );

    #[test]
    fn a_whole_journal_is_read_and_one_that_is_cut_in_a_line_is_not_whole() {
        let (lines, damage) = parse(Some(WHOLE.as_bytes()));
        assert_eq!((lines.len(), damage), (2, None));
        for length in 0..WHOLE.len() {
            let (_, damage) = parse(Some(&WHOLE.as_bytes()[..length]));
            let ends_a_line = length > 0 && WHOLE.as_bytes()[length - 1] == b'\n';
            assert_eq!(damage.is_none(), ends_a_line, "{length}: {damage:?}");
        }
        assert_eq!(parse(None), (Vec::new(), None));
    }

    #[test]
    fn what_cannot_be_read_is_reported() {
        let damage = |content: &[u8]| parse(Some(content)).1.unwrap();
        assert!(damage(b"{\"journal\":2}\nanything").contains('2'));
        for wrong in [&b"\0\xff\x80\n"[..], b"{}\n", b"[]\n", b"{\"journal\":0}\n", b"{\"journal\":-1}\n"] {
            assert!(damage(wrong).contains('1'), "{wrong:?}");
        }
        let unknown = format!("{WHOLE}{{\"later\":1}}\n");
        assert!(damage(unknown.as_bytes()).contains('4'));
        let without_header = WHOLE.lines().skip(1).map(|line| format!("{line}\n")).collect::<String>();
        assert!(damage(without_header.as_bytes()).contains('1'));
    }
}
