//! `sandbox run SPEC.yaml` and `sandbox run IMAGE`: runs a container.

use std::ffi::OsString;

use clap::Args;

use super::docker::DockerArgs;
use super::feature::make_mistake;
use super::kept::create::{self, Keeping, KeptArgs};
use super::kept::{as_dockers_line, start};
use super::namespaces::NamespaceArgs;
use super::output::{self, OutputArgs};
use super::prepare::{self, Prepared};
use super::source::{MadeSpec, SourceFlags};
use super::watch::{LeftOut, Narrator};
use super::{without, words};
use crate::config::compose::Ending;
use crate::config::container::Config;
use crate::config::facts::Machine;
use crate::config::spec::{Spec, yaml};
use crate::container::attach::AttachOptions;
use crate::container::explain::Explainer;
use crate::container::life;
use crate::container::volumes::VolumeStore;
use crate::error::{Error, ExitKind, Result};
use crate::feature::Purpose;
use crate::host::run_lock::RunLock;
use crate::render;
use crate::render::paint::{self, Color, Stream, decide};
use crate::text::{text, text_with, word, wrap};
use crate::value::detach_keys::DETACH_KEYS;
use crate::value::nearest::nearest;

/// The flags of `run`.
#[derive(Debug, Args)]
#[group(skip)]
pub(super) struct RunArgs {
    /// The spec file, where `-` reads standard input, or the name of an image. A word that begins with `.` or `/`, or ends in
    /// .yaml, .yml or .json, is a spec
    #[arg(value_name = "SPEC|IMAGE", required_unless_present = "mistake")]
    source: Option<OsString>,
    /// Leave out one key of the spec, and show what becomes visible without it (may be repeated; not with -q)
    #[arg(long, value_name = "KEY")]
    without: Vec<String>,
    /// Try a known attack on a container, with and without the protection against it; without a name, list them
    #[arg(long = "break", value_name = "ATTACK", num_args = 0..=1, default_missing_value = "list")]
    mistake: Option<String>,
    /// Print the config that the spec means on this machine, with every default, as JSON
    #[arg(long)]
    print_config: bool,
    /// Give the command a new terminal, like `tty: true` in the spec
    #[arg(long, short)]
    tty: bool,
    /// With -d, --keep or an image: keep standard input open for the command. Otherwise the command always reads it
    #[arg(long, short)]
    interactive: bool,
    /// With -d, --keep or an image: remove the container when it ends. Otherwise a container of a spec is always removed
    #[arg(long)]
    rm: bool,
    /// Keep the container, run it in the background, and print its ID
    #[arg(long, short)]
    detach: bool,
    /// Keep the container, and show it until it ends
    #[arg(long)]
    keep: bool,
    #[command(flatten)]
    kept: KeptArgs,
    #[command(flatten)]
    namespaces: NamespaceArgs,
    #[command(flatten)]
    docker: DockerArgs,
    #[command(flatten)]
    output: OutputArgs,
    /// The command to run inside, instead of that of the spec or the image; behind a spec after `--`, behind an image as it is
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// Runs the container. A wrong command line with an image returns what it returns in Docker.
pub(super) fn run(color: Color, args: RunArgs) -> Result<u8> {
    let has_image = args.source.as_ref().is_some_and(|source| !words::is_spec(source));
    perform(color, args).map_err(|error| if has_image { as_dockers_line(error) } else { error })
}

fn perform(color: Color, args: RunArgs) -> Result<u8> {
    let output = &args.output;
    let is_printed = output.dry_run || output.print_spec || args.print_config;
    if !is_printed {
        output::protect_program();
    }
    if let Some(attack) = &args.mistake {
        if args.source.is_some() || !args.command.is_empty() {
            return Err(Error::usage(text("run.break.alone")).todo(text("run.break.alone.todo")));
        }
        decide(color, Stream::Out);
        let spec = Spec::default();
        return make_mistake(Purpose::Container, attack, &Machine::of(&Config::default()), &spec, output);
    }
    let Some(source) = &args.source else { return Err(Error::usage(text("run.nospec"))) };
    decide(color, if is_printed { Stream::Out } else { Stream::Err });
    output.check_format(args.without.is_empty() && !args.print_config)?;
    let flags = SourceFlags { namespaces: &args.namespaces, docker: &args.docker, tty: args.tty };
    let mut made = MadeSpec::of(source, &flags, args.command.clone()).map_err(refused_run)?;
    let whole = made.spec.clone();
    let mut spec = std::mem::take(&mut made.spec);
    for key in &args.without {
        spec = yaml::without(&spec, key).map_err(|keys| without_what(key, &keys))?;
    }
    if output.print_spec {
        let (spec, flags) = made.as_spec(spec, &args.kept);
        let note = || text_with("run.printspec.flags", &[("flags", &flags.join(" "))]);
        match (flags.is_empty(), output.is_json()) {
            (true, _) => {}
            (false, true) => render::note(&note()),
            // Each line of a comment begins with its sign.
            (false, false) => {
                let lines = wrap(&note(), paint::width() - 2);
                render::out(&lines.iter().map(|line| format!("# {line}\n")).collect::<String>());
            }
        }
        output::print_spec(&spec, output);
        return Ok(0);
    }
    // With the views of a run, the command in front makes the container itself.
    let is_kept = args.detach || args.keep || spec.keep || (made.image.is_some() && !output.show_proc);
    if is_kept && !is_printed && output.is_json() {
        return Err(Error::usage(text("run.json.kept")).todo(text("run.json.kept.todo")));
    }
    if !is_printed {
        made.spec.rootfs.clone_from(&spec.rootfs);
        made.ensure_image(output.explainer())?;
    }
    if is_kept && !is_printed {
        return run_kept(&args, spec, &made);
    }
    let mut layered = prepare::with_layers(spec, &made.wishes, output.explainer())?;
    let lock = layered.lock.take();
    let mut spec = std::mem::take(&mut layered.spec);
    made.check_command(&spec).map_err(refused_run)?;
    made.complete(&mut spec, &layered, None)?;
    let adjustments = made.adjustments(&layered);
    if args.print_config {
        let prepared = made.plan(spec, &adjustments, |_| Ok(Ending::Demonstration), false)?;
        render::print_json(Stream::Out, &prepared.config);
        return Ok(0);
    }
    if !is_kept && made.wanted.has_volumes() {
        // A volume belongs to containers, and this one is in no list of them.
        return Err(Error::usage(text("docker.volume.kept")).todo(text("container.flag.todo")));
    }
    let links = (!made.wanted.links.is_empty()).then_some("--link");
    if let Some(flag) = links.filter(|_| !is_kept) {
        // The address of the other container is known only at the start.
        let error = Error::usage(text_with("container.flag", &[("flag", flag)]));
        return Err(error.todo(text("container.flag.todo")));
    }
    let keys = made.wanted.detach_keys.as_ref().map(|_| "--detach-keys");
    if let Some(flag) = args.kept.given().or(keys).filter(|_| made.image.is_none()) {
        let error = Error::usage(text_with("container.flag", &[("flag", flag)]));
        return Err(error.todo(text("container.flag.todo")));
    }
    if output.is_json() && !output.dry_run {
        if !args.without.is_empty() && (output.show_proc || output.narrates()) {
            return Err(Error::usage(text("run.json.two")).todo(text("run.json.two.todo")));
        }
        output.reserve_stdout(&args.command)?;
    }
    let Prepared { config, mut plan, left, notes } =
        made.plan(spec.clone(), &adjustments, prepare::container_ending, output.show_proc)?;
    made.locate(&mut plan);
    // Standard error must stay one document if it is JSON.
    let (left, told) = match output.is_json() && !output.dry_run {
        true => (left.into_iter().chain(notes).collect(), Vec::new()),
        false => {
            notes.iter().for_each(|(_, message)| render::note(message));
            (Vec::new(), left)
        }
    };
    for (feature, why) in told {
        let message = text_with("run.left", &[("feature", feature.name()), ("why", &why)]);
        render::note(&message);
    }
    if output.dry_run {
        let printed = prepare::printed(plan, &spec, prepare::container_ending, output.show_proc);
        output::print_plan(&printed, output);
        return Ok(0);
    }
    if args.interactive && args.tty {
        create::has_terminal()?;
    }
    if !args.without.is_empty() && !output.is_quiet() {
        without::print(&whole, &spec, &args.without, output);
    }
    plan.config = Some(config.to_json());
    let mut narrator = Narrator::new(output, &spec);
    narrator.left = left.into_iter().map(|(feature, why)| LeftOut { feature, why }).collect();
    // When the command runs, a file in RUN says which layers it has.
    output::run_after(&plan, output, &mut narrator, |_| lock.into_iter().for_each(RunLock::release))
}

/// Keeps the container, and starts it.
fn run_kept(args: &RunArgs, spec: Spec, made: &MadeSpec) -> Result<u8> {
    let keeping = Keeping {
        open_stdin: args.interactive,
        auto_remove: args.rm,
        is_shown: !args.detach,
        stdin_stays: args.detach,
        client: None,
    };
    let explain = args.output.explainer();
    let created = create::create(spec, made, &args.kept, &keeping, explain);
    let (store, id, _) = created.map_err(refused_run)?;
    let container = store.find(id.as_str())?;
    if args.detach {
        let started = life::start(&container, explain);
        if started.is_err() && args.rm {
            let _ = life::remove(&store, &container, true, Explainer::default());
            VolumeStore::remove_anonymous(&container.record.volumes);
        }
        started?;
        render::out(&format!("{id}\n"));
        return Ok(0);
    }
    let detach_keys = made.wanted.detach_keys.clone().unwrap_or_else(|| DETACH_KEYS.to_vec());
    let options = AttachOptions { stdin: args.interactive, forwards: true, detach_keys };
    Ok(start::show(&store, &container, true, &options, explain)?.unwrap_or_default())
}

/// What `create` refuses with 1 is 125 here: 1 may be the status of the command.
fn refused_run(error: Error) -> Error {
    match error.kind {
        ExitKind::Refused => Error { kind: ExitKind::Failed, ..error },
        _ => error,
    }
}

/// The error of `--without` with a key that the spec does not have.
fn without_what(key: &str, keys: &[String]) -> Error {
    let what = text_with("run.without", &[("key", &word(key))]);
    match nearest(key, keys.iter().map(String::as_str)) {
        Some(near) => Error::usage(format!("{what}: {}", text_with("spec.near", &[("word", near)]))),
        None => Error::usage(what),
    }
    .todo(text_with("run.without.todo", &[("keys", &keys.join(", "))]))
}
