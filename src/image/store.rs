//! The images in HOME: an OCI image layout, which skopeo and other tools can read too.
//!
//!     HOME/images/oci-layout
//!     HOME/images/index.json                a descriptor for each name
//!     HOME/images/blobs/sha256/DIGEST       manifests, configs and layers, each named by its content
//!     HOME/images/ingest/                   blobs that are not complete
//!     HOME/images/cache/KEY                 the images of steps of builds
//!     HOME/layers/[MAP/]CHAIN-ID/           unpacked layers
//!
//! A blob gets its name only when it is complete, its digest is right, and it is on the disk. index.json is replaced
//! as a whole, under a lock. So a command that is killed leaves the state before or after, and two commands never lose
//! a name.
//!
//! A command that adds blobs has the lock `blobs-HASH.lock` shared, until index.json has them. A command that removes unused ones
//! has it exclusively, and does not wait for it: the next command removes them then.

mod cache;
mod ingest;
mod names;
mod partial;
mod sweep;

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;

pub use self::cache::CachedStep;
pub use self::ingest::{Ingest, NewBlob, StagedBlob};
pub use self::partial::PartialBlob;
pub use self::sweep::Freed;
use super::digest::Digest;
use super::manifest::{
    Descriptor, ImageConfig, ImageDocument, ImageManifest, MAX_DOCUMENT, media, read_document, read_json,
    too_large,
};
use super::reference::Reference;
use crate::error::{Error, ExitKind, Result};
use crate::host::home::HomePlace;
use crate::host::private_directory::{PrivateDirectory, Unusable};
use crate::host::run_lock::RunLock;
use crate::host::storage;
use crate::text::{printed, text, text_with};

const LAYOUT: &str = "oci-layout";
const INDEX: &str = "index.json";

/// The annotation with the name of an image. Other tools read it too.
pub const NAME: &str = "org.opencontainers.image.ref.name";

/// The annotation with the time at which an image was made.
const CREATED: &str = "org.opencontainers.image.created";

/// The annotation with the digest of the config: the ID of an image.
const CONFIG: &str = "sandbox.config";

/// The annotation with the digest by which a registry has the image: of the index, if it has an image for each platform. `pull` and
/// `push` write it.
const PULLED: &str = "sandbox.pulled";

/// The annotation with the size of all unpacked files.
const SIZE: &str = "sandbox.size";

/// The maximum size of index.json in bytes: about 40,000 images.
const MAX_INDEX: u64 = 32 << 20;

/// How long a command waits for one that changes index.json. Such a command has the lock for milliseconds.
const PATIENCE: Duration = Duration::from_secs(10);

/// The images in HOME.
#[derive(Debug)]
pub struct ImageStore {
    place: HomePlace,
    directories: Option<StoreDirectories>,
}

#[derive(Debug)]
struct StoreDirectories {
    images: PrivateDirectory,
    blobs: PrivateDirectory,
    ingest: PrivateDirectory,
    layers: PrivateDirectory,
}

/// An image that is stored, under one of its names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredImage {
    /// Its name. None: another image has got it.
    pub name: Option<Reference>,
    /// Its manifest.
    pub descriptor: Descriptor,
    /// The digest of its config: its ID.
    pub id: Digest,
    /// The size of its files.
    pub size: u64,
    /// When it was made, as its config says.
    pub created: Option<String>,
}

impl StoredImage {
    fn of(descriptor: Descriptor) -> Option<StoredImage> {
        let annotation = |name: &str| descriptor.annotations.get(name);
        let id = annotation(CONFIG)?.parse().ok()?;
        let name = annotation(NAME).and_then(|name| name.parse().ok());
        let size = annotation(SIZE).and_then(|size| size.parse().ok()).unwrap_or_default();
        let created = annotation(CREATED).cloned();
        Some(StoredImage { name, id, size, created, descriptor })
    }

    /// Its descriptor with what the store notes about it.
    fn described(&self, name: Option<&Reference>) -> Descriptor {
        let mut described = self.descriptor.clone();
        described.annotations.insert(CONFIG.into(), self.id.to_string());
        described.annotations.insert(SIZE.into(), self.size.to_string());
        self.created.iter().for_each(|created| {
            described.annotations.insert(CREATED.into(), created.clone());
        });
        described.annotations.remove(NAME);
        name.iter().for_each(|name| {
            described.annotations.insert(NAME.into(), name.to_string());
            // Another repository need not have the image.
            if self.name.as_ref().is_none_or(|own| own.name() != name.name()) {
                described.annotations.remove(PULLED);
            }
        });
        described
    }

