//! `sandbox builder ACTION`: the cache of builds.

use clap::{Args, Subcommand};

use super::BuildArgs;
use crate::cli::explain::ExplainArg;
use crate::cli::image::{as_docker, in_use, own_maps};
use crate::cli::output::confirms;
use crate::error::Result;
use crate::image::store::ImageStore;
use crate::render;
use crate::render::paint::{Color, Stream, decide};
use crate::text::{text, text_with};
use crate::value::units::human;

/// What `builder` does.
#[derive(Debug, Args)]
#[group(skip)]
pub(in crate::cli) struct BuilderArgs {
    #[command(subcommand)]
    action: BuilderAction,
}

#[derive(Debug, Subcommand)]
enum BuilderAction {
    /// Build an image, as `sandbox build`
    Build(Box<BuildArgs>),
    /// Remove what builds keep to be faster the next time
    Prune(BuilderPruneArgs),
}

/// The flags of `builder prune`.
#[derive(Debug, Args)]
#[group(skip)]
struct BuilderPruneArgs {
    /// For Docker's scripts: the whole cache is removed in any case
    #[arg(long, short)]
    all: bool,
    /// Do not ask
    #[arg(long, short)]
    force: bool,
    #[command(flatten)]
    explain: ExplainArg,
}

/// Performs the action.
pub(in crate::cli) fn run(color: Color, args: &BuilderArgs) -> Result<u8> {
    match &args.action {
        BuilderAction::Build(args) => super::run(color, args),
        BuilderAction::Prune(args) => prune(color, args),
    }
}

fn prune(color: Color, args: &BuilderPruneArgs) -> Result<u8> {
    decide(color, Stream::Err);
    if !args.force && !confirms("build.prune.ask") {
        return Ok(0);
    }
    let store = ImageStore::open().map_err(as_docker)?;
    let tell = args.explain.tell();
    tell(&"unlinkat(<images/cache>, ...)", "build.explain.forget");
    store.forget_steps().map_err(as_docker)?;
    store.forget_directories(own_maps().as_ref()).map_err(as_docker)?;
    tell(&"unlinkat(<blobs>, ...); unlinkat(<layers>, ...)", "image.explain.sweep");
    let freed = store.sweep(in_use).map_err(as_docker)?;
    if freed.is_postponed {
        render::err(&format!("sandbox: {}\n", text("image.rmi.postponed")));
    }
    render::out(&(text_with("build.prune.space", &[("size", &human(freed.bytes))]) + "\n"));
    Ok(0)
}
