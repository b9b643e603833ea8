//! Unpacks the layers of an image, several at a time.
//!
//!     layer 0  ──__unpack──> .new-1/files ──┐
//!     layer 1  ──__unpack──> .new-2/files ──┼──syncfs──> CHAIN-ID/files, the lowest first
//!     layer 2  ──(waits for its blob)       ┘
//!
//! What an archive means can depend on the layers below: where a directory is that it does not have itself. So the process of
//! a layer has the directories of those below from the start, and waits until they are complete when it first needs them.
//! The layers get their names together at the end, after one syncfs(2). If one of them fails, those below it stay.

use std::fs::File;
use std::io;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use rustix::fs::{RenameFlags, renameat_with, syncfs};

use super::{
    ABOUT, AboutLayer, FILES, MappedLayers, ROOT_MODE, UnpackedLayer, check_maps, find, unread, unwritten,
};
use crate::error::{Error, ExitKind, Result};
use crate::host::private_directory::PrivateDirectory;
use crate::host::token::token;
use crate::image::Tell;
use crate::image::digest::Digest;
use crate::image::layer::{self, LayerCounts, LayerTask, LayerWork, UnpackParent, Unpacked};
use crate::image::manifest::{Descriptor, check_layers};
use crate::image::store::{ImageParts, ImageStore};
use crate::plan::call::user::IdMaps;
use crate::text::{text, text_with};

/// How many layers are unpacked at a time at most: each takes a processor, and a few MiB of memory.
const MAX_PROCESSES: usize = 4;

/// Opens the blob of a layer, or waits for it.
pub(in crate::image) type OpenBlob<'o> = &'o (dyn Fn(&Digest) -> Result<File> + Sync);

/// Unpacks the layers of an image that are not unpacked yet. Returns all of them, the lowest first. The caller has the
/// lock of a command that adds layers.
///
/// # Errors
/// As [`super::directories`].
pub(in crate::image) fn unpack_all(
    store: &ImageStore,
    parts: &ImageParts,
    open: OpenBlob<'_>,
    maps: Option<&IdMaps>,
    tell: Tell<'_>,
) -> Result<Vec<UnpackedLayer>> {
    unpack_each(store, parts, open, maps, tell, &|_| ())
}

/// As [`unpack_all`]. `is_done` gets the number of each layer that is unpacked, from 0.
///
/// # Errors
/// As [`super::directories`].
pub(in crate::image) fn unpack_each(
    store: &ImageStore,
    parts: &ImageParts,
    open: OpenBlob<'_>,
    maps: Option<&IdMaps>,
    tell: Tell<'_>,
    is_done: &dyn Fn(usize),
) -> Result<Vec<UnpackedLayer>> {
    let what = parts.manifest.config.digest.to_string();
    check_layers(&parts.manifest, &parts.config, &what)?;
    maps.map_or(Ok(()), check_maps)?;
    let mapped = MappedLayers::of(store, maps)?;
    let mut layers = Vec::new();
    let blobs = parts.manifest.layers.iter().zip(&parts.config.rootfs.diff_ids);
    for ((blob, diff_id), chain_id) in blobs.zip(parts.config.rootfs.chain_ids()) {
        let place = match find(&mapped, &chain_id) {
            Ok(Some(layer)) => Ok(LayerHome::There(layer)),
            Ok(None) => NewLayer::make(store, &mapped).map(LayerHome::New),
            Err(error) => Err(unread(store, &error)),
        };
        let place = place.inspect_err(|_| discard(&mapped, &layers))?;
        layers.push(WantedLayer { blob, diff_id, chain_id, place });
    }
    let team = UnpackTeam {
        store,
        mapped: &mapped,
        layers: &layers,
        open,
        progress: Mutex::default(),
        changed: Condvar::new(),
    };
    let failed = team.work(tell, is_done);
    let counts = team.progress.into_inner().unwrap_or_else(PoisonError::into_inner).done;
    let published = publish(store, &mapped, &layers, &counts, tell);
    discard(&mapped, &layers);
    match (failed, published) {
        (Some(error), _) | (None, Err(error)) => Err(error),
        (None, Ok(published)) => Ok(published),
    }
}

/// A layer of the image.
struct WantedLayer<'l> {
    blob: &'l Descriptor,
    diff_id: &'l Digest,
    chain_id: Digest,
    place: LayerHome,
}

/// Where its files are.
enum LayerHome {
    /// It was unpacked before.
    There(UnpackedLayer),
    /// It is unpacked now.
    New(NewLayer),
}

