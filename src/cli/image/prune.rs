//! `sandbox image prune`: removes images that nobody needs.

use clap::Args;

use super::{as_docker, images, in_use, note};
use crate::cli::explain::ExplainArg;
use crate::cli::output::confirms;
use crate::container::events::Event;
use crate::container::object_events::EventKind;
use crate::container::store::ContainerStore;
use crate::error::{Error, ExitKind, Result};
use crate::image::reference::Reference;
use crate::image::store::{ImageStore, StoredImage};
use crate::render;
use crate::render::paint::{Color, Stream, decide};
use crate::text::{printed, text, text_with};
use crate::value::units::human;

/// The flags of `image prune`.
#[derive(Debug, Args)]
#[group(skip)]
pub(crate) struct ImagePruneArgs {
    /// Remove also images with a name that no container is made from
    #[arg(long, short)]
    all: bool,
    /// Do not ask
    #[arg(long, short)]
    force: bool,
    /// Remove only images with this property: until, label, label! or dangling (may be repeated)
    #[arg(long, value_name = "NAME=VALUE")]
    filter: Vec<String>,
    #[command(flatten)]
    explain: ExplainArg,
}

/// Removes them, and prints what Docker prints.
pub(crate) fn run(color: Color, args: &ImagePruneArgs) -> Result<u8> {
    decide(color, Stream::Err);
    // Docker's other way to write --all.
    let (dangling, filters): (Vec<&String>, Vec<&String>) =
        args.filter.iter().partition(|filter| filter.starts_with("dangling="));
    let is_all =
        args.all || dangling.iter().any(|filter| ["dangling=false", "dangling=0"].contains(&filter.as_str()));
    let filters: Vec<String> = filters.into_iter().cloned().collect();
    if let Some(filter) = filters
        .iter()
        .find(|filter| !["until=", "label=", "label!="].iter().any(|known| filter.starts_with(known)))
    {
        return Err(Error::new(
            ExitKind::Refused,
            text_with("image.filter", &[("filter", &printed(filter))]),
        ));
    }
    let ask = if is_all { "image.prune.ask.all" } else { "image.prune.ask" };
    if !args.force && !confirms(ask) {
        return Ok(0);
    }
    let store = ImageStore::open().map_err(as_docker)?;
    let used = images_of_containers().map_err(as_docker)?;
    let all = store.all().map_err(as_docker)?;
    let is_unused = |image: &&StoredImage| {
        // All names of an image lead to the same files.
        let names = all.iter().filter(|other| other.id == image.id).filter_map(|other| other.name.as_ref());
        let is_used = used.iter().any(|used| is_from(used, image))
            || names.clone().any(|name| used.iter().any(|used| is_name(used, name)));
        !is_used && (is_all || names.count() == 0)
    };
    // If this is not known, nothing is removed, and no image loses its name either.
    in_use().map_err(as_docker)?;
    let tell = args.explain.tell();
    let mut lines = Vec::new();
    let mut wanted = all.clone();
    images::filter(&store, &mut wanted, &filters).map_err(as_docker)?;
    for image in wanted.iter().filter(is_unused) {
        tell(&"write(<index.json.new>); rename(\"index.json.new\", \"index.json\")", "image.explain.untag");
        for name in store.unname(image, None).map_err(as_docker)? {
            lines.push(text_with("image.prune.untagged", &[("name", &name.familiar())]));
            note("untag", &image.id, &image.id);
        }
        let deleted = text_with("image.prune.deleted", &[("digest", &image.id.to_string())]);
        if !lines.contains(&deleted) {
            lines.push(deleted);
            note("delete", &image.id, &image.id);
        }
    }
    tell(&"unlinkat(<blobs>, ...); unlinkat(<layers>, ...)", "image.explain.sweep");
    let freed = store.sweep(in_use);
    for layer in freed.iter().flat_map(|freed| &freed.layers) {
        lines.push(text_with("image.prune.deleted", &[("digest", &layer.to_string())]));
    }
    if !lines.is_empty() {
        render::out(&format!("{}\n{}\n\n", text("image.prune.title"), lines.join("\n")));
    }
    let freed = freed.map_err(as_docker)?;
    if freed.is_postponed {
        render::note(&text("image.rmi.postponed"));
    }
    Event::note_prune(EventKind::Image, freed.unpacked);
    render::out(&(text_with("image.prune.space", &[("size", &human(freed.unpacked))]) + "\n"));
    Ok(0)
}

/// What the kept containers were made from: names and IDs of images, and other things.
pub(crate) fn images_of_containers() -> Result<Vec<String>> {
    let (kept, unread) = ContainerStore::open()?.all()?;
    match unread.into_iter().next() {
        Some(unread) => Err(unread.error),
        None => Ok(kept.into_iter().map(|container| container.record.image).collect()),
    }
}

/// Whether a container was made from this name.
fn is_name(used: &str, name: &Reference) -> bool {
    used.parse::<Reference>().is_ok_and(|used| used.or_latest() == *name)
}

/// Whether a container was made from this image, by its name or its ID.
pub(crate) fn is_from(used: &str, image: &StoredImage) -> bool {
    let is_id = used.len() >= 4 && image.id.hex().starts_with(used.strip_prefix("sha256:").unwrap_or(used));
    is_id || image.name.as_ref().is_some_and(|name| is_name(used, name))
}
