//! How an image was made, layer by layer: what its config says, and what its layers are.

use serde::Deserialize;

use super::digest::Digest;
use super::manifest::{Descriptor, LayerDigests, read_json};
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

/// What shows from which other images an image was made.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ImageOrigin {
    rootfs: LayerDigests,
    #[serde(default)]
    history: Option<Vec<HistoryStep>>,
}

impl ImageOrigin {
    /// That of an image.
    ///
    /// # Errors
    /// Its config cannot be read.
    pub fn of(store: &ImageStore, image: &StoredImage) -> Result<ImageOrigin> {
        read_json(&store.document(&image.id)?, &image.id.to_string())
    }

    /// Whether this image was made from the other one: it has all of its layers and more, or all of its steps and more. A step that
    /// only changes the config adds no layer.
    pub fn is_from(&self, other: &ImageOrigin) -> bool {
        let (own, others) = (&self.rootfs.diff_ids, &other.rootfs.diff_ids);
        let steps = |lineage: &ImageOrigin| lineage.history.clone().unwrap_or_default();
        let (own_steps, other_steps) = (steps(self), steps(other));
        let has_more_layers = !others.is_empty() && own.len() > others.len();
        let has_more_steps = !other_steps.is_empty()
            && own_steps.len() > other_steps.len()
            && own_steps.starts_with(&other_steps);
        own.starts_with(others) && (has_more_layers || has_more_steps)
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_made_from_those_whose_layers_or_steps_it_begins_with() {
        let of = |layers: &[&str], steps: &[&str]| {
            let layers: Vec<Digest> = layers.iter().map(|layer| Digest::of(layer.as_bytes())).collect();
            let steps: Vec<_> = steps.iter().map(|step| serde_json::json!({ "created_by": step })).collect();
            let config = serde_json::json!({ "rootfs": { "diff_ids": layers }, "history": steps });
            serde_json::from_value::<ImageOrigin>(config).unwrap()
        };
        let base = of(&["a"], &["ADD a"]);
        for child in
            [of(&["a", "b"], &["ADD a", "RUN b"]), of(&["a"], &["ADD a", "CMD x"]), of(&["a", "b"], &[])]
        {
            assert!(child.is_from(&base) && !base.is_from(&child), "{child:?}");
        }
        let empty = of(&[], &[]);
        for other in
            [base.clone(), of(&["b", "a"], &["ADD a"]), of(&["a"], &["ADD b", "CMD x"]), empty.clone()]
        {
            assert!(!other.is_from(&base) && !other.is_from(&empty), "{other:?}");
        }
    }
}