impl WantedLayer<'_> {
    /// The directory of its files.
    fn files(&self) -> PathBuf {
        match &self.place {
            LayerHome::There(layer) => layer.files.clone(),
            LayerHome::New(new) => new.directory.path().join(FILES),
        }
    }
}

/// A directory for a layer, which gets another name when the layer is complete.
struct NewLayer {
    name: String,
    directory: PrivateDirectory,
}

impl NewLayer {
    fn make(store: &ImageStore, mapped: &MappedLayers) -> Result<NewLayer> {
        let unwritten = |error: io::Error| unwritten(store, mapped, &error);
        let name = format!(".new-{:08x}{:08x}", token(), token());
        let made = mapped.directory.make_directory(name.as_ref()).map_err(unwritten)?;
        let directory = made.ok_or_else(|| unwritten(io::ErrorKind::AlreadyExists.into()))?;
        let new = NewLayer { name, directory };
        let files = new.directory.path_through(FILES);
        // The umask may have taken permissions away.
        let made = rustix::fs::mkdir(&files, ROOT_MODE.into())
            .and_then(|()| rustix::fs::chmod(&files, ROOT_MODE.into()));
        if let Err(errno) = made {
            new.remove(mapped);
            return Err(unwritten(errno.into()));
        }
        Ok(new)
    }

    fn remove(&self, mapped: &MappedLayers) {
        let _ = layer::remove_in_map(mapped.directory.path(), &self.name, mapped.maps.as_ref());
    }
}

/// Removes the directories that did not get another name.
fn discard(mapped: &MappedLayers, layers: &[WantedLayer<'_>]) {
    for layer in layers {
        if let LayerHome::New(new) = &layer.place {
            new.remove(mapped);
        }
    }
}

/// Gives the layers their names, as far as all below are complete. Returns them.
fn publish(
    store: &ImageStore,
    mapped: &MappedLayers,
    layers: &[WantedLayer<'_>],
    counts: &[Option<LayerCounts>],
    tell: Tell<'_>,
) -> Result<Vec<UnpackedLayer>> {
    let unwritten = |error: io::Error| unwritten(store, mapped, &error);
    let directory = File::open(mapped.directory.path_through("")).map_err(unwritten)?;
    let is_new = |(layer, counts): (&WantedLayer<'_>, &Option<LayerCounts>)| {
        matches!(layer.place, LayerHome::New(_)) && counts.is_some()
    };
    if layers.iter().zip(counts).any(is_new) {
        tell(&"syncfs(<layers>)", "image.explain.syncfs");
        syncfs(&directory).map_err(|errno| unwritten(errno.into()))?;
    }
    let mut published = Vec::new();
    for (layer, counts) in layers.iter().zip(counts) {
        let (chain_id, Some(counts)) = (layer.chain_id.clone(), counts) else { break };
        let new = match &layer.place {
            // No other command removes it as long as this one has the lock.
            LayerHome::There(layer) => {
                published.push(layer.clone());
                continue;
            }
            LayerHome::New(new) => new,
        };
        let hex = chain_id.hex();
        tell(&format!("rename(\"{}\", \"{hex}\")", new.name), "image.explain.layer");
        let renamed = renameat_with(&directory, new.name.as_str(), &directory, hex, RenameFlags::NOREPLACE);
        let is_new = match renamed {
            Ok(()) => true,
            // Another command has unpacked it meanwhile, or a power cut has left something.
            Err(rustix::io::Errno::EXIST) if matches!(find(mapped, &chain_id), Ok(Some(_))) => false,
            Err(errno) => return Err(unwritten(errno.into())),
        };
        let files = mapped.directory.path().join(hex).join(FILES);
        published.push(UnpackedLayer { chain_id, files, counts: counts.clone(), is_new });
    }
    Ok(published)
}

/// The threads that unpack layers.
struct UnpackTeam<'t> {
    store: &'t ImageStore,
    mapped: &'t MappedLayers,
    layers: &'t [WantedLayer<'t>],
    open: OpenBlob<'t>,
    progress: Mutex<UnpackState>,
    changed: Condvar,
}

#[derive(Default)]
struct UnpackState {
    /// The first layer that nobody has taken.
    next: usize,
    /// What the layers have. None: not complete.
    done: Vec<Option<LayerCounts>>,
    /// The processes that run.
    running: Vec<(usize, UnixStream)>,
    /// The first error. Then no further layer is taken, and the processes are ended.
    failed: Option<Error>,
}

