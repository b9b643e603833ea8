//! How an image was made, layer by layer: what its config says, and what its layers are.

use serde::Deserialize;

use super::digest::Digest;
use super::manifest::{Descriptor, read_json};
use super::rootfs;
use super::store::{ImageParts, ImageStore, StoredImage};
use crate::error::Result;

/// A step of the making of an image.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct HistoryStep {
    /// When it was made: RFC 3339.
    pub created: Option<String>,
    /// The command that made it.
    pub created_by: String,
    /// What its maker says about it.
    pub comment: String,
    /// Whether it has made no layer: it only changed the config.
    pub empty_layer: bool,
}

/// A layer of an image, with all of its names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageLayer {
    /// The blob.
    pub blob: Descriptor,
    /// The digest of its archive, not compressed.
    pub diff_id: Digest,
    /// Its name together with the layers below.
    pub chain_id: Digest,
    /// The size of its files. None: it is not unpacked.
    pub size: Option<u64>,
}

/// A step, with its layer if it has made one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageStep {
    /// What the config says.
    pub step: HistoryStep,
    /// The layer.
    pub layer: Option<ImageLayer>,
}

/// The steps of an image, the first one first.
///
/// A config need not have a history, and may have one that does not fit: then each layer is a step without a command.
///
/// # Errors
/// A document of the image cannot be read.
pub fn steps(store: &ImageStore, image: &StoredImage) -> Result<Vec<ImageStep>> {
    #[derive(Deserialize)]
    struct WithHistory {
        #[serde(default)]
        history: Option<Vec<HistoryStep>>,
    }
    let parts = store.parts(&image.descriptor)?;
    let config = store.document(&parts.manifest.config.digest)?;
    let history: WithHistory = read_json(&config, &image.id.to_string())?;
    let mut layers = layers(store, &parts).into_iter();
    let history = history.history.unwrap_or_default();
    let fits = history.iter().filter(|step| !step.empty_layer).count() == parts.manifest.layers.len();
    if !fits {
        return Ok(layers
            .map(|layer| ImageStep { step: HistoryStep::default(), layer: Some(layer) })
            .collect());
    }
    let step = |step: HistoryStep| {
        let layer = if step.empty_layer { None } else { layers.next() };
        ImageStep { step, layer }
    };
    Ok(history.into_iter().map(step).collect())
}

/// The layers of an image, the lowest first.
pub fn layers(store: &ImageStore, parts: &ImageParts) -> Vec<ImageLayer> {
    let rootfs = &parts.config.rootfs;
    let names = rootfs.diff_ids.iter().zip(rootfs.chain_ids());
    let layer = |(blob, (diff_id, chain_id)): (&Descriptor, (&Digest, Digest))| ImageLayer {
        blob: blob.clone(),
        diff_id: diff_id.clone(),
        size: rootfs::size_of(store, &chain_id),
        chain_id,
    };
    parts.manifest.layers.iter().zip(names).map(layer).collect()
}
