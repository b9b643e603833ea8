//! Reads images from an archive of `docker save` or `skopeo`, or from an image layout in a directory.
//!
//! The files of an archive come in any order, and standard input cannot be read twice. So all of them are written to
//! the store as blobs without names, with their digests, and only those that an image names get names. The rest is
//! removed.

mod members;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::PathBuf;

use serde::Deserialize;
use serde_json::json;

use self::members::Members;
use super::Tell;
use super::decompress::Compression;
use super::digest::Digest;
use super::manifest::{
    Descriptor, ImageConfig, ImageDocument, ImageIndex, ImageManifest, MAX_DOCUMENT, Platform, check_config,
    check_system, media, read_document, read_json, too_large,
};
use super::new_image::{AddedImage, NewImage, described};
use super::reference::Reference;
use super::store::{ImageParts, ImageStore, StagedBlob, manifest_descriptor};
use crate::error::{Error, ExitKind, Result, io_text};
use crate::plan::call::user::IdMaps;
use crate::text::{printed, text, text_with};

/// Where images are read from.
pub enum ArchiveSource {
    /// An archive, perhaps compressed.
    Stream(Box<dyn Read>),
    /// A directory with an image layout.
    Directory(PathBuf),
}

/// Reads all images of an archive into the store, and unpacks their layers. Of an image for several platforms it takes that for
/// `platform`; None: that for this machine.
///
/// # Errors
/// It is no archive of images; a blob lacks or has another digest; a layer cannot be unpacked. Then no image of it is
/// stored.
pub fn load(
    store: &ImageStore,
    source: ArchiveSource,
    platform: Option<&Platform>,
    maps: Option<&IdMaps>,
    tell: Tell<'_>,
) -> Result<Vec<AddedImage>> {
    let ingest = store.ingest()?;
    tell(&format!("mkdir(\"{}\")", printed(store.path().join("ingest/..."))), "image.explain.ingest");
    let members = Members::read(&ingest, source, tell)?;
    let images = match (members.small("index.json")?, members.small("manifest.json")?) {
        (Some(index), _) => of_layout(&members, &index, platform)?,
        (None, Some(manifest)) => of_docker(&members, &manifest)?,
        (None, None) => {
            let error =
                Error::new(ExitKind::Refused, text("image.archive.none")).why(text("image.archive.reason"));
            return Err(if members.has_root() { error.todo(text("image.archive.root")) } else { error });
        }
    };
    images.iter().try_for_each(|image| check_system(&image.parts.config))?;
    if let Some(wanted) = platform {
        images.iter().try_for_each(|image| fits(&image.parts.config, wanted))?;
    }
    if images.is_empty() {
        return Err(Error::new(ExitKind::Refused, text("image.archive.empty")));
    }
    check_count(images.iter().map(|image| image.names.len()).sum::<usize>().saturating_sub(1))?;
    let mut unpacked = Vec::new();
    for image in &images {
        unpacked.push(image.unpack(store, &ingest, maps, tell)?);
    }
    let mut loaded = Vec::new();
    for (image, counts) in images.into_iter().zip(unpacked) {
        loaded.push(image.add(store, &ingest, counts, tell)?);
    }
    Ok(loaded)
}

fn refused(key: &str, values: &[(&str, &str)]) -> Error {
    Error::new(ExitKind::Refused, text("image.archive.wrong")).why(text_with(key, values))
}

/// The images of an OCI image layout.
fn of_layout(members: &Members<'_, '_>, index: &[u8], platform: Option<&Platform>) -> Result<Vec<NewImage>> {
    let index: ImageIndex = read_json(index, "index.json")?;
    let mut images: Vec<NewImage> = Vec::new();
    // A layout has a descriptor for each name of an image. Each image is read once.
    let mut known: BTreeMap<(&Digest, &str, u64), usize> = BTreeMap::new();
    for descriptor in &index.manifests {
        // What is known about how an image was built is no image.
        if descriptor.platform.as_ref().is_some_and(|platform| platform.os == "unknown") {
            continue;
        }
        let names = name_of(descriptor);
        let key = (&descriptor.digest, &*descriptor.media_type, descriptor.size);
        if let Some(at) = known.get(&key) {
            images[*at].names.extend(names);
            continue;
        }
        let image = of_descriptor(members, descriptor, platform, 0)?;
        let same = images.iter().position(|other| other.descriptor.digest == image.descriptor.digest);
        let at = same.unwrap_or(images.len());
        if same.is_none() {
            check_count(images.len())?;
            images.push(image);
        }
        images[at].names.extend(names);
        known.insert(key, at);
    }
    Ok(images)
}

