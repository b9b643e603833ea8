//! `sandbox system df`: how much space images, containers and volumes take.

mod verbose;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use clap::{Args, Subcommand};
use serde::Serialize;
use serde_json::Value;

use super::image::as_docker;
use super::image::prune::is_from;
use super::kept::{format_or_raw, unfilled};
use crate::cli::explain::ExplainArg;
use crate::container::store::ContainerStore;
use crate::container::volumes::VolumeStore;
use crate::error::Result;
use crate::image::history;
use crate::image::store::{ImageStore, StoredImage};
use crate::render;
use crate::render::paint::{Color, Stream, decide};
use crate::value::units::human;

/// What `system` does.
#[derive(Debug, Args)]
#[group(skip)]
pub(crate) struct SystemArgs {
    #[command(subcommand)]
    action: SystemAction,
}

#[derive(Debug, Subcommand)]
enum SystemAction {
    /// Print how much space images, containers and volumes take, and how much can be freed
    Df(DfArgs),
}

/// The flags of `system df`.
#[derive(Debug, Args)]
#[group(skip)]
struct DfArgs {
    /// Show each image, container and volume
    #[arg(long, short)]
    verbose: bool,
    /// table, json (one object on each line), table TEMPLATE, or a template of Go
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    format: String,
    #[command(flatten)]
    explain: ExplainArg,
}

/// A line of `system df`. The names are those of `docker system df --format json`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct SpaceRow {
    #[serde(rename = "Type")]
    kind: &'static str,
    total_count: String,
    active: String,
    size: String,
    reclaimable: String,
}

const COLUMNS: [&str; 5] = ["Type", "TotalCount", "Active", "Size", "Reclaimable"];

const TITLES: [(&str, &str); 5] = [
    ("Active", "ACTIVE"),
    ("Reclaimable", "RECLAIMABLE"),
    ("Size", "SIZE"),
    ("TotalCount", "TOTAL"),
    ("Type", "TYPE"),
];

/// What `raw` prints for each row.
const RAW: &str = "type: {{.Type}}\ntotal: {{.TotalCount}}\nactive: {{.Active}}\nsize: {{.Size}}\n\
                   reclaimable: {{.Reclaimable}}\n";

/// Prints the table.
pub(crate) fn run(color: Color, args: &SystemArgs) -> Result<u8> {
    let SystemAction::Df(args) = &args.action;
    decide(color, Stream::Err);
    if args.verbose {
        return verbose::run(args);
    }
    let format = format_or_raw(&args.format, RAW)?;
    let explain = &args.explain;
    let rows = [images(explain), containers(explain), volumes(explain), build_cache(explain)];
    let rows = rows.into_iter().collect::<Result<Vec<_>>>().map_err(as_docker)?;
    let rows: Vec<Value> = rows.iter().map(|row| serde_json::to_value(row).unwrap_or_default()).collect();
    render::out(&format.rows(&TITLES, &COLUMNS, &rows).map_err(|why| unfilled(&why))?);
    Ok(0)
}

fn row(kind: &'static str, total: usize, active: usize, size: u64, free: u64) -> SpaceRow {
    let share = (free * 100).checked_div(size).map_or(String::new(), |share| format!(" ({share}%)"));
    SpaceRow {
        kind,
        total_count: total.to_string(),
        active: active.to_string(),
        size: human(size),
        reclaimable: human(free) + &share,
    }
}

