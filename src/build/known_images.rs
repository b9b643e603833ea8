//! What is known about base images before the build has pulled any of them.

use serde_json::Value;

use super::configure;
use super::dockerfile::{self, Instruction};
use super::engine::BuildInputs;
use crate::image::manifest::read_json;
use crate::image::reference::Reference;

impl BuildInputs<'_> {
    /// The triggers of the image that this name means, if the store has it.
    pub(super) fn triggers(&self, name: &str) -> Vec<Instruction> {
        let Ok(Some(image)) = self.store.look_for(name) else { return Vec::new() };
        let document = self.store.document(&image.id).unwrap_or_default();
        let mut config: Value = read_json(&document, "").unwrap_or_default();
        let triggers = configure::begin(&mut config).into_iter();
        // What is wrong in one is reported when it is executed.
        triggers.filter_map(|trigger| Some(dockerfile::trigger(name, &trigger).ok()?.value)).collect()
    }

    /// Whether the store takes the name for the beginning of an ID.
    pub(super) fn is_id(&self, name: &str) -> bool {
        let whole = name.parse::<Reference>().map(Reference::or_latest).ok();
        match self.store.look_for(name) {
            // Several images have such an ID.
            Err(_) => true,
            Ok(found) => found.is_some_and(|image| image.id.hex().starts_with(name) && image.name != whole),
        }
    }
}
