//! `sandbox build`: makes an image from a Dockerfile. It has Docker's flags, output and exit statuses.

pub(super) mod builder;
mod classic;
mod live;
mod mistakes;
mod refused;
mod target;

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use clap::Args;
use clap::builder::OsStringValueParser;

use self::classic::{ClassicOutput, print_result};
use self::live::LiveOutput;
use self::refused::RefusedFlags;
use self::target::BuildTarget;
use super::docker::Pull;
use super::explain::ExplainArg;
use super::image::{
    as_docker, name_from, note, own_maps,
    run::{ProgressPlace, ensure},
    sweep_quietly,
};

use crate::build::container::BuildNetwork;
use crate::build::engine::BuildInputs;
use crate::build::options::{BuildOptions, BuildStop, SecretSource};
use crate::build::scope::PROXIES;
use crate::build::stop::StopFlag;
use crate::build::{dockerfile, process, source, stage_table};
use crate::error::{Error, ExitKind, Mistake, Result, io_text};
use crate::exec::signals::Signals;
use crate::image::reference::Reference;
use crate::image::store::{ImageStore, StoredImage};
use crate::render;
use crate::render::paint::{Color, Stream, decide, is_dumb, width};
use crate::text::{printed, text, text_with, wrap};
use crate::value::csv;

/// The flags of `build`.
#[derive(Debug, Args)]
#[group(skip)]
pub(super) struct BuildArgs {
    /// The directory with the files that COPY and ADD can take; with `-`, standard input is an archive of them, or a Dockerfile
    #[arg(value_name = "CONTEXT|-", required_unless_present = "mistake")]
    context: Option<PathBuf>,
    /// Build a Dockerfile with a famous mistake, and the same without it; without a name, list them
    #[arg(long = "break", value_name = "MISTAKE", num_args = 0..=1, default_missing_value = "list")]
    mistake: Option<String>,
    /// A name of the image (may be repeated)
    #[arg(long, short, value_name = "NAME[:TAG]")]
    tag: Vec<String>,
    /// The Dockerfile; `-` reads standard input. The default is Dockerfile in the context
    #[arg(long, short, value_name = "FILE|-", value_parser = OsStringValueParser::new())]
    file: Option<OsString>,
    /// Set a variable that ARG declares; without a value, it is yours (may be repeated)
    #[arg(long, value_name = "NAME[=VALUE]")]
    build_arg: Vec<String>,
    /// Build this stage, by its name or number; the default is the last one
    #[arg(long, value_name = "STAGE")]
    target: Option<String>,
    /// Execute every instruction: take none from the cache
    #[arg(long)]
    no_cache: bool,
    /// Ask the registry for the base images, also if they are here
    #[arg(long)]
    pull: bool,
    /// Give the image a label (may be repeated)
    #[arg(long, value_name = "NAME=VALUE")]
    label: Vec<String>,
    /// The network of RUN: default, none or host
    #[arg(long, value_name = "NETWORK", default_value = "default")]
    network: NetworkName,
    /// A secret for RUN --mount=type=secret: id=ID[,src=FILE|,env=VARIABLE] (may be repeated)
    #[arg(long, value_name = "SECRET")]
    secret: Vec<String>,
    /// Write the result outside of the store: DIR, -, or type=local|tar|oci,dest=PATH (may be repeated)
    #[arg(long, short, value_name = "OUTPUT")]
    output: Vec<String>,
    /// Write the ID of the image to this file
    #[arg(long, value_name = "FILE", value_parser = OsStringValueParser::new())]
    iidfile: Option<OsString>,
    /// Print only the ID of the image
    #[arg(long, short)]
    quiet: bool,
    /// How the progress is printed: auto or plain
    #[arg(long, value_name = "FORM", default_value = "auto")]
    progress: BuildProgress,
    /// For Docker's scripts: intermediate containers are always removed
    #[arg(long, num_args = 0..=1, default_missing_value = "true", require_equals = true, hide = true)]
    rm: Option<bool>,
    /// For Docker's scripts: intermediate containers are always removed
    #[arg(long, num_args = 0..=1, default_missing_value = "true", require_equals = true, hide = true)]
    force_rm: Option<bool>,
    #[command(flatten)]
    explain: ExplainArg,
    #[command(flatten)]
    refused: RefusedFlags,
}

