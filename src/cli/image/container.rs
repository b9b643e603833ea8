//! `sandbox diff`, `export` and `commit`: what a container has written, its files as an archive, and an image of it.

use std::ffi::{OsStr, OsString};
use std::io::{self, IsTerminal, Read};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};

use super::output_file::OutputFile;
use super::{as_docker, name_from, own_maps, print_added};
use crate::build::change::changed;
use crate::cli::explain::ExplainArg;
use crate::cli::kept::find;
use crate::container::description::described;
use crate::container::events::{Event, EventAction};
use crate::container::life;
use crate::container::record::ContainerStatus;
use crate::container::refusal;
use crate::container::store::{ContainerStore, KeptContainer};
use crate::error::{Error, ExitKind, Result, io_text};
use crate::image::layer::{self, LayerReading};
use crate::image::manifest::read_json;
use crate::image::new_image::NewImage;
use crate::image::reference::Reference;
use crate::image::store::{ImageStore, StoredImage};
use crate::render;
use crate::render::paint::{Color, Stream, decide};
use crate::text::{printed, text, text_with};
use crate::value::shell::quote;
use crate::value::timestamp::Timestamp;

/// The arguments of `diff`.
#[derive(Debug, Args)]
#[group(skip)]
pub(crate) struct ChangesArgs {
    /// The container
    #[arg(value_name = "CONTAINER")]
    container: OsString,
    #[command(flatten)]
    explain: ExplainArg,
}

/// The flags of `export`.
#[derive(Debug, Args)]
#[group(skip)]
pub(crate) struct ContainerExportArgs {
    /// The container
    #[arg(value_name = "CONTAINER")]
    container: OsString,
    /// Write to this file; without it, to standard output
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    explain: ExplainArg,
}

/// The flags of `commit`.
#[derive(Debug, Args)]
#[group(skip)]
pub(crate) struct CommitArgs {
    /// The container
    #[arg(value_name = "CONTAINER")]
    container: OsString,
    /// The name of the image
    #[arg(value_name = "REPOSITORY[:TAG]")]
    name: Option<String>,
    /// Change the config by an instruction of a Dockerfile, for example 'CMD ["sh"]' (may be repeated)
    #[arg(long, short, value_name = "INSTRUCTION")]
    change: Vec<String>,
    /// What `history` shows as the comment
    #[arg(long, short, value_name = "TEXT", default_value = "")]
    message: String,
    /// Whether a running container is paused meanwhile: true, or false. Without a cgroup it is not
    #[arg(long, short, value_name = "true|false", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pause: Option<bool>,
    /// The author of the image
    #[arg(long, short, value_name = "TEXT")]
    author: Option<String>,
    #[command(flatten)]
    explain: ExplainArg,
}

fn container(name: &OsString) -> Result<(ContainerStore, KeptContainer)> {
    let store = ContainerStore::open()?;
    let container = find(&store, name)?;
    container.is_here()?;
    Ok((store, container))
}

/// How often a container can end or be started again while a command begins to read its files.
const CHANGES: usize = 3;

/// Does something with the files of a container. When a container ends, its files are no longer those of a process, so it is done again
/// with those in HOME. One that is removed meanwhile does not exist.
pub(super) fn with_files<T>(
    name: &OsString,
    act: impl Fn(&ContainerStore, &KeptContainer) -> Result<T>,
) -> Result<T> {
    let (store, mut container) = container(name)?;
    for attempt in 1.. {
        let error = match act(&store, &container) {
            Ok(done) => return Ok(done),
            Err(error) => error,
        };
        container = match store.again(&container) {
            Ok(Some(present)) if layer::is_unopened(&error) && attempt < CHANGES => present,
            Ok(None) => break,
            _ => return Err(error),
        };
    }
    Err(refusal::none(&printed(name)))
}

/// Prints what the container has changed, a line for each path.
pub(crate) fn changes(color: Color, args: &ChangesArgs) -> Result<u8> {
    decide(color, Stream::Err);
    let read = with_files(&args.container, |_, container| {
        let layers = container.layers()?;
        tell_reading(&args.explain, &layers.directories, "image.explain.changes");
        let (reading, directories) = (LayerReading::Changes, &layers.directories[..]);
        layer::read_to(reading, directories, layers.maps.as_ref(), |mut pipe| {
            let mut all = Vec::new();
            pipe.read_to_end(&mut all).map(|_| all)
        })
    });
    let all = read.map_err(as_docker)?.map_err(|error| as_docker(unread(&error)))?;
    let line = |change: &[u8]| {
        let (kind, path) = change.split_at(1);
        format!("{} {}\n", printed(OsStr::from_bytes(kind)), printed(OsStr::from_bytes(path)))
    };
    render::out(
        &all.split(|byte| *byte == 0).filter(|change| !change.is_empty()).map(line).collect::<String>(),
    );
    Ok(0)
}

