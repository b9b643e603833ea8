//! `sandbox builder ACTION`: the cache of builds.

use clap::{Args, Subcommand};

use super::BuildArgs;
use crate::cli::explain::ExplainArg;
use crate::cli::image::{as_docker, in_use, own_maps};
use crate::cli::kept::read_time;
use crate::cli::output::confirms;
use crate::container::events::Event;
use crate::container::object_events::EventKind;
use crate::error::{Error, ExitKind, Result};
use crate::image::store::ImageStore;
use crate::render;
use crate::render::paint::{Color, Stream, decide};
use crate::text::{printed, text, text_with};
use crate::value::timestamp::Timestamp;
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
    /// For Docker's scripts: steps of images that exist are removed in any case
    #[arg(long, short)]
    all: bool,
    /// Remove only what was made before a time: until=24h (may be repeated)
    #[arg(long, value_name = "NAME=VALUE")]
    filter: Vec<String>,
    // Sizes by which Docker chooses what stays.
    #[arg(long, hide = true, value_name = "SIZE")]
    keep_storage: Option<String>,
    #[arg(long, hide = true, value_name = "SIZE")]
    reserved_space: Option<String>,
    #[arg(long, hide = true, value_name = "SIZE")]
    max_used_space: Option<String>,
    #[arg(long, hide = true, value_name = "SIZE")]
    min_free_space: Option<String>,
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
    for (flag, size) in [
        ("keep-storage", &args.keep_storage),
        ("reserved-space", &args.reserved_space),
        ("max-used-space", &args.max_used_space),
        ("min-free-space", &args.min_free_space),
    ] {
        // As with Docker, an empty value and 0 are none.
        if size.as_ref().is_some_and(|size| !["", "0"].contains(&&**size)) {
            let error = Error::usage(text_with("build.flag", &[("flag", flag)]));
            return Err(error.why(text("build.flag.space")));
        }
    }
    // With several times, the earliest one counts.
    let times: Result<Vec<Timestamp>> = args.filter.iter().map(|filter| time_of(filter)).collect();
    let before = times.map_err(as_docker)?.into_iter().min();
    if !args.force && !confirms(if before.is_some() { "build.prune.ask.some" } else { "build.prune.ask" }) {
        return Ok(0);
    }
    let store = ImageStore::open().map_err(as_docker)?;
    // If this is not known, nothing is removed, and the steps stay too.
    in_use().map_err(as_docker)?;
    let tell = args.explain.tell();
    tell(&"unlinkat(<images/cache>, ...)", "build.explain.forget");
    store.forget_steps(before).map_err(as_docker)?;
    store.forget_directories(own_maps().as_ref(), before).map_err(as_docker)?;
    tell(&"unlinkat(<blobs>, ...); unlinkat(<layers>, ...)", "image.explain.sweep");
    let freed = store.sweep(in_use).map_err(as_docker)?;
    if freed.is_postponed {
        render::note(&text("image.rmi.postponed"));
    }
    Event::note_prune(EventKind::Builder, freed.bytes);
    render::out(&(text_with("build.prune.space", &[("size", &human(freed.bytes))]) + "\n"));
    Ok(0)
}

/// The time of a filter: what was made before it is removed.
fn time_of(filter: &str) -> Result<Timestamp> {
    let wrong =
        || Error::new(ExitKind::Refused, text_with("build.prune.filter", &[("filter", &printed(filter))]));
    match filter.split_once('=').ok_or_else(wrong)? {
        // Docker's older and newer name for it.
        ("until" | "unused-for", written) => read_time(written).map_err(|why| wrong().why(why)),
        _ => Err(wrong()),
    }
}
