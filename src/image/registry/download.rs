//! A blob: from where an interrupted download has ended, and only under its right digest.

use std::io::{Read, Write};
use std::time::Duration;

use super::client::{Ask, RegistryClient, unexpected};
use super::transport::{Content, HttpFailure, RegistryAnswer, Tried, cut};
use crate::error::{Error, ExitKind};
use crate::image::digest::Digest;
use crate::image::manifest::{Descriptor, MAX_DOCUMENT, too_large};
use crate::image::store::{ImageStore, PartialBlob};
use crate::text::{printed, text_with, word};

/// The number of bytes that are read at a time.
const CHUNK: usize = 128 << 10;

/// After this many further bytes the failures before do not count any more.
const PROGRESS: u64 = 1 << 20;

/// Who watches a download.
pub(super) trait DownloadWatcher {
    /// This many bytes are there.
    fn has(&self, count: u64);
    /// It waits before another attempt.
    fn waits(&self, time: Duration);
    /// Whether the download shall end, because something else has failed.
    fn is_over(&self) -> bool;
}

/// The error of content that is not what was asked for.
fn lie(client: &RegistryClient<'_>, key: &str, values: &[(&str, &str)]) -> HttpFailure {
    let what = text_with("registry.lie", &[("host", &printed(&client.endpoint.host))]);
    HttpFailure::lasting(Error::new(ExitKind::Refused, what).why(text_with(key, values)))
}

fn wrong_digest(client: &RegistryClient<'_>, expected: &Digest, found: &Digest) -> HttpFailure {
    lie(client, "registry.lie.digest", &[("expected", &expected.to_string()), ("found", &found.to_string())])
}

fn wrong_size(client: &RegistryClient<'_>, blob: &Descriptor, found: &str) -> HttpFailure {
    let values = [("digest", &*blob.digest.to_string()), ("said", &blob.size.to_string()), ("found", found)];
    lie(client, "registry.lie.size", &values)
}

/// A document that a descriptor names: an inner manifest, or a config.
pub(super) fn document(client: &RegistryClient<'_>, blob: &Descriptor, accept: &str) -> Tried<Vec<u8>> {
    if blob.size > MAX_DOCUMENT {
        return Err(too_large(&blob.digest.to_string()).into());
    }
    client.retry(&|_| (), || {
        let is_manifest = !accept.is_empty();
        let part = if is_manifest { "manifests" } else { "blobs" };
        let accept = if is_manifest { accept } else { "application/octet-stream, */*" };
        let answer = client.send(&Ask {
            method: "GET",
            url: client.of_repository(&format!("{part}/{}", blob.digest)),
            headers: vec![("accept", accept.to_owned())],
            content: Content::None,
            why: if is_manifest { "registry.explain.inner" } else { "registry.explain.config" },
        })?;
        if answer.status != 200 {
            return Err(unexpected(answer));
        }
        let bytes = answer.document(client.transport.options().timeout)?;
        if bytes.len() as u64 != blob.size {
            return Err(wrong_size(client, blob, &bytes.len().to_string()));
        }
        match Digest::of(&bytes) {
            found if found == blob.digest => Ok(bytes),
            found => Err(wrong_digest(client, &blob.digest, &found)),
        }
    })
}

/// Downloads a layer, and gives it its name in the store.
///
/// # Errors
/// It is not what its descriptor says; it did not come to its end. Then what has come is kept for the next attempt.
pub(super) fn layer(
    client: &RegistryClient<'_>,
    store: &ImageStore,
    blob: &Descriptor,
    watcher: &dyn DownloadWatcher,
) -> Tried<()> {
    let mut partial = store.partial(&blob.digest).map_err(HttpFailure::own)?;
    let mut counted = partial.length();
    let result = loop {
        let attempt = client.retry(&|time| watcher.waits(time), || {
            let before = partial.length();
            let done = attempt(client, &mut partial, blob, watcher);
            // A server that fails now and then still gets the whole blob across. If another layer has failed, there is no
            // further attempt.
            match done {
                Err(failure)
                    if failure.again.is_some()
                        && (watcher.is_over() || partial.length() >= before.max(counted) + PROGRESS) =>
                {
                    counted = partial.length();
                    Ok(Err(failure))
                }
                done => done.map(Ok),
            }
        });
        match attempt {
            Ok(Ok(())) => break Ok(()),
            Ok(Err(_)) if !watcher.is_over() => {}
            Ok(Err(failure)) | Err(failure) => break Err(failure),
        }
    };
    match result {
        Ok(()) => {
            client.tell(
                &format!("fsync(<partial>); rename(<partial>, \"blobs/sha256/{}\")", blob.digest.hex()),
                "image.explain.blob",
            );
            partial.publish(store).map_err(HttpFailure::own)
        }
        // Bytes that are wrong are of no use for another attempt.
        Err(failure) => {
            match partial.length() == 0 || failure.again.is_none() {
                true => partial.discard(store),
                false => partial.keep(store),
            }
            Err(failure)
        }
    }
}