impl BuildArgs {
    /// As with Docker, an empty value is none.
    fn id_file(&self) -> Option<&OsStr> {
        self.iidfile.as_deref().filter(|path| !path.is_empty())
    }
}

/// The variable with the time of the image, as reproducible-builds.org defines it.
const EPOCH: &str = "SOURCE_DATE_EPOCH";

/// The networks that `--network` knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum NetworkName {
    /// The bridge, if one can be made.
    #[value(aliases = ["bridge", ""])]
    Default,
    /// Only the loopback device.
    None,
    /// The network of the host.
    Host,
}

/// The forms of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum BuildProgress {
    /// On a terminal, the running steps with their times and the last lines of their output; otherwise as plain.
    #[value(alias = "")]
    Auto,
    /// A line for each event.
    Plain,
}

/// The arguments of `__build-step`, which a build starts for a command.
#[derive(Debug, Args)]
#[group(skip)]
pub(super) struct BuildStepArgs {}

/// Becomes the process that makes the container of a command.
pub(super) fn build_step() -> Result<u8> {
    super::output::protect_program();
    process::become_process()
}

/// Builds.
pub(super) fn run(color: Color, args: &BuildArgs) -> Result<u8> {
    if let Some(mistake) = &args.mistake {
        decide(color, Stream::Out);
        if args.context.is_some() {
            return Err(Error::usage(text("build.break.context")));
        }
        return mistakes::run(mistake);
    }
    let is_live = args.progress == BuildProgress::Auto
        && !args.quiet
        && !args.explain.is_on()
        && std::io::stdout().is_terminal()
        && !is_dumb();
    decide(color, if is_live { Stream::Out } else { Stream::Err });
    args.refused.check()?;
    let Some(context) = &args.context else { return Err(Error::usage(text("build.nocontext"))) };
    let names = args.tag.iter().map(|name| name_from(name)).collect::<Result<Vec<Reference>>>()?;
    let options = options(args)?;
    let targets = args.output.iter().map(|written| BuildTarget::read(written)).collect::<Result<Vec<_>>>()?;
    args.id_file().map_or(Ok(()), remove_id)?;
    let (store, note) = ImageStore::make().map_err(as_docker)?;
    note.iter().for_each(|note| render::note(note));
    // What a build that was killed has left.
    sweep_quietly(&store);
    // Standard output has nothing besides the result.
    let is_reserved = targets.iter().any(BuildTarget::is_output);
    let output = match is_live && !is_reserved {
        true => BuildOutput::Live(LiveOutput::new()),
        false => BuildOutput::Classic(ClassicOutput::new(args.quiet || is_reserved)),
    };
    let finish = |built: &Built| {
        let tell = args.explain.tell();
        for target in &targets {
            let written = target.write(&store, (&built.image, &names), &options, &tell);
            written.map_err(as_docker)?;
        }
        finish(args, built, &names, is_reserved)
    };
    let ended = match build((args, context), &options, &store, &names, output) {
        Ok(built) => finish(&built).map(|()| 0),
        Err(BuildStop::Error(error)) => Err(as_docker(error)),
        Err(BuildStop::Needed) => Err(Error::failed(text("build.other"))),
        Err(BuildStop::Command(error, status)) => {
            render::err(&render::error::text(&error));
            Ok(status)
        }
    };
    // When this build began, a process that the killed build had just forked may still have had a copy of its lock.
    if store.has_leftovers() {
        sweep_quietly(&store);
    }
    ended
}