/// The images, each once. A layer that several images have takes its space once.
fn images(explain: &ExplainArg) -> Result<SpaceRow> {
    let store = ImageStore::open()?;
    explain.tell()(&"read(<index.json>); read(<layers/*/about.json>)", "image.explain.df");
    let used: Vec<String> =
        ContainerStore::open()?.all()?.0.into_iter().map(|kept| kept.record.image).collect();
    let mut all: BTreeMap<_, Vec<StoredImage>> = BTreeMap::new();
    for image in store.all()? {
        all.entry(image.id.clone()).or_default().push(image);
    }
    let (mut active, mut layers, mut kept) = (0, BTreeMap::new(), BTreeSet::new());
    for names in all.values() {
        let Some(image) = names.first() else { continue };
        let is_used = names.iter().any(|name| used.iter().any(|used| is_from(used, name)));
        active += usize::from(is_used);
        for layer in history::layers(&store, &store.parts(&image.descriptor)?) {
            if is_used {
                kept.insert(layer.chain_id.clone());
            }
            layers.insert(layer.chain_id, layer.size.unwrap_or_default());
        }
    }
    let size = layers.values().sum();
    let free = layers.iter().filter(|(chain_id, _)| !kept.contains(chain_id)).map(|(_, size)| size).sum();
    Ok(row("Images", all.len(), active, size, free))
}

/// What the kept containers have written.
fn containers(explain: &ExplainArg) -> Result<SpaceRow> {
    explain.tell()(&"statx(<containers/*>)", "image.explain.df.containers");
    let (kept, _) = ContainerStore::open()?.all()?;
    let sizes: Vec<(bool, u64)> = kept
        .iter()
        .map(|container| {
            let size = container.written_size().ok().flatten().unwrap_or_default();
            (container.state.status.is_active(), size)
        })
        .collect();
    let size = sizes.iter().map(|(_, size)| size).sum();
    let free = sizes.iter().filter(|(is_active, _)| !is_active).map(|(_, size)| size).sum();
    Ok(row("Containers", kept.len(), sizes.iter().filter(|(is_active, _)| *is_active).count(), size, free))
}

/// The volumes. What no container has can be freed.
fn volumes(explain: &ExplainArg) -> Result<SpaceRow> {
    explain.tell()(&"statx(<volumes/*>)", "image.explain.df.volumes");
    let store = VolumeStore::open()?;
    let users = store.known_users(&ContainerStore::open()?)?;
    let sizes: Vec<(bool, u64)> =
        store.all()?.iter().map(|volume| (users.contains_key(&volume.name), store.size(volume))).collect();
    let size = sizes.iter().map(|(_, size)| size).sum();
    let free = sizes.iter().filter(|(is_used, _)| !is_used).map(|(_, size)| size).sum();
    Ok(row("Local Volumes", sizes.len(), sizes.iter().filter(|(is_used, _)| *is_used).count(), size, free))
}

/// The steps of builds: the layers that only they have, and the directories of `RUN --mount=type=cache`.
fn build_cache(explain: &ExplainArg) -> Result<SpaceRow> {
    let store = ImageStore::open()?;
    explain.tell()(&"read(<images/cache/*>); statx(<images/mounts/*>)", "image.explain.df.build");
    let layers_of = |image: &StoredImage| {
        let parts = store.parts(&image.descriptor);
        parts.map(|parts| history::layers(&store, &parts)).unwrap_or_default()
    };
    let of_images: BTreeSet<_> =
        store.all()?.iter().flat_map(layers_of).map(|layer| layer.chain_id).collect();
    let steps = store.cached_steps()?;
    let mut own = BTreeMap::new();
    for layer in steps.iter().flat_map(|step| layers_of(&step.image)) {
        if !of_images.contains(&layer.chain_id) {
            own.insert(layer.chain_id, layer.size.unwrap_or_default());
        }
    }
    let size = own.values().sum::<u64>() + store.cache_directories().map_or(0, |path| size_of(&path));
    Ok(row("Build Cache", steps.len(), 0, size, size))
}

/// The size of all files below a directory. What cannot be read, because it belongs to other users, counts as nothing.
fn size_of(directory: &Path) -> u64 {
    let mut sum = 0;
    let mut left = vec![directory.to_owned()];
    while let Some(directory) = left.pop() {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            // No link is followed.
            let Ok(about) = entry.metadata() else { continue };
            match about.is_dir() {
                true => left.push(entry.path()),
                false => sum += about.len(),
            }
        }
    }
    sum
}
