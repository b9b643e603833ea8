//! What is known about base images before a build begins, and has pulled any.

use serde_json::Value;

use super::configure;
use super::dockerfile::{self, Instruction};
use super::engine::BuildInputs;
use crate::image::manifest::read_json;
use crate::image::reference::Reference;

/// The images of the store.
pub(super) trait KnownImages {
    /// The triggers of the image that this name means, if it is here.
    fn triggers(&self, name: &str) -> Vec<Instruction>;

    /// Whether the name would be taken for the beginning of an ID.
    fn is_id(&self, name: &str) -> bool;
}

impl KnownImages for BuildInputs<'_> {
    fn triggers(&self, name: &str) -> Vec<Instruction> {
        let Ok(Some(image)) = self.store.look_for(name) else { return Vec::new() };
        let document = self.store.document(&image.id).unwrap_or_default();
        let mut config: Value = read_json(&document, "").unwrap_or_default();
        let triggers = configure::begin(&mut config).into_iter();
        // What is wrong in one is reported when it is executed.
        triggers.filter_map(|trigger| Some(dockerfile::trigger(name, &trigger).ok()?.value)).collect()
    }

    fn is_id(&self, name: &str) -> bool {
        let whole = name.parse::<Reference>().map(Reference::or_latest).ok();
        match self.store.look_for(name) {
            // Several images have such an ID.
            Err(_) => true,
            Ok(found) => found.is_some_and(|image| image.id.hex().starts_with(name) && image.name != whole),
        }
    }
}