/// The maximum number of images in an archive, and of names that it gives them. For each of them, files are written.
const MAX_IMAGES: usize = 1_000;

/// Checks that one more than this number is allowed.
fn check_count(count: usize) -> Result<()> {
    match count < MAX_IMAGES {
        true => Ok(()),
        false => Err(refused("image.archive.many", &[("most", &MAX_IMAGES.to_string())])),
    }
}

/// The name of an image in a layout. The first annotation is containerd's and Docker's. The second may be a tag alone.
fn name_of(descriptor: &Descriptor) -> Option<Reference> {
    let annotation = |name: &str| descriptor.annotations.get(name);
    let name = annotation("io.containerd.image.name")
        .or_else(|| annotation(super::store::NAME).filter(|name| *name != "latest"))?;
    name.parse::<Reference>().ok().map(Reference::or_latest)
}

/// How deep indexes may be nested.
const MAX_DEPTH: usize = 4;

/// Checks that an image is for a platform.
fn fits(config: &ImageConfig, wanted: &Platform) -> Result<()> {
    let own = Platform {
        os: config.os.clone(),
        architecture: config.architecture.clone(),
        variant: None,
        others: BTreeMap::new(),
    };
    match own.architecture.is_empty() || own.suits(wanted) {
        true => Ok(()),
        false => Err(lacks_platform(wanted, &own.to_string())),
    }
}

fn lacks_platform(wanted: &Platform, others: &str) -> Error {
    refused("image.archive.platform", &[("here", &wanted.to_string()), ("others", &printed(others))])
}

/// The image of a descriptor: of an index, that for the platform, or for this machine.
fn of_descriptor(
    members: &Members<'_, '_>,
    descriptor: &Descriptor,
    platform: Option<&Platform>,
    depth: usize,
) -> Result<NewImage> {
    let (blob, bytes) = document(members, descriptor)?;
    let what = descriptor.digest.to_string();
    match read_document(&bytes, &descriptor.media_type, &what)? {
        ImageDocument::Index(index) if depth < MAX_DEPTH => {
            let here = platform.cloned().unwrap_or_else(Platform::here);
            let is_image =
                |inner: &&Descriptor| inner.platform.as_ref().is_none_or(|platform| platform.os != "unknown");
            let all: Vec<&Descriptor> = index.manifests.iter().filter(is_image).collect();
            let found = index.entry_for(&here).or(match all[..] {
                [only] => Some(only),
                _ => None,
            });
            let found = found.ok_or_else(|| {
                let others = all.iter().filter_map(|inner| Some(inner.platform.as_ref()?.to_string()));
                lacks_platform(&here, &others.collect::<Vec<_>>().join(", "))
            })?;
            of_descriptor(members, found, platform, depth + 1)
        }
        ImageDocument::Index(_) => Err(refused("image.archive.deep", &[("digest", &what)])),
        ImageDocument::Manifest(manifest) => {
            check_config(&manifest, &what)?;
            let mut blobs = Vec::new();
            let (config_blob, config) = document(members, &manifest.config)?;
            blobs.push(config_blob);
            for layer in &manifest.layers {
                blobs.push(checked(members, layer)?);
            }
            blobs.push(blob);
            let config: ImageConfig = read_json(&config, &manifest.config.digest.to_string())?;
            let descriptor = manifest_descriptor(&descriptor.media_type, &descriptor.digest, descriptor.size);
            let parts = ImageParts { manifest, config };
            Ok(NewImage { descriptor, parts, names: Vec::new(), blobs })
        }
    }
}

