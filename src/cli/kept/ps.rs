//! `sandbox ps`: the kept containers.

use clap::Args;

use super::{ExplainArg, as_docker, tell_reading};
use crate::container::listing::{self, ContainerRow};
use crate::container::store::{ContainerStore, KeptContainer};
use crate::error::{Error, Result};
use crate::render;
use crate::render::columns::table;
use crate::render::paint::{Color, Stream, decide};
use crate::text::{printed, text, text_with};
use crate::value::timestamp::Timestamp;

/// The flags of `ps`.
#[derive(Debug, Args)]
#[group(skip)]
pub(crate) struct PsArgs {
    /// Show all containers. Without it, only those that run
    #[arg(long, short)]
    all: bool,
    /// Print only IDs
    #[arg(long, short)]
    quiet: bool,
    /// Show the last N containers that were created, whatever they do
    #[arg(long, short = 'n', value_name = "N")]
    last: Option<usize>,
    /// Show the last container that was created, whatever it does
    #[arg(long, short)]
    latest: bool,
    /// Cut no value off
    #[arg(long)]
    no_trunc: bool,
    /// Show only containers with this property: id, name, status, exited, ancestor or publish (may be repeated)
    #[arg(long, short, value_name = "NAME=VALUE")]
    filter: Vec<String>,
    /// table, or json: one object on each line
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    format: String,
    #[command(flatten)]
    explain: ExplainArg,
}

/// Prints the containers.
pub(crate) fn run(color: Color, args: &PsArgs) -> Result<u8> {
    decide(color, Stream::Err);
    let is_json = match args.format.as_str() {
        "json" => true,
        "table" | "" => false,
        other => {
            let what = text_with("container.format", &[("format", other)]);
            return Err(Error::usage(what).why(text("container.format.reason")));
        }
    };
    let filters = args.filter.iter().map(|filter| filter_of(filter)).collect::<Result<Vec<_>>>()?;
    let store = ContainerStore::open().map_err(as_docker)?;
    let explain = args.explain.explainer();
    let directory = printed(store.path().join("containers"));
    explain.step(format!("getdents64(<{directory}>)"), "container.explain.list");
    let (mut all, unread) = store.all().map_err(as_docker)?;
    all.iter().for_each(|container| tell_reading(explain, container));
    let last = if args.latest { Some(1) } else { args.last };
    let has_status = filters.iter().any(|(name, _)| ["status", "exited"].contains(name));
    if !args.all && last.is_none() && !has_status {
        all.retain(|container| container.state.status.is_active());
    }
    // Values of one name are alternatives, as in Docker.
    all.retain(|container| {
        let is_met = |name: &str, value: &str| listing::has(container, name, value).unwrap_or(false);
        filters
            .iter()
            .all(|(name, _)| filters.iter().any(|(other, value)| name == other && is_met(other, value)))
    });
    all.truncate(last.unwrap_or(usize::MAX));
    print(&all, args, is_json);
    for unread in &unread {
        render::err(&render::error::text(&unread.error));
    }
    Ok(0)
}

fn print(all: &[KeptContainer], args: &PsArgs, is_json: bool) {
    let now = Timestamp::now();
    let rows = all.iter().map(|container| ContainerRow::of(container, now, args.no_trunc));
    if args.quiet {
        return render::out(&rows.map(|row| row.id + "\n").collect::<String>());
    }
    if is_json {
        let lines = rows.map(|row| serde_json::to_string(&row).unwrap_or_default() + "\n");
        return render::out(&lines.collect::<String>());
    }
    let titles = ["CONTAINER ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "PORTS", "NAMES"];
    let row = |row: ContainerRow| {
        vec![row.id, row.image, row.command, row.running_for, row.status, row.ports, row.names]
    };
    render::out(&table(&titles, &rows.map(row).collect::<Vec<_>>()));
}

fn filter_of(filter: &str) -> Result<(&str, &str)> {
    const KNOWN: [&str; 6] = ["id", "name", "status", "exited", "ancestor", "publish"];
    match filter.split_once('=') {
        Some((name, value)) if KNOWN.contains(&name) => Ok((name, value)),
        _ => Err(as_docker(Error::failed(text_with("container.filter", &[("filter", filter)])))),
    }
}
