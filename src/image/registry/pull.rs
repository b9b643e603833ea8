//! Pulls an image: from its name to the files of its layers.
//!
//!     name ──manifests/TAG──> index ──platform──> manifest ──> config, layers ──unpacked──> index.json
//!
//! `layers` downloads and unpacks the layers.

use std::fs::File;
use std::time::Duration;

use super::client::{Ask, RegistryClient, unexpected};
use super::download;
use super::endpoint::Endpoint;
use super::layers;
use super::transport::{Content, HttpFailure, HttpTransport, RegistryAnswer, Tried};
use super::{RegistryOptions, TellAll};
use crate::error::{Error, ExitKind, Result};
use crate::image::digest::Digest;
use crate::image::layer::LayerCounts;
use crate::image::manifest::{
    Descriptor, ImageConfig, ImageDocument, ImageIndex, Platform, check_config, check_layers, check_system,
    media, read_document, read_json,
};
use crate::image::reference::Reference;
use crate::image::store::{ImageParts, ImageStore, Ingest, StoredImage, manifest_descriptor};
use crate::plan::call::user::IdMaps;
use crate::text::{printed, text, text_with};

/// What is pulled.
#[derive(Debug, Clone)]
pub struct PullRequest<'r> {
    /// The whole name.
    pub reference: &'r Reference,
    /// The platform. None: that of this machine.
    pub platform: Option<Platform>,
    /// The ID maps of the containers that will have the layers.
    pub maps: Option<&'r IdMaps>,
}

/// What was pulled.
#[derive(Debug)]
pub struct PulledImage {
    /// The image.
    pub image: StoredImage,
    /// The digest by which the registry has it.
    pub digest: Digest,
    /// Whether its name meant another image before, or none.
    pub is_new: bool,
    /// What could not be made of its layers.
    pub counts: LayerCounts,
    /// The platform of the image, if it is not the one that was wanted.
    pub other_platform: Option<Platform>,
}

/// Why an image could not be pulled.
#[derive(Debug)]
pub struct PullFailure {
    /// The error.
    pub error: Error,
    /// Whether the next attempt may go on from what is there.
    pub can_resume: bool,
}

/// What happens to a layer.
#[derive(Debug)]
pub enum LayerEvent {
    /// It will be downloaded.
    Wanted,
    /// It is there already.
    Exists,
    /// So many bytes of so many are there.
    Downloading(u64, u64),
    /// The download waits before another attempt.
    Retrying(Duration),
    /// It is there.
    Downloaded,
    /// It is compressed now, to be sent. The place in the file shows how far.
    Compressing(File, u64),
    /// It is unpacked, or sent, now. The place in the file shows how far.
    Unpacking(File, u64),
    /// It is unpacked, or sent.
    Complete,
}

/// Who is told what happens to layers, by any thread.
pub trait PullWatcher: Sync {
    /// Something happens to the layer with this digest.
    fn layer(&self, digest: &Digest, event: LayerEvent);
}

/// A manifest and what it was found by.
struct FoundImage {
    descriptor: Descriptor,
    bytes: Vec<u8>,
    parts: ImageParts,
    config: Vec<u8>,
    /// The indexes that lead to it, the outermost first.
    indexes: Vec<Vec<u8>>,
    /// The digest by which the registry has it.
    digest: Digest,
}

/// Pulls an image.
///
/// # Errors
/// No server has it; it is not what it should be. Then no name has changed, and no blob has a wrong name.
pub fn pull(
    store: &ImageStore,
    request: &PullRequest<'_>,
    options: &RegistryOptions,
    watcher: &dyn PullWatcher,
    tell: TellAll<'_>,
) -> std::result::Result<PulledImage, PullFailure> {
    let failed =
        |failure: HttpFailure| PullFailure { can_resume: failure.again.is_some(), error: failure.error };
    let transport = HttpTransport::new(options.clone());
    let endpoints = Endpoint::all(request.reference, false, options).map_err(|error| failed(error.into()))?;
    let count = endpoints.len();
    let mut mirrors: Vec<String> = Vec::new();
    for (number, endpoint) in endpoints.into_iter().enumerate() {
        let host = endpoint.host.clone();
        let client = RegistryClient::connect(&transport, endpoint, "pull", tell);
        let pulled = client.and_then(|client| {
            let found = find(&client, request)?;
            complete(store, &client, request, found, watcher)
        });
        match pulled {
            Ok(pulled) => return Ok(pulled),
            // Another server could not help, and an error of one that was asked before is not the reason.
            Err(failure) if failure.is_own => return Err(failed(failure)),
            Err(failure) if number + 1 == count => {
                let mut failure = failed(failure);
                // The cause may be a mirror, which was asked first.
                failure.error = mirrors.into_iter().fold(failure.error, Error::why);
                return Err(failure);
            }
            Err(failure) => {
                let values = [("host", &*host), ("why", &failure.error.to_string())];
                mirrors.push(text_with("registry.mirror", &values));
                mirrors.extend(failure.error.why.iter().cloned());
                tell(&format!("{host}: {}", failure.error), "registry.explain.mirror");
            }
        }
    }
    Err(failed(Error::new(ExitKind::Refused, text("image.name.registry")).into()))
}

