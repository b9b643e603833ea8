//! What stays on the disk when no process runs: the containers, volumes and images of HOME. Nothing is changed: not even
//! what killed commands have left is removed.

use super::kinds::{Found, FoundThing};
use crate::container::store::ContainerStore;
use crate::container::volumes::VolumeStore;
#[cfg(feature = "images")]
use crate::image::store::ImageStore;

/// The containers by name. Another one of the same name has another ID.
pub(super) fn containers() -> Found {
    let all = ContainerStore::look().map_err(|error| error.what)?;
    let thing = |(id, name): (crate::container::id::Id, String)| {
        let short = id.short().to_owned();
        let name = if name.is_empty() { short.clone() } else { name };
        FoundThing::new(name, short, true)
    };
    Ok(all.into_iter().map(thing).collect())
}

/// The volumes by name. Another one of the same name was made at another time.
pub(super) fn volumes() -> Found {
    let all = VolumeStore::open().and_then(|store| store.all()).map_err(|error| error.what)?;
    let thing = |volume: crate::container::volumes::Volume| {
        FoundThing::new(volume.name, volume.about.created.to_string(), true)
    };
    Ok(all.into_iter().map(thing).collect())
}

/// The images by name. Another one of the same name has another ID.
#[cfg(feature = "images")]
pub(super) fn images() -> Found {
    let all = ImageStore::open().and_then(|store| store.all()).map_err(|error| error.what)?;
    let thing = |image: crate::image::store::StoredImage| {
        FoundThing::new(image.shown(), image.id.short().to_owned(), true)
    };
    Ok(all.into_iter().map(thing).collect())
}

#[cfg(not(feature = "images"))]
pub(super) fn images() -> Found {
    Ok(Vec::new())
}