/// One request for what is missing.
fn attempt(
    client: &RegistryClient<'_>,
    partial: &mut PartialBlob,
    blob: &Descriptor,
    watcher: &dyn DownloadWatcher,
) -> Tried<()> {
    if partial.length() > blob.size {
        partial.restart().map_err(HttpFailure::own)?;
    }
    let start = partial.length();
    if start < blob.size || blob.size == 0 {
        let mut headers = vec![("accept", "application/octet-stream, */*".to_owned())];
        if start > 0 {
            headers.push(("range", format!("bytes={start}-")));
        }
        let answer = client.send(&Ask {
            method: "GET",
            url: client.of_repository(&format!("blobs/{}", blob.digest)),
            headers,
            content: Content::None,
            why: if start > 0 { "registry.explain.rest" } else { "registry.explain.layer" },
        })?;
        receive(client, partial, blob, answer, watcher)?;
    }
    watcher.has(partial.length());
    let found = partial.digest();
    if found == blob.digest {
        return Ok(());
    }
    partial.restart().map_err(HttpFailure::own)?;
    let wrong = wrong_digest(client, &blob.digest, &found);
    // What was there before may have been wrong: then the whole blob is asked for, once.
    if start > 0 { Err(HttpFailure { again: Some(0), ..wrong }) } else { Err(wrong) }
}

/// Adds the body of an answer.
fn receive(
    client: &RegistryClient<'_>,
    partial: &mut PartialBlob,
    blob: &Descriptor,
    answer: RegistryAnswer,
    watcher: &dyn DownloadWatcher,
) -> Tried<()> {
    let start = partial.length();
    match answer.status {
        206 if start > 0 && is_rest(answer.header("content-range"), start, blob.size) => {}
        // It has ignored the range, and sends the whole.
        200 => partial.restart().map_err(HttpFailure::own)?,
        206 | 416 => {
            let range = printed(answer.header("content-range").unwrap_or_default());
            partial.restart().map_err(HttpFailure::own)?;
            let failure =
                lie(client, "registry.lie.range", &[("start", &start.to_string()), ("range", &word(&range))]);
            return Err(if start > 0 { HttpFailure { again: Some(0), ..failure } } else { failure });
        }
        _ => return Err(unexpected(answer)),
    }
    let missing = blob.size - partial.length();
    if answer.length().is_some_and(|length| length != missing) {
        let found = answer.length().unwrap_or_default() + partial.length();
        return Err(wrong_size(client, blob, &found.to_string()));
    }
    let url = answer.url.shown();
    let mut body = answer.reader(client.transport.options().timeout).take(missing + 1);
    let mut buffer = vec![0; CHUNK];
    loop {
        if watcher.is_over() {
            // A blob that is complete gets its name, even if another one has failed meanwhile.
            match partial.length() == blob.size {
                true => return Ok(()),
                false => return Err(cut(&url, &std::io::ErrorKind::Interrupted.into())),
            }
        }
        let count = match body.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) => return Err(cut(&url, &error)),
        };
        if partial.length() + count as u64 > blob.size {
            return Err(wrong_size(client, blob, &format!("> {}", blob.size)));
        }
        partial.write_all(&buffer[..count]).map_err(|error| HttpFailure::own(partial.unwritten(&error)))?;
        watcher.has(partial.length());
    }
    match partial.length() == blob.size {
        true => Ok(()),
        false => Err(cut(&url, &std::io::ErrorKind::UnexpectedEof.into())),
    }
}

/// Whether `Content-Range: bytes START-END/SIZE` is what is missing.
fn is_rest(range: Option<&str>, start: u64, size: u64) -> bool {
    let Some((part, whole)) = range.and_then(|range| range.trim().strip_prefix("bytes ")?.split_once('/'))
    else {
        return false;
    };
    let Some((first, last)) = part.split_once('-') else { return false };
    let is = |number: &str, expected: u64| number.trim().parse() == Ok(expected);
    is(first, start) && is(last, size - 1) && (whole.trim() == "*" || is(whole, size))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_missing_part_is_taken() {
        assert!(is_rest(Some("bytes 3-9/10"), 3, 10) && is_rest(Some("bytes 3-9/*"), 3, 10));
        for wrong in ["bytes 2-9/10", "bytes 3-8/10", "bytes 3-9/11", "3-9/10", "bytes */10", "bytes 3-9", ""]
        {
            assert!(!is_rest(Some(wrong), 3, 10), "{wrong}");
        }
        assert!(!is_rest(None, 3, 10));
    }
}
