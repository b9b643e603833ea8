//! The commands of images. They have Docker's names, flags, output and exit statuses.

pub(super) mod container;
pub(super) mod contents;
pub(super) mod cp;
pub(super) mod from_host;
pub(super) mod history;
pub(super) mod images;
pub(super) mod import;
pub(super) mod load;
pub(super) mod login;
pub(super) mod noun;
pub(super) mod output_file;
mod progress;
pub(super) mod prune;
pub(super) mod pull;
pub(super) mod push;
pub(super) mod rmi;
pub(super) mod run;
pub(super) mod save;
pub(super) mod search;
pub(super) mod tag;

use std::collections::HashMap;
use std::ffi::OsString;
use std::fmt::Display;
use std::path::{Path, PathBuf};

use clap::Args;

pub(in crate::cli) use super::kept::as_docker;
pub(in crate::cli) use super::prepare::own_maps;
use super::prepare::{self, Layered, Wishes, maps_of};
use crate::config::container::Config;
use crate::config::spec::Spec;
use crate::container::events::Event;
use crate::container::explain::Explainer;
use crate::container::object_events::EventKind;
use crate::container::store::ContainerStore;
use crate::error::{Error, ExitKind, Result};
use crate::host::containers::{self, MAX_CONFIG, read_bounded};
use crate::image::layer::{self, LayerCounts};
use crate::image::manifest::RunConfig;
use crate::image::new_image::AddedImage;
use crate::image::rootfs;
use crate::image::store::ImageStore;
use crate::observe::Unread;
use crate::render;
use crate::rootfs::{Layers, Rootfs};
use crate::text::{printed, text, text_with};

/// The arguments of `__unpack`, which a command starts for a layer.
#[derive(Debug, Args)]
#[group(skip)]
pub(super) struct UnpackArgs {
    /// What to do, as JSON
    task: String,
}

/// Becomes the process that unpacks a layer.
pub(super) fn unpack(args: &UnpackArgs) -> Result<u8> {
    layer::become_process(&args.task);
    Ok(0)
}

/// The same spec with the layers of its image, if its root filesystem is one, and with what the image says where the spec says
/// nothing. The layers are unpacked if they are not yet.
pub(super) fn with_layers(spec: Spec, wishes: &Wishes, explain: Explainer) -> Result<Layered> {
    let Some(Rootfs::Image(name)) = &spec.rootfs else {
        let mut layered = Layered { spec, ..Layered::default() };
        if let Some(program) = &wishes.entrypoint {
            layered.spec.command.insert(0, program.clone());
            layered.entrypoint = 1;
        }
        prepare::with_user(&mut layered, wishes, "")?;
        return Ok(layered);
    };
    let as_failed = |error: Error| Error { kind: ExitKind::Failed, ..error };
    let store = ImageStore::open().map_err(as_failed)?;
    let image = store.find(name).map_err(as_failed)?;
    let tell = |call: &dyn Display, why: &str| explain.step(call, why);
    tell(&format!("read(<{}>)", printed(store.path().join("index.json"))), "image.explain.find");
    let run = store.parts(&image.descriptor).map_err(as_failed)?.config.run;
    // If a user may not have the user namespace of the spec, the plan reports it. The plan needs the layers too.
    let maps = maps_of(&spec).or_else(own_maps);
    let found = rootfs::directories(&store, &image.descriptor, maps.as_ref(), &tell);
    let (layers, lock) = found.map_err(as_failed)?;
    if layers.is_empty() {
        return Err(Error::failed(text_with("image.nolayers", &[("name", &printed(name))])));
    }
    let mut spec = spec.clone();
    let (command, entrypoint) = command_of(std::mem::take(&mut spec.command), wishes, &run);
    spec.command = command;
    let variables = || run.env.iter().filter_map(|variable| variable.split_once('='));
    // The last value of a variable counts.
    let last: HashMap<&str, &str> = variables().collect();
    for (name, value) in variables() {
        if !name.is_empty() && !wishes.unset.contains(name) {
            spec.env
                .entry(name.to_owned())
                .or_insert_with(|| last.get(name).copied().unwrap_or(value).into());
        }
    }
    if spec.workdir.is_none() && !run.working_dir.is_empty() {
        spec.workdir = Some(Path::new("/").join(&run.working_dir));
    }
    spec.rootfs = Some(Rootfs::Layers(Layers { layers, upper: None }));
    let mut layered = Layered {
        spec,
        image_id: Some(image.id.to_string()),
        entrypoint,
        variables: run.env.iter().filter_map(|one| Some(one.split_once('=')?.0.to_owned())).collect(),
        labels: run.labels,
        stop_signal: Some(run.stop_signal).filter(|signal| !signal.is_empty()),
        exposed: run.exposed_ports.into_keys().collect(),
        volumes: run.volumes.into_keys().map(|path| Path::new("/").join(path)).collect(),
        user: None,
        groups: Vec::new(),
        lock: Some(lock),
    };
    prepare::with_user(&mut layered, wishes, &run.user)?;
    Ok(layered)
}

