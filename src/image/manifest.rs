//! The documents of an image: index, manifest and config, as the OCI image specification and Docker's schema 2 have
//! them.
//!
//! They are kept as bytes, because a digest names bytes. Only the fields that are used are read here.

use std::collections::BTreeMap;

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use super::digest::Digest;
pub use super::platform::Platform;
use crate::error::{Error, ExitKind, Result};
use crate::text::{printed, text, text_with, word};
use crate::value::json_error;

/// The maximum size of a document, in bytes: that of most registries.
pub const MAX_DOCUMENT: u64 = 4 << 20;

/// The maximum number of layers: an overlay has no room for more.
pub const MAX_LAYERS: usize = 127;

/// The media types.
pub mod media {
    /// An OCI index.
    pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
    /// An OCI manifest.
    pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
    /// An OCI config.
    pub const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
    /// An OCI layer. `+gzip` or `+zstd` follows if it is compressed.
    pub const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
    /// Docker's index.
    pub const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
    /// Docker's manifest.
    pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
    /// Docker's config.
    pub const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
    /// Docker's layer: always compressed by gzip.
    pub const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";

    /// Whether a descriptor of this type leads to an index.
    pub fn is_index(media_type: &str) -> bool {
        [OCI_INDEX, DOCKER_INDEX].contains(&media_type)
    }

    /// Whether a descriptor of this type leads to a manifest.
    pub fn is_manifest(media_type: &str) -> bool {
        [OCI_MANIFEST, DOCKER_MANIFEST].contains(&media_type)
    }

    /// Whether this is a layer that only another server has, which no copy of the image may contain.
    pub fn is_foreign(media_type: &str) -> bool {
        media_type.contains(".nondistributable.") || media_type.contains(".foreign.")
    }

    /// Whether this is a layer that can be unpacked. What compresses it is read from its first bytes.
    pub fn is_layer(media_type: &str) -> bool {
        let compressed = ["", "+gzip", "+zstd"].map(|end| format!("{OCI_LAYER}{end}"));
        let docker =
            ["", ".gzip", ".zstd"].map(|end| format!("application/vnd.docker.image.rootfs.diff.tar{end}"));
        compressed.iter().chain(&docker).any(|known| known == media_type)
    }
}

/// Names a content, with its type and size.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What it is.
    pub media_type: String,
    /// Its name.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// The system for which it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// What else is known about it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Other fields, which are kept as they are.
    #[serde(flatten)]
    pub others: BTreeMap<String, serde_json::Value>,
}

/// A list of manifests, one for each platform, or of all images of a layout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageIndex {
    /// Always 2.
    pub schema_version: u32,
    /// Its own type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// The manifests.
    #[serde(default)]
    pub manifests: Vec<Descriptor>,
    /// Other fields, which are kept as they are.
    #[serde(flatten)]
    pub others: BTreeMap<String, serde_json::Value>,
}

impl ImageIndex {
    /// The entry for a platform, of the best variant for it. If none names it, the first one that names none, which OCI allows: its
    /// config says what it is for.
    pub fn entry_for(&self, wanted: &Platform) -> Option<&Descriptor> {
        let level = |entry: &&Descriptor| entry.platform.as_ref().and_then(Platform::level);
        let suits = |entry: &&Descriptor| entry.platform.as_ref().is_some_and(|own| own.suits(wanted));
        let is_image = |entry: &&Descriptor| {
            entry.platform.is_none()
                && (media::is_manifest(&entry.media_type) || media::is_index(&entry.media_type))
        };
        // Of several with the same variant, the first one counts.
        let best = self.manifests.iter().rev().filter(suits).max_by_key(level);
        best.or_else(|| self.manifests.iter().find(is_image))
    }
}

/// An image: its config and its layers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageManifest {
    /// Always 2.
    pub schema_version: u32,
    /// Its own type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// How to run it.
    pub config: Descriptor,
    /// The layers, the lowest first.
    pub layers: Vec<Descriptor>,
}

