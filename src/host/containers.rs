//! The caller's running containers, by their names. Each run with a name writes a line with it to its journal.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::private_directory::{PrivateDirectory, Unusable};
use super::run_directory;
use super::run_lock;
use crate::error::{Error, Result};
use crate::feature::Feature;
use crate::observe::processes::read_started;
use crate::observe::{Unread, proc};
use crate::text::{text, text_with};
use crate::value::join::short;

/// The name of the journal in the directory of a run.
pub const JOURNAL: &str = "journal";

/// The version of the format. A `sandbox` that does not know the version of a journal leaves it alone.
pub const VERSION: u32 = 1;

/// The maximum size of a journal in bytes. Real ones have a few thousand.
const MAX_SIZE: u64 = 1 << 20;

/// The number of digits of the ID of a container that stays.
const ID_DIGITS: usize = 64;

/// The maximum size of a config in bytes. execve(2) takes at most 6 MiB of arguments and variables, and JSON has up to 6 bytes
/// for one of them.
pub const MAX_CONFIG: u64 = 64 << 20;

/// The first line of a journal.
#[derive(Deserialize)]
struct HeaderLine {
    journal: u32,
}

/// The line of a journal with the name of the container, and the process of its command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NameLine {
    /// The name. None: it has none.
    pub name: Option<String>,
    /// The PID of the command.
    pub pid: i32,
    /// The PID namespace in which this PID is valid. Commands in several PID namespaces can have the same RUN.
    pub home: Option<String>,
    /// When the command was started, in clock ticks since the machine started. It tells the command from a later process
    /// with the same PID.
    #[serde(default)]
    pub started: Option<u64>,
    /// The namespaces of the command before execve(2), as far as they are known: `net:[4026532281]`.
    #[serde(default)]
    pub namespaces: Vec<String>,
}

impl NameLine {
    /// Whether the command runs: the PID is valid here, and means the process that was started.
    ///
    /// # Errors
    /// A file in /proc cannot be read.
    pub fn is_running(&self) -> io::Result<bool> {
        let own = proc::namespace_link("/proc/self", Feature::Pid)?;
        Ok(self.home.as_ref() == Some(&own)
            && match self.started {
                None => true,
                started => read_started(self.pid)? == started,
            })
    }

    /// Whether `now`, a namespace of this kind, is another one than that in which the command was started.
    pub fn has_left(&self, kind: Feature, now: &str) -> bool {
        let own = self.namespaces.iter().find(|name| name.starts_with(&format!("{kind}:[")));
        own.is_some_and(|own| own != now)
    }

    /// The error of a command that has left its namespace of this kind, and is in `now`.
    pub fn left(&self, kind: Feature, now: &str) -> Error {
        let values = [("pid", &*self.pid.to_string()), ("kind", kind.name()), ("now", now)];
        let error =
            Error::failed(text_with("join.left.what", &values)).why(text_with("join.left.reason", &values));
        error.step(&text("join.left.todo"), format!("sandbox enter {}", self.pid))
    }
}

/// The PID namespace of the caller.
pub fn own_pid_namespace() -> Option<String> {
    proc::namespace_link("/proc/self", Feature::Pid).ok()
}

/// The command of the caller's running container with this name, with this PID as its command, or with an ID that begins so.
///
/// # Errors
/// There is no such container, or there are several; RUN cannot be trusted.
pub fn find(name: &str) -> Result<NameLine> {
    let values = [("name", short(name))];
    let mut unread = Unread::default();
    match &*meant(running(&mut unread)?, name) {
        [line] => Ok(line.clone()),
        [] => {
            let none = Error::failed(text_with("run.target.none", &values));
            Err(match unread.errors().first() {
                Some(error) => Error { what: none.what, ..error.clone() },
                None => none.todo(text("run.target.none.todo")),
            })
        }
        several => {
            let pids = several.iter().map(|line| line.pid.to_string()).collect::<Vec<_>>().join(", ");
            let todo = text_with("run.target.several.todo", &[("pids", &pids)]);
            Err(Error::failed(text_with("run.target.several", &values)).todo(todo))
        }
    }
}

/// The commands of the caller's running containers with this name, of those that can be read.
///
/// # Errors
/// RUN cannot be trusted.
pub fn named(name: &str) -> Result<Vec<NameLine>> {
    Ok(named_in(running(&mut Unread::default())?, name))
}

