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

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use serde_json::{Value, json};

use super::configure::{self, entry, push};
use super::context::BuildContext;
use super::dockerfile::{self, Dockerfile, Heredoc, Instruction, Placed, SourceText};
use super::key::key_of;
use super::options::{BuildEvent, BuildOptions, BuildStop, BuildWatch};
use super::scope::{BuildScope, expand_content};
use super::stage_table::StageTable;
use super::stages::{self, StageBase};
use super::stop::StopFlag;
use super::top_layer::TopLayer;
use crate::error::{Error, ExitKind, Result};
use crate::host::run_lock::RunLock;
use crate::image::Tell;
use crate::image::digest::Digest;
use crate::image::manifest::{Descriptor, Platform, read_json};
use crate::image::new_image::NewImage;
use crate::image::rootfs;
use crate::image::store::{ImageStore, Ingest, StoredImage};
use crate::plan::Plan;
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
    /// Whether this build has made it.
    pub is_new: bool,
    /// At the end of a stage, the build arguments that it has declared. A stage that begins with it has them too.
    pub declared: BTreeMap<String, Option<String>>,
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
    /// What ends the build early.
    pub stops: &'b StopFlag,
    /// Gets an image, if it is not here: its name and its platform.
    pub pull: &'b (dyn Fn(&str, Option<&str>) -> Result<()> + Sync),
    /// The build arguments that an `ARG` has declared.
    pub used_arguments: Mutex<BTreeSet<String>>,
    /// The calls for containers that were told, as they are printed.
    pub told_calls: Mutex<BTreeSet<String>>,
}

impl BuildInputs<'_> {
    pub(super) fn use_argument(&self, name: &str) {
        self.used_arguments.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned());
    }

    /// Tells the calls that make a container. Those that were told for a former container are left out.
    pub(super) fn tell_plan(&self, plan: &Plan, tell: Tell<'_>) {
        let mut told = self.told_calls.lock().unwrap_or_else(PoisonError::into_inner);
        for step in &plan.steps {
            let call = step.call.to_string();
            if !told.contains(&call) {
                tell(&call, step.why);
                told.insert(call);
            }
        }
    }
}

