//! Builds: executes the instructions of the stages that the target needs, one after the other.
//!
//!     instruction ──key──> in the cache? ──yes──> its image
//!                               └──no──> RUN: a container, whose upper directory is read as an archive
//!                                        COPY, ADD, WORKDIR: an archive, written without a container
//!                                        all others: the config alone
//!                               ──> a new image, whose key and ID the cache notes
//!
//! Each instruction makes an image. Those that change files add a layer to it. So each step can be taken from the cache by itself,
//! and what was built before a failure stays.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::configure::{self, ConfigError};
use super::context::BuildContext;
use super::dockerfile::{self, Dockerfile, Instruction, Placed, SourceText};
use super::key::key_of;
use super::options::{BuildEvent, BuildOptions, BuildStop, BuildWatch};
use super::scope::{BuildScope, expand_content};
use super::stages::{self, ResolvedStage, StageBase};
use crate::error::{Error, ExitKind, Result};
use crate::exec::signals::Signals;
use crate::host::run_lock::RunLock;
use crate::image::Tell;
use crate::image::digest::Digest;
use crate::image::manifest::{Descriptor, Platform, read_json};
use crate::image::new_image::NewImage;
use crate::image::rootfs;
use crate::image::store::{ImageStore, Ingest, StagedBlob, StoredImage};
use crate::text::{text, text_with};
use crate::value::timestamp::Timestamp;

/// The image of a step.
#[derive(Debug, Clone)]
pub struct StepImage {
    /// As it is stored. None: `scratch`.
    pub image: Option<StoredImage>,
    /// Its config.
    pub config: Value,
    /// Its layers, the lowest first.
    pub layers: Vec<Descriptor>,
}

/// What a build works with.
pub struct BuildInputs<'b> {
    /// Where images are.
    pub store: &'b ImageStore,
    /// Where new blobs are. As long as it exists, no command removes what no image names yet.
    pub ingest: &'b Ingest<'b>,
    /// What is built.
    pub dockerfile: &'b Dockerfile,
    /// The files for `COPY` and `ADD`.
    pub context: &'b BuildContext,
    /// What is asked for.
    pub options: &'b BuildOptions,
    /// A signal that ends the build.
    pub signals: &'b Signals,
    /// Where the steps are told.
    pub tell: Tell<'b>,
    /// Gets an image, if it is not here: its name and its platform.
    pub pull: &'b dyn Fn(&str, Option<&str>) -> Result<()>,
}

/// A build.
pub struct ImageBuilder<'b> {
    pub(super) inputs: BuildInputs<'b>,
    pub(super) watch: &'b mut dyn BuildWatch,
    done: BTreeMap<usize, StepImage>,
    step: usize,
    steps: usize,
    /// Whether it was said that commands have no network.
    pub(super) has_told_network: bool,
}

/// A stage that is being built.
pub(super) struct StageState {
    pub(super) number: usize,
    pub(super) scope: BuildScope,
    pub(super) current: StepImage,
    /// Whether the stage has a `CMD` of its own.
    has_command: bool,
}

