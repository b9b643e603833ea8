//! How a run is told: the flags that every feature and `run` have, and what they do to a plan that ends in a command.

use clap::Args;

use crate::error::Result;
use crate::exec::{self, Watch};
use crate::host::ProgramFile;
use crate::plan::Plan;
use crate::render::equivalents;
use crate::render::{self, plan as plan_text};
use crate::sys;

/// The flags.
#[derive(Debug, Args)]
#[group(skip)]
#[command(next_help_heading = "Common options")]
pub(super) struct Telling {
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

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Format {
    /// Plain text.
    Text,
    /// JSON, for programs.
    Json,
}

impl Telling {
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

/// The plan, instead of doing it.
pub(super) fn print_plan(plan: &Plan, telling: &Telling) {
    render::out(&if telling.is_json() {
        render::json(plan)
    } else {
        plan_text::text_of(plan) + &equivalents::text_of(plan)
    });
}

/// Starts `sandbox` anew from a sealed copy of its program, where the first step of each container's plan is that. As a step it
/// would come too late: standard input may have been read, and something printed.
pub(super) fn protect_program() {
    if !ProgramFile::gather().can_be_left {
        // Where it fails, the step fails as well, and says why.
        let _ = sys::sealed::execute();
    }
}

/// Performs a plan that ends in a command; its status.
pub(super) fn run_command(plan: &Plan, telling: &Telling, narrator: &mut dyn Watch) -> Result<u8> {
    let ended = exec::start(plan, narrator)?.wait(narrator)?;
    if telling.narrates() {
        render::err(&(plan_text::versions(plan) + &equivalents::text_of(plan)));
    }
    Ok(ended.status())
}
