//! `sandbox inspect`: everything about a container, as JSON.

use clap::Args;

use super::{ExplainArg, Names, as_docker, find, tell_reading};
use crate::container::listing::inspected;
use crate::container::store::ContainerStore;
use crate::error::{Error, Result};
use crate::render;
use crate::render::paint::{Color, Stream, decide};
use crate::text::{text, text_with};

/// The flags of `inspect`.
#[derive(Debug, Args)]
#[group(skip)]
pub(crate) struct InspectArgs {
    /// json: the whole, which is the default
    #[arg(long, short, value_name = "FORMAT", default_value = "json")]
    format: String,
    #[command(flatten)]
    explain: ExplainArg,
    #[command(flatten)]
    names: Names,
}

/// Prints containers as a list of JSON.
pub(crate) fn run(color: Color, args: &InspectArgs) -> Result<u8> {
    decide(color, Stream::Err);
    if args.format != "json" {
        let what = text_with("container.format", &[("format", &args.format)]);
        return Err(Error::usage(what).why(text("container.format.reason")));
    }
    let store = ContainerStore::open().map_err(as_docker)?;
    let (mut found, mut errors) = (Vec::new(), Vec::new());
    for name in &args.names.containers {
        match find(&store, name) {
            Ok(container) => {
                tell_reading(args.explain.explainer(), &container);
                found.push(inspected(&container));
            }
            Err(error) => errors.push(error),
        }
    }
    render::print_json(Stream::Out, &found);
    errors.iter().for_each(|error| render::err(&render::error::text(error)));
    Ok(u8::from(!errors.is_empty()))
}
