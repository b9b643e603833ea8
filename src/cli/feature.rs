//! `sandbox FEATURE`: uses one feature alone. It runs a command, a demonstration or a mistake, or it shows a view or a
//! plan.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;
use nix::unistd::Pid;
use serde::Serialize;

use super::output::{self, OutputArgs};
use super::watch::Narrator;
use super::{cards, prepare};
use crate::config::complete::Completed;
use crate::config::compose::Ending;
use crate::config::facts::Machine;
use crate::config::spec::Spec;
use crate::diagnose;
use crate::error::{Error, ExitKind, Result};
use crate::exec::{self, Watch};
use crate::feature::{Feature, Purpose};
use crate::host::command;
use crate::render::equivalents;
use crate::render::paint::{self, Color, Stream, decide};
use crate::render::{self, contrast};
use crate::teach::agent::Agent;
use crate::teach::demo::{self, Canvas, Stage};
use crate::teach::{difference, mistakes};
use crate::text::{text, text_with, wrap};
use crate::value::shell::quote;

/// The flags of a feature, the common flags, and the command.
#[derive(Debug, Args)]
#[group(skip)]
pub(super) struct FeatureArgs<F: Args> {
    #[command(flatten)]
    feature: F,
    #[command(flatten)]
    common: Common,
}

/// The flags that all features have.
#[derive(Debug, Args)]
#[group(skip)]
#[command(next_help_heading = "Common options")]
pub(super) struct Common {
    #[command(flatten)]
    pub(super) output: OutputArgs,
    /// Make a common mistake on purpose, and compare it with the correct way; without a name, list them
    #[arg(long = "break", value_name = "MISTAKE", num_args = 0..=1, default_missing_value = "list")]
    mistake: Option<String>,
    /// Show one card of the demonstration; `list` prints the names
    #[arg(long, value_name = "CARD")]
    pub(super) demo: Option<String>,
    /// Write the measurements of a limit's demonstration to FILE, as an SVG picture
    #[arg(long, value_name = "FILE")]
    pub(super) svg: Option<PathBuf>,
    /// Do not wait for a key after each card of the demonstration
    #[arg(long)]
    pub(super) no_pause: bool,
    /// For screen readers: the pictures of a limit's demonstration are described in words
    #[arg(long)]
    pub(super) plain: bool,
    /// The command to run inside, after `--`; without a command, the built-in demonstration runs
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// A card or a mistake in a list, as JSON.
#[derive(Debug, Serialize)]
struct Listed<'a> {
    /// Its name.
    name: &'a str,
    /// What it shows.
    about: String,
}

/// Runs a feature subcommand. `put` writes its flags into the spec.
pub(super) fn run<F: Args>(
    feature: Feature,
    color: Color,
    args: FeatureArgs<F>,
    put: impl Fn(&mut Spec, F),
) -> Result<u8> {
    let common = args.common;
    let output = &common.output;
    let mut spec = Spec { command: common.command.clone(), ..Spec::default() };
    put(&mut spec, args.feature);
    let has_command = !spec.command.is_empty();
    // With a command, standard output belongs to the command.
    decide(
        color,
        if has_command && !output.dry_run && !output.print_spec { Stream::Err } else { Stream::Out },
    );
    output.check_format(has_command && common.mistake.is_none())?;
    refuse_unused(&common)?;
    if common.svg.is_some() && !demo::has_plots(feature) {
        let with: Vec<&str> =
            Feature::WITH_SUBCOMMAND.iter().filter(|of| demo::has_plots(**of)).map(|of| of.name()).collect();
        let values = [("feature", feature.name()), ("features", &*with.join(", ")), ("first", with[0])];
        return Err(Error::usage(text_with("common.svg.noplot", &values))
            .why(text_with("common.svg.noplot.why", &values))
            .todo(text_with("common.svg.noplot.todo", &values)));
    }
    if output.print_spec {
        output::print_spec(&spec, output);
        return Ok(0);
    }
    let view = output.show_proc;
    let mut notes = Vec::new();
    if !has_command {
        spec = demo::with_default_limits(feature, &spec);
        if view {
            notes.extend(difference::add(feature, &mut spec));
        }
    }
    let completed = Completed::of(&spec, feature);
    let machine = &completed.machine;
    if !has_command && !output.dry_run {
        diagnose::need_proc(feature.name(), feature.into())?;
    }
    if let Some(mistake) = &common.mistake {
        return make_mistake(feature.into(), mistake, machine, &spec, output);
    }
    if common.demo.as_deref() == Some("list") {
        let names = demo::names(feature);
        if output.is_json() {
            let listed = names
                .iter()
                .map(|name| Listed { name, about: text(&format!("{feature}.card.{name}.claim")) });
            render::print_json(Stream::Out, &listed.collect::<Vec<_>>());
        } else {
            render::out(&names.into_iter().map(|name| format!("{name}\n")).collect::<String>());
        }
        return Ok(0);
    }
    demo::check(feature, common.demo.as_deref())?;
    common.svg.as_deref().map_or(Ok(()), cards::check_svg)?;
    let ending = prepare::ending(&completed, &command::callers_path())?;
    let ending = ending.unwrap_or(Ending::Demonstration);
    // The process inside first makes the difference, then it reads the view.
    let reports = view && (has_command || !difference::is_made_inside(feature));
    let mut plan = completed.plan(ending.clone(), reports);
    plan.notes.extend(notes);
    if output.dry_run {
        output::print_plan(&prepare::printed(plan, &spec, |_| Ok(ending.clone()), reports), output);
        return Ok(0);
    }
    let mut narrator = Narrator::new(output, &spec);
    if cards::is_summary(&common) && !view && !has_command {
        narrator = narrator.silent();
    }
    if !has_command && !view && cards::is_paged(&common) {
        narrator = narrator.paged();
    }
    if has_command {
        return output::run_command(&plan, output, &mut narrator);
    }
    if view {
        let agent = Agent::start(&plan, &mut narrator)?;
        if !reports {
            plan.notes.extend(difference::make(&agent));
            let readings = serde_json::to_value(agent.look(feature)?).unwrap_or_default();
            narrator.reported(&plan, readings, Pid::from_raw(agent.pid()));
        }
        // The view is printed, so the process can end.
        agent.end()?;
        if output.is_json() && output.narrates() {
            narrator.print_explained("view", &narrator.view());
        } else if output.narrates() {
            render::out(&equivalents::text_of(&plan));
        }
        return Ok(0);
    }
    // A problem is reported before the first card, not by the card that meets it.
    if let Err(error) = exec::accept(&plan) {
        let is_card = common.demo.is_none() && !cards::is_summary(&common) && !output.is_json();
        if feature.is_controller() && is_card && !output.pauses() {
            let plan = prepare::printed(plan, &spec, |_| Ok(ending.clone()), reports);
            cards::show_without_right(feature, machine, &plan, &common)?;
        }
        return Err(error);
    }
    cards::demonstrate(feature, machine, &spec, &common, &mut narrator)
}