fn unread(error: &io::Error) -> Error {
    Error::new(ExitKind::Refused, text("image.container.unread")).why(io_text(error))
}

pub(super) fn tell_reading(explain: &ExplainArg, directories: &[PathBuf], why: &str) {
    let tell = explain.tell();
    let opened: Vec<String> =
        directories.iter().map(|path| format!("openat(\"{}\")", printed(path))).collect();
    tell(&opened.join("; "), "image.explain.container");
    tell(&format!("execve(\"/proc/self/exe\", [\"sandbox\", \"{}\", ...])", layer::SUBCOMMAND), why);
}

/// Writes all files of the container as an archive.
pub(crate) fn export(color: Color, args: &ContainerExportArgs) -> Result<u8> {
    decide(color, Stream::Err);
    if args.output.is_none() && io::stdout().is_terminal() {
        let error = Error::new(ExitKind::Refused, text("image.save.terminal"));
        return Err(error.paste(format!("sandbox export -o files.tar {}", quote(&args.container))));
    }
    let exported = with_files(&args.container, |store, container| {
        let layers = container.layers()?;
        tell_reading(&args.explain, &layers.directories, "image.explain.export");
        let cannot =
            |error: io::Error| Error::new(ExitKind::Refused, text("image.save.cannot")).why(io_text(&error));
        let write = |output: std::os::fd::OwnedFd| {
            layer::read(LayerReading::Files, &layers.directories, layers.maps.as_ref(), output)
        };
        match &args.output {
            None => write(io::stdout().as_fd().try_clone_to_owned().map_err(cannot)?)?,
            Some(path) => {
                let file = OutputFile::create(path)?;
                write(file.to_write()?.into())?;
                file.finish()?;
            }
        }
        store.note_of(container, |event| event, EventAction::Export);
        Ok(0)
    });
    exported.map_err(as_docker)
}

/// Makes an image: the layers of the container's image, and what it has written as a further layer. Prints its ID.
pub(crate) fn commit(color: Color, args: &CommitArgs) -> Result<u8> {
    decide(color, Stream::Err);
    let name = args.name.as_deref().map(name_from).transpose()?;
    let (containers, container) = container(&args.container).map_err(as_docker)?;
    let layers = container.layers().map_err(as_docker)?;
    let (store, _) = ImageStore::make().map_err(as_docker)?;
    let base = base_of(&store, &container).map_err(as_docker)?.ok_or_else(|| {
        let what = text_with("image.commit.base", &[("id", container.record.id.short())]);
        let id = container.record.id.short();
        let error = Error::new(ExitKind::Refused, what).why(text("image.commit.base.reason"));
        error.paste(format!("sandbox export {id} | sandbox import -"))
    })?;
    let parts = store.parts(&base.descriptor).map_err(as_docker)?;
    let document = store.document(&base.id).map_err(as_docker)?;
    let mut config: Value = read_json(&document, &base.id.to_string()).map_err(as_docker)?;
    config["config"] = changed(config_with(&container, config["config"].take()), &args.change)?;
    let tell = args.explain.tell();
    let is_paused = paused(&container, args).map_err(as_docker)?;
    let added = (|| {
        let ingest = store.ingest()?;
        tell_reading(&args.explain, &layers.directories, "image.explain.commit");
        let mut blob = ingest.blob()?;
        let copied =
            layer::read_to(LayerReading::Layer, &layers.directories, layers.maps.as_ref(), |mut pipe| {
                io::copy(&mut pipe, &mut blob)
            })?;
        copied.map_err(|error| ingest.unwritten(&error))?;
        let top = ingest.staged(blob);
        let now = Timestamp::now().to_string();
        let arguments = &container.record.config.process.args;
        // As Docker: the words are only joined, so the history is no line for a shell.
        let command: Vec<String> = arguments.iter().map(printed).collect();
        let step = json!({ "created": now, "created_by": command.join(" "), "comment": args.message });
        config["created"] = now.into();
        if let Some(author) = &args.author {
            config["author"] = author.clone().into();
        }
        // A history that names other layers than there are would be ignored as a whole.
        let makes_layer = |step: &&Value| !step["empty_layer"].as_bool().unwrap_or(false);
        let known = config["history"].as_array().map_or(0, |steps| steps.iter().filter(makes_layer).count());
        if known != parts.manifest.layers.len() {
            config["history"] = vec![json!({}); parts.manifest.layers.len()].into();
        }
        push(&mut config["history"], step);
        push(&mut config["rootfs"]["diff_ids"], json!(top.digest));
        let image = NewImage::of_layers(&ingest, parts.manifest.layers, top, &config)?.named(name);
        let counts = image.unpack(&store, &ingest, own_maps().as_ref(), &tell)?;
        image.add(&store, &ingest, counts, &tell)
    })();
    if is_paused {
        // The user may have changed it meanwhile.
        let now = || ContainerStore::open().and_then(|store| store.find(container.record.id.as_str()));
        let is_paused = || now().is_ok_and(|container| container.state.status == ContainerStatus::Paused);
        let resumed = now().and_then(|container| life::pause(&container, false, args.explain.explainer()));
        // One that has ended or was resumed meanwhile has no need of it.
        if let Err(error) = resumed
            && is_paused()
        {
            return Err(as_docker(error));
        }
    }
    let added = match containers.again(&container) {
        // It was removed while its files were read.
        Ok(None) if added.is_err() => Err(refusal::none(&printed(&args.container))),
        _ => added,
    };
    if let Ok(added) = &added {
        let change = |event: Event| event.with("comment", &args.message).with("imageID", &added.image.id);
        containers.note_of(&container, change, EventAction::Commit);
    }
    print_added(&store, added)
}

