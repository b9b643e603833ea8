//! `sandbox system df -v`: the space of each image, container, volume and step of a build.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::{DfArgs, size_of};
use crate::cli::image::as_docker;
use crate::cli::image::images::{self, created};
use crate::cli::image::prune::is_from;
use crate::cli::kept::{format_of, ps, unfilled};
use crate::container::listing::ContainerRow;
use crate::container::store::{ContainerStore, KeptContainer};
use crate::container::volumes::{Volume, VolumeStore};
use crate::error::Result;
use crate::image::digest::Digest;
use crate::image::history;
use crate::image::store::{ImageStore, StoredImage};
use crate::render;
use crate::render::paint::Stream;
use crate::render::template::OutputFormat;
use crate::text::{text, text_with};
use crate::value::timestamp::{Timestamp, in_words};
use crate::value::units::human;

/// The fields of the tables: Docker's.
const IMAGES: [&str; 8] =
    ["Repository", "Tag", "ID", "CreatedSince", "Size", "SharedSize", "UniqueSize", "Containers"];
const CONTAINERS: [&str; 8] =
    ["ID", "Image", "Command", "LocalVolumes", "Size", "RunningFor", "Status", "Names"];
const VOLUMES: [&str; 3] = ["Name", "Links", "Size"];

const STEPS: [&str; 5] = ["ID", "CacheType", "Size", "CreatedSince", "Shared"];

const STEP_TITLES: [(&str, &str); 5] = [
    ("CacheType", "CACHE TYPE"),
    ("CreatedSince", "CREATED"),
    ("ID", "CACHE ID"),
    ("Shared", "SHARED"),
    ("Size", "SIZE"),
];

const VOLUME_TITLES: [(&str, &str); 3] = [("Links", "LINKS"), ("Name", "VOLUME NAME"), ("Size", "SIZE")];

/// Prints the tables, or everything as one JSON object.
pub(super) fn run(args: &DfArgs) -> Result<u8> {
    let format = format_of(&args.format)?;
    let tell = args.explain.tell();
    tell(&"read(<index.json>); read(<layers/*/about.json>)", "image.explain.df");
    tell(&"statx(<containers/*>)", "image.explain.df.containers");
    tell(&"statx(<volumes/*>)", "image.explain.df.volumes");
    tell(&"read(<images/cache/*>); statx(<images/mounts/*>)", "image.explain.df.build");
    let (kept, _) = ContainerStore::open().and_then(|store| store.all()).map_err(as_docker)?;
    let images = images(&kept).map_err(as_docker)?;
    let volumes = volumes().map_err(as_docker)?;
    let (steps, used) = build_cache().map_err(as_docker)?;
    let now = Timestamp::now();
    let row = |container| ContainerRow::of(container, now, false).with_size(container);
    let containers: Vec<Value> =
        kept.iter().map(|container| serde_json::to_value(row(container)).unwrap_or_default()).collect();
    let table = |title: &str, titles: &[(&str, &str)], columns: &[&str], rows: &[Value]| -> Result<String> {
        let printed = OutputFormat::Table.rows(titles, columns, rows).map_err(|why| unfilled(&why))?;
        Ok(format!("{title}\n\n{printed}"))
    };
    match format {
        OutputFormat::Table => {
            let tables = [
                table(&text("image.df.images"), &images::TITLES, &IMAGES, &images)?,
                table(&text("image.df.containers"), &ps::TITLES, &CONTAINERS, &containers)?,
                table(&text("image.df.volumes"), &VOLUME_TITLES, &VOLUMES, &volumes)?,
                table(&text_with("image.df.build", &[("size", &used)]), &STEP_TITLES, &STEPS, &steps)?,
            ];
            render::out(&tables.join("\n"));
        }
        format => {
            let all = json!({
                "Images": images, "Containers": containers, "Volumes": volumes, "BuildCache": steps,
            });
            match format {
                OutputFormat::Json => render::print_json(Stream::Out, &all),
                format => render::out(&format.rows(&[], &[], &[all]).map_err(|why| unfilled(&why))?),
            }
        }
    }
    Ok(0)
}

