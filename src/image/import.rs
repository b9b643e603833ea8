//! An image of an archive of files, as `docker export` and tar(1) write it.

use std::io::{self, BufReader, Read};

use serde_json::{Value, json};

use super::decompress::decompressed;
use super::digest::Digest;
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
}

impl NewConfig {
    /// The config of an image whose only layer this is.
    pub fn of_layer(&self, layer: &Digest) -> Value {
        let here = Platform::here();
        let step = json!({
            "created": self.created,
            "created_by": self.created_by,
            "comment": self.comment,
        });
        let mut config = json!({
            "created": self.created,
            "architecture": here.architecture,
            "os": here.os,
            "config": self.config,
            "history": [step],
            "rootfs": { "type": "layers", "diff_ids": [layer] },
        });
        if !self.author.is_empty() {
            config["author"] = self.author.clone().into();
        }
        config
    }
}

/// Makes an image whose only layer is this archive. It may be compressed; in the store it is not.
///
/// # Errors
/// The archive cannot be read, or the store cannot be written.
pub fn import(ingest: &Ingest<'_>, archive: impl Read, about: &NewConfig) -> Result<NewImage> {
    let unread =
        |error: &io::Error| Error::new(ExitKind::Refused, text("image.import.unread")).why(io_text(error));
    let mut archive = decompressed(BufReader::new(archive)).map_err(|error| unread(&error))?;
    let mut blob = ingest.blob()?;
    let mut buffer = vec![0; 256 << 10];
    loop {
        let count = archive.read(&mut buffer).map_err(|error| unread(&error))?;
        if count == 0 {
            break;
        }
        io::Write::write_all(&mut blob, &buffer[..count]).map_err(|error| ingest.unwritten(&error))?;
    }
    let layer = ingest.staged(blob);
    let config = about.of_layer(&layer.digest);
    NewImage::of_layer(ingest, layer, &config)
}
