//! Unpacks one layer, in a process that can reach nothing but the directory of that layer.
//!
//! A layer is what somebody else has made: its archive may name paths outside, follow links, or attack the code that
//! reads it. So a process of its own does all of it, from the decompression on. Its root is the directory of the layer
//! (chroot(2)), it has only the capabilities that the owners, modes and devices of files need, and each path in the
//! archive is resolved below that directory (openat2(2)).
//!
//! As an ordinary user, this process is in a user namespace with the ID maps that the container will have. So files
//! get the owners that the container will see.

mod apply;
mod confine;
mod copy;
mod files;
mod merged;
mod paths;
mod read;
mod summary;
mod task;
mod times;
mod tree;
mod whiteouts;

use std::fs::File;
use std::io::{self, BufRead, BufReader, PipeReader, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustix::fs::{Mode, OFlags};

pub use self::apply::LayerCounts;
use self::apply::Unpacker;
pub use self::files::attributes;
use self::merged::Merged;
pub(super) use self::merged::is_opaque;
pub use self::summary::LayerSummary;
use self::task::LayerMessage;
pub use self::task::{LayerReading, LayerTask, LayerWork, PathPlace, PlaceKind, ReachedPlace};
use super::decompress::decompressed;
use super::digest::{Digest, Digesting};
use super::entries::{ArchiveEntries, Unreadable, check_count};
use crate::error::{Error, ExitKind, Result, io_text};
use crate::host::Subordinate;
use crate::observe::Unread;
use crate::plan::call::file::write_once;
use crate::plan::call::user::{IdMaps, IdRange};
use crate::text::{printed, text, text_with};

/// The name of the subcommand that becomes the process.
pub const SUBCOMMAND: &str = "__unpack";

/// A layer that was unpacked.
pub(super) struct Unpacked {
    /// The digest of its archive.
    pub(super) diff_id: Digest,
    /// What it has.
    pub(super) counts: LayerCounts,
    /// What its files are.
    pub(super) summary: LayerSummary,
}

/// Who starts the process of a layer, while the layers below may be unpacked too.
pub(super) trait UnpackParent {
    /// The process has been started. If this socket is shut down, it is killed.
    fn started(&self, socket: UnixStream);

    /// Waits until the layers below are complete.
    ///
    /// # Errors
    /// One of them cannot be unpacked.
    fn await_lowers(&self) -> Result<()>;
}

/// For a process that needs no other one.
struct Alone;

impl UnpackParent for Alone {
    fn started(&self, _socket: UnixStream) {}

    fn await_lowers(&self) -> Result<()> {
        Ok(())
    }
}

/// Unpacks a layer.
///
/// # Errors
/// It cannot be unpacked. What was made so far is left there.
pub(super) fn unpack(blob: File, task: &LayerTask, parent: &dyn UnpackParent) -> Result<Unpacked> {
    match perform_for(task, blob.into(), parent)? {
        LayerMessage::Unpacked { diff_id, counts, summary } => Ok(Unpacked { diff_id, counts, summary }),
        other => Err(unexpected(other)),
    }
}

/// Summarizes the files in a directory.
///
/// # Errors
/// They cannot be looked at.
pub(super) fn summarize(directory: &Path, maps: Option<&IdMaps>) -> Result<LayerSummary> {
    let work = LayerWork::Summarize;
    let task = LayerTask { directory: directory.to_owned(), work, maps: maps.cloned() };
    match perform(&task, Stdio::null())? {
        LayerMessage::Summarized(summary) => Ok(summary),
        other => Err(unexpected(other)),
    }
}

/// Removes an entry of a directory, with all that is in it.
///
/// # Errors
/// It cannot be removed.
fn remove(directory: &Path, name: &str, maps: Option<&IdMaps>) -> Result<()> {
    let work = LayerWork::Remove(name.to_owned());
    let task = LayerTask { directory: directory.to_owned(), work, maps: maps.cloned() };
    match perform(&task, Stdio::null())? {
        LayerMessage::Removed => Ok(()),
        other => Err(unexpected(other)),
    }
}

/// The size of the files in an entry of a directory: each file counts once, also if it has several names.
///
/// # Errors
/// It cannot be read.
pub fn measure_in_map(directory: &Path, name: &str, maps: Option<&IdMaps>) -> Result<u64> {
    let (uid, gid) = (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
    let Some(maps) = maps.filter(|maps| maps.take_ranges(uid, gid)) else {
        return measure_tree(&directory.join(name));
    };
    let work = LayerWork::Measure(name.to_owned());
    let task = LayerTask { directory: directory.to_owned(), work, maps: Some(maps.clone()) };
    match perform(&task, Stdio::null())? {
        LayerMessage::Measured(size) => Ok(size),
        other => Err(unexpected(other)),
    }
}

/// The size of the files in a directory that this process can read.
///
/// # Errors
/// It cannot be read.
pub fn measure_tree(directory: &Path) -> Result<u64> {
    let unread = |errno| {
        let what = text_with("image.layer.unread", &[("path", &printed(directory))]);
        Error::new(ExitKind::Refused, what).why(crate::error::errno_text(crate::error::errno(errno)))
    };
    let (Some(parent), Some(name)) = (directory.parent(), directory.file_name()) else { return Ok(0) };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let parent = rustix::fs::open(parent, flags, Mode::empty()).map_err(unread)?;
    tree::measure(&parent, name).map_err(unread)
}

/// Reads the upper directory of a container, and the layers below it: `directories`, the topmost first. What is asked for is
/// written to `output`.
///
/// # Errors
/// They cannot be read.
pub fn read(
    reading: LayerReading,
    directories: &[PathBuf],
    maps: Option<&IdMaps>,
    output: impl Into<Stdio>,
) -> Result<()> {
    match read_until_left(reading, directories, maps, output)? {
        None => Ok(()),
        // The process that reads the archive has closed it.
        Some(why) => Err(Error::new(ExitKind::Refused, text("image.save.cannot")).why(why)),
    }
}

/// As [`read`]. Returns why the output cannot be written, if its reader has left.
fn read_until_left(
    reading: LayerReading,
    directories: &[PathBuf],
    maps: Option<&IdMaps>,
    output: impl Into<Stdio>,
) -> Result<Option<String>> {
    let Some((upper, lowers)) = directories.split_first() else { return Ok(None) };
    let work = LayerWork::Read(reading, lowers.to_vec());
    let task = LayerTask { directory: upper.clone(), work, maps: maps.cloned() };
    match perform(&task, output.into())? {
        LayerMessage::Read => Ok(None),
        LayerMessage::Left(why) => Ok(Some(why)),
        LayerMessage::Unreadable(why) => {
            Err(Error::new(ExitKind::Refused, text("image.container.unread")).why(why))
        }
        other => Err(unexpected(other)),
    }
}

/// Puts the files of an archive into the files of a container. Returns what was made of them.
///
/// # Errors
/// They cannot be written.
pub fn fill(
    archive: impl Into<Stdio>,
    directories: &[PathBuf],
    maps: Option<&IdMaps>,
) -> Result<LayerCounts> {
    let Some((upper, lowers)) = directories.split_first() else { return Ok(LayerCounts::default()) };
    let task =
        LayerTask { directory: upper.clone(), work: LayerWork::Fill(lowers.to_vec()), maps: maps.cloned() };
    match perform(&task, archive.into())? {
        LayerMessage::Filled(counts) => Ok(counts),
        LayerMessage::Unreadable(why) => {
            Err(Error::new(ExitKind::Refused, text("image.container.unwritten")).why(why))
        }
        other => Err(unexpected(other)),
    }
}

/// Copies a directory of an image into an entry of a directory: what a container sees there.
///
/// # Errors
/// It cannot be read or written.
pub fn copy_in_map(
    layers: &[PathBuf],
    path: &Path,
    (directory, into): (&Path, &str),
    maps: Option<&IdMaps>,
) -> Result<()> {
    let work = LayerWork::Copy { layers: layers.to_vec(), path: path.to_owned(), into: into.to_owned() };
    let task = LayerTask { directory: directory.to_owned(), work, maps: maps.cloned() };
    match perform(&task, Stdio::null())? {
        LayerMessage::Removed => Ok(()),
        other => Err(unexpected(other)),
    }
}

/// As [`read`], with a function that takes what is written meanwhile. If it ends before the end, its result says why.
///
/// # Errors
/// As [`read`].
pub fn read_to<T: Send>(
    reading: LayerReading,
    directories: &[PathBuf],
    maps: Option<&IdMaps>,
    take: impl FnOnce(PipeReader) -> T + Send,
) -> Result<T> {
    let (input, output) = io::pipe()
        .map_err(|error| Error::new(ExitKind::Refused, text("image.layer.cannot")).call("pipe2()", error))?;
    std::thread::scope(|scope| {
        let taken = scope.spawn(|| take(input));
        let done = read_until_left(reading, directories, maps, output);
        // A panic of the other thread goes on in this one.
        let taken = taken.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        done.map(|_| taken)
    })
}

/// Whether this is the error of a process that could not begin, because one of the directories could not be opened. Then nothing was
/// read or written.
pub fn is_unopened(error: &Error) -> bool {
    error.what == text("image.layer.cannot")
}

fn unexpected(message: LayerMessage) -> Error {
    match message {
        LayerMessage::Unreadable(why) => Error::new(ExitKind::Refused, text("image.layer.wrong")).why(why),
        LayerMessage::Failed(call, errno) => {
            let failed = Error::new(ExitKind::Refused, text("image.layer.cannot"));
            failed.call(call, io::Error::from_raw_os_error(errno))
        }
        _ => ended(),
    }
}

fn ended() -> Error {
    Error::new(ExitKind::Refused, text("image.layer.ended"))
}

/// Starts the process and returns its last message.
fn perform(task: &LayerTask, input: Stdio) -> Result<LayerMessage> {
    perform_for(task, input, &Alone)
}

fn perform_for(task: &LayerTask, input: Stdio, parent: &dyn UnpackParent) -> Result<LayerMessage> {
    let cannot = |call: &str, error: io::Error| {
        Error::new(ExitKind::Refused, text("image.layer.cannot")).call(call, error)
    };
    let (own, theirs) = UnixStream::pair().map_err(|error| cannot("socketpair(AF_UNIX)", error))?;
    let kept = ["PATH", "LANG", "LC_ALL", "LC_MESSAGES"];
    let variables = kept.into_iter().filter_map(|name| Some((name, std::env::var_os(name)?)));
    let mut child = Command::new("/proc/self/exe")
        .arg0("sandbox")
        .args([SUBCOMMAND, &serde_json::to_string(task).unwrap_or_default()])
        .env_clear()
        .envs(variables)
        .stdin(input)
        .stdout(OwnedFd::from(theirs))
        .spawn()
        .map_err(|error| cannot("execve(\"/proc/self/exe\")", error))?;
    if let Ok(copy) = own.try_clone() {
        parent.started(copy);
    }
    let result = converse(own, &child, task, parent);
    if result.is_err() {
        let _ = child.kill();
    }
    let _ = child.wait();
    result
}

/// Reads the messages of the process to the last one.
fn converse(
    socket: UnixStream,
    child: &Child,
    task: &LayerTask,
    parent: &dyn UnpackParent,
) -> Result<LayerMessage> {
    let mut lines = BufReader::new(&socket);
    loop {
        let mut line = String::new();
        match lines.by_ref().take(MAX_MESSAGE).read_line(&mut line) {
            Ok(_) => {}
            Err(_) => return Err(ended()),
        }
        match serde_json::from_str(&line).map_err(|_| ended())? {
            LayerMessage::Map => {
                task.maps.iter().try_for_each(|maps| write_maps(child.id(), maps))?;
                (&socket).write_all(b"\n").map_err(|_| ended())?;
            }
            LayerMessage::Lowers => {
                parent.await_lowers()?;
                (&socket).write_all(b"\n").map_err(|_| ended())?;
            }
            last => return Ok(last),
        }
    }
}

/// The maximum size of a message. An error names a path of up to 4 KiB.
const MAX_MESSAGE: u64 = 1 << 16;

/// Lets newuidmap(1) and newgidmap(1) write the maps of the process's user namespace.
fn write_maps(pid: u32, maps: &IdMaps) -> Result<()> {
    if nix::unistd::geteuid().is_root() {
        for (file, ranges) in [("uid_map", &maps.users), ("gid_map", &maps.groups)] {
            let lines: String = ranges.iter().map(|range| format!("{range}\n")).collect();
            write_once(format!("/proc/{pid}/{file}"), &lines).map_err(|errno| {
                let error = Error::new(ExitKind::Refused, text("image.layer.cannot"));
                error.call(format!("write(</proc/{pid}/{file}>)"), errno)
            })?;
        }
        return Ok(());
    }
    let found = Subordinate::gather(nix::unistd::getuid().as_raw(), &mut Unread::default());
    let helpers = [(found.newuidmap, "newuidmap", &maps.users), (found.newgidmap, "newgidmap", &maps.groups)];
    for (program, name, ranges) in helpers {
        let program = program.unwrap_or_else(|| name.into());
        let mut command = Command::new(&program);
        command.arg(pid.to_string()).stdin(Stdio::null()).stdout(Stdio::null());
        for IdRange { inside, outside, count } in ranges {
            command.args([inside, outside, count].map(ToString::to_string));
        }
        // It prints its own message.
        let status = command.status();
        if !status.as_ref().is_ok_and(std::process::ExitStatus::success) {
            let error = Error::new(ExitKind::Refused, text_with("image.layer.maps", &[("program", name)]));
            return Err(match status {
                Err(failed) => error.call(format!("execve(\"{}\")", printed(&program)), failed),
                Ok(_) => error.why(text("image.layer.maps.reason")),
            });
        }
    }
    Ok(())
}

/// Becomes the process: `task` is the argument of the subcommand. Reports to the socket that is its standard output.
pub fn become_process(task: &str) {
    let Ok(output) = io::stdout().as_fd().try_clone_to_owned().map(UnixStream::from) else { return };
    let message = match serde_json::from_str::<LayerTask>(task) {
        Ok(task) => work(&task, &output).unwrap_or_else(|failed| failed),
        Err(error) => LayerMessage::Unreadable(error.to_string()),
    };
    send(&output, &message);
}

fn send(mut output: &UnixStream, message: &LayerMessage) {
    let line = serde_json::to_string(message).unwrap_or_default() + "\n";
    // Nobody reads it if the parent has ended.
    let _ = output.write_all(line.as_bytes());
}

fn work(task: &LayerTask, output: &UnixStream) -> std::result::Result<LayerMessage, LayerMessage> {
    let failed = |(call, errno): (String, nix::errno::Errno)| LayerMessage::Failed(call, errno as i32);
    let open = |path: &Path| {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::open(path, flags, Mode::empty())
            .map_err(|errno| failed((format!("openat(\"{}\")", printed(path)), crate::error::errno(errno))))
    };
    let directory = open(&task.directory)?;
    let lowers = match &task.work {
        LayerWork::Unpack(lowers)
        | LayerWork::Fill(lowers)
        | LayerWork::Read(_, lowers)
        | LayerWork::Copy { layers: lowers, .. } => {
            lowers.iter().map(|path| open(path)).collect::<std::result::Result<_, _>>()?
        }
        LayerWork::Remove(_) | LayerWork::Measure(_) | LayerWork::Summarize => Vec::new(),
    };
    if let Some(maps) = &task.maps {
        confine::enter_user_namespace(maps, || {
            send(output, &LayerMessage::Map);
            let mut answer = [0];
            matches!((&*output).read(&mut answer), Ok(1))
        })
        .map_err(failed)?;
    }
    confine::confine(&directory, task.maps.is_none()).map_err(failed)?;
    // If the parent has ended before the parent-death signal was set, the next command may remove this directory already.
    let mut parent = [PollFd::new(output.as_fd(), PollFlags::POLLIN)];
    if poll(&mut parent, PollTimeout::ZERO).is_ok_and(|ready| ready > 0) {
        return Err(LayerMessage::Removed);
    }
    let unsummarized = |errno| failed(("statx(<layer>)".to_owned(), crate::error::errno(errno)));
    let unreadable = |Unreadable(why): Unreadable| LayerMessage::Unreadable(why);
    match &task.work {
        LayerWork::Remove(name) => tree::remove(&directory, name.as_ref())
            .map(|()| LayerMessage::Removed)
            .map_err(|errno| failed((format!("unlinkat(<layer>, \"{name}\")"), crate::error::errno(errno)))),
        LayerWork::Copy { path, into, .. } => open_in(&directory, into)
            .and_then(|into| copy::copy(&into, &lowers, path))
            .map(|()| LayerMessage::Removed)
            .map_err(|errno| {
                failed((format!("copy(<volume>, \"{}\")", printed(path)), crate::error::errno(errno)))
            }),
        LayerWork::Measure(name) => tree::measure(&directory, name.as_ref())
            .map(LayerMessage::Measured)
            .map_err(|errno| failed((format!("getdents64(<{name}>)"), crate::error::errno(errno)))),
        LayerWork::Summarize => {
            summary::summarize(&directory).map(LayerMessage::Summarized).map_err(unsummarized)
        }
        LayerWork::Read(reading, _) => {
            let output = io::stdin().as_fd().try_clone_to_owned().map(File::from);
            let output = output.map_err(|error| LayerMessage::Unreadable(io_text(&error)))?;
            let layers: Vec<OwnedFd> = [directory].into_iter().chain(lowers).collect();
            read::read(reading, &layers, output).map_err(unreadable)
        }
        LayerWork::Fill(_) => {
            let mut entries = ArchiveEntries::new(io::stdin().lock());
            let unpacker = Unpacker::new(Merged::new(directory, lowers), task.maps.as_ref());
            let counts = unpacker.fill(&mut entries).map_err(unreadable)?;
            entries.finish().map(|()| LayerMessage::Filled(counts)).map_err(unreadable)
        }
        LayerWork::Unpack(_) => {
            let archive = decompressed(io::stdin().lock())
                .map_err(|error| LayerMessage::Unreadable(io_text(&error)))?;
            let mut archive = Digesting::new(archive);
            let mut entries = ArchiveEntries::new(&mut archive);
            let layer = directory.try_clone().map_err(|error| LayerMessage::Unreadable(io_text(&error)))?;
            let parent = output.try_clone().map_err(|error| LayerMessage::Unreadable(io_text(&error)))?;
            let merged = Merged::awaiting(layer, Box::new(|| await_lowers(parent, lowers)));
            let unpacker = Unpacker::new(merged, task.maps.as_ref()).checked(count_entries);
            let counts = unpacker.unpack(&mut entries).map_err(unreadable)?;
            entries.finish().map_err(unreadable)?;
            let summary = summary::summarize(&directory).map_err(unsummarized)?;
            Ok(LayerMessage::Unpacked { diff_id: archive.digester.finish(), counts, summary })
        }
    }
}

/// Waits until the layers below are complete. Returns them, the topmost first. A layer whose root is opaque hides all below.
fn await_lowers(
    mut parent: UnixStream,
    mut lowers: Vec<OwnedFd>,
) -> std::result::Result<Vec<OwnedFd>, rustix::io::Errno> {
    if lowers.is_empty() {
        return Ok(lowers);
    }
    send(&parent, &LayerMessage::Lowers);
    if !matches!(parent.read(&mut [0]), Ok(1)) {
        return Err(rustix::io::Errno::CANCELED);
    }
    let last = lowers.iter().position(is_opaque);
    lowers.truncate(last.map_or(lowers.len(), |last| last + 1));
    Ok(lowers)
}

/// Checks how many entries the blob on standard input has. Where it is no file, nothing is known.
fn count_entries() -> std::result::Result<(), Unreadable> {
    let blob = BlobStart { blob: io::stdin(), at: 0 };
    match decompressed(blob) {
        Ok(archive) => check_count(archive),
        Err(_) => Ok(()),
    }
}

/// Reads a blob from its beginning, and leaves the place alone at which another reader is.
struct BlobStart {
    blob: io::Stdin,
    at: u64,
}

impl Read for BlobStart {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = rustix::io::pread(&self.blob, buffer, self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}

fn open_in(directory: &OwnedFd, name: &str) -> std::result::Result<OwnedFd, rustix::io::Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(directory, name, flags, Mode::empty())
}

/// Removes an entry of a directory of layers. Only files with several owners take a process in their user namespace.
///
/// # Errors
/// It cannot be removed.
pub fn remove_in_map(directory: &Path, name: &str, maps: Option<&IdMaps>) -> Result<()> {
    let (uid, gid) = (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
    match maps.filter(|maps| maps.take_ranges(uid, gid)) {
        Some(maps) => remove(directory, name, Some(maps)),
        None => remove_tree(directory, name.as_ref()).map_err(|errno| {
            let what = text_with("image.layer.remove", &[("path", &printed(directory.join(name)))]);
            Error::new(ExitKind::Refused, what).why(crate::error::errno_text(crate::error::errno(errno)))
        }),
    }
}

/// Removes an entry of a directory, with all that is in it.
pub(super) fn remove_tree(
    directory: impl AsRef<Path>,
    name: &std::ffi::OsStr,
) -> std::result::Result<(), rustix::io::Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = rustix::fs::open(directory.as_ref(), flags, Mode::empty())?;
    tree::remove(&directory, name)
}
