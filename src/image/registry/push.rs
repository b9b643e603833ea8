//! Pushes an image: its blobs first, then the manifest that names them.
//!
//!     HEAD /v2/NAME/blobs/DIGEST                         whether the registry has it
//!     POST /v2/NAME/blobs/uploads/?mount=DIGEST&from=X   another repository of the registry has it
//!     POST /v2/NAME/blobs/uploads/, PUT LOCATION         the blob
//!     PUT  /v2/NAME/manifests/TAG                        the manifest, when all that it names is there
//!
//! Layers that are not compressed are compressed before (`compress`), so the manifest may be another one than that of the store.

use std::fs::File;

use super::client::{Ask, RegistryClient, unexpected};
use super::compress;
use super::endpoint::Endpoint;
use super::pull::{LayerEvent, PullWatcher};
use super::transport::{Content, HttpFailure, HttpTransport, RegistryAnswer, Tried};
use super::{RegistryOptions, TellAll};
use crate::error::{Error, ExitKind, Result};
use crate::image::digest::Digest;
use crate::image::manifest::Descriptor;
use crate::image::reference::Reference;
use crate::image::store::{ImageStore, StoredImage};
use crate::text::{printed, text, text_with, word};

/// What is pushed.
pub struct PushRequest<'r> {
    /// The image.
    pub image: &'r StoredImage,
    /// The name that it shall have.
    pub reference: &'r Reference,
}

/// Pushes an image, and notes the digest by which the registry has it. Returns that digest, and the size of its manifest.
///
/// # Errors
/// The registry refuses it; a blob lacks.
pub fn push(
    store: &ImageStore,
    request: &PushRequest<'_>,
    options: &RegistryOptions,
    watcher: &dyn PullWatcher,
    tell: TellAll<'_>,
) -> Result<(Digest, u64)> {
    let transport = HttpTransport::new(options.clone());
    let endpoint = Endpoint::all(request.reference, true, options)?.pop();
    let endpoint = endpoint.ok_or_else(|| Error::new(ExitKind::Refused, text("image.name.registry")))?;
    let pushed = RegistryClient::connect(&transport, endpoint, "pull,push", tell)
        .and_then(|client| push_to(store, &client, request, watcher));
    pushed.map_err(|failure| failure.error)
}

fn push_to(
    store: &ImageStore,
    client: &RegistryClient<'_>,
    request: &PushRequest<'_>,
    watcher: &dyn PullWatcher,
) -> Tried<(Digest, u64)> {
    let image = request.image;
    let manifest = store.document(&image.descriptor.digest)?;
    let parts = store.parts(&image.descriptor)?;
    let from = other_repository(store, request)?;
    let mut sent: Vec<(&Digest, Descriptor)> = Vec::new();
    for layer in &parts.manifest.layers {
        if sent.iter().all(|(digest, _)| **digest != layer.digest) {
            sent.push((&layer.digest, send_layer(store, client, layer, from.as_deref(), watcher)?));
        }
    }
    let config = &parts.manifest.config;
    let file = store.blob(&config.digest)?;
    client.retry(&|_| (), || upload(client, config, &file, from.as_deref(), &|_| ()))?;
    let as_sent = |layer: &Descriptor| {
        let found = sent.iter().find(|(digest, _)| **digest == layer.digest);
        found.map_or_else(|| layer.clone(), |(_, sent)| sent.clone())
    };
    let layers: Vec<Descriptor> = parts.manifest.layers.iter().map(as_sent).collect();
    // A manifest that need not change is sent byte for byte, with the digest that it has.
    let manifest = match layers == parts.manifest.layers {
        true => manifest,
        false => compress::manifest_with(&manifest, &layers)?,
    };
    let digest = Digest::of(&manifest);
    let name = match (&request.reference.tag, &request.reference.digest) {
        (Some(tag), _) => tag.clone(),
        (None, _) => digest.to_string(),
    };
    let answer = client.retry(&|_| (), || {
        client.send(&Ask {
            method: "PUT",
            url: client.of_repository(&format!("manifests/{name}")),
            headers: vec![("content-type", image.descriptor.media_type.clone())],
            content: Content::Bytes(&manifest),
            why: "registry.explain.put",
        })
    })?;
    let stored = answer.header("docker-content-digest").map(str::to_owned);
    if answer.status != 201 {
        return Err(refused(answer));
    }
    match stored {
        Some(stored) if stored != digest.to_string() => {
            let host = printed(&client.endpoint.host);
            let values = [("expected", &*digest.to_string()), ("found", &printed(stored))];
            let error = Error::new(ExitKind::Refused, text_with("registry.lie", &[("host", &host)]));
            Err(error.why(text_with("registry.lie.digest", &values)).into())
        }
        _ => {
            store.note_pushed(image, request.reference, &digest)?;
            Ok((digest, manifest.len() as u64))
        }
    }
}