/// How to run an image, and what its layers are when they are not compressed.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ImageConfig {
    /// When it was made: RFC 3339.
    #[serde(default)]
    pub created: Option<String>,
    /// `amd64`.
    #[serde(default)]
    pub architecture: String,
    /// `linux`.
    #[serde(default)]
    pub os: String,
    /// How a container of the image is run, if nothing else is asked for.
    #[serde(default, rename = "config", deserialize_with = "or_default")]
    pub run: RunConfig,
    /// The layers.
    pub rootfs: LayerDigests,
}

/// How a container of an image is run. Docker writes null for what is not set.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct RunConfig {
    /// `USER[:GROUP]`: names or numbers.
    #[serde(deserialize_with = "or_default")]
    pub user: String,
    /// The ports on which the command listens: `80/tcp`.
    #[serde(deserialize_with = "or_default")]
    pub exposed_ports: BTreeMap<String, IgnoredValue>,
    /// The environment, as `NAME=VALUE`.
    #[serde(deserialize_with = "or_default")]
    pub env: Vec<String>,
    /// The first words of the command.
    #[serde(deserialize_with = "or_default")]
    pub entrypoint: Vec<String>,
    /// The words after them, if the user gives no others.
    #[serde(deserialize_with = "or_default")]
    pub cmd: Vec<String>,
    /// The directories that are volumes.
    #[serde(deserialize_with = "or_default")]
    pub volumes: BTreeMap<String, IgnoredValue>,
    /// The working directory.
    #[serde(deserialize_with = "or_default")]
    pub working_dir: String,
    /// What is known about the image.
    #[serde(deserialize_with = "or_default")]
    pub labels: BTreeMap<String, String>,
    /// The signal that asks the command to stop.
    #[serde(deserialize_with = "or_default")]
    pub stop_signal: String,
}

/// A value that says nothing: the config has sets as objects with empty values.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct IgnoredValue;

impl<'de> Deserialize<'de> for IgnoredValue {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        IgnoredAny::deserialize(deserializer).map(|_| IgnoredValue)
    }
}

/// Reads a value; null is the default.
pub(super) fn or_default<'de, D, T>(deserializer: D) -> std::result::Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

/// The layers of a config.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct LayerDigests {
    /// The digest of each layer when it is not compressed, the lowest first.
    #[serde(default)]
    pub diff_ids: Vec<Digest>,
}

impl LayerDigests {
    /// The chain ID of each layer: the name of the layer together with those below it.
    ///
    /// That of the lowest is its digest. That of any other is the digest of the text `CHAIN-ID-BELOW DIFF-ID`.
    pub fn chain_ids(&self) -> Vec<Digest> {
        let mut chain: Vec<Digest> = Vec::with_capacity(self.diff_ids.len());
        for diff_id in &self.diff_ids {
            chain.push(match chain.last() {
                None => diff_id.clone(),
                Some(below) => Digest::of(format!("{below} {diff_id}").as_bytes()),
            });
        }
        chain
    }
}

/// A document that is either an index or a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageDocument {
    /// An index.
    Index(ImageIndex),
    /// A manifest.
    Manifest(ImageManifest),
}

/// The error of a document that is not what it should be.
fn wrong(what: &str, why: impl Into<String>) -> Error {
    let what = text_with("image.document", &[("document", what)]);
    Error::new(ExitKind::Refused, what).why(why)
}

