//! An image on its way into the store: of an archive, or made here.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::Tell;
use super::digest::Digest;
use super::layer::LayerCounts;
use super::manifest::{Descriptor, ImageManifest, media, read_json};
use super::reference::Reference;
use super::rootfs;
use super::store::{ImageParts, ImageStore, Ingest, StagedBlob, StoredImage, manifest_descriptor};
use crate::error::Result;
use crate::plan::call::user::IdMaps;

/// An image whose blobs are written, and have no names in the store yet.
#[derive(Debug)]
pub struct NewImage {
    /// Its manifest.
    pub descriptor: Descriptor,
    /// Its documents.
    pub parts: ImageParts,
    /// The names that it gets.
    pub names: Vec<Reference>,
    /// Its blobs, the manifest last. What the store has already may be missing.
    pub blobs: Vec<StagedBlob>,
}

/// An image that is stored now.
#[derive(Debug)]
pub struct AddedImage {
    /// The image.
    pub image: StoredImage,
    /// The names that it got.
    pub names: Vec<Reference>,
    /// What could not be made of its layers.
    pub counts: LayerCounts,
}

impl NewImage {
    /// An image with one layer that was made here, not compressed. `config` has the digest of the layer.
    ///
    /// # Errors
    /// The documents cannot be written.
    pub fn of_layer(ingest: &Ingest<'_>, layer: StagedBlob, config: &Value) -> Result<NewImage> {
        NewImage::of_layers(ingest, Vec::new(), layer, config)
    }

    /// An image with a further layer on top of those that the store has.
    ///
    /// # Errors
    /// As [`NewImage::of_layer`].
    pub fn of_layers(
        ingest: &Ingest<'_>,
        layers: Vec<Descriptor>,
        top: StagedBlob,
        config: &Value,
    ) -> Result<NewImage> {
        NewImage::of_step(ingest, layers, Some(top), config)
    }

    /// An image with the layers that the store has, with or without a further one.
    ///
    /// # Errors
    /// As [`NewImage::of_layer`].
    pub fn of_step(
        ingest: &Ingest<'_>,
        mut layers: Vec<Descriptor>,
        top: Option<StagedBlob>,
        config: &Value,
    ) -> Result<NewImage> {
        layers.extend(top.as_ref().map(|top| described(media::OCI_LAYER, top)));
        let config_bytes = config.to_string().into_bytes();
        let config_blob = ingest.write(&config_bytes)?;
        let manifest = ImageManifest {
            schema_version: 2,
            media_type: Some(media::OCI_MANIFEST.to_owned()),
            config: described(media::OCI_CONFIG, &config_blob),
            layers,
        };
        let manifest_blob = ingest.write(json!(manifest).to_string().as_bytes())?;
        let descriptor = manifest_descriptor(media::OCI_MANIFEST, &manifest_blob.digest, manifest_blob.size);
        let config = read_json(&config_bytes, &config_blob.digest.to_string())?;
        let blobs = top.into_iter().chain([config_blob, manifest_blob]).collect();
        Ok(NewImage { descriptor, parts: ImageParts { manifest, config }, names: Vec::new(), blobs })
    }

    /// The same image with this name.
    pub fn named(self, name: Option<Reference>) -> NewImage {
        NewImage { names: name.into_iter().collect(), ..self }
    }

    /// Unpacks the layers that are not unpacked yet.
    ///
    /// # Errors
    /// A layer cannot be unpacked.
    pub fn unpack(
        &self,
        store: &ImageStore,
        ingest: &Ingest<'_>,
        maps: Option<&IdMaps>,
        tell: Tell<'_>,
    ) -> Result<LayerCounts> {
        let open = |digest: &Digest| {
            let staged = self.blobs.iter().find(|blob| blob.digest == *digest);
            staged.map_or_else(|| store.blob(digest), |staged| ingest.open(staged))
        };
        let layers = rootfs::unpack_all(store, &self.parts, &open, maps, tell)?;
        Ok(layers.into_iter().fold(LayerCounts::default(), |sum, layer| sum.and(&layer.counts)))
    }

    /// Gives the blobs and the image their names.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn add(
        self,
        store: &ImageStore,
        ingest: &Ingest<'_>,
        counts: LayerCounts,
        tell: Tell<'_>,
    ) -> Result<AddedImage> {
        let image = self.publish(ingest, counts.size, tell)?;
        let names = self.names;
        tell(&"write(<index.json.new>); rename(\"index.json.new\", \"index.json\")", "image.explain.index");
        if names.is_empty() {
            store.name(&image, None)?;
        }
        names.iter().try_for_each(|name| store.name(&image, Some(name)))?;
        Ok(AddedImage { image, names, counts })
    }
}

impl NewImage {
    /// Gives the blobs their names. The image itself has only its ID. `size` is that of all its files.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn publish(&self, ingest: &Ingest<'_>, size: u64, tell: Tell<'_>) -> Result<StoredImage> {
        for blob in &self.blobs {
            let name = format!("rename(<ingest>, \"blobs/sha256/{}\")", blob.digest.hex());
            tell(&format!("fsync(<ingest>); {name}"), "image.explain.blob");
        }
        ingest.publish(&self.blobs)?;
        Ok(StoredImage {
            name: self.names.first().cloned(),
            descriptor: self.descriptor.clone(),
            id: self.parts.manifest.config.digest.clone(),
            size,
            created: self.parts.config.created.clone(),
        })
    }
}

/// The descriptor of a blob.
pub(super) fn described(media_type: &str, blob: &StagedBlob) -> Descriptor {
    Descriptor {
        media_type: media_type.to_owned(),
        digest: blob.digest.clone(),
        size: blob.size,
        platform: None,
        annotations: BTreeMap::new(),
        others: BTreeMap::new(),
    }
}
