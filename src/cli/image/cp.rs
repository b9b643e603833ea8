//! `sandbox cp`: files between a container and the host.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;

use super::as_docker;
use super::container::with_files;
use crate::cli::explain::ExplainArg;
use crate::cli::kept::find;
use crate::container::events::EventAction;
use crate::container::layers::ContainerLayers;
use crate::container::store::{ContainerStore, KeptContainer};
use crate::error::{Error, ExitKind, Result, io_text};
use crate::host::own_run::OwnRun;
use crate::image::decompress::decompressed;
use crate::image::entries::Unreadable;
use crate::image::extract;
use crate::image::layer::{self, LayerReading, PathPlace, PlaceKind};
use crate::render::paint::{Color, Stream, decide};
use crate::text::{printed, text, text_with};
use crate::value::shell::quote;

/// How long it waits for the lock: another command may look at the container just now.
const PATIENCE: Duration = Duration::from_secs(1);

/// The flags of `cp`.
#[derive(Debug, Args)]
#[group(skip)]
pub(crate) struct CpArgs {
    /// What is copied: CONTAINER:PATH, or a path of the host; `-` is an archive on standard input
    #[arg(value_name = "SOURCE")]
    source: OsString,
    /// Where it is copied to: CONTAINER:PATH, or a path of the host; `-` is an archive on standard output
    #[arg(value_name = "TARGET")]
    target: OsString,
    /// Keep the owners. Without it, files in a container belong to root, and files on the host to you
    #[arg(long, short)]
    archive: bool,
    /// If the source is a symbolic link, copy what it leads to
    #[arg(long, short = 'L')]
    follow_link: bool,
    /// Accepted for Docker's scripts, without effect: no progress is printed
    #[arg(long, short)]
    quiet: bool,
    #[command(flatten)]
    explain: ExplainArg,
}

/// One side of a copy.
enum CopySide {
    Host(PathBuf),
    Stream,
    Container(OsString, PathBuf),
}

/// `NAME:PATH` is in a container. A path of the host that has a colon begins with `.` or `/`.
fn side(written: &OsStr) -> CopySide {
    let bytes = written.as_bytes();
    let colon = bytes.iter().position(|byte| *byte == b':');
    match (bytes, colon) {
        (b"-", _) => CopySide::Stream,
        ([b'.' | b'/', ..], _) | (_, None | Some(0)) => CopySide::Host(PathBuf::from(written)),
        (_, Some(at)) => {
            let path = PathBuf::from(OsStr::from_bytes(&bytes[at + 1..]));
            CopySide::Container(OsStr::from_bytes(&bytes[..at]).to_owned(), path)
        }
    }
}

/// Copies.
pub(crate) fn run(color: Color, args: &CpArgs) -> Result<u8> {
    decide(color, Stream::Err);
    let copied = match (side(&args.source), side(&args.target)) {
        (CopySide::Container(name, path), target) if !matches!(target, CopySide::Container(..)) => {
            with_files(&name, |_, container| copy_out(args, (&name, container), &path, &target))
                .inspect(|()| note(&name, EventAction::ArchivePath))
        }
        (source, CopySide::Container(name, path)) if !matches!(source, CopySide::Container(..)) => {
            with_files(&name, |_, container| copy_in(args, &source, container, &path))
                .inspect(|()| note(&name, EventAction::ExtractToDirectory))
        }
        _ => Err(Error::usage(text("image.copy.sides"))),
    };
    copied.map(|()| 0).map_err(as_docker)
}

/// Adds the event of a copy.
fn note(name: &OsString, action: EventAction) {
    if let Ok(store) = ContainerStore::open()
        && let Ok(container) = find(&store, name)
    {
        store.note_of(&container, |event| event, action);
    }
}

/// The files of a container.
fn files(args: &CpArgs, container: &KeptContainer) -> Result<ContainerLayers> {
    let layers = container.files()?;
    super::container::tell_reading(&args.explain, &layers.directories, "image.explain.copy");
    Ok(layers)
}