/// Reads an index or a manifest. `media_type` is what the descriptor or the registry says that it is.
///
/// # Errors
/// It is neither, or both, or another one than was said: a program that looks at other fields would see another image.
pub fn read_document(bytes: &[u8], media_type: &str, what: &str) -> Result<ImageDocument> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct DocumentShape {
        media_type: Option<String>,
        manifests: Option<IgnoredAny>,
        layers: Option<IgnoredAny>,
        config: Option<IgnoredAny>,
        fs_layers: Option<IgnoredAny>,
    }
    let shape: DocumentShape = read_json(bytes, what)?;
    let own = shape.media_type.as_deref().unwrap_or(media_type);
    if shape.fs_layers.is_some() {
        return Err(wrong(what, text("image.document.schema1")));
    }
    if own != media_type {
        let values = [("own", &*printed(own)), ("said", &word(&printed(media_type)))];
        return Err(wrong(what, text_with("image.document.differs", &values)));
    }
    let is_index = shape.manifests.is_some();
    let is_manifest = shape.layers.is_some() || shape.config.is_some();
    if is_index && is_manifest {
        return Err(wrong(what, text("image.document.both")));
    }
    match media_type {
        _ if media::is_index(media_type) && !is_manifest => read_json(bytes, what).map(ImageDocument::Index),
        _ if media::is_manifest(media_type) && !is_index => {
            read_json(bytes, what).map(ImageDocument::Manifest)
        }
        _ => Err(wrong(what, text_with("image.document.type", &[("type", &printed(media_type))]))),
    }
}

/// Checks that a manifest and its config are about the same layers, and that all of them can be unpacked.
///
/// # Errors
/// They are not.
pub fn check_layers(manifest: &ImageManifest, config: &ImageConfig, what: &str) -> Result<()> {
    let (layers, digests) = (&manifest.layers, &config.rootfs.diff_ids);
    if layers.len() != digests.len() {
        let values = [("layers", &*layers.len().to_string()), ("digests", &digests.len().to_string())];
        return Err(wrong(what, text_with("image.document.layers", &values)));
    }
    if layers.len() > MAX_LAYERS {
        let values = [("count", &*layers.len().to_string()), ("most", &MAX_LAYERS.to_string())];
        return Err(wrong(what, text_with("image.document.many", &values)));
    }
    for layer in layers {
        if i64::try_from(layer.size).is_err() {
            let values = [("digest", &*layer.digest.to_string()), ("size", &layer.size.to_string())];
            return Err(wrong(what, text_with("image.document.size", &values)));
        }
        if media::is_foreign(&layer.media_type) {
            let values = [("digest", &*layer.digest.to_string())];
            return Err(wrong(what, text_with("image.document.foreign", &values)));
        }
        if !media::is_layer(&layer.media_type) {
            let values = [("digest", &*layer.digest.to_string()), ("type", &printed(&layer.media_type))];
            return Err(wrong(what, text_with("image.document.layer", &values)));
        }
    }
    Ok(())
}

/// Checks that a manifest is that of an image for containers. Charts, signatures and other files have manifests too.
///
/// # Errors
/// It is not.
pub fn check_config(manifest: &ImageManifest, what: &str) -> Result<()> {
    let own = manifest.config.media_type.as_str();
    // The last one is of images that Docker made before 2016.
    match [media::OCI_CONFIG, media::DOCKER_CONFIG, "application/octet-stream"].contains(&own) {
        true => Ok(()),
        false => Err(wrong(what, text_with("image.document.artifact", &[("type", &printed(own))]))),
    }
}

/// Checks that an image is for Linux: this kernel executes no other program. An old image does not say it.
///
/// # Errors
/// It is for another system.
pub fn check_system(config: &ImageConfig) -> Result<()> {
    match config.os.as_str() {
        os if os.is_empty() || os.eq_ignore_ascii_case("linux") => Ok(()),
        os => Err(Error::new(ExitKind::Refused, text_with("image.document.os", &[("os", &printed(os))]))),
    }
}

/// Reads a JSON document. serde_json refuses more than 128 levels.
///
/// # Errors
/// It is not JSON, or lacks a field; it is too large.
pub fn read_json<T: serde::de::DeserializeOwned>(bytes: &[u8], what: &str) -> Result<T> {
    if bytes.len() as u64 > MAX_DOCUMENT {
        return Err(too_large(what));
    }
    serde_json::from_slice(bytes).map_err(|error| wrong(what, json_error::reason(bytes, &error)))
}

