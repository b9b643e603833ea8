//! `ADD` of an archive: its files are added instead of itself.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufReader, Seek, Write};
use std::os::unix::ffi::OsStrExt;

use super::context::{BuildContext, ContextError, ContextFile, joined};
use super::copied::CopiedLayer;
use super::copy::{clean, unread};
use super::layer_files::each_entry;
use super::place::CopyTarget;
use crate::error::io_text;
use crate::image::decompress::decompressed;
use crate::image::entries::{ArchiveEntries, EntryKind};
use crate::text::{printed, text, text_with};

/// Opens a file, if it is an archive, compressed or not.
pub(super) fn archive_of(context: &BuildContext, file: &ContextFile) -> Result<Option<File>, ContextError> {
    match context.open_file(file).map_err(|errno| unread(file.path(), errno))? {
        Some(opened) => archive_in(&opened, file.path()),
        None => Ok(None),
    }
}

/// The same file from its beginning, if it is an archive, compressed or not.
pub(super) fn archive_in(file: &File, path: &[u8]) -> Result<Option<File>, ContextError> {
    let unread = |error: io::Error| ContextError::Unread(path.to_owned(), error);
    let mut opened = file.try_clone().map_err(unread)?;
    opened.rewind().map_err(unread)?;
    // What is compressed, but no archive, is copied as it is.
    let is_archive = decompressed(BufReader::new(&opened))
        .is_ok_and(|input| matches!(ArchiveEntries::new(input).next_entry(), Ok(Some(_))));
    opened.rewind().map_err(unread)?;
    Ok(is_archive.then_some(opened))
}

/// Unpacks an archive into the destination, which becomes a directory.
pub(super) fn unpack_at<W: Write>(
    (archive, name): (File, &[u8]),
    target: &CopyTarget,
    layer: &mut CopiedLayer<'_, W>,
) -> Result<(), ContextError> {
    layer.directories(&target.existing, &target.rest)?;
    unpack(archive, &joined(&target.existing, &target.rest), layer).map_err(|error| match error {
        ContextError::Wrong(why) => {
            let values = [("archive", &*printed(OsStr::from_bytes(name))), ("why", &why)];
            ContextError::Wrong(text_with("build.add.archive", &values))
        }
        error => error,
    })
}

/// Adds the files of an archive, with their owners.
fn unpack<W: Write>(
    archive: File,
    directory: &[u8],
    layer: &mut CopiedLayer<'_, W>,
) -> Result<(), ContextError> {
    let input =
        decompressed(BufReader::new(archive)).map_err(|error| ContextError::Wrong(io_text(&error)))?;
    let below = |name: &[u8]| match clean(name) {
        Some(path) => Ok(joined(directory, &path)),
        None => Err(ContextError::Wrong(text("build.add.outside"))),
    };
    each_entry(input, |mut entry, content| {
        let name = below(&entry.name)?;
        if name == directory && entry.kind == EntryKind::Directory {
            return Ok(());
        }
        entry.name = name;
        if entry.kind == EntryKind::HardLink {
            entry.link = below(&entry.link)?;
        }
        layer.add_any(entry, None, content).map_err(ContextError::from)
    })
}