/// Refuses a path below a mount of a container that does not run: its files are not in the layers.
fn refuse_mounts(container: &KeptContainer, layers: &ContainerLayers, path: &Path) -> Result<()> {
    let path = Path::new("/").join(path);
    match layers.mounts.iter().find(|mount| path.starts_with(mount)) {
        None => Ok(()),
        Some(mount) => {
            let values = [("mount", &*printed(mount)), ("name", container.shown_name())];
            let error = Error::new(ExitKind::Refused, text_with("image.copy.mount", &values));
            let start = format!("sandbox start {}", quote(container.shown_name()));
            Err(error.why(text("image.copy.mount.reason")).paste(start))
        }
    }
}

fn place(layers: &ContainerLayers, path: &Path, follows: bool) -> Result<Option<PathPlace>> {
    let reading = LayerReading::Place { path: path.to_owned(), follows };
    let read = layer::read_to(reading, &layers.directories, layers.maps.as_ref(), |mut pipe| {
        let mut all = Vec::new();
        pipe.read_to_end(&mut all).map(|_| all)
    });
    let all = read?.map_err(|error| unread(&error))?;
    Ok(serde_json::from_slice(&all).unwrap_or_default())
}

fn unread(error: &io::Error) -> Error {
    Error::new(ExitKind::Refused, text("image.container.unread")).why(io_text(error))
}

fn refused(key: &str, path: impl AsRef<OsStr>) -> Error {
    Error::new(ExitKind::Refused, text_with(key, &[("path", &printed(path.as_ref()))]))
}

/// Whether a path names the content of a directory: `dir/.`.
fn is_content(path: &Path) -> bool {
    let bytes = path.as_os_str().as_bytes();
    bytes == b"." || bytes.ends_with(b"/.")
}

fn ends_with_slash(path: &Path) -> bool {
    path.as_os_str().as_bytes().ends_with(b"/")
}

/// What a place is called in an archive for a program, as Docker names it: its client replaces the last part of the path that it
/// has asked for by the name of the target.
fn name_in_stream<'n>(path: &'n Path, own: &'n OsStr) -> &'n OsStr {
    if is_content(path) {
        return OsStr::new(".");
    }
    match (path.file_name(), own.is_empty()) {
        (Some(name), _) => name,
        (None, true) => OsStr::new("/"),
        // The path ends with `..`.
        (None, false) => own,
    }
}

/// A function that puts the entries below `old` below `new`. None: not below it.
fn moved(old: Vec<u8>, new: Vec<u8>) -> impl Fn(&[u8]) -> Option<Vec<u8>> {
    move |name: &[u8]| {
        let parts = name.split(|byte| *byte == b'/').filter(|part| !matches!(*part, b"" | b"."));
        let mut parts: Vec<&[u8]> = parts.collect();
        if parts.contains(&&b".."[..]) {
            return None;
        }
        if !old.is_empty() {
            if parts.first() != Some(&&old[..]) {
                return None;
            }
            parts.remove(0);
        }
        if !new.is_empty() {
            parts.insert(0, &new);
        }
        Some(parts.join(&b'/'))
    }
}