    /// The digest by which the repository of its name has it: that of a manifest, or of an index with a manifest for each
    /// platform. None: it was neither pulled from there nor pushed there.
    pub fn registry_digest(&self) -> Option<Digest> {
        self.descriptor.annotations.get(PULLED).and_then(|digest| digest.parse().ok())
    }

    /// Notes the digest by which a registry has it.
    pub(super) fn set_registry_digest(&mut self, digest: &Digest) {
        self.descriptor.annotations.insert(PULLED.into(), digest.to_string());
    }

    /// How a sentence calls it.
    pub fn shown(&self) -> String {
        self.name.as_ref().map_or_else(|| self.id.short().to_owned(), Reference::familiar)
    }
}

/// A manifest and its config, as they are stored.
#[derive(Debug)]
pub struct ImageParts {
    /// The manifest.
    pub manifest: ImageManifest,
    /// The config.
    pub config: ImageConfig,
}

impl ImageStore {
    /// Opens the store. It may not exist.
    ///
    /// # Errors
    /// HOME cannot be trusted.
    pub fn open() -> Result<ImageStore> {
        ImageStore::at(HomePlace::find())
    }

    /// As [`ImageStore::open`], in a HOME that another process uses.
    ///
    /// # Errors
    /// As [`ImageStore::open`].
    pub fn in_home(home: &Path) -> Result<ImageStore> {
        ImageStore::at(HomePlace { path: home.to_owned(), instead_of: None })
    }

    fn at(place: HomePlace) -> Result<ImageStore> {
        let home = place.open()?;
        let directories = home.map(|home| StoreDirectories::find(&home)).transpose();
        let directories = directories.map_err(|error| unusable(&place, error))?.flatten();
        Ok(ImageStore { place, directories })
    }

    /// Opens the store, and makes it if it does not exist. Also returns a note for the user, once.
    ///
    /// # Errors
    /// As [`ImageStore::open`]; it cannot be made.
    pub fn make() -> Result<(ImageStore, Option<String>)> {
        let place = HomePlace::find();
        let (home, is_new) = place.make()?;
        let note = place.note().filter(|_| is_new);
        StoreDirectories::make(&home).map_err(|error| unusable(&place, error))?;
        let store = ImageStore::open()?;
        let images = &store.directories()?.images;
        if !images.path_through(LAYOUT).exists() {
            let layout = json!({ "imageLayoutVersion": "1.0.0" }).to_string() + "\n";
            let written = images.replace_beside_others(LAYOUT, layout.as_bytes(), true);
            written.map_err(|error| store.unwritten(&error))?;
        }
        Ok((store, note))
    }

    /// The path of HOME.
    pub fn home(&self) -> &Path {
        &self.place.path
    }

    /// The path of the layout.
    pub fn path(&self) -> PathBuf {
        self.place.path.join("images")
    }

    fn directories(&self) -> Result<&StoreDirectories> {
        self.directories.as_ref().ok_or_else(|| Error::new(ExitKind::Refused, text("image.store.gone")))
    }

    /// The directory of unpacked layers.
    pub(super) fn layers(&self) -> Result<&PrivateDirectory> {
        Ok(&self.directories()?.layers)
    }

    /// The manifest and the config of an image.
    ///
    /// # Errors
    /// They cannot be read, or are not what they should be.
    pub fn parts(&self, descriptor: &Descriptor) -> Result<ImageParts> {
        let what = descriptor.digest.to_string();
        let bytes = self.document(&descriptor.digest)?;
        let ImageDocument::Manifest(manifest) = read_document(&bytes, &descriptor.media_type, &what)? else {
            let values = [("type", &*printed(&descriptor.media_type))];
            let error = Error::new(ExitKind::Refused, text_with("image.document", &[("document", &what)]));
            return Err(error.why(text_with("image.document.type", &values)));
        };
        let bytes = self.document(&manifest.config.digest)?;
        let config = read_json(&bytes, &manifest.config.digest.to_string())?;
        Ok(ImageParts { manifest, config })
    }

