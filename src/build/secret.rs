//! `--secret`: its content, and the file that a command sees of it.
//!
//! The file is in memory, never on a disk ([`crate::host::memory_directory`]). It is removed after the command.

use std::fs::{self, File};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::dockerfile::mount::MountOwner;
use super::options::SecretSource;
use crate::error::{Error, ExitKind, Result, io_text};
use crate::image::entries::{ArchiveEntry, EntryKind};
use crate::image::layer;
use crate::image::tar_writer::ArchiveWriter;
use crate::plan::call::user::IdMaps;
use crate::text::{printed, text_with};

/// The maximum size of a secret, in bytes: Docker's.
const MAX_SECRET: u64 = 500 << 10;

/// The name of the file.
const NAME: &str = "secret";

/// Writes the file of a secret into a directory, with its owner in these ID maps. Returns its path.
pub(super) fn write(
    directory: PathBuf,
    content: &[u8],
    mode: u32,
    owner: MountOwner,
    maps: Option<&IdMaps>,
) -> Result<PathBuf> {
    let entry = |kind| ArchiveEntry {
        kind,
        name: NAME.into(),
        link: Vec::new(),
        size: content.len() as u64,
        mode,
        uid: owner.uid.unwrap_or_default(),
        gid: owner.gid.unwrap_or_default(),
        mtime: super::steps::now(),
        device: (0, 0),
        attributes: Vec::new(),
    };
    fill(&directory, &[entry(EntryKind::File)], content, maps)?;
    Ok(directory.join(NAME))
}

/// Gives a directory a mode, and an owner in these ID maps.
pub(super) fn own(directory: &Path, mode: u32, owner: MountOwner, maps: Option<&IdMaps>) -> Result<()> {
    let entry = ArchiveEntry {
        kind: EntryKind::Directory,
        name: b".".to_vec(),
        link: Vec::new(),
        size: 0,
        mode: mode & 0o7777,
        uid: owner.uid.unwrap_or_default(),
        gid: owner.gid.unwrap_or_default(),
        mtime: super::steps::now(),
        device: (0, 0),
        attributes: Vec::new(),
    };
    fill(directory, &[entry], &[], maps)
}

/// Makes an empty directory or file, on which something is mounted: the path of a directory that exists, and the rest.
pub(super) fn mount_point(
    directory: &Path,
    (above, rest): (&Path, &Path),
    is_file: bool,
    maps: Option<&IdMaps>,
) -> Result<()> {
    use std::os::unix::ffi::OsStrExt;
    let mut path = above.to_owned();
    let mut entries = Vec::new();
    for part in rest {
        path.push(part);
        entries.push(ArchiveEntry {
            kind: EntryKind::Directory,
            name: path.as_os_str().as_bytes().to_owned(),
            link: Vec::new(),
            size: 0,
            mode: 0o755,
            uid: 0,
            gid: 0,
            mtime: super::steps::now(),
            device: (0, 0),
            attributes: Vec::new(),
        });
    }
    if let Some(last) = entries.last_mut().filter(|_| is_file) {
        (last.kind, last.mode) = (EntryKind::File, 0o644);
    }
    fill(directory, &entries, &[], maps)
}

/// Makes the entries of an archive. The archive itself is in memory.
fn fill(directory: &Path, entries: &[ArchiveEntry], content: &[u8], maps: Option<&IdMaps>) -> Result<()> {
    let cannot = |error: io::Error| {
        Error::new(ExitKind::Refused, crate::text::text("build.secret.memory")).why(io_text(&error))
    };
    let memory = rustix::fs::memfd_create("archive", rustix::fs::MemfdFlags::CLOEXEC);
    let archive = memory.map_err(io::Error::from).and_then(|memory| {
        let mut writer = ArchiveWriter::new(File::from(memory));
        for entry in entries {
            writer.entry(entry, &mut &content[..])?;
        }
        let mut archive = writer.finish()?;
        archive.rewind()?;
        Ok(archive)
    });
    layer::fill(archive.map_err(cannot)?, &[directory.to_owned()], maps).map(drop)
}

/// The content of a secret. None: the variable is not set.
pub(super) fn content(id: &str, source: &SecretSource) -> Result<Option<Vec<u8>>> {
    match source {
        SecretSource::Variable(name) => {
            use std::os::unix::ffi::OsStrExt;
            Ok(std::env::var_os(name).map(|value| value.as_bytes().to_owned()))
        }
        SecretSource::File(path) => {
            let unread = |why: String| {
                let what = text_with("build.secret.file", &[("id", &printed(id)), ("path", &printed(path))]);
                Error::new(ExitKind::Refused, what).why(why)
            };
            let cannot = |error: io::Error| unread(io_text(&error));
            // A named pipe without a writer would be waited for.
            let flags = nix::libc::O_NONBLOCK;
            let file = fs::OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(cannot)?;
            let mut content = Vec::new();
            let is_file = file.metadata().map_err(cannot)?.is_file();
            let read = file.take(MAX_SECRET + 1).read_to_end(&mut content);
            if !is_file || content.len() as u64 > MAX_SECRET {
                let most = (MAX_SECRET >> 10).to_string();
                return Err(unread(text_with("build.secret.large", &[("most", &most)])));
            }
            read.map(|_| Some(content)).map_err(cannot)
        }
    }
}

/// Writes a new file.
pub(super) fn write_program(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o755).open(path)?;
    file.write_all(content)?;
    use std::os::unix::fs::PermissionsExt;
    // The umask may have taken permissions away.
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
}