/// The error of a document that is too large to be read.
pub fn too_large(what: &str) -> Error {
    wrong(what, text_with("image.document.large", &[("most", &(MAX_DOCUMENT >> 20).to_string())]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_id_names_a_layer_and_those_below() {
        let diff_ids = vec![Digest::of(b"a"), Digest::of(b"b"), Digest::of(b"c")];
        let chain = LayerDigests { diff_ids: diff_ids.clone() }.chain_ids();
        assert_eq!(chain[0], diff_ids[0]);
        assert_eq!(chain[1], Digest::of(format!("{} {}", diff_ids[0], diff_ids[1]).as_bytes()));
        assert_eq!(chain[2], Digest::of(format!("{} {}", chain[1], diff_ids[2]).as_bytes()));
    }

    fn descriptor(media_type: &str) -> String {
        format!(r#"{{"mediaType":"{media_type}","digest":"{}","size":2}}"#, Digest::of(b"{}"))
    }

    #[test]
    fn a_document_is_one_thing_only() {
        let config = descriptor(media::OCI_CONFIG);
        let manifest = format!(r#"{{"schemaVersion":2,"config":{config},"layers":[]}}"#);
        let index = r#"{"schemaVersion":2,"manifests":[]}"#;
        let read = |bytes: &str, media_type: &str| read_document(bytes.as_bytes(), media_type, "x");
        assert!(matches!(read(&manifest, media::OCI_MANIFEST), Ok(ImageDocument::Manifest(_))));
        assert!(matches!(read(index, media::DOCKER_INDEX), Ok(ImageDocument::Index(_))));
        let both = format!(r#"{{"schemaVersion":2,"config":{config},"layers":[],"manifests":[]}}"#);
        let other = format!(r#"{{"schemaVersion":2,"mediaType":"{}","manifests":[]}}"#, media::OCI_INDEX);
        let deep = "[".repeat(100_000);
        for (bytes, media_type) in [
            (both.as_str(), media::OCI_MANIFEST),
            (&both, media::OCI_INDEX),
            (&manifest, media::OCI_INDEX),
            (index, media::OCI_MANIFEST),
            (&other, media::DOCKER_INDEX),
            (index, "text/html"),
            (r#"{"schemaVersion":1,"fsLayers":[]}"#, media::DOCKER_MANIFEST),
            ("<html>", media::OCI_INDEX),
            (&deep, media::OCI_INDEX),
            (&format!("{index}{}", " ".repeat(MAX_DOCUMENT as usize)), media::OCI_INDEX),
        ] {
            assert!(read(bytes, media_type).is_err(), "{:.80} as {media_type}", bytes);
        }
    }

    #[test]
    fn layers_that_cannot_be_unpacked_are_refused() {
        let image = |types: &[&str], count: usize| {
            let layers: Vec<String> = types.iter().map(|one| descriptor(one)).collect();
            let config = descriptor(media::OCI_CONFIG);
            let manifest =
                format!(r#"{{"schemaVersion":2,"config":{config},"layers":[{}]}}"#, layers.join(","));
            let diff_ids = vec![Digest::of(b""); count];
            let (created, text) = (None, String::new());
            let config = ImageConfig {
                created,
                architecture: text.clone(),
                os: text,
                run: RunConfig::default(),
                rootfs: LayerDigests { diff_ids },
            };
            let ImageDocument::Manifest(manifest) =
                read_document(manifest.as_bytes(), media::OCI_MANIFEST, "x")?
            else {
                unreachable!()
            };
            check_layers(&manifest, &config, "x")
        };
        let plain = media::OCI_LAYER;
        let (gzip, zstd) = (format!("{plain}+gzip"), format!("{plain}+zstd"));
        assert_eq!(image(&[plain, &gzip, &zstd, media::DOCKER_LAYER], 4), Ok(()));
        assert!(image(&[plain], 2).is_err());
        assert!(image(&[plain; MAX_LAYERS + 1], MAX_LAYERS + 1).is_err());
        for wrong in [
            "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
            "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
            "application/vnd.in-toto+json",
            "",
        ] {
            assert!(image(&[wrong], 1).is_err(), "{wrong}");
        }
    }
}