fn copy_out(
    args: &CpArgs,
    (name, container): (&OsString, &KeptContainer),
    path: &Path,
    target: &CopySide,
) -> Result<()> {
    let layers = files(args, container)?;
    refuse_mounts(container, &layers, path)?;
    let follows = args.follow_link || ends_with_slash(path) || is_content(path);
    let found = place(&layers, path, follows)?.filter(|found| found.kind != PlaceKind::Nothing);
    let found = found.ok_or_else(|| {
        let values = [("path", &*printed(path)), ("name", &printed(name))];
        Error::new(ExitKind::Refused, text_with("image.copy.none", &values))
    })?;
    refuse_mounts(container, &layers, &found.place)?;
    let reading = |name: &OsStr| LayerReading::Tree { path: found.place.clone(), name: name.into() };
    let (directories, maps) = (&layers.directories, layers.maps.as_ref());
    let place_name = found.place.file_name().unwrap_or_default();
    let old = place_name.as_bytes().to_vec();
    // What a link leads to has the name of the link.
    let own = path.file_name().map_or_else(|| old.clone(), |own| own.as_bytes().to_vec());
    let CopySide::Host(target) = target else {
        let reading = reading(name_in_stream(path, place_name));
        let output = io::stdout().as_fd().try_clone_to_owned().map_err(|error| unread(&error))?;
        return layer::read(reading, directories, maps, output);
    };
    let reading = reading(place_name);
    let is_directory = found.kind == PlaceKind::Directory;
    let cannot = |error: io::Error| refused("image.copy.cannot", target).why(io_text(&error));
    let (into, new) = match fs::metadata(target) {
        Ok(about) if about.is_dir() && is_directory && is_content(path) => (target.clone(), Vec::new()),
        Ok(about) if about.is_dir() => (target.clone(), own),
        Ok(_) if is_directory => return Err(refused("image.copy.overfile", target)),
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(cannot(error)),
        Err(_) if ends_with_slash(target) && !is_directory => {
            return Err(refused("image.copy.nodirectory", target));
        }
        _ => {
            let absolute = std::path::absolute(target).map_err(cannot)?;
            let (above, name) = (absolute.parent(), absolute.file_name());
            let (Some(above), Some(name)) = (above, name) else {
                return Err(refused("image.copy.nodirectory", target));
            };
            (above.to_owned(), name.as_bytes().to_vec())
        }
    };
    let into = OwnedFd::from(
        File::open(&into).map_err(|error| refused("image.copy.cannot", &into).why(io_text(&error)))?,
    );
    // If nothing more can be written, the process that reads has no place for the rest: the first error is the reason.
    let mut wrong = None;
    let read = layer::read_to(reading, directories, maps, |pipe| {
        let done = extract::extract(pipe, &into, moved(old, new), args.archive);
        wrong = done.err().map(|Unreadable(why)| refused("image.copy.cannot", target).why(why));
    });
    wrong.map_or(read, Err)
}

fn copy_in(args: &CpArgs, source: &CopySide, container: &KeptContainer, path: &Path) -> Result<()> {
    let layers = files(args, container)?;
    refuse_mounts(container, &layers, path)?;
    // While its upper directory is written, it must not be mounted.
    let id = container.record.id.as_str();
    let own = match layers.is_running {
        true => None,
        false => Some(OwnRun::claim(id, PATIENCE)?.ok_or_else(|| Error::failed(text("container.busy")))?),
    };
    let copied = copy_into(args, source, path, (container, &layers));
    own.into_iter().for_each(OwnRun::remove);
    copied
}

