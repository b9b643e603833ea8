//! index.json: the names of the images, and what they lead to.

use std::collections::BTreeMap;
use std::io::Read;

use super::{CONFIG, INDEX, ImageStore, MAX_INDEX, NAME, PATIENCE, PULLED, StoredImage};
use crate::error::{Error, ExitKind, Result};
use crate::host::private_directory::Unusable;
use crate::host::run_lock::RunLock;
use crate::image::digest::Digest;
use crate::image::manifest::{Descriptor, ImageIndex, media};
use crate::image::reference::Reference;
use crate::image::registry::resolve;
use crate::text::{printed, text_with};
use crate::value::json_error;

impl ImageStore {
    /// All images, in the order in which they got their names.
    ///
    /// # Errors
    /// index.json cannot be read.
    pub fn all(&self) -> Result<Vec<StoredImage>> {
        let manifests = self.index()?.manifests.into_iter();
        let image =
            |descriptor: Descriptor| StoredImage::of(descriptor.clone()).or_else(|| self.foreign(descriptor));
        Ok(manifests.filter_map(image).collect())
    }

    /// An image that another tool has written to the layout. Its size is not known before it is unpacked.
    fn foreign(&self, descriptor: Descriptor) -> Option<StoredImage> {
        let parts = media::is_manifest(&descriptor.media_type).then(|| self.parts(&descriptor).ok())??;
        let name = descriptor.annotations.get(NAME).and_then(|name| name.parse::<Reference>().ok());
        let (id, created) = (parts.manifest.config.digest, parts.config.created);
        Some(StoredImage { name: name.map(Reference::or_latest), id, size: 0, created, descriptor })
    }

    pub(super) fn index(&self) -> Result<ImageIndex> {
        let empty = ImageIndex {
            schema_version: 2,
            media_type: None,
            manifests: Vec::new(),
            others: BTreeMap::new(),
        };
        let Some(directories) = &self.directories else { return Ok(empty) };
        let path = printed(self.path().join(INDEX));
        let error = || Error::new(ExitKind::Refused, text_with("image.index", &[("path", &path)]));
        let wrong = |why: String| error().why(why);
        let unread = |unusable: Unusable| unusable.explain(error(), &self.path());
        let file = directories.images.file_to_read(INDEX).map_err(unread)?;
        let Some(file) = file else { return Ok(empty) };
        let mut bytes = Vec::new();
        file.take(MAX_INDEX + 1).read_to_end(&mut bytes).map_err(|error| unread(error.into()))?;
        if bytes.len() as u64 > MAX_INDEX {
            return Err(wrong(text_with(
                "image.document.large",
                &[("most", &(MAX_INDEX >> 20).to_string())],
            )));
        }
        serde_json::from_slice(&bytes).map_err(|error| wrong(json_error::reason(&bytes, &error)))
    }

    /// Changes index.json, while no other command does.
    fn change<T>(&self, change: impl FnOnce(&mut Vec<Descriptor>) -> Result<T>) -> Result<T> {
        let lock = self.lock("images", RunLock::exclusive(&self.lock_name("images"), PATIENCE, || true))?;
        let changed = self.index().and_then(|mut index| {
            let result = change(&mut index.manifests)?;
            let mut bytes = serde_json::to_vec(&index).unwrap_or_default();
            bytes.push(b'\n');
            let images = &self.directories()?.images;
            let written = images.replace(INDEX, &bytes, true).and_then(|()| images.sync());
            written.map_err(|error| self.unwritten(&error))?;
            Ok(result)
        });
        lock.release();
        changed
    }

    /// The image with this name, this ID, or an ID that begins so and no other does.
    ///
    /// # Errors
    /// There is none, or several.
    pub fn find(&self, written: &str) -> Result<StoredImage> {
        self.look_for(written)?.ok_or_else(|| none(written))
    }