/// The blob of a descriptor, with the digest and the size that it names.
fn checked(members: &Members<'_, '_>, descriptor: &Descriptor) -> Result<StagedBlob> {
    let digest = descriptor.digest.to_string();
    let found = members.blob(&format!("blobs/sha256/{}", descriptor.digest.hex()))?;
    let found = found.ok_or_else(|| refused("image.archive.lacks", &[("digest", &digest)]))?;
    if found.digest != descriptor.digest {
        let values = [("digest", &*digest), ("found", &found.digest.to_string())];
        return Err(refused("image.archive.digest", &values));
    }
    if found.size != descriptor.size {
        let values = [
            ("digest", &*digest),
            ("said", &descriptor.size.to_string()),
            ("found", &found.size.to_string()),
        ];
        return Err(refused("image.archive.size", &values));
    }
    Ok(found)
}

fn document(members: &Members<'_, '_>, descriptor: &Descriptor) -> Result<(StagedBlob, Vec<u8>)> {
    if descriptor.size > MAX_DOCUMENT {
        return Err(too_large(&descriptor.digest.to_string()));
    }
    let blob = checked(members, descriptor)?;
    let bytes = members.content(&blob)?;
    Ok((blob, bytes))
}

/// An image of an archive of `docker save`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerImage {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

/// The images of an archive of `docker save`. It has no manifests, so they are made here.
fn of_docker(members: &Members<'_, '_>, manifest: &[u8]) -> Result<Vec<NewImage>> {
    let images: Vec<DockerImage> = read_json(manifest, "manifest.json")?;
    check_count(images.len().saturating_sub(1))?;
    images.iter().map(|image| of_docker_image(members, image)).collect()
}

fn of_docker_image(members: &Members<'_, '_>, image: &DockerImage) -> Result<NewImage> {
    let blob = |name: &str| {
        let found = members.blob(name)?;
        found.ok_or_else(|| refused("image.archive.file", &[("name", &printed(name))]))
    };
    let config_blob = blob(&image.config)?;
    if config_blob.size > MAX_DOCUMENT {
        return Err(too_large(&image.config));
    }
    let config: ImageConfig = read_json(&members.content(&config_blob)?, &printed(&image.config))?;
    let mut layers = Vec::new();
    let mut blobs = vec![config_blob.clone()];
    for name in &image.layers {
        let layer = blob(name)?;
        let mut start = Vec::new();
        let read = members.open(&layer)?.take(4).read_to_end(&mut start);
        read.map_err(|error| refused("image.archive.unread", &[("why", &io_text(&error))]))?;
        let end = match Compression::of(&start) {
            Compression::None => "",
            Compression::Gzip => "+gzip",
            Compression::Zstd => "+zstd",
        };
        layers.push(described(&format!("{}{end}", media::OCI_LAYER), &layer));
        blobs.push(layer);
    }
    let config_descriptor = described(media::OCI_CONFIG, &config_blob);
    let manifest = ImageManifest {
        schema_version: 2,
        media_type: Some(media::OCI_MANIFEST.to_owned()),
        config: config_descriptor,
        layers,
    };
    let bytes = json!(manifest).to_string();
    let manifest_blob = members.ingest().write(bytes.as_bytes())?;
    let descriptor = manifest_descriptor(media::OCI_MANIFEST, &manifest_blob.digest, manifest_blob.size);
    blobs.push(manifest_blob);
    let names = image.repo_tags.iter().flatten().filter_map(|name| name.parse().ok());
    let names = names.map(Reference::or_latest).collect();
    Ok(NewImage { descriptor, parts: ImageParts { manifest, config }, names, blobs })
}

/// Opens what `load` reads: standard input, an archive, or a directory.
///
/// # Errors
/// It cannot be opened.
pub fn open(path: Option<&std::path::Path>) -> Result<ArchiveSource> {
    let Some(path) = path else { return Ok(ArchiveSource::Stream(Box::new(std::io::stdin()))) };
    let cannot = |error: std::io::Error| {
        let what = text_with("image.archive.cannot", &[("path", &printed(path))]);
        Error::new(ExitKind::Refused, what).call(format!("openat(\"{}\")", printed(path)), error)
    };
    let file = File::open(path).map_err(cannot)?;
    Ok(match file.metadata().map_err(cannot)?.is_dir() {
        true => ArchiveSource::Directory(path.to_owned()),
        false => ArchiveSource::Stream(Box::new(file)),
    })
}