/// Refuses flags of the demonstration where none runs, so that none is dropped silently.
fn refuse_unused(common: &Common) -> Result<()> {
    let output = &common.output;
    let others = [
        ("COMMAND", !common.command.is_empty()),
        ("--print-spec", output.print_spec),
        ("--dry-run", output.dry_run),
        ("--show-proc", output.show_proc),
        ("--break", common.mistake.is_some()),
    ];
    let Some((other, _)) = others.into_iter().find(|(_, is_set)| *is_set) else { return Ok(()) };
    let flags = [
        ("--svg", common.svg.is_some()),
        ("--plain", common.plain),
        ("--no-pause", common.no_pause),
        ("--demo", common.demo.is_some()),
        ("--break", common.mistake.is_some() && other == "COMMAND"),
    ];
    let Some((flag, _)) = flags.into_iter().find(|(_, is_set)| *is_set) else { return Ok(()) };
    let values = [("flag", flag), ("other", other)];
    let key = if flag == "--break" { "common.unused.break" } else { "common.unused" };
    Err(Error::usage(text_with(key, &values)).todo(text_with("common.unused.todo", &values)))
}

/// Makes a mistake, or lists the mistakes.
pub(super) fn make_mistake(
    purpose: Purpose,
    name: &str,
    machine: &Machine,
    spec: &Spec,
    output: &OutputArgs,
) -> Result<u8> {
    if name == "list" {
        let all = mistakes::list(purpose);
        if output.is_json() {
            let listed = all.into_iter().map(|(name, about)| Listed { name, about });
            render::print_json(Stream::Out, &listed.collect::<Vec<_>>());
            return Ok(0);
        }
        if all.is_empty() {
            render::out(&(text_with("common.break.none", &[("feature", purpose.name())]) + "\n"));
        }
        let width = 2 + all.iter().map(|(name, _)| name.len()).max().unwrap_or_default().max(12);
        for (name, mistake) in all {
            let mut name = name;
            for line in wrap(&mistake, paint::width().saturating_sub(width)) {
                render::out(&format!("{name:<width$}{line}\n"));
                name = "";
            }
        }
        return Ok(0);
    }
    if output.dry_run && mistakes::list(purpose).iter().any(|(known, _)| *known == name) {
        let line = format!("sandbox {purpose} --break {} --explain", quote(name));
        return Err(Error::usage(text("common.break.dry"))
            .why(text("common.break.dry.why"))
            .todo(format!("{}\n   {line}", text("common.break.dry.todo"))));
    }
    let mut narrator = Narrator::new(output, spec);
    // The evidence of a mistake contains its measurements, so they are not drawn.
    let no_canvas: Canvas<'_> = Box::new(|_, _| {});
    let contrast = mistakes::run(purpose, name, &mut Stage::new(machine, spec, &mut narrator, no_canvas))?;
    match output.is_json() {
        true => narrator.print_explained("contrast", &contrast),
        false => render::out(&contrast::text(&contrast)),
    }
    Ok(if contrast.skipped.is_some() { ExitKind::Skipped.status() } else { 0 })
}