/// The images under each of their names. A layer that another image has too takes its space once, for both.
fn images(kept: &[KeptContainer]) -> Result<Vec<Value>> {
    let store = ImageStore::open()?;
    let mut all = store.all()?;
    all.sort_by_key(|image| std::cmp::Reverse(created(image)));
    let mut layers: BTreeMap<Digest, Vec<(Digest, u64)>> = BTreeMap::new();
    for image in &all {
        if !layers.contains_key(&image.id) {
            let own = history::layers(&store, &store.parts(&image.descriptor)?).into_iter();
            let own = own.map(|layer| (layer.chain_id, layer.size.unwrap_or_default())).collect();
            layers.insert(image.id.clone(), own);
        }
    }
    let is_shared = |chain_id: &Digest| {
        let having = layers.values().filter(|own| own.iter().any(|(other, _)| other == chain_id));
        having.count() > 1
    };
    let now = Timestamp::now();
    let row = |image: &StoredImage| {
        let own = layers.get(&image.id).map(Vec::as_slice).unwrap_or_default();
        let shared: u64 = own.iter().filter(|(chain_id, _)| is_shared(chain_id)).map(|(_, size)| size).sum();
        let all: u64 = own.iter().map(|(_, size)| size).sum();
        let id = Some(image.id.to_string());
        let is_of_image = |container: &&KeptContainer| {
            container.record.image_id == id || is_from(&container.record.image, image)
        };
        let mut row = serde_json::to_value(images::row(image, now, false)).unwrap_or_default();
        row["Size"] = human(all).into();
        row["SharedSize"] = human(shared).into();
        row["UniqueSize"] = human(all - shared).into();
        row["Containers"] = kept.iter().filter(is_of_image).count().to_string().into();
        row
    };
    Ok(all.iter().map(row).collect())
}

/// The volumes, with how many containers have each.
fn volumes() -> Result<Vec<Value>> {
    let store = VolumeStore::open()?;
    let users = store.known_users(&ContainerStore::open()?)?;
    let row = |volume: Volume| {
        let links = users.get(&volume.name).map_or(0, Vec::len);
        let size = human(store.size(&volume));
        json!({ "Name": volume.name, "Links": links.to_string(), "Size": size })
    };
    Ok(store.all()?.into_iter().map(row).collect())
}

/// The steps of builds, and how much space they take together: the layers that no image has, and the directories of
/// `RUN --mount=type=cache`.
fn build_cache() -> Result<(Vec<Value>, String)> {
    let store = ImageStore::open()?;
    let layers = |image: &StoredImage| {
        let parts = store.parts(&image.descriptor);
        parts.map(|parts| history::layers(&store, &parts)).unwrap_or_default()
    };
    let of_images: BTreeSet<Digest> =
        store.all()?.iter().flat_map(layers).map(|layer| layer.chain_id).collect();
    let now = Timestamp::now();
    let mut rows = Vec::new();
    let mut own: BTreeMap<Digest, u64> = BTreeMap::new();
    for step in store.cached_steps()? {
        // A step that changes the config alone has no layer.
        let steps = history::steps(&store, &step.image).unwrap_or_default();
        let layer = steps.into_iter().next_back().and_then(|last| last.layer);
        let size = layer.as_ref().and_then(|layer| layer.size).unwrap_or_default();
        let is_shared = layer.as_ref().is_some_and(|layer| of_images.contains(&layer.chain_id));
        if let Some(layer) = layer.filter(|_| !is_shared) {
            own.insert(layer.chain_id, size);
        }
        let created = created(&step.image).map(|created| in_words(created.until(now)) + " ago");
        rows.push(json!({
            "ID": step.key.short(),
            "CacheType": "regular",
            "Size": human(size),
            "CreatedSince": created.unwrap_or_else(|| "N/A".to_owned()),
            "Shared": is_shared.to_string(),
        }));
    }
    let directories = store.cache_directories().map_or(0, |path| size_of(&path));
    Ok((rows, human(own.values().sum::<u64>() + directories)))
}
