//! `sandbox ps`: the kept containers.

use clap::Args;
use serde_json::Value;

use super::{as_docker, filter_of, format_or_raw, tell_reading, unfilled};
use crate::cli::explain::ExplainArg;
use crate::container::filter;
use crate::container::listing::ContainerRow;
use crate::container::store::{ContainerStore, KeptContainer};
use crate::error::{Error, Result};
use crate::render;
use crate::render::paint::{Color, Stream, decide};
use crate::render::template::OutputFormat;
use crate::text::{printed, text_with};
use crate::value::timestamp::Timestamp;

/// The fields of the table. The last one is shown with -s.
const COLUMNS: [&str; 8] = ["ID", "Image", "Command", "RunningFor", "Status", "Ports", "Names", "Size"];

/// The titles of the fields.
pub(crate) const TITLES: [(&str, &str); 16] = [
    ("Command", "COMMAND"),
    ("CreatedAt", "CREATED AT"),
    ("HealthStatus", "HEALTH STATUS"),
    ("ID", "CONTAINER ID"),
    ("Image", "IMAGE"),
    ("Labels", "LABELS"),
    ("LocalVolumes", "LOCAL VOLUMES"),
    ("Mounts", "MOUNTS"),
    ("Names", "NAMES"),
    ("Networks", "NETWORKS"),
    ("Platform", "PLATFORM"),
    ("Ports", "PORTS"),
    ("RunningFor", "CREATED"),
    ("Size", "SIZE"),
    ("State", "STATE"),
    ("Status", "STATUS"),
];

/// What `raw` prints for each container, with `--size` at its end, and with `--quiet`.
const RAW: &str = "container_id: {{.ID}}\nimage: {{.Image}}\ncommand: {{.Command}}\ncreated_at: {{.CreatedAt}}\n\
                   state: {{.State}}\nstatus: {{.Status}}\nnames: {{.Names}}\nlabels: {{.Labels}}\n\
                   ports: {{.Ports}}\n";
const RAW_SIZE: &str = "size: {{.Size}}\n";
const RAW_ID: &str = "container_id: {{.ID}}";

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
    #[arg(long, short = 'n', value_name = "N", allow_hyphen_values = true)]
    last: Option<i64>,
    /// Show the last container that was created, whatever it does
    #[arg(long, short)]
    latest: bool,
    /// Show how much each container has written, and the size of all its files
    #[arg(long, short)]
    size: bool,
    /// Cut no value off
    #[arg(long)]
    no_trunc: bool,
    /// Show only containers with this property: id, name, status, exited, ancestor, before, since, network, publish,
    /// expose, label, volume, health or is-task (may be repeated)
    #[arg(long, short, value_name = "NAME=VALUE")]
    filter: Vec<String>,
    /// table, json (one object on each line), table TEMPLATE, or a template of Go
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    format: String,
    #[command(flatten)]
    explain: ExplainArg,
}

/// Prints the containers.
pub(crate) fn run(color: Color, args: &PsArgs) -> Result<u8> {
    decide(color, Stream::Err);
    let raw = if args.size { RAW.to_owned() + RAW_SIZE } else { RAW.to_owned() };
    let format = format_or_raw(&args.format, if args.quiet { RAW_ID } else { &raw })?;
    let filters =
        args.filter.iter().map(|filter| filter_of(filter, &filter::FILTERS)).collect::<Result<Vec<_>>>()?;
    if let Some((name, value)) = filters.iter().find(|(name, value)| !filter::is_filter(name, value)) {
        let filter = format!("{name}={value}");
        return Err(as_docker(Error::failed(text_with("container.filter", &[("filter", &filter)]))));
    }
    let store = ContainerStore::open().map_err(as_docker)?;
    let explain = args.explain.explainer();
    let directory = printed(store.path().join("containers"));
    explain.step(format!("getdents64(<{directory}>)"), "container.explain.list");
    let (mut all, unread) = store.all().map_err(as_docker)?;
    all.iter().for_each(|container| tell_reading(explain, container));
    // As in Docker, a negative number asks for nothing.
    let last = args.last.and_then(|last| usize::try_from(last).ok()).filter(|last| *last > 0);
    let last = if args.latest { Some(1) } else { last };
    let has_status = filters.iter().any(|(name, _)| *name == "status");
    if !args.all && last.is_none() && !has_status {
        all.retain(|container| container.state.status.is_active());
    }
    let mut all = filter::filtered(&store, all, &filters).map_err(as_docker)?;
    all.truncate(last.unwrap_or(usize::MAX));
    print(&all, args, &format)?;
    for unread in &unread {
        render::err(&render::error::text(&unread.error));
    }
    Ok(0)
}

fn print(all: &[KeptContainer], args: &PsArgs, format: &OutputFormat) -> Result<()> {
    let now = Timestamp::now();
    // The size takes time: all files are looked at.
    let wants_size = args.size || args.format.contains(".Size");
    let rows = all.iter().map(|container| match ContainerRow::of(container, now, args.no_trunc) {
        row if wants_size => row.with_size(container),
        row => row,
    });
    if args.quiet && args.format != "raw" {
        render::out(&rows.map(|row| row.id + "\n").collect::<String>());
        return Ok(());
    }
    let rows: Vec<Value> = rows.map(|row| serde_json::to_value(row).unwrap_or_default()).collect();
    let columns = if args.size { &COLUMNS[..] } else { &COLUMNS[..COLUMNS.len() - 1] };
    render::out(&format.rows(&TITLES, columns, &rows).map_err(|why| unfilled(&why))?);
    Ok(())
}
