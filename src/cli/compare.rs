//! `sandbox compare PID|NAME [PID|NAME]`.

use clap::Args;

use super::explain::{ExplainArg, ExplainedStep};
use super::output::Format;
use super::target::Target;
use crate::error::Result;
use crate::render::paint::{Color, Stream, decide};
use crate::render::{self, compare as compare_text};
use crate::teach::compare::{Comparison, Subject};

/// The flags of `compare`.
#[derive(Debug, Args)]
#[group(skip)]
pub(super) struct CompareArgs {
    /// The PID of a process on this machine, which may be in a container; or the name of a running container
    #[arg(value_name = "PID|NAME")]
    first: Target,
    /// The process or container to compare it with; the default is the process that started `sandbox`
    #[arg(value_name = "PID|NAME")]
    second: Option<Target>,
    /// Show equal values too
    #[arg(long)]
    all: bool,
    /// Output format
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    format: Format,
    #[command(flatten)]
    explain: ExplainArg,
}

const STEPS: [ExplainedStep; 3] = [
    ("pidfd_open(PID)", "compare.explain.process"),
    ("readlink(/proc/PID/ns/*); ioctl(<namespace>, NS_GET_PARENT)", "compare.explain.namespaces"),
    ("read(/proc/PID/status, cgroup, mountinfo, limits)", "compare.explain.read"),
];

/// Compares two processes, and prints the result.
pub(super) fn run(color: Color, args: &CompareArgs) -> Result<u8> {
    decide(color, Stream::Out);
    args.explain.steps(&STEPS);
    // The caller's side is on the left, as in every view.
    let (left, right) = match &args.second {
        Some(second) => (args.first.open()?, second.open()?),
        None => (Subject::caller()?, args.first.open()?),
    };
    let comparison = Comparison::of(left, right)?;
    match args.format {
        Format::Text => render::out(&compare_text::text_of(&comparison, args.all)),
        Format::Json => render::print_json(Stream::Out, &comparison),
    }
    Ok(0)
}
