//! An image as `image inspect` prints it: Docker's keys.

use std::collections::BTreeSet;

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
    let same: Vec<StoredImage> = store.all()?.into_iter().filter(|other| other.id == image.id).collect();
    let names: Vec<&Reference> = same.iter().filter_map(|other| other.name.as_ref()).collect();
    let digest = |other: &StoredImage| {
        Some(format!("{}@{}", other.name.as_ref()?.familiar_name(), other.registry_digest()))
    };
    let digests: BTreeSet<String> = same.iter().filter_map(digest).collect();
    let empty = Value::String(String::new());
    let known = |key: &str| config.get(key).cloned().unwrap_or_else(|| empty.clone());
    // `commit` and `import` write their comment into the history.
    let last =
        config.pointer("/history").and_then(Value::as_array).and_then(|steps| steps.last()?.get("comment"));
    Ok(json!({
        "Id": image.id,
        "RepoTags": names.iter().filter(|name| name.tag.is_some()).map(|name| name.familiar()).collect::<Vec<_>>(),
        "RepoDigests": digests,
        "Comment": config.get("comment").or(last).cloned().unwrap_or_else(|| empty.clone()),
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
