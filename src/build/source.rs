//! Where the Dockerfile and the context come from.
//!
//! | command line | Dockerfile | context |
//! |---|---|---|
//! | `build DIR` | `Dockerfile` in it, or `dockerfile` | the directory |
//! | `build -f FILE DIR` | that file, also outside of the directory | the directory |
//! | `build -f - DIR` | standard input | the directory |
//! | `build -`, an archive on standard input | `Dockerfile` in it, or `-f` | the files of the archive |
//! | `build -`, anything else | standard input | no files |

use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::context::{BuildContext, IgnoreAnswer};
use super::dockerfile::MAX_SIZE;
use super::ignore::{self, IgnoreRules};
use crate::error::{Error, ExitKind, Result, io_text};
use crate::image::decompress::{decompressed, is_compressed};
use crate::image::entries::ArchiveEntries;
use crate::image::layer;
use crate::image::rootfs::LayerWorkspace;
use crate::image::store::ImageStore;
use crate::plan::call::user::IdMaps;
use crate::text::{printed, text, text_with};

/// The name of a Dockerfile.
const NAME: &str = "Dockerfile";

/// The name that counts if there is no file of the other one, as with Docker.
const OTHER_NAME: &str = "dockerfile";

/// The size of the header of an archive.
const HEADER: usize = 512;

/// What is built.
pub struct BuildSource {
    /// What errors call the Dockerfile.
    pub name: String,
    /// Its text.
    pub dockerfile: Vec<u8>,
    /// The files.
    pub context: BuildContext,
    /// The directory with the files of an archive. It is removed with this value.
    _unpacked: Option<LayerWorkspace>,
}

/// Reads the Dockerfile and opens the context.
///
/// # Errors
/// They do not exist or cannot be read.
pub fn open(
    context: &Path,
    file: Option<&Path>,
    store: &ImageStore,
    maps: Option<&IdMaps>,
) -> Result<BuildSource> {
    let is_input = |path: &Path| path == Path::new("-");
    if let Some(written) = context.to_str().filter(|written| is_remote(written)) {
        let what = text_with("build.context.remote", &[("context", &printed(written))]);
        return Err(Error::usage(what));
    }
    match (is_input(context), file.filter(|file| is_input(file))) {
        (true, Some(_)) => Err(Error::usage(text("build.context.twice"))),
        (true, None) => from_input(file, store, maps),
        (false, Some(_)) => {
            let opened = open_directory(context)?;
            let dockerfile = limited(io::stdin().lock(), Vec::new()).map_err(unread_input)?;
            let opened = ignoring(opened, None)?;
            Ok(BuildSource { name: "-".to_owned(), dockerfile, context: opened, _unpacked: None })
        }
        (false, None) => {
            let opened = open_directory(context)?;
            let path = file.map_or_else(|| default_file(context), Path::to_owned);
            let dockerfile = read_file(&path)?;
            let opened = ignoring(opened, Some(&path))?;
            Ok(BuildSource { name: printed(&path), dockerfile, context: opened, _unpacked: None })
        }
    }
}

/// Whether a context is one that has to be fetched.
fn is_remote(written: &str) -> bool {
    ["http://", "https://", "git://", "git@", "ssh://", "github.com/"]
        .iter()
        .any(|start| written.starts_with(start))
}

fn open_directory(path: &Path) -> Result<BuildContext> {
    BuildContext::open(path).map_err(|error| {
        let what = text_with("build.context", &[("path", &printed(path))]);
        Error::new(ExitKind::Refused, what).call(format!("openat(\"{}\")", printed(path)), error)
    })
}

/// The Dockerfile of a context for which none is named.
fn default_file(context: &Path) -> PathBuf {
    let is_there = |name: &str| context.join(name).symlink_metadata().is_ok();
    context.join(if !is_there(NAME) && is_there(OTHER_NAME) { OTHER_NAME } else { NAME })
}

fn unread(path: &Path, why: String) -> Error {
    let what = text_with("build.file", &[("path", &printed(path))]);
    Error::new(ExitKind::Refused, what).why(why)
}

/// The error of standard input.
fn unread_input(error: io::Error) -> Error {
    unread(Path::new("-"), io_text(&error))
}

fn read_file(path: &Path) -> Result<Vec<u8>> {
    let file = open_file(path).map_err(|why| {
        let error = unread(path, why);
        match path.file_name() == Some(NAME.as_ref()) && !path.exists() {
            true => error.todo(text("build.file.todo")),
            false => error,
        }
    })?;
    limited(file, Vec::new()).map_err(|error| unread(path, io_text(&error)))
}

/// Opens a regular file. The error is the reason.
fn open_file(path: &Path) -> std::result::Result<File, String> {
    // A FIFO would wait for a writer.
    let opened = File::options().read(true).custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC).open(path);
    let file = opened.map_err(|error| io_text(&error))?;
    match file.metadata().is_ok_and(|about| about.is_file()) {
        true => Ok(file),
        false => Err(text("build.file.kind")),
    }
}

