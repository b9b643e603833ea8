//! Writes images to an archive that `docker load`, podman and skopeo read: an OCI image layout, and beside it the file
//! manifest.json, by which older versions of Docker find the same blobs.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};

use serde_json::{Value, json};

use super::digest::Digest;
use super::reference::Reference;
use super::store::{self, ImageStore, StoredImage};
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
    for (name, document) in documents {
        let bytes = document.to_string().into_bytes();
        member(output, name, bytes.len() as u64, &mut &bytes[..])?;
    }
    for (digest, size) in blobs {
        let mut content = super::digest::Digesting::new(store.blob(&digest)?);
        member(output, &format!("blobs/sha256/{}", digest.hex()), size, &mut content)?;
        if content.digester.finish() != digest {
            return Err(store.changed(&digest));
        }
    }
    output.write_all(&[0; 1024]).and_then(|()| output.flush()).map_err(|error| unwritten(&error))
}

/// Writes a file. The times are always the same, so the same images give the same archive.
fn member(output: &mut impl Write, name: &str, size: u64, content: &mut impl Read) -> Result<()> {
    let mut header = tar::Header::new_ustar();
    let fields = header.as_old_mut();
    fields.name[..name.len()].copy_from_slice(name.as_bytes());
    header.set_entry_type(tar::EntryType::Regular);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(size);
    header.set_cksum();
    output.write_all(header.as_bytes()).map_err(|error| unwritten(&error))?;
    let copied = io::copy(content, output).map_err(|error| unwritten(&error))?;
    if copied != size {
        return Err(unwritten(&io::ErrorKind::UnexpectedEof.into()));
    }
    let padding = usize::try_from(size.wrapping_neg() % 512).unwrap_or_default();
    output.write_all(&[0; 512][..padding]).map_err(|error| unwritten(&error))
}

fn unwritten(error: &io::Error) -> Error {
    Error::new(ExitKind::Refused, text("image.save.cannot")).why(io_text(error))
}
