//! An image as `image inspect` and the daemon describe it: Docker's keys, also where there is nothing to say.

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
        Some(format!("{}@{}", other.name.as_ref()?.familiar_name(), other.registry_digest()?))
    };
    let digests: BTreeSet<String> = same.iter().filter_map(digest).collect();
    let empty = Value::String(String::new());
    let known = |key: &str| config.get(key).cloned().unwrap_or_else(|| empty.clone());
    // `commit` and `import` write their comment into the history.
    let last =
        config.pointer("/history").and_then(Value::as_array).and_then(|steps| steps.last()?.get("comment"));
    // Clients take a null for a config with everything empty, and some do not expect it.
    let mut run = config.get("config").and_then(Value::as_object).cloned().unwrap_or_default();
    for key in ["Cmd", "Entrypoint", "Env", "Labels", "OnBuild", "Volumes"] {
        run.entry(key).or_insert(Value::Null);
    }
    for key in ["User", "WorkingDir"] {
        run.entry(key).or_insert_with(|| empty.clone());
    }
    Ok(json!({
        "Id": image.id,
        "RepoTags": names.iter().filter(|name| name.tag.is_some()).map(|name| name.familiar()).collect::<Vec<_>>(),
        "RepoDigests": digests,
        "Comment": config.get("comment").or(last).cloned().unwrap_or_else(|| empty.clone()),
        "Created": known("created"),
        "Author": known("author"),
        "Config": run,
        "Architecture": known("architecture"),
        "Variant": known("variant"),
        "Os": known("os"),
        "Size": image.size,
        "VirtualSize": image.size,
        "Parent": "",
        "DockerVersion": "",
        "Container": "",
        "GraphDriver": { "Name": "overlay2", "Data": {} },
        "Metadata": { "LastTagTime": "0001-01-01T00:00:00Z" },
        "RootFS": { "Type": "layers", "Layers": parts.config.rootfs.diff_ids },
        "Descriptor": {
            "mediaType": image.descriptor.media_type,
            "digest": image.descriptor.digest,
            "size": image.descriptor.size,
        },
    }))
}