/// Finds the manifest and the config.
fn find(client: &RegistryClient<'_>, request: &PullRequest<'_>) -> Tried<FoundImage> {
    let (mut media_type, mut bytes) = named(client, request.reference)?;
    let digest = Digest::of(&bytes);
    let (mut own, mut indexes) = (digest.clone(), Vec::new());
    let manifest = loop {
        let index = match read_document(&bytes, &media_type, &own.to_string())? {
            ImageDocument::Manifest(manifest) => break manifest,
            ImageDocument::Index(_) if indexes.len() == MAX_INDEXES => {
                let values = [("digest", &*own.to_string())];
                return Err(Error::new(ExitKind::Refused, text_with("image.archive.deep", &values)).into());
            }
            ImageDocument::Index(index) => index,
        };
        let wanted = request.platform.clone().unwrap_or_else(Platform::here);
        let inner = choose(&index, &wanted, request.reference)?;
        client.tell(&format!("platform {wanted}: {}", inner.digest), "registry.explain.platform");
        indexes.push(bytes);
        bytes = download::document(client, inner, &accepted(&DOCUMENTS))?;
        (media_type, own) = (inner.media_type.clone(), inner.digest.clone());
    };
    let descriptor = manifest_descriptor(&media_type, &own, bytes.len() as u64);
    check_config(&manifest, &descriptor.digest.to_string())?;
    let config_bytes = download::document(client, &manifest.config, "")?;
    let config: ImageConfig = read_json(&config_bytes, &manifest.config.digest.to_string())?;
    check_system(&config)?;
    check_layers(&manifest, &config, &manifest.config.digest.to_string())?;
    let parts = ImageParts { manifest, config };
    Ok(FoundImage { descriptor, bytes, parts, config: config_bytes, indexes, digest })
}

/// The maximum number of indexes that lead to an image, each to the next one.
const MAX_INDEXES: usize = 4;

const DOCUMENTS: [&str; 4] =
    [media::OCI_INDEX, media::DOCKER_INDEX, media::OCI_MANIFEST, media::DOCKER_MANIFEST];

fn accepted(types: &[&str]) -> String {
    types.join(", ")
}

/// The document that the name means: an index or a manifest, with its type.
fn named(client: &RegistryClient<'_>, reference: &Reference) -> Tried<(String, Vec<u8>)> {
    let by = match (&reference.digest, &reference.tag) {
        (Some(digest), _) => digest.to_string(),
        (None, tag) => tag.clone().unwrap_or_default(),
    };
    client.retry(&|_| (), || {
        let answer = client.send(&Ask {
            method: "GET",
            url: client.of_repository(&format!("manifests/{by}")),
            headers: vec![("accept", accepted(&DOCUMENTS))],
            content: Content::None,
            why: "registry.explain.manifest",
        })?;
        match answer.status {
            200 => {}
            401 | 403 | 404 => return Err(denied(answer, reference)),
            _ => return Err(unexpected(answer)),
        }
        let media_type = answer.media_type().to_owned();
        let said = answer.header("docker-content-digest").map(str::to_owned);
        let bytes = answer.document(client.transport.options().timeout)?;
        let found = Digest::of(&bytes);
        let expected = reference.digest.as_ref().map(Digest::to_string).or(said);
        match expected {
            Some(expected) if expected != found.to_string() => {
                let host = printed(&client.endpoint.host);
                let values = [("expected", &*printed(expected)), ("found", &found.to_string())];
                let error = Error::new(ExitKind::Refused, text_with("registry.lie", &[("host", &host)]));
                Err(error.why(text_with("registry.lie.digest", &values)).into())
            }
            _ => Ok((media_type, bytes)),
        }
    })
}

/// The error of a registry that does not have a name, or does not give it to everybody.
pub(super) fn denied(answer: RegistryAnswer, reference: &Reference) -> HttpFailure {
    let is_unknown = answer.status == 404;
    let name = reference.familiar();
    let failure = unexpected(answer);
    let key = if is_unknown { "registry.unknown" } else { "registry.denied" };
    let what = text_with(key, &[("name", &name), ("repository", &reference.familiar_name())]);
    let error = Error { what, ..failure.error };
    HttpFailure::lasting(match is_unknown {
        true => error,
        false => error.paste(login_line(&reference.registry)),
    })
}

