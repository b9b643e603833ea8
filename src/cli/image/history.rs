//! `sandbox history`: how an image was made.

use clap::Args;
use serde::Serialize;
use serde_json::Value;

use super::super::kept::{format_of, unfilled};
use super::as_docker;
use crate::cli::explain::ExplainArg;
use crate::error::Result;
use crate::host::zone;
use crate::image::history::{self, ImageStep};
use crate::image::store::{ImageStore, StoredImage};
use crate::render;
use crate::render::paint::{Color, Stream, decide};
use crate::text::printed;
use crate::value::timestamp::{Timestamp, in_words};
use crate::value::units::human;

/// The flags of `history`.
#[derive(Debug, Args)]
#[group(skip)]
pub(crate) struct HistoryArgs {
    /// The image: a name, an ID, or the beginning of an ID
    #[arg(value_name = "IMAGE")]
    image: String,
    /// Whether sizes and times are written for people: true, or false for bytes and dates
    #[arg(long, short = 'H', value_name = "true|false", num_args = 0..=1, require_equals = true, default_value = "true", default_missing_value = "true", action = clap::ArgAction::Set)]
    human: bool,
    /// Cut no value off
    #[arg(long)]
    no_trunc: bool,
    /// Print only IDs
    #[arg(long, short)]
    quiet: bool,
    /// table, json (one object on each line), table TEMPLATE, or a template of Go
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    format: String,
    #[command(flatten)]
    explain: ExplainArg,
}

/// A line of `history`. The names are those of `docker history --format json`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct HistoryRow {
    #[serde(rename = "ID")]
    id: String,
    created_since: String,
    created_at: String,
    created_by: String,
    size: String,
    comment: String,
}

/// The fields of the table.
const COLUMNS: [&str; 5] = ["ID", "CreatedSince", "CreatedBy", "Size", "Comment"];

/// The same, where nothing is written for people.
const EXACT_COLUMNS: [&str; 5] = ["ID", "CreatedAt", "CreatedBy", "Size", "Comment"];

/// The titles of the fields.
const TITLES: [(&str, &str); 6] = [
    ("Comment", "COMMENT"),
    ("CreatedAt", "CREATED AT"),
    ("CreatedBy", "CREATED BY"),
    ("CreatedSince", "CREATED"),
    ("ID", "IMAGE"),
    ("Size", "SIZE"),
];

/// The number of characters of a command.
const COMMAND_WIDTH: usize = 45;

/// Prints the steps, the last one first.
pub(crate) fn run(color: Color, args: &HistoryArgs) -> Result<u8> {
    decide(color, Stream::Err);
    let format = format_of(&args.format)?;
    let store = ImageStore::open().map_err(as_docker)?;
    let image = store.find(&args.image).map_err(as_docker)?;
    let call = format!("read(<blobs/sha256/{}>); ...", image.descriptor.digest.hex());
    args.explain.tell()(&call, "image.explain.documents");
    let mut steps = history::steps(&store, &image).map_err(as_docker)?;
    steps.reverse();
    let rows: Vec<HistoryRow> =
        steps.iter().enumerate().map(|(at, step)| row(&image, at == 0, step, args)).collect();
    if args.quiet {
        render::out(&rows.into_iter().map(|row| row.id + "\n").collect::<String>());
        return Ok(0);
    }
    let columns = if args.human { &COLUMNS } else { &EXACT_COLUMNS };
    let rows: Vec<Value> = rows.iter().map(|row| serde_json::to_value(row).unwrap_or_default()).collect();
    render::out(&format.rows(&TITLES, columns, &rows).map_err(|why| unfilled(&why))?);
    Ok(0)
}

fn row(
    image: &StoredImage,
    is_last: bool,
    ImageStep { step, layer }: &ImageStep,
    args: &HistoryArgs,
) -> HistoryRow {
    let is_whole = args.no_trunc;
    let created: Option<Timestamp> = step.created.as_ref().and_then(|created| created.parse().ok());
    let created = created.map(Timestamp::of_second);
    let command = printed(&step.created_by);
    let cut = !is_whole && command.chars().count() > COMMAND_WIDTH;
    let created_by = match cut {
        true => command.chars().take(COMMAND_WIDTH - 1).chain(['…']).collect(),
        false => command,
    };
    let id = match is_last {
        true if is_whole => image.id.to_string(),
        true => image.id.short().to_owned(),
        // Only builders that keep an image for each step could name it.
        false => "<missing>".to_owned(),
    };
    let since = |at: Timestamp| match args.human {
        true => in_words(at.until(Timestamp::now())) + " ago",
        false => at.to_string(),
    };
    let size = layer.as_ref().and_then(|layer| layer.size).unwrap_or_default();
    HistoryRow {
        id,
        created_since: created.map_or_else(|| "N/A".to_owned(), since),
        created_at: created
            .map_or_else(|| "N/A".to_owned(), |at| at.in_zone(&zone::local(at)).replace(".000000000", "")),
        created_by,
        size: if args.human { human(size) } else { size.to_string() },
        comment: printed(&step.comment),
    }
}