fn build(
    (args, context): (&BuildArgs, &Path),
    options: &BuildOptions,
    store: &ImageStore,
    names: &[Reference],
    output: BuildOutput,
) -> std::result::Result<Built, BuildStop> {
    let explain = args.explain.explainer();
    let tell = |call: &dyn std::fmt::Display, why: &str| explain.step(call, why);
    // As long as it exists, no command removes what no image names yet.
    let ingest = store.ingest()?;
    let file = args.file.as_ref().filter(|file| !file.is_empty()).map(Path::new);
    let source = source::open(context, file, store, options.maps.as_ref())?;
    // From now on, a signal ends the build. Standard input is read already.
    let stops = StopFlag::new(Signals::block()?)?;
    let parsed = dockerfile::parse(&source.name, &source.dockerfile)?;
    if !args.quiet {
        parsed.warnings.iter().for_each(|warning| render::err(&printed_warning(warning)));
    }
    let pulling = if args.pull { Pull::Always } else { Pull::Missing };
    // Two downloads at the same time would print over each other.
    let one_by_one = Mutex::new(());
    let pull = |name: &str, platform: Option<&str>| {
        let _alone = one_by_one.lock().unwrap_or_else(PoisonError::into_inner);
        let pull = |place| ensure(name, pulling, platform, place, explain);
        match &output {
            BuildOutput::Live(live) => live.while_hidden(|| pull(ProgressPlace::Errors)),
            BuildOutput::Classic(_) if args.quiet => pull(ProgressPlace::Nowhere),
            // Standard output has nothing besides the result.
            BuildOutput::Classic(classic) if classic.is_quiet() => pull(ProgressPlace::Errors),
            BuildOutput::Classic(_) => pull(ProgressPlace::Output),
        }
    };
    let inputs = BuildInputs {
        store,
        ingest: &ingest,
        dockerfile: &parsed,
        context: &source.context,
        options,
        stops: &stops,
        pull: &pull,
        used_arguments: Mutex::default(),
        told_calls: Mutex::default(),
    };
    // The steps are explained in their order.
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let at_once = if args.explain.is_on() { 1 } else { processors };
    let built = match &output {
        BuildOutput::Live(live) => live.while_shown(|| stage_table::build(&inputs, live, &tell, at_once)),
        BuildOutput::Classic(classic) => stage_table::build(&inputs, classic, &tell, at_once),
    };
    if built.is_err() {
        if let BuildOutput::Classic(classic) = &output {
            classic.print_kept();
        }
        // A process of the build may have got the signal first, and its end is no reason.
        if let Some(number) = stops.signal() {
            return Err(Error::new(ExitKind::Interrupted(number), text("build.interrupted")).into());
        }
    }
    let image = built?;
    let used = inputs.used_arguments.into_inner().unwrap_or_else(PoisonError::into_inner);
    // The build itself uses the time.
    let is_known = |name: &str| PROXIES.contains(&name) || name == EPOCH;
    let is_unused = |name: &&String| !used.contains(*name) && !is_known(name);
    let unused = options.arguments.keys().filter(is_unused).cloned().collect();
    tell(&"write(<index.json.new>); rename(\"index.json.new\", \"index.json\")", "image.explain.index");
    // A result that is written elsewhere needs no name. Its steps are in the cache.
    if names.is_empty() && args.output.is_empty() {
        store.name(&image, None)?;
    }
    for name in names {
        store.name(&image, Some(name))?;
        note("tag", &image.id, name.familiar());
    }
    Ok(Built { image, unused })
}

/// What was built.
struct Built {
    image: StoredImage,
    /// The build arguments that no `ARG` declares.
    unused: Vec<String>,
}

/// Where the events go.
enum BuildOutput {
    Classic(ClassicOutput),
    Live(LiveOutput),
}

/// The values of `--break`, for completions.
pub(super) fn mistake_names() -> Vec<&'static str> {
    mistakes::names()
}

/// A warning about a line of the Dockerfile.
fn printed_warning(warning: &Mistake) -> String {
    let Mistake { file, line, what, .. } = warning;
    let values = [("file", file.as_str()), ("line", &line.to_string()), ("what", what)];
    let lines = wrap(&text_with("build.warning", &values), width() - 9);
    format!("sandbox: {}\n", lines.join("\n         "))
}

fn finish(args: &BuildArgs, built: &Built, names: &[Reference], is_reserved: bool) -> Result<()> {
    let Built { image, unused } = built;
    if let Some(path) = args.id_file() {
        fs::write(path, image.id.to_string()).map_err(|error| unwritten_id(path.as_ref(), &error))?;
    }
    if !is_reserved {
        print_result(args.quiet, &image.id, names, unused);
    }
    Ok(())
}