/// What the main thread receives.
enum UnpackNews {
    /// A process is started.
    Started,
    /// This layer is unpacked.
    Done(usize),
}

impl UnpackTeam<'_> {
    fn progress(&self) -> MutexGuard<'_, UnpackState> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Unpacks what is to be unpacked. Returns the first error.
    fn work(&self, tell: Tell<'_>, is_done: &dyn Fn(usize)) -> Option<Error> {
        self.progress().done = vec![None; self.layers.len()];
        let new = self.layers.iter().filter(|layer| matches!(layer.place, LayerHome::New(_))).count();
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let (sender, news) = channel();
        std::thread::scope(|scope| {
            for _ in 0..new.min(processors).clamp(1, MAX_PROCESSES) {
                let sender = sender.clone();
                scope.spawn(move || while self.take(&sender) {});
            }
            drop(sender);
            for news in news {
                match news {
                    UnpackNews::Started => tell(
                        &format!("execve(\"/proc/self/exe\", [\"sandbox\", \"{}\", ...])", layer::SUBCOMMAND),
                        "image.explain.unpack",
                    ),
                    UnpackNews::Done(number) => is_done(number),
                }
            }
        });
        self.progress().failed.take()
    }

    /// Takes the lowest layer that nobody has taken. Returns false if there is none. A layer waits only for those below it,
    /// which are complete or taken, so the lowest one never waits.
    fn take(&self, news: &Sender<UnpackNews>) -> bool {
        let mut progress = self.progress();
        let number = progress.next;
        let Some(layer) = self.layers.get(number).filter(|_| progress.failed.is_none()) else { return false };
        progress.next += 1;
        drop(progress);
        let result = match &layer.place {
            LayerHome::There(there) => Ok(there.counts.clone()),
            LayerHome::New(new) => self.unpack(number, layer, new, news),
        };
        let mut progress = self.progress();
        progress.running.retain(|(running, _)| *running != number);
        match result {
            Ok(counts) => {
                progress.done[number] = Some(counts);
                let _ = news.send(UnpackNews::Done(number));
            }
            Err(error) => {
                progress.failed.get_or_insert(error);
                for (_, socket) in &progress.running {
                    let _ = socket.shutdown(Shutdown::Both);
                }
            }
        }
        self.changed.notify_all();
        true
    }

    fn unpack(
        &self,
        number: usize,
        layer: &WantedLayer<'_>,
        new: &NewLayer,
        news: &Sender<UnpackNews>,
    ) -> Result<LayerCounts> {
        let blob = (self.open)(&layer.blob.digest)?;
        let _ = news.send(UnpackNews::Started);
        let lowers = self.layers[..number].iter().rev().map(WantedLayer::files).collect();
        let task = LayerTask {
            directory: new.directory.path().join(FILES),
            work: LayerWork::Unpack(lowers),
            maps: self.mapped.maps.clone(),
        };
        let member = LayerThread { team: self, number };
        let Unpacked { diff_id: found, counts, summary } = layer::unpack(blob, &task, &member)?;
        if found != *layer.diff_id {
            let values = [("expected", &*layer.diff_id.to_string()), ("found", &found.to_string())];
            let error = Error::new(ExitKind::Refused, text("image.layer.wrong"));
            return Err(error.why(text_with("image.layer.differs", &values)));
        }
        let about = AboutLayer { diff_id: found, counts: counts.clone(), summary: Some(summary) };
        let written = new.directory.replace(ABOUT, &serde_json::to_vec(&about).unwrap_or_default(), false);
        written.map_err(|error| unwritten(self.store, self.mapped, &error))?;
        Ok(counts)
    }
}

/// The thread that unpacks one layer.
struct LayerThread<'m> {
    team: &'m UnpackTeam<'m>,
    number: usize,
}

impl UnpackParent for LayerThread<'_> {
    fn started(&self, socket: UnixStream) {
        let mut progress = self.team.progress();
        if progress.failed.is_some() {
            let _ = socket.shutdown(Shutdown::Both);
        }
        progress.running.push((self.number, socket));
    }

    fn await_lowers(&self) -> Result<()> {
        let mut progress = self.team.progress();
        loop {
            if let Some(error) = &progress.failed {
                return Err(error.clone());
            }
            if progress.done[..self.number].iter().all(Option::is_some) {
                return Ok(());
            }
            progress = self.team.changed.wait(progress).unwrap_or_else(PoisonError::into_inner);
        }
    }
}