    /// As [`ImageStore::find`]. None: there is none.
    ///
    /// # Errors
    /// There are several; the store cannot be read.
    pub fn look_for(&self, written: &str) -> Result<Option<StoredImage>> {
        let all = self.all()?;
        let own = written.parse::<Reference>().ok();
        // `pull` stores an image by the name for which an alias of registries.conf stands.
        let of_alias = || resolve(written).ok().filter(|whole| Some(whole) != own.as_ref());
        for reference in own.iter().cloned().chain(std::iter::once_with(of_alias).flatten()) {
            let wanted = reference.or_latest();
            let is_it = |image: &&StoredImage| match &wanted.digest {
                None => image.name.as_ref() == Some(&wanted),
                Some(digest) => {
                    (image.descriptor.digest == *digest || image.registry_digest().as_ref() == Some(digest))
                        && image.name.as_ref().is_some_and(|name| name.name() == wanted.name())
                }
            };
            // The name itself, before another one of the same repository that leads to this digest.
            let own = all.iter().find(|image| image.name.as_ref() == Some(&wanted));
            if let Some(found) = own.or_else(|| all.iter().find(is_it)) {
                return Ok(Some(found.clone()));
            }
        }
        let prefix = written.strip_prefix("sha256:").unwrap_or(written);
        if prefix.is_empty() || !prefix.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Ok(None);
        }
        let begins = |image: &StoredImage| image.id.hex().starts_with(prefix);
        let mut found: Vec<StoredImage> = all.into_iter().filter(begins).collect();
        if found.is_empty() {
            // The image of a step of a build has only an ID.
            found = self.cached_steps()?.into_iter().map(|step| step.image).filter(begins).collect();
            found.sort_by(|one, other| one.id.hex().cmp(other.id.hex()));
        }
        found.dedup_by(|one, other| one.id == other.id);
        let Some(first) = found.first().cloned() else { return Ok(None) };
        if found.iter().any(|image| image.id != first.id) {
            let values = [("prefix", &*printed(written))];
            return Err(Error::new(ExitKind::Refused, text_with("image.several", &values)));
        }
        Ok(Some(first))
    }

    /// Gives a name to an image, also if another one has it: that one keeps its ID only.
    ///
    /// # Errors
    /// It was removed meanwhile; index.json cannot be written.
    pub fn name(&self, image: &StoredImage, name: Option<&Reference>) -> Result<()> {
        let named = image.described(name);
        // As long as this lock is held, no command removes blobs.
        let lock = self.adding()?;
        let changed = self.change(|manifests| {
            let is_listed = manifests.iter().any(|other| other.digest == named.digest);
            // Another command may have removed it since it was found.
            if !is_listed && !self.is_whole(&named) {
                return Err(none(&image.shown()));
            }
            if name.is_none() && is_listed {
                return Ok(());
            }
            for other in manifests.iter_mut() {
                // Another tool may have written the name without a registry or a tag.
                if name.is_some() && name_of(other).as_ref() == name {
                    other.annotations.remove(NAME);
                }
            }
            manifests.push(named);
            tidy(manifests);
            Ok(())
        });
        lock.release();
        changed
    }

    /// Notes the digest by which the repository of a name has an image after a push.
    ///
    /// # Errors
    /// index.json cannot be written.
    pub fn note_pushed(&self, image: &StoredImage, name: &Reference, digest: &Digest) -> Result<()> {
        let id = image.id.to_string();
        self.change(|manifests| {
            for other in manifests.iter_mut() {
                let is_it = name_of(other).is_some_and(|own| own.name() == name.name())
                    && other.annotations.get(CONFIG) == Some(&id);
                if is_it {
                    other.annotations.insert(PULLED.into(), digest.to_string());
                }
            }
            Ok(())
        })
    }

    /// Whether all blobs of an image are there.
    pub(super) fn is_whole(&self, descriptor: &Descriptor) -> bool {
        let parts = self.parts(descriptor);
        parts.is_ok_and(|parts| parts.manifest.layers.iter().all(|layer| self.has_blob(&layer.digest)))
    }

    /// Removes a name, or, with None, all of an image. Returns the names that were removed.
    ///
    /// # Errors
    /// index.json cannot be written.
    pub fn unname(&self, image: &StoredImage, name: Option<&Reference>) -> Result<Vec<Reference>> {
        let id = image.id.to_string();
        self.change(|manifests| {
            let mut removed = Vec::new();
            manifests.retain(|other| {
                let own = name_of(other);
                let is_of_image =
                    other.annotations.get(CONFIG) == Some(&id) || other.digest == image.descriptor.digest;
                let is_it = is_of_image && (name.is_none() || own.as_ref() == name);
                if is_it {
                    removed.extend(own);
                }
                !is_it
            });
            Ok(removed)
        })
    }
}

/// The error of an image that does not exist.
fn none(written: &str) -> Error {
    // Docker's words have the tag that is meant.
    let meant = written.parse::<Reference>().map(|name| name.or_latest().familiar());
    let name = meant.unwrap_or_else(|_| written.to_owned());
    let values = [("name", &*printed(&name))];
    Error::new(ExitKind::Refused, text_with("image.none", &values)).paste("sandbox images")
}

/// The name that a descriptor gives to its image.
fn name_of(descriptor: &Descriptor) -> Option<Reference> {
    let name = descriptor.annotations.get(NAME)?.parse::<Reference>().ok();
    name.map(Reference::or_latest)
}

/// Removes descriptors that say nothing new: an image without a name is listed only if it has none at all. The same image may have
/// several manifests, with its layers packed in other ways.
fn tidy(manifests: &mut Vec<Descriptor>) {
    let mut at = 0;
    while at < manifests.len() {
        let own = &manifests[at];
        let repeats = |(index, other): (usize, &Descriptor)| {
            let id = own.annotations.get(CONFIG);
            let is_same = other.digest == own.digest || id.is_some() && other.annotations.get(CONFIG) == id;
            index != at && is_same && (index > at || other.annotations.contains_key(NAME))
        };
        if !own.annotations.contains_key(NAME) && manifests.iter().enumerate().any(repeats) {
            manifests.remove(at);
        } else {
            at += 1;
        }
    }
}
