//! The events of containers, images, volumes and networks: HOME/events, one line of JSON for each, with Docker's keys.
//!
//! The process that changes something adds the line. The file is bounded: a full one becomes `events.1`, and the one before
//! is dropped. An event that cannot be written, as on a full disk, is lost: no container waits for it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{File, Metadata};
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use rustix::fs::{FlockOperation, OFlags, fcntl_setfl, flock};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::record::ContainerRecord;
use crate::host::private_directory::PrivateDirectory;
use crate::text::printed;
use crate::value::timestamp::Timestamp;

/// The file in HOME.
pub const EVENTS: &str = "events";

/// The file before it.
const FORMER: &str = "events.1";

/// The size at which the next file begins.
const MAX_SIZE: u64 = 512 << 10;

/// The maximum size of the labels of an event.
const MAX_LABELS: usize = 16 << 10;

/// What has happened to a container. The words are Docker's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventAction {
    /// It was created.
    Create,
    /// Its command was started.
    Start,
    /// A client shows its output.
    Attach,
    /// A client was detached from it, by its keys.
    Detach,
    /// A further command is going to run in it.
    ExecCreate,
    /// That command runs.
    ExecStart,
    /// A client was detached from that command, by its keys.
    ExecDetach,
    /// That command has ended.
    ExecDie,
    /// A signal was sent to it.
    Kill,
    /// The OOM killer has killed a process of it.
    Oom,
    /// Its command has ended.
    Die,
    /// A client has stopped it.
    Stop,
    /// It was stopped and started again.
    Restart,
    /// Its processes were frozen.
    Pause,
    /// They were thawed.
    Unpause,
    /// It has another name.
    Rename,
    /// It has other limits.
    Update,
    /// Its terminal has another size.
    Resize,
    /// Its processes were listed.
    Top,
    /// Files of it were copied out.
    ArchivePath,
    /// Files were copied into it.
    ExtractToDirectory,
    /// Its files were written as an archive.
    Export,
    /// An image was made of it.
    Commit,
    /// It was removed.
    Destroy,
}

impl EventAction {
    /// Docker's word.
    pub fn word(self) -> &'static str {
        match self {
            EventAction::Create => "create",
            EventAction::Start => "start",
            EventAction::Attach => "attach",
            EventAction::Detach => "detach",
            EventAction::ExecCreate => "exec_create",
            EventAction::ExecStart => "exec_start",
            EventAction::ExecDetach => "exec_detach",
            EventAction::ExecDie => "exec_die",
            EventAction::Kill => "kill",
            EventAction::Oom => "oom",
            EventAction::Die => "die",
            EventAction::Stop => "stop",
            EventAction::Restart => "restart",
            EventAction::Pause => "pause",
            EventAction::Unpause => "unpause",
            EventAction::Rename => "rename",
            EventAction::Update => "update",
            EventAction::Resize => "resize",
            EventAction::Top => "top",
            EventAction::ArchivePath => "archive-path",
            EventAction::ExtractToDirectory => "extract-to-dir",
            EventAction::Export => "export",
            EventAction::Commit => "commit",
            EventAction::Destroy => "destroy",
        }
    }
}

/// An event, with Docker's keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// What has happened: the word of an [`EventAction`]; with `exec_create` and `exec_start`, also the command.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub status: String,
    /// The ID of the container or of the image. Other objects have it only below `Actor`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub id: String,
    /// What the root filesystem of a container is made from.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub from: String,
    /// `container`, `image`, `volume` or `network`.
    #[serde(rename = "Type")]
    pub kind: String,
    /// What has happened, again.
    #[serde(rename = "Action")]
    pub action: String,
    /// The object.
    #[serde(rename = "Actor")]
    pub actor: EventActor,
    /// `local`.
    pub scope: String,
    /// When, in seconds since 1970.
    pub time: i64,
    /// When, in nanoseconds since 1970.
    #[serde(rename = "timeNano")]
    pub time_nano: i64,
}

/// The object of an event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct EventActor {
    /// Its ID.
    #[serde(rename = "ID")]
    pub id: String,
    /// Its name, its image, and what belongs to the event: `exitCode`, `signal`, `oldName`.
    pub attributes: BTreeMap<String, String>,
}

impl Event {
    /// An event that happens now.
    pub fn now(action: EventAction, record: &ContainerRecord, name: &str) -> Event {
        let nanoseconds = i64::try_from(Timestamp::now().0).unwrap_or_default();
        let own = [("image", record.image.as_str()), ("name", name)];
        // As in Docker, its labels are among them. Those of a hostile image could fill the file.
        let size: usize = record.labels.iter().map(|(key, value)| key.len() + value.len()).sum();
        let mut attributes = if size <= MAX_LABELS { record.labels.clone() } else { BTreeMap::new() };
        attributes.extend(own.map(|(key, value)| (key.to_owned(), value.to_owned())));
        Event {
            status: action.word().to_owned(),
            id: record.id.to_string(),
            from: record.image.clone(),
            kind: "container".to_owned(),
            action: action.word().to_owned(),
            actor: EventActor { id: record.id.to_string(), attributes },
            scope: "local".to_owned(),
            time: nanoseconds / 1_000_000_000,
            time_nano: nanoseconds,
        }
    }

    /// The same with a command, as Docker writes it: `exec_create: sh -c ls`.
    pub fn with_command(mut self, arguments: &[OsString]) -> Event {
        let words: Vec<String> = arguments.iter().map(printed).collect();
        self.status = format!("{}: {}", self.action, words.join(" "));
        self.action = self.status.clone();
        self
    }

