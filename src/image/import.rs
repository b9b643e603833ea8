//! An image of an archive of files, as `docker export` and tar(1) write it.

use std::io::{self, BufReader, BufWriter, Read, Write};

use serde_json::{Value, json};

use super::decompress::decompressed;
use super::digest::Digest;
use super::entries::{ArchiveEntries, Unreadable};
use super::manifest::Platform;
use super::new_image::NewImage;
use super::store::Ingest;
use crate::error::{Error, ExitKind, Result, io_text};
use crate::text::text;

/// What the config of a new image says.
#[derive(Debug, Clone, Default)]
pub struct NewConfig {
    /// How a container of it is run: the part `config`.
    pub config: Value,
    /// When it was made: RFC 3339.
    pub created: String,
    /// How it was made.
    pub created_by: String,
    /// What its maker says about it.
    pub comment: String,
    /// Its maker.
    pub author: String,
    /// The platform that it is for. None: that of this machine.
    pub platform: Option<Platform>,
}

impl NewConfig {
    /// The config of an image whose only layer this is.
    pub fn of_layer(&self, layer: &Digest) -> Value {
        let platform = self.platform.clone().unwrap_or_else(Platform::here);
        let step = json!({
            "created": self.created,
            "created_by": self.created_by,
            "comment": self.comment,
        });
        let mut config = json!({
            "created": self.created,
            "architecture": platform.architecture,
            "os": platform.os,
            "config": self.config,
            "history": [step],
            "rootfs": { "type": "layers", "diff_ids": [layer] },
        });
        if let Some(variant) = platform.variant {
            config["variant"] = variant.into();
        }
        if !self.author.is_empty() {
            config["author"] = self.author.clone().into();
        }
        config
    }
}

/// The maximum size of the zeros after the end of an archive that belong to it, in bytes. tar(1) fills its last record with them, which
/// has 10 KiB by default.
const MAX_PADDING: u64 = 1 << 20;

/// Makes an image whose only layer is this archive. It may be compressed; in the store it is not. What follows the archive and the
/// zeros at its end is not read.
///
/// # Errors
/// The archive cannot be read, or the store cannot be written.
pub fn import(ingest: &Ingest<'_>, archive: impl Read, about: &NewConfig) -> Result<NewImage> {
    let unread =
        |error: &io::Error| Error::new(ExitKind::Refused, text("image.import.unread")).why(io_text(error));
    let archive = decompressed(BufReader::new(archive)).map_err(|error| unread(&error))?;
    let blob = BufWriter::with_capacity(256 << 10, ingest.blob()?);
    let mut copied = CopiedArchive { archive, blob, unread: None, unwritten: None };
    let read = copied.copy();
    let CopiedArchive { blob, unread: not_read, unwritten, .. } = copied;
    if let Some(error) = unwritten {
        return Err(ingest.unwritten(&error));
    }
    if let Some(error) = not_read {
        return Err(unread(&error));
    }
    read.map_err(|Unreadable(why)| Error::new(ExitKind::Refused, text("image.layer.wrong")).why(why))?;
    let blob = blob.into_inner().map_err(|error| ingest.unwritten(error.error()))?;
    let layer = ingest.staged(blob);
    let config = about.of_layer(&layer.digest);
    NewImage::of_layer(ingest, layer, &config)
}

/// An archive, of which each byte that is read is written to a blob.
struct CopiedArchive<R, W> {
    archive: R,
    blob: W,
    /// Why the archive could not be read further.
    unread: Option<io::Error>,
    /// Why the blob could not be written.
    unwritten: Option<io::Error>,
}

impl<R: Read, W: Write> CopiedArchive<R, W> {
    /// Copies the entries, and the zeros after them.
    fn copy(&mut self) -> std::result::Result<(), Unreadable> {
        let mut entries = ArchiveEntries::new(&mut *self);
        while entries.next_entry()?.is_some() {}
        let mut padding = Vec::new();
        if let Err(error) = (&mut self.archive).take(MAX_PADDING).read_to_end(&mut padding) {
            self.unread = Some(error);
            return Ok(());
        }
        let zeros = padding.iter().position(|byte| *byte != 0).unwrap_or(padding.len());
        if let Err(error) = self.blob.write_all(&padding[..zeros]).and_then(|()| self.blob.flush()) {
            self.unwritten = Some(error);
        }
        Ok(())
    }
}

impl<R: Read, W: Write> Read for CopiedArchive<R, W> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let kept = |error: io::Error, place: &mut Option<io::Error>| {
            let kind = error.kind();
            *place = Some(error);
            io::Error::from(kind)
        };
        let count = match self.archive.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Err(error),
            read => read.map_err(|error| kept(error, &mut self.unread))?,
        };
        self.blob.write_all(&buffer[..count]).map_err(|error| kept(error, &mut self.unwritten))?;
        Ok(count)
    }
}
