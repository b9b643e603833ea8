//! `sandbox compare PID [PID]`.

use clap::Args;
use clap::builder::RangedI64ValueParser;

use super::output::Format;
use crate::error::Result;
use crate::render::paint::{Color, Stream, decide};
use crate::render::{self, compare as compare_text};
use crate::teach::compare::{Comparison, Subject};

/// The flags of `compare`.
#[derive(Debug, Args)]
#[group(skip)]
pub(super) struct CompareArgs {
    /// The PID of a process on this machine; the process may be in a container
    #[arg(value_name = "PID", value_parser = pid())]
    first: i32,
    /// The PID to compare it with; the default is the process that started `sandbox`
    #[arg(value_name = "PID", value_parser = pid())]
    second: Option<i32>,
    /// Show equal values too
    #[arg(long)]
    all: bool,
    /// Output format
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    format: Format,
}

fn pid() -> RangedI64ValueParser<i32> {
    RangedI64ValueParser::new().range(1..=i64::from(i32::MAX))
}

/// Compares two processes, and prints the result.
pub(super) fn run(color: Color, args: &CompareArgs) -> Result<u8> {
    decide(color, Stream::Out);
    // The caller's side is on the left, as in every view.
    let line = ["compare".to_owned(), args.first.to_string()]
        .into_iter()
        .chain(args.second.map(|pid| pid.to_string()));
    let line = line.collect::<Vec<_>>().join(" ");
    let (left, right) = match args.second {
        Some(second) => (Subject::open(args.first, &line)?, Subject::open(second, &line)?),
        None => (Subject::caller()?, Subject::open(args.first, &line)?),
    };
    let comparison = Comparison::of(left, right)?;
    match args.format {
        Format::Text => render::out(&compare_text::text_of(&comparison, args.all)),
        Format::Json => render::print_json(Stream::Out, &comparison),
    }
    Ok(0)
}
