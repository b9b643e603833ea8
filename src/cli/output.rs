//! The flags that all features, `run` and `enter` have: what is printed about a run.

use clap::Args;

use crate::error::Result;
use crate::exec::{self, Watch};
use crate::host::ProgramFile;
use crate::plan::Plan;
use crate::render::equivalents;
use crate::render::{self, plan as plan_text};
use crate::sys;

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
    /// Output format
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    format: Format,
    /// Print the equivalent spec, as YAML
    #[arg(long)]
    pub(super) print_spec: bool,
    /// Do not print what is isolated before the command starts
    #[arg(long, short)]
    quiet: bool,
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

    pub(super) fn is_quiet(&self) -> bool {
        self.quiet
    }

    pub(super) fn is_json(&self) -> bool {
        self.format == Format::Json
    }
}

/// Prints the plan, in place of performing it.
pub(super) fn print_plan(plan: &Plan, output: &OutputArgs) {
    render::out(&if output.is_json() {
        render::json(plan)
    } else {
        plan_text::text_of(plan) + &equivalents::text_of(plan)
    });
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
pub(super) fn run_command(plan: &Plan, output: &OutputArgs, narrator: &mut dyn Watch) -> Result<u8> {
    let ended = exec::start(plan, narrator)?.wait(narrator)?;
    if output.narrates() {
        render::err(&(plan_text::versions(plan) + &equivalents::text_of(plan)));
    }
    Ok(ended.status())
}
