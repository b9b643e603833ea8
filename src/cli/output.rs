//! The flags that all features, `run` and `enter` have: what is printed about a run.

use std::ffi::OsString;
use std::io::Write;

use clap::Args;

use super::explain;
use super::watch::Narrator;
use crate::config::spec::{Spec, yaml};
use crate::container::explain::Explainer;
use crate::error::{Error, Result};
use crate::exec::{self, Container};
use crate::host::ProgramFile;
use crate::plan::Plan;
use crate::render::equivalents;
use crate::render::paint::Stream;
use crate::render::{self, plan as plan_text};
use crate::sys;
use crate::text::text;

/// These flags.
#[derive(Debug, Args)]
#[group(skip)]
#[command(next_help_heading = "Common options")]
pub(super) struct OutputArgs {
    /// Show /proc outside and inside, side by side
    #[arg(long)]
    pub(super) show_proc: bool,
    /// Print each step while it runs: the call, its result, the reason
    #[arg(long)]
    explain: bool,
    /// Print the plan and exit; needs no privilege and changes nothing
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Wait for a key before each step
    #[arg(long)]
    step: bool,
    /// Output format; json is for --show-proc, --explain, --dry-run, --print-spec, --break and demonstrations. With
    /// COMMAND, the JSON is on standard error, because standard output belongs to COMMAND. Without COMMAND, it is on
    /// standard output, and the command of a spec prints to standard error
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    format: Format,
    /// Print the equivalent spec, as YAML
    #[arg(long)]
    pub(super) print_spec: bool,
    /// Do not print what is isolated before the command starts
    #[arg(long, short)]
    quiet: bool,
}

/// The flag of a subcommand that only has a result.
#[derive(Debug, Args)]
#[group(skip)]
pub(super) struct FormatArgs {
    /// Output format
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    format: Format,
}

impl FormatArgs {
    pub(super) fn is_json(&self) -> bool {
        self.format == Format::Json
    }
}

/// The format of results.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Format {
    /// Plain text.
    Text,
    /// JSON, for programs.
    Json,
}

impl OutputArgs {
    pub(super) fn narrates(&self) -> bool {
        self.explain || self.step
    }

    pub(super) fn pauses(&self) -> bool {
        self.step
    }

    /// Where the steps of a kept container are told.
    pub(super) fn explainer(&self) -> Explainer {
        explain::explainer(self.explain)
    }

    /// Prints nothing about the run.
    pub(super) fn be_quiet(&mut self) {
        self.quiet = true;
    }

    pub(super) fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// Refuses `--format json` where there would be nothing to print as JSON, or a key to wait for. With a command,
    /// standard output belongs to the command.
    ///
    /// # Errors
    /// A wrong command line.
    pub(super) fn check_format(&self, has_command: bool) -> Result<()> {
        let has_result = !has_command || self.show_proc || self.explain || self.dry_run || self.print_spec;
        match self.is_json() {
            true if self.step => {
                Err(Error::usage(text("common.json.step")).todo(text("common.json.step.todo")))
            }
            true if !has_result => {
                Err(Error::usage(text("common.json.nothing")).todo(text("common.json.nothing.todo")))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn is_json(&self) -> bool {
        self.format == Format::Json
    }

    /// If no command was typed, standard output belongs to the JSON, not to the command that runs all the same. This is
    /// to be called before the plan is made, which depends on what the standard descriptors are.
    ///
    /// # Errors
    /// Those of dup(2).
    pub(super) fn reserve_stdout(&self, typed: &[OsString]) -> Result<()> {
        if !self.is_json() || self.dry_run || !typed.is_empty() {
            return Ok(());
        }
        let cannot = |error| Error::failed(text("common.json.stdout")).why(crate::error::io_text(&error));
        render::reserve_output().map_err(cannot)
    }
}

/// Prints the plan, in place of performing it.
pub(super) fn print_plan(plan: &Plan, output: &OutputArgs) {
    match output.is_json() {
        true => render::print_json(Stream::Out, plan),
        false => render::out(&(plan_text::text_of(plan) + &equivalents::text_of(plan))),
    }
}

/// Prints the spec, in place of running it.
pub(super) fn print_spec(spec: &Spec, output: &OutputArgs) {
    match output.is_json() {
        true => render::print_json(Stream::Out, spec),
        false => render::out(&yaml::print(spec)),
    }
}

/// Executes `sandbox` again from a sealed copy of its program, if a plan would do this in its first step. That step
/// would be too late: standard input may have been read already, and output printed.
pub(super) fn protect_program() {
    if !ProgramFile::gather().can_be_left {
        // If this fails, the step fails too, and reports the reason.
        let _ = sys::sealed::execute();
    }
}

/// Performs a plan that ends in a command. Returns the exit status of the command.
pub(super) fn run_command(plan: &Plan, output: &OutputArgs, narrator: &mut Narrator) -> Result<u8> {
    run_after(plan, output, narrator, |_| {})
}

/// As [`run_command`]. When the command runs, `then` is called before its end is awaited.
pub(super) fn run_after(
    plan: &Plan,
    output: &OutputArgs,
    narrator: &mut Narrator,
    then: impl FnOnce(&mut Container),
) -> Result<u8> {
    let mut started = exec::start(plan, narrator)?;
    then(&mut started);
    if output.is_json() && output.narrates() {
        narrator.print_explained("view", &narrator.view());
    }
    let ended = started.wait(narrator)?;
    if output.narrates() && !output.is_json() {
        render::err(&(plan_text::versions(plan) + &equivalents::text_of(plan)));
    }
    Ok(ended.status())
}

/// Asks a question whose answer is yes or no. Anything but `y` or `yes` is no.
pub(super) fn confirms(question: &str) -> bool {
    render::out(&(text(question) + " "));
    let _ = std::io::stdout().flush();
    let mut answer = String::new();
    let _ = std::io::stdin().read_line(&mut answer);
    ["y", "yes"].contains(&answer.trim().to_ascii_lowercase().as_str())
}