/// The same without the containers that stay: they belong to one HOME, and RUN to all of them.
///
/// # Errors
/// As [`named`].
pub fn passing(name: &str) -> Result<Vec<NameLine>> {
    let mut all = running(&mut Unread::default())?;
    all.retain(|(run, _)| !is_kept(run));
    Ok(named_in(all, name))
}

/// Whether this is the name of the directory of a container that stays: its ID.
fn is_kept(run: &str) -> bool {
    run.len() == ID_DIGITS
}

fn named_in(all: Vec<(String, NameLine)>, name: &str) -> Vec<NameLine> {
    all.into_iter().map(|(_, line)| line).filter(|line| line.name.as_deref() == Some(name)).collect()
}

/// The commands that `reference` means, of runs with the names of their directories. A PID comes first: it must not come to
/// mean another process because a container has a number as its name.
fn meant(all: Vec<(String, NameLine)>, reference: &str) -> Vec<NameLine> {
    let those = |is_meant: &dyn Fn(&str, &NameLine) -> bool| {
        let found = all.iter().filter(|(run, line)| is_meant(run, line));
        found.map(|(_, line)| line.clone()).collect::<Vec<_>>()
    };
    let by_pid = those(&|_, line| reference.parse() == Ok(line.pid));
    if !by_pid.is_empty() {
        return by_pid;
    }
    let by_name = those(&|_, line| line.name.as_deref() == Some(reference));
    if !by_name.is_empty() {
        return by_name;
    }
    those(&|run, _| is_kept(run) && run.starts_with(reference))
}

/// The names of the caller's running containers.
///
/// # Errors
/// As [`named`].
pub fn running_names() -> Result<Vec<String>> {
    Ok(running(&mut Unread::default())?.into_iter().filter_map(|(_, line)| line.name).collect())
}

/// The command of the run with this directory in RUN, if it runs.
///
/// # Errors
/// RUN cannot be trusted; the run cannot be read.
pub fn in_run(name: &str) -> Result<Option<NameLine>> {
    let Some(run) = run_directory::find()? else { return Ok(None) };
    let mut unread = Unread::default();
    let path = run.path().join(name);
    let directory = usable(&path, run.directory(name.as_ref()), &mut unread).flatten();
    let line = directory.and_then(|directory| command_of(&directory, &mut unread));
    unread.errors().first().map_or(Ok(line), |error| Err(error.clone()))
}

/// The directory of the caller's run whose command is one of these processes. None: it is not known.
///
/// # Errors
/// RUN cannot be trusted.
pub fn run_of(pids: &[i32]) -> Result<Option<PrivateDirectory>> {
    let mut unread = Unread::default();
    let runs = live(&mut unread)?;
    let mut is_it =
        |run: &PrivateDirectory| command_of(run, &mut unread).is_some_and(|line| pids.contains(&line.pid));
    Ok(runs.into_iter().find(|run| is_it(run)))
}

/// The directories of the caller's runs whose owner lives. `unread` gets what cannot be read.
///
/// # Errors
/// RUN cannot be trusted.
pub fn live(unread: &mut Unread) -> Result<Vec<PrivateDirectory>> {
    let Some(run) = run_directory::find()? else { return Ok(Vec::new()) };
    let names = unread.answer(run.path(), run.names()).map(|(names, _)| names).unwrap_or_default();
    let of = |name: OsString| {
        let path = run.path().join(&name);
        let directory = usable(&path, run.directory(&name), unread)??;
        usable(&path, run_lock::is_alive(&directory), unread)?.then_some(directory)
    };
    Ok(names.into_iter().filter_map(of).collect())
}

/// What was found at `path`. What is nothing of `sandbox`'s is left out.
pub fn usable<T>(path: &Path, found: std::result::Result<T, Unusable>, unread: &mut Unread) -> Option<T> {
    match found {
        Ok(found) => Some(found),
        Err(Unusable::Failed(error)) => unread.answer(path, Err(error)),
        Err(_) => None,
    }
}

/// A line, if its command runs.
pub fn if_running(line: NameLine, unread: &mut Unread) -> Option<NameLine> {
    let process = format!("/proc/{}/stat", line.pid);
    let is_running = unread.answer(Path::new(&process), line.is_running())?;
    is_running.then_some(line)
}

/// The commands that run, each with the name of the run's directory.
fn running(unread: &mut Unread) -> Result<Vec<(String, NameLine)>> {
    let live = live(unread)?;
    let name = |directory: &PrivateDirectory| {
        directory.path().file_name().unwrap_or_default().to_string_lossy().into_owned()
    };
    Ok(live.iter().filter_map(|run| Some((name(run), command_of(run, unread)?))).collect())
}

