//! `sandbox images`: the images of the store.

use std::collections::{BTreeMap, BTreeSet};

use clap::Args;
use serde::Serialize;
use serde_json::Value;

use super::super::kept::{format_or_raw, read_time, unfilled};
use super::as_docker;
use crate::cli::explain::ExplainArg;
use crate::error::{Error, ExitKind, Result};
use crate::host::zone;
use crate::image::digest::Digest;
use crate::image::manifest::read_json;
use crate::image::pattern::NamePattern;
use crate::image::reference::Reference;
use crate::image::store::{ImageStore, StoredImage};
use crate::render;
use crate::render::paint::{Color, Stream, decide};
use crate::text::{printed, text_with};
use crate::value::timestamp::{Timestamp, in_words};
use crate::value::units::human;

/// The flags of `images`.
#[derive(Debug, Args)]
#[group(skip)]
pub(crate) struct ImagesArgs {
    /// Only the images with this name, with all tags or with this one
    #[arg(value_name = "REPOSITORY[:TAG]")]
    repository: Option<String>,
    /// Show also the images of the steps of builds
    #[arg(long, short)]
    all: bool,
    /// Show the digests of the manifests
    #[arg(long)]
    digests: bool,
    /// Print only IDs
    #[arg(long, short)]
    quiet: bool,
    /// Cut no value off
    #[arg(long)]
    no_trunc: bool,
    /// Show only images with this property: dangling, label, reference, before, since or until (may be repeated)
    #[arg(long, short, value_name = "NAME=VALUE")]
    filter: Vec<String>,
    /// table, json (one object on each line), table TEMPLATE, or a template of Go
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    format: String,
    #[command(flatten)]
    explain: ExplainArg,
}

/// A line of `images`. The names are those of `docker images --format json`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ImageRow {
    containers: &'static str,
    created_at: String,
    created_since: String,
    digest: String,
    #[serde(rename = "ID")]
    id: String,
    repository: String,
    shared_size: &'static str,
    size: String,
    tag: String,
    unique_size: &'static str,
}

/// The fields of the table, and those with `--digests`.
const COLUMNS: [&str; 5] = ["Repository", "Tag", "ID", "CreatedSince", "Size"];
const DIGEST_COLUMNS: [&str; 6] = ["Repository", "Tag", "Digest", "ID", "CreatedSince", "Size"];

/// The titles of the fields.
pub(crate) const TITLES: [(&str, &str); 10] = [
    ("Containers", "CONTAINERS"),
    ("CreatedAt", "CREATED AT"),
    ("CreatedSince", "CREATED"),
    ("Digest", "DIGEST"),
    ("ID", "IMAGE ID"),
    ("Repository", "REPOSITORY"),
    ("SharedSize", "SHARED SIZE"),
    ("Size", "SIZE"),
    ("Tag", "TAG"),
    ("UniqueSize", "UNIQUE SIZE"),
];

/// What `raw` prints for each image, with `--digests` in its middle, and with `--quiet`.
const RAW: [&str; 2] = [
    "repository: {{.Repository}}\ntag: {{.Tag}}\n",
    "image_id: {{.ID}}\ncreated_at: {{.CreatedAt}}\nvirtual_size: {{.Size}}\n",
];
const RAW_DIGEST: &str = "digest: {{.Digest}}\n";
const RAW_ID: &str = "image_id: {{.ID}}";

/// What Docker prints where an image lacks something.
const NONE: &str = "<none>";

/// Prints the images.
pub(crate) fn run(color: Color, args: &ImagesArgs) -> Result<u8> {
    decide(color, Stream::Err);
    let raw = match (args.quiet, args.digests) {
        (true, _) => RAW_ID.to_owned(),
        (false, true) => RAW[0].to_owned() + RAW_DIGEST + RAW[1],
        (false, false) => RAW.concat(),
    };
    let format = format_or_raw(&args.format, &raw)?;
    let store = ImageStore::open().map_err(as_docker)?;
    let index = printed(store.path().join("index.json"));
    args.explain.tell()(&format!("read(<{index}>)"), "image.explain.list");
    let mut images = store.all().map_err(as_docker)?;
    if args.all {
        let known: BTreeSet<Digest> = images.iter().map(|image| image.id.clone()).collect();
        let steps = store.cached_steps().map_err(as_docker)?.into_iter().map(|step| step.image);
        images.extend(steps.filter(|image| !known.contains(&image.id)));
    }
    images.sort_by_key(|image| std::cmp::Reverse(created(image)));
    if let Some(pattern) = &args.repository {
        keep_named(&mut images, &[NamePattern::new(pattern).map_err(as_docker)?]);
    }
    filter(&store, &mut images, &args.filter).map_err(as_docker)?;
    let now = Timestamp::now();
    let rows: Vec<ImageRow> = images.iter().map(|image| row(image, now, args.no_trunc)).collect();
    if args.quiet && args.format != "raw" {
        render::out(&rows.into_iter().map(|row| row.id + "\n").collect::<String>());
        return Ok(0);
    }
    let rows: Vec<Value> = rows.iter().map(|row| serde_json::to_value(row).unwrap_or_default()).collect();
    let own: &[&str] = if args.digests { &DIGEST_COLUMNS } else { &COLUMNS };
    render::out(&format.rows(&TITLES, own, &rows).map_err(|why| unfilled(&why))?);
    Ok(0)
}

