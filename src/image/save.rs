//! Writes images to an archive that `docker load`, podman and skopeo read: an OCI image layout, and beside it the file
//! manifest.json, by which older versions of Docker find the same blobs.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};

use serde_json::{Value, json};

use super::digest::Digest;
use super::entries::{ArchiveEntry, EntryKind};
use super::reference::Reference;
use super::store::{self, ImageStore, StoredImage};
use super::tar_writer::ArchiveWriter;
use crate::error::{Error, ExitKind, Result, io_text};
use crate::text::text;

/// The annotation with the name of an image that containerd and Docker write.
const CONTAINERD: &str = "io.containerd.image.name";

/// Writes images, each with the names under which it was asked for.
///
/// # Errors
/// A blob cannot be read or has another digest than its name; the archive cannot be written.
pub fn save(
    store: &ImageStore,
    images: &[(StoredImage, Vec<Reference>)],
    output: &mut impl Write,
) -> Result<()> {
    let mut blobs: BTreeMap<Digest, u64> = BTreeMap::new();
    let (mut index, mut manifests) = (Vec::new(), Vec::new());
    for (image, names) in images {
        let parts = store.parts(&image.descriptor)?;
        let config = &parts.manifest.config;
        let all = [&image.descriptor, config].into_iter().chain(&parts.manifest.layers);
        blobs.extend(all.map(|one| (one.digest.clone(), one.size)));
        let path = |digest: &Digest| format!("blobs/sha256/{}", digest.hex());
        let names_of: Vec<String> = names.iter().map(Reference::familiar).collect();
        manifests.push(json!({
            "Config": path(&config.digest),
            "RepoTags": names_of,
            "Layers": parts.manifest.layers.iter().map(|layer| path(&layer.digest)).collect::<Vec<_>>(),
        }));
        let described = |name: Option<&Reference>| {
            let mut described = json!({
                "mediaType": image.descriptor.media_type,
                "digest": image.descriptor.digest,
                "size": image.descriptor.size,
            });
            if let Some(name) = name {
                described["annotations"] =
                    json!({ CONTAINERD: name.to_string(), (store::NAME): name.to_string() });
            }
            described
        };
        match names.is_empty() {
            true => index.push(described(None)),
            false => index.extend(names.iter().map(|name| described(Some(name)))),
        }
    }
    let documents: [(&str, Value); 3] = [
        ("oci-layout", json!({ "imageLayoutVersion": "1.0.0" })),
        ("index.json", json!({ "schemaVersion": 2, "manifests": index })),
        ("manifest.json", Value::Array(manifests)),
    ];
    let mut writer = ArchiveWriter::new(output);
    let mut write = |entry: &ArchiveEntry, content: &mut dyn Read| {
        writer.entry(entry, &mut { content }).map_err(|error| unwritten(&error))
    };
    for (name, document) in documents {
        let bytes = document.to_string().into_bytes();
        write(&entry(EntryKind::File, name, bytes.len() as u64), &mut &bytes[..])?;
    }
    // skopeo makes a directory without an entry as root's, which it may not do for an ordinary user.
    for name in ["blobs/", "blobs/sha256/"] {
        write(&entry(EntryKind::Directory, name, 0), &mut io::empty())?;
    }
    for (digest, size) in blobs {
        let mut content = super::digest::Digesting::new(store.blob(&digest)?);
        write(&entry(EntryKind::File, &format!("blobs/sha256/{}", digest.hex()), size), &mut content)?;
        // A byte more is a damage too.
        let is_longer = !matches!(content.read(&mut [0]), Ok(0));
        if is_longer || content.digester.finish() != digest {
            return Err(store.changed(&digest));
        }
    }
    writer.finish().map(drop).map_err(|error| unwritten(&error))
}

/// An entry. The owner and the time are always the same, so the same images give the same archive.
fn entry(kind: EntryKind, name: &str, size: u64) -> ArchiveEntry {
    ArchiveEntry {
        kind,
        name: name.into(),
        link: Vec::new(),
        size,
        mode: if kind == EntryKind::Directory { 0o755 } else { 0o644 },
        uid: 0,
        gid: 0,
        mtime: (0, 0),
        device: (0, 0),
        attributes: Vec::new(),
    }
}

fn unwritten(error: &io::Error) -> Error {
    Error::new(ExitKind::Refused, text("image.save.cannot")).why(io_text(error))
}