fn options(args: &BuildArgs) -> Result<BuildOptions> {
    let mut arguments = BTreeMap::new();
    for written in &args.build_arg {
        if written.is_empty() || written.starts_with('=') {
            return Err(Error::usage(text_with("build.arg", &[("arg", &printed(written))])));
        }
        match written.split_once('=') {
            Some((name, value)) => drop(arguments.insert(name.to_owned(), value.to_owned())),
            None => {
                if let Ok(value) = std::env::var(written) {
                    arguments.insert(written.clone(), value);
                }
            }
        }
    }
    let mut labels = BTreeMap::new();
    for written in &args.label {
        let (name, value) = written.split_once('=').unwrap_or((written, ""));
        if name.is_empty() {
            return Err(Error::usage(text("build.label")));
        }
        labels.insert(name.to_owned(), value.to_owned());
    }
    let mut secrets = BTreeMap::new();
    for written in &args.secret {
        let (id, source) = secret_of(written)?;
        secrets.insert(id, source);
    }
    let network = match args.network {
        NetworkName::Default => BuildNetwork::Default,
        NetworkName::None => BuildNetwork::None,
        NetworkName::Host => BuildNetwork::Host,
    };
    // As with Docker, an empty value is no value: `--target "$TARGET"`.
    let target = args.target.clone().filter(|target| !target.is_empty());
    let no_cache = args.no_cache;
    // As with buildx, the variable of the caller is a build argument too.
    if let Some(value) = std::env::var(EPOCH).ok().filter(|value| !value.is_empty()) {
        arguments.entry(EPOCH.to_owned()).or_insert(value);
    }
    let epoch = arguments.get(EPOCH).filter(|epoch| !epoch.is_empty()).map(|epoch| {
        let wrong = || Error::usage(text_with("build.epoch", &[("value", &printed(epoch))]));
        epoch.parse::<u32>().map(i64::from).map_err(|_| wrong())
    });
    let (epoch, maps) = (epoch.transpose()?, own_maps());
    Ok(BuildOptions {
        arguments,
        target,
        no_cache,
        labels,
        network,
        secrets,
        epoch,
        explains: args.explain.is_on(),
        maps,
    })
}

/// Reads `id=ID,src=FILE` or `id=ID,env=VARIABLE`. With neither, it is a variable or a file of the name ID. With `type=env`, `src` is
/// the variable.
fn secret_of(written: &str) -> Result<(String, SecretSource)> {
    let wrong = || Error::usage(text_with("build.secret.form", &[("secret", &printed(written))]));
    let (mut id, mut source, mut variable, mut kind) = (String::new(), None, None, None);
    for (key, value) in csv::pairs(written).ok_or_else(wrong)? {
        match &*key {
            "id" => id = value,
            "src" | "source" => source = Some(value),
            "env" => variable = Some(value),
            "type" if ["file", "env"].contains(&&*value) => kind = Some(value),
            _ => return Err(wrong()),
        }
    }
    if id.is_empty() {
        return Err(wrong());
    }
    let is_variable = match &kind {
        Some(kind) => kind == "env",
        None => source.is_none() && std::env::var_os(&id).is_some(),
    };
    let source = match (variable, source) {
        (Some(variable), _) => SecretSource::Variable(variable),
        (None, source) if is_variable => SecretSource::Variable(source.unwrap_or_else(|| id.clone())),
        (None, source) => SecretSource::File(source.unwrap_or_else(|| id.clone()).into()),
    };
    Ok((id, source))
}

/// Removes the file of an earlier build, so that after a failure it does not name an image of before. A device and a file of a
/// descriptor stay, as `/dev/stdout`.
fn remove_id(path: &OsStr) -> Result<()> {
    let path = Path::new(path);
    if ["/dev", "/proc"].iter().any(|above| path.starts_with(above)) {
        return Ok(());
    }
    let is_left = |kind: fs::FileType| kind.is_file() || kind.is_symlink() || kind.is_dir();
    let removed = match fs::symlink_metadata(path) {
        Ok(found) if !is_left(found.file_type()) => Ok(()),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(unwritten_id(path, &error)),
        _ => Ok(()),
    }
}

fn unwritten_id(path: &Path, error: &std::io::Error) -> Error {
    let what = text_with("build.iidfile", &[("path", &printed(path))]);
    Error::new(ExitKind::Refused, what).why(io_text(error))
}