/// When an image was made.
pub(crate) fn created(image: &StoredImage) -> Option<Timestamp> {
    image.created.as_ref().and_then(|created| created.parse().ok())
}

/// The row of an image.
pub(crate) fn row(image: &StoredImage, now: Timestamp, is_whole: bool) -> ImageRow {
    let name = image.name.as_ref();
    let none = || NONE.to_owned();
    let created = created(image);
    ImageRow {
        containers: "N/A",
        shared_size: "N/A",
        unique_size: "N/A",
        repository: name.map_or_else(none, Reference::familiar_name),
        tag: name.and_then(|name| name.tag.clone()).unwrap_or_else(none),
        digest: image.registry_digest().map_or_else(none, |digest| digest.to_string()),
        id: if is_whole { image.id.to_string() } else { image.id.short().to_owned() },
        created_since: created.map_or_else(|| "N/A".to_owned(), |at| in_words(at.until(now)) + " ago"),
        created_at: created.map_or_else(|| "N/A".to_owned(), |at| at.in_a_list(&zone::local(at))),
        size: human(image.size),
    }
}

/// Keeps the images of which the name fits one of the patterns.
fn keep_named(images: &mut Vec<StoredImage>, patterns: &[NamePattern]) {
    let is_named = |name: &Reference| patterns.iter().any(|pattern| pattern.fits(name));
    images.retain(|image| image.name.as_ref().is_some_and(is_named));
}

/// Keeps the images that have all these properties. As in Docker, one of several references is enough.
pub(super) fn filter(store: &ImageStore, images: &mut Vec<StoredImage>, filters: &[String]) -> Result<()> {
    let mut patterns = Vec::new();
    for filter in filters {
        let wrong =
            || Error::new(ExitKind::Refused, text_with("image.filter", &[("filter", &printed(filter))]));
        match filter.split_once('=').ok_or_else(wrong)? {
            ("dangling", "true" | "1") => images.retain(|image| image.name.is_none()),
            ("dangling", "false" | "0") => images.retain(|image| image.name.is_some()),
            ("reference", pattern) => patterns.push(NamePattern::new(pattern)?),
            ("before", other) => {
                let other = created(&store.find(other)?);
                images.retain(|image| created(image) < other);
            }
            ("since", other) => {
                let other = created(&store.find(other)?);
                images.retain(|image| created(image) > other);
            }
            ("until", written) => {
                let until = read_time(written).map_err(|why| wrong().why(why))?;
                images.retain(|image| created(image).is_none_or(|created| created < until));
            }
            (of @ ("label" | "label!"), label) => {
                let wanted = of == "label";
                let (key, value) =
                    label.split_once('=').map_or((label, None), |(key, value)| (key, Some(value)));
                let mut with_label = Vec::new();
                for image in images.drain(..) {
                    let has = |own: &String| value.is_none_or(|value| own == value);
                    if labels(store, &image)?.get(key).is_some_and(has) == wanted {
                        with_label.push(image);
                    }
                }
                *images = with_label;
            }
            _ => return Err(wrong()),
        }
    }
    if !patterns.is_empty() {
        keep_named(images, &patterns);
    }
    Ok(())
}

/// The labels in the config of an image.
fn labels(store: &ImageStore, image: &StoredImage) -> Result<BTreeMap<String, String>> {
    let config: Value = read_json(&store.document(&image.id)?, &image.id.to_string())?;
    let labels = config.pointer("/config/Labels").cloned().unwrap_or_default();
    Ok(serde_json::from_value(labels).unwrap_or_default())
}