    /// The word of the action, without a command.
    pub fn word(&self) -> &str {
        self.action.split_once(':').map_or(&self.action, |(word, _)| word)
    }

    /// The same with another attribute.
    pub fn with(mut self, key: &str, value: impl ToString) -> Event {
        self.actor.attributes.insert(key.to_owned(), value.to_string());
        self
    }

    /// When it happened.
    pub fn moment(&self) -> Timestamp {
        Timestamp(self.time_nano.into())
    }
}

/// Adds an event.
///
/// # Errors
/// The file cannot be opened or written.
pub fn append(home: &PrivateDirectory, event: &Event) -> io::Result<()> {
    let mut line = serde_json::to_vec(event)?;
    line.push(b'\n');
    let is_present = |about: &Metadata| -> io::Result<bool> {
        let present = home.file(EVENTS).ok().flatten().map(|file| file.metadata()).transpose()?;
        Ok(present.is_some_and(|present| present.ino() == about.ino()))
    };
    // While it has this lock, the file keeps its name: a reader reads the former file to its end when it has got another name.
    let (mut file, about) = loop {
        let file = open(home)?;
        // A process that was stopped while it renames the file makes nobody wait.
        for _ in 0..20 {
            match flock(&file, FlockOperation::NonBlockingLockShared) {
                Err(Errno::WOULDBLOCK) => std::thread::sleep(Duration::from_millis(1)),
                locked => {
                    locked?;
                    break;
                }
            }
        }
        let about = file.metadata()?;
        if is_present(&about)? {
            break (file, about);
        }
    };
    fcntl_setfl(&file, OFlags::APPEND)?;
    // One write(2): the kernel puts the lines of two processes one after the other.
    file.write_all(&line)?;
    let size = about.len() + line.len() as u64;
    flock(&file, FlockOperation::Unlock)?;
    // The process with the lock of this file renames it. Another one leaves that to it.
    if size >= MAX_SIZE
        && flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok()
        && is_present(&about)?
    {
        home.rename(EVENTS, FORMER)?;
    }
    Ok(())
}

fn open(home: &PrivateDirectory) -> io::Result<File> {
    loop {
        let found = home.file(EVENTS).map_err(|unusable| unusable.into_io())?;
        if let Some(file) = found {
            return Ok(file);
        }
        if let Some(file) = home.make_file(EVENTS)? {
            return Ok(file);
        }
        // Another process has just made it; or HOME was removed.
        if home.path_through(".").metadata()?.nlink() == 0 {
            return Err(io::ErrorKind::NotFound.into());
        }
    }
}

/// Reads events, the oldest first, also across the change to the next file.
#[derive(Debug)]
pub struct EventReader {
    home: PrivateDirectory,
    /// The file that is read. None: there is none yet.
    file: Option<File>,
    /// What was read of a line that has no end yet.
    rest: Vec<u8>,
}

/// What a reader has found.
#[derive(Debug)]
pub enum EventReading {
    /// An event.
    Event(Box<Event>),
    /// A line that is none.
    Damaged,
    /// Events were dropped before they were read.
    Missed,
}

impl EventReader {
    /// Begins at the oldest event, or with `is_new` only with the next one.
    ///
    /// # Errors
    /// The files cannot be opened.
    pub fn open(home: PrivateDirectory, is_new: bool) -> io::Result<EventReader> {
        let mut reader = EventReader { home, file: None, rest: Vec::new() };
        if is_new {
            reader.file = reader.find(EVENTS)?;
            if let Some(file) = &mut reader.file {
                io::Seek::seek(file, io::SeekFrom::End(0))?;
            }
        } else {
            reader.file = reader.find(FORMER)?;
        }
        Ok(reader)
    }

    fn find(&self, name: &str) -> io::Result<Option<File>> {
        self.home.file_to_read(name).map_err(|unusable| unusable.into_io())
    }

    /// What was added since the last time.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn read(&mut self) -> io::Result<Vec<EventReading>> {
        let mut found = Vec::new();
        loop {
            // Opened before the last read of the file before it: nothing is added to that one after its change of name.
            let next = self.find(EVENTS)?;
            let former = self.find(FORMER)?;
            if let Some(file) = &mut self.file {
                file.read_to_end(&mut self.rest)?;
            }
            self.take_lines(&mut found);
            let Some(next) = next else { return Ok(found) };
            let inode = |file: &File| file.metadata().map(|about| about.ino()).ok();
            match &self.file {
                Some(file) if inode(file) == inode(&next) => return Ok(found),
                Some(file) if former.as_ref().and_then(inode) != inode(file) => {
                    found.push(EventReading::Missed);
                    self.file = former;
                }
                _ => self.file = Some(next),
            }
            self.rest.clear();
        }
    }

    /// The exit status of a container, which may be removed by now: that of its last end. None: there is none.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn exit_status_of(&mut self, id: &str) -> io::Result<Option<i32>> {
        let all = self.read()?.into_iter().filter_map(|reading| match reading {
            EventReading::Event(event) if event.id == id => Some(event),
            _ => None,
        });
        let ends = all.filter(|event| event.kind == "container" && event.word() == EventAction::Die.word());
        Ok(ends.filter_map(|event| event.actor.attributes.get("exitCode")?.parse().ok()).next_back())
    }

    fn take_lines(&mut self, found: &mut Vec<EventReading>) {
        let Some(end) = self.rest.iter().rposition(|byte| *byte == b'\n') else { return };
        for line in self.rest[..end].split(|byte| *byte == b'\n') {
            found.push(match serde_json::from_slice(line) {
                Ok(event) => EventReading::Event(Box::new(event)),
                Err(_) => EventReading::Damaged,
            });
        }
        self.rest.drain(..=end);
    }
}