/// The command of a run, if it runs.
fn command_of(directory: &PrivateDirectory, unread: &mut Unread) -> Option<NameLine> {
    let path = directory.path().join(JOURNAL);
    let content = usable(&path, read_journal(directory), unread).flatten()?;
    if_running(name_of(&content)?, unread)
}

/// The line with the name. None: the container has no name, or the format is not known.
fn name_of(journal: &[u8]) -> Option<NameLine> {
    let mut lines = journal.split(|byte| *byte == b'\n');
    let header: HeaderLine = serde_json::from_slice(lines.next()?).ok()?;
    if header.journal > VERSION {
        return None;
    }
    lines.find_map(|line| serde_json::from_slice(line).ok())
}

/// The bytes of a run's journal. None: it has none, because its owner was killed before it made anything.
///
/// # Errors
/// It is no file that `sandbox` has made, it cannot be read, or it is too long.
pub fn read_journal(directory: &PrivateDirectory) -> std::result::Result<Option<Vec<u8>>, Unusable> {
    let Some(file) = directory.file(JOURNAL)? else { return Ok(None) };
    read_bounded(file, MAX_SIZE).map(Some).map_err(Unusable::Failed)
}

/// The bytes of a file in the directory of a run: at most `most`.
///
/// # Errors
/// It cannot be read, or it is too long.
pub fn read_bounded(file: File, most: u64) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    let size = file.metadata()?.len();
    if size <= most {
        file.take(most + 1).read_to_end(&mut content)?;
    }
    if size > most || content.len() as u64 > most {
        return Err(io::Error::other(text_with("gc.kept.size", &[("size", &size.to_string())])));
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_is_in_a_line_of_its_own() {
        let journal = concat!(
            "{\"journal\":1}\n",
            "{\"undo\":{\"remove_file\":{\"path\":\"/tmp/a\"}},\"made\":\"intended\",\"home\":null}\n",
            "{\"name\":\"web\",\"pid\":12,\"home\":\"pid:[1]\"}\n",
        );
        let line = name_of(journal.as_bytes()).unwrap();
        assert_eq!((line.name.as_deref(), line.pid), (Some("web"), 12));
        let newer = journal.replace("{\"journal\":1}", "{\"journal\":2}");
        for none in [newer.as_str(), "", "\n", &journal[..journal.len() / 2]] {
            assert_eq!(name_of(none.as_bytes()), None, "{none}");
        }
    }

    #[test]
    fn a_container_is_meant_by_its_pid_its_name_or_its_id() {
        let run = |directory: &str, name: &str, pid| {
            let line =
                NameLine { name: Some(name.into()), pid, home: None, started: None, namespaces: vec![] };
            (directory.to_owned(), line)
        };
        let id = format!("abc123{}", "0".repeat(58));
        let all = vec![
            run("12-ab", "web", 40),
            run("13-ab", "web", 41),
            run(&id, "kept", 42),
            run("14-ab", "41", 43),
        ];
        let pids = |reference| meant(all.clone(), reference).iter().map(|line| line.pid).collect::<Vec<_>>();
        assert_eq!(pids("web"), [40, 41]);
        assert_eq!([pids("41"), pids("kept"), pids("abc1"), pids(&id)].concat(), [41, 42, 42, 42]);
        assert_eq!([pids("12"), pids("12-ab"), pids("x")].concat(), [0; 0]);
    }

    #[test]
    fn a_later_process_with_the_pid_is_another_one() {
        let pid = std::process::id().cast_signed();
        let line = |since| NameLine {
            name: None,
            pid,
            home: own_pid_namespace(),
            started: Some(since),
            namespaces: vec!["net:[1]".into(), "user:".into()],
        };
        let since = read_started(pid).unwrap().unwrap();
        assert!(line(since).is_running().unwrap() && !line(since + 1).is_running().unwrap());
        assert!(!NameLine { home: Some("pid:[1]".into()), ..line(since) }.is_running().unwrap());
        // A namespace that could not be read is not compared.
        let left = |kind, now| line(since).has_left(kind, now);
        assert!(left(Feature::Net, "net:[2]") && !left(Feature::Net, "net:[1]"));
        assert!(!left(Feature::User, "user:[2]") && !left(Feature::Uts, "uts:[2]"));
    }
}
