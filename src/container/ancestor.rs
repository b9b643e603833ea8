//! The filter `ancestor`: the containers of an image, and of all images that were made from it.

use std::collections::BTreeSet;

use super::store::KeptContainer;
#[cfg(feature = "images")]
use crate::image::{history::ImageOrigin, store::ImageStore};

/// What a value of the filter means.
pub(super) struct Ancestor<'v> {
    value: &'v str,
    /// The IDs of the images. None: no image has this name or ID now.
    ids: Option<BTreeSet<String>>,
}

impl<'v> Ancestor<'v> {
    /// Looks for the images among those that the containers have.
    #[cfg(feature = "images")]
    pub(super) fn of(value: &'v str, containers: &[KeptContainer]) -> Ancestor<'v> {
        let Ok(store) = ImageStore::open() else { return Ancestor { value, ids: None } };
        let found = match store.look_for(value) {
            Ok(Some(found)) => found,
            Ok(None) => return Ancestor { value, ids: None },
            // Several images have an ID that begins so. As in Docker, it is then none of them.
            Err(_) => return Ancestor { value, ids: Some(BTreeSet::new()) },
        };
        let mut ids = BTreeSet::from([found.id.to_string()]);
        let wanted: BTreeSet<&str> =
            containers.iter().filter_map(|container| container.record.image_id.as_deref()).collect();
        if let Ok(above) = ImageOrigin::of(&store, &found) {
            // A container can be of the image of a step of a build, too.
            let steps = store.cached_steps().unwrap_or_default().into_iter().map(|step| step.image);
            for image in store.all().unwrap_or_default().into_iter().chain(steps) {
                let id = image.id.to_string();
                if wanted.contains(&*id)
                    && !ids.contains(&id)
                    && ImageOrigin::of(&store, &image).is_ok_and(|own| own.is_from(&above))
                {
                    ids.insert(id);
                }
            }
        }
        Ancestor { value, ids: Some(ids) }
    }

    /// Without images, only names are compared.
    #[cfg(not(feature = "images"))]
    pub(super) fn of(value: &'v str, _: &[KeptContainer]) -> Ancestor<'v> {
        Ancestor { value, ids: None }
    }

    /// Whether a container is of one of these images.
    pub(super) fn has(&self, container: &KeptContainer) -> bool {
        let record = &container.record;
        match (&self.ids, &record.image_id) {
            (Some(ids), Some(id)) => ids.contains(id),
            // It was made from a directory, or its image was removed.
            _ => is_of_image(&record.image, record.image_id.as_deref(), self.value),
        }
    }
}

/// Whether a container is of this image: its name, with or without `:latest`, or the beginning of its ID.
fn is_of_image(image: &str, id: Option<&str>, value: &str) -> bool {
    let digits = |id: &str| id.trim_start_matches("sha256:").to_owned();
    let is_id = digits(value).len() >= 4 && id.is_some_and(|id| digits(id).starts_with(&digits(value)));
    is_id
        || image == value
        || image.strip_suffix(":latest") == Some(value)
        || value.strip_suffix(":latest") == Some(image)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_has_names_and_an_id() {
        let id = Some("sha256:0123456789ab");
        for value in ["lab", "lab:latest", "0123", "sha256:01234567"] {
            assert!(is_of_image("lab", id, value) && is_of_image("lab:latest", id, value), "{value}");
        }
        for value in ["", "la", "lab:1", "012", "sha256:", "1234"] {
            assert!(!is_of_image("lab", id, value) && !is_of_image("lab:latest", id, value), "{value}");
        }
        assert!(is_of_image("lab:1", None, "lab:1") && !is_of_image("lab:1", None, "lab"));
    }
}
