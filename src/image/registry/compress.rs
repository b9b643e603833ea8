//! Compresses the layers of a push that are stored as plain archives: those that were made here. What was pulled is sent as it
//! was pulled.
//!
//! The config names the layers by the digests of their plain archives. So the image keeps its ID, and only the manifest changes.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, Write};

use flate2::{Compression as Level, GzBuilder};

use super::client::RegistryClient;
use crate::error::{Error, ExitKind, Result, io_text};
use crate::image::decompress::{MAGIC, is_compressed};
use crate::image::digest::Digesting;
use crate::image::manifest::{Descriptor, media};
use crate::image::store::{ImageStore, Ingest};
use crate::text::{text, text_with};
use crate::value::json_error;

/// A layer as it is sent.
pub(super) struct SentLayer<'s> {
    /// Its type, digest and size.
    pub(super) descriptor: Descriptor,
    /// What it is sent from.
    pub(super) file: File,
    /// The place of the file, which is removed with this value.
    _ingest: Option<Ingest<'s>>,
}

/// The layer, compressed by gzip if it is not compressed yet.
///
/// The header of gzip gets no time and no name, so the same layer always gets the same digest, and a registry that has it gets it
/// once.
///
/// # Errors
/// The blob cannot be read or is damaged; the compressed one cannot be written.
pub(super) fn layer<'s>(
    store: &'s ImageStore,
    client: &RegistryClient<'_>,
    layer: &Descriptor,
    begins: &dyn Fn(&File),
) -> Result<SentLayer<'s>> {
    let mut file = store.blob(&layer.digest)?;
    let unread = |error: io::Error| Error::failed(text("image.layer.wrong")).why(io_text(&error));
    let media_type = match compressed_type(&layer.media_type) {
        Some(media_type) if is_plain(&mut file).map_err(unread)? => media_type,
        _ => return Ok(SentLayer { descriptor: layer.clone(), file, _ingest: None }),
    };
    begins(&file);
    client.tell(&"read(<blobs>); write(<ingest>)", "registry.explain.compress");
    let ingest = store.ingest()?;
    let mut plain = Digesting::new(BufReader::new(file));
    let buffered = BufWriter::new(ingest.blob()?);
    let mut encoder = GzBuilder::new().mtime(0).write(buffered, Level::default());
    let copied = io::copy(&mut plain, &mut encoder).and_then(|_| encoder.finish());
    let blob = copied.and_then(|mut buffered| buffered.flush().map(|()| buffered));
    let blob = blob.and_then(|buffered| buffered.into_inner().map_err(io::IntoInnerError::into_error));
    let blob = ingest.staged(blob.map_err(|error| ingest.unwritten(&error))?);
    // A damaged layer would get a right digest here.
    if plain.digester.finish() != layer.digest {
        return Err(store.changed(&layer.digest));
    }
    let file = ingest.open(&blob)?;
    let descriptor = Descriptor { media_type, digest: blob.digest, size: blob.size, ..layer.clone() };
    Ok(SentLayer { descriptor, file, _ingest: Some(ingest) })
}

/// The type of a plain layer when gzip has compressed it. None: it is another type.
fn compressed_type(media_type: &str) -> Option<String> {
    match media_type {
        media::OCI_LAYER => Some(format!("{media_type}+gzip")),
        _ => (media::DOCKER_LAYER.strip_suffix(".gzip") == Some(media_type))
            .then(|| media::DOCKER_LAYER.to_owned()),
    }
}

/// Whether a file is not compressed, whatever its type says.
fn is_plain(file: &mut File) -> io::Result<bool> {
    let mut start = Vec::new();
    (&mut *file).take(MAGIC).read_to_end(&mut start)?;
    file.rewind()?;
    Ok(!is_compressed(&start))
}

/// The manifest with these layers. All else stays as it is.
///
/// # Errors
/// It has no such list.
pub(super) fn manifest_with(manifest: &[u8], layers: &[Descriptor]) -> Result<Vec<u8>> {
    let wrong = |why: String| {
        let what = text_with("image.document", &[("document", "manifest")]);
        Error::new(ExitKind::Refused, what).why(why)
    };
    let mut changed: serde_json::Value =
        serde_json::from_slice(manifest).map_err(|error| wrong(json_error::reason(manifest, &error)))?;
    let written = changed.get_mut("layers").and_then(serde_json::Value::as_array_mut);
    let written = written.filter(|written| written.len() == layers.len());
    for (written, layer) in written.ok_or_else(|| wrong(text("image.document.list")))?.iter_mut().zip(layers)
    {
        written["mediaType"] = layer.media_type.clone().into();
        written["digest"] = layer.digest.to_string().into();
        written["size"] = layer.size.into();
    }
    Ok(changed.to_string().into_bytes())
}
