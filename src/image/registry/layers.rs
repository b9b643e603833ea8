//! The layers of an image: three are downloaded at a time, and each is unpacked as soon as it is there.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::client::RegistryClient;
use super::download::{self, DownloadWatcher};
use super::pull::{LayerEvent, PullWatcher};
use super::transport::{HttpFailure, Tried};
use crate::error::Result;
use crate::image::digest::Digest;
use crate::image::manifest::Descriptor;
use crate::image::rootfs;
use crate::image::store::{ImageParts, ImageStore};
use crate::plan::call::user::IdMaps;

/// The number of layers that are downloaded at a time: Docker's.
const DOWNLOADS: usize = 3;

/// The downloads of an image.
struct Downloads<'d> {
    state: Mutex<DownloadState>,
    changed: Condvar,
    watcher: &'d dyn PullWatcher,
}

#[derive(Default)]
struct DownloadState {
    waiting: VecDeque<Descriptor>,
    done: Vec<Digest>,
    /// The first error. Then no further blob is downloaded.
    failed: Option<HttpFailure>,
    is_over: bool,
}

impl Downloads<'_> {
    fn state(&self) -> MutexGuard<'_, DownloadState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Downloads one blob after the other.
    fn work(&self, store: &ImageStore, client: &RegistryClient<'_>) {
        loop {
            let mut state = self.state();
            let Some(blob) = state.waiting.pop_front().filter(|_| !state.is_over) else { return };
            drop(state);
            let one = OneDownload { downloads: self, blob: &blob };
            let result = download::layer(client, store, &blob, &one);
            let mut state = self.state();
            match result {
                Ok(()) => {
                    self.watcher.layer(&blob.digest, LayerEvent::Downloaded);
                    state.done.push(blob.digest);
                }
                Err(failure) => {
                    state.failed.get_or_insert(failure);
                    state.is_over = true;
                }
            }
            self.changed.notify_all();
        }
    }

    /// Waits for a blob.
    fn wait_for(&self, digest: &Digest) -> Result<()> {
        let mut state = self.state();
        loop {
            if let Some(failure) = &state.failed {
                return Err(failure.error.clone());
            }
            if state.done.contains(digest) {
                return Ok(());
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn end(&self) {
        self.state().is_over = true;
    }
}

struct OneDownload<'o> {
    downloads: &'o Downloads<'o>,
    blob: &'o Descriptor,
}

impl DownloadWatcher for OneDownload<'_> {
    fn has(&self, count: u64) {
        let event = LayerEvent::Downloading(count, self.blob.size);
        self.downloads.watcher.layer(&self.blob.digest, event);
    }

    fn waits(&self, time: Duration) {
        self.downloads.watcher.layer(&self.blob.digest, LayerEvent::Retrying(time));
    }

    fn is_over(&self) -> bool {
        self.downloads.state().is_over
    }
}

/// Downloads and unpacks the layers. Returns them, the lowest first.
///
/// # Errors
/// A layer cannot be downloaded or unpacked.
pub(super) fn fetch(
    store: &ImageStore,
    client: &RegistryClient<'_>,
    parts: &ImageParts,
    maps: Option<&IdMaps>,
    watcher: &dyn PullWatcher,
) -> Tried<Vec<rootfs::UnpackedLayer>> {
    let mut state = DownloadState::default();
    for blob in &parts.manifest.layers {
        if state.done.contains(&blob.digest) || state.waiting.contains(blob) {
            continue;
        }
        if store
            .blob(&blob.digest)
            .is_ok_and(|file| file.metadata().is_ok_and(|about| about.len() == blob.size))
        {
            watcher.layer(&blob.digest, LayerEvent::Exists);
            state.done.push(blob.digest.clone());
        } else {
            watcher.layer(&blob.digest, LayerEvent::Wanted);
            state.waiting.push_back(blob.clone());
        }
    }
    let exist = state.done.clone();
    let downloads = Downloads { state: Mutex::new(state), changed: Condvar::new(), watcher };
    std::thread::scope(|scope| {
        for _ in 0..DOWNLOADS.min(parts.manifest.layers.len()) {
            scope.spawn(|| downloads.work(store, client));
        }
        let open = |digest: &Digest| {
            downloads.wait_for(digest)?;
            let blob = store.blob(digest)?;
            if let Ok(clone) = blob.try_clone() {
                let size = blob.metadata().map(|about| about.len()).unwrap_or_default();
                watcher.layer(digest, LayerEvent::Unpacking(clone, size));
            }
            Ok(blob)
        };
        let is_done = |number: usize| {
            let digest = &parts.manifest.layers[number].digest;
            // A layer may be unpacked before its blob is there, if another image has it.
            if downloads.wait_for(digest).is_ok() && !exist.contains(digest) {
                watcher.layer(digest, LayerEvent::Complete);
            }
        };
        let tell = |call: &dyn std::fmt::Display, why: &str| client.tell(call, why);
        let unpacked = rootfs::unpack_each(store, parts, &open, maps, &tell, &is_done);
        let unpacked = unpacked.and_then(|layers| {
            parts.manifest.layers.iter().try_for_each(|layer| downloads.wait_for(&layer.digest))?;
            Ok(layers)
        });
        // A download that failed says whether another attempt may succeed. The error of one that ends because of that is not the reason.
        let unpacked = unpacked
            .map_err(|error| downloads.state().failed.take().unwrap_or_else(|| HttpFailure::own(error)));
        downloads.end();
        unpacked
    })
    // The downloads have ended by now. Where another attempt would fail too, their beginnings only use the disk.
    .inspect_err(|failure| {
        if failure.again.is_none() {
            parts.manifest.layers.iter().for_each(|layer| store.discard_partials(&layer.digest));
        }
    })
}