/// Compresses a layer if it is not compressed, and sends it if the registry does not have it. Returns what the manifest says
/// about it.
fn send_layer(
    store: &ImageStore,
    client: &RegistryClient<'_>,
    layer: &Descriptor,
    from: Option<&str>,
    watcher: &dyn PullWatcher,
) -> Tried<Descriptor> {
    let told = |event: LayerEvent| watcher.layer(&layer.digest, event);
    told(LayerEvent::Wanted);
    let begins = |file: &File| {
        if let Ok(clone) = file.try_clone() {
            told(LayerEvent::Compressing(clone, layer.size));
        }
    };
    let sent = compress::layer(store, client, layer, &begins)?;
    let waits = |time| told(LayerEvent::Retrying(time));
    let is_new = client.retry(&waits, || upload(client, &sent.descriptor, &sent.file, from, &told))?;
    told(if is_new { LayerEvent::Complete } else { LayerEvent::Exists });
    Ok(sent.descriptor)
}

/// Another repository of the same registry that has this image: it was pulled from there, or pushed there.
fn other_repository(store: &ImageStore, request: &PushRequest<'_>) -> Result<Option<String>> {
    let is_there = |other: &StoredImage| other.id == request.image.id && other.registry_digest().is_some();
    let names = store.all()?.into_iter().filter(is_there);
    let mut names = names.filter_map(|other| other.name).filter(|name| {
        name.registry == request.reference.registry && name.repository != request.reference.repository
    });
    Ok(names.next().map(|name| name.repository))
}

/// Uploads a blob that the registry does not have. `false`: it has it.
fn upload(
    client: &RegistryClient<'_>,
    blob: &Descriptor,
    file: &File,
    from: Option<&str>,
    told: &dyn Fn(LayerEvent),
) -> Tried<bool> {
    let ask = |method, path: String, why| Ask {
        method,
        url: client.of_repository(&path),
        headers: Vec::new(),
        content: Content::None,
        why,
    };
    let found = client.send(&ask("HEAD", format!("blobs/{}", blob.digest), "registry.explain.head"))?;
    if found.status == 200 {
        return Ok(false);
    }
    let mounted = match from {
        Some(from) => {
            let path = format!("blobs/uploads/?mount={}&from={from}", blob.digest);
            match client.send_with_other(&ask("POST", path, "registry.explain.mount"), from) {
                Err(failure) if failure.again.is_some() => return Err(failure),
                answer => answer.ok().filter(|answer| matches!(answer.status, 201 | 202)),
            }
        }
        None => None,
    };
    // A registry may refuse the mount, for example to a user who may not read the other repository. Then the blob is uploaded.
    let begun = match mounted {
        Some(begun) => begun,
        None => client.send(&ask("POST", "blobs/uploads/".to_owned(), "registry.explain.upload"))?,
    };
    match begun.status {
        201 => return Ok(false),
        202 => {}
        _ => return Err(refused(begun)),
    }
    let location = begun.header("location").unwrap_or_default().to_owned();
    let url = begun.url.join(&location).filter(|next| client.may_follow(&begun.url, next));
    let url = url.ok_or_else(|| {
        let values = [("url", &*printed(begun.url.shown())), ("location", &word(&printed(&location)))];
        HttpFailure::from(Error::new(ExitKind::Refused, text_with("registry.redirect", &values)))
    })?;
    if let Ok(clone) = file.try_clone() {
        told(LayerEvent::Unpacking(clone, blob.size));
    }
    let put = client.send(&Ask {
        method: "PUT",
        url: url.with_query(&format!("digest={}", blob.digest)),
        headers: vec![("content-type", "application/octet-stream".to_owned())],
        content: Content::File(file, blob.size),
        why: "registry.explain.blob",
    })?;
    match put.status {
        201 => Ok(true),
        _ => Err(refused(put)),
    }
}

/// The error of a registry that does not take something.
fn refused(answer: RegistryAnswer) -> HttpFailure {
    let is_denied = matches!(answer.status, 401 | 403);
    let failure = unexpected(answer);
    match is_denied {
        true => {
            HttpFailure { error: Error { what: text("registry.push.denied"), ..failure.error }, ..failure }
        }
        false => failure,
    }
}
