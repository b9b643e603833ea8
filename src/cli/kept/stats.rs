//! `sandbox stats`: what running containers use.

use std::ffi::OsString;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::Value;

use super::{as_docker, find, format_of, print_now, tell_reading, unfilled};
use crate::cli::explain::ExplainArg;
use crate::container::stats::StatsRow;
use crate::container::store::{ContainerStore, KeptContainer};
use crate::container::usage::Usage;
use crate::error::Result;
use crate::render;
use crate::render::live::Live;
use crate::render::paint::{self, Color, Stream, decide};
use crate::render::template::OutputFormat;
use crate::text::{printed, text_with};

/// The time between two readings: the CPU time of a container is what it has used meanwhile.
const INTERVAL: Duration = Duration::from_secs(1);

/// The fields of the table.
const COLUMNS: [&str; 8] = ["ID", "Name", "CPUPerc", "MemUsage", "MemPerc", "NetIO", "BlockIO", "PIDs"];

/// The titles of the fields.
const TITLES: [(&str, &str); 9] = [
    ("BlockIO", "BLOCK I/O"),
    ("CPUPerc", "CPU %"),
    ("Container", "CONTAINER"),
    ("ID", "CONTAINER ID"),
    ("MemPerc", "MEM %"),
    ("MemUsage", "MEM USAGE / LIMIT"),
    ("Name", "NAME"),
    ("NetIO", "NET I/O"),
    ("PIDs", "PIDS"),
];

/// The flags of `stats`.
#[derive(Debug, Args)]
#[group(skip)]
pub(crate) struct StatsArgs {
    /// Show all containers. Without it, only those that run
    #[arg(long, short)]
    all: bool,
    /// Print once, and end
    #[arg(long)]
    no_stream: bool,
    /// Cut no value off
    #[arg(long)]
    no_trunc: bool,
    /// table, json (one object on each line), table TEMPLATE, or a template of Go
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    format: String,
    #[command(flatten)]
    explain: ExplainArg,
    /// The containers: names, IDs, or beginnings of IDs; without any, all that run
    #[arg(value_name = "CONTAINER")]
    containers: Vec<OsString>,
}

/// Prints what containers use, each second again.
pub(crate) fn run(color: Color, args: &StatsArgs) -> Result<u8> {
    decide(color, Stream::Err);
    let format = format_of(&args.format)?;
    let store = ContainerStore::open().map_err(as_docker)?;
    let explain = args.explain.explainer();
    let first = chosen(&store, args)?;
    for container in &first {
        tell_reading(explain, container);
        explain
            .step("read(<cpu>/…); read(<memory>/…); read(<io>/…); read(<pids>/…)", "container.explain.usage");
        if Usage::of(container).is_summed {
            explain
                .step("read(</proc/PID/stat>); read(</proc/PID/smaps_rollup>)", "container.explain.summed");
            let values = [("name", container.shown_name())];
            render::note(&text_with("container.stats.summed", &values));
        }
        explain.step("read(</proc/PID/net/dev>)", "container.explain.traffic");
    }
    let is_live = std::io::stdout().is_terminal() && matches!(format, OutputFormat::Table);
    let mut live = Live::new(is_live, Stream::Out);
    let usages =
        |all: Vec<KeptContainer>| all.into_iter().map(|one| (Usage::of(&one), one)).collect::<Vec<_>>();
    let mut before = (Instant::now(), usages(first));
    loop {
        std::thread::sleep(INTERVAL.saturating_sub(before.0.elapsed()));
        let now = (Instant::now(), usages(chosen(&store, args)?));
        let elapsed = now.0.duration_since(before.0);
        let row = |(usage, container): &(Usage, KeptContainer)| {
            let former = before.1.iter().find(|(_, other)| other.record.id == container.record.id);
            let former = former.map_or(usage, |(usage, _)| usage);
            let row = StatsRow::of(container, former, usage, elapsed, args.no_trunc);
            serde_json::to_value(row).unwrap_or_default()
        };
        let mut rows: Vec<Value> = now.1.iter().map(row).collect();
        for (row, name) in rows.iter_mut().zip(&args.containers) {
            row["Container"] = printed(name).into();
        }
        let printed = format.rows(&TITLES, &COLUMNS, &rows).map_err(|why| unfilled(&why))?;
        match is_live && !args.no_stream {
            // A line that wraps could not be redrawn.
            true => live.draw(&printed.lines().map(|line| paint::cut(line, columns())).collect::<Vec<_>>()),
            false if !print_now(&printed) => return Ok(0),
            false => {}
        }
        if args.no_stream {
            return Ok(0);
        }
        before = now;
    }
}

/// The width of the terminal.
fn columns() -> usize {
    let size = rustix::termios::tcgetwinsize(std::io::stdout());
    size.map_or(80, |size| usize::from(size.ws_col)).max(20)
}

/// The containers that are named, or those that run.
fn chosen(store: &ContainerStore, args: &StatsArgs) -> Result<Vec<KeptContainer>> {
    if !args.containers.is_empty() {
        return args.containers.iter().map(|name| find(store, name)).collect();
    }
    let (mut all, _) = store.all().map_err(as_docker)?;
    all.retain(|container| args.all || container.state.status.is_active());
    Ok(all)
}