/// The command that stores a password for a registry.
fn login_line(registry: &str) -> String {
    match registry {
        crate::image::reference::DOCKER => "sandbox login".to_owned(),
        other => format!("sandbox login {}", crate::value::shell::quote(other)),
    }
}

/// The manifest for a platform.
fn choose<'i>(index: &'i ImageIndex, wanted: &Platform, reference: &Reference) -> Result<&'i Descriptor> {
    index.entry_for(wanted).ok_or_else(|| {
        let known =
            |inner: &Descriptor| inner.platform.as_ref().filter(|known| known.os != "unknown").cloned();
        let others = index.manifests.iter().filter_map(known).map(|platform| platform.to_string());
        let others = printed(others.collect::<Vec<_>>().join(", "));
        let what = text_with("registry.platform", &[("platform", &wanted.to_string())]);
        let values = [("name", &*reference.familiar()), ("others", &others)];
        let key = if others.is_empty() { "registry.platform.none" } else { "registry.platform.others" };
        Error::new(ExitKind::Refused, what).why(text_with(key, &values))
    })
}

/// Downloads and unpacks the layers, and gives the image its name.
fn complete(
    store: &ImageStore,
    client: &RegistryClient<'_>,
    request: &PullRequest<'_>,
    found: FoundImage,
    watcher: &dyn PullWatcher,
) -> Tried<PulledImage> {
    let FoundImage { descriptor, bytes, parts, config, indexes, digest } = found;
    let other_platform = other_platform(request, &parts.config)?;
    let ingest = store.ingest().map_err(HttpFailure::own)?;
    let layers = layers::fetch(store, client, &parts, request.maps, watcher)?;
    let counts = layers.into_iter().fold(LayerCounts::default(), |sum, layer| sum.and(&layer.counts));
    let documents = indexes.iter().map(Vec::as_slice).chain([&*config, &*bytes]);
    publish(client, &ingest, documents).map_err(HttpFailure::own)?;
    let reference = Reference {
        // A name with a digest never means another image, so a tag says nothing more.
        tag: request.reference.tag.clone().filter(|_| request.reference.digest.is_none()),
        ..request.reference.clone()
    };
    let mut image = StoredImage {
        name: Some(reference.clone()),
        descriptor,
        id: parts.manifest.config.digest.clone(),
        size: counts.size,
        created: parts.config.created,
    };
    image.set_registry_digest(&digest);
    let before = store
        .all()
        .map_err(HttpFailure::own)?
        .into_iter()
        .find(|other| other.name.as_ref() == Some(&reference));
    let is_new = before.is_none_or(|before| {
        (before.descriptor.digest.clone(), before.registry_digest())
            != (image.descriptor.digest.clone(), Some(digest.clone()))
    });
    if is_new {
        client.tell(
            &"write(<index.json.new>); rename(\"index.json.new\", \"index.json\")",
            "image.explain.index",
        );
        store.name(&image, Some(&reference)).map_err(HttpFailure::own)?;
    }
    Ok(PulledImage { image, digest, is_new, counts, other_platform })
}

fn publish<'b>(
    client: &RegistryClient<'_>,
    ingest: &Ingest<'_>,
    documents: impl Iterator<Item = &'b [u8]>,
) -> Result<()> {
    let mut staged = Vec::new();
    for bytes in documents {
        let blob = ingest.write(bytes)?;
        let name = format!("rename(<ingest>, \"blobs/sha256/{}\")", blob.digest.hex());
        client.tell(&format!("fsync(<ingest>); {name}"), "image.explain.blob");
        staged.push(blob);
    }
    ingest.publish(&staged)
}

/// The image's platform, if it is not that of this machine. One that was asked for must be right.
fn other_platform(request: &PullRequest<'_>, config: &ImageConfig) -> Result<Option<Platform>> {
    let own =
        Platform { architecture: config.architecture.clone(), os: config.os.clone(), ..Platform::here() };
    // Old images do not say it.
    if config.architecture.is_empty() && config.os.is_empty() {
        return Ok(None);
    }
    match &request.platform {
        Some(wanted) if !own.suits(wanted) => {
            let values = [
                ("name", &*request.reference.familiar()),
                ("wanted", &wanted.to_string()),
                ("found", &printed(own.to_string())),
            ];
            Err(Error::new(ExitKind::Refused, text_with("registry.platform.found", &values)))
        }
        Some(_) => Ok(None),
        None => Ok(Some(own).filter(|own| !own.suits(&Platform::here()))),
    }
}