impl<'b> ImageBuilder<'b> {
    /// A build that has not begun.
    pub fn new(inputs: BuildInputs<'b>, watch: &'b mut dyn BuildWatch) -> ImageBuilder<'b> {
        ImageBuilder { inputs, watch, done: BTreeMap::new(), step: 0, steps: 0, has_told_network: false }
    }

    /// Builds the target. Returns its image.
    ///
    /// # Errors
    /// A step fails. What was built before stays in the cache.
    pub fn build(&mut self) -> std::result::Result<StoredImage, BuildStop> {
        let mut scope = BuildScope::new(&self.inputs.options.arguments);
        for placed in &self.inputs.dockerfile.arguments {
            for argument in &placed.value {
                let expand = |word: &str| {
                    super::scope::expand(self.source(), placed, word, &|name| scope.global(name))
                };
                let default = argument.default.as_deref().map(expand).transpose()?;
                scope.declare_global(argument, default.map(|expanded| expanded.text));
            }
        }
        let (resolved, needed) =
            stages::resolve(self.inputs.dockerfile, &scope, self.inputs.options.target.as_deref())?;
        let of_labels = usize::from(!self.inputs.options.labels.is_empty());
        self.steps = of_labels
            + needed
                .iter()
                .map(|number| self.inputs.dockerfile.stages[*number].steps.len() + 1)
                .sum::<usize>();
        for number in &needed {
            let built = self.build_stage(*number, &resolved[*number], scope.clone())?;
            self.done.insert(*number, built);
        }
        let last = needed.last().copied().unwrap_or_default();
        let mut target = self.done.remove(&last).ok_or_else(|| Error::failed("no stage was built"))?;
        if !self.inputs.options.labels.is_empty() {
            target = self.add_labels(target)?;
        }
        target.image.ok_or_else(|| {
            let from = &self.inputs.dockerfile.stages[last].from;
            self.inputs.dockerfile.source.error(&from.span, text("build.scratch.empty")).into()
        })
    }

    pub(super) fn source(&self) -> (&'b SourceText, char) {
        (&self.inputs.dockerfile.source, self.inputs.dockerfile.directives.escape)
    }

    fn build_stage(
        &mut self,
        number: usize,
        resolved: &ResolvedStage,
        scope: BuildScope,
    ) -> std::result::Result<StepImage, BuildStop> {
        let stage = &self.inputs.dockerfile.stages[number];
        self.begin_step(&stage.from.text)?;
        let mut current = match &resolved.base {
            StageBase::Scratch => scratch(),
            StageBase::Stage(earlier) => self.done.get(earlier).cloned().unwrap_or_else(scratch),
            StageBase::Image(name) => self.base(name, resolved.platform.as_deref()).map_err(|error| {
                let place = stage.from.place_of(&stage.from.value.image);
                placed_at(&self.inputs.dockerfile.source, &place, error)
            })?,
        };
        self.watch.event(BuildEvent::Image(current.image.as_ref().map(|image| &image.id)));
        let triggers = configure::begin(&mut current.config);
        let mut stage = StageState { number, scope, current, has_command: false };
        if !triggers.is_empty() {
            self.watch.event(BuildEvent::Triggers(triggers.len()));
            self.steps += triggers.len();
            for trigger in &triggers {
                self.perform_trigger(&mut stage, trigger)?;
            }
        }
        for step in &self.inputs.dockerfile.stages[number].steps {
            self.begin_step(&step.text)?;
            self.perform(&mut stage, step)?;
            self.watch.event(BuildEvent::Image(stage.current.image.as_ref().map(|image| &image.id)));
        }
        Ok(stage.current)
    }

    /// An instruction of `ONBUILD` in the base image.
    fn perform_trigger(
        &mut self,
        stage: &mut StageState,
        trigger: &str,
    ) -> std::result::Result<(), BuildStop> {
        let text = format!("FROM scratch\n{trigger}\n");
        let parsed = dockerfile::parse("ONBUILD", text.as_bytes())?;
        for step in parsed.stages.iter().flat_map(|stage| &stage.steps) {
            self.begin_step(&step.text)?;
            self.perform(stage, step)?;
            self.watch.event(BuildEvent::Image(stage.current.image.as_ref().map(|image| &image.id)));
        }
        Ok(())
    }

    fn begin_step(&mut self, text: &str) -> Result<()> {
        self.check_signals()?;
        self.step += 1;
        self.watch.event(BuildEvent::Step(self.step, self.steps, text));
        Ok(())
    }

    /// Ends the build if a signal has arrived.
    pub(super) fn check_signals(&self) -> Result<()> {
        self.inputs.signals.next_end().map_or(Ok(()), |arrived| {
            Err(Error::new(ExitKind::Interrupted(arrived.number), text("build.interrupted")))
        })
    }

    /// An image of the store. It is pulled if it is not there.
    pub(super) fn base(&self, name: &str, platform: Option<&str>) -> Result<StepImage> {
        (self.inputs.pull)(name, platform)?;
        let image = self.inputs.store.find(name)?;
        self.opened(image)
    }

    /// An image with its documents.
    fn opened(&self, image: StoredImage) -> Result<StepImage> {
        let parts = self.inputs.store.parts(&image.descriptor)?;
        let document = self.inputs.store.document(&image.id)?;
        let config = read_json(&document, &image.id.to_string())?;
        Ok(StepImage { image: Some(image), config, layers: parts.manifest.layers })
    }

    fn perform(
        &mut self,
        stage: &mut StageState,
        step: &Placed<Instruction>,
    ) -> std::result::Result<(), BuildStop> {
        match &step.value {
            Instruction::Run(run) => self.run(stage, step, run),
            Instruction::Copy(files) => self.copy(stage, step, files, false),
            Instruction::Add(files) => self.copy(stage, step, files, true),
            Instruction::Workdir(path) => self.workdir(stage, step, path),
            Instruction::Arg(list) => {
                let mut texts = Vec::new();
                for argument in list {
                    let default = match &argument.default {
                        Some(word) => Some(self.one(stage, step, word)?),
                        None => None,
                    };
                    texts.push(match &default {
                        Some(default) => format!("{}={default}", argument.name),
                        None => argument.name.clone(),
                    });
                    stage.scope.declare(&argument.name, default);
                }
                let config = stage.current.config.clone();
                self.finish_config(stage, config, &format!(" ARG {}", texts.join(" ")))
            }
            _ => self.configure(stage, step),
        }
    }

    /// Expands a word as a whole.
    pub(super) fn one<T>(&self, stage: &StageState, step: &Placed<T>, word: &str) -> Result<String> {
        let expanded = stage.scope.expand(self.source(), &stage.current.config, step, word)?;
        Ok(expanded.text)
    }

    /// Expands the content of a here-document.
    pub(super) fn content<T>(&self, stage: &StageState, step: &Placed<T>, content: &str) -> Result<String> {
        let value = |name: &str| stage.scope.value(&stage.current.config, name);
        Ok(expand_content(self.source(), step, content, &value)?.text)
    }

    fn configure(
        &mut self,
        stage: &mut StageState,
        step: &Placed<Instruction>,
    ) -> std::result::Result<(), BuildStop> {
        let mut config = stage.current.config.clone();
        let mut has_command = stage.has_command;
        let expand = |word: &str| stage.scope.expand(self.source(), &stage.current.config, step, word);
        let one = |word: &str| expand(word).map(|expanded| expanded.text);
        let words = |word: &str| expand(word).map(|expanded| expanded.words);
        let applied = configure::apply(&mut config, &step.value, &mut has_command, &one, &words);
        let what = applied.map_err(|error| match error {
            ConfigError::Placed(error) => error,
            ConfigError::Value(why) => self.inputs.dockerfile.source.error(&step.span, why),
        })?;
        stage.has_command = has_command;
        self.finish_config(stage, config, &what.unwrap_or_default())
    }

    /// The end of an instruction that has changed only the config.
    pub(super) fn finish_config(
        &mut self,
        stage: &mut StageState,
        config: Value,
        what: &str,
    ) -> std::result::Result<(), BuildStop> {
        let created_by = configure::no_operation(&stage.current.config, what);
        let parts = json!([config["config"], config["author"]]);
        let key = self.key(stage, &created_by, parts);
        if let Some(cached) = self.cached(&key) {
            stage.current = cached;
            return Ok(());
        }
        self.finish(stage, config, &created_by, &key, None)?;
        Ok(())
    }

    fn add_labels(&mut self, target: StepImage) -> std::result::Result<StepImage, BuildStop> {
        let texts: Vec<String> =
            self.inputs.options.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let what = format!(" LABEL {}", texts.join(" "));
        self.begin_step(what.trim())?;
        let mut config = target.config.clone();
        for (name, value) in &self.inputs.options.labels {
            config["config"]["Labels"][name] = value.clone().into();
        }
        let scope = BuildScope::new(&self.inputs.options.arguments);
        let mut stage = StageState { number: 0, scope, current: target, has_command: false };
        self.finish_config(&mut stage, config, &what)?;
        self.watch.event(BuildEvent::Image(stage.current.image.as_ref().map(|image| &image.id)));
        Ok(stage.current)
    }

    /// The key of a step.
    pub(super) fn key(&self, stage: &StageState, instruction: &str, parts: Value) -> Digest {
        let parts = match self.inputs.options.epoch {
            Some(epoch) => json!([parts, epoch]),
            None => parts,
        };
        key_of(stage.id(), instruction, parts)
    }

    /// The image of a step that was built before.
    pub(super) fn cached(&mut self, key: &Digest) -> Option<StepImage> {
        (self.inputs.tell)(&format!("read(<images/cache/{}>)", key.hex()), "build.explain.lookup");
        if self.inputs.options.no_cache {
            (self.inputs.tell)(&"--no-cache", "build.explain.nocache");
            return None;
        }
        let found = self.inputs.store.cached(key).and_then(|image| self.opened(image).ok());
        match &found {
            Some(_) => {
                (self.inputs.tell)(&"Using cache", "build.explain.hit");
                self.watch.event(BuildEvent::Cached);
            }
            None => (self.inputs.tell)(&"ENOENT", "build.explain.miss"),
        }
        found
    }

    /// Makes the image of a step, and notes it in the cache.
    pub(super) fn finish(
        &mut self,
        stage: &mut StageState,
        mut config: Value,
        created_by: &str,
        key: &Digest,
        top: Option<StagedBlob>,
    ) -> Result<()> {
        let epoch = self.inputs.options.epoch.map(|epoch| Timestamp(i128::from(epoch) * 1_000_000_000));
        let now = epoch.unwrap_or_else(Timestamp::now).to_string();
        let layers = &stage.current.layers;
        // A history that names other layers than there are would be ignored as a whole.
        let makes_layer = |step: &&Value| !step["empty_layer"].as_bool().unwrap_or(false);
        let known = config["history"].as_array().map_or(0, |steps| steps.iter().filter(makes_layer).count());
        if known != layers.len() {
            config["history"] = vec![json!({}); layers.len()].into();
        }
        let mut entry = json!({ "created": now, "created_by": created_by });
        match &top {
            Some(top) => push(&mut config["rootfs"]["diff_ids"], json!(top.digest)),
            None => entry["empty_layer"] = true.into(),
        }
        push(&mut config["history"], entry);
        config["created"] = now.into();
        let has_layer = top.is_some();
        let new = NewImage::of_step(self.inputs.ingest, layers.clone(), top, &config)?;
        let size = match has_layer {
            true => {
                new.unpack(
                    self.inputs.store,
                    self.inputs.ingest,
                    self.inputs.options.maps.as_ref(),
                    self.inputs.tell,
                )?
                .size
            }
            false => stage.current.image.as_ref().map_or(0, |image| image.size),
        };
        let image = new.publish(self.inputs.ingest, size, self.inputs.tell)?;
        (self.inputs.tell)(
            &format!("write(<images/cache/{}>); rename(…)", key.hex()),
            "build.explain.remember",
        );
        self.inputs.store.remember(key, &image)?;
        stage.current = StepImage { image: Some(image), config, layers: new.parts.manifest.layers };
        Ok(())
    }

    /// The directories of the layers of an image, the topmost first.
    pub(super) fn directories(&self, image: &StepImage) -> Result<Vec<PathBuf>> {
        let Some(image) = image.image.as_ref().filter(|_| !image.layers.is_empty()) else {
            return Ok(Vec::new());
        };
        let maps = self.inputs.options.maps.as_ref();
        let (directories, lock) =
            rootfs::directories(self.inputs.store, &image.descriptor, maps, self.inputs.tell)?;
        // The ingest of the build has a lock too.
        RunLock::release(lock);
        Ok(directories)
    }

    /// The image of an earlier stage.
    pub(super) fn stage_image(&self, number: usize) -> Option<&StepImage> {
        self.done.get(&number)
    }
}

impl StageState {
    /// The ID of the image so far.
    pub(super) fn id(&self) -> Option<&Digest> {
        self.current.image.as_ref().map(|image| &image.id)
    }
}

/// An image without files.
fn scratch() -> StepImage {
    let here = Platform::here();
    let config = json!({
        "architecture": here.architecture,
        "os": here.os,
        "config": {},
        "history": [],
        "rootfs": { "type": "layers", "diff_ids": [] },
    });
    StepImage { image: None, config, layers: Vec::new() }
}

fn push(list: &mut Value, item: Value) {
    match list {
        Value::Array(list) => list.push(item),
        other => *other = json!([item]),
    }
}

/// An error of something that a Dockerfile names: its place is added.
pub(super) fn placed_at(source: &SourceText, span: &dockerfile::Span, error: Error) -> Error {
    if matches!(error.kind, ExitKind::Interrupted(_)) {
        return error;
    }
    let (line, column) = source.position(span.start);
    let values = [("file", source.name()), ("line", &*line.to_string()), ("column", &column.to_string())];
    error.why(text_with("build.place", &values))
}
