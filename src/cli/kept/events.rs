//! `sandbox events`: what happens to containers, images, volumes and networks.

use std::time::Duration;

use clap::Args;
use serde_json::Value;

use super::{as_docker, no_template, print_now, read_time, unfilled};
use crate::cli::explain::ExplainArg;
use crate::container::events::{EVENTS, Event, EventReading};
use crate::container::filter::is_met;
use crate::container::store::ContainerStore;
use crate::error::{Error, Result};
use crate::host::{storage, zone};
use crate::render;
use crate::render::paint::{Color, Stream, decide};
use crate::render::template::OutputFormat;
use crate::text::{printed, text, text_with};
use crate::value::timestamp::Timestamp;

/// The interval at which the file is read again.
const PAUSE: Duration = Duration::from_millis(50);

/// The filters that have a meaning here.
const FILTERS: [&str; 8] = ["container", "event", "image", "label", "network", "scope", "type", "volume"];

/// The flags of `events`.
#[derive(Debug, Args)]
#[group(skip)]
pub(crate) struct EventsArgs {
    /// Begin with the events since then: a time such as 2026-11-29T09:45:11Z, or a length of time such as 10m
    #[arg(long, value_name = "TIME", value_parser = read_time)]
    since: Option<Timestamp>,
    /// End with the events until then; without it, the command goes on
    #[arg(long, value_name = "TIME", value_parser = read_time)]
    until: Option<Timestamp>,
    /// Print only events with this property: container, event, image, label, network, scope, type or volume (may be repeated)
    #[arg(long, short, value_name = "NAME=VALUE")]
    filter: Vec<String>,
    /// json: one object on each line; or a template of Go
    #[arg(long, value_name = "FORMAT", default_value = "")]
    format: String,
    #[command(flatten)]
    explain: ExplainArg,
}

/// Prints events.
pub(crate) fn run(color: Color, args: &EventsArgs) -> Result<u8> {
    decide(color, Stream::Err);
    let format =
        OutputFormat::parse_described(&args.format).map_err(|why| no_template(&args.format, &why))?;
    let format = match format {
        OutputFormat::Table | OutputFormat::Columns(_) if !args.format.is_empty() => {
            let what = text_with("container.format", &[("format", &args.format)]);
            return Err(Error::usage(what).why(text("container.events.format")));
        }
        format => format,
    };
    if let (Some(since), Some(until)) = (args.since, args.until)
        && until < since
    {
        let (since, until) = (since.seconds().to_string(), until.seconds().to_string());
        let values = [("since", &*since), ("until", &*until)];
        return Err(as_docker(Error::failed(text_with("container.events.order", &values))));
    }
    let filters =
        args.filter.iter().map(|filter| super::filter_of(filter, &FILTERS)).collect::<Result<Vec<_>>>()?;
    // HOME may not exist: the first event comes with the first container.
    let (store, _) = ContainerStore::make().map_err(as_docker)?;
    let file = printed(store.path().join(EVENTS));
    let explain = args.explain.explainer();
    explain.step(format!("read(<{file}>)  [every 50 ms]"), "container.explain.events");
    let cannot = |error: std::io::Error| {
        let what = text_with("container.events.unread", &[("path", &file)]);
        as_docker(storage::explain_io(Error::failed(what), &error, store.path()))
    };
    let Some(mut reader) = store.events(args.since.is_none() && args.until.is_none()).map_err(cannot)? else {
        return Ok(0);
    };
    loop {
        // Asked before the file is read: what happens until then is in it.
        let is_over = args.until.is_some_and(|until| Timestamp::now() > until);
        for reading in reader.read().map_err(cannot)? {
            let event = match reading {
                EventReading::Event(event) => event,
                EventReading::Damaged => {
                    notice("container.events.damaged");
                    continue;
                }
                EventReading::Missed => {
                    notice("container.events.missed");
                    continue;
                }
            };
            let moment = event.moment();
            let is_in = args.since.is_none_or(|since| moment >= since)
                && args.until.is_none_or(|until| moment <= until);
            if is_in && has_all(&event, &filters) && !print_now(&line(&event, &format)?) {
                return Ok(0);
            }
        }
        if is_over {
            return Ok(0);
        }
        std::thread::sleep(PAUSE);
    }
}

fn notice(key: &str) {
    render::note(&text(key));
}

/// An event as Docker prints it: `2026-11-29T09:45:11Z container start ID (image=host, name=web)`.
fn line(event: &Event, format: &OutputFormat) -> Result<String> {
    if matches!(format, OutputFormat::Table) {
        let attributes = event.actor.attributes.iter().map(|(key, value)| format!("{key}={value}"));
        let attributes = attributes.collect::<Vec<_>>().join(", ");
        let (action, moment) = (&event.action, event.moment().in_zone(&zone::local(event.moment())));
        return Ok(format!("{moment} {} {action} {} ({attributes})\n", event.kind, event.actor.id));
    }
    let value: Value = serde_json::to_value(event).unwrap_or_default();
    format.rows(&[], &[], &[value]).map_err(|why| unfilled(&why))
}

/// Whether an event has what the filters ask for.
fn has_all(event: &Event, filters: &[(&str, &str)]) -> bool {
    filters.iter().all(|(name, _)| {
        let values = filters.iter().filter(|(other, _)| name == other).map(|(_, value)| *value);
        is_met(name, values, |value| event.has(name, value))
    })
}
