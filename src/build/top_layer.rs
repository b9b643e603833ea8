//! The layer that a step adds to its image.

use serde_json::{Value, json};

use super::dockerfile::{Instruction, Placed};
use super::engine::{ImageBuilder, StageState};
use super::key::key_of;
use super::options::{BuildEvent, BuildStop};
use crate::error::Result;
use crate::image::digest::Digest;
use crate::image::manifest::{Descriptor, MAX_LAYERS};
use crate::image::store::StagedBlob;
use crate::text::{text, text_with};

/// The layer that a step adds.
pub(super) enum TopLayer {
    /// None.
    None,
    /// A new one.
    New(StagedBlob),
    /// One of another image in the store: its descriptor, and the digest of its content.
    Stored(Box<Descriptor>, Value),
}

impl From<Option<StagedBlob>> for TopLayer {
    fn from(top: Option<StagedBlob>) -> TopLayer {
        top.map_or(TopLayer::None, TopLayer::New)
    }
}

impl ImageBuilder<'_> {
    /// Says before a command runs that its image has as many layers as it can have: the command may take long, and is refused after
    /// it if it changes a file.
    pub(super) fn note_limit(&self, stage: &StageState) {
        if stage.current.layers.len() >= MAX_LAYERS {
            self.event(BuildEvent::Note(text_with(
                "build.layers.note",
                &[("most", &MAX_LAYERS.to_string())],
            )));
        }
    }

    /// Refuses an instruction that adds a layer to an image that has as many as it can have. It is executed first: whether it adds one
    /// is known only then.
    pub(super) fn check_layers(
        &self,
        stage: &StageState,
        step: &Placed<Instruction>,
        top: Option<&StagedBlob>,
    ) -> Result<()> {
        let Some(top) = top.filter(|_| stage.current.layers.len() >= MAX_LAYERS) else { return Ok(()) };
        self.inputs.ingest.discard(top);
        let what = text_with("build.layers", &[("most", &MAX_LAYERS.to_string())]);
        Err(self.source().0.error(&step.span, what).todo(text("build.layers.todo")))
    }

    /// The top layer of the image of a step, if that is still there.
    fn stored_layer(&self, key: &Digest) -> Option<TopLayer> {
        let image = self.inputs.store.cached(key).filter(|_| !self.inputs.options.no_cache)?;
        let image = self.opened(image).ok()?;
        let content = image.config["rootfs"]["diff_ids"].as_array()?.last()?.clone();
        Some(TopLayer::Stored(Box::new(image.layers.last()?.clone()), content))
    }

    /// The end of an instruction whose layer is written already. A layer of `--link` does not depend on the layers below. So the layer
    /// of an earlier build is taken, also if that build had other layers below.
    pub(super) fn finish_files(
        &mut self,
        stage: &mut StageState,
        created_by: &str,
        content: &Digest,
        top: Option<StagedBlob>,
        is_link: bool,
    ) -> std::result::Result<(), BuildStop> {
        let key = self.key(stage, created_by, json!([content]));
        if let Some(cached) = self.cached(stage, (created_by, created_by), &key) {
            stage.current = cached;
            top.iter().for_each(|top| self.inputs.ingest.discard(top));
            return Ok(());
        }
        let config = stage.current.config.clone();
        let epoch = self.inputs.options.epoch;
        let of_link =
            (is_link && top.is_some()).then(|| key_of(None, created_by, json!(["link", content, epoch])));
        match of_link.as_ref().and_then(|key| self.stored_layer(key)) {
            Some(stored) => {
                self.event(BuildEvent::Cached);
                top.iter().for_each(|top| self.inputs.ingest.discard(top));
                self.finish(stage, config, created_by, &key, stored)?;
            }
            None => self.finish(stage, config, created_by, &key, top)?,
        }
        if let (Some(key), Some(image)) = (&of_link, &stage.current.image) {
            self.inputs.store.remember(key, image)?;
        }
        Ok(())
    }
}
