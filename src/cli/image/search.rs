//! `sandbox search`: images in the index of Docker Hub.

use clap::Args;
use serde_json::{Value, json};

use super::as_docker;
use super::pull::RegistryArgs;
use crate::cli::explain::ExplainArg;
use crate::cli::kept::{format_of, unfilled};
use crate::error::{Error, ExitKind, Result};
use crate::image::registry::search::{FoundRepository, search};
use crate::render;
use crate::render::paint::{Color, Stream, decide};
use crate::text::{printed, text_with};

/// The flags of `search`.
#[derive(Debug, Args)]
#[group(skip)]
pub(crate) struct SearchArgs {
    /// What to search for: TERM, or HOST[:PORT]/TERM
    #[arg(value_name = "TERM")]
    term: String,
    /// The maximum number of results
    #[arg(long, value_name = "COUNT", default_value = "25", value_parser = clap::value_parser!(u8).range(1..=100))]
    limit: u8,
    /// Show only what has this property: is-official, is-automated or stars (may be repeated)
    #[arg(long, short, value_name = "NAME=VALUE")]
    filter: Vec<String>,
    /// Do not truncate descriptions
    #[arg(long)]
    no_trunc: bool,
    /// table, json, or a template such as '{{.Name}}'
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    format: String,
    #[command(flatten)]
    registry: RegistryArgs,
    #[command(flatten)]
    explain: ExplainArg,
}

/// The columns, and their titles.
const COLUMNS: [&str; 4] = ["Name", "Description", "StarCount", "IsOfficial"];
const TITLES: [(&str, &str); 5] = [
    ("Name", "NAME"),
    ("Description", "DESCRIPTION"),
    ("StarCount", "STARS"),
    ("IsOfficial", "OFFICIAL"),
    ("IsAutomated", "AUTOMATED"),
];

/// The number of characters of a description.
const WIDTH: usize = 45;

/// Prints what is found.
pub(crate) fn run(color: Color, args: &SearchArgs) -> Result<u8> {
    decide(color, Stream::Err);
    let format = format_of(&args.format)?;
    let filters = args.filter.iter().map(|filter| read_filter(filter)).collect::<Result<Vec<_>>>()?;
    let found = search(&args.term, args.limit.into(), &args.registry.options(), &args.explain.tell());
    let mut found = found.map_err(as_docker)?;
    found.retain(|one| filters.iter().all(|filter| filter(one)));
    let rows: Vec<Value> = found.iter().map(|one| row(one, args.no_trunc)).collect();
    render::out(&format.rows(&TITLES, &COLUMNS, &rows).map_err(|why| unfilled(&why))?);
    Ok(0)
}

fn row(found: &FoundRepository, is_whole: bool) -> Value {
    let description = printed(found.description.split_whitespace().collect::<Vec<_>>().join(" "));
    let description = match is_whole || description.chars().count() <= WIDTH {
        true => description,
        false => description.chars().take(WIDTH - 1).chain(['…']).collect(),
    };
    let mark = |is: bool| if is { "[OK]" } else { "" };
    json!({
        "Name": printed(&found.name),
        "Description": description,
        "StarCount": found.star_count.to_string(),
        "IsOfficial": mark(found.is_official),
        "IsAutomated": mark(found.is_automated),
    })
}

type Filter = Box<dyn Fn(&FoundRepository) -> bool>;

fn read_filter(filter: &str) -> Result<Filter> {
    let wrong = || {
        let what = text_with("image.search.filter", &[("filter", &printed(filter))]);
        Error::new(ExitKind::Refused, what)
    };
    let truth = |value: &str| match value {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => Err(wrong()),
    };
    match filter.split_once('=').ok_or_else(wrong)? {
        ("is-official", value) => {
            let wanted = truth(value)?;
            Ok(Box::new(move |found| found.is_official == wanted))
        }
        ("is-automated", value) => {
            let wanted = truth(value)?;
            Ok(Box::new(move |found| found.is_automated == wanted))
        }
        ("stars", count) => {
            let least: u64 = count.parse().map_err(|_| wrong())?;
            Ok(Box::new(move |found| found.star_count >= least))
        }
        _ => Err(wrong()),
    }
}
