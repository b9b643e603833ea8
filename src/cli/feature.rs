//! `sandbox FEATURE`: one feature alone, in one of its ways: a command, a demonstration, a view, a plan, a mistake.

use clap::Args;

use super::watch::Narrator;
use crate::demo::{self, Stage};
use crate::error::Result;
use crate::exec;
use crate::feature::Feature;
use crate::host::{Cable, Host, Subordinate, command, diagnose};
use crate::mistakes;
use crate::namespaces::mnt::Mnt;
use crate::render::paint::{Color, Stream, decide};
use crate::render::{self, card, contrast, equivalents, plan as plan_text};
use crate::spec::Spec;
use crate::spec::compose::{self, Ending};
use crate::spec::yaml;
use crate::text::text_with;

/// A feature's own flags, the common ones, and the command.
#[derive(Debug, Args)]
#[group(skip)]
pub(super) struct FeatureArgs<F: Args> {
    #[command(flatten)]
    feature: F,
    #[command(flatten)]
    common: Common,
}

/// The flags that every feature has.
#[derive(Debug, Args)]
#[group(skip)]
#[command(next_help_heading = "Common options")]
pub(super) struct Common {
    /// Show /proc outside and inside, side by side
    #[arg(long)]
    show_proc: bool,
    /// Tell each step while it is made: the call, its result, why
    #[arg(long)]
    explain: bool,
    /// Print the plan only; needs no privilege and does nothing
    #[arg(long)]
    dry_run: bool,
    /// Wait for a key before each step
    #[arg(long)]
    step: bool,
    /// Make a famous mistake on purpose, right beside wrong; without a name, list them
    #[arg(long = "break", value_name = "MISTAKE", num_args = 0..=1, default_missing_value = "list")]
    mistake: Option<String>,
    /// Show one card of the demonstration; `list` names them
    #[arg(long, value_name = "CARD")]
    demo: Option<String>,
    /// How results are printed
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    format: Format,
    /// Print the spec that these flags mean, as YAML
    #[arg(long)]
    print_spec: bool,
    /// Do not announce what is isolated
    #[arg(long, short)]
    quiet: bool,
    /// The command to run in it, after `--`; without one, the built-in demonstration runs
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<String>,
}

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Format {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// Runs a feature subcommand; `put` places its flags in the spec.
pub(super) fn run<F: Args>(
    feature: Feature,
    color: Color,
    args: FeatureArgs<F>,
    put: impl Fn(&mut Spec, F),
) -> Result<u8> {
    let common = args.common;
    let mut spec = Spec { command: common.command.clone(), ..Spec::default() };
    put(&mut spec, args.feature);
    let has_command = !spec.command.is_empty();
    // With a command, standard output is the command's.
    decide(
        color,
        if has_command && !common.dry_run && !common.print_spec { Stream::Err } else { Stream::Out },
    );
    if common.print_spec {
        render::out(&yaml::print(&spec));
        return Ok(0);
    }
    let host = gather(&spec);
    if !has_command && !common.dry_run {
        diagnose::need_proc(feature)?;
    }
    if let Some(mistake) = &common.mistake {
        return make_mistake(feature, mistake, &host, &spec, &common);
    }
    if common.demo.as_deref() == Some("list") {
        render::out(&demo::names(feature).into_iter().map(|name| format!("{name}\n")).collect::<String>());
        return Ok(0);
    }
    let ending = ending(feature, &host, &spec)?;
    let view = common.show_proc;
    let plan = compose::plan(&spec, &host, feature, ending, view);
    if common.dry_run {
        render::out(&match common.format {
            Format::Text => plan_text::text_of(&plan) + &equivalents::text_of(&plan),
            Format::Json => render::json(&plan),
        });
        return Ok(0);
    }
    let mut narrator = Narrator::new(&common, has_command);
    if has_command {
        let ended = exec::start(&plan, &mut narrator)?.wait(&mut narrator)?;
        if common.narrates() {
            render::err(&equivalents::text_of(&plan));
        }
        return Ok(ended.status());
    }
    if view {
        // The view is taken; the process that it was taken of has nothing more to do.
        exec::start(&plan, &mut narrator)?.end()?;
        if common.narrates() {
            render::out(&equivalents::text_of(&plan));
        }
        return Ok(0);
    }
    // Said before the first card, not by the one that comes to it.
    exec::accept(&plan)?;
    demonstrate(feature, &host, &spec, &common, &mut narrator)
}

impl Common {
    pub(super) fn narrates(&self) -> bool {
        self.explain || self.step
    }

    pub(super) fn pauses(&self) -> bool {
        self.step
    }

    pub(super) fn is_quiet(&self) -> bool {
        self.quiet
    }

    pub(super) fn is_json(&self) -> bool {
        self.format == Format::Json
    }
}

/// The facts that this spec needs.
fn gather(spec: &Spec) -> Host {
    let mut host = Host::gather();
    if spec.user.as_ref().is_some_and(|user| !user.map.is_empty()) {
        host.subordinate = Some(Subordinate::gather(host.uid));
    }
    if spec.net.as_ref().is_some_and(|net| net.veth) {
        host.cable = Cable::gather();
    }
    host
}

fn ending(feature: Feature, host: &Host, spec: &Spec) -> Result<Ending> {
    let Some(name) = spec.command.first() else { return Ok(Ending::Demonstration) };
    let ending = |path: String| Ending::Command { path, arguments: spec.command.clone() };
    let tree = spec.mnt.as_ref().map(Mnt::tree).unwrap_or_default();
    command::resolve(name, &tree).map(|path| ending(path.to_string_lossy().into_owned())).or_else(|error| {
        // That COMMAND isn't in a root which is no folder would only hide what is wrong: the plan's problem goes first.
        let plan = compose::plan(spec, host, feature, ending(name.clone()), false);
        if plan.problems.is_empty() { Err(error) } else { Ok(ending(name.clone())) }
    })
}

fn demonstrate(
    feature: Feature,
    host: &Host,
    spec: &Spec,
    common: &Common,
    narrator: &mut Narrator,
) -> Result<u8> {
    let mut stage = Stage::new(host, spec, narrator);
    let mut cards = Vec::new();
    let mut first = true;
    demo::run(feature, common.demo.as_deref(), &mut stage, &mut |card| {
        if common.is_json() {
            cards.push(card.clone());
        } else {
            let gap = if std::mem::take(&mut first) { "" } else { "\n" };
            render::out(&format!("{gap}{}", card::text(card)));
        }
    })?;
    if common.is_json() {
        render::out(&render::json(&cards));
    } else {
        let next = text_with("common.next", &[("feature", feature.name())]);
        render::out(&format!("\n{next}\n"));
    }
    Ok(0)
}

fn make_mistake(feature: Feature, name: &str, host: &Host, spec: &Spec, common: &Common) -> Result<u8> {
    if name == "list" {
        for (name, mistake) in mistakes::list(feature) {
            render::out(&format!("{name:<12}{mistake}\n"));
        }
        return Ok(0);
    }
    let mut narrator = Narrator::new(common, false);
    let contrast = mistakes::run(feature, name, &mut Stage::new(host, spec, &mut narrator))?;
    render::out(&if common.is_json() { render::json(&contrast) } else { contrast::text(&contrast) });
    Ok(0)
}