    /// A document. Its digest is checked: what was changed on the disk is found.
    ///
    /// # Errors
    /// It does not exist, cannot be read, or has another content.
    pub fn document(&self, digest: &Digest) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let read = self.blob(digest)?.take(MAX_DOCUMENT + 1).read_to_end(&mut bytes);
        read.map_err(|error| self.unread(digest, error.into()))?;
        if bytes.len() as u64 > MAX_DOCUMENT {
            return Err(too_large(&digest.to_string()));
        }
        if Digest::of(&bytes) != *digest {
            return Err(self.broken(digest, text("image.blob.changed")));
        }
        Ok(bytes)
    }

    /// Opens a blob.
    ///
    /// # Errors
    /// It does not exist or cannot be opened.
    pub fn blob(&self, digest: &Digest) -> Result<std::fs::File> {
        let opened = self.directories()?.blobs.file_to_read(digest.hex());
        let file = opened.map_err(|unusable| self.unread(digest, unusable))?;
        file.ok_or_else(|| self.broken(digest, text("image.blob.none")))
    }

    /// Whether there is a blob.
    pub fn has_blob(&self, digest: &Digest) -> bool {
        self.directories
            .as_ref()
            .is_some_and(|found| matches!(found.blobs.file_to_read(digest.hex()), Ok(Some(_))))
    }

    /// The error of a blob whose content is not that of its name.
    pub(super) fn changed(&self, digest: &Digest) -> Error {
        self.broken(digest, text("image.blob.changed"))
    }

    fn broken(&self, digest: &Digest, why: String) -> Error {
        self.blob_error(digest).why(why)
    }

    /// The error of a blob that cannot be read. It may be whole.
    fn unread(&self, digest: &Digest, unusable: Unusable) -> Error {
        unusable.explain(self.blob_error(digest), &self.path())
    }

    fn blob_error(&self, digest: &Digest) -> Error {
        let path = self.path().join("blobs/sha256").join(digest.hex());
        Error::new(ExitKind::Refused, text_with("image.blob", &[("path", &printed(path))]))
    }

    fn lock_name(&self, kind: &str) -> String {
        format!("{kind}-{}.lock", self.place.hash())
    }

    fn lock(&self, kind: &str, lock: std::io::Result<RunLock>) -> Result<RunLock> {
        lock.map_err(|error| {
            let call = format!("flock(<{}>)", self.lock_name(kind));
            let [what, why, todo] = match kind {
                "blobs" => ["image.locked.blobs", "image.locked.blobs.reason", "image.locked.blobs.todo"],
                _ => ["image.locked", "image.locked.reason", "image.locked.todo"],
            };
            let error = Error::new(ExitKind::Refused, text(what)).call(call, error);
            error.why(text(why)).todo(text(todo))
        })
    }

    fn unwritten(&self, error: &std::io::Error) -> Error {
        unwritten(&self.path(), &self.place.path, error)
    }
}

fn unwritten(path: &Path, home: &Path, error: &std::io::Error) -> Error {
    let what = text_with("image.store.cannot", &[("path", &printed(path))]);
    storage::explain_io(Error::new(ExitKind::Refused, what), error, home)
}

impl StoreDirectories {
    fn find(home: &PrivateDirectory) -> std::result::Result<Option<StoreDirectories>, Unusable> {
        let Some(images) = home.directory("images".as_ref())? else { return Ok(None) };
        let Some(blobs) = images.directory("blobs".as_ref())? else { return Ok(None) };
        let (blobs, ingest) = (blobs.directory("sha256".as_ref())?, images.directory("ingest".as_ref())?);
        let layers = home.directory("layers".as_ref())?;
        Ok(blobs.zip(ingest).zip(layers).map(|((blobs, ingest), layers)| StoreDirectories {
            images,
            blobs,
            ingest,
            layers,
        }))
    }

    fn make(home: &PrivateDirectory) -> std::result::Result<(), Unusable> {
        let make = |parent: &PrivateDirectory, name: &str| {
            parent.make_directory(name.as_ref())?;
            parent.directory(name.as_ref())?.ok_or(Unusable::Removed)
        };
        let images = make(home, "images")?;
        make(&images, "ingest")?;
        make(&make(&images, "blobs")?, "sha256")?;
        make(home, "layers")?;
        Ok(())
    }
}

fn unusable(place: &HomePlace, error: Unusable) -> Error {
    let what = text_with("image.store.unusable", &[("path", &printed(place.path.join("images")))]);
    error.explain(Error::new(ExitKind::Refused, what), &place.path)
}

/// The descriptor of a manifest that was just stored.
pub fn manifest_descriptor(media_type: &str, digest: &Digest, size: u64) -> Descriptor {
    debug_assert!(media::is_manifest(media_type), "{media_type}");
    Descriptor {
        media_type: media_type.to_owned(),
        digest: digest.clone(),
        size,
        platform: None,
        annotations: BTreeMap::new(),
        others: BTreeMap::new(),
    }
}
