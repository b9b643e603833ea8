//! An image as `image inspect` prints it: Docker's keys.

use serde_json::{Value, json};

use super::manifest::read_json;
use super::reference::Reference;
use super::store::{ImageStore, StoredImage};
use crate::error::Result;

/// Everything about an image.
///
/// # Errors
/// A document of the image cannot be read.
pub fn inspected(store: &ImageStore, image: &StoredImage) -> Result<Value> {
    let parts = store.parts(&image.descriptor)?;
    let config: Value = read_json(&store.document(&image.id)?, &image.id.to_string())?;
    let names = store.all()?.into_iter().filter(|other| other.id == image.id).filter_map(|other| other.name);
    let names: Vec<Reference> = names.collect();
    let digest = |name: &Reference| format!("{}@{}", name.familiar_name(), image.descriptor.digest);
    let mut digests: Vec<String> = names.iter().map(digest).collect();
    digests.dedup();
    let known = |key: &str| config.get(key).cloned().unwrap_or(Value::String(String::new()));
    Ok(json!({
        "Id": image.id,
        "RepoTags": names.iter().filter(|name| name.tag.is_some()).map(Reference::familiar).collect::<Vec<_>>(),
        "RepoDigests": digests,
        "Comment": known("comment"),
        "Created": known("created"),
        "Author": known("author"),
        "Config": config.get("config").cloned().unwrap_or(Value::Null),
        "Architecture": known("architecture"),
        "Variant": known("variant"),
        "Os": known("os"),
        "Size": image.size,
        "RootFS": { "Type": "layers", "Layers": parts.config.rootfs.diff_ids },
        "Descriptor": {
            "mediaType": image.descriptor.media_type,
            "digest": image.descriptor.digest,
            "size": image.descriptor.size,
        },
    }))
}