/// The command of a container: the entrypoint, and the words of the user or of the image. Also how many words the entrypoint has.
fn command_of(own: Vec<OsString>, wishes: &Wishes, run: &RunConfig) -> (Vec<OsString>, usize) {
    let words = |words: &[String]| words.iter().map(OsString::from).collect::<Vec<_>>();
    let (entrypoint, rest) = match &wishes.entrypoint {
        // An empty one removes that of the image.
        Some(program) if program.is_empty() => (Vec::new(), own),
        Some(program) => (vec![program.clone()], own),
        None if own.is_empty() => (words(&run.entrypoint), words(&run.cmd)),
        None if wishes.follows_entrypoint => (words(&run.entrypoint), own),
        None => (Vec::new(), own),
    };
    let length = entrypoint.len();
    ([entrypoint, rest].concat(), length)
}

/// The directories that kept containers and running ones have as their layers.
pub(in crate::cli) fn in_use() -> Result<Vec<PathBuf>> {
    let lowers =
        |config: &Config| config.environment.root.iter().flat_map(|root| root.lowers.clone()).collect();
    let (kept, unread) = ContainerStore::open()?.all()?;
    if let Some(unread) = unread.into_iter().next() {
        return Err(unread.error);
    }
    let mut all: Vec<PathBuf> =
        kept.iter().flat_map(|container| -> Vec<PathBuf> { lowers(&container.record.config) }).collect();
    let mut unread = Unread::default();
    for run in containers::live(&mut unread)? {
        // A run that has no file of its own has not started a container.
        let Ok(Some(file)) = run.file("config.json") else { continue };
        let config = read_bounded(file, MAX_CONFIG)
            .ok()
            .and_then(|bytes| serde_json::from_slice::<Config>(&bytes).ok());
        let config = config
            .ok_or_else(|| Error::failed(text_with("image.run.unread", &[("path", &printed(run.path()))])))?;
        all.extend::<Vec<PathBuf>>(lowers(&config));
    }
    unread.errors().first().map_or(Ok(all), |error| Err(error.clone()))
}

/// Removes what a failed command has unpacked. If it cannot be removed now, it is later.
pub(in crate::cli) fn sweep_quietly(store: &ImageStore) {
    let _ = store.sweep(in_use);
}

/// Prints what could not be made of an image's layers, each in a sentence.
fn print_losses(counts: &LayerCounts) {
    let losses = [
        (counts.devices, "image.loss.devices"),
        (counts.owners, "image.loss.owners"),
        (counts.attributes, "image.loss.attributes"),
    ];
    for (count, key) in losses.into_iter().filter(|(count, _)| *count > 0) {
        let message = text_with(key, &[("count", &count.to_string())]);
        render::note(&message);
    }
}

/// Prints the ID of an image that was added. If it could not be added, removes what is left of it.
fn print_added(store: &ImageStore, added: Result<AddedImage>) -> Result<u8> {
    let added = added.map_err(|error| {
        sweep_quietly(store);
        as_docker(error)
    })?;
    print_losses(&added.counts);
    if let Some(name) = &added.image.name {
        note("tag", &added.image.id, name.familiar());
    }
    render::out(&format!("{}\n", added.image.id));
    Ok(0)
}

/// Adds an event of an image. Docker calls it by its name where one is pulled or pushed, otherwise by its ID.
pub(in crate::cli) fn note(action: &str, id: impl Display, name: impl Display) {
    Event::about(EventKind::Image, action, &id.to_string(), &[("name", &name.to_string())]).note();
}

/// Reads a name that an image shall get.
pub(in crate::cli) fn name_from(written: &str) -> Result<crate::image::reference::Reference> {
    let reference = written.parse::<crate::image::reference::Reference>();
    let reference = reference.map_err(|wrong| {
        // Docker's sentence fits on a line, and the reason is below it.
        let form = text_with("image.name.form", &[("name", &printed(written)), ("why", "")]);
        match wrong.strip_prefix(&form) {
            Some(why) => Error::new(ExitKind::Refused, form.trim_end_matches([':', ' '])).why(why),
            None => Error::new(ExitKind::Refused, wrong),
        }
    })?;
    // `sha256:abcd` would be the beginning of an ID too.
    if reference.familiar_name() == "sha256" {
        return Err(Error::new(ExitKind::Refused, text("image.tag.algorithm")));
    }
    match reference.digest {
        Some(_) => Err(Error::new(ExitKind::Refused, text("image.tag.digest"))),
        None => Ok(reference.or_latest()),
    }
}