/// What one thread builds.
pub struct ImageBuilder<'b> {
    pub(super) inputs: &'b BuildInputs<'b>,
    pub(super) table: &'b StageTable,
    /// What gets the events, and the place of the stage among those that are built.
    watch: (&'b dyn BuildWatch, usize),
    /// Where the steps are told.
    pub(super) tell: Tell<'b>,
    /// The text with the instruction: the Dockerfile, or a trigger of the base image.
    text: SourceText,
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
    /// A thread that has built nothing yet.
    pub(super) fn new(
        inputs: &'b BuildInputs<'b>,
        table: &'b StageTable,
        watch: (&'b dyn BuildWatch, usize),
        tell: Tell<'b>,
    ) -> ImageBuilder<'b> {
        ImageBuilder { inputs, table, watch, tell, text: inputs.dockerfile.source.clone() }
    }

    pub(super) fn source(&self) -> (&SourceText, char) {
        (&self.text, self.inputs.dockerfile.directives.escape)
    }

    pub(super) fn event(&self, event: BuildEvent<'_>) {
        self.watch.0.event(self.watch.1, event);
    }

    /// What gets the output of the commands.
    pub(super) fn output(&self) -> impl Fn(bool, &[u8]) + Sync + use<'b> {
        let (watch, turn) = self.watch;
        move |is_error: bool, bytes: &[u8]| watch.output(turn, is_error, bytes)
    }

    /// The image of a stage. It is built if it is not yet.
    pub(super) fn stage(&mut self, number: usize) -> std::result::Result<StepImage, BuildStop> {
        self.table.image(number, || self.build_stage(number))
    }

    /// The end of the target: its labels of the command line.
    pub(super) fn finish_target(
        &mut self,
        number: usize,
        target: StepImage,
    ) -> std::result::Result<(), BuildStop> {
        if self.inputs.options.labels.is_empty() {
            return Ok(());
        }
        let target = self.add_labels(target)?;
        self.table.replace(number, target);
        Ok(())
    }

    fn build_stage(&mut self, number: usize) -> std::result::Result<StepImage, BuildStop> {
        let stage = &self.inputs.dockerfile.stages[number];
        // A trigger can need another stage: its text is not the Dockerfile.
        let outer = std::mem::replace(&mut self.text, self.inputs.dockerfile.source.clone());
        let built = self.build_steps(number, stage);
        self.text = outer;
        built
    }

    fn build_steps(
        &mut self,
        number: usize,
        stage: &'b dockerfile::BuildStage,
    ) -> std::result::Result<StepImage, BuildStop> {
        self.begin_step(&stage.from.text)?;
        let resolved = &self.table.resolved[number];
        let mut current = match &resolved.base {
            StageBase::Scratch => scratch(),
            StageBase::Stage(earlier) => self.stage(*earlier)?,
            StageBase::Image(name) => self.base(name, resolved.platform.as_deref()).map_err(|error| {
                let place = stage.from.place_of(&stage.from.value.image);
                let error = placed_at(self.source().0, &place, error);
                match stages::is_later(self.inputs.dockerfile, number, name) {
                    true => error.why(text("build.from.order")),
                    false => error,
                }
            })?,
        };
        let triggers = configure::begin(&mut current.config);
        let mut scope = self.table.scope.clone();
        scope.inherit(std::mem::take(&mut current.declared));
        let mut state = StageState { number, scope, current, has_command: false };
        if !triggers.is_empty() {
            self.event(BuildEvent::Triggers(triggers.len()));
            for trigger in &triggers {
                self.perform_trigger(&mut state, &stage.from.value.image, trigger)?;
            }
        }
        self.tell_image(&state);
        for step in &stage.steps {
            self.begin_step(&step.text)?;
            self.perform(&mut state, step)?;
            self.tell_image(&state);
        }
        state.current.declared = state.scope.declared().clone();
        Ok(state.current)
    }

    fn tell_image(&self, stage: &StageState) {
        self.event(BuildEvent::Image(stage.current.image.as_ref().map(|image| &image.id)));
    }

    /// An instruction of `ONBUILD` in the base image.
    fn perform_trigger(
        &mut self,
        stage: &mut StageState,
        base: &str,
        trigger: &str,
    ) -> std::result::Result<(), BuildStop> {
        self.inputs.stops.check()?;
        let name = text_with("build.trigger.name", &[("image", base)]);
        let step = dockerfile::trigger(&name, trigger)?;
        let outer = std::mem::replace(&mut self.text, SourceText::new(&name, trigger));
        let done = self.perform(stage, &step);
        self.text = outer;
        done
    }

    fn begin_step(&self, text: &str) -> Result<()> {
        self.inputs.stops.check()?;
        self.event(BuildEvent::Step(text));
        Ok(())
    }

    /// An image of the store. It is pulled if it is not there.
    pub(super) fn base(&self, name: &str, platform: Option<&str>) -> Result<StepImage> {
        (self.inputs.pull)(name, platform)?;
        let image = self.inputs.store.find(name)?;
        self.opened(image)
    }

    /// An image with its documents.
    pub(super) fn opened(&self, image: StoredImage) -> Result<StepImage> {
        let parts = self.inputs.store.parts(&image.descriptor)?;
        let document = self.inputs.store.document(&image.id)?;
        let config = read_json(&document, &image.id.to_string())?;
        let (layers, declared) = (parts.manifest.layers, BTreeMap::new());
        Ok(StepImage { image: Some(image), config, layers, is_new: false, declared })
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
                    self.inputs.use_argument(&argument.name);
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
    pub(super) fn content(&self, stage: &StageState, heredoc: &Heredoc) -> Result<String> {
        let value = |name: &str| stage.scope.value(&stage.current.config, name);
        Ok(expand_content(self.source().0, heredoc, &value)?.text)
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
        let what = applied.map_err(|error| error.placed(self.source().0, step))?;
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
        if let Some(cached) = self.cached(stage, (&created_by, &created_by), &key) {
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
            entry(&mut config["config"]["Labels"], name, value.clone().into());
        }
        let scope = BuildScope::new(&self.inputs.options.arguments);
        let mut stage = StageState { number: 0, scope, current: target, has_command: false };
        self.finish_config(&mut stage, config, &what)?;
        self.tell_image(&stage);
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

    /// The image of a step that was built before: its line in the history, and the part of that without build arguments.
    pub(super) fn cached(
        &mut self,
        stage: &StageState,
        (created_by, command): (&str, &str),
        key: &Digest,
    ) -> Option<StepImage> {
        (self.tell)(&format!("read(<images/cache/{}>)", key.hex()), "build.explain.lookup");
        if self.inputs.options.no_cache {
            (self.tell)(&"--no-cache", "build.explain.nocache");
            return None;
        }
        let found = self.inputs.store.cached(key).and_then(|image| self.opened(image).ok());
        match &found {
            Some(_) => {
                (self.tell)(&"Using cache", "build.explain.hit");
                self.event(BuildEvent::Cached);
            }
            None if self.inputs.options.explains => {
                (self.tell)(&"ENOENT", self.missed(stage, created_by, command));
            }
            None => {}
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
        top: impl Into<TopLayer>,
    ) -> Result<()> {
        let epoch = self.inputs.options.epoch.map(|epoch| Timestamp(i128::from(epoch) * 1_000_000_000));
        let now = epoch.unwrap_or_else(Timestamp::now).to_string();
        let mut layers = stage.current.layers.clone();
        // A history that names other layers than there are would be ignored as a whole.
        let makes_layer = |step: &&Value| !step["empty_layer"].as_bool().unwrap_or(false);
        let known = config["history"].as_array().map_or(0, |steps| steps.iter().filter(makes_layer).count());
        if known != layers.len() {
            config["history"] = vec![json!({}); layers.len()].into();
        }
        let mut entry = json!({ "created": now, "created_by": created_by });
        // The digest of the content of the new layer, and its blob if the store does not have it.
        let (content, top) = match top.into() {
            TopLayer::None => (None, None),
            TopLayer::New(top) => (Some(json!(top.digest)), Some(top)),
            TopLayer::Stored(descriptor, content) => {
                layers.push(*descriptor);
                (Some(content), None)
            }
        };
        let has_layer = content.is_some();
        match content {
            Some(content) => push(&mut config["rootfs"]["diff_ids"], content),
            None => entry["empty_layer"] = true.into(),
        }
        push(&mut config["history"], entry);
        config["created"] = now.into();
        self.inputs.stops.check()?;
        let new = NewImage::of_step(self.inputs.ingest, layers, top, &config)?;
        let size = match has_layer {
            true => {
                new.unpack(
                    self.inputs.store,
                    self.inputs.ingest,
                    self.inputs.options.maps.as_ref(),
                    self.tell,
                )?
                .size
            }
            false => stage.current.image.as_ref().map_or(0, |image| image.size),
        };
        let image = new.publish(self.inputs.ingest, size, self.tell)?;
        (self.tell)(&format!("write(<images/cache/{}>); rename(…)", key.hex()), "build.explain.remember");
        self.inputs.store.remember(key, &image)?;
        let (layers, declared) = (new.parts.manifest.layers, BTreeMap::new());
        stage.current = StepImage { image: Some(image), config, layers, is_new: true, declared };
        Ok(())
    }

    /// The directories of the layers of an image, the topmost first.
    pub(super) fn directories(&self, image: &StepImage) -> Result<Vec<PathBuf>> {
        let Some(image) = image.image.as_ref().filter(|_| !image.layers.is_empty()) else {
            return Ok(Vec::new());
        };
        let maps = self.inputs.options.maps.as_ref();
        let (directories, lock) = rootfs::directories(self.inputs.store, &image.descriptor, maps, self.tell)?;
        // The ingest of the build has a lock too.
        RunLock::release(lock);
        Ok(directories)
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
    StepImage { image: None, config, layers: Vec::new(), is_new: false, declared: BTreeMap::new() }
}

/// An error of something that a Dockerfile names: its place is added.
pub(super) fn placed_at(source: &SourceText, span: &dockerfile::Span, error: Error) -> Error {
    if matches!(error.kind, ExitKind::Interrupted(_)) {
        return error;
    }
    let mut mistakes = vec![source.mistake(span, text("build.place"))];
    mistakes.extend(error.mistakes);
    Error { mistakes, ..error }
}
