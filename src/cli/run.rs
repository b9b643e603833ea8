//! `sandbox run SPEC.yaml`: runs a container.

use std::ffi::OsString;
use std::io::IsTerminal;
use std::path::PathBuf;

use clap::Args;

use super::feature::make_mistake;
use super::kept::create::{self, Keeping, KeptArgs};
use super::kept::start;
use super::namespaces::NamespaceArgs;
use super::output::{self, OutputArgs};
use super::prepare::{self, Prepared};
use super::spec::SpecText;
use super::watch::{LeftOut, Narrator};
use super::without;
use crate::config::compose::Ending;
use crate::config::container::Config;
use crate::config::facts::Machine;
use crate::config::spec::{Spec, yaml};
use crate::container::attach::{AttachOptions, DETACH_KEYS};
use crate::container::explain::Explainer;
use crate::container::life;
use crate::error::{Error, Result};
use crate::feature::Purpose;
use crate::plan::Plan;
use crate::render;
use crate::render::paint::{self, Color, Stream, decide};
use crate::text::{text, text_with, wrap};
use crate::value::nearest::nearest;

/// The flags of `run`.
#[derive(Debug, Args)]
#[group(skip)]
pub(super) struct RunArgs {
    /// The spec file; `-` reads standard input
    #[arg(value_name = "SPEC", required_unless_present = "mistake")]
    spec: Option<PathBuf>,
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
    /// With -d and --keep: keep standard input open for the command. Otherwise the command always reads it
    #[arg(long, short)]
    interactive: bool,
    /// With -d and --keep: remove the container when it ends. Otherwise it is always removed
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
    output: OutputArgs,
    /// The command to run inside, after `--`, instead of the spec's command
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// Runs the container.
pub(super) fn run(color: Color, args: RunArgs) -> Result<u8> {
    let output = &args.output;
    let is_printed = output.dry_run || output.print_spec || args.print_config;
    if !is_printed {
        output::protect_program();
    }
    if let Some(attack) = &args.mistake {
        decide(color, Stream::Out);
        let spec = Spec::default();
        return make_mistake(Purpose::Container, attack, &Machine::of(&Config::default()), &spec, output);
    }
    let Some(file) = &args.spec else { return Err(Error::usage(text("run.nospec"))) };
    decide(color, if is_printed { Stream::Out } else { Stream::Err });
    output.check_format(args.without.is_empty() && !args.print_config)?;
    let (mut whole, source) = prepare::read(file)?;
    args.namespaces.apply(&mut whole);
    let mut spec = whole.clone();
    for key in &args.without {
        spec = yaml::without(&spec, key).map_err(|keys| without_what(key, &keys))?;
    }
    if !args.command.is_empty() {
        spec.command.clone_from(&args.command);
    }
    spec.tty |= args.tty;
    if output.print_spec {
        output::print_spec(&spec, output);
        return Ok(0);
    }
    if (args.detach || args.keep || spec.keep) && !is_printed {
        return run_kept(&args, spec, &source);
    }
    let spec = prepare::with_layers(spec, output.explainer())?;
    if args.print_config {
        let prepared = prepare::plan(spec, |_| Ok(Ending::Demonstration), false)?;
        render::print_json(Stream::Out, &prepared.config);
        return Ok(0);
    }
    if let Some(flag) = args.kept.given() {
        let error = Error::usage(text_with("container.flag", &[("flag", flag)]));
        return Err(error.todo(text("container.flag.todo")));
    }
    if output.is_json() && !output.dry_run {
        if !args.without.is_empty() && (output.show_proc || output.narrates()) {
            return Err(Error::usage(text("run.json.two")).todo(text("run.json.two.todo")));
        }
        output.reserve_stdout(&args.command)?;
    }
    let Prepared { config, mut plan, left } =
        prepare::plan(spec.clone(), prepare::container_ending, output.show_proc)?;
    source.locate(&mut plan.problems);
    // Standard error must stay one document if it is JSON.
    let (left, told) = match output.is_json() && !output.dry_run {
        true => (left, Vec::new()),
        false => (Vec::new(), left),
    };
    for (feature, why) in told {
        let message = text_with("run.left", &[("feature", feature.name()), ("why", &why)]);
        let lines = wrap(&format!("sandbox: {message}"), paint::width() - 9);
        render::err(&(lines.join("\n         ") + "\n"));
    }
    if output.dry_run {
        let printed = prepare::printed(plan, &spec, prepare::container_ending, output.show_proc);
        output::print_plan(&printed, output);
        return Ok(0);
    }
    if args.interactive && args.tty && !std::io::stdin().is_terminal() {
        return Err(Error::failed(text("run.notty.what"))
            .why(text("run.notty.why"))
            .todo(text("run.notty.todo")));
    }
    if !args.without.is_empty() && !output.is_quiet() {
        without::print(&whole, &spec, &args.without, output);
    }
    plan.config = Some(config.to_json());
    let mut narrator = Narrator::new(output, &spec);
    narrator.left = left.into_iter().map(|(feature, why)| LeftOut { feature, why }).collect();
    output::run_command(&plan, output, &mut narrator)
}

/// Keeps the container, and starts it.
fn run_kept(args: &RunArgs, spec: Spec, source: &SpecText) -> Result<u8> {
    let keeping = Keeping { open_stdin: args.interactive, auto_remove: args.rm, stdin_stays: args.detach };
    let explain = args.output.explainer();
    let locate = |plan: &mut Plan| source.locate(&mut plan.problems);
    let (store, id, _) = create::create(spec, locate, &args.kept, &keeping, explain)?;
    let container = store.find(id.as_str())?;
    if args.detach {
        let started = life::start(&container, explain);
        if started.is_err() && args.rm {
            let _ = life::remove(&store, &container, true, Explainer::default());
        }
        started?;
        render::out(&format!("{id}\n"));
        return Ok(0);
    }
    let options =
        AttachOptions { stdin: args.interactive, forwards: true, detach_keys: DETACH_KEYS.to_vec() };
    start::show(&store, &container, true, &options, explain)
}

/// The error of `--without` with a key that the spec does not have.
fn without_what(key: &str, keys: &[String]) -> Error {
    let what = text_with("run.without", &[("key", key)]);
    match nearest(key, keys.iter().map(String::as_str)) {
        Some(near) => Error::usage(format!("{what}: {}", text_with("spec.near", &[("word", near)]))),
        None => Error::usage(what),
    }
    .todo(text_with("run.without.todo", &[("keys", &keys.join(", "))]))
}