/// The variables that each container gets, so that they say nothing about its image.
const USUAL: [&str; 4] = ["PATH", "HOME", "TERM", "HOSTNAME"];

/// The part `config` of an image: that of the base image, with what the container was started with.
fn config_with(container: &KeptContainer, mut config: Value) -> Value {
    let own = &described(container)["Config"];
    for key in ["Cmd", "Entrypoint", "User"] {
        config[key] = own[key].clone();
    }
    // It is / if nothing was asked for.
    if own["WorkingDir"] != "/" {
        config["WorkingDir"] = own["WorkingDir"].clone();
    }
    if own["StopSignal"] != "SIGTERM" {
        config["StopSignal"] = own["StopSignal"].clone();
    }
    for key in ["Labels", "ExposedPorts", "Volumes"] {
        for (name, value) in own[key].as_object().into_iter().flatten() {
            config[key][name] = value.clone();
        }
    }
    let name_of = |variable: &Value| {
        variable
            .as_str()
            .and_then(|variable| Some(variable.split_once('=')?.0.to_owned()))
            .unwrap_or_default()
    };
    let of_image: Vec<String> = config["Env"].as_array().into_iter().flatten().map(name_of).collect();
    let is_wanted = |variable: &&Value| {
        let name = name_of(variable);
        of_image.contains(&name) || !USUAL.contains(&&*name)
    };
    let env: Vec<&Value> = own["Env"].as_array().into_iter().flatten().filter(is_wanted).collect();
    config["Env"] = json!(env);
    if let Some(config) = config.as_object_mut() {
        config.retain(|_, value| !value.is_null() && *value != "");
        // It is for builds that begin with the base image.
        config.remove("OnBuild");
    }
    config
}

/// Pauses a container that runs, so that its files do not change while they are read. Returns whether it did. Only where it was
/// asked for by its flag is it an error that it cannot be paused.
fn paused(container: &KeptContainer, args: &CommitArgs) -> Result<bool> {
    if container.state.status != ContainerStatus::Running || args.pause == Some(false) {
        return Ok(false);
    }
    match life::pause(container, true, args.explain.explainer()) {
        Ok(()) => Ok(true),
        Err(error) if args.pause.is_some() => Err(error),
        Err(_) => Ok(false),
    }
}

fn push(list: &mut Value, item: Value) {
    match list {
        Value::Array(list) => list.push(item),
        other => *other = json!([item]),
    }
}

/// The image that the container was made from. Its name may lead to another one now, so the layers decide.
fn base_of(store: &ImageStore, container: &KeptContainer) -> Result<Option<StoredImage>> {
    let Some(chain_id) = container.chain_id() else { return Ok(None) };
    let has_layers = |image: &StoredImage| {
        let parts = store.parts(&image.descriptor);
        parts.is_ok_and(|parts| parts.config.rootfs.chain_ids().last() == Some(&chain_id))
    };
    let mut fitting: Vec<StoredImage> = store.all()?.into_iter().filter(has_layers).collect();
    let name = container.record.image.parse::<Reference>().map(Reference::or_latest).ok();
    let named = fitting.iter().position(|image| image.name.is_some() && image.name == name);
    Ok(match (named, fitting.is_empty()) {
        (Some(at), _) => Some(fitting.swap_remove(at)),
        (None, false) => Some(fitting.swap_remove(0)),
        (None, true) => None,
    })
}