/// Reads the rest of a Dockerfile that begins with these bytes.
fn limited(input: impl Read, mut bytes: Vec<u8>) -> io::Result<Vec<u8>> {
    let most = MAX_SIZE as u64 + 1;
    input.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn from_input(file: Option<&Path>, store: &ImageStore, maps: Option<&IdMaps>) -> Result<BuildSource> {
    let mut input = io::stdin();
    let mut start = Vec::new();
    input.by_ref().take(HEADER as u64).read_to_end(&mut start).map_err(unread_input)?;
    let is_header = || {
        // The header alone decides. What follows is not there yet.
        let mut entries = ArchiveEntries::new(&start[..]);
        let is_entry = start.len() == HEADER && matches!(entries.next_entry(), Ok(Some(_)));
        // A first member for the next entry has more than its header.
        is_entry || start.get(257..262) == Some(b"ustar")
    };
    let is_archive = is_compressed(&start) || is_header();
    let workspace = LayerWorkspace::make(store, maps)?;
    let directory = workspace.make_directory("context", None);
    let directory = directory.map_err(unread_input)?;
    if is_archive {
        fill(start.chain(input), &directory, maps)?;
    } else {
        let context = open_directory(&directory)?;
        let dockerfile = limited(input, start).map_err(unread_input)?;
        return Ok(BuildSource { name: "-".to_owned(), dockerfile, context, _unpacked: Some(workspace) });
    }
    let context = open_directory(&directory)?;
    let names = match file {
        Some(file) => vec![file.to_owned()],
        None => vec![PathBuf::from(NAME), PathBuf::from(OTHER_NAME)],
    };
    let mut found = None;
    for name in &names {
        let read = context.read(name.as_os_str().as_bytes(), MAX_SIZE as u64);
        let read = read.map_err(|error| unread(name, io_text(&error)))?;
        found = read.map(|bytes| (name, bytes));
        if found.is_some() {
            break;
        }
    }
    let (name, dockerfile) = found.ok_or_else(|| unread(&names[0], text("build.file.archive")))?;
    let context = ignoring(context, None)?;
    Ok(BuildSource { name: printed(name), dockerfile, context, _unpacked: Some(workspace) })
}

/// The context without the files that `.dockerignore` names. A file beside the Dockerfile has precedence.
fn ignoring(context: BuildContext, dockerfile: Option<&Path>) -> Result<BuildContext> {
    let beside = dockerfile.map(ignore::beside).filter(|path| path.exists());
    let unread = |path: &Path, why: String| {
        Error::new(ExitKind::Refused, text_with("build.ignore", &[("path", &printed(path))])).why(why)
    };
    let (name, bytes) = match beside {
        Some(path) => {
            let file = open_file(&path).map_err(|why| unread(&path, why))?;
            let bytes = limited(file, Vec::new()).map_err(|error| unread(&path, io_text(&error)))?;
            (printed(&path), Some(bytes))
        }
        None => {
            let read = context.read(ignore::NAME.as_bytes(), ignore::MAX_SIZE as u64);
            let read = read.map_err(|error| match error.raw_os_error() {
                Some(libc::EINVAL) => unread(Path::new(ignore::NAME), text("build.file.kind")),
                _ => unread(Path::new(ignore::NAME), io_text(&error)),
            })?;
            (ignore::NAME.to_owned(), read)
        }
    };
    let Some(bytes) = bytes else { return Ok(context) };
    let rules = IgnoreRules::parse(&name, &bytes)?;
    if rules.is_empty() {
        return Ok(context);
    }
    Ok(context.ignoring(Box::new(move |path, is_directory| match rules.is_ignored(path) {
        false => IgnoreAnswer::Kept,
        true if is_directory && !rules.can_skip(path) => IgnoreAnswer::Inside,
        true => IgnoreAnswer::Ignored,
    })))
}

/// Unpacks the archive, in a process that can reach nothing but this directory.
fn fill(archive: impl Read + Send, directory: &Path, maps: Option<&IdMaps>) -> Result<()> {
    let cannot =
        |error: io::Error| Error::new(ExitKind::Refused, text("build.context.archive")).why(io_text(&error));
    let (reading, mut writing) = io::pipe().map_err(cannot)?;
    std::thread::scope(|scope| {
        let copied = scope.spawn(move || -> io::Result<()> {
            let mut input = decompressed(BufReader::new(archive))?;
            match io::copy(&mut input, &mut writing) {
                // The process has read the end of the archive, or has ended with an error of its own.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
                copied => copied.and_then(|_| writing.flush()),
            }
        });
        let filled = layer::fill(reading, &[directory.to_owned()], maps);
        let copied = copied.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        copied.map_err(cannot)?;
        filled.map(drop).map_err(|error| {
            error
                .why
                .into_iter()
                .fold(Error::new(ExitKind::Refused, text("build.context.archive")), |all, why| all.why(why))
        })
    })
}
