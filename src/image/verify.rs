//! Computes every digest of an image again, from what is on the disk, and compares the unpacked files with what they were.

use std::fs::File;
use std::io::{self, Seek};

use super::decompress::decompressed;
use super::digest::{Digest, Digesting};
use super::history::{self, ImageLayer};
use super::rootfs;
use super::store::{ImageStore, StoredImage};
use crate::error::{Error, Result, io_text};
use crate::plan::call::user::IdMaps;
use crate::text::{text, text_with};

/// What was computed, and what it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedPart {
    /// What it is: `manifest`, `config`, `layer`, `files`.
    pub kind: &'static str,
    /// Its name: of unpacked files, the chain ID.
    pub digest: Digest,
    /// Why it is not what its name says. None: it is.
    pub wrong: Option<String>,
}

/// Checks the manifest, the config and all layers of an image, and the unpacked files of the layers. `maps` are the ID maps of this
/// user's containers.
///
/// # Errors
/// Its manifest or its config cannot be read, so it is not known what its layers are.
pub fn verify(store: &ImageStore, image: &StoredImage, maps: Option<&IdMaps>) -> Result<Vec<VerifiedPart>> {
    let parts = store.parts(&image.descriptor)?;
    let part = |kind, digest: &Digest, wrong| VerifiedPart { kind, digest: digest.clone(), wrong };
    let mut all = vec![
        part("manifest", &image.descriptor.digest, None),
        part("config", &parts.manifest.config.digest, None),
    ];
    for layer in history::layers(store, &parts) {
        let blob = &layer.blob;
        let wrong = store.blob(&blob.digest).and_then(|file| wrong_with(file, &layer).map_err(unread));
        let wrong = wrong.unwrap_or_else(|error| Some(error.reasons()));
        all.push(part("layer", &blob.digest, wrong));
        let wrong = rootfs::wrong_files(store, &layer.chain_id, maps);
        let wrong = wrong.unwrap_or_else(|error| Some(Some(error.reasons())));
        all.extend(wrong.map(|wrong| part("files", &layer.chain_id, wrong)));
    }
    Ok(all)
}

fn unread(error: io::Error) -> Error {
    Error::failed(text("image.layer.wrong")).why(io_text(&error))
}

/// What is wrong with a layer, if anything is.
fn wrong_with(mut file: File, layer: &ImageLayer) -> io::Result<Option<String>> {
    let mut whole = Digesting::new(&file);
    io::copy(&mut whole, &mut io::sink())?;
    let size = whole.digester.count();
    if whole.digester.finish() != layer.blob.digest {
        return Ok(Some(text("image.blob.changed")));
    }
    if size != layer.blob.size {
        let values = [("said", &*layer.blob.size.to_string()), ("found", &size.to_string())];
        return Ok(Some(text_with("image.verify.size", &values)));
    }
    file.rewind()?;
    let mut archive = Digesting::new(decompressed(file)?);
    io::copy(&mut archive, &mut io::sink())?;
    let diff_id = archive.digester.finish();
    let values = [("expected", &*layer.diff_id.to_string()), ("found", &diff_id.to_string())];
    Ok((diff_id != layer.diff_id).then(|| text_with("image.layer.differs", &values)))
}