fn copy_into(
    args: &CpArgs,
    source: &CopySide,
    path: &Path,
    (container, layers): (&KeptContainer, &ContainerLayers),
) -> Result<()> {
    let found = place(layers, path, true)?;
    let found = found.ok_or_else(|| refused("image.copy.nodirectory", path))?;
    refuse_mounts(container, layers, &found.place)?;
    let is_directory = found.kind == PlaceKind::Directory;
    let bytes = |path: &Path| path.as_os_str().as_bytes().to_vec();
    let (pipe, output) = io::pipe().map_err(|error| unread(&error))?;
    let (directories, maps) = (&layers.directories, layers.maps.as_ref());
    let failed = |why: String| refused("image.copy.cannot", path).why(why);
    let write: Box<dyn FnOnce() -> std::result::Result<(), String> + Send> = match source {
        CopySide::Stream => {
            if !is_directory {
                return Err(refused("image.copy.nodirectory", path));
            }
            let place = bytes(&found.place);
            let rename = move |name: &[u8]| {
                let inner = moved(Vec::new(), Vec::new())(name).filter(|inner| !inner.is_empty())?;
                Some(if place.is_empty() { inner } else { [&place[..], b"/", &inner].concat() })
            };
            Box::new(move || {
                // As `load` and the context of `build`: also compressed.
                let input = decompressed(io::stdin()).map_err(|error| io_text(&error))?;
                extract::renamed(input, rename, output).map_err(|Unreadable(why)| why)
            })
        }
        CopySide::Host(source) => {
            let (call, about) = match args.follow_link {
                true => ("stat", fs::metadata(source)),
                false => ("lstat", fs::symlink_metadata(source)),
            };
            let about = about.map_err(|error| {
                refused("image.copy.source", source).call(format!("{call}(\"{}\")", printed(source)), error)
            })?;
            let is_content = is_content(source);
            let target = match (found.kind, about.is_dir()) {
                (PlaceKind::Directory, true) if is_content => bytes(&found.place),
                (PlaceKind::Directory, _) => {
                    let own = match source.file_name() {
                        Some(own) => own.to_owned(),
                        // `..` has a name only when it is resolved.
                        None => {
                            let absolute =
                                fs::canonicalize(source).map_err(|error| failed(io_text(&error)))?;
                            absolute.file_name().unwrap_or_default().to_owned()
                        }
                    };
                    bytes(&found.place.join(own))
                }
                (PlaceKind::Nothing, false) if ends_with_slash(path) => {
                    return Err(refused("image.copy.nodirectory", path));
                }
                (PlaceKind::Nothing, _) => bytes(&found.place),
                (PlaceKind::Other, true) => return Err(refused("image.copy.overfile", path)),
                (PlaceKind::Other, false) => bytes(&found.place),
            };
            // The copy has the name of the link, and the files that the link leads to.
            let source = match args.follow_link {
                true => fs::canonicalize(source).map_err(|error| failed(io_text(&error)))?,
                false => source.clone(),
            };
            let keeps = args.archive;
            // The target itself keeps its mode and its owner.
            let has_top = !(is_content && is_directory);
            Box::new(move || {
                extract::archive(&source, &target, has_top, keeps, output).map_err(|error| io_text(&error))
            })
        }
        CopySide::Container(..) => return Err(Error::usage(text("image.copy.sides"))),
    };
    std::thread::scope(|scope| {
        let written = scope.spawn(write);
        let filled = layer::fill(pipe, directories, maps);
        let written = written.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        // If the process has ended early, its error is the reason, and the pipe that broke is not.
        filled?;
        written.map_err(failed)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_moved() {
        let to = moved(b"old".to_vec(), b"new".to_vec());
        assert_eq!(to(b"old/a/./b/"), Some(b"new/a/b".to_vec()));
        assert_eq!(to(b"old"), Some(b"new".to_vec()));
        assert_eq!(to(b"other/a"), None);
        assert_eq!(to(b"old/../a"), None);
        assert_eq!(moved(b"old".to_vec(), Vec::new())(b"old/a"), Some(b"a".to_vec()));
        assert_eq!(moved(Vec::new(), Vec::new())(b"./a"), Some(b"a".to_vec()));
    }

    #[test]
    fn an_archive_begins_with_the_last_part_of_the_path() {
        let name = |path: &'static str, own| {
            name_in_stream(Path::new(path), OsStr::new(own)).to_str().unwrap().to_owned()
        };
        let names =
            [name("/a/b", "b"), name("/a/link/", "b"), name("/a/.", "a"), name("/", ""), name("/a/..", "")];
        assert_eq!(names, ["b", "link", ".", "/", "/"]);
    }

    #[test]
    fn a_side_is_a_container_or_the_host() {
        let is = |written: &str| match side(OsStr::new(written)) {
            CopySide::Host(path) => format!("host {}", path.display()),
            CopySide::Stream => "stream".to_owned(),
            CopySide::Container(name, path) => format!("{} {}", name.display(), path.display()),
        };
        for (written, wanted) in [
            ("box:/a:b", "box /a:b"),
            ("box:", "box "),
            ("./box:/a", "host ./box:/a"),
            ("/a:b", "host /a:b"),
            ("a", "host a"),
            (":a", "host :a"),
            ("-", "stream"),
        ] {
            assert_eq!(is(written), wanted, "{written}");
        }
    }
}
